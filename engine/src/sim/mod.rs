//! A call in virtual time: a carrier, a recogniser, an agent, a voice and a clock made of numbers.
//!
//! [`Sim`] jumps from deadline to deadline, so that ten minutes of call take milliseconds, and everything that happens
//! is a value: what the caller heard, what was decided and why, what the agent was asked. Tests, benches and
//! replay's own tests use it; nothing here is part of a real call.

mod carrier;
mod dice;
mod ear;
mod line;
mod speech;
mod voice;

use std::collections::VecDeque;
use std::time::Duration;

use crate::call::{
    Call, CallSettings, CallTime, Decision, EndReason, Event, EventKind, Fault, Input, Media, Output,
    Outputs, Prompt, Reason, Speaker, Then, Turn, TurnId, UtteranceId,
};
use carrier::Carrier;
pub use dice::Dice;
pub use ear::Ear;
pub use line::Line;
pub use speech::voiced;
use voice::SimVoice;

/// How long a frame lasts.
const FRAME: Duration = Duration::from_millis(20);

/// What the simulated agent says in one turn, and what follows.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its sentences.
    pub sentences: Vec<String>,
    /// What follows.
    pub then: Then,
}

impl Reply {
    /// Says `text`, one sentence, and listens (keys: up to 6).
    pub fn say(text: &str) -> Self {
        Self { sentences: vec![text.into()], then: Then::Listen { keys_max: 6 } }
    }

    /// Says `text` and hangs up.
    pub fn goodbye(text: &str) -> Self {
        Self { sentences: vec![text.into()], then: Then::HangUp }
    }
}

/// How the outside behaves. All delays are one way.
#[derive(Clone, Debug)]
pub struct World {
    /// From a request to the agent to its answer.
    pub agent_delay: Duration,
    /// From a request to the voice to its audio.
    pub voice_delay: Duration,
    /// From the end of an utterance to its final words.
    pub recogniser_delay: Duration,
    /// From the moment that a mark is reached to our hearing of it.
    pub mark_delay: Duration,
    /// Whether marks come back at all.
    pub marks_come_back: bool,
    /// Whether the recogniser gives words before the end, and how long after the utterance began.
    pub interim_after: Option<Duration>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            agent_delay: Duration::from_millis(1),
            voice_delay: Duration::from_millis(2),
            recogniser_delay: Duration::from_millis(50),
            mark_delay: Duration::from_millis(10),
            marks_come_back: true,
            interim_after: None,
        }
    }
}

#[derive(Debug)]
enum Coming {
    Mark(String),
    Transcript(UtteranceId, String, bool),
    AgentTurn(TurnId, Reply),
    Audio(UtteranceId, String),
}

/// A call in virtual time, with its surroundings.
pub struct Sim {
    /// How the outside behaves; may be changed while the call goes on.
    pub world: World,
    call: Call,
    now: CallTime,
    out: Outputs,
    carrier: Carrier,
    voice: SimVoice,
    replies: VecDeque<Reply>,
    prompts: Vec<Prompt>,
    agent_heard: Vec<String>,
    coming: Vec<(CallTime, u64, Coming)>,
    order: u64,
    /// Frames still to be sent by the caller: 160 bytes each.
    caller_audio: VecDeque<u8>,
    /// What the caller says, and when its audio goes out.
    said: Vec<(CallTime, String)>,
    caller_busy_until: CallTime,
    next_frame: CallTime,
    chunk: u32,
    sends_audio: bool,
    utterance_started: CallTime,
    events: Vec<Event>,
    outputs: Vec<(CallTime, Output)>,
    ended: Option<EndReason>,
}

impl Sim {
    /// A call with these settings that was answered; its stream has begun, and audio flows from the first frame on.
    /// The agent's replies come in this order; after the last, it says nothing.
    pub fn with(settings: CallSettings, replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut sim = Self {
            world: World::default(),
            call: Call::new(settings),
            now: CallTime::ZERO,
            out: Outputs::default(),
            carrier: Carrier::default(),
            voice: SimVoice,
            replies: replies.into_iter().collect(),
            prompts: Vec::new(),
            agent_heard: Vec::new(),
            coming: Vec::new(),
            order: 0,
            caller_audio: VecDeque::new(),
            said: Vec::new(),
            caller_busy_until: CallTime::ZERO,
            next_frame: CallTime::from_millis(20),
            chunk: 1,
            sends_audio: true,
            utterance_started: CallTime::ZERO,
            events: Vec::new(),
            outputs: Vec::new(),
            ended: None,
        };
        sim.input(Input::Start { stream: "MZsim", format_ok: true });
        sim
    }

    /// A call with the default settings, but for messages of a single frame: so one sees to the frame what left when.
    pub fn answered(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::with(CallSettings { message_ms: 20, ..CallSettings::default() }, replies)
    }

