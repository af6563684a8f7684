//! Settings: flag > environment `OFFHOOK_…` > `offhook.toml` > default; read once, checked once.
//!
//! Every layer gives text under one name; the strongest layer wins, and the text is read by the same rule wherever it
//! came from. So an error can always say which line, variable or flag it is about, and what to write instead.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use offhook_engine::call::CallSettings;
use serde::Deserialize;

/// How a server runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Development, or production with everything locked. Default: development.
    pub environment: Environment,
    /// Where to listen; port 0 for any free port. Default 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// Where the database, recordings, journals and logs are. Default `offhook-data`.
    pub data_dir: PathBuf,
    /// The origin that carriers see. Default: taken from each request's `Host` and forwarded headers.
    pub public_url: Option<PublicUrl>,
    /// Listens beyond this machine though there is no secret to know callers by. Default false.
    pub insecure: bool,
    /// Who may open a media socket. Default: only calls that a webhook announced.
    pub media_auth: MediaAuth,
    /// What the agent goes through with the caller: the name of a shipped scenario, or a file. Default
    /// [`DEFAULT_SCENARIO`].
    pub scenario: String,
    /// What listens and speaks. Default: local.
    pub speech: Speech,
    /// How many media threads; none for one per core. Default none.
    pub media_threads: Option<usize>,
    /// How much is logged. Default: info.
    pub log: LogLevel,
    /// Tokens that open `/v1`. Default none.
    pub bearer_tokens: Vec<Secret>,
    /// The key that Twilio signs its requests with; none: signatures are not checked, and production refuses all
    /// webhooks. Default none.
    pub twilio_auth_token: Option<Secret>,
    /// The account whose token that is: `AC…`. With both, the server looks whether Twilio knows them. Default none.
    pub twilio_account_sid: Option<String>,
    /// Where Twilio's REST API is. Default [`TWILIO_API`].
    pub twilio_base_url: PublicUrl,
    /// The numbers that calls decide by: the file's `[call]` table.
    pub call: CallSettings,
}

/// The scenario of calls when none is configured.
pub const DEFAULT_SCENARIO: &str = "lead_qualification";

/// The host of Twilio's REST API.
pub const TWILIO_API: &str = "api.twilio.com";

/// The settings file that is read when none is named.
pub const DEFAULT_FILE: &str = "offhook.toml";

impl Settings {
    /// Defaults for a server on this machine that keeps its data under `data_dir`: for tests, benches and the demo.
    pub fn local(data_dir: PathBuf) -> Self {
        Self {
            environment: Environment::Development,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir,
            public_url: None,
            insecure: false,
            media_auth: MediaAuth::Announced,
            scenario: DEFAULT_SCENARIO.into(),
            speech: Speech::Local,
            media_threads: None,
            log: LogLevel::Info,
            bearer_tokens: Vec::new(),
            twilio_auth_token: None,
            twilio_account_sid: None,
            twilio_base_url: twilio_api(),
            call: CallSettings::default(),
        }
    }

    /// Reads all layers and checks them together. `environment` looks a variable up.
    pub fn load(flags: &Flags, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let file = read_file(flags, environment)?;
        let layers = Layers { environment, file: &file };
        let settings = Self {
            environment: layers.read("environment", None)?.unwrap_or(Environment::Development),
            listen: layers
                .read::<Address>("listen", flags.listen.as_deref())?
                .map_or(SocketAddr::from(([127, 0, 0, 1], 8080)), |address| address.0),
            data_dir: flags.data_dir.clone().unwrap_or_else(|| {
                layers.text("data_dir", None).map_or_else(|| "offhook-data".into(), |given| given.text.into())
            }),
            public_url: layers.read("public_url", None)?,
            insecure: flags.insecure || layers.read::<Switch>("insecure", None)?.is_some_and(|s| s.0),
            media_auth: layers.read("media_auth", None)?.unwrap_or(MediaAuth::Announced),
            scenario: layers
                .text("scenario", flags.scenario.as_deref())
                .map_or_else(|| DEFAULT_SCENARIO.into(), |given| given.text),
            speech: layers.read("speech", flags.speech.as_deref())?.unwrap_or(Speech::Local),
            media_threads: layers.read::<Threads>("media_threads", None)?.map(|threads| threads.0),
            log: layers.read("log", flags.log.as_deref())?.unwrap_or(LogLevel::Info),
            bearer_tokens: layers.tokens(),
            twilio_auth_token: layers.secret("twilio_auth_token", "TWILIO_AUTH_TOKEN"),
            twilio_account_sid: layers.plain("twilio_account_sid", "TWILIO_ACCOUNT_SID"),
            twilio_base_url: layers
                .read::<ServiceUrl>("twilio_base_url", None)?
                .map_or_else(twilio_api, |url| url.0),
            call: file.call.clone().unwrap_or_default(),
        };
        settings.check()?;
        Ok(settings)
    }

