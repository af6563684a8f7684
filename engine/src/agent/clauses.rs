//! Text that is still being written, cut into pieces for the voice.
//!
//! A voice needs something to speak as soon as possible, and then as much at once as makes good melody. So the first piece
//! ends at the first clause that is long enough to speak, and the others where sentences end. In: text in pieces of any
//! size, as a model writes it. Out: pieces that together are the text, byte for byte, and that do not depend on how it came.
//!
//! A mark ends a sentence only if what follows shows it: the point of "3.5", "Dr. Smith", "www.example.com" and "1. Open the
//! door" does not. So a piece comes when the word after it has begun, or by [`Clauses::rest`].

/// Letters and marks before the first clause may end: a breath of speech. Shorter ones sound cut off.
const FIRST: usize = 12;
/// The same where nothing but a word such as "and" divides the clauses, and a wrong guess would be heard.
const FIRST_WITHOUT_MARK: usize = 30;
/// From here on, a sentence is so long that it is divided by clauses too.
const LONG: usize = 160;
/// From here on, it is divided between any two words.
const ENDLESS: usize = 400;

/// A title or the like: a name or a number follows, never the next sentence.
const ABBREVIATIONS: &[&str] = &[
    "dr", "mr", "mrs", "ms", "prof", "st", "mt", "vs", "e.g", "i.e", "approx", "gen", "sen", "rep", "lt",
    "col", "sgt", "capt", "rev", "hon", "fig", "vol", "ca", "bzw", "z.b", "d.h", "hr", "fr", "nr",
];
/// Before a number, these are no words.
const BEFORE_NUMBERS: &[&str] = &["no", "nos", "p", "pp", "art", "sec", "ext", "tel"];
/// Words that begin a clause without a mark before them.
const CONJUNCTIONS: &[&str] = &["and", "but", "or", "so", "because", "while", "which", "then"];

/// The text that is not cut yet. See the module.
#[derive(Clone, Debug, Default)]
pub struct Clauses {
    text: String,
    /// Up to here, no piece ends.
    seen: usize,
    /// Letters and marks up to there, spaces at the beginning aside.
    chars: usize,
    begun: bool,
}

enum Verdict {
    /// The piece ends before this byte.
    Ends(usize),
    GoesOn,
    /// What follows decides.
    Wait,
}

impl Clauses {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// More of the text.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The next piece that is surely complete.
    pub fn next_piece(&mut self) -> Option<String> {
        while let Some(char) = self.text[self.seen..].chars().next() {
            match self.verdict(self.seen, char) {
                Verdict::Ends(end) => {
                    let rest = self.text.split_off(end);
                    (self.seen, self.chars, self.begun) = (0, 0, true);
                    return Some(std::mem::replace(&mut self.text, rest));
                }
                Verdict::GoesOn => {
                    self.seen += char.len_utf8();
                    self.chars += usize::from(self.chars > 0 || !char.is_whitespace());
                }
                Verdict::Wait => return None,
            }
        }
        None
    }

    /// What writes the text broke off: takes back the word that it ended with, which may not be whole. How many bytes that is.
    pub fn cut_word(&mut self) -> usize {
        let whole = self.text.trim_end_matches(|c: char| !c.is_whitespace()).len();
        let cut = self.text.len() - whole;
        self.text.truncate(whole);
        // Looked at anew from its beginning.
        (self.seen, self.chars) = (0, 0);
        cut
    }

    /// The text is complete: what is left of it. To be asked once there is no next piece.
    pub fn rest(&mut self) -> Option<String> {
        let rest = std::mem::take(self).text;
        (!rest.is_empty()).then_some(rest)
    }

    fn verdict(&self, at: usize, char: char) -> Verdict {
        let after = at + char.len_utf8();
        if self.chars == 0 && char.is_whitespace() {
            return Verdict::GoesOn;
        }
        match char {
            '\n' => Verdict::Ends(after),
            '.' | '!' | '?' | '…' => self.sentence(at),
            '。' | '！' | '？' | '｡' => match self.past(after, |c| is_closing(c) || is_end(c)) {
                Some(end) => Verdict::Ends(end),
                None => Verdict::Wait,
            },
            '、' | '，' | '；' | '：' if self.may_divide(FIRST / 2) => Verdict::Ends(after),
            ',' | ';' | ':' if self.may_divide(FIRST) => match self.char(after) {
                Some(next) if next.is_whitespace() => Verdict::Ends(after),
                Some(_) => Verdict::GoesOn,
                None => Verdict::Wait,
            },
            '—' | '–' if self.may_divide(FIRST) => match self.char(after) {
                Some(next) if next.is_alphabetic() || next.is_whitespace() => Verdict::Ends(after),
                Some(_) => Verdict::GoesOn,
                None => Verdict::Wait,
            },
            '-' if self.may_divide(FIRST) && self.text[..at].ends_with(char::is_whitespace) => {
                match self.char(after) {
                    Some(next) if next.is_whitespace() => Verdict::Ends(after),
                    Some(_) => Verdict::GoesOn,
                    None => Verdict::Wait,
                }
            }
            _ if char.is_whitespace() && self.chars >= ENDLESS => Verdict::Ends(at),
            _ if char.is_whitespace() && self.may_divide(FIRST_WITHOUT_MARK) => self.conjunction(at, after),
            _ => Verdict::GoesOn,
        }
    }

