//! Filters of OData 4. What came from outside stands in a filter quoted, and nowhere else.

/// A text as a literal: its quotes are doubled.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// That any of the `columns` is any of the `texts`.
pub(super) fn is_any<T: AsRef<str>>(columns: &[&str], texts: &[T]) -> String {
    let of = |column: &&str| {
        let is = |text: &T| format!("{column} eq {}", quoted(text.as_ref()));
        texts.iter().map(is).collect::<Vec<_>>()
    };
    columns.iter().flat_map(of).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_does_not_end_a_literal() {
        assert_eq!(
            is_any(&["a", "b"], &["1", "x' or 1 eq 1"]),
            "a eq '1' or a eq 'x'' or 1 eq 1' or b eq '1' or b eq 'x'' or 1 eq 1'"
        );
    }
}
