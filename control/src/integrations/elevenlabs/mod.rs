//! ElevenLabs' voices: 8 kHz µ-law, with the time of every character.
//!
//! One socket per call, over which each text is spoken in a context of its own ([`multi`]), or one request per text
//! ([`stream`]), for models that have no socket.
//!
//! <https://elevenlabs.io/docs/api-reference>, by the official SDK 2.78.0, read 2026-11.

mod clone;
mod multi;
mod probe;
mod stream;

pub use clone::VoiceMaker;
pub use probe::ElevenLabsProbe;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use offhook_engine::call::Failure;
use serde_json::{Value, json};

use super::contexts::{ContextLine, Times};
use super::http::{HttpClient, Limits};
use super::refusal::{Told, header, of_http, of_status, sensitive};
use super::vendor::{CONNECT, VendorError, Voice, VoiceLine};
use crate::settings::{BaseUrl, Secret};

/// The header with the key.
const KEY: &str = "xi-api-key";
/// What a look at the key may cost.
const CHECK: Limits = Limits { time: Duration::from_secs(4), body_bytes: 4 * 1024 * 1024 };

/// How texts get there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Over a socket that is there before the first word.
    #[default]
    Socket,
    /// Over HTTP, one request per text.
    Http,
}

/// Which voice, where, and how it is to speak.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server, or that of a region.
    pub base: BaseUrl,
    /// The key.
    pub key: Secret,
    /// The id of the voice.
    pub voice: String,
    /// The model, such as `eleven_flash_v2_5`.
    pub model: String,
    /// The language, such as `en`; none: as the text is.
    pub language: Option<String>,
    /// How fast: 0.7 to 1.2; none: as the voice has it.
    pub speed: Option<f64>,
    /// How texts get there.
    pub transport: Transport,
}

/// The voice, for all calls.
#[derive(Clone, Debug)]
pub struct ElevenLabs(Arc<Client>);

#[derive(Debug)]
struct Client {
    http: HttpClient,
    options: Options,
    key: HeaderValue,
}

impl ElevenLabs {
    /// A voice with connections of its own. An error says what to do.
    pub fn new(options: Options) -> Result<Self, String> {
        if !clone::is_id(&options.voice) {
            return Err("the voice is not an id, such as 21m00Tcm4TlvDq8ikWAM".into());
        }
        let http = HttpClient::for_streams(CONNECT).map_err(|error| error.to_string())?;
        let key = sensitive(options.key.reveal())?;
        Ok(Self(Arc::new(Client { http, options, key })))
    }
}

impl Voice for ElevenLabs {
    fn name(&self) -> &'static str {
        "elevenlabs"
    }

    fn check(&self) -> BoxFuture<'_, Result<(), VendorError>> {
        self.0.check().boxed()
    }

    fn line(&self) -> Box<dyn VoiceLine> {
        match self.0.options.transport {
            Transport::Socket => Box::new(ContextLine::new(Arc::clone(&self.0), Times::default())),
            Transport::Http => Box::new(stream::Line(Arc::clone(&self.0))),
        }
    }
}

impl Client {
    /// A key may be for speech alone, and not see its own account: what any key may see is the models.
    async fn check(&self) -> Result<(), VendorError> {
        let request = Request::get(self.options.base.of("/v1/models")).header(KEY, self.key.clone());
        let request =
            request.body(Full::new(Bytes::new())).expect("a checked base and a fixed path are a URL");
        let answer = self.http.send(request, CHECK).await.map_err(|error| of_http(&error))?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(self.refused(answer.status, &answer.headers, &answer.body)),
        }
    }

    /// How the voice is to speak; null if that is its own business.
    fn voice_settings(&self) -> Value {
        self.options.speed.map_or(Value::Null, |speed| json!({"speed": speed}))
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> VendorError {
        refused(status, headers, body, &self.options.key)
    }
}

/// Its errors are `{"detail": {"code" or "status", "message"}}`, of a missing field `{"detail": [{"msg"}]}`, or a text.
fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8], key: &Secret) -> VendorError {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = match &said["detail"] {
        Value::Array(all) => all.first().cloned().unwrap_or_default(),
        other => other.clone(),
    };
    let text = |name: &str| detail[name].as_str();
    let code = text("code").or(text("status")).or(text("type")).unwrap_or_default();
    let message = text("message").or(text("msg")).or(detail.as_str()).unwrap_or_default();
    let request = text("request_id").or(header(headers, "request-id"));
    let why = of_code(code).unwrap_or_else(|| of_status(status));
    Told { status: Some(status), code, message, request }.error(why, Some(key))
}

/// What a code means, whatever the status: of an empty account, the status was 401 for long.
fn of_code(code: &str) -> Option<Failure> {
    Some(match code {
        "quota_exceeded" | "insufficient_credits" | "payment_required" | "subscription_required" => {
            Failure::Unpaid
        }
        "invalid_api_key"
        | "missing_api_key"
        | "unauthorized"
        | "authentication_error"
        | "insufficient_permissions"
        | "detected_unusual_activity" => Failure::Unauthorised,
        "rate_limit_exceeded"
        | "concurrent_limit_exceeded"
        | "too_many_concurrent_requests"
        | "system_busy"
        | "max_active_conversations" => Failure::Busy,
        "internal_error" | "service_unavailable" | "maintenance" => Failure::Faulty,
        "voice_access_denied"
        | "voice_limit_reached"
        | "voice_does_not_exist"
        | "model_access_denied"
        | "feature_not_available"
        | "voice_not_found"
        | "model_not_found" => Failure::Refused,
        "input_timeout_exceeded" => Failure::BrokenOff,
        _ => return None,
    })
}

/// The first of these fields that is there: both spellings are about.
fn either<'a>(message: &'a Value, names: [&str; 2]) -> &'a Value {
    names.into_iter().map(|name| &message[name]).find(|value| !value.is_null()).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests;
