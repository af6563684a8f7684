//! The socket that speaks several contexts: `multi-stream-input`.
//!
//! Three messages for a text: its context, all of the text with a flush, and at once the close, behind which the vendor says when
//! there is no more. A cancelled context is closed once more; what it had begun may come to its end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode};
use offhook_engine::call::Failure;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{Client, KEY, either, of_code};
use crate::integrations::contexts::{Dialect, Marks, Piece, Said, samples};
use crate::integrations::http::AGENT;
use crate::integrations::refusal::Told;
use crate::integrations::vendor::VendorError;

impl Client {
    fn socket_url(&self) -> String {
        let options = &self.options;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("model_id", &options.model).append_pair("output_format", "ulaw_8000");
        // The longest that may be asked for.
        query.append_pair("inactivity_timeout", "180");
        if let Some(language) = &options.language {
            query.append_pair("language_code", language);
        }
        let path = format!("/v1/text-to-speech/{}/multi-stream-input", options.voice);
        format!("{}?{}", options.base.socket(&path), query.finish())
    }

    fn failed(&self, message: &Value) -> VendorError {
        let code = message["error"].as_str().unwrap_or_default();
        let why = of_code(code).unwrap_or(match message["code"].as_u64() {
            Some(1011) => Failure::Faulty,
            _ => Failure::Refused,
        });
        let said = message["message"].as_str().unwrap_or_default();
        Told { status: None, code, message: said, request: None }.error(why, Some(&self.options.key))
    }
}

impl Dialect for Client {
    const NAME: &'static str = "elevenlabs";
    const REQUEST_ID: &'static str = "request-id";
    const CONTEXTS_MAX: usize = 5;
    const CANCELLED_ENDS: bool = true;

    fn handshake(&self) -> Result<Request<()>, VendorError> {
        let request = self.socket_url().into_client_request();
        let mut request = request.map_err(|error| VendorError::new(Failure::Refused, error.to_string()))?;
        request.headers_mut().insert(KEY, self.key.clone());
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        Ok(request)
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> VendorError {
        Client::refused(self, status, headers, body)
    }

    fn begin(&self, context: &str, text: &str) -> Vec<Value> {
        let mut create = json!({"text": " ", "context_id": context});
        let settings = self.voice_settings();
        if !settings.is_null() {
            create["voice_settings"] = settings;
        }
        // Every text ends with a space.
        let text = json!({"text": format!("{text} "), "context_id": context, "flush": true});
        vec![create, text, self.cancel(context)]
    }

    fn cancel(&self, context: &str) -> Value {
        json!({"context_id": context, "close_context": true})
    }

    fn read(&self, message: &Value) -> Result<Vec<Said>, VendorError> {
        let context = either(message, ["contextId", "context_id"]).as_str().map(str::to_owned);
        if !message["error"].is_null() {
            return Ok(vec![Said::Failed { context: None, error: self.failed(message) }]);
        }
        let Some(context) = context else { return Ok(Vec::new()) };
        let mut said = Vec::new();
        if let Some(audio) = message["audio"].as_str() {
            let ulaw = STANDARD
                .decode(audio)
                .map_err(|_| VendorError::new(Failure::Malformed, "audio that is no base64"))?;
            let piece = Piece { ulaw, marks: characters(&message["alignment"]) };
            said.push(Said::Piece { context: context.clone(), piece });
        }
        if *either(message, ["isFinal", "is_final"]) == true {
            said.push(Said::Ended { context });
        }
        Ok(said)
    }
}

/// When the characters of a piece begin.
fn characters(alignment: &Value) -> Marks {
    let characters = either(alignment, ["chars", "characters"]).as_array();
    let starts = either(alignment, ["charStartTimesMs", "charsStartTimesMs"]).as_array();
    let (Some(characters), Some(starts)) = (characters, starts) else { return Marks::None };
    let marks = characters.iter().zip(starts);
    let marks = marks.filter_map(|(c, ms)| Some((c.as_str()?.to_owned(), samples(ms.as_f64()? / 1_000.0))));
    Marks::Characters(marks.collect())
}
