//! People who sign in.

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::time::UnixMs;
use crate::domain::token::Session;
use crate::domain::users::{GoogleIdentity, User};

impl Store {
    /// Somebody signs in with Google: makes the user at the first time, and keeps address and name as Google has them.
    pub async fn sign_in(&self, identity: GoogleIdentity, at: UnixMs) -> Result<User, StoreError> {
        let fresh = Uuid::now_v7().to_string();
        self.change(move |connection| {
            let name = identity.name.as_deref().unwrap_or(&identity.email);
            connection
                .prepare_cached(
                    "INSERT INTO users (id, google_sub, email, name, picture, created_ms, updated_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
                     ON CONFLICT (google_sub) DO UPDATE
                     SET email = excluded.email, name = excluded.name, picture = excluded.picture,
                         updated_ms = excluded.updated_ms
                     WHERE email <> excluded.email OR name <> excluded.name OR picture IS NOT excluded.picture",
                )?
                .execute(params![fresh, identity.sub, identity.email, name, identity.picture, at.0])?;
            connection
                .prepare_cached("SELECT * FROM users WHERE google_sub = ?1")?
                .query_row([&identity.sub], user_from_row)
        })
        .await
    }

    /// Whose session it is; none if its token was given back, or the user is gone.
    pub async fn user_of_session(&self, session: &Session) -> Result<Option<User>, StoreError> {
        let session = session.clone();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT * FROM users
                     WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM revoked_tokens WHERE revoked_tokens.id = ?2)",
                )?
                .query_row([session.user, session.id], user_from_row)
                .optional()
        })
        .await
    }

    /// A user.
    pub async fn user(&self, id: &str) -> Result<Option<User>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| find(connection, &id)).await
    }
}

fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<User>> {
    connection.prepare_cached("SELECT * FROM users WHERE id = ?1")?.query_row([id], user_from_row).optional()
}

fn user_from_row(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get("id")?,
        email: row.get("email")?,
        name: row.get("name")?,
        picture: row.get("picture")?,
        created: UnixMs(row.get("created_ms")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn somebody_is_the_same_person_under_a_new_address() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), UnixMs(0)).unwrap();
        let identity = |sub: &str, email: &str, name: Option<&str>| GoogleIdentity {
            sub: sub.into(),
            email: email.into(),
            name: name.map(str::to_owned),
            picture: None,
        };
        let first = store.sign_in(identity("1", "a@example.com", None), UnixMs(1)).await.unwrap();
        assert_eq!(first.name, "a@example.com");
        let later = store.sign_in(identity("1", "b@example.com", Some("Bea")), UnixMs(2)).await.unwrap();
        assert_eq!(
            (&later.id, later.email.as_str(), later.name.as_str()),
            (&first.id, "b@example.com", "Bea")
        );
        assert_eq!(later.created, UnixMs(1));
        let other = store.sign_in(identity("2", "b@example.com", None), UnixMs(3)).await.unwrap();
        assert_ne!(other.id, first.id, "an address may change hands: it is no identity");
        assert_eq!(store.user(&first.id).await.unwrap(), Some(later));
        assert_eq!(store.user("nobody").await.unwrap(), None);
    }
}
