//! What a media thread measures of itself: stored by that thread alone, read by anyone.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::clock;
use crate::measure::{Distribution, Histogram, Lateness, MediaThreadMeasures, add};

/// How often a thread with calls has a deadline of its own, so that it notices when it was kept from running.
pub(super) const PULSE: Duration = Duration::from_millis(10);
/// A wait for sockets that took less may have been none at all: what it found may have been there before.
const NO_WAIT: Duration = Duration::from_micros(100);
/// How long one of the two windows lasts that the latest numbers are taken from.
const WINDOW: Duration = Duration::from_secs(2);
/// A window that began longer ago than this says nothing of the present.
const STALE: Duration = Duration::from_millis(4_500);
/// The share of busy time is taken of at least this much time, so that a single round is not taken for a load.
const SHARE_OF: Duration = Duration::from_secs(1);
/// How long after a round began the next one begins, on a thread with many calls, so that one waking serves the frames
/// of many. It is part of every frame's way, so it must be short against 20 ms; longer naps were measured to save nothing more.
const NAP: Duration = Duration::from_millis(2);
/// The same with fewer calls than [`MANY_CALLS`]: their rounds are short, so that frames are no later for a longer nap.
const NAP_OF_FEW: Duration = Duration::from_millis(3);
const MANY_CALLS: usize = 128;
/// No moment of a thread, in µs from its start.
pub(super) const NEVER: u64 = u64::MAX;

/// A media thread's numbers. All counts run from its start.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    /// Calls that it owns. Other threads count up when they hand a call over.
    pub(crate) calls: AtomicUsize,
    /// Caller audio messages.
    pub(crate) frames_in: AtomicU64,
    /// Agent audio messages.
    pub(crate) frames_out: AtomicU64,
    /// How often a carrier's socket did not take all that there was to send.
    pub(super) sends_held_up: AtomicU64,
    /// How often caller audio found no room on the way to a recogniser.
    pub(super) speech_overflows: AtomicU64,
    /// Caller audio that found no room on the way to a recogniser, in bytes.
    pub(super) speech_dropped_bytes: AtomicU64,
    /// Answers that found no room in the inbox. Added to by speech threads.
    pub(super) answers_unannounced: AtomicU64,
    /// Sockets that could not be watched.
    pub(super) sockets_unwatched: AtomicU64,
    wake_ups: AtomicU64,
    busy_us: AtomicU64,
    lateness: Histogram,
    windows: [Window; 2],
    /// Which window is written to.
    current: AtomicUsize,
    /// Since when, in µs from the start, something waits for the thread, or when it will: [`NEVER`] if nothing does.
    awaited_us: AtomicU64,
}

/// The latest numbers, for a while.
#[derive(Debug)]
struct Window {
    /// When it began, in µs from the start; [`NEVER`] if it did not.
    began_us: AtomicU64,
    busy_us: AtomicU64,
    lateness: Histogram,
}

/// One wake-up of the thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// When it woke: the `now` of all that it does.
    pub(super) now: Instant,
    /// Since when what it does may have waited.
    since: Instant,
    /// True if its own deadline was due.
    pulse: bool,
}

/// What the thread itself knows of its rounds.
#[derive(Debug)]
pub(super) struct Rounds {
    /// When the thread looked at its sockets last.
    looked: Instant,
    /// When the round before ended.
    ended: Instant,
    /// Since when the thread has waited for its sockets.
    waits_since: Instant,
    /// When the nap ends, if one was begun and not slept out.
    nap_due: Option<Instant>,
    pulse_at: Option<Instant>,
}

impl Rounds {
    pub(super) fn new() -> Self {
        let now = clock::now();
        Self { looked: now, ended: now, waits_since: now, nap_due: None, pulse_at: None }
    }

    /// The latest reading of the clock.
    pub(super) fn latest(&self) -> Instant {
        self.waits_since
    }

