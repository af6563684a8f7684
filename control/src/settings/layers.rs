//! The layers that settings come from, and which of them wins.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use offhook_engine::call::CallSettings;
use serde::Deserialize;

use super::appointments::AppointmentTable;
use super::echome::EchoMeTable;
use super::threecx::ThreeCxTable;
use super::transfers::TransferTable;
use super::values::{Address, Hosts, Secret};
use super::voiceclone::VoiceCloneTable;
use super::{DEFAULT_FILE, FallbackModel, Flags, SettingsError, ToolSettings};

/// The file, key by key. The text of a value follows the same rule as in the environment.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    environment: Option<String>,
    listen: Option<String>,
    data_dir: Option<String>,
    public_url: Option<String>,
    insecure: Option<bool>,
    media_auth: Option<String>,
    scenario: Option<String>,
    agent: Option<String>,
    agent_prompt: Option<String>,
    agent_greeting: Option<String>,
    agent_presses_keys: Option<String>,
    openai_api_key: Option<String>,
    openai_base_url: Option<String>,
    openai_model: Option<String>,
    openai_temperature: Option<f64>,
    openai_max_tokens: Option<i64>,
    openai_max_tokens_field: Option<String>,
    speech: Option<String>,
    ears: Option<String>,
    voices: Option<String>,
    voice_first_ms: Option<i64>,
    voice_next_ms: Option<i64>,
    voice_dry_ms: Option<i64>,
    ears_words_ms: Option<i64>,
    noise_suppression: Option<String>,
    media_threads: Option<i64>,
    log: Option<String>,
    bearer_token: Option<String>,
    bearer_tokens: Option<Vec<String>>,
    twilio_auth_token: Option<String>,
    twilio_account_sid: Option<String>,
    twilio_base_url: Option<String>,
    rate_limits: Option<String>,
    account_limit: Option<i64>,
    trusted_proxies: Option<String>,
    connections_per_address: Option<i64>,
    test_endpoints: Option<bool>,
    calls_max: Option<i64>,
    overload_lateness_ms: Option<i64>,
    drain_seconds: Option<i64>,
    busy_sentence: Option<String>,
    busy_redirect: Option<String>,
    otlp_endpoint: Option<String>,
    otlp_headers: Option<String>,
    fallback_number: Option<String>,
    master_key: Option<String>,
    stripe_webhook_secret: Option<String>,
    stripe_prices: Option<String>,
    admin_emails: Option<String>,
    frontdesk_page: Option<String>,
    frontdesk_origins: Option<String>,
    jwt_secret: Option<String>,
    dashboard_page: Option<String>,
    allow_private_destinations: Option<bool>,
    retry_ms: Option<i64>,
    calls_owner: Option<String>,
    redact_settings: Option<bool>,
    dashboard_token_seconds: Option<i64>,
    telegram_base_url: Option<String>,
    yt_dlp: Option<String>,
    ffmpeg: Option<String>,
    video_url: Option<String>,
    google_application_credentials: Option<String>,
    appointments: Option<AppointmentTable>,
    #[serde(default)]
    transfers: Vec<TransferTable>,
    #[serde(default)]
    fallback_models: Vec<FallbackTable>,
    #[serde(default)]
    tools: Vec<ToolSettings>,
    #[serde(default)]
    systems: BTreeMap<String, SystemTable>,
    #[serde(default)]
    vendors: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    threecx: ThreeCxTable,
    #[serde(default)]
    voiceclone: VoiceCloneTable,
    #[serde(default)]
    echome: EchoMeTable,
    pub(super) call: Option<CallSettings>,
    #[serde(skip)]
    path: PathBuf,
}

/// `[systems.<name>]` in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SystemTable {
    listen: Option<String>,
    hosts: Option<Vec<String>>,
}

/// `[[fallback_models]]` in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FallbackTable {
    base_url: Option<String>,
    api_key: Option<Secret>,
    model: String,
    max_tokens_field: Option<String>,
}

/// Where a system stands, beside its base on the main listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemPlace {
    /// A listener of its own, where it stands at the root.
    pub listen: Option<SocketAddr>,
    /// Host names, in lower case, for which it stands at the root of the main listener.
    pub hosts: Vec<String>,
}

