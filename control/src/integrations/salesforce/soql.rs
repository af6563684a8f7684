//! Texts in Salesforce's query language. What came from outside stands in a query quoted, and nowhere else.

/// A text as a literal of SOQL.
pub(super) fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for character in text.chars() {
        match character {
            '\\' | '\'' | '"' => literal.extend(['\\', character]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            '\u{8}' => literal.push_str("\\b"),
            '\u{c}' => literal.push_str("\\f"),
            character if character.is_control() => literal.push(' '),
            character => literal.push(character),
        }
    }
    literal.push('\'');
    literal
}

/// Several, with commas between them.
pub(super) fn list<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> String {
    texts.map(|text| quoted(text.as_ref())).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_literal_but_its_end() {
        assert_eq!(quoted("+15551234567"), "'+15551234567'");
        assert_eq!(quoted("O'Neill \\ \"x\"\n"), r#"'O\'Neill \\ \"x\"\n'"#);
        assert_eq!(quoted("a\u{0}b"), "'a b'");
        assert_eq!(list(["a", "' OR Name LIKE '%"].iter()), r"'a','\' OR Name LIKE \'%'");
    }
}
