//! What `/v1/listen` says, and how an utterance's words are put together from it.
//!
//! ```text
//! interim     "I"  "I nee"  "I need hel"             "thank"               each replaces the one before
//! final                           "I need help."            "Thank you."   appended; never changes
//! ```
//!
//! Every result is about a range of the audio. Where an utterance begins in the middle of a range, only the words behind
//! that are its own.

use serde::Deserialize;

/// Vendors count audio in frames of their own: two ends that are so near are the same, in seconds.
pub(super) const NEAR: f64 = 0.05;

/// What a message is.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Results(Results),
    /// The utterance that ended with this word is over, in seconds; negative if no word is known.
    UtteranceEnd(f64),
    /// Something that is wrong with what was sent.
    Error {
        name: String,
        description: String,
    },
    /// It is none of those, or came after what this was written for.
    Other,
}

/// Words of a range of the audio.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Results {
    #[serde(default)]
    start: f64,
    #[serde(default)]
    duration: f64,
    /// They will not change.
    #[serde(default)]
    pub(super) is_final: bool,
    /// The caller pauses behind them.
    #[serde(default)]
    pub(super) speech_final: bool,
    /// They were asked for.
    #[serde(default)]
    pub(super) from_finalize: bool,
    channel: Channel,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Channel {
    #[serde(default)]
    alternatives: Vec<Alternative>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Alternative {
    #[serde(default)]
    transcript: String,
    #[serde(default)]
    words: Vec<Word>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Word {
    #[serde(default)]
    word: String,
    punctuated_word: Option<String>,
    #[serde(default)]
    start: f64,
    #[serde(default)]
    end: f64,
}

impl Said {
    /// Reads a message; the error is that of the JSON.
    pub(super) fn read(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(rename = "type", borrow, default)]
            kind: std::borrow::Cow<'a, str>,
        }
        #[derive(Deserialize)]
        struct UtteranceEnd {
            last_word_end: Option<f64>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Error {
            variant: String,
            code: String,
            description: String,
        }
        Ok(match &*serde_json::from_str::<Kind<'_>>(text)?.kind {
            "Results" => Self::Results(serde_json::from_str(text)?),
            "UtteranceEnd" => {
                let end: UtteranceEnd = serde_json::from_str(text)?;
                Self::UtteranceEnd(end.last_word_end.unwrap_or(-1.0))
            }
            "Error" => {
                let Error { variant, code, description } = serde_json::from_str(text).unwrap_or_default();
                Self::Error { name: if variant.is_empty() { code } else { variant }, description }
            }
            _ => Self::Other,
        })
    }
}

impl Results {
    /// Where the range ends, in seconds of this connection's audio.
    pub(super) fn end(&self) -> f64 {
        self.start + self.duration
    }

    /// Whether all of the range is before `from`.
    pub(super) fn is_before(&self, from: f64) -> bool {
        self.end() <= from + NEAR
    }

    /// Whether the range goes on to `until`.
    pub(super) fn reaches(&self, until: f64) -> bool {
        self.end() >= until - NEAR
    }

    /// The text of what was said from `from` on.
    fn text(&self, from: f64) -> String {
        let Some(best) = self.channel.alternatives.first() else { return String::new() };
        if self.start >= from || best.words.is_empty() {
            return best.transcript.trim().to_owned();
        }
        let words = best.words.iter().filter(|word| f64::midpoint(word.start, word.end) >= from);
        let words = words.map(|word| word.punctuated_word.as_deref().unwrap_or(&word.word));
        words.collect::<Vec<_>>().join(" ")
    }
}

/// The words of one utterance.
#[derive(Debug, Default)]
pub(super) struct Words {
    finals: String,
    interim: String,
}

impl Words {
    /// Takes a result for an utterance that begins at `from`, in seconds.
    pub(super) fn take(&mut self, results: &Results, from: f64) {
        let text = results.text(from);
        if !results.is_final {
            self.interim = text;
            return;
        }
        self.interim.clear();
        if !text.is_empty() {
            if !self.finals.is_empty() {
                self.finals.push(' ');
            }
            self.finals.push_str(&text);
        }
    }

