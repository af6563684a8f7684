//! The audio of one call, between 3CX's two streams and the engine's rings.
//!
//! ```text
//! 3CX ── GET …/stream ──► Stream ──► LegEnd::audio ══►  media thread
//! 3CX ◄─ POST …/stream ── Speaking ◄── Uplink ◄── LegEnd::next ◄══
//! ```
//!
//! A stream that ends while the call goes on is opened anew, and the call is lost only if that cannot be done: whether the call
//! goes on is read, since word of its end may still be on its way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use offhook_engine::call::EndReason;
use offhook_engine::leg::{Departure, LegEnd};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, sleep_until};

use super::Told;
use crate::integrations::threecx::{Speaking, Status, Stream, ThreeCx, ThreeCxError, Uplink};

/// How long a stream that ended may take to be there again.
const AGAIN_WITHIN: Duration = Duration::from_secs(3);
/// How often that is tried.
const AGAIN_EVERY: Duration = Duration::from_millis(100);
/// A stream that lasted so long is no reason to give up, however many there were before.
const LASTED: Duration = Duration::from_secs(2);
/// So many streams in a row that did not last are.
const SHORT_MAX: u32 = 5;
/// A stream on which nothing comes for so long is opened anew, once: 3CX streams silence as well.
const SILENT_MAX: Duration = Duration::from_secs(3);
/// A connection that takes no audio for so long is given up.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);

/// Opens the stream of the caller's audio, as soon as 3CX gives it. [`ThreeCxError::Gone`] if the call is over.
pub(super) async fn open(client: &ThreeCx, id: u32, within: Duration) -> Result<Stream, ThreeCxError> {
    let give_up = Instant::now() + within;
    loop {
        let opened = match is_connected(client, id).await {
            Ok(()) => client.listen(id).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(stream) => return Ok(stream),
            Err(error) => try_again(error, give_up).await?,
        }
    }
}

/// The same for the other way.
async fn open_other_way(client: &ThreeCx, id: u32) -> Result<Speaking, ThreeCxError> {
    let give_up = Instant::now() + AGAIN_WITHIN;
    loop {
        let opened = match is_connected(client, id).await {
            Ok(()) => client.speak(id).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(speaking) => return Ok(speaking),
            Err(error) => try_again(error, give_up).await?,
        }
    }
}

/// Reads where a call stands, which also renews a token that is refused.
async fn is_connected(client: &ThreeCx, id: u32) -> Result<(), ThreeCxError> {
    match client.participant(id).await?.status {
        Status::Connected => Ok(()),
        _ => Err(ThreeCxError::NotYet),
    }
}

/// Waits for the next try, unless the error is for good.
async fn try_again(error: ThreeCxError, give_up: Instant) -> Result<(), ThreeCxError> {
    if error == ThreeCxError::Gone || Instant::now() >= give_up {
        return Err(error);
    }
    sleep(AGAIN_EVERY).await;
    Ok(())
}

/// One of the two streams: there, or about to be.
enum Way<T> {
    Open(T),
    Opening(BoxFuture<'static, Result<T, ThreeCxError>>),
}

/// How often a stream ended that had not lasted.
struct Endings {
    opened: Instant,
    short: u32,
}

impl Endings {
    fn new() -> Self {
        Self { opened: Instant::now(), short: 0 }
    }

    /// Counts an end. False if there were too many.
    fn may_go_on(&mut self) -> bool {
        self.short = if self.opened.elapsed() < LASTED { self.short + 1 } else { 0 };
        self.opened = Instant::now();
        self.short < SHORT_MAX
    }
}

/// What comes next on a line.
enum Next {
    /// The call wants something, or it is time to write.
    Write,
    Audio(Bytes),
    /// A stream ended, or could not be opened.
    Listening(Result<Stream, Option<ThreeCxError>>),
    Speaking(Result<Speaking, Option<ThreeCxError>>),
    Told(Told),
}

pub(super) struct Line {
    client: Arc<ThreeCx>,
    id: u32,
    listening: Way<Stream>,
    speaking: Way<Speaking>,
    endings: [Endings; 2],
    end: LegEnd,
    uplink: Uplink,
    /// When audio last came; none if the stream was opened anew since, for want of it.
    audio_at: Option<Instant>,
    /// Since when the connection has taken nothing.
    stuck: Option<Instant>,
    pcm: Vec<u8>,
}

impl Line {
    pub(super) fn new(client: Arc<ThreeCx>, id: u32, stream: Stream, end: LegEnd) -> Self {
        let opening = client.clone();
        // The call was just seen to be connected, with the token that this takes.
        let speaking = async move { opening.speak(id).await }.boxed();
        Self {
            client,
            id,
            listening: Way::Open(stream),
            speaking: Way::Opening(speaking),
            endings: [Endings::new(), Endings::new()],
            end,
            uplink: Uplink::default(),
            audio_at: Some(Instant::now()),
            stuck: None,
            pcm: Vec::with_capacity(4_096),
        }
    }

