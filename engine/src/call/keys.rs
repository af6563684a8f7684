//! Answers by keypad: keys are collected until there are enough, `#` ends them, or no more come.

/// More keys than any answer has are not kept.
const KEYS_MAX: usize = 32;

/// What a key did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pressed {
    /// More may come.
    Collecting,
    /// The answer is complete.
    Complete(String),
}

#[derive(Debug, Default)]
pub(super) struct Keys {
    digits: String,
}

impl Keys {
    /// Takes one key, where an answer has `keys_max` of them.
    ///
    /// `*` alone is an answer of its own (by custom: "repeat that"); `#` ends an answer and is not part of it, unless
    /// it is all there is.
    pub(super) fn press(&mut self, digit: char, keys_max: u8) -> Pressed {
        let ends = digit == '#' || (digit == '*' && self.digits.is_empty());
        if (!ends || self.digits.is_empty()) && self.digits.len() < KEYS_MAX {
            self.digits.push(digit);
        }
        if ends || self.digits.len() >= usize::from(keys_max.max(1)) {
            return Pressed::Complete(self.take());
        }
        Pressed::Collecting
    }

    /// What was collected, which becomes nothing.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.digits)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.digits.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(text: &str) -> Pressed {
        Pressed::Complete(text.into())
    }

    #[test]
    fn an_answer_of_one_key_is_complete_at_once() {
        assert_eq!(Keys::default().press('1', 1), complete("1"));
    }

    #[test]
    fn hash_ends_a_number_and_is_not_part_of_it() {
        let mut keys = Keys::default();
        for digit in "200".chars() {
            assert_eq!(keys.press(digit, 6), Pressed::Collecting);
        }
        assert_eq!(keys.press('#', 6), complete("200"));
        assert!(keys.is_empty());
    }

    #[test]
    fn star_alone_is_an_answer() {
        assert_eq!(Keys::default().press('*', 6), complete("*"));
    }

    #[test]
    fn the_last_possible_key_completes() {
        let mut keys = Keys::default();
        assert_eq!(keys.press('4', 2), Pressed::Collecting);
        assert_eq!(keys.press('2', 2), complete("42"));
    }
}
