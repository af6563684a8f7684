//! 3CX's Call Control API, version 20: calls at a route point, told of, acted on and streamed.
//!
//! Here this process is the client: it holds a token ([`token`]), asks and acts over REST (this file), hears of changes over a
//! WebSocket ([`events`]), and streams a call's audio over two HTTP exchanges that last as long as the call ([`streams`],
//! paced by [`uplink`]). Everything but those two has a deadline.
//!
//! <https://www.3cx.com/docs/call-control-api/> and the examples at <https://github.com/3cx/call-control-examples>, read
//! 2026-11.

mod events;
mod streams;
#[cfg(test)]
mod tests;
mod token;
mod uplink;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::http::{Answer, HttpClient, HttpError, Limits};
use crate::settings::ThreeCxSettings;
pub use events::Event;
pub use streams::{Speaking, Stream};
use token::Tokens;
pub use uplink::{LEAD, Uplink};

/// What one request may cost.
const REQUEST: Limits = Limits { time: Duration::from_secs(5), body_bytes: 4 * 1024 * 1024 };
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);

/// Why something could not be done. Displays without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThreeCxError {
    /// There is no connection to be had, or it broke.
    #[error("3CX cannot be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("3CX does not answer: {0}")]
    Slow(String),
    /// The id or the secret is wrong, or the token is refused though it is fresh.
    #[error("3CX does not let us in: {0}")]
    Unauthorised(String),
    /// There is no such call any more.
    #[error("the call is gone at 3CX")]
    Gone,
    /// The call is not to be streamed, or not yet.
    #[error("the call is not to be streamed yet")]
    NotYet,
    /// It was understood and not done: the status, or what 3CX says.
    #[error("3CX refused: {0}")]
    Refused(String),
    /// The answer is not what was documented.
    #[error("3CX's answer cannot be read: {0}")]
    Malformed(String),
}

impl From<HttpError> for ThreeCxError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Slow(_) => Self::Slow(error.to_string()),
            HttpError::Large(_) => Self::Malformed(error.to_string()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

/// Where a participant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// We call, nobody has answered.
    Dialing,
    /// Somebody calls, and was not answered.
    Ringing,
    /// Both sides are there.
    Connected,
    /// A word that is not known.
    Other,
}

/// One call at one of our numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Unique within the number.
    pub id: u32,
    /// Where it stands.
    pub status: Status,
    /// Which of our numbers.
    pub dn: String,
    /// The call, however many legs it has; the participant's own number if 3CX names none.
    pub call_id: String,
    /// The leg.
    pub leg_id: String,
    /// The caller's number; empty if unknown.
    pub caller: String,
    /// The number that was called; empty if unknown.
    pub called: String,
}

impl Participant {
    /// Reads one. All but the number and the status may be absent.
    fn from_json(value: &Value) -> Option<Self> {
        let id = u32::try_from(value["id"].as_u64()?).ok()?;
        let text = |name: &str| match &value[name] {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let status = match value["status"].as_str()? {
            "Dialing" => Status::Dialing,
            "Ringing" => Status::Ringing,
            "Connected" => Status::Connected,
            _ => Status::Other,
        };
        let call_id = Some(text("callid")).filter(|id| !id.is_empty());
        Some(Self {
            id,
            status,
            dn: text("dn"),
            call_id: call_id.unwrap_or_else(|| id.to_string()),
            leg_id: text("legid"),
            caller: text("party_caller_id"),
            called: text("party_did"),
        })
    }
}

/// A 3CX system, as one API client of it.
#[derive(Debug)]
pub struct ThreeCx {
    http: HttpClient,
    streams: streams::Client,
    settings: ThreeCxSettings,
    tokens: Tokens,
}

impl ThreeCx {
    /// A client with connections of its own. Nothing is asked yet.
    pub fn new(settings: ThreeCxSettings) -> Result<Self, HttpError> {
        Ok(Self {
            http: HttpClient::for_streams(CONNECT)?,
            streams: streams::client(CONNECT)?,
            tokens: Tokens::default(),
            settings,
        })
    }

