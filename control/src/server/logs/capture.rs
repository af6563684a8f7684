//! Copies an event's values where it happens, and leaves the rest to the thread `log`.
//!
//! Numbers are copied as they are. What can only be had as text is written out, up to a bound, as what it borrows is gone
//! when the event is over. When the queue is full, nothing is even copied.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crossbeam_channel::Sender;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::Message;

/// How much text one event may bring; the rest is cut off.
pub(super) const TEXT_BYTES_MAX: usize = 4 * 1024;

/// Where entries come from that the log makes of itself.
const OWN_TARGET: &str = "offhook::logs";

/// Fields of such names never show their text, whoever logs them.
const SECRETS: [&str; 4] = ["token", "secret", "password", "authorization"];

/// One event: what was said, and its other values in order.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) at: SystemTime,
    pub(super) level: tracing::Level,
    pub(super) target: &'static str,
    pub(super) text: String,
    pub(super) fields: Vec<(&'static str, Value)>,
    /// Bytes of text that may still come.
    room: usize,
}

/// A value as it was logged.
#[derive(Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub(super) enum Value {
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    Text(String),
}

impl Record {
    fn of(event: &tracing::Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut record = Self {
            at: SystemTime::now(),
            level: *metadata.level(),
            target: metadata.target(),
            text: String::new(),
            fields: Vec::with_capacity(metadata.fields().len().saturating_sub(1)),
            room: TEXT_BYTES_MAX,
        };
        event.record(&mut record);
        record
    }

    /// What the log has to say of itself.
    pub(super) fn of_the_log(level: tracing::Level, text: String) -> Self {
        Self { at: SystemTime::now(), level, target: OWN_TARGET, text, fields: Vec::new(), room: 0 }
    }

    fn take(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let name = field.name();
        if SECRETS.iter().any(|secret| name.contains(secret)) {
            return self.push(field, Value::Text("…".into()));
        }
        let mut text = String::new();
        // Stops with an error where the room ends, which saves the writing of what would be cut off.
        let _ = Bounded { out: &mut text, room: &mut self.room }.write_fmt(value);
        if name == "message" {
            self.text = text;
        } else {
            self.push(field, Value::Text(text));
        }
    }

    fn push(&mut self, field: &Field, value: Value) {
        let name = field.name();
        self.fields.push((name.strip_prefix("r#").unwrap_or(name), value));
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.take(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::U64(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, Value::F64(value));
    }
}

/// Text up to a length, in whole characters, with `…` where it was cut.
struct Bounded<'a> {
    out: &'a mut String,
    room: &'a mut usize,
}

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() <= *self.room {
            *self.room -= text.len();
            self.out.push_str(text);
            return Ok(());
        }
        let cut = text.floor_char_boundary(*self.room);
        self.out.push_str(&text[..cut]);
        self.out.push('…');
        *self.room = 0;
        Err(fmt::Error)
    }
}

/// Puts what happens on the queue.
pub(super) struct Capture {
    queue: Sender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Capture {
    pub(super) fn new(queue: Sender<Message>, dropped: Arc<AtomicU64>) -> Self {
        Self { queue, dropped }
    }
}

impl<S: Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if self.queue.is_full() || self.queue.try_send(Message::Event(Record::of(event))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            super::count_dropped();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;
    use tracing_subscriber::prelude::*;

    fn captured(log: impl FnOnce()) -> Record {
        let (queue, events) = bounded(1);
        let capture = Capture::new(queue, Arc::default());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(capture), log);
        match events.try_recv().unwrap() {
            Message::Event(record) => record,
            Message::Close => panic!("nobody closed"),
        }
    }

    #[test]
    fn values_keep_their_kind_and_order() {
        let record = captured(|| {
            tracing::info!(count = 3_u64, change = -1, share = 0.5, on = true, name = "x", r#type = ?Some(1), "said {}", 7);
        });
        assert_eq!(record.text, "said 7");
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(
            record.fields,
            [
                ("count", Value::U64(3)),
                ("change", Value::I64(-1)),
                ("share", Value::F64(0.5)),
                ("on", Value::Bool(true)),
                ("name", text("x")),
                ("type", text("Some(1)")),
            ]
        );
    }

    #[test]
    fn text_is_cut_at_its_bound_in_whole_characters() {
        let long = "é".repeat(TEXT_BYTES_MAX);
        let record = captured(|| tracing::info!(long, after = "more", "short"));
        assert_eq!(record.text, "short");
        let Value::Text(kept) = &record.fields[0].1 else { panic!("{record:?}") };
        assert!(kept.len() <= TEXT_BYTES_MAX && kept.ends_with("é…"), "{}", kept.len());
        let Value::Text(after) = &record.fields[1].1 else { panic!("{record:?}") };
        assert!(after.len() <= "…".len() + 1, "{after}");
    }

    #[test]
    fn what_is_named_as_a_secret_is_not_shown() {
        let record = captured(|| tracing::info!(auth_token = "hush", secret = ?"quiet", "kept"));
        let shown = format!("{record:?}");
        assert!(!shown.contains("hush") && !shown.contains("quiet"), "{shown}");
    }
}
