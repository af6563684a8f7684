//! Which of ears, voice and agent failed a call, and why.

use serde::{Deserialize, Serialize};

/// What serves a call, and may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What understands the caller.
    Ears,
    /// What speaks.
    Voice,
    /// What knows what to say.
    Agent,
}

impl Part {
    /// As it stands in records: `ears`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ears => "ears",
            Self::Voice => "voice",
            Self::Agent => "agent",
        }
    }
}

/// Why ears, a voice or an agent failed: what a timeline and a journal keep of it. What exactly happened is in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// It gave no reason.
    #[default]
    Unsaid,
    /// Nothing came for as long as the settings let it wait.
    Slow,
    /// The service behind it cannot be reached.
    Unreachable,
    /// The service behind it does not accept the key.
    Unauthorised,
    /// The service behind it wants to be paid first.
    Unpaid,
    /// The service behind it is asked too much.
    Busy,
    /// The service behind it failed.
    Faulty,
    /// The service behind it will not do this.
    Refused,
    /// The service behind it answered something that cannot be understood.
    Malformed,
    /// The service behind it stopped in the middle.
    BrokenOff,
    /// It has more before it than there is room for.
    Flooded,
    /// A bug in it.
    Panicked,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Unsaid,
        Self::Slow,
        Self::Unreachable,
        Self::Unauthorised,
        Self::Unpaid,
        Self::Busy,
        Self::Faulty,
        Self::Refused,
        Self::Malformed,
        Self::BrokenOff,
        Self::Flooded,
        Self::Panicked,
    ];

    /// As it stands in records: `broken_off`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsaid => "unsaid",
            Self::Slow => "slow",
            Self::Unreachable => "unreachable",
            Self::Unauthorised => "unauthorised",
            Self::Unpaid => "unpaid",
            Self::Busy => "busy",
            Self::Faulty => "faulty",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::BrokenOff => "broken_off",
            Self::Flooded => "flooded",
            Self::Panicked => "panicked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_records() {
        for reason in Failure::ALL {
            let toml = toml::Value::try_from(reason).unwrap();
            assert_eq!(toml.as_str(), Some(reason.as_str()));
        }
    }
}
