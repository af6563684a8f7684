//! Settings: flag > environment `OFFHOOK_…` > `offhook.toml` > default; read once, checked once.
//!
//! Every layer gives text under one name; the strongest layer wins, and the text is read by the same rule wherever it
//! came from. So an error can always say which line, variable or flag it is about, and what to write instead.

mod agent;
mod appointments;
mod crm;
mod dashboard;
mod echome;
mod frontdesk;
mod layers;
mod otlp;
mod threecx;
mod transfers;
mod values;
mod vendors;
mod voiceclone;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use offhook_engine::call::CallSettings;

pub use agent::{
    AGENT_GREETING, AGENT_PROMPT, AgentChoice, BaseUrl, FallbackModel, OPENAI_API, OPENAI_MAX_TOKENS,
    OPENAI_MODEL, OpenAiSettings, ToolMethod, ToolSettings,
};
pub use appointments::AppointmentSettings;
pub use crm::{CrmClientSettings, CrmSettings};
pub use dashboard::DashboardSettings;
pub use echome::EchoMeSettings;
pub use frontdesk::{FrontDeskSettings, GoogleClient, Prices};
pub use layers::SystemPlace;
use layers::{File, Layers, parse_file, read_file};
pub use otlp::{OtlpEndpoint, OtlpHeaders};
pub use threecx::ThreeCxSettings;
pub use transfers::{PhoneNumber, Transfer, TransferSettings};
use values::{Address, Count, Millis, Proxies, Redirect, Seconds, ServiceUrl, Switch, Threads};
pub use values::{Environment, LogLevel, MediaAuth, PublicUrl, Secret, Speech, is_authority};
pub use vendors::{EarsChoice, GoogleSpeech, SpeechVendors, VendorSettings, VoiceChoice, VoiceWaits};
pub use voiceclone::{CloneConsent, VoiceCloneSettings};

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
    /// What answers a call. Default: a scenario.
    pub agent: AgentChoice,
    /// For an agent that asks a model.
    pub openai: OpenAiSettings,
    /// What listens and speaks. Default: local.
    pub speech: Speech,
    /// Who listens and speaks beside this machine, and what they need.
    pub vendors: SpeechVendors,
    /// Who can go on with a call on the telephone.
    pub transfers: TransferSettings,
    /// Appointments that callers may book. Default none.
    pub appointments: Option<AppointmentSettings>,
    /// The key file of a service account at Google, for calendars. Default none.
    pub google_credentials: Option<PathBuf>,
    /// Whether noise is taken out of what the recogniser hears. Default false: it helps in steady noise, and costs elsewhere.
    pub noise_suppression: bool,
    /// How many media threads; none for one per core. Default none.
    pub media_threads: Option<usize>,
    /// How much is logged. Default: info.
    pub log: LogLevel,
    /// Tokens that open `/v1`. Default none.
    pub bearer_tokens: Vec<Secret>,
    /// The key that Twilio signs its requests with; none: signatures are not checked, and production refuses all
    /// webhooks. Default none.
    pub twilio_auth_token: Option<Secret>,
    /// Whether requests are limited per client and minute. Off for load tests. Default true.
    pub rate_limits: bool,
    /// How many webhooks a minute one carrier account may send that its signature proves; none: any number. Default none.
    pub account_limit: Option<u32>,
    /// Proxies whose forwarded headers are believed. Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// How many connections one address may have open that are not calls. Proxies that are trusted have no limit.
    /// Default [`CONNECTIONS_PER_ADDRESS`].
    pub connections_per_address: usize,
    /// Whether `/api/test/` is there. Default: in development, not in production.
    pub test_endpoints: bool,
    /// How many calls are taken at once; none: as many as the media threads can bear. Default none.
    pub calls_max: Option<usize>,
    /// New calls are refused while frames are later than this, by the media threads' own measurement, or records are about to
    /// be lost; zero: never.
    /// Default [`OVERLOAD_LATENESS`].
    pub overload_lateness: Duration,
    /// How long calls may go on after SIGTERM. Default [`DRAIN`].
    pub drain: Duration,
    /// What a call hears that is refused. Default [`BUSY_SENTENCE`].
    pub busy_sentence: String,
    /// Where the carrier asks on for a call that is refused, instead of hearing the sentence. Default none.
    pub busy_redirect: Option<String>,
    /// The collector that traces of calls are sent to, over OTLP/HTTP; none: there are no traces. Default none.
    pub otlp_endpoint: Option<OtlpEndpoint>,
    /// Headers for it, such as a key. Default none.
    pub otlp_headers: Option<OtlpHeaders>,
    /// Where systems stand beside their bases: the file's `[systems.<name>]` tables.
    pub systems: BTreeMap<String, SystemPlace>,
    /// The account whose token that is: `AC…`. With both, the server looks whether Twilio knows them. Default none.
    pub twilio_account_sid: Option<String>,
    /// Where Twilio's REST API is. Default [`TWILIO_API`].
    pub twilio_base_url: PublicUrl,
    /// The key that seals secrets in the database: 64 hexadecimal digits. Default: in development, made once and kept in the
    /// data folder; in production none, and what has to be sealed is refused.
    pub master_key: Option<Secret>,
    /// What tokens of users are signed with. Default: likewise.
    pub jwt_secret: Option<Secret>,
    /// Removes sealed secrets at the start whose key is lost. Default false.
    pub forget_secrets: bool,
    /// What FrontDesk needs beside the calls.
    pub frontdesk: FrontDeskSettings,
    /// What Echo Me needs.
    pub echome: EchoMeSettings,
    /// What the dashboard needs beside the calls.
    pub dashboard: DashboardSettings,
    /// What goes out when a call has ended.
    pub crm: CrmSettings,
    /// The 3CX system whose calls are answered: the file's `[threecx]` table. Default none.
    pub threecx: Option<ThreeCxSettings>,
    /// VoiceClone's webhooks: the file's `[voiceclone]` table.
    pub voiceclone: VoiceCloneSettings,
    /// The numbers that calls decide by: the file's `[call]` table.
    pub call: Arc<CallSettings>,
}

