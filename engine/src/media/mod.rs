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
mod post;
mod seat;
mod thread;

#[cfg(test)]
pub(crate) use post::OwnedCommand;
pub(crate) use post::{Load, Post};
pub(crate) use seat::{NewSeat, Seat};
pub(crate) use thread::MediaThread;
