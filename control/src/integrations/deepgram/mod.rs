//! Deepgram: live recognition, with Nova ([`Deepgram`], `/v1/listen`) and with Flux ([`Flux`], `/v2/listen`); and files, with
//! Nova.
//!
//! The caller's 8 kHz µ-law goes there as it is. Times that Deepgram gives are those of the audio that one connection was
//! sent, so that where an utterance begins and ends in them is counted here. The id of each connection is in the log, at
//! debug level, and in the details of errors: Deepgram's support asks for it.
//!
//! <https://developers.deepgram.com/reference>, by deepgram-sdk 7.17.0, the API description of 2026-07 and the Rust SDK 0.9.1,
//! read 2026-11.

mod file;
mod flux;
mod line;
mod listen;
mod results;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use offhook_engine::call::Failure;
use rustls::ClientConfig;
use serde::Deserialize;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::dial::{DialError, TLS, dial};
use super::http::{AGENT, HttpClient, Limits};
use super::refusal::{Told, header, no_connection, of_dial, of_http, of_status, sensitive, shown};
use super::vendor::{CONNECT, VendorError};
use crate::settings::{BaseUrl, Secret};
use line::Line;

pub use flux::{Flux, Options as FluxOptions};
pub use listen::{Deepgram, Options};

/// Bytes of 8 kHz µ-law in one second.
const BYTES_PER_SECOND: f64 = 8_000.0;
/// µ-law of silence.
const SILENCE: u8 = 0xff;
/// What is read from a connection at once. A result is 1 to 4 KB.
const READ_BUFFER: usize = 8 * 1024;
/// No result is so long.
const MESSAGE_MAX: usize = 1024 * 1024;
/// A list of projects, of which most have one.
const PROJECTS_BYTES_MAX: usize = 256 * 1024;
/// How long a look at the key may take.
const CHECK: Duration = Duration::from_secs(4);

/// Seconds of so much audio.
fn seconds(bytes: u64) -> f64 {
    bytes as f64 / BYTES_PER_SECOND
}

/// Where Deepgram is, and with which key it is asked.
#[derive(Debug)]
struct Account {
    base: BaseUrl,
    key: Secret,
    authorization: HeaderValue,
    client: HttpClient,
    tls: Arc<ClientConfig>,
}

impl Account {
    /// An error says what to do.
    fn new(base: BaseUrl, key: Secret) -> Result<Self, String> {
        let authorization = sensitive(&format!("Token {}", key.reveal()))?;
        let client = HttpClient::new().map_err(|error| error.to_string())?;
        Ok(Self { base, key, authorization, client, tls: Arc::new(TLS.clone()) })
    }

    /// Whether the key is accepted: by a list that costs nothing.
    async fn check(&self) -> Result<(), VendorError> {
        let request = Request::get(self.base.of("/v1/projects"))
            .header(AUTHORIZATION, self.authorization.clone())
            .body(Full::<Bytes>::default())
            .expect("a checked base and a fixed path are a URL");
        let limits = Limits { time: CHECK, body_bytes: PROJECTS_BYTES_MAX };
        match self.client.send(request, limits).await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(self.refused(answer.status, &answer.headers, &answer.body)),
            Err(error) => Err(of_http(&error)),
        }
    }

    /// Opens a connection, within [`CONNECT`]. `path`: with its query.
    async fn open(&self, path: &str, send_within: Duration) -> Result<Line<'_>, VendorError> {
        let url = self.base.socket(path);
        let mut request = url
            .into_client_request()
            .map_err(|error| VendorError::new(Failure::Refused, error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        // There are firewalls before it that refuse who has no name.
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        let tls = TlsConnector::from(self.tls.clone());
        let dialled = timeout(CONNECT, dial(request, &tls, config)).await.map_err(|_| no_connection())?;
        let (socket, headers) = dialled.map_err(|error| match &error {
            DialError::Refused { status, headers, body } => self.refused(*status, headers, body),
            _ => of_dial(&error),
        })?;
        let request_id = self.shown(header(&headers, "dg-request-id").unwrap_or_default());
        tracing::debug!(request_id, "Deepgram listens");
        Ok(Line::new(self, socket, request_id, send_within))
    }

    /// What a status says that is no success. The reason is in a header, and in the body in one of two forms.
    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> VendorError {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Said {
            err_code: String,
            err_msg: String,
            category: String,
            message: String,
            request_id: String,
        }
        let said: Said = serde_json::from_slice(body).unwrap_or_default();
        let reason = header(headers, "dg-error").or(first([&said.err_msg, &said.message]));
        let told = Told {
            status: Some(status),
            code: first([&said.err_code, &said.category]).unwrap_or_default(),
            message: reason.unwrap_or_default(),
            request: header(headers, "dg-request-id").or(first([&said.request_id, ""])),
        };
        told.error(of_status(status), Some(&self.key))
    }

    /// A text of Deepgram's as it may stand in a log.
    fn shown(&self, text: &str) -> String {
        shown(text, Some(&self.key))
    }
}

/// The first that is not empty.
fn first(texts: [&str; 2]) -> Option<&str> {
    texts.into_iter().find(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    const KEY: &str = "0123456789abcdef";

    fn account() -> Account {
        Account::new("https://api.deepgram.com".parse().unwrap(), Secret::new(KEY)).unwrap()
    }

    fn refused(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> VendorError {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let status = StatusCode::from_u16(status).unwrap();
        account().refused(status, &headers.collect(), body.as_bytes())
    }

    #[test]
    fn a_refusal_says_why_in_a_word_and_for_the_log_with_its_id() {
        for (status, why) in [
            (400, Failure::Refused),
            (401, Failure::Unauthorised),
            (402, Failure::Unpaid),
            (403, Failure::Unauthorised),
            (404, Failure::Refused),
            (429, Failure::Busy),
            (500, Failure::Faulty),
            (503, Failure::Faulty),
        ] {
            assert_eq!(refused(status, &[], "").why, why, "{status}");
        }
        let error = refused(
            400,
            &[("dg-error", "Bad model."), ("dg-request-id", "id-1")],
            r#"{"err_code": "INVALID_QUERY_PARAMETER", "err_msg": "Bad model, says the body.", "request_id": "id-2"}"#,
        );
        assert_eq!(error.detail, "status 400, INVALID_QUERY_PARAMETER: Bad model. (request id-1)");
        let other_form = refused(
            400,
            &[],
            r#"{"category": "INVALID", "message": "No.", "details": "", "request_id": "id-2"}"#,
        );
        assert_eq!(other_form.detail, "status 400, INVALID: No. (request id-2)");
        assert_eq!(refused(502, &[], "<html>").detail, "status 502");
    }

    #[test]
    fn a_key_is_in_no_error_and_no_debug_text() {
        let error = refused(400, &[("dg-error", "No key 0123456789abcdef here.")], "");
        assert_eq!(error.detail, "status 400: No key … here.");
        assert!(!format!("{:?}", account()).contains(KEY));
        assert!(Account::new("https://x.example".parse().unwrap(), Secret::new("a\nb")).is_err());
    }
}
