//! Runs a recorded call again and compares.
//!
//! The inputs of a journal, at their times, go into a fresh call with the journal's settings; what comes out is compared
//! with what the journal says came out, record by record, in order. A call is a pure function of its inputs, so that any
//! difference is one of the code: between the build that made the journal and this one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::format::{InputRecord, OutputRecord, Record};
use super::read::Journal;
use crate::call::{Call, CallTime, Outputs};

/// What came of running a call again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// How many inputs were fed to the call.
    pub inputs: u64,
    /// How many outputs were compared, and were the same.
    pub outputs: u64,
    /// How far the journal was followed.
    pub until: CallTime,
    /// The outcome.
    pub verdict: Verdict,
}

/// Whether a call ran as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every output was the same, byte for byte, to the end of the call.
    Same,
    /// Every output was the same, as far as the journal reaches: records are missing from there on.
    SameAsFar,
    /// Something else came out. The comparison stops at the first difference.
    Different {
        /// What the journal says came out; `None` if nothing (more) followed from the input.
        recorded: Option<String>,
        /// What came out; `None` if nothing (more) followed from the input.
        replayed: Option<String>,
        /// The input that it followed from.
        input: String,
    },
    /// The call panicked, as it may have done when it was recorded.
    Panicked {
        /// What it said.
        message: String,
        /// The input that it panicked at.
        input: String,
    },
}

/// Runs the call of `journal` again in virtual time, and compares.
pub fn replay(journal: &Journal) -> Replay {
    let mut call = Call::new(journal.header().settings.clone());
    let mut outputs = Outputs::default();
    let mut replay = Replay { inputs: 0, outputs: 0, until: CallTime::ZERO, verdict: Verdict::SameAsFar };
    let mut latest: Option<InputRecord<'_>> = None;
    // How many of `outputs` were compared already.
    let mut compared = 0;

    for entry in journal.entries() {
        // All that the latest input led to must have been recorded before anything else.
        let complete = !matches!(entry.record, Record::Output(_) | Record::Lost { .. });
        if complete && let Some(output) = outputs.iter().nth(compared) {
            let replayed = Some(describe(&OutputRecord::of(output, &outputs)));
            replay.verdict = Verdict::Different { recorded: None, replayed, input: describe_input(&latest) };
            return replay;
        }
        replay.until = entry.at;
        match entry.record {
            Record::Input(record) => {
                outputs.take_spent().for_each(drop);
                outputs.clear();
                compared = 0;
                let audio = Arc::from(entry.audio);
                let handled = catch_unwind(AssertUnwindSafe(|| {
                    call.handle(entry.at, record.to_input(&audio), &mut outputs);
                }));
                replay.inputs += 1;
                latest = Some(record);
                if let Err(panic) = handled {
                    let message = panic_message(&*panic).to_owned();
                    replay.verdict = Verdict::Panicked { message, input: describe_input(&latest) };
                    return replay;
                }
            }
            Record::Output(recorded) => {
                let replayed = outputs.iter().nth(compared).map(|output| OutputRecord::of(output, &outputs));
                if replayed.as_ref() != Some(&recorded) {
                    replay.verdict = Verdict::Different {
                        recorded: Some(describe(&recorded)),
                        replayed: replayed.as_ref().map(describe),
                        input: describe_input(&latest),
                    };
                    return replay;
                }
                compared += 1;
                replay.outputs += 1;
            }
            // Without the missing inputs the call would go another way.
            Record::Lost { .. } => return replay,
            Record::End { .. } => {
                replay.verdict = Verdict::Same;
                return replay;
            }
        }
    }
    replay
}

/// An output as a line of text: bytes as their number and checksum.
fn describe(output: &OutputRecord<'_>) -> String {
    match output {
        OutputRecord::Media { utterance, audio } => {
            let crc = crc32fast::hash(audio);
            format!("Media {{ utterance: {}, bytes: {}, crc32: {crc:#010x} }}", utterance.0, audio.len())
        }
        OutputRecord::Event(event) => format!("{event:?}"),
        other => format!("{other:?}"),
    }
}

/// An input as a line of text: bytes as their number.
pub(super) fn describe_input(input: &Option<InputRecord<'_>>) -> String {
    match input {
        Some(InputRecord::Media { chunk, timestamp_ms, payload }) => {
            format!("Media {{ chunk: {chunk:?}, timestamp_ms: {timestamp_ms:?}, bytes: {} }}", payload.len())
        }
        Some(other) => format!("{other:?}"),
        None => "no input".to_owned(),
    }
}

pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::super::append::Appender;
    use super::super::format::testing::settings;
    use super::super::format::{Entries, Entry, Header, encode_chunk, encode_header};
    use super::super::write::Message;
    use super::*;
    use crate::call::{EndReason, Input, Media, Output, Then};

    /// A driver of the least kind: ten seconds of a caller who is silent, an agent who greets, everything journalled.
    fn recorded_call() -> Vec<u8> {
        let (messages, inbox) = bounded(1_000);
        let (_, spares) = bounded(1);
        let mut appender = Appender::new(0, messages, spares, Arc::default());
        let mut call = Call::new(settings());
        let mut outputs = Outputs::default();
        let mut wanted: Vec<Output> = Vec::new();
        let mut give = |at: CallTime, input: Input<'_>, wanted: &mut Vec<Output>| {
            appender.input(at, &input);
            outputs.clear();
            call.handle(at, input, &mut outputs);
            for output in outputs.iter() {
                appender.output(at, output, &outputs);
                wanted.push(output.clone());
            }
            if appender.due(at) {
                appender.hand_over(at);
            }
            call.next_deadline()
        };
        give(CallTime::ZERO, Input::Start { stream: "MZ1", format_ok: true }, &mut wanted);
        for n in 0..500u32 {
            let at = CallTime::from_millis(u64::from(n) * 20 + 5);
            let media = Media { chunk: Some(n + 1), timestamp_ms: Some(n * 20), payload: &[0xFF; 160] };
            give(at, Input::Media(media), &mut wanted);
            for output in std::mem::take(&mut wanted) {
                match output {
                    Output::AskAgent { turn, .. } => {
                        give(at, Input::AgentSays { turn, text: "Hello." }, &mut wanted);
                        give(at, Input::AgentDone { turn, then: Then::Listen { keys_max: 0 } }, &mut wanted);
                    }
                    Output::Synthesize { utterance, .. } => {
                        let audio: Arc<[u8]> = (0..4_000).map(|n| (n % 120) as u8).collect();
                        give(at, Input::AgentAudio { utterance, audio: &audio, words: &[] }, &mut wanted);
                        let end = Input::AgentAudioEnd { utterance, failed: false, words: &[] };
                        give(at, end, &mut wanted);
                    }
                    Output::Mark { mark } => {
                        let name = crate::call::mark_name(mark);
                        give(at, Input::Mark { name: name.as_str() }, &mut wanted);
                    }
                    _ => {}
                }
            }
            give(at, Input::Tick, &mut wanted);
        }
        let end = CallTime::from_millis(10_000);
        give(end, Input::Stop, &mut wanted);
        assert!(appender.finish(end, EndReason::CallerHangup));

        let header = Header { call: "CA1".into(), started_unix_us: 0, settings: settings() };
        let (mut file, mut block) = (encode_header(&header).unwrap(), Vec::new());
        for message in inbox.try_iter() {
            let Message::Chunk(chunk) = message else { panic!("only chunks come from an appender") };
            encode_chunk(chunk.records(), &chunk.audio, &mut block);
            file.extend(&block);
        }
        file
    }

    /// The journal of [`recorded_call`] with its records changed.
    fn tampered(change: impl Fn(&mut Vec<Entry<'_>>)) -> Journal {
        let whole = Journal::parse(recorded_call()).unwrap();
        let mut entries: Vec<Entry<'_>> = whole.entries().collect();
        change(&mut entries);
        let records: Vec<u8> = entries
            .iter()
            .flat_map(|entry| postcard::to_stdvec(&(entry.at, &entry.record)).unwrap())
            .collect();
        let audio: Vec<Arc<[u8]>> = entries.iter().map(|entry| entry.audio.into()).collect();
        let (mut file, mut block) = (encode_header(whole.header()).unwrap(), Vec::new());
        encode_chunk(&records, &audio, &mut block);
        assert!(Entries::of(&block[8..]).unwrap().all(|entry| entry.is_ok()));
        file.extend(block);
        Journal::parse(file).unwrap()
    }

    fn output_at(entries: &[Entry<'_>], wanted: impl Fn(&OutputRecord<'_>) -> bool) -> usize {
        entries.iter().position(|e| matches!(&e.record, Record::Output(o) if wanted(o))).unwrap()
    }

    #[test]
    fn recorded_call_runs_again_to_the_same_outputs() {
        let journal = Journal::parse(recorded_call()).unwrap();
        let replay = replay(&journal);
        assert_eq!(replay.verdict, Verdict::Same);
        assert!(replay.inputs > 1_000 && replay.outputs > 10, "{replay:?}");
        assert_eq!(replay.until, CallTime::from_millis(10_000));
    }

    #[test]
    fn one_byte_of_audio_is_a_difference() {
        let journal = tampered(|entries| {
            let media = output_at(entries, |output| matches!(output, OutputRecord::Media { .. }));
            let Record::Output(OutputRecord::Media { audio, .. }) = &mut entries[media].record else {
                return;
            };
            let changed: Vec<u8> = audio.iter().map(|byte| byte ^ 1).collect();
            *audio = changed.leak();
        });
        let Verdict::Different { recorded: Some(recorded), replayed: Some(replayed), .. } =
            replay(&journal).verdict
        else {
            panic!("not noticed")
        };
        assert_ne!(recorded, replayed);
        assert!(recorded.starts_with("Media { utterance: "), "{recorded}");
    }

    #[test]
    fn output_too_many_and_output_too_few_are_differences() {
        let too_many = tampered(|entries| {
            let at = entries[0].at;
            entries.insert(1, Entry { at, record: Record::Output(OutputRecord::Clear), audio: &[] });
        });
        let verdict = replay(&too_many).verdict;
        assert!(
            matches!(&verdict, Verdict::Different { recorded: Some(r), .. } if r == "Clear"),
            "{verdict:?}"
        );

        let too_few = tampered(|entries| {
            let last = entries.iter().rposition(|e| matches!(e.record, Record::Output(_))).unwrap();
            entries.remove(last);
        });
        let verdict = replay(&too_few).verdict;
        assert!(
            matches!(&verdict, Verdict::Different { recorded: None, replayed: Some(_), .. }),
            "{verdict:?}"
        );
    }

    #[test]
    fn journal_that_breaks_off_is_the_same_as_far_as_it_goes() {
        let mut file = recorded_call();
        file.truncate(file.len() / 2);
        let journal = Journal::parse(file).unwrap();
        let replay = replay(&journal);
        assert_eq!(replay.verdict, Verdict::SameAsFar);
        assert!(replay.inputs > 100, "{replay:?}");

        let lost = tampered(|entries| {
            let at = entries[200].at;
            entries.insert(200, Entry { at, record: Record::Lost { records: 3 }, audio: &[] });
            entries.drain(201..204);
        });
        assert_eq!(super::replay(&lost).verdict, Verdict::SameAsFar);
    }
}
