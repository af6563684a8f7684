//! Which agent answers, and all that one needs which asks a model.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::layers::Layers;
use super::values::{Count, Secret, Switch, is_authority};
use super::{Settings, SettingsError};

/// Where the service of OpenAI itself is.
pub const OPENAI_API: &str = "https://api.openai.com";

/// The model that is asked where none is named.
pub const OPENAI_MODEL: &str = "gpt-4o-mini";

/// Tokens of one reply where nothing else is set: far more than anybody listens to.
pub const OPENAI_MAX_TOKENS: u32 = 400;

/// What the model is told where nothing else is set.
pub const AGENT_PROMPT: &str = "You answer the telephone. What you write is spoken by a voice and heard once: write as people \
    speak, in one to three short sentences, without lists, headings, emoji or markup, numbers and dates as they are said. \
    What the caller says comes from a recogniser that mishears: if it makes no sense, ask. The caller may interrupt; what \
    stands of your turns is what was heard. When the caller has said goodbye, call end_call.";

/// What the agent says first where nothing else is set.
pub const AGENT_GREETING: &str = "Hello, and thank you for calling. How can I help you?";

/// What answers a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentChoice {
    /// A scenario, question by question; needs no key and no network.
    Scenario,
    /// A model, by OpenAI's chat completions.
    OpenAi,
    /// A model that hears and speaks itself, by OpenAI's Realtime.
    Realtime,
}

impl FromStr for AgentChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "scenario" => Ok(Self::Scenario),
            "openai" => Ok(Self::OpenAi),
            "realtime" => Ok(Self::Realtime),
            _ => Err("write scenario, openai for a model behind OpenAI's protocol, or realtime for one that hears and speaks \
                      itself"
                .into()),
        }
    }
}

/// A service with or without a path of its own: `https://api.openai.com`, `https://openrouter.ai/api/v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// The URL of `path`, such as `/v1/models`, there. A base that ends in the version already is not given it twice.
    pub fn of(&self, path: &str) -> String {
        let path = if self.0.ends_with("/v1") { path.strip_prefix("/v1").unwrap_or(path) } else { path };
        format!("{}{path}", self.0)
    }

    /// The same for a WebSocket: `wss://api.deepgram.com/v1/listen`.
    pub fn socket(&self, path: &str) -> String {
        // `http` becomes `ws`, and with it `https` `wss`.
        self.of(path).replacen("http", "ws", 1)
    }

    /// True if it is reached by TLS at the usual port, has no path, and its host is below one of `domains`.
    pub fn is_https_below(&self, domains: &[&str]) -> bool {
        let host = self.0.strip_prefix("https://").unwrap_or_default().to_ascii_lowercase();
        let is_below = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        !host.contains(['/', ':']) && domains.iter().any(|domain| is_below(domain))
    }

    /// True if both are at one origin.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        fn origin(url: &BaseUrl) -> Vec<&str> {
            url.0.splitn(4, '/').take(3).collect()
        }
        origin(self) == origin(other)
    }

    /// True if whoever is on the way there can read along.
    pub fn is_exposed(&self) -> bool {
        let Some(rest) = self.0.strip_prefix("http://") else { return false };
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host != "localhost" && !address.is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help =
            || "write where the service is, such as https://api.example.com or http://127.0.0.1:11434/v1";
        let text = text.trim_end_matches('/');
        let (scheme, rest) = text.split_once("://").ok_or_else(help)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_path = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%".contains(&b));
        if !matches!(scheme, "http" | "https") || !is_authority(authority) || !is_path {
            return Err(help().into());
        }
        Ok(Self(text.into()))
    }
}

/// A number such as `0.4`.
struct Temperature(f64);

impl FromStr for Temperature {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number @ 0.0..=2.0) => Ok(Self(number)),
            _ => Err("write a number from 0 (always the likeliest word) to 2".into()),
        }
    }
}

/// How the server calls the bound on tokens.
struct TokensField(String);

impl FromStr for TokensField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max_tokens" | "max_completion_tokens" => Ok(Self(text.into())),
            _ => Err("write max_completion_tokens (OpenAI), or max_tokens (most others)".into()),
        }
    }
}

