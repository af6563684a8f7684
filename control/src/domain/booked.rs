//! Appointments that agents made, as the owner of the calls sees them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::time::UnixMs;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookedAppointment {
    /// Of call and slot.
    pub id: String,
    /// The call that it was made on, as it is called in answers.
    pub call: String,
    /// Where who comes can be reached; may be empty.
    pub phone: String,
    /// When it begins.
    pub starts: UnixMs,
    /// By whose clock it is told: `Europe/Amsterdam`.
    pub zone: String,
    /// What it is for; may be empty.
    pub kind: String,
    /// How much of it is known, from 1 to 5.
    pub quality: u8,
    /// Who found it.
    pub source: Source,
    /// When it was made.
    pub booked: UnixMs,
}

/// Who found an appointment, or anything else that calls tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The agent of the call.
    Agent,
    /// A model, in what was said.
    Model,
    /// This server, in what was said.
    Local,
}

impl Source {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Model => "model",
            Self::Local => "local",
        }
    }

    /// The reverse of [`Source::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Agent, Self::Model, Self::Local].into_iter().find(|source| source.as_str() == text)
    }
}

impl BookedAppointment {
    /// Day and time of day by its own clock: `2025-01-20`, `2:00 PM`.
    pub fn clock(&self) -> (String, String) {
        let at = Timestamp::from_millisecond(self.starts.0).unwrap_or(Timestamp::UNIX_EPOCH);
        let at = at.to_zoned(TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC));
        (at.strftime("%Y-%m-%d").to_string(), at.strftime("%-I:%M %p").to_string())
    }
}

/// How much is known of an appointment: a slot that was agreed to counts 3, a number and a reason one more each.
pub fn quality(phone: &str, kind: &str) -> u8 {
    3 + u8::from(!phone.is_empty()) + u8::from(!kind.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appointment_is_told_by_the_clock_of_its_place() {
        let at = |zone: &str| BookedAppointment {
            id: "a".into(),
            call: "c".into(),
            phone: String::new(),
            starts: UnixMs(1_737_378_000_000), // 2025-01-20T13:00:00Z
            zone: zone.into(),
            kind: String::new(),
            quality: quality("", "x"),
            source: Source::Agent,
            booked: UnixMs(0),
        };
        for (zone, time) in
            [("Europe/Amsterdam", "2:00 PM"), ("UTC", "1:00 PM"), ("Nowhere/At_All", "1:00 PM")]
        {
            assert_eq!(at(zone).clock(), ("2025-01-20".into(), time.into()), "{zone}");
        }
        let midnight = BookedAppointment { starts: UnixMs(1_737_331_200_000), ..at("UTC") };
        assert_eq!(midnight.clock().1, "12:00 AM");
        assert_eq!((quality("", ""), quality("+1", "x")), (3, 5));
    }
}
