//! The call: a pure state machine. Inputs and times go in, outputs come out; no clock, socket, thread, lock or log.
//!
//! ```text
//!  media ─► receive ─► vad ─► turn ─┬─► barge_in ─► playout: stop, clear, resume
//!                              │    └─► caller audio, for the recogniser
//!  transcript ─────────────────┴─► dialogue ─► ask the agent
//!  keys ───────────────────────────┘               │
//!  agent says ─► synthesize        agent audio ─► playout ─► media, marks
//! ```
//!
//! Each stage is a struct with its own state; [`Call`] orders them.

mod barge_in;
mod decision;
mod dialogue;
mod echo;
mod endpointing;
mod event;
mod input;
mod keys;
mod ledger;
mod output;
mod playout;
mod receive;
mod recent;
mod settings;
mod signs;
mod tally;
mod time;
mod timers;
mod turn;
mod vad;

#[cfg(test)]
mod tests;

pub use decision::{AgentDoes, Decided, Decision, Nearest, Reason, Relation, Rule, Seen};
pub use event::{By, EndReason, Event, EventKind, Response, Speaker, Spender, Stage, Turn};
pub use input::{Command, Fault, Input, Media, Then, TurnId, UtteranceId, WordStart};
pub use output::{MarkName, Output, Outputs, Prompt, Span, mark_name};
pub use settings::CallSettings;
pub use time::CallTime;
pub use timers::Deadline;

use std::collections::BTreeMap;
use std::time::Duration;

use dialogue::{AgentTurn, Cause};
use echo::{Echo, Heard};
use endpointing::{Pauses, Wait, is_unfinished};
use keys::{Keys, Pressed};
use playout::{MarkEcho, Playout};
use receive::{Frame, Receive};
use settings::ms;
use tally::Tally;
use timers::Timers;
use turn::{CallerTurn, Over};
pub(crate) use vad::{Edge, SpeechDetector};

use crate::prefetch::Prefetch;

/// One call: takes inputs, gives outputs.
///
/// The same inputs at the same times give the same outputs, byte for byte.
pub struct Call {
    settings: CallSettings,
    phase: Phase,
    receive: Receive,
    detector: SpeechDetector,
    playout: Playout,
    echo: Echo,
    /// Since when an interruption waits to be told from an echo.
    perhaps_echo_since: Option<CallTime>,
    keys: Keys,
    timers: Timers,
    /// The agent's turn, until it was heard or cut off.
    agent: Option<AgentTurn>,
    /// The caller's turn, until its words are there.
    caller: Option<CallerTurn>,
    pauses: Pauses,
    /// How many keys answer the question that was asked last.
    keys_max: u8,
    last_key: CallTime,
    silences: u32,
    say_next: Vec<String>,
    last_media: Option<CallTime>,
    stalled: bool,
    next_turn: u32,
    next_utterance: u32,
    goodbye_kept: bool,
    faults: BTreeMap<Fault, Tally>,
    unknown_marks: Tally,
    out_of_sequence: Tally,
    speech_drops: Tally,
    speech_dropped_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The stream has not begun.
    Waiting,
    /// The stream is open, no audio came yet.
    Open,
    /// Audio flows, or has flowed.
    Flowing,
    /// The call is over.
    Over,
}

impl Prefetch for Call {
    fn prefetch(&mut self) {
        self.receive.prefetch();
        self.detector.prefetch();
        self.echo.prefetch();
    }
}

impl Call {
    /// A call that was answered at [`CallTime::ZERO`].
    pub fn new(settings: CallSettings) -> Self {
        let mut timers = Timers::default();
        timers.set(Deadline::MediaTimeout, CallTime::ZERO + ms(settings.media_timeout_ms));
        Self {
            phase: Phase::Waiting,
            receive: Receive::new(settings.preroll_ms),
            detector: SpeechDetector::new(&settings),
            playout: Playout::new(),
            echo: Echo::new(settings.echo),
            perhaps_echo_since: None,
            keys: Keys::default(),
            timers,
            agent: None,
            caller: None,
            pauses: Pauses::default(),
            keys_max: 0,
            last_key: CallTime::ZERO,
            silences: 0,
            say_next: Vec::new(),
            last_media: None,
            stalled: false,
            next_turn: 1,
            next_utterance: 1,
            goodbye_kept: false,
            faults: BTreeMap::new(),
            unknown_marks: Tally::default(),
            out_of_sequence: Tally::default(),
            speech_drops: Tally::default(),
            speech_dropped_bytes: 0,
            settings,
        }
    }