    /// Checks what no single setting can know: which of them may not stand together.
    pub fn check(&self) -> Result<(), SettingsError> {
        let beyond = !self.listen.ip().is_loopback();
        if beyond && self.media_auth == MediaAuth::Open {
            return Err(SettingsError::Together(format!(
                "OFFHOOK_MEDIA_AUTH=open lets anyone who reaches {} talk to the agent; it is for direct tests on \
                 127.0.0.1 only. Listen on 127.0.0.1, or leave it at \"announced\".",
                self.listen
            )));
        }
        if beyond && !self.insecure && self.twilio_auth_token.is_none() && self.bearer_tokens.is_empty() {
            return Err(SettingsError::Together(format!(
                "{} can be reached from other machines, and there is no secret to know callers by. Set \
                 TWILIO_AUTH_TOKEN (webhooks are then checked), or OFFHOOK_BEARER_TOKENS, or listen on 127.0.0.1; \
                 --insecure listens there all the same.",
                self.listen
            )));
        }
        if self.environment == Environment::Production && self.bearer_tokens.is_empty() {
            return Err(SettingsError::Together(
                "in production, /v1 opens to bearer tokens only, and none is configured. Set OFFHOOK_BEARER_TOKENS \
                 to one or more long random texts, separated by commas."
                    .into(),
            ));
        }
        if self.call.vad_mode > 3 {
            return Err(SettingsError::Together(format!(
                "vad_mode in [call] is {}; it goes from 0 (readily calls a sound speech) to 3 (clean lines only).",
                self.call.vad_mode
            )));
        }
        if self.call.onset_ms == 0 || self.call.onset_ms > self.call.onset_window_ms {
            return Err(SettingsError::Together(format!(
                "onset_ms in [call] is {} and onset_window_ms is {}: the first must be at least 1 and fit into the \
                 second.",
                self.call.onset_ms, self.call.onset_window_ms
            )));
        }
        Ok(())
    }

    /// True if `/v1` answers without a bearer token: in development, as long as only this machine can reach it or
    /// `--insecure` was given. A public URL says that a proxy lets others in.
    pub fn api_is_open(&self) -> bool {
        let only_this_machine = self.listen.ip().is_loopback() && self.public_url.is_none();
        self.environment == Environment::Development
            && self.bearer_tokens.is_empty()
            && (only_this_machine || self.insecure)
    }

    /// The database's file.
    pub fn database(&self) -> PathBuf {
        self.data_dir.join("offhook.db")
    }

    /// The folder of recordings.
    pub fn recordings(&self) -> PathBuf {
        self.data_dir.join("recordings")
    }

    /// The folder of journals.
    pub fn journals(&self) -> PathBuf {
        self.data_dir.join("journals")
    }

    /// The log's file.
    pub fn log_file(&self) -> PathBuf {
        self.data_dir.join("logs").join("offhook.log")
    }
}

/// Settings as flags, shared by the commands that serve.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Settings file; without it, offhook.toml in the current folder is read if it is there.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:8080]; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Folder of the database, recordings, journals and logs [default: offhook-data].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// What the agent goes through with the caller: a shipped scenario's name, or a file [default: lead_qualification].
    #[arg(long, value_name = "NAME|FILE")]
    pub scenario: Option<String>,
    /// What listens and speaks: local (recogniser if installed, voice, keypad), keypad (voice and keypad), canned
    /// (fixed audio, for load tests) [default: local].
    #[arg(long, value_name = "local|keypad|canned")]
    pub speech: Option<String>,
    /// How much to log: error, warn, info, debug, trace [default: info].
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Listen beyond this machine though no secret is configured.
    #[arg(long)]
    pub insecure: bool,
}

/// Where the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// On a developer's machine: what has no secret configured is open.
    Development,
    /// In earnest: bearer tokens required, unsigned webhooks refused.
    Production,
}

impl Environment {
    /// As it is written in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

/// Who may open a media socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaAuth {
    /// Calls that a webhook announced, with the token that its answer gave.
    Announced,
    /// Anyone: for direct test clients on this machine.
    Open,
}

