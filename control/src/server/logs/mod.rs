//! Logs: what happened, for people on stderr, for programs in files, and for the API from memory.
//!
//! ```text
//!   whoever logs ─► queue ─► log: sentence ─► ring ─► /api/logs/latest, /api/logs/stream
//!   (copies values)                       ├─► queue ─► log-file:   JSON lines, rotating files
//!                                         └─► queue ─► log-stderr: lines for people
//! ```
//!
//! Whoever logs copies the event's values and goes on; the thread `log` makes a sentence of them, and waits for nobody: it
//! has no disk, no terminal and no reader. Those have threads and positions of their own, so a full disk, a stopped
//! terminal and a client that does not read cost lines on that way alone. Every queue drops when it is full, counts what it
//! dropped, and says so once there is room.
//!
//! An entry is what the API shows: `{timestamp, level, message, call_id, module}`. The module is where the event comes from:
//!
//! | target | module |
//! |---|---|
//! | `offhook::systems::callbot::…`, `offhook::domain::calls` | the part itself: `callbot`, `calls` |
//! | `offhook::store::…`, `offhook::server::…` | the folder: `store`, `server` |
//! | `offhook::access` | `access`: one line per request |
//! | `offhook::logs` | `logs`: what the log has to say of itself |
//! | `offhook_engine::…`, `hyper::…` | the crate: `engine`, `hyper` |

mod capture;
mod entry;
mod file;
mod ring;
mod sink;
mod stderr;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use crossbeam_channel::{Receiver, Sender, bounded};
use offhook_engine::priority::{Rank, give_way};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::settings::LogLevel;
use capture::{Capture, Record};
use entry::Line;
use file::RotatingFile;
use sink::Sink;

pub use entry::{Entry, Level, missed};
pub use ring::{Batch, Filter, Latest, Reader, Ring};

/// How many events may wait for the thread `log`. With [`capture::TEXT_BYTES_MAX`], 32 MiB at the very worst.
const QUEUE_EVENTS: usize = 8_192;

/// How many events are taken up together: readers are woken once for all of them.
const TOGETHER: usize = 256;

/// How many entries the API can look back on.
const HELD_ENTRIES: usize = 10_000;

/// And how many bytes: of ordinary entries, more than [`HELD_ENTRIES`]; of long ones, fewer.
const HELD_BYTES: usize = 8 * 1024 * 1024;

/// The entries of this process.
pub fn ring() -> &'static Ring {
    static RING: LazyLock<Ring> = LazyLock::new(|| Ring::new(HELD_ENTRIES, HELD_BYTES));
    &RING
}

static LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines of this process that found a queue full, whichever.
pub fn lines_dropped() -> u64 {
    LINES_DROPPED.load(Ordering::Relaxed)
}

fn count_dropped() {
    LINES_DROPPED.fetch_add(1, Ordering::Relaxed);
}

/// Writes what is left when it goes.
#[derive(Debug)]
pub struct Logs {
    queue: Sender<Message>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What comes to the thread `log`.
#[derive(Debug)]
enum Message {
    Event(Record),
    Close,
}

/// Starts logging for the whole process, as JSON lines to `file`, whose folder is made if need be, and, `on_stderr`, for
/// people to read.
///
/// Once per process; the error says what is wrong with the file.
pub fn start(level: LogLevel, file: &Path, on_stderr: bool) -> Result<Logs, String> {
    let failed = |error: std::io::Error| {
        format!(
            "cannot write the log {}: {error}; choose another data folder with --data-dir",
            file.display()
        )
    };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let (queue, events) = bounded(QUEUE_EVENTS);
    let rotating = RotatingFile::open(file, file::Rotation::default(), queue.clone()).map_err(failed)?;
    let mut sinks = vec![Sink::start("log-file", rotating).map_err(failed)?];
    if on_stderr {
        sinks.push(Sink::start("log-stderr", stderr::ForPeople::new(std::io::stderr())).map_err(failed)?);
    }
    let dropped = Arc::new(AtomicU64::new(0));
    let thread = std::thread::Builder::new()
        .name("log".into())
        .spawn({
            let dropped = dropped.clone();
            move || {
                give_way(Rank::Records);
                take_up(&events, &dropped, ring(), sinks);
            }
        })
        .map_err(failed)?;
    let targets = Targets::new().with_default(LevelFilter::WARN);
    let targets = ["offhook", "offhook_engine", "offhook_codecs"]
        .into_iter()
        .fold(targets, |targets, ours| targets.with_target(ours, filter(level)));
    tracing_subscriber::registry()
        .with(targets)
        .with(Capture::new(queue.clone(), dropped))
        .try_init()
        .map_err(|error| format!("cannot start logging: {error}"))?;
    Ok(Logs { queue, thread: Some(thread) })
}

impl Drop for Logs {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A send can only fail once the thread is gone.
            let _ = self.queue.send(Message::Close);
            let _ = thread.join();
        }
    }
}

