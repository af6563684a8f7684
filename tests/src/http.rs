//! A client with an address of its own.
//!
//! Limits count by address. On Linux all of 127.0.0.0/8 is this machine, so every client of these tests can have its own,
//! and none uses up another's requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::server::{Answer, PATIENCE};

/// A request, as a test writes it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers, `Host` apart.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Ask {
    /// A request without a body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// A GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A POST of a form that is encoded already.
    pub fn form(path: impl Into<String>, form: impl Into<String>) -> Self {
        Self::post(path, "application/x-www-form-urlencoded", form.into())
    }

    /// A POST of JSON.
    pub fn json(path: impl Into<String>, json: impl Into<String>) -> Self {
        Self::post(path, "application/json", json.into())
    }

    /// A POST of anything.
    pub fn post(path: impl Into<String>, content_type: &str, body: impl Into<Bytes>) -> Self {
        let ask = Self { body: body.into(), ..Self::new(Method::POST, path) };
        ask.with("content-type", content_type)
    }

    /// With one header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same with another method.
    #[must_use]
    pub fn by(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// The same without a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(given, _)| !given.eq_ignore_ascii_case(name));
        self
    }
}

/// Someone on the network: one address, and a new connection for every request.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    address: Ipv4Addr,
}

impl Client {
    /// A client with an address that no other of this process has.
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(next < 0x00fe_0000, "loopback has no more addresses");
        Self { address: Ipv4Addr::from_bits(0x7f01_0000 + next) }
    }

    /// The client at this address.
    pub const fn at(address: Ipv4Addr) -> Self {
        Self { address }
    }

    /// Its address.
    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Opens a connection.
    pub async fn connect(self, to: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((self.address, 0)))?;
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Asks once.
    pub async fn ask(self, to: SocketAddr, ask: Ask) -> Answer {
        self.ask_of_host(to, &to.to_string(), ask).await
    }

    /// Asks once, under a host name.
    pub async fn ask_of_host(self, to: SocketAddr, host: &str, ask: Ask) -> Answer {
        let what = format!("{} {}", ask.method, ask.path);
        let exchange = async {
            let tcp = self.connect(to).await.expect("the server listens");
            let (mut send, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.expect("a connection is open");
            let connection = tokio::spawn(connection);
            let mut request = Request::builder().method(ask.method).uri(ask.path).header(header::HOST, host);
            for (name, value) in &ask.headers {
                request = request.header(name, value);
            }
            let request = request.body(Full::new(ask.body)).expect("tests ask for what can be asked");
            let response = send.send_request(request).await;
            let (head, body) = response.unwrap_or_else(|error| panic!("{what}: {error}")).into_parts();
            let body = body.collect().await.unwrap_or_else(|error| panic!("{what}: {error}")).to_bytes();
            connection.abort();
            Answer { status: head.status.as_u16(), headers: head.headers, body }
        };
        timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("{what}: no answer in time"))
    }
}
