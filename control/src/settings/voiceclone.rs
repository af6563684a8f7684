//! VoiceClone: whose webhooks are believed, and whose voice may be copied.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::SettingsError;
use super::layers::Layers;
use super::values::{Environment, Secret, Switch, Within};

/// `[voiceclone]` in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VoiceCloneTable {
    threecx_webhook_secret: Option<String>,
    webhook_secret: Option<String>,
    require_signature: Option<bool>,
    allow_bare_signature: Option<bool>,
    consent: Option<String>,
    speech_seconds: Option<u64>,
    cache_hours: Option<u64>,
}

impl VoiceCloneTable {
    /// `voiceclone_webhook_secret` is `webhook_secret` in the table.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match key {
            "threecx_webhook_secret" => self.threecx_webhook_secret.clone(),
            "webhook_secret" => self.webhook_secret.clone(),
            "require_signature" => self.require_signature.map(|switch| switch.to_string()),
            "allow_bare_signature" => self.allow_bare_signature.map(|switch| switch.to_string()),
            "consent" => self.consent.clone(),
            "speech_seconds" => self.speech_seconds.map(|number| number.to_string()),
            "cache_hours" => self.cache_hours.map(|number| number.to_string()),
            _ => None,
        }
    }
}

/// What callers have agreed to. That they have is the operator's to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CloneConsent {
    /// Nothing: nobody's voice is copied.
    None,
    /// That their pitch and pace are measured, on this machine: a stand-in speaks with those.
    #[default]
    Local,
    /// That their speech is sent to ElevenLabs, which makes a voice of it. Without a key, as [`CloneConsent::Local`].
    Given,
}

impl FromStr for CloneConsent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "local" => Ok(Self::Local),
            "given" => Ok(Self::Given),
            _ => Err("write none, local or given".into()),
        }
    }
}

/// VoiceClone's webhooks, and the voices that it makes.
#[derive(Clone, Debug)]
pub struct VoiceCloneSettings {
    /// What 3CX's webhooks are signed with, `THREECX_WEBHOOK_SECRET`. Default none.
    pub threecx_secret: Option<Secret>,
    /// What ElevenLabs' webhooks are signed with, `WEBHOOK_SECRET`. Default none: they are believed in development, and refused
    /// in production.
    pub elevenlabs_secret: Option<Secret>,
    /// Whether a webhook of 3CX's without a signature is refused. Default false: the signature is optional.
    pub require_signature: bool,
    /// Whether a bare HMAC of the body counts as a signature of ElevenLabs', which has no time in it. Default in development
    /// alone.
    pub allow_bare_signature: bool,
    /// What callers have agreed to. Default [`CloneConsent::Local`].
    pub consent: CloneConsent,
    /// So much of a caller's speech makes a voice. Default 10 s.
    pub speech: Duration,
    /// So long a voice is used. Default 30 days.
    pub cache: Duration,
}

impl Default for VoiceCloneSettings {
    fn default() -> Self {
        Self {
            threecx_secret: None,
            elevenlabs_secret: None,
            require_signature: false,
            allow_bare_signature: false,
            consent: CloneConsent::default(),
            speech: Duration::from_secs(10),
            cache: Duration::from_secs(30 * 24 * 3_600),
        }
    }
}

/// Seconds of speech that a voice may be made of: less makes none that is like the caller's, and more is not kept.
type Speech = Within<3, 60>;
/// Hours that a voice may be kept, up to ten years.
type Cached = Within<1, 87_600>;

pub(super) fn read(
    layers: &Layers<'_>,
    environment: Environment,
) -> Result<VoiceCloneSettings, SettingsError> {
    let switch =
        |name: &str| Ok::<_, SettingsError>(layers.read::<Switch>(name, None)?.map(|switch| switch.0));
    let default = VoiceCloneSettings::default();
    let speech = layers.read::<Speech>("voiceclone_speech_seconds", None)?;
    let cache = layers.read::<Cached>("voiceclone_cache_hours", None)?;
    Ok(VoiceCloneSettings {
        threecx_secret: layers.secret("voiceclone_threecx_webhook_secret", "THREECX_WEBHOOK_SECRET"),
        elevenlabs_secret: layers.secret("voiceclone_webhook_secret", "WEBHOOK_SECRET"),
        require_signature: switch("voiceclone_require_signature")?.unwrap_or(false),
        allow_bare_signature: switch("voiceclone_allow_bare_signature")?
            .unwrap_or(environment != Environment::Production),
        consent: layers.read("voiceclone_consent", None)?.unwrap_or_default(),
        speech: speech.map_or(default.speech, |seconds| Duration::from_secs(seconds.0)),
        cache: cache.map_or(default.cache, |hours| Duration::from_secs(hours.0 * 3_600)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    #[test]
    fn what_callers_agreed_to_is_read_and_a_wrong_word_told() {
        let read = |text: &str| Settings::from_text(&format!("[voiceclone]\n{text}"));
        let none = read("").unwrap().voiceclone;
        assert_eq!((none.consent, none.speech.as_secs()), (CloneConsent::Local, 10));
        let all = read("consent = 'given'\nspeech_seconds = 4\ncache_hours = 2").unwrap().voiceclone;
        assert_eq!((all.consent, all.speech.as_secs(), all.cache.as_secs()), (CloneConsent::Given, 4, 7_200));
        for (wrong, said) in [
            ("consent = 'yes'", "none, local or given"),
            ("speech_seconds = 2", "3 to 60"),
            ("cache_hours = 0", "1 to 87600"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
