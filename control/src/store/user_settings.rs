//! What users set for themselves, and which add-ons they switched on.

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError, workspaces};
use crate::domain::addons::{Addon, Addons};
use crate::domain::time::UnixMs;

impl Store {
    /// All that a user has set: names, and sealed values.
    pub async fn user_settings(&self, user: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let user = user.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT name, sealed FROM user_settings WHERE user = ?1")?
                .query_map([user], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .await
    }

    /// Changes some of a user's settings; none takes one away. `workspace`: the one that is selected from now on, if that
    /// changes.
    pub async fn change_user_settings(
        &self,
        user: &str,
        changes: Vec<(&'static str, Option<Vec<u8>>)>,
        workspace: Option<Option<String>>,
        at: UnixMs,
    ) -> Result<(), StoreError> {
        let user = user.to_owned();
        self.change(move |connection| {
            for (name, sealed) in &changes {
                match sealed {
                    Some(sealed) => connection
                        .prepare_cached(
                            "INSERT OR REPLACE INTO user_settings (user, name, sealed, updated_ms)
                             VALUES (?1, ?2, ?3, ?4)",
                        )?
                        .execute(params![user, name, sealed, at.0])?,
                    None => connection
                        .prepare_cached("DELETE FROM user_settings WHERE user = ?1 AND name = ?2")?
                        .execute(params![user, name])?,
                };
            }
            workspace.as_ref().map_or(Ok(()), |id| workspaces::select(connection, &user, id.as_deref()))
        })
        .await
    }

    /// The workspace that calls of a user's go to.
    pub async fn selected_workspace(&self, user: &str) -> Result<Option<String>, StoreError> {
        let user = user.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT workspace FROM workspace_members WHERE user = ?1 AND selected = 1")?
                .query_row([user], |row| row.get(0))
                .optional()
        })
        .await
    }

    /// Which add-ons a user has switched on.
    pub async fn addons(&self, user: &str) -> Result<Addons, StoreError> {
        let user = user.to_owned();
        self.read(move |connection| {
            let mut addons = Addons::default();
            let mut query = connection.prepare_cached("SELECT addon FROM user_addons WHERE user = ?1")?;
            for name in query.query_map([user], |row| row.get::<_, String>(0))? {
                if let Some(addon) = Addon::from_text(&name?) {
                    addons.switch(addon, true);
                }
            }
            Ok(addons)
        })
        .await
    }

    /// Switches an add-on of a user's on or off.
    pub async fn switch_addon(
        &self,
        user: &str,
        addon: Addon,
        on: bool,
        at: UnixMs,
    ) -> Result<(), StoreError> {
        let user = user.to_owned();
        self.change(move |connection| {
            let changed = match on {
                true => connection
                    .prepare_cached(
                        "INSERT INTO user_addons (user, addon, enabled_ms) VALUES (?1, ?2, ?3)
                         ON CONFLICT (user, addon) DO NOTHING",
                    )?
                    .execute(params![user, addon.as_str(), at.0]),
                false => connection
                    .prepare_cached("DELETE FROM user_addons WHERE user = ?1 AND addon = ?2")?
                    .execute(params![user, addon.as_str()]),
            };
            changed.map(drop)
        })
        .await
    }
}
