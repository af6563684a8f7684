//! Bots at Telegram.

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};
use crate::domain::api_keys::KnownBot;
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

    /// The bot with the secret of this digest, and for whom it answers.
    pub async fn telegram_bot_of_secret(&self, digest: String) -> Result<Option<KnownBot>, StoreError> {
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT owner, bot FROM telegram_bots WHERE secret_digest = ?1")?
                .query_row([digest], |row| Ok(KnownBot { owner: row.get(0)?, bot: row.get(1)? }))
                .optional()
        })
        .await
    }

    /// Telegram's number for the bot that answers for an owner.
    pub async fn telegram_bot_of(&self, owner: &str) -> Result<Option<i64>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT bot FROM telegram_bots WHERE owner = ?1")?
                .query_row([owner], |row| row.get(0))
                .optional()
        })
        .await
    }
}
