//! Personas: somebody whose voice and manner an agent takes on.

pub mod analysis;
pub mod answers;
pub mod bots;
pub mod cloning;
pub mod conversations;
pub mod manner;
pub mod media;
pub mod on_call;
pub mod sound;
mod speech;
mod work;

use serde_json::{Map, Value};

use super::time::UnixMs;

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Persona {
    /// A UUID.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// What it is called.
    pub name: String,
    /// What somebody like that does for a living.
    pub role: Option<String>,
    /// The URL of the video that it is made of.
    pub video: String,
    /// The language that is spoken there.
    pub language: String,
    /// The voice; none until it is there.
    pub voice: Option<PersonaVoice>,
    /// What was made out of what was said.
    pub profile: Map<String, Value>,
    /// What the owner says instead.
    pub overrides: Map<String, Value>,
    /// When it was made.
    pub created: UnixMs,
    /// When something of it changed last.
    pub updated: UnixMs,
}

/// A persona's voice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonaVoice {
    /// The maker's name for it.
    pub id: String,
    /// `elevenlabs`, or `local` for a stand-in.
    pub maker: String,
    /// The file in which it says a sentence, among the media.
    pub sample: String,
}

/// What somebody said, as far as it was recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// Video by video, with an empty line between two.
    pub transcript: String,
    /// The ids of the videos, in that order.
    pub videos: Vec<String>,
}

/// Who made a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileSource {
    /// A language model: all of it.
    Model,
    /// This machine: what can be counted. The rest is empty.
    Counted,
}

impl ProfileSource {
    /// As it stands in records and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Counted => "counted",
        }
    }
}

/// What becomes of the words that are there when more are analysed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeStrategy {
    /// The new ones are added.
    #[default]
    Append,
    /// The new ones take their place.
    Replace,
}

impl MergeStrategy {
    /// As it stands in requests and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Replace => "replace",
        }
    }

    /// The one of this name.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Append, Self::Replace].into_iter().find(|strategy| strategy.as_str() == text)
    }
}

/// What an analysis found, to be written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysed {
    /// The persona.
    pub persona: String,
    /// All words that it is known by from here on.
    pub words: Words,
    /// What was made of them.
    pub profile: Map<String, Value>,
    /// Who made it.
    pub source: ProfileSource,
    /// What somebody like that does for a living; none: nothing new is known.
    pub role: Option<String>,
}
