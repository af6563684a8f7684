//! Bots at Telegram.

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};
use crate::domain::time::UnixMs;

impl Store {
    /// A bot answers for an owner from here on, and for nobody else. `secret_digest`: see the table.
    pub async fn set_telegram_bot(
        &self,
        owner: &str,
        bot: i64,
        username: &str,
        secret_digest: String,
        at: UnixMs,
    ) -> Result<(), StoreError> {
        let (owner, username) = (owner.to_owned(), username.to_owned());
        self.change(move |connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO telegram_bots (owner, bot, username, secret_digest, created_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![owner, bot, username, secret_digest, at.0])
                .map(drop)
        })
        .await
    }

    /// No bot answers for an owner any more.
    pub async fn drop_telegram_bot(&self, owner: &str) -> Result<(), StoreError> {
        let owner = owner.to_owned();
        self.change(move |connection| {
            connection
                .prepare_cached("DELETE FROM telegram_bots WHERE owner = ?1")?
                .execute([&owner])
                .map(drop)
        })
        .await
    }

    /// For whom a bot answers, by the digest of its secret.
    pub async fn owner_of_telegram_secret(&self, digest: String) -> Result<Option<String>, StoreError> {
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT owner FROM telegram_bots WHERE secret_digest = ?1")?
                .query_row([digest], |row| row.get(0))
                .optional()
        })
        .await
    }
}
