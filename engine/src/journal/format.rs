//! How a journal looks on disk.
//!
//! ```text
//! file    = magic "OFFHOOKJ" | version u16 | block(header) | block(chunk)*
//! block   = length u32 | CRC-32 of the payload u32 | payload
//! header  = call, start, settings, in postcard; the settings as TOML, which names its fields
//! chunk   = length of the records u32 | records | agent audio
//! records = (call time in µs, record)*, in postcard
//! ```
//!
//! Integers outside postcard are little-endian. A record is an input of the call or an output of it, in the order in which
//! they happened: an input stands before what followed from it. The bytes of the agent's audio stand behind a chunk's
//! records, one piece after the other, because a media thread hands them over without copying them.
//!
//! The records mirror [`Input`] and [`Output`] in types of their own, so that the engine's types can change without the
//! journals that exist. Only events, and small enums such as [`Fault`], stand here as they are. Once journals are out
//! there, whoever changes a record, or changes an enum inside one otherwise than at its end, raises [`VERSION`].
//!
//! CRC-32 is that of IEEE 802.3; postcard's wire format is at <https://postcard.jamesmunns.com/wire-format>.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::call::{
    CallSettings, CallTime, Command, EndReason, Event, Fault, Input, Media, Output, Outputs, Prompt, Then,
    TurnId, UtteranceId, WordStart,
};

/// The first bytes of every journal.
pub(super) const MAGIC: [u8; 8] = *b"OFFHOOKJ";
/// The version of all that follows them.
pub(super) const VERSION: u16 = 1;
/// Bytes before the first block: magic and version.
pub(super) const PREFIX_BYTES: usize = MAGIC.len() + 2;
/// Bytes of a block before its payload: length and checksum.
pub(super) const BLOCK_HEAD_BYTES: usize = 8;

/// What a journal says about its call before anything happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The call's name.
    pub call: String,
    /// When the call was answered: microseconds since 1970-01-01 00:00 UTC. Call times count from here.
    pub started_unix_us: u64,
    /// The numbers that the call decided by.
    pub settings: CallSettings,
}

#[derive(Serialize, Deserialize)]
struct HeaderRecord<'a> {
    call: &'a str,
    started_unix_us: u64,
    settings: Cow<'a, str>,
}

/// The start of a file: all that stands before the first chunk.
pub(super) fn encode_header(header: &Header) -> Result<Vec<u8>, String> {
    let settings = toml::to_string(&header.settings).map_err(|e| e.to_string())?;
    let record = HeaderRecord {
        call: &header.call,
        started_unix_us: header.started_unix_us,
        settings: settings.into(),
    };
    let payload = postcard::to_stdvec(&record).map_err(|e| e.to_string())?;
    let mut file = Vec::with_capacity(PREFIX_BYTES + BLOCK_HEAD_BYTES + payload.len());
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    file.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    file.extend_from_slice(&payload);
    Ok(file)
}

/// Reads a header block's payload. Errors say what is wrong with it.
pub(super) fn decode_header(payload: &[u8]) -> Result<Header, String> {
    let record: HeaderRecord<'_> = postcard::from_bytes(payload).map_err(|e| e.to_string())?;
    let settings = toml::from_str(&record.settings).map_err(|e| format!("settings: {}", e.message()))?;
    Ok(Header { call: record.call.to_owned(), started_unix_us: record.started_unix_us, settings })
}

