//! What a load test measured, over all its calls.
//!
//! Two mistakes make a slow server look fast, and both come from leaving out what did not happen:
//!
//! - A tester that waits for one answer before it asks again asks less often just when answers are slow. So a call's setup counts
//!   from when the schedule *meant* it to be placed, not from when it was.
//! - An answer that never came has no time to record. So a caller who hung up, spoke again or was cut off while it waited has
//!   waited *at least* so long, and that is recorded. Where it is shorter than the median of the answers that came, it tells
//!   nothing ("not within 0.1 s" says little of a server that takes 0.7 s), would pull the figures down, and is only counted.
//!
//! Gil Tene named this coordinated omission: "How NOT to Measure Latency" (Strange Loop, 2015), and the section "Corrected vs.
//! raw value recording" of HdrHistogram's documentation. Speech needs no correction beyond this: the caller's script, not the
//! server, says how often it asks, and no question is dropped because an earlier answer was late.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::super::report::{CallReport, EndedBy};

/// Nothing counts as longer than this: an hour, in microseconds.
const MAX_US: u64 = 3_600_000_000;

/// Times to three significant figures, with those that are only known to be longer than what was seen.
#[derive(Clone, Debug)]
pub struct Timed {
    came: Histogram<u64>,
    waited: Histogram<u64>,
}

impl Default for Timed {
    fn default() -> Self {
        Self { came: empty(), waited: empty() }
    }
}

impl Timed {
    /// It took this long.
    pub fn record(&mut self, took: Duration) {
        add(&mut self.came, us(took), 1);
    }

    /// It had not come after this long.
    pub fn record_waited(&mut self, waited: Duration) {
        add(&mut self.waited, us(waited), 1);
    }

    /// Times that are known, in microseconds.
    pub fn came(&self) -> &Histogram<u64> {
        &self.came
    }

    /// Times known to be longer than these, in microseconds.
    pub fn waited(&self) -> &Histogram<u64> {
        &self.waited
    }

    /// All times, in microseconds: those that are known, and of the others those that tell something.
    pub fn whole(&self) -> Histogram<u64> {
        let mut whole = self.came.clone();
        let least = if self.came.is_empty() { 0 } else { self.came.value_at_quantile(0.5) };
        for value in self.waited.iter_recorded() {
            let waited = value.value_iterated_to();
            if waited >= least {
                add(&mut whole, waited, value.count_at_value());
            }
        }
        whole
    }
}

fn empty() -> Histogram<u64> {
    // Grows with what is recorded; at most some 100 KB.
    let mut histogram = Histogram::new(3).expect("three figures are possible");
    histogram.auto(true);
    histogram
}

fn add(histogram: &mut Histogram<u64>, us: u64, count: u64) {
    histogram.record_n(us.min(MAX_US), count).expect("the histogram grows with its values");
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(MAX_US)
}

/// All measurements of a load test.
#[derive(Clone, Debug)]
pub struct Measures {
    /// From when a call was to be placed to its open media stream. Not known: calls that got no answer in time.
    pub setup: Timed,
    /// From the open stream to the agent's first audible sample. Not known: calls in which the agent was never heard. With an
    /// agent that lets the caller begin, the caller's waiting is part of it.
    pub first_audio: Timed,
    /// From the caller's last voiced sample to the agent's first audible one. Not known: answers that did not come.
    pub response: Timed,
    /// From the first voiced sample of an interruption to `clear`. Not known: the agent talked on to the end.
    pub barge_in: Timed,
    /// How late the test's own frames left, in microseconds. Nothing here is known better than this.
    pub lateness: Histogram<u64>,
    /// How late the test's own calls were placed, in microseconds. Part of `setup`.
    pub announced_late: Histogram<u64>,
    /// How long calls lasted.
    pub duration: Timed,
    /// Holes in the agent's speech.
    pub underruns: u64,
    /// Calls with at least one.
    pub calls_with_underruns: u64,
    /// Holes that the test itself made by reading late. They are not among the others.
    pub own_underruns: u64,
    /// How long the holes were together.
    pub underrun_time: Duration,
    /// What servers did against the protocol.
    pub faults: u64,
    /// Calls with at least one.
    pub calls_with_faults: u64,
    /// The first few, in words.
    pub fault_texts: Vec<String>,
    /// Items of scripts that were not said because the call was over.
    pub unsaid: u64,
    /// Items that were said.
    pub said: u64,
    /// The agent's turns that were heard.
    pub agent_turns: u64,
    /// Frames of 20 ms that were sent.
    pub frames_sent: u64,
    /// Media messages that came.
    pub media_received: u64,
    /// Times that the server could not be told of a call's end.
    pub status_failed: u64,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            setup: Timed::default(),
            first_audio: Timed::default(),
            response: Timed::default(),
            barge_in: Timed::default(),
            lateness: empty(),
            announced_late: empty(),
            duration: Timed::default(),
            underruns: 0,
            calls_with_underruns: 0,
            own_underruns: 0,
            underrun_time: Duration::ZERO,
            faults: 0,
            calls_with_faults: 0,
            fault_texts: Vec::new(),
            unsaid: 0,
            said: 0,
            agent_turns: 0,
            frames_sent: 0,
            media_received: 0,
            status_failed: 0,
        }
    }
}

