//! When the calls of a load test are placed. No clock here: whoever runs the test says what time it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use offhook_codecs::noise::Random;

/// How many calls are placed together, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// So many calls, each once.
    Once {
        /// How many.
        calls: usize,
        /// True: together, 5 ms after one another (closer, if that would take more than 5 s). False: one after another.
        at_once: bool,
    },
    /// So many calls at any time: when one ends, its line dials again.
    Hold {
        /// How many.
        lines: usize,
        /// No call begins after this; those that run go to their end.
        time: Duration,
        /// The lines dial for the first time spread over this. Part of `time`.
        ramp: Duration,
    },
}

/// Between the beginnings of calls that are placed together: 200 a second, as a busy trunk delivers them.
const SPACING: Duration = Duration::from_millis(5);

/// Calls that are placed together are all placed by then.
const TOGETHER: Duration = Duration::from_secs(5);

/// Every beginning is put off by a random part of a frame: calls that began in step would send their frames in step, which
/// telephones do not.
const PHASE: Duration = Duration::from_millis(20);

/// A line whose call did not come about waits for so long, as people do: without it, a server that refuses calls would get
/// more of them than one that takes them.
const REDIAL: Duration = Duration::from_secs(1);

/// A call that is to be placed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dial {
    /// The line that places it, from 0.
    pub(super) line: usize,
    /// Its place among all calls, from 0.
    pub(super) nth: usize,
    /// When it was to be placed, since the test's beginning.
    pub(super) intended: Duration,
}

/// Goes through a schedule.
#[derive(Debug)]
pub(super) struct Dialer {
    schedule: Schedule,
    random: Random,
    due: BinaryHeap<Reverse<(Duration, usize)>>,
    dialled: usize,
    stopped: bool,
}

impl Dialer {
    /// At the beginning of `schedule`; the same `seed` gives the same phases.
    pub(super) fn new(schedule: Schedule, seed: u64) -> Self {
        let mut dialer =
            Self { schedule, random: Random::new(seed), due: BinaryHeap::new(), dialled: 0, stopped: false };
        let (count, spread) = match schedule {
            Schedule::Once { calls, at_once: true } => {
                (calls, (SPACING * u32::try_from(calls).unwrap_or(u32::MAX)).min(TOGETHER))
            }
            Schedule::Once { calls, at_once: false } => (calls.min(1), Duration::ZERO),
            Schedule::Hold { lines, time, ramp } => (lines, ramp.min(time)),
        };
        for line in 0..count {
            let at = spread.mul_f64(line as f64 / count as f64);
            dialer.plan(line, at);
        }
        dialer
    }

    /// When the next call is to be placed, if one is planned.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// The next call that is due at `now`, if one is.
    pub(super) fn dial(&mut self, now: Duration) -> Option<Dial> {
        let Reverse((intended, line)) = *self.due.peek()?;
        if intended > now {
            return None;
        }
        self.due.pop();
        let nth = self.dialled;
        self.dialled += 1;
        Some(Dial { line, nth, intended })
    }

    /// The call of `line` has ended: the line dials again, if the schedule has more for it. `came_about`: there was a conversation.
    pub(super) fn on_ended(&mut self, line: usize, came_about: bool, now: Duration) {
        let again = match self.schedule {
            Schedule::Once { calls, at_once } => !at_once && self.dialled < calls,
            Schedule::Hold { .. } => true,
        };
        if again && !self.stopped {
            self.plan(line, if came_about { now } else { now + REDIAL });
        }
    }