/// What an agent needs that asks a model.
#[derive(Clone, Debug)]
pub struct OpenAiSettings {
    /// Where the model is. Default [`OPENAI_API`].
    pub base: BaseUrl,
    /// The key for it. Default none, which OpenAI itself does not take.
    pub key: Option<Secret>,
    /// The model. Default [`OPENAI_MODEL`].
    pub model: String,
    /// How freely it chooses its words, 0 to 2. Default: as the server has it.
    pub temperature: Option<f64>,
    /// Tokens of one reply. Default [`OPENAI_MAX_TOKENS`].
    pub max_tokens: u32,
    /// How the server calls that. Default `max_completion_tokens` at OpenAI, `max_tokens` elsewhere.
    pub max_tokens_field: String,
    /// What the model is told before the call. Default [`AGENT_PROMPT`].
    pub prompt: String,
    /// What the agent says first, without asking the model. Default [`AGENT_GREETING`].
    pub greeting: String,
    /// Whether it may press keys, as a menu at the other end wants. Default false.
    pub presses_keys: bool,
    /// Models that go on in this order when that one fails: the file's `[[fallback_models]]`.
    pub fallbacks: Vec<FallbackModel>,
    /// What the model may do, beside ending the call: the file's `[[tools]]`.
    pub tools: Vec<ToolSettings>,
}

impl Default for OpenAiSettings {
    fn default() -> Self {
        Self {
            base: BaseUrl(OPENAI_API.into()),
            key: None,
            model: OPENAI_MODEL.into(),
            temperature: None,
            max_tokens: OPENAI_MAX_TOKENS,
            max_tokens_field: "max_completion_tokens".into(),
            prompt: AGENT_PROMPT.into(),
            greeting: AGENT_GREETING.into(),
            presses_keys: false,
            fallbacks: Vec::new(),
            tools: Vec::new(),
        }
    }
}

/// `[[fallback_models]]` in the file: a model that goes on when those before it fail. What is not here is as for the first.
#[derive(Clone, Debug)]
pub struct FallbackModel {
    /// Where it is. Default: where the first model is.
    pub base: Option<BaseUrl>,
    /// The key for it. Default, where it is at the same place: that of the first model.
    pub key: Option<Secret>,
    /// The model.
    pub model: String,
    /// How its server calls the bound on tokens: `max_tokens`, or `max_completion_tokens`. Default as for the first.
    pub max_tokens_field: Option<String>,
}

/// `[[tools]]` in the file: something that the model may have done over HTTP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolSettings {
    /// What the model calls it: letters, digits, `_` and `-`, 64 at most.
    pub name: String,
    /// What it does and when, for the model.
    pub description: String,
    /// Where it is asked.
    pub url: String,
    /// `POST` sends the arguments as a JSON object, `GET` as the query. Default `POST`.
    #[serde(default)]
    pub method: ToolMethod,
    /// Headers that are sent along, such as a key.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// How long it may take. Default 5,000 ms.
    #[serde(default = "tool_timeout_ms")]
    pub timeout_ms: u32,
    /// What arguments it takes: a JSON schema of an object.
    #[serde(default = "no_parameters")]
    pub parameters: Value,
}

/// How a tool is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ToolMethod {
    /// The arguments are the body.
    #[default]
    Post,
    /// The arguments are the query.
    Get,
}

impl ToolSettings {
    /// How long it may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.into())
    }
}

fn tool_timeout_ms() -> u32 {
    5_000
}

fn no_parameters() -> Value {
    serde_json::json!({"type": "object", "properties": {}})
}

pub(super) fn read(layers: &Layers<'_>) -> Result<OpenAiSettings, SettingsError> {
    let default = OpenAiSettings::default();
    let text = |name: &str, default: String| layers.text(name, None).map_or(default, |given| given.text);
    let base: BaseUrl = layers.read("openai_base_url", None)?.unwrap_or(default.base);
    let field = if base.0 == OPENAI_API { default.max_tokens_field } else { "max_tokens".into() };
    Ok(OpenAiSettings {
        key: layers.secret("openai_api_key", "OPENAI_API_KEY"),
        model: text("openai_model", default.model),
        temperature: layers.read::<Temperature>("openai_temperature", None)?.map(|number| number.0),
        max_tokens: layers
            .read::<Count>("openai_max_tokens", None)?
            .map_or(default.max_tokens, |count| count.0)
            .max(1),
        max_tokens_field: layers
            .read::<TokensField>("openai_max_tokens_field", None)?
            .map_or(field, |field| field.0),
        prompt: text("agent_prompt", default.prompt),
        greeting: text("agent_greeting", default.greeting),
        presses_keys: layers.read::<Switch>("agent_presses_keys", None)?.is_some_and(|switch| switch.0),
        fallbacks: layers.fallback_models()?,
        tools: layers.tools(),
        base,
    })
}

