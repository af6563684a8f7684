//! A socket that gets each new entry of the log, one JSON object per text frame.
//!
//! What a reader has not taken yet waits in the ring, where it has a position and nothing else: a slow one is told how many
//! lines went by, and costs neither the log nor other readers anything. What it sends is read so that its close is seen,
//! up to a bound, and otherwise ignored.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::server::logs::{self, Reader};
use crate::systems::error::ApiError;

/// How many readers there may be.
const STREAMS_MAX: u32 = 256;

/// What is asked of a reader.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// One that takes nothing for so long is closed.
    takes_within: Duration,
    /// How often it is pinged, so that proxies in between see that the socket is in use.
    ping_every: Duration,
}

/// Half a minute each: proxies commonly close what was silent for a minute.
const PACE: Pace = Pace { takes_within: Duration::from_secs(30), ping_every: Duration::from_secs(30) };

/// How much a reader may send between two pings: pongs, and more than anybody needs.
const READ_BYTES_MAX: usize = 64 * 1024;

/// How much a reader may send in one message.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// How much the kernel keeps of what a reader has not taken; else it would be megabytes for each.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// How long sent bytes may go unacknowledged before the other side counts as gone.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);

/// How long closing may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// All readers of a server.
#[derive(Debug)]
pub struct LogStreams {
    turns: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl Default for LogStreams {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(STREAMS_MAX as usize)), stopping: watch::Sender::new(false) }
    }
}

/// A reader's place among them.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
    stopping: watch::Receiver<bool>,
}

impl LogStreams {
    /// A place for one more reader: 503 if there is none.
    pub(super) fn turn(&self) -> Result<Turn, ApiError> {
        let taken = |_| {
            let message = format!("There are {STREAMS_MAX} readers of the log already");
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
        };
        let permit = self.turns.clone().try_acquire_owned().map_err(taken)?;
        Ok(Turn { _permit: permit, stopping: self.stopping.subscribe() })
    }

    /// Tells all readers that the server goes away (1001), and waits a moment until they know. None come in after that.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        let _ = timeout(2 * FAREWELL, self.turns.acquire_many(STREAMS_MAX)).await;
        self.turns.close();
    }
}

type Socket<S> = WebSocketStream<Metered<S>>;

/// Why a reader's socket is closed.
#[derive(Debug, PartialEq, Eq)]
enum Over {
    /// The reader closed.
    Closed,
    /// The reader is gone.
    Gone,
    /// The server goes away.
    Stopping,
    /// The reader takes nothing.
    Stuck,
    /// The reader sends more than it may, or no WebSocket frames.
    Misused(CloseCode),
}

/// Sends to a reader what comes, until it closes or the server stops. `read`: what came with the handshake already.
pub(super) async fn serve(socket: TcpStream, read: Vec<u8>, mut reader: Reader<'_>, turn: Turn) {
    bound_buffers(&socket);
    let mut socket = speak_on(socket, read).await;
    let mut stopping = turn.stopping.clone();
    let over = tokio::select! {
        over = pass_on(&mut socket, &mut reader, PACE) => over,
        _ = stopping.wait_for(|stop| *stop) => Over::Stopping,
    };
    match over {
        Over::Closed => {
            // The answer goes out with the next read, which then finds the end.
            let _ = timeout(FAREWELL, socket.next()).await;
        }
        Over::Gone => {}
        Over::Stopping => close(socket, CloseCode::Away, "the server stops").await,
        Over::Misused(code) => {
            tracing::info!(
                code = u16::from(code),
                "a log socket was closed: its reader sends what it may not"
            );
            close(socket, code, "this socket only sends").await;
        }
        // Nothing more gets through to it.
        Over::Stuck => {
            let seconds = PACE.takes_within.as_secs();
            tracing::info!(seconds, "a log socket was closed: its reader took nothing");
        }
    }
}

/// A WebSocket that takes little from its reader.
async fn speak_on<S: AsyncRead + AsyncWrite + Unpin>(socket: S, read: Vec<u8>) -> Socket<S> {
    let config = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let metered = Metered { socket, left: READ_BYTES_MAX };
    WebSocketStream::from_partially_read(metered, read, Role::Server, Some(config)).await
}

async fn pass_on<S>(socket: &mut Socket<S>, reader: &mut Reader<'_>, pace: Pace) -> Over
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut ping = interval_at(Instant::now() + pace.ping_every, pace.ping_every);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let messages = tokio::select! {
            message = socket.next() => match of_reader(message) {
                None => continue,
                Some(over) => return over,
            },
            batch = reader.next() => messages(&batch),
            _ = ping.tick() => {
                socket.get_mut().left = READ_BYTES_MAX;
                vec![Message::Ping(Default::default())]
            }
        };
        match timeout(pace.takes_within, send(socket, messages)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Over::Gone,
            Err(_) => return Over::Stuck,
        }
    }
}

