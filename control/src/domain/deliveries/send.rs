//! Delivers an event: up to five times, each signed anew as Stripe signs its webhooks, and notes what the other side answered.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{DeliveryTry, OutboundWebhook, Payload, Telling, body, open};
use crate::domain::jobs::{Clock, Job, Outcome, Policy, Work};
use crate::domain::keys::Keys;
use crate::integrations::stripe;
use crate::integrations::webhook::{SendError, Sending, WebhookSender};
use crate::store::{Store, StoreError};

/// The kind of these jobs.
pub const KIND: &str = "webhook";

/// How often a delivery is tried.
const TRIES: u32 = 5;

/// The work.
pub struct SendWebhook {
    store: Arc<Store>,
    keys: Arc<Keys>,
    sender: WebhookSender,
    clock: Clock,
    retry: Duration,
    base: String,
}

/// What is posted, where, and what it is signed with.
struct Signed<'a> {
    webhook: &'a OutboundWebhook,
    secret: &'a str,
    event: &'a str,
    body: String,
}

impl SendWebhook {
    /// `retry`: the wait after the first failure. `base`: the dashboard's base with its origin, for links.
    pub fn new(
        store: Arc<Store>,
        keys: Arc<Keys>,
        sender: WebhookSender,
        clock: Clock,
        retry: Duration,
        base: String,
    ) -> Self {
        Self { store, keys, sender, clock, retry, base }
    }

    async fn deliver(&self, job: &Job, payload: &Payload) -> Result<Outcome, StoreError> {
        let dead = |reason: &str| Ok(Outcome::Dead { reason: reason.into() });
        let Some(webhook) = self.store.webhook_of_any_owner(&payload.webhook).await? else {
            return dead("the webhook was removed");
        };
        if !webhook.is_active {
            return dead("the webhook is switched off");
        }
        let Some(telling) = self.store.telling(&payload.delivery).await? else {
            return dead("the webhook was removed");
        };
        let Telling { event, subject, body } = telling;
        let body = match body {
            Some(body) => body,
            None => match self.store.ended_call(&subject).await? {
                Some(call) => body::of(&call, &self.base).to_string(),
                None => return dead("the call's record was deleted"),
            },
        };
        let secret = self.keys.sealer().and_then(|sealer| open(sealer, &webhook));
        let Some(secret) = secret else {
            return dead("its secret cannot be opened any more: make a new one");
        };
        let signed = Signed { webhook: &webhook, secret: &secret, event: &event, body };
        self.post(job, payload, signed).await
    }

    async fn post(&self, job: &Job, payload: &Payload, told: Signed<'_>) -> Result<Outcome, StoreError> {
        let Signed { webhook, secret, event, body } = told;
        let at = (self.clock)();
        let signature = stripe::sign(secret, at.0.div_euclid(1_000), body.as_bytes());
        let sending =
            Sending { url: &webhook.url, event, delivery: &payload.delivery, signature: &signature };
        let sent = self.sender.post(sending, body.into()).await;
        let took_ms = (self.clock)().0.saturating_sub(at.0).max(0).unsigned_abs();
        let mut tried =
            DeliveryTry { number: job.tries, at, took_ms, status: None, answer: String::new(), error: None };
        let outcome = match sent {
            Ok(answer) => {
                tried.status = Some(answer.status.as_u16());
                tried.answer = answer.text;
                match answer.refusal {
                    None => Outcome::Done,
                    Some(reason) => Outcome::Later { reason, after: answer.after, holds_lane: false },
                }
            }
            Err(error @ SendError::Forbidden(_)) => Outcome::Dead { reason: error.to_string() },
            Err(error) => Outcome::Later { reason: error.to_string(), after: None, holds_lane: false },
        };
        if let Outcome::Later { reason, .. } | Outcome::Dead { reason } = &outcome {
            tried.error = Some(reason.clone());
        }
        let ended = (outcome == Outcome::Done).then(|| (self.clock)());
        self.store.delivery_tried(&payload.delivery, tried, ended).await?;
        Ok(outcome)
    }
}

fn payload_of(job: &Job) -> Option<Payload> {
    serde_json::from_value(job.payload.clone()).ok()
}

impl Work for SendWebhook {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn policy(&self) -> Policy {
        Policy {
            base: self.retry,
            // 2 s, 8 s, 32 s, 128 s: a restart of the other side passes meanwhile, and the lane is not held for long.
            factor: 4.0,
            cap: Duration::from_secs(600).max(self.retry),
            tries_max: Some(TRIES),
            give_up_after: Duration::from_secs(24 * 3_600),
        }
    }

    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome> {
        async move {
            let Some(payload) = payload_of(job) else {
                return Outcome::Dead { reason: "the job cannot be read".into() };
            };
            self.deliver(job, &payload).await.unwrap_or_else(|error| Outcome::Later {
                reason: error.to_string(),
                after: None,
                holds_lane: false,
            })
        }
        .boxed()
    }

    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let Some(payload) = payload_of(job) else { return };
            if let Err(error) = self.store.delivery_failed(&payload.delivery, reason, (self.clock)()).await {
                tracing::error!(%error, "why a delivery was given up could not be written down");
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
