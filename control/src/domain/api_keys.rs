//! Users' keys of services: taken only if the service takes them, and never shown again but for their end.

use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::error::Error;
use super::keys::random_hex;
use super::time::UnixMs;
use super::user_settings::{SettingChanges, UserSetting, UserSettings};
use crate::hex;
use crate::integrations::elevenlabs::VoiceMaker;
use crate::integrations::http::HttpClient;
use crate::integrations::openai;
use crate::integrations::telegram::{Telegram, TelegramError};
use crate::integrations::vendor::VendorError;
use crate::settings::{BaseUrl, Secret, Settings};
use crate::store::{Store, StoreError};
use offhook_engine::call::Failure;

/// How much of a key is shown.
const SHOWN: usize = 4;
/// The longest key, in characters.
const LENGTH_MAX: usize = 4_096;
/// Bytes of a bot's secret.
const SECRET_BYTES: usize = 32;

/// A service that a user has a key of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyService {
    /// Voices.
    ElevenLabs,
    /// Models.
    OpenAi,
    /// A bot.
    Telegram,
}

impl KeyService {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ElevenLabs, Self::OpenAi, Self::Telegram];

    /// As it stands in requests, answers and ids. ElevenLabs has two names.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "elevenlabs" | "11labs" => Some(Self::ElevenLabs),
            "openai" => Some(Self::OpenAi),
            "telegram" => Some(Self::Telegram),
            _ => None,
        }
    }

    /// The first of those.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ElevenLabs => "elevenlabs",
            Self::OpenAi => "openai",
            Self::Telegram => "telegram",
        }
    }

    /// What the key is called.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ElevenLabs => "ElevenLabs API Key",
            Self::OpenAi => "OpenAI API Key",
            Self::Telegram => "Telegram Bot Token",
        }
    }

    const fn setting(self) -> UserSetting {
        match self {
            Self::ElevenLabs => UserSetting::ElevenLabsApiKey,
            Self::OpenAi => UserSetting::OpenAiApiKey,
            Self::Telegram => UserSetting::TelegramBotToken,
        }
    }
}

/// A key that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetKey {
    /// Its end; empty if it is so short that this would tell too much.
    pub end: String,
    /// When it was set.
    pub set: UnixMs,
}

/// A bot that answers for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBot {
    /// For whom: a user's id.
    pub owner: String,
    /// Telegram's number for it.
    pub bot: i64,
}

