//! How long a silence ends the caller's turn.
//!
//! A short wait answers quickly and cuts off who hesitates; a long one does the reverse. `min_silence_ms` (700 ms) is what a
//! caller gets of whom nothing is known: nobody waits longer, unless there is a reason to.
//!
//! - **The words so far seem unfinished**: "my number is", "two hundred and". What such words end is never a turn, so that
//!   the wait is the longest there is, `max_silence_ms`.
//! - **This caller makes long pauses.** The pauses after which they went on are kept, also those that were taken for the
//!   end by mistake; from the second on, half as much again as their median is waited.
//! - **Keys are being typed**: what is said or coughed meanwhile is no answer before the keys are.
//!
//! The corpus of turn-taking (`engine/tests/turn_taking`) justifies the defaults: of its hesitations of up to 1.1 s after
//! unfinished words none is cut off, where a fixed 700 ms cut off 10 of 18, and turns that are finished end no later.

use super::decision::Reason;
use super::receive::FRAME_MS;
use super::settings::{CallSettings, ms};
use super::time::CallTime;

/// A silence within speech is a pause from this length on, and not the gap between two words.
const PAUSE_MS_MIN: u32 = 240;
/// After a pause the caller has gone on once they have spoken for this long: a breath is nothing.
const GOES_ON_MS: u32 = 100;
/// Pauses that are remembered.
const PAUSES: usize = 7;
/// So many make a habit.
const HABIT: usize = 2;

/// A silence that ends a turn, and what made it so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) reason: Reason,
    pub(super) ms: u32,
}

/// The pauses of one caller.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// The newest, in ms, in a ring.
    newest: [u16; PAUSES],
    noted: usize,
    silence_ms: u32,
    /// A pause that counts if the caller goes on.
    pending_ms: u32,
    speech_ms: u32,
    /// When the last speech of the turn before came.
    ended: Option<CallTime>,
}

impl Pauses {
    /// A turn begins at `now`. If it comes so soon after the last one, that one was not over.
    pub(super) fn begin(&mut self, now: CallTime, settings: &CallSettings) {
        (self.silence_ms, self.pending_ms, self.speech_ms) = (0, 0, 0);
        let pause = self.ended.take().map(|ended| now.since(ended));
        if let Some(pause) = pause.filter(|pause| *pause <= ms(settings.max_silence_ms)) {
            self.note(pause.as_millis() as u32);
        }
    }

    /// A turn with words is taken for over; its last speech came at `last_voiced`.
    pub(super) fn end(&mut self, last_voiced: CallTime) {
        self.ended = Some(last_voiced);
    }

    /// Takes one frame of a turn.
    pub(super) fn frame(&mut self, voiced: bool) {
        if !voiced {
            self.silence_ms += FRAME_MS;
            return;
        }
        let silence_ms = std::mem::take(&mut self.silence_ms);
        if silence_ms >= PAUSE_MS_MIN {
            // With a breath in its middle it is still one pause.
            self.pending_ms += self.speech_ms * u32::from(self.pending_ms > 0) + silence_ms;
            self.speech_ms = 0;
        }
        self.speech_ms += FRAME_MS;
        if self.pending_ms > 0 && self.speech_ms >= GOES_ON_MS {
            let pause_ms = std::mem::take(&mut self.pending_ms);
            self.note(pause_ms);
        }
    }

    /// The caller went on after a pause of this length.
    pub(super) fn note(&mut self, pause_ms: u32) {
        (self.silence_ms, self.pending_ms) = (0, 0);
        self.newest[self.noted % PAUSES] = u16::try_from(pause_ms).unwrap_or(u16::MAX);
        self.noted += 1;
    }

    /// The middle one, if there are enough to make a habit, in ms.
    fn median_ms(&self) -> Option<u32> {
        let mut pauses = self.newest;
        let known = &mut pauses[..self.noted.min(PAUSES)];
        known.sort_unstable();
        (known.len() >= HABIT).then(|| known[known.len() / 2].into())
    }

