//! The carrier's end of a media stream, without its socket: frames out on time, messages in, all that a call is made of.
//!
//! ```text
//!             ┌──────────────────────────── Line ───────────────────────────┐
//!  messages ─►│ parse ─► playout ─► ear ─► speaker ─► a frame every 20 ms ──│─► messages
//!             │             └─► marks come back ────────────────────────────│─►
//!             └─────────────────────────────────────────────────────────────┘
//! ```
//!
//! Time is an argument: whoever holds the socket calls [`Line::on_time`] at [`Line::next_deadline`], [`Line::on_text`] when
//! a message came, and sends what [`Line::take_outbox`] gives, in order. Frame n holds the samples from n × 20 ms and
//! leaves when it is complete, at (n + 1) × 20 ms after the stream began, however late the frame before it was.

use std::borrow::Cow;
use std::sync::Arc;

use offhook_codecs::wire::twilio::{self, Place};
use offhook_codecs::wire::{MediaFormat, Outgoing, Start};

use super::ear::{Ear, HeardTurn, Noticed};
use super::playout::{Echo, Playout, PlayoutCounts, SILENCE};
use super::report::{BargeIn, EndedBy, LogEntry, LogMessage, Recording};
use super::script::{Act, Manners, Said, Script, Speaker, Speech};
use super::time::{FRAME, HZ, LineTime};

/// The log holds no more messages than this: half an hour of a server that sends every 20 ms.
pub const LOG_MAX: usize = 100_000;

/// Turns and interruptions are kept up to this many each; later ones are only observed.
pub const TURNS_MAX: usize = 10_000;

/// Faults are described up to this many.
const FAULTS_MAX: usize = 16;

/// A payload holds no more than this, in bytes; larger ones are faults. It is what fits into the largest message.
const PAYLOAD_MAX: usize = 768 * 1024;

/// This side is late when it does something so long after it was due, in samples (10 ms).
const LATE: u64 = HZ / 100;

/// What comes within this of being late, in samples (100 ms), may have lain in the socket meanwhile.
const AFTER_LATE: u64 = HZ / 10;

/// Something happened on the line, for whoever watches.
#[derive(Clone, Debug, PartialEq)]
pub struct Happening {
    /// When, since the stream began.
    pub at: LineTime,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The server took the call, and the stream is open.
    Answered {
        /// The carrier's name for the call.
        call_sid: String,
        /// Where the audio goes.
        stream_url: String,
    },
    /// The caller begins to say an item.
    CallerSpeaks {
        /// Its place in the script, from 0.
        item: usize,
        /// What it is, in words.
        label: Arc<str>,
        /// True if it is pressed, not spoken.
        keys: bool,
        /// True if the agent is interrupted.
        barge_in: bool,
    },
    /// The agent begins to be heard.
    AgentSpeaks(HeardTurn),
    /// The agent's turn is over.
    AgentSpoke(HeardTurn),
    /// The server cleared what it had sent.
    Cleared {
        /// How much was dropped, in samples.
        dropped_samples: u64,
    },
    /// The call is over.
    Ended(EndedBy),
}

/// The carrier's names for a call, and what the server's answer wants to have in the start message.
#[derive(Clone, Debug)]
pub struct Names {
    /// `AC` and 32 hex digits.
    pub account_sid: String,
    /// `CA` and 32 hex digits.
    pub call_sid: String,
    /// `MZ` and 32 hex digits.
    pub stream_sid: String,
    /// Name and value of each `<Parameter>`.
    pub parameters: Vec<(String, String)>,
}

impl Names {
    fn start(&self) -> Start<'_> {
        Start {
            account: Cow::Borrowed(&self.account_sid),
            call: Cow::Borrowed(&self.call_sid),
            format: MediaFormat {
                encoding: Cow::Borrowed("audio/x-mulaw"),
                sample_rate_hz: 8_000,
                channels: 1,
            },
            parameters: self
                .parameters
                .iter()
                .map(|(name, value)| (Cow::Borrowed(name.as_str()), Cow::Borrowed(value.as_str())))
                .collect(),
        }
    }
}

