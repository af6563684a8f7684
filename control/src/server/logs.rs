//! Logs: lines for people on stderr, the same as JSON lines in a file, both written by a thread of their own.
//!
//! Whoever logs only formats the line and puts it on a bounded queue. A full queue drops the line and counts it; the
//! count is written as soon as there is room. So a slow disk or a stopped terminal holds nobody up.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

use crate::settings::LogLevel;

/// How many lines may wait to be written.
const QUEUE_LINES: usize = 8_192;

/// Writes what is left when it goes.
#[derive(Debug)]
pub struct Logs {
    queue: Sender<Line>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
enum Line {
    ForPeople(Vec<u8>),
    Json(Vec<u8>),
    Close,
}

/// Starts logging for the whole process, as JSON lines to `file`, whose folder is made if need be, and, `on_stderr`, for
/// people to read.
///
/// Once per process; the error says what is wrong with the file.
pub fn start(level: LogLevel, file: &Path, on_stderr: bool) -> Result<Logs, String> {
    let failed = |error: io::Error| {
        format!(
            "cannot write the log {}: {error}; choose another data folder with --data-dir",
            file.display()
        )
    };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let file = std::fs::File::options().create(true).append(true).open(file).map_err(failed)?;
    let (queue, lines) = bounded(QUEUE_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let thread = std::thread::Builder::new()
        .name("log-writer".into())
        .spawn({
            let dropped = dropped.clone();
            move || write_lines(&lines, &dropped, file)
        })
        .map_err(failed)?;
    let targets = Targets::new().with_default(LevelFilter::WARN);
    let targets = ["offhook", "offhook_engine", "offhook_codecs"]
        .into_iter()
        .fold(targets, |targets, ours| targets.with_target(ours, filter(level)));
    let for_people = Queue { queue: queue.clone(), dropped: dropped.clone(), wrap: Line::ForPeople };
    let json = Queue { queue: queue.clone(), dropped, wrap: Line::Json };
    let colours = io::IsTerminal::is_terminal(&io::stderr());
    tracing_subscriber::registry()
        .with(targets)
        .with(on_stderr.then(|| {
            tracing_subscriber::fmt::layer().with_ansi(colours).with_target(false).with_writer(for_people)
        }))
        .with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(json))
        .try_init()
        .map_err(|error| format!("cannot start logging: {error}"))?;
    Ok(Logs { queue, thread: Some(thread) })
}

impl Drop for Logs {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A send can only fail once the thread is gone.
            let _ = self.queue.send(Line::Close);
            let _ = thread.join();
        }
    }
}

fn write_lines(lines: &Receiver<Line>, dropped: &AtomicU64, file: std::fs::File) {
    let mut file = io::BufWriter::new(file);
    let mut stderr = io::stderr();
    // A log that cannot be written cannot say so: errors have nowhere to go.
    while let Ok(line) = lines.recv() {
        match line {
            Line::ForPeople(line) => drop(stderr.write_all(&line)),
            Line::Json(line) => drop(file.write_all(&line)),
            Line::Close => break,
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(stderr, "{lost} log lines were dropped");
            let _ = writeln!(file, r#"{{"level":"WARN","message":"log lines were dropped","count":{lost}}}"#);
        }
        if lines.is_empty() {
            let _ = file.flush();
        }
    }
    let _ = file.flush();
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

/// Puts each line on the queue.
#[derive(Clone)]
struct Queue {
    queue: Sender<Line>,
    dropped: Arc<AtomicU64>,
    wrap: fn(Vec<u8>) -> Line,
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Queue;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send((self.wrap)(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_lines_and_counts_them() {
        let (queue, lines) = bounded(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer = &Queue { queue, dropped: dropped.clone(), wrap: Line::Json };
        for _ in 0..3 {
            writer.write_all(b"line\n").unwrap();
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 2);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let file = std::fs::File::create(&path).unwrap();
        let (queue, rest) = bounded(2);
        for line in lines.try_iter().chain([Line::Close]) {
            queue.send(line).unwrap();
        }
        write_lines(&rest, &dropped, file);
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.starts_with("line\n") && written.contains("\"count\":2"), "{written}");
    }
}
