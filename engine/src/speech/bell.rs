//! How a speech thread learns which of its sessions have something to do.
//!
//! A session's bell puts the session on the thread's list, once until the thread has looked; so a thread with hundreds of
//! sessions looks at those that have news, and at no other. What cannot wait is on a list of its own, which is looked at
//! first, and wakes the thread at once. Audio of the caller is looked at once in 100 ms, for all calls together: whoever
//! wakes a thread pays some 10 to 40 µs, and an answer should not wait behind the audio of hundreds of other calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::media::Flag;
use crate::prefetch::{Prefetch, prefetch};

/// Room on each list. Full: the thread looks at all of its sessions.
const LIST: usize = 4_096;
/// How often audio wakes the thread, and is looked at.
pub(super) const AUDIO_PERIOD: Duration = Duration::from_millis(100);

/// What all bells of a thread share.
#[derive(Debug)]
struct Shared {
    urgent: Sender<u64>,
    audio: Sender<u64>,
    /// Up if a session did not fit on its list.
    overflowed: Flag,
    /// Up once the list of those that have audio is to be looked at.
    audio_due: Flag,
    start: Instant,
    /// When audio woke the thread last, in µs from the start.
    audio_us: AtomicU64,
}

/// A thread's side: the sessions that rang.
#[derive(Debug)]
pub(super) struct List {
    urgent: Receiver<u64>,
    audio: Receiver<u64>,
    shared: Arc<Shared>,
}

/// Makes bells, once it is known which thread they wake.
#[derive(Debug)]
pub(super) struct Foundry(Arc<Shared>);

/// A session's bell. Its clones are the same bell.
#[derive(Clone, Debug)]
pub(crate) struct Bell {
    session: u64,
    rung: Arc<Rung>,
    shared: Arc<Shared>,
    thread: Thread,
}

/// Which lists a session is on.
#[derive(Debug)]
struct Rung {
    urgent: Flag,
    audio: Flag,
}

/// A list, and what makes bells for it. `now`: any moment before the first bell is rung.
pub(super) fn list(now: Instant) -> (Foundry, List) {
    let (to_urgent, urgent) = bounded(LIST);
    let (to_audio, audio) = bounded(LIST);
    let shared = Arc::new(Shared {
        urgent: to_urgent,
        audio: to_audio,
        overflowed: Flag::down(),
        audio_due: Flag::down(),
        start: now,
        audio_us: AtomicU64::new(0),
    });
    (Foundry(Arc::clone(&shared)), List { urgent, audio, shared })
}

impl Foundry {
    /// The bell of `session`, which wakes `thread`.
    pub(super) fn bell(&self, session: u64, thread: Thread) -> Bell {
        let rung = Arc::new(Rung { urgent: Flag::down(), audio: Flag::down() });
        Bell { session, rung, shared: Arc::clone(&self.0), thread }
    }
}

impl List {
    /// The next session that has something which cannot wait.
    pub(super) fn next_urgent(&self) -> Option<u64> {
        self.urgent.try_recv().ok()
    }

    /// The sessions that have audio, if it is time to look at it.
    pub(super) fn due_audio(&self) -> impl Iterator<Item = u64> {
        self.shared.audio_due.take().then(|| self.audio.try_iter()).into_iter().flatten()
    }

    /// True once if some did not fit.
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
    /// Rings, and wakes the thread. What was handed over before is seen by whoever takes the session off the list.
    pub(super) fn ring_and_wake(&self) {
        if self.rung.urgent.raise() {
            self.list(&self.shared.urgent);
        }
        self.thread.unpark();
    }

    /// Rings, and wakes the thread if audio has not done so lately. Two that ask at once may both wake it.
    pub(super) fn ring_for_audio(&self, now: Instant) {
        if self.rung.audio.raise() {
            self.list(&self.shared.audio);
        }
        let now_us = now.saturating_duration_since(self.shared.start).as_micros() as u64;
        let last_us = self.shared.audio_us.load(Ordering::Relaxed);
        if now_us.saturating_sub(last_us) >= AUDIO_PERIOD.as_micros() as u64 {
            self.shared.audio_us.store(now_us, Ordering::Relaxed);
            self.shared.audio_due.raise();
            self.thread.unpark();
        }
    }

    /// The thread looks at all that the session has now: what comes from here on rings again.
    pub(super) fn answer(&self) {
        self.rung.urgent.take();
        self.rung.audio.take();
    }

    fn list(&self, list: &Sender<u64>) {
        if list.try_send(self.session).is_err() {
            self.shared.overflowed.raise();
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
        bell.ring_and_wake();
        bell.clone().ring_and_wake();
        assert_eq!((list.next_urgent(), list.next_urgent()), (Some(7), None));
        bell.ring_and_wake();
        assert_eq!(list.next_urgent(), None, "nobody has looked yet");
        bell.answer();
        bell.ring_and_wake();
        assert_eq!(list.next_urgent(), Some(7));
        assert!(!list.overflowed());
    }

    #[test]
    fn a_list_that_is_full_says_so_once() {
        let (foundry, list) = list(a_moment());
        let bells: Vec<Bell> =
            (0..=LIST as u64).map(|session| foundry.bell(session, std::thread::current())).collect();
        bells.iter().for_each(Bell::ring_and_wake);
        assert_eq!((list.overflowed(), list.overflowed()), (true, false));
        bells.iter().for_each(|bell| bell.ring_for_audio(a_moment()));
        assert_eq!((list.overflowed(), list.overflowed()), (true, false));
    }

    #[test]
    fn what_cannot_wait_does_not_wait_behind_audio() {
        let now = a_moment();
        let (foundry, list) = list(now);
        let bell = |session| foundry.bell(session, std::thread::current());
        let (listening, asking) = (bell(1), bell(2));
        listening.ring_for_audio(now);
        asking.ring_for_audio(now);
        asking.ring_and_wake();
        assert_eq!(list.next_urgent(), Some(2));
        asking.answer();
        assert_eq!(list.due_audio().next(), None, "audio is not due yet");
        listening.ring_for_audio(now + AUDIO_PERIOD);
        assert_eq!(list.due_audio().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(list.due_audio().next(), None);
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
        assert_eq!(list.due_audio().collect::<Vec<_>>(), [7]);
    }
}
