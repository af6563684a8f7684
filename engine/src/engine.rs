//! The engine as its users see it: start it, hand calls over, be told what happens.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use crate::agent::Agent;
use crate::call::{CallSettings, Command, EndReason, Event};
use crate::speech::{SpeechToText, TextToSpeech};

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
    /// Its recogniser. It is first used, and finally dropped, on a speech thread.
    pub recogniser: Box<dyn SpeechToText>,
    /// Its voice.
    pub voice: Arc<dyn TextToSpeech>,
    /// Its agent.
    pub agent: Box<dyn Agent>,
    /// The numbers that it decides by.
    pub settings: CallSettings,
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
pub struct Engine {}

impl Engine {
    /// Starts the threads. Errors if one cannot start, or a folder cannot be written to.
    pub fn start(settings: EngineSettings, sink: Arc<dyn CallSink>) -> Result<Self, EngineError> {
        let _ = (settings, sink);
        Err(EngineError::ShuttingDown)
    }

    /// Gives a connection and its call to the least loaded media thread.
    pub fn hand_over(&self, leg: NewLeg, call: NewCall) -> Result<CallHandle, EngineError> {
        let _ = (leg, call);
        Err(EngineError::ShuttingDown)
    }

    /// How many calls are running.
    pub fn active_calls(&self) -> usize {
        0
    }

    /// Ends all calls (as `shutdown`), waits until their records are complete, and ends the threads.
    pub fn shutdown(self) {}
}

/// A running call, from outside. Commands are carried out by the call's media thread at its next wake-up.
#[derive(Clone, Debug)]
pub struct CallHandle {}

impl CallHandle {
    /// Sends a command. Errors if the call has ended.
    pub fn command(&self, command: Command<'_>) -> Result<(), EngineError> {
        let _ = command;
        Err(EngineError::Ended)
    }
}
