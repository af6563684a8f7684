//! Lines for people: time, level, what happened.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use super::entry::{Line, push_field, push_sentence, timestamp};
use super::sink::Output;

/// Writes each line as it comes.
pub(super) struct ForPeople<W> {
    out: W,
    colours: bool,
    line: String,
}

impl ForPeople<io::Stderr> {
    pub(super) fn new(stderr: io::Stderr) -> Self {
        Self { colours: stderr.is_terminal(), out: stderr, line: String::new() }
    }
}

impl<W: Write + Send + 'static> Output for ForPeople<W> {
    fn write(&mut self, line: &Line) {
        self.line.clear();
        format(&mut self.line, line, self.colours);
        // In one write, so that it stays whole among the lines of others. If it fails there is nobody to tell.
        let _ = self.out.write_all(self.line.as_bytes());
    }

    fn dropped(&mut self, lines: u64) {
        let _ =
            writeln!(self.out, "{lines} log lines were dropped: nobody took them off this terminal or pipe");
    }

    fn flush(&mut self) {
        let _ = self.out.flush();
    }
}

/// Dims the time and colours the level, as terminals have understood since ECMA-48.
fn format(out: &mut String, line: &Line, colours: bool) {
    let record = &line.record;
    let (dim, colour, plain) = match (colours, record.level) {
        (false, _) => ("", "", ""),
        (_, tracing::Level::ERROR) => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
        (_, tracing::Level::WARN) => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
        (_, tracing::Level::INFO) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
        (_, tracing::Level::DEBUG) => ("\x1b[2m", "\x1b[34m", "\x1b[0m"),
        (_, tracing::Level::TRACE) => ("\x1b[2m", "\x1b[35m", "\x1b[0m"),
    };
    // Writing to a String cannot fail.
    let _ =
        write!(out, "{dim}{:.6}{plain} {colour}{:>5}{plain} ", timestamp(record.at), record.level.as_str());
    push_sentence(out, &record.text);
    for (name, value) in &record.fields {
        push_field(out, name, value);
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::capture::{Record, Value};
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_line_tells_time_level_and_all_that_is_known() {
        let mut record = Record::of_the_log(tracing::Level::WARN, "call ended".into());
        record.at = UNIX_EPOCH + Duration::from_micros(1_704_110_400_250_001);
        record.fields = vec![("call_id", Value::Text("01a".into())), ("ms", Value::U64(7))];
        let mut people = ForPeople { out: io::sink(), colours: false, line: String::new() };
        let line = Line::new(record);
        people.write(&line);
        assert_eq!(people.line, "2024-01-01T12:00:00.250001Z  WARN call ended call_id=01a ms=7\n");
        let mut coloured = String::new();
        format(&mut coloured, &line, true);
        assert!(coloured.contains("\x1b[33m WARN\x1b[0m call ended"), "{coloured:?}");
    }
}
