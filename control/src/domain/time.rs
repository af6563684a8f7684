//! Time as records know it: milliseconds since 1970, UTC. And as calendars do: from one moment to another.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// This moment, by the machine's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// The midnight that began this moment's day, UTC.
    pub fn day(self) -> Self {
        const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
        Self(self.0.saturating_sub(self.0.rem_euclid(DAY_MS)))
    }

    /// ISO 8601 in UTC with whole seconds: `2024-01-01T12:00:00Z`.
    pub fn to_seconds_text(self) -> String {
        match jiff::Timestamp::from_second(self.0.div_euclid(1_000)) {
            Ok(time) => time.to_string(),
            Err(_) => self.to_string(),
        }
    }
}

/// ISO 8601 in UTC, with milliseconds: `2024-01-01T12:00:00.250Z`.
impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
}

impl Span {
    /// True if they have some time in common: it is not enough that they touch.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.from < other.to && other.from < self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(UnixMs(1_704_110_400_250).to_string(), "2024-01-01T12:00:00.250Z");
        assert_eq!(UnixMs(1_704_110_400_250).to_seconds_text(), "2024-01-01T12:00:00Z");
        assert_eq!(UnixMs(-1).to_seconds_text(), "1969-12-31T23:59:59Z");
        assert_eq!(UnixMs(1_704_110_400_250).day().to_string(), "2024-01-01T00:00:00.000Z");
        assert_eq!(UnixMs(-1).day().to_string(), "1969-12-31T00:00:00.000Z");
        assert_eq!(UnixMs(i64::MAX).to_string(), format!("{} ms", i64::MAX));
    }
}
