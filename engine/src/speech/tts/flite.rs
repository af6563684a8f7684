//! flite, in pure Rust: the voice that is always there.
//!
//! A diphone voice of 2002, plain to hear as a machine, and quick: the first samples come within a millisecond and a
//! second of speech costs less than one of CPU time, so nobody waits for it. The voice is inside the crate; nothing is
//! installed, loaded or asked over a network.
//!
//! Text from outside passes [`tidy`] first: the crate's rules for words recurse over the characters of one token and
//! look along the words of one sentence, so tokens and sentences are kept short, and what it has no sound for is taken out.

use std::ops::ControlFlow;
use std::sync::Arc;

use flite_rs::language::Language;
use flite_rs::utterance::{ItemId, Utterance};
use flite_rs::{Flow, Voice, VoiceParams, pipeline, text, voice};
use offhook_codecs::SampleRate;

use super::super::{SpeechError, TextToSpeech};
use crate::call::WordStart;

/// Longest run of characters that is spoken as one token; longer ones are broken. No English word reaches it.
const TOKEN_CHARS_MAX: usize = 48;

/// Most tokens that are given their melody together; longer sentences are spoken in pieces. A breath's worth.
const SENTENCE_TOKENS_MAX: usize = 48;

/// The least sample that is heard as more than hiss: 48 dB under full scale.
const AUDIBLE: u16 = 128;

/// The voice `kal16`: CMU's `cmu_us_kal` at 16 kHz, an American man.
pub struct Flite {
    language: Arc<Language>,
    voice: Voice,
    params: VoiceParams,
}

impl Flite {
    /// Reads the voice's tables, which takes well under a millisecond; share what it returns.
    pub fn new() -> Result<Self, SpeechError> {
        let unreadable = |error| SpeechError::Failed(format!("the voice kal16 cannot be read: {error:?}"));
        let language = flite_rs::Engine::try_new().map_err(unreadable)?.language();
        let voice = Voice::parse(flite_rs::KAL16_VOICE_DATA).map_err(unreadable)?;
        let params = voice.params();
        Ok(Self { language, voice, params })
    }

    /// The same voice at `factor` times its pitch, so that two speakers can be told apart; at most an octave either way.
    pub fn at_pitch(factor: f32) -> Result<Self, SpeechError> {
        let mut flite = Self::new()?;
        flite.params.f0_shift = factor.clamp(0.5, 2.0);
        Ok(flite)
    }

    /// The same voice at `factor` times its pace, from half of it to twice.
    #[must_use]
    pub fn at_pace(mut self, factor: f32) -> Self {
        self.params.duration_stretch /= factor.clamp(0.5, 2.0);
        self
    }
}

impl TextToSpeech for Flite {
    fn sample_rate(&self) -> SampleRate {
        SampleRate::HZ_16000
    }

    fn synthesize(
        &self,
        text: &str,
        on_audio: &mut dyn FnMut(&[i16]) -> ControlFlow<()>,
    ) -> Result<Vec<WordStart>, SpeechError> {
        let tidy = tidy(text);
        let mut words = Vec::new();
        let mut lead_in = LeadIn::default();
        // Of the voice, lead-in included; what is handed on begins later.
        let mut spoken_samples = 0u32;
        let mut tidy_offset = 0;
        'text: for sentence in text::sentences(&tidy.text) {
            for tokens in sentence.chunks(SENTENCE_TOKENS_MAX) {
                let utterance = pipeline::analyse(&self.language, tokens, &self.params);
                let begins = token_begins(&utterance);
                for (token, begin_s) in tokens.iter().zip(begins) {
                    let name_offset = tidy_offset + token.whitespace.len() + token.prepunctuation.len();
                    tidy_offset = name_offset + token.name.len() + token.punctuation.len();
                    if let (Some(begin_s), Some(&offset)) = (begin_s, tidy.origins.get(name_offset)) {
                        let sample = spoken_samples + (begin_s * self.voice.sample_rate as f32) as u32;
                        words.push(WordStart { text_offset: offset, sample });
                    }
                }
                let mut flow = ControlFlow::Continue(());
                voice::synthesise_streaming(&self.voice, &utterance, &self.params, &mut |period| {
                    spoken_samples = spoken_samples.saturating_add(period.len() as u32);
                    let audible = lead_in.cut(period);
                    if !audible.is_empty() {
                        flow = on_audio(audible);
                    }
                    if flow.is_break() { Flow::Stop } else { Flow::Continue }
                });
                if flow.is_break() {
                    break 'text;
                }
            }
        }
        for word in &mut words {
            word.sample = word.sample.saturating_sub(lead_in.dropped);
        }
        Ok(words)
    }
}

