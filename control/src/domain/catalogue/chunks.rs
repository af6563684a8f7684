//! Cuts texts into chunks: pieces of some 800 characters that can be searched and cited, each a little longer than new, so that
//! what stands at a cut is whole in one of them.
//!
//! A cut is made where a paragraph ends, else a sentence, else a word, in the second half of what a chunk may hold. Where it is
//! made depends on the text alone, and not on the pieces in which the text comes.

use unicode_segmentation::UnicodeSegmentation;

/// The most characters of a chunk. About 200 tokens: some of them fit into a question to a model, and one says one thing.
pub const CHUNK_CHARACTERS: usize = 800;

/// How many characters of a chunk its successor begins with, at most.
pub const OVERLAP_CHARACTERS: usize = 100;

/// Cuts one text.
#[derive(Debug, Default)]
pub(super) struct Chunker {
    /// What is not cut yet, tidied.
    text: String,
    /// How many characters that is.
    characters: usize,
    /// White space that came last and is not yet in `text`.
    gap: Gap,
}

/// What stands between two words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    None,
    Space,
    Line,
    Paragraph,
}

impl Gap {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Space => " ",
            Self::Line => "\n",
            Self::Paragraph => "\n\n",
        }
    }
}

impl Chunker {
    /// Takes the next piece of the text, and leaves the chunks that are whole.
    pub(super) fn push(&mut self, piece: &str, chunks: &mut Vec<String>) {
        for character in piece.chars() {
            match character {
                '\n' if self.gap >= Gap::Line => self.gap = Gap::Paragraph,
                '\n' => self.gap = Gap::Line,
                '\u{c}' | '\u{2029}' => self.gap = Gap::Paragraph,
                // A byte order mark, and what is no text.
                '\u{feff}' | '\0' => {}
                c if c.is_whitespace() || c.is_control() => self.gap = self.gap.max(Gap::Space),
                c => {
                    self.write(c);
                    // One more than a chunk holds shows whether it ends here.
                    if self.characters > CHUNK_CHARACTERS {
                        self.cut(chunks);
                    }
                }
            }
        }
    }

    /// Leaves the last chunk.
    pub(super) fn finish(mut self, chunks: &mut Vec<String>) {
        // After a cut there is always something new behind it.
        if !self.text.is_empty() {
            chunks.push(std::mem::take(&mut self.text));
        }
    }

    fn write(&mut self, character: char) {
        let gap = std::mem::take(&mut self.gap);
        if !self.text.is_empty() {
            self.text.push_str(gap.as_str());
            self.characters += gap.as_str().len();
        }
        self.text.push(character);
        self.characters += 1;
    }

    /// Cuts one chunk off.
    fn cut(&mut self, chunks: &mut Vec<String>) {
        let end = byte_of(&self.text, CHUNK_CHARACTERS);
        let half = byte_of(&self.text, CHUNK_CHARACTERS / 2);
        let (at, overlaps) = place_to_cut(&self.text[..end], half);
        chunks.push(self.text[..at].trim_end().to_owned());
        let next = if overlaps { overlap_from(&self.text[..at]) } else { at };
        self.text = self.text[next..].trim_start().to_owned();
        self.characters = self.text.chars().count();
    }
}

/// Cuts a whole text. `head`: stands at the beginning of each chunk but the first, so that each says what it is about.
pub(super) fn chunks_of(text: &str, head: &str) -> Vec<String> {
    let mut chunks = Vec::new();
    let mut chunker = Chunker::default();
    chunker.push(text, &mut chunks);
    chunker.finish(&mut chunks);
    if !head.is_empty() {
        for chunk in chunks.iter_mut().skip(1) {
            chunk.insert_str(0, &format!("{head} - "));
        }
    }
    chunks
}

/// Where to cut, behind `half`, and whether the next chunk is to begin a little before.
fn place_to_cut(window: &str, half: usize) -> (usize, bool) {
    if let Some(at) = window.rfind("\n\n").filter(|at| *at >= half) {
        return (at, false);
    }
    // The last of them ends where the window does, which means nothing.
    let sentence = window.split_sentence_bound_indices().map(|(at, _)| at).filter(|at| *at >= half).last();
    if let Some(at) = sentence {
        return (at, true);
    }
    if let Some(at) = window.rfind(char::is_whitespace).filter(|at| *at >= half) {
        return (at, true);
    }
    let grapheme = window.grapheme_indices(true).map(|(at, _)| at).rfind(|at| *at >= half);
    (grapheme.unwrap_or(window.len()), false)
}

