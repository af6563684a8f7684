//! VoiceClone: whose webhooks are believed.

use serde::Deserialize;

use super::SettingsError;
use super::layers::Layers;
use super::values::{Environment, Secret, Switch};

/// `[voiceclone]` in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VoiceCloneTable {
    threecx_webhook_secret: Option<String>,
    webhook_secret: Option<String>,
    require_signature: Option<bool>,
    allow_bare_signature: Option<bool>,
}

impl VoiceCloneTable {
    /// `voiceclone_webhook_secret` is `webhook_secret` in the table.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match key {
            "threecx_webhook_secret" => self.threecx_webhook_secret.clone(),
            "webhook_secret" => self.webhook_secret.clone(),
            "require_signature" => self.require_signature.map(|switch| switch.to_string()),
            "allow_bare_signature" => self.allow_bare_signature.map(|switch| switch.to_string()),
            _ => None,
        }
    }
}

/// VoiceClone's webhooks.
#[derive(Clone, Debug, Default)]
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
}

pub(super) fn read(
    layers: &Layers<'_>,
    environment: Environment,
) -> Result<VoiceCloneSettings, SettingsError> {
    let switch =
        |name: &str| Ok::<_, SettingsError>(layers.read::<Switch>(name, None)?.map(|switch| switch.0));
    Ok(VoiceCloneSettings {
        threecx_secret: layers.secret("voiceclone_threecx_webhook_secret", "THREECX_WEBHOOK_SECRET"),
        elevenlabs_secret: layers.secret("voiceclone_webhook_secret", "WEBHOOK_SECRET"),
        require_signature: switch("voiceclone_require_signature")?.unwrap_or(false),
        allow_bare_signature: switch("voiceclone_allow_bare_signature")?
            .unwrap_or(environment != Environment::Production),
    })
}
