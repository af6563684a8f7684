//! Durations and their percentiles, exact: a load bench has thousands of them, not millions.

use std::time::Duration;

/// Durations that were measured.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<f64>);

impl Times {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1e3);
    }

    /// Adds all of these.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// A percentile in ms, `share` from 0 to 1; none if nothing was measured.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        Some(sorted[(last as f64 * share).round() as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let mut times = Times::default();
        assert_eq!(times.quantile_ms(0.5), None);
        (0..=100).rev().for_each(|ms| times.add(Duration::from_millis(ms)));
        assert_eq!(
            [0.0, 0.5, 0.99, 1.0].map(|share| times.quantile_ms(share).unwrap().round()),
            [0.0, 50.0, 99.0, 100.0]
        );
    }
}