/// What a reader's message means: nothing, or the end.
fn of_reader(message: Option<Result<Message, Error>>) -> Option<Over> {
    match message {
        Some(Ok(Message::Close(_))) => Some(Over::Closed),
        None | Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Some(Over::Gone),
        Some(Ok(_)) => None,
        Some(Err(Error::Capacity(_))) => Some(Over::Misused(CloseCode::Size)),
        Some(Err(Error::Io(error))) if error.kind() == io::ErrorKind::QuotaExceeded => {
            Some(Over::Misused(CloseCode::Policy))
        }
        Some(Err(Error::Protocol(_) | Error::Utf8(_))) => Some(Over::Misused(CloseCode::Protocol)),
        Some(Err(_)) => Some(Over::Gone),
    }
}

fn messages(batch: &logs::Batch) -> Vec<Message> {
    let missed = (batch.missed > 0).then(|| logs::missed(batch.missed).json().clone());
    let entries = batch.entries.iter().map(|entry| entry.json().clone());
    missed.into_iter().chain(entries).map(Message::Text).collect()
}

async fn send<S>(socket: &mut Socket<S>, messages: Vec<Message>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for message in messages {
        socket.feed(message).await?;
    }
    socket.flush().await
}

/// Closes with the reason why, and waits a moment for the answer.
async fn close(mut socket: Socket<TcpStream>, code: CloseCode, reason: &'static str) {
    let frame = CloseFrame { code, reason: reason.into() };
    let farewell = async {
        socket.close(Some(frame)).await?;
        while let Some(Ok(_)) = socket.next().await {}
        Ok::<_, Error>(())
    };
    // What goes wrong here goes wrong with a socket that is given up anyway.
    let _ = timeout(FAREWELL, farewell).await;
}

fn bound_buffers(socket: &TcpStream) {
    let socket = socket2::SockRef::from(socket);
    let set = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
    #[cfg(target_os = "linux")]
    let set = set.and_then(|()| socket.set_tcp_user_timeout(Some(ACKNOWLEDGED_WITHIN)));
    if let Err(error) = set {
        tracing::debug!(%error, "a log socket keeps the system's own bounds");
    }
}

/// A socket that gives no more than so many bytes to read.
struct Metered<S> {
    socket: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        std::task::ready!(Pin::new(&mut this.socket).poll_read(cx, out))?;
        let count = out.filled().len() - before;
        if count > this.left {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        this.left -= count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::logs::Ring;
    use tokio::io::DuplexStream;

    const PATIENT: Pace = Pace { takes_within: Duration::from_secs(60), ping_every: Duration::from_secs(60) };

    fn ring() -> &'static Ring {
        Box::leak(Box::new(Ring::new(100, 100_000)))
    }

    fn log(ring: &Ring, lines: u64) {
        ring.push((0..lines).map(|line| Arc::new(logs::missed(line))));
    }

    /// A reader's end, and what serves it with `pace`.
    async fn open(
        ring: &'static Ring,
        pace: Pace,
    ) -> (WebSocketStream<DuplexStream>, tokio::task::JoinHandle<Over>) {
        // Holds less than a line, so that a reader that takes nothing is noticed at once.
        let (ours, theirs) = tokio::io::duplex(64);
        let mut reader = ring.reader(None);
        let serving = tokio::spawn(async move {
            let mut socket = speak_on(ours, Vec::new()).await;
            pass_on(&mut socket, &mut reader, pace).await
        });
        (WebSocketStream::from_raw_socket(theirs, Role::Client, None).await, serving)
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_given_up() {
        let ring = ring();
        let (client, serving) = open(ring, Pace { takes_within: Duration::from_millis(20), ..PATIENT }).await;
        log(ring, 3);
        assert_eq!(serving.await.unwrap(), Over::Stuck);
        drop(client);
    }

    #[tokio::test]
    async fn a_reader_is_pinged_while_there_is_nothing_to_say() {
        let pace = Pace { ping_every: Duration::from_millis(5), ..PATIENT };
        let (mut client, serving) = open(ring(), pace).await;
        for _ in 0..3 {
            assert!(matches!(client.next().await, Some(Ok(Message::Ping(_)))));
        }
        drop(client);
        assert_eq!(serving.await.unwrap(), Over::Gone);
    }

    #[tokio::test]
    async fn a_reader_that_sends_too_much_is_closed() {
        let (mut client, serving) = open(ring(), PATIENT).await;
        let small = || Message::binary(vec![0; 1_000]);
        while client.send(small()).await.is_ok() {}
        assert_eq!(serving.await.unwrap(), Over::Misused(CloseCode::Policy));

        let (mut client, serving) = open(ring(), PATIENT).await;
        let _ = client.send(Message::binary(vec![0; MESSAGE_BYTES_MAX + 1])).await;
        assert_eq!(serving.await.unwrap(), Over::Misused(CloseCode::Size));
    }
}
