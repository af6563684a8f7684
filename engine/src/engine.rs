//! The engine as its users see it: start it, hand calls over, be told what happens.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::agent::Agent;
use crate::call::{Call, CallSettings, Command, EndReason, Event};
use crate::journal::Writer;
use crate::leg::{Leg, LegEnd, remote};
use crate::measure::{Counts, Lateness, Measures};
use crate::media::{self, MediaThread, NewSeat, Post, Seat};
use crate::speech::link::link;
use crate::speech::mind::Mind;
use crate::speech::session::Session;
use crate::speech::worker::Worker;
use crate::speech::{Ears, Voice};

/// What the system may hold of audio that a carrier has not taken yet; Linux takes twice this for its own accounts (socket(7)).
/// Some seconds: enough for any round trip, and what a carrier that stopped reading makes the system keep.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// A call's name, given by whoever hands it over; unique, and fit for a file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(Arc<str>);

impl CallId {
    /// A name of letters, digits, `-` and `_`, at most 64; `None` if `name` is anything else.
    pub fn new(name: &str) -> Option<Self> {
        let fits = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        fits.then(|| Self(name.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CallId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an engine is made of.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// How many media threads. Default: one per core.
    pub media_threads: usize,
    /// How many speech threads, for local recognisers and voices. Default: one per core.
    pub speech_threads: usize,
    /// Whether media threads are pinned to cores.
    pub pin_threads: bool,
    /// Where journals go, one file per call: `<dir>/<call id>.journal`.
    pub journal_dir: PathBuf,
    /// Where recordings go, one file per call: `<dir>/<call id>.wav`.
    pub recording_dir: PathBuf,
}

/// Why an engine could not start, or not take a call.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// A folder could not be made or written to.
    #[error("cannot write to {path}: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The call's socket is of no use.
    #[error("the socket cannot be used: {0}")]
    Socket(#[source] std::io::Error),
    /// The engine takes no more calls.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// The media threads have more to do than they can take on.
    #[error("all media threads are full")]
    Full,
    /// The call is not, or no longer, running.
    #[error("the call has ended")]
    Ended,
}

/// A connection to hand over: after the WebSocket handshake, before its first message is consumed.
#[derive(Debug)]
pub struct NewLeg {
    /// The socket.
    pub socket: TcpStream,
    /// Bytes that came after the handshake and were read already.
    pub already_read: Vec<u8>,
}

/// A call to hand over.
pub struct NewCall {
    /// Its name.
    pub id: CallId,
    /// Its ears. They are first used, and finally dropped, on a speech thread.
    pub ears: Ears,
    /// Its voice. Likewise.
    pub voice: Voice,
    /// Its agent: asked on a speech thread if it answers at once, on a thread of its own otherwise.
    pub agent: Box<dyn Agent>,
    /// The numbers that it decides by, shared with calls that decide alike.
    pub settings: Arc<CallSettings>,
    /// When it is answered, in microseconds since 1970-01-01 00:00 UTC: the engine knows call time only.
    pub answered_unix_us: u64,
}

/// Told of all that happens on calls, on the engine's writer thread: later calls wait, so it must only pass things on.
pub trait CallSink: Send + Sync {
    /// Something happened on a running call. Events of one call come in order.
    fn on_event(&self, call: &CallId, event: &Event);

    /// The call is over, its files are closed. The last word on a call.
    fn on_finished(&self, call: &CallId, finished: &Finished);

    /// Part of a call's journal or recording could not be kept; the call goes on. `what` is for the operator.
    fn on_loss(&self, call: &CallId, what: &str);
}

/// How a call ended, and what it left behind.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Why it ended.
    pub reason: EndReason,
    /// From the answer to the end, in ms.
    pub duration_ms: u64,
    /// The recording, if one could be written.
    pub recording: Option<PathBuf>,
    /// The journal, if one could be written.
    pub journal: Option<PathBuf>,
}

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    media: Vec<MediaThread>,
    speech: Vec<Worker>,
    writer: Writer,
    counts: Arc<Counts>,
    next_call: AtomicU64,
}

impl Engine {
    /// Starts the threads. Errors if one cannot start, or a folder cannot be written to.
    pub fn start(settings: EngineSettings, sink: Arc<dyn CallSink>) -> Result<Self, EngineError> {
        Self::start_with(Writer::start(&settings.journal_dir, &settings.recording_dir, sink)?, &settings)
    }

