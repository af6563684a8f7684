//! An entry of the log, as the API shows it.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::capture::{Record, Value};

/// How grave an entry is, in the API's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// What it takes to find a fault.
    Debug,
    /// What happened.
    Info,
    /// What somebody should look at.
    Warning,
    /// What is lost or broken.
    Error,
}

impl Level {
    /// The reverse of how it is written; `None` for any other word.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "DEBUG" => Some(Self::Debug),
            "INFO" => Some(Self::Info),
            "WARNING" => Some(Self::Warning),
            "ERROR" => Some(Self::Error),
            _ => None,
        }
    }

    fn of(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warning,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG | tracing::Level::TRACE => Self::Debug,
        }
    }
}

/// One entry. Serializes as documented: `{timestamp, level, message, call_id, module}`, the time in whole seconds.
#[derive(Debug)]
pub struct Entry {
    /// When it happened.
    pub at: Timestamp,
    /// How grave it is.
    pub level: Level,
    /// What happened: a sentence, and what else is known as `name=value`.
    pub message: String,
    /// The call that it is about.
    pub call_id: Option<String>,
    /// Which part of the program says it; see the [module's page](super).
    pub module: &'static str,
    json: OnceLock<Utf8Bytes>,
}

impl Entry {
    /// As JSON: made once, then shared by all who send it.
    pub fn json(&self) -> &Utf8Bytes {
        self.json.get_or_init(|| {
            serde_json::to_string(self).expect("an entry is made of texts, and its keys are texts").into()
        })
    }

    /// About how much memory it takes: its text, twice if it was sent, and what holds it.
    pub(super) fn bytes(&self) -> usize {
        let text = self.message.len() + self.call_id.as_ref().map_or(0, String::len);
        2 * text + 256
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("Entry", 5)?;
        entry.serialize_field("timestamp", &format_args!("{:.0}", self.at))?;
        entry.serialize_field("level", &self.level)?;
        entry.serialize_field("message", &self.message)?;
        entry.serialize_field("call_id", &self.call_id)?;
        entry.serialize_field("module", self.module)?;
        entry.end()
    }
}

/// What a reader is told that was too slow for `lines` lines. An entry of its own, which nobody else sees.
pub fn missed(lines: u64) -> Entry {
    let text = format!("{lines} log lines were missed: this reader is too slow");
    make(&Record::of_the_log(tracing::Level::WARN, text))
}

/// An event on its way to those who write it down.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) entry: Arc<Entry>,
    pub(super) record: Record,
}

impl Line {
    pub(super) fn new(record: Record) -> Self {
        Self { entry: Arc::new(make(&record)), record }
    }
}

fn make(record: &Record) -> Entry {
    let mut message = String::with_capacity(record.text.len() + 16 * record.fields.len());
    push_sentence(&mut message, &record.text);
    let mut call_id = None;
    for (name, value) in &record.fields {
        match value {
            Value::Text(id) if *name == "call_id" => call_id = Some(id.clone()),
            value => push_field(&mut message, name, value),
        }
    }
    Entry {
        at: timestamp(record.at),
        level: Level::of(record.level),
        message,
        call_id,
        module: module_of(record.target),
        json: OnceLock::new(),
    }
}

pub(super) fn timestamp(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Appends a text on one line: a line break in it would look like another entry.
pub(super) fn push_sentence(out: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
}

/// Appends ` name=value`; in quotes if the value would not be seen to end.
pub(super) fn push_field(out: &mut String, name: &str, value: &Value) {
    if !out.is_empty() {
        out.push(' ');
    }
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Bool(value) => write!(out, "{name}={value}"),
        Value::I64(value) => write!(out, "{name}={value}"),
        Value::U64(value) => write!(out, "{name}={value}"),
        Value::F64(value) => write!(out, "{name}={value}"),
        Value::Text(text) if is_plain(text) => write!(out, "{name}={text}"),
        Value::Text(text) => write!(out, "{name}={text:?}"),
    };
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '"')
}

/// The short name of where an event comes from.
fn module_of(target: &'static str) -> &'static str {
    let mut parts = target.split("::");
    let first = parts.next().unwrap_or(target);
    if first != "offhook" {
        return first.strip_prefix("offhook_").unwrap_or(first);
    }
    match (parts.next(), parts.next()) {
        (Some("systems" | "domain"), Some(part)) => part,
        (Some(folder), _) => folder,
        (None, _) => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_short_names() {
        for (target, module) in [
            ("offhook::systems::callbot::incoming_call", "callbot"),
            ("offhook::systems::error", "error"),
            ("offhook::domain::calls", "calls"),
            ("offhook::store::writer", "store"),
            ("offhook::server", "server"),
            ("offhook::access", "access"),
            ("offhook::logs", "logs"),
            ("offhook", "offhook"),
            ("offhook_engine::media::thread", "engine"),
            ("hyper::proto", "hyper"),
        ] {
            assert_eq!(module_of(target), module, "{target}");
        }
    }

    #[test]
    fn times_are_cut_to_whole_seconds_not_rounded() {
        let mut entry = missed(1);
        entry.at = "2024-01-01T12:00:00.999Z".parse().unwrap();
        assert!(
            entry
                .json()
                .starts_with(r#"{"timestamp":"2024-01-01T12:00:00Z","level":"WARNING","message":"1 log"#)
        );
    }

    #[test]
    fn a_message_is_one_line_whatever_it_holds() {
        let mut record = Record::of_the_log(tracing::Level::TRACE, "two\nlines".into());
        record.fields.push(("path", Value::Text("/a\u{1b}[31m\nb".into())));
        record.fields.push(("empty", Value::Text(String::new())));
        record.fields.push(("name", Value::Text("Zoë".into())));
        let entry = make(&record);
        assert_eq!(entry.message, r#"two\nlines path="/a\u{1b}[31m\nb" empty="" name=Zoë"#);
        assert_eq!(entry.level, Level::Debug);
    }

    #[test]
    fn levels_are_read_exactly_as_they_are_written() {
        for level in [Level::Debug, Level::Info, Level::Warning, Level::Error] {
            let written = serde_json::to_value(level).unwrap();
            assert_eq!(Level::from_text(written.as_str().unwrap()), Some(level));
        }
        for other in ["info", "WARN", "TRACE", "", "INFO "] {
            assert_eq!(Level::from_text(other), None, "{other}");
        }
    }
}