    /// The route point.
    pub fn dn(&self) -> &str {
        &self.settings.dn
    }

    /// All calls at the route point.
    pub async fn participants(&self) -> Result<Vec<Participant>, ThreeCxError> {
        let found = self.ask(Method::GET, &format!("/{}", self.dn()), None).await?;
        let list = found["participants"].as_array().ok_or_else(|| malformed("a DN has no participants"))?;
        Ok(list.iter().filter_map(Participant::from_json).collect())
    }

    /// One call. [`ThreeCxError::Gone`] if it is over.
    pub async fn participant(&self, id: u32) -> Result<Participant, ThreeCxError> {
        let found = self.ask(Method::GET, &self.path(id, ""), None).await?;
        Participant::from_json(&found).ok_or_else(|| malformed("a participant has no id or no status"))
    }

    /// Answers a call that rings.
    pub async fn answer(&self, id: u32) -> Result<(), ThreeCxError> {
        self.act(id, "answer", json!({})).await
    }

    /// Ends a call, on our side of it.
    pub async fn drop_call(&self, id: u32) -> Result<(), ThreeCxError> {
        self.act(id, "drop", json!({})).await
    }

    /// Puts a connected call through to a number, and is out of it.
    pub async fn transfer(&self, id: u32, destination: &str) -> Result<(), ThreeCxError> {
        self.act(id, "transferto", json!({ "destination": destination })).await
    }

    /// An action. That it was understood (200) does not say that it was done.
    async fn act(&self, id: u32, action: &str, body: Value) -> Result<(), ThreeCxError> {
        let done = self.ask(Method::POST, &self.path(id, &format!("/{action}")), Some(body)).await?;
        if done["finalstatus"].as_i64() == Some(1) {
            return Ok(());
        }
        let said = |name: &str| done[name].as_str().unwrap_or_default().chars().take(100).collect::<String>();
        Err(ThreeCxError::Refused(format!("{action}: {} {}", said("reason"), said("reasontext"))))
    }

    fn path(&self, id: u32, rest: &str) -> String {
        format!("/{}/participants/{id}{rest}", self.dn())
    }

    fn url(&self, path: &str) -> String {
        self.settings.base.of(&format!("/callcontrol{path}"))
    }

    /// One request, and once more with another token if this one is refused.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, ThreeCxError> {
        let mut token = self.token().await?;
        let mut answer = self.send(&method, path, body.as_ref(), &token).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            token = self.other_token(&token).await?;
            answer = self.send(&method, path, body.as_ref(), &token).await?;
        }
        if !answer.status.is_success() {
            return Err(refused(answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|error| malformed(&error.to_string()))
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        token: &HeaderValue,
    ) -> Result<Answer, ThreeCxError> {
        let request = Request::builder().method(method).uri(self.url(path)).header(AUTHORIZATION, token);
        let request = match body {
            Some(_) => request.header(CONTENT_TYPE, "application/json"),
            None => request,
        };
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = request.body(Full::new(body)).expect("a checked base and a plain path are a URL");
        Ok(self.http.send(request, REQUEST).await?)
    }

    async fn token(&self) -> Result<HeaderValue, ThreeCxError> {
        self.tokens.get(&self.http, &self.settings).await
    }

    /// A token in place of one that was refused.
    async fn other_token(&self, refused: &HeaderValue) -> Result<HeaderValue, ThreeCxError> {
        self.tokens.other(refused, &self.http, &self.settings).await
    }
}

/// What a status says that is no success.
fn refused(status: StatusCode) -> ThreeCxError {
    match status.as_u16() {
        401 => ThreeCxError::Unauthorised("a fresh token is refused".into()),
        403 => ThreeCxError::Unauthorised(
            "the DN is not this client's, or the licence lacks call control".into(),
        ),
        404 => ThreeCxError::Gone,
        424 => ThreeCxError::NotYet,
        status => ThreeCxError::Refused(format!("status {status}")),
    }
}

fn malformed(what: &str) -> ThreeCxError {
    ThreeCxError::Malformed(what.into())
}
