//! No recogniser: every utterance comes out without words, so that the caller is led to the keypad.

use super::super::{SpeechToText, Transcript};
use crate::agent::Expectation;

/// Hears nothing.
#[derive(Debug, Default)]
pub struct NoRecogniser;

impl SpeechToText for NoRecogniser {
    fn expect(&mut self, _: &Expectation) {}

    fn start(&mut self) {}

    fn audio(&mut self, _: &[u8]) -> Option<Transcript> {
        None
    }

    fn end(&mut self, _: u32) -> Transcript {
        Transcript { text: String::new(), is_final: true }
    }
}