    /// True if a clause may end here, which needs at least `first` letters in the first piece.
    fn may_divide(&self, first: usize) -> bool {
        self.chars >= if self.begun { LONG } else { first }
    }

    /// Whether a sentence ends with the mark at `at`.
    fn sentence(&self, at: usize) -> Verdict {
        let Some(marks) = self.past(at, is_end) else { return Verdict::Wait };
        let Some(end) = self.past(marks, is_closing) else { return Verdict::Wait };
        if !self.char(end).is_some_and(char::is_whitespace) {
            return Verdict::GoesOn;
        }
        if self.text[at..marks].contains(['!', '?']) {
            return Verdict::Ends(end);
        }
        let next = self.past(end, char::is_whitespace);
        if self.text[end..next.unwrap_or(self.text.len())].contains('\n') {
            return Verdict::Ends(end);
        }
        let Some(next) = next else { return Verdict::Wait };
        let next = self.char(next).unwrap_or(' ');
        let word =
            self.text[..at].rsplit(|c: char| c.is_whitespace() || is_opening(c)).next().unwrap_or_default();
        let begins = self.text[..at - word.len()].trim().is_empty();
        let lower = word.to_lowercase();
        let is_initial = word.chars().count() == 1 && word != "I" && word.chars().all(char::is_uppercase);
        let is_number = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
        let goes_on = next.is_lowercase()
            || ABBREVIATIONS.contains(&&*lower)
            || is_initial
            || begins && is_number
            || next.is_ascii_digit() && BEFORE_NUMBERS.contains(&&*lower);
        if goes_on { Verdict::GoesOn } else { Verdict::Ends(end) }
    }

    /// Whether the space at `at` is followed by a word that begins a clause.
    fn conjunction(&self, at: usize, after: usize) -> Verdict {
        let rest = &self.text[after..];
        let word = rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
        if word.len() == rest.len() {
            let may_become = CONJUNCTIONS.iter().any(|conjunction| conjunction.starts_with(word));
            return if may_become { Verdict::Wait } else { Verdict::GoesOn };
        }
        let is_whole = rest[word.len()..].starts_with(char::is_whitespace);
        if is_whole && CONJUNCTIONS.contains(&word) { Verdict::Ends(at) } else { Verdict::GoesOn }
    }

    fn char(&self, at: usize) -> Option<char> {
        self.text[at..].chars().next()
    }

    /// The first byte from `at` on whose character is no such; `None` if there is none yet.
    fn past(&self, at: usize, is_such: impl Fn(char) -> bool) -> Option<usize> {
        self.text[at..].find(|c| !is_such(c)).map(|offset| at + offset)
    }
}

fn is_end(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？' | '｡')
}

fn is_closing(c: char) -> bool {
    matches!(c, '"' | '\'' | '”' | '’' | ')' | ']' | '»' | '」' | '』' | '）' | '*' | '_')
}

