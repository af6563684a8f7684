//! Speech threads: each runs the sessions of many calls, and may take as long over one as its engines do.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::bell::{Bell, Foundry, List, list};
use super::render::Renderer;
use super::session::{Round, Session};
use crate::engine::EngineError;
use crate::measure::{Counts, bump};
use crate::priority::{Rank, Turns, give_way, run_soon};

/// Errands on their way to a thread. Full: whoever hands a call over waits; a media thread never does.
const ERRANDS: usize = 256;
/// How soon to look again after answers that found no room.
const RETRY: Duration = Duration::from_millis(5);

/// What a speech thread may be sent.
enum Errand {
    Session(Box<Placed>),
    /// Something to be freed here, where that may take its time.
    Free(Box<dyn Send>),
    /// Something to be logged here, where that may take its time.
    Tell(Notice),
}

/// A session with its bell, by the number of its call.
struct Placed {
    number: u64,
    session: Session,
    bell: Bell,
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
    foundry: Foundry,
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
        let (foundry, rang) = list(crate::media::now());
        let join = std::thread::Builder::new()
            .name(format!("speech-{number}"))
            .spawn(move || {
                give_way(Rank::Speech);
                run_soon();
                run(&inbox, &rang, &counts);
            })
            .map_err(EngineError::Thread)?;
        Ok(Self { errands, foundry, join })
    }

    /// The bell of the session of call `number`.
    pub(crate) fn bell(&self, number: u64) -> Bell {
        self.foundry.bell(number, self.join.thread().clone())
    }

    /// The way to have things freed by it. The thread ends only after all such ways are dropped.
    pub(crate) fn disposal(&self) -> Disposal {
        Disposal { errands: self.errands.clone(), thread: self.join.thread().clone() }
    }

    /// Gives it the session of call `number`, and the session's bell.
    pub(crate) fn take(&self, number: u64, session: Session, bell: Bell) {
        // The thread ends only after this end of the channel is gone.
        let _ = self.errands.send(Errand::Session(Box::new(Placed { number, session, bell })));
        self.join.thread().unpark();
    }

    /// Ends the thread, with all its sessions.
    pub(crate) fn stop(self) {
        let thread = self.join.thread().clone();
        drop(self.errands);
        thread.unpark();
        let _ = self.join.join();
    }
}

fn run(inbox: &Receiver<Errand>, rang: &List, counts: &Counts) {
    let mut sessions: BTreeMap<u64, Box<Placed>> = BTreeMap::new();
    // Whose turn it is of those that can wait, and who waits for room.
    let (mut next, mut blocked) = (VecDeque::new(), Vec::new());
    let mut renderer = Renderer::default();
    let mut turns = Turns::begin();
    loop {
        loop {
            match inbox.try_recv() {
                Ok(Errand::Session(placed)) => {
                    // Its bell may have rung before it was known here.
                    next.push_back(placed.number);
                    sessions.insert(placed.number, placed);
                }
                Ok(Errand::Free(spent)) => drop(spent),
                Ok(Errand::Tell(notice)) => notice.log(),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        next.extend(rang.due_audio());
        if rang.overflowed() {
            next.extend(sessions.keys());
        }
        // In turn, so that neither waits for more than one of the other.
        let now = [rang.next_urgent(), next.pop_front()];
        if now == [None; 2] {
            if blocked.is_empty() {
                // Whoever has something for this thread unparks it; an unpark in between makes this return at once.
                std::thread::park();
            } else {
                std::thread::park_timeout(RETRY);
                next.extend(blocked.drain(..));
            }
            turns = Turns::begin();
        }
        for number in now.into_iter().flatten() {
            let Some(placed) = sessions.get_mut(&number) else { continue };
            placed.bell.answer();
            match round(&mut placed.session, &mut renderer, counts) {
                Round::Over => drop(sessions.remove(&number)),
                Round::Idle => {}
                Round::Worked => next.push_back(number),
                Round::Blocked => blocked.push(number),
            }
            turns.offer();
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