    /// Takes one input at `now` and appends what follows from it to `out`.
    ///
    /// `now` counts from the answer and never goes back. Carry out all of `out`, in order, before the next input; then
    /// wait for an input or for [`Call::next_deadline`], whichever comes first.
    pub fn handle(&mut self, now: CallTime, input: Input<'_>, out: &mut Outputs) {
        if self.phase == Phase::Over {
            return;
        }
        match input {
            Input::Start { stream, format_ok } => self.on_start(now, stream, format_ok, out),
            Input::Media(media) => self.on_media(now, media, out),
            Input::Mark { name } => self.on_mark(now, name, out),
            Input::Dtmf { digit } => self.on_key(now, digit, out),
            Input::Fault(fault) => self.on_fault(now, fault, out),
            Input::OutOfSequence { expected, got } => {
                if let Some(count) = self.out_of_sequence.count() {
                    out.event(now, EventKind::OutOfSequence { expected, got, count });
                }
            }
            Input::Stop => self.end(now, EndReason::CallerHangup, out),
            Input::LegLost => self.end(now, EndReason::LegLost, out),
            Input::Transcript { utterance, text, is_final } => {
                self.on_transcript(now, utterance, text, is_final, out);
            }
            Input::AgentSays { turn, text } => self.on_agent_says(now, turn, text, out),
            Input::AgentRecords { key, value } => {
                out.event(now, EventKind::Recorded { key: key.into(), value: value.into() });
            }
            Input::AgentDone { turn, then } => self.on_agent_done(now, turn, then, out),
            Input::AgentFailed { turn } => self.on_agent_failed(now, turn, out),
            Input::AgentAudio { utterance, audio } => {
                if self.playout.audio(utterance, audio) {
                    if let Some(agent) = &mut self.agent {
                        agent.on_audio(now);
                    }
                    self.timers.set(Deadline::VoiceAudio, now + ms(self.settings.voice_wait_ms));
                }
            }
            Input::AgentAudioEnd { utterance, failed, words } => {
                if self.playout.audio_end(utterance, failed, words) && failed {
                    out.event(now, EventKind::VoiceFailed { utterance });
                }
            }
            Input::SpeechDropped { bytes } => {
                self.speech_dropped_bytes += u64::from(bytes);
                if self.speech_drops.count().is_some() {
                    let dropped_ms = (self.speech_dropped_bytes / 8) as u32;
                    out.event(now, EventKind::SpeechDropped { dropped_ms });
                }
            }
            Input::Command(Command::HangUp { reason }) => self.end(now, reason, out),
            Input::Command(Command::Say { text }) => self.say_next.push(text.into()),
            Input::Tick => self.on_tick(now, out),
        }
        self.play(now, out);
    }

    /// When [`Input::Tick`] is due, if nothing else comes first, and what for.
    pub fn next_deadline(&self) -> Option<(CallTime, Deadline)> {
        self.timers.next()
    }