/// What no single setting can know.
pub(super) fn check(settings: &Settings) -> Result<(), SettingsError> {
    let openai = &settings.openai;
    let asks_model = settings.agent != AgentChoice::Scenario;
    if asks_model && openai.base.0 == OPENAI_API && openai.key.is_none() {
        return Err(SettingsError::Together(
            "OFFHOOK_AGENT=openai and OFFHOOK_AGENT=realtime need a key of OpenAI in OPENAI_API_KEY, or in \
             OFFHOOK_OPENAI_BASE_URL another server that speaks its protocol, such as http://127.0.0.1:11434/v1 for Ollama; \
             OFFHOOK_AGENT=scenario needs neither."
                .into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Flags;
    use super::*;

    fn with(environment: &[(&str, &str)], file: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offhook.toml");
        std::fs::write(&path, file).unwrap();
        let lookup = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        Settings::load(&Flags { config: Some(path), ..Flags::default() }, &lookup).map_err(|e| e.to_string())
    }

    #[test]
    fn a_model_needs_a_key_or_a_server_of_ones_own() {
        let openai = ("OFFHOOK_AGENT", "openai");
        let text = with(&[openai], "").unwrap_err();
        assert!(text.contains("OPENAI_API_KEY") && text.contains("OFFHOOK_OPENAI_BASE_URL"), "{text}");
        let settings = with(&[openai, ("OPENAI_API_KEY", "sk-hush")], "").unwrap();
        assert_eq!(settings.openai.max_tokens_field, "max_completion_tokens");
        assert!(!format!("{settings:?}").contains("sk-hush"));
        let own = with(&[openai, ("OFFHOOK_OPENAI_BASE_URL", "http://127.0.0.1:11434/v1/")], "").unwrap();
        assert_eq!(own.openai.max_tokens_field, "max_tokens");
        assert_eq!(with(&[], "").unwrap().agent, AgentChoice::Scenario);
    }

    #[test]
    fn the_path_of_a_base_is_kept_and_its_version_not_doubled() {
        for (base, wanted) in [
            ("https://api.openai.com", "https://api.openai.com/v1/models"),
            ("http://127.0.0.1:9/openai", "http://127.0.0.1:9/openai/v1/models"),
            ("https://openrouter.ai/api/v1/", "https://openrouter.ai/api/v1/models"),
        ] {
            assert_eq!(base.parse::<BaseUrl>().unwrap().of("/v1/models"), wanted);
        }
        for bad in ["api.openai.com", "ftp://a", "http://a b", "http://a/b?c", "http://"] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
        }
        let exposed = |base: &str| base.parse::<BaseUrl>().unwrap().is_exposed();
        assert!(exposed("http://10.0.0.1/v1") && exposed("http://host:80"));
        assert!(!exposed("https://host") && !exposed("http://[::1]:80/v1") && !exposed("http://localhost:1"));
    }

    #[test]
    fn tools_stand_in_the_file_with_their_schema_and_their_headers_are_not_printed() {
        let file = "[[tools]]\nname = 'free_slots'\ndescription = 'Finds free slots.'\nurl = 'https://a.example/slots'\n\
                    headers = { authorization = 'Bearer hush' }\n[tools.parameters]\ntype = 'object'\n\
                    properties.day.type = 'string'\nrequired = ['day']";
        let settings = with(&[], file).unwrap();
        let tool = &settings.openai.tools[0];
        assert_eq!(
            (tool.name.as_str(), tool.method, tool.timeout_ms),
            ("free_slots", ToolMethod::Post, 5_000)
        );
        assert_eq!(tool.parameters["properties"]["day"]["type"], "string");
        assert!(!format!("{settings:?}").contains("hush"));
        assert!(with(&[], "[[tools]]\nname = 'x'").unwrap_err().contains("description"));
    }

    #[test]
    fn bad_values_are_told_with_what_to_write() {
        for (variable, value, wanted) in [
            ("OFFHOOK_AGENT", "gpt", "openai"),
            ("OFFHOOK_OPENAI_BASE_URL", "openai", "https://"),
            ("OFFHOOK_OPENAI_TEMPERATURE", "hot", "0"),
            ("OFFHOOK_OPENAI_MAX_TOKENS_FIELD", "n", "max_tokens"),
        ] {
            let text = with(&[(variable, value)], "").unwrap_err();
            assert!(text.contains(variable) && text.contains(wanted), "{text}");
        }
    }
}