/// Where the next chunk begins: with the first word of the last characters of this one.
fn overlap_from(chunk: &str) -> usize {
    let back = chunk.char_indices().rev().nth(OVERLAP_CHARACTERS - 1).map_or(0, |(at, _)| at);
    chunk[back..].find(char::is_whitespace).map_or(chunk.len(), |space| back + space)
}

/// Where the character of this number begins.
fn byte_of(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn in_pieces(pieces: &[&str]) -> Vec<String> {
        let (mut chunks, mut chunker) = (Vec::new(), Chunker::default());
        for piece in pieces {
            chunker.push(piece, &mut chunks);
        }
        chunker.finish(&mut chunks);
        chunks
    }

    #[test]
    fn a_short_text_is_one_chunk_and_an_empty_one_none() {
        assert_eq!(chunks_of(" A  notebook.\r\n", "Notebook"), ["A notebook."]);
        assert!(chunks_of(" \n\t\u{feff}", "x").is_empty());
    }

    #[test]
    fn a_chunk_ends_where_a_paragraph_does_else_a_sentence_else_a_word() {
        let sentence = "It opens at nine and closes at five. ";
        let paragraphs = format!("{}\n\n{}", sentence.repeat(15).trim(), sentence.repeat(15));
        let chunks = chunks_of(&paragraphs, "");
        assert_eq!(chunks[0], sentence.repeat(15).trim());
        assert!(chunks[1].starts_with("It opens"), "a paragraph begins anew: {}", chunks[1]);

        let chunks = chunks_of(&sentence.repeat(60), "");
        assert!(chunks.len() > 2);
        for chunk in &chunks {
            assert!(chunk.ends_with("five."), "{chunk}");
            assert!(chunk.chars().count() <= CHUNK_CHARACTERS);
        }
        let chunks = chunks_of(&"word ".repeat(500), "");
        assert!(chunks.iter().all(|chunk| chunk.ends_with("word") && chunk.starts_with("word")));
        let chunks = chunks_of(&"ж".repeat(2_000), "");
        assert_eq!(chunks.iter().map(|chunk| chunk.chars().count()).sum::<usize>(), 2_000);
    }

    #[test]
    fn what_stands_at_a_cut_is_whole_in_one_of_the_two() {
        let text: String = (0..400).map(|n| format!("w{n} ")).collect();
        let chunks = chunks_of(&text, "");
        for n in 0..399 {
            let pair = format!("w{n} w{}", n + 1);
            let is_whole = |chunk: &String| format!(" {chunk} ").contains(&format!(" {pair} "));
            assert!(chunks.iter().any(is_whole), "{pair}");
        }
    }

    #[test]
    fn later_chunks_say_what_they_are_about() {
        let chunks = chunks_of(&"A long story. ".repeat(100), "Pen");
        assert!(!chunks[0].starts_with("Pen"));
        assert!(chunks[1..].iter().all(|chunk| chunk.starts_with("Pen - ")) && chunks.len() > 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_split_of_a_text_gives_the_same_chunks(
            text in "([a-zé字 .\n]{0,40}[.\n\r ]{0,3}){0,60}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)
        ) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            at.retain(|at| text.is_char_boundary(*at));
            at.sort_unstable();
            let (mut pieces, mut from) = (Vec::new(), 0);
            for at in at {
                pieces.push(&text[from..at]);
                from = at;
            }
            pieces.push(&text[from..]);
            let whole = chunks_of(&text, "");
            prop_assert_eq!(in_pieces(&pieces), whole.clone());
            for chunk in &whole {
                prop_assert!(!chunk.trim().is_empty() && chunk.chars().count() <= CHUNK_CHARACTERS);
            }
            // No word is lost.
            let all = whole.join(" ");
            for word in text.split_whitespace().filter(|word| word.len() < 100) {
                prop_assert!(all.contains(word), "{:?}", word);
            }
        }
    }
}
