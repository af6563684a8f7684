//! How many calls ran at once: counted from when they began and ended.

/// An hour, in ms.
pub const HOUR_MS: i64 = 3_600_000;

/// One call's time: from its beginning to the first moment after it, in ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// When it began.
    pub from: i64,
    /// The first moment at which it did not run.
    pub to: i64,
}

/// How long each bucket of a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day, in UTC.
    Day,
}

impl Granularity {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// As clients write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// The reverse of [`Granularity::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|granularity| granularity.as_str() == text)
    }

    /// Its length in ms.
    pub const fn ms(self) -> i64 {
        match self {
            Self::Minute => 60_000,
            Self::Hour => HOUR_MS,
            Self::Day => 24 * HOUR_MS,
        }
    }
}

/// One bucket of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// When it begins, in s since 1970.
    pub at_s: i64,
    /// How many calls ran at once within it, at most.
    pub count: u32,
}

/// How many calls run, and how many ran at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Concurrency {
    /// At this moment.
    pub current: u32,
    /// Since records began.
    pub peak: u32,
}

/// How many calls ran at once at most, within each bucket of `bucket_ms` from `from` on, `count` of them. `calls`: in any order;
/// those count that run at some moment of a bucket, and a call that ends as another begins does not run beside it.
pub fn peaks(calls: &[Interval], from: i64, bucket_ms: i64, count: usize) -> Vec<u32> {
    let calls = || calls.iter().filter(|call| call.to > call.from);
    let mut starts: Vec<i64> = calls().map(|call| call.from).collect();
    let mut ends: Vec<i64> = calls().map(|call| call.to).collect();
    starts.sort_unstable();
    ends.sort_unstable();
    let (mut starts, mut ends) = (starts.into_iter().peekable(), ends.into_iter().peekable());
    let mut running = 0_u32;
    let mut peaks = Vec::with_capacity(count);
    for bucket in 0..count as i64 {
        let begins = from + bucket * bucket_ms;
        while starts.next_if(|start| *start <= begins).is_some() {
            running += 1;
        }
        while ends.next_if(|end| *end <= begins).is_some() {
            running -= 1;
        }
        let mut peak = running;
        while let Some(start) = starts.next_if(|start| *start < begins + bucket_ms) {
            while ends.next_if(|end| *end <= start).is_some() {
                running -= 1;
            }
            running += 1;
            peak = peak.max(running);
        }
        peaks.push(peak);
    }
    peaks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(from: i64, to: i64) -> Interval {
        Interval { from, to }
    }

    #[test]
    fn a_bucket_has_the_most_that_ran_at_one_moment_of_it() {
        let calls = [call(5, 25), call(12, 14), call(14, 16), call(20, 30), call(40, 40)];
        assert_eq!(peaks(&calls, 0, 10, 5), [1, 2, 2, 0, 0]);
        assert_eq!(peaks(&calls, 10, 10, 2), [2, 2], "what began before counts");
        assert_eq!(peaks(&calls, 0, 100, 1), [2]);
        assert_eq!(peaks(&[], 0, 10, 3), [0, 0, 0]);
    }

    proptest! {
        #[test]
        fn counting_moment_by_moment_says_the_same(
            calls in prop::collection::vec((0_i64..60, 0_i64..20), 0..30),
            from in 0_i64..20,
            bucket in 1_i64..15,
        ) {
            let calls: Vec<_> = calls.into_iter().map(|(start, length)| call(start, start + length)).collect();
            let runs = |at: i64| calls.iter().filter(|call| call.from <= at && at < call.to).count() as u32;
            let plain = |n: i64| (from + n * bucket..from + (n + 1) * bucket).map(runs).max().unwrap();
            let expected: Vec<u32> = (0..5).map(plain).collect();
            prop_assert_eq!(peaks(&calls, from, bucket, 5), expected);
        }
    }
}
