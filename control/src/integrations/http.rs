//! The HTTP client for outside services: one per process, HTTP/1.1, TLS with the roots that browsers trust.
//!
//! A request has a time for all of it and a bound on its answer, so that no service can keep or fill this process. Redirects
//! are not followed: credentials go where they are meant for. Errors name what failed, never what was sent.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// Who asks.
pub(super) const AGENT: &str = concat!("offhook/", env!("CARGO_PKG_VERSION"));

/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(30);

/// The same, where answers are streamed.
const IDLE_STREAMS: Duration = Duration::from_secs(90);

/// How many such connections are kept for each host.
const IDLE_PER_HOST: usize = 8;

/// What one exchange may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From looking up the host's name to the last byte of the answer.
    pub time: Duration,
    /// Bytes of the answer's body.
    pub body_bytes: usize,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// TLS cannot be set up in this process.
    #[error("TLS is not to be had: {0}")]
    Tls(String),
    /// There is no connection to be had: name, port, or TLS.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Slow(Duration),
    /// The answer is too large.
    #[error("the answer is longer than {0} bytes")]
    Large(usize),
    /// The exchange broke: name, connection, TLS, or HTTP; from the outermost cause to the innermost.
    #[error("{0}")]
    Broken(String),
}

/// The client. Clones share its connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl HttpClient {
    /// A client with connections of its own.
    pub fn new() -> Result<Self, HttpError> {
        Self::build(IDLE, None)
    }

    /// A client for answers that come piece by piece, see [`HttpClient::open`]: whose connections may wait long for their next
    /// request, as people think between their sentences. `connect`: how long a connection may take.
    pub fn for_streams(connect: Duration) -> Result<Self, HttpError> {
        Self::build(IDLE_STREAMS, Some(connect))
    }

    fn build(idle: Duration, connect: Option<Duration>) -> Result<Self, HttpError> {
        Ok(Self { client: build(idle, connect, None)? })
    }

    /// One request, and the head of its answer; the body comes as it is asked for. Time and length are the caller's to
    /// watch. To drop this, or the answer before its end, closes the connection: that is how the other side learns of it.
    pub async fn open(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, HttpError> {
        self.client.request(named(request)).await.map_err(|error| failed(&error))
    }

    /// One request, and its whole answer.
    pub async fn send(&self, request: Request<Full<Bytes>>, limits: Limits) -> Result<Answer, HttpError> {
        let exchange = async {
            let response = self.client.request(named(request)).await.map_err(|error| failed(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, limits.body_bytes).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    HttpError::Large(limits.body_bytes)
                } else {
                    broken(&*error)
                }
            })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        tokio::time::timeout(limits.time, exchange).await.unwrap_or(Err(HttpError::Slow(limits.time)))
    }
}

/// A client with connections of its own, whose requests have bodies of any kind. `idle`: how long a connection may wait for
/// its next request. `connect`: how long one may take. `send_buffer`: how many bytes the system may hold that the other side
/// has not taken; none: as many as it likes.
pub(super) fn build<B>(
    idle: Duration,
    connect: Option<Duration>,
    send_buffer: Option<usize>,
) -> Result<Client<HttpsConnector<HttpConnector>, B>, HttpError>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut http = HttpConnector::new();
    http.set_connect_timeout(connect);
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_send_buffer_size(send_buffer);
    Ok(Client::builder(TokioExecutor::new())
        .pool_idle_timeout(idle)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .pool_timer(TokioTimer::new())
        .build(over_tls(http)?))
}

/// HTTP/1.1 over what `http` connects, with TLS where a URL says so.
pub(super) fn over_tls<R>(http: HttpConnector<R>) -> Result<HttpsConnector<HttpConnector<R>>, HttpError> {
    // Named here: another crate that brings a second provider must not decide which of them is taken.
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
        .map_err(|error| HttpError::Tls(error.to_string()))?;
    Ok(connector.https_or_http().enable_http1().wrap_connector(http))
}

/// With the name of who asks, unless it has one.
fn named(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
    request
}

fn failed(error: &hyper_util::client::legacy::Error) -> HttpError {
    if error.is_connect() { HttpError::Unreachable(told(error)) } else { broken(error) }
}

fn broken(error: &(dyn Error + 'static)) -> HttpError {
    HttpError::Broken(told(error))
}

/// An error with its causes: the outermost alone says no more than that something failed.
pub(super) fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some repeat their cause.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const LIMITS: Limits = Limits { time: Duration::from_secs(20), body_bytes: 1_000 };

    /// A server that answers one connection with these bytes, and gives what was asked.
    async fn answering(bytes: impl Into<Vec<u8>>) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/path", listener.local_addr().unwrap());
        let bytes = bytes.into();
        let serving = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4_096];
            let count = socket.read(&mut asked).await.unwrap();
            asked.truncate(count);
            socket.write_all(&bytes).await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        (url, serving)
    }

    async fn get(url: &str, limits: Limits) -> Result<Answer, HttpError> {
        let request = Request::get(url).body(Full::default()).unwrap();
        HttpClient::new().unwrap().send(request, limits).await
    }

    #[tokio::test]
    async fn an_answer_comes_whole_and_the_request_says_who_asks() {
        let (url, serving) =
            answering(b"HTTP/1.1 302 Found\r\nlocation: http://x/\r\ncontent-length: 2\r\n\r\nok").await;
        let answer = get(&url, LIMITS).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (302, &b"ok"[..]));
        assert_eq!(answer.headers["location"], "http://x/", "redirects are the caller's");
        let asked = serving.await.unwrap().to_lowercase();
        assert!(
            asked.starts_with("get /path http/1.1\r\n") && asked.contains("user-agent: offhook/"),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn what_is_too_large_or_no_http_is_an_error_that_says_so() {
        let (url, _) = answering(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1_001))).await;
        assert!(matches!(get(&url, LIMITS).await, Err(HttpError::Large(1_000))));
        let (url, _) = answering(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        assert!(matches!(get(&url, LIMITS).await, Err(HttpError::Broken(_))));
        let (url, _) = answering(b"").await;
        assert!(matches!(get(&url, LIMITS).await, Err(HttpError::Broken(_))));
    }

    #[tokio::test]
    async fn a_closed_port_is_told_as_such() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = get(&format!("http://{closed}/"), LIMITS).await.unwrap_err();
        assert!(matches!(error, HttpError::Unreachable(_)), "{error:?}");
        let error = error.to_string();
        assert!(error.to_lowercase().contains("connection refused"), "{error}");
        let (url, _) = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let error = get(&url.replace("http://", "https://"), LIMITS).await.unwrap_err();
        assert!(matches!(error, HttpError::Unreachable(_)), "plain HTTP where TLS is expected: {error}");
    }

    #[tokio::test]
    async fn a_service_that_never_answers_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let limits = Limits { time: Duration::from_millis(50), ..LIMITS };
        let error = get(&url, limits).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer within 0.05 s");
    }
}
