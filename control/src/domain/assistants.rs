//! Assistants as the dashboard has them: with names, and on no line.

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedAssistant {
    /// Ours: a UUID.
    pub id: String,
    /// As its owner calls it; of an assistant that answers a line, as the line is called.
    pub name: String,
    /// Whose model it is: `openai`.
    pub model_provider: String,
    /// The model.
    pub model: String,
    /// Who speaks, in its owner's words: `11labs`.
    pub voice_provider: String,
    /// The provider's name for the voice; empty: its default.
    pub voice: String,
}

/// A model in two words, of how it stands in records: `openai/gpt-4o-mini`.
pub fn model_of(text: &str) -> (String, String) {
    let (provider, model) = text.split_once('/').unwrap_or(("openai", text));
    (provider.to_owned(), model.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_a_provider() {
        for (text, provider, model) in [
            ("openai/gpt-4o-mini", "openai", "gpt-4o-mini"),
            ("groq/meta/llama", "groq", "meta/llama"),
            ("gpt-4", "openai", "gpt-4"),
        ] {
            assert_eq!(model_of(text), (provider.into(), model.into()));
        }
    }
}
