//! Open dictation, for recordings and never for calls: it gets two words in five wrong over a telephone, and one in three to two
//! in five of clear speech from a studio. What it hears will do to count words by, not to quote.
//!
//! A decoder takes some 90 MB and half of real time on one core, so that one is made for one recording and dropped with it. The
//! language model is `en-us.lm.bin` of Debian's `pocketsphinx-en-us`, beside the model that the grammars use.

use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;

use super::ffi::Decoder;
use super::{DICTIONARY, HELP, MODEL, Pocketsphinx};
use crate::speech::SpeechError;

/// How likely which words follow one another.
const LANGUAGE_MODEL: &str = "/usr/share/pocketsphinx/model/en-us/en-us.lm.bin";

/// Samples that the decoder takes at once: 100 ms. Between them it is asked whether to go on.
const PIECE: usize = 1_600;

/// Writes down what is said in recordings.
pub struct Dictation(Decoder);

impl Pocketsphinx {
    /// Makes what writes down recordings, in about a second. The error says what to install.
    pub fn dictation(self: &Arc<Self>) -> Result<Dictation, SpeechError> {
        let missing = |what: String| SpeechError::Unavailable { what, help: HELP.into() };
        // The library ends the process over a file that it cannot read, so look first.
        for file in [LANGUAGE_MODEL, DICTIONARY] {
            std::fs::File::open(Path::new(file))
                .map_err(|error| missing(format!("the model file {file} ({error})")))?;
        }
        let settings = ["-hmm", MODEL, "-lm", LANGUAGE_MODEL, "-dict", DICTIONARY, "-samprate", "16000"];
        let settings = settings.map(|value| CString::new(value).expect("settings are plain words"));
        let refused = || SpeechError::Failed("pocketsphinx refuses to make a decoder".into());
        Decoder::new(Arc::clone(&self.api), &settings).map(Dictation).ok_or_else(refused)
    }
}

impl Dictation {
    /// What is said in `samples`, at 16 kHz; some 30 s at most. Takes half as long as they do. `goes_on`: asked ten times for
    /// each second; once it says no, the words so far come back.
    pub fn write_down(&mut self, samples: &[i16], goes_on: &dyn Fn() -> bool) -> String {
        if !self.0.start() {
            return String::new();
        }
        for piece in samples.chunks(PIECE) {
            if !goes_on() {
                break;
            }
            self.0.process(piece);
        }
        self.0.end();
        words(&self.0.words())
    }
}

/// Words without what the decoder says of them: sounds stand in brackets, and the number of a word's pronunciation behind it.
fn words(heard: &str) -> String {
    let said = heard.split_whitespace().filter(|word| !word.starts_with(['<', '[', '+']));
    let plain = said.map(|word| word.split_once('(').map_or(word, |(word, _)| word));
    plain.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sounds_and_numbers_of_pronunciations_are_no_words() {
        assert_eq!(words("<s> we open(2) [NOISE] at nine ++UH++ <sil> </s>"), "we open at nine");
    }
}
