//! The writer thread: chunks in; journals, recordings and the sink's events out.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded};

use super::append::{Appender, CallKey, Chunk};
use super::format::{
    BLOCK_HEAD_BYTES, Entries, Entry, Header, InputRecord, OutputRecord, Record, encode_chunk, encode_header,
};
use super::recording::{Recording, Scratch};
use crate::call::{CallSettings, CallTime, EndReason};
use crate::engine::{CallId, CallSink, EngineError, Finished};
use crate::measure::{CallTotals, Counts, bump};
use crate::priority::{Rank, Turns, give_way, run_soon};

/// How many messages may wait for the writer: 48 MB of chunks, eight seconds of a disk that hangs under 500 calls.
/// Full: chunks stay with their media threads; see [`Appender`] for what follows.
const MESSAGES: usize = 8_192;
/// How many empty chunks are kept for the next call, 6 KB each: as many as 1,500 calls fill between two looks of the writer.
const SPARES: usize = 128;
/// How many of them are there from the beginning, so that the first calls need not ask for memory.
const SPARES_AT_START: usize = 64;
/// How often the writer looks for messages while calls are open. It is never woken then: a media thread would pay some
/// 10 to 40 µs for each waking, which is more than it pays for a second of records.
const POLL: Duration = Duration::from_millis(40);

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Message {
    /// A call begins.
    Open(Box<Opening>),
    /// More of a call, in order.
    Chunk(Chunk),
    /// All has been said.
    Stop,
}

/// A call that begins.
#[derive(Debug)]
pub(super) struct Opening {
    key: CallKey,
    call: CallId,
    started_unix_us: u64,
    settings: Arc<CallSettings>,
}

/// The thread `journal-writer`, which does all the file work of all calls.
///
/// Chunks are written as they come and not forced to the disk: what was handed over survives the process, not the
/// machine. A file that cannot be written is given up, told once per call, and its call goes on.
#[derive(Debug)]
pub struct Writer {
    messages: Sender<Message>,
    spares: Receiver<Chunk>,
    next_key: AtomicU64,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `journal_dir` and `recording_dir` are made if they are not there; errors if one cannot be
    /// made or written to, or the thread cannot be started.
    pub fn start(
        journal_dir: &Path,
        recording_dir: &Path,
        sink: Arc<dyn CallSink>,
    ) -> Result<Self, EngineError> {
        Self::start_with_room(MESSAGES, journal_dir, recording_dir, sink)
    }

    /// As [`Writer::start`], where `messages` may wait for the writer.
    pub(crate) fn start_with_room(
        messages: usize,
        journal_dir: &Path,
        recording_dir: &Path,
        sink: Arc<dyn CallSink>,
    ) -> Result<Self, EngineError> {
        for dir in [journal_dir, recording_dir] {
            check_folder(dir).map_err(|source| EngineError::Folder { path: dir.to_owned(), source })?;
        }
        let (messages, inbox) = bounded(messages);
        let (spare, spares) = bounded(SPARES);
        for chunk in std::iter::repeat_with(Chunk::new).take(SPARES_AT_START) {
            let _ = spare.try_send(chunk);
        }
        let counts = Arc::<Counts>::default();
        let desk = Desk {
            counts: Arc::clone(&counts),
            journal_dir: journal_dir.to_owned(),
            recording_dir: recording_dir.to_owned(),
            sink,
            spare,
            open: BTreeMap::new(),
            block: Vec::new(),
            scratch: Scratch::default(),
        };
        let thread = std::thread::Builder::new()
            .name("journal-writer".to_owned())
            .spawn(move || {
                give_way(Rank::Records);
                run_soon();
                desk.run(&inbox);
            })
            .map_err(EngineError::Thread)?;
        Ok(Self { messages, spares, next_key: AtomicU64::new(0), counts, thread: Some(thread) })
    }

    /// How full the way to the writer is, from 0 to 1: at 1 records are lost, if it stays so.
    pub(crate) fn backlog(&self) -> f64 {
        self.messages.len() as f64 / self.messages.capacity().unwrap_or(usize::MAX) as f64
    }

