//! Whether the master key is the one that this database was sealed with.

use rusqlite::{Connection, OptionalExtension};

use super::{Store, StoreError};
use crate::domain::keys::{CHECK, CHECK_TEXT, Keys};

impl Store {
    /// Checks the keys against the check value, which is written if there is none yet. With `forget`, a key that does not fit
    /// costs what was sealed with the other one, and the number of connections that were lost is told. The inner error
    /// says what to do.
    pub async fn check_keys(&self, keys: &Keys, forget: bool) -> Result<Result<usize, String>, StoreError> {
        let known = self.read(check_value).await?;
        let fits = keys.check(known.as_deref());
        let (Some(sealer), true) = (keys.sealer(), known.is_none() || (fits.is_err() && forget)) else {
            return Ok(fits.map(|()| 0));
        };
        let sealed = sealer.seal(CHECK, CHECK_TEXT);
        let forgets = known.is_some();
        self.change(move |connection| {
            let mut lost = 0;
            if forgets {
                lost = connection.execute("DELETE FROM calendar_connections", [])?;
                lost += connection.execute("DELETE FROM crm_connections", [])?;
                connection.execute("DELETE FROM oauth_states", [])?;
                connection.execute("DELETE FROM user_settings", [])?;
            }
            connection.execute(
                "INSERT OR REPLACE INTO key_checks (name, sealed) VALUES (?1, ?2)",
                (CHECK.row, &sealed),
            )?;
            Ok(Ok(lost))
        })
        .await
    }
}

fn check_value(connection: &Connection) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .query_row("SELECT sealed FROM key_checks WHERE name = ?1", [CHECK.row], |row| row.get(0))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::UnixMs;
    use crate::settings::{Environment, Secret, Settings};

    #[tokio::test]
    async fn a_database_knows_its_key_again_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), UnixMs(0)).unwrap();
        let with = |key: Option<&str>| {
            let settings = Settings {
                environment: Environment::Production,
                master_key: key.map(|key| Secret::new(key.repeat(32))),
                ..Settings::local(dir.path().into())
            };
            Keys::load(&settings).unwrap()
        };
        assert_eq!(store.check_keys(&with(None), false).await.unwrap(), Ok(0), "nothing is sealed yet");
        assert_eq!(store.check_keys(&with(Some("ab")), false).await.unwrap(), Ok(0));
        assert_eq!(store.check_keys(&with(Some("ab")), false).await.unwrap(), Ok(0));
        for (key, forget) in [(Some("cd"), false), (None, false), (None, true)] {
            let refused = store.check_keys(&with(key), forget).await.unwrap().unwrap_err();
            assert!(refused.contains("OFFHOOK_MASTER_KEY"), "{refused}");
        }
        assert_eq!(store.check_keys(&with(Some("cd")), true).await.unwrap(), Ok(0));
        assert_eq!(store.check_keys(&with(Some("cd")), false).await.unwrap(), Ok(0));
        assert!(store.check_keys(&with(Some("ab")), false).await.unwrap().is_err());
    }
}
