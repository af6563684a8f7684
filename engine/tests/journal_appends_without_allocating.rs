//! The media thread's side of a journal asks the allocator for nothing.

use std::path::PathBuf;
use std::sync::Arc;

use offhook_engine::call::{
    CallSettings, CallTime, EndReason, Event, EventKind, Input, Media, Output, Outputs, Span, UtteranceId,
};
use offhook_engine::journal::{self, Writer};
use offhook_engine::{CallId, CallSink, Finished};
use offhook_fixtures::alloc::{CountingAllocator, Counts, counted};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

struct Deaf;

impl CallSink for Deaf {
    fn on_event(&self, _: &CallId, _: &Event) {}
    fn on_finished(&self, _: &CallId, _: &Finished) {}
    fn on_loss(&self, call: &CallId, what: &str) {
        panic!("{call}: {what}");
    }
}

#[test]
fn ten_seconds_of_call_ask_for_no_memory_and_give_none_back() {
    const FRAMES: u64 = 500;
    let dir = tempfile::tempdir().unwrap();
    let (journals, recordings): (PathBuf, PathBuf) = (dir.path().join("j"), dir.path().join("r"));
    let writer = Writer::start(&journals, &recordings, Arc::new(Deaf)).unwrap();
    let mut appender = writer.open(CallId::new("quiet").unwrap(), CallSettings::default(), 0).unwrap();

    let caller = [0x7Fu8; 160];
    let outputs = Outputs::default();
    let utterance = UtteranceId(1);
    let urgent = Output::Event(Event {
        at: CallTime::ZERO,
        kind: EventKind::Recorded { key: "size".into(), value: "200".into() },
    });
    // As a speech thread makes it, and the call gives it back once it was played.
    let pieces: Vec<Arc<[u8]>> = (0..FRAMES).map(|_| Arc::from([0u8; 160])).collect();
    let mut pieces = pieces.into_iter();
    let mut now = CallTime::ZERO;
    let ((), counts) = counted(|| {
        for (piece, chunk) in pieces.by_ref().zip(1..) {
            now = CallTime::from_millis(u64::from(chunk) * 20);
            let timestamp_ms = Some(chunk * 20);
            let media = Media { chunk: Some(chunk), timestamp_ms, payload: &caller };
            appender.input(now, &Input::Media(media));
            appender.input(now, &Input::AgentAudio { utterance, audio: &piece, words: &[] });
            appender.output(now, &Output::Media { utterance, audio: Span::default() }, &outputs);
            if chunk % 250 == 0 {
                appender.output(now, &urgent, &outputs);
            }
            appender.spent(piece);
            if appender.due(now) {
                appender.hand_over(now);
            }
        }
    });
    assert_eq!(counts, Counts::default());

    assert!(appender.finish(now, EndReason::CallerHangup));
    writer.shutdown();
    let journal = journal::read(&journals.join("quiet.journal")).unwrap();
    assert!(journal.damage().is_none());
    assert_eq!(journal.events().count(), 2);
    assert_eq!(journal.end(), Some((now, EndReason::CallerHangup)));
    let wav = std::fs::metadata(recordings.join("quiet.wav")).unwrap();
    assert_eq!(wav.len(), 44 + now.as_millis() * 8 * 4);
}
