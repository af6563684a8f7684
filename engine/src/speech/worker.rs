//! Speech threads: each runs the sessions of many calls, and may take as long over one as its engines do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::render::Renderer;
use super::session::{Round, Session};
use crate::engine::EngineError;

/// Errands on their way to a thread. Full: whoever hands a call over waits; a media thread never does.
const ERRANDS: usize = 256;
/// How soon to look again after answers that found no room.
const RETRY: Duration = Duration::from_millis(5);

/// What a speech thread may be sent.
enum Errand {
    Session(Box<Session>),
    /// Something to be freed here, where that may take its time.
    Free(Box<dyn Send>),
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
}

impl Worker {
    /// Starts the thread `speech-<number>`.
    pub(crate) fn start(number: usize) -> Result<Self, EngineError> {
        let (errands, inbox) = bounded(ERRANDS);
        let join = std::thread::Builder::new()
            .name(format!("speech-{number}"))
            .spawn(move || run(&inbox))
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

fn run(inbox: &Receiver<Errand>) {
    let mut sessions: Vec<Box<Session>> = Vec::new();
    let mut renderer = Renderer::default();
    loop {
        loop {
            match inbox.try_recv() {
                Ok(Errand::Session(session)) => sessions.push(session),
                Ok(Errand::Free(spent)) => drop(spent),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        let (mut worked, mut blocked) = (false, false);
        sessions.retain_mut(|session| match round(session, &mut renderer) {
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
fn round(session: &mut Session, renderer: &mut Renderer) -> Round {
    catch_unwind(AssertUnwindSafe(|| session.round(renderer))).unwrap_or_else(|_| {
        tracing::error!("a speech engine panicked; its call is told");
        session.fail();
        Round::Over
    })
}
