//! People who sign in by password, and the tokens that they gave back.

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::accounts::Account;
use crate::domain::time::UnixMs;
use crate::domain::token::Session;

/// What a new account's first workspace is called.
const WORKSPACE: &str = "My Workspace";

/// Calls that change their owner at once.
const CALLS_AT_ONCE: usize = 500;

/// What an account is read from.
const ACCOUNTS: &str = "SELECT users.id, passwords.email, users.name, users.created_ms, passwords.vouched,
                               iif(users.google_sub IS NULL, NULL, users.email) AS verified_email
                        FROM passwords JOIN users ON users.id = passwords.user";

impl Store {
    /// Makes an account, with a workspace of its own. None if somebody has the address.
    pub async fn add_account(
        &self,
        email: &str,
        name: &str,
        hash: String,
        vouched: bool,
        at: UnixMs,
    ) -> Result<Option<Account>, StoreError> {
        let (email, name) = (email.to_owned(), name.to_owned());
        let (user, workspace) = (Uuid::now_v7().to_string(), Uuid::now_v7().to_string());
        self.change(move |connection| {
            let taken: bool = connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM passwords WHERE email = ?1)")?
                .query_row([&email], |row| row.get(0))?;
            if taken {
                return Ok(None);
            }
            connection
                .prepare_cached(
                    "INSERT INTO users (id, email, name, created_ms, updated_ms) VALUES (?1, ?2, ?3, ?4, ?4)",
                )?
                .execute(params![user, email, name, at.0])?;
            connection
                .prepare_cached(
                    "INSERT INTO passwords (user, email, hash, vouched, created_ms, signed_in_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
                )?
                .execute(params![user, email, hash, vouched, at.0])?;
            super::workspaces::insert(connection, &workspace, WORKSPACE, &user, at)?;
            find(connection, &user)
        })
        .await
    }

    /// Joins an account with a user who signs in with Google: all that is theirs is the account's from here on, and signing in
    /// with Google leads to it. False if the two cannot be joined: one of them is joined already, or there is none.
    pub async fn join(&self, account: &str, google: &str) -> Result<bool, StoreError> {
        let (account, google) = (account.to_owned(), google.to_owned());
        let possible = {
            let (account, google) = (account.clone(), google.clone());
            self.read(move |connection| can_be_joined(connection, &account, &google)).await?
        };
        if !possible {
            return Ok(false);
        }
        // Piece by piece: the calls that run are written down in between. What was moved stays so if this breaks off, and who
        // tries again goes on.
        loop {
            let (account, google) = (account.clone(), google.clone());
            let moved = self.change(move |connection| move_calls(connection, &account, &google)).await?;
            if moved < CALLS_AT_ONCE {
                break;
            }
        }
        self.change(move |connection| {
            if !can_be_joined(connection, &account, &google)? {
                return Ok(false);
            }
            while move_calls(connection, &account, &google)? > 0 {}
            // Who is a client of both is one at Telegram once.
            connection
                .prepare_cached(
                    "UPDATE customers SET telegram_id = NULL
                     WHERE owner = ?2 AND telegram_id IN (SELECT telegram_id FROM customers WHERE owner = ?1)",
                )?
                .execute([&account, &google])?;
            for table in ["assistants", "lines", "booked_appointments", "customers", "personas", "user_jobs"] {
                connection
                    .prepare_cached(&format!("UPDATE {table} SET owner = ?1 WHERE owner = ?2"))?
                    .execute([&account, &google])?;
            }
            let (sub, email): (String, String) = connection
                .prepare_cached("DELETE FROM users WHERE id = ?1 RETURNING google_sub, email")?
                .query_row([&google], |row| Ok((row.get(0)?, row.get(1)?)))?;
            connection
                .prepare_cached("UPDATE users SET google_sub = ?2, email = ?3 WHERE id = ?1")?
                .execute([&account, &sub, &email])?;
            Ok(true)
        })
        .await
    }

    /// The user with this address, and the hash of their password.
    pub async fn password_of(&self, email: &str) -> Result<Option<(String, String)>, StoreError> {
        let email = email.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT user, hash FROM passwords WHERE email = ?1")?
                .query_row([email], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .await
    }

    /// Somebody signed in: writes down when, and gives the account.
    pub async fn signed_in(&self, user: &str, at: UnixMs) -> Result<Option<Account>, StoreError> {
        let user = user.to_owned();
        self.change(move |connection| {
            connection
                .prepare_cached("UPDATE passwords SET signed_in_ms = ?2 WHERE user = ?1")?
                .execute(params![user, at.0])?;
            find(connection, &user)
        })
        .await
    }

    /// Whose session it is; none if its token was given back, or the account is gone.
    pub async fn account_of_session(&self, session: &Session) -> Result<Option<Account>, StoreError> {
        let session = session.clone();
        self.read(move |connection| {
            connection
                .prepare_cached(&format!(
                    "{ACCOUNTS} WHERE users.id = ?1 AND NOT EXISTS (SELECT 1 FROM revoked_tokens WHERE id = ?2)"
                ))?
                .query_row([session.user, session.id], account_from_row)
                .optional()
        })
        .await
    }

    /// Takes a token back. Of those that have ended by themselves nothing need be known.
    pub async fn revoke(&self, session: &Session, now: UnixMs) -> Result<(), StoreError> {
        let session = session.clone();
        self.change(move |connection| {
            connection.execute("DELETE FROM revoked_tokens WHERE expires_ms <= ?1", [now.0])?;
            connection
                .prepare_cached(
                    "INSERT INTO revoked_tokens (id, expires_ms) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
                )?
                .execute(params![session.id, session.expires.0])
                .map(drop)
        })
        .await
    }
}

/// Whether the one has a password and no account at Google, and the other the reverse.
fn can_be_joined(connection: &Connection, account: &str, google: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM users JOIN passwords ON passwords.user = users.id
                            WHERE users.id = ?1 AND google_sub IS NULL)
                AND EXISTS (SELECT 1 FROM users WHERE id = ?2 AND google_sub IS NOT NULL
                                                AND NOT EXISTS (SELECT 1 FROM passwords WHERE user = users.id))",
        )?
        .query_row([account, google], |row| row.get(0))
}

/// Moves some calls with what they were about; how many.
fn move_calls(connection: &Connection, to: &str, from: &str) -> rusqlite::Result<usize> {
    let calls: Vec<String> = connection
        .prepare_cached("SELECT id FROM account_calls WHERE owner = ?1 LIMIT ?2")?
        .query_map(params![from, CALLS_AT_ONCE as i64], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for call in &calls {
        connection
            .prepare_cached("UPDATE account_calls SET owner = ?1, workspace = NULL WHERE id = ?2")?
            .execute([to, call])?;
        for table in ["call_analyses", "call_keywords"] {
            connection
                .prepare_cached(&format!("UPDATE {table} SET owner = ?1 WHERE call = ?2"))?
                .execute([to, call])?;
        }
    }
    Ok(calls.len())
}

fn find(connection: &Connection, user: &str) -> rusqlite::Result<Option<Account>> {
    connection
        .prepare_cached(&format!("{ACCOUNTS} WHERE users.id = ?1"))?
        .query_row([user], account_from_row)
        .optional()
}

fn account_from_row(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: row.get("id")?,
        email: row.get("email")?,
        name: row.get("name")?,
        created: UnixMs(row.get("created_ms")?),
        vouched: row.get("vouched")?,
        verified_email: row.get("verified_email")?,
    })
}
