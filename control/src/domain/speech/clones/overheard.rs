//! Ears through which a caller's speech is collected as well as understood. On the call's speech thread, utterance by utterance.

use std::time::Duration;

use offhook_engine::agent::Expectation;
use offhook_engine::call::UtteranceId;
use offhook_engine::speech::apart::EarsApart;
use offhook_engine::speech::{Ears, SpeechToText, Transcript};

use super::sample::Sample;

/// An utterance is kept to this length: half a minute of µ-law.
const UTTERANCE_MAX: usize = 30 * 8_000;

/// What is done with a caller's speech once there is enough of it.
pub(super) type Enough = Box<dyn FnOnce(Vec<u8>) + Send>;

/// Collects the speech of one call, until there is enough.
pub(super) struct Collector {
    sample: Sample,
    utterance: Vec<u8>,
    enough: Option<Enough>,
}

impl Collector {
    /// Gives `least` of speech to `enough`, once.
    pub(super) fn new(least: Duration, enough: Enough) -> Self {
        Self { sample: Sample::new(least), utterance: Vec::new(), enough: Some(enough) }
    }

    /// The same ears, overheard.
    pub(super) fn behind(self, ears: Ears) -> Ears {
        match ears {
            Ears::Here(ears) => Ears::Here(Box::new(Overheard { ears, collector: self })),
            Ears::Apart(make) => {
                Ears::Apart(Box::new(|reports| Box::new(Overheard { ears: make(reports), collector: self })))
            }
        }
    }

    fn start(&mut self) {
        self.utterance.clear();
    }

    fn audio(&mut self, ulaw: &[u8]) {
        if self.enough.is_some() {
            let room = UTTERANCE_MAX.saturating_sub(self.utterance.len());
            self.utterance.extend_from_slice(&ulaw[..ulaw.len().min(room)]);
        }
    }

    fn end(&mut self, speech_ms: u32) {
        if self.enough.is_none() {
            return;
        }
        if let Err(unfit) = self.sample.take(&self.utterance, speech_ms) {
            tracing::debug!(%unfit, "an utterance is not for a voice");
        }
        self.utterance.clear();
        if let (Some(speech), true) = (self.sample.enough(), self.enough.is_some()) {
            // Nothing more is collected from here on.
            self.utterance = Vec::new();
            if let Some(enough) = self.enough.take() {
                enough(speech);
            }
        }
    }
}

struct Overheard<E> {
    ears: E,
    collector: Collector,
}

impl SpeechToText for Overheard<Box<dyn SpeechToText>> {
    fn expect(&mut self, expectation: &Expectation) {
        self.ears.expect(expectation);
    }

    fn start(&mut self) {
        self.collector.start();
        self.ears.start();
    }

    fn audio(&mut self, ulaw: &[u8]) -> Option<Transcript> {
        self.collector.audio(ulaw);
        self.ears.audio(ulaw)
    }

    fn end(&mut self, speech_ms: u32) -> Transcript {
        self.collector.end(speech_ms);
        self.ears.end(speech_ms)
    }
}

impl EarsApart for Overheard<Box<dyn EarsApart>> {
    fn expect(&mut self, expectation: &Expectation) {
        self.ears.expect(expectation);
    }

    fn start(&mut self, utterance: UtteranceId) {
        self.collector.start();
        self.ears.start(utterance);
    }

    fn audio(&mut self, ulaw: &[u8]) {
        self.collector.audio(ulaw);
        self.ears.audio(ulaw);
    }

    fn end(&mut self, utterance: UtteranceId, speech_ms: u32) {
        // First the words: the caller waits for an answer.
        self.ears.end(utterance, speech_ms);
        self.collector.end(speech_ms);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use offhook_codecs::g711;
    use offhook_engine::speech::stt::none::NoRecogniser;

    use super::*;
    use crate::domain::speech::clones::testing::spoken;

    #[test]
    fn what_a_caller_says_is_collected_until_it_is_enough_and_no_longer() {
        let said: Vec<u8> = spoken(1.0).iter().map(|&sample| g711::linear_to_ulaw(sample)).collect();
        let (give, given) = mpsc::channel();
        let enough = Box::new(move |speech: Vec<u8>| give.send(speech.len()).unwrap());
        let ears = Ears::Here(Box::new(NoRecogniser));
        let Ears::Here(mut ears) = Collector::new(Duration::from_secs(6), enough).behind(ears) else {
            panic!("they are here");
        };
        let mut utterances = 0;
        while given.try_recv().is_err() {
            utterances += 1;
            assert!(utterances < 9, "six seconds are enough");
            ears.start();
            for piece in [&[0xff; 1_600][..], &said, &[0xff; 5_600]].concat().chunks(800) {
                let _ = ears.audio(piece);
            }
            let _ = ears.end(60_000);
        }
        assert!(utterances > 1);
        ears.start();
        let _ = ears.audio(&said);
        let _ = ears.end(60_000);
        assert!(given.try_recv().is_err(), "once");
    }
}