    fn start_with(writer: Writer, settings: &EngineSettings) -> Result<Self, EngineError> {
        let counts = Arc::clone(writer.counts());
        let cores =
            if settings.pin_threads { core_affinity::get_core_ids() } else { None }.unwrap_or_default();
        let speech: Vec<Worker> = (0..settings.speech_threads.max(1))
            .map(|number| Worker::start(number, Arc::clone(&counts)))
            .collect::<Result<_, _>>()?;
        let media = (0..settings.media_threads.max(1))
            .map(|number| {
                let core = cores.get(number % cores.len().max(1)).copied();
                MediaThread::start(number, core, speech[number % speech.len()].disposal())
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { media, speech, writer, counts, next_call: AtomicU64::new(0) })
    }

    /// Gives a connection and its call to the least loaded media thread. The call is answered there.
    ///
    /// Not for a media thread: it allocates, and waits for the journal writer if that is behind.
    pub fn hand_over(&self, leg: NewLeg, call: NewCall) -> Result<CallHandle, EngineError> {
        leg.socket.set_nonblocking(true).map_err(EngineError::Socket)?;
        leg.socket.set_nodelay(true).map_err(EngineError::Socket)?;
        socket2::SockRef::from(&leg.socket)
            .set_send_buffer_size(SEND_BUFFER_BYTES)
            .map_err(EngineError::Socket)?;
        let leg = Leg::new(mio::net::TcpStream::from_std(leg.socket), leg.already_read);
        self.seat(call, |_, _| (leg, ())).map(|(handle, ())| handle)
    }

    /// Takes on a call whose connection stays where it is, since no media thread can poll it: what comes of it is told to the
    /// [`LegEnd`], and what the call wants of it is asked there. `stream`: the carrier's name for it. `wake` is called, on a
    /// media thread, when the call wants something, and must not block; the end is over once the call is.
    ///
    /// Not for a media thread, as [`Engine::hand_over`].
    pub fn hand_over_remote(
        &self,
        stream: &str,
        wake: Box<dyn Fn() + Send>,
        call: NewCall,
    ) -> Result<(CallHandle, LegEnd), EngineError> {
        self.seat(call, |post, number| {
            let notify = post.clone();
            let (leg, end) = remote(stream, wake, Box::new(move || notify.announce(number)));
            (Leg::Remote(Box::new(leg)), end)
        })
    }

    /// Finds a place for a call, and has `leg` make its leg for that.
    fn seat<T>(
        &self,
        call: NewCall,
        leg: impl FnOnce(&Post, u64) -> (Leg, T),
    ) -> Result<(CallHandle, T), EngineError> {
        let number = self.next_call.fetch_add(1, Ordering::Relaxed);
        let post = self
            .media
            .iter()
            .map(MediaThread::post)
            .min_by_key(|post| post.meter().calls.load(Ordering::Relaxed))
            .expect("an engine has at least one media thread");
        let worker = &self.speech[number as usize % self.speech.len()];

        let bell = worker.bell(number);
        let mind = Mind::new(call.agent, number, bell.clone(), &self.counts)?;
        let journal = self.writer.open(call.id, Arc::clone(&call.settings), call.answered_unix_us)?;
        let announce = post.clone();
        let (call_end, session_end) = link(bell.clone(), Box::new(move || announce.announce(number)));
        let over = Arc::new(AtomicBool::new(false));
        let (leg, made) = leg(post, number);
        post.hand_over(Box::new(Seat::new(NewSeat {
            number,
            leg,
            tells_faults: call.settings.error_frames,
            call: Call::new(call.settings),
            speech: call_end,
            journal,
            over: Arc::clone(&over),
        })))?;
        worker.take(number, Session::new(session_end, bell.clone(), call.ears, mind, call.voice), bell);
        Ok((CallHandle { post: post.clone(), number, over }, made))
    }

    /// How many calls are running.
    pub fn active_calls(&self) -> usize {
        self.media.iter().map(|thread| thread.post().meter().calls.load(Ordering::Relaxed)).sum()
    }

    /// Audio messages so far, from callers and to callers.
    pub fn frames(&self) -> (u64, u64) {
        let meters = self.media.iter().map(|thread| thread.post().meter());
        meters.fold((0, 0), |(frames_in, frames_out), meter| {
            (
                frames_in + meter.frames_in.load(Ordering::Relaxed),
                frames_out + meter.frames_out.load(Ordering::Relaxed),
            )
        })
    }

    /// How late and how busy the media threads were in the last seconds. Costs them nothing, and the asker a microsecond.
    pub fn lateness(&self) -> Lateness {
        let now = media::now();
        let latest = self.media.iter().map(|thread| thread.post().meter().latest(now));
        latest.fold(Lateness::default(), |worst, latest| Lateness {
            p99: worst.p99.max(latest.p99),
            busy: worst.busy.max(latest.busy),
        })
    }

    /// [`Measures::record_backlog`] alone, for who decides whether another call can be taken.
    pub fn record_backlog(&self) -> f64 {
        self.writer.backlog()
    }

    /// All that was measured since the start. Costs the engine's threads nothing.
    pub fn measures(&self) -> Measures {
        Measures {
            media_threads: self.media.iter().map(MediaThread::measures).collect(),
            counted: self.counts.read(),
            record_backlog: self.record_backlog(),
        }
    }

    /// Ends all calls (as `shutdown`), waits until their records are complete, and ends the threads.
    pub fn shutdown(self) {
        self.media.iter().for_each(|thread| thread.post().shut_down());
        self.media.into_iter().for_each(MediaThread::join);
        self.speech.into_iter().for_each(Worker::stop);
        self.writer.shutdown();
    }
}

/// A running call, from outside. Commands are carried out by the call's media thread at its next wake-up.
#[derive(Clone, Debug)]
pub struct CallHandle {
    post: Post,
    number: u64,
    over: Arc<AtomicBool>,
}

impl CallHandle {
    /// Sends a command. Errors if the call has ended.
    pub fn command(&self, command: Command<'_>) -> Result<(), EngineError> {
        if self.is_over() {
            return Err(EngineError::Ended);
        }
        self.post.command(self.number, command.into())
    }

    /// True once the call has ended. Its record may still be on its way.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(crate) fn make_it_panic(&self) {
        self.post.command(self.number, crate::media::OwnedCommand::Panic).unwrap();
    }
}

#[cfg(test)]
mod tests;
