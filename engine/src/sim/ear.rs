//! A call's ear by itself: what benches compare with others.

use crate::call::{CallSettings, Edge, SpeechDetector};

/// The voice detector of a call, and what it makes of single verdicts.
pub struct Ear(SpeechDetector);

impl Ear {
    /// As a call with these settings has it.
    pub fn new(settings: &CallSettings) -> Self {
        Self(SpeechDetector::new(settings))
    }

    /// Takes 20 ms at 8 kHz: is that voiced, and did somebody begin to speak with it?
    pub fn hear(&mut self, pcm: &[i16; 160]) -> (bool, bool) {
        let voiced = self.0.is_voiced(pcm);
        (voiced, self.0.take(voiced) == Edge::Started)
    }
}