/// What is kept of a call for its report. Both cost memory for as long as the call lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Both sides' audio: 16 KB per second.
    pub recording: bool,
    /// Every message, up to [`LOG_MAX`].
    pub log: bool,
}

/// What a line has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The agent's turns.
    pub turns: Vec<HeardTurn>,
    /// How long the caller waited for each answer that did not come, in samples.
    pub unanswered: Vec<u64>,
    /// The caller's items.
    pub said: Vec<Said>,
    /// The caller's interruptions.
    pub barge_ins: Vec<BargeIn>,
    /// Items that were not said.
    pub unsaid: usize,
    /// What the playout buffer counted.
    pub playout: PlayoutCounts,
    /// Frames sent.
    pub frames_sent: u64,
    /// Media messages received.
    pub media_received: u64,
    /// Audio in them, in samples.
    pub samples_received: u64,
    /// The first faults, in words.
    pub faults: Vec<String>,
    /// How many there were.
    pub fault_count: u32,
    /// Messages.
    pub log: Vec<LogEntry>,
    /// Messages that the log had no room for.
    pub log_dropped: u64,
    /// Both sides' audio.
    pub recording: Option<Recording>,
}

/// One media stream.
#[derive(Debug)]
pub struct Line {
    names: Names,
    script: Script,
    playout: Playout,
    ear: Ear,
    speaker: Speaker,
    keep_log: bool,
    ends_at: LineTime,
    /// What the caller says in the frame that is not complete yet.
    frame: [u8; FRAME],
    key: Option<char>,
    /// When this side was late last, and by how much, in samples.
    late: Option<(LineTime, u64)>,
    sequence: u32,
    over: Option<EndedBy>,
    seen: Seen,
    outbox: Vec<String>,
    happenings: Vec<Happening>,
    heard: Vec<u8>,
    echoes: Vec<Echo>,
    noticed: Vec<Noticed>,
    payload: Vec<u8>,
}

impl Line {
    /// A stream that begins now, and ends at `ends_at` at the latest. Its first two messages are in the outbox.
    pub fn begin(names: Names, script: Script, manners: Manners, keep: Keep, ends_at: LineTime) -> Self {
        let mut line = Self {
            playout: Playout::default(),
            ear: Ear::new(manners.quiet),
            speaker: Speaker::new(script.clone(), manners),
            keep_log: keep.log,
            ends_at,
            frame: [SILENCE; FRAME],
            key: None,
            late: None,
            sequence: 1,
            over: None,
            seen: Seen { recording: keep.recording.then(Recording::default), ..Seen::default() },
            outbox: Vec::new(),
            happenings: Vec::new(),
            heard: Vec::new(),
            echoes: Vec::new(),
            noticed: Vec::new(),
            payload: Vec::new(),
            names,
            script,
        };
        line.post(|out, _| twilio::write_connected(out));
        line.post(|out, names| twilio::write_start(out, &names.stream_sid, &names.start()));
        line.next_frame();
        line
    }

    /// When [`Line::on_time`] has something to do: the next frame, or a mark before it.
    pub fn next_deadline(&self) -> LineTime {
        let frame = self.frame_due();
        self.playout.next_mark().map_or(frame, |mark| mark.min(frame))
    }

    /// Frames sent so far.
    pub fn frames_sent(&self) -> u64 {
        self.seen.frames_sent
    }

    /// Who ended the call, once it has ended. Nothing is sent after.
    pub fn over(&self) -> Option<&EndedBy> {
        self.over.as_ref()
    }