/// Why a key is not taken.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The service does not know it.
    #[error("{0} does not accept this key")]
    Refused(&'static str),
    /// The service cannot be asked.
    #[error("{0} cannot be asked at the moment; try again later")]
    Unreachable(&'static str),
    /// Something else.
    #[error(transparent)]
    Domain(#[from] Error),
}

impl From<StoreError> for KeyError {
    fn from(error: StoreError) -> Self {
        Self::Domain(error.into())
    }
}

/// All users' keys.
#[derive(Debug)]
pub struct ApiKeys {
    store: Arc<Store>,
    settings: Arc<UserSettings>,
    http: HttpClient,
    elevenlabs: BaseUrl,
    openai: BaseUrl,
    telegram: BaseUrl,
}

impl ApiKeys {
    /// Keys that are checked where `settings` say that the services are.
    pub fn new(settings: &Settings, store: Arc<Store>, kept: Arc<UserSettings>, http: HttpClient) -> Self {
        Self {
            store,
            settings: kept,
            http,
            elevenlabs: settings.vendors.elevenlabs.base.clone(),
            openai: settings.openai.base.clone(),
            telegram: settings.echome.telegram.clone(),
        }
    }

    /// A user's key.
    pub async fn of(&self, user: &str, service: KeyService) -> Result<Option<Secret>, StoreError> {
        self.settings.one(user, service.setting()).await
    }

    /// Which of a user's keys are set.
    pub async fn shown(&self, user: &str) -> Result<Vec<(KeyService, Option<SetKey>)>, StoreError> {
        let mut shown = Vec::new();
        let mut keys = self.settings.of(user).await?;
        for service in KeyService::ALL {
            let setting = service.setting();
            let set = match keys.remove(&setting) {
                Some(key) => {
                    let set = self.store.user_setting_time(user, setting.as_str()).await?;
                    set.map(|set| SetKey { end: end(key.reveal()), set })
                }
                None => None,
            };
            shown.push((service, set));
        }
        Ok(shown)
    }

    /// Takes a key that its service takes. `webhook`: where Telegram is to post what is written to a bot; none: nowhere, since it
    /// could not get there.
    pub async fn set(
        &self,
        user: &str,
        service: KeyService,
        key: &str,
        webhook: Option<&str>,
        now: UnixMs,
    ) -> Result<(), KeyError> {
        let key = key.trim();
        let is_key = !key.is_empty() && key.len() <= LENGTH_MAX && key.bytes().all(|b| b.is_ascii_graphic());
        if !is_key {
            return Err(Error::invalid("api_key", "must be a key on one line").into());
        }
        let secret = Secret::new(key);
        match service {
            KeyService::ElevenLabs => {
                let account = VoiceMaker::new(self.http.clone(), self.elevenlabs.clone(), secret);
                checked("ElevenLabs", account.map_err(|_| KeyError::Refused("ElevenLabs"))?.check().await)?;
            }
            KeyService::OpenAi => {
                checked("OpenAI", openai::check_key(&self.http, &self.openai, secret).await)?;
            }
            KeyService::Telegram => self.connect_bot(user, secret, webhook, now).await?,
        }
        let changes = SettingChanges::from([(service.setting(), Some(key.to_owned()))]);
        Ok(self.settings.change(user, changes, now).await?)
    }

    /// Forgets a key. False if it was not set.
    pub async fn delete(&self, user: &str, service: KeyService, now: UnixMs) -> Result<bool, Error> {
        let Some(key) = self.of(user, service).await? else { return Ok(false) };
        self.settings.change(user, SettingChanges::from([(service.setting(), None)]), now).await?;
        if service == KeyService::Telegram {
            self.store.drop_telegram_bot(user).await?;
            // It is gone here in any case.
            if let Some(bot) = Telegram::new(self.http.clone(), self.telegram.clone(), key)
                && let Err(error) = bot.delete_webhook().await
            {
                tracing::warn!(%error, "a bot still posts what is written to it");
            }
        }
        Ok(true)
    }

    /// A user's bot, if there is one.
    pub async fn bot(&self, user: &str) -> Result<Option<Telegram>, StoreError> {
        let token = self.of(user, KeyService::Telegram).await?;
        Ok(token.and_then(|token| Telegram::new(self.http.clone(), self.telegram.clone(), token)))
    }

    /// To which bot a message is, by the secret that Telegram shows with it. What is looked for is its digest: how long that takes
    /// tells nothing of the secret.
    pub async fn bot_of_secret(&self, secret: &str) -> Result<Option<KnownBot>, StoreError> {
        self.store.telegram_bot_of_secret(digest_of(secret)).await
    }

    async fn connect_bot(
        &self,
        user: &str,
        token: Secret,
        webhook: Option<&str>,
        now: UnixMs,
    ) -> Result<(), KeyError> {
        const SERVICE: &str = "Telegram";
        let told = |error: TelegramError| match error {
            TelegramError::Token => KeyError::Refused(SERVICE),
            other => {
                tracing::warn!(error = %other, "a bot cannot be connected");
                KeyError::Unreachable(SERVICE)
            }
        };
        let bot = Telegram::new(self.http.clone(), self.telegram.clone(), token);
        let bot = bot.ok_or(KeyError::Refused(SERVICE))?;
        let me = bot.get_me().await.map_err(told)?;
        let secret = random_hex(SECRET_BYTES);
        self.store.set_telegram_bot(user, me.id, &me.username, digest_of(&secret), now).await?;
        match webhook {
            Some(url) => bot.set_webhook(url, &secret).await.map_err(told),
            None => {
                tracing::warn!("a bot is not told where to post: OFFHOOK_PUBLIC_URL is no https URL");
                Ok(())
            }
        }
    }
}

fn checked(service: &'static str, checked: Result<(), VendorError>) -> Result<(), KeyError> {
    checked.map_err(|error| match error.why {
        Failure::Unauthorised => KeyError::Refused(service),
        _ => {
            tracing::warn!(%error, service, "a key cannot be checked");
            KeyError::Unreachable(service)
        }
    })
}

fn digest_of(secret: &str) -> String {
    hex::encode(digest(&SHA256, secret.as_bytes()).as_ref())
}

/// The end of a key, if it is long enough to have one that tells nothing.
fn end(key: &str) -> String {
    let count = key.chars().count();
    if count < 4 * SHOWN { String::new() } else { key.chars().skip(count - SHOWN).collect() }
}

#[cfg(test)]
mod tests {
    use offhook_fixtures::vendors::faults::Fault;
    use offhook_fixtures::vendors::{FakeVendors, Vendor};

    use super::*;
    use crate::domain::keys::Keys;
    use crate::domain::users::GoogleIdentity;

    const KEY: &str = "sk-0123456789abcdefghij";
    const TOKEN: &str = "123456:abcdefghijklmnopqrstuvwxyz012345678";

    async fn fixture(fakes: &FakeVendors) -> (ApiKeys, String, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let base = |vendor| fakes.base_url(vendor);
        let text = format!(
            "openai_base_url = '{}'\ntelegram_base_url = '{}'\n[vendors.elevenlabs]\nbase_url = '{}'",
            base(Vendor::OpenAi),
            base(Vendor::Telegram),
            base(Vendor::ElevenLabs)
        );
        let settings = Settings::from_text(&text).unwrap();
        let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
        let keys = Arc::new(Keys::load(&Settings::local(dir.path().into())).unwrap());
        let identity =
            GoogleIdentity { sub: "1".into(), email: "a@example.com".into(), name: None, picture: None };
        let user = store.sign_in(identity, UnixMs(1)).await.unwrap().id;
        let kept = Arc::new(UserSettings::new(store.clone(), keys));
        let keys = ApiKeys::new(&settings, store, kept, HttpClient::new().unwrap());
        (keys, user, dir)
    }

    #[tokio::test]
    async fn a_key_is_taken_if_its_service_takes_it_and_shows_its_end_alone() {
        let fakes = FakeVendors::start().await;
        let (keys, user, _dir) = fixture(&fakes).await;
        for service in [KeyService::ElevenLabs, KeyService::OpenAi] {
            let refused = keys.set(&user, service, "bad-key", None, UnixMs(5)).await;
            assert!(matches!(refused, Err(KeyError::Refused(_))), "{refused:?}");
            keys.set(&user, service, KEY, None, UnixMs(5)).await.unwrap();
        }
        let shown = keys.shown(&user).await.unwrap();
        let set = SetKey { end: "ghij".into(), set: UnixMs(5) };
        let openai = (KeyService::OpenAi, Some(set.clone()));
        assert_eq!(shown, [(KeyService::ElevenLabs, Some(set)), openai, (KeyService::Telegram, None)]);
        assert_eq!(keys.of(&user, KeyService::OpenAi).await.unwrap().unwrap().reveal(), KEY);
        assert!(keys.delete(&user, KeyService::OpenAi, UnixMs(6)).await.unwrap());
        assert!(!keys.delete(&user, KeyService::OpenAi, UnixMs(6)).await.unwrap());
        assert_eq!(end("short"), "");
        for wrong in ["", " ", "two words", "k\u{e9}y"] {
            let refused = keys.set(&user, KeyService::OpenAi, wrong, None, UnixMs(5)).await;
            assert!(matches!(refused, Err(KeyError::Domain(Error::Invalid { .. }))), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_service_that_is_away_takes_no_key_and_loses_none() {
        let fakes = FakeVendors::start().await;
        let (keys, user, _dir) = fixture(&fakes).await;
        keys.set(&user, KeyService::OpenAi, KEY, None, UnixMs(5)).await.unwrap();
        fakes.fail("/openai/v1/models", 1, Fault { status: Some(503), ..Fault::default() });
        let away = keys.set(&user, KeyService::OpenAi, "sk-another-one-0123456", None, UnixMs(6)).await;
        assert!(matches!(away, Err(KeyError::Unreachable("OpenAI"))), "{away:?}");
        assert_eq!(keys.of(&user, KeyService::OpenAi).await.unwrap().unwrap().reveal(), KEY);
    }

    #[tokio::test]
    async fn a_bot_is_told_where_to_post_and_is_known_by_its_secret() {
        let fakes = FakeVendors::start().await;
        let (keys, user, _dir) = fixture(&fakes).await;
        let url = "https://voice.example.com/echome/webhook/telegram";
        keys.set(&user, KeyService::Telegram, TOKEN, Some(url), UnixMs(5)).await.unwrap();
        let sent = fakes.telegram_sent();
        assert_eq!((&sent[0]["method"], &sent[0]["url"]), (&"setWebhook".into(), &url.into()));
        let secret = sent[0]["secret_token"].as_str().unwrap();
        let known = KnownBot { owner: user.clone(), bot: 123_456 };
        assert_eq!(keys.bot_of_secret(secret).await.unwrap(), Some(known));
        assert_eq!(keys.bot_of_secret("guess").await.unwrap(), None);
        assert!(keys.bot(&user).await.unwrap().is_some());
        assert!(keys.delete(&user, KeyService::Telegram, UnixMs(6)).await.unwrap());
        assert_eq!(keys.bot_of_secret(secret).await.unwrap(), None);
        assert_eq!(fakes.telegram_sent()[1]["method"], "deleteWebhook");
    }
}
