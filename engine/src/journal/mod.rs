//! The journal of a call: all that went in and came out, with its time, kept off the media thread.
//!
//! ```text
//! media thread                      thread journal-writer
//! Appender ── chunk, about 1/s ──►  Writer ─► <call id>.journal
//!    ▲                                 │ ├──► <call id>.wav
//!    └────────── empty chunks ─────────┘ └──► CallSink
//! ```
//!
//! [`Appender`] is the media thread's end: it encodes records into a chunk and never waits. [`Writer`] does the rest, and is
//! where events, recordings and the end of a call come from, so that these agree with the journal by construction.
//! [`read()`] gives a journal back, broken ones as far as they go; [`replay()`] runs its call again and compares;
//! [`what_if()`] runs it with other settings.

mod append;
mod format;
mod read;
mod recording;
mod replay;
#[cfg(test)]
mod tape;
mod what_if;
mod write;

pub use append::Appender;
pub use format::Header;
pub use read::{Journal, JournalError, read};
pub use replay::{Replay, Verdict, replay};
#[cfg(test)]
pub(crate) use tape::Tape;
pub use what_if::{Side, Sided, WhatIf, what_if};
pub use write::Writer;
