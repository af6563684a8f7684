//! What personas and customers say to each other: by which channel, as far as it goes together, and from what it was answered.
//!
//! A conversation begins with the first question that is answered. It goes on as long as its last message is younger than the
//! settings say; a telephone call as long as it lasts. It ends when that time is over, when it is reset, or with its call. What
//! is said in it after that, where that is possible, goes on with it.

use std::time::Duration;

use crate::domain::time::UnixMs;

/// What stands before the ids of conversations, as users see them.
pub const CONVERSATION: &str = "conv";

/// By what they speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// `POST /api/chat/query`.
    Chat,
    /// A bot.
    Telegram,
    /// A telephone call.
    Phone,
}

impl Channel {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Telegram => "telegram",
            Self::Phone => "phone",
        }
    }
}

/// Why a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nobody said anything for as long as the settings allow.
    Idle,
    /// Somebody wanted to begin anew.
    Reset,
    /// Its call is over.
    Over,
}

impl Ending {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Reset => "reset",
            Self::Over => "over",
        }
    }
}

/// Where in a channel there is one conversation at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The channel.
    pub channel: Channel,
    /// The place's name there: `bot:chat`, or a call's id.
    pub name: String,
}

/// In which conversation something is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Within {
    /// In a new one, by chat.
    New,
    /// In this one, by chat.
    Conversation(String),
    /// In the one that goes on at a place; a new one if there is none.
    At(Place),
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The customer.
    Customer,
    /// The persona.
    Persona,
}

impl Speaker {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Persona => "persona",
        }
    }
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// By whom.
    pub speaker: Speaker,
    /// What.
    pub text: String,
}

/// A conversation that goes on at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its id.
    pub id: String,
    /// The persona's.
    pub persona: String,
    /// The last messages, in order.
    pub messages: Vec<Message>,
}

/// Something that an answer was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Citation {
    /// The id of the product.
    pub product: String,
    /// What the catalogue says of it.
    pub chunk: String,
    /// How similar that is to the question, 0 to 1.
    pub score: f32,
}

/// A question and its answer, as they are written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The answer's id: a UUID.
    pub id: String,
    /// Whose persona.
    pub owner: String,
    /// Which.
    pub persona: String,
    /// Who asks, if that is known.
    pub customer: Option<String>,
    /// Where.
    pub within: Within,
    /// What is answered with it, once and no more.
    pub source: Option<String>,
    /// The question.
    pub question: String,
    /// When it was asked.
    pub asked: UnixMs,
    /// The answer.
    pub answer: String,
    /// What it was made from.
    pub citations: Vec<Citation>,
    /// Tokens of what the model was told.
    pub prompt_tokens: u32,
    /// Tokens of what it said.
    pub completion_tokens: u32,
    /// When it was answered.
    pub at: UnixMs,
}

/// An answer that was written down before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its id.
    pub id: String,
    /// Whose answer it is.
    pub persona: String,
    /// What it says.
    pub text: String,
}

/// The moment from which on the last message must be, so that a conversation goes on at `now`.
pub fn goes_on_since(now: UnixMs, idle: Duration) -> UnixMs {
    UnixMs(now.0.saturating_sub(i64::try_from(idle.as_millis()).unwrap_or(i64::MAX)))
}
