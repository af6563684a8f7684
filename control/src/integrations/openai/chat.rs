//! Chat completions, streamed.
//!
//! In: a conversation, and what the model may have done. Out: the text as it comes, then the whole reply with its tool calls.
//! Every wait has an end: for the connection, for the first word, and from word to word. What a model thinks to itself is no
//! word. To drop the future closes the connection, on which all such servers stop generating.
//!
//! <https://platform.openai.com/docs/api-reference/chat-streaming>, by the official SDK 3.54.0 and API description, read 2026-11.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use hyper::{Response, StatusCode, body::Incoming};
use offhook_engine::call::Failure;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use super::account::Account;
use super::sse::Events;
use super::tool_calls::{Calls, ToolCall};
use crate::integrations::http::{Answer, HttpClient, Limits, told};
use crate::integrations::refusal::{self, of_http};
use crate::integrations::vendor::VendorError;
use crate::settings::{BaseUrl, Secret};

/// Bytes of text in one reply: an hour of speech.
const TEXT_MAX: usize = 64 * 1024;
/// A list of models, which some have hundreds of.
const MODELS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// For a TCP connection. Default 2 s.
    pub connect: Duration,
    /// For the first word, from the request on, a second try included. Default 4 s.
    pub first: Duration,
    /// From word to word. Default 3 s.
    pub next: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        let [connect, first, next] = [2, 4, 3].map(Duration::from_secs);
        Self { connect, first, next }
    }
}

/// Which model, where, and how it is asked.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The server.
    pub base: BaseUrl,
    /// Its key, where it wants one.
    pub key: Option<Secret>,
    /// The model.
    pub model: String,
    /// How freely it chooses its words; none: as the server has it.
    pub temperature: Option<f64>,
    /// How many tokens a reply may have.
    pub max_tokens: u32,
    /// How the server calls that: `max_tokens`, or `max_completion_tokens`.
    pub max_tokens_field: String,
    /// How long is waited.
    pub waits: Waits,
}

/// A whole reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// All of its text.
    pub text: String,
    /// What the model wants done before it goes on.
    pub calls: Vec<ToolCall>,
}

/// A model, ready to be asked by many calls at once.
#[derive(Debug)]
pub struct Chat {
    account: Account,
    asking: Asking,
}

impl Chat {
    /// A client with connections of its own. An error says what to do.
    pub fn new(asking: Asking) -> Result<Self, String> {
        let client = HttpClient::for_streams(asking.waits.connect).map_err(|error| error.to_string())?;
        let account = Account::new(client, asking.base.clone(), asking.key.clone())?;
        Ok(Self { account, asking })
    }

    /// Lets a connection be there before it is needed, and looks whether the key is accepted on it.
    pub async fn warm(&self) -> Result<(), VendorError> {
        let limits = Limits { time: self.asking.waits.first, body_bytes: MODELS_BYTES_MAX };
        let looked = self.account.look(limits).await?;
        looked.map_err(|Answer { status, headers, body }| self.refused(status, &headers, &body))
    }

