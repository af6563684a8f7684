//! Calls as their owner sees them: those of this server, and those that were reported to it from outside, as one.

use offhook_engine::call::EndReason;
use serde_json::{Map, Value};

use super::call::{CallStatus, NO_MEDIA};
use super::time::UnixMs;

/// What stands for the number of who withholds it.
pub const WITHHELD: &str = "anonymous";

/// The longest that a call counts as running, in ms: a day. Beyond that nobody told of its end.
pub const RUNNING_MS_MAX: i64 = 86_400_000;

/// An owned call that is over, with all that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedCall {
    /// Its id in `account_calls`.
    pub id: String,
    /// What it is called in answers: the reporter's name for it, or ours.
    pub name: String,
    /// Whose: a user's id.
    pub owner: String,
    /// E.164 where it is one; none if it was withheld.
    pub customer_phone: Option<String>,
    /// Who called, if anybody knows.
    pub customer_name: Option<String>,
    /// What answered.
    pub assistant_name: String,
    /// When it began.
    pub started: UnixMs,
    /// When it was over.
    pub ended: UnixMs,
    /// From the answer to the end, in seconds.
    pub duration_s: u32,
    /// `customer-ended-call`, …
    pub ended_reason: String,
    /// What it was about.
    pub summary: Option<String>,
    /// What else is known of it.
    pub details: Map<String, Value>,
    /// What the agent wrote down.
    pub structured_outputs: Map<String, Value>,
    /// What was said: objects with `role`, `message` and `time` (seconds from the answer) where this server had the call.
    pub transcript: Vec<Value>,
    /// Where its recording is.
    pub recording: Option<Recording>,
}

/// Where a recording is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recording {
    /// Somewhere else.
    Url(String),
    /// Here: below the dashboard's base, to be asked for with a token.
    Path(String),
}

impl Recording {
    /// The recording of a call of this server's, by the call's id.
    pub fn of_call(call: &str) -> Self {
        Self::Path(format!("/v1/calls/{call}/recording"))
    }

    /// Its URL. `base`: the dashboard's, with its origin.
    pub fn url(&self, base: &str) -> String {
        match self {
            Self::Url(url) => url.clone(),
            Self::Path(path) => format!("{base}{path}"),
        }
    }
}

/// Why a call of this server ended, in the words that reports from outside have for it.
///
/// Vapi's list (its API description, read 2026-11) is open; what it has no word for follows its pattern of
/// `call.in-progress.error-…`.
pub fn ended_reason(reason: &str, status: CallStatus) -> String {
    let word = match (reason, status) {
        (NO_MEDIA, CallStatus::Busy) => "customer-busy",
        (NO_MEDIA, CallStatus::NoAnswer) => "customer-did-not-answer",
        (NO_MEDIA, CallStatus::Canceled) => "manually-canceled",
        (NO_MEDIA, _) => "twilio-failed-to-connect-call",
        (reason, _) if reason == EndReason::CallerHangup.as_str() => "customer-ended-call",
        (reason, _) if reason == EndReason::AgentHangup.as_str() => "assistant-ended-call",
        (reason, _) if reason == EndReason::Operator.as_str() => "manually-canceled",
        (reason, _) if reason.starts_with("refused: ") => "call.start.error-refused",
        (reason, _) => return format!("call.in-progress.error-{reason}"),
    };
    word.to_owned()
}

/// Whether the two talked on a call that was reported to have ended so.
pub fn was_answered(ended_reason: &str) -> bool {
    const MISSED: [&str; 5] = [
        "customer-busy",
        "customer-did-not-answer",
        "voicemail",
        "twilio-failed-to-connect-call",
        "vonage-failed-to-connect-call",
    ];
    !MISSED.contains(&ended_reason) && !ended_reason.starts_with("call.start.error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_the_words_of_reports() {
        for (reason, status, word) in [
            ("caller-hangup", CallStatus::Completed, "customer-ended-call"),
            ("agent-hangup", CallStatus::Completed, "assistant-ended-call"),
            ("operator", CallStatus::Completed, "manually-canceled"),
            ("engine-restarted", CallStatus::Failed, "call.in-progress.error-engine-restarted"),
            ("no-media", CallStatus::Busy, "customer-busy"),
            ("no-media", CallStatus::NoAnswer, "customer-did-not-answer"),
            ("no-media", CallStatus::Failed, "twilio-failed-to-connect-call"),
            ("refused: draining", CallStatus::Busy, "call.start.error-refused"),
        ] {
            assert_eq!(ended_reason(reason, status), word);
        }
    }

    #[test]
    fn who_was_busy_or_absent_was_missed() {
        for missed in ["customer-busy", "voicemail", "call.start.error-refused"] {
            assert!(!was_answered(missed), "{missed}");
        }
        for answered in ["customer-ended-call", "silence-timed-out", "something-new"] {
            assert!(was_answered(answered), "{answered}");
        }
    }

    #[test]
    fn a_recording_here_is_below_the_base() {
        let base = "https://voice.example.com/dashboard";
        assert_eq!(
            Recording::of_call("c1").url(base),
            "https://voice.example.com/dashboard/v1/calls/c1/recording"
        );
        assert_eq!(Recording::Url("https://elsewhere/x".into()).url(base), "https://elsewhere/x");
    }
}
