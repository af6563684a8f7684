//! The whole-process load: a floor, a server, and the callers that talk to either.
//!
//! ```text
//! core of the servers                 core of the load
//! floor  or  offhook serve  ◄──────►  generator: callers at random phases of the 20 ms
//! ```
//!
//! Floor and server run in turn, each alone on its core with all of its threads, under the same callers. What is
//! reported of them is a ratio, which outlives the machine that it was taken on.

mod caller;
mod connect;
pub mod floor;
mod frames;
mod frozen_disk;
mod generator;
mod process;
pub mod requests;
mod stats;
mod trouble;

pub use caller::{Audio, SILENCE, hiss};
pub use connect::Target;
pub use frozen_disk::FrozenDisk;
pub use generator::{Heard, Load, run};
pub use process::{Lateness, Server, pinned, status_bytes};
pub use stats::Times;
pub use trouble::Trouble;

/// What went wrong, for whoever reads the terminal.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
