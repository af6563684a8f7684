//! The worker: claims jobs whose time has come, does them side by side, and writes down what came of each.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Claimed, Job, Next, Outcome, Verdict, Work};
use crate::domain::time::UnixMs;
use crate::store::{Store, StoreError};

/// How many jobs are done at once. Each waits for somebody else nearly all of its time: this many slow destinations hold up no
/// other.
const AT_ONCE: usize = 256;
/// The longest sleep: a clock that is set anew is noticed by then.
const NAP_MAX: Duration = Duration::from_secs(30);
/// How long is waited after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long jobs may go on that run when the server stops.
const LAST_MOMENTS: Duration = Duration::from_secs(3);

/// What time it is.
pub type Clock = Arc<dyn Fn() -> UnixMs + Send + Sync>;

/// What came of a kind's jobs since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Jobs that are done.
    pub done: u64,
    /// Tries that failed, and were to be followed by another.
    pub failed: u64,
    /// Jobs that were given up.
    pub given_up: u64,
}

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
}

/// Does jobs.
pub struct Worker {
    store: Arc<Store>,
    works: BTreeMap<&'static str, (Arc<dyn Work>, Counts)>,
    clock: Clock,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Worker").field(&self.works.keys()).finish()
    }
}

impl Worker {
    /// A worker for these kinds of work. Jobs of other kinds wait.
    pub fn new(store: Arc<Store>, works: Vec<Arc<dyn Work>>, clock: Clock) -> Self {
        let works = works.into_iter().map(|work| (work.kind(), (work, Counts::default()))).collect();
        Self { store, works, clock }
    }

    /// What came of each kind's jobs so far, in the order of their names.
    pub fn tallies(&self) -> Vec<(&'static str, Tally)> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let tally = |counts: &Counts| Tally {
            done: read(&counts.done),
            failed: read(&counts.failed),
            given_up: read(&counts.given_up),
        };
        self.works.iter().map(|(kind, (_, counts))| (*kind, tally(counts))).collect()
    }

    /// Works until `stop` is true or its sender is gone. Jobs that run then have some moments; those that do not end in them
    /// are put back as they were.
    pub async fn keep_working(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut running = JoinSet::new();
        let stopped = async move {
            // An error says that nobody can say stop any more.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        tokio::pin!(stopped);
        loop {
            let enqueued = self.store.job_enqueued();
            let nap = match self.start_due(&mut running).await {
                Ok(next) => self.nap(next),
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "jobs cannot be looked for");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                () = &mut stopped => break,
                Some(_) = running.join_next() => {}
                () = enqueued => {}
                () = sleep(nap) => {}
            }
        }
        let ending = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_MOMENTS, ending).await.is_err() {
            running.shutdown().await;
        }
        if let Err(error) = self.store.put_jobs_back().await {
            tracing::warn!(%error, "jobs are put back at the next start");
        }
    }

    /// Begins all jobs that are due and that there is room for, and says when the next one is.
    pub async fn start_due(
        self: &Arc<Self>,
        running: &mut JoinSet<()>,
    ) -> Result<Option<UnixMs>, StoreError> {
        while running.try_join_next().is_some() {}
        let room = AT_ONCE.saturating_sub(running.len());
        if room == 0 {
            return Ok(None);
        }
        let kinds = self.works.keys().copied().collect();
        let Claimed { jobs, next } = self.store.claim_jobs(kinds, (self.clock)(), room).await?;
        for job in jobs {
            let worker = self.clone();
            running.spawn(async move { worker.work_on(job).await });
        }
        Ok(next)
    }

    fn nap(&self, next: Option<UnixMs>) -> Duration {
        let left = next.map_or(i64::MAX, |next| next.0.saturating_sub((self.clock)().0).max(1));
        Duration::from_millis(left.unsigned_abs()).min(NAP_MAX)
    }

    async fn work_on(&self, job: Job) {
        let Some((work, counts)) = self.works.get(job.kind.as_str()) else { return };
        let policy = work.policy();
        let outcome = if policy.is_used_up(job.tries) {
            Outcome::Dead { reason: "the server died in each of its tries".into() }
        } else {
            let run = AssertUnwindSafe(work.run(&job)).catch_unwind();
            run.await.unwrap_or_else(|_| Outcome::Later {
                reason: "a fault of this server".into(),
                after: None,
                holds_lane: false,
            })
        };
        let verdict = match outcome {
            Outcome::Done => Verdict::Done,
            Outcome::Dead { reason } => Verdict::Dead { reason },
            Outcome::Later { reason, after, holds_lane } => {
                match policy.next(job.tries, job.created, (self.clock)(), after, chance()) {
                    Next::At(at) => Verdict::Again { at, reason, holds_lane },
                    Next::GiveUp => Verdict::Dead { reason },
                }
            }
        };
        let Job { kind, key, tries, .. } = &job;
        match &verdict {
            Verdict::Done => {
                counts.done.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(kind, key, tries, "a job is done");
            }
            Verdict::Again { reason, .. } => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                tracing::info!(kind, key, tries, reason, "a job failed and is tried again");
                work.failed(&job, reason).await;
            }
            Verdict::Dead { reason } => {
                counts.given_up.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(kind, key, tries, reason, "a job is given up");
                work.gave_up(&job, reason).await;
            }
        }
        // Until this is written down, the job runs: its lane waits.
        loop {
            match self.store.end_try(job.id, verdict.clone(), (self.clock)()).await {
                Ok(()) | Err(StoreError::Closed) => return,
                Err(error) => tracing::warn!(%error, kind, key, "what came of a job cannot be written yet"),
            }
            sleep(STORE_PAUSE).await;
        }
    }
}

/// From 0 to 1, by the clock's smallest digits: that is chance enough to part those who failed together.
fn chance() -> f64 {
    f64::from(jiff::Timestamp::now().subsec_nanosecond().unsigned_abs() % 1_000_000) / 1e6
}

#[cfg(test)]
mod tests;
