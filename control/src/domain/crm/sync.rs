//! Puts an ended call into a CRM: finds the person or creates one, and logs the call with them.
//!
//! ```text
//! person known? ── no ─► find by number ── none ─► created lately? ── no ─► create
//!      │                                                                       │
//!      └────────────────────────────► noted ◄──────────────────────────────────┘
//!                                       │
//!            begun to log before? ─ yes ─► look for it ── there ─┐
//!                       └─ no ─────────────► log it ─────────────┴─► noted ─► complete ─► done
//! ```
//!
//! What each step found is noted with the job, so that a restart goes on at the step under way. A step whose outcome is not
//! known looks for what it may have made before it makes it again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::activity::{Texts, key};
use super::{AccessError, Crms, Open, Synced};
use crate::domain::account_calls::EndedCall;
use crate::domain::jobs::{Clock, Job, Outcome, Policy, Work};
use crate::domain::phone::E164;
use crate::integrations::crm::{Crm, CrmError, LoggedCall, NewPerson, Person};
use crate::store::{Store, StoreError};

/// The kind of these jobs.
pub const KIND: &str = "crm-sync";

/// For so long a person who was created is remembered, though the CRM's search does not find them.
const REMEMBERED_MS: i64 = 60 * 60 * 1_000;

/// What such a job is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Payload {
    /// The sync's id.
    pub sync: String,
    /// Whose.
    pub owner: String,
    /// Which CRM.
    pub crm: String,
    /// The call, by its id in `account_calls`.
    pub call: String,
}

/// What is done of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Progress {
    /// When a person was begun to be created, in Unix ms: they may be there.
    creating_ms: Option<i64>,
    person: Option<Person>,
    person_created: bool,
    /// The call was begun to be logged: it may be there.
    logging: bool,
    activity: Option<String>,
}

/// Why a step did not succeed.
enum Stop {
    Crm(CrmError),
    Access(AccessError),
    Store(StoreError),
    Outcome(Outcome),
}

impl From<CrmError> for Stop {
    fn from(error: CrmError) -> Self {
        Self::Crm(error)
    }
}

impl From<AccessError> for Stop {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The work.
pub struct CrmSync {
    crms: Arc<Crms>,
    store: Arc<Store>,
    clock: Clock,
    /// The wait after the first failure.
    retry: Duration,
    /// The dashboard's base with its origin, for links; none if nobody outside can follow them.
    base: Option<String>,
}

impl CrmSync {
    /// `base`: see [`CrmSync::base`].
    pub fn new(
        crms: Arc<Crms>,
        store: Arc<Store>,
        clock: Clock,
        retry: Duration,
        base: Option<String>,
    ) -> Self {
        Self { crms, store, clock, retry, base }
    }

    async fn sync(&self, job: &Job, payload: &Payload, crm: Crm) -> Result<(), Stop> {
        let dead = |reason: &str| Stop::Outcome(Outcome::Dead { reason: reason.into() });
        let call = self.store.ended_call(&payload.call).await?;
        let call = call.ok_or_else(|| dead("the call's record was deleted"))?;
        let number = call.customer_phone.as_deref().and_then(E164::parse);
        let number = number.ok_or_else(|| dead("the customer's number was withheld, or is none"))?;
        let mut open = self.crms.open(&payload.owner, crm, (self.clock)()).await?;
        let mut progress: Progress = serde_json::from_value(job.progress.clone()).unwrap_or_default();
        let mut is_renewed = false;
        loop {
            let synced = Syncing { work: self, job: job.id, call: &call, number: &number, open: &open }
                .steps(&mut progress)
                .await;
            match synced {
                // Its time may have been over before it was said to be. A second time in a row it is not that.
                Err(Stop::Crm(CrmError::Expired(_))) if !is_renewed => {
                    is_renewed = true;
                    open = self.crms.reopen(&open, (self.clock)()).await?;
                }
                // Somebody deleted or merged them meanwhile: they are looked for anew.
                Err(Stop::Crm(CrmError::Gone(reason))) if progress.person.is_some() => {
                    self.store.forget_person(&open.connection, &number).await?;
                    self.store.note_progress(job.id, serde_json::json!({})).await?;
                    return Err(Stop::Outcome(Outcome::Later { reason, after: None, holds_lane: false }));
                }
                Err(stop) => return Err(stop),
                Ok(()) => break,
            }
        }
        let Progress { person, person_created, activity, .. } = progress;
        let synced = Synced { person, person_created, activity };
        Ok(self.store.synced(&payload.sync, job.tries, synced, (self.clock)()).await?)
    }
}

/// One try.
struct Syncing<'a> {
    work: &'a CrmSync,
    job: i64,
    call: &'a EndedCall,
    number: &'a E164,
    open: &'a Open,
}