/// Connections of one address, where nothing else is set: above what one carrier's or one load tester's bursts need.
pub const CONNECTIONS_PER_ADDRESS: usize = 2_048;

/// How late frames may be before new calls are refused, where nothing else is set: half the lead that playout has, so that
/// callers do not hear it yet.
pub const OVERLOAD_LATENESS: Duration = Duration::from_millis(50);

/// How long calls may go on after SIGTERM, where nothing else is set.
pub const DRAIN: Duration = Duration::from_secs(60);

/// What a refused call hears, where nothing else is set.
pub const BUSY_SENTENCE: &str = "We are sorry, all our lines are busy. Please call again later.";

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
            agent: AgentChoice::Scenario,
            openai: OpenAiSettings::default(),
            speech: Speech::Local,
            vendors: SpeechVendors::default(),
            transfers: TransferSettings::default(),
            appointments: None,
            google_credentials: None,
            noise_suppression: false,
            media_threads: None,
            log: LogLevel::Info,
            bearer_tokens: Vec::new(),
            twilio_auth_token: None,
            rate_limits: true,
            account_limit: None,
            trusted_proxies: Vec::new(),
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            test_endpoints: true,
            calls_max: None,
            overload_lateness: OVERLOAD_LATENESS,
            drain: DRAIN,
            busy_sentence: BUSY_SENTENCE.into(),
            busy_redirect: None,
            otlp_endpoint: None,
            otlp_headers: None,
            systems: BTreeMap::new(),
            twilio_account_sid: None,
            twilio_base_url: twilio_api(),
            master_key: None,
            jwt_secret: None,
            forget_secrets: false,
            frontdesk: FrontDeskSettings::default(),
            dashboard: DashboardSettings::default(),
            echome: EchoMeSettings::default(),
            crm: CrmSettings::default(),
            threecx: None,
            voiceclone: VoiceCloneSettings { allow_bare_signature: true, ..VoiceCloneSettings::default() },
            call: Arc::default(),
        }
    }

    /// Reads all layers and checks them together. `environment` looks a variable up.
    pub fn load(flags: &Flags, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        Self::of(flags, environment, &read_file(flags, environment)?)
    }

    /// Settings of a file alone, given as its text, and checked: no flag, no environment.
    pub fn from_text(text: &str) -> Result<Self, SettingsError> {
        Self::of(&Flags::default(), &|_| None, &parse_file(DEFAULT_FILE.into(), text)?)
    }

    fn of(
        flags: &Flags,
        environment: &dyn Fn(&str) -> Option<String>,
        file: &File,
    ) -> Result<Self, SettingsError> {
        let layers = Layers { environment, file };
        let runs_in = layers.read("environment", None)?.unwrap_or(Environment::Development);
        let settings = Self {
            environment: runs_in,
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
            agent: layers.read("agent", None)?.unwrap_or(AgentChoice::Scenario),
            openai: agent::read(&layers)?,
            speech: layers.read("speech", flags.speech.as_deref())?.unwrap_or(Speech::Local),
            vendors: vendors::read(&layers)?,
            transfers: transfers::read(&layers)?,
            appointments: appointments::read(&layers)?,
            google_credentials: layers
                .plain("google_application_credentials", "GOOGLE_APPLICATION_CREDENTIALS")
                .map(PathBuf::from),
            noise_suppression: layers.read::<Switch>("noise_suppression", None)?.is_some_and(|s| s.0),
            media_threads: layers.read::<Threads>("media_threads", None)?.map(|threads| threads.0),
            log: layers.read("log", flags.log.as_deref())?.unwrap_or(LogLevel::Info),
            bearer_tokens: layers.tokens(),
            twilio_auth_token: layers.secret("twilio_auth_token", "TWILIO_AUTH_TOKEN"),
            rate_limits: layers.read::<Switch>("rate_limits", None)?.is_none_or(|switch| switch.0),
            account_limit: layers
                .read::<Count>("account_limit", None)?
                .map(|count| count.0)
                .filter(|n| *n > 0),
            trusted_proxies: layers.read::<Proxies>("trusted_proxies", None)?.unwrap_or_default().0,
            connections_per_address: layers
                .read::<Count>("connections_per_address", None)?
                .map_or(CONNECTIONS_PER_ADDRESS, |count| count.0 as usize),
            test_endpoints: layers
                .read::<Switch>("test_endpoints", None)?
                .map_or(runs_in == Environment::Development, |switch| switch.0),
            calls_max: layers
                .read::<Count>("calls_max", None)?
                .map(|count| count.0 as usize)
                .filter(|calls| *calls > 0),
            overload_lateness: layers
                .read::<Millis>("overload_lateness_ms", None)?
                .map_or(OVERLOAD_LATENESS, |time| time.0),
            drain: layers.read::<Seconds>("drain_seconds", None)?.map_or(DRAIN, |time| time.0),
            busy_sentence: layers
                .text("busy_sentence", None)
                .map_or_else(|| BUSY_SENTENCE.into(), |given| given.text),
            busy_redirect: layers.read::<Redirect>("busy_redirect", None)?.map(|url| url.0),
            otlp_endpoint: layers.read_plain("otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", false)?,
            otlp_headers: layers.read_plain("otlp_headers", "OTEL_EXPORTER_OTLP_HEADERS", true)?,
            systems: layers.systems(&["callbot", "dashboard", "echome", "frontdesk", "voiceclone"])?,
            twilio_account_sid: layers.plain("twilio_account_sid", "TWILIO_ACCOUNT_SID"),
            twilio_base_url: layers
                .read::<ServiceUrl>("twilio_base_url", None)?
                .map_or_else(twilio_api, |url| url.0),
            master_key: layers.secret("master_key", "OFFHOOK_MASTER_KEY"),
            jwt_secret: layers.secret("jwt_secret", "OFFHOOK_JWT_SECRET"),
            forget_secrets: layers.read::<Switch>("forget_secrets", None)?.is_some_and(|s| s.0),
            frontdesk: frontdesk::read(&layers)?,
            dashboard: dashboard::read(&layers)?,
            echome: echome::read(&layers)?,
            crm: crm::read(&layers)?,
            threecx: threecx::read(&layers)?,
            voiceclone: voiceclone::read(&layers, runs_in)?,
            call: file.call.clone().unwrap_or_default().into(),
        };
        settings.check()?;
        Ok(settings)
    }

    /// Checks what no single setting can know: which of them may not stand together.
    pub fn check(&self) -> Result<(), SettingsError> {
        let beyond = self.listens().any(|address| !address.ip().is_loopback());
        if beyond && self.media_auth == MediaAuth::Open {
            return Err(SettingsError::Together(format!(
                "OFFHOOK_MEDIA_AUTH=open lets anyone who reaches {} talk to the agent; it is for direct tests on \
                 127.0.0.1 only. Listen on 127.0.0.1, or leave it at \"announced\".",
                self.open_address()
            )));
        }
        if beyond && !self.insecure && self.twilio_auth_token.is_none() && self.bearer_tokens.is_empty() {
            return Err(SettingsError::Together(format!(
                "{} can be reached from other machines, and there is no secret to know callers by. Set \
                 TWILIO_AUTH_TOKEN (webhooks are then checked), or OFFHOOK_BEARER_TOKENS, or listen on 127.0.0.1; \
                 --insecure listens there all the same.",
                self.open_address()
            )));
        }
        if self.environment == Environment::Production && self.bearer_tokens.is_empty() {
            return Err(SettingsError::Together(
                "in production, /v1 opens to bearer tokens only, and none is configured. Set OFFHOOK_BEARER_TOKENS \
                 to one or more long random texts, separated by commas."
                    .into(),
            ));
        }
        agent::check(self)?;
        vendors::check(self)?;
        transfers::check(self)?;
        appointments::check(self)?;
        check_call(&self.call)
    }

    /// True if `/v1` answers without a bearer token: in development, as long as only this machine can reach it or
    /// `--insecure` was given. A public URL says that a proxy lets others in.
    pub fn api_is_open(&self) -> bool {
        let only_this_machine =
            self.listens().all(|address| address.ip().is_loopback()) && self.public_url.is_none();
        self.environment == Environment::Development
            && self.bearer_tokens.is_empty()
            && (only_this_machine || self.insecure)
    }

    /// Where the server listens, and where systems have listeners of their own.
    fn listens(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        std::iter::once(self.listen).chain(self.systems.values().filter_map(|place| place.listen))
    }

    /// An address that other machines can reach.
    fn open_address(&self) -> SocketAddr {
        self.listens().find(|address| !address.ip().is_loopback()).unwrap_or(self.listen)
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

/// Checks what no single number can know: which of a call's may not stand together.
pub(crate) fn check_call(call: &CallSettings) -> Result<(), SettingsError> {
    if call.vad_mode > 3 {
        return Err(SettingsError::Together(format!(
            "vad_mode in [call] is {}; it goes from 0 (readily calls a sound speech) to 3 (clean lines only).",
            call.vad_mode
        )));
    }
    if call.onset_ms == 0 || call.onset_ms > call.onset_window_ms {
        return Err(SettingsError::Together(format!(
            "onset_ms in [call] is {} and onset_window_ms is {}: the first must be at least 1 and fit into the \
             second.",
            call.onset_ms, call.onset_window_ms
        )));
    }
    Ok(())
}

fn twilio_api() -> PublicUrl {
    PublicUrl { tls: true, authority: TWILIO_API.into() }
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
        assert!(!settings.noise_suppression);
        assert_eq!(*settings.call, CallSettings::default());
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
    fn traces_go_where_opentelemetrys_variables_or_the_file_say() {
        let file = Some("otlp_endpoint = 'http://file:4318'\notlp_headers = 'x-key=file'");
        let settings = with(Flags::default(), &[], file).unwrap();
        assert_eq!(settings.otlp_endpoint.unwrap().to_string(), "http://file:4318/v1/traces");
        assert!(settings.otlp_headers.is_some());
        let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://environment:4318")];
        let settings = with(Flags::default(), &environment, file).unwrap();
        assert_eq!(settings.otlp_endpoint.unwrap().to_string(), "http://environment:4318/v1/traces");
        let text = refusal(&[("OTEL_EXPORTER_OTLP_HEADERS", "k3y")], "");
        assert!(text.starts_with("OTEL_EXPORTER_OTLP_HEADERS") && !text.contains("k3y"), "{text}");
        let text = refusal(&[], "otlp_endpoint = 'collector'");
        assert!(text.contains("otlp_endpoint in ") && text.contains("such as http://"), "{text}");
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
            ("OFFHOOK_NOISE_SUPPRESSION", "some", "on or off"),
            ("OFFHOOK_MEDIA_THREADS", "0", "1 to 256"),
            ("OFFHOOK_LOG", "loud", "debug"),
            ("OFFHOOK_INSECURE", "maybe", "true or false"),
            ("OFFHOOK_RATE_LIMITS", "sometimes", "on or off"),
            ("OFFHOOK_TRUSTED_PROXIES", "proxy.example.com", "10.0.0.0/8"),
            ("OFFHOOK_ACCOUNT_LIMIT", "-1", "a whole number"),
            ("OFFHOOK_CONNECTIONS_PER_ADDRESS", "many", "a whole number"),
            ("OFFHOOK_DRAIN_SECONDS", "1m", "seconds"),
            ("OFFHOOK_OVERLOAD_LATENESS_MS", "soon", "milliseconds"),
            ("OFFHOOK_BUSY_REDIRECT", "nowhere", "https://"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318", "http://127.0.0.1:4318"),
            ("OFFHOOK_CALLBOT_LISTEN", "8081", "127.0.0.1:8080"),
            ("OFFHOOK_CALLBOT_HOSTS", "a b", "voice.example.com"),
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
    fn a_system_may_have_a_listener_and_host_names_of_its_own() {
        let file = "[systems.callbot]\nlisten = '127.0.0.1:1'\nhosts = ['Voice.Example.com', 'b']";
        let place = &with(Flags::default(), &[], Some(file)).unwrap().systems["callbot"];
        assert_eq!(place.listen.unwrap().port(), 1);
        assert_eq!(place.hosts, ["voice.example.com", "b"]);
        let environment = [("OFFHOOK_CALLBOT_LISTEN", "127.0.0.1:2"), ("OFFHOOK_CALLBOT_HOSTS", "c, d")];
        let place = &with(Flags::default(), &environment, Some(file)).unwrap().systems["callbot"];
        assert_eq!((place.listen.unwrap().port(), place.hosts.len()), (2, 2));
        let text = refusal(&[], "[systems.callbox]\nlisten = '127.0.0.1:1'");
        assert!(text.contains("callbox") && text.contains("callbot"), "{text}");
        let text = refusal(&[("OFFHOOK_CALLBOT_LISTEN", "0.0.0.0:1")], "");
        assert!(text.contains("0.0.0.0:1") && text.contains("--insecure"), "{text}");
    }

    #[test]
    fn noise_is_suppressed_when_told() {
        for (environment, file) in [
            (&[("OFFHOOK_NOISE_SUPPRESSION", "on")][..], "noise_suppression = 'off'"),
            (&[], "noise_suppression = 'on'"),
        ] {
            assert!(with(Flags::default(), environment, Some(file)).unwrap().noise_suppression);
        }
    }

    #[test]
    fn production_has_no_test_endpoints_unless_told() {
        let production = [("OFFHOOK_ENVIRONMENT", "production"), ("OFFHOOK_BEARER_TOKENS", "t")];
        assert!(!with(Flags::default(), &production, None).unwrap().test_endpoints);
        let told = [&production[..], &[("OFFHOOK_TEST_ENDPOINTS", "on")]].concat();
        assert!(with(Flags::default(), &told, None).unwrap().test_endpoints);
        assert!(with(Flags::default(), &[], None).unwrap().test_endpoints);
    }

    #[test]
    fn limits_are_on_until_switched_off_and_zero_means_none() {
        let settings = with(Flags::default(), &[("OFFHOOK_ACCOUNT_LIMIT", "0")], None).unwrap();
        assert!(settings.rate_limits && settings.account_limit.is_none());
        let file = "rate_limits = 'off'\ntrusted_proxies = '10.0.0.0/8, ::1'\ndrain_seconds = 5";
        let settings = with(Flags::default(), &[], Some(file)).unwrap();
        assert!(!settings.rate_limits);
        assert_eq!(settings.trusted_proxies.len(), 2);
        assert_eq!(settings.drain, Duration::from_secs(5));
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
