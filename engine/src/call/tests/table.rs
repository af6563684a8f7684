//! A call on the table: whatever is put in, all that comes out is checked, output by output.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use offhook_codecs::g711;

use crate::call::{
    Call, CallSettings, CallTime, Decision, EventKind, Input, Output, Outputs, Reason, Speaker, TurnId,
    UtteranceId, WordStart,
};
use crate::journal::Tape;

/// More than any input may lead to at once: a second of audio that was behind, in messages and pieces, and some words.
const OUTPUTS_MAX: usize = 2_000;

/// What the voice gave of one utterance, and how far the call has sent it.
#[derive(Default)]
pub(super) struct Spoken {
    given: Vec<u8>,
    sent: usize,
    begun: bool,
    /// How much was given when the call gave it up: what comes later is not to be played.
    given_up_at: Option<usize>,
    /// True after a clear: the next message may go back.
    may_go_back: bool,
    /// What the call counted as heard.
    heard: usize,
}

/// The moments of an answer, as somebody outside sees them.
#[derive(Default)]
struct Moments {
    /// When the caller's turns were decided to be over, since the agent was asked last.
    over: Vec<CallTime>,
    asked: CallTime,
    /// When the first sentence came, since then.
    said: Option<CallTime>,
    /// When audio came for any utterance, since then.
    voiced: Vec<CallTime>,
}

/// One thing that went to the carrier.
pub(super) enum Wire {
    Audio { utterance: UtteranceId, from: usize, samples: usize },
    Mark(u32),
    Clear,
}

/// A call, all that went out of it, and what that says of its state.
pub(super) struct Table {
    pub(super) call: Call,
    pub(super) settings: CallSettings,
    pub(super) now: CallTime,
    out: Outputs,
    /// All that came out, with the bytes of what is audio.
    pub(super) log: Vec<(CallTime, Output, Vec<u8>)>,
    /// All that went in and came out, as a driver would have kept it.
    tape: Option<Tape>,
    /// The turn that the agent was asked for last.
    pub(super) turn: TurnId,
    /// The turn that the agent is at work on, as far as the call has told it.
    answering: Option<TurnId>,
    utterances: BTreeMap<UtteranceId, Spoken>,
    /// Those of them that the agent speaks itself.
    own: BTreeSet<UtteranceId>,
    /// Utterances up to this one are of turns that are over.
    dead_to: UtteranceId,
    /// What the agent's turn was to say.
    said: Vec<(UtteranceId, String)>,
    voice_failed: bool,
    /// Told with the agent's first audio, until the stages of it are told.
    response_ms: Option<u32>,
    /// What was seen of the moments between which the stages lie.
    seen: Moments,
    listening_to: Option<UtteranceId>,
    pub(super) last_heard: UtteranceId,
    pub(super) marks: Vec<u32>,
    /// What went to the carrier, until somebody takes it.
    pub(super) wire: Vec<Wire>,
    stopped: bool,
    cleared: bool,
    /// The next message takes speech up again: its first 64 samples rise from silence.
    rises: bool,
    pub(super) play_until: CallTime,
    pub(super) closed: bool,
}

impl Table {
    pub(super) fn new(settings: CallSettings) -> Self {
        let mut table = Self {
            call: Call::new(settings.clone()),
            tape: None,
            settings,
            now: CallTime::ZERO,
            out: Outputs::default(),
            log: Vec::new(),
            turn: TurnId(0),
            answering: None,
            utterances: BTreeMap::new(),
            own: BTreeSet::new(),
            dead_to: UtteranceId(0),
            said: Vec::new(),
            voice_failed: false,
            response_ms: None,
            seen: Moments::default(),
            listening_to: None,
            last_heard: UtteranceId(0),
            marks: Vec::new(),
            wire: Vec::new(),
            stopped: false,
            cleared: false,
            rises: false,
            play_until: CallTime::ZERO,
            closed: false,
        };
        table.tape = Some(Tape::new(&table.settings));
        table
    }

    /// What a driver would have kept of the call.
    pub(super) fn take_tape(&mut self) -> Tape {
        self.tape.take().expect("a tape is taken once")
    }

