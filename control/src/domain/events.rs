//! What users' webhooks are told of, beside calls that end ([`super::ended_calls`]): what became of their personas and products, and
//! who talks with those.
//!
//! An event is written down in the transaction of what it tells of ([`crate::store::events`]), with its body, for each webhook that
//! wants it. What becomes of the persona later does not change what is told.

use serde_json::{Value, json};

use super::ended_calls;
use super::time::UnixMs;

/// All that a webhook may want to be told of.
pub const NAMES: [&str; 6] = [
    ended_calls::EVENT,
    "voice.cloned",
    "persona.analyzed",
    "products.ingested",
    "conversation.started",
    "conversation.ended",
];

/// Something that happened. Ids are those of records; a job's has its kind in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A persona has its voice.
    VoiceCloned {
        /// The persona.
        persona: &'a str,
        /// The voice, at its maker.
        voice: &'a str,
        /// The job that made it.
        job: &'a str,
    },
    /// A persona has its profile.
    PersonaAnalyzed {
        /// The persona.
        persona: &'a str,
        /// The job that made it.
        job: &'a str,
    },
    /// The products of a file can be asked for.
    ProductsIngested {
        /// The catalogue, as it is shown.
        catalogue: &'a str,
        /// The job that read it.
        job: &'a str,
        /// How many products.
        products: u64,
        /// Of how many pieces of text.
        chunks: u64,
    },
    /// Somebody began to talk with a persona.
    ConversationStarted(Talk<'a>),
    /// A conversation is over.
    ConversationEnded {
        /// Which.
        talk: Talk<'a>,
        /// What was said in it, by both.
        messages: u64,
    },
}

/// A conversation of a persona's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Talk<'a> {
    /// The conversation, as it is shown.
    pub conversation: &'a str,
    /// The persona.
    pub persona: &'a str,
    /// With whom; none if nobody knows.
    pub customer: Option<&'a str>,
    /// By what: `chat`, `telegram` or `phone`.
    pub channel: &'a str,
}

impl Event<'_> {
    /// Its name, which is one of [`NAMES`].
    pub const fn name(&self) -> &'static str {
        match self {
            Self::VoiceCloned { .. } => NAMES[1],
            Self::PersonaAnalyzed { .. } => NAMES[2],
            Self::ProductsIngested { .. } => NAMES[3],
            Self::ConversationStarted(_) => NAMES[4],
            Self::ConversationEnded { .. } => NAMES[5],
        }
    }

    /// What it is of: of each subject an event of a name happens once. A conversation that goes on after its end ends again: its
    /// messages belong to what that is of.
    pub fn subject(&self) -> String {
        match self {
            Self::VoiceCloned { job, .. }
            | Self::PersonaAnalyzed { job, .. }
            | Self::ProductsIngested { job, .. } => (*job).to_owned(),
            Self::ConversationStarted(talk) => talk.conversation.to_owned(),
            Self::ConversationEnded { talk, messages } => format!("{}:{messages}", talk.conversation),
        }
    }

    /// What webhooks are told, with ids as Echo Me shows them. `owner`: a user's id.
    pub fn body(&self, owner: &str, at: UnixMs) -> Value {
        json!({
            "event": self.name(),
            "timestamp": at.to_seconds_text(),
            "user_id": format!("usr_{owner}"),
            "data": self.data(),
        })
    }

    fn data(&self) -> Value {
        let persona_id = |id: &str| format!("persona_{id}");
        match *self {
            Self::VoiceCloned { persona, voice, job } => {
                json!({ "persona_id": persona_id(persona), "voice_id": voice, "job_id": job })
            }
            Self::PersonaAnalyzed { persona, job } => {
                json!({ "persona_id": persona_id(persona), "job_id": job })
            }
            Self::ProductsIngested { catalogue, job, products, chunks } => {
                json!({ "catalog_id": catalogue, "job_id": job, "products": products, "chunks": chunks })
            }
            Self::ConversationStarted(talk) => talk.data(),
            Self::ConversationEnded { talk, messages } => {
                let mut data = talk.data();
                data["messages"] = messages.into();
                data
            }
        }
    }
}

impl Talk<'_> {
    fn data(&self) -> Value {
        json!({
            "conversation_id": self.conversation,
            "persona_id": format!("persona_{}", self.persona),
            "client_id": self.customer.map(|customer| format!("client_{customer}")),
            "channel": self.channel,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TALK: Talk<'_> =
        Talk { conversation: "conv_1", persona: "p", customer: Some("c"), channel: "telegram" };

    #[test]
    fn a_cloned_voice_is_told_as_documented() {
        let event =
            Event::VoiceCloned { persona: "def456", voice: "21m00Tcm4TlvDq8ikWAM", job: "job_voice_abc123" };
        assert_eq!(
            event.body("abc123", UnixMs(1_739_872_800_999)),
            json!({
                "event": "voice.cloned",
                "timestamp": "2025-02-18T10:00:00Z",
                "user_id": "usr_abc123",
                "data": {
                    "persona_id": "persona_def456",
                    "voice_id": "21m00Tcm4TlvDq8ikWAM",
                    "job_id": "job_voice_abc123",
                },
            })
        );
    }

    #[test]
    fn the_others_say_what_they_are_of() {
        let of = |event: Event<'_>| {
            assert!(NAMES.contains(&event.name()));
            (event.name(), event.subject(), event.body("u", UnixMs(0))["data"].clone())
        };
        assert_eq!(
            of(Event::PersonaAnalyzed { persona: "p", job: "job_persona_1" }),
            (
                "persona.analyzed",
                "job_persona_1".into(),
                json!({ "persona_id": "persona_p", "job_id": "job_persona_1" })
            )
        );
        let ingested =
            Event::ProductsIngested { catalogue: "cat_1", job: "job_products_1", products: 3, chunks: 4 };
        let data = json!({ "catalog_id": "cat_1", "job_id": "job_products_1", "products": 3, "chunks": 4 });
        assert_eq!(of(ingested), ("products.ingested", "job_products_1".into(), data));
        let data = json!({
            "conversation_id": "conv_1", "persona_id": "persona_p", "client_id": "client_c", "channel": "telegram",
        });
        assert_eq!(
            of(Event::ConversationStarted(TALK)),
            ("conversation.started", "conv_1".into(), data.clone())
        );
        let nobody = Event::ConversationStarted(Talk { customer: None, ..TALK });
        assert_eq!(of(nobody).2["client_id"], Value::Null);
        let mut ended = data;
        ended["messages"] = 7.into();
        let told = of(Event::ConversationEnded { talk: TALK, messages: 7 });
        assert_eq!(told, ("conversation.ended", "conv_1:7".into(), ended));
    }
}
