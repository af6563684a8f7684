//! How far a load test is, for whoever watches: counters that calls add to as they go, and that cost them nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::super::line::What;
use super::CallOutcome;

/// Counters of a load test that runs.
#[derive(Debug, Default)]
pub struct Progress {
    dialled: AtomicU64,
    running: AtomicU64,
    peak: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    stopped: AtomicU64,
    agent_turns: AtomicU64,
    caller_turns: AtomicU64,
    clears: AtomicU64,
    /// Calls that are over, where their number is known beforehand. Locked once per call, at its end.
    ended: Option<Mutex<Vec<CallOutcome>>>,
}

/// What the counters showed at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that were begun.
    pub dialled: u64,
    /// Calls whose media stream is open.
    pub running: u64,
    /// The most of those so far.
    pub peak: u64,
    /// Calls that went to their end as they should.
    pub completed: u64,
    /// Calls that did not come about, broke off, or did not go as they should.
    pub failed: u64,
    /// Calls that were ended by stopping the test.
    pub stopped: u64,
    /// Turns of agents that were heard.
    pub agent_turns: u64,
    /// What callers said or keyed.
    pub caller_turns: u64,
    /// How often servers cleared what they had sent.
    pub clears: u64,
}

impl Progress {
    /// Counters that also keep each call that is over, for a test of so many calls and no more.
    pub(super) fn keeping_calls() -> Self {
        Self { ended: Some(Mutex::default()), ..Self::default() }
    }

    /// The calls that are over, in the order in which they ended, of a test of so many calls ([`Schedule::Once`]).
    ///
    /// [`Schedule::Once`]: super::Schedule::Once
    pub fn ended(&self) -> Vec<CallOutcome> {
        let ended =
            self.ended.as_ref().map(|ended| ended.lock().unwrap_or_else(PoisonError::into_inner).clone());
        ended.unwrap_or_default()
    }

    /// The counters now. They are read one after another, so while calls run they may be apart by one.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            dialled: read(&self.dialled),
            running: read(&self.running),
            peak: read(&self.peak),
            completed: read(&self.completed),
            failed: read(&self.failed),
            stopped: read(&self.stopped),
            agent_turns: read(&self.agent_turns),
            caller_turns: read(&self.caller_turns),
            clears: read(&self.clears),
        }
    }

    pub(super) fn on_dialled(&self) {
        add(&self.dialled);
    }

    pub(super) fn on_happening(&self, what: &What) {
        match what {
            What::Answered { .. } => {
                let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
                self.peak.fetch_max(running, Ordering::Relaxed);
            }
            What::CallerSpeaks { .. } => add(&self.caller_turns),
            What::AgentSpeaks(_) => add(&self.agent_turns),
            What::AgentSpoke(_) => {}
            What::Cleared { .. } => add(&self.clears),
            What::Ended(_) => {
                self.running.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn on_over(&self, outcome: &CallOutcome) {
        if let Some(ended) = &self.ended {
            ended.lock().unwrap_or_else(PoisonError::into_inner).push(outcome.clone());
        }
        add(match &outcome.fate {
            super::Fate::Completed => &self.completed,
            super::Fate::Failed(_) => &self.failed,
            super::Fate::Stopped => &self.stopped,
        });
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
