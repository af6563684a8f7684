//! Speech threads: each runs the sessions of many calls, and may take as long over one as its engines do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::render::Renderer;
use super::session::{Round, Session};
use crate::engine::EngineError;
use crate::measure::{Counts, bump};

/// Errands on their way to a thread. Full: whoever hands a call over waits; a media thread never does.
const ERRANDS: usize = 256;
/// How soon to look again after answers that found no room.
const RETRY: Duration = Duration::from_millis(5);

/// What a speech thread may be sent.
enum Errand {
    Session(Box<Session>),
    /// Something to be freed here, where that may take its time.
    Free(Box<dyn Send>),
    /// Something to be logged here, where that may take its time.
    Tell(Notice),
}

/// What a media thread has to say to the operator, before it is text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Notice {
    /// The thread cannot wait for its sockets: it ends, and its calls with it.
    CannotWait { thread: usize, os_error: Option<i32> },
    /// A call's socket cannot be watched: the call ends.
    CannotWatch { thread: usize, os_error: Option<i32> },
}

impl Notice {
    fn log(self) {
        let text = |os_error: Option<i32>| os_error.map(std::io::Error::from_raw_os_error);
        match self {
            Self::CannotWait { thread, os_error } => {
                let error = text(os_error);
                tracing::error!(
                    thread,
                    ?error,
                    "a media thread cannot wait for its sockets: it ends, with its calls"
                );
            }
            Self::CannotWatch { thread, os_error } => {
                let error = text(os_error);
                tracing::error!(thread, ?error, "a call's socket cannot be watched: the call ends");
            }
        }
    }
}

/// A speech thread, from outside.
#[derive(Debug)]
pub(crate) struct Worker {
    errands: Sender<Errand>,
    join: JoinHandle<()>,
}

/// Where a media thread leaves what it may not free itself.
#[derive(Clone)]
pub(crate) struct Disposal {
    errands: Sender<Errand>,
    thread: Thread,
}

impl Disposal {
    /// Has it freed. Full: it is freed here and now, the lesser evil.
    pub(crate) fn free(&self, spent: Box<dyn Send>) {
        let _ = self.errands.try_send(Errand::Free(spent));
        self.thread.unpark();
    }

    /// Has it logged. Full: it is not.
    pub(crate) fn tell(&self, notice: Notice) {
        let _ = self.errands.try_send(Errand::Tell(notice));
        self.thread.unpark();
    }
}

impl Worker {
    /// Starts the thread `speech-<number>`.
    pub(crate) fn start(number: usize, counts: Arc<Counts>) -> Result<Self, EngineError> {
        let (errands, inbox) = bounded(ERRANDS);
        let join = std::thread::Builder::new()
            .name(format!("speech-{number}"))
            .spawn(move || run(&inbox, &counts))
            .map_err(EngineError::Thread)?;
        Ok(Self { errands, join })
    }

    /// The thread, to be unparked when one of its sessions has requests.
    pub(crate) fn thread(&self) -> Thread {
        self.join.thread().clone()
    }

    /// The way to have things freed by it. The thread ends only after all such ways are dropped.
    pub(crate) fn disposal(&self) -> Disposal {
        Disposal { errands: self.errands.clone(), thread: self.thread() }
    }

    /// Gives it a session.
    pub(crate) fn take(&self, session: Session) {
        // The thread ends only after this end of the channel is gone.
        let _ = self.errands.send(Errand::Session(Box::new(session)));
        self.join.thread().unpark();
    }

    /// Ends the thread, with all its sessions.
    pub(crate) fn stop(self) {
        let thread = self.thread();
        drop(self.errands);
        thread.unpark();
        let _ = self.join.join();
    }
}

fn run(inbox: &Receiver<Errand>, counts: &Counts) {
    let mut sessions: Vec<Box<Session>> = Vec::new();
    let mut renderer = Renderer::default();
    loop {
        loop {
            match inbox.try_recv() {
                Ok(Errand::Session(session)) => sessions.push(session),
                Ok(Errand::Free(spent)) => drop(spent),
                Ok(Errand::Tell(notice)) => notice.log(),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        let (mut worked, mut blocked) = (false, false);
        sessions.retain_mut(|session| match round(session, &mut renderer, counts) {
            Round::Over => false,
            Round::Idle => true,
            Round::Worked => {
                worked = true;
                true
            }
            Round::Blocked => {
                blocked = true;
                true
            }
        });
        if blocked && !worked {
            std::thread::park_timeout(RETRY);
        } else if !worked {
            // Whoever has something for this thread unparks it; an unpark in between makes this return at once.
            std::thread::park();
        }
    }
}

/// A panic in an engine ends its session alone.
fn round(session: &mut Session, renderer: &mut Renderer, counts: &Counts) -> Round {
    catch_unwind(AssertUnwindSafe(|| session.round(renderer))).unwrap_or_else(|_| {
        bump(&counts.speech_panics, 1);
        tracing::error!("a speech engine panicked; its call is told");
        session.fail();
        Round::Over
    })
}
