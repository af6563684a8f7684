//! Why an agent gave no answer.

use serde::{Deserialize, Serialize};

/// Why an agent gave no answer: what a timeline and a journal keep of it. What exactly happened is in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoAnswer {
    /// It gave no reason.
    #[default]
    Unsaid,
    /// It said nothing for as long as `agent_wait_ms` says.
    Slow,
    /// What it asks cannot be reached.
    Unreachable,
    /// What it asks does not accept its key.
    Unauthorised,
    /// What it asks wants to be paid first.
    Unpaid,
    /// What it asks is asked too much.
    Busy,
    /// What it asks failed.
    Faulty,
    /// What it asks will not answer this.
    Refused,
    /// What it asks answered something that cannot be understood.
    Malformed,
    /// What it asks stopped in the middle of an answer.
    BrokenOff,
    /// It has more turns before it than there is room for.
    Flooded,
    /// A bug in it.
    Panicked,
}

impl NoAnswer {
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
        for reason in NoAnswer::ALL {
            let toml = toml::Value::try_from(reason).unwrap();
            assert_eq!(toml.as_str(), Some(reason.as_str()));
        }
    }
}
