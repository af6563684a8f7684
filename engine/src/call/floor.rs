//! Who has the floor: what the caller's speech does to the call, from its first voiced frame to its last words.

use super::barge_in;
use super::decision::{Decided, Decision, Reason, Rule, Seen};
use super::endpointing::{Pauses, Wait, is_unfinished};
use super::event::{By, EventKind};
use super::input::{Then, UtteranceId};
use super::output::{Output, Outputs, Prompt};
use super::settings::{CallSettings, ms};
use super::time::CallTime;
use super::timers::Deadline;
use super::turn::{CallerTurn, Over};
use super::vad::SpeechDetector;
use super::{Call, caller_turn, receive};

impl Call {
    /// The caller begins to speak, or goes on. True if that begins an utterance.
    pub(super) fn on_speech(&mut self, now: CallTime, out: &mut Outputs) -> bool {
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
    pub(super) fn on_frame(
        &mut self,
        now: CallTime,
        ulaw: &[u8],
        voiced: bool,
        begun: bool,
        out: &mut Outputs,
    ) {
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
        let mut over = caller.frame(now, voiced, wait, &self.settings);
        if over.is_none() && self.agent.is_none() {
            over = caller.probably_over(wait, &self.settings);
            caller.asked_early = over.is_some();
        }
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
        let said = match &agent.prompt {
            Prompt::Said(said) if agent.spoke_at.is_none() => Some(said.clone()),
            Prompt::Spoke if agent.spoke_at.is_none() => Some(String::new()),
            _ => None,
        };
        if let Some(said) = said {
            // Nothing of the answer was heard: the caller was not finished. What comes belongs to what was said.
            let turn = agent.turn;
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
    pub(super) fn on_echo(&mut self, now: CallTime, out: &mut Outputs) {
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

    pub(super) fn stop_playout(&mut self, now: CallTime, out: &mut Outputs) {
        self.playout.stop(now, out);
        self.echo.on_clear(now);
    }

    /// The caller's turn seems over: asks the recogniser for its final words.
    pub(super) fn close_utterance(&mut self, now: CallTime, over: Over, out: &mut Outputs) {
        let Some(caller) = &mut self.caller else { return };
        let (utterance, speech_ms) = (caller.utterance, caller.utterance_speech_ms());
        self.perhaps_echo_since = None;
        out.push(Output::UtteranceEnded { utterance, speech_ms });
        if let Some(agent) = self.agent.as_ref().filter(|_| !self.playout.is_stopped()) {
            // It never lasted long enough to take the floor, or the floor is not to be had.
            let rule = match over.rule {
                _ if !agent.may_be_interrupted() => Rule::fact(Reason::Goodbye),
                rule if rule.reason == Reason::RecogniserEnds => rule,
                rule => Rule { reason: Reason::ShortSound, ..rule },
            };
            let sustained = sustained(caller.sustained_ms, &self.settings);
            let seen = self.seen(self.caller.as_ref());
            out.decided(now, Decided::new(Decision::KeepFloor, rule, &[sustained], seen));
            self.caller = None;
            return;
        }
        caller.awaits_final = Some(now);
        self.timers.set(Deadline::FinalWords, now + ms(self.settings.final_wait_ms));
        let decision = if caller.asked_early { Decision::AskEarly } else { Decision::TurnOver };
        let seen = self.seen(self.caller.as_ref());
        out.decided(now, Decided::new(decision, over.rule, &[over.other], seen));
    }

    /// An answer that was asked for early may be heard once the caller has been silent for as long as ends a turn, and does not
    /// speak again.
    pub(super) fn maybe_release(&mut self, now: CallTime, out: &mut Outputs) {
        let Some(agent) = self.agent.as_mut().filter(|_| self.caller.is_none()) else { return };
        let Some(wait) = agent.held_for() else { return };
        let rule = Rule::new(wait.reason, self.silence_ms, wait.ms);
        if rule.holds() {
            agent.release(now);
            self.decide(now, Decision::TurnOver, rule, out);
        }
    }

    pub(super) fn on_transcript(
        &mut self,
        now: CallTime,
        utterance: UtteranceId,
        text: &str,
        is_final: bool,
        out: &mut Outputs,
    ) {
        if let Some(unworded) = self.unworded.as_mut().filter(|unworded| unworded.holds(utterance)) {
            if is_final {
                let wait_ms = unworded.awaits_final.map_or(0, |since| now.since(since).as_millis() as u32);
                out.event(now, EventKind::Final { utterance, text: text.into(), wait_ms });
                unworded.understood(text);
                if utterance == unworded.utterance {
                    self.tell_unworded(now, out);
                }
            }
            return;
        }
        // What comes late for a turn that is over must not become words of the next.
        let Some(caller) = self.caller.as_mut().filter(|caller| caller.holds(utterance)) else { return };
        if is_final {
            let wait_ms = caller.awaits_final.map_or(0, |since| now.since(since).as_millis() as u32);
            out.event(now, EventKind::Final { utterance, text: text.into(), wait_ms });
            caller.understood(text);
            if utterance != caller.utterance {
                return;
            }
            if caller.awaits_final.is_none() {
                let (typing, stopped) = (!self.keys.is_empty(), self.playout.is_stopped());
                let wait = wait(caller, &self.pauses, typing, stopped, &self.settings);
                let [silence, _] = caller.ends(wait, &self.settings);
                let over = Over { rule: Rule::fact(Reason::RecogniserEnds), other: silence };
                self.close_utterance(now, over, out);
            }
            // Where the agent keeps the floor, there is no turn left.
            if self.caller.is_some() {
                self.conclude(now, out);
            }
        } else if utterance == caller.utterance {
            out.event(now, EventKind::Interim { utterance, text: text.into() });
            caller.unfinished = is_unfinished(text, &self.settings);
            caller.interim = !text.trim().is_empty();
            // "Mm-hm" may yet become "mm-hm, but".
            let takes_floor = caller.interim && !barge_in::is_back_channel(text, &self.settings);
            if takes_floor && self.playout.is_stopped() {
                let verdict = barge_in::judge(true, caller.speech_ms, &self.settings);
                let seen = self.seen(self.caller.as_ref());
                self.yield_floor(now, verdict, seen, out);
            }
        }
    }

    /// The agent has heard the caller's turn, and needs no words of it.
    pub(super) fn on_understood(&mut self, now: CallTime, utterance: UtteranceId, out: &mut Outputs) {
        let waits = |caller: &&mut CallerTurn| caller.utterance == utterance && caller.awaits_final.is_some();
        if let Some(caller) = self.caller.as_mut().filter(waits) {
            caller.unworded = true;
            self.conclude(now, out);
        }
    }

    /// Tells the turn of the caller whose words were still to come, with those that came.
    pub(super) fn tell_unworded(&mut self, now: CallTime, out: &mut Outputs) {
        if let Some(caller) = self.unworded.take() {
            out.event(now, EventKind::Turn(caller_turn(*caller, By::Voice)));
        }
    }

    /// The caller's turn is over and its words are there, or will not come.
    pub(super) fn conclude(&mut self, now: CallTime, out: &mut Outputs) {
        self.timers.stop(Deadline::FinalWords);
        let Some(caller) = self.caller.take() else { return };
        // Who hears the caller itself knows better what a sound was; one that is long enough to be a word counts as one.
        let unworded = caller.unworded && caller.speech_ms >= self.settings.min_speech_ms;
        let has_words = caller.has_words() || unworded;
        let hold = caller.asked_early.then(|| {
            // What the final words are like counts, not what the words so far were like.
            self.pauses.wait(is_unfinished(&caller.text, &self.settings), false, &self.settings)
        });
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
        if has_words || caller.speech_ms >= self.settings.min_speech_ms {
            self.silences = 0;
            let prompt = match has_words {
                _ if unworded => Prompt::Spoke,
                true => Prompt::Said(caller.whole_text()),
                false => Prompt::NotUnderstood,
            };
            let cause = caller.cause(now);
            self.tell_unworded(now, out);
            if unworded {
                self.unworded = Some(Box::new(caller));
            } else {
                out.event(now, EventKind::Turn(caller_turn(caller, By::Voice)));
            }
            self.ask(now, prompt, Some(cause), out);
            self.hold(now, hold, out);
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

    fn hold(&mut self, now: CallTime, wait: Option<Wait>, out: &mut Outputs) {
        if let (Some(agent), Some(wait)) = (&mut self.agent, wait) {
            agent.hold(wait);
            self.maybe_release(now, out);
        }
    }

    /// The interruption stands: the rest of the agent's turn is dropped, and its history cut to what was heard.
    fn yield_floor(&mut self, now: CallTime, verdict: barge_in::Verdict, seen: Seen, out: &mut Outputs) {
        out.decided(now, Decided::new(verdict.decision, verdict.rule, &[verdict.other], seen));
        self.cut_agent(now, out);
    }
}

/// How much silence ends the caller's turn as it stands. `stopped`: the agent was stopped, and may go on.
pub(super) fn wait(
    caller: &CallerTurn,
    pauses: &Pauses,
    typing: bool,
    stopped: bool,
    settings: &CallSettings,
) -> Wait {
    if stopped && caller.text.is_empty() {
        return Wait { reason: Reason::Silence, ms: settings.resume_after_ms };
    }
    pauses.wait(caller.unfinished, typing, settings)
}

/// Speech of `ms` within the barge-in window, as the rule that takes the floor sees it.
fn sustained(ms: u32, settings: &CallSettings) -> Rule {
    Rule::new(Reason::SustainedSpeech, ms, SpeechDetector::sustained_needs_ms(settings.barge_in_ms))
}
