use std::sync::Mutex;
use std::sync::atomic::AtomicI64;

use futures_util::future::BoxFuture;
use serde_json::json;

use super::super::{Lane, NewJob, Policy};
use super::*;

/// Work whose tries end as a test says, by the job's key.
#[derive(Default)]
struct Scripted {
    outcomes: Mutex<BTreeMap<String, Vec<Outcome>>>,
    begun: Mutex<Vec<String>>,
    given_up: Mutex<Vec<(String, String)>>,
    failed: Mutex<Vec<(String, u32)>>,
}

impl Work for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn policy(&self) -> Policy {
        Policy {
            base: Duration::from_secs(2),
            factor: 2.0,
            cap: Duration::from_secs(60),
            tries_max: Some(3),
            give_up_after: Duration::from_secs(3_600),
        }
    }

    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome> {
        self.begun.lock().unwrap().push(job.key.clone());
        let mut outcomes = self.outcomes.lock().unwrap();
        let script = outcomes.entry(job.key.clone()).or_default();
        let outcome = if script.is_empty() { Outcome::Done } else { script.remove(0) };
        Box::pin(async move {
            assert!(!matches!(&outcome, Outcome::Dead { reason } if reason == "panic"), "as the test wants");
            if matches!(&outcome, Outcome::Dead { reason } if reason == "hang") {
                std::future::pending::<()>().await;
            }
            outcome
        })
    }

    fn failed<'a>(&'a self, job: &'a Job, _: &'a str) -> BoxFuture<'a, ()> {
        self.failed.lock().unwrap().push((job.key.clone(), job.tries));
        Box::pin(async {})
    }

    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> BoxFuture<'a, ()> {
        self.given_up.lock().unwrap().push((job.key.clone(), reason.to_owned()));
        Box::pin(async {})
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    store: Arc<Store>,
    work: Arc<Scripted>,
    now: Arc<AtomicI64>,
    worker: Arc<Worker>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
        let (work, now) = (Arc::new(Scripted::default()), Arc::new(AtomicI64::new(1_000)));
        let clock = now.clone();
        let clock: Clock = Arc::new(move || UnixMs(clock.load(Ordering::Relaxed)));
        let worker = Arc::new(Worker::new(store.clone(), vec![work.clone()], clock));
        Self { _dir: dir, store, work, now, worker }
    }

    async fn enqueue(&self, key: &str, outcomes: Vec<Outcome>) {
        self.work.outcomes.lock().unwrap().insert(key.into(), outcomes);
        let at = UnixMs(self.now.load(Ordering::Relaxed));
        let job =
            NewJob { kind: "scripted", key: key.into(), lane: Lane::ordered("l"), payload: json!({}), at };
        self.store.enqueue(job).await.unwrap();
    }

    /// Does all that is due at `now`, and says when the next is.
    async fn at(&self, now: i64) -> Option<i64> {
        self.now.store(now, Ordering::Relaxed);
        let mut running = JoinSet::new();
        loop {
            let next = self.worker.start_due(&mut running).await.unwrap();
            if running.is_empty() {
                return next.map(|at| at.0);
            }
            while let Some(done) = running.join_next().await {
                done.unwrap();
            }
        }
    }
}

fn later(after: Option<u64>) -> Outcome {
    Outcome::Later { reason: "busy".into(), after: after.map(Duration::from_secs), holds_lane: false }
}

#[tokio::test]
async fn a_job_is_tried_again_when_its_wait_is_over_and_given_up_after_its_tries() {
    let bench = Bench::new();
    bench.enqueue("a", vec![later(None), later(Some(30)), later(None)]).await;
    bench.enqueue("b", vec![]).await;
    let second = bench.at(1_000).await.unwrap();
    assert!((3_000..=3_500).contains(&second), "{second}");
    assert_eq!(bench.at(second - 1).await, Some(second));
    assert_eq!(bench.at(second).await, Some(second + 30_000), "as the other side asked");
    assert_eq!(bench.at(second + 30_000).await, None);
    assert_eq!(*bench.work.begun.lock().unwrap(), ["a", "a", "a", "b"]);
    assert_eq!(*bench.work.failed.lock().unwrap(), [("a".into(), 1), ("a".into(), 2)]);
    assert_eq!(*bench.work.given_up.lock().unwrap(), [("a".to_owned(), "busy".to_owned())]);
    assert_eq!(bench.worker.tallies(), [("scripted", Tally { done: 1, failed: 2, given_up: 1 })]);
}

#[tokio::test]
async fn a_fault_in_the_work_is_a_failed_try_and_ends_nothing_else() {
    let bench = Bench::new();
    bench.enqueue("a", vec![Outcome::Dead { reason: "panic".into() }]).await;
    let second = bench.at(1_000).await.unwrap();
    assert_eq!(bench.at(second).await, None);
    assert_eq!(*bench.work.begun.lock().unwrap(), ["a", "a"]);
    assert_eq!(*bench.work.failed.lock().unwrap(), [("a".into(), 1)]);
}

#[tokio::test]
async fn a_job_that_takes_the_process_along_each_time_is_given_up() {
    let bench = Bench::new();
    bench.enqueue("a", vec![]).await;
    for _ in 0..3 {
        let claimed = bench.store.claim_jobs(vec!["scripted"], UnixMs(1_000), 1).await.unwrap();
        assert_eq!(claimed.jobs.len(), 1);
        // As the next start does after a death.
        let waiting = Verdict::Again { at: UnixMs(1_000), reason: String::new(), holds_lane: false };
        bench.store.end_try(claimed.jobs[0].id, waiting, UnixMs(1_000)).await.unwrap();
    }
    assert_eq!(bench.at(1_000).await, None);
    assert!(bench.work.begun.lock().unwrap().is_empty(), "it is not begun again");
    assert_eq!(bench.work.given_up.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_works_is_woken_by_a_new_job_and_puts_back_what_does_not_end() {
    let bench = Bench::new();
    let (stop, stopped) = watch::channel(false);
    let working = tokio::spawn(bench.worker.clone().keep_working(stopped));
    let begun = async |count: usize| {
        while bench.work.begun.lock().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
    };
    bench.enqueue("a", vec![]).await;
    begun(1).await;
    bench.enqueue("b", vec![Outcome::Dead { reason: "hang".into() }]).await;
    begun(2).await;
    stop.send(true).unwrap();
    working.await.unwrap();
    let claimed = bench.store.claim_jobs(vec!["scripted"], UnixMs(1_000), 9).await.unwrap();
    assert_eq!((claimed.jobs[0].key.as_str(), claimed.jobs[0].tries), ("b", 1), "its try does not count");
}
