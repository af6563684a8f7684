//! How other threads reach a media thread: an inbox, and a waker.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use mio::Waker;

use super::Seat;
use super::meter::Meter;
use super::signal::{Flag, Nap};
use crate::call::{Command, EndReason};
use crate::engine::EngineError;
use crate::measure::bump;

/// Letters that may wait for a media thread. Full: a hand-over or a command is refused; news of answers is not lost,
/// since the thread looks at all its calls when it finds that some could not be posted.
const INBOX: usize = 4_096;

/// A command that can cross threads.
#[derive(Clone, Debug)]
pub(crate) enum OwnedCommand {
    HangUp {
        reason: EndReason,
    },
    Say {
        text: String,
    },
    #[cfg(test)]
    Panic,
}

impl From<Command<'_>> for OwnedCommand {
    fn from(command: Command<'_>) -> Self {
        match command {
            Command::HangUp { reason } => Self::HangUp { reason },
            Command::Say { text } => Self::Say { text: text.into() },
        }
    }
}

/// What a media thread may be sent.
pub(super) enum Letter {
    Call(Box<Seat>),
    Command {
        call: u64,
        command: OwnedCommand,
    },
    /// A speech session has answers for this call, or a leg that is served elsewhere something from its caller.
    Answers {
        call: u64,
    },
    /// End all calls, then the thread.
    ShutDown,
}

struct Shared {
    inbox: Sender<Letter>,
    waker: Waker,
    meter: Meter,
    /// The thread, once it runs, and whether it naps: then its waker would wake nobody.
    thread: OnceLock<Thread>,
    nap: Nap,
    /// Up if answers were not announced for want of room.
    missed: Flag,
}

/// The way to a media thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Post(Arc<Shared>);

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("meter", &self.0.meter).finish_non_exhaustive()
    }
}

impl Post {
    pub(super) fn new(waker: Waker) -> (Self, Receiver<Letter>) {
        let (inbox, letters) = bounded(INBOX);
        let shared = Shared {
            inbox,
            waker,
            meter: Meter::new(),
            thread: OnceLock::new(),
            nap: Nap::over(),
            missed: Flag::down(),
        };
        (Self(Arc::new(shared)), letters)
    }

    /// Hands a call over.
    pub(crate) fn hand_over(&self, seat: Box<Seat>) -> Result<(), EngineError> {
        self.meter().calls.fetch_add(1, Ordering::Relaxed);
        self.send(Letter::Call(seat)).inspect_err(|_| {
            self.meter().calls.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// Sends a command to a call. The call may have ended by the time it arrives.
    pub(crate) fn command(&self, call: u64, command: OwnedCommand) -> Result<(), EngineError> {
        self.send(Letter::Command { call, command })
    }

    /// Announces answers for a call, or arrivals. Called on speech threads, and where legs are served.
    pub(crate) fn announce(&self, call: u64) {
        if self.0.inbox.try_send(Letter::Answers { call }).is_err() {
            self.0.missed.raise();
            bump(&self.meter().answers_unannounced, 1);
        }
        self.wake();
    }

    pub(crate) fn shut_down(&self) {
        // Blocks until there is room: this is the one letter that must arrive.
        let _ = self.0.inbox.send(Letter::ShutDown);
        self.wake();
    }

    /// Sleeps for `length`, or until there is a letter, on the media thread that this is the way to. `letters`: its inbox.
    pub(super) fn nap(&self, length: Duration, letters: &Receiver<Letter>) {
        self.0.thread.get_or_init(std::thread::current);
        self.0.nap.begin();
        if letters.is_empty() {
            std::thread::park_timeout(length);
        }
        self.0.nap.end();
    }

    /// Wakes the thread, wherever it waits. A letter, or word that one was missed, goes before.
    fn wake(&self) {
        let naps = self.0.nap.is_seen();
        match self.0.thread.get() {
            Some(thread) if naps => thread.unpark(),
            _ => drop(self.0.waker.wake()),
        }
    }

    /// True once if answers could not be announced since the last time.
    pub(super) fn take_missed(&self) -> bool {
        self.0.missed.take()
    }

    /// The thread's numbers.
    pub(crate) fn meter(&self) -> &Meter {
        &self.0.meter
    }

    fn send(&self, letter: Letter) -> Result<(), EngineError> {
        self.0.inbox.try_send(letter).map_err(|refused| match refused {
            TrySendError::Full(_) => EngineError::Full,
            TrySendError::Disconnected(_) => EngineError::ShuttingDown,
        })?;
        self.wake();
        Ok(())
    }
}