    /// What happened on all calls whose records passed through here.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Begins a call's journal and recording. Not for a media thread: it allocates, and waits if the writer is behind.
    ///
    /// `started_unix_us`: the moment of [`CallTime::ZERO`], in microseconds since 1970-01-01 00:00 UTC.
    pub fn open(
        &self,
        call: CallId,
        settings: impl Into<Arc<CallSettings>>,
        started_unix_us: u64,
    ) -> Result<Appender, EngineError> {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let opening = Box::new(Opening { key, call, started_unix_us, settings: settings.into() });
        self.messages.send(Message::Open(opening)).map_err(|_| EngineError::ShuttingDown)?;
        Ok(Appender::new(key, self.messages.clone(), self.spares.clone(), Arc::clone(&self.counts)))
    }

    /// Writes all that was handed over, closes all files and ends the thread. A call that did not finish counts as
    /// ended by the shutdown.
    pub fn shutdown(self) {}
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            // If it panicked, the panic was reported there.
            let _ = thread.join();
        }
    }
}

/// The thread's own state.
struct Desk {
    journal_dir: PathBuf,
    recording_dir: PathBuf,
    sink: Arc<dyn CallSink>,
    counts: Arc<Counts>,
    spare: Sender<Chunk>,
    open: BTreeMap<CallKey, OpenCall>,
    block: Vec<u8>,
    scratch: Scratch,
}

impl Desk {
    fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            if self.open.is_empty() {
                let Ok(message) = inbox.recv() else { break };
                if self.take(message).is_break() {
                    break;
                }
            } else {
                let _ = after(POLL).recv();
            }
            // What has come since the last look is milliseconds of work.
            let mut turns = Turns::begin();
            let taken = inbox.try_iter().try_for_each(|message| {
                turns.offer();
                self.take(message)
            });
            if taken.is_break() {
                break;
            }
        }
        for (_, call) in std::mem::take(&mut self.open) {
            let latest = call.latest;
            call.finish(latest, EndReason::Shutdown, &*self.sink, &mut self.scratch);
        }
    }

    fn take(&mut self, message: Message) -> std::ops::ControlFlow<()> {
        match message {
            Message::Open(opening) => {
                let key = opening.key;
                let call = OpenCall::open(*opening, self);
                self.open.insert(key, call);
            }
            Message::Chunk(mut chunk) => {
                self.keep(&chunk);
                if chunk.recycle() {
                    let _ = self.spare.try_send(chunk);
                }
            }
            Message::Stop => return std::ops::ControlFlow::Break(()),
        }
        std::ops::ControlFlow::Continue(())
    }

    fn keep(&mut self, chunk: &Chunk) {
        // A call that has ended may still send audio to be freed.
        if chunk.records().is_empty() {
            return;
        }
        let Some(call) = self.open.get_mut(&chunk.call) else { return };
        encode_chunk(chunk.records(), &chunk.audio, &mut self.block);
        call.journal(&self.block, &*self.sink);
        let end = call.tell(&self.block[BLOCK_HEAD_BYTES..], &*self.sink, &mut self.scratch);
        match end {
            None => call.record(&*self.sink, &mut self.scratch),
            Some((at, reason)) => {
                if let Some(call) = self.open.remove(&chunk.call) {
                    call.finish(at, reason, &*self.sink, &mut self.scratch);
                }
            }
        }
    }
}

/// One call's files.
struct OpenCall {
    call: CallId,
    journal: Option<(PathBuf, File)>,
    recording: Option<(PathBuf, Recording<File>)>,
    /// True once the sink was told that a file is given up.
    told: bool,
    /// The moment of the latest record.
    latest: CallTime,
    counts: Arc<Counts>,
    totals: CallTotals,
}