    /// Asks for a reply to `messages`, which may use `tools`; `on_text` gets its text as it comes, and may break it off.
    /// What fails before the first word is tried once more, if there is time.
    pub async fn reply(
        &self,
        messages: &[Value],
        tools: &[Value],
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Reply, VendorError> {
        let first_by = Instant::now() + self.asking.waits.first;
        let body = Bytes::from(self.body(messages, tools).to_string());
        let mut any = false;
        let mut first_text = |text: &str| {
            any = true;
            on_text(text)
        };
        let tried = self.attempt(body.clone(), first_by, &mut first_text).await;
        match tried {
            Err(VendorError { why: Failure::Unreachable | Failure::Faulty | Failure::BrokenOff, .. })
                if !any && Instant::now() < first_by =>
            {
                self.attempt(body, first_by, on_text).await
            }
            tried => tried,
        }
    }

    fn body(&self, messages: &[Value], tools: &[Value]) -> Value {
        let Asking { model, temperature, max_tokens, max_tokens_field, .. } = &self.asking;
        let mut body = json!({"model": model, "messages": messages, "stream": true});
        body[max_tokens_field] = (*max_tokens).into();
        if let Some(temperature) = temperature {
            body["temperature"] = (*temperature).into();
        }
        if !tools.is_empty() {
            body["tools"] = tools.into();
        }
        body
    }

    async fn attempt(
        &self,
        body: Bytes,
        first_by: Instant,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Reply, VendorError> {
        let Waits { first, next, .. } = self.asking.waits;
        let slow = || error(Failure::Slow, format!("no word within {} s", first.as_secs_f32()));
        let builder = self
            .account
            .post("/v1/chat/completions")
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream");
        let request = self.account.request(builder, body);
        let response = timeout_at(first_by, self.account.http.open(request)).await.map_err(|_| slow())?;
        let response = response.map_err(|error| of_http(&error))?;
        if !response.status().is_success() {
            return Err(self.told_by(response).await);
        }
        let mut body = response.into_body();
        let mut stream = Stream::default();
        let mut by = first_by;
        loop {
            let frame = timeout_at(by, body.frame()).await.map_err(|_| match stream.words {
                0 => slow(),
                _ => error(Failure::BrokenOff, format!("no further word within {} s", next.as_secs_f32())),
            })?;
            let bytes = match frame {
                None => return stream.ended(),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(broken)) => return Err(error(Failure::BrokenOff, told(&broken))),
            };
            let words = stream.words;
            match self.take(&mut stream, &bytes, on_text)? {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(()) => {
                    if stream.done {
                        // Read to its end, the connection can be used again; nobody has to wait for that.
                        tokio::spawn(timeout(Duration::from_secs(1), Limited::new(body, 4_096).collect()));
                    }
                    return Ok(stream.reply());
                }
            }
            if stream.words > words {
                by = Instant::now() + next;
            }
        }
    }

    /// Takes bytes of the stream. `Break`: there is no more, or no more is wanted.
    fn take(
        &self,
        stream: &mut Stream,
        bytes: &[u8],
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, VendorError> {
        let mut came = Vec::new();
        stream
            .events
            .push(bytes, &mut |data| came.push(data.to_vec()))
            .map_err(|_| error(Failure::Malformed, "an event without an end"))?;
        for data in came {
            if data.starts_with(b"[DONE]") {
                stream.done = true;
                return Ok(ControlFlow::Break(()));
            }
            let chunk: Value = serde_json::from_slice(&data)
                .map_err(|_| error(Failure::Malformed, "an event that is no JSON"))?;
            if !chunk["error"].is_null() {
                return Err(self.reported(&chunk));
            }
            if let Some(text) = stream.chunk(&chunk)?
                && !text.is_empty()
                && on_text(&text).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The error that a refusal tells.
    async fn told_by(&self, response: Response<Incoming>) -> VendorError {
        let (status, headers, body) = refusal::refusal(response).await;
        self.refused(status, &headers, &body)
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> VendorError {
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let code = code(&said);
        let why = match status.as_u16() {
            401 | 403 => Failure::Unauthorised,
            402 => Failure::Unpaid,
            429 if code == "insufficient_quota" => Failure::Unpaid,
            408 | 429 => Failure::Busy,
            500.. => Failure::Faulty,
            _ => Failure::Refused,
        };
        let mut detail = format!("status {}", status.as_u16());
        if !code.is_empty() {
            detail = format!("{detail}, {code}");
        }
        // What a service says of a wrong key may show parts of it.
        let message = if why == Failure::Unauthorised { String::new() } else { self.message(&said) };
        if !message.is_empty() {
            detail = format!("{detail}: {message}");
        }
        for name in ["retry-after", "x-request-id"] {
            if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
                detail = format!("{detail} ({name} {})", self.shown(value));
            }
        }
        error(why, detail)
    }

    /// The error that stands in the middle of a stream.
    fn reported(&self, chunk: &Value) -> VendorError {
        let why = match (chunk["error"]["code"].as_u64(), &*code(chunk)) {
            (Some(401 | 403), _) | (_, "invalid_api_key") => Failure::Unauthorised,
            (Some(402), _) | (_, "insufficient_quota") => Failure::Unpaid,
            (Some(429), _) | (_, "rate_limit_exceeded") => Failure::Busy,
            (Some(400..=499), _) => Failure::Refused,
            _ => Failure::Faulty,
        };
        error(why, format!("an error in the stream, {}: {}", code(chunk), self.message(chunk)))
    }

    /// What a service says of its error, for the log.
    fn message(&self, said: &Value) -> String {
        let nested = said["error"]["message"].as_str().or(said["error"].as_str());
        self.shown(nested.or(said["message"].as_str()).unwrap_or_default())
    }

    /// A text from outside as it may stand in a log.
    fn shown(&self, text: &str) -> String {
        refusal::shown(text, self.account.key())
    }
}

/// What an error is called: `rate_limit_exceeded`, or a number.
fn code(said: &Value) -> String {
    let error = &said["error"];
    let named = [&error["code"], &error["type"], &said["code"], &said["type"]];
    let text = named.into_iter().find_map(|value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    text.unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect()
}

fn error(why: Failure, detail: impl Into<String>) -> VendorError {
    VendorError::new(why, detail)
}

/// A reply in the making.
#[derive(Default)]
struct Stream {
    events: Events,
    thoughts: Thoughts,
    text: String,
    calls: Calls,
    /// Chunks that held text or a piece of a tool call.
    words: u64,
    any: bool,
    finished: bool,
    done: bool,
}

impl Stream {
    /// Takes a chunk; its text, if it has any.
    fn chunk(&mut self, chunk: &Value) -> Result<Option<String>, VendorError> {
        self.any = true;
        // The chunk that tells what was used has no choice.
        let Some(choice) = chunk["choices"].get(0) else { return Ok(None) };
        self.finished |= choice["finish_reason"].is_string();
        let delta = &choice["delta"];
        if let Some(calls) = delta["tool_calls"].as_array().filter(|calls| !calls.is_empty()) {
            self.words += 1;
            if !self.calls.push(calls) {
                return Err(error(Failure::Malformed, "more tool calls than make sense"));
            }
        }
        // A refusal is meant for the caller like any other text.
        let Some(text) = delta["content"].as_str().or(delta["refusal"].as_str()) else { return Ok(None) };
        let text = self.thoughts.without(text);
        if !text.is_empty() {
            self.words += 1;
            self.text.push_str(&text);
        }
        if self.text.len() > TEXT_MAX {
            return Err(error(Failure::Malformed, "a reply without an end"));
        }
        Ok(Some(text))
    }

    /// The connection ended, which some servers do instead of saying that they are done.
    fn ended(self) -> Result<Reply, VendorError> {
        match (self.finished, self.any) {
            (true, _) => Ok(self.reply()),
            (false, true) => Err(error(Failure::BrokenOff, "the stream ended before the reply did")),
            (false, false) => Err(error(Failure::Malformed, "an answer that is no stream of events")),
        }
    }

    fn reply(self) -> Reply {
        Reply { text: self.text, calls: self.calls.finish() }
    }
}

/// Takes out what some models think aloud before they answer: `<think>…</think>`.
#[derive(Default)]
struct Thoughts {
    stage: Stage,
    held: String,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Before,
    Thinking,
    Answering,
}

impl Thoughts {
    const OPEN: &str = "<think>";
    const CLOSE: &str = "</think>";

    /// What of `text` is meant to be heard, with what was held back before it.
    fn without(&mut self, text: &str) -> String {
        if self.stage == Stage::Answering {
            return text.to_owned();
        }
        self.held.push_str(text);
        if self.stage == Stage::Before {
            let begun = self.held.trim_start();
            if begun.starts_with(Self::OPEN) {
                self.stage = Stage::Thinking;
            } else if Self::OPEN.starts_with(begun) {
                return String::new();
            } else {
                self.stage = Stage::Answering;
                return std::mem::take(&mut self.held);
            }
        }
        let Some(end) = self.held.find(Self::CLOSE) else {
            // Only what may be the beginning of the end is kept.
            let mut from = self.held.len().saturating_sub(Self::CLOSE.len());
            while !self.held.is_char_boundary(from) {
                from += 1;
            }
            self.held.drain(..from);
            return String::new();
        };
        self.stage = Stage::Answering;
        std::mem::take(&mut self.held).split_off(end + Self::CLOSE.len())
    }
}

#[cfg(test)]
mod tests;
