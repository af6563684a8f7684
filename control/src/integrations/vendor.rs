//! What a vendor's client is to the rest of the program: ears, or a voice.
//!
//! A client knows its protocol and nothing else. It opens connections within [`CONNECT`], and says what went wrong as soon as
//! it knows. How long anybody waits for words or audio, what is tried instead, and who is not asked any more, is the business
//! of [`crate::domain::speech`]. To drop a future of a client's is to want no more of it: the vendor is told, or its
//! connection closed, so that it stops working and charging.

use std::time::Duration;

use futures_util::future::BoxFuture;
use offhook_engine::agent::Expectation;
use offhook_engine::call::{Failure, UtteranceId, WordStart};
use tokio::sync::mpsc;

use super::recorded;

/// How long a connection may take: name, TCP, TLS, and handshake.
pub const CONNECT: Duration = Duration::from_secs(2);

/// How long final words may take, where a client does not say something else: thrice what streaming vendors take.
pub const WORDS_WAIT: Duration = Duration::from_millis(1_200);

/// Why a vendor could not do its work. Displays without secrets, and without what was said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct VendorError {
    /// In a word, for the timeline and for whoever decides what to do next.
    pub why: Failure,
    /// For the log: the vendor's status, code and request id.
    pub detail: String,
}

impl VendorError {
    /// An error of this kind.
    pub fn new(why: Failure, detail: impl Into<String>) -> Self {
        Self { why, detail: detail.into() }
    }
}

/// What a call's caller does, as ears are told of it. Utterances do not overlap; between them there is silence, which is not
/// told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Begins to speak.
    Starts(UtteranceId),
    /// Speaks: 8 kHz µ-law, 20 ms or more, never empty.
    Audio(Vec<u8>),
    /// Has ended the utterance: its final words are wanted now.
    Ends {
        /// The utterance.
        utterance: UtteranceId,
        /// How much of it was speech, in ms.
        speech_ms: u32,
    },
    /// Is expected to say something like this next, from here on. For ears that can use it.
    Expected(Expectation),
}

/// What ears make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The utterance.
    pub utterance: UtteranceId,
    /// All words of the utterance so far: each time from its beginning. Empty if there are none.
    pub text: String,
    /// True once, with the last words: at the latest some time after [`Caller::Ends`]. Before that, it says that the
    /// vendor takes the caller's turn for over.
    pub is_final: bool,
}

/// A vendor that recognises speech. Shared by all calls.
pub trait Ears: Send + Sync {
    /// Its name in settings, logs and the timeline: `deepgram`.
    fn name(&self) -> &'static str;

    /// Looks whether it can be reached and takes the key, at no cost.
    fn check(&self) -> BoxFuture<'_, Result<(), VendorError>>;

    /// How long final words may take after [`Caller::Ends`], before others are asked.
    fn words_wait(&self) -> Duration {
        WORDS_WAIT
    }

    /// Hears one call: connects at once, keeps the connection alive while nobody speaks, and passes on what it makes of each
    /// utterance. Returns once `caller` is closed and the vendor was told goodbye, or the vendor failed. Any utterance that
    /// has no final words then is the next vendor's. Once an utterance has them, no more is told of it.
    fn listen<'a>(
        &'a self,
        caller: &'a mut mpsc::Receiver<Caller>,
        heard: &'a mut (dyn FnMut(Heard) + Send),
    ) -> BoxFuture<'a, Result<(), VendorError>>;

    /// Writes down what is said in a recording, at leisure: all that nobody waits for word by word. Unless a client knows a
    /// better way, as if it were said on a call, in the language that calls are in.
    fn transcribe<'a>(&'a self, recording: Recording<'a>) -> BoxFuture<'a, Result<String, VendorError>> {
        Box::pin(recorded::said_on_a_call(self, recording))
    }
}

/// Speech that was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Recording<'a> {
    /// At [`RECORDING_HZ`], one channel; half a minute, with few pauses.
    pub samples: &'a [i16],
    /// The language that is spoken, as in BCP 47: `en`, `en-US`.
    pub language: &'a str,
}

/// Samples a second of recordings.
pub const RECORDING_HZ: u32 = 16_000;

impl Recording<'_> {
    /// How long it is.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.samples.len() as f64 / f64::from(RECORDING_HZ))
    }
}

/// A piece of speech that a voice made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// 8 kHz µ-law, without a header, any length.
    pub ulaw: Vec<u8>,
    /// Words that the vendor has placed by now, as it says: where each begins, in bytes of the text that it was given, and in
    /// samples from the beginning of that text's audio, not of this piece. Ascending from piece to piece; none twice.
    pub words: Vec<WordStart>,
}

/// A vendor that speaks. Shared by all calls.
pub trait Voice: Send + Sync {
    /// Its name in settings, logs and the timeline: `elevenlabs`.
    fn name(&self) -> &'static str;

    /// Looks whether it can be reached and takes the key, at no cost.
    fn check(&self) -> BoxFuture<'_, Result<(), VendorError>>;

    /// Its side of one call.
    fn line(&self) -> Box<dyn VoiceLine>;
}

/// A voice on one call. What it keeps open, it keeps open until it is dropped, and then closes.
pub trait VoiceLine: Send {
    /// Has what is needed be there before it is needed: a connection.
    fn warm(&mut self) -> BoxFuture<'_, Result<(), VendorError>>;

    /// Speaks one text, a clause or a few sentences, and passes on audio as it comes. Returns once all of it has come. To drop
    /// this cancels the text at the vendor; the line can speak the next text then, and nothing of the old one is heard in it.
    fn speak<'a>(
        &'a mut self,
        text: &'a str,
        spoken: &'a mut (dyn FnMut(Spoken) + Send),
    ) -> BoxFuture<'a, Result<(), VendorError>>;
}