    /// Puts one input in and checks what comes out.
    pub(super) fn input(&mut self, input: Input<'_>) {
        let was_closed = self.closed;
        let was_overdue = self.overdue();
        let is_tick = matches!(input, Input::Tick);
        self.note_for_agent(&input);
        if let Some(tape) = &mut self.tape {
            tape.input(self.now, &input);
        }
        self.call.handle(self.now, input, &mut self.out);
        let mut list = self.out.take_list();
        assert!(!was_closed || list.is_empty(), "something follows the end: {list:?}");
        assert!(list.len() <= OUTPUTS_MAX, "{} outputs of one input", list.len());
        for output in list.drain(..) {
            assert!(!self.closed, "something follows the end: {output:?}");
            if let Some(tape) = &mut self.tape {
                tape.output(self.now, &output, &self.out);
            }
            let bytes = match &output {
                Output::Media { audio, .. } | Output::CallerAudio { audio } => {
                    self.out.audio(*audio).to_vec()
                }
                _ => Vec::new(),
            };
            self.check(&output, &bytes);
            self.log.push((self.now, output, bytes));
        }
        self.out.give_back(list);
        self.out.take_spent().for_each(drop);
        assert_eq!(self.call.next_deadline().is_none(), self.closed, "a running call waits for something");
        if is_tick || !was_overdue {
            assert!(!self.overdue(), "{:?} is due at once, at {:?}", self.call.next_deadline(), self.now);
        }
        self.check_ledger();
    }

    fn overdue(&self) -> bool {
        self.call.next_deadline().is_some_and(|(at, _)| at <= self.now)
    }

    /// An agent that says that its turn is complete is at work no more, if it was.
    fn note_for_agent(&mut self, input: &Input<'_>) {
        if let Input::AgentDone { turn, .. } | Input::AgentFailed { turn, .. } = input
            && self.answering == Some(*turn)
        {
            self.answering = None;
        }
    }

    fn check(&mut self, output: &Output, bytes: &[u8]) {
        match output {
            Output::Media { utterance, .. } => self.check_media(*utterance, bytes),
            Output::Mark { mark } => {
                self.marks.push(*mark);
                self.wire.push(Wire::Mark(*mark));
            }
            Output::Clear => {
                self.wire.push(Wire::Clear);
                self.stopped = true;
                self.cleared = true;
                self.play_until = self.now;
                self.utterances.values_mut().for_each(|spoken| spoken.may_go_back = true);
            }
            Output::UtteranceStarted { utterance } => {
                assert_eq!(self.listening_to, None, "one utterance at a time");
                assert!(*utterance > self.last_heard, "utterances are named once");
                self.listening_to = Some(*utterance);
                self.last_heard = *utterance;
            }
            Output::CallerAudio { .. } => assert!(self.listening_to.is_some(), "audio of no utterance"),
            Output::UtteranceEnded { utterance, .. } => {
                assert_eq!(self.listening_to.take(), Some(*utterance));
            }
            Output::AskAgent { turn, .. } => {
                assert!(*turn > self.turn, "turns are named once");
                assert_eq!(self.answering, None, "one answer at a time: {turn:?} is asked for on top");
                self.turn = *turn;
                self.answering = Some(*turn);
                self.turn_is_over();
                self.seen = Moments {
                    over: std::mem::take(&mut self.seen.over),
                    asked: self.now,
                    ..Moments::default()
                };
            }
            Output::CancelAgent { turn } => {
                assert!(self.answering.is_none_or(|answering| answering == *turn));
                self.answering = None;
                self.turn_is_over();
            }
            // Told before its record is, if there is one.
            Output::AgentHeard { turn, spoken_heard, .. } => {
                let own = self.said.iter().filter(|(utterance, _)| self.own.contains(utterance));
                let sent: usize = own.map(|(utterance, _)| self.utterances[utterance].given.len()).sum();
                assert!(*spoken_heard as usize <= sent, "more was heard than the agent spoke");
                if self.answering == Some(*turn) {
                    self.answering = None;
                }
                self.let_go();
            }
            Output::Synthesize { utterance, text } => {
                let before = self.utterances.insert(*utterance, Spoken::default());
                assert!(before.is_none(), "utterances are named once");
                self.seen.said.get_or_insert(self.now);
                self.said.push((*utterance, text.clone()));
            }
            Output::CancelSynthesis { utterance } => {
                assert!(!self.own.contains(utterance), "no voice knows of what the agent speaks itself");
                let spoken = self.utterances.get_mut(utterance).expect("an utterance that was asked for");
                assert_eq!(spoken.given_up_at, None, "cancelled once");
                spoken.given_up_at = Some(spoken.given.len());
            }
            Output::Event(event) => {
                assert_eq!(event.at, self.now, "told when it happens: {event:?}");
                self.check_event(&event.kind);
            }
            Output::Close { .. } => self.closed = true,
        }
    }

