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

/// What is reported of a call that somebody else's server has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallReport {
    /// The reporter's name for it.
    pub id: String,
    /// How far it is.
    pub stage: Stage,
    /// The name of what answers.
    pub agent: Option<String>,
    /// The id of what answers, which may be one of the owner's assistants here.
    pub assistant: Option<String>,
    /// Who is talked with: E.164 where it is one.
    pub customer_phone: Option<String>,
    /// Likewise.
    pub customer_name: Option<String>,
    /// When it began.
    pub started: Option<UnixMs>,
    /// When it was over.
    pub ended: Option<UnixMs>,
    /// How long the two talked, in seconds, where that is told apart.
    pub duration_s: Option<u32>,
    /// Why it ended.
    pub ended_reason: Option<String>,
    /// What it was about.
    pub summary: Option<String>,
    /// A URL.
    pub recording: Option<String>,
    /// All that is known only once it is over; none before.
    pub outcome: Option<Outcome>,
}

/// How far a reported call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It is to be, or rings.
    #[default]
    Ringing,
    /// The two talk.
    InProgress,
    /// It is over.
    Ended,
}

/// What is reported of a call at its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What is worth knowing beside the rest.
    pub details: Map<String, Value>,
    /// What the agent was to find out.
    pub structured_outputs: Map<String, Value>,
    /// What was said.
    pub transcript: Vec<Value>,
}

/// When a reported call began and ended, and for how many seconds the two talked, as far as that can be believed: not before
/// this century, not after tomorrow, in this order, and for a day at most. `at`: when it was told.
pub fn believable_times(report: &CallReport, at: UnixMs) -> (UnixMs, Option<UnixMs>, u32) {
    const CENTURY: i64 = 946_684_800_000;
    let is_sound = |moment: &UnixMs| (CENTURY..=at.0 + RUNNING_MS_MAX).contains(&moment.0);
    let seconds_max = (RUNNING_MS_MAX / 1_000) as u32;
    let told = report.duration_s.map(|seconds| seconds.min(seconds_max));
    let started = report.started.filter(is_sound);
    if report.stage != Stage::Ended {
        return (started.unwrap_or(at), None, 0);
    }
    let ended = report.ended.filter(is_sound);
    let length_ms = told.map_or(0, |seconds| i64::from(seconds) * 1_000);
    let (started, ended) = match (started, ended) {
        (Some(started), Some(ended)) => (started, ended),
        (Some(started), None) => (started, UnixMs(started.0 + length_ms)),
        (None, ended) => {
            let ended = ended.unwrap_or(at);
            (UnixMs(ended.0 - length_ms), ended)
        }
    };
    let ended = UnixMs(ended.0.clamp(started.0, started.0 + RUNNING_MS_MAX));
    (started, Some(ended), told.unwrap_or(((ended.0 - started.0) / 1_000) as u32))
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
    fn times_that_cannot_be_are_not_believed() {
        let now = UnixMs(1_770_000_000_000);
        let report = |started: Option<i64>, ended: Option<i64>, duration_s| CallReport {
            stage: Stage::Ended,
            started: started.map(UnixMs),
            ended: ended.map(UnixMs),
            duration_s,
            ..CallReport::default()
        };
        let (noon, minute) = (1_769_900_000_000, 60_000);
        let day = RUNNING_MS_MAX;
        for (started, ended, duration_s, expected) in [
            (Some(noon), Some(noon + minute + 999), None, (noon, noon + minute + 999, 60)),
            (Some(noon), Some(noon + minute), Some(50), (noon, noon + minute, 50)),
            (Some(noon), None, Some(60), (noon, noon + minute, 60)),
            (None, Some(noon), Some(60), (noon - minute, noon, 60)),
            (None, None, Some(60), (now.0 - minute, now.0, 60)),
            (None, None, None, (now.0, now.0, 0)),
            (Some(noon), Some(noon - 1), None, (noon, noon, 0)),
            (Some(7), Some(noon), None, (noon, noon, 0)),
            (Some(noon), Some(i64::MAX), None, (noon, noon, 0)),
            (Some(i64::MIN), Some(i64::MIN), Some(u32::MAX), (now.0 - day, now.0, 86_400)),
            (Some(noon - 30 * day), Some(noon), None, (noon - 30 * day, noon - 29 * day, 86_400)),
        ] {
            let (started, ended, seconds) = believable_times(&report(started, ended, duration_s), now);
            assert_eq!((started.0, ended.unwrap().0, seconds), expected);
        }
        let rings = CallReport { started: Some(UnixMs(noon)), duration_s: Some(9), ..CallReport::default() };
        assert_eq!(believable_times(&rings, now), (UnixMs(noon), None, 0));
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
