//! Every deadline of a call by name, one slot each.

use super::time::CallTime;

/// What a call may wait for, in the order in which deadlines that are due together are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// The next agent audio is due, and no caller frame came to carry the tick.
    Playout,
    /// The recogniser's final words are overdue.
    FinalWords,
    /// The agent's answer is overdue.
    AgentAnswer,
    /// The voice's audio is overdue.
    VoiceAudio,
    /// A mark is overdue.
    Mark,
    /// The caller has been silent too long.
    NoInput,
    /// No further key came.
    KeysPause,
    /// Audio has not come for a while.
    Stall,
    /// Audio has not come for too long.
    MediaTimeout,
}

const COUNT: usize = Deadline::MediaTimeout as usize + 1;

const ALL: [Deadline; COUNT] = [
    Deadline::Playout,
    Deadline::FinalWords,
    Deadline::AgentAnswer,
    Deadline::VoiceAudio,
    Deadline::Mark,
    Deadline::NoInput,
    Deadline::KeysPause,
    Deadline::Stall,
    Deadline::MediaTimeout,
];

/// Not set.
const NEVER: CallTime = CallTime::from_micros(u64::MAX);

#[derive(Debug)]
pub(super) struct Timers([CallTime; COUNT]);

impl Default for Timers {
    fn default() -> Self {
        Self([NEVER; COUNT])
    }
}

impl Timers {
    pub(super) fn set(&mut self, deadline: Deadline, at: CallTime) {
        self.0[deadline as usize] = at;
    }

    pub(super) fn set_to(&mut self, deadline: Deadline, at: Option<CallTime>) {
        self.0[deadline as usize] = at.unwrap_or(NEVER);
    }

    pub(super) fn stop(&mut self, deadline: Deadline) {
        self.0[deadline as usize] = NEVER;
    }

    pub(super) fn is_set(&self, deadline: Deadline) -> bool {
        self.0[deadline as usize] != NEVER
    }

    pub(super) fn stop_all(&mut self) {
        self.0 = [NEVER; COUNT];
    }

    /// The earliest, and its name.
    pub(super) fn next(&self) -> Option<(CallTime, Deadline)> {
        let first = self.0.iter().copied().min().filter(|first| *first != NEVER)?;
        ALL.into_iter().find(|&deadline| self.0[deadline as usize] == first).map(|deadline| (first, deadline))
    }

    /// Takes one that is due at `now`.
    pub(super) fn take_due(&mut self, now: CallTime) -> Option<Deadline> {
        let due = ALL.into_iter().find(|&deadline| self.0[deadline as usize] <= now)?;
        self.stop(due);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_deadline_is_named() {
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.set(Deadline::NoInput, CallTime::from_millis(7_000));
        timers.set(Deadline::Playout, CallTime::from_millis(40));
        assert_eq!(timers.next(), Some((CallTime::from_millis(40), Deadline::Playout)));
    }

    #[test]
    fn each_due_deadline_is_taken_once() {
        let mut timers = Timers::default();
        timers.set(Deadline::Stall, CallTime::from_millis(5));
        timers.set(Deadline::Mark, CallTime::from_millis(10));
        timers.set(Deadline::NoInput, CallTime::from_millis(11));
        let now = CallTime::from_millis(10);
        assert_eq!(timers.take_due(now), Some(Deadline::Mark));
        assert_eq!(timers.take_due(now), Some(Deadline::Stall));
        assert_eq!(timers.take_due(now), None);
    }
}