/// The pause that the voice puts before its first word, some 200 ms. The caller would wait for it with every answer, so
/// it is dropped: up to the first sample that can be heard.
#[derive(Debug, Default)]
struct LeadIn {
    dropped: u32,
    over: bool,
}

impl LeadIn {
    /// What is left of a piece.
    fn cut<'a>(&mut self, piece: &'a [i16]) -> &'a [i16] {
        if self.over {
            return piece;
        }
        let silent = piece.iter().position(|sample| sample.unsigned_abs() >= AUDIBLE).unwrap_or(piece.len());
        self.over = silent < piece.len();
        self.dropped = self.dropped.saturating_add(silent as u32);
        &piece[silent..]
    }
}

/// For each token in order, when its first sound begins, in seconds; `None` for a token without a sound.
fn token_begins(utterance: &Utterance) -> Vec<Option<f32>> {
    let begin = |token: ItemId| {
        let words = utterance.iter_from(utterance.daughter(token));
        words.filter_map(|word| utterance.item_as(word, "SylStructure")).find_map(|word| {
            let syllable = utterance.daughter(word)?;
            let segment = utterance.item_as(utterance.daughter(syllable)?, "Segment")?;
            Some(utterance.prev(segment).map_or(0.0, |before| utterance.feature_f32(before, "end")))
        })
    };
    utterance.iter_relation("Token").map(begin).collect()
}

/// Text that is safe to speak.
struct Tidy {
    text: String,
    /// For each byte of `text`, the byte of the original that it stands for.
    origins: Vec<u32>,
}

/// Keeps what the voice has a sound for: ASCII, Latin letters without their accents, typographic marks as plain ones.
/// Everything else becomes a space.
fn tidy(original: &str) -> Tidy {
    let mut tidy = Tidy { text: String::with_capacity(original.len()), origins: Vec::new() };
    let mut token_chars = 0;
    for (offset, c) in original.char_indices() {
        let Ok(offset) = u32::try_from(offset) else { break };
        let mut ascii = [0];
        let plain = match c {
            '\n' | ' '..='~' => &*c.encode_utf8(&mut ascii),
            _ => unaccented(c),
        };
        for c in plain.chars() {
            token_chars = if c.is_ascii_whitespace() { 0 } else { token_chars + 1 };
            if token_chars > TOKEN_CHARS_MAX {
                tidy.text.push(' ');
                tidy.origins.push(offset);
                token_chars = 1;
            }
            tidy.text.push(c);
            tidy.origins.push(offset);
        }
    }
    tidy
}

