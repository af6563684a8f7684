//! What lines have to spend, and what calls cost: seconds, for seconds.

use offhook_engine::CallId;

/// Seconds that somebody paid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Who tells of it: `stripe`.
    pub sender: &'static str,
    /// The sender's name for the message.
    pub event: String,
    /// The sender's name for what was paid: credited once, however many messages tell of it.
    pub object: String,
    /// Whose line.
    pub line: String,
    /// How many.
    pub seconds: u32,
}

/// What came of a credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credited {
    /// The line has it.
    Done,
    /// It was told before.
    Repeated,
    /// There is no such line.
    UnknownLine,
}

/// How long a call has lasted, to be charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// The call.
    pub call: CallId,
    /// Whole seconds since its answer.
    pub seconds: u32,
}

/// What a line has left after a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The call that was charged.
    pub call: CallId,
    /// Seconds; none if the call is on no line any more.
    pub seconds: Option<u64>,
}

/// Seconds that a call of such a length costs: each one that began.
pub fn seconds_of(duration_ms: u64) -> u32 {
    u32::try_from(duration_ms.div_ceil(1_000)).unwrap_or(u32::MAX)
}
