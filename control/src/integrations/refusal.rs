//! What a vendor's failure means, and how it may be told: in a word for whoever decides what to do next, in a line without
//! secrets for the log.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use offhook_engine::call::Failure;
use tokio::time::timeout;

use super::dial::DialError;
use super::http::HttpError;
use super::vendor::{CONNECT, VendorError};
use crate::settings::Secret;

/// Bytes of an error's answer that are read.
const BODY_MAX: usize = 64 * 1024;
/// How long is waited for them.
const BODY_WAIT: Duration = Duration::from_secs(1);
/// Characters of what a service says of an error that go to the log.
const CHARS: usize = 200;

/// What a status means that has no name beside it.
pub(super) fn of_status(status: StatusCode) -> Failure {
    match status.as_u16() {
        401 | 403 => Failure::Unauthorised,
        402 => Failure::Unpaid,
        408 | 425 | 429 => Failure::Busy,
        500.. => Failure::Faulty,
        _ => Failure::Refused,
    }
}

/// What a WebSocket's close means (RFC 6455, section 7.4.1) that has no name beside it.
pub(super) fn of_close(code: u16) -> Failure {
    match code {
        1008 => Failure::Refused,
        1011 => Failure::Faulty,
        1012 | 1013 => Failure::Busy,
        _ => Failure::BrokenOff,
    }
}

pub(super) fn of_http(failed: &HttpError) -> VendorError {
    let why = match failed {
        HttpError::Unreachable(_) | HttpError::Tls(_) => Failure::Unreachable,
        HttpError::Slow(_) => Failure::Slow,
        HttpError::Large(_) => Failure::Malformed,
        HttpError::Broken(_) => Failure::BrokenOff,
    };
    VendorError::new(why, failed.to_string())
}

/// No socket. What the server said when it refused is its client's to read.
pub(super) fn of_dial(failed: &DialError) -> VendorError {
    let why = match failed {
        DialError::Url(_) => Failure::Refused,
        DialError::Unreachable(_) | DialError::Tls(_) => Failure::Unreachable,
        DialError::Refused { status, .. } => of_status(*status),
        DialError::Broken(_) => Failure::BrokenOff,
    };
    VendorError::new(why, failed.to_string())
}

/// Of a look at the key that was made for its connection: whether anybody is there. A key may be for speech alone, and not for
/// what was looked at; whether it is for that, the first text or utterance tells.
pub(super) fn reached(looked: Result<(), VendorError>) -> Result<(), VendorError> {
    match looked {
        Err(error) if matches!(error.why, Failure::Unreachable | Failure::Slow | Failure::BrokenOff) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// No connection in time.
pub(super) fn no_connection() -> VendorError {
    VendorError::new(Failure::Unreachable, format!("no connection within {} s", CONNECT.as_secs_f32()))
}

/// As much of a refusal's body as there soon is.
pub(super) async fn body_of(body: Incoming) -> Bytes {
    let body = timeout(BODY_WAIT, Limited::new(body, BODY_MAX).collect()).await;
    body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default()
}

/// The value of a header that holds a key.
pub(super) fn sensitive(value: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::try_from(value);
    let mut value = value.map_err(|_| "the key holds characters that no key has; copy it anew".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A refusal as it may be told.
pub(super) struct Told<'a> {
    pub(super) status: Option<StatusCode>,
    /// What the service calls it.
    pub(super) code: &'a str,
    /// What it says of it.
    pub(super) message: &'a str,
    /// Under which name it can be asked about it.
    pub(super) request: Option<&'a str>,
}

impl Told<'_> {
    /// The error. `key` is struck out of all texts.
    pub(super) fn error(&self, why: Failure, key: Option<&Secret>) -> VendorError {
        let code = self.code.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-'));
        let code: String = code.take(40).collect();
        let status = self.status.map(|status| format!("status {}", status.as_u16()));
        let mut detail = match (status, code.is_empty()) {
            (Some(status), true) => status,
            (Some(status), false) => format!("{status}, {code}"),
            (None, _) => code,
        };
        // What a service says of a wrong key may show parts of it.
        let message = if why == Failure::Unauthorised { String::new() } else { shown(self.message, key) };
        if !message.is_empty() {
            detail = if detail.is_empty() { message } else { format!("{detail}: {message}") };
        }
        if let Some(request) = self.request {
            detail = format!("{detail} (request {})", shown(request, key));
        }
        VendorError::new(why, detail)
    }
}

/// A header's text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A text from outside as it may stand in a log: short, on one line, without the key.
pub(super) fn shown(text: &str, key: Option<&Secret>) -> String {
    let text = match key {
        Some(key) if !key.reveal().is_empty() => text.replace(key.reveal(), "…"),
        _ => text.to_owned(),
    };
    text.trim().chars().take(CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The status and headers of a refusal, and its body.
pub(super) async fn refusal(response: Response<Incoming>) -> (StatusCode, HeaderMap, Bytes) {
    let (head, body) = response.into_parts();
    (head.status, head.headers, body_of(body).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_one_line_without_the_key() {
        let key = Secret::new("sk-secret");
        let told = Told {
            status: Some(StatusCode::BAD_REQUEST),
            code: "bad voice\n",
            message: "no voice\nfor sk-secret",
            request: Some("r7"),
        };
        let error = told.error(Failure::Refused, Some(&key));
        assert_eq!(error.to_string(), "status 400, badvoice: no voice for … (request r7)");
        let error = told.error(Failure::Unauthorised, Some(&key));
        assert_eq!(error.to_string(), "status 400, badvoice (request r7)");
        let long = Told { status: None, code: "", message: &"é".repeat(900), request: None };
        assert_eq!(long.error(Failure::Faulty, None).detail.chars().count(), CHARS);
    }

    #[test]
    fn a_status_and_a_close_have_their_meaning() {
        let of = |status| of_status(StatusCode::from_u16(status).unwrap());
        assert_eq!(
            [401, 402, 429, 500, 404].map(of),
            [Failure::Unauthorised, Failure::Unpaid, Failure::Busy, Failure::Faulty, Failure::Refused]
        );
        assert_eq!(
            [1008, 1011, 1013, 1006].map(of_close),
            [Failure::Refused, Failure::Faulty, Failure::Busy, Failure::BrokenOff]
        );
    }

    #[test]
    fn a_key_is_marked_as_such_and_must_be_one() {
        assert!(sensitive("k").unwrap().is_sensitive());
        assert!(sensitive("two\nlines").is_err());
    }
}
