//! Connections that this process opens, and WebSockets on them, to `ws://` and `wss://`.
//!
//! There is no time in here: who waits says for how long, by a timeout around it.

use std::sync::{Arc, LazyLock};

use hyper::{HeaderMap, Request, StatusCode, Uri};
use hyper_rustls::ConfigBuilderExt as _;
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::wire::Wire;

/// TLS as a client speaks it: TLS 1.2 and 1.3, with Mozilla's list of authorities. Clones share it.
pub static TLS: LazyLock<ClientConfig> = LazyLock::new(|| {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for TLS 1.2 and 1.3")
        .with_webpki_roots()
        .with_no_client_auth()
});

/// A WebSocket to another server.
pub type Socket = WebSocketStream<Wire>;

/// Why there is no socket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The URL leads nowhere.
    #[error("{0}")]
    Url(String),
    /// No connection is to be had.
    #[error("{0}")]
    Unreachable(String),
    /// TLS failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The server does not want to.
    #[error("{}", format!("the server answered {status} {}", String::from_utf8_lossy(body).trim()).trim())]
    Refused {
        /// The status.
        status: StatusCode,
        /// The headers.
        headers: Box<HeaderMap>,
        /// As much of the body as came with them.
        body: Vec<u8>,
    },
    /// What answers speaks no WebSocket.
    #[error("{0}")]
    Broken(String),
}

/// Opens a connection to the host of a URL.
pub(super) async fn connect(uri: &Uri, is_secure: bool, tls: &TlsConnector) -> Result<Wire, DialError> {
    let host = uri.host().ok_or_else(|| DialError::Url("its URL names no host".into()))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let unreachable = |error: std::io::Error| DialError::Unreachable(error.to_string());
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    if !is_secure {
        return Ok(Wire::Plain(tcp));
    }
    let name = ServerName::try_from(host).map_err(|error| DialError::Url(error.to_string()))?;
    let stream = tls.connect(name, tcp).await.map_err(|error| DialError::Tls(error.to_string()))?;
    Ok(Wire::Tls(Box::new(stream)))
}

/// Opens a socket; also what the server's answer to it said. `request`: as
/// [`IntoClientRequest`](tokio_tungstenite::tungstenite::client::IntoClientRequest) makes it of a URL, and more headers.
pub async fn dial(
    request: Request<()>,
    tls: &TlsConnector,
    config: WebSocketConfig,
) -> Result<(Socket, HeaderMap), DialError> {
    let uri = request.uri();
    let is_secure = match uri.scheme_str() {
        Some("ws") => false,
        Some("wss") => true,
        _ => return Err(DialError::Url("its URL does not begin with wss:// or ws://".into())),
    };
    let wire = connect(uri, is_secure, tls).await?;
    match tokio_tungstenite::client_async_with_config(request, wire, Some(config)).await {
        Ok((socket, response)) => Ok((socket, response.into_parts().0.headers)),
        Err(WsError::Http(response)) => {
            let (head, body) = response.into_parts();
            let body = body.unwrap_or_default();
            Err(DialError::Refused { status: head.status, headers: Box::new(head.headers), body })
        }
        Err(error) => Err(DialError::Broken(error.to_string())),
    }
}
