//! A call as the records know it: what it is, what a carrier says about it, and which of that counts.

use std::sync::Arc;

use offhook_engine::CallId;
use offhook_engine::call::{By, Speaker};

use super::phone::E164;
use super::time::UnixMs;

/// A call that was announced by a carrier, and has no media yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Our name for it.
    pub call: CallId,
    /// Who carries it: `twilio`.
    pub carrier: &'static str,
    /// The carrier's name for it.
    pub carrier_call_id: String,
    /// The caller's number, as the carrier wrote it; empty if unknown.
    pub from: String,
    /// The number that was called; empty if unknown.
    pub to: String,
    /// As the carrier says: `inbound`.
    pub direction: String,
    /// What the agent goes through.
    pub scenario: String,
    /// The line that it came in on, if it is somebody's. In a box, as most calls are on none, and thousands of writes may wait.
    pub on_line: Option<Box<OnLine>>,
    /// The address of the user whose it is if it is on nobody's line.
    pub owner_email: Option<Arc<str>>,
    /// When.
    pub at: UnixMs,
}

/// The line that a call came in on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnLine {
    /// Its id.
    pub line: String,
    /// Who calls; none if the number was withheld.
    pub caller: Option<E164>,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallStatus {
    /// A webhook told of it; no media yet.
    Announced,
    /// Its media flows.
    InProgress,
    /// It took place and is over.
    Completed,
    /// The other end was busy.
    Busy,
    /// It could not be connected, or broke.
    Failed,
    /// Nobody answered.
    NoAnswer,
    /// It was given up before it was answered.
    Canceled,
}

impl CallStatus {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Announced,
        Self::InProgress,
        Self::Completed,
        Self::Busy,
        Self::Failed,
        Self::NoAnswer,
        Self::Canceled,
    ];

    /// As it stands in records and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::InProgress => "in-progress",
            Self::Completed => "completed",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::NoAnswer => "no-answer",
            Self::Canceled => "canceled",
        }
    }

    /// The reverse of [`CallStatus::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// True if nothing follows it.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Announced | Self::InProgress)
    }
}

/// Where a call stands in a carrier's eyes. Carriers may add words; an unknown one is kept, and is not terminal.
///
/// The words are Twilio's "Call resource" statuses, and `initiated` of its status callback.
pub fn terminal_carrier_status(word: &str) -> Option<CallStatus> {
    CallStatus::from_text(word).filter(|status| status.is_terminal())
}

/// One status callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReport {
    /// The carrier's name for the call.
    pub carrier_call_id: String,
    /// The carrier's word.
    pub status: String,
    /// Its place among the call's callbacks, from 0, where the carrier counts them.
    pub sequence: Option<u32>,
    /// How long the call lasted, in seconds, where told.
    pub duration_s: Option<u32>,
    /// When it came in.
    pub at: UnixMs,
}

/// True if a report tells something new, given the last one that counted.
///
/// Callbacks are HTTP requests of their own: they repeat, and overtake one another. So a number that is not higher than
/// the last says nothing new, and without a number nothing follows a terminal word.
pub fn report_counts(last_status: &str, last_sequence: Option<u32>, report: &StatusReport) -> bool {
    if terminal_carrier_status(last_status).is_some() {
        return false;
    }
    match (last_sequence, report.sequence) {
        (Some(last), Some(new)) => new > last || terminal_carrier_status(&report.status).is_some(),
        _ => true,
    }
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    /// No call of that name is known.
    UnknownCall,
    /// A repetition, or too late to count.
    Ignored(CallId),
    /// It was written down.
    Recorded(CallId),
    /// It was written down, and it ended a call whose media never came.
    Ended(CallId),
}

impl ReportOutcome {
    /// The call that the report was about, if it is known.
    pub fn call(&self) -> Option<&CallId> {
        match self {
            Self::UnknownCall => None,
            Self::Ignored(call) | Self::Recorded(call) | Self::Ended(call) => Some(call),
        }
    }

    /// In a word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::UnknownCall => "unknown-call",
            Self::Ignored(_) => "ignored",
            Self::Recorded(_) => "recorded",
            Self::Ended(_) => "ended",
        }
    }
}

