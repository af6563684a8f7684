//! gRPC, as much of it as one method needs that streams both ways: HTTP/2, a length before each message, and a status in the
//! trailers.
//!
//! A connection is one call's, so that what goes wrong on it is nobody else's; the streams of the call come one after the
//! other on it. To drop a stream cancels it.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, read 2026-11.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use offhook_engine::call::Failure;
use prost::Message;
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::messages;
use crate::integrations::dial::{TLS, connect};
use crate::integrations::http::{AGENT, told};
use crate::integrations::refusal::{header, no_connection, of_dial};
use crate::integrations::vendor::{CONNECT, VendorError};

/// No message of the other side's is so long.
const MESSAGE_MAX: usize = 1024 * 1024;
/// Messages that may wait to be sent, and bytes of them that may be in the connection: who takes no more is noticed.
const UNSENT_MAX: usize = 8;
const UNSENT_BYTES_MAX: usize = 32 * 1024;
/// What the other side may send unread.
const WINDOW: u32 = 256 * 1024;

/// A method of a service, and the way there.
pub(super) struct Method {
    url: Uri,
    tls: TlsConnector,
}

impl Method {
    /// An error says what is wrong with the URL.
    pub(super) fn new(url: &str) -> Result<Self, String> {
        let url = url.parse::<Uri>().map_err(|error| format!("{url} is no URL: {error}"))?;
        let mut tls = ClientConfig::clone(&TLS);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { url, tls: TlsConnector::from(Arc::new(tls)) })
    }

    /// Opens a connection, within [`CONNECT`].
    pub(super) async fn connect(&self) -> Result<Connection, VendorError> {
        let is_secure = self.url.scheme_str() == Some("https");
        let wire = timeout(CONNECT, connect(&self.url, is_secure, &self.tls)).await;
        let wire = wire.map_err(|_| no_connection())?.map_err(|error| of_dial(&error))?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(UNSENT_BYTES_MAX);
        // This sends, and waits for nothing.
        let (requests, connection) = builder
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|error| VendorError::new(Failure::BrokenOff, told(&error)))?;
        let task = tokio::spawn(async move {
            // How it ended, its streams say.
            let _ = connection.await;
        });
        Ok(Connection { requests, task: Arc::new(Task(task)) })
    }
}

/// What moves the bytes of a connection, until nobody has it any more.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection.
pub(super) struct Connection {
    requests: SendRequest<Outgoing>,
    task: Arc<Task>,
}

impl Connection {
    /// Whether it takes no stream any more, as far as is known.
    pub(super) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Begins a stream. What becomes of it, [`Stream::next`] tells. `credentials`: the header in whose name.
    pub(super) fn open(
        &mut self,
        method: &Method,
        credentials: (HeaderName, HeaderValue),
        send_within: Duration,
    ) -> Stream {
        let (outgoing, taken) = mpsc::channel(UNSENT_MAX);
        let mut request = Request::new(Outgoing(taken));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = method.url.clone();
        *request.version_mut() = hyper::Version::HTTP_2;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(credentials.0, credentials.1);
        let answer = Answer::Awaited(self.requests.send_request(request).boxed());
        let waiting = BytesMut::new();
        Stream { outgoing: Some(outgoing), answer, waiting, send_within, _task: Arc::clone(&self.task) }
    }
}

/// What is to be sent.
struct Outgoing(mpsc::Receiver<Bytes>);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|message| message.map(|message| Ok(Frame::data(message))))
    }
}

/// How a stream ended that was not wanted to, or not so.
#[derive(Debug, PartialEq)]
pub(super) enum Ended {
    /// With this status.
    Status(Status),
    /// With this one of HTTP, by somebody who speaks no gRPC.
    Http(StatusCode),
    /// Without any: why. `before`: nothing had come on it.
    Broken { detail: String, before: bool },
    /// By something that cannot be read.
    Malformed(String),
}

/// A status of gRPC.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Status {
    /// 0 to 16.
    pub(super) code: i32,
    /// What is said of it.
    pub(super) message: String,
    /// Google's word for it, if it has one.
    pub(super) reason: Option<String>,
}

impl Status {
    /// Reads the headers or trailers; none if there is no status in them.
    fn read(headers: &HeaderMap) -> Option<Self> {
        let code = header(headers, "grpc-status")?.parse().unwrap_or(UNKNOWN);
        let message = unescaped(header(headers, "grpc-message").unwrap_or_default());
        let details = header(headers, "grpc-status-details-bin").map(|text| text.trim_end_matches('='));
        let details = details.and_then(|text| STANDARD_NO_PAD.decode(text).ok());
        let details = details.and_then(|bytes| messages::Status::decode(&bytes[..]).ok());
        Some(Self { code, message, reason: details.and_then(|details| details.reason()) })
    }
}

/// `UNKNOWN`, which a status is as well that is no number.
const UNKNOWN: i32 = 2;

/// Text with `%20` for what a header does not hold.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let code = behind.first_chunk().and_then(|two: &[u8; 2]| std::str::from_utf8(two).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| byte == b'%') {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &behind[2..];
            }
            None => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A stream of messages, both ways.
pub(super) struct Stream {
    /// None once all was sent.
    outgoing: Option<mpsc::Sender<Bytes>>,
    answer: Answer,
    /// What came, and is no whole message yet.
    waiting: BytesMut,
    send_within: Duration,
    _task: Arc<Task>,
}

