//! What of an utterance was sent and what was heard, in samples; and which words those samples are.
//!
//! `0 ≤ heard ≤ sent ≤ received`. Heard comes from the carrier's marks and from pacing: what was sent with a lead of
//! 100 ms has been heard but for the last 100 ms. It never goes back, but for words: a word that was cut in the middle
//! counts as unheard, since a word is the smallest thing that one hears.

use super::input::{UtteranceId, WordStart};
use super::time::CallTime;

/// Speech of an unknown voice, where its length is not known yet: 15 letters a second at 8 kHz.
const SAMPLES_PER_LETTER: usize = 533;

/// One thing that the agent says: its words, and how far they got.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) utterance: UtteranceId,
    pub(super) text: String,
    words: Vec<WordStart>,
    /// Samples that the voice has given.
    pub(super) received: usize,
    /// True once the voice has given all.
    pub(super) complete: bool,
    /// True if the voice broke off before the end of the text.
    broken_off: bool,
    /// Samples handed to the leg and not cleared since.
    pub(super) sent: usize,
    /// When the last of those will have been played.
    pub(super) ends_at: CallTime,
    heard: usize,
    /// The most that was ever heard of it: what is taken back to be said again was heard too.
    furthest: usize,
}

impl Entry {
    pub(super) fn new(utterance: UtteranceId, text: String) -> Self {
        Self {
            utterance,
            text,
            words: Vec::new(),
            received: 0,
            complete: false,
            broken_off: false,
            sent: 0,
            ends_at: CallTime::ZERO,
            heard: 0,
            furthest: 0,
        }
    }

