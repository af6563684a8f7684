//! What a model may do: end the call, put it through to somebody, see to appointments, look for products, and what the operator
//! declared.
//!
//! A model's arguments are checked against the tool's schema before anything is done with them. Whatever goes wrong is told to
//! the model, which can say so to the caller or try otherwise.

mod desk;
pub(crate) mod schema;
mod shop;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use serde_json::{Value, json};

use super::http::{HttpClient, Limits};
use super::openai::ToolCall;
use crate::settings::{ToolMethod, ToolSettings, Transfer};
pub use desk::{Desk, DeskTool, NumberOf};
pub use shop::{SEARCH as SEARCH_PRODUCTS, Shop};

/// Bytes of a tool's answer: what a model can make use of in a conversation.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How long a tool may take at most: longer than that nobody waits in silence.
const TIMEOUT_MS_MAX: u32 = 10_000;
/// The tool that puts the call through.
const TRANSFER: &str = "transfer_call";
/// The tool that presses keys.
const PRESS: &str = "press_keys";
/// Keys that may be pressed at once: a long account number.
const KEYS_MAX: usize = 32;
/// The tool that ends the call.
const END_CALL: &str = "end_call";

/// The tools of all calls.
#[derive(Debug)]
pub struct Tools {
    client: HttpClient,
    declared: Vec<Declared>,
    /// The names of those whom a call may be put through to.
    transfers: Vec<String>,
    /// Whether keys may be pressed.
    presses_keys: bool,
    /// Appointments, if there are any.
    desk: Option<Desk>,
    /// Products, if there are any.
    shop: Option<Shop>,
    offered: Vec<Value>,
}

#[derive(Debug)]
struct Declared {
    settings: ToolSettings,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What came of a call.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// For the model.
    pub text: String,
    /// True if the call is to end after this turn.
    pub ends_call: bool,
    /// Whom it is to be put through to then.
    pub transfers_to: Option<String>,
    /// Keys to be pressed now.
    pub presses: Option<String>,
}

impl Outcome {
    /// Nothing but an answer.
    fn told(text: String) -> Self {
        Self { text, ends_call: false, transfers_to: None, presses: None }
    }
}

impl Tools {
    /// Checks what was declared. An error names the tool and what is wrong with it.
    pub fn new(declared: &[ToolSettings], transfers: &[Transfer]) -> Result<Self, String> {
        let client = HttpClient::new().map_err(|error| error.to_string())?;
        let mut offered = vec![described(
            END_CALL,
            "Ends the telephone call. Say goodbye in the same turn.",
            &json!({"type": "object", "properties": {}}),
        )];
        if !transfers.is_empty() {
            let names: Vec<_> = transfers.iter().map(|transfer| transfer.name.as_str()).collect();
            let who =
                transfers.iter().map(|transfer| format!(" {}: {}", transfer.name, transfer.description));
            let text = format!(
                "Puts the caller through to somebody on the telephone. Say so in the same turn.{}",
                who.collect::<String>()
            );
            let to = json!({"type": "object", "properties": {"to": {"type": "string", "enum": names}}, "required": ["to"]});
            offered.push(described(TRANSFER, &text, &to));
        }
        let mut tools = Vec::new();
        for settings in declared {
            let fault = |what: String| format!("the tool {:?} cannot be used: {what}", settings.name);
            let is_name = (1..=64).contains(&settings.name.len())
                && settings.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if !is_name {
                return Err(fault("its name may have letters, digits, _ and -, 64 at most".into()));
            }
            if offered.iter().any(|tool| tool["function"]["name"] == *settings.name) {
                return Err(fault("there is another of that name".into()));
            }
            let is_url = settings.url.parse::<Uri>().is_ok_and(|url| {
                matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some()
            });
            if !is_url {
                return Err(fault("its url must be one such as https://example.com/slots".into()));
            }
            if !(1..=TIMEOUT_MS_MAX).contains(&settings.timeout_ms) {
                return Err(fault(format!("its timeout_ms must be from 1 to {TIMEOUT_MS_MAX}")));
            }
            schema::can_be_checked(&settings.parameters, "parameters").map_err(fault)?;
            let headers = settings.headers.iter().map(|(name, value)| {
                let mut value = HeaderValue::try_from(value.reveal()).ok()?;
                value.set_sensitive(true);
                Some((HeaderName::try_from(name).ok()?, value))
            });
            let headers = headers.collect::<Option<_>>();
            let headers = headers.ok_or_else(|| fault("a header of it is none that HTTP has".into()))?;
            offered.push(described(&settings.name, &settings.description, &settings.parameters));
            tools.push(Declared { settings: settings.clone(), headers });
        }
        let transfers = transfers.iter().map(|transfer| transfer.name.clone()).collect();
        Ok(Self { client, declared: tools, transfers, presses_keys: false, desk: None, shop: None, offered })
    }

