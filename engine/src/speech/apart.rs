//! Ears and voices that work elsewhere: with a vendor, over the network.
//!
//! A speech thread serves many calls and waits for none of them. So what works elsewhere is only told what to do, which
//! takes no time, and reports when it has something: from any thread, at any moment, for as long as the call lasts.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::bell::Bell;
use super::{SpeechToText, TextToSpeech};
use crate::agent::Expectation;
use crate::call::{Failure, Part, UtteranceId, WordStart};

/// What understands the caller.
pub enum Ears {
    /// A recogniser on the call's speech thread.
    Here(Box<dyn SpeechToText>),
    /// Ears elsewhere, made with where they report to. They hear of the call's beginning by being made, and of its end by
    /// being dropped.
    Apart(Box<dyn FnOnce(Reports) -> Box<dyn EarsApart> + Send>),
}

/// What speaks.
pub enum Voice {
    /// A voice on the call's speech thread.
    Here(Arc<dyn TextToSpeech>),
    /// A voice elsewhere, made with where it reports to. It hears of the call's beginning by being made, and of its end by
    /// being dropped.
    Apart(Box<dyn FnOnce(Reports) -> Box<dyn VoiceApart> + Send>),
}

/// Ears elsewhere, for one call. No method may wait.
pub trait EarsApart: Send {
    /// What the agent hopes to hear next. Holds until the next expectation.
    fn expect(&mut self, expectation: &Expectation);

    /// An utterance begins. Any unfinished one is forgotten.
    fn start(&mut self, utterance: UtteranceId);

    /// More of it: 8 kHz µ-law, 20 to 300 ms.
    fn audio(&mut self, ulaw: &[u8]);

    /// It is over, and its final words are wanted by [`Report::Words`]; `speech_ms` of it was speech.
    fn end(&mut self, utterance: UtteranceId, speech_ms: u32);
}

/// A voice elsewhere, for one call. No method may wait.
pub trait VoiceApart: Send {
    /// Speaks `text`, after all that it was asked to speak before: its audio is wanted by [`Report::Audio`], and then
    /// [`Report::AudioEnd`].
    fn speak(&mut self, utterance: UtteranceId, text: String);

    /// Nobody will hear more of this: it need not be spoken, nor reported on.
    fn cancel(&mut self, utterance: UtteranceId);
}

/// What is reported. What comes for an utterance that is over is passed over.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The words of an utterance of the caller: all of them so far.
    Words {
        /// The utterance.
        utterance: UtteranceId,
        /// The words; empty if there are none.
        text: String,
        /// True once, with the last words. Before [`EarsApart::end`] it says that the caller's turn is over.
        is_final: bool,
    },
    /// The caller said something in an utterance that is over, and the agent heard it itself: it can be asked now. Its words
    /// may follow, late.
    Understood {
        /// The utterance.
        utterance: UtteranceId,
    },
    /// Audio of an utterance of the agent.
    Audio {
        /// The utterance.
        utterance: UtteranceId,
        /// 8 kHz µ-law, any length.
        audio: Arc<[u8]>,
        /// Words that are placed by now, each once: see [`Input::AgentAudio`](crate::call::Input::AgentAudio).
        words: Vec<WordStart>,
    },
    /// All audio of an utterance was reported.
    AudioEnd {
        /// The utterance.
        utterance: UtteranceId,
        /// True if that is not all of its text.
        failed: bool,
    },
    /// Of several services that can do the work, another one does from here on.
    Switched {
        /// What they do.
        part: Part,
        /// Which of them failed.
        from: String,
        /// Which of them goes on; none if there is no other.
        to: Option<String>,
        /// Why.
        why: Failure,
    },
}

/// Where what works elsewhere reports to. Clones report to the same call.
#[derive(Clone, Debug)]
pub struct Reports {
    // Without a bound, since whoever reports must not wait: what a call is told is bounded by what it asked for.
    sender: Sender<Report>,
    /// None: somebody reads them who needs no waking.
    bell: Option<Bell>,
}

impl Reports {
    /// Reports of no call, and where they come out: to try ears or a voice by themselves.
    pub fn unattended() -> (Self, Receiver<Report>) {
        let (sender, receiver) = unbounded();
        (Self { sender, bell: None }, receiver)
    }

    /// Reports. False if the call is over.
    pub fn report(&self, report: Report) -> bool {
        let sent = self.sender.send(report).is_ok();
        if sent && let Some(bell) = &self.bell {
            bell.ring_and_wake();
        }
        sent
    }
}

/// The two ends of a call's reports. `bell`: of the session that reads them.
pub(super) fn reports(bell: Bell) -> (Reports, Receiver<Report>) {
    let (sender, receiver) = unbounded();
    (Reports { sender, bell: Some(bell) }, receiver)
}
