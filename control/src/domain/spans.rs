//! A call as a trace: one span for all of it, one per turn, one per answer with a span for each stage of it.
//!
//! ```text
//! call ─────────────────────────────────────────────────────────
//!   caller turn ────────
//!                   answer ──────────────
//!                    endpointing ─ transcript ─ agent ─ voice ─ playout
//!                                        agent turn ────────────
//! ```
//!
//! The stages of an answer follow each other without a gap, from the caller's last speech to the first audio that left;
//! each says who spent it. Decisions are events of the call's span. No span holds a word of what was said: traces go to
//! other people's machines.
//!
//! The trace's name is the call's: its UUID without dashes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use offhook_engine::call::{CallTime, Decided, Event, EventKind, Response, Speaker, Turn};
use offhook_engine::{CallId, CallSink, Finished};
use serde::Serialize;
use sha1::{Digest, Sha1};
use uuid::Uuid;

use super::call::CallStatus;
use super::calls::status_of;

/// How many decisions a call's span holds; those beyond are counted.
const DECISIONS_MAX: usize = 128;

/// A stretch of time of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The call.
    pub trace: [u8; 16],
    /// This stretch; never all zeros.
    pub id: [u8; 8],
    /// The stretch that it is a part of; none for the call itself.
    pub parent: Option<[u8; 8]>,
    /// What it is.
    pub name: &'static str,
    /// Microseconds since 1970-01-01 00:00 UTC.
    pub start_unix_us: u64,
    /// See [`Span::start_unix_us`].
    pub end_unix_us: u64,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// What happened in it.
    pub events: Vec<SpanEvent>,
    /// How many more events there were.
    pub events_dropped: u32,
    /// What went wrong, if it did.
    pub failed: Option<&'static str>,
}

/// What a span knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// A moment in a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    /// Microseconds since 1970-01-01 00:00 UTC.
    pub unix_us: u64,
    /// What happened.
    pub name: &'static str,
    /// With which numbers.
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// Where spans go. Never waits: it is told on the thread that writes journals.
pub trait SpanSink: Send + Sync {
    /// Takes a span, or drops it and counts that.
    fn take(&self, span: Span);
}

/// Passes what the engine tells on to another sink, and makes spans of it.
pub struct Traces {
    next: Arc<dyn CallSink>,
    spans: Arc<dyn SpanSink>,
    calls: Mutex<HashMap<CallId, Trace>>,
}

impl Traces {
    /// Everything goes on to `next`, spans to `spans`.
    pub fn new(next: Arc<dyn CallSink>, spans: Arc<dyn SpanSink>) -> Self {
        Self { next, spans, calls: Mutex::default() }
    }

    /// A call is about to be handed to the engine; its times count from `answered_unix_us`.
    pub fn answered(&self, call: &CallId, answered_unix_us: u64) {
        self.calls().insert(call.clone(), Trace::new(call, answered_unix_us));
    }