    /// When to wake at the latest, where `due` is the calls' earliest deadline. `idle`: there are no calls.
    pub(super) fn wait_until(&mut self, due: Option<Instant>, idle: bool, meter: &Meter) -> Option<Instant> {
        if idle {
            self.pulse_at = None;
        } else if self.pulse_at.is_none() {
            self.pulse_at = Some(self.ended + PULSE);
        }
        let until = [due, self.pulse_at].into_iter().flatten().min();
        meter.awaited_us.store(until.map_or(NEVER, |until| meter.us(until)), Ordering::Relaxed);
        until
    }

    /// How long to nap on a thread with `calls`, after a round that served some of them, before the sockets are looked at
    /// again; `None` if not at all. What cuts a nap short does not put off its end.
    pub(super) fn nap_length(&mut self, calls: usize) -> Option<Duration> {
        let nap = if calls < MANY_CALLS { NAP_OF_FEW } else { NAP };
        let due = *self.nap_due.get_or_insert(self.looked + nap);
        let length = due.saturating_duration_since(self.ended);
        if length > NO_WAIT {
            return Some(length);
        }
        self.nap_due = None;
        None
    }

    /// The thread has napped. True if the nap was slept out, and the sockets' turn has come.
    pub(super) fn napped(&mut self) -> bool {
        self.waits_since = clock::now();
        self.nap_due.take_if(|due| self.waits_since + NO_WAIT >= *due).is_some()
    }

    /// The thread woke, or goes on without having waited. `until`: when it should have, at the latest. `looks`: whether it
    /// looked at its sockets.
    pub(super) fn begin(&mut self, until: Option<Instant>, looks: bool, meter: &Meter) -> Round {
        let now = clock::now();
        let mut asked = now;
        if looks {
            // What was there at once may have come since the sockets were looked at last.
            if now.saturating_duration_since(self.waits_since) < NO_WAIT {
                asked = self.looked;
            }
            self.looked = now;
        }
        let since = until.map_or(asked, |until| asked.min(until));
        let pulse = self.pulse_at.take_if(|at| *at <= now).is_some();
        meter.awaited_us.store(meter.us(since), Ordering::Relaxed);
        Round { now, since, pulse }
    }

    /// All that the round made was handed to the kernel. `served`: how many calls it was made for.
    pub(super) fn end(&mut self, round: Round, served: usize, meter: &Meter) {
        self.ended = clock::now();
        self.waits_since = self.ended;
        let times = served.max(round.pulse.into());
        meter.round(round, self.ended, times as u64);
    }
}

impl Meter {
    pub(super) fn new() -> Self {
        let window = || Window {
            began_us: AtomicU64::new(NEVER),
            busy_us: AtomicU64::new(0),
            lateness: Histogram::default(),
        };
        Self {
            start: clock::now(),
            calls: AtomicUsize::new(0),
            frames_in: AtomicU64::new(0),
            frames_out: AtomicU64::new(0),
            sends_held_up: AtomicU64::new(0),
            speech_overflows: AtomicU64::new(0),
            speech_dropped_bytes: AtomicU64::new(0),
            answers_unannounced: AtomicU64::new(0),
            sockets_unwatched: AtomicU64::new(0),
            wake_ups: AtomicU64::new(0),
            busy_us: AtomicU64::new(0),
            lateness: Histogram::default(),
            windows: [window(), window()],
            current: AtomicUsize::new(0),
            awaited_us: AtomicU64::new(NEVER),
        }
    }

    /// Whole µs from the start.
    pub(super) fn us(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_micros() as u64
    }

    /// The moment so many µs from the start.
    pub(super) fn at(&self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }

    fn round(&self, round: Round, ended: Instant, times: u64) {
        let busy_us = ended.saturating_duration_since(round.now).as_micros() as u64;
        let late_us = ended.saturating_duration_since(round.since).as_micros() as u64;
        let window = self.window_at(self.us(ended));
        add(&self.wake_ups, 1);
        add(&self.busy_us, busy_us);
        add(&window.busy_us, busy_us);
        if times > 0 {
            self.lateness.record_times(late_us, times);
            window.lateness.record_times(late_us, times);
        }
    }