    /// Messages to send, in order.
    pub fn take_outbox(&mut self) -> impl Iterator<Item = String> + '_ {
        self.outbox.drain(..)
    }

    /// What happened since the last time, in order.
    pub fn take_happenings(&mut self) -> impl Iterator<Item = Happening> + '_ {
        self.happenings.drain(..)
    }

    /// Plays, listens and speaks until `now`.
    pub fn on_time(&mut self, now: LineTime) {
        if self.over.is_some() {
            return;
        }
        self.note_lateness(now);
        self.listen(now);
        while self.over.is_none() && self.frame_due() <= now {
            self.send_frame();
            if self.frame_start() >= self.ends_at {
                self.end(now, EndedBy::MaxDuration);
            } else {
                self.next_frame();
            }
        }
    }

    /// Takes a text message of the server's.
    pub fn on_text(&mut self, now: LineTime, text: &str) {
        if self.over.is_some() {
            return;
        }
        self.note_lateness(now);
        self.listen(now);
        let message = match twilio::parse_outgoing(text) {
            Ok(message) => message,
            Err(error) => return self.on_fault(format!("a message that cannot be used: {error}")),
        };
        match message {
            Outgoing::Media { stream, payload } => {
                if self.is_ours(&stream, "media") {
                    self.on_media(now, &payload);
                }
            }
            Outgoing::Mark { stream, name } => {
                if self.is_ours(&stream, "mark") {
                    self.log(now, || LogMessage::Mark { name: name.clone().into_owned() });
                    self.playout.mark(name.into_owned(), &mut self.echoes);
                    self.send_echoes(now);
                }
            }
            Outgoing::Clear { stream } => {
                if self.is_ours(&stream, "clear") {
                    self.on_clear(now);
                }
            }
            Outgoing::Error => self.on_fault("the server could not use what the caller sent".into()),
            Outgoing::Unknown { event } => {
                self.on_fault(format!("an event that Twilio does not know: {event:?} (its error 31951)"));
            }
        }
    }

    /// Takes a binary message of the server's, which a carrier ignores.
    pub fn on_binary(&mut self, length: usize) {
        self.on_fault(format!("a binary message of {length} bytes, which Twilio ignores (its error 31950)"));
    }

    /// Ends the call, if it has not ended yet. If the caller ends it, the last message is in the outbox.
    pub fn end(&mut self, now: LineTime, by: EndedBy) {
        if self.over.is_some() {
            return;
        }
        self.listen(now);
        if matches!(by, EndedBy::Caller | EndedBy::MaxDuration | EndedBy::Stopped) {
            let sequence = self.next_sequence();
            self.post(|out, names| twilio::write_stop(out, &names.stream_sid, sequence, &names.start()));
        }
        self.give_up_waiting(now);
        self.ear.on_end(&mut self.noticed);
        self.take_notice(now);
        self.happenings.push(Happening { at: now, what: What::Ended(by.clone()) });
        self.over = Some(by);
    }

    /// What the line has seen until `end`.
    pub fn into_seen(mut self, end: LineTime) -> Seen {
        self.seen.playout = self.playout.counts();
        self.seen.unsaid = self.script.items.len() - self.speaker.begun();
        if let Some(recording) = &mut self.seen.recording {
            recording.fit(end);
        }
        self.seen
    }

    fn note_lateness(&mut self, now: LineTime) {
        let by = now.since(self.next_deadline());
        let covered = self.late.is_some_and(|(at, longest)| longest >= by && now.since(at) <= AFTER_LATE);
        if by > LATE && !covered {
            self.late = Some((now, by));
        }
    }

    /// True if a hole that ends now is no longer than this side kept from its socket just before. It may have been so from up to
    /// a frame before the deadline that it missed.
    fn made_by_lateness(&self, now: LineTime, hole: u64) -> bool {
        self.late.is_some_and(|(at, by)| now.since(at) <= AFTER_LATE && hole <= by + FRAME as u64)
    }

    fn frame_start(&self) -> LineTime {
        LineTime::from_samples(self.seen.frames_sent * FRAME as u64)
    }

    fn frame_due(&self) -> LineTime {
        self.frame_start() + FRAME as u64
    }

    /// Decides what the caller says in the frame that begins now.
    fn next_frame(&mut self) {
        let now = self.frame_start();
        match self.speaker.next_frame(now, &self.ear, &mut self.frame) {
            Act::Listen | Act::Speak => {}
            Act::Press(key) => self.key = Some(key),
            Act::HangUp => self.end(now, EndedBy::Caller),
            Act::Begin { item, barge_in } => {
                let said = self.speaker.said(item, now, barge_in);
                self.seen.said.push(said);
                if self.script.items[item].wants_answer {
                    self.give_up_waiting(said.from);
                    self.ear.on_caller_spoke(said.to);
                    if barge_in && self.seen.barge_ins.len() < TURNS_MAX {
                        let (silent_at, cleared) = (None, false);
                        self.seen.barge_ins.push(BargeIn { from: said.from, silent_at, cleared });
                    }
                }
                let item_data = &self.script.items[item];
                let keys = matches!(item_data.speech, Speech::Keys(_));
                let what = What::CallerSpeaks { item, label: item_data.label.clone(), keys, barge_in };
                self.happenings.push(Happening { at: said.from, what });
            }
        }
    }

    /// An answer that has not come by now does not come to what was asked.
    fn give_up_waiting(&mut self, now: LineTime) {
        if let Some(since) = self.ear.unanswered_since()
            && now > since
            && self.seen.unanswered.len() < TURNS_MAX
        {
            self.seen.unanswered.push(now.since(since));
        }
    }

    fn send_frame(&mut self) {
        if let Some(recording) = &mut self.seen.recording {
            recording.caller.extend(self.frame);
        }
        let sequence = self.next_sequence();
        let frames = self.seen.frames_sent as u32;
        let place = Place { sequence, chunk: frames + 1, timestamp_ms: frames.saturating_mul(20) };
        let frame = self.frame;
        self.post(|out, names| twilio::write_inbound_media(out, &names.stream_sid, place, &frame));
        self.seen.frames_sent += 1;
        if let Some(digit) = self.key.take() {
            let sequence = self.next_sequence();
            self.post(|out, names| twilio::write_dtmf(out, &names.stream_sid, sequence, digit));
            self.log(self.frame_start(), || LogMessage::Key { digit });
        }
    }

    /// Plays what is due, and hears it.
    fn listen(&mut self, now: LineTime) {
        self.heard.clear();
        self.playout.play_until(now, &mut self.heard, &mut self.echoes);
        if let Some(recording) = &mut self.seen.recording {
            recording.agent.extend_from_slice(&self.heard);
        }
        self.ear.hear(&self.heard, self.playout.is_dry(), &mut self.noticed);
        self.take_notice(now);
        self.send_echoes(now);
    }

    fn on_media(&mut self, now: LineTime, payload: &str) {
        let most = payload.len().div_ceil(4) * 3;
        if most > PAYLOAD_MAX {
            return self.on_fault(format!("a payload of {} characters, more than is taken", payload.len()));
        }
        self.payload.resize(most, 0);
        match twilio::decode_base64(payload, &mut self.payload) {
            Ok(samples) => {
                let underrun = self.playout.media(&self.payload[..samples]);
                if let Some(underrun) =
                    underrun.filter(|underrun| self.made_by_lateness(now, underrun.samples))
                {
                    self.playout.excuse(underrun);
                }
                self.seen.media_received += 1;
                self.seen.samples_received += samples as u64;
                self.log(now, || LogMessage::Media { samples });
            }
            Err(error) => self.on_fault(error.to_string()),
        }
    }

    fn on_clear(&mut self, now: LineTime) {
        let dropped_samples = self.playout.clear(&mut self.echoes);
        self.log(now, || LogMessage::Clear { dropped_samples });
        self.happenings.push(Happening { at: now, what: What::Cleared { dropped_samples } });
        if let Some(barge_in) = self.seen.barge_ins.last_mut()
            && barge_in.silent_at.is_none()
        {
            barge_in.silent_at = Some(now);
            barge_in.cleared = true;
        }
        self.ear.on_clear(&mut self.noticed);
        self.take_notice(now);
        self.send_echoes(now);
    }

    fn take_notice(&mut self, now: LineTime) {
        let mut noticed = std::mem::take(&mut self.noticed);
        for notice in noticed.drain(..) {
            let what = match notice {
                Noticed::Began(turn) => What::AgentSpeaks(turn),
                Noticed::Over(turn) => {
                    if let Some(barge_in) = self.seen.barge_ins.last_mut()
                        && barge_in.silent_at.is_none()
                    {
                        barge_in.silent_at = Some(turn.to);
                    }
                    if self.seen.turns.len() < TURNS_MAX {
                        self.seen.turns.push(turn);
                    }
                    What::AgentSpoke(turn)
                }
            };
            self.happenings.push(Happening { at: now, what });
        }
        self.noticed = noticed;
    }

    fn send_echoes(&mut self, now: LineTime) {
        let mut echoes = std::mem::take(&mut self.echoes);
        for Echo { name, cleared, .. } in echoes.drain(..) {
            let sequence = self.next_sequence();
            self.post(|out, names| twilio::write_mark_echo(out, &names.stream_sid, sequence, &name));
            self.log(now, || LogMessage::Echo { name, cleared });
        }
        self.echoes = echoes;
    }

    fn is_ours(&mut self, stream: &str, event: &str) -> bool {
        let ours = stream == self.names.stream_sid;
        if !ours {
            self.on_fault(format!("a {event} for another stream, {stream:?} (Twilio's error 31951)"));
        }
        ours
    }

    fn on_fault(&mut self, what: String) {
        self.seen.fault_count = self.seen.fault_count.saturating_add(1);
        if self.seen.faults.len() < FAULTS_MAX {
            self.seen.faults.push(what);
        }
    }

    fn log(&mut self, at: LineTime, message: impl FnOnce() -> LogMessage) {
        if !self.keep_log {
            return;
        }
        if self.seen.log.len() < LOG_MAX {
            self.seen.log.push(LogEntry { at, message: message() });
        } else {
            self.seen.log_dropped += 1;
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence += 1;
        self.sequence
    }

    fn post(&mut self, write: impl FnOnce(&mut Vec<u8>, &Names)) {
        let mut text = Vec::with_capacity(384);
        write(&mut text, &self.names);
        self.outbox.push(String::from_utf8(text).expect("the wire's writers make JSON from text"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::script::Item;
    use super::*;

    const TONE: u8 = 0x80;

    /// A line in virtual time, and all that it sent.
    struct Sim {
        line: Line,
        now: LineTime,
        sent: Vec<Value>,
        happenings: Vec<Happening>,
    }

    fn at(ms: u64) -> LineTime {
        LineTime::from_samples(ms * 8)
    }

    fn say(ms: usize) -> Item {
        let speech = Speech::Audio(vec![TONE; ms * 8].into());
        Item::new("something", speech)
    }

    impl Sim {
        fn new(items: Vec<Item>) -> Self {
            let names = Names {
                account_sid: "AC1".into(),
                call_sid: "CA1".into(),
                stream_sid: "MZ1".into(),
                parameters: vec![("token".into(), "a\"b".into())],
            };
            let script = Script { items: items.into(), ..Script::default() };
            let keep = Keep { recording: true, log: true };
            let line = Line::begin(names, script, Manners::default(), keep, at(60_000));
            let mut sim = Self { line, now: at(0), sent: Vec::new(), happenings: Vec::new() };
            sim.collect();
            sim
        }

        fn collect(&mut self) {
            self.sent.extend(self.line.take_outbox().map(|text| serde_json::from_str(&text).unwrap()));
            self.happenings.extend(self.line.take_happenings());
        }

        fn run_until(&mut self, ms: u64) -> &mut Self {
            while self.line.over().is_none() && self.line.next_deadline() <= at(ms) {
                self.now = self.line.next_deadline();
                self.line.on_time(self.now);
                self.collect();
            }
            self.now = self.now.max(at(ms));
            self
        }

        fn receive(&mut self, message: &str) -> &mut Self {
            self.line.on_text(self.now, message);
            self.collect();
            self
        }

        fn media(&mut self, ms: usize) -> &mut Self {
            let mut text = Vec::new();
            twilio::write_media(&mut text, "MZ1", &vec![TONE; ms * 8]);
            self.receive(std::str::from_utf8(&text).unwrap())
        }

        fn mark(&mut self, name: &str) -> &mut Self {
            let message = json!({"event": "mark", "streamSid": "MZ1", "mark": {"name": name}});
            self.receive(&message.to_string())
        }

        fn clear(&mut self) -> &mut Self {
            self.receive(r#"{"event":"clear","streamSid":"MZ1"}"#)
        }

        fn sent_events(&self, event: &str) -> Vec<&Value> {
            self.sent.iter().filter(|message| message["event"] == event).collect()
        }

        fn log(&self) -> Vec<(u64, &LogMessage)> {
            self.line.seen.log.iter().map(|entry| (entry.at.samples() / 8, &entry.message)).collect()
        }
    }

    #[test]
    fn a_hole_is_the_servers_only_if_this_side_was_on_time() {
        let mut sim = Sim::new(Vec::new());
        sim.media(100).run_until(150).media(100);
        assert_eq!((sim.line.playout.counts().underruns, sim.line.playout.counts().own_underruns), (1, 0));
        // Nobody looks at socket or clock from 150 to 400 ms; audio that came in time is read late.
        sim.now = at(400);
        sim.media(100);
        assert_eq!((sim.line.playout.counts().underruns, sim.line.playout.counts().own_underruns), (1, 1));
        // A hiccup of 30 ms does not excuse a hole of 200 ms.
        sim.run_until(700);
        sim.now = sim.line.next_deadline() + 30 * 8;
        sim.media(20);
        assert_eq!((sim.line.playout.counts().underruns, sim.line.playout.counts().own_underruns), (2, 1));
    }

    #[test]
    fn a_stream_begins_with_connected_and_start() {
        let sim = Sim::new(vec![]);
        assert_eq!(sim.sent[0]["event"], "connected");
        assert_eq!(sim.sent[1]["event"], "start");
        assert_eq!(sim.sent[1]["start"]["callSid"], "CA1");
        assert_eq!(sim.sent[1]["start"]["customParameters"], json!({"token": "a\"b"}));
        assert_eq!(sim.sent.len(), 2, "the first frame is complete after 20 ms");
    }

    #[test]
    fn frames_are_counted_and_leave_when_they_are_complete() {
        let mut sim = Sim::new(vec![]);
        sim.run_until(59);
        let places: Vec<_> = sim
            .sent_events("media")
            .iter()
            .map(|m| {
                (m["sequenceNumber"].clone(), m["media"]["chunk"].clone(), m["media"]["timestamp"].clone())
            })
            .collect();
        assert_eq!(places, [(json!("2"), json!("1"), json!("0")), (json!("3"), json!("2"), json!("20"))]);
    }

    #[test]
    fn a_late_wake_up_sends_every_frame_that_is_due() {
        let mut sim = Sim::new(vec![]);
        sim.line.on_time(at(95));
        assert_eq!(sim.line.frames_sent(), 4);
        assert_eq!(sim.line.next_deadline(), at(100));
    }

    #[test]
    fn marks_come_back_when_their_audio_was_heard() {
        let mut sim = Sim::new(vec![]);
        sim.mark("nothing before it").media(50).mark("m1").run_until(100);
        let names: Vec<_> = sim.sent_events("mark").iter().map(|m| m["mark"]["name"].clone()).collect();
        assert_eq!(names, ["nothing before it", "m1"]);
        let echoes: Vec<_> =
            sim.log().into_iter().filter(|(_, m)| matches!(m, LogMessage::Echo { .. })).collect();
        assert_eq!(echoes[1], (50, &LogMessage::Echo { name: "m1".into(), cleared: false }));
    }

    #[test]
    fn clear_returns_marks_and_its_place_in_the_log_shows_what_came_after() {
        let mut sim = Sim::new(vec![]);
        sim.media(500).mark("m1").run_until(100).clear().media(20);
        assert_eq!(
            sim.log(),
            [
                (0, &LogMessage::Media { samples: 4_000 }),
                (0, &LogMessage::Mark { name: "m1".into() }),
                (100, &LogMessage::Clear { dropped_samples: 3_200 }),
                (100, &LogMessage::Echo { name: "m1".into(), cleared: true }),
                (100, &LogMessage::Media { samples: 160 }),
            ]
        );
    }

    #[test]
    fn a_barge_in_measures_how_long_the_agent_talked_over_the_caller() {
        let mut item = say(400);
        item.barge_in_after = Some(Duration::from_millis(700));
        let mut sim = Sim::new(vec![item]);
        sim.media(3_000).run_until(870).clear().run_until(1_500);
        let [barge_in] = sim.line.seen.barge_ins[..] else { panic!("one interruption") };
        assert_eq!((barge_in.from, barge_in.cleared), (at(700), true));
        assert_eq!(barge_in.talked_over(), Some(Duration::from_millis(170)));
        assert!(sim.line.seen.turns[0].cut);
    }

    #[test]
    fn a_dialogue_has_its_response_times_and_ends_with_stop() {
        let mut sim = Sim::new(vec![say(300)]);
        sim.media(400).run_until(1_500);
        // Quiet since 400: the caller speaks from 1,000 to 1,300.
        sim.media(200).run_until(10_000);
        assert_eq!(sim.line.seen.turns[1].response(), Some(Duration::from_millis(200)));
        assert_eq!(sim.line.over(), Some(&EndedBy::Caller));
        let last = sim.sent.last().unwrap();
        assert_eq!((&last["event"], &last["stop"]["callSid"]), (&json!("stop"), &json!("CA1")));
        let order: Vec<_> = sim
            .happenings
            .iter()
            .map(|h| match &h.what {
                What::AgentSpeaks(_) => "agent speaks",
                What::AgentSpoke(_) => "agent spoke",
                What::CallerSpeaks { .. } => "caller speaks",
                What::Ended(_) => "ended",
                _ => "other",
            })
            .collect();
        assert_eq!(
            order,
            ["agent speaks", "agent spoke", "caller speaks", "agent speaks", "agent spoke", "ended"]
        );
    }

    #[test]
    fn the_longest_duration_ends_a_call() {
        let mut sim = Sim::new(vec![]);
        sim.media(200).run_until(1_000);
        sim.line.ends_at = at(1_500);
        sim.run_until(5_000);
        assert_eq!(sim.line.over(), Some(&EndedBy::MaxDuration));
        assert_eq!(sim.sent.last().unwrap()["event"], "stop");
        assert_eq!(sim.line.frames_sent(), 75);
    }

    #[test]
    fn what_a_carrier_would_refuse_is_a_fault_and_no_more() {
        let mut sim = Sim::new(vec![]);
        for message in [
            "not json",
            r#"{"event":"clear","streamSid":"MZ2"}"#,
            r#"{"event":"dance","streamSid":"MZ1"}"#,
            r#"{"event":"media","streamSid":"MZ1","media":{"payload":"!"}}"#,
        ] {
            sim.receive(message);
        }
        sim.line.on_binary(3);
        assert_eq!(sim.line.seen.fault_count, 5);
        assert!(sim.line.seen.faults[1].contains("MZ2"), "{:?}", sim.line.seen.faults);
        assert_eq!(sim.line.seen.media_received, 0);
        assert_eq!(sim.line.playout.counts().clears, 0);
        for _ in 0..1_000 {
            sim.receive("{}");
        }
        assert_eq!(sim.line.seen.faults.len(), FAULTS_MAX);
    }

    #[test]
    fn a_recording_holds_both_sides_for_exactly_the_calls_length() {
        let mut sim = Sim::new(vec![say(100)]);
        sim.run_until(10).media(300).run_until(1_010).run_until(1_517);
        let seen = sim.line.into_seen(at(1_517));
        let recording = seen.recording.unwrap();
        assert_eq!((recording.caller.len(), recording.agent.len()), (1_517 * 8, 1_517 * 8));
        let span = |side: &[u8]| {
            let first = side.iter().position(|&byte| byte == TONE).unwrap() / 8;
            let last = side.iter().rposition(|&byte| byte == TONE).unwrap() / 8;
            (first, last)
        };
        assert_eq!(span(&recording.agent), (10, 309));
        assert_eq!(
            span(&recording.caller),
            (920, 1_019),
            "the turn was over 600 ms after 310, on the next frame"
        );
    }
}
