//! For the tests of the clients: a server that does what a test tells it, beside the doubles of `offhook-fixtures`, which do
//! what Deepgram does.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

pub(super) use crate::integrations::testing::ears::{Call, PATIENCE, only_request, ulaw};

/// A server that takes WebSockets, and leaves the rest to the test.
pub(super) struct Server {
    listener: TcpListener,
    pub(super) url: String,
}

impl Server {
    pub(super) fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // So that what is not read is soon too much.
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(8).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> Peer {
        let (tcp, _) = timeout(PATIENCE, self.listener.accept()).await.expect("a connection").unwrap();
        #[expect(clippy::result_large_err, reason = "the callback is given so")]
        let with_id = |_: &Request, mut response: Response| {
            response.headers_mut().insert("dg-request-id", "id-of-the-test".parse().unwrap());
            Ok(response)
        };
        Peer(tokio_tungstenite::accept_hdr_async(tcp, with_id).await.unwrap())
    }
}

/// The server's end of a connection.
pub(super) struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    pub(super) async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(super) async fn close(&mut self, code: u16, reason: &str) {
        self.0.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).await.unwrap();
        while let Some(Ok(_)) = self.0.next().await {}
    }

    /// Reads up to a text message of this type: how many bytes of audio came before it.
    pub(super) async fn audio_until(&mut self, kind: &str) -> usize {
        let mut bytes = 0;
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("a message in time") {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] == kind {
                        return bytes;
                    }
                }
                Some(Ok(Message::Binary(audio))) => bytes += audio.len(),
                other => panic!("{other:?} instead of {kind}"),
            }
        }
    }

    /// Reads at least so many bytes of audio.
    pub(super) async fn audio(&mut self, least: usize) {
        let mut bytes = 0;
        while bytes < least {
            match timeout(PATIENCE, self.0.next()).await.expect("audio in time") {
                Some(Ok(Message::Binary(audio))) => bytes += audio.len(),
                other => panic!("{other:?} instead of audio"),
            }
        }
    }
}