/// The life of the thread `log`.
fn take_up(events: &Receiver<Message>, dropped: &AtomicU64, ring: &Ring, mut sinks: Vec<Sink>) {
    let mut lines: Vec<Arc<Line>> = Vec::with_capacity(TOGETHER);
    let mut open = true;
    while open {
        let Ok(first) = events.recv() else { break };
        for message in std::iter::once(first).chain(events.try_iter()).take(TOGETHER) {
            match message {
                Message::Event(record) => lines.push(Arc::new(Line::new(record))),
                Message::Close => {
                    open = false;
                    break;
                }
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let text = format!("{lost} log lines were dropped: too many came at once");
            lines.push(Arc::new(Line::new(Record::of_the_log(tracing::Level::WARN, text))));
        }
        ring.push(lines.iter().map(|line| line.entry.clone()));
        for line in lines.drain(..) {
            for sink in &mut sinks {
                sink.pass(&line);
            }
        }
    }
    for sink in sinks {
        sink.finish();
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_events_and_their_count_is_an_entry() {
        let (queue, events) = bounded(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let capture = Capture::new(queue.clone(), dropped.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(capture), || {
            for number in 0..3 {
                tracing::info!(number, "counted");
            }
        });
        assert_eq!(dropped.load(Ordering::Relaxed), 2);

        let ring = Ring::new(10, 10_000);
        let thread = std::thread::spawn(move || queue.send(Message::Close));
        take_up(&events, &dropped, &ring, Vec::new());
        thread.join().unwrap().unwrap();
        let held = ring.latest(&Filter::default(), 10).entries;
        assert_eq!(held[0].message, "counted number=0");
        let told = held.iter().find(|entry| entry.module == "logs").unwrap();
        assert_eq!(told.level, Level::Warning);
        assert!(told.message.starts_with("2 log lines were dropped"), "{}", told.message);
    }

    #[test]
    fn what_is_captured_becomes_an_entry_of_the_documented_keys() {
        let (queue, events) = bounded(4);
        let capture = Capture::new(queue.clone(), Arc::default());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(capture), || {
            let call = "0190-call";
            tracing::warn!(target: "offhook::domain::calls", call_id = %call, reason = "no media", ms = 12, "call ended");
        });
        queue.send(Message::Close).unwrap();
        let ring = Ring::new(10, 10_000);
        take_up(&events, &AtomicU64::new(0), &ring, Vec::new());
        let held = ring.latest(&Filter::default(), 10).entries;
        let mut json = serde_json::to_value(&*held[0]).unwrap();
        let timestamp = json["timestamp"].take();
        assert!(timestamp.as_str().is_some_and(|text| text.ends_with('Z')), "{timestamp}");
        assert_eq!(
            json,
            serde_json::json!({
                "timestamp": null,
                "level": "WARNING",
                "message": "call ended reason=\"no media\" ms=12",
                "call_id": "0190-call",
                "module": "calls",
            })
        );
    }
}