/// Lays a chunk's block out in `block`, whose content is replaced.
pub(super) fn encode_chunk(records: &[u8], audio: &[Arc<[u8]>], block: &mut Vec<u8>) {
    block.clear();
    block.extend_from_slice(&[0; BLOCK_HEAD_BYTES]);
    block.extend_from_slice(&(records.len() as u32).to_le_bytes());
    block.extend_from_slice(records);
    for piece in audio {
        block.extend_from_slice(piece);
    }
    let payload = &block[BLOCK_HEAD_BYTES..];
    let (length, crc) = (payload.len() as u32, crc32fast::hash(payload));
    block[..4].copy_from_slice(&length.to_le_bytes());
    block[4..BLOCK_HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// A record and its moment.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stamped<'a> {
    pub(super) at: CallTime,
    #[serde(borrow)]
    pub(super) record: Record<'a>,
}

/// One thing that a journal keeps.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Record<'a> {
    /// The call took this.
    #[serde(borrow)]
    Input(InputRecord<'a>),
    /// The call gave this.
    #[serde(borrow)]
    Output(OutputRecord<'a>),
    /// Records are missing before this one.
    Lost {
        /// How many, since the call began.
        records: u64,
    },
    /// Nothing follows.
    End {
        /// Why the call ended.
        reason: EndReason,
    },
}

/// An [`Input`], as it stands in a journal.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum InputRecord<'a> {
    Start {
        stream: &'a str,
        format_ok: bool,
    },
    Media {
        chunk: Option<u32>,
        timestamp_ms: Option<u32>,
        #[serde(serialize_with = "as_bytes")]
        payload: &'a [u8],
    },
    Mark {
        name: &'a str,
    },
    Dtmf {
        digit: char,
    },
    Fault(Fault),
    OutOfSequence {
        expected: u32,
        got: u32,
    },
    Stop,
    LegLost,
    Transcript {
        utterance: UtteranceId,
        text: &'a str,
        is_final: bool,
    },
    AgentSays {
        turn: TurnId,
        text: &'a str,
    },
    AgentRecords {
        key: &'a str,
        value: &'a str,
    },
    AgentDone {
        turn: TurnId,
        then: Then,
    },
    AgentFailed {
        turn: TurnId,
    },
    /// Its bytes stand behind the chunk's records.
    AgentAudio {
        utterance: UtteranceId,
        bytes: u32,
    },
    AgentAudioEnd {
        utterance: UtteranceId,
        failed: bool,
        words: Cow<'a, [WordStart]>,
    },
    SpeechDropped {
        bytes: u32,
    },
    HangUp {
        reason: EndReason,
    },
    Say {
        text: &'a str,
    },
    Tick,
}

impl<'a> InputRecord<'a> {
    pub(super) fn of(input: &Input<'a>) -> Self {
        match *input {
            Input::Start { stream, format_ok } => Self::Start { stream, format_ok },
            Input::Media(Media { chunk, timestamp_ms, payload }) => {
                Self::Media { chunk, timestamp_ms, payload }
            }
            Input::Mark { name } => Self::Mark { name },
            Input::Dtmf { digit } => Self::Dtmf { digit },
            Input::Fault(fault) => Self::Fault(fault),
            Input::OutOfSequence { expected, got } => Self::OutOfSequence { expected, got },
            Input::Stop => Self::Stop,
            Input::LegLost => Self::LegLost,
            Input::Transcript { utterance, text, is_final } => Self::Transcript { utterance, text, is_final },
            Input::AgentSays { turn, text } => Self::AgentSays { turn, text },
            Input::AgentRecords { key, value } => Self::AgentRecords { key, value },
            Input::AgentDone { turn, then } => Self::AgentDone { turn, then },
            Input::AgentFailed { turn } => Self::AgentFailed { turn },
            Input::AgentAudio { utterance, audio } => {
                Self::AgentAudio { utterance, bytes: audio.len() as u32 }
            }
            Input::AgentAudioEnd { utterance, failed, words } => {
                Self::AgentAudioEnd { utterance, failed, words: Cow::Borrowed(words) }
            }
            Input::SpeechDropped { bytes } => Self::SpeechDropped { bytes },
            Input::Command(Command::HangUp { reason }) => Self::HangUp { reason },
            Input::Command(Command::Say { text }) => Self::Say { text },
            Input::Tick => Self::Tick,
        }
    }

    /// The input that was recorded. `audio`: the bytes of a piece of agent audio, which stand beside the record.
    pub(super) fn to_input<'b>(&'b self, audio: &'b Arc<[u8]>) -> Input<'b> {
        match *self {
            Self::Start { stream, format_ok } => Input::Start { stream, format_ok },
            Self::Media { chunk, timestamp_ms, payload } => {
                Input::Media(Media { chunk, timestamp_ms, payload })
            }
            Self::Mark { name } => Input::Mark { name },
            Self::Dtmf { digit } => Input::Dtmf { digit },
            Self::Fault(fault) => Input::Fault(fault),
            Self::OutOfSequence { expected, got } => Input::OutOfSequence { expected, got },
            Self::Stop => Input::Stop,
            Self::LegLost => Input::LegLost,
            Self::Transcript { utterance, text, is_final } => Input::Transcript { utterance, text, is_final },
            Self::AgentSays { turn, text } => Input::AgentSays { turn, text },
            Self::AgentRecords { key, value } => Input::AgentRecords { key, value },
            Self::AgentDone { turn, then } => Input::AgentDone { turn, then },
            Self::AgentFailed { turn } => Input::AgentFailed { turn },
            Self::AgentAudio { utterance, .. } => Input::AgentAudio { utterance, audio },
            Self::AgentAudioEnd { utterance, failed, ref words } => {
                Input::AgentAudioEnd { utterance, failed, words }
            }
            Self::SpeechDropped { bytes } => Input::SpeechDropped { bytes },
            Self::HangUp { reason } => Input::Command(Command::HangUp { reason }),
            Self::Say { text } => Input::Command(Command::Say { text }),
            Self::Tick => Input::Tick,
        }
    }
}

/// An [`Output`], as it stands in a journal.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum OutputRecord<'a> {
    /// The bytes are kept: the recording is made from them.
    Media {
        utterance: UtteranceId,
        #[serde(serialize_with = "as_bytes")]
        audio: &'a [u8],
    },
    Mark {
        mark: u32,
    },
    Clear,
    UtteranceStarted {
        utterance: UtteranceId,
    },
    /// The bytes are the caller's, and stand in the inputs: length and checksum are enough to compare.
    CallerAudio {
        bytes: u32,
        crc32: u32,
    },
    UtteranceEnded {
        utterance: UtteranceId,
        speech_ms: u32,
    },
    AskAgent {
        turn: TurnId,
        prompt: Cow<'a, Prompt>,
    },
    CancelAgent {
        turn: TurnId,
    },
    AgentHeard {
        turn: TurnId,
        text: &'a str,
    },
    Synthesize {
        utterance: UtteranceId,
        text: &'a str,
    },
    CancelSynthesis {
        utterance: UtteranceId,
    },
    Event(Cow<'a, Event>),
    Close {
        reason: EndReason,
    },
}

impl<'a> OutputRecord<'a> {
    pub(super) fn of(output: &'a Output, outputs: &'a Outputs) -> Self {
        match *output {
            Output::Media { utterance, audio } => Self::Media { utterance, audio: outputs.audio(audio) },
            Output::Mark { mark } => Self::Mark { mark },
            Output::Clear => Self::Clear,
            Output::UtteranceStarted { utterance } => Self::UtteranceStarted { utterance },
            Output::CallerAudio { audio } => {
                let bytes = outputs.audio(audio);
                Self::CallerAudio { bytes: bytes.len() as u32, crc32: crc32fast::hash(bytes) }
            }
            Output::UtteranceEnded { utterance, speech_ms } => Self::UtteranceEnded { utterance, speech_ms },
            Output::AskAgent { turn, ref prompt } => Self::AskAgent { turn, prompt: Cow::Borrowed(prompt) },
            Output::CancelAgent { turn } => Self::CancelAgent { turn },
            Output::AgentHeard { turn, ref text } => Self::AgentHeard { turn, text },
            Output::Synthesize { utterance, ref text } => Self::Synthesize { utterance, text },
            Output::CancelSynthesis { utterance } => Self::CancelSynthesis { utterance },
            Output::Event(ref event) => Self::Event(Cow::Borrowed(event)),
            Output::Close { reason } => Self::Close { reason },
        }
    }
}

/// Serde takes a slice for a sequence, and would hand its bytes on one by one.
fn as_bytes<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// One record of a chunk, with what stands beside it.
#[derive(Debug, PartialEq)]
pub(super) struct Entry<'a> {
    pub(super) at: CallTime,
    pub(super) record: Record<'a>,
    /// The bytes of [`InputRecord::AgentAudio`]; empty for everything else.
    pub(super) audio: &'a [u8],
}