/// ASCII for a character that is not; a space if there is none.
fn unaccented(c: char) -> &'static str {
    match c {
        '‘' | '’' | '‛' | '′' => "'",
        '“' | '”' | '„' | '«' | '»' => "\"",
        '…' => ".",
        '‐' | '‑' => "-",
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'À'..='Å' | 'Ā' | 'Ă' | 'Ą' => "A",
        'æ' | 'Æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'Ç' | 'Ć' | 'Č' => "C",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ę' | 'ě' => "e",
        'È'..='Ë' => "E",
        'ğ' => "g",
        'ì'..='ï' | 'ī' | 'ı' => "i",
        'Ì'..='Ï' | 'İ' => "I",
        'ł' => "l",
        'Ł' => "L",
        'ñ' | 'ń' | 'ň' => "n",
        'Ñ' => "N",
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
        'Ò'..='Ö' | 'Ø' => "O",
        'œ' | 'Œ' => "oe",
        'ř' => "r",
        'ś' | 'ş' | 'š' | 'ș' => "s",
        'Ś' | 'Ş' | 'Š' | 'Ș' => "S",
        'ß' => "ss",
        'ť' | 'ț' => "t",
        'þ' | 'Þ' => "th",
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => "u",
        'Ù'..='Ü' => "U",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        'Ź' | 'Ż' | 'Ž' => "Z",
        _ => " ",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn speak(text: &str) -> (Vec<i16>, Vec<WordStart>) {
        let mut samples = Vec::new();
        let words = Flite::new().unwrap().synthesize(text, &mut |period| {
            samples.extend_from_slice(period);
            ControlFlow::Continue(())
        });
        (samples, words.unwrap())
    }

    /// Root mean square of `samples`.
    fn loudness(samples: &[i16]) -> f64 {
        (samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len().max(1) as f64).sqrt()
    }

    #[test]
    fn a_sentence_becomes_audible_speech_of_a_plausible_length() {
        let (samples, _) = speak("We open at nine and close at five.");
        let seconds = samples.len() as f64 / 16_000.0;
        assert!((1.5..4.0).contains(&seconds), "{seconds} s");
        assert!(loudness(&samples) > 300.0, "{}", loudness(&samples));
    }

    #[test]
    fn each_word_start_points_at_its_first_letter() {
        let text = "Hello, Zoë! You have 12 \u{201c}new\u{201d} messages \u{2014} bye.";
        let (samples, words) = speak(text);
        let letters: Vec<&str> =
            words.iter().map(|word| text[word.text_offset as usize..].split(' ').next().unwrap()).collect();
        assert_eq!(letters, ["Hello,", "Zoë!", "You", "have", "12", "new\u{201d}", "messages", "bye."]);
        assert!(words.is_sorted_by(|a, b| a.text_offset < b.text_offset && a.sample < b.sample));
        assert!((words.last().unwrap().sample as usize) < samples.len());
    }

    #[test]
    fn words_begin_where_the_speech_does() {
        let (samples, words) = speak("Stop. Nine, ten.");
        assert_eq!(words.len(), 3);
        for word in &words[1..] {
            let at = word.sample as usize;
            let before = loudness(&samples[at - 1_600..at - 320]);
            let after = loudness(&samples[at + 320..at + 2_400]);
            assert!(after > 4.0 * before, "at {at}: {before} before, {after} after");
        }
    }

    #[test]
    fn speech_begins_at_once() {
        let (samples, words) = speak("Nine, ten.");
        assert!(samples[0].unsigned_abs() >= AUDIBLE);
        assert!(words[0].sample < 1_600, "the first word begins at {}", words[0].sample);
    }

    #[test]
    fn breaking_stops_the_voice_at_once() {
        let mut calls = 0;
        let voice = Flite::new().unwrap();
        let words = voice.synthesize("One sentence. And another one. And a third.", &mut |_| {
            calls += 1;
            if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(words.is_ok());
        assert_eq!(calls, 3);
    }

    #[test]
    fn nothing_to_say_is_silence_without_words() {
        for text in ["", "   \n\t ", "\u{0}\u{7}\u{1b}", "日本語", "🎉🎉"] {
            assert_eq!(speak(text), (vec![], vec![]), "{text:?}");
        }
    }

    #[test]
    fn accents_and_typography_are_spoken_as_their_plain_letters() {
        assert_eq!(speak("Jos\u{e9}\u{2019}s caf\u{e9}").0, speak("Jose's cafe").0);
    }

    #[test]
    fn text_of_any_length_and_shape_is_spoken_piece_by_piece() {
        for text in ["-".repeat(100_000), "a1".repeat(50_000), "word ".repeat(20_000), "'".repeat(10_000)] {
            let mut left = 2_000_000usize;
            let voice = Flite::new().unwrap();
            let words = voice.synthesize(&text, &mut |period| {
                left = left.saturating_sub(period.len());
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert!(words.is_ok());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_text_is_spoken_without_a_panic(text in "\\PC{0,40}|[ -~\\n]{0,60}|[0-9$%.,:/' -]{0,40}") {
            let (samples, words) = speak(&text);
            prop_assert!(words.iter().all(|word| text.is_char_boundary(word.text_offset as usize)));
            prop_assert!(words.iter().all(|word| (word.sample as usize) <= samples.len()));
        }
    }
}
