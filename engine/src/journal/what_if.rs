//! Runs a recorded call again with other settings: what would have been decided otherwise.
//!
//! Two calls take the journal's inputs side by side: one with the settings of then, one with those that are asked about.
//! What is compared is their timelines. A moment that was recorded belongs to the call of then, deadlines included: a tick
//! came when a media thread got to it. The other call gets these ticks as well, and one of its own, at the very moment,
//! for each deadline that the call of then did not have.
//!
//! The two calls are strictly comparable up to the first event that differs. From there on the inputs are still those that
//! were recorded: the caller, the recogniser, the agent and the voice would have done something else, which nobody can
//! know. So the first difference is a fact, and what follows from it a sketch.

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::format::Record;
use super::read::Journal;
use super::replay::{describe_input, panic_message};
use crate::call::{Call, CallSettings, CallTime, Event, EventKind, Input, Output, Outputs};

/// The same call twice, with its own settings and with others.
#[derive(Clone, Debug, PartialEq)]
pub struct WhatIf {
    /// Both timelines in one, by time; at one moment what was recorded comes first.
    pub timeline: Vec<Sided>,
    /// The first moment at which they differ; none if they do not.
    pub diverges_at: Option<CallTime>,
    /// How far the journal was followed.
    pub until: CallTime,
    /// What the call with other settings said when it panicked, and the input that it panicked at. None if it did not.
    pub panicked: Option<String>,
}

/// An event, and in which of the timelines it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Sided {
    /// In which.
    pub side: Side,
    /// The event.
    pub event: Event,
}

/// In which of two timelines an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// In both. A decision that both took for the same reason counts as the same, whatever numbers stand beside it.
    Both,
    /// With the settings of then only.
    Recorded,
    /// With the other settings only.
    Changed,
}

/// Runs the call of `journal` with `settings`, and compares the timeline with that of its own settings.
///
/// That the journal itself replays to the same outputs is for the caller to see to: [`replay`](super::replay()).
pub fn what_if(journal: &Journal, settings: CallSettings) -> WhatIf {
    let mut then = Run::new(journal.header().settings.clone());
    let mut other = Run::new(settings);
    let mut until = CallTime::ZERO;
    let mut panicked = None;
    for entry in journal.entries() {
        let record = match entry.record {
            Record::Input(record) => record,
            Record::Output(_) => continue,
            Record::Lost { .. } | Record::End { .. } => break,
        };
        until = entry.at;
        let audio = Arc::from(entry.audio);
        let handled = catch_unwind(AssertUnwindSafe(|| {
            other.pass_until(entry.at, then.call.next_deadline().map(|(at, _)| at));
            other.handle(entry.at, record.to_input(&audio));
        }));
        if let Err(panic) = handled {
            let input = describe_input(&Some(record));
            panicked = Some(format!("{}, at {input}", panic_message(&*panic)));
            break;
        }
        then.handle(entry.at, record.to_input(&audio));
    }
    let timeline = merge(then.events, other.events);
    let differs = |sided: &&Sided| sided.side != Side::Both;
    let diverges_at = timeline.iter().find(differs).map(|sided| sided.event.at);
    WhatIf { timeline, diverges_at, until, panicked }
}

/// A call and its timeline so far.
struct Run {
    call: Call,
    outputs: Outputs,
    events: Vec<Event>,
}

impl Run {
    fn new(settings: CallSettings) -> Self {
        Self { call: Call::new(settings), outputs: Outputs::default(), events: Vec::new() }
    }

    fn handle(&mut self, at: CallTime, input: Input<'_>) {
        self.call.handle(at, input, &mut self.outputs);
        let mut list = self.outputs.take_list();
        self.events.extend(list.drain(..).filter_map(|output| match output {
            Output::Event(event) => Some(event),
            _ => None,
        }));
        self.outputs.take_spent().for_each(drop);
        self.outputs.give_back(list);
    }

    /// Ticks at each deadline before `at`, but not at one that the call of then has as well: its tick was recorded.
    fn pass_until(&mut self, at: CallTime, then_due: Option<CallTime>) {
        while let Some((due, _)) = self.call.next_deadline().filter(|(due, _)| *due < at) {
            if then_due == Some(due) {
                return;
            }
            self.handle(due, Input::Tick);
            let next = self.call.next_deadline();
            if next.is_some_and(|(next, _)| next <= due) {
                return;
            }
        }
    }
}