fn is_opening(c: char) -> bool {
    matches!(c, '"' | '\'' | '“' | '‘' | '(' | '[' | '«' | '「' | '『' | '（' | '*' | '_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(deltas: &[&str]) -> Vec<String> {
        let mut clauses = Clauses::new();
        let mut pieces = Vec::new();
        for delta in deltas {
            clauses.push(delta);
            pieces.extend(std::iter::from_fn(|| clauses.next_piece()));
        }
        pieces.extend(clauses.rest());
        pieces
    }

    #[test]
    fn the_first_piece_comes_with_the_first_clause_and_the_others_with_their_sentences() {
        for (text, wanted) in [
            (
                "Of course I can, one moment. Here, it is.",
                &["Of course I can,", " one moment.", " Here, it is."][..],
            ),
            ("Yes, we are open until nine.", &["Yes, we are open until nine."]),
            ("We open at nine — and close at five.", &["We open at nine —", " and close at five."]),
            ("We open at nine—we close late.", &["We open at nine—", "we close late."]),
            (
                "Your appointment is on Monday morning and I look forward to it.",
                &["Your appointment is on Monday morning", " and I look forward to it."],
            ),
            ("Bread and butter and jam.", &["Bread and butter and jam."]),
            ("Your sandwich is with tomatoes sortof.", &["Your sandwich is with tomatoes sortof."]),
        ] {
            assert_eq!(pieces(&[text]), wanted, "{text}");
        }
    }

    #[test]
    fn a_word_that_was_not_finished_is_taken_back_and_can_be_written_anew() {
        let mut clauses = Clauses::new();
        clauses.push("Of course I can, at any ti");
        assert_eq!(clauses.next_piece().as_deref(), Some("Of course I can,"));
        assert_eq!(clauses.cut_word(), 2);
        assert_eq!(clauses.cut_word(), 0);
        clauses.push("time. Really.");
        assert_eq!(clauses.next_piece().as_deref(), Some(" at any time."));
        assert_eq!(Clauses::new().cut_word(), 0);
    }

    #[test]
    fn points_that_end_no_sentence_divide_nothing() {
        for text in [
            "It costs 3.50 dollars at Dr. Smith's.",
            "See www.example.com or https://a.b/c?d=1.5 today.",
            "Ask for J. R. Jones in No. 5.",
            "We take e.g. cards.",
            "It is approx. ten.",
            "That is 1,000,000 of them at 10:30.",
        ] {
            assert_eq!(pieces(&[text]), [text]);
        }
        assert_eq!(pieces(&["No. I do not."]), ["No.", " I do not."], "no abbreviation without a number");
        assert_eq!(pieces(&["It was 2024. Then it was I. You know."]).len(), 3);
    }

    #[test]
    fn ends_of_sentences_take_their_marks_and_quotes_along() {
        assert_eq!(pieces(&["He said \"Stop!\" Then he left."]), ["He said \"Stop!\"", " Then he left."]);
        assert_eq!(pieces(&["Really?! Yes... Well."]), ["Really?!", " Yes...", " Well."]);
        assert_eq!(pieces(&["Hm… maybe… Well."]), ["Hm… maybe…", " Well."]);
        assert_eq!(pieces(&["(Like this.) And that."]), ["(Like this.)", " And that."]);
    }

    #[test]
    fn each_item_of_a_list_is_a_piece_with_its_number() {
        assert_eq!(pieces(&["1. Open it.\n2. Look.\n\n- Done"]), ["1. Open it.", "\n2. Look.", "\n\n- Done"]);
        assert_eq!(pieces(&["Slots\n- nine\n- ten"]), ["Slots\n", "- nine\n", "- ten"]);
    }

    #[test]
    fn text_without_spaces_between_sentences_is_divided_by_its_own_marks() {
        assert_eq!(
            pieces(&["你好。我们九点开门，五点关门。好吗？"]),
            ["你好。", "我们九点开门，五点关门。", "好吗？"]
        );
        assert_eq!(pieces(&["我们每天早上九点开门，五点关门。"]), ["我们每天早上九点开门，", "五点关门。"]);
        assert_eq!(pieces(&["「はい。」そうです。"]), ["「はい。」", "そうです。"]);
    }

    #[test]
    fn a_piece_comes_once_the_word_after_it_has_begun() {
        let mut clauses = Clauses::new();
        for (delta, wanted) in [
            ("Well, good", None),
            (" morning,", None),
            (" how", Some("Well, good morning,")),
            (" are you?", None),
        ] {
            clauses.push(delta);
            assert_eq!(clauses.next_piece().as_deref(), wanted);
        }
        clauses.push("\n");
        assert_eq!(clauses.next_piece().as_deref(), Some(" how are you?"));
        assert_eq!(clauses.rest().as_deref(), Some("\n"));
        assert_eq!(clauses.rest(), None);
    }

    #[test]
    fn a_sentence_without_an_end_is_divided_all_the_same() {
        let long = "word ".repeat(1_000);
        let pieces = pieces(&[&long]);
        assert!(pieces.iter().all(|piece| piece.len() <= ENDLESS + 5), "{}", pieces[0].len());
        assert!(pieces.iter().all(|piece| piece.trim().split(' ').all(|word| word == "word")));
    }

    fn texts() -> impl Strategy<Value = String> {
        let parts = [
            "a",
            "Hello",
            " ",
            " ",
            ".",
            ",",
            "!",
            "?",
            "…",
            "\n",
            "Dr",
            "1",
            "2.5",
            "—",
            "-",
            "and",
            " and ",
            "\"",
            "'",
            "。",
            "，",
            "好",
            "I",
            "e.g.",
            "\u{301}",
            "x".repeat(30).leak(),
            ")",
            ":",
            "é",
            "😀",
        ];
        prop::collection::vec(prop::sample::select(parts.to_vec()), 0..120).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn pieces_are_the_text_however_it_came_and_no_word_is_divided(
            text in texts(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let whole = pieces(&[&text]);
            prop_assert_eq!(whole.concat(), &*text);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.retain(|cut| text.is_char_boundary(*cut));
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let deltas: Vec<&str> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(pieces(&deltas), &*whole);
            for pair in whole.windows(2) {
                let (last, first) = (pair[0].chars().next_back(), pair[1].chars().next());
                let inside = last.is_some_and(char::is_alphanumeric) && first.is_some_and(char::is_alphanumeric);
                prop_assert!(!inside, "{:?}", pair);
            }
        }
    }
}
