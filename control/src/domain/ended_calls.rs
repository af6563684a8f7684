//! What follows from the end of an owned call: work for each CRM and each webhook of its owner's, put on its way in one transaction.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::jobs::{Clock, Job, Lane, NewJob, Outcome, Policy, Work};
use super::time::UnixMs;
use crate::store::Store;

/// The kind of these jobs.
pub const KIND: &str = "call-ended";

/// The event that webhooks are told.
pub const EVENT: &str = "call.ended";

/// The job that follows from the end of a call. In the order in which an owner's calls ended, so that webhooks hear of them in that
/// order.
pub fn job(owner: &str, call: &str, at: UnixMs) -> NewJob {
    NewJob {
        kind: KIND,
        key: call.to_owned(),
        lane: Lane::ordered(format!("{KIND} {owner}")),
        payload: json!({ "call": call }),
        at,
    }
}

/// The work.
pub struct EndedCalls {
    store: Arc<Store>,
    clock: Clock,
    retry: Duration,
}

impl EndedCalls {
    /// `retry`: the wait after the first failure, which is the store's.
    pub fn new(store: Arc<Store>, clock: Clock, retry: Duration) -> Self {
        Self { store, clock, retry }
    }
}

impl Work for EndedCalls {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn policy(&self) -> Policy {
        Policy {
            base: self.retry,
            factor: 2.0,
            cap: Duration::from_secs(60).max(self.retry),
            tries_max: None,
            give_up_after: Duration::from_secs(7 * 24 * 3_600),
        }
    }

    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome> {
        async move {
            let Some(call) = job.payload["call"].as_str() else {
                return Outcome::Dead { reason: "the job cannot be read".into() };
            };
            match self.store.fan_out(call, (self.clock)()).await {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::Later { reason: error.to_string(), after: None, holds_lane: false },
            }
        }
        .boxed()
    }
}
