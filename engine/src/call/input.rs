//! All that can go into a call.

use std::sync::Arc;

use super::event::EndReason;
use super::failure::{Failure, Part};

/// Names one thing said, by the caller or by the agent. Unique within a call, ascending.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct UtteranceId(pub u32);

/// Names one turn, the caller's or the agent's. Unique within a call, ascending.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct TurnId(pub u32);

/// One input of a call. What comes back from outside (a mark, a transcript) enters here as what it is.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The carrier says that the stream begins.
    Start {
        /// The carrier's name for the stream.
        stream: &'a str,
        /// True if the payloads are 8 kHz mono µ-law, the one format that this leg takes.
        format_ok: bool,
    },
    /// A piece of the caller's audio, already out of base64.
    Media(Media<'a>),
    /// A mark of ours came back.
    Mark {
        /// Its name, as we sent it.
        name: &'a str,
    },
    /// The caller pressed a key: `0`-`9`, `*`, `#`, `A`-`D`.
    Dtmf {
        /// The key.
        digit: char,
    },
    /// A message that could not be used.
    Fault(Fault),
    /// The carrier's count of messages did not go up by one. The message itself follows.
    OutOfSequence {
        /// The number that was due.
        expected: u32,
        /// The number that came.
        got: u32,
    },
    /// The carrier ended the stream.
    Stop,
    /// The socket closed without a word, or broke.
    LegLost,
    /// What the recogniser makes of an utterance, so far or for good.
    Transcript {
        /// The caller's utterance.
        utterance: UtteranceId,
        /// The words; empty if there are none.
        text: &'a str,
        /// False while it may still change. True before [`Output::UtteranceEnded`](super::Output::UtteranceEnded): the
        /// recogniser takes the caller's turn for over.
        is_final: bool,
    },
    /// The caller has said something to an agent that hears them itself: it can be asked before there are words. They may
    /// come later, as a final [`Input::Transcript`], for the record. Only after
    /// [`Output::UtteranceEnded`](super::Output::UtteranceEnded).
    Understood {
        /// The caller's utterance.
        utterance: UtteranceId,
    },
    /// The agent has a sentence to say, in answer to `turn`.
    AgentSays {
        /// The turn that it was asked with.
        turn: TurnId,
        /// The sentence.
        text: &'a str,
    },
    /// The agent speaks itself, without the voice: more of one utterance, in answer to `turn`. Audio and words need not match
    /// piece by piece.
    AgentSpeaks {
        /// The turn that it was asked with.
        turn: TurnId,
        /// More of its words, each with the blanks between them; may be empty.
        text: &'a str,
        /// More of its audio, encoded for the leg (8 kHz µ-law); may be empty.
        audio: &'a Arc<[u8]>,
        /// True if that is all of the utterance. So is whatever ends or goes on after it: a sentence, the end of the turn.
        is_last: bool,
    },
    /// The agent wrote something down, such as an answer to its question.
    AgentRecords {
        /// What it is.
        key: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// The agent's turn is complete: no further sentence comes.
    AgentDone {
        /// The turn that it was asked with.
        turn: TurnId,
        /// What follows once it was heard.
        then: Then,
    },
    /// The agent could not answer.
    AgentFailed {
        /// The turn that it was asked with.
        turn: TurnId,
        /// Why.
        why: Failure,
    },
    /// A piece of an utterance of the agent, encoded for the leg (8 kHz µ-law).
    AgentAudio {
        /// The utterance that [`Output::Synthesize`](super::Output::Synthesize) asked for.
        utterance: UtteranceId,
        /// The samples, as the leg takes them. Shared: cached prompts are played by many calls at once.
        audio: &'a Arc<[u8]>,
        /// Words that the voice has placed by now, where it does so before its end: as in [`Input::AgentAudioEnd`], each once.
        words: &'a [WordStart],
    },
    /// The voice has given all of an utterance.
    AgentAudioEnd {
        /// The utterance.
        utterance: UtteranceId,
        /// True if the voice failed, and what came before is all there will be.
        failed: bool,
        /// Where each word begins, ascending; empty if the voice does not know, or has said so with its audio.
        words: &'a [WordStart],
    },
    /// Of several services that can serve the call, another one does from here on.
    Switched {
        /// What they do for it.
        part: Part,
        /// Which of them failed.
        from: &'a str,
        /// Which of them goes on; none if there is no other.
        to: Option<&'a str>,
        /// Why.
        why: Failure,
    },
    /// A ring to the speech session was full.
    SpeechDropped {
        /// How many bytes of caller audio were lost.
        bytes: u32,
    },
    /// Somebody outside wants something of this call.
    Command(Command<'a>),
    /// The deadline that [`Call::next_deadline`](super::Call::next_deadline) named has come.
    Tick,
}

/// A piece of the caller's audio.
#[derive(Clone, Copy, Debug)]
pub struct Media<'a> {
    /// The carrier's count of media messages.
    pub chunk: Option<u32>,
    /// Milliseconds from the stream's beginning to this piece.
    pub timestamp_ms: Option<u32>,
    /// 8 kHz µ-law, one byte per sample; usually 160.
    pub payload: &'a [u8],
}

/// Where a word of an utterance begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WordStart {
    /// Offset of its first letter in the utterance's text, in bytes.
    pub text_offset: u32,
    /// Its first sample, at the leg's rate.
    pub sample: u32,
}