    /// The window to write to, which is the other one once this one is over.
    fn window_at(&self, now_us: u64) -> &Window {
        let current = self.current.load(Ordering::Relaxed);
        let window = &self.windows[current];
        let began_us = window.began_us.load(Ordering::Relaxed);
        if began_us != NEVER && now_us < began_us + WINDOW.as_micros() as u64 {
            return window;
        }
        let next = &self.windows[1 - current];
        next.lateness.clear();
        next.busy_us.store(0, Ordering::Relaxed);
        next.began_us.store(now_us, Ordering::Relaxed);
        self.current.store(1 - current, Ordering::Relaxed);
        next
    }

    /// The latest seconds of the thread, seen at `now`.
    pub(crate) fn latest(&self, now: Instant) -> Lateness {
        let now_us = self.us(now);
        let (mut lateness, mut busy_us, mut first_us) = (Distribution::default(), 0, now_us);
        for window in &self.windows {
            let began_us = window.began_us.load(Ordering::Relaxed);
            if began_us == NEVER || now_us.saturating_sub(began_us) > STALE.as_micros() as u64 {
                continue;
            }
            lateness.merge(&window.lateness.read());
            busy_us += window.busy_us.load(Ordering::Relaxed);
            first_us = first_us.min(began_us);
        }
        let awaited_us = now_us.saturating_sub(self.awaited_us.load(Ordering::Relaxed));
        let passed_us = (now_us - first_us).max(SHARE_OF.as_micros() as u64);
        Lateness {
            p99: lateness.quantile(0.99).max(Duration::from_micros(awaited_us)),
            busy: (busy_us as f64 / passed_us as f64).min(1.0),
        }
    }

