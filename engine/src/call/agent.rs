//! The agent's turn in the call: asked for, said, sent, heard, or cut off.

use std::sync::Arc;

use super::decision::{Decided, Decision, Reason, Rule};
use super::dialogue::{AgentTurn, Cause};
use super::event::{By, EndReason, EventKind, Speaker, Turn};
use super::failure::Failure;
use super::input::{Then, TurnId};
use super::output::{Output, Outputs, Prompt};
use super::playout::Said;
use super::settings::ms;
use super::time::CallTime;
use super::timers::Deadline;
use super::{Call, Phase};

impl Call {
    pub(super) fn ask(&mut self, now: CallTime, prompt: Prompt, cause: Option<Cause>, out: &mut Outputs) {
        // One that failed is not asked again: keys in its apology end what was ending.
        if self.agent.as_ref().is_some_and(AgentTurn::has_failed) {
            return self.end(now, EndReason::AgentFailed, out);
        }
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

    pub(super) fn on_agent_says(&mut self, now: CallTime, turn: TurnId, text: &str, out: &mut Outputs) {
        let Some(agent) = self.agent.as_mut().filter(|agent| agent.is_answering(turn)) else { return };
        agent.on_sentence(now);
        self.timers.set(Deadline::AgentAnswer, now + ms(self.settings.agent_wait_ms));
        self.end_own_speech(false);
        self.say(now, text.into(), out);
    }

    /// The agent speaks itself.
    pub(super) fn on_agent_speaks(
        &mut self,
        now: CallTime,
        turn: TurnId,
        text: &str,
        audio: &Arc<[u8]>,
        is_last: bool,
    ) {
        if !self.agent.as_ref().is_some_and(|agent| agent.is_answering(turn)) {
            return;
        }
        let speaks = self.agent.as_ref().and_then(|agent| agent.speaks);
        let utterance = speaks.unwrap_or_else(|| self.new_utterance());
        if speaks.is_none() {
            self.playout.add_own(utterance);
        }
        self.playout.own(utterance, text, audio);
        self.timers.set(Deadline::AgentAnswer, now + ms(self.settings.agent_wait_ms));
        if let Some(agent) = &mut self.agent {
            agent.on_sentence(now);
            if !audio.is_empty() {
                agent.on_audio(now);
            }
            agent.speaks = Some(utterance);
        }
        if is_last {
            self.end_own_speech(false);
        }
    }

    /// What the agent speaks itself ends here. `failed`: though not all of it came.
    fn end_own_speech(&mut self, failed: bool) {
        if let Some(utterance) = self.agent.as_mut().and_then(|agent| agent.speaks.take()) {
            self.playout.end_own(utterance, failed);
        }
    }

    fn say(&mut self, now: CallTime, text: String, out: &mut Outputs) {
        let utterance = self.new_utterance();
        self.playout.add(utterance, text.clone());
        self.timers.set(Deadline::VoiceAudio, now + ms(self.settings.voice_wait_ms));
        out.push(Output::Synthesize { utterance, text });
    }

    pub(super) fn on_agent_done(&mut self, now: CallTime, turn: TurnId, then: Then, out: &mut Outputs) {
        let Some(agent) = self.agent.as_mut().filter(|agent| agent.is_answering(turn)) else { return };
        agent.then = Some(then);
        self.timers.stop(Deadline::AgentAnswer);
        self.end_own_speech(false);
        if let Then::Listen { keys_max } = then {
            self.keys_max = keys_max;
        }
        self.agent_maybe_heard(now, Rule::fact(Reason::LastMark), out);
    }

    pub(super) fn on_agent_failed(&mut self, now: CallTime, turn: TurnId, why: Failure, out: &mut Outputs) {
        let Some(agent) = self.agent.as_mut().filter(|agent| agent.turn == turn) else { return };
        out.event(now, EventKind::AgentFailed { turn, why });
        // After a bug nobody knows what else is broken.
        if self.settings.apology.is_empty() || why == Failure::Panicked || !agent.fail(now) {
            return self.end(now, EndReason::AgentFailed, out);
        }
        self.timers.stop(Deadline::AgentAnswer);
        self.end_own_speech(true);
        self.say(now, self.settings.apology.to_string(), out);
    }

    /// If the agent has said all and all was heard, its turn is over.
    pub(super) fn agent_maybe_heard(&mut self, now: CallTime, rule: Rule, out: &mut Outputs) {
        let Some(agent) = self.agent.as_ref().filter(|agent| agent.held_for().is_none()) else { return };
        let Some(then) = agent.then else { return };
        if self.playout.is_stopped() || !self.playout.all_heard() {
            return;
        }
        let failed = agent.has_failed();
        let seen = self.seen(self.caller.as_ref());
        self.tell_agent_turn(now, out);
        match then {
            Then::HangUp => {
                out.decided(now, Decided::new(Decision::HangUp, rule, &[], seen));
                let reason = if failed { EndReason::AgentFailed } else { EndReason::AgentHangup };
                self.end(now, reason, out);
            }
            Then::Listen { .. } => {
                self.timers.set(Deadline::NoInput, now + ms(self.settings.no_input_ms));
            }
        }
    }

    /// Ends the agent's turn here, if it has one: what was not heard was not said.
    pub(super) fn cut_agent(&mut self, now: CallTime, out: &mut Outputs) {
        if self.agent.as_ref().is_some_and(|agent| agent.spoke_at.is_some()) && !self.playout.is_stopped() {
            self.stop_playout(now, out);
        }
        self.tell_agent_turn(now, out);
    }

    /// Closes the agent's turn and tells it; the agent too, if not all was heard.
    pub(super) fn tell_agent_turn(&mut self, now: CallTime, out: &mut Outputs) {
        let Some(agent) = self.agent.take() else { return };
        self.drop_agent();
        self.tell_unworded(now, out);
        let Said { heard: text, unheard, estimated, spoken_heard } = self.playout.take_turn(now, out);
        if !unheard.is_empty() || agent.then.is_none() {
            out.push(Output::AgentHeard { turn: agent.turn, text: text.clone(), spoken_heard });
        }
        if let Some(spoke_at) = agent.spoke_at {
            let turn = Turn {
                turn: agent.turn,
                speaker: Speaker::Agent,
                started: spoke_at,
                ended: self.playout.fell_silent(now),
                text,
                unheard,
                estimated,
                by: By::Voice,
                response_ms: agent.response_ms(),
            };
            out.event(now, EventKind::Turn(turn));
        }
    }

    pub(super) fn drop_agent(&mut self) {
        self.agent = None;
        self.timers.stop(Deadline::AgentAnswer);
        self.timers.stop(Deadline::VoiceAudio);
        self.timers.stop(Deadline::Mark);
        self.timers.stop(Deadline::Playout);
    }

    /// Sends what is due, and sets the deadlines that follow from it.
    pub(super) fn play(&mut self, now: CallTime, out: &mut Outputs) {
        if self.phase == Phase::Over {
            return;
        }
        if self.agent.is_none() {
            self.say_what_was_ordered(now, out);
        }
        let Some(agent) = &mut self.agent else { return };
        let held = agent.held_for().is_some();
        if !held && self.playout.pump(now, &self.settings, &mut self.echo, out) && agent.spoke_at.is_none() {
            agent.spoke_at = Some(now);
            let (turn, response_ms) = (agent.turn, agent.response_ms());
            out.event(now, EventKind::AgentSpeaks { turn, response_ms });
            if let Some(response) = agent.response() {
                out.event(now, EventKind::Responded(response));
            }
        }
        if !self.playout.awaits_voice() {
            self.timers.stop(Deadline::VoiceAudio);
            self.agent_maybe_heard(now, Rule::fact(Reason::LastMark), out);
        }
        if self.agent.is_some() && !held {
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
}