    /// True while anybody has the floor, or an answer is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.agent.is_some() || self.caller.is_some() || !self.keys.is_empty()
    }

    // The leg.

    fn on_start(&mut self, now: CallTime, stream: &str, format_ok: bool, out: &mut Outputs) {
        if self.phase != Phase::Waiting {
            return self.on_fault(now, Fault::SecondStart, out);
        }
        self.phase = Phase::Open;
        self.timers.set(Deadline::MediaTimeout, now + ms(self.settings.media_timeout_ms));
        out.event(now, EventKind::Started { stream: stream.into() });
        if !format_ok {
            self.on_fault(now, Fault::ForeignFormat, out);
            self.end(now, EndReason::UnsupportedMedia, out);
        }
    }

    fn on_media(&mut self, now: CallTime, media: Media<'_>, out: &mut Outputs) {
        if self.phase == Phase::Waiting {
            return self.on_fault(now, Fault::MediaBeforeStart, out);
        }
        self.note_media(now, out);
        let mut piece = self.receive.accept(now, &media, &self.settings, &mut |kind| out.event(now, kind));
        let mut frame = Frame::EMPTY;
        while self.receive.next_frame(&mut piece, &mut frame) {
            let sounds_voiced = self.detector.is_voiced(&frame.pcm);
            let undecided = self.perhaps_echo_since.is_some();
            let heard = self.echo.frame(now, &frame.pcm, sounds_voiced || undecided);
            if heard == Heard::EchoSinceBefore {
                self.on_echo(now, out);
            }
            let voiced = sounds_voiced && heard == Heard::Caller;
            let edge = self.detector.take(voiced);
            let begun = edge == Edge::Started && self.on_speech(now, out);
            match edge {
                Edge::Ended => {
                    if let Some(caller) = self.caller.as_ref().filter(|caller| caller.awaits_final.is_none())
                    {
                        let (utterance, speech_ms) = (caller.utterance, caller.speech_ms);
                        out.event(now, EventKind::SpeechEnded { utterance, speech_ms });
                    }
                }
                Edge::Started | Edge::None => {}
            }
            self.on_frame(now, &frame.ulaw, voiced, begun, out);
        }
    }

    fn note_media(&mut self, now: CallTime, out: &mut Outputs) {
        if self.stalled {
            self.stalled = false;
            let silent_ms = self.last_media.map_or(0, |last| now.since(last).as_millis() as u32);
            out.event(now, EventKind::MediaResumed { silent_ms });
        }
        self.last_media = Some(now);
        self.timers.set(Deadline::Stall, now + ms(self.settings.stall_ms));
        self.timers.set(Deadline::MediaTimeout, now + ms(self.settings.media_timeout_ms));
        if self.phase == Phase::Open {
            self.phase = Phase::Flowing;
            out.event(now, EventKind::MediaFlows);
            self.ask(now, Prompt::CallStarted, None, out);
        }
    }

    fn on_mark(&mut self, now: CallTime, name: &str, out: &mut Outputs) {
        let echo = output::mark_number(name).map(|mark| self.playout.mark_back(mark, out));
        match echo {
            Some(MarkEcho::Played) => self.agent_maybe_heard(now, Rule::fact(Reason::LastMark), out),
            Some(MarkEcho::Cut) => {}
            Some(MarkEcho::Unknown) | None => {
                if let Some(count) = self.unknown_marks.count() {
                    out.event(now, EventKind::UnknownMark { count });
                }
            }
        }
    }

    fn on_fault(&mut self, now: CallTime, fault: Fault, out: &mut Outputs) {
        if let Some(count) = self.faults.entry(fault).or_default().count() {
            out.event(now, EventKind::Fault { fault, count });
        }
    }

    // The caller's speech.

    /// The caller begins to speak, or goes on. True if that begins an utterance.
    fn on_speech(&mut self, now: CallTime, out: &mut Outputs) -> bool {
        // What was played by the clock was heard, even if its mark is still under way: this is no interruption of it.
        // Only goodbye waits for its mark, since after it the call ends.
        if self.agent.as_ref().is_some_and(|agent| matches!(agent.then, Some(Then::Listen { .. })))
            && self.playout.all_sent()
            && !self.playout.is_audible(now)
        {
            self.playout.believe_clock(now, out);
            self.agent_maybe_heard(now, Rule::fact(Reason::LastMark), out);
        }
        if self.caller.as_ref().is_some_and(|caller| caller.awaits_final.is_none()) {
            return false;
        }
        let utterance = self.new_utterance();
        // The frame at hand is counted by `on_frame`.
        let voiced_ms = self.detector.voiced_ms(self.settings.onset_window_ms);
        let speech_ms = voiced_ms.saturating_sub(receive::FRAME_MS);
        match &mut self.caller {
            Some(caller) => {
                self.pauses.note(now.since(caller.last_voiced).as_millis() as u32);
                caller.reopen(utterance, now, speech_ms);
            }
            None => {
                self.pauses.begin(now, &self.settings);
                let turn = self.new_turn();
                self.caller = Some(CallerTurn::new(turn, utterance, now, speech_ms));
            }
        }
        self.timers.stop(Deadline::FinalWords);
        out.event(now, EventKind::SpeechStarted { utterance });
        out.push(Output::UtteranceStarted { utterance });
        let (older, newer) = self.receive.recent_ms(self.settings.preroll_ms);
        let mut audio = out.push_bytes(older);
        out.extend_span(&mut audio, newer);
        out.push(Output::CallerAudio { audio });
        true
    }

    /// One frame of the caller while a turn of theirs is open. `begun`: the recogniser has it already.
    fn on_frame(&mut self, now: CallTime, ulaw: &[u8], voiced: bool, begun: bool, out: &mut Outputs) {
        let Some(caller) = self.caller.as_mut().filter(|caller| caller.awaits_final.is_none()) else {
            return;
        };
        if !begun {
            let audio = out.push_bytes(ulaw);
            out.push(Output::CallerAudio { audio });
        }
        self.pauses.frame(voiced);
        let typing = !self.keys.is_empty();
        let wait = wait(caller, &self.pauses, typing, self.playout.is_stopped(), &self.settings);
        let over = caller.frame(now, voiced, wait, &self.settings);
        let perhaps_echo = self.perhaps_echo_since.is_some();
        if self.agent.is_some() && (voiced || perhaps_echo) {
            // An echo hides some of what the caller says over it: as much speech may take twice the time.
            let times = if self.echo.is_present() { 2 } else { 1 };
            let sustained_ms = self.detector.voiced_ms(times * self.settings.barge_in_ms);
            caller.sustained_ms = caller.sustained_ms.max(sustained_ms);
            let so_far_ms = if perhaps_echo { caller.sustained_ms } else { sustained_ms };
            let sustained = sustained(so_far_ms, &self.settings);
            if sustained.holds() {
                self.barge_in(now, sustained, out);
            }
        }
        if let Some(over) = over {
            self.close_utterance(now, over, out);
        }
    }

    /// Sustained speech while the agent has the floor.
    fn barge_in(&mut self, now: CallTime, sustained: Rule, out: &mut Outputs) {
        let Some(agent) = &self.agent else { return };
        if self.playout.is_stopped() {
            return;
        }
        let seen = self.seen(self.caller.as_ref());
        if !agent.may_be_interrupted() {
            if !self.goodbye_kept {
                self.goodbye_kept = true;
                let rule = Rule::fact(Reason::Goodbye);
                out.decided(now, Decided::new(Decision::KeepFloor, rule, &[sustained], seen));
            }
            return;
        }
        if self.echo.may_yet_be() {
            let waits_ms = self.settings.echo_wait_ms;
            let since = *self.perhaps_echo_since.get_or_insert(now);
            let waited_ms = now.since(since).as_millis() as u32;
            if waited_ms < waits_ms {
                if since == now {
                    let rule = Rule::new(Reason::PerhapsEcho, waited_ms, waits_ms);
                    out.decided(now, Decided::new(Decision::KeepFloor, rule, &[sustained], seen));
                }
                return;
            }
        }
        self.perhaps_echo_since = None;
        let typing = !self.keys.is_empty();
        let ends = self.caller.as_ref().map(|caller| {
            caller.ends(wait(caller, &self.pauses, typing, false, &self.settings), &self.settings)
        });
        let others = ends.as_ref().map_or(&[][..], |ends| ends);
        out.decided(now, Decided::new(Decision::BargeIn, sustained, others, seen));
        if let (None, Prompt::Said(said)) = (agent.spoke_at, &agent.prompt) {
            // Nothing of the answer was heard: the caller was not finished. What comes belongs to what was said.
            let (turn, said) = (agent.turn, said.clone());
            out.push(Output::CancelAgent { turn });
            self.playout.take_turn(now, out);
            self.drop_agent();
            if let Some(caller) = &mut self.caller {
                caller.carried = said;
            }
        } else {
            self.stop_playout(now, out);
        }
    }

    /// What sounded like the caller was our own voice: it takes no floor, and gives back what it took.
    fn on_echo(&mut self, now: CallTime, out: &mut Outputs) {
        self.detector.forget();
        self.perhaps_echo_since = None;
        let Some(caller) = self.caller.take_if(|caller| caller.text.is_empty() && caller.carried.is_empty())
        else {
            return;
        };
        self.timers.stop(Deadline::FinalWords);
        let speech_ms = caller.utterance_speech_ms();
        if caller.awaits_final.is_none() {
            out.push(Output::UtteranceEnded { utterance: caller.utterance, speech_ms });
        }
        let seen = self.seen(Some(&caller));
        let stopped = self.playout.is_stopped();
        let decision = if stopped { Decision::Resume } else { Decision::KeepFloor };
        let sustained = sustained(caller.sustained_ms, &self.settings);
        out.decided(now, Decided::new(decision, Rule::fact(Reason::Echo), &[sustained], seen));
        if stopped {
            self.playout.resume(now);
        }
    }

    fn stop_playout(&mut self, now: CallTime, out: &mut Outputs) {
        self.playout.stop(now, out);
        self.echo.on_clear(now);
    }

    /// The caller's turn seems over: asks the recogniser for its final words.
    fn close_utterance(&mut self, now: CallTime, over: Over, out: &mut Outputs) {
        let Some(caller) = &mut self.caller else { return };
        let (utterance, speech_ms) = (caller.utterance, caller.utterance_speech_ms());
        self.perhaps_echo_since = None;
        out.push(Output::UtteranceEnded { utterance, speech_ms });
        if let Some(agent) = self.agent.as_ref().filter(|_| !self.playout.is_stopped()) {
            // It never lasted long enough to take the floor, or the floor is not to be had.
            let rule = if agent.may_be_interrupted() {
                Rule { reason: Reason::ShortSound, ..over.rule }
            } else {
                Rule::fact(Reason::Goodbye)
            };
            let sustained = sustained(caller.sustained_ms, &self.settings);
            let seen = self.seen(self.caller.as_ref());
            out.decided(now, Decided::new(Decision::KeepFloor, rule, &[sustained], seen));
            self.caller = None;
            return;
        }
        caller.awaits_final = Some(now);
        self.timers.set(Deadline::FinalWords, now + ms(self.settings.final_wait_ms));
        let seen = self.seen(self.caller.as_ref());
        out.decided(now, Decided::new(Decision::TurnOver, over.rule, &[over.other], seen));
    }

    fn on_transcript(
        &mut self,
        now: CallTime,
        utterance: UtteranceId,
        text: &str,
        is_final: bool,
        out: &mut Outputs,
    ) {
        // What comes late for a turn that is over must not become words of the next.
        let Some(caller) = self.caller.as_mut().filter(|caller| caller.holds(utterance)) else { return };
        if is_final {
            let wait_ms = caller.awaits_final.map_or(0, |since| now.since(since).as_millis() as u32);
            out.event(now, EventKind::Final { utterance, text: text.into(), wait_ms });
            caller.understood(text);
            if utterance == caller.utterance && caller.awaits_final.is_some() {
                self.conclude(now, out);
            }
        } else if utterance == caller.utterance {
            out.event(now, EventKind::Interim { utterance, text: text.into() });
            caller.unfinished = is_unfinished(text, &self.settings);
            // "Mm-hm" may yet become "mm-hm, but".
            let takes_floor = !text.trim().is_empty() && !barge_in::is_back_channel(text, &self.settings);
            if takes_floor && self.playout.is_stopped() {
                let verdict = barge_in::judge(true, caller.speech_ms, &self.settings);
                let seen = self.seen(self.caller.as_ref());
                self.yield_floor(now, verdict, seen, out);
            }
        }
    }

    /// The caller's turn is over and its words are there, or will not come.
    fn conclude(&mut self, now: CallTime, out: &mut Outputs) {
        self.timers.stop(Deadline::FinalWords);
        let Some(caller) = self.caller.take() else { return };
        let has_words = caller.has_words();
        if has_words {
            self.pauses.end(caller.last_voiced);
        }
        if self.playout.is_stopped() {
            let verdict = barge_in::judge(has_words, caller.speech_ms, &self.settings);
            let seen = self.seen(Some(&caller));
            if verdict.decision == Decision::Resume {
                out.decided(now, Decided::new(verdict.decision, verdict.rule, &[verdict.other], seen));
                self.playout.resume(now);
                return;
            }
            let unheard_ms = self.playout.unheard_ms();
            let back_channel =
                Rule::new(Reason::BackChannel, unheard_ms, self.settings.back_channel_unheard_ms);
            if caller.carried.is_empty()
                && back_channel.holds()
                && barge_in::is_back_channel(&caller.text, &self.settings)
            {
                out.decided(now, Decided::new(Decision::Resume, back_channel, &[verdict.rule], seen));
                self.playout.resume(now);
                return;
            }
            self.yield_floor(now, verdict, seen, out);
        }
        if has_words {
            self.silences = 0;
            let (text, cause) = (caller.whole_text(), caller.cause(now));
            out.event(now, EventKind::Turn(caller_turn(caller, By::Voice)));
            self.ask(now, Prompt::Said(text), Some(cause), out);
        } else if caller.speech_ms >= self.settings.min_speech_ms {
            self.silences = 0;
            let cause = caller.cause(now);
            out.event(now, EventKind::Turn(caller_turn(caller, By::Voice)));
            self.ask(now, Prompt::NotUnderstood, Some(cause), out);
        } else {
            let rule = |reason| Rule::new(reason, caller.speech_ms, self.settings.min_speech_ms);
            let (short, enough) = (rule(Reason::TooShort), rule(Reason::EnoughSpeech));
            out.decided(now, Decided::new(Decision::Ignore, short, &[enough], self.seen(Some(&caller))));
            if self.agent.is_none() && !self.timers.is_set(Deadline::NoInput) {
                // The agent was cut off by words that the recogniser never confirmed: somebody has to speak next.
                self.timers.set(Deadline::NoInput, now + ms(self.settings.no_input_ms));
            }
        }
    }

    /// The interruption stands: the rest of the agent's turn is dropped, and its history cut to what was heard.
    fn yield_floor(&mut self, now: CallTime, verdict: barge_in::Verdict, seen: Seen, out: &mut Outputs) {
        out.decided(now, Decided::new(verdict.decision, verdict.rule, &[verdict.other], seen));
        self.cut_agent(now, out);
    }

    // Keys.

    fn on_key(&mut self, now: CallTime, digit: char, out: &mut Outputs) {
        if !matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D') {
            return self.on_fault(now, Fault::NotAKey, out);
        }
        out.event(now, EventKind::Key { digit });
        if self.keys_max == 0 || self.agent.as_ref().is_some_and(|agent| !agent.may_be_interrupted()) {
            return;
        }
        self.last_key = now;
        self.timers.stop(Deadline::NoInput);
        if let Some(caller) = self.caller.take()
            && caller.awaits_final.is_none()
        {
            let (utterance, speech_ms) = (caller.utterance, caller.utterance_speech_ms());
            out.push(Output::UtteranceEnded { utterance, speech_ms });
        }
        self.timers.stop(Deadline::FinalWords);
        if self.agent.is_some() {
            let decision = if self.playout.is_stopped() { Decision::Yield } else { Decision::BargeIn };
            let rule = Rule::fact(Reason::KeyPressed);
            out.decided(now, Decided::new(decision, rule, &[], self.seen(None)));
            self.cut_agent(now, out);
        }
        match self.keys.press(digit, self.keys_max) {
            Pressed::Complete(digits) => {
                let pause = Rule::new(Reason::KeysPause, 0, self.settings.keys_pause_ms);
                self.on_keys(now, digits, Rule::fact(Reason::KeysComplete), &[pause], out);
            }
            Pressed::Collecting => {
                self.timers.set(Deadline::KeysPause, now + ms(self.settings.keys_pause_ms));
            }
        }
    }

    fn on_keys(&mut self, now: CallTime, digits: String, rule: Rule, others: &[Rule], out: &mut Outputs) {
        self.timers.stop(Deadline::KeysPause);
        self.silences = 0;
        let seen = self.seen(self.caller.as_ref());
        out.decided(now, Decided::new(Decision::TurnOver, rule, others, seen));
        let mut turn = CallerTurn::new(self.new_turn(), UtteranceId(0), self.last_key, 0);
        turn.text.clone_from(&digits);
        out.event(now, EventKind::Turn(caller_turn(turn, By::Keypad)));
        let cause = Cause { last: self.last_key, over_at: now };
        self.ask(now, Prompt::Keyed(digits), Some(cause), out);
    }

    // The agent's turn.

    fn ask(&mut self, now: CallTime, prompt: Prompt, cause: Option<Cause>, out: &mut Outputs) {
        self.cut_agent(now, out);
        // Keys that were typed before answer nothing that is asked from here on.
        self.keys.take();
        self.timers.stop(Deadline::KeysPause);
        let turn = self.new_turn();
        self.timers.stop(Deadline::NoInput);
        self.timers.set(Deadline::AgentAnswer, now + ms(self.settings.agent_wait_ms));
        out.event(now, EventKind::AgentAsked { turn, prompt: prompt.clone() });
        out.push(Output::AskAgent { turn, prompt: prompt.clone() });
        self.agent = Some(AgentTurn::new(turn, prompt, cause, now));
    }

    fn on_agent_says(&mut self, now: CallTime, turn: TurnId, text: &str, out: &mut Outputs) {
        let Some(agent) = self.agent.as_mut().filter(|agent| agent.is_answering(turn)) else { return };
        agent.on_sentence(now);
        self.timers.set(Deadline::AgentAnswer, now + ms(self.settings.agent_wait_ms));
        self.say(now, text.into(), out);
    }

    fn say(&mut self, now: CallTime, text: String, out: &mut Outputs) {
        let utterance = self.new_utterance();
        self.playout.add(utterance, text.clone());
        self.timers.set(Deadline::VoiceAudio, now + ms(self.settings.voice_wait_ms));
        out.push(Output::Synthesize { utterance, text });
    }

    fn on_agent_done(&mut self, now: CallTime, turn: TurnId, then: Then, out: &mut Outputs) {
        let Some(agent) = self.agent.as_mut().filter(|agent| agent.is_answering(turn)) else { return };
        agent.then = Some(then);
        self.timers.stop(Deadline::AgentAnswer);
        if let Then::Listen { keys_max } = then {
            self.keys_max = keys_max;
        }
        self.agent_maybe_heard(now, Rule::fact(Reason::LastMark), out);
    }

    fn on_agent_failed(&mut self, now: CallTime, turn: TurnId, out: &mut Outputs) {
        if self.agent.as_ref().is_some_and(|agent| agent.turn == turn) {
            out.event(now, EventKind::AgentFailed { turn });
            self.end(now, EndReason::AgentFailed, out);
        }
    }

    /// If the agent has said all and all was heard, its turn is over.
    fn agent_maybe_heard(&mut self, now: CallTime, rule: Rule, out: &mut Outputs) {
        let Some(then) = self.agent.as_ref().and_then(|agent| agent.then) else { return };
        if self.playout.is_stopped() || !self.playout.all_heard() {
            return;
        }
        let seen = self.seen(self.caller.as_ref());
        self.tell_agent_turn(now, out);
        match then {
            Then::HangUp => {
                out.decided(now, Decided::new(Decision::HangUp, rule, &[], seen));
                self.end(now, EndReason::AgentHangup, out);
            }
            Then::Listen { .. } => {
                self.timers.set(Deadline::NoInput, now + ms(self.settings.no_input_ms));
            }
        }
    }

    /// Ends the agent's turn here, if it has one: what was not heard was not said.
    fn cut_agent(&mut self, now: CallTime, out: &mut Outputs) {
        if self.agent.as_ref().is_some_and(|agent| agent.spoke_at.is_some()) && !self.playout.is_stopped() {
            self.stop_playout(now, out);
        }
        self.tell_agent_turn(now, out);
    }

    /// Closes the agent's turn and tells it; the agent too, if not all was heard.
    fn tell_agent_turn(&mut self, now: CallTime, out: &mut Outputs) {
        let Some(agent) = self.agent.take() else { return };
        self.drop_agent();
        let (text, unheard) = self.playout.take_turn(now, out);
        if !unheard.is_empty() || agent.then.is_none() {
            out.push(Output::AgentHeard { turn: agent.turn, text: text.clone() });
        }
        if let Some(spoke_at) = agent.spoke_at {
            let turn = Turn {
                turn: agent.turn,
                speaker: Speaker::Agent,
                started: spoke_at,
                ended: self.playout.fell_silent(now),
                text,
                unheard,
                by: By::Voice,
                response_ms: agent.response_ms(),
            };
            out.event(now, EventKind::Turn(turn));
        }
    }

    fn drop_agent(&mut self) {
        self.agent = None;
        self.timers.stop(Deadline::AgentAnswer);
        self.timers.stop(Deadline::VoiceAudio);
        self.timers.stop(Deadline::Mark);
        self.timers.stop(Deadline::Playout);
    }

    /// Sends what is due, and sets the deadlines that follow from it.
    fn play(&mut self, now: CallTime, out: &mut Outputs) {
        if self.phase == Phase::Over {
            return;
        }
        if self.agent.is_none() {
            self.say_what_was_ordered(now, out);
        }
        let Some(agent) = &mut self.agent else { return };
        if self.playout.pump(now, &self.settings, &mut self.echo, out) && agent.spoke_at.is_none() {
            agent.spoke_at = Some(now);
            let (turn, response_ms) = (agent.turn, agent.response_ms());
            out.event(now, EventKind::AgentSpeaks { turn, response_ms });
            if let Some(response) = agent.response() {
                out.event(now, EventKind::Responded(response));
            }
        }
        if !self.playout.awaits_audio() {
            self.timers.stop(Deadline::VoiceAudio);
            self.agent_maybe_heard(now, Rule::fact(Reason::LastMark), out);
        }
        if self.agent.is_some() {
            self.timers.set_to(Deadline::Playout, self.playout.due_at(&self.settings));
            self.timers.set_to(Deadline::Mark, self.playout.mark_due(&self.settings).map(|(_, at)| at));
        }
    }

    /// What somebody outside wants said becomes a turn of the agent's own as soon as the floor is free.
    fn say_what_was_ordered(&mut self, now: CallTime, out: &mut Outputs) {
        if self.say_next.is_empty() || self.is_busy() || self.phase != Phase::Flowing {
            return;
        }
        let mut agent = AgentTurn::new(self.new_turn(), Prompt::CallStarted, None, now);
        agent.then = Some(Then::Listen { keys_max: self.keys_max });
        self.agent = Some(agent);
        self.timers.stop(Deadline::NoInput);
        for text in std::mem::take(&mut self.say_next) {
            self.say(now, text, out);
        }
    }

    // Time.

    fn on_tick(&mut self, now: CallTime, out: &mut Outputs) {
        while let Some(deadline) = self.timers.take_due(now) {
            self.on_deadline(now, deadline, out);
            if self.phase == Phase::Over {
                return;
            }
        }
    }

    fn on_deadline(&mut self, now: CallTime, deadline: Deadline, out: &mut Outputs) {
        match deadline {
            Deadline::Playout => {}
            Deadline::FinalWords => {
                let rule = Rule::waited(Reason::RecogniserSilent, self.settings.final_wait_ms);
                self.decide(now, Decision::TurnOver, rule, out);
                self.conclude(now, out);
            }
            Deadline::AgentAnswer => {
                if let Some(turn) = self.agent.as_ref().map(|agent| agent.turn) {
                    let rule = Rule::waited(Reason::AgentSilent, self.settings.agent_wait_ms);
                    self.decide(now, Decision::GiveUp, rule, out);
                    self.on_agent_failed(now, turn, out);
                }
            }
            Deadline::VoiceAudio => {
                let rule = Rule::waited(Reason::VoiceSilent, self.settings.voice_wait_ms);
                self.decide(now, Decision::GiveUp, rule, out);
                for utterance in self.playout.give_up_audio() {
                    out.event(now, EventKind::VoiceFailed { utterance });
                    out.push(Output::CancelSynthesis { utterance });
                }
            }
            Deadline::Mark => {
                let rule = Rule::waited(Reason::MarkTimeout, self.settings.mark_grace_ms);
                if let Some((mark, _)) = self.playout.mark_due(&self.settings) {
                    self.decide(now, Decision::GiveUp, rule, out);
                    out.event(now, EventKind::MarkMissing { mark });
                }
                self.playout.believe_clock(now, out);
                self.agent_maybe_heard(now, rule, out);
            }
            Deadline::NoInput => self.on_silence(now, out),
            Deadline::KeysPause => {
                let digits = self.keys.take();
                let rule = Rule::waited(Reason::KeysPause, self.settings.keys_pause_ms);
                self.on_keys(now, digits, rule, &[], out);
            }
            Deadline::Stall => self.on_stall(now, out),
            Deadline::MediaTimeout => {
                let rule = Rule::waited(Reason::MediaStalled, self.settings.media_timeout_ms);
                self.decide(now, Decision::GiveUp, rule, out);
                self.end(now, EndReason::MediaTimeout, out);
            }
        }
    }

    fn on_silence(&mut self, now: CallTime, out: &mut Outputs) {
        if self.caller.is_some() || !self.keys.is_empty() {
            self.timers.set(Deadline::NoInput, now + Duration::from_secs(1));
            return;
        }
        if self.agent.is_some() {
            return;
        }
        self.silences += 1;
        self.decide(now, Decision::NoInput, Rule::waited(Reason::Silence, self.settings.no_input_ms), out);
        self.ask(now, Prompt::Silence(self.silences), None, out);
    }

    fn on_stall(&mut self, now: CallTime, out: &mut Outputs) {
        self.stalled = true;
        self.detector.forget();
        let silent_ms = self.last_media.map_or(0, |last| now.since(last).as_millis() as u32);
        out.event(now, EventKind::MediaStalled { silent_ms });
        if let Some(caller) = self.caller.as_ref().filter(|caller| caller.awaits_final.is_none()) {
            let typing = !self.keys.is_empty();
            let wait = wait(caller, &self.pauses, typing, self.playout.is_stopped(), &self.settings);
            let [silence, _] = caller.ends(wait, &self.settings);
            let rule = Rule::new(Reason::MediaStalled, silent_ms, self.settings.stall_ms);
            self.close_utterance(now, Over { rule, other: silence }, out);
        }
    }

    /// Ends the call: closes what is open, tells it, and has the leg closed.
    fn end(&mut self, now: CallTime, reason: EndReason, out: &mut Outputs) {
        if self.phase == Phase::Over {
            return;
        }
        if let Some(caller) = self.caller.take().filter(|caller| !caller.text.is_empty()) {
            out.event(now, EventKind::Turn(caller_turn(caller, By::Voice)));
        }
        self.tell_agent_turn(now, out);
        for (&fault, tally) in &mut self.faults {
            if let Some(count) = tally.untold() {
                out.event(now, EventKind::Fault { fault, count });
            }
        }
        self.playout.tell_underruns(now, out);
        self.timers.stop_all();
        self.phase = Phase::Over;
        out.event(now, EventKind::Ended { reason });
        out.push(Output::Close { reason });
    }

    /// A decision that no other rule was in play for.
    fn decide(&self, now: CallTime, decision: Decision, rule: Rule, out: &mut Outputs) {
        out.decided(now, Decided::new(decision, rule, &[], self.seen(self.caller.as_ref())));
    }

    /// What a decision sees of the call. `caller`: the caller's turn that it is about.
    fn seen(&self, caller: Option<&CallerTurn>) -> Seen {
        let agent = match &self.agent {
            None => AgentDoes::Listens,
            Some(_) if self.playout.is_stopped() => AgentDoes::Paused,
            Some(agent) if agent.spoke_at.is_none() => AgentDoes::Thinks,
            Some(_) => AgentDoes::Speaks,
        };
        Seen {
            speech_ms: caller.map_or(0, |caller| caller.speech_ms),
            silence_ms: caller.map_or(0, CallerTurn::silence_ms),
            words: caller.is_some_and(CallerTurn::has_words),
            agent,
        }
    }

    fn new_turn(&mut self) -> TurnId {
        let turn = TurnId(self.next_turn);
        self.next_turn += 1;
        turn
    }

    fn new_utterance(&mut self) -> UtteranceId {
        let utterance = UtteranceId(self.next_utterance);
        self.next_utterance += 1;
        utterance
    }
}

/// How much silence ends the caller's turn as it stands. `stopped`: the agent was stopped, and may go on.
fn wait(caller: &CallerTurn, pauses: &Pauses, typing: bool, stopped: bool, settings: &CallSettings) -> Wait {
    if stopped && caller.text.is_empty() {
        return Wait { reason: Reason::Silence, ms: settings.resume_after_ms };
    }
    pauses.wait(caller.unfinished, typing, settings)
}

/// Speech of `ms` within the barge-in window, as the rule that takes the floor sees it.
fn sustained(ms: u32, settings: &CallSettings) -> Rule {
    Rule::new(Reason::SustainedSpeech, ms, SpeechDetector::sustained_needs_ms(settings.barge_in_ms))
}

fn caller_turn(caller: CallerTurn, by: By) -> Turn {
    Turn {
        turn: caller.turn,
        speaker: Speaker::Caller,
        started: caller.started,
        ended: caller.last_voiced,
        text: caller.text,
        unheard: String::new(),
        by,
        response_ms: None,
    }
}
