//! The call: a pure state machine. See [`Call`].

mod event;
mod input;
mod output;
mod time;

pub use event::{By, Decision, EndReason, Event, EventKind, Reason, Speaker, Turn};
pub use input::{Command, Fault, Input, Media, Then, TurnId, UtteranceId, WordStart};
pub use output::{MarkName, Output, Outputs, Prompt, Span, mark_name};
pub use time::CallTime;

mod settings;

pub use settings::CallSettings;

/// The call: takes inputs, gives outputs, never reads a clock.
pub struct Call {
    settings: CallSettings,
}

impl Call {
    /// A call that was answered at [`CallTime::ZERO`].
    pub fn new(settings: CallSettings) -> Self {
        Self { settings }
    }

    /// Takes one input at `now` and appends what follows from it to `out`.
    ///
    /// `now` counts from the answer and never goes back. Carry out all of `out`, in order, before the next input; then
    /// wait for an input or for [`Call::next_deadline`], whichever comes first.
    pub fn handle(&mut self, now: CallTime, input: Input<'_>, out: &mut Outputs) {
        let _ = (now, input, out, &self.settings);
    }

    /// When [`Input::Tick`] is due, if nothing else comes first.
    pub fn next_deadline(&self) -> Option<CallTime> {
        None
    }
}
