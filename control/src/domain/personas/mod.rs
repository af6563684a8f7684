//! Personas: somebody whose voice and manner an agent takes on.

pub mod answers;
pub mod bots;
pub mod cloning;
pub mod conversations;
pub mod manner;
pub mod media;
mod speech;

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
