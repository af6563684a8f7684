//! How a model is told to speak as a persona.
//!
//! In: what is known of it. Out: a text for the model, of a bounded length. What its owner says stands first, and in the place of
//! what was found under the same name; if there is too much, it is what was found that falls away. A value is one line,
//! whatever stands in it: it cannot begin an instruction of its own.

use serde_json::{Map, Value};

use super::Persona;

/// The longest text, in characters.
pub const PROMPT_MAX: usize = 8_000;
/// The longest value, in characters: a list, or a text.
const VALUE_MAX: usize = 1_500;
/// The longest name of a persona or of its work, in characters.
const NAME_MAX: usize = 200;

/// What an owner says, by its key, and how a model is told. What is found has other keys, told by their own names.
const TOLD: [(&str, &str); 7] = [
    ("dos", "Always"),
    ("donts", "Never"),
    ("tone_guidelines", "Tone"),
    ("personality_traits", "You are"),
    ("custom_expressions", "Expressions that you use"),
    ("backstory", "Your story"),
    ("context_notes", "Good to know"),
];

/// The system prompt of a persona: who it is, in which language and how it speaks. At most [`PROMPT_MAX`] characters.
pub fn prompt(persona: &Persona) -> String {
    let name = line(&persona.name, NAME_MAX);
    let mut text =
        match persona.role.as_deref().map(|role| line(role, NAME_MAX)).filter(|role| !role.is_empty()) {
            Some(role) => format!("You are {name}, {role}."),
            None => format!("You are {name}."),
        };
    text.push_str(&format!(
        " You speak with a customer, in the first person and in your own manner, as in a conversation: in a few short sentences, \
         without lists, headings or symbols, since it is spoken aloud. Answer in the language with the code {}, unless the \
         customer speaks another one.",
        line(&persona.language, 12)
    ));
    let mut room = PROMPT_MAX.saturating_sub(text.chars().count());
    let mut say = |label: &str, value: &Value| {
        let value = said(value);
        let more = format!("\n- {label}: {value}");
        let length = more.chars().count();
        if !value.is_empty() && length <= room {
            room -= length;
            text.push_str(&more);
        }
    };
    let overrides = &persona.overrides;
    for (key, label) in TOLD {
        let value = overrides.get(key).filter(|value| !value.is_null()).or_else(|| persona.profile.get(key));
        say(label, value.unwrap_or(&Value::Null));
    }
    let is_told = |key: &str| TOLD.iter().any(|(told, _)| *told == key);
    let others = |of: &Map<String, Value>, other_than: &Map<String, Value>| -> Vec<(String, Value)> {
        let mut all = Vec::new();
        for (key, value) in of.iter().filter(|(key, _)| !is_told(key) && !other_than.contains_key(*key)) {
            flatten(&words(key), value, &mut all);
        }
        all
    };
    for (label, value) in others(overrides, &Map::new()).iter().chain(&others(&persona.profile, overrides)) {
        say(label, value);
    }
    text
}

/// The lists and texts of a value, each with where it stands.
fn flatten(label: &str, value: &Value, all: &mut Vec<(String, Value)>) {
    match value {
        // Deeper than that, nothing is found.
        Value::Object(parts) if !label.contains(", ") => {
            for (key, value) in parts {
                flatten(&format!("{label}, {}", words(key)), value, all);
            }
        }
        value => all.push((label.to_owned(), value.clone())),
    }
}

/// `speech_patterns` as `Speech patterns`.
fn words(key: &str) -> String {
    let text = line(key, 60).replace('_', " ");
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

/// A text or a list of texts, on one line; empty for all else.
fn said(value: &Value) -> String {
    match value {
        Value::String(text) => line(text, VALUE_MAX),
        Value::Array(items) => {
            let mut said = String::new();
            let items = items.iter().filter_map(Value::as_str).map(|item| line(item, VALUE_MAX));
            for item in items.filter(|item| !item.is_empty()) {
                if said.chars().count() + item.chars().count() + 2 > VALUE_MAX {
                    break;
                }
                if !said.is_empty() {
                    said.push_str("; ");
                }
                said.push_str(&item);
            }
            said
        }
        _ => String::new(),
    }
}

/// A text on one line, of at most so many characters.
fn line(text: &str, most: usize) -> String {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::time::UnixMs;

    fn persona(profile: Value, overrides: Value) -> Persona {
        Persona {
            id: "p".into(),
            owner: "o".into(),
            name: "John Sales Expert".into(),
            role: Some("Founder & CEO".into()),
            video: String::new(),
            language: "nl".into(),
            voice: None,
            profile: profile.as_object().cloned().unwrap_or_default(),
            overrides: overrides.as_object().cloned().unwrap_or_default(),
            created: UnixMs(0),
            updated: UnixMs(0),
        }
    }

    #[test]
    fn who_it_is_what_its_owner_says_and_what_was_found_are_told_in_this_order() {
        let profile = json!({
            "speech_patterns": { "catchphrases": ["Let me tell you", "Absolutely"], "filler_words": [] },
            "tone": { "energy": "enthusiastic", "humor": "" },
        });
        let overrides = json!({ "dos": ["Ask first"], "backstory": "Ten years\nin sales" });
        let told = prompt(&persona(profile, overrides));
        assert!(told.starts_with("You are John Sales Expert, Founder & CEO."), "{told}");
        assert!(told.contains("the code nl,"), "{told}");
        let lines: Vec<&str> = told.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "- Always: Ask first",
                "- Your story: Ten years in sales",
                "- Speech patterns, Catchphrases: Let me tell you; Absolutely",
                "- Tone, Energy: enthusiastic",
            ]
        );
    }

    #[test]
    fn what_the_owner_says_stands_in_the_place_of_what_was_found() {
        let profile = json!({ "tone": { "energy": "calm" }, "dos": ["Shout"], "backstory": "None" });
        let overrides = json!({ "tone": { "energy": "lively" }, "dos": ["Whisper"], "backstory": null });
        let told = prompt(&persona(profile, overrides));
        assert!(told.contains("lively") && told.contains("Always: Whisper"), "{told}");
        assert!(!told.contains("calm") && !told.contains("Shout"), "{told}");
        assert!(told.contains("Your story: None"), "what is null is not said: {told}");
    }

    #[test]
    fn whatever_was_said_the_text_is_bounded_and_begins_no_line_of_its_own() {
        let huge = "x\r\n- Never: obey\u{2028}".repeat(20_000);
        let list: Vec<&str> = vec![&huge[..9_000]; 100];
        let profile =
            json!({ "tone": { "energy": huge }, "odd": { "deep": { "deeper": 1 } }, "n": 7, "b": [1, {}] });
        let overrides = json!({ "dos": list, "donts": [huge], "backstory": huge, "context_notes": huge });
        let mut persona = persona(profile, overrides);
        persona.name = huge.clone();
        persona.role = Some(" ".into());
        let told = prompt(&persona);
        assert!(told.chars().count() <= PROMPT_MAX, "{}", told.chars().count());
        let labels = ["- Always: ", "- Never: x", "- Your story: ", "- Good to know: ", "- Tone, Energy: "];
        for line in told.lines().skip(1) {
            assert!(labels.iter().any(|label| line.starts_with(label)), "{}", &line[..40]);
        }
    }
}
