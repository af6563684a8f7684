//! A persona on a telephone line: it answers in place of the line's assistant, in its own voice and manner, and knows its owner's
//! products. What the line may do besides (appointments) it may do too.

use std::sync::Arc;

use offhook_engine::CallId;
use offhook_engine::speech::Voice;

use super::conversations::{Channel, Place};
use super::{Persona, manner};
use crate::domain::api_keys::{ApiKeys, KeyService};
use crate::domain::catalogue::Catalogues;
use crate::domain::lines::Assistant;
use crate::domain::speech::PersonaVoices;
use crate::domain::time::UnixMs;
use crate::integrations::tools::{SEARCH_PRODUCTS, Shop};
use crate::store::Store;

/// The longest greeting that is taken from how somebody begins, in characters.
const GREETING_MAX: usize = 160;

/// What answers one call.
pub struct OnCall {
    /// In place of the line's.
    pub assistant: Assistant,
    /// The persona's voice.
    pub voice: Voice,
    /// Its owner's products.
    pub shop: Shop,
}

/// Personas on lines.
pub struct OnCalls {
    store: Arc<Store>,
    keys: Arc<ApiKeys>,
    voices: Arc<PersonaVoices>,
    catalogues: Catalogues,
}

impl OnCalls {
    /// Personas of the store's, with the keys and catalogues of their owners.
    pub fn new(
        store: Arc<Store>,
        keys: Arc<ApiKeys>,
        voices: Arc<PersonaVoices>,
        catalogues: Catalogues,
    ) -> Self {
        Self { store, keys, voices, catalogues }
    }

    /// What answers a call on a line, if a persona does: that begins a conversation, which lasts as long as the call.
    /// `assistant`: the line's own. What goes wrong is in the log: then the assistant answers.
    pub async fn of(&self, call: &CallId, line: &str, assistant: &Assistant) -> Option<OnCall> {
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(call_id = %call, line, %error, "a persona cannot answer: the line's assistant does");
        };
        let persona = self.store.persona_of_line(line).await.inspect_err(|error| failed(error)).ok()??;
        let voice = persona.voice.as_ref()?;
        let key = self.keys.of(&persona.owner, KeyService::ElevenLabs).await;
        let key = key.inspect_err(|error| failed(error)).ok()?;
        let voice = self.voices.for_a_call(voice, key.as_ref());
        let voice = voice.inspect_err(|error| failed(error)).ok()?;
        let place = Place { channel: Channel::Phone, name: call.as_str().to_owned() };
        let begun =
            self.store.begin_conversation(&persona.owner, &persona.id, None, place, UnixMs::now()).await;
        begun.inspect_err(|error| failed(error)).ok()?;
        let shop = Shop::new(self.catalogues.clone(), persona.owner.as_str());
        Some(OnCall { assistant: as_assistant(&persona, assistant), voice, shop })
    }
}

/// A line's assistant as a persona is it.
fn as_assistant(persona: &Persona, assistant: &Assistant) -> Assistant {
    let prompt = format!(
        "{}\n\nYou are on the telephone. For all that concerns products, ask {SEARCH_PRODUCTS} first.",
        manner::prompt(persona)
    );
    Assistant { prompt, greeting: greeting(persona), ..assistant.clone() }
}

/// What a persona says first: as it is known to begin, or its name.
fn greeting(persona: &Persona) -> String {
    let known = persona.profile.get("greeting_closing").and_then(|part| part.get("typical_greetings"));
    let known = known.and_then(|all| all.get(0)).and_then(serde_json::Value::as_str).map(str::trim);
    let is_short = |text: &&str| !text.is_empty() && text.chars().count() <= GREETING_MAX;
    match known.filter(is_short) {
        Some(greeting) => greeting.to_owned(),
        None if persona.language.starts_with("en") => format!("Hello, this is {}.", persona.name),
        None => format!("{}.", persona.name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::lines::{Tool, VoiceProvider};
    use crate::domain::time::UnixMs;

    fn persona(language: &str, profile: &Value) -> Persona {
        Persona {
            id: "p".into(),
            owner: "o".into(),
            name: "John".into(),
            role: None,
            video: String::new(),
            language: language.into(),
            voice: None,
            profile: profile.as_object().unwrap().clone(),
            overrides: json!({ "dos": ["Ask first"] }).as_object().unwrap().clone(),
            created: UnixMs(0),
            updated: UnixMs(0),
        }
    }

    #[test]
    fn a_persona_speaks_in_its_manner_and_may_do_what_its_line_may() {
        let assistant = Assistant {
            prompt: "You are a receptionist.".into(),
            greeting: "Acme.".into(),
            llm_model: "gpt-4o".into(),
            stt_model: "nova-2-phonecall".into(),
            tts_provider: VoiceProvider::Cartesia,
            tts_voice: String::new(),
            tools: vec![Tool::BookAppointment],
        };
        let made = as_assistant(&persona("en", &json!({})), &assistant);
        assert!(
            made.prompt.starts_with("You are John.") && made.prompt.contains("Ask first"),
            "{}",
            made.prompt
        );
        assert!(made.prompt.contains(SEARCH_PRODUCTS) && !made.prompt.contains("receptionist"));
        assert_eq!((made.greeting.as_str(), made.tools), ("Hello, this is John.", assistant.tools));
    }

    #[test]
    fn it_greets_as_it_is_known_to_begin() {
        let known = |greetings: Value| {
            greeting(&persona("nl", &json!({ "greeting_closing": { "typical_greetings": greetings } })))
        };
        assert_eq!(known(json!(["Hoi!", "Dag."])), "Hoi!");
        for unusable in [json!([]), json!([7]), json!("Hoi"), json!([""]), json!(["x".repeat(400)])] {
            assert_eq!(known(unusable.clone()), "John.", "{unusable}");
        }
    }
}