/// A call's record.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// Our name for it.
    pub call: CallId,
    /// Who carries it.
    pub carrier: String,
    /// The carrier's name for it.
    pub carrier_call_id: String,
    /// The carrier's name for its media stream, once there is one.
    pub stream_id: Option<String>,
    /// The caller's number; empty if unknown.
    pub from: String,
    /// The number that was called; empty if unknown.
    pub to: String,
    /// As the carrier says.
    pub direction: String,
    /// What the agent goes through.
    pub scenario: String,
    /// Where it stands.
    pub status: CallStatus,
    /// The carrier's last word on it.
    pub carrier_status: Option<String>,
    /// How long it lasted by the carrier's count, in seconds.
    pub carrier_duration_s: Option<u32>,
    /// When the carrier told of it.
    pub announced: UnixMs,
    /// When its media came.
    pub answered: Option<UnixMs>,
    /// When it was over.
    pub ended: Option<UnixMs>,
    /// Why it was over: an [`EndReason`](offhook_engine::call::EndReason), or `no-media`.
    pub end_reason: Option<String>,
    /// From the answer to the end, in ms.
    pub duration_ms: Option<u64>,
    /// The recording's file, under the data folder.
    pub recording: Option<String>,
    /// The journal's file, under the data folder.
    pub journal: Option<String>,
    /// How many entries of its timeline could not be kept.
    pub lost_entries: u64,
    /// What else was lost, one sentence per line.
    pub loss_notes: String,
}

/// The end reason of a call whose media never came.
pub const NO_MEDIA: &str = "no-media";

/// One thing said on a call.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnRecord {
    /// Its number.
    pub turn: u32,
    /// Who.
    pub speaker: Speaker,
    /// From the answer to its beginning, in ms.
    pub started_ms: u64,
    /// From the answer to its end, in ms.
    pub ended_ms: u64,
    /// What was said; of the agent, what was heard of it.
    pub text: String,
    /// What the agent would have said, where it was cut off.
    pub unheard: String,
    /// By voice or by keys.
    pub by: By,
    /// From the caller's last speech to the agent's first audio, in ms.
    pub response_ms: Option<u32>,
}

/// A call with all that was said and written down on it.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeCall {
    /// Its record.
    pub record: CallRecord,
    /// What was said, in order.
    pub turns: Vec<TurnRecord>,
    /// What the agent wrote down: name and value, in the order of first writing.
    pub answers: Vec<(String, String)>,
}

/// What became of the calls of some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// How many were announced.
    pub announced: u64,
    /// How many of them are over.
    pub finished: u64,
    /// How many of those took place and ended as they should.
    pub completed: u64,
    /// How long those lasted that were answered and are over, in ms; none if there are none.
    pub duration_ms_average: Option<f64>,
}

/// One entry of a timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct TimelineEntry {
    /// Its place among all entries, ascending; where to go on from.
    pub place: i64,
    /// When, in µs from the answer.
    pub at_us: u64,
    /// What: the event's name, `speech_started`.
    pub kind: String,
    /// Its numbers and texts, a JSON object.
    pub data: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(status: &str, sequence: Option<u32>) -> StatusReport {
        StatusReport {
            carrier_call_id: "CA1".into(),
            status: status.into(),
            sequence,
            duration_s: None,
            at: UnixMs(0),
        }
    }

    #[test]
    fn statuses_survive_the_way_to_text_and_back() {
        for status in [CallStatus::Announced, CallStatus::NoAnswer, CallStatus::Canceled] {
            assert_eq!(CallStatus::from_text(status.as_str()), Some(status));
        }
        assert_eq!(CallStatus::from_text("gone"), None);
    }

    #[test]
    fn a_repeated_or_overtaken_report_does_not_count() {
        assert!(report_counts("", None, &report("ringing", Some(0))));
        assert!(!report_counts("ringing", Some(0), &report("ringing", Some(0))));
        assert!(!report_counts("in-progress", Some(2), &report("ringing", Some(1))));
        assert!(report_counts("in-progress", Some(2), &report("completed", Some(3))));
    }

    #[test]
    fn nothing_follows_a_terminal_word() {
        assert!(!report_counts("completed", Some(3), &report("in-progress", Some(2))));
        assert!(!report_counts("completed", Some(3), &report("in-progress", Some(9))));
        assert!(!report_counts("completed", None, &report("ringing", None)));
    }

    #[test]
    fn a_terminal_word_counts_even_with_a_low_number() {
        assert!(report_counts("in-progress", Some(2), &report("completed", Some(1))));
    }
}
