//! The media threads: each owns many calls whole, reads their sockets, runs their graphs, writes their sockets.
//!
//! ```text
//! hand-over, commands ─► inbox ─┐
//!                               ▼
//! sockets ◄──────────────► MediaThread ◄──── rings ────► speech threads
//!                               │
//!                               └─► journal chunks ─► journal-writer
//! ```
//!
//! No call ever moves between threads, and no other thread touches it. Per frame there is no hop, no lock, no log and
//! no system call but the socket's.

mod clock;
mod meter;
mod post;
mod seat;
mod signal;
#[cfg(test)]
mod signals_in_every_order;
mod thread;

/// What signals between threads are made of.
mod atomics {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};
}

/// Now, for who reads a media thread's numbers from outside.
pub(crate) fn now() -> std::time::Instant {
    clock::now()
}

#[cfg(test)]
pub(crate) use post::OwnedCommand;
pub(crate) use post::Post;
pub(crate) use seat::{NewSeat, Seat};
pub(crate) use signal::Flag;
pub(crate) use thread::MediaThread;
