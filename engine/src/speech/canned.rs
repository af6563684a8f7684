//! Fixed audio instead of ears, voice and mind, for load tests of the engine alone.
//!
//! The three stand-ins take the places of the real ones, so that a call runs through all that a real call runs through:
//! each finished turn of the caller is answered with two seconds of audio. They cost next to nothing, so what a load test
//! measures is the engine.

use std::f64::consts::TAU;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use offhook_codecs::SampleRate;

use super::{SpeechError, SpeechToText, TextToSpeech, Transcript};
use crate::agent::{Agent, AgentAction, AgentError, Answering, Expectation};
use crate::call::{Prompt, Then, WordStart};

/// Hears a word in every utterance that is long enough to be one.
#[derive(Debug, Default)]
pub struct CannedEars;

impl SpeechToText for CannedEars {
    fn expect(&mut self, _: &Expectation) {}

    fn start(&mut self) {}

    fn audio(&mut self, _: &[u8]) -> Option<Transcript> {
        None
    }

    fn end(&mut self, _speech_ms: u32) -> Transcript {
        Transcript { text: "something".into(), is_final: true }
    }
}

/// Speaks two seconds of the same sound, whatever the text.
#[derive(Debug, Default)]
pub struct CannedVoice;

/// How long the voice's sound is, in samples at 8 kHz: two seconds.
const SOUND_SAMPLES: usize = 16_000;

/// How much is handed on at a time: 100 ms.
const PIECE_SAMPLES: usize = 800;

/// A hum of 150 Hz with two overtones, four times a second softer and louder, at about −15 dB of full scale: to a voice
/// detector it is speech, to a listener plainly none.
static SOUND: LazyLock<Vec<i16>> = LazyLock::new(|| {
    let sample = |at: usize| {
        let t = at as f64 / 8_000.0;
        let hum: f64 = [(150.0, 0.5), (450.0, 0.3), (1_200.0, 0.2)]
            .iter()
            .map(|(hz, share)| share * (TAU * hz * t).sin())
            .sum();
        let swell = 0.6 - 0.4 * (TAU * 4.0 * t).cos();
        (hum * swell * 8_000.0) as i16
    };
    (0..SOUND_SAMPLES).map(sample).collect()
});

impl TextToSpeech for CannedVoice {
    fn sample_rate(&self) -> SampleRate {
        SampleRate::HZ_8000
    }

    fn synthesize(
        &self,
        _text: &str,
        on_audio: &mut dyn FnMut(&[i16]) -> ControlFlow<()>,
    ) -> Result<Vec<WordStart>, SpeechError> {
        for piece in SOUND.chunks(PIECE_SAMPLES) {
            if on_audio(piece).is_break() {
                break;
            }
        }
        Ok(Vec::new())
    }
}

/// Says one thing after each turn of the caller, and nothing of its own accord.
#[derive(Debug, Default)]
pub struct CannedAgent;

impl Agent for CannedAgent {
    fn answers_at_once(&self) -> bool {
        true
    }

    fn answer(&mut self, prompt: &Prompt, out: &mut dyn Answering) -> Result<Then, AgentError> {
        match prompt {
            Prompt::Said(_) | Prompt::Keyed(_) | Prompt::NotUnderstood | Prompt::Spoke => {
                let _ = out.act(AgentAction::Say("Two seconds of sound.".into()));
            }
            Prompt::CallStarted | Prompt::Silence(_) => {}
        }
        Ok(Then::Listen { keys_max: 1 })
    }

    fn forget_last(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_two_seconds_of_audio_that_can_be_broken_off() {
        let mut samples = 0;
        CannedVoice
            .synthesize("", &mut |piece| {
                samples += piece.len();
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(samples, 16_000);
        assert!(SOUND.iter().any(|sample| sample.unsigned_abs() > 4_000), "it can be heard");

        let mut pieces = 0;
        CannedVoice
            .synthesize("", &mut |_| {
                pieces += 1;
                ControlFlow::Break(())
            })
            .unwrap();
        assert_eq!(pieces, 1);
    }

    #[test]
    fn the_agent_answers_turns_and_nothing_else() {
        let mut out = Vec::new();
        CannedAgent.answer(&Prompt::CallStarted, &mut out).unwrap();
        CannedAgent.answer(&Prompt::Silence(1), &mut out).unwrap();
        assert!(out.is_empty());
        CannedAgent.answer(&Prompt::Said("x".into()), &mut out).unwrap();
        assert_eq!(out.len(), 1);
    }
}