/// What listens and speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// The local recogniser if it is installed, the built-in voice, and keys.
    Local,
    /// The built-in voice, and keys alone.
    Keypad,
    /// Two seconds of fixed audio after each turn of the caller, for load tests: no recogniser, voice or agent.
    Canned,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What is lost or broken.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And each call and request.
    Info,
    /// And what it takes to find a fault.
    Debug,
    /// And everything.
    Trace,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that compares or signs with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An origin: `https://voice.example.com`, without path and without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// True for https and wss.
    pub tls: bool,
    /// Host, and port if one was given.
    pub authority: String,
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }
}

/// Why settings cannot be used. Displays as what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read, or is not what it should be.
    #[error("{}: {what}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, with line and key.
        what: String,
    },
    /// A value that cannot be read.
    #[error("{place} is {text:?}: {help}")]
    Value {
        /// Flag, variable, or key and file.
        place: String,
        /// The value.
        text: String,
        /// What to write instead.
        help: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Together(String),
}

/// The file, key by key. The text of a value follows the same rule as in the environment.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    environment: Option<String>,
    listen: Option<String>,
    data_dir: Option<String>,
    public_url: Option<String>,
    insecure: Option<bool>,
    media_auth: Option<String>,
    scenario: Option<String>,
    speech: Option<String>,
    media_threads: Option<i64>,
    log: Option<String>,
    bearer_token: Option<String>,
    bearer_tokens: Option<Vec<String>>,
    twilio_auth_token: Option<String>,
    twilio_account_sid: Option<String>,
    twilio_base_url: Option<String>,
    call: Option<CallSettings>,
    #[serde(skip)]
    path: PathBuf,
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
            "speech" => self.speech.clone(),
            "media_threads" => self.media_threads.map(|number| number.to_string()),
            "log" => self.log.clone(),
            "twilio_auth_token" => self.twilio_auth_token.clone(),
            "twilio_account_sid" => self.twilio_account_sid.clone(),
            "twilio_base_url" => self.twilio_base_url.clone(),
            _ => None,
        }
    }
}

fn read_file(flags: &Flags, environment: &dyn Fn(&str) -> Option<String>) -> Result<File, SettingsError> {
    let named = flags.config.clone().or_else(|| environment("OFFHOOK_CONFIG").map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| Path::new(DEFAULT_FILE).to_path_buf());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(File::default()),
        Err(e) => {
            return Err(SettingsError::File { path, what: format!("the settings file cannot be read: {e}") });
        }
    };
    match toml::from_str::<File>(&text) {
        Ok(file) => Ok(File { path, ..file }),
        Err(e) => Err(SettingsError::File { path, what: e.to_string().trim_end().to_owned() }),
    }
}

struct Given {
    text: String,
    place: String,
}

struct Layers<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    file: &'a File,
}

impl Layers<'_> {
    /// The strongest layer's text. An empty variable counts as absent, so that a shell can unset one.
    fn text(&self, name: &str, flag: Option<&str>) -> Option<Given> {
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

    fn read<T: FromStr<Err = String>>(
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

    fn secret(&self, key: &str, variable: &str) -> Option<Secret> {
        self.plain(key, variable).map(Secret)
    }

    /// A setting whose variable has the name that its vendor gave it.
    fn plain(&self, key: &str, variable: &str) -> Option<String> {
        (self.environment)(variable)
            .or_else(|| self.file.text(key))
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }

    fn tokens(&self) -> Vec<Secret> {
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
        texts.into_iter().map(|token| token.trim().to_owned()).filter(|t| !t.is_empty()).map(Secret).collect()
    }
}

struct Address(SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.replace("localhost:", "127.0.0.1:");
        text.parse()
            .map(Self)
            .map_err(|_| "write an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".into())
    }
}

/// Where an outside service is asked.
struct ServiceUrl(PublicUrl);

impl FromStr for ServiceUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help =
            |_| format!("write the origin of the service, such as https://{TWILIO_API}, without a path");
        text.parse().map(Self).map_err(help)
    }
}

fn twilio_api() -> PublicUrl {
    PublicUrl { tls: true, authority: TWILIO_API.into() }
}

struct Switch(bool);

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "true" | "1" | "on" | "yes" => Ok(Self(true)),
            "false" | "0" | "off" | "no" => Ok(Self(false)),
            _ => Err("write true or false".into()),
        }
    }
}

struct Threads(usize);

impl FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number @ 1..=256) => Ok(Self(number)),
            _ => Err("write a number from 1 to 256, or leave it away for one per core".into()),
        }
    }
}

impl FromStr for Environment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            _ => Err("write development or production".into()),
        }
    }
}

