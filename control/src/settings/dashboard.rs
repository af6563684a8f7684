//! What the dashboard needs beside the calls.

use std::time::Duration;

use super::SettingsError;
use super::layers::Layers;
use super::values::{Seconds, Switch};

/// How long a token of the dashboard's is good where nothing else is set.
const TOKEN_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// All that the dashboard needs.
#[derive(Clone, Debug)]
pub struct DashboardSettings {
    /// How long a token is good. Default seven days.
    pub token_life: Duration,
    /// The e-mail address, in lower case, of the user whose calls those are that came in on nobody's line. Default none: they
    /// are in nobody's figures.
    pub calls_owner: Option<String>,
    /// Whether secrets in users' settings are shown to them by their end alone. Default false.
    pub redacts_settings: bool,
}

impl Default for DashboardSettings {
    fn default() -> Self {
        Self { token_life: TOKEN_LIFE, calls_owner: None, redacts_settings: false }
    }
}

pub(super) fn read(layers: &Layers<'_>) -> Result<DashboardSettings, SettingsError> {
    let owner = layers.text("calls_owner", None).map(|given| given.text.trim().to_lowercase());
    Ok(DashboardSettings {
        token_life: layers
            .read::<Seconds>("dashboard_token_seconds", None)?
            .map_or(TOKEN_LIFE, |time| time.0),
        calls_owner: owner.filter(|email| !email.is_empty()),
        redacts_settings: layers.read::<Switch>("redact_settings", None)?.is_some_and(|switch| switch.0),
    })
}
