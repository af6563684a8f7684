//! The words of a text, as it is searched for them.

/// Words that are in nearly every sentence, and tell nothing of what it is about.
const EMPTY: [&str; 58] = [
    "a", "about", "am", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can", "could",
    "did", "do", "does", "for", "from", "had", "has", "have", "how", "i", "if", "in", "is", "it", "its",
    "me", "my", "of", "on", "or", "our", "please", "so", "some", "that", "the", "their", "them", "there",
    "they", "this", "to", "was", "we", "what", "when", "which", "who", "will", "with", "would", "you",
    "your",
];

/// The most words of a question that are looked for.
pub(super) const WORDS_MAX: usize = 16;

/// Characters of a word beyond which it is none.
const WORD_CHARACTERS_MAX: usize = 64;

/// The words of a text, each once, in lower case, at most [`WORDS_MAX`]. Letters and digits make a word, as they do in the index.
pub(super) fn words_of(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        if word.is_empty() || word.chars().count() > WORD_CHARACTERS_MAX {
            continue;
        }
        let word = word.to_lowercase();
        if !words.contains(&word) {
            words.push(word);
        }
        if words.len() == WORDS_MAX {
            break;
        }
    }
    words
}

/// The words of a question that tell what it is about; all of them, if none does.
pub(super) fn telling_words_of(text: &str) -> Vec<String> {
    let words = words_of(text);
    let telling: Vec<String> = words.iter().filter(|word| !EMPTY.contains(&word.as_str())).cloned().collect();
    if telling.is_empty() { words } else { telling }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_about_its_telling_words() {
        assert_eq!(
            telling_words_of("Do you have waterproof Notebooks, notebooks?"),
            ["waterproof", "notebooks"]
        );
        assert_eq!(telling_words_of("What is it?"), ["what", "is", "it"]);
        assert_eq!(words_of("NB-A5-ECO: größe \"x\" * NEAR("), ["nb", "a5", "eco", "größe", "x", "near"]);
        assert!(words_of(" ?! ").is_empty());
        let many: String = (0..1_000).map(|n| format!("w{n} ")).collect();
        assert_eq!(words_of(&many).len(), WORDS_MAX);
    }
}
