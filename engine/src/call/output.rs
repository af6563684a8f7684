//! All that can come out of a call.

use std::ops::Range;
use std::sync::Arc;

use super::decision::Decided;
use super::event::{EndReason, Event, EventKind};
use super::input::{TurnId, UtteranceId};
use super::time::CallTime;

/// One thing for the driver to carry out.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send audio to the caller: one message of the leg. Its bytes are [`Outputs::audio`] of the span.
    Media {
        /// The agent's utterance that it belongs to.
        utterance: UtteranceId,
        /// Its bytes, 8 kHz µ-law.
        audio: Span,
    },
    /// Send a mark, to learn when all before it was played.
    Mark {
        /// The mark's number; on the wire it is named by [`mark_name`].
        mark: u32,
    },
    /// Have the carrier drop what it has not played yet.
    Clear,
    /// The caller began to speak: what follows is audio for the recogniser.
    UtteranceStarted {
        /// The utterance.
        utterance: UtteranceId,
    },
    /// Audio of the caller, for the recogniser. Its bytes are [`Outputs::audio`] of the span.
    CallerAudio {
        /// Its bytes, 8 kHz µ-law.
        audio: Span,
    },
    /// The caller's utterance is over: a final transcript is wanted.
    UtteranceEnded {
        /// The utterance.
        utterance: UtteranceId,
        /// How much of it was speech, in ms. A grammar never rejects, so the recogniser needs this to doubt.
        speech_ms: u32,
    },
    /// Ask the agent for its turn.
    AskAgent {
        /// The turn.
        turn: TurnId,
        /// What it answers to.
        prompt: Prompt,
    },
    /// The agent's turn was not heard at all, and the caller went on: forget it.
    CancelAgent {
        /// The turn that it was asked with.
        turn: TurnId,
    },
    /// The agent was cut off: this is all of its turn that was heard.
    AgentHeard {
        /// The turn that it was asked with.
        turn: TurnId,
        /// The words that were heard.
        text: String,
        /// How much was heard of what the agent spoke itself, in samples at 8 kHz, over all of the turn.
        spoken_heard: u32,
    },
    /// Have a sentence spoken.
    Synthesize {
        /// What to call it.
        utterance: UtteranceId,
        /// The sentence.
        text: String,
    },
    /// No more audio of this utterance is wanted.
    CancelSynthesis {
        /// The utterance.
        utterance: UtteranceId,
    },
    /// Something for the timeline.
    Event(Event),
    /// The call is over: close the leg. The last output of a call.
    Close {
        /// Why.
        reason: EndReason,
    },
}

/// What an agent's turn answers to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Prompt {
    /// The call began: greet.
    CallStarted,
    /// The caller said this.
    Said(String),
    /// The caller pressed these keys.
    Keyed(String),
    /// The caller spoke, but no words were understood.
    NotUnderstood,
    /// The caller said nothing for a while, for the so many-th time in a row, from 1.
    Silence(u32),
    /// The caller spoke, and the agent has heard it itself.
    Spoke,
}

/// Bytes in the arena of [`Outputs`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// How many bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// True if it holds none.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// What follows from one input: a list and the bytes that it speaks of, both reused from input to input.
#[derive(Debug)]
pub struct Outputs {
    list: Vec<Output>,
    arena: Vec<u8>,
    spent: Vec<Arc<[u8]>>,
}

impl Default for Outputs {
    fn default() -> Self {
        Self {
            list: Vec::with_capacity(64),
            arena: Vec::with_capacity(16 * 1024),
            spent: Vec::with_capacity(64),
        }
    }
}

impl Outputs {
    /// Forgets everything, keeps the memory. Audio that is spent must be taken first: see [`Outputs::take_spent`].
    pub fn clear(&mut self) {
        self.list.clear();
        self.arena.clear();
    }

    /// In the order in which they must be carried out.
    pub fn iter(&self) -> impl Iterator<Item = &Output> {
        self.list.iter()
    }

    /// Takes the list, in order, so that its texts need not be copied while the arena is read: see [`Outputs::give_back`].
    pub fn take_list(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.list)
    }

    /// Gives the emptied list back, so that its memory is used again, and forgets the arena.
    pub fn give_back(&mut self, list: Vec<Output>) {
        self.list = list;
        self.clear();
    }

    /// The bytes of a span.
    pub fn audio(&self, span: Span) -> &[u8] {
        &self.arena[span.range()]
    }

    /// Audio that the call has played or dropped. To free it is the driver's business, off the media thread.
    pub fn take_spent(&mut self) -> impl Iterator<Item = Arc<[u8]>> + '_ {
        self.spent.drain(..)
    }

    pub(super) fn event(&mut self, at: CallTime, kind: EventKind) {
        self.push(Output::Event(Event { at, kind }));
    }

    pub(super) fn decided(&mut self, at: CallTime, decided: Decided) {
        self.event(at, EventKind::Decided(decided));
    }

    pub(super) fn push(&mut self, output: Output) {
        self.list.push(output);
    }

    pub(super) fn push_bytes(&mut self, bytes: &[u8]) -> Span {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        Span { start, end: self.arena.len() as u32 }
    }

    pub(super) fn extend_span(&mut self, span: &mut Span, bytes: &[u8]) {
        debug_assert_eq!(span.end as usize, self.arena.len(), "only the newest span can grow");
        self.arena.extend_from_slice(bytes);
        span.end = self.arena.len() as u32;
    }

    pub(super) fn audio_mut(&mut self, span: Span) -> &mut [u8] {
        &mut self.arena[span.range()]
    }

    pub(super) fn push_spent(&mut self, audio: Arc<[u8]>) {
        self.spent.push(audio);
    }
}

/// A mark's name on the wire, written without allocation: `m17`.
#[derive(Clone, Copy, Debug)]
pub struct MarkName {
    bytes: [u8; 11],
    start: u8,
}

impl MarkName {
    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.start as usize..]).unwrap_or_default()
    }
}

/// The name on the wire of the mark of this number.
pub fn mark_name(mark: u32) -> MarkName {
    let mut bytes = [0; 11];
    let mut start = bytes.len();
    let mut rest = mark;
    loop {
        start -= 1;
        bytes[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    start -= 1;
    bytes[start] = b'm';
    MarkName { bytes, start: start as u8 }
}

/// The number of a mark of ours, or `None` if the name is not one that [`mark_name`] makes.
pub(super) fn mark_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix('m')?;
    let mark = digits.parse().ok()?;
    (mark_name(mark).as_str() == name).then_some(mark)
}
