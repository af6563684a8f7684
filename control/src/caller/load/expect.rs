//! What the agent recorded of a test's calls, against what the scenario says it should have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::super::record::{self, Found, ServerRecord};
use super::super::webhook::Webhooks;
use super::{Fate, LoadResult};

/// The key that an agent records its conclusion under.
const OUTCOME: &str = "outcome";

/// Records that are asked for together.
const TOGETHER: usize = 8;

/// A record must be complete by then, counted from the first question.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often an incomplete record is asked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// How often a question is repeated that got no answer: a server that shows no records may close the connection on it.
const BROKEN_MAX: u32 = 3;

/// What was recorded, call by call.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// Every call that something is expected of and whose conversation came about, in the order of [`LoadResult::calls`].
    pub calls: Vec<Checked>,
    /// Calls among them whose record could not be read: they are not in `calls`.
    pub unread: usize,
}

/// One call's record and what it should be.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its place in [`LoadResult::calls`].
    pub call: usize,
    /// Which of the scenario's callers it was.
    pub variant: usize,
    /// What the scenario expects.
    pub wanted: BTreeMap<String, String>,
    /// What the agent recorded.
    pub recorded: BTreeMap<String, String>,
}

/// How often one outcome was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeCount {
    /// The outcome.
    pub outcome: String,
    /// Callers who should get it.
    pub should: usize,
    /// Those of them who did.
    pub should_and_did: usize,
    /// Callers who should get another.
    pub should_not: usize,
    /// Those of them who got it all the same.
    pub should_not_but_did: usize,
}

impl Checked {
    /// Names whose values differ: what was expected and what was recorded.
    pub fn differences(&self) -> Vec<(&str, &str, Option<&str>)> {
        self.wanted
            .iter()
            .map(|(name, wanted)| {
                (name.as_str(), wanted.as_str(), self.recorded.get(name).map(String::as_str))
            })
            .filter(|(_, wanted, got)| *got != Some(*wanted))
            .collect()
    }

    /// True if all is as expected.
    pub fn is_as_expected(&self) -> bool {
        self.differences().is_empty()
    }
}

impl Expectations {
    /// Calls that were compared.
    pub fn checked(&self) -> usize {
        self.calls.len()
    }

    /// Those of them that differ.
    pub fn unexpected(&self) -> usize {
        self.calls.iter().filter(|call| !call.is_as_expected()).count()
    }

    /// Each outcome that some caller should get, and how often it was recorded.
    pub fn outcomes(&self) -> Vec<OutcomeCount> {
        let outcomes: BTreeSet<&String> =
            self.calls.iter().filter_map(|call| call.wanted.get(OUTCOME)).collect();
        let counted = outcomes.into_iter().map(|outcome| {
            let mut count = OutcomeCount {
                outcome: outcome.clone(),
                should: 0,
                should_and_did: 0,
                should_not: 0,
                should_not_but_did: 0,
            };
            for call in &self.calls {
                let Some(wanted) = call.wanted.get(OUTCOME) else { continue };
                let did = usize::from(call.recorded.get(OUTCOME) == Some(outcome));
                if wanted == outcome {
                    count.should += 1;
                    count.should_and_did += did;
                } else {
                    count.should_not += 1;
                    count.should_not_but_did += did;
                }
            }
            count
        });
        counted.collect()
    }
}

/// Why a record was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    /// The server has none to show, or does not answer such questions at all.
    NotShown,
    /// The server has them, and had no time for this one.
    GivenUp,
}

/// Reads the records of a test's calls over the server's API; none if nothing is expected, or the server shows no records at
/// all, as another's bot does.
pub async fn check(server: &Webhooks, bearer: Option<&str>, result: &LoadResult) -> Option<Expectations> {
    let give_up = Instant::now() + PATIENCE;
    let mut waiting = result
        .calls
        .iter()
        .enumerate()
        .filter(|(_, call)| call.ended_by.is_some() && call.fate != Fate::Stopped)
        .filter(|(_, call)| !result.scenario.variants[call.variant].expect.is_empty());
    let mut tasks: JoinSet<(usize, Result<ServerRecord, Unread>)> = JoinSet::new();
    let mut given_up = 0;
    let mut expectations = Expectations::default();
    loop {
        while tasks.len() < TOGETHER
            && let Some((at, call)) = waiting.next()
        {
            let (server, bearer, sid) = (server.clone(), bearer.map(str::to_owned), call.call_sid.clone());
            tasks.spawn(async move { (at, complete(&server, &sid, bearer.as_deref(), give_up).await) });
        }
        let Some(read) = tasks.join_next().await else { break };
        match read {
            Ok((at, Ok(record))) => {
                let variant = result.calls[at].variant;
                let wanted = result.scenario.variants[variant].expect.clone();
                expectations.calls.push(Checked { call: at, variant, wanted, recorded: record.recorded });
            }
            Ok((_, Err(why))) => {
                expectations.unread += 1;
                given_up += usize::from(why == Unread::GivenUp);
            }
            Err(_) => expectations.unread += 1,
        }
    }
    expectations.calls.sort_by_key(|call| call.call);
    (!expectations.calls.is_empty() || given_up > 0).then_some(expectations)
}

/// A call's record once the call is over, or as it is when the time is up.
async fn complete(
    server: &Webhooks,
    call_sid: &str,
    bearer: Option<&str>,
    give_up: Instant,
) -> Result<ServerRecord, Unread> {
    let mut broken = 0;
    loop {
        let found = record::look_up(server, call_sid, bearer).await;
        let in_time = Instant::now() < give_up;
        match found {
            Found::Record(record) if record.end_reason.is_some() || !in_time => return Ok(record),
            Found::Record(_) | Found::Later if in_time => sleep(AGAIN).await,
            Found::Broken if in_time && broken < BROKEN_MAX => {
                broken += 1;
                sleep(AGAIN).await;
            }
            Found::Record(_) | Found::Later => return Err(Unread::GivenUp),
            Found::Broken | Found::Nothing => return Err(Unread::NotShown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn checked(wanted: &[(&str, &str)], recorded: &[(&str, &str)]) -> Checked {
        Checked { call: 0, variant: 0, wanted: map(wanted), recorded: map(recorded) }
    }

    #[test]
    fn outcomes_are_counted_for_those_who_should_and_those_who_should_not() {
        let yes = [("outcome", "qualified"), ("size", "200")];
        let no = [("outcome", "follow_up")];
        let expectations = Expectations {
            calls: vec![
                checked(&yes, &[("outcome", "qualified"), ("size", "200"), ("more", "x")]),
                checked(&yes, &[("outcome", "qualified"), ("size", "300")]),
                checked(&yes, &[]),
                checked(&no, &[("outcome", "follow_up")]),
                checked(&no, &[("outcome", "qualified")]),
            ],
            unread: 0,
        };
        let qualified = &expectations.outcomes()[1];
        assert_eq!(qualified.outcome, "qualified");
        assert_eq!((qualified.should, qualified.should_and_did), (3, 2));
        assert_eq!((qualified.should_not, qualified.should_not_but_did), (2, 1));
        assert_eq!((expectations.checked(), expectations.unexpected()), (5, 3));
        assert_eq!(expectations.calls[1].differences(), [("size", "200", Some("300"))]);
        assert_eq!(expectations.calls[2].differences().len(), 2);
    }
}
