//! pocketsphinx, loaded at run time: hears the answers to a question, and nothing else.
//!
//! Open dictation over a telephone is beyond it (two words in five come out wrong; [`Dictation`] is for recordings); an answer
//! out of a tight grammar is not. So each question brings its grammar, and between questions nothing is heard. A grammar never doubts: whatever is said, it
//! hears one of its phrases. So two gates go by length: a sound too short for a word, and a speech too long for an answer, come
//! out without words. Interims wait until the sound has lasted, because the first guesses are words in any case. Coughs and
//! bursts of noise mostly come out without words (3 of 100 tries, 20 synthetic sounds under five grammars, had some), but other
//! speech of an answer's length does not: "can you hear me" is heard as an answer, so an agent had better confirm what it heard.
//! A loop of single phones as the way out of a grammar cost more answers than it caught others (36 rather than 51 right of 84).
//!
//! Memory: the 134,000 words of the dictionary are read once and shared; a decoder knows only the words of the questions
//! that it was asked, which makes it some 6 MB rather than 29. Calls do not share a decoder, because it adapts to the sound
//! of its caller's line as it listens; it is made when the first question is asked.

mod dictation;
mod dictionary;
mod ffi;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;

use offhook_codecs::g711;

pub use self::dictation::Dictation;
use self::dictionary::Dictionary;
use self::ffi::{Api, Decoder};
use super::super::grammar::Grammar;
use super::super::{SpeechError, SpeechToText, Transcript};
use crate::agent::Expectation;

/// Where Debian's `pocketsphinx-en-us` puts its model: a folder of acoustics, and how words are pronounced.
const MODEL: &str = "/usr/share/pocketsphinx/model/en-us/en-us";
const DICTIONARY: &str = "/usr/share/pocketsphinx/model/en-us/cmudict-en-us.dict";

/// What an operator does about a missing library or model.
const HELP: &str = "apt-get install libpocketsphinx3 pocketsphinx-en-us";

/// Settings of a decoder beside the model's own. `-wip`, the price of one word more, is below the default of 0.65, which
/// heard "hundred eight" for a drawn-out "hundred": 51 rather than 47 right of 84 answers of a human voice.
const SETTINGS: [&str; 6] = ["-hmm", MODEL, "-samprate", "16000", "-wip", "0.01"];

/// Less speech than this is no word, in ms: the shortest of the words measured ("no", "six") had 200.
const SPEECH_MS_MIN: u32 = 150;

/// Audio of an utterance before its first interim, in ms: the 300 that come from before the speech, and 300 of it.
const INTERIM_AFTER_MS: usize = 600;

/// Samples of a telephone call in one millisecond.
const SAMPLES_PER_MS: usize = 8;

/// The library, the model and the dictionary, shared by all calls.
pub struct Pocketsphinx {
    api: Arc<Api>,
    dictionary: Dictionary,
    settings: Vec<CString>,
}

impl Pocketsphinx {
    /// Loads `libpocketsphinx.so.3` and the US English dictionary, in some 150 ms. The error says what to install.
    pub fn load() -> Result<Arc<Self>, SpeechError> {
        Self::load_from(Path::new(MODEL), Path::new(DICTIONARY))
    }

    fn load_from(model: &Path, dictionary: &Path) -> Result<Arc<Self>, SpeechError> {
        let missing = |what: String| SpeechError::Unavailable { what, help: HELP.into() };
        let api = Api::load().map_err(|error| missing(format!("the recogniser pocketsphinx ({error})")))?;
        // The library ends the process over a model that it cannot read, so look first.
        for file in ["mdef", "means", "variances", "transition_matrices", "sendump", "feat.params"] {
            let path = model.join(file);
            std::fs::File::open(&path)
                .map_err(|error| missing(format!("the model file {} ({error})", path.display())))?;
        }
        let text = std::fs::read_to_string(dictionary)
            .map_err(|error| missing(format!("the dictionary {} ({error})", dictionary.display())))?;
        let settings = SETTINGS.map(|value| CString::new(value).expect("settings are plain words"));
        Ok(Arc::new(Self {
            api: Arc::new(api),
            dictionary: Dictionary::new(text),
            settings: settings.into(),
        }))
    }

    /// A recogniser for one call. Its decoder is made with the first grammar, in some 15 ms.
    pub fn recogniser(self: &Arc<Self>) -> Recogniser {
        Recogniser {
            shared: Arc::clone(self),
            decoder: None,
            known: BTreeSet::new(),
            expectation: Expectation::default(),
            next: None,
            has_grammar: false,
            utterance: None,
            narrow: Vec::new(),
            wide: Vec::new(),
        }
    }
}

/// The recogniser of one call.
pub struct Recogniser {
    shared: Arc<Pocketsphinx>,
    decoder: Option<Decoder>,
    /// The words that the decoder was told how to pronounce.
    known: BTreeSet<String>,
    expectation: Expectation,
    /// An expectation that came in the middle of an utterance; it holds from the next one.
    next: Option<Expectation>,
    /// True if the decoder listens by `expectation`; otherwise nothing is heard.
    has_grammar: bool,
    utterance: Option<Utterance>,
    narrow: Vec<i16>,
    wide: Vec<i16>,
}

