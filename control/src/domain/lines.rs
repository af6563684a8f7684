//! Telephone lines, and the assistants that answer them.

use super::phone::E164;
use super::time::UnixMs;

/// The shortest way to say which of a list is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// At most so many; none: all that there are.
    pub limit: Option<u32>,
    /// So many are left out first.
    pub offset: u32,
}

/// Who speaks on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoiceProvider {
    /// Cartesia.
    Cartesia,
    /// ElevenLabs.
    ElevenLabs,
}

impl VoiceProvider {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Cartesia, Self::ElevenLabs];

    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cartesia => "cartesia",
            Self::ElevenLabs => "elevenlabs",
        }
    }

    /// The reverse of [`VoiceProvider::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.as_str() == text)
    }
}

/// What an assistant may do beside talking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Look up when an appointment is possible.
    GetAvailableSlots,
    /// Make one.
    BookAppointment,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::GetAvailableSlots, Self::BookAppointment];

    /// As a model and records call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GetAvailableSlots => "get_available_slots",
            Self::BookAppointment => "book_appointment",
        }
    }

    /// The reverse of [`Tool::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.as_str() == text)
    }
}

/// How calls are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assistant {
    /// What the model is told; empty: as the server is configured.
    pub prompt: String,
    /// What is said first; empty: likewise.
    pub greeting: String,
    /// The model: `openai/gpt-4o-mini`.
    pub llm_model: String,
    /// Who listens: `nova-2-phonecall`.
    pub stt_model: String,
    /// Who speaks.
    pub tts_provider: VoiceProvider,
    /// The provider's name for the voice; empty: its default.
    pub tts_voice: String,
    /// What it may do.
    pub tools: Vec<Tool>,
}

/// One telephone number that is answered for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Ours: a UUID.
    pub id: String,
    /// Whose it is: a user's id.
    pub owner: String,
    /// Of the business.
    pub name: String,
    /// E.164.
    pub number: String,
    /// `primary`, or a calendar's address.
    pub calendar: String,
    /// Who answers.
    pub assistant: Assistant,
    /// Seconds of call that are paid for.
    pub balance_s: u64,
    /// Whether calls are answered.
    pub active: bool,
    /// When it was made.
    pub created: UnixMs,
    /// When its owner changed something last.
    pub updated: UnixMs,
}

/// A line to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLine {
    /// Whose: a user's id.
    pub owner: String,
    /// Of the business.
    pub name: String,
    /// The number.
    pub number: E164,
    /// `primary`, or a calendar's address.
    pub calendar: String,
    /// Who answers.
    pub assistant: Assistant,
    /// What it has to begin with, in seconds.
    pub balance_s: u32,
    /// Whether calls are answered.
    pub active: bool,
}

/// What becomes different on a line; what is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineChange {
    /// The name.
    pub name: Option<String>,
    /// The number.
    pub number: Option<E164>,
    /// The calendar.
    pub calendar: Option<String>,
    /// What the model is told.
    pub prompt: Option<String>,
    /// What is said first.
    pub greeting: Option<String>,
    /// The model.
    pub llm_model: Option<String>,
    /// Who listens.
    pub stt_model: Option<String>,
    /// Who speaks.
    pub tts_provider: Option<VoiceProvider>,
    /// With which voice.
    pub tts_voice: Option<String>,
    /// What it may do.
    pub tools: Option<Vec<Tool>>,
    /// The balance, in seconds.
    pub balance_s: Option<u32>,
    /// Whether calls are answered.
    pub active: Option<bool>,
}

/// One person who calls a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Ours: a UUID.
    pub id: String,
    /// The line's id.
    pub line: String,
    /// E.164.
    pub number: String,
    /// None: not known.
    pub name: Option<String>,
    /// When it was made.
    pub created: UnixMs,
    /// When it was changed last.
    pub updated: UnixMs,
}
