//! Texts in pieces: no voice takes any length at once, and a model that may say no more stops anywhere.

/// A text in pieces of at most `most` characters: cut behind a sentence, else at a space, else anywhere.
pub(super) fn of(text: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.char_indices().nth(most).map_or(rest.len(), |(at, _)| at);
        let (window, more) = rest.split_at(end);
        let cut = match more.is_empty() {
            true => end,
            false => sentence_end(window)
                .or_else(|| window.rfind(char::is_whitespace).filter(|at| *at > 0))
                .unwrap_or(end),
        };
        pieces.push(rest[..cut].trim_end());
        rest = rest[cut..].trim_start();
    }
    pieces
}

/// A text without the sentence that is not finished; all of it if there is none that is.
pub(super) fn whole_sentences(text: &str) -> &str {
    if text.trim_end().ends_with(ENDS) {
        return text.trim();
    }
    sentence_end(text).map_or(text, |end| &text[..end]).trim()
}

/// What a sentence ends with.
const ENDS: [char; 6] = ['.', '!', '?', '…', '。', '！'];

/// Where the last sentence ends that has something behind it.
fn sentence_end(text: &str) -> Option<usize> {
    let mut ends = text.char_indices().filter(|(at, c)| {
        let behind = text[at + c.len_utf8()..].chars().next();
        ENDS.contains(c) && (behind.is_some_and(char::is_whitespace) || !c.is_ascii())
    });
    ends.next_back().map(|(at, c)| at + c.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_behind_sentences_and_nothing_of_it_is_lost() {
        assert_eq!(of("One two. Three four. Five", 12), ["One two.", "Three four.", "Five"]);
        assert_eq!(of("It costs 3.50 now and then", 16), ["It costs 3.50", "now and then"]);
        assert_eq!(of("ééééé", 2), ["éé", "éé", "é"]);
        assert_eq!(of("好。好好好", 3), ["好。", "好好好"]);
        assert!(of(" \n ", 5).is_empty());
        let long = "Some words, and more. ".repeat(100);
        let pieces = of(&long, 90);
        assert!(pieces.iter().all(|piece| piece.chars().count() <= 90 && piece.ends_with('.')));
        assert_eq!(pieces.join(" "), long.trim());
    }

    #[test]
    fn a_sentence_that_is_not_finished_is_left_out() {
        assert_eq!(whole_sentences("It is red. It costs 3.5"), "It is red.");
        assert_eq!(whole_sentences("It is red."), "It is red.");
        assert_eq!(whole_sentences("It is"), "It is");
    }
}
