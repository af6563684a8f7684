//! The signals between threads, run by loom in every order that the memory model allows. A lost wake-up is a deadlock
//! there, which loom reports, or an assertion that fails.

mod atomics {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}
#[path = "signal.rs"]
#[expect(clippy::duplicate_mod, reason = "the same text on other atomics is what this is about")]
mod signal;

use std::collections::VecDeque;

use loom::model;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;

use signal::{Flag, Nap};

/// A bell as `speech/bell.rs` makes it of a flag: the session is on the list once until somebody looks at it.
struct Bell {
    rung: Flag,
    list: Mutex<VecDeque<u32>>,
    /// What was handed over, which stands for the ring.
    handed: AtomicU32,
}

impl Bell {
    fn hand_over_and_ring(&self) {
        self.handed.fetch_add(1, Ordering::Release);
        if self.rung.raise() {
            self.list.lock().expect("nobody panics").push_back(7);
        }
    }

    /// What the session's thread sees once it was on the list.
    fn look(&self) -> Option<u32> {
        self.list.lock().expect("nobody panics").pop_front()?;
        self.rung.take();
        Some(self.handed.load(Ordering::Acquire))
    }
}

#[test]
fn what_is_handed_over_with_a_ring_is_always_found() {
    model(|| {
        let bell = Arc::new(Bell {
            rung: Flag::down(),
            list: Mutex::new(VecDeque::new()),
            handed: AtomicU32::new(0),
        });
        let caller = {
            let bell = Arc::clone(&bell);
            thread::spawn(move || (0..2).for_each(|_| bell.hand_over_and_ring()))
        };
        let early = bell.look();
        caller.join().expect("nobody panics");
        let late = std::iter::from_fn(|| bell.look()).last();
        assert_eq!(late.or(early), Some(2), "the last look sees all");
    });
}

#[test]
fn what_was_missed_for_want_of_room_is_looked_for() {
    model(|| {
        // A box that is full: all a sender can do is raise the flag.
        let (missed, answers) = (Arc::new(Flag::down()), Arc::new(AtomicU32::new(0)));
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let (missed, answers) = (Arc::clone(&missed), Arc::clone(&answers));
                thread::spawn(move || {
                    answers.fetch_add(1, Ordering::Relaxed);
                    missed.raise();
                })
            })
            .collect();
        let mut seen = 0;
        if missed.take() {
            seen = answers.load(Ordering::Relaxed);
            assert!(seen > 0, "what was done before the flag went up is seen");
        }
        senders.into_iter().for_each(|sender| sender.join().expect("nobody panics"));
        if missed.take() {
            seen = answers.load(Ordering::Relaxed);
        }
        assert_eq!(seen, 2);
    });
}

/// A media thread that naps once and then waits for its sockets, as `media/post.rs` has it. The letter is seen at the
/// latest after the second wait, so that a wake-up that went to the wrong place is a thread that waits for ever.
#[test]
fn a_letter_wakes_its_thread_wherever_that_waits() {
    model(|| {
        let nap = Arc::new(Nap::over());
        let letter = Arc::new(AtomicBool::new(false));
        let sockets = Arc::new(Notify::new());
        let sleeper = {
            let (nap, letter, sockets) = (Arc::clone(&nap), Arc::clone(&letter), Arc::clone(&sockets));
            thread::spawn(move || {
                nap.begin();
                if !letter.load(Ordering::Relaxed) {
                    // The real one wakes by itself; here, only by the sender, or at once.
                    thread::yield_now();
                }
                nap.end();
                if !letter.load(Ordering::Relaxed) {
                    sockets.wait();
                    assert!(letter.load(Ordering::Relaxed), "woken for a letter");
                }
            })
        };
        letter.store(true, Ordering::Relaxed);
        if nap.is_seen() {
            sleeper.thread().unpark();
        } else {
            sockets.notify();
        }
        sleeper.join().expect("nobody panics");
    });
}

/// The same thread, where the nap has no end of its own.
#[test]
fn a_letter_ends_a_nap() {
    model(|| {
        let (nap, letter) = (Arc::new(Nap::over()), Arc::new(AtomicBool::new(false)));
        let sleeper = {
            let (nap, letter) = (Arc::clone(&nap), Arc::clone(&letter));
            thread::spawn(move || {
                nap.begin();
                if !letter.load(Ordering::Relaxed) {
                    thread::park();
                }
                nap.end();
            })
        };
        letter.store(true, Ordering::Relaxed);
        // Where the nap is not seen, the sleeper has seen the letter, or will before it sleeps.
        if nap.is_seen() {
            sleeper.thread().unpark();
        }
        sleeper.join().expect("nobody panics");
    });
}
