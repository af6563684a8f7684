//! What the engine measures of itself while it runs: how late frames leave, how busy its threads are, where the response
//! time goes, and what went wrong how often.
//!
//! ```text
//! media thread ── stores, one writer ─────► its own numbers: lateness, load ─┐
//! journal-writer ── reads every event ────► Counts: stages, decisions, faults ├─► Engine::measures()
//! speech threads ── rare, atomic adds ────► Counts                           ─┘
//! ```
//!
//! Measuring never disturbs what is measured: a media thread stores into atomics that it alone writes (no lock, no
//! allocation, no system call, two clock readings per wake-up), and whoever reads does so without its knowledge. What a
//! call tells anyway, as an event, is counted off the media thread by the journal's writer.

mod counts;
mod histogram;

use std::time::Duration;

pub(crate) use counts::{CallTotals, bump};
pub use counts::{Counted, Counts};
pub(crate) use histogram::add;
pub use histogram::{BOUNDS_US, Distribution, Histogram};

/// One media thread, as it stood at one moment. Counts run from the engine's start.
///
/// **Frame lateness** is the one number that says whether media is on time. Each call that a wake-up of the thread
/// served gives one sample: from the moment at which the work *could* have been done to the moment at which all that
/// followed from it was handed to the kernel. It could have been done
///
/// - since the thread woke, at the latest;
/// - since the thread looked at its sockets the last time, if it did not have to wait: they may have been ready ever since;
/// - since the earliest deadline that was due. The thread gives itself one each 10 ms while it has calls, so that it
///   notices when it was kept from running, though its sockets cannot tell it.
///
/// So lateness is never understated by more than those 10 ms, nor overstated by more than one round. It includes up to
/// 1 ms by which epoll, which counts whole milliseconds, wakes after a deadline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MediaThreadMeasures {
    /// The thread's name: `media-0`.
    pub name: String,
    /// Calls that it owns now.
    pub calls: usize,
    /// Audio messages from callers.
    pub frames_in: u64,
    /// Audio messages to callers.
    pub frames_out: u64,
    /// How often it woke.
    pub wake_ups: u64,
    /// How long it worked, all rounds together: its share of the time that passed is the thread's load.
    pub busy: Duration,
    /// How late frames were: see above.
    pub lateness: Distribution,
    /// How often a wake-up's audio did not all fit into a carrier's socket: that carrier reads too slowly.
    pub sends_held_up: u64,
    /// How often the ring to a recogniser had no room for caller audio.
    pub speech_overflows: u64,
    /// Caller audio for which the ring to a recogniser had no room: bytes of 8 kHz µ-law, 8 per ms.
    pub speech_dropped_bytes: u64,
    /// How often answers could not be announced, since the thread's inbox was full. They were fetched all the same.
    pub answers_unannounced: u64,
    /// Sockets that could not be watched: their calls were ended.
    pub sockets_unwatched: u64,
}

/// The media threads over the last seconds, for who decides whether another call can be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lateness {
    /// 99 of 100 frames were no later than this, on the worst thread, over the last two to four seconds; a thread that is
    /// late at this very moment counts with how late it is. As precise as [`BOUNDS_US`], rounded up.
    pub p99: Duration,
    /// How much of that time the busiest thread worked, from 0 to 1.
    pub busy: f64,
}

/// All that an engine measures, as it stood at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// One by one.
    pub media_threads: Vec<MediaThreadMeasures>,
    /// What happened on all calls together.
    pub counted: Counted,
    /// How far journals and recordings are behind: 0 if they are written as they come, 1 if no more can wait, so that records
    /// are about to be lost.
    pub record_backlog: f64,
}
