//! For the tests of the client: a server of gRPC that does what a test tells it, beside the double of `offhook-fixtures`, which
//! does what Google does.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::messages::{self, Alternative, Config, Output};
use crate::integrations::testing::ears::PATIENCE;

type Frames = mpsc::UnboundedSender<Result<Frame<Bytes>, std::io::Error>>;
type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A server whose streams are the test's.
pub(super) struct Server {
    pub(super) url: String,
    streams: mpsc::UnboundedReceiver<Peer>,
    /// The shutdown of each connection, in their order.
    goodbyes: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (begun, streams) = mpsc::unbounded_channel();
        let (may_go, goodbyes) = mpsc::unbounded_channel();
        let serving = tokio::spawn(async move {
            for connection in 0.. {
                let (tcp, _) = listener.accept().await.unwrap();
                let (goodbye, mut told) = oneshot::channel();
                let (begun, _) = (begun.clone(), may_go.send(goodbye));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let begun = begun.clone();
                        async move { Ok::<_, Infallible>(answer(request, connection, &begun).await) }
                    });
                    let mut serving = std::pin::pin!(
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(TokioIo::new(tcp), service)
                    );
                    tokio::select! {
                        _ = &mut serving => return,
                        Ok(()) = &mut told => serving.as_mut().graceful_shutdown(),
                    }
                    let _ = serving.await;
                });
            }
        });
        Self { url, streams, goodbyes, serving }
    }

    /// The next stream.
    pub(super) async fn accept(&mut self) -> Peer {
        timeout(PATIENCE, self.streams.recv()).await.expect("a stream").unwrap()
    }

    /// Tells the next connection that it takes no more streams.
    pub(super) async fn go_away(&mut self) {
        self.goodbyes.recv().await.unwrap().send(()).unwrap();
        // It leaves by itself; a client hears of it then.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    connection: usize,
    begun: &mpsc::UnboundedSender<Peer>,
) -> Response<Body> {
    let (frames, taken) = mpsc::unbounded_channel();
    let peer = Peer { connection, body: request.into_body(), waiting: BytesMut::new(), frames };
    begun.send(peer).expect("the test accepts");
    let taken = stream::unfold(taken, |mut taken| async { taken.recv().await.map(|frame| (frame, taken)) });
    let mut response = Response::new(StreamBody::new(taken).boxed_unsync());
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    response
}

/// The server's end of a stream.
pub(super) struct Peer {
    /// Counted from 0.
    pub(super) connection: usize,
    body: Incoming,
    waiting: BytesMut,
    frames: Frames,
}

impl Peer {
    /// The next message; none once the client has sent all.
    async fn next(&mut self) -> Option<messages::Request> {
        loop {
            if let Some(&[_, a, b, c, d]) = self.waiting.first_chunk() {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if self.waiting.len() >= 5 + length {
                    self.waiting.advance(5);
                    return Some(messages::Request::decode(self.waiting.split_to(length)).unwrap());
                }
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("a message in time")?;
            if let Ok(data) = frame.expect("the client is there").into_data() {
                self.waiting.extend_from_slice(&data);
            }
        }
    }

    /// The first message.
    pub(super) async fn config(&mut self) -> Config {
        self.next().await.unwrap().streaming_config.unwrap().config.unwrap()
    }

    /// Reads at least so much audio, in bytes.
    pub(super) async fn audio(&mut self, least: usize) -> Vec<u8> {
        let mut audio = Vec::new();
        while audio.len() < least {
            audio.extend(self.next().await.expect("more audio").audio_content);
        }
        audio
    }

    /// Reads all audio up to the end of the stream.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut audio = Vec::new();
        while let Some(message) = self.next().await {
            audio.extend(message.audio_content);
        }
        audio
    }

    /// Says what was understood up to `end_ms` of the stream.
    pub(super) fn says(&self, end_ms: u64, transcript: &str, is_final: bool) {
        let alternatives = vec![Alternative { transcript: transcript.into() }];
        let result_end_time = Some(Duration::from_millis(end_ms).into());
        let results = vec![Output { alternatives, is_final, result_end_time }];
        self.send(&messages::Response { results, request_id: 77, ..messages::Response::default() });
    }

    pub(super) fn send(&self, response: &messages::Response) {
        let mut framed = BytesMut::new();
        framed.put_u8(0);
        framed.put_u32(response.encoded_len() as u32);
        response.encode(&mut framed).unwrap();
        self.bytes(&framed);
    }

    /// Sends what may be no message.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        // Whoever went does not mind.
        let _ = self.frames.send(Ok(Frame::data(Bytes::copy_from_slice(bytes))));
    }

    /// Ends the stream with a status.
    pub(super) fn ends(self, code: u16, message: &str) {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.into());
        trailers.insert("grpc-message", message.parse().unwrap());
        let _ = self.frames.send(Ok(Frame::trailers(trailers)));
    }

    /// Ends it by `RST_STREAM`.
    pub(super) fn resets(self) {
        let _ = self.frames.send(Err(std::io::Error::other("as the test wants it")));
    }
}
