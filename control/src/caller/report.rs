//! What became of a call, in numbers.

use std::time::Duration;

use hdrhistogram::Histogram;
use offhook_codecs::g711;

use super::ear::HeardTurn;
use super::playout::{PlayoutCounts, SILENCE};
use super::script::Said;
use super::time::LineTime;

/// A call from the announcement to the hang-up, as the carrier and the caller saw it.
#[derive(Clone, Debug)]
pub struct CallReport {
    /// The carrier's name for the call: `CA` and 32 hex digits.
    pub call_sid: String,
    /// The carrier's name for the stream: `MZ` and 32 hex digits.
    pub stream_sid: String,
    /// Where the server wanted the audio.
    pub stream_url: String,
    /// From when the call was to be placed to the announcement: how late the caller itself was with it.
    pub announced_late: Duration,
    /// From the announcement to the server's complete answer to it.
    pub webhook_took: Duration,
    /// From there to the open media socket.
    pub socket_took: Duration,
    /// From the stream's beginning to its end.
    pub duration: Duration,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// The agent's turns, as heard.
    pub turns: Vec<HeardTurn>,
    /// How long the caller waited for each answer that did not come: until it spoke again, or the call was over. The true
    /// times are longer by an unknown amount.
    pub unanswered: Vec<Duration>,
    /// The caller's items, as said.
    pub said: Vec<Said>,
    /// How many of the script's items were not said.
    pub unsaid: usize,
    /// The caller's interruptions.
    pub barge_ins: Vec<BargeIn>,
    /// What the playout buffer counted.
    pub playout: PlayoutCounts,
    /// Frames of 20 ms that were sent.
    pub frames_sent: u64,
    /// Media messages that came.
    pub media_received: u64,
    /// Audio in them, in samples.
    pub samples_received: u64,
    /// How late the caller itself was with its frames. Its measurements are not better than this.
    pub lateness: Lateness,
    /// What the server did against the protocol: the first few, in words.
    pub faults: Vec<String>,
    /// How often it did.
    pub fault_count: u32,
    /// Every message, if the plan asked for it.
    pub log: Vec<LogEntry>,
    /// Messages that the log had no room for.
    pub log_dropped: u64,
    /// Both sides, if the plan asked for it.
    pub recording: Option<Recording>,
    /// Why the server could not be told of the call's end, if it could not.
    pub status_failed: Option<String>,
}

impl CallReport {
    /// From the end of the caller's speech to the agent's first audible sample, for each answer.
    pub fn response_times(&self) -> impl Iterator<Item = Duration> + '_ {
        self.turns.iter().filter_map(HeardTurn::response)
    }

    /// From when the call was to be placed to its open media stream.
    pub fn setup_took(&self) -> Duration {
        self.announced_late + self.webhook_took + self.socket_took
    }

    /// From the stream's beginning to the agent's first audible sample; none if the agent was not heard.
    pub fn first_audio(&self) -> Option<Duration> {
        self.turns.first().map(|turn| turn.from.as_duration())
    }

    /// True if the call went to its end as calls should: not lost, and not cut by its limit.
    pub fn is_complete(&self) -> bool {
        matches!(self.ended_by, EndedBy::Caller | EndedBy::Server)
    }
}

/// Who ended a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The caller, with the script at its end.
    Caller,
    /// The server, by closing the socket.
    Server,
    /// The caller, because the call was as long as the plan allows.
    MaxDuration,
    /// Whoever runs the caller, before the script was at its end.
    Stopped,
    /// Nobody: the connection broke, or the server stopped reading from it.
    Lost(String),
}

impl std::fmt::Display for EndedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Caller => f.write_str("the caller hung up"),
            Self::Server => f.write_str("the agent hung up"),
            Self::MaxDuration => f.write_str("the call reached its longest duration"),
            Self::Stopped => f.write_str("the call was stopped from outside"),
            Self::Lost(why) => write!(f, "the connection was lost: {why}"),
        }
    }
}

/// One interruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BargeIn {
    /// The caller's first voiced sample, or first key.
    pub from: LineTime,
    /// When the agent was silent; none if it spoke on to the end of the call.
    pub silent_at: Option<LineTime>,
    /// True if the server cleared what it had sent; false if it had no more to say, or ignored the caller.
    pub cleared: bool,
}

