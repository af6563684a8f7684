//! Hands lines to a thread that writes them somewhere slow.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use offhook_engine::priority::{Rank, give_way};

use super::count_dropped;
use super::entry::Line;

/// How many lines may wait to be written.
const QUEUE_LINES: usize = 8_192;

/// How long what waits may take to be written at the end: a terminal that was stopped must not keep the process.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where lines are written to. What goes wrong there is its own to tell.
pub(super) trait Output: Send + 'static {
    /// Takes one line.
    fn write(&mut self, line: &Line);

    /// Says that lines never came here, as too many waited already.
    fn dropped(&mut self, lines: u64);

    /// Nothing more waits: what was kept back goes out.
    fn flush(&mut self);
}

/// The way to such a thread.
pub(super) struct Sink {
    queue: Sender<Passed>,
    finished: Receiver<()>,
    /// Lines that found the queue full, and that nobody was told of.
    dropped: u64,
}

enum Passed {
    Line(Arc<Line>),
    Dropped(u64),
}

impl Sink {
    pub(super) fn start(name: &str, output: impl Output) -> io::Result<Self> {
        let (queue, lines) = bounded(QUEUE_LINES);
        let (finishing, finished) = bounded(0);
        std::thread::Builder::new().name(name.into()).spawn(move || {
            give_way(Rank::Records);
            write_all(&lines, output);
            drop(finishing);
        })?;
        Ok(Self { queue, finished, dropped: 0 })
    }

    /// Passes a line on, and never waits: if the queue is full, the line is dropped and counted.
    pub(super) fn pass(&mut self, line: &Arc<Line>) {
        if self.dropped > 0 && self.queue.try_send(Passed::Dropped(self.dropped)).is_ok() {
            self.dropped = 0;
        }
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Passed::Line(line.clone())) {
            self.dropped += 1;
            count_dropped();
        }
    }

    /// Waits until all is written, or has had time enough.
    pub(super) fn finish(self) {
        drop(self.queue);
        let _ = self.finished.recv_timeout(FAREWELL);
    }
}

fn write_all(lines: &Receiver<Passed>, mut output: impl Output) {
    while let Ok(passed) = lines.recv() {
        match passed {
            Passed::Line(line) => output.write(&line),
            Passed::Dropped(count) => output.dropped(count),
        }
        if lines.is_empty() {
            output.flush();
        }
    }
    output.flush();
}

#[cfg(test)]
mod tests {
    use super::super::capture::Record;
    use super::*;

    /// Writes nothing before it is let go, like a terminal that was stopped.
    struct Stopped {
        go: Receiver<()>,
        told: Sender<Told>,
    }

    #[derive(Debug, PartialEq)]
    enum Told {
        Line,
        Dropped(u64),
    }

    impl Output for Stopped {
        fn write(&mut self, _: &Line) {
            let _ = self.go.recv();
            let _ = self.told.send(Told::Line);
        }

        fn dropped(&mut self, lines: u64) {
            let _ = self.told.send(Told::Dropped(lines));
        }

        fn flush(&mut self) {}
    }

    #[test]
    fn an_output_that_hangs_costs_lines_and_holds_nobody_up() {
        let (release, go) = bounded(0);
        let (told, said) = crossbeam_channel::unbounded();
        let mut sink = Sink::start("stopped", Stopped { go, told }).unwrap();
        let line = Arc::new(Line::new(Record::of_the_log(tracing::Level::INFO, "line".into())));
        // One line may be on its way already; all beyond it and the queue are dropped.
        let passed = QUEUE_LINES + 11;
        for _ in 0..passed {
            sink.pass(&line);
        }
        let dropped = sink.dropped;
        assert!((10..=11).contains(&dropped), "{dropped}");
        drop(release);
        while !sink.queue.is_empty() {
            std::thread::yield_now();
        }
        sink.pass(&line);
        sink.finish();
        let said: Vec<Told> = said.iter().collect();
        let lines = said.iter().filter(|told| **told == Told::Line).count();
        assert_eq!(
            (lines as u64, &said[said.len() - 2]),
            (passed as u64 - dropped + 1, &Told::Dropped(dropped))
        );
    }
}