/// Both timelines, each of which is in order of time, as one.
fn merge(then: Vec<Event>, other: Vec<Event>) -> Vec<Sided> {
    let mut merged = Vec::with_capacity(then.len().max(other.len()));
    let (mut then, mut other) = (moments(then).peekable(), moments(other).peekable());
    let alone = |side: Side, events: Vec<Event>| events.into_iter().map(move |event| Sided { side, event });
    loop {
        let order = match (then.peek(), other.peek()) {
            (None, None) => return merged,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a[0].at.cmp(&b[0].at),
        };
        let a = then.next_if(|_| order.is_le()).unwrap_or_default();
        let mut b = other.next_if(|_| order.is_ge()).unwrap_or_default();
        for event in a {
            // What comes before its like on the other side stands there alone.
            if let Some(like) = b.iter().position(|other| alike(&event, other)) {
                merged.extend(alone(Side::Changed, b.drain(..=like).take(like).collect()));
                merged.push(Sided { side: Side::Both, event });
            } else {
                merged.push(Sided { side: Side::Recorded, event });
            }
        }
        merged.extend(alone(Side::Changed, b));
    }
}

/// The events of a timeline, moment by moment. No moment is empty.
fn moments(events: Vec<Event>) -> impl Iterator<Item = Vec<Event>> {
    let mut events = events.into_iter().peekable();
    std::iter::from_fn(move || {
        let first = events.next()?;
        let at = first.at;
        let mut moment = vec![first];
        while let Some(event) = events.next_if(|event| event.at == at) {
            moment.push(event);
        }
        Some(moment)
    })
}

