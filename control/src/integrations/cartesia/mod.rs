//! Cartesia's voices: 8 kHz µ-law over a socket, with the time of every word.
//!
//! One socket per call, one context per text, which one message begins and ends. A cancel stops what has not begun; what has
//! is dropped by its context, and whether the vendor says that it ended is not waited for.
//!
//! <https://docs.cartesia.ai/api-reference/tts/websocket>, by the official SDK 4.2.0, read 2026-11.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use offhook_engine::call::Failure;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::contexts::{ContextLine, Dialect, Marks, Piece, Said, Times, open, samples};
use super::http::AGENT;
use super::refusal::{Told, header, of_status, sensitive};
use super::vendor::{VendorError, Voice, VoiceLine};
use crate::settings::{BaseUrl, Secret};

/// The version of the interface that this was written for.
pub const VERSION: &str = "2026-08-14";

/// Which voice, where, and how it is to speak.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub base: BaseUrl,
    /// The key.
    pub key: Secret,
    /// The version of the interface, a date; [`VERSION`].
    pub version: String,
    /// The id of the voice.
    pub voice: String,
    /// The model, such as `sonic-3`.
    pub model: String,
    /// The language, such as `en`; none: as the model takes it.
    pub language: Option<String>,
    /// How fast: 0.6 to 1.5, where the model takes that; none: as the voice has it.
    pub speed: Option<f64>,
}

/// The voice, for all calls.
#[derive(Clone, Debug)]
pub struct Cartesia(Arc<Client>);

#[derive(Debug)]
struct Client {
    options: Options,
    authorization: HeaderValue,
    version: HeaderValue,
    times: Times,
}

impl Cartesia {
    /// A voice. An error says what to do.
    pub fn new(options: Options) -> Result<Self, String> {
        let authorization = sensitive(&format!("Bearer {}", options.key.reveal()))?;
        let version = HeaderValue::try_from(&options.version)
            .map_err(|_| format!("the version is a date, such as {VERSION}"))?;
        Ok(Self(Arc::new(Client { options, authorization, version, times: Times::default() })))
    }
}

impl Voice for Cartesia {
    fn name(&self) -> &'static str {
        Client::NAME
    }

    fn check(&self) -> BoxFuture<'_, Result<(), VendorError>> {
        // A socket says whether it takes the key, and costs nothing.
        async { open(&*self.0).await.map(drop) }.boxed()
    }

    fn line(&self) -> Box<dyn VoiceLine> {
        Box::new(ContextLine::new(Arc::clone(&self.0), self.0.times))
    }
}

impl Client {
    /// An error as it is told: structured, or before version 2026-03-01 a text `Title: Message`.
    fn told(&self, status: Option<StatusCode>, said: &Value, request: Option<&str>) -> VendorError {
        let text = |name: &str| said[name].as_str();
        let code = text("error_code").unwrap_or_default();
        let message = text("message").or(text("error")).or(said.as_str()).or(text("title"));
        let why = match (code, status) {
            ("concurrency_limited", _) => Failure::Busy,
            (_, Some(status)) => of_status(status),
            (_, None) => Failure::Faulty,
        };
        let request = text("request_id").or(request);
        let told = Told { status, code, message: message.unwrap_or_default(), request };
        told.error(why, Some(&self.options.key))
    }
}

impl Dialect for Client {
    const NAME: &'static str = "cartesia";
    const REQUEST_ID: &'static str = "x-request-id";
    const CONTEXTS_MAX: usize = usize::MAX;
    const CANCELLED_ENDS: bool = false;

    fn handshake(&self) -> Result<Request<()>, VendorError> {
        let request = self.options.base.socket("/tts/websocket").into_client_request();
        let mut request = request.map_err(|error| VendorError::new(Failure::Refused, error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert("cartesia-version", self.version.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        Ok(request)
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> VendorError {
        let said = serde_json::from_slice(body);
        let said = said.unwrap_or_else(|_| Value::from(String::from_utf8_lossy(body)));
        self.told(Some(status), &said, header(headers, Self::REQUEST_ID))
    }

    fn begin(&self, context: &str, text: &str) -> Vec<Value> {
        let Options { model, voice, language, speed, .. } = &self.options;
        let mut request = json!({
            "model_id": model, "context_id": context, "transcript": text, "continue": false,
            "voice": {"mode": "id", "id": voice},
            "output_format": {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8_000},
            "add_timestamps": true, "max_buffer_delay_ms": 0,
        });
        if let Some(language) = language {
            request["language"] = language.as_str().into();
        }
        if let Some(speed) = speed {
            request["generation_config"] = json!({"speed": speed});
        }
        vec![request]
    }

    fn cancel(&self, context: &str) -> Value {
        json!({"context_id": context, "cancel": true})
    }

    fn read(&self, message: &Value) -> Result<Vec<Said>, VendorError> {
        let context = message["context_id"].as_str().map(str::to_owned);
        let kind = message["type"].as_str();
        if kind == Some("error") {
            let status = message["status_code"].as_u64().and_then(|status| u16::try_from(status).ok());
            let status = status.and_then(|status| StatusCode::from_u16(status).ok());
            return Ok(vec![Said::Failed { context, error: self.told(status, message, None) }]);
        }
        let Some(context) = context else { return Ok(Vec::new()) };
        let piece = match kind {
            Some("chunk") => {
                let audio = message["data"].as_str().unwrap_or_default();
                let ulaw = STANDARD
                    .decode(audio)
                    .map_err(|_| VendorError::new(Failure::Malformed, "audio that is no base64"))?;
                Piece { ulaw, marks: Marks::None }
            }
            Some("timestamps") => Piece { ulaw: Vec::new(), marks: words(&message["word_timestamps"]) },
            Some("done") => return Ok(vec![Said::Ended { context }]),
            _ => return Ok(Vec::new()),
        };
        Ok(vec![Said::Piece { context, piece }])
    }
}

/// When words begin.
fn words(timestamps: &Value) -> Marks {
    let (words, starts) = (timestamps["words"].as_array(), timestamps["start"].as_array());
    let (Some(words), Some(starts)) = (words, starts) else { return Marks::None };
    let marks = words.iter().zip(starts);
    let marks = marks.filter_map(|(word, at)| Some((word.as_str()?.to_owned(), samples(at.as_f64()?))));
    Marks::Words(marks.collect())
}

#[cfg(test)]
mod tests;
