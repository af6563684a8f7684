//! What a key that was pressed does to the call.

use super::decision::{Decided, Decision, Reason, Rule};
use super::dialogue::Cause;
use super::event::{By, EventKind};
use super::input::{Fault, UtteranceId};
use super::keys::Pressed;
use super::output::{Output, Outputs, Prompt};
use super::settings::ms;
use super::time::CallTime;
use super::timers::Deadline;
use super::turn::CallerTurn;
use super::{Call, caller_turn};

impl Call {
    pub(super) fn on_key(&mut self, now: CallTime, digit: char, out: &mut Outputs) {
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

    pub(super) fn on_keys(
        &mut self,
        now: CallTime,
        digits: String,
        rule: Rule,
        others: &[Rule],
        out: &mut Outputs,
    ) {
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
}