/// Faults are kept in words up to this many.
const FAULTS_MAX: usize = 16;

impl Measures {
    /// Adds a call that came about.
    pub fn add(&mut self, report: &CallReport) {
        self.setup.record(report.setup_took());
        add(&mut self.announced_late, us(report.announced_late), 1);
        match report.first_audio() {
            Some(took) => self.first_audio.record(took),
            None => self.first_audio.record_waited(report.duration),
        }
        report.response_times().for_each(|took| self.response.record(took));
        report.unanswered.iter().for_each(|waited| self.response.record_waited(*waited));
        let end = super::super::LineTime::from_duration(report.duration);
        for barge_in in &report.barge_ins {
            let talked_over = barge_in.talked_over().unwrap_or(end - barge_in.from);
            if barge_in.cleared {
                self.barge_in.record(talked_over);
            } else {
                self.barge_in.record_waited(talked_over);
            }
        }
        match report.ended_by {
            EndedBy::Stopped => self.duration.record_waited(report.duration),
            _ => self.duration.record(report.duration),
        }
        for value in report.lateness.histogram().iter_recorded() {
            let late = value.value_iterated_to().min(report.lateness.histogram().max());
            add(&mut self.lateness, late, value.count_at_value().into());
        }
        self.underruns += u64::from(report.playout.underruns);
        self.calls_with_underruns += u64::from(report.playout.underruns > 0);
        self.own_underruns += u64::from(report.playout.own_underruns);
        self.underrun_time += super::super::time::duration_of(report.playout.underrun_samples);
        self.faults += u64::from(report.fault_count);
        self.calls_with_faults += u64::from(report.fault_count > 0);
        for fault in &report.faults {
            if self.fault_texts.len() < FAULTS_MAX && !self.fault_texts.contains(fault) {
                self.fault_texts.push(fault.clone());
            }
        }
        self.unsaid += report.unsaid as u64;
        self.said += report.said.len() as u64;
        self.agent_turns += report.turns.len() as u64;
        self.frames_sent += report.frames_sent;
        self.media_received += report.media_received;
        self.status_failed += u64::from(report.status_failed.is_some());
    }

    /// Adds a call that was not answered within `waited` of when it was to be placed.
    pub fn add_unanswered(&mut self, waited: Duration) {
        self.setup.record_waited(waited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn p(timed: &Timed, share: f64) -> f64 {
        (timed.whole().value_at_quantile(share) as f64 / 1_000.0).round()
    }

    #[test]
    fn answers_that_never_came_count_as_at_least_the_time_waited() {
        let mut response = Timed::default();
        (0..90).for_each(|_| response.record(ms(700)));
        assert_eq!(p(&response, 0.99), 700.0);
        (0..10).for_each(|_| response.record_waited(ms(10_000)));
        assert_eq!(p(&response, 0.9), 700.0);
        assert!((10_000.0..10_020.0).contains(&p(&response, 0.95)));
        assert_eq!((response.came().len(), response.waited().len()), (90, 10));
    }

    #[test]
    fn a_wait_that_was_cut_short_does_not_make_a_server_look_fast() {
        let mut response = Timed::default();
        (0..10).for_each(|_| response.record(ms(700)));
        (0..100).for_each(|_| response.record_waited(ms(20)));
        assert_eq!((p(&response, 0.01), response.whole().len()), (700.0, 10));
        assert_eq!(response.waited().len(), 100, "they are told all the same");
    }

    #[test]
    fn waits_are_all_there_is_where_nothing_came() {
        let mut response = Timed::default();
        response.record_waited(ms(2_000));
        assert_eq!(response.whole().len(), 1);
        assert!(p(&response, 0.5) >= 2_000.0);
    }
}
