//! For the tests of the clients: a call to listen to, and a server that does what a test tells it, beside the doubles of
//! `offhook-fixtures`, which do what Deepgram does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use offhook_codecs::g711;
use offhook_engine::call::UtteranceId;
use offhook_fixtures::vendors::{Asked, FakeVendors};
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::integrations::vendor::{Caller, Ears, Heard, VendorError};

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// µ-law of stretches, loud or silent, each so many milliseconds long.
pub(super) fn ulaw(stretches: &[(bool, usize)]) -> Vec<u8> {
    let mut audio = Vec::new();
    for &(is_loud, ms) in stretches {
        let amplitude = if is_loud { 6_000.0 } else { 0.0 };
        let step = 400.0 * std::f32::consts::TAU / 8_000.0;
        audio.extend((0..ms * 8).map(|n| g711::linear_to_ulaw(((n as f32 * step).sin() * amplitude) as i16)));
    }
    audio
}

/// The only request, once its socket has ended.
pub(super) async fn only_request(fakes: &FakeVendors) -> Asked {
    for _ in 0..500 {
        let mut all = fakes.requests();
        if all.len() == 1 && all[0].ended.is_some() {
            return all.remove(0);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the socket did not end: {:?}", fakes.requests());
}

/// A call that is listened to.
pub(super) struct Call {
    tell: mpsc::Sender<Caller>,
    heard: mpsc::UnboundedReceiver<Heard>,
    task: JoinHandle<Result<(), VendorError>>,
}

impl Call {
    pub(super) fn begin(ears: impl Ears + 'static) -> Self {
        let ears = Arc::new(ears);
        let (tell, mut told) = mpsc::channel(4_096);
        let (give, heard) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut pass = |words: Heard| give.send(words).expect("the test listens");
            ears.listen(&mut told, &mut pass).await
        });
        Self { tell, heard, task }
    }

    pub(super) async fn did(&self, did: Caller) {
        // Ears that failed take nothing more, which the test learns from what they return.
        let _ = self.tell.send(did).await;
    }

    pub(super) async fn starts(&self, utterance: u32) {
        self.did(Caller::Starts(UtteranceId(utterance))).await;
    }

    /// In frames of 20 ms, as a phone does, but at once.
    pub(super) async fn speaks(&self, stretches: &[(bool, usize)]) {
        for frame in ulaw(stretches).chunks(160) {
            self.did(Caller::Audio(frame.to_vec())).await;
        }
    }

    pub(super) async fn ends(&self, utterance: u32) {
        self.did(Caller::Ends { utterance: UtteranceId(utterance), speech_ms: 1_000 }).await;
    }

    /// A whole utterance.
    pub(super) async fn says(&self, utterance: u32, stretches: &[(bool, usize)]) {
        self.starts(utterance).await;
        self.speaks(stretches).await;
        self.ends(utterance).await;
    }

    pub(super) async fn next(&mut self) -> Heard {
        timeout(PATIENCE, self.heard.recv()).await.expect("words in time").expect("ears that listen")
    }

    /// What was heard of an utterance, all others before it left out: text by text, the final one last.
    pub(super) async fn words_of(&mut self, utterance: u32) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let Heard { utterance: id, text, is_final } = self.next().await;
            if id == UtteranceId(utterance) {
                texts.push(text);
                if is_final {
                    return texts;
                }
            }
        }
    }

    /// The final words of an utterance.
    pub(super) async fn last_words_of(&mut self, utterance: u32) -> String {
        self.words_of(utterance).await.pop().expect("the final ones at least")
    }

    /// Nothing was heard that was not asked for yet.
    pub(super) fn assert_silent(&mut self) {
        assert_eq!(self.heard.try_recv().ok(), None);
    }

    /// How listening ended by itself.
    pub(super) async fn failed(self) -> VendorError {
        let ended = timeout(PATIENCE, self.task).await.expect("an end in time").expect("no panic");
        ended.expect_err("the call is not over")
    }

    /// The call is over.
    pub(super) async fn hang_up(self) -> Result<(), VendorError> {
        drop(self.tell);
        timeout(PATIENCE, self.task).await.expect("an end in time").expect("no panic")
    }

    /// Nobody wants to listen any more, from one moment to the next.
    pub(super) async fn abandon(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

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