impl FromStr for MediaAuth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "announced" => Ok(Self::Announced),
            "open" => Ok(Self::Open),
            _ => Err("write announced, or open for direct test clients on this machine".into()),
        }
    }
}

impl FromStr for Speech {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            "keypad" => Ok(Self::Keypad),
            "canned" => Ok(Self::Canned),
            _ => Err("write local, keypad or canned".into()),
        }
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err("write error, warn, info, debug or trace".into()),
        }
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || "write the origin that carriers see, such as https://voice.example.com".to_owned();
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(help()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if !is_authority(authority) {
            return Err(help());
        }
        Ok(Self { tls, authority: authority.to_lowercase() })
    }
}

/// True if `text` is a host with or without a port, and so can be put into a URL as it is.
pub fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let host_fits = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.len() <= 253
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_')
        }
    };
    host_fits && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(
        flags: Flags,
        environment: &[(&str, &str)],
        file: Option<&str>,
    ) -> Result<Settings, SettingsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offhook.toml");
        std::fs::write(&path, file.unwrap_or("")).unwrap();
        let flags = Flags { config: Some(path), ..flags };
        let lookup = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        Settings::load(&flags, &lookup)
    }

    fn refusal(environment: &[(&str, &str)], file: &str) -> String {
        with(Flags::default(), environment, Some(file)).unwrap_err().to_string()
    }

    #[test]
    fn without_any_layer_the_defaults_hold() {
        let settings = with(Flags::default(), &[], None).unwrap();
        assert_eq!(settings.listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(settings.environment, Environment::Development);
        assert_eq!(settings.media_auth, MediaAuth::Announced);
        assert_eq!(settings.scenario, DEFAULT_SCENARIO);
        assert_eq!(settings.call, CallSettings::default());
        assert!(settings.api_is_open());
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let file = Some("listen = '127.0.0.1:3'\nspeech = 'keypad'\nscenario = 'file'");
        let environment = [("OFFHOOK_LISTEN", "127.0.0.1:2"), ("OFFHOOK_SCENARIO", "environment")];
        let flags = Flags { listen: Some("127.0.0.1:1".into()), ..Flags::default() };
        let settings = with(flags, &environment, file).unwrap();
        assert_eq!(settings.listen.port(), 1);
        assert_eq!(settings.scenario, "environment");
        assert_eq!(settings.speech, Speech::Keypad);
    }

    #[test]
    fn an_empty_variable_counts_as_absent() {
        let settings =
            with(Flags::default(), &[("OFFHOOK_SPEECH", ""), ("TWILIO_AUTH_TOKEN", " ")], None).unwrap();
        assert_eq!(settings.speech, Speech::Local);
        assert!(settings.twilio_auth_token.is_none());
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let text = refusal(&[], "speach = 'local'");
        assert!(text.contains("speach") && text.contains("offhook.toml"), "{text}");
        let text = refusal(&[], "[call]\nbarge_in_msec = 3");
        assert!(text.contains("barge_in_msec"), "{text}");
    }

    #[test]
    fn every_bad_value_says_where_it_stands_and_what_to_write() {
        for (variable, value, wanted) in [
            ("OFFHOOK_LISTEN", "8080", "127.0.0.1:8080"),
            ("OFFHOOK_ENVIRONMENT", "prod", "production"),
            ("OFFHOOK_PUBLIC_URL", "voice.example.com", "https://voice.example.com"),
            ("OFFHOOK_PUBLIC_URL", "https://voice.example.com/path", "https://voice.example.com"),
            ("OFFHOOK_PUBLIC_URL", "https://voice.example.com:port", "https://voice.example.com"),
            ("OFFHOOK_MEDIA_AUTH", "none", "announced"),
            ("OFFHOOK_SPEECH", "cloud", "keypad"),
            ("OFFHOOK_MEDIA_THREADS", "0", "1 to 256"),
            ("OFFHOOK_LOG", "loud", "debug"),
            ("OFFHOOK_INSECURE", "maybe", "true or false"),
        ] {
            let text = refusal(&[(variable, value)], "");
            assert!(
                text.contains(variable) && text.contains(value) && text.contains(wanted),
                "{variable}: {text}"
            );
        }
        let text = refusal(&[], "listen = 'here'");
        assert!(text.contains("listen in ") && text.contains("offhook.toml"), "{text}");
        let text = refusal(&[], "listen = 80");
        assert!(text.contains("listen") && text.contains("line 1"), "{text}");
    }

    #[test]
    fn a_named_file_that_is_not_there_is_an_error() {
        let flags = Flags { config: Some("/nowhere/offhook.toml".into()), ..Flags::default() };
        let text = Settings::load(&flags, &|_| None).unwrap_err().to_string();
        assert!(text.contains("/nowhere/offhook.toml"), "{text}");
    }

    #[test]
    fn other_machines_are_let_in_only_with_a_secret_or_when_told() {
        let text = refusal(&[("OFFHOOK_LISTEN", "0.0.0.0:8080")], "");
        assert!(text.contains("TWILIO_AUTH_TOKEN") && text.contains("--insecure"), "{text}");
        let listen = ("OFFHOOK_LISTEN", "0.0.0.0:8080");
        let signed = with(Flags::default(), &[listen, ("TWILIO_AUTH_TOKEN", "t")], None).unwrap();
        assert!(!signed.api_is_open(), "a webhook secret does not open the API to the network");
        let told = with(Flags { insecure: true, ..Flags::default() }, &[listen], None).unwrap();
        assert!(told.api_is_open());
    }

    #[test]
    fn behind_a_public_url_the_api_is_shut_without_a_token() {
        let proxied = with(Flags::default(), &[("OFFHOOK_PUBLIC_URL", "https://voice.example.com")], None);
        assert!(!proxied.unwrap().api_is_open());
    }

    #[test]
    fn open_media_is_refused_beyond_this_machine() {
        let text = refusal(
            &[
                ("OFFHOOK_LISTEN", "0.0.0.0:1"),
                ("OFFHOOK_MEDIA_AUTH", "open"),
                ("TWILIO_AUTH_TOKEN", "t"),
                ("OFFHOOK_INSECURE", "true"),
            ],
            "",
        );
        assert!(text.contains("OFFHOOK_MEDIA_AUTH"), "{text}");
    }

    #[test]
    fn production_needs_bearer_tokens() {
        let text = refusal(&[("OFFHOOK_ENVIRONMENT", "production")], "");
        assert!(text.contains("OFFHOOK_BEARER_TOKENS"), "{text}");
        let settings = with(
            Flags::default(),
            &[("OFFHOOK_ENVIRONMENT", "production"), ("OFFHOOK_BEARER_TOKENS", "one, two,")],
            None,
        )
        .unwrap();
        assert_eq!(settings.bearer_tokens.iter().map(Secret::reveal).collect::<Vec<_>>(), ["one", "two"]);
        assert!(!settings.api_is_open());
    }

    #[test]
    fn twilio_is_asked_at_its_own_host_unless_another_is_named() {
        let settings = with(Flags::default(), &[("TWILIO_ACCOUNT_SID", " AC1 ")], None).unwrap();
        assert_eq!(settings.twilio_account_sid.as_deref(), Some("AC1"));
        assert_eq!(settings.twilio_base_url.to_string(), "https://api.twilio.com");
        let fake = ("OFFHOOK_TWILIO_BASE_URL", "http://127.0.0.1:9");
        let settings = with(Flags::default(), &[fake], Some("twilio_account_sid = 'AC2'")).unwrap();
        assert_eq!(settings.twilio_account_sid.as_deref(), Some("AC2"));
        assert_eq!(settings.twilio_base_url.to_string(), "http://127.0.0.1:9");
        let text = refusal(&[("OFFHOOK_TWILIO_BASE_URL", "https://api.twilio.com/2010-04-01")], "");
        assert!(text.contains("OFFHOOK_TWILIO_BASE_URL") && text.contains("without a path"), "{text}");
    }

    #[test]
    fn the_call_table_sets_the_calls_numbers() {
        let settings = with(Flags::default(), &[], Some("[call]\nbarge_in_ms = 200")).unwrap();
        assert_eq!(settings.call.barge_in_ms, 200);
        assert_eq!(settings.call.lead_ms, CallSettings::default().lead_ms);
    }

    #[test]
    fn secrets_are_not_printed() {
        let settings =
            with(Flags::default(), &[("TWILIO_AUTH_TOKEN", "hush"), ("OFFHOOK_BEARER_TOKEN", "quiet")], None)
                .unwrap();
        let printed = format!("{settings:?}");
        assert!(!printed.contains("hush") && !printed.contains("quiet"), "{printed}");
    }

    #[test]
    fn authorities_are_hosts_with_or_without_a_port() {
        for good in ["localhost", "localhost:80", "a.b-c.example:65535", "[::1]", "[::1]:80", "10.0.0.1"] {
            assert!(is_authority(good), "{good}");
        }
        for bad in ["", ":80", "a b", "a/b", "a\"b", "user@host", "host:", "host:99999", "[::1", "a<b"] {
            assert!(!is_authority(bad), "{bad}");
        }
    }
}
