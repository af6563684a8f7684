//! From caller speech, while the agent speaks, to `clear`; and what makes it a cough.
//!
//! Energy alone trips on coughs and doors; words alone come late, since a recogniser needs some 300 ms of speech to
//! name one. So it is done in two steps. Speech that lasts for `barge_in_ms` (120 ms by default, of which five in six
//! frames voiced) stops playout and clears the carrier's buffer at once: the caller never has to talk against us. The
//! rest of the agent's turn is kept. Then the words decide: if any follow, the turn is the caller's and the rest is
//! dropped; if none follow within `resume_after_ms` of silence, it was a cough, and the agent goes on from the first
//! word that was not wholly heard. The price: a cough costs a pause of its own length plus `resume_after_ms`. Speech of
//! over `cough_ms_max` without words was somebody saying something that we did not understand, and gets an answer.
//!
//! Goodbye is not interrupted: there is no one left to answer.

use super::decision::{Decision, Reason, Rule};
use super::settings::CallSettings;

/// How an interruption ends once the recogniser has spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) decision: Decision,
    pub(super) rule: Rule,
    /// The rule that would have decided otherwise.
    pub(super) other: Rule,
}

/// Judges an interruption of `speech_ms` after which the recogniser gave words or none.
pub(super) fn judge(has_words: bool, speech_ms: u32, settings: &CallSettings) -> Verdict {
    let cough = Rule::new(Reason::NoWordsFollowed, speech_ms, settings.cough_ms_max);
    let speech = Rule::new(Reason::LongSpeech, speech_ms, settings.cough_ms_max);
    if has_words {
        Verdict { decision: Decision::Yield, rule: Rule::fact(Reason::WordsFollowed), other: cough }
    } else if speech.holds() {
        Verdict { decision: Decision::Yield, rule: speech, other: cough }
    } else {
        Verdict { decision: Decision::Resume, rule: cough, other: speech }
    }
}