impl OpenCall {
    fn open(opening: Opening, desk: &Desk) -> Self {
        let Desk { journal_dir, recording_dir, sink, counts, .. } = desk;
        let sink = &**sink;
        let Opening { call, started_unix_us, settings, .. } = opening;
        let journal_path = journal_dir.join(format!("{call}.journal"));
        let recording_path = recording_dir.join(format!("{call}.wav"));
        let mut open = Self {
            call,
            journal: None,
            recording: None,
            told: false,
            latest: CallTime::ZERO,
            counts: Arc::clone(counts),
            totals: CallTotals::default(),
        };

        let settings = Arc::unwrap_or_clone(settings);
        let header = Header { call: open.call.as_str().to_owned(), started_unix_us, settings };
        let journal = encode_header(&header).map_err(io::Error::other).and_then(|header| {
            let mut file = create(&journal_path)?;
            file.write_all(&header)?;
            Ok(file)
        });
        match journal {
            Ok(file) => open.journal = Some((journal_path, file)),
            Err(e) => open.give_up("journal", &journal_path, &e, sink),
        }
        match create(&recording_path).and_then(Recording::start) {
            Ok(recording) => open.recording = Some((recording_path, recording)),
            Err(e) => open.give_up("recording", &recording_path, &e, sink),
        }
        open
    }

    /// Writes a block to the journal.
    fn journal(&mut self, block: &[u8], sink: &dyn CallSink) {
        let Some((path, file)) = &mut self.journal else { return };
        if let Err(e) = file.write_all(block) {
            let path = std::mem::take(path);
            self.journal = None;
            self.give_up("journal", &path, &e, sink);
        }
    }

    /// Passes on what a chunk says: events to the sink, audio to the recording. Returns how the call ended, if it did.
    fn tell(
        &mut self,
        payload: &[u8],
        sink: &dyn CallSink,
        scratch: &mut Scratch,
    ) -> Option<(CallTime, EndReason)> {
        let entries = match Entries::of(payload) {
            Ok(entries) => entries,
            Err(malformed) => {
                sink.on_loss(&self.call, &format!("a chunk of records is broken: {}", malformed.what));
                return None;
            }
        };
        for entry in entries {
            let Entry { at, record, .. } = match entry {
                Ok(entry) => entry,
                Err(malformed) => {
                    let what =
                        format!("a record at byte {} of its chunk is {}", malformed.at, malformed.what);
                    sink.on_loss(&self.call, &what);
                    return None;
                }
            };
            self.latest = at;
            let recording = self.recording.as_mut().map(|(_, recording)| recording);
            match record {
                Record::Input(InputRecord::Media { timestamp_ms, chunk, payload }) => {
                    if let Some(recording) = recording {
                        recording.tracks().caller(at, timestamp_ms, chunk, payload);
                        recording.settle(scratch);
                    }
                }
                Record::Output(OutputRecord::Media { audio, .. }) => {
                    if let Some(recording) = recording {
                        recording.tracks().agent(at, audio);
                    }
                }
                Record::Output(OutputRecord::Clear) => {
                    if let Some(recording) = recording {
                        recording.tracks().clear(at);
                    }
                }
                Record::Output(OutputRecord::Event(event)) => {
                    self.counts.event(&event.kind, &mut self.totals);
                    sink.on_event(&self.call, &event);
                }
                Record::Lost { records } => {
                    let what = format!(
                        "the writer could not keep up: {records} records of the journal and recording are missing"
                    );
                    sink.on_loss(&self.call, &what);
                }
                Record::End { reason } => return Some((at, reason)),
                Record::Input(_) | Record::Output(_) => {
                    if let Some(recording) = recording {
                        recording.tracks().passed(at);
                    }
                }
            }
        }
        None
    }

    /// Writes what of the recording is final.
    fn record(&mut self, sink: &dyn CallSink, scratch: &mut Scratch) {
        let Some((path, recording)) = &mut self.recording else { return };
        if let Err(e) = recording.write(scratch) {
            let path = std::mem::take(path);
            self.recording = None;
            self.give_up("recording", &path, &e, sink);
        }
    }

    fn finish(mut self, at: CallTime, reason: EndReason, sink: &dyn CallSink, scratch: &mut Scratch) {
        let recording =
            self.recording.take().and_then(|(path, recording)| match recording.finish(at, scratch) {
                Ok(()) => Some(path),
                Err(e) => {
                    self.give_up("recording", &path, &e, sink);
                    None
                }
            });
        let journal = self.journal.take().map(|(path, _)| path);
        self.counts.ended(reason);
        sink.on_finished(&self.call, &Finished { reason, duration_ms: at.as_millis(), recording, journal });
    }

