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
fn describe_input(input: &Option<InputRecord<'_>>) -> String {
    match input {
        Some(InputRecord::Media { chunk, timestamp_ms, payload }) => {
            format!("Media {{ chunk: {chunk:?}, timestamp_ms: {timestamp_ms:?}, bytes: {} }}", payload.len())
        }
        Some(other) => format!("{other:?}"),
        None => "no input".to_owned(),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
