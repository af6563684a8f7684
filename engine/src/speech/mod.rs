//! Ears and voices: the small streaming traits, and the engines that stand behind them.
//!
//! Nothing here runs on a media thread. A call's recogniser, voice and agent belong to one session, and the session
//! to one speech thread; audio, requests and results cross on bounded rings. What may keep others waiting is elsewhere: an
//! agent on a thread of its own, ears and voices of a vendor wherever they come from ([`apart`]).

pub mod apart;
pub(crate) mod bell;
pub mod canned;
pub mod denoise;
mod dial;
pub mod grammar;
mod hand_over;
pub(crate) mod link;
pub(crate) mod mind;
mod render;
pub(crate) mod session;
pub mod stt;
pub mod tts;
pub(crate) mod worker;

pub use apart::{Ears, Voice};
pub use hand_over::HandOver;
pub use render::render;

use std::ops::ControlFlow;

use offhook_codecs::SampleRate;

use crate::agent::Expectation;
use crate::call::WordStart;

/// Why an engine could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    /// Something that it needs is not on this machine; the text says what to install.
    #[error("{what} is not available: {help}")]
    Unavailable {
        /// What is missing.
        what: String,
        /// What to do about it.
        help: String,
    },
    /// The engine failed.
    #[error("{0}")]
    Failed(String),
}

/// What a recogniser makes of an utterance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The words, lower case, single spaces; empty if there are none.
    pub text: String,
    /// False while it may still change.
    pub is_final: bool,
}

/// A recogniser for one call. Lives on one speech thread; its methods may take as long as the audio they are given.
pub trait SpeechToText: Send {
    /// What the agent hopes to hear next. Holds until the next expectation.
    fn expect(&mut self, expectation: &Expectation);

    /// An utterance begins. Any unfinished one is forgotten.
    fn start(&mut self);

    /// More of the utterance: 8 kHz µ-law, some 20 to 100 ms. Returns the words so far if they changed.
    fn audio(&mut self, ulaw: &[u8]) -> Option<Transcript>;

    /// The utterance is over; `speech_ms` of it was speech. Returns the final words.
    fn end(&mut self, speech_ms: u32) -> Transcript;
}

/// A voice, shared by all calls. Called on speech threads, many at once.
pub trait TextToSpeech: Send + Sync {
    /// The rate of its samples.
    fn sample_rate(&self) -> SampleRate;

    /// Speaks `text`: hands on samples as they are made, until all are made or `on_audio` breaks.
    ///
    /// Returns where each word begins, in bytes of `text` and in samples at this voice's rate; empty if unknown.
    fn synthesize(
        &self,
        text: &str,
        on_audio: &mut dyn FnMut(&[i16]) -> ControlFlow<()>,
    ) -> Result<Vec<WordStart>, SpeechError>;
}
