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
    CallSettings, CallTime, Command, EndReason, Event, Failure, Fault, Input, Media, Output, Outputs, Part,
    Prompt, Then, TurnId, UtteranceId, WordStart,
};

/// The first bytes of every journal.
pub(super) const MAGIC: [u8; 8] = *b"OFFHOOKJ";
/// The version of all that follows them.
///
/// 1: as long as a call did not tell [`EventKind::Responded`](crate::call::EventKind::Responded). 2: it does, so that a
/// call of version 1 would not run again to the same outputs. 3: messages of agent audio hold more than a frame, so that
/// neither would one of version 2. 4: decisions tell the nearest rule and what was seen, and an echo is told from the caller.
/// 5: a response time has one more stage. 6: an agent that gives no answer says why, audio may bring its words, and it is
/// told when another service takes over. 7: an agent may hear and speak itself, and is told how much of that was heard; a
/// turn tells whether that was reckoned.
pub(super) const VERSION: u16 = 7;
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
    Understood {
        utterance: UtteranceId,
    },
    /// Its bytes stand behind the chunk's records.
    AgentSpeaks {
        turn: TurnId,
        text: &'a str,
        bytes: u32,
        is_last: bool,
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
        why: Failure,
    },
    /// Its bytes stand behind the chunk's records.
    AgentAudio {
        utterance: UtteranceId,
        bytes: u32,
        words: Cow<'a, [WordStart]>,
    },
    AgentAudioEnd {
        utterance: UtteranceId,
        failed: bool,
        words: Cow<'a, [WordStart]>,
    },
    Switched {
        part: Part,
        from: &'a str,
        to: Option<&'a str>,
        why: Failure,
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
            Input::Understood { utterance } => Self::Understood { utterance },
            Input::AgentSpeaks { turn, text, audio, is_last } => {
                Self::AgentSpeaks { turn, text, bytes: audio.len() as u32, is_last }
            }
            Input::AgentRecords { key, value } => Self::AgentRecords { key, value },
            Input::AgentDone { turn, then } => Self::AgentDone { turn, then },
            Input::AgentFailed { turn, why } => Self::AgentFailed { turn, why },
            Input::AgentAudio { utterance, audio, words } => {
                Self::AgentAudio { utterance, bytes: audio.len() as u32, words: Cow::Borrowed(words) }
            }
            Input::AgentAudioEnd { utterance, failed, words } => {
                Self::AgentAudioEnd { utterance, failed, words: Cow::Borrowed(words) }
            }
            Input::Switched { part, from, to, why } => Self::Switched { part, from, to, why },
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
            Self::Understood { utterance } => Input::Understood { utterance },
            Self::AgentSpeaks { turn, text, is_last, .. } => {
                Input::AgentSpeaks { turn, text, audio, is_last }
            }
            Self::AgentRecords { key, value } => Input::AgentRecords { key, value },
            Self::AgentDone { turn, then } => Input::AgentDone { turn, then },
            Self::AgentFailed { turn, why } => Input::AgentFailed { turn, why },
            Self::AgentAudio { utterance, ref words, .. } => Input::AgentAudio { utterance, audio, words },
            Self::Switched { part, from, to, why } => Input::Switched { part, from, to, why },
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
        spoken_heard: u32,
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
            Output::AgentHeard { turn, ref text, spoken_heard } => {
                Self::AgentHeard { turn, text, spoken_heard }
            }
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
    /// The bytes of [`InputRecord::AgentAudio`] or [`InputRecord::AgentSpeaks`]; empty for everything else.
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
        if let Record::Input(InputRecord::AgentAudio { bytes, .. } | InputRecord::AgentSpeaks { bytes, .. }) =
            record
        {
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

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A whole file: `chunks` of records, each with the agent audio that belongs to it.
    pub(in crate::journal) fn file(chunks: &[Vec<Entry<'_>>]) -> Vec<u8> {
        let header =
            Header { call: "CA17".into(), started_unix_us: 1_795_341_600_000_000, settings: settings() };
        let mut file = encode_header(&header).unwrap();
        for chunk in chunks {
            let mut block = Vec::new();
            let audio: Vec<Arc<[u8]>> = chunk.iter().map(|entry| entry.audio.into()).collect();
            encode_chunk(&records(chunk), &audio, &mut block);
            file.extend(block);
        }
        file
    }

    pub(in crate::journal) fn settings() -> CallSettings {
        CallSettings { lead_ms: 120, ..CallSettings::default() }
    }

    pub(in crate::journal) fn entry(at_ms: u64, record: Record<'_>) -> Entry<'_> {
        Entry { at: CallTime::from_millis(at_ms), record, audio: &[] }
    }

    pub(super) fn records(chunk: &[Entry<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Entry { at, record, .. } in chunk {
            bytes.extend(postcard::to_stdvec(&(at, record)).unwrap());
        }
        bytes
    }

    /// A few records, the last of them the end.
    pub(in crate::journal) fn short_call() -> Vec<Vec<Entry<'static>>> {
        vec![
            vec![
                entry(0, Record::Input(InputRecord::Start { stream: "MZ1", format_ok: true })),
                entry(
                    20,
                    Record::Input(InputRecord::Media {
                        chunk: Some(1),
                        timestamp_ms: Some(0),
                        payload: &[0xFF; 160],
                    }),
                ),
            ],
            vec![
                Entry {
                    at: CallTime::from_millis(40),
                    record: Record::Input(InputRecord::AgentAudio {
                        utterance: UtteranceId(1),
                        bytes: 3,
                        words: Cow::Borrowed(&[]),
                    }),
                    audio: &[1, 2, 3],
                },
                entry(50, Record::End { reason: EndReason::CallerHangup }),
            ],
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::{entry, records, short_call};
    use super::*;
    use crate::call::EventKind;

    const WORDS: [WordStart; 2] =
        [WordStart { text_offset: 0, sample: 0 }, WordStart { text_offset: 6, sample: 4_000 }];

    fn every_input(audio: &Arc<[u8]>) -> Vec<Input<'_>> {
        let (turn, utterance) = (TurnId(7), UtteranceId(300));
        vec![
            Input::Start { stream: "MZ17", format_ok: true },
            Input::Media(Media { chunk: Some(u32::MAX), timestamp_ms: None, payload: &[0, 0xFF, 0x7F] }),
            Input::Media(Media { chunk: None, timestamp_ms: Some(20), payload: &[] }),
            Input::Mark { name: "m17" },
            Input::Dtmf { digit: '#' },
            Input::Dtmf { digit: 'é' },
            Input::Fault(Fault::NotBase64),
            Input::OutOfSequence { expected: 4, got: 9 },
            Input::Stop,
            Input::LegLost,
            Input::Transcript { utterance, text: "zwei hundert – ja", is_final: true },
            Input::Understood { utterance },
            Input::AgentSpeaks { turn, text: "Good day.", audio, is_last: false },
            Input::AgentSays { turn, text: "Hello there." },
            Input::AgentRecords { key: "size", value: "200" },
            Input::AgentDone { turn, then: Then::Listen { keys_max: 4 } },
            Input::AgentDone { turn, then: Then::HangUp },
            Input::AgentFailed { turn, why: Failure::BrokenOff },
            Input::AgentAudio { utterance, audio, words: &[] },
            Input::AgentAudioEnd { utterance, failed: false, words: &WORDS },
            Input::AgentAudioEnd { utterance, failed: true, words: &[] },
            Input::SpeechDropped { bytes: 1_600 },
            Input::Command(Command::HangUp { reason: EndReason::Operator }),
            Input::Command(Command::Say { text: "One moment." }),
            Input::Tick,
        ]
    }

    fn every_output() -> Vec<OutputRecord<'static>> {
        let (turn, utterance) = (TurnId(7), UtteranceId(300));
        vec![
            OutputRecord::Media { utterance, audio: &[1; 800] },
            OutputRecord::Mark { mark: 17 },
            OutputRecord::Clear,
            OutputRecord::UtteranceStarted { utterance },
            OutputRecord::CallerAudio { bytes: 320, crc32: 0xDEAD_BEEF },
            OutputRecord::UtteranceEnded { utterance, speech_ms: 480 },
            OutputRecord::AskAgent { turn, prompt: Cow::Owned(Prompt::Said("two hundred".into())) },
            OutputRecord::AskAgent { turn, prompt: Cow::Owned(Prompt::Silence(2)) },
            OutputRecord::CancelAgent { turn },
            OutputRecord::AgentHeard { turn, text: "Hello", spoken_heard: 800 },
            OutputRecord::Synthesize { utterance, text: "Hello there." },
            OutputRecord::CancelSynthesis { utterance },
            OutputRecord::Event(Cow::Owned(Event {
                at: CallTime::from_micros(123_456),
                kind: EventKind::Recorded { key: "size".into(), value: "200".into() },
            })),
            OutputRecord::Close { reason: EndReason::AgentHangup },
        ]
    }

    #[test]
    fn every_record_comes_back_as_it_was_written() {
        let audio: Arc<[u8]> = Arc::from([9u8; 480]);
        let inputs = every_input(&audio);
        let mut chunk: Vec<Entry<'_>> = Vec::new();
        for (input, at_ms) in inputs.iter().zip(1..) {
            let bytes: &[u8] = match input {
                Input::AgentAudio { audio, .. } | Input::AgentSpeaks { audio, .. } => audio,
                _ => &[],
            };
            chunk.push(Entry { audio: bytes, ..entry(at_ms, Record::Input(InputRecord::of(input))) });
        }
        chunk.extend(every_output().into_iter().map(|output| entry(5_000, Record::Output(output))));
        chunk.push(entry(u64::from(u32::MAX), Record::Lost { records: 1 << 40 }));
        chunk.push(entry(u64::MAX / 1_000, Record::End { reason: EndReason::EngineFault }));

        let mut block = Vec::new();
        let pieces: Vec<Arc<[u8]>> = chunk.iter().map(|entry| entry.audio.into()).collect();
        encode_chunk(&records(&chunk), &pieces, &mut block);
        let read: Vec<_> =
            Entries::of(&block[BLOCK_HEAD_BYTES..]).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(read, chunk);
        for (entry, input) in read.iter().zip(&inputs) {
            let Record::Input(record) = &entry.record else { panic!("inputs come first") };
            let again = record.to_input(&audio);
            assert_eq!(format!("{again:?}"), format!("{input:?}"));
        }
    }

    #[test]
    fn outputs_of_a_call_become_records() {
        let outputs = Outputs::default();
        let clear = Output::Clear;
        assert_eq!(OutputRecord::of(&clear, &outputs), OutputRecord::Clear);
        let audio = Output::CallerAudio { audio: crate::call::Span::default() };
        assert_eq!(OutputRecord::of(&audio, &outputs), OutputRecord::CallerAudio { bytes: 0, crc32: 0 });
        let said = Output::AgentHeard { turn: TurnId(1), text: "Good".into(), spoken_heard: 0 };
        assert_eq!(
            OutputRecord::of(&said, &outputs),
            OutputRecord::AgentHeard { turn: TurnId(1), text: "Good", spoken_heard: 0 }
        );
    }

    #[test]
    fn header_comes_back_as_it_was_written() {
        let header = Header { call: "CA1".into(), started_unix_us: u64::MAX, settings: testing::settings() };
        let file = encode_header(&header).unwrap();
        assert_eq!(decode_header(&file[PREFIX_BYTES + BLOCK_HEAD_BYTES..]).unwrap(), header);
    }

    #[test]
    fn bytes_on_disk_are_those_of_this_version() {
        let [first, second] = &short_call()[..] else { panic!("two chunks") };
        let media = [&[0xA0, 0x9C, 1, 0, 1, 1, 1, 1, 0, 0xA0, 1][..], &[0xFF; 160]].concat();
        assert_eq!(records(first), [&[0, 0, 0, 3, b'M', b'Z', b'1', 1][..], &media].concat());
        let mut block = Vec::new();
        encode_chunk(&records(second), &[Arc::from([1, 2, 3])], &mut block);
        let payload = [13, 0, 0, 0, 0xC0, 0xB8, 2, 0, 15, 1, 3, 0, 0xD0, 0x86, 3, 3, 1, 1, 2, 3];
        let crc = crc32fast::hash(&payload).to_le_bytes();
        assert_eq!(block, [&[payload.len() as u8, 0, 0, 0][..], &crc, &payload].concat());
    }

    #[test]
    fn broken_payloads_say_what_and_where() {
        let audio = entry(
            1,
            Record::Input(InputRecord::AgentAudio {
                utterance: UtteranceId(1),
                bytes: 9,
                words: Cow::Borrowed(&[]),
            }),
        );
        let promised = records(&[audio]);
        let with_length =
            |records: &[u8], rest: &[u8]| [&(records.len() as u32).to_le_bytes(), records, rest].concat();
        let table: [(Vec<u8>, usize, &str); 5] = [
            (vec![1, 0], 0, "no length of the records"),
            (vec![9, 0, 0, 0, 1], 0, "records longer than their chunk"),
            (with_length(&[0, 99], &[]), 4, "not a record of this version"),
            (with_length(&promised, &[0; 8]), 4, "agent audio that the chunk does not hold"),
            (with_length(&promised, &[0; 10]), 4 + promised.len() + 9, "bytes that no record speaks of"),
        ];
        for (payload, at, what) in table {
            let error = match Entries::of(&payload) {
                Ok(entries) => entries.last().unwrap().unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(error, Malformed { at, what });
        }
    }

    proptest! {
        #[test]
        fn no_payload_makes_the_decoder_panic(payload in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(entries) = Entries::of(&payload) {
                prop_assert!(entries.count() <= payload.len());
            }
            let _ = decode_header(&payload);
        }

        #[test]
        fn no_record_stream_makes_the_decoder_panic(records in prop::collection::vec(any::<u8>(), 0..400)) {
            let payload = [&(records.len() as u32).to_le_bytes()[..], &records].concat();
            prop_assert!(Entries::of(&payload).unwrap().count() <= payload.len());
        }
    }
}