    /// Nothing is dialled any more.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.due.clear();
    }

    fn plan(&mut self, line: usize, from: Duration) {
        let at = from + PHASE.mul_f32(self.random.unit());
        let ends = match self.schedule {
            Schedule::Hold { time, .. } => time,
            Schedule::Once { .. } => Duration::MAX,
        };
        if at < ends {
            self.due.push(Reverse((at, line)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Runs a schedule with calls that last `call`, in virtual time: when each was placed, and the most that ran together.
    fn run(schedule: Schedule, call: Duration) -> (Vec<Dial>, usize) {
        let mut dialer = Dialer::new(schedule, 1);
        let mut running: Vec<(Duration, usize)> = Vec::new();
        let (mut dials, mut most) = (Vec::new(), 0);
        loop {
            running.sort_unstable();
            let ends = running.first().map(|(at, _)| *at);
            match (dialer.next_due(), ends) {
                (None, None) => return (dials, most),
                (Some(due), ends) if ends.is_none_or(|at| due < at) => {
                    while let Some(dial) = dialer.dial(due) {
                        running.push((due + call, dial.line));
                        dials.push(dial);
                    }
                    most = most.max(running.len());
                }
                _ => {
                    let (at, line) = running.remove(0);
                    dialer.on_ended(line, true, at);
                }
            }
        }
    }

    #[test]
    fn calls_that_are_placed_once_are_placed_together_but_not_in_step() {
        let (dials, most) = run(Schedule::Once { calls: 100, at_once: true }, ms(60_000));
        assert_eq!((dials.len(), most), (100, 100));
        assert!(dials.iter().all(|dial| dial.intended < ms(5 * 100 + 20)));
        let mut phases: Vec<u128> = dials.iter().map(|dial| dial.intended.as_micros() % 20_000).collect();
        phases.sort_unstable();
        phases.dedup();
        assert!(phases.len() > 90, "{} phases", phases.len());
        let (dials, _) = run(Schedule::Once { calls: 5_000, at_once: true }, ms(60_000));
        assert!(dials.iter().all(|dial| dial.intended < TOGETHER + PHASE));
    }

    #[test]
    fn one_after_another_begins_when_the_one_before_has_ended() {
        let (dials, most) = run(Schedule::Once { calls: 4, at_once: false }, ms(1_000));
        assert_eq!((dials.len(), most), (4, 1));
        for pair in dials.windows(2) {
            let between = pair[1].intended - pair[0].intended;
            assert!((ms(1_000)..ms(1_020)).contains(&between), "{between:?}");
        }
    }

    #[test]
    fn held_lines_dial_again_until_the_time_is_over_and_running_calls_go_on() {
        let schedule = Schedule::Hold { lines: 10, time: ms(10_000), ramp: ms(2_000) };
        let (dials, most) = run(schedule, ms(1_500));
        assert_eq!(most, 10);
        let last = dials.last().map(|dial| dial.intended);
        assert!(last.is_some_and(|at| at < ms(10_000) && at > ms(8_000)), "{last:?}");
        let first = |line| dials.iter().find(|dial| dial.line == line).map(|dial| dial.intended);
        assert!(first(0).is_some_and(|at| at < ms(20)) && first(9).is_some_and(|at| at >= ms(1_800)));
        let of_one = dials.iter().filter(|dial| dial.line == 3).count();
        assert!((6..=7).contains(&of_one), "{of_one}");
    }

    #[test]
    fn a_line_that_was_refused_waits_before_it_dials_again() {
        let mut dialer = Dialer::new(Schedule::Hold { lines: 1, time: ms(10_000), ramp: ms(0) }, 1);
        let dial = dialer.dial(ms(20)).unwrap();
        dialer.on_ended(dial.line, false, ms(30));
        assert!(dialer.next_due().is_some_and(|due| (ms(1_030)..ms(1_050)).contains(&due)));
    }

    #[test]
    fn a_stopped_dialer_dials_no_more() {
        let mut dialer = Dialer::new(Schedule::Hold { lines: 2, time: ms(10_000), ramp: ms(0) }, 1);
        let dial = dialer.dial(ms(20)).unwrap();
        dialer.stop();
        dialer.on_ended(dial.line, true, ms(100));
        assert_eq!((dialer.next_due(), dialer.dial(ms(9_000))), (None, None));
    }

    #[test]
    fn nothing_to_dial_is_over_at_once() {
        for schedule in [
            Schedule::Once { calls: 0, at_once: true },
            Schedule::Once { calls: 0, at_once: false },
            Schedule::Hold { lines: 0, time: ms(10), ramp: ms(0) },
            Schedule::Hold { lines: 5, time: ms(0), ramp: ms(0) },
        ] {
            assert_eq!(Dialer::new(schedule, 1).next_due(), None, "{schedule:?}");
        }
    }
}