    /// All numbers of the thread `name`.
    pub(crate) fn read(&self, name: String) -> MediaThreadMeasures {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        MediaThreadMeasures {
            name,
            calls: self.calls.load(Ordering::Relaxed),
            frames_in: of(&self.frames_in),
            frames_out: of(&self.frames_out),
            wake_ups: of(&self.wake_ups),
            busy: Duration::from_micros(of(&self.busy_us)),
            lateness: self.lateness.read(),
            sends_held_up: of(&self.sends_held_up),
            speech_overflows: of(&self.speech_overflows),
            speech_dropped_bytes: of(&self.speech_dropped_bytes),
            answers_unannounced: of(&self.answers_unannounced),
            sockets_unwatched: of(&self.sockets_unwatched),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A thread whose rounds last 1 ms and serve one call, `late` after they could have begun.
    fn run(meter: &Meter, from: Instant, rounds: u32, every: Duration, late: Duration) -> Instant {
        let mut now = from;
        for _ in 0..rounds {
            now += every;
            let round = Round { now, since: now - late, pulse: false };
            meter.round(round, now + ms(1), 1);
        }
        now + ms(1)
    }

    #[test]
    fn lateness_is_that_of_the_last_seconds_and_the_total_keeps_all() {
        let meter = Meter::new();
        let after = run(&meter, meter.start, 100, ms(20), ms(70));
        assert_eq!(meter.latest(after).p99, ms(75));
        let after = run(&meter, after, 300, ms(20), ms(1));
        assert_eq!(meter.latest(after).p99, ms(2));
        let read = meter.read("media-0".into());
        assert_eq!((read.wake_ups, read.lateness.count(), read.busy), (400, 400, ms(400)));
        assert_eq!(read.lateness.longer_than(ms(50)), 100);
    }

    #[test]
    fn busy_is_the_share_of_the_time_that_passed() {
        let meter = Meter::new();
        let after = run(&meter, meter.start, 2_000, ms(2), ms(0));
        let busy = meter.latest(after).busy;
        assert!((0.49..0.51).contains(&busy), "{busy}");
    }

    #[test]
    fn a_thread_that_sleeps_without_calls_is_neither_late_nor_busy() {
        let meter = Meter::new();
        let after = run(&meter, meter.start, 100, ms(20), ms(70));
        assert_eq!(meter.latest(after + Duration::from_secs(60)), Lateness::default());
    }

    #[test]
    fn a_thread_that_hangs_is_late_while_it_hangs() {
        let meter = Meter::new();
        let mut rounds = Rounds::new();
        let round = rounds.begin(None, true, &meter);
        let late = meter.latest(round.now + ms(800)).p99;
        assert!(late >= ms(800), "{late:?}");
        rounds.end(round, 1, &meter);
        rounds.wait_until(None, true, &meter);
        assert!(meter.latest(round.now + ms(800)).p99 < ms(800), "once it waits, nothing waits for it");
    }

    #[test]
    fn a_deadline_that_was_missed_counts_for_all_that_is_done() {
        let meter = Meter::new();
        let mut rounds = Rounds::new();
        let due = rounds.latest() - ms(300);
        let round = rounds.begin(Some(due), true, &meter);
        rounds.end(round, 3, &meter);
        let read = meter.read(String::new());
        assert_eq!((read.lateness.count(), read.lateness.longer_than(ms(200))), (3, 3));
    }

    #[test]
    fn a_socket_that_may_have_been_ready_waited_since_the_round_before() {
        let meter = Meter::new();
        let mut rounds = Rounds::new();
        // The round before took 300 ms, and the thread did not have to wait.
        rounds.waits_since = clock::now() + ms(300);
        rounds.looked = rounds.waits_since - ms(300);
        let looked = rounds.looked;
        let round = rounds.begin(None, true, &meter);
        assert_eq!(round.since, looked);
    }

    #[test]
    fn what_comes_during_a_nap_counts_from_its_beginning_and_what_cuts_it_short_from_now() {
        let meter = Meter::new();
        let mut rounds = Rounds::new();
        let round = rounds.begin(None, true, &meter);
        rounds.end(round, 1, &meter);
        let length = rounds.nap_length(500).expect("a round is shorter than a nap");
        assert!(length <= NAP);
        assert!(!rounds.napped(), "cut short at once");
        let letters = rounds.begin(None, false, &meter);
        assert_eq!(letters.since, letters.now);
        rounds.end(letters, 1, &meter);
        assert!(rounds.nap_length(500).expect("the rest of it") < length);
        rounds.nap_due = Some(rounds.latest());
        assert!(rounds.napped());
        assert_eq!(rounds.begin(None, true, &meter).since, round.now);
    }

    #[test]
    fn a_round_that_took_as_long_as_a_nap_is_followed_by_none() {
        let meter = Meter::new();
        let mut rounds = Rounds::new();
        let round = rounds.begin(None, true, &meter);
        rounds.end(round, 1, &meter);
        rounds.ended = rounds.looked + NAP;
        assert_eq!(rounds.nap_length(500), None);
        assert!(
            rounds.nap_length(50).is_some_and(|rest| rest <= NAP_OF_FEW - NAP),
            "few calls have a longer one"
        );
    }

    #[test]
    fn own_deadline_counts_where_no_call_was_served() {
        let meter = Meter::new();
        let mut rounds = Rounds::new();
        let until = rounds.wait_until(None, false, &meter).unwrap();
        assert_eq!(until, rounds.latest() + PULSE);
        rounds.pulse_at = Some(rounds.latest());
        let round = rounds.begin(Some(rounds.latest()), true, &meter);
        rounds.end(round, 0, &meter);
        let round = rounds.begin(None, true, &meter);
        rounds.end(round, 0, &meter);
        assert_eq!(meter.read(String::new()).lateness.count(), 1);
    }
}