enum Answer {
    /// Its head, which comes no sooner than there is something to say.
    Awaited(BoxFuture<'static, hyper::Result<Response<Incoming>>>),
    Coming(Incoming),
    Over,
}

impl Stream {
    /// Sends a message. False if the other side took nothing for as long as it may. A stream that has ended takes
    /// everything: [`next`](Self::next) tells how it did.
    pub(super) async fn send(&mut self, message: &impl Message) -> bool {
        let Some(outgoing) = &self.outgoing else { return true };
        let length = message.encoded_len();
        let mut framed = BytesMut::with_capacity(5 + length);
        framed.put_u8(0);
        framed.put_u32(length as u32);
        message.encode(&mut framed).expect("there is room for it");
        timeout(self.send_within, outgoing.send(framed.freeze())).await.is_ok()
    }

    /// Says that all was sent.
    pub(super) fn finish(&mut self) {
        self.outgoing = None;
    }

    /// The next message; none once the other side has said all, and that it went well. It may be dropped while it waits.
    pub(super) async fn next<T: Message + Default>(&mut self) -> Result<Option<T>, Ended> {
        loop {
            if let Some(message) = self.whole()? {
                let malformed = |_| Ended::Malformed("a message that cannot be read".into());
                return T::decode(message).map(Some).map_err(malformed);
            }
            match &mut self.answer {
                Answer::Awaited(head) => match head.await {
                    Ok(response) => {
                        if let Some(status) = self.begin(response)? {
                            return over(status);
                        }
                    }
                    Err(error) => return Err(self.broken(told(&error), true)),
                },
                Answer::Coming(body) => match body.frame().await {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => self.waiting.extend_from_slice(&data),
                        Err(frame) => {
                            let trailers = frame.into_trailers().unwrap_or_default();
                            if let Some(status) = Status::read(&trailers) {
                                self.answer = Answer::Over;
                                return over(status);
                            }
                        }
                    },
                    Some(Err(error)) => return Err(self.broken(told(&error), false)),
                    None => return Err(self.broken("it ended without a status".into(), false)),
                },
                Answer::Over => return Err(self.broken("it has ended".into(), false)),
            }
        }
    }

    /// Takes the head of the answer, which has a status where that is all there is.
    fn begin(&mut self, response: Response<Incoming>) -> Result<Option<Status>, Ended> {
        let (head, body) = response.into_parts();
        self.answer = Answer::Over;
        if head.status != StatusCode::OK {
            return Err(Ended::Http(head.status));
        }
        let kind = header(&head.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        if !kind.starts_with("application/grpc") {
            return Err(Ended::Malformed("an answer that is no gRPC".into()));
        }
        let status = Status::read(&head.headers);
        if status.is_none() {
            self.answer = Answer::Coming(body);
        }
        Ok(status)
    }

    /// The first whole message of what came.
    fn whole(&mut self) -> Result<Option<Bytes>, Ended> {
        let Some(&[compressed, a, b, c, d]) = self.waiting.first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if compressed != 0 || length > MESSAGE_MAX {
            return Err(Ended::Malformed(format!("a message of {length} bytes, compression {compressed}")));
        }
        if self.waiting.len() < 5 + length {
            return Ok(None);
        }
        self.waiting.advance(5);
        Ok(Some(self.waiting.split_to(length).freeze()))
    }

    fn broken(&mut self, detail: String, before: bool) -> Ended {
        self.answer = Answer::Over;
        Ended::Broken { detail, before }
    }
}

/// The end of a stream by a status.
fn over<T>(status: Status) -> Result<Option<T>, Ended> {
    if status.code == 0 { Ok(None) } else { Err(Ended::Status(status)) }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn a_status_is_read_with_its_reason_and_without_its_escapes() {
        let info = messages::ErrorInfo { reason: "API_KEY_INVALID".into() }.encode_to_vec().into();
        let type_url = "type.googleapis.com/google.rpc.ErrorInfo".into();
        let other =
            messages::Detail { type_url: "x/google.rpc.Help".into(), value: Bytes::from_static(&[9]) };
        let details = vec![other, messages::Detail { type_url, value: info }];
        let details = messages::Status { code: 3, message: String::new(), details }.encode_to_vec();
        let headers = |details: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", "3".parse().unwrap());
            headers.insert("grpc-message", "API%20key: 5%, %c3%a9%".parse().unwrap());
            headers.insert("grpc-status-details-bin", details.parse().unwrap());
            headers
        };
        let wanted = |reason: Option<&str>| {
            let reason = reason.map(str::to_owned);
            Some(Status { code: 3, message: "API key: 5%, é%".into(), reason })
        };
        for text in [STANDARD.encode(&details), STANDARD_NO_PAD.encode(&details)] {
            assert_eq!(Status::read(&headers(&text)), wanted(Some("API_KEY_INVALID")));
        }
        for text in ["%%", "AAAA", ""] {
            assert_eq!(Status::read(&headers(text)), wanted(None), "{text}");
        }
        assert_eq!(Status::read(&HeaderMap::new()), None);
        let mut odd = HeaderMap::new();
        odd.insert("grpc-status", "soon".parse().unwrap());
        assert_eq!(Status::read(&odd).unwrap().code, UNKNOWN);
    }
}
