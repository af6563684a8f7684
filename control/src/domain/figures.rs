//! What a user's calls come to.

use super::time::UnixMs;

/// All ended calls of a user's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many.
    pub calls: u64,
    /// On how many of them the two talked.
    pub answered: u64,
    /// How long all of them lasted, in seconds.
    pub duration_s: u64,
}

impl Summary {
    /// How long a call lasts, in whole seconds, over all calls; 0 without any.
    pub fn duration_s_average(&self) -> u64 {
        match self.calls {
            0 => 0,
            calls => (self.duration_s as f64 / calls as f64).round() as u64,
        }
    }
}

/// One of the values that calls have, and how many have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The value.
    pub name: String,
    /// How many.
    pub calls: u64,
}

/// A value's share of all.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The value.
    pub name: String,
    /// How many.
    pub calls: u64,
    /// From 0 to 100, with one decimal.
    pub percentage: f64,
}

/// The shares that counts have of their own sum.
pub fn shares(counts: Vec<Count>) -> Vec<Share> {
    let all: u64 = counts.iter().map(|count| count.calls).sum();
    // Where there are no calls there is no count that could be divided.
    let share = |calls: u64| (calls as f64 * 1_000.0 / all.max(1) as f64).round() / 10.0;
    counts.into_iter().map(|Count { name, calls }| Share { name, calls, percentage: share(calls) }).collect()
}

/// A keyword, and how it was meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Keyword {
    /// In lower case.
    pub keyword: String,
    /// In how many calls it was found.
    pub calls: u64,
    /// In how many of them it was meant well.
    pub positive: u64,
    /// In how many ill.
    pub negative: u64,
    /// The mean of how it was meant in each, from -1 to 1.
    pub sentiment: f64,
    /// When the latest of them ended.
    pub last: UnixMs,
}

/// An ended call, in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedCall {
    /// Its id in `account_calls`.
    pub id: String,
    /// What it is called in answers.
    pub name: String,
    /// Whether this server had it.
    pub is_ours: bool,
    /// Empty if it was withheld.
    pub customer_phone: String,
    /// If anybody knows.
    pub customer_name: Option<String>,
    /// In seconds.
    pub duration_s: u32,
    /// What it was about.
    pub summary: Option<String>,
    /// Why it ended.
    pub ended_reason: String,
    /// A URL; of a call that this server had, a file under the data folder.
    pub recording: Option<String>,
    /// When it began.
    pub started: UnixMs,
}

/// A call that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningCall {
    /// What it is called in answers.
    pub name: String,
    /// Empty if it was withheld.
    pub customer_phone: String,
    /// Whether the two talk already.
    pub answered: bool,
    /// When it began.
    pub started: UnixMs,
}

/// What admins see of all users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerFigures {
    /// All users.
    pub users: u64,
    /// All ended calls of users.
    pub calls: u64,
    /// Users who signed in, or had a call, lately.
    pub active_users: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, calls: u64) -> Count {
        Count { name: name.into(), calls }
    }

    #[test]
    fn shares_have_one_decimal_and_nothing_is_divided_by_nothing() {
        let shares = |counts| shares(counts).into_iter().map(|share| share.percentage).collect::<Vec<_>>();
        assert_eq!(shares(vec![count("a", 450), count("b", 784)]), [36.5, 63.5]);
        assert_eq!(shares(vec![count("a", 1), count("b", 1), count("c", 1)]), [33.3, 33.3, 33.3]);
        assert_eq!(shares(vec![count("a", 0)]), [0.0]);
        assert!(shares(Vec::new()).is_empty());
    }

    #[test]
    fn the_average_is_over_all_calls_and_rounded() {
        let summary = Summary { calls: 1_234, answered: 1_100, duration_s: 222_000 };
        assert_eq!(summary.duration_s_average(), 180);
        assert_eq!(Summary::default().duration_s_average(), 0);
    }
}
