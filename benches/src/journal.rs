//! A call's journal under the feet of a bench: what a driver records of a frame in and a frame out.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use offhook_engine::call::{
    Call, CallSettings, CallTime, EndReason, Event, Input, Media, Output, Outputs, Then, TurnId, UtteranceId,
};
use offhook_engine::journal::{Appender, Writer, read};
use offhook_engine::{CallId, CallSink, Finished};
use tempfile::TempDir;

/// Frames of one call; a file is begun anew after so many, so that a bench does not fill the disk.
const FRAMES_PER_CALL: u32 = 20_000;

struct Deaf;

impl CallSink for Deaf {
    fn on_event(&self, _: &CallId, _: &Event) {}
    fn on_finished(&self, _: &CallId, _: &Finished) {}
    fn on_loss(&self, _: &CallId, what: &str) {
        panic!("{what}");
    }
}

/// A writer in a folder of its own, a call's appender, and 20 ms of audio that goes in and out again and again.
pub struct Recorded {
    folder: TempDir,
    writer: Writer,
    appender: Appender,
    calls: u32,
    frame: u32,
    outputs: Outputs,
    media: Output,
}

impl Default for Recorded {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorded {
    /// Begins a journal.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (journals, recordings) = (folder.path().join("journals"), folder.path().join("recordings"));
        let writer = Writer::start(&journals, &recordings, Arc::new(Deaf)).expect("the folder is ours");
        let (outputs, media) = a_message();
        let appender = open(&writer, 0);
        Self { folder, writer, appender, calls: 0, frame: 0, outputs, media }
    }

    /// Records a frame that came in and one that went out, and hands the chunk over if it is due.
    pub fn frame(&mut self, ulaw: &[u8; 160]) {
        let at = CallTime::from_millis(u64::from(self.frame) * 20);
        self.frame += 1;
        let media = Media { chunk: Some(self.frame), timestamp_ms: Some(self.frame * 20), payload: ulaw };
        self.appender.input(at, &Input::Media(black_box(media)));
        self.appender.output(at, black_box(&self.media), &self.outputs);
        if self.appender.due(at) {
            self.appender.hand_over(at);
        }
    }

    /// True once the call is long enough: time for [`Recorded::begin_anew`].
    pub fn is_long(&self) -> bool {
        self.frame >= FRAMES_PER_CALL
    }

    /// Ends the call, sees that nothing of it was lost, and begins another.
    pub fn begin_anew(&mut self) {
        self.end();
        let path = self.path();
        while !std::fs::read(&path).is_ok_and(|bytes| !bytes.is_empty()) || self.writer_is_behind() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::fs::remove_file(path).expect("the journal is ours");
        self.calls += 1;
        self.frame = 0;
        self.appender = open(&self.writer, self.calls);
    }

    /// Ends the call, reads its journal back and gives how many frames are in it, in and out.
    pub fn check(mut self) -> (u64, u64) {
        self.end();
        let path = self.path();
        self.writer.shutdown();
        let journal = read(&path).expect("the journal was written");
        assert!(journal.damage().is_none(), "{:?}", journal.damage());
        let bytes = std::fs::metadata(&path).expect("it is there").len();
        drop(self.folder);
        (u64::from(self.frame), bytes)
    }

    fn end(&mut self) {
        let at = CallTime::from_millis(u64::from(self.frame) * 20);
        while !self.appender.finish(at, EndReason::CallerHangup) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(self.appender.lost(), 0, "nothing was lost");
    }

    fn writer_is_behind(&self) -> bool {
        read(&self.path()).is_ok_and(|journal| journal.end().is_none())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("journals").join(Path::new(&name(self.calls)).with_extension("journal"))
    }
}

fn name(call: u32) -> String {
    format!("CA{call}")
}

fn open(writer: &Writer, call: u32) -> Appender {
    let id = CallId::new(&name(call)).expect("letters and figures");
    writer.open(id, CallSettings::default(), 0).expect("the writer runs")
}

/// A message of agent audio, 20 ms, as a call puts it out.
fn a_message() -> (Outputs, Output) {
    let mut call = Call::new(CallSettings { message_ms: 20, ..CallSettings::default() });
    let mut out = Outputs::default();
    let now = CallTime::from_millis(20);
    let frame = Media { chunk: Some(1), timestamp_ms: Some(0), payload: &[0xFF; 160] };
    let audio: Arc<[u8]> = (0..8_000).map(|n| (n % 127) as u8).collect();
    call.handle(now, Input::Start { stream: "MZ1", format_ok: true }, &mut out);
    call.handle(now, Input::Media(frame), &mut out);
    call.handle(now, Input::AgentSays { turn: TurnId(1), text: "Hello." }, &mut out);
    call.handle(now, Input::AgentDone { turn: TurnId(1), then: Then::Listen { keys_max: 0 } }, &mut out);
    out.clear();
    call.handle(now, Input::AgentAudio { utterance: UtteranceId(1), audio: &audio, words: &[] }, &mut out);
    let media = out.iter().find(|output| matches!(output, Output::Media { .. })).cloned();
    (out, media.expect("the agent speaks"))
}
