//! What was said on a line's calls, and the calls that run.

use offhook_engine::CallId;

use super::call::TurnRecord;
use super::time::UnixMs;

/// A call on a line, with what was said so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    /// The call.
    pub call: CallId,
    /// The line's id.
    pub line: String,
    /// The caller's, as the line's contact.
    pub contact: Option<String>,
    /// When it was answered.
    pub answered: UnixMs,
    /// From the answer to the end, in ms; none while it runs.
    pub duration_ms: Option<u64>,
    /// What was said, in order.
    pub turns: Vec<TurnRecord>,
}

/// A call on a line that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveCall {
    /// The call.
    pub call: CallId,
    /// The line's id.
    pub line: String,
    /// The line's name.
    pub line_name: String,
    /// Whose line it is.
    pub owner: String,
    /// The caller's number; empty if it was withheld.
    pub from: String,
    /// When it was answered.
    pub answered: UnixMs,
}

/// Calls that were taken out of the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// All of them.
    pub calls: Vec<CallId>,
}
