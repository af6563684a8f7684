//! Histograms with fixed buckets that one thread writes and any thread reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in µs, each inclusive; one more bucket holds what is longer. Fine enough at the lower
/// end for frames that are late, at the upper end for answers that take their time.
pub const BOUNDS_US: [u64; 27] = [
    100, 250, 500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 50_000, 75_000,
    100_000, 150_000, 200_000, 300_000, 500_000, 750_000, 1_000_000, 1_500_000, 2_000_000, 3_000_000,
    5_000_000, 10_000_000, 20_000_000,
];

const BUCKETS: usize = BOUNDS_US.len() + 1;

/// A histogram of durations.
///
/// Made for one writer: two that write at once lose samples, and harm nothing else. Recording is a search among 27
/// numbers and two stores.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// A histogram as it stood at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    buckets: [u64; BUCKETS],
    sum_us: u64,
}

impl Histogram {
    /// Adds a sample.
    pub fn record(&self, value: Duration) {
        self.record_times(value.as_micros() as u64, 1);
    }

    /// Adds a sample of `us` microseconds `times` times.
    pub(crate) fn record_times(&self, us: u64, times: u64) {
        add(&self.buckets[bucket_of(us)], times);
        add(&self.sum_us, us.saturating_mul(times));
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.buckets.iter().chain([&self.sum_us]).for_each(|number| number.store(0, Ordering::Relaxed));
    }

    /// What it holds. A sample that is being recorded may be in the sum and not yet in a bucket, or the other way round.
    pub fn read(&self) -> Distribution {
        let mut read =
            Distribution { sum_us: self.sum_us.load(Ordering::Relaxed), ..Distribution::default() };
        for (count, bucket) in read.buckets.iter_mut().zip(&self.buckets) {
            *count = bucket.load(Ordering::Relaxed);
        }
        read
    }
}

impl Distribution {
    /// How many samples.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All samples together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// How many samples each bucket holds by itself, and the bucket's upper bound; none for the last.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        let bounds = BOUNDS_US.iter().map(|us| Some(Duration::from_micros(*us))).chain([None]);
        bounds.zip(self.buckets.iter().copied())
    }

    /// How many samples were longer than `limit`, one of [`BOUNDS_US`]. Between two of them it is taken for the lower one.
    pub fn longer_than(&self, limit: Duration) -> u64 {
        let within = BOUNDS_US.partition_point(|bound| Duration::from_micros(*bound) <= limit);
        self.buckets[within..].iter().sum()
    }

    /// The bound below which this share of the samples lies: 0.99 gives p99. Zero without samples. What is longer than
    /// the last bound counts as the last bound.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut so_far = 0;
        let bucket = self.buckets.iter().position(|count| {
            so_far += count;
            so_far >= wanted
        });
        bucket.map_or(Duration::ZERO, |at| Duration::from_micros(BOUNDS_US[at.min(BOUNDS_US.len() - 1)]))
    }

    /// Adds the samples of another one.
    pub fn merge(&mut self, other: &Self) {
        self.sum_us += other.sum_us;
        self.buckets.iter_mut().zip(other.buckets).for_each(|(count, more)| *count += more);
    }
}

fn bucket_of(us: u64) -> usize {
    BOUNDS_US.partition_point(|bound| *bound < us)
}

/// Adds to a number that only this thread writes: cheaper than a locked addition.
pub(crate) fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples_us: &[u64]) -> Distribution {
        let histogram = Histogram::default();
        samples_us.iter().for_each(|us| histogram.record(Duration::from_micros(*us)));
        histogram.read()
    }

    #[test]
    fn a_sample_at_a_bound_lies_below_it() {
        assert_eq!(of(&[100]).longer_than(Duration::from_micros(100)), 0);
        assert_eq!(of(&[101]).longer_than(Duration::from_micros(100)), 1);
        assert_eq!(of(&[0, 500_000, 500_001, u64::MAX / 2]).longer_than(Duration::from_millis(500)), 2);
    }

    #[test]
    fn quantile_is_the_bound_that_the_share_lies_below() {
        let mut samples = vec![900; 99];
        samples.push(40_000);
        assert_eq!(of(&samples).quantile(0.99), Duration::from_millis(1));
        samples.push(40_000);
        assert_eq!(of(&samples).quantile(0.99), Duration::from_millis(50));
        assert_eq!(of(&[]).quantile(0.99), Duration::ZERO);
        assert_eq!(of(&[60_000_000]).quantile(0.5), Duration::from_secs(20));
    }

    #[test]
    fn the_sum_is_exact_and_merging_adds() {
        let mut both = of(&[1, 22_222]);
        both.merge(&of(&[333]));
        assert_eq!((both.count(), both.sum()), (3, Duration::from_micros(22_556)));
        assert_eq!(both.buckets().map(|(_, count)| count).sum::<u64>(), 3);
        assert_eq!(both.buckets().last().map(|(bound, _)| bound), Some(None));
    }
}