    /// Carries audio until the call is over. Why it is, by the engine; none if the engine was lost, or the streams.
    pub(super) async fn run(
        &mut self,
        woken: &Notify,
        told: &mut UnboundedReceiver<Told>,
    ) -> Option<EndReason> {
        loop {
            while let Some(departure) = self.end.next_departure() {
                if let Departure::Close(reason) = departure {
                    let dropped = self.end.dropped_frames();
                    if dropped > 0 {
                        tracing::warn!(
                            participant = self.id,
                            dropped,
                            "frames of a 3CX caller found no room"
                        );
                    }
                    return Some(reason);
                }
                self.uplink.take(departure);
            }
            if self.end.is_over() {
                return None;
            }
            let now = Instant::now();
            self.write(now);
            while let Some(mark) = self.uplink.next_mark(now) {
                // One that finds no room is missed by the call, which says so.
                let _ = self.end.mark(mark);
            }
            if self.audio_at.is_some_and(|at| now >= at + SILENT_MAX)
                && matches!(self.listening, Way::Open(_))
            {
                tracing::warn!(
                    participant = self.id,
                    "no audio of a 3CX call comes; its stream is opened anew"
                );
                self.audio_at = None;
                self.reopen(0, None);
            }
            let after = match self.next(self.uplink.next_due(now), woken, told).await {
                Next::Write => continue,
                Next::Audio(bytes) => {
                    self.audio_at = Some(now);
                    self.end.audio(&bytes);
                    continue;
                }
                Next::Told(Told::Status(_)) => continue,
                Next::Told(Told::Keys(keys)) => {
                    for key in keys.chars() {
                        let _ = self.end.key(key);
                    }
                    continue;
                }
                Next::Told(Told::Gone) => After::Gone,
                Next::Listening(Ok(stream)) => {
                    self.end.audio_begins_anew();
                    self.listening = Way::Open(stream);
                    continue;
                }
                Next::Listening(Err(error)) => self.reopen(0, error),
                Next::Speaking(Ok(speaking)) => {
                    self.stuck = None;
                    self.uplink.begin_anew();
                    self.speaking = Way::Open(speaking);
                    continue;
                }
                Next::Speaking(Err(error)) => self.reopen(1, error),
            };
            match after {
                // The engine closes the call when it has heard of it: the loop ends with that.
                After::Gone => {
                    if self.end.stop().is_err() {
                        return Some(EndReason::CallerHangup);
                    }
                    self.listening = Way::Opening(std::future::pending().boxed());
                    self.speaking = Way::Opening(std::future::pending().boxed());
                }
                After::Again => {}
                After::Lost(error) => {
                    tracing::error!(%error, participant = self.id, "the streams of a 3CX call are lost");
                    return None;
                }
            }
        }
    }

    async fn next(&mut self, due: Instant, woken: &Notify, told: &mut UnboundedReceiver<Told>) -> Next {
        let listening = async {
            match &mut self.listening {
                Way::Open(stream) => match stream.next().await {
                    Some(Ok(bytes)) => Next::Audio(bytes),
                    Some(Err(error)) => Next::Listening(Err(Some(error))),
                    None => Next::Listening(Err(None)),
                },
                Way::Opening(opening) => Next::Listening(opening.await.map_err(Some)),
            }
        };
        let speaking = async {
            match &mut self.speaking {
                Way::Open(speaking) => Next::Speaking(Err(speaking.ended().await.err())),
                Way::Opening(opening) => Next::Speaking(opening.await.map_err(Some)),
            }
        };
        tokio::select! {
            // What is due must not wait for what may come at any time.
            biased;
            () = woken.notified() => Next::Write,
            () = sleep_until(due) => Next::Write,
            Some(told) = told.recv() => Next::Told(told),
            next = listening => next,
            next = speaking => next,
        }
    }

    /// Writes what is due. What a connection does not take is a hole in what the caller hears: it would only be late.
    fn write(&mut self, now: Instant) {
        self.pcm.clear();
        self.uplink.write(now, &mut self.pcm);
        let Way::Open(speaking) = &self.speaking else { return };
        if self.pcm.is_empty() {
            return;
        }
        if speaking.send(Bytes::copy_from_slice(&self.pcm)) {
            self.stuck = None;
        } else if self.stuck.get_or_insert(now).elapsed() >= TAKEN_WITHIN {
            tracing::warn!(participant = self.id, "3CX takes no audio; the stream is opened anew");
            self.stuck = None;
            let (client, id) = (self.client.clone(), self.id);
            self.speaking = Way::Opening(async move { open_other_way(&client, id).await }.boxed());
        }
    }

    /// A stream ended or could not be opened: opens it anew, unless the call is over or that was tried enough.
    fn reopen(&mut self, way: usize, error: Option<ThreeCxError>) -> After {
        if error == Some(ThreeCxError::Gone) {
            return After::Gone;
        }
        let was_open = [matches!(self.listening, Way::Open(_)), matches!(self.speaking, Way::Open(_))][way];
        if !was_open || !self.endings[way].may_go_on() {
            let ended = || ThreeCxError::Unreachable("a stream ends again and again".into());
            return After::Lost(error.unwrap_or_else(ended));
        }
        tracing::debug!(?error, participant = self.id, way, "a stream of a 3CX call ended");
        let (client, id) = (self.client.clone(), self.id);
        if way == 0 {
            self.listening = Way::Opening(async move { open(&client, id, AGAIN_WITHIN).await }.boxed());
        } else {
            self.speaking = Way::Opening(async move { open_other_way(&client, id).await }.boxed());
        }
        After::Again
    }
}

/// What becomes of a line one of whose streams is not there.
enum After {
    /// The call is over.
    Gone,
    /// The stream is opened anew.
    Again,
    /// The line is lost.
    Lost(ThreeCxError),
}