    /// The same, and keys may be pressed if `may`. The error says that there is another tool of such a name.
    pub fn with_keys(mut self, may: bool) -> Result<Self, String> {
        if may {
            if self.offered.iter().any(|tool| tool["function"]["name"] == PRESS) {
                return Err(format!(
                    "agent_presses_keys offers the tool {PRESS}, and [[tools]] another of that name: give that one another name"
                ));
            }
            let keys = json!({"type": "string", "description": "such as 1, or 12345#"});
            self.offered.push(described(
                PRESS,
                "Presses keys of the telephone, for a menu or a machine at the other end. Which ones it wants, it says.",
                &json!({"type": "object", "properties": {"keys": keys}, "required": ["keys"]}),
            ));
            self.presses_keys = true;
        }
        Ok(self)
    }

    /// The same with appointments, if there are any. The error says that there is another tool of such a name.
    pub fn with_desk(mut self, desk: impl Into<Option<Desk>>) -> Result<Self, String> {
        let Some(desk) = desk.into() else { return Ok(self) };
        let is_there = |name: &Value| self.offered.iter().any(|tool| tool["function"]["name"] == *name);
        for tool in desk.offered() {
            let name = &tool["function"]["name"];
            if is_there(name) {
                return Err(format!(
                    "[appointments] offers the tool {name}, and [[tools]] another of that name: give that one another name"
                ));
            }
        }
        self.offered.extend(desk.offered());
        self.desk = Some(desk);
        Ok(self)
    }

    /// The same with products, if there are any. The error says that there is another tool of such a name.
    pub fn with_shop(mut self, shop: impl Into<Option<Shop>>) -> Result<Self, String> {
        let Some(shop) = shop.into() else { return Ok(self) };
        if self.offered.iter().any(|tool| tool["function"]["name"] == SEARCH_PRODUCTS) {
            return Err(format!("[[tools]] has a tool {SEARCH_PRODUCTS}: give it another name"));
        }
        self.offered.push(shop.offered());
        self.shop = Some(shop);
        Ok(self)
    }

    /// Appointments, if there are any.
    pub fn desk(&self) -> Option<&Desk> {
        self.desk.as_ref()
    }

    /// As a model is told of them.
    pub fn offered(&self) -> &[Value] {
        &self.offered
    }

    /// Does what the model wants done, on the call of the id `on`.
    pub async fn call(&self, call: &ToolCall, on: &str) -> Outcome {
        if call.name == END_CALL {
            let text = "The call ends once the caller has heard what you said and say.".into();
            return Outcome { ends_call: true, ..Outcome::told(text) };
        }
        if call.name == TRANSFER && !self.transfers.is_empty() {
            return self.transfer(&call.arguments);
        }
        if call.name == PRESS && self.presses_keys {
            return press(&call.arguments);
        }
        if let Some(desk) = &self.desk
            && let Some(tool) = desk.tool(&call.name)
        {
            let text = desk.call(tool, &call.arguments, on).await.to_string();
            return Outcome::told(text);
        }
        if let Some(shop) = self.shop.as_ref().filter(|_| call.name == SEARCH_PRODUCTS) {
            return Outcome::told(shop.call(&call.arguments).await.to_string());
        }
        let answer = match self.declared.iter().find(|tool| tool.settings.name == call.name) {
            Some(tool) => self.ask(tool, &call.arguments).await,
            None => Err("there is no such tool".into()),
        };
        let text = answer.unwrap_or_else(|error| {
            tracing::warn!(tool = %call.name, %error, "a tool of the agent failed");
            json!({ "error": error }).to_string()
        });
        Outcome::told(text)
    }

