//! Recognisers, one file each.

pub mod none;
pub mod pocketsphinx;

use std::sync::Arc;

use self::none::NoRecogniser;
use self::pocketsphinx::Pocketsphinx;
use super::SpeechToText;

/// Where the calls' local recognisers come from: the best that this machine has.
#[derive(Clone)]
pub enum Recognisers {
    /// pocketsphinx, by the grammar of each question.
    Pocketsphinx(Arc<Pocketsphinx>),
    /// Nothing: callers are led to the keypad.
    None {
        /// Why, and what to install, as a sentence for the operator.
        reason: String,
    },
}

impl Recognisers {
    /// Looks for a recogniser on this machine. Reads files: not for a media thread.
    pub fn detect() -> Self {
        match Pocketsphinx::load() {
            Ok(library) => Self::Pocketsphinx(library),
            Err(error) => Self::None { reason: error.to_string() },
        }
    }

    /// A recogniser for one call; costs next to nothing until it is asked to expect something.
    pub fn recogniser(&self) -> Box<dyn SpeechToText> {
        match self {
            Self::Pocketsphinx(library) => Box::new(library.recogniser()),
            Self::None { .. } => Box::new(NoRecogniser),
        }
    }
}