    /// Its text goes on.
    pub(super) fn append(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The voice has placed these words. A start that does not come after those before it, or lies outside, is not believed.
    pub(super) fn place(&mut self, words: &[WordStart]) {
        for word in words {
            let ascends = self
                .words
                .last()
                .is_none_or(|last| last.sample <= word.sample && last.text_offset < word.text_offset);
            if ascends && self.text.is_char_boundary(word.text_offset as usize) {
                self.words.push(*word);
            }
        }
    }

    /// The voice has given all of it, and places these words too.
    pub(super) fn complete(&mut self, words: &[WordStart]) {
        self.complete = true;
        self.place(words);
    }

    /// The voice gives no more of it, though the text goes on.
    pub(super) fn give_up(&mut self) {
        self.complete = true;
        self.broken_off = true;
    }

    /// True once all of it was handed to the leg.
    pub(super) fn all_sent(&self) -> bool {
        self.complete && self.sent == self.received
    }

    /// True once all of it was heard.
    pub(super) fn all_heard(&self) -> bool {
        self.complete && self.heard == self.received
    }

    /// Samples heard by `now`, by marks and pacing.
    pub(super) fn heard_at(&mut self, now: CallTime) -> usize {
        let still_to_play = (self.ends_at.since(now).as_micros() as usize).div_ceil(125);
        self.heard = self.heard.max(self.sent.saturating_sub(still_to_play));
        self.furthest = self.furthest.max(self.heard);
        self.heard
    }

    /// The most samples that were ever heard of it.
    pub(super) fn furthest(&self) -> usize {
        self.furthest
    }

    /// Samples heard, as far as was counted.
    #[cfg(test)]
    pub(super) fn heard(&self) -> usize {
        self.heard
    }

    /// A mark, or its time-out, says that all that was sent has been played.
    pub(super) fn hear_all_sent(&mut self) {
        self.heard = self.sent;
        self.furthest = self.furthest.max(self.heard);
    }

    /// Takes back what was not heard: from the beginning of the first word that was not wholly heard.
    pub(super) fn rewind(&mut self) {
        let (_, sample) = self.first_unheard();
        self.sent = sample.min(self.heard);
        self.heard = self.sent;
    }

    /// The words that were wholly heard, and the rest.
    pub(super) fn split_text(&self) -> (&str, &str) {
        if self.all_heard() && !self.broken_off {
            return (&self.text, "");
        }
        let (offset, _) = self.first_unheard();
        let (heard, unheard) = self.text.split_at(offset);
        (heard.trim_end(), unheard)
    }

    /// True if nobody has said where its words are, so that they are looked for by its length.
    pub(super) fn is_placed_by_length(&self) -> bool {
        self.words.is_empty() && self.received > 0
    }

    /// Where the first word begins that was not wholly heard: offset in the text, and sample.
    fn first_unheard(&self) -> (usize, usize) {
        if self.all_heard() && !self.broken_off {
            return (self.text.len(), self.received);
        }
        if self.words.is_empty() {
            return self.first_unheard_by_length();
        }
        let after = self.words.partition_point(|word| word.sample as usize <= self.heard);
        match after.checked_sub(1) {
            Some(word) if after > 1 => {
                (self.words[word].text_offset as usize, self.words[word].sample as usize)
            }
            _ => (0, 0),
        }
    }

    /// Without the voice's own word starts: letters share the length evenly, a blank counting as one.
    fn first_unheard_by_length(&self) -> (usize, usize) {
        let letters = self.text.chars().count().max(1);
        let samples = if self.complete && !self.broken_off {
            self.received
        } else {
            self.received.max(letters * SAMPLES_PER_LETTER)
        };
        let sample_at = |letter: usize| letter * samples / letters;
        let mut start = (0, 0);
        let mut in_word = false;
        for (letter, (offset, c)) in self.text.char_indices().enumerate() {
            if !c.is_whitespace() && !in_word {
                if sample_at(letter) > self.heard {
                    break;
                }
                start = (offset, sample_at(letter));
            }
            in_word = !c.is_whitespace();
        }
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str, received: usize) -> Entry {
        let mut entry = Entry::new(UtteranceId(1), text.into());
        entry.received = received;
        entry.complete = true;
        entry
    }

    #[test]
    fn what_is_still_to_play_is_not_heard() {
        let mut entry = entry("one two", 7_000);
        entry.sent = 1_600;
        entry.ends_at = CallTime::from_millis(300);
        assert_eq!(entry.heard_at(CallTime::from_millis(200)), 800);
        assert_eq!(entry.heard_at(CallTime::from_millis(100)), 800, "heard never goes back");
        assert_eq!(entry.heard_at(CallTime::from_millis(900)), 1_600, "heard never passes sent");
    }

    #[test]
    fn a_word_cut_in_the_middle_is_unheard() {
        let mut entry = entry("one two three", 13_000);
        entry.sent = 6_000;
        entry.heard_at(CallTime::from_millis(2_000));
        assert_eq!(entry.split_text(), ("one", "two three"));
        entry.rewind();
        assert_eq!(entry.sent, 4_000);
    }

    #[test]
    fn the_voices_own_word_starts_are_preferred() {
        let mut entry = Entry::new(UtteranceId(1), "one two three".into());
        entry.received = 9_000;
        let starts = [(0, 0), (4, 1_000), (8, 6_500)];
        entry.complete(&starts.map(|(text_offset, sample)| WordStart { text_offset, sample }));
        entry.sent = 6_000;
        entry.heard_at(CallTime::from_millis(2_000));
        assert_eq!(entry.split_text(), ("one", "two three"));
        entry.rewind();
        assert_eq!(entry.sent, 1_000);
    }

    #[test]
    fn word_starts_outside_the_text_are_not_believed() {
        let mut entry = Entry::new(UtteranceId(1), "é one".into());
        entry.received = 900;
        entry.complete(&[WordStart { text_offset: 1, sample: 0 }, WordStart { text_offset: 90, sample: 3 }]);
        entry.sent = 450;
        entry.heard_at(CallTime::from_millis(2_000));
        assert_eq!(entry.split_text(), ("é", "one"));
    }

    #[test]
    fn all_heard_leaves_nothing() {
        let mut entry = entry("bye.", 800);
        entry.sent = 800;
        entry.hear_all_sent();
        assert!(entry.all_heard());
        assert_eq!(entry.split_text(), ("bye.", ""));
    }
}