    /// The call's time.
    pub fn now(&self) -> CallTime {
        self.now
    }

    /// The caller says `text`, which takes `length`, once all that was to be said before is out.
    pub fn caller_says(&mut self, text: &str, length: Duration) {
        let starts = self.caller_busy_until.max(self.now);
        self.said.push((starts, text.into()));
        self.caller_sound(&voiced(length));
    }

    /// The caller coughs for `length`: a loud sound without words.
    pub fn caller_coughs(&mut self, length: Duration) {
        self.caller_sound(&voiced(length));
    }

    /// The caller keeps silent for `length` before what comes next.
    pub fn caller_pauses(&mut self, length: Duration) {
        self.caller_sound(&vec![0xFF; (length.as_micros() / 125) as usize]);
    }

    fn caller_sound(&mut self, ulaw: &[u8]) {
        self.caller_audio.extend(ulaw);
        let length = Duration::from_micros(ulaw.len() as u64 * 125);
        self.caller_busy_until = self.caller_busy_until.max(self.now) + length;
    }

    /// The caller presses a key, now.
    pub fn caller_keys(&mut self, digit: char) {
        self.input(Input::Dtmf { digit });
    }

    /// The carrier stops sending audio, or goes on.
    pub fn audio_flows(&mut self, flows: bool) {
        self.sends_audio = flows;
        self.next_frame = self.next_frame.max(self.now);
    }

    /// Skips the carrier's counts ahead, as if `frames` had been lost on the way.
    pub fn lose_frames(&mut self, frames: u32) {
        self.chunk += frames;
    }

    /// Any other input, now.
    pub fn input(&mut self, input: Input<'_>) {
        self.call.handle(self.now, input, &mut self.out);
        self.carry_out();
    }

    /// A fault of the leg, now.
    pub fn fault(&mut self, fault: Fault) {
        self.input(Input::Fault(fault));
    }

    /// Lets `length` pass.
    pub fn run_for(&mut self, length: Duration) {
        let until = self.now + length;
        while self.ended.is_none() && self.step(until) {}
        self.now = self.now.max(until);
        self.carrier.play_to(self.now);
    }

    /// Lets time pass until the call is over, or nobody has anything to say: the caller has said all, the agent was
    /// heard, and no answer is under way. At most ten minutes.
    pub fn run_until_idle(&mut self) {
        let until = self.now + Duration::from_secs(600);
        let mut quiet_since = self.now;
        while self.ended.is_none() && self.step(until) {
            let quiet = self.caller_audio.is_empty() && self.coming.is_empty() && !self.call.is_busy();
            if !quiet {
                quiet_since = self.now;
            } else if self.now.since(quiet_since) > FRAME {
                break;
            }
        }
    }

    /// Lets time pass until the call is over. At most `limit`.
    pub fn run_until_ended(&mut self, limit: Duration) -> Option<EndReason> {
        self.run_for(limit);
        self.ended
    }

    /// Does what comes next, if that is before `until`.
    fn step(&mut self, until: CallTime) -> bool {
        let coming = self.coming.iter().map(|c| (c.0, c.1)).min();
        let frame = self.sends_audio.then_some(self.next_frame);
        let deadline = self.call.next_deadline().map(|(at, _)| at.max(self.now));
        let mark = self.carrier.next_mark_at(self.now);
        let Some(next) = [coming.map(|c| c.0), frame, deadline, mark].into_iter().flatten().min() else {
            return false;
        };
        if next > until {
            return false;
        }
        self.now = self.now.max(next);
        for name in self.carrier.play_to(self.now) {
            if self.world.marks_come_back {
                self.schedule(self.world.mark_delay, Coming::Mark(name));
            }
        }
        if coming.is_some_and(|(at, _)| at <= self.now) {
            self.deliver();
        } else if frame.is_some_and(|at| at <= self.now) {
            self.send_frame();
        } else if deadline.is_some_and(|at| at <= self.now) {
            self.input(Input::Tick);
        }
        true
    }

    fn send_frame(&mut self) {
        let mut payload = [0xFF; 160];
        for byte in &mut payload {
            *byte = self.caller_audio.pop_front().unwrap_or(0xFF);
        }
        let media =
            Media { chunk: Some(self.chunk), timestamp_ms: Some((self.chunk - 1) * 20), payload: &payload };
        self.chunk += 1;
        self.next_frame += FRAME;
        self.input(Input::Media(media));
    }

