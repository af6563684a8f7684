//! Work that is done beside the calls, at least once: it is written down in the transaction of what makes it necessary, so
//! that neither a crash nor an outage of an hour loses it, and done by the [`Worker`] when its time comes.
//!
//! Jobs stand in lanes, and of each lane one runs at a time. In an ordered lane they are done in the order of their making,
//! each waiting for the end of the one before: so deliveries reach a destination in order. In any other lane a job that failed
//! lets the next ones by. A lane that is slow or down holds up no other.
//!
//! A job may be begun again after it did its work, if the process dies before that is written down. So each kind of work is
//! idempotent: it looks for what an earlier try did, and keeps what it knows as the job's progress.

mod policy;
mod worker;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::time::UnixMs;
pub use policy::{Next, Policy};
pub use worker::{Clock, Tally, Worker};

/// A row in which jobs wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// Whether its jobs are done in the order of their making.
    pub is_ordered: bool,
}

impl Lane {
    /// A lane that keeps the order.
    pub fn ordered(name: impl Into<String>) -> Self {
        Self { name: name.into(), is_ordered: true }
    }

    /// A lane in which a job that waits for its next try lets others by.
    pub fn unordered(name: impl Into<String>) -> Self {
        Self { name: name.into(), is_ordered: false }
    }
}

/// A job to be written down.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// What kind of work.
    pub kind: &'static str,
    /// What it is about: two jobs of a kind with the same key are one.
    pub key: String,
    /// Where it waits.
    pub lane: Lane,
    /// What has to be known to do it: a JSON object.
    pub payload: Value,
    /// When it is made. It may be done from here on.
    pub at: UnixMs,
}

/// A job that is being done.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its number, in the order of their making.
    pub id: i64,
    /// What kind of work.
    pub kind: String,
    /// What it is about.
    pub key: String,
    /// Where it waits.
    pub lane: String,
    /// What has to be known to do it.
    pub payload: Value,
    /// What of it was done by earlier tries, as they noted it.
    pub progress: Value,
    /// Which try this is, from 1.
    pub tries: u32,
    /// When it was made.
    pub created: UnixMs,
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It failed, and may succeed later.
    Later {
        /// Why, without secrets.
        reason: String,
        /// Not before so much time is over, whatever the policy says: as the other side asked.
        after: Option<Duration>,
        /// The other side takes nothing from anybody at the moment: the whole lane waits as long.
        holds_lane: bool,
    },
    /// It failed, and would fail each time.
    Dead {
        /// Why, without secrets.
        reason: String,
    },
}

/// What becomes of a job after a try, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Done,
    /// It is tried again.
    Again {
        /// Not before.
        at: UnixMs,
        /// Why.
        reason: String,
        /// The lane's other jobs wait as long.
        holds_lane: bool,
    },
    /// It is not tried again, though it is not done.
    Dead {
        /// Why.
        reason: String,
    },
}

/// Jobs that were claimed, and when to look again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claimed {
    /// What is to be done now.
    pub jobs: Vec<Job>,
    /// When the next one is due of those that were not; none if there is none.
    pub next: Option<UnixMs>,
}

/// One kind of work.
pub trait Work: Send + Sync {
    /// The kind of its jobs.
    fn kind(&self) -> &'static str;

    /// How often and how long it is tried.
    fn policy(&self) -> Policy;

    /// Does a job, or goes on with it. Dropped only if the server stops.
    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome>;

    /// A try failed, and there will be another one; so that who waits for it can see why.
    fn failed<'a>(&'a self, job: &'a Job, reason: &'a str) -> BoxFuture<'a, ()> {
        let _ = (job, reason);
        Box::pin(async {})
    }

    /// A job is given up for good. May be told twice of the same.
    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> BoxFuture<'a, ()> {
        let _ = (job, reason);
        Box::pin(async {})
    }
}