impl File {
    fn text(&self, name: &str) -> Option<String> {
        match name {
            "environment" => self.environment.clone(),
            "listen" => self.listen.clone(),
            "data_dir" => self.data_dir.clone(),
            "public_url" => self.public_url.clone(),
            "insecure" => self.insecure.map(|switch| switch.to_string()),
            "media_auth" => self.media_auth.clone(),
            "scenario" => self.scenario.clone(),
            "agent" => self.agent.clone(),
            "agent_prompt" => self.agent_prompt.clone(),
            "agent_greeting" => self.agent_greeting.clone(),
            "agent_presses_keys" => self.agent_presses_keys.clone(),
            "openai_api_key" => self.openai_api_key.clone(),
            "openai_base_url" => self.openai_base_url.clone(),
            "openai_model" => self.openai_model.clone(),
            "openai_temperature" => self.openai_temperature.map(|number| number.to_string()),
            "openai_max_tokens" => self.openai_max_tokens.map(|number| number.to_string()),
            "openai_max_tokens_field" => self.openai_max_tokens_field.clone(),
            "speech" => self.speech.clone(),
            "noise_suppression" => self.noise_suppression.clone(),
            "media_threads" => self.media_threads.map(|number| number.to_string()),
            "log" => self.log.clone(),
            "twilio_auth_token" => self.twilio_auth_token.clone(),
            "twilio_account_sid" => self.twilio_account_sid.clone(),
            "twilio_base_url" => self.twilio_base_url.clone(),
            "rate_limits" => self.rate_limits.clone(),
            "account_limit" => self.account_limit.map(|number| number.to_string()),
            "trusted_proxies" => self.trusted_proxies.clone(),
            "connections_per_address" => self.connections_per_address.map(|number| number.to_string()),
            "test_endpoints" => self.test_endpoints.map(|switch| switch.to_string()),
            "calls_max" => self.calls_max.map(|number| number.to_string()),
            "overload_lateness_ms" => self.overload_lateness_ms.map(|number| number.to_string()),
            "drain_seconds" => self.drain_seconds.map(|number| number.to_string()),
            "busy_sentence" => self.busy_sentence.clone(),
            "busy_redirect" => self.busy_redirect.clone(),
            "otlp_endpoint" => self.otlp_endpoint.clone(),
            "otlp_headers" => self.otlp_headers.clone(),
            "fallback_number" => self.fallback_number.clone(),
            "master_key" => self.master_key.clone(),
            "stripe_webhook_secret" => self.stripe_webhook_secret.clone(),
            "stripe_prices" => self.stripe_prices.clone(),
            "admin_emails" => self.admin_emails.clone(),
            "frontdesk_page" => self.frontdesk_page.clone(),
            "frontdesk_origins" => self.frontdesk_origins.clone(),
            "jwt_secret" => self.jwt_secret.clone(),
            "dashboard_page" => self.dashboard_page.clone(),
            "allow_private_destinations" => self.allow_private_destinations.map(|switch| switch.to_string()),
            "retry_ms" => self.retry_ms.map(|number| number.to_string()),
            "calls_owner" => self.calls_owner.clone(),
            "redact_settings" => self.redact_settings.map(|switch| switch.to_string()),
            "telegram_base_url" => self.telegram_base_url.clone(),
            "yt_dlp" => self.yt_dlp.clone(),
            "ffmpeg" => self.ffmpeg.clone(),
            "video_url" => self.video_url.clone(),
            "dashboard_token_seconds" => self.dashboard_token_seconds.map(|number| number.to_string()),
            "google_application_credentials" => self.google_application_credentials.clone(),
            "ears" => self.ears.clone(),
            "voices" => self.voices.clone(),
            "voice_first_ms" => self.voice_first_ms.map(|number| number.to_string()),
            "voice_next_ms" => self.voice_next_ms.map(|number| number.to_string()),
            "voice_dry_ms" => self.voice_dry_ms.map(|number| number.to_string()),
            "ears_words_ms" => self.ears_words_ms.map(|number| number.to_string()),
            _ => self.table_text(name).or_else(|| self.vendor_text(name)).or_else(|| self.system_text(name)),
        }
    }