    fn transfer(&self, arguments: &str) -> Outcome {
        let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
        match arguments["to"].as_str().filter(|to| self.transfers.iter().any(|name| name == to)) {
            Some(to) => {
                let text = "The caller is put through once they have heard what you said and say.".into();
                Outcome { ends_call: true, transfers_to: Some(to.to_owned()), ..Outcome::told(text) }
            }
            None => {
                let error = format!("to must be one of: {}", self.transfers.join(", "));
                Outcome::told(json!({ "error": error }).to_string())
            }
        }
    }

    async fn ask(&self, tool: &Declared, arguments: &str) -> Result<String, String> {
        let settings = &tool.settings;
        // Some models write nothing where there is nothing to say.
        let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
        let arguments: Value =
            serde_json::from_str(arguments).map_err(|_| "the arguments are no JSON".to_owned())?;
        if !arguments.is_object() {
            return Err("the arguments must be an object".into());
        }
        schema::fits(&arguments, &settings.parameters, "arguments")?;
        let mut request = match settings.method {
            ToolMethod::Post => Request::post(&settings.url)
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::from(arguments.to_string()))),
            ToolMethod::Get => Request::get(with_query(&settings.url, &arguments)).body(Full::default()),
        }
        .map_err(|_| "the tool's URL cannot hold these arguments".to_owned())?;
        request.headers_mut().extend(tool.headers.iter().cloned());
        let limits = Limits { time: settings.timeout(), body_bytes: ANSWER_BYTES_MAX };
        let answer = self.client.send(request, limits).await.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status.is_success() {
            Ok(text)
        } else {
            Err(format!("status {}: {}", answer.status.as_u16(), text.chars().take(500).collect::<String>()))
        }
    }
}

fn press(arguments: &str) -> Outcome {
    let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
    let keys: String = arguments["keys"].as_str().unwrap_or_default().split_whitespace().collect();
    let is_key = |c: char| c.is_ascii_digit() || "*#ABCDabcd".contains(c);
    if keys.is_empty() || keys.len() > KEYS_MAX || !keys.chars().all(is_key) {
        let error = format!("keys must be 1 to {KEYS_MAX} of 0-9, *, #, A-D");
        return Outcome::told(json!({ "error": error }).to_string());
    }
    let text =
        "They are pressed after what you said. Say nothing more, and listen to what comes of it.".into();
    Outcome { presses: Some(keys), ..Outcome::told(text) }
}

fn described(name: &str, description: &str, parameters: &Value) -> Value {
    json!({"type": "function", "function": {"name": name, "description": description, "parameters": parameters}})
}

