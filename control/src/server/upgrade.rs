//! The WebSocket handshake, by hand: the answer is ours, the bare socket goes to whoever speaks on it.
//!
//! RFC 6455, section 4.2.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::systems::error::ApiError;

/// How long the 101 may take to get out.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Checks that the request asks for a WebSocket, and answers 101. [`finish`] gives the socket once that is sent.
pub fn accept(request: &mut Request<Body>) -> Result<(Response<Body>, OnUpgrade), ApiError> {
    let accepted = accept_key(request)?;
    let pending = hyper::upgrade::on(request);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
    Ok((response, pending))
}

/// The socket, and the bytes that came behind the request. The error says what happened, for the log.
pub async fn finish(pending: OnUpgrade) -> Result<(TcpStream, Vec<u8>), String> {
    let upgraded = tokio::time::timeout(HANDSHAKE_TIME_MAX, pending)
        .await
        .map_err(|_| "the client did not take the answer in 10 s".to_owned())?
        .map_err(|error| error.to_string())?;
    let parts = hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)
        .map_err(|_| "it is no plain TCP connection".to_owned())?;
    Ok((parts.io.into_inner(), parts.read_buf.to_vec()))
}

fn accept_key(request: &Request<Body>) -> Result<HeaderValue, ApiError> {
    let headers = request.headers();
    if !names(headers, header::UPGRADE, "websocket") || !names(headers, header::CONNECTION, "upgrade") {
        return Err(ApiError::new(
            StatusCode::UPGRADE_REQUIRED,
            "This path takes WebSocket connections only",
        ));
    }
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return Err(ApiError::invalid("A WebSocket begins with a GET in HTTP/1.1"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(ApiError::invalid("Sec-WebSocket-Version must be 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut nonce = [0; 18];
    let decoded = base64::Engine::decode_slice(&base64::engine::general_purpose::STANDARD, key, &mut nonce);
    if decoded != Ok(16) {
        return Err(ApiError::invalid("Sec-WebSocket-Key must be 16 bytes in base64"));
    }
    Ok(HeaderValue::from_str(&derive_accept_key(key)).expect("base64 is printable"))
}

/// True if a header that lists names has this one.
fn names(headers: &HeaderMap, header: header::HeaderName, name: &str) -> bool {
    headers
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<Body> {
        let mut request = Request::get("/api/callbot/audio-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_answer_is_that_of_the_rfc() {
        let (response, _) = accept(&mut request(&GOOD)).unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_request_that_lacks_something_is_told_what() {
        for (lacking, status) in [(0, 426), (1, 426), (2, 400), (3, 400)] {
            let mut headers = GOOD.to_vec();
            headers.remove(lacking);
            assert_eq!(accept(&mut request(&headers)).unwrap_err().status, status, "{lacking}");
        }
        let mut headers = GOOD;
        headers[3].1 = "dG9vIHNob3J0";
        assert_eq!(accept(&mut request(&headers)).unwrap_err().status, 400);
    }
}
