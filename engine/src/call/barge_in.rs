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
//! Why from a word, and not from the very sample at which it stopped? Nobody understands the second half of a word, and the
//! pause between makes a new beginning of it anyway. So that this beginning does not click, its first 8 ms rise from silence.
//!
//! "Mm-hm" and "yeah" are words, but as a rule say "go on". Alone, while the agent has a while yet to speak, they do not take
//! the floor. Near the end of its turn they do: there they answer what it asked.
//!
//! Goodbye is not interrupted: there is no one left to answer.

use super::decision::{Decision, Reason, Rule};
use super::settings::CallSettings;

/// True if these words, of which there are some, all say no more than "go on".
pub(super) fn is_back_channel(text: &str, settings: &CallSettings) -> bool {
    let known = |word: &str| {
        letters(word).next().is_none()
            || settings.back_channels.iter().any(|one| letters(one).eq(letters(word)))
    };
    text.chars().any(char::is_alphabetic) && text.split_whitespace().all(known)
}

/// The letters of a word, small: recognisers write "mm-hm", "Mm-hm.", "mmhm" as they like.
fn letters(word: &str) -> impl Iterator<Item = char> + '_ {
    word.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_lowercase)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_that_say_go_on_and_nothing_else_are_back_channels() {
        let settings = CallSettings::default();
        for text in ["mm-hm", "Mm hm.", "yeah yeah", "Okay,", "uh huh"] {
            assert!(is_back_channel(text, &settings), "{text}");
        }
        for text in ["", "...", "yes", "no", "yeah but", "two hundred"] {
            assert!(!is_back_channel(text, &settings), "{text}");
        }
    }

    #[test]
    fn without_a_list_every_word_takes_the_floor() {
        let settings = CallSettings { back_channels: [].into(), ..CallSettings::default() };
        assert!(!is_back_channel("mm-hm", &settings));
    }
}
