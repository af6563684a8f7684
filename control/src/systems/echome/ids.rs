//! Ids as Echo Me shows them: what a thing is, and its UUID.

/// `client_` and the UUID.
pub(in crate::systems) fn shown(kind: &str, id: &str) -> String {
    format!("{kind}_{id}")
}

/// The UUID of what was shown so. What was never shown is nobody's: it is looked for, and not found.
pub(in crate::systems) fn own<'a>(kind: &str, shown: &'a str) -> &'a str {
    shown.strip_prefix(kind).and_then(|rest| rest.strip_prefix('_')).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_is_found_again_and_nothing_else() {
        assert_eq!(own("client", &shown("client", "1-2")), "1-2");
        for other in ["1-2", "persona_1-2", "client", "client1-2", ""] {
            assert_eq!(own("client", other), "", "{other}");
        }
    }
}