fn with_query(url: &str, arguments: &Value) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in arguments.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => query.append_pair(name, text),
            other => query.append_pair(name, &other.to_string()),
        };
    }
    let query = query.finish();
    match (query.is_empty(), url.contains('?')) {
        (true, _) => url.to_owned(),
        (false, true) => format!("{url}&{query}"),
        (false, false) => format!("{url}?{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(toml: &str) -> ToolSettings {
        toml::from_str(&format!("description = 'x'\n{toml}")).unwrap()
    }

    #[test]
    fn a_tool_that_cannot_be_used_is_refused_by_name() {
        for (toml, wanted) in [
            ("name = 'a b'\nurl = 'http://a/'", "letters"),
            ("name = 'end_call'\nurl = 'http://a/'", "another"),
            ("name = 'a'\nurl = 'a'", "url"),
            ("name = 'a'\nurl = 'http://a/'\ntimeout_ms = 60000", "timeout_ms"),
            ("name = 'a'\nurl = 'http://a/'\nheaders = { 'a b' = 'c' }", "header"),
            ("name = 'a'\nurl = 'http://a/'\nparameters = { oneOf = [] }", "parameters.oneOf"),
        ] {
            let text = Tools::new(&[tool(toml)], &[]).unwrap_err();
            assert!(text.contains(wanted), "{text}");
        }
    }

    #[tokio::test]
    async fn arguments_that_do_not_fit_reach_nobody_and_the_model_is_told() {
        let tools = Tools::new(&[tool(
            "name = 'book'\nurl = 'http://127.0.0.1:1/'\nparameters = { type = 'object', required = ['day'] }",
        )], &[])
        .unwrap();
        let call = |name: &str, arguments: &str| ToolCall {
            id: "1".into(),
            name: name.into(),
            arguments: arguments.into(),
        };
        for (name, arguments, wanted) in [
            ("book", "{\"day", "no JSON"),
            ("book", "[]", "object"),
            ("book", "", "day is missing"),
            ("look", "{}", "no such tool"),
            ("book", "{\"day\": 1}", "onnect"),
        ] {
            let outcome = tools.call(&call(name, arguments), "c").await;
            assert!(outcome.text.contains(wanted) && !outcome.ends_call, "{}", outcome.text);
        }
        assert!(tools.call(&call("end_call", "{}"), "c").await.ends_call);
    }

    #[tokio::test]
    async fn a_call_is_put_through_only_to_whom_the_operator_named() {
        let sales = Transfer {
            name: "sales".into(),
            description: "Whoever wants to buy.".into(),
            number: "+15005550006".parse().unwrap(),
        };
        let tools = Tools::new(&[], &[sales]).unwrap();
        let offered = tools.offered()[1]["function"].to_string();
        assert!(
            offered.contains("sales: Whoever wants to buy.") && !offered.contains("5550006"),
            "{offered}"
        );
        let call = |arguments: &str| ToolCall {
            id: "1".into(),
            name: "transfer_call".into(),
            arguments: arguments.into(),
        };
        let outcome = tools.call(&call("{\"to\": \"sales\"}"), "c").await;
        assert_eq!((outcome.ends_call, outcome.transfers_to.as_deref()), (true, Some("sales")));
        for bad in ["{\"to\": \"+15005550099\"}", "{}", "to sales"] {
            let outcome = tools.call(&call(bad), "c").await;
            assert!(!outcome.ends_call && outcome.transfers_to.is_none());
            assert!(outcome.text.contains("one of: sales"), "{}", outcome.text);
        }
        assert_eq!(Tools::new(&[], &[]).unwrap().offered().len(), 1);
    }

    #[tokio::test]
    async fn keys_are_pressed_where_the_operator_lets_them_be() {
        let call = |keys: &str| ToolCall {
            id: "1".into(),
            name: PRESS.into(),
            arguments: json!({ "keys": keys }).to_string(),
        };
        let tools = Tools::new(&[], &[]).unwrap().with_keys(true).unwrap();
        assert_eq!(tools.offered()[1]["function"]["name"], PRESS);
        assert_eq!(tools.call(&call("12 34#"), "c").await.presses.as_deref(), Some("1234#"));
        for bad in ["", " ", "one", "1,2", &"1".repeat(KEYS_MAX + 1)] {
            let outcome = tools.call(&call(bad), "c").await;
            assert!(outcome.presses.is_none() && outcome.text.contains("A-D"), "{bad}: {outcome:?}");
        }
        let tools = Tools::new(&[], &[]).unwrap().with_keys(false).unwrap();
        let outcome = tools.call(&call("1"), "c").await;
        assert!(outcome.presses.is_none() && outcome.text.contains("no such tool"));
        let other = tool("name = 'press_keys'\nurl = 'http://a/'");
        assert!(Tools::new(&[other], &[]).unwrap().with_keys(true).unwrap_err().contains("another name"));
    }

    #[test]
    fn a_query_holds_the_arguments_as_they_are() {
        let arguments = json!({"day": "a b&c", "people": 2});
        assert_eq!(with_query("http://a/?x=1", &arguments), "http://a/?x=1&day=a+b%26c&people=2");
        assert_eq!(with_query("http://a/", &json!({})), "http://a/");
    }
}
