//! The agent's turn: asked, said, heard.

use super::input::{Then, TurnId};
use super::output::Prompt;
use super::time::CallTime;

/// The agent's turn, from the question to it until its last word was heard.
#[derive(Debug)]
pub(super) struct AgentTurn {
    pub(super) turn: TurnId,
    pub(super) prompt: Prompt,
    /// The caller's last speech or key that it answers; none for a greeting or after silence.
    pub(super) cause: Option<CallTime>,
    /// When its first audio left.
    pub(super) spoke_at: Option<CallTime>,
    /// What follows; known once the agent has said all.
    pub(super) then: Option<Then>,
}

impl AgentTurn {
    pub(super) fn new(turn: TurnId, prompt: Prompt, cause: Option<CallTime>) -> Self {
        Self { turn, prompt, cause, spoke_at: None, then: None }
    }

    /// True if this is the turn named `turn`, and the agent has not said all of it.
    pub(super) fn is_answering(&self, turn: TurnId) -> bool {
        self.turn == turn && self.then.is_none()
    }

    /// True if the caller may cut it off.
    pub(super) fn may_be_interrupted(&self) -> bool {
        self.then != Some(Then::HangUp)
    }

    /// From the cause to the first audio, in ms.
    pub(super) fn response_ms(&self) -> Option<u32> {
        Some(self.spoke_at?.since(self.cause?).as_millis() as u32)
    }
}
