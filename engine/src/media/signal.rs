//! What threads leave for each other to find, without a lock: a flag that is raised and taken, and a nap that is seen.
//!
//! These few lines are where a lost wake-up could hide, so they stand apart and name no atomics of their own: the parent
//! module says which. Calls run them on the standard library's; a test runs the same text on loom's, in every order that
//! the memory model allows.

use super::atomics::{AtomicBool, Ordering, fence};

/// Raised by many, taken by one. What was done before a raising is seen by whoever takes it.
#[derive(Debug)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn down() -> Self {
        Self(AtomicBool::new(false))
    }

    /// True if it was down: who gets that has to tell of it.
    pub(crate) fn raise(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Takes it down. True if it was up. What is done after this and raises it again is not lost.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// Whether a thread sleeps in a place where its usual waker would not wake it.
#[derive(Debug)]
pub(crate) struct Nap(AtomicBool);

impl Nap {
    pub(crate) fn over() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Said by the sleeper before it looks for letters a last time: either it sees the letter, or the sender the nap.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Said by the sleeper before it looks for letters again: either it sees the letter, or the sender the end of the nap.
    pub(crate) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Asked by a sender once its letter is in the box: true if the sleeper has to be woken from its nap.
    pub(crate) fn is_seen(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed)
    }
}
