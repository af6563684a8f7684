//! What users set for themselves: keys of services, and what is selected. Each value is sealed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::Error;
use super::keys::Keys;
use super::seal::Place;
use super::time::UnixMs;
use crate::settings::Secret;
use crate::store::{Store, StoreError};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserSetting {
    /// The private key at the voice platform.
    PrivateKey,
    /// The public key there.
    PublicKey,
    /// The key at OpenAI.
    OpenAiApiKey,
    /// The assistant that is selected.
    SelectedAssistantId,
    /// The number.
    SelectedPhoneId,
    /// The organisation.
    SelectedOrgId,
    /// The workspace: where calls go that begin from then on.
    SelectedWorkspaceId,
    /// The account at Twilio.
    TwilioAccountSid,
    /// Its token.
    TwilioAuthToken,
}

impl UserSetting {
    /// All of them, in the documented order.
    pub const ALL: [Self; 9] = [
        Self::PrivateKey,
        Self::PublicKey,
        Self::OpenAiApiKey,
        Self::SelectedAssistantId,
        Self::SelectedPhoneId,
        Self::SelectedOrgId,
        Self::SelectedWorkspaceId,
        Self::TwilioAccountSid,
        Self::TwilioAuthToken,
    ];

    /// As it stands in records, requests and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PrivateKey => "privateKey",
            Self::PublicKey => "publicKey",
            Self::OpenAiApiKey => "openaiApiKey",
            Self::SelectedAssistantId => "selectedAssistantId",
            Self::SelectedPhoneId => "selectedPhoneId",
            Self::SelectedOrgId => "selectedOrgId",
            Self::SelectedWorkspaceId => "selectedWorkspaceId",
            Self::TwilioAccountSid => "twilioAccountSid",
            Self::TwilioAuthToken => "twilioAuthToken",
        }
    }

    /// Whether whoever knows it can do harm.
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::PrivateKey | Self::OpenAiApiKey | Self::TwilioAuthToken)
    }

    /// Whether it is documented, and so told also where it is not set.
    pub const fn is_documented(self) -> bool {
        !matches!(self, Self::TwilioAccountSid | Self::TwilioAuthToken)
    }
}

/// Changes of some: none takes a value away.
pub type SettingChanges = BTreeMap<UserSetting, Option<String>>;

/// All users' settings.
#[derive(Debug)]
pub struct UserSettings {
    store: Arc<Store>,
    keys: Arc<Keys>,
}

impl UserSettings {
    /// Kept in `store`, sealed by `keys`.
    pub fn new(store: Arc<Store>, keys: Arc<Keys>) -> Self {
        Self { store, keys }
    }

    /// All that a user has set. What does not open any more counts as not set.
    pub async fn of(&self, user: &str) -> Result<BTreeMap<UserSetting, Secret>, StoreError> {
        let sealed = self.store.user_settings(user).await?;
        let opened = sealed.into_iter().filter_map(|(name, sealed)| {
            let setting = UserSetting::ALL.into_iter().find(|setting| setting.as_str() == name)?;
            let opened = self.keys.sealer()?.open(place(&row(user, setting)), &sealed);
            let text = opened.ok().and_then(|text| String::from_utf8(text).ok());
            if text.is_none() {
                tracing::error!(user, setting = name, "a setting does not open: its key is another one");
            }
            Some((setting, Secret::new(text?)))
        });
        Ok(opened.collect())
    }

    /// One of a user's.
    pub async fn one(&self, user: &str, setting: UserSetting) -> Result<Option<Secret>, StoreError> {
        Ok(self.of(user).await?.remove(&setting))
    }

    /// Changes some, all or none of them.
    pub async fn change(&self, user: &str, changes: SettingChanges, at: UnixMs) -> Result<(), Error> {
        let sealer = self.keys.sealer().ok_or_else(|| {
            Error::Unavailable("This server has no key to keep secrets with (OFFHOOK_MASTER_KEY)".into())
        })?;
        let selected = changes.get(&UserSetting::SelectedWorkspaceId).cloned();
        let sealed = changes.into_iter().map(|(setting, value)| {
            let seal = |text: String| sealer.seal(place(&row(user, setting)), text.as_bytes());
            (setting.as_str(), value.map(seal))
        });
        Ok(self.store.change_user_settings(user, sealed.collect(), selected, at).await?)
    }
}

fn row(user: &str, setting: UserSetting) -> String {
    format!("{user} {}", setting.as_str())
}

fn place(row: &str) -> Place<'_> {
    Place { table: "user_settings", column: "sealed", row }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[tokio::test]
    async fn some_change_and_the_others_stay_and_nothing_shows_in_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
        let keys = Arc::new(Keys::load(&Settings::local(dir.path().into())).unwrap());
        let user = async |name: &str| {
            let email = format!("{name}@example.com");
            store.add_account(&email, name, "h".into(), false, UnixMs(1)).await.unwrap().unwrap().id
        };
        let (pat, bea) = (user("pat").await, user("bea").await);
        let settings = UserSettings::new(store.clone(), keys);
        let change = async |user: &str, changes: &[(UserSetting, Option<&str>)]| {
            let changes = changes.iter().map(|(setting, value)| (*setting, value.map(str::to_owned)));
            settings.change(user, changes.collect(), UnixMs(2)).await.unwrap();
        };
        let of = async |user: &str| {
            let all = settings.of(user).await.unwrap();
            all.into_iter().map(|(setting, value)| (setting, value.reveal().to_owned())).collect::<Vec<_>>()
        };
        use UserSetting::{OpenAiApiKey, PrivateKey, SelectedOrgId};
        change(&pat, &[(PrivateKey, Some("one")), (OpenAiApiKey, Some("sk-not-to-be-seen"))]).await;
        change(&pat, &[(PrivateKey, Some("two")), (SelectedOrgId, Some("o"))]).await;
        change(&pat, &[(SelectedOrgId, None)]).await;
        assert_eq!(of(&pat).await, [(PrivateKey, "two".into()), (OpenAiApiKey, "sk-not-to-be-seen".into())]);
        assert!(of(&bea).await.is_empty());
        let key = settings.one(&pat, OpenAiApiKey).await.unwrap();
        assert_eq!(key.as_ref().map(Secret::reveal), Some("sk-not-to-be-seen"));
        store.close();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
            assert!(!bytes.windows(9).any(|window| window == b"sk-not-to"));
        }
    }

    #[tokio::test]
    async fn the_selected_workspace_is_where_calls_go_if_one_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
        let keys = Arc::new(Keys::load(&Settings::local(dir.path().into())).unwrap());
        let pat = store
            .add_account("pat@example.com", "Pat", "h".into(), false, UnixMs(1))
            .await
            .unwrap()
            .unwrap()
            .id;
        let settings = UserSettings::new(store.clone(), keys);
        let workspace = store.add_workspace(&pat, "Two", UnixMs(2)).await.unwrap().id;
        for (selected, expected) in [
            (Some(workspace.as_str()), Some(workspace.as_str())),
            (Some("somebody else's"), None),
            (None, None),
        ] {
            let changes =
                SettingChanges::from([(UserSetting::SelectedWorkspaceId, selected.map(str::to_owned))]);
            settings.change(&pat, changes, UnixMs(3)).await.unwrap();
            assert_eq!(store.selected_workspace(&pat).await.unwrap().as_deref(), expected);
        }
    }
}
