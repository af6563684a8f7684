//! Keeps a vendor that fails out of calls until it works again.
//!
//! ```text
//!            FAILURES in a row, or one that does not heal by itself
//!  closed ───────────────────────────────────────────────────────► open, for as long as it rests
//!    ▲                                                              │ the rest is over
//!    └───── it worked ───── one call asks it ◄──────────────────────┘
//!                             └─ it failed ─► open again, twice as long
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use offhook_engine::call::Failure;

/// So many failures in a row keep a vendor out.
const FAILURES: u32 = 3;
/// How long it rests at first.
const REST: Duration = Duration::from_secs(5);
/// How long it rests at most.
const REST_MAX: Duration = Duration::from_secs(120);
/// Who asks a vendor that rested has so long to say how it went; then another may.
const PROBE: Duration = Duration::from_secs(30);

/// What all calls know of one vendor.
#[derive(Debug, Default)]
pub(in crate::domain) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// In a row.
    failures: u32,
    /// Why it is kept out, and until when nobody asks it.
    out: Option<(Failure, Instant)>,
    /// How long it rests next time.
    rest: Duration,
}

impl Breaker {
    /// Whether a call may ask it at `now`; else why it may not. After a rest, one call may.
    pub(in crate::domain) fn admits(&self, now: Instant) -> Result<(), Failure> {
        let mut state = self.state();
        match &mut state.out {
            Some((why, until)) if now < *until => Err(*why),
            Some((_, until)) => {
                *until = now + PROBE;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// It worked.
    pub(in crate::domain) fn worked(&self) {
        *self.state() = State::default();
    }

    /// It failed. True if that keeps it out from here on, and did not before.
    pub(in crate::domain) fn failed(&self, why: Failure, now: Instant) -> bool {
        let mut state = self.state();
        state.failures += 1;
        let heals = !matches!(why, Failure::Unauthorised | Failure::Unpaid);
        let was_out = state.out.is_some();
        if !was_out && heals && state.failures < FAILURES {
            return false;
        }
        let rest = if heals { state.rest.max(REST) } else { REST_MAX };
        state.out = Some((why, now + rest));
        state.rest = (rest * 2).min(REST_MAX);
        !was_out
    }

    /// Why it is kept out at `now`, if it is.
    pub(super) fn kept_out(&self, now: Instant) -> Option<Failure> {
        self.state().out.filter(|(_, until)| now < *until).map(|(why, _)| why)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *START + Duration::from_secs(seconds)
    }

    #[test]
    fn failures_in_a_row_keep_a_vendor_out_and_a_success_between_them_does_not() {
        let breaker = Breaker::default();
        for _ in 0..2 {
            assert!(!breaker.failed(Failure::Slow, at(0)));
        }
        breaker.worked();
        for _ in 0..2 {
            assert!(!breaker.failed(Failure::Slow, at(0)));
            assert_eq!(breaker.admits(at(0)), Ok(()));
        }
        assert!(breaker.failed(Failure::Faulty, at(0)));
        assert_eq!(breaker.admits(at(4)), Err(Failure::Faulty));
    }

    #[test]
    fn after_its_rest_one_call_asks_it_and_says_for_all_how_it_went() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            let _ = breaker.failed(Failure::Slow, at(0));
        }
        assert_eq!(breaker.admits(at(5)), Ok(()));
        assert_eq!(breaker.admits(at(5)), Err(Failure::Slow), "the others wait for what the first finds");
        assert!(!breaker.failed(Failure::Slow, at(6)), "it was out before");
        assert_eq!(breaker.admits(at(15)), Err(Failure::Slow), "it rests twice as long");
        assert_eq!(breaker.admits(at(16)), Ok(()));
        breaker.worked();
        assert_eq!(breaker.admits(at(16)), Ok(()));
        assert_eq!(breaker.admits(at(16)), Ok(()));
    }

    #[test]
    fn a_probe_that_never_says_how_it_went_does_not_keep_a_vendor_out_for_good() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            let _ = breaker.failed(Failure::Slow, at(0));
        }
        assert_eq!(breaker.admits(at(5)), Ok(()));
        assert_eq!(breaker.admits(at(34)), Err(Failure::Slow));
        assert_eq!(breaker.admits(at(35)), Ok(()));
    }

    #[test]
    fn a_key_that_is_refused_keeps_it_out_at_once_and_for_long() {
        for why in [Failure::Unauthorised, Failure::Unpaid] {
            let breaker = Breaker::default();
            assert!(breaker.failed(why, at(0)));
            assert_eq!(breaker.kept_out(at(119)), Some(why));
            assert_eq!(breaker.kept_out(at(120)), None);
        }
    }
}