    /// `threecx_dn` is `dn` in `[threecx]`.
    fn table_text(&self, name: &str) -> Option<String> {
        let (table, key) = name.split_once('_')?;
        match table {
            "threecx" => self.threecx.text(key),
            "voiceclone" => self.voiceclone.text(key),
            "echome" => self.echome.text(key),
            _ => None,
        }
    }

    /// `deepgram_model` is `model` in `[vendors.deepgram]`.
    fn vendor_text(&self, name: &str) -> Option<String> {
        let (vendor, key) = name.split_once('_')?;
        self.vendors.get(vendor)?.get(key).cloned()
    }

    /// `callbot_listen` is `listen` in `[systems.callbot]`.
    fn system_text(&self, name: &str) -> Option<String> {
        let (system, key) = name.rsplit_once('_')?;
        let table = self.systems.get(system)?;
        match key {
            "listen" => table.listen.clone(),
            "hosts" => table.hosts.as_ref().map(|hosts| hosts.join(",")),
            _ => None,
        }
    }
}

pub(super) fn read_file(
    flags: &Flags,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<File, SettingsError> {
    let named = flags.config.clone().or_else(|| environment("OFFHOOK_CONFIG").map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| Path::new(DEFAULT_FILE).to_path_buf());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(File::default()),
        Err(e) => {
            return Err(SettingsError::File { path, what: format!("the settings file cannot be read: {e}") });
        }
    };
    parse_file(path, &text)
}

/// Reads the file's text. `path` is what errors call it.
pub(super) fn parse_file(path: PathBuf, text: &str) -> Result<File, SettingsError> {
    match toml::from_str::<File>(text) {
        Ok(file) => Ok(File { path, ..file }),
        Err(e) => Err(SettingsError::File { path, what: e.to_string().trim_end().to_owned() }),
    }
}

/// A value's text, and where it stands.
pub(super) struct Given {
    pub(super) text: String,
    place: String,
}

pub(super) struct Layers<'a> {
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    pub(super) file: &'a File,
}

