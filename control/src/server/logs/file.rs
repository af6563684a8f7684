//! JSON lines in a file that is put aside when it is large: `offhook.log`, and before it `offhook.log.1` to `.8`.
//!
//! A line is the entry as the API shows it, its time with microseconds, and once more what was logged, as values:
//! `"target"` and `"fields"`. A disk that fails stops nothing: the lines are lost here alone, that is said once, and once
//! more with their number when the file takes lines again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tracing::Level;

use super::Message;
use super::capture::{Record, Value};
use super::entry::{self, Line, timestamp};
use super::sink::Output;

/// How much is collected before it is written, when lines come faster than they can be written one by one.
const WAITING_BYTES: usize = 64 * 1024;

/// When a file is put aside, and how many are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    /// A line that would make the file larger goes to a new one.
    pub(super) bytes_max: u64,
    /// How many are kept beside the one that is written to.
    pub(super) kept: usize,
    /// How long the file must have taken lines before it counts as mended: the news of it is a line itself, and could go
    /// back and forth for ever.
    pub(super) mended_after: Duration,
}

/// 16 MiB, and eight more: 144 MiB, some half a million lines.
impl Default for Rotation {
    fn default() -> Self {
        Self { bytes_max: 16 * 1024 * 1024, kept: 8, mended_after: Duration::from_secs(10) }
    }
}

/// The file that is written to. Written by one thread alone.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    rotation: Rotation,
    /// In the file.
    bytes: u64,
    /// The file is put aside before it grows beyond this.
    rotate_at: u64,
    /// Lines to be written, and how many they are.
    waiting: Vec<u8>,
    waiting_lines: u64,
    failing: Option<Failing>,
    rotation_fails: bool,
    /// Where troubles are told.
    log: Sender<Message>,
}

/// What a file that does not take lines is remembered by.
#[derive(Debug)]
struct Failing {
    last: Instant,
    lines_lost: u64,
    /// The last write may have left half a line.
    torn: bool,
}

impl RotatingFile {
    /// Opens the file to append to it. `log`: where its troubles are told.
    pub(super) fn open(path: &Path, rotation: Rotation, log: Sender<Message>) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            bytes: file.metadata()?.len(),
            file,
            rotation,
            rotate_at: rotation.bytes_max,
            waiting: Vec::with_capacity(WAITING_BYTES),
            waiting_lines: 0,
            failing: None,
            rotation_fails: false,
            log,
        })
    }

    /// Appends what `write` writes, in the file that it fits into.
    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>) {
        let before = self.waiting.len();
        if write(&mut self.waiting).is_err() {
            // Lines are made of texts and numbers; were one not, it would be left out whole.
            self.waiting.truncate(before);
            return;
        }
        self.waiting.push(b'\n');
        if self.bytes + self.waiting.len() as u64 > self.rotate_at && self.bytes + before as u64 > 0 {
            let line = self.waiting.split_off(before);
            self.write_out();
            self.put_aside();
            self.waiting.extend_from_slice(&line);
        }
        self.waiting_lines += 1;
        if self.waiting.len() >= WAITING_BYTES {
            self.write_out();
        }
    }

    fn write_out(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let torn = self.failing.as_ref().is_some_and(|failing| failing.torn);
        let mended = if torn { self.file.write_all(b"\n") } else { Ok(()) };
        match mended.and_then(|()| self.file.write_all(&self.waiting)) {
            Ok(()) => self.on_written(torn),
            Err(error) => self.on_failed(&error),
        }
        self.waiting.clear();
        self.waiting_lines = 0;
    }

    fn on_written(&mut self, torn: bool) {
        self.bytes += self.waiting.len() as u64 + u64::from(torn);
        let Some(failing) = &mut self.failing else { return };
        failing.torn = false;
        if failing.last.elapsed() >= self.rotation.mended_after {
            let lost = failing.lines_lost;
            self.failing = None;
            let path = self.path.display();
            self.tell(
                Level::WARN,
                format!("the log file {path} is written again; {lost} lines are missing in it"),
            );
        }
    }

    fn on_failed(&mut self, error: &io::Error) {
        // Some of it may have been written.
        self.bytes = self.file.metadata().map_or(self.bytes, |data| data.len());
        let told = self.failing.is_some();
        let failing = self.failing.get_or_insert(Failing { last: Instant::now(), lines_lost: 0, torn: true });
        failing.last = Instant::now();
        failing.torn = true;
        failing.lines_lost += self.waiting_lines;
        if !told {
            let path = self.path.display();
            self.tell(
                Level::ERROR,
                format!("the log file {path} cannot be written: {error}; its lines are lost"),
            );
        }
    }

    /// Renames the file and its forerunners, and goes on with an empty one. Whatever fails, there is a file to write to.
    fn put_aside(&mut self) {
        match self.rename_all() {
            Ok(empty) => {
                self.file = empty;
                self.bytes = 0;
                self.rotate_at = self.rotation.bytes_max;
                self.rotation_fails = false;
            }
            Err(error) => {
                // Tried again, but not with every line.
                self.rotate_at = self.bytes + self.rotation.bytes_max / 16;
                if !std::mem::replace(&mut self.rotation_fails, true) {
                    let path = self.path.display();
                    self.tell(
                        Level::ERROR,
                        format!("the log file {path} cannot be put aside: {error}; it grows"),
                    );
                }
            }
        }
    }

    /// The new file is there before anything is renamed, so that a full disk leaves all as it was.
    fn rename_all(&self) -> io::Result<File> {
        let new = self.named("new");
        let empty = File::options().create(true).append(true).open(&new)?;
        empty.set_len(0)?;
        for number in (1..self.rotation.kept).rev() {
            match fs::rename(self.named(&number.to_string()), self.named(&(number + 1).to_string())) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match fs::rename(&self.path, self.named("1")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&new, &self.path)?;
        Ok(empty)
    }

    fn named(&self, ending: &str) -> PathBuf {
        let mut name = OsString::from(self.path.as_os_str());
        name.push(".");
        name.push(ending);
        name.into()
    }

    fn tell(&self, level: Level, text: String) {
        // Where the queue is full, the log has worse troubles to tell of.
        let _ = self.log.try_send(Message::Event(Record::of_the_log(level, text)));
    }
}