/// An utterance that is being heard.
#[derive(Default)]
struct Utterance {
    samples: usize,
    interim: String,
}

impl Recogniser {
    fn adopt(&mut self, expectation: Expectation) {
        if expectation.grammar != self.expectation.grammar {
            self.has_grammar = false;
            if !expectation.grammar.trim().is_empty() {
                match self.listen_by(&expectation.grammar) {
                    Ok(()) => self.has_grammar = true,
                    Err(reason) => {
                        tracing::warn!(reason, "a question's grammar is ignored: nothing will be heard")
                    }
                }
            }
        }
        self.expectation = expectation;
    }

    /// Gives the decoder the grammar, and first the words in it that it does not know.
    fn listen_by(&mut self, grammar: &str) -> Result<(), String> {
        let grammar = Grammar::parse(grammar).map_err(|error| error.to_string())?;
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(
                Decoder::new(Arc::clone(&self.shared.api), &self.shared.settings)
                    .ok_or("pocketsphinx refuses to make a decoder")?,
            ),
        };
        for word in grammar.words() {
            if self.known.contains(word) {
                continue;
            }
            let mut ways = 0;
            for way in self.shared.dictionary.lookup(word) {
                let c_string =
                    |text| CString::new(text).map_err(|_| format!("{word:?} is spelt with a zero byte"));
                ways += usize::from(decoder.add_word(&c_string(way.name)?, &c_string(way.phones)?));
            }
            if ways == 0 {
                return Err(format!("the dictionary does not know how {word:?} is pronounced"));
            }
            self.known.insert(word.clone());
        }
        let jsgf = CString::new(grammar.jsgf()).map_err(|_| "it has a zero byte")?;
        if decoder.set_grammar(&jsgf) { Ok(()) } else { Err("pocketsphinx refuses it".into()) }
    }
}

impl SpeechToText for Recogniser {
    fn expect(&mut self, expectation: &Expectation) {
        if self.utterance.is_some() {
            self.next = Some(expectation.clone());
        } else {
            self.adopt(expectation.clone());
        }
    }

    fn start(&mut self) {
        self.utterance = None;
        if let Some(next) = self.next.take() {
            self.adopt(next);
        }
        if let Some(decoder) = self.decoder.as_mut().filter(|_| self.has_grammar) {
            self.utterance = decoder.start().then(Utterance::default);
        }
    }

    fn audio(&mut self, ulaw: &[u8]) -> Option<Transcript> {
        let (Some(decoder), Some(utterance)) = (&mut self.decoder, &mut self.utterance) else { return None };
        self.narrow.resize(ulaw.len(), 0);
        g711::decode_ulaw(ulaw, &mut self.narrow);
        self.wide.clear();
        double_the_rate(&self.narrow, &mut self.wide);
        decoder.process(&self.wide);

        utterance.samples += ulaw.len();
        if utterance.samples < INTERIM_AFTER_MS * SAMPLES_PER_MS {
            return None;
        }
        let words = decoder.words();
        if words == utterance.interim {
            return None;
        }
        utterance.interim.clone_from(&words);
        Some(Transcript { text: words, is_final: false })
    }

    fn end(&mut self, speech_ms: u32) -> Transcript {
        let mut text = String::new();
        if let (Some(decoder), Some(_)) = (&mut self.decoder, self.utterance.take()) {
            // Also when it does not count: what the line sounds like is learnt at the end.
            decoder.end();
            if (SPEECH_MS_MIN..=self.expectation.speech_ms_max).contains(&speech_ms) {
                text = decoder.words();
            }
        }
        if let Some(next) = self.next.take() {
            self.adopt(next);
        }
        Transcript { text, is_final: true }
    }
}

/// Makes 16 kHz of 8 kHz by a zero before each sample.
///
/// That mirrors what lies below 4 kHz to above it, which a listener would not want and this recogniser does: its model was
/// made of speech with hiss up there, and the hiss just below 4 kHz comes to stand in for what the telephone cut. Right of 84
/// answers of a human voice, each on a new decoder: 47 so, 43 after linear interpolation, which removes most of the mirror.
fn double_the_rate(narrow: &[i16], wide: &mut Vec<i16>) {
    wide.extend(narrow.iter().flat_map(|&sample| [0, sample]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_model_is_named_with_what_to_install() {
        let folder = tempfile::tempdir().unwrap();
        for (model, dictionary) in [(folder.path(), Path::new(DICTIONARY)), (Path::new(MODEL), folder.path())]
        {
            let error = Pocketsphinx::load_from(model, dictionary).err().unwrap();
            let SpeechError::Unavailable { what, help } = &error else { panic!("{error}") };
            assert_eq!(help, "apt-get install libpocketsphinx3 pocketsphinx-en-us");
            assert!(what.contains(folder.path().to_str().unwrap()) || what.contains("lib"), "{what}");
        }
    }

    #[test]
    fn doubling_the_rate_puts_a_zero_before_each_sample() {
        let mut wide = Vec::new();
        double_the_rate(&[1, -2], &mut wide);
        assert_eq!(wide, [0, 1, 0, -2]);
    }
}