/// What is wrong with a chunk's payload, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Offset in the payload, in bytes.
    pub(super) at: usize,
    pub(super) what: &'static str,
}

/// The records of one chunk, in order. Ends after the first error.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    payload: &'a [u8],
    /// Where the next record begins.
    at: usize,
    /// Where the records end.
    records_end: usize,
    /// Where the next piece of agent audio begins.
    audio_at: usize,
    done: bool,
}

impl<'a> Entries<'a> {
    pub(super) fn of(payload: &'a [u8]) -> Result<Self, Malformed> {
        let (length, rest) =
            payload.split_first_chunk::<4>().ok_or(Malformed { at: 0, what: "no length of the records" })?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > rest.len() {
            return Err(Malformed { at: 0, what: "records longer than their chunk" });
        }
        let records_end = 4 + length;
        Ok(Self { payload, at: 4, records_end, audio_at: records_end, done: false })
    }

    fn decode_next(&mut self) -> Result<Option<Entry<'a>>, Malformed> {
        let records = &self.payload[self.at..self.records_end];
        if records.is_empty() {
            let left_over = self.audio_at < self.payload.len();
            return if left_over {
                Err(Malformed { at: self.audio_at, what: "bytes that no record speaks of" })
            } else {
                Ok(None)
            };
        }
        let (Stamped { at, record }, rest) = postcard::take_from_bytes(records)
            .map_err(|_| Malformed { at: self.at, what: "not a record of this version" })?;
        let mut audio: &[u8] = &[];
        if let Record::Input(InputRecord::AgentAudio { bytes, .. }) = record {
            let behind = &self.payload[self.audio_at..];
            audio = behind
                .get(..bytes as usize)
                .ok_or(Malformed { at: self.at, what: "agent audio that the chunk does not hold" })?;
            self.audio_at += audio.len();
        }
        self.at = self.records_end - rest.len();
        Ok(Some(Entry { at, record, audio }))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.decode_next().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}