/// What follows an agent's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Then {
    /// The caller has the floor.
    Listen {
        /// How many keys make an answer: collection ends at the last of them, at `#`, or after a pause. 0: keys are ignored.
        keys_max: u8,
    },
    /// Goodbye was said: hang up once it was heard.
    HangUp,
}

/// A message from the leg that could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Fault {
    /// Media before `start`.
    MediaBeforeStart,
    /// A `start` after the first one.
    SecondStart,
    /// A message for a stream that is not this call's.
    ForeignStream,
    /// Text that is not a JSON object, or lacks a field.
    NotAMessage,
    /// A payload that is not base64.
    NotBase64,
    /// A binary frame, where only text is spoken.
    BinaryFrame,
    /// A message larger than any carrier's.
    TooLarge,
    /// An event that this dialect does not know.
    UnknownEvent,
    /// A payload that is coded as something else than 8 kHz µ-law.
    ForeignFormat,
    /// A key that no telephone has.
    NotAKey,
    /// Media of the other direction (a tap's outbound track).
    ForeignTrack,
    /// Bytes that break the WebSocket protocol.
    Protocol,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::MediaBeforeStart,
        Self::SecondStart,
        Self::ForeignStream,
        Self::NotAMessage,
        Self::NotBase64,
        Self::BinaryFrame,
        Self::TooLarge,
        Self::UnknownEvent,
        Self::ForeignFormat,
        Self::NotAKey,
        Self::ForeignTrack,
        Self::Protocol,
    ];

    /// As it stands in metrics: `not_base64`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MediaBeforeStart => "media_before_start",
            Self::SecondStart => "second_start",
            Self::ForeignStream => "foreign_stream",
            Self::NotAMessage => "not_a_message",
            Self::NotBase64 => "not_base64",
            Self::BinaryFrame => "binary_frame",
            Self::TooLarge => "too_large",
            Self::UnknownEvent => "unknown_event",
            Self::ForeignFormat => "foreign_format",
            Self::NotAKey => "not_a_key",
            Self::ForeignTrack => "foreign_track",
            Self::Protocol => "protocol",
        }
    }
}

/// What somebody outside may ask of a running call.
#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    /// End the call now.
    HangUp {
        /// Why, for the record.
        reason: EndReason,
    },
    /// Say this as soon as the floor is free, as the agent.
    Say {
        /// The sentence.
        text: &'a str,
    },
}