impl BargeIn {
    /// For how long the agent was heard over the caller.
    pub fn talked_over(&self) -> Option<Duration> {
        self.silent_at.map(|at| at - self.from)
    }
}

/// How late frames left, against the absolute clock that started with the stream.
///
/// A histogram of microseconds with two significant figures: a few KB however long the call, and nothing is allocated for
/// a frame that was no later than one before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lateness {
    us: Histogram<u32>,
}

impl Lateness {
    /// One frame was this late.
    pub fn record(&mut self, late: Duration) {
        let us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX).min(LATENESS_MAX_US);
        self.us.record(us).expect("the histogram grows with its values");
    }

    /// No more than this for `share` (0 to 1) of the frames; zero if there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        if self.us.is_empty() {
            return Duration::ZERO;
        }
        Duration::from_micros(self.us.value_at_quantile(share.clamp(0.0, 1.0)).min(self.us.max()))
    }

    /// The latest.
    pub fn max(&self) -> Duration {
        self.quantile(1.0)
    }

    /// How many frames there were.
    pub fn frames(&self) -> u64 {
        self.us.len()
    }

    /// Microseconds.
    pub fn histogram(&self) -> &Histogram<u32> {
        &self.us
    }
}

impl Default for Lateness {
    fn default() -> Self {
        let mut us = Histogram::new(2).expect("two figures are possible");
        us.auto(true);
        Self { us }
    }
}

/// No frame counts as later than this: an hour.
const LATENESS_MAX_US: u64 = 3_600_000_000;

/// One message on the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When it came or was handed to the socket.
    pub at: LineTime,
    /// What it was.
    pub message: LogMessage,
}

/// What a message was. Frames of the caller's audio are not logged: they leave every 20 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogMessage {
    /// Audio came.
    Media {
        /// How much, in samples.
        samples: usize,
    },
    /// A mark came.
    Mark {
        /// Its name.
        name: String,
    },
    /// A clear came.
    Clear {
        /// How much it dropped, in samples.
        dropped_samples: u64,
    },
    /// A mark was sent back.
    Echo {
        /// Its name.
        name: String,
        /// True if a clear sent it back.
        cleared: bool,
    },
    /// A key was sent.
    Key {
        /// Which.
        digit: char,
    },
}

/// What both sides heard, sample by sample from the beginning of the stream to its end, as 8 kHz µ-law.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// What the caller said.
    pub caller: Vec<u8>,
    /// What the caller heard: played, and cut where the server cleared.
    pub agent: Vec<u8>,
}

impl Recording {
    /// Makes both sides exactly as long as the call.
    pub(super) fn fit(&mut self, end: LineTime) {
        let length = usize::try_from(end.samples()).unwrap_or(usize::MAX);
        self.caller.resize(length, SILENCE);
        self.agent.resize(length, SILENCE);
    }

    /// Left (caller) and right (agent) in turn, at 8 kHz.
    pub fn interleaved(&self) -> Vec<i16> {
        let pairs = self.caller.iter().zip(&self.agent);
        pairs.flat_map(|(&left, &right)| [g711::ulaw_to_linear(left), g711::ulaw_to_linear(right)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_known_to_a_hundredth() {
        let mut lateness = Lateness::default();
        for ms in 1..=100 {
            lateness.record(Duration::from_millis(ms));
        }
        for (share, ms) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)] {
            let got = lateness.quantile(share).as_secs_f64() * 1_000.0;
            assert!((got / ms - 1.0).abs() < 0.01, "{share}: {got} ms");
        }
        assert_eq!(lateness.frames(), 100);
        assert_eq!(Lateness::default().max(), Duration::ZERO);
        lateness.record(Duration::MAX);
        assert!(lateness.max() > Duration::from_secs(3_000));
    }

    #[test]
    fn a_recording_has_the_caller_left_and_the_agent_right() {
        let mut recording = Recording { caller: vec![0x80], agent: vec![0x00; 5] };
        recording.fit(LineTime::from_samples(2));
        assert_eq!(recording.interleaved(), [32_124, -32_124, 0, -32_124]);
    }
}