    /// How much silence ends a turn of this caller. `unfinished`: its words so far seem so. `typing`: keys were pressed, and
    /// more may follow.
    pub(super) fn wait(&self, unfinished: bool, typing: bool, settings: &CallSettings) -> Wait {
        let (least, most) = (settings.min_silence_ms, settings.max_silence_ms.max(settings.min_silence_ms));
        if typing && settings.keys_pause_ms > least {
            return Wait { reason: Reason::SilenceWhileTyping, ms: settings.keys_pause_ms };
        }
        if unfinished && most > least {
            return Wait { reason: Reason::SilenceUnfinished, ms: most };
        }
        let habit =
            self.median_ms().map_or(0, |median| (median + median / 2) / FRAME_MS * FRAME_MS).min(most);
        if habit > least {
            return Wait { reason: Reason::SilenceOfHesitant, ms: habit };
        }
        Wait { reason: Reason::Silence, ms: least }
    }
}

/// True if more must come after these words: the last is one that no turn ends with.
pub(super) fn is_unfinished(text: &str, settings: &CallSettings) -> bool {
    let last = text.split_whitespace().next_back().unwrap_or_default();
    let bare = last.trim_matches(|c: char| !c.is_alphanumeric());
    !last.ends_with(['.', '!', '?'])
        && settings.unfinished_words.iter().any(|word| word.eq_ignore_ascii_case(bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaks(pauses: &mut Pauses, ms: u32) {
        (0..ms / FRAME_MS).for_each(|_| pauses.frame(true));
    }

    fn is_silent(pauses: &mut Pauses, ms: u32) {
        (0..ms / FRAME_MS).for_each(|_| pauses.frame(false));
    }

    fn wait_ms(pauses: &Pauses) -> u32 {
        pauses.wait(false, false, &CallSettings::default()).ms
    }

    #[test]
    fn long_pauses_become_a_habit_at_the_second() {
        let mut pauses = Pauses::default();
        for (pause_ms, expected_ms) in [(600, 700), (600, 900), (400, 900), (400, 900), (400, 700)] {
            pauses.begin(CallTime::ZERO, &CallSettings::default());
            speaks(&mut pauses, 300);
            is_silent(&mut pauses, pause_ms);
            speaks(&mut pauses, 300);
            is_silent(&mut pauses, 700);
            assert_eq!(wait_ms(&pauses), expected_ms);
        }
    }

    #[test]
    fn gaps_between_words_and_breaths_are_no_pauses() {
        let mut pauses = Pauses::default();
        pauses.begin(CallTime::ZERO, &CallSettings::default());
        for _ in 0..10 {
            speaks(&mut pauses, 300);
            is_silent(&mut pauses, 200);
        }
        is_silent(&mut pauses, 400);
        speaks(&mut pauses, 40);
        is_silent(&mut pauses, 600);
        assert_eq!(pauses.noted, 0);
    }

    #[test]
    fn turns_that_follow_at_once_tell_of_pauses() {
        let (mut pauses, settings) = (Pauses::default(), CallSettings::default());
        for (at, expected_ms) in [(10_000, 700), (10_800, 700), (11_600, 1_200), (60_000, 1_200)] {
            pauses.begin(CallTime::from_millis(at), &settings);
            pauses.end(CallTime::from_millis(at));
            assert_eq!(wait_ms(&pauses), expected_ms, "at {at} ms");
        }
    }

    #[test]
    fn no_pause_makes_the_wait_longer_than_the_most_or_shorter_than_the_least() {
        let mut pauses = Pauses::default();
        (0..3).for_each(|_| pauses.note(30_000));
        assert_eq!(wait_ms(&pauses), CallSettings::default().max_silence_ms);
        let settings = CallSettings { min_silence_ms: 2_000, ..CallSettings::default() };
        for (unfinished, pause_ms) in [(true, 100), (false, 30_000)] {
            (0..PAUSES).for_each(|_| pauses.note(pause_ms));
            assert_eq!(pauses.wait(unfinished, false, &settings).ms, 2_000);
        }
    }

    #[test]
    fn words_that_no_turn_ends_with_are_unfinished() {
        let settings = CallSettings::default();
        for text in ["my number is", "Two hundred and", "um", "monday, or"] {
            assert!(is_unfinished(text, &settings), "{text}");
        }
        for text in ["", "two hundred", "yes it is.", "i think so", "september"] {
            assert!(!is_unfinished(text, &settings), "{text}");
        }
    }
}