    /// All of them.
    pub(super) fn text(&self) -> String {
        match (self.finals.is_empty(), self.interim.is_empty()) {
            (_, true) => self.finals.clone(),
            (true, false) => self.interim.clone(),
            (false, false) => format!("{} {}", self.finals, self.interim),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn results(range: (f64, f64), text: &str, is_final: bool) -> Results {
        let (start, end) = range;
        let texts: Vec<&str> = text.split_whitespace().collect();
        let each = (end - start) / texts.len().max(1) as f64;
        let words = texts.iter().enumerate().map(|(index, text)| {
            let start = start + each * index as f64;
            json!({"word": text.to_lowercase(), "punctuated_word": text, "start": start, "end": start + each})
        });
        let words: Vec<Value> = words.collect();
        let alternative = json!({"transcript": text, "confidence": 0.9, "words": words, "languages": ["en"]});
        let message = json!({
            "type": "Results", "start": start, "duration": end - start, "is_final": is_final,
            "channel": {"alternatives": [alternative]}, "metadata": {"request_id": "x"}, "news": [1]
        });
        match Said::read(&message.to_string()).unwrap() {
            Said::Results(results) => results,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn finals_are_appended_and_interims_replaced() {
        let mut words = Words::default();
        let mut told = Vec::new();
        for (range, text, is_final) in [
            ((0.0, 0.5), "I", false),
            ((0.0, 1.0), "I knead", false),
            // A final may end before the last interim did: what is left comes again.
            ((0.0, 0.9), "I need", true),
            ((0.9, 1.4), "help", false),
            ((0.9, 1.5), "help.", true),
            ((1.5, 2.5), "", true),
            ((2.5, 3.0), "Please.", false),
        ] {
            words.take(&results(range, text, is_final), 0.0);
            told.push(words.text());
        }
        assert_eq!(
            told,
            ["I", "I knead", "I need", "I need help", "I need help.", "I need help.", "I need help. Please."]
        );
    }

    #[test]
    fn of_a_range_that_began_before_the_utterance_only_the_words_behind_count() {
        let late = results((1.0, 3.0), "Thank you. Good bye.", true);
        let mut words = Words::default();
        words.take(&late, 2.0);
        assert_eq!(words.text(), "Good bye.");
        assert!(late.is_before(3.0) && !late.is_before(2.0));
        assert!(late.reaches(3.02), "Deepgram counts in frames of its own");
        let without_words = json!({
            "type": "Results", "start": 1.0, "duration": 2.0,
            "channel": {"alternatives": [{"transcript": "all of it"}]}
        });
        let Said::Results(results) = Said::read(&without_words.to_string()).unwrap() else { panic!() };
        words.take(&results, 2.0);
        assert_eq!(words.text(), "Good bye. all of it");
    }

    #[test]
    fn what_is_not_known_is_passed_over_and_what_is_no_json_is_not() {
        let read = |text: &str| Said::read(text);
        assert_eq!(
            read(r#"{"type": "SpeechStarted", "channel": [0, 1], "timestamp": 1}"#).unwrap(),
            Said::Other
        );
        assert_eq!(read(r#"{"type": "News", "channel": 7}"#).unwrap(), Said::Other);
        assert_eq!(read("{}").unwrap(), Said::Other);
        assert_eq!(
            read(r#"{"type": "UtteranceEnd", "last_word_end": 2.4}"#).unwrap(),
            Said::UtteranceEnd(2.4)
        );
        assert_eq!(read(r#"{"type": "UtteranceEnd"}"#).unwrap(), Said::UtteranceEnd(-1.0));
        let error = r#"{"type": "Error", "variant": "SchemaError", "description": "d", "message": "m"}"#;
        let (name, description) = ("SchemaError".into(), "d".into());
        assert_eq!(read(error).unwrap(), Said::Error { name, description });
        for broken in ["", "{", r#"{"type": "Results", "chan"#, r#"{"type": "Results"}"#] {
            assert!(read(broken).is_err(), "{broken}");
        }
    }
}