    /// The engine did not take the call.
    pub fn not_taken(&self, call: &CallId) {
        self.calls().remove(call);
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, Trace>> {
        // Every change under this lock is a single step, so what a panicking thread left behind is whole.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallSink for Traces {
    fn on_event(&self, call: &CallId, event: &Event) {
        if let Some(trace) = self.calls().get_mut(call) {
            trace.on_event(event, &mut |span| self.spans.take(span));
        }
        self.next.on_event(call, event);
    }

    fn on_finished(&self, call: &CallId, finished: &Finished) {
        let trace = self.calls().remove(call);
        if let Some(trace) = trace {
            self.spans.take(trace.finish(call, finished));
        }
        self.next.on_finished(call, finished);
    }

    fn on_loss(&self, call: &CallId, what: &str) {
        self.next.on_loss(call, what);
    }
}

/// The trace of one call, while it runs.
struct Trace {
    id: [u8; 16],
    answered_unix_us: u64,
    spans: u64,
    root: [u8; 8],
    decisions: Vec<SpanEvent>,
    decisions_dropped: u32,
    ended: Option<CallTime>,
}

impl Trace {
    fn new(call: &CallId, answered_unix_us: u64) -> Self {
        let id = trace_id(call);
        let mut trace = Self {
            id,
            answered_unix_us,
            spans: 0,
            root: [0; 8],
            decisions: Vec::new(),
            decisions_dropped: 0,
            ended: None,
        };
        trace.root = trace.next_id();
        trace
    }

    /// A name that no other span of this trace has.
    fn next_id(&mut self) -> [u8; 8] {
        self.spans += 1;
        // All spans of a trace differ in the count, and two traces in the rest: the low half of a UUID is random.
        let [.., a, b, c, d] = self.id;
        ((u64::from(u32::from_be_bytes([a, b, c, d])) << 32) | self.spans).to_be_bytes()
    }

    fn on_event(&mut self, event: &Event, give: &mut dyn FnMut(Span)) {
        match &event.kind {
            EventKind::Decided(decided) => self.on_decision(event.at, decided),
            EventKind::Turn(turn) => give(self.turn(turn)),
            EventKind::Responded(response) => self.answer(event.at, response, give),
            EventKind::Ended { .. } => self.ended = Some(event.at),
            _ => {}
        }
    }

    fn on_decision(&mut self, at: CallTime, decided: &Decided) {
        if self.decisions.len() >= DECISIONS_MAX {
            self.decisions_dropped = self.decisions_dropped.saturating_add(1);
            return;
        }
        let mut attributes = vec![
            ("offhook.decision", word(&decided.decision)),
            ("offhook.reason", word(&decided.reason)),
            ("offhook.measured_ms", number(decided.measured_ms)),
            ("offhook.threshold_ms", number(decided.threshold_ms)),
        ];
        if let Some(nearest) = decided.nearest {
            attributes.push(("offhook.nearest.reason", word(&nearest.reason)));
            attributes.push(("offhook.nearest.missing_ms", number(nearest.missing_ms)));
        }
        self.decisions.push(SpanEvent { unix_us: self.unix_us(at), name: "decision", attributes });
    }

    fn turn(&mut self, turn: &Turn) -> Span {
        let name = match turn.speaker {
            Speaker::Caller => "caller turn",
            Speaker::Agent => "agent turn",
        };
        let mut attributes = vec![("offhook.turn", number(turn.turn.0)), ("offhook.by", word(&turn.by))];
        if turn.speaker == Speaker::Agent {
            let cut_off = if turn.unheard.is_empty() { "heard" } else { "cut_off" };
            attributes.push(("offhook.outcome", Attribute::Text(cut_off.into())));
        }
        self.span(name, self.root, turn.started, turn.ended, attributes)
    }

    /// An answer whose first audio left at `at`, and its stages.
    fn answer(&mut self, at: CallTime, response: &Response, give: &mut dyn FnMut(Span)) {
        let from = CallTime::from_micros(at.as_micros().saturating_sub(response.response_us));
        let attributes = vec![("offhook.turn", number(response.turn.0))];
        let answer = self.span("answer", self.root, from, at, attributes);
        let parent = answer.id;
        give(answer);
        let mut begins = from;
        for (stage, us) in response.told_stages() {
            let ends = CallTime::from_micros(begins.as_micros() + us);
            let by = Attribute::Text(stage.spender().as_str().into());
            give(self.span(stage.as_str(), parent, begins, ends, vec![("offhook.spent_by", by)]));
            begins = ends;
        }
    }

    fn span(
        &mut self,
        name: &'static str,
        parent: [u8; 8],
        start: CallTime,
        end: CallTime,
        attributes: Vec<(&'static str, Attribute)>,
    ) -> Span {
        Span {
            trace: self.id,
            id: self.next_id(),
            parent: Some(parent),
            name,
            start_unix_us: self.unix_us(start),
            end_unix_us: self.unix_us(end.max(start)),
            attributes,
            events: Vec::new(),
            events_dropped: 0,
            failed: None,
        }
    }

    /// The call's own span: the last of its trace.
    fn finish(self, call: &CallId, finished: &Finished) -> Span {
        let ended = self.ended.unwrap_or(CallTime::from_millis(finished.duration_ms));
        Span {
            trace: self.id,
            id: self.root,
            parent: None,
            name: "call",
            start_unix_us: self.answered_unix_us,
            end_unix_us: self.unix_us(ended),
            attributes: vec![
                ("offhook.call_id", Attribute::Text(call.to_string())),
                ("offhook.end_reason", Attribute::Text(finished.reason.as_str().into())),
            ],
            events: self.decisions,
            events_dropped: self.decisions_dropped,
            failed: (status_of(finished.reason) == CallStatus::Failed).then(|| finished.reason.as_str()),
        }
    }

    fn unix_us(&self, at: CallTime) -> u64 {
        self.answered_unix_us + at.as_micros()
    }
}

/// The trace of a call: its UUID; of a call with another kind of name, 16 bytes made of that.
fn trace_id(call: &CallId) -> [u8; 16] {
    Uuid::parse_str(call.as_str()).map(Uuid::into_bytes).unwrap_or_else(|_| {
        let digest = Sha1::digest(call.as_str().as_bytes());
        std::array::from_fn(|at| digest[at])
    })
}

/// One of the engine's words, as it stands in timelines.
fn word(of: &impl Serialize) -> Attribute {
    let word = serde_json::to_value(of).ok().and_then(|word| word.as_str().map(str::to_owned));
    Attribute::Text(word.unwrap_or_default())
}

fn number(of: u32) -> Attribute {
    Attribute::Number(of.into())
}

#[cfg(test)]
mod tests {
    use offhook_engine::call::{By, Decision, EndReason, Reason, TurnId};

    use super::*;

    const CALL: &str = "0198c1d2-e3f4-7a6b-8c9d-0e1f2a3b4c5d";
    const START_US: u64 = 1_795_341_600_000_000;

    #[derive(Default)]
    struct Kept(Mutex<Vec<Span>>);

    impl SpanSink for Kept {
        fn take(&self, span: Span) {
            self.0.lock().unwrap().push(span);
        }
    }

    /// Counts what reaches it.
    #[derive(Default)]
    struct Next(Mutex<(u32, u32)>);

    impl CallSink for Next {
        fn on_event(&self, _: &CallId, _: &Event) {
            self.0.lock().unwrap().0 += 1;
        }
        fn on_finished(&self, _: &CallId, _: &Finished) {
            self.0.lock().unwrap().1 += 1;
        }
        fn on_loss(&self, _: &CallId, _: &str) {}
    }

    fn at(ms: u64, kind: EventKind) -> Event {
        Event { at: CallTime::from_millis(ms), kind }
    }

    fn decided() -> EventKind {
        EventKind::Decided(Decided {
            decision: Decision::TurnOver,
            reason: Reason::Silence,
            measured_ms: 700,
            threshold_ms: 700,
            nearest: None,
            seen: None,
        })
    }

    fn turn(speaker: Speaker, started: u64, ended: u64) -> EventKind {
        EventKind::Turn(Turn {
            turn: TurnId(2),
            speaker,
            started: CallTime::from_millis(started),
            ended: CallTime::from_millis(ended),
            text: "my account number is 4711".into(),
            unheard: String::new(),
            estimated: false,
            by: By::Voice,
            response_ms: None,
        })
    }

    fn traced(events: &[Event], reason: EndReason) -> Vec<Span> {
        let (next, kept) = (Arc::new(Next::default()), Arc::new(Kept::default()));
        let traces = Traces::new(next.clone(), kept.clone());
        let call = CallId::new(CALL).unwrap();
        traces.answered(&call, START_US);
        events.iter().for_each(|event| traces.on_event(&call, event));
        let finished = Finished { reason, duration_ms: 9_000, recording: None, journal: None };
        traces.on_finished(&call, &finished);
        assert_eq!(*next.0.lock().unwrap(), (events.len() as u32, 1), "all is passed on");
        assert!(traces.calls().is_empty(), "nothing of a call is kept once it is over");
        std::mem::take(&mut *kept.0.lock().unwrap())
    }

    fn whole_call() -> Vec<Span> {
        let response = Response {
            turn: TurnId(3),
            endpointing_us: 700_002,
            transcript_us: 51_010,
            agent_us: 900,
            voice_us: 2_000,
            held_us: 0,
            playout_us: 7,
            response_us: 753_919,
        };
        let events = [
            at(3_000, decided()),
            at(3_100, turn(Speaker::Caller, 2_000, 2_500)),
            at(3_300, EventKind::Responded(response)),
            at(5_000, turn(Speaker::Agent, 3_300, 5_000)),
            at(9_001, EventKind::Ended { reason: EndReason::CallerHangup }),
        ];
        traced(&events, EndReason::CallerHangup)
    }

    #[test]
    fn stages_of_an_answer_are_contiguous_and_fill_it() {
        let spans = whole_call();
        let answer = spans.iter().find(|span| span.name == "answer").unwrap();
        let stages: Vec<&Span> = spans.iter().filter(|span| span.parent == Some(answer.id)).collect();
        let names: Vec<_> = stages.iter().map(|span| span.name).collect();
        assert_eq!(names, ["endpointing", "transcript", "agent", "voice", "playout"]);
        assert_eq!(stages[0].start_unix_us, answer.start_unix_us);
        assert_eq!(stages[4].end_unix_us, answer.end_unix_us);
        assert!(stages.windows(2).all(|pair| pair[0].end_unix_us == pair[1].start_unix_us));
        assert_eq!(answer.end_unix_us - answer.start_unix_us, 753_919);
        let by: Vec<_> = stages.iter().map(|span| span.attributes[0].1.clone()).collect();
        let text = |text: &str| Attribute::Text(text.into());
        assert_eq!(by, [text("silence"), text("vendor"), text("vendor"), text("vendor"), text("engine")]);
    }

    #[test]
    fn all_spans_of_a_call_hang_below_its_own_which_comes_last() {
        let spans = whole_call();
        let root = spans.last().unwrap();
        assert_eq!((root.name, root.parent, root.failed), ("call", None, None));
        assert_eq!(root.trace, Uuid::parse_str(CALL).unwrap().into_bytes());
        assert_eq!((root.start_unix_us, root.end_unix_us), (START_US, START_US + 9_001_000));
        assert_eq!(root.events.len(), 1);
        assert_eq!(root.events[0].unix_us, START_US + 3_000_000);
        let mut ids: Vec<_> = spans.iter().map(|span| span.id).collect();
        for span in &spans {
            assert!(span.parent.is_none_or(|parent| ids.contains(&parent)), "{span:?}");
            assert!(span.trace == root.trace && span.id != [0; 8] && span.end_unix_us >= span.start_unix_us);
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), spans.len());
    }

    #[test]
    fn no_span_holds_what_was_said() {
        assert!(!format!("{:?}", whole_call()).contains("4711"));
    }

    #[test]
    fn decisions_beyond_the_limit_are_counted_and_a_fault_is_told() {
        let events: Vec<Event> = (0..200).map(|n| at(n, decided())).collect();
        let spans = traced(&events, EndReason::AgentFailed);
        let root = spans.last().unwrap();
        assert_eq!((root.events.len(), root.events_dropped), (128, 72));
        assert_eq!(root.failed, Some("agent-failed"));
        assert_eq!(root.end_unix_us, START_US + 9_000_000, "a call without its last event has a length");
    }

    #[test]
    fn calls_without_an_answer_are_passed_on_and_not_traced() {
        let (next, kept) = (Arc::new(Next::default()), Arc::new(Kept::default()));
        let traces = Traces::new(next.clone(), kept.clone());
        let call = CallId::new("CA17").unwrap();
        traces.answered(&call, START_US);
        traces.not_taken(&call);
        traces.on_event(&call, &at(1, decided()));
        assert!(kept.0.lock().unwrap().is_empty());
        assert_eq!(next.0.lock().unwrap().0, 1);
    }
}