impl Layers<'_> {
    /// The strongest layer's text. An empty variable counts as absent, so that a shell can unset one.
    pub(super) fn text(&self, name: &str, flag: Option<&str>) -> Option<Given> {
        if let Some(text) = flag {
            return Some(Given { text: text.into(), place: format!("--{}", name.replace('_', "-")) });
        }
        let variable = format!("OFFHOOK_{}", name.to_uppercase());
        if let Some(text) = (self.environment)(&variable).filter(|text| !text.is_empty()) {
            return Some(Given { text, place: variable });
        }
        let text = self.file.text(name)?;
        Some(Given { text, place: format!("{name} in {}", self.file.path.display()) })
    }

    pub(super) fn read<T: FromStr<Err = String>>(
        &self,
        name: &str,
        flag: Option<&str>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(Given { text, place }) = self.text(name, flag) else { return Ok(None) };
        match text.trim().parse() {
            Ok(value) => Ok(Some(value)),
            Err(help) => Err(SettingsError::Value { place, text, help }),
        }
    }

    pub(super) fn secret(&self, key: &str, variable: &str) -> Option<Secret> {
        self.plain(key, variable).map(Secret::new)
    }

    /// A setting whose variable has the name that its vendor gave it.
    pub(super) fn plain(&self, key: &str, variable: &str) -> Option<String> {
        let given = |text: &String| !text.trim().is_empty();
        let text =
            (self.environment)(variable).filter(given).or_else(|| self.file.text(key).filter(given))?;
        Some(text.trim().to_owned())
    }

    /// As [`Layers::plain`], read by the rules of its type. `secret`: an error does not show the text.
    pub(super) fn read_plain<T: FromStr<Err = String>>(
        &self,
        key: &str,
        variable: &str,
        secret: bool,
    ) -> Result<Option<T>, SettingsError> {
        let Some(text) = self.plain(key, variable) else { return Ok(None) };
        text.parse().map(Some).map_err(|help| {
            let from_environment = (self.environment)(variable).is_some_and(|text| !text.trim().is_empty());
            let in_file = || format!("{key} in {}", self.file.path.display());
            let place = if from_environment { variable.to_owned() } else { in_file() };
            SettingsError::Value { place, text: if secret { "…".into() } else { text }, help }
        })
    }

    /// Where each of the `known` systems stands. A table of another name is refused.
    pub(super) fn systems(&self, known: &[&str]) -> Result<BTreeMap<String, SystemPlace>, SettingsError> {
        if let Some(name) = self.file.systems.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(SettingsError::File {
                path: self.file.path.clone(),
                what: format!("there is no system {name:?}; there are: {}", known.join(", ")),
            });
        }
        let mut places = BTreeMap::new();
        for name in known {
            let listen = self.read::<Address>(&format!("{name}_listen"), None)?.map(|address| address.0);
            let hosts = self.read::<Hosts>(&format!("{name}_hosts"), None)?.unwrap_or_default().0;
            places.insert((*name).to_owned(), SystemPlace { listen, hosts });
        }
        Ok(places)
    }

    /// Refuses tables of vendors and options of theirs that nobody knows. `known`: each with its options, beside `base_url` and
    /// `api_key`.
    pub(super) fn vendors(&self, known: &[(&str, &[&str])]) -> Result<(), SettingsError> {
        let refused = |what: String| SettingsError::File { path: self.file.path.clone(), what };
        for (name, table) in &self.file.vendors {
            let Some((_, options)) = known.iter().find(|(vendor, _)| vendor == name) else {
                let all: Vec<_> = known.iter().map(|(vendor, _)| *vendor).collect();
                return Err(refused(format!("there is no vendor {name:?}; there are: {}", all.join(", "))));
            };
            let is_known = |key: &&String| {
                ["base_url", "api_key"].contains(&key.as_str()) || options.contains(&key.as_str())
            };
            if let Some(key) = table.keys().find(|key| !is_known(key)) {
                return Err(refused(format!(
                    "[vendors.{name}] knows no {key:?}; it knows: base_url, api_key, {}",
                    options.join(", ")
                )));
            }
        }
        Ok(())
    }

    pub(super) fn fallback_models(&self) -> Result<Vec<FallbackModel>, SettingsError> {
        let read = |table: &FallbackTable| {
            let base = table.base_url.as_deref().map(str::parse).transpose().map_err(|help| {
                SettingsError::Value {
                    place: format!("base_url in [[fallback_models]] of {}", self.file.path.display()),
                    text: table.base_url.clone().unwrap_or_default(),
                    help,
                }
            })?;
            Ok(FallbackModel {
                base,
                key: table.api_key.clone(),
                model: table.model.clone(),
                max_tokens_field: table.max_tokens_field.clone(),
            })
        };
        self.file.fallback_models.iter().map(read).collect()
    }

    pub(super) fn transfers(&self) -> &[TransferTable] {
        &self.file.transfers
    }

    pub(super) fn appointments(&self) -> Option<&AppointmentTable> {
        self.file.appointments.as_ref()
    }

    /// What errors call the file.
    pub(super) fn file_name(&self) -> impl std::fmt::Display + '_ {
        self.file.path.display()
    }

    pub(super) fn tools(&self) -> Vec<ToolSettings> {
        self.file.tools.clone()
    }

    pub(super) fn tokens(&self) -> Vec<Secret> {
        let in_environment: Vec<String> = ["OFFHOOK_BEARER_TOKENS", "OFFHOOK_BEARER_TOKEN"]
            .iter()
            .filter_map(|variable| (self.environment)(variable))
            .flat_map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let texts = if in_environment.iter().any(|token| !token.trim().is_empty()) {
            in_environment
        } else {
            let mut texts = self.file.bearer_tokens.clone().unwrap_or_default();
            texts.extend(self.file.bearer_token.clone());
            texts
        };
        texts
            .into_iter()
            .map(|token| token.trim().to_owned())
            .filter(|t| !t.is_empty())
            .map(Secret::new)
            .collect()
    }
}