/// True if nobody who heard the call could tell the two apart.
fn alike(a: &Event, b: &Event) -> bool {
    match (&a.kind, &b.kind) {
        (EventKind::Decided(x), EventKind::Decided(y)) => {
            a.at == b.at && x.decision == y.decision && x.reason == y.reason
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use super::super::format::testing::file;
    use super::super::format::{Entry, InputRecord};
    use super::*;
    use crate::call::{Decision, Reason, Then};
    use crate::sim::voiced;

    /// How late a media thread gets to what is due.
    const LATE: Duration = Duration::from_micros(310);

    /// A driver that keeps all that goes in: a caller who says something, pauses for half a second, and goes on.
    struct Recorder {
        call: Call,
        entries: Vec<Entry<'static>>,
        coming: VecDeque<(CallTime, InputRecord<'static>, &'static [u8])>,
    }

    impl Recorder {
        fn give(&mut self, at: CallTime, record: InputRecord<'static>, audio: &'static [u8]) {
            let mut outputs = Outputs::default();
            self.call.handle(at, record.to_input(&Arc::from(audio)), &mut outputs);
            self.entries.push(Entry { at, record: Record::Input(record), audio });
            for output in outputs.iter() {
                self.answer(at, output);
            }
        }

        fn answer(&mut self, at: CallTime, output: &Output) {
            let audio: &'static [u8] = &[0x35; 4_000];
            let later = at + Duration::from_millis(30);
            let mut come = |record, audio| self.coming.push_back((later, record, audio));
            match *output {
                Output::AskAgent { turn, .. } => {
                    come(InputRecord::AgentSays { turn, text: "Hello." }, &[]);
                    come(InputRecord::AgentDone { turn, then: Then::Listen { keys_max: 0 } }, &[]);
                }
                Output::Synthesize { utterance, .. } => {
                    let bytes = audio.len() as u32;
                    come(
                        InputRecord::AgentAudio { utterance, bytes, words: std::borrow::Cow::Borrowed(&[]) },
                        audio,
                    );
                    come(InputRecord::AgentAudioEnd { utterance, failed: false, words: [][..].into() }, &[]);
                }
                Output::UtteranceEnded { utterance, .. } => {
                    come(InputRecord::Transcript { utterance, text: "two hundred", is_final: true }, &[]);
                }
                _ => {}
            }
        }

        /// Lets come what is under way, and what is due.
        fn pass(&mut self, until: CallTime) {
            loop {
                let due = self.call.next_deadline().map(|(at, _)| at + LATE);
                let coming = self.coming.front().map(|(at, ..)| *at);
                let next = due.into_iter().chain(coming).min();
                let Some(at) = next.filter(|at| *at < until) else { return };
                if coming == Some(at) {
                    let (_, record, audio) = self.coming.pop_front().unwrap();
                    self.give(at, record, audio);
                } else {
                    self.give(at, InputRecord::Tick, &[]);
                }
            }
        }
    }

    fn recorded() -> Journal {
        let settings = super::super::format::testing::settings();
        let mut recorder =
            Recorder { call: Call::new(settings), entries: Vec::new(), coming: VecDeque::new() };
        let speech: &'static [u8] = voiced(Duration::from_millis(1_000)).leak();
        recorder.give(CallTime::ZERO, InputRecord::Start { stream: "MZ1", format_ok: true }, &[]);
        for n in 0..400u32 {
            let at = CallTime::from_millis(u64::from(n) * 20 + 5);
            recorder.pass(at);
            let payload = match n {
                100..125 => &speech[(n as usize - 100) * 160..][..160],
                150..175 => &speech[(n as usize - 125) * 160..][..160],
                _ => &[0xFF; 160],
            };
            let media = InputRecord::Media { chunk: Some(n + 1), timestamp_ms: None, payload };
            recorder.give(at, media, &[]);
        }
        recorder.give(CallTime::from_millis(8_010), InputRecord::Stop, &[]);
        Journal::parse(file(&[recorder.entries])).unwrap()
    }

    fn with(change: impl Fn(&mut CallSettings)) -> WhatIf {
        let journal = recorded();
        let mut settings = journal.header().settings.clone();
        change(&mut settings);
        what_if(&journal, settings)
    }

    fn ends(of: &WhatIf, side: Side) -> Vec<(u64, u32)> {
        let turn_over = |sided: &Sided| match sided.event.kind {
            EventKind::Decided(it) if it.decision == Decision::TurnOver && it.reason == Reason::Silence => {
                (sided.side == side).then_some((sided.event.at.as_millis(), it.measured_ms))
            }
            _ => None,
        };
        of.timeline.iter().filter_map(turn_over).collect()
    }

    #[test]
    fn same_settings_make_no_difference() {
        let same = with(|_| {});
        assert_eq!((same.diverges_at, &same.panicked), (None, &None));
        assert!(same.timeline.iter().all(|sided| sided.side == Side::Both));
        assert_eq!(ends(&same, Side::Both), [(4_185, 700)]);
        assert_eq!(same.until, CallTime::from_millis(8_010));
    }

    #[test]
    fn deadline_that_never_comes_makes_no_difference() {
        let other = with(|settings| {
            (settings.no_input_ms, settings.stall_ms, settings.cough_ms_max) = (60_000, 900, 900);
        });
        assert_eq!(other.diverges_at, None);
    }

    #[test]
    fn shorter_silence_cuts_the_turn_in_two_at_the_pause() {
        let other = with(|settings| settings.min_silence_ms = 400);
        assert_eq!(ends(&other, Side::Recorded), [(4_185, 700)]);
        let cut = ends(&other, Side::Changed);
        assert_eq!(cut[0], (2_885, 400), "{:#?}", other.timeline);
        assert_eq!(other.diverges_at, Some(CallTime::from_millis(2_885)));
    }

    #[test]
    fn deadline_of_the_other_settings_comes_at_its_moment() {
        let other = with(|settings| settings.no_input_ms = 1_000);
        let silence = other.timeline.iter().find(
            |sided| matches!(sided.event.kind, EventKind::Decided(it) if it.decision == Decision::NoInput),
        );
        let silence = silence.expect("a second passes between the greeting and the caller");
        assert_eq!(silence.side, Side::Changed);
        assert_eq!(Some(silence.event.at), other.diverges_at);
    }

    #[test]
    fn timelines_merge_by_time_and_keep_their_order() {
        let key =
            |ms: u64, digit: char| Event { at: CallTime::from_millis(ms), kind: EventKind::Key { digit } };
        let digits = |digits: &str, ms: u64| -> Vec<Event> { digits.chars().map(|d| key(ms, d)).collect() };
        let then = [digits("12", 10), digits("345", 20)].concat();
        let other = [digits("5", 5), digits("12", 10), digits("46", 20), digits("7", 30)].concat();
        let text: String = merge(then, other)
            .iter()
            .map(|sided| {
                let EventKind::Key { digit } = sided.event.kind else { panic!("keys only") };
                let side = match sided.side {
                    Side::Both => '=',
                    Side::Recorded => '-',
                    Side::Changed => '+',
                };
                format!("{side}{digit}")
            })
            .collect();
        assert_eq!(text, "+5=1=2-3=4-5+6+7");
    }
}
