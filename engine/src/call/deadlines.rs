//! What the call does when something that it waited for is due, or overdue.

use std::time::Duration;

use super::decision::{Decision, Reason, Rule};
use super::event::{EndReason, EventKind};
use super::failure::Failure;
use super::floor::wait;
use super::output::{Output, Outputs, Prompt};
use super::time::CallTime;
use super::timers::Deadline;
use super::turn::Over;
use super::{Call, Phase};

impl Call {
    pub(super) fn on_tick(&mut self, now: CallTime, out: &mut Outputs) {
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
                    self.on_agent_failed(now, turn, Failure::Slow, out);
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
        self.silence_ms = u32::MAX;
        self.maybe_release(now, out);
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
}
