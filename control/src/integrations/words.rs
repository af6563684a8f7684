//! Finds the words that a vendor has placed in the text that it was given.
//!
//! Vendors give words, or single characters, with times, but no offsets; some write numbers out, change the case, or drop
//! punctuation. So each word is looked for among the next few of the text. One that is not found is not placed, which costs no more than
//! that its time is guessed.

use offhook_engine::call::WordStart;

/// So many words of the text may be passed over for one that was placed.
const LOOKAHEAD: usize = 4;

/// A text whose words are being placed, from its first to its last.
#[derive(Debug)]
pub(super) struct Words<'a> {
    /// The words that have not been placed: where they begin in the text, in bytes, and what they are.
    rest: std::collections::VecDeque<(u32, &'a str)>,
    /// True within a word whose characters come one by one.
    in_word: bool,
    latest: u32,
}

impl<'a> Words<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let start = text.as_ptr() as usize;
        let words = text.split_whitespace().map(|word| ((word.as_ptr() as usize - start) as u32, word));
        Self { rest: words.collect(), in_word: false, latest: 0 }
    }

    /// The next word as the vendor writes it begins at `sample`.
    pub(super) fn word(&mut self, word: &str, sample: u32) -> Option<WordStart> {
        self.in_word = false;
        let wanted = bare(word);
        let is_it = |ours: &str| match wanted.is_empty() {
            true => ours.starts_with(word.trim()),
            false => bare(ours).starts_with(&wanted),
        };
        self.find(is_it, sample)
    }

    /// The next character as the vendor writes it begins at `sample`.
    pub(super) fn character(&mut self, character: &str, sample: u32) -> Option<WordStart> {
        let begins = character.chars().find(|c| !c.is_whitespace());
        let (Some(begins), false) = (begins, self.in_word) else {
            self.in_word &= !character.contains(char::is_whitespace);
            return None;
        };
        self.in_word = true;
        let begins = begins.to_lowercase();
        self.find(|ours| ours.chars().next().is_some_and(|c| c.to_lowercase().eq(begins.clone())), sample)
    }

    fn find(&mut self, is_it: impl Fn(&str) -> bool, sample: u32) -> Option<WordStart> {
        let at = self.rest.iter().take(LOOKAHEAD).position(|(_, ours)| is_it(ours))?;
        let (text_offset, _) = self.rest.drain(..=at).next_back()?;
        self.latest = self.latest.max(sample);
        Some(WordStart { text_offset, sample: self.latest })
    }
}

/// A word without case and punctuation.
fn bare(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(placed: impl IntoIterator<Item = Option<WordStart>>) -> Vec<(u32, u32)> {
        placed.into_iter().flatten().map(|word| (word.text_offset, word.sample)).collect()
    }

    #[test]
    fn words_are_found_where_they_stand_in_bytes() {
        let mut words = Words::of("  Café, at nine — yes.");
        let placed = ["cafe", "café", "At", "9", "—", "yes"].iter().zip(1..);
        let placed: Vec<_> = placed.map(|(word, n)| words.word(word, n * 100)).collect();
        assert_eq!(offsets(placed), [(2, 200), (9, 300), (17, 500), (21, 600)]);
    }

    #[test]
    fn characters_place_a_word_with_its_first_one_whatever_the_split() {
        let mut words = Words::of("éa bc\nd");
        let placed: Vec<_> = [" ", "É", "a", " ", " ", "b", "c", "\n", "d"]
            .iter()
            .zip(0..)
            .map(|(character, n)| words.character(character, n * 10))
            .collect();
        assert_eq!(offsets(placed), [(0, 10), (4, 50), (7, 80)]);
    }

    #[test]
    fn what_is_not_in_the_text_is_not_placed_and_does_not_disturb_the_rest() {
        let mut words = Words::of("1 is it");
        let placed: Vec<_> =
            "one is it".chars().zip(0..).map(|(c, n)| words.character(&c.to_string(), n)).collect();
        assert_eq!(offsets(placed), [(2, 4), (5, 7)]);
        let mut words = Words::of("a b c d e f");
        assert_eq!(words.word("f", 5), None, "too far away to be it");
        assert_eq!(offsets([words.word("b", 900), words.word("c", 800)]), [(2, 900), (4, 900)]);
        assert_eq!(offsets([Words::of("").word("a", 0), Words::of("a").word("", 0)]), [(0, 0)]);
    }
}