    fn check_event(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Turn(turn) => {
                assert!(turn.started <= turn.ended && turn.ended <= self.now, "{turn:?}");
                if turn.speaker == Speaker::Agent {
                    self.check_told(&turn.text, &turn.unheard);
                    self.turn_is_over();
                }
            }
            EventKind::AgentSpeaks { response_ms, .. } => self.response_ms = *response_ms,
            EventKind::Responded(response) => {
                let stages: u64 = response.stages().iter().map(|(_, us)| us).sum();
                assert_eq!(stages, response.response_us, "{response:?}");
                self.check_stages(&response.stages().map(|(_, us)| us));
                let told_ms = self.response_ms.take().expect("only answers have a response time");
                assert_eq!(u64::from(told_ms), response.response_us / 1_000);
            }
            EventKind::VoiceFailed { .. } => self.voice_failed = true,
            // What it spoke itself it broke off.
            EventKind::AgentFailed { .. } => {
                self.voice_failed |= self.said.iter().any(|(utterance, _)| self.own.contains(utterance));
            }
            EventKind::Decided(decided) => {
                assert!(decided.rule().holds(), "a rule that does not hold decided: {decided:?}");
                if matches!(decided.decision, Decision::TurnOver | Decision::AskEarly)
                    && decided.reason != Reason::RecogniserSilent
                {
                    self.seen.over.push(self.now);
                }
                if matches!(decided.decision, Decision::Resume | Decision::Yield) {
                    self.stopped = false;
                    self.rises = decided.decision == Decision::Resume;
                }
            }
            _ => {}
        }
    }

    /// What is told of an agent's turn, heard and unheard, is what it was to say.
    fn check_told(&self, text: &str, unheard: &str) {
        let letters =
            |text: &str| -> Vec<char> { text.chars().filter(|letter| !letter.is_whitespace()).collect() };
        let mut told = [letters(text), letters(unheard)].concat();
        // A turn for which the voice gave nothing is over without a record.
        let silent = |(utterance, _): &&(UtteranceId, String)| !self.utterances[utterance].begun;
        let before = self.said.iter().take_while(silent).count();
        let mut said = (0..=before).map(|from| letters(&self.said_from(from))).collect::<Vec<_>>();
        if self.voice_failed {
            // What the voice broke off stands with the unheard, though what followed was heard.
            told.sort_unstable();
            said.iter_mut().for_each(|said| said.sort_unstable());
        }
        assert!(said.contains(&told), "of {:?} this is told: {text:?} {unheard:?}", self.said);
    }

    fn said_from(&self, from: usize) -> String {
        self.said[from..].iter().map(|(_, text)| text.as_str()).collect()
    }

    fn turn_is_over(&mut self) {
        self.let_go();
        self.said.clear();
        self.voice_failed = false;
    }

    fn let_go(&mut self) {
        self.rises = false;
        self.dead_to = self.newest_utterance();
        self.stopped = false;
    }

    /// Each stage of an answer whose first audio leaves now begins where the one before it ends, at a moment that could
    /// be seen from outside.
    fn check_stages(&self, us: &[u64; 6]) {
        let back = |us: u64| self.now - Duration::from_micros(us);
        let [_, transcript, agent, voice, held, after] = *us;
        assert!(held == 0 || self.seen.over.contains(&back(after)), "nothing was held for: {us:?}");
        let playout = held + after;
        assert!(
            self.seen.voiced.contains(&back(playout)),
            "the voice ended at a moment without audio: {us:?}"
        );
        assert_eq!(self.seen.said, Some(back(playout + voice)), "the agent ended with its first sentence");
        assert_eq!(self.seen.asked, back(playout + voice + agent), "the transcript ended with the question");
        let over = back(playout + voice + agent + transcript);
        assert!(self.seen.over.contains(&over), "endpointing ended without a decision: {us:?}");
    }

    fn check_media(&mut self, utterance: UtteranceId, bytes: &[u8]) {
        let message_ms = self.settings.message_ms.clamp(20, 1_000);
        let samples_max = message_ms as usize * 8;
        assert!(!bytes.is_empty() && bytes.len() <= samples_max, "a message of {} bytes", bytes.len());
        assert!(!self.stopped, "audio was sent between clear and resume");
        assert!(utterance > self.dead_to, "audio of a turn that is over was sent");
        self.play_until = self.play_until.max(self.now) + Duration::from_micros(bytes.len() as u64 * 125);
        let ahead = self.play_until.since(self.now);
        assert!(ahead.as_millis() <= u128::from(self.settings.lead_ms + message_ms), "{ahead:?} ahead");
        let spoken = self.utterances.get_mut(&utterance).expect("an utterance that was asked for");
        let risen = if std::mem::take(&mut self.rises) { 64.min(bytes.len()) } else { 0 };
        let matches = |from: &usize| {
            let given = &spoken.given[*from..];
            let quieter = |(sent, given): (&u8, &u8)| {
                let [sent, given] = [sent, given].map(|code| g711::ulaw_to_linear(*code).unsigned_abs());
                sent <= given
            };
            given.len() >= bytes.len()
                && given[risen..].starts_with(&bytes[risen..])
                && bytes[..risen].iter().zip(given).all(quieter)
        };
        if spoken.may_go_back {
            spoken.sent = (0..=spoken.sent).rev().find(matches).expect("audio as it was given");
            spoken.may_go_back = false;
        }
        assert!(matches(&spoken.sent), "audio as it was given, in order");
        self.wire.push(Wire::Audio { utterance, from: spoken.sent, samples: bytes.len() });
        spoken.sent += bytes.len();
        spoken.begun = true;
        assert!(
            spoken.given_up_at.is_none_or(|at| spoken.sent <= at),
            "audio that came after it was given up"
        );
    }

    /// `0 ≤ heard ≤ sent ≤ received`, and heard never goes back but to the beginning of a word that was cut.
    fn check_ledger(&mut self) {
        for entry in self.call.playout.entries() {
            let heard = entry.heard();
            assert!(heard <= entry.sent && entry.sent <= entry.received, "{entry:?}");
            let spoken = self.utterances.get_mut(&entry.utterance).expect("an utterance that was asked for");
            assert!(entry.received <= spoken.given.len(), "more than the voice gave: {entry:?}");
            assert!(
                heard >= spoken.heard || self.cleared,
                "heard went back from {}: {entry:?}",
                spoken.heard
            );
            spoken.heard = heard;
        }
        self.cleared = false;
        if self.call.agent.is_none() {
            assert_eq!(self.call.playout.entries().count(), 0, "nobody speaks, nothing is queued");
            assert!(!self.call.playout.is_stopped());
        }
        assert!(self.call.faults.len() <= crate::call::Fault::ALL.len());
    }

    /// What the call counts as heard of each utterance that it has not let go of.
    pub(super) fn heard(&self) -> impl Iterator<Item = (UtteranceId, usize)> {
        self.call.playout.entries().map(|entry| (entry.utterance, entry.heard()))
    }

    /// The latest that came out, without audio, for a failure to show.
    pub(super) fn latest(&self) -> Vec<&(CallTime, Output, Vec<u8>)> {
        let audio = |output: &Output| matches!(output, Output::Media { .. } | Output::CallerAudio { .. });
        let mut latest: Vec<_> =
            self.log.iter().rev().filter(|(_, output, _)| !audio(output)).take(16).collect();
        latest.reverse();
        latest
    }

    /// Lets time pass, deadline by deadline.
    pub(super) fn pass(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while let Some((at, _)) = self.call.next_deadline().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.input(Input::Tick);
        }
        self.now = until;
    }

    pub(super) fn newest_utterance(&self) -> UtteranceId {
        self.utterances.last_key_value().map_or(UtteranceId(0), |(utterance, _)| *utterance)
    }

    /// The voice gives so many more samples of an utterance.
    pub(super) fn voice(&mut self, utterance: UtteranceId, samples: usize) {
        let mut given = Vec::new();
        let of_voice = !self.own.contains(&utterance);
        if let Some(spoken) = self.utterances.get_mut(&utterance).filter(|_| of_voice) {
            let from = spoken.given.len();
            // No two stretches are alike, so that order shows.
            given.extend((from..from + samples).map(|at| scrambled(at as u32 ^ utterance.0 << 20)));
            spoken.given.extend_from_slice(&given);
        }
        self.seen.voiced.push(self.now);
        self.input(Input::AgentAudio { utterance, audio: &Arc::from(given), words: &[] });
    }

    /// The agent speaks itself: so many more samples.
    pub(super) fn speaks(&mut self, turn: TurnId, text: &str, samples: usize, is_last: bool) {
        let mut given = Vec::new();
        if let Some(agent) = self.call.agent.as_ref().filter(|agent| agent.is_answering(turn)) {
            let utterance = agent.speaks.unwrap_or(UtteranceId(self.call.next_utterance));
            let spoken = self.utterances.entry(utterance).or_default();
            let from = spoken.given.len();
            given.extend((from..from + samples).map(|at| scrambled(at as u32 ^ utterance.0 << 20)));
            spoken.given.extend_from_slice(&given);
            match self.said.iter_mut().find(|(said, _)| *said == utterance) {
                Some((_, said)) => said.push_str(text),
                None => self.said.push((utterance, text.into())),
            }
            self.own.insert(utterance);
            self.seen.said.get_or_insert(self.now);
            if samples > 0 {
                self.seen.voiced.push(self.now);
            }
        }
        self.input(Input::AgentSpeaks { turn, text, audio: &Arc::from(given), is_last });
    }

    /// The voice says that it has given all of an utterance.
    pub(super) fn voice_end(&mut self, utterance: UtteranceId, failed: bool, words: &[WordStart]) {
        self.input(Input::AgentAudioEnd { utterance, failed, words });
    }
}

/// A byte for each number, without a pattern (the finaliser of MurmurHash3).
fn scrambled(number: u32) -> u8 {
    let mut x = number.wrapping_add(0x9E37_79B9);
    x = (x ^ x >> 16).wrapping_mul(0x85EB_CA6B);
    x = (x ^ x >> 13).wrapping_mul(0xC2B2_AE35);
    (x >> 24) as u8
}
