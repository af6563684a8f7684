//! What of a text a voice has not spoken yet, so that another one can go on where it broke off.
//!
//! Voices give audio faster than it is played, and cut it anywhere. Where a vendor places its words, the last word that it
//! has begun is held back until the next one begins: what was passed on ends with a whole word then, and the next voice
//! begins with the next. Where a vendor does not, so many samples are taken for a letter.

use offhook_engine::call::WordStart;

use crate::integrations::vendor::Spoken;

/// Speech of an unknown voice: 15 letters a second at 8 kHz. As the engine's ledger has it.
const SAMPLES_PER_LETTER: usize = 533;

/// One text on its way to the caller.
#[derive(Debug)]
pub(super) struct Unspoken<'a> {
    text: &'a str,
    /// Where in it the present voice began, in bytes.
    from: usize,
    /// Samples that were passed on.
    passed: usize,
    /// Where in those the present voice began.
    base: usize,
    /// Audio of the present voice that was not passed on.
    held: Vec<u8>,
    /// Words that the present voice has placed, in the whole text and all samples.
    words: Vec<WordStart>,
    /// So many of those were passed on.
    words_passed: usize,
}

impl<'a> Unspoken<'a> {
    /// All of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, from: 0, passed: 0, base: 0, held: Vec::new(), words: Vec::new(), words_passed: 0 }
    }

    /// What the present voice is to speak.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.from..]
    }

    /// Samples that were passed on or are held.
    pub(super) fn samples(&self) -> usize {
        self.passed + self.held.len()
    }

    /// Takes audio of the present voice; what can be passed on, its words placed in the whole text.
    pub(super) fn take(&mut self, spoken: Spoken) -> Spoken {
        self.held.extend_from_slice(&spoken.ulaw);
        let (from, base) = (self.from as u32, self.base as u32);
        self.words.extend(spoken.words.iter().map(|word| WordStart {
            text_offset: from.saturating_add(word.text_offset),
            sample: base.saturating_add(word.sample),
        }));
        let is_first = self.passed == self.base;
        let whole = match self.words.last() {
            // The caller waits for the first piece.
            Some(last) if !is_first => (last.sample as usize).saturating_sub(self.passed),
            _ => self.held.len(),
        };
        self.pass(whole)
    }

    /// The present voice has spoken all: what was held back.
    pub(super) fn finish(&mut self) -> Spoken {
        self.pass(self.held.len())
    }

    /// The present voice gives no more: the next one begins at the first word that was not passed on whole.
    pub(super) fn break_off(&mut self) {
        self.held.clear();
        if self.passed == self.base {
            // Nothing of it was heard.
            self.words.clear();
            self.words_passed = 0;
            return;
        }
        if self.words.is_empty() {
            self.guess_words();
        }
        let begun = self.words.partition_point(|word| (word.sample as usize) < self.passed);
        let is_whole = self.words.get(begun).is_some_and(|next| next.sample as usize == self.passed);
        let next = if is_whole { begun } else { begun.saturating_sub(1) };
        let offset = self.words.get(next).map_or(self.from, |word| word.text_offset as usize);
        if self.text.is_char_boundary(offset) {
            self.from = offset;
        }
        self.base = self.passed;
        // The ledger must know where the words are on which the next voice goes on.
        self.words.truncate(next);
        self.words_passed = self.words_passed.min(next);
        self.words.push(WordStart { text_offset: self.from as u32, sample: self.passed as u32 });
    }

    /// Places the words of what was passed on by its length.
    fn guess_words(&mut self) {
        let mut in_word = false;
        for (letter, (offset, c)) in self.rest().char_indices().enumerate() {
            let sample = self.base + letter * SAMPLES_PER_LETTER;
            if sample > self.passed {
                break;
            }
            if !c.is_whitespace() && !in_word {
                let text_offset = (self.from + offset) as u32;
                self.words.push(WordStart { text_offset, sample: sample as u32 });
            }
            in_word = !c.is_whitespace();
        }
    }

    fn pass(&mut self, samples: usize) -> Spoken {
        let rest = self.held.split_off(samples.min(self.held.len()));
        let ulaw = std::mem::replace(&mut self.held, rest);
        self.passed += ulaw.len();
        let begun = self.words.partition_point(|word| (word.sample as usize) < self.passed);
        let words = self.words.get(self.words_passed..begun).unwrap_or_default().to_vec();
        self.words_passed = self.words_passed.max(begun);
        Spoken { ulaw, words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[(u32, u32)]) -> Vec<WordStart> {
        words.iter().map(|&(text_offset, sample)| WordStart { text_offset, sample }).collect()
    }

    fn piece(samples: usize, placed: &[(u32, u32)]) -> Spoken {
        Spoken { ulaw: vec![0x55; samples], words: words(placed) }
    }

    const TEXT: &str = "one two three four";

    #[test]
    fn the_first_piece_is_passed_on_whole_and_later_ones_up_to_the_word_under_way() {
        let mut unspoken = Unspoken::new(TEXT);
        let first = unspoken.take(piece(3_000, &[(0, 0), (4, 2_000)]));
        assert_eq!(first, piece(3_000, &[(0, 0), (4, 2_000)]));
        assert_eq!(unspoken.take(piece(1_000, &[])), piece(0, &[]), "two goes on");
        assert_eq!(unspoken.take(piece(3_000, &[(8, 4_500), (14, 6_500)])), piece(3_500, &[(8, 4_500)]));
        assert_eq!(unspoken.finish(), piece(500, &[(14, 6_500)]));
    }

    #[test]
    fn the_next_voice_begins_with_the_first_word_that_was_not_passed_on_whole() {
        let mut unspoken = Unspoken::new(TEXT);
        let _ = unspoken.take(piece(1_000, &[(0, 0)]));
        let _ = unspoken.take(piece(5_000, &[(4, 2_000), (8, 5_000)]));
        unspoken.break_off();
        assert_eq!(unspoken.rest(), "three four");
        let next = unspoken.take(piece(4_000, &[(0, 0), (6, 2_500)]));
        assert_eq!(
            next,
            piece(4_000, &[(8, 5_000), (8, 5_000), (14, 7_500)]),
            "the ledger takes a place once"
        );
        assert_eq!(unspoken.samples(), 9_000);
    }

    #[test]
    fn a_voice_that_breaks_off_after_its_first_piece_may_have_cut_a_word_which_is_said_again() {
        let mut unspoken = Unspoken::new(TEXT);
        let _ = unspoken.take(piece(3_000, &[(0, 0), (4, 2_000)]));
        unspoken.break_off();
        assert_eq!(unspoken.rest(), "two three four");
    }

    #[test]
    fn a_voice_that_gave_nothing_leaves_everything() {
        let mut unspoken = Unspoken::new(TEXT);
        unspoken.break_off();
        assert_eq!(unspoken.rest(), TEXT);
        assert_eq!(unspoken.take(piece(800, &[(0, 0)])), piece(800, &[(0, 0)]));
    }

    #[test]
    fn without_places_of_words_the_length_says_how_far_it_came() {
        let mut unspoken = Unspoken::new(TEXT);
        assert_eq!(unspoken.take(piece(5_000, &[])), piece(5_000, &[]), "nothing is held back");
        unspoken.break_off();
        assert_eq!(unspoken.rest(), "three four", "5,000 samples are nine letters");
        let next = unspoken.take(piece(800, &[]));
        assert_eq!(next.words, words(&[(0, 0), (4, 4 * 533), (8, 5_000)]));
    }

    #[test]
    fn two_voices_may_break_off_and_no_word_is_lost() {
        let mut unspoken = Unspoken::new("é two three four");
        let _ = unspoken.take(piece(800, &[(0, 0)]));
        let _ = unspoken.take(piece(1_600, &[(3, 1_000)]));
        unspoken.break_off();
        assert_eq!(unspoken.rest(), "two three four");
        let _ = unspoken.take(piece(100, &[(0, 0)]));
        let _ = unspoken.take(piece(3_000, &[(4, 2_000), (10, 2_900)]));
        unspoken.break_off();
        assert_eq!(unspoken.rest(), "four");
        assert_eq!(
            unspoken.take(piece(800, &[(0, 0)])).words.last(),
            Some(&WordStart { text_offset: 13, sample: 3_900 })
        );
    }

    #[test]
    fn places_outside_the_text_break_nothing() {
        let mut unspoken = Unspoken::new("é");
        let _ = unspoken.take(piece(800, &[(1, 0), (90, 1), (u32::MAX, u32::MAX)]));
        let _ = unspoken.take(piece(800, &[(5, 3)]));
        unspoken.break_off();
        assert_eq!(unspoken.rest(), "é");
        let _ = unspoken.finish();
    }
}
