//! How English words are pronounced: a dictionary file in CMU's format, searched for the few words of a grammar.

use std::cmp::Ordering;

/// The lines of a dictionary, found by word.
pub(super) struct Dictionary {
    text: String,
    /// Where each line begins, in bytes, in the order of their words.
    lines: Vec<u32>,
}

/// One way to say a word.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pronunciation<'a> {
    /// The word; a second way to say it is `word(2)`.
    pub(super) name: &'a str,
    /// Its phones, separated by spaces.
    pub(super) phones: &'a str,
}

impl Dictionary {
    /// `text`: a word, white space and its phones on each line.
    pub(super) fn new(text: String) -> Self {
        let mut lines = Vec::new();
        let mut begin = 0;
        for line in text.split_inclusive('\n') {
            if let Ok(begin) = u32::try_from(begin)
                && !line.trim().is_empty()
            {
                lines.push(begin);
            }
            begin += line.len();
        }
        // Stable, so that a word's pronunciations keep their order.
        lines.sort_by(|&a, &b| word_at(&text, a).cmp(word_at(&text, b)));
        Self { text, lines }
    }

    /// All ways to say `word` (lower case), the usual one first; none if it is unknown.
    pub(super) fn lookup<'a>(&'a self, word: &'a str) -> impl Iterator<Item = Pronunciation<'a>> {
        let first = self.lines.partition_point(|&line| word_at(&self.text, line).cmp(word) == Ordering::Less);
        let lines = self.lines[first..].iter().take_while(move |&&line| word_at(&self.text, line) == word);
        lines.filter_map(|&line| {
            let line = self.text[line as usize..].lines().next()?;
            let (name, phones) = line.split_once(char::is_whitespace)?;
            Some(Pronunciation { name, phones: phones.trim() })
        })
    }
}

/// The word of the line that begins at `begin`, without the number of a pronunciation.
fn word_at(text: &str, begin: u32) -> &str {
    let line = &text[begin as usize..];
    &line[..line.find(|c: char| c.is_whitespace() || c == '(').unwrap_or(line.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_with_all_its_pronunciations_in_order() {
        let text = "two's T UW Z\na AH\na(2) EY\ntwo T UW\n\ntwo(2) T AX\n";
        let dictionary = Dictionary::new(text.into());
        let names = |word| dictionary.lookup(word).map(|p| (p.name, p.phones)).collect::<Vec<_>>();
        assert_eq!(names("two"), [("two", "T UW"), ("two(2)", "T AX")]);
        assert_eq!(names("a"), [("a", "AH"), ("a(2)", "EY")]);
        assert_eq!(names("two's"), [("two's", "T UW Z")]);
        assert_eq!(names("three"), []);
        assert_eq!(names(""), []);
    }
}