impl Output for RotatingFile {
    fn write(&mut self, line: &Line) {
        self.append(|out| serde_json::to_writer(out, &InFile(line)));
    }

    fn dropped(&mut self, lines: u64) {
        let text = format!("{lines} log lines are missing here: the disk was too slow");
        self.write(&Line::new(Record::of_the_log(Level::WARN, text)));
    }

    fn flush(&mut self) {
        self.write_out();
    }
}

/// A line as it stands in the file.
struct InFile<'a>(&'a Line);

impl Serialize for InFile<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Line { entry, record } = self.0;
        let entry::Entry { level, message, call_id, module, .. } = &**entry;
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("timestamp", &format_args!("{:.6}", timestamp(record.at)))?;
        line.serialize_entry("level", level)?;
        line.serialize_entry("message", message)?;
        line.serialize_entry("call_id", call_id)?;
        line.serialize_entry("module", module)?;
        line.serialize_entry("target", record.target)?;
        line.serialize_entry("fields", &Fields(&record.fields))?;
        line.end()
    }
}

struct Fields<'a>(&'a [(&'static str, Value)]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, bounded};

    fn open(path: &Path, bytes_max: u64) -> (RotatingFile, Receiver<Message>) {
        let (log, told) = bounded(100);
        let rotation = Rotation { bytes_max, kept: 2, mended_after: Duration::ZERO };
        (RotatingFile::open(path, rotation, log).unwrap(), told)
    }

    fn line(text: &str) -> Line {
        Line::new(Record::of_the_log(Level::INFO, text.into()))
    }

    fn texts(path: &Path) -> Vec<String> {
        let written = fs::read_to_string(path).unwrap_or_default();
        let text = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["message"].as_str().unwrap().to_owned()
        };
        written.lines().map(text).collect()
    }

    fn told(messages: &Receiver<Message>) -> Vec<String> {
        let text = |message| match message {
            Message::Event(record) => record.text,
            Message::Close => panic!("nobody closed"),
        };
        messages.try_iter().map(text).collect()
    }

    #[test]
    fn a_line_is_the_entry_and_its_values() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offhook.log");
        let (mut file, _) = open(&path, 10_000);
        let mut record = Record::of_the_log(Level::WARN, "call ended".into());
        record.at = std::time::UNIX_EPOCH + Duration::from_micros(1_704_110_400_250_001);
        record.fields = vec![
            ("call_id", Value::Text("01a".into())),
            ("ms", Value::U64(7)),
            ("share", Value::F64(f64::NAN)),
        ];
        file.write(&Line::new(record));
        file.flush();
        let written = fs::read_to_string(&path).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&written).unwrap(),
            serde_json::json!({
                "timestamp": "2024-01-01T12:00:00.250001Z",
                "level": "WARNING",
                "message": "call ended ms=7 share=NaN",
                "call_id": "01a",
                "module": "logs",
                "target": "offhook::logs",
                "fields": { "call_id": "01a", "ms": 7, "share": null },
            })
        );
    }

    #[test]
    fn a_file_that_is_full_is_put_aside_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offhook.log");
        let length = {
            let (mut file, _) = open(&path, 10_000);
            file.write(&line("0"));
            file.flush();
            fs::metadata(&path).unwrap().len()
        };
        // Room for two lines, of which one is there from an earlier life.
        let (mut file, messages) = open(&path, 2 * length + 1);
        for number in 1..=6 {
            file.write(&line(&number.to_string()));
        }
        file.flush();
        assert_eq!(texts(&path), ["6"]);
        assert_eq!(texts(&file.named("1")), ["4", "5"]);
        assert_eq!(texts(&file.named("2")), ["2", "3"]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        assert!(told(&messages).is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_is_written_on_and_that_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offhook.log");
        let (mut file, messages) = open(&path, 300);
        // A folder that is not empty is in the way.
        fs::create_dir_all(file.named("1").join("in the way")).unwrap();
        fs::create_dir_all(file.named("2").join("in the way")).unwrap();
        for number in 0..10 {
            file.write(&line(&number.to_string()));
        }
        file.flush();
        assert_eq!(texts(&path).len(), 10);
        let told = told(&messages);
        assert!(told.len() == 1 && told[0].contains("put aside"), "{told:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_said_once_and_once_more_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offhook.log");
        let (mut file, messages) = open(&path, 10_000);
        let good = std::mem::replace(&mut file.file, File::options().append(true).open("/dev/full").unwrap());
        for _ in 0..3 {
            file.write(&line("lost"));
            file.flush();
        }
        let first = told(&messages);
        assert!(first.len() == 1 && first[0].contains("cannot be written"), "{first:?}");
        file.file = good;
        // As if the last line had been written in part.
        file.file.write_all(b"{\"half").unwrap();
        file.write(&line("kept"));
        file.flush();
        let second = told(&messages);
        assert!(second.len() == 1 && second[0].contains("3 lines are missing"), "{second:?}");
        assert!(fs::read_to_string(&path).unwrap().lines().nth(1).unwrap().contains("kept"));
    }
}
