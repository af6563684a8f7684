//! How long a failed job waits, and when it is given up. Pure: times and chance are arguments.

use std::time::Duration;

use crate::domain::time::UnixMs;

/// Longer than this nobody is waited for, whatever they ask.
const AFTER_MAX: Duration = Duration::from_secs(6 * 3_600);

/// How often and how long a kind of work is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// The wait after the first failure.
    pub base: Duration,
    /// By how much each further wait is longer.
    pub factor: f64,
    /// No wait is longer, but for what the other side asks.
    pub cap: Duration,
    /// How often it is tried; none: as long as `give_up_after` says.
    pub tries_max: Option<u32>,
    /// How old a job may become.
    pub give_up_after: Duration,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another try.
    At(UnixMs),
    /// None.
    GiveUp,
}

impl Policy {
    /// What follows the failure of try number `tries`, from 1, of a job that was made at `created`. `after`: what the other side
    /// asked for. `chance`: 0 to 1, so that those who failed together do not come again together.
    pub fn next(
        &self,
        tries: u32,
        created: UnixMs,
        now: UnixMs,
        after: Option<Duration>,
        chance: f64,
    ) -> Next {
        if self.tries_max.is_some_and(|most| tries >= most) {
            return Next::GiveUp;
        }
        let steps = i32::try_from(tries.saturating_sub(1)).unwrap_or(i32::MAX).min(64);
        let grown = self.base.as_secs_f64() * self.factor.powi(steps);
        let wait = grown.min(self.cap.as_secs_f64()) * (1.0 + 0.25 * chance.clamp(0.0, 1.0));
        let wait = Duration::from_secs_f64(wait).max(after.unwrap_or_default().min(AFTER_MAX));
        let at = UnixMs(now.0.saturating_add(millis(wait)));
        if at.0 >= created.0.saturating_add(millis(self.give_up_after)) { Next::GiveUp } else { Next::At(at) }
    }

    /// True if a job that is about to be begun for the `tries`th time has had all its tries: the process died in them.
    pub fn is_used_up(&self, tries: u32) -> bool {
        self.tries_max.is_some_and(|most| tries > most)
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        base: Duration::from_secs(2),
        factor: 2.0,
        cap: Duration::from_secs(600),
        tries_max: None,
        give_up_after: Duration::from_secs(24 * 3_600),
    };
    const NOW: UnixMs = UnixMs(1_770_000_000_000);

    fn wait_ms(tries: u32, after: Option<Duration>, chance: f64) -> i64 {
        match POLICY.next(tries, NOW, NOW, after, chance) {
            Next::At(at) => at.0 - NOW.0,
            Next::GiveUp => panic!("given up"),
        }
    }

    #[test]
    fn waits_grow_to_the_cap_and_are_scattered_upwards() {
        assert_eq!(
            [1, 2, 3, 9, 10, 400].map(|tries| wait_ms(tries, None, 0.0)),
            [2_000, 4_000, 8_000, 512_000, 600_000, 600_000]
        );
        assert_eq!(wait_ms(1, None, 1.0), 2_500);
    }

    #[test]
    fn what_the_other_side_asks_for_is_the_least_that_is_waited() {
        assert_eq!(wait_ms(1, Some(Duration::from_secs(30)), 0.0), 30_000);
        assert_eq!(wait_ms(5, Some(Duration::from_secs(3)), 0.0), 32_000);
        assert_eq!(wait_ms(1, Some(Duration::MAX), 0.0), 6 * 3_600_000, "but not for ever");
    }

    #[test]
    fn a_job_is_given_up_by_its_tries_or_its_age() {
        let five = Policy { tries_max: Some(5), ..POLICY };
        assert!(matches!(five.next(4, NOW, NOW, None, 0.0), Next::At(_)));
        assert_eq!(five.next(5, NOW, NOW, None, 0.0), Next::GiveUp);
        assert!(five.is_used_up(6) && !five.is_used_up(5));
        let hours = |hours: i64| UnixMs(NOW.0 + hours * 3_600_000);
        assert!(matches!(POLICY.next(40, NOW, hours(23), None, 0.0), Next::At(_)), "an outage loses nothing");
        assert_eq!(POLICY.next(2, NOW, hours(24), None, 0.0), Next::GiveUp);
    }
}