impl Syncing<'_> {
    async fn steps(&self, progress: &mut Progress) -> Result<(), Stop> {
        if progress.person.is_none() {
            self.person(progress).await?;
        }
        let person = progress.person.clone().expect("it was just found or created");
        let base = self.work.base.as_deref();
        let texts = Texts::of(self.call, self.number, base, &self.open.connection);
        let logged = texts.logged(self.call, self.number);
        if progress.activity.is_none() {
            progress.activity = Some(self.activity(progress, &person, &logged).await?);
            self.note(progress).await?;
        }
        let activity = progress.activity.as_deref().expect("it was just logged");
        Ok(self.open.client.complete(self.open.access(), activity, &logged).await?)
    }

    /// Finds the person, or creates one.
    async fn person(&self, progress: &mut Progress) -> Result<(), Stop> {
        let now = (self.work.clock)();
        let (client, access) = (&self.open.client, self.open.access());
        let lag = client.search_lag();
        // A search that may not know yet what an earlier try created must not be believed.
        if let Some(begun_ms) = progress.creating_ms {
            let left = begun_ms.saturating_add(millis(lag)).saturating_sub(now.0);
            if left > 0 {
                let after = Some(Duration::from_millis(left.unsigned_abs()));
                let reason = "it is not known yet whether the person was created".to_owned();
                return Err(Stop::Outcome(Outcome::Later { reason, after, holds_lane: false }));
            }
        }
        let mut found = client.find(access, self.number).await?;
        if found.is_some() {
            // After a try whose end nobody saw, it is the one that it made.
            progress.person_created |= progress.creating_ms.is_some();
        } else {
            let since = now.0.saturating_sub(REMEMBERED_MS);
            found = self.work.store.remembered_person(&self.open.connection, self.number, since).await?;
        }
        let person = match found {
            Some(person) => person,
            None => {
                progress.creating_ms = Some(now.0);
                self.note(progress).await?;
                let new = NewPerson {
                    key: key("person", &self.open.connection, self.number.as_str()),
                    number: self.number,
                    name: self.call.customer_name.as_deref(),
                };
                let person = match client.create(access, &new).await {
                    // It was not created: the next try need not wait to see that.
                    Err(error) if !is_unsure(&error) => {
                        progress.creating_ms = None;
                        self.note(progress).await?;
                        return Err(error.into());
                    }
                    created => created?,
                };
                progress.person_created = true;
                let store = &self.work.store;
                store.remember_person(&self.open.connection, self.number, &person, now).await?;
                person
            }
        };
        progress.creating_ms = None;
        progress.person = Some(person);
        Ok(())
    }

    /// Logs the call, unless an earlier try did.
    async fn activity(
        &self,
        progress: &mut Progress,
        person: &Person,
        logged: &LoggedCall<'_>,
    ) -> Result<String, Stop> {
        let (client, access) = (&self.open.client, self.open.access());
        if progress.logging {
            if let Some(there) = client.find_call(access, person, logged).await? {
                return Ok(there);
            }
        } else {
            progress.logging = true;
            self.note(progress).await?;
        }
        Ok(client.log_call(access, person, logged).await?)
    }

    async fn note(&self, progress: &Progress) -> Result<(), StoreError> {
        let progress = serde_json::to_value(progress).expect("texts and numbers are JSON");
        self.work.store.note_progress(self.job, progress).await
    }
}

fn is_unsure(error: &CrmError) -> bool {
    matches!(error, CrmError::Later { is_unsure: true, .. })
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// What becomes of the job.
fn outcome(stop: Stop) -> Outcome {
    let later = |reason: String, holds_lane| Outcome::Later { reason, after: None, holds_lane };
    match stop {
        Stop::Outcome(outcome) => outcome,
        Stop::Crm(CrmError::Later { detail, after, is_general, .. }) => {
            Outcome::Later { reason: detail, after, holds_lane: is_general }
        }
        Stop::Crm(CrmError::Expired(reason)) => later(reason, true),
        Stop::Crm(CrmError::Gone(reason) | CrmError::Refused(reason)) => Outcome::Dead { reason },
        Stop::Access(AccessError::Later(reason)) => later(reason, true),
        Stop::Access(AccessError::Store(error)) | Stop::Store(error) => later(error.to_string(), true),
        Stop::Access(error) => Outcome::Dead { reason: error.to_string() },
    }
}

fn payload_of(job: &Job) -> Option<(Payload, Crm)> {
    let payload: Payload = serde_json::from_value(job.payload.clone()).ok()?;
    let crm = Crm::from_text(&payload.crm)?;
    Some((payload, crm))
}

impl Work for CrmSync {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn policy(&self) -> Policy {
        Policy {
            base: self.retry,
            factor: 2.0,
            cap: Duration::from_secs(600).max(self.retry),
            tries_max: None,
            // So long a CRM may be down, or nobody notice that it takes nothing.
            give_up_after: Duration::from_secs(3 * 24 * 3_600),
        }
    }

    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome> {
        async move {
            let Some((payload, crm)) = payload_of(job) else {
                return Outcome::Dead { reason: "the job cannot be read".into() };
            };
            match self.sync(job, &payload, crm).await {
                Ok(()) => Outcome::Done,
                Err(stop) => outcome(stop),
            }
        }
        .boxed()
    }

    fn failed<'a>(&'a self, job: &'a Job, reason: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let Some((payload, _)) = payload_of(job) else { return };
            if let Err(error) = self.store.sync_failed(&payload.sync, job.tries, reason, None).await {
                tracing::warn!(%error, "why a sync failed could not be written down");
            }
        }
        .boxed()
    }

    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let Some((payload, _)) = payload_of(job) else { return };
            let ended = Some((self.clock)());
            if let Err(error) = self.store.sync_failed(&payload.sync, job.tries, reason, ended).await {
                tracing::error!(%error, "why a sync was given up could not be written down");
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
