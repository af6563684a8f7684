//! A call's audio: an endless answer with the caller's, and an endless request with ours. Each has a connection of its own.
//!
//! Neither has a time for all of it; whoever reads or writes watches over what comes and what leaves.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::http::{AGENT, HttpError, build, told};
use super::{ThreeCx, ThreeCxError, refused};

/// How long the head of the answer with the caller's audio may take.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Pieces that may wait for the connection to take them, of 20 to 60 ms each: as much as would be late anyway.
const WAITING: usize = 8;

/// What the system may hold of audio that 3CX has not taken, of which Linux takes twice as much: it cannot be taken back. A
/// quarter of a second.
const SEND_BUFFER: usize = 4 * 1024;

type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(super) type Client = legacy::Client<HttpsConnector<HttpConnector>, Body>;

pub(super) fn client(connect: Duration) -> Result<Client, HttpError> {
    // A stream's connection is never used again.
    build(Duration::from_millis(1), Some(connect), Some(SEND_BUFFER))
}

/// The caller's audio.
#[derive(Debug)]
pub struct Stream(Incoming);

impl Stream {
    /// The next bytes: 16-bit little-endian samples at 8 kHz, cut anywhere. None at its end; an error if it broke off.
    pub async fn next(&mut self) -> Option<Result<Bytes, ThreeCxError>> {
        loop {
            match self.0.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) => return Some(Ok(bytes)),
                    Err(_) => continue,
                },
                Err(error) => return Some(Err(ThreeCxError::Unreachable(told(&error)))),
            }
        }
    }
}

/// Audio on its way to the caller. To drop it breaks the request off, so that nothing of it is waited for.
#[derive(Debug)]
pub struct Speaking {
    pieces: mpsc::Sender<Result<Bytes, io::Error>>,
    exchange: JoinHandle<Result<(), ThreeCxError>>,
}

impl Speaking {
    /// Sends samples: 16-bit little-endian at 8 kHz. False if the connection does not take them in time, and they are lost.
    pub fn send(&self, pcm: Bytes) -> bool {
        self.pieces.try_send(Ok(pcm)).is_ok()
    }

    /// Waits for the end of the request, which is the end of the call, or an error. It may be dropped while it waits.
    pub async fn ended(&mut self) -> Result<(), ThreeCxError> {
        (&mut self.exchange)
            .await
            .unwrap_or_else(|_| Err(ThreeCxError::Unreachable("it was broken off".into())))
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        // An error in the body closes the connection, where its end would be taken for a proper one.
        let _ =
            self.pieces.try_send(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the call is over")));
        self.exchange.abort();
    }
}

impl ThreeCx {
    /// The caller's audio of a connected call. [`ThreeCxError::NotYet`] if it is not to be had yet.
    pub async fn listen(&self, id: u32) -> Result<Stream, ThreeCxError> {
        let mut token = self.token().await?;
        let mut again = true;
        loop {
            let request = Request::get(self.url(&self.path(id, "/stream")))
                .header(AUTHORIZATION, &token)
                .header(USER_AGENT, AGENT)
                .body(nothing())
                .expect("a checked base and a plain path are a URL");
            let answer = timeout(HEAD_WITHIN, self.streams.request(request)).await;
            let answer = answer.map_err(|_| ThreeCxError::Slow("no stream in time".into()))?;
            let answer = answer.map_err(|error| ThreeCxError::Unreachable(told(&error)))?;
            match answer.status() {
                StatusCode::OK => return Ok(Stream(answer.into_body())),
                StatusCode::UNAUTHORIZED if again => {
                    again = false;
                    token = self.other_token(&token).await?;
                }
                status => return Err(refused(status)),
            }
        }
    }

    /// Begins to speak on a connected call.
    pub async fn speak(&self, id: u32) -> Result<Speaking, ThreeCxError> {
        let token = self.token().await?;
        let (pieces, taken) = mpsc::channel(WAITING);
        let taken = stream::unfold(taken, |mut taken| async {
            let piece: Result<Bytes, io::Error> = taken.recv().await?;
            Some((piece.map(Frame::data), taken))
        });
        let request = Request::post(self.url(&self.path(id, "/stream")))
            .header(AUTHORIZATION, &token)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(StreamBody::new(taken).boxed_unsync())
            .expect("a checked base and a plain path are a URL");
        let answering = self.streams.request(request);
        let exchange = tokio::spawn(async move {
            match answering.await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(refused(answer.status())),
                Err(error) => Err(ThreeCxError::Unreachable(told(&error))),
            }
        });
        Ok(Speaking { pieces, exchange })
    }
}

/// No body.
fn nothing() -> Body {
    Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync()
}
