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
//! Each stage is a struct with its own state; [`Call`] orders them. Its steps stand by what sets them off: the caller's speech
//! (`floor`), keys (`keypad`), the agent (`agent`), time (`deadlines`), and here the leg.

mod agent;
mod barge_in;
mod deadlines;
mod decision;
mod dialogue;
mod echo;
mod endpointing;
mod event;
mod failure;
mod floor;
mod input;
mod keypad;
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
pub use failure::{Failure, Part};
pub use input::{Command, Fault, Input, Media, Then, TurnId, UtteranceId, WordStart};
pub use output::{MarkName, Output, Outputs, Prompt, Span, mark_name};
pub use settings::CallSettings;
pub use time::CallTime;
pub use timers::Deadline;

use std::collections::BTreeMap;
use std::sync::Arc;

use dialogue::AgentTurn;
use echo::{Echo, Heard};
use endpointing::Pauses;
use keys::Keys;
use playout::{MarkEcho, Playout};
use receive::{Frame, Receive};
use settings::ms;
use tally::Tally;
use timers::Timers;
use turn::CallerTurn;
pub(crate) use vad::{Edge, SpeechDetector};

use crate::prefetch::Prefetch;

/// One call: takes inputs, gives outputs.
///
/// The same inputs at the same times give the same outputs, byte for byte.
pub struct Call {
    /// Shared with calls that decide alike.
    settings: Arc<CallSettings>,
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
    /// The latest turn of the caller, if the agent was asked without its words: until they are there.
    unworded: Option<Box<CallerTurn>>,
    pauses: Pauses,
    /// Silence since the caller last spoke, in the caller's own audio, in ms; no end of it while that does not come.
    silence_ms: u32,
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
    pub fn new(settings: impl Into<Arc<CallSettings>>) -> Self {
        let settings = settings.into();
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
            unworded: None,
            pauses: Pauses::default(),
            silence_ms: 0,
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
            Input::Understood { utterance } => self.on_understood(now, utterance, out),
            Input::AgentSpeaks { turn, text, audio, is_last } => {
                self.on_agent_speaks(now, turn, text, audio, is_last);
            }
            Input::AgentSays { turn, text } => self.on_agent_says(now, turn, text, out),
            Input::AgentRecords { key, value } => {
                out.event(now, EventKind::Recorded { key: key.into(), value: value.into() });
            }
            Input::AgentDone { turn, then } => self.on_agent_done(now, turn, then, out),
            Input::AgentFailed { turn, why } => self.on_agent_failed(now, turn, why, out),
            Input::AgentAudio { utterance, audio, words } => {
                if self.playout.audio(utterance, audio, words) {
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
            Input::Switched { part, from, to, why } => {
                let (from, to) = (from.into(), to.map(Into::into));
                out.event(now, EventKind::Switched { part, from, to, why });
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
            self.silence_ms = if voiced { 0 } else { self.silence_ms.saturating_add(receive::FRAME_MS) };
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
            self.maybe_release(now, out);
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

    // The end, and what all steps share.

    /// Ends the call: closes what is open, tells it, and has the leg closed.
    fn end(&mut self, now: CallTime, reason: EndReason, out: &mut Outputs) {
        if self.phase == Phase::Over {
            return;
        }
        self.tell_unworded(now, out);
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

fn caller_turn(caller: CallerTurn, by: By) -> Turn {
    Turn {
        turn: caller.turn,
        speaker: Speaker::Caller,
        started: caller.started,
        ended: caller.last_voiced,
        text: caller.text,
        unheard: String::new(),
        estimated: false,
        by,
        response_ms: None,
    }
}
