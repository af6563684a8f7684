//! How a speech thread learns which of its sessions have something to do.
//!
//! A session's bell puts the session on the thread's list, once until the thread has looked; so a thread with hundreds of
//! sessions looks at those that have news, and at no other. Waking the thread is another matter: whoever wakes pays some
//! 10 to 40 µs. What cannot wait wakes it at once; audio of the caller does so once in 100 ms, for all calls together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::media::Flag;
use crate::prefetch::{Prefetch, prefetch};

/// Room on the list. Full: the thread looks at all of its sessions.
const LIST: usize = 4_096;
/// How often audio alone wakes the thread.
const AUDIO_PERIOD: Duration = Duration::from_millis(100);

/// What all bells of a thread share.
#[derive(Debug)]
struct Shared {
    list: Sender<u64>,
    /// Up if a session did not fit on the list.
    overflowed: Flag,
    start: Instant,
    /// When audio woke the thread last, in µs from the start.
    audio_us: AtomicU64,
}

/// A thread's side: the sessions that rang.
#[derive(Debug)]
pub(super) struct List {
    rang: Receiver<u64>,
    shared: Arc<Shared>,
}

/// Makes bells, once it is known which thread they wake.
#[derive(Debug)]
pub(super) struct Foundry(Arc<Shared>);

/// A session's bell. Its clones are the same bell.
#[derive(Clone, Debug)]
pub(crate) struct Bell {
    session: u64,
    rung: Arc<Flag>,
    shared: Arc<Shared>,
    thread: Thread,
}

/// A list, and what makes bells for it. `now`: any moment before the first bell is rung.
pub(super) fn list(now: Instant) -> (Foundry, List) {
    let (list, rang) = bounded(LIST);
    let overflowed = Flag::down();
    let shared = Arc::new(Shared { list, overflowed, start: now, audio_us: AtomicU64::new(0) });
    (Foundry(Arc::clone(&shared)), List { rang, shared })
}

impl Foundry {
    /// The bell of `session`, which wakes `thread`.
    pub(super) fn bell(&self, session: u64, thread: Thread) -> Bell {
        Bell { session, rung: Arc::new(Flag::down()), shared: Arc::clone(&self.0), thread }
    }
}

impl List {
    /// The next session that rang.
    pub(super) fn next(&self) -> Option<u64> {
        self.rang.try_recv().ok()
    }

    /// True once if some did not fit on the list.
    pub(super) fn overflowed(&self) -> bool {
        self.shared.overflowed.take()
    }
}

impl Prefetch for Bell {
    fn prefetch(&mut self) {
        prefetch(&*self.rung);
    }
}

impl Bell {
    /// Puts the session on the list. What was handed over before is seen by whoever takes it off.
    pub(super) fn ring(&self) {
        if self.rung.raise() && self.shared.list.try_send(self.session).is_err() {
            self.shared.overflowed.raise();
        }
    }

    /// The thread looks at the session now: what comes from here on rings again.
    pub(super) fn answer(&self) {
        self.rung.take();
    }

    /// Rings, and wakes the thread.
    pub(super) fn ring_and_wake(&self) {
        self.ring();
        self.thread.unpark();
    }

    /// Rings, and wakes the thread if audio has not done so lately. Two that ask at once may both wake it.
    pub(super) fn ring_for_audio(&self, now: Instant) {
        self.ring();
        let now_us = now.saturating_duration_since(self.shared.start).as_micros() as u64;
        let last_us = self.shared.audio_us.load(Ordering::Relaxed);
        if now_us.saturating_sub(last_us) >= AUDIO_PERIOD.as_micros() as u64 {
            self.shared.audio_us.store(now_us, Ordering::Relaxed);
            self.thread.unpark();
        }
    }
}

#[cfg(test)]
impl Bell {
    /// The bell of session 7, which wakes the calling thread.
    pub(super) fn here(now: Instant) -> (Self, List) {
        let (foundry, list) = list(now);
        (foundry.bell(7, std::thread::current()), list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any moment: nothing here waits.
    fn a_moment() -> Instant {
        crate::media::now()
    }

    #[test]
    fn a_session_is_on_the_list_once_until_it_was_looked_at() {
        let (bell, list) = Bell::here(a_moment());
        bell.ring();
        bell.clone().ring();
        assert_eq!((list.next(), list.next()), (Some(7), None));
        bell.ring();
        assert_eq!(list.next(), None, "nobody has looked yet");
        bell.answer();
        bell.ring();
        assert_eq!(list.next(), Some(7));
        assert!(!list.overflowed());
    }

    #[test]
    fn a_list_that_is_full_says_so_once() {
        let (foundry, list) = list(a_moment());
        let bells: Vec<Bell> =
            (0..=LIST as u64).map(|session| foundry.bell(session, std::thread::current())).collect();
        bells.iter().for_each(Bell::ring);
        assert_eq!((list.overflowed(), list.overflowed()), (true, false));
    }

    #[test]
    fn audio_of_many_calls_wakes_the_thread_once_in_a_while() {
        let now = a_moment();
        let (bell, list) = Bell::here(now);
        let wakes = |at: Duration| {
            bell.ring_for_audio(now + at);
            // An unpark that has come makes this return at once; without one it would wait.
            let asked = a_moment();
            std::thread::park_timeout(Duration::from_millis(50));
            a_moment().duration_since(asked) < Duration::from_millis(25)
        };
        assert!(!wakes(Duration::from_millis(20)));
        assert!(wakes(Duration::from_millis(100)));
        assert!(!wakes(Duration::from_millis(199)));
        assert_eq!(list.next(), Some(7), "it is on the list all the same");
    }
}