    /// A file cannot be written any further. What it holds so far stays, and is readable.
    fn give_up(&mut self, what: &str, path: &Path, error: &io::Error, sink: &dyn CallSink) {
        bump(&self.counts.files_given_up, 1);
        if !std::mem::replace(&mut self.told, true) {
            sink.on_loss(&self.call, &format!("the {what} {} cannot be written: {error}", path.display()));
        }
    }
}

/// Makes a call's file. Never over another one: a record of a call is not replaced.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // What people said is nobody else's business.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a folder, and tries whether files can be made in it.
fn check_folder(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let probe = dir.join(format!(".writable-{}", std::process::id()));
    File::create(&probe)?;
    fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Event, EventKind, Input, Media, Output, Outputs};
    use crate::journal;

    /// What a sink is told, in order.
    #[derive(Debug)]
    enum Told {
        Event(CallId, Event),
        Finished(CallId, Finished),
        Loss(CallId, String),
    }

    struct Listener(Sender<Told>);

    impl CallSink for Listener {
        fn on_event(&self, call: &CallId, event: &Event) {
            self.0.send(Told::Event(call.clone(), event.clone())).unwrap();
        }

        fn on_finished(&self, call: &CallId, finished: &Finished) {
            self.0.send(Told::Finished(call.clone(), finished.clone())).unwrap();
        }

        fn on_loss(&self, call: &CallId, what: &str) {
            self.0.send(Told::Loss(call.clone(), what.to_owned())).unwrap();
        }
    }

    fn listener() -> (Arc<Listener>, Receiver<Told>) {
        let (told, listen) = crossbeam_channel::unbounded();
        (Arc::new(Listener(told)), listen)
    }

    fn id(name: &str) -> CallId {
        CallId::new(name).unwrap()
    }

    fn noted(at: CallTime, value: &str) -> Output {
        Output::Event(Event { at, kind: EventKind::Recorded { key: "k".into(), value: value.into() } })
    }

    /// A second of call with two notes in it.
    fn talk(appender: &mut Appender) -> CallTime {
        let outputs = Outputs::default();
        let mut now = CallTime::ZERO;
        for n in 0..50u32 {
            now = CallTime::from_millis(u64::from(n) * 20);
            let media = Media { chunk: Some(n + 1), timestamp_ms: Some(n * 20), payload: &[0; 160] };
            appender.input(now, &Input::Media(media));
            if n == 10 || n == 40 {
                appender.output(now, &noted(now, &n.to_string()), &outputs);
            }
            if appender.due(now) {
                appender.hand_over(now);
            }
        }
        now
    }

    #[test]
    fn call_leaves_its_journal_its_recording_and_its_events_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (journals, recordings) = (dir.path().join("a/journals"), dir.path().join("recordings"));
        let (sink, told) = listener();
        let writer = Writer::start(&journals, &recordings, sink).unwrap();
        let mut appender = writer.open(id("CA1"), CallSettings::default(), 1_000_000).unwrap();
        talk(&mut appender);
        assert!(appender.finish(CallTime::from_millis(1_000), EndReason::CallerHangup));
        writer.shutdown();

        let told: Vec<Told> = told.try_iter().collect();
        let [Told::Event(_, first), Told::Event(_, second), Told::Finished(call, finished)] = &told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!((first.at.as_millis(), second.at.as_millis()), (200, 800));
        assert_eq!(call, &id("CA1"));
        assert_eq!((finished.reason, finished.duration_ms), (EndReason::CallerHangup, 1_000));
        let journal = journal::read(finished.journal.as_deref().unwrap()).unwrap();
        assert!(journal.damage().is_none());
        assert_eq!(journal.header().started_unix_us, 1_000_000);
        assert_eq!(journal.entries().count(), 53);
        let wav = fs::read(finished.recording.as_deref().unwrap()).unwrap();
        assert_eq!(wav.len(), 44 + 8_000 * 4);
        assert_eq!(wav[44..46], offhook_codecs::g711::ulaw_to_linear(0).to_le_bytes());
    }

    #[test]
    fn file_that_cannot_be_made_is_told_once_and_other_calls_go_on() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("CA1.journal"), "kept").unwrap();
        fs::write(dir.path().join("CA1.wav"), "kept").unwrap();
        let (sink, told) = listener();
        let writer = Writer::start(dir.path(), dir.path(), sink).unwrap();
        for name in ["CA1", "CA2"] {
            let mut appender = writer.open(id(name), CallSettings::default(), 0).unwrap();
            let now = talk(&mut appender);
            assert!(appender.finish(now, EndReason::Operator));
        }
        writer.shutdown();
        assert_eq!(fs::read(dir.path().join("CA1.journal")).unwrap(), b"kept");

        let (mut losses, mut events, mut finished) = (Vec::new(), Vec::new(), Vec::new());
        for told in told.try_iter() {
            match told {
                Told::Loss(call, what) => losses.push((call, what)),
                Told::Event(call, _) => events.push(call),
                Told::Finished(call, f) => finished.push((call, f.journal.is_some(), f.recording.is_some())),
            }
        }
        let [(call, what)] = &losses[..] else { panic!("{losses:?}") };
        assert_eq!(call, &id("CA1"));
        assert!(what.starts_with("the journal ") && what.contains("CA1.journal cannot be written"), "{what}");
        assert_eq!(events, ["CA1", "CA1", "CA2", "CA2"].map(id));
        assert_eq!(finished, [(id("CA1"), false, false), (id("CA2"), true, true)]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn full_disk_is_told_once_and_the_call_goes_on() {
        let (sink, told) = listener();
        let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let wav = dir.path().join("CA1.wav");
        let mut call = OpenCall {
            call: id("CA1"),
            journal: Some(("CA1.journal".into(), full())),
            recording: Some((wav.clone(), Recording::start(create(&wav).unwrap()).unwrap())),
            told: false,
            latest: CallTime::ZERO,
            counts: Arc::default(),
            totals: CallTotals::default(),
        };
        call.journal(b"block", &*sink);
        call.journal(b"block", &*sink);
        let error = io::Error::other("the same disk");
        call.give_up("recording", &wav, &error, &*sink);
        call.finish(CallTime::ZERO, EndReason::Operator, &*sink, &mut Scratch::default());
        let told: Vec<Told> = told.try_iter().collect();
        let [Told::Loss(_, what), Told::Finished(_, finished)] = &told[..] else { panic!("{told:?}") };
        assert!(what.starts_with("the journal CA1.journal cannot be written: No space left"), "{what}");
        assert_eq!(finished.journal, None);
        assert_eq!(finished.recording.as_deref(), Some(&*wav));
    }

    #[test]
    fn call_that_is_still_open_is_finished_by_the_shutdown() {
        let dir = tempfile::tempdir().unwrap();
        let (sink, told) = listener();
        let writer = Writer::start(dir.path(), dir.path(), sink).unwrap();
        let mut appender = writer.open(id("CA1"), CallSettings::default(), 0).unwrap();
        let now = talk(&mut appender);
        appender.hand_over(now);
        writer.shutdown();
        let Some(Told::Finished(_, finished)) = told.try_iter().last() else { panic!("not finished") };
        assert_eq!((finished.reason, finished.duration_ms), (EndReason::Shutdown, now.as_millis()));
    }

    #[test]
    fn loss_in_the_journal_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (sink, told) = listener();
        let writer = Writer::start(dir.path(), dir.path(), sink).unwrap();
        let mut appender = writer.open(id("CA1"), CallSettings::default(), 0).unwrap();
        let huge = vec![0; 2 << 20];
        appender
            .input(CallTime::ZERO, &Input::Media(Media { chunk: None, timestamp_ms: None, payload: &huge }));
        assert!(appender.finish(CallTime::from_millis(20), EndReason::Operator));
        writer.shutdown();
        let told: Vec<Told> = told.try_iter().collect();
        let [Told::Loss(_, what), Told::Finished(..)] = &told[..] else { panic!("{told:?}") };
        assert!(what.contains(" 1 records"), "{what}");
    }

    #[test]
    fn folder_that_cannot_be_made_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let (sink, _told) = listener();
        let error = Writer::start(dir.path(), &file.join("recordings"), sink).unwrap_err();
        assert!(matches!(error, EngineError::Folder { path, .. } if path == file.join("recordings")));
    }
}