    fn deliver(&mut self) {
        let Some(at) = (0..self.coming.len()).min_by_key(|&i| (self.coming[i].0, self.coming[i].1)) else {
            return;
        };
        match self.coming.swap_remove(at).2 {
            Coming::Mark(name) => self.input(Input::Mark { name: &name }),
            Coming::Transcript(utterance, text, is_final) => {
                self.input(Input::Transcript { utterance, text: &text, is_final });
            }
            Coming::AgentTurn(turn, reply) => {
                for sentence in &reply.sentences {
                    self.input(Input::AgentSays { turn, text: sentence });
                }
                self.input(Input::AgentDone { turn, then: reply.then });
            }
            Coming::Audio(utterance, text) => {
                let (audio, words) = self.voice.speak(&text);
                for piece in audio.chunks(1_600) {
                    self.input(Input::AgentAudio { utterance, audio: &piece.into(), words: &[] });
                }
                self.input(Input::AgentAudioEnd { utterance, failed: false, words: &words });
            }
        }
    }

    fn schedule(&mut self, delay: Duration, what: Coming) {
        self.order += 1;
        self.coming.push((self.now + delay, self.order, what));
    }

    fn carry_out(&mut self) {
        let mut list = self.out.take_list();
        for output in list.drain(..) {
            match &output {
                Output::Media { utterance, audio } => self.carrier.queue(*utterance, self.out.audio(*audio)),
                Output::Mark { mark } => self.carrier.mark(crate::call::mark_name(*mark).as_str()),
                Output::Clear => {
                    for name in self.carrier.clear(self.now) {
                        if self.world.marks_come_back {
                            self.schedule(self.world.mark_delay, Coming::Mark(name));
                        }
                    }
                }
                Output::UtteranceStarted { utterance } => {
                    self.utterance_started = self.now;
                    if let Some(after) = self.world.interim_after {
                        let text = self.words_since(self.now - Duration::from_millis(400));
                        self.schedule(after, Coming::Transcript(*utterance, text, false));
                    }
                }
                Output::UtteranceEnded { utterance, .. } => {
                    let text = self.words_since(self.utterance_started - Duration::from_millis(400));
                    self.schedule(self.world.recogniser_delay, Coming::Transcript(*utterance, text, true));
                }
                Output::AskAgent { turn, prompt } => {
                    self.prompts.push(prompt.clone());
                    let silent = Reply { sentences: Vec::new(), then: Then::Listen { keys_max: 6 } };
                    let reply = self.replies.pop_front().unwrap_or(silent);
                    self.schedule(self.world.agent_delay, Coming::AgentTurn(*turn, reply));
                }
                Output::Synthesize { utterance, text } => {
                    self.schedule(self.world.voice_delay, Coming::Audio(*utterance, text.clone()));
                }
                Output::AgentHeard { text, .. } => self.agent_heard.push(text.clone()),
                Output::Event(event) => self.events.push(event.clone()),
                Output::Close { reason } => {
                    self.ended = Some(*reason);
                    self.carrier.play_to(self.now);
                }
                Output::CallerAudio { .. } | Output::CancelAgent { .. } | Output::CancelSynthesis { .. } => {}
            }
            self.outputs.push((self.now, output));
        }
        self.out.give_back(list);
        drop(self.out.take_spent().collect::<Vec<_>>());
    }

    /// What the caller began to say from `since` on, which the recogniser takes in.
    fn words_since(&self, since: CallTime) -> String {
        let words: Vec<&str> = self
            .said
            .iter()
            .filter(|(at, _)| *at >= since && *at <= self.now)
            .map(|(_, text)| text.as_str())
            .collect();
        words.join(" ")
    }

    /// What the caller heard so far, in whole words.
    pub fn heard(&self) -> String {
        self.carrier.heard()
    }

    /// Every decision so far, and the rule that led to it.
    pub fn decisions(&self) -> Vec<(Decision, Reason)> {
        let decided = |event: &Event| match event.kind {
            EventKind::Decided(decided) => Some((decided.decision, decided.reason)),
            _ => None,
        };
        self.events.iter().filter_map(decided).collect()
    }

    /// The newest decision.
    pub fn last_decision(&self) -> Option<(Decision, Reason)> {
        self.decisions().pop()
    }

    /// What the agent was asked with, in order.
    pub fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    /// What the agent was told that the caller heard of its turns that were cut off.
    pub fn agent_heard(&self) -> &[String] {
        &self.agent_heard
    }

    /// The turns so far: who, and what was said and heard.
    pub fn turns(&self) -> Vec<(Speaker, String)> {
        self.turn_records().into_iter().map(|turn| (turn.speaker, turn.text)).collect()
    }

    /// The turns so far, whole.
    pub fn turn_records(&self) -> Vec<Turn> {
        let turn = |event: &Event| match &event.kind {
            EventKind::Turn(turn) => Some(turn.clone()),
            _ => None,
        };
        self.events.iter().filter_map(turn).collect()
    }

    /// The timeline so far.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// All outputs so far, with their times.
    pub fn outputs(&self) -> &[(CallTime, Output)] {
        &self.outputs
    }

    /// Why the call ended, if it has.
    pub fn ended(&self) -> Option<EndReason> {
        self.ended
    }
}
