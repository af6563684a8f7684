//! Time on the line: a number of samples, so that audio and time are counted alike.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Samples of one second on the line.
pub const HZ: u64 = 8_000;

/// Samples of one packet: 20 ms.
pub const FRAME: usize = 160;

/// Time since the stream began, in samples at 8 kHz (125 µs each).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineTime(u64);

impl LineTime {
    /// The beginning of the stream.
    pub const ZERO: Self = Self(0);

    /// `samples` after the beginning.
    pub const fn from_samples(samples: u64) -> Self {
        Self(samples)
    }

    /// The last whole sample at `since_start`.
    pub const fn from_duration(since_start: Duration) -> Self {
        Self(samples_in(since_start))
    }

    /// Samples since the beginning.
    pub const fn samples(self) -> u64 {
        self.0
    }

    /// As a duration since the beginning.
    pub const fn as_duration(self) -> Duration {
        duration_of(self.0)
    }

    /// Samples since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for LineTime {
    type Output = Self;

    fn add(self, samples: u64) -> Self {
        Self(self.0 + samples)
    }
}

impl Sub<LineTime> for LineTime {
    type Output = Duration;

    /// Zero if `earlier` is later.
    fn sub(self, earlier: LineTime) -> Duration {
        duration_of(self.since(earlier))
    }
}

/// How many whole samples last `duration`.
pub const fn samples_in(duration: Duration) -> u64 {
    (duration.as_nanos() * HZ as u128 / 1_000_000_000) as u64
}

/// How long `samples` last.
pub const fn duration_of(samples: u64) -> Duration {
    Duration::from_micros(samples * 125)
}

/// Reads `700ms`, `1.5s` or `2m`; at most four hours, which is a carrier's own limit on a call. The error says what to write.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let help = || "write a time such as 700ms, 1.5s or 2m".to_owned();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(help)?;
    let (number, unit) = text.split_at(split);
    let seconds: f64 = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(help()),
    };
    let number: f64 = number.trim().parse().map_err(|_| help())?;
    let seconds = number * seconds;
    if !(0.0..=4.0 * 3_600.0).contains(&seconds) {
        return Err("it is longer than four hours, or shorter than nothing".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_lasts_125_microseconds() {
        assert_eq!(duration_of(1), Duration::from_micros(125));
        assert_eq!(samples_in(Duration::from_micros(249)), 1);
        assert_eq!(LineTime::from_duration(Duration::from_millis(20)).samples(), FRAME as u64);
    }

    #[test]
    fn times_have_units() {
        for (text, expected) in [("700ms", 700), ("1.5s", 1_500), ("2m", 120_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for text in ["", "700", "ms", "-1s", "5h", "1e9m", "nan s", "NaNs"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_time_passes_backwards() {
        let (early, late) = (LineTime::from_samples(5), LineTime::from_samples(9));
        assert_eq!(early.since(late), 0);
        assert_eq!(early - late, Duration::ZERO);
        assert_eq!(late.since(early), 4);
    }
}
