//! The agent's turn: asked, said, heard.

use super::endpointing::Wait;
use super::event::Response;
use super::input::{Then, TurnId, UtteranceId};
use super::output::Prompt;
use super::time::CallTime;

/// The agent's turn, from the question to it until its last word was heard.
#[derive(Debug)]
pub(super) struct AgentTurn {
    pub(super) turn: TurnId,
    pub(super) prompt: Prompt,
    /// What of the caller it answers; nothing for a greeting or after silence.
    cause: Option<Cause>,
    asked_at: CallTime,
    /// When its first sentence came.
    said_at: Option<CallTime>,
    /// When its first audio came from the voice.
    voiced_at: Option<CallTime>,
    /// When its first audio left.
    pub(super) spoke_at: Option<CallTime>,
    /// What follows; known once the agent has said all.
    pub(super) then: Option<Then>,
    /// The utterance that the agent speaks itself and has not ended.
    pub(super) speaks: Option<UtteranceId>,
    /// It could not answer, and apologises.
    failed: bool,
    hold: Hold,
}

/// Whether the answer waits for the end of the turn that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// It was asked for after that.
    None,
    /// Until the caller has been silent for so long.
    Until(Wait),
    /// It did, until then.
    Over(CallTime),
}

/// The end of a turn of the caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause {
    /// When the last speech or key came.
    pub(super) last: CallTime,
    /// When the turn was taken for over.
    pub(super) over_at: CallTime,
}

impl AgentTurn {
    pub(super) fn new(turn: TurnId, prompt: Prompt, cause: Option<Cause>, now: CallTime) -> Self {
        Self {
            turn,
            prompt,
            cause,
            asked_at: now,
            said_at: None,
            voiced_at: None,
            spoke_at: None,
            then: None,
            speaks: None,
            failed: false,
            hold: Hold::None,
        }
    }

    /// The answer was asked for early: it is held until the caller has been silent for so long.
    pub(super) fn hold(&mut self, wait: Wait) {
        self.hold = Hold::Until(wait);
    }

    /// How much silence of the caller it is held for.
    pub(super) fn held_for(&self) -> Option<Wait> {
        match self.hold {
            Hold::Until(wait) => Some(wait),
            Hold::None | Hold::Over(_) => None,
        }
    }

    /// The caller's turn is over: what there is of the answer may be heard.
    pub(super) fn release(&mut self, now: CallTime) {
        self.hold = Hold::Over(now);
    }

    /// It cannot answer: it is to apologise, and then the call ends. False if it has done so, or said goodbye, before.
    pub(super) fn fail(&mut self, now: CallTime) -> bool {
        self.on_sentence(now);
        let had_ended = self.then == Some(Then::HangUp);
        (self.then, self.failed) = (Some(Then::HangUp), true);
        // There is nothing of an answer to hold back.
        self.hold = Hold::None;
        !had_ended
    }

    /// True if it could not answer.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// A sentence came.
    pub(super) fn on_sentence(&mut self, now: CallTime) {
        self.said_at.get_or_insert(now);
    }

    /// Audio came from the voice.
    pub(super) fn on_audio(&mut self, now: CallTime) {
        self.voiced_at.get_or_insert(now);
    }

    /// True if this is the turn named `turn`, and the agent has not said all of it.
    pub(super) fn is_answering(&self, turn: TurnId) -> bool {
        self.turn == turn && self.then.is_none()
    }

    /// True if the caller may cut it off.
    pub(super) fn may_be_interrupted(&self) -> bool {
        self.held_for().is_some() || self.then != Some(Then::HangUp)
    }

    /// Where the time went from the end of the caller's turn to the first audio, once that has left.
    pub(super) fn response(&self) -> Option<Response> {
        let (cause, spoke_at) = (self.cause?, self.spoke_at?);
        // Audio that leaves was said and spoken before.
        let said_at = self.said_at.unwrap_or(spoke_at);
        let voiced_at = self.voiced_at.unwrap_or(spoke_at);
        let released_at = match self.hold {
            Hold::Over(at) => at.max(voiced_at),
            Hold::None | Hold::Until(_) => voiced_at,
        };
        let us = |from: CallTime, to: CallTime| to.since(from).as_micros() as u64;
        Some(Response {
            turn: self.turn,
            endpointing_us: us(cause.last, cause.over_at),
            transcript_us: us(cause.over_at, self.asked_at),
            agent_us: us(self.asked_at, said_at),
            voice_us: us(said_at, voiced_at),
            held_us: us(voiced_at, released_at),
            playout_us: us(released_at, spoke_at),
            response_us: us(cause.last, spoke_at),
        })
    }

    /// From the end of the caller's turn to the first audio, in ms.
    pub(super) fn response_ms(&self) -> Option<u32> {
        Some((self.response()?.response_us / 1_000) as u32)
    }
}
