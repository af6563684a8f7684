use serde_json::json;

use super::*;
use crate::domain::jobs::Lane;

const KINDS: [&str; 1] = ["work"];

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), UnixMs(0)).unwrap();
    (dir, store)
}

fn job(key: &str, lane: Lane, at: i64) -> NewJob {
    NewJob { kind: "work", key: key.into(), lane, payload: json!({ "key": key }), at: UnixMs(at) }
}

/// The keys of what is claimed at `now`, and when the next is due.
async fn claimed(store: &Store, now: i64) -> (Vec<Job>, Option<i64>) {
    let claimed = store.claim_jobs(KINDS.to_vec(), UnixMs(now), 100).await.unwrap();
    (claimed.jobs, claimed.next.map(|at| at.0))
}

fn keys(jobs: &[Job]) -> Vec<&str> {
    jobs.iter().map(|job| job.key.as_str()).collect()
}

fn again(at: i64, holds_lane: bool) -> Verdict {
    Verdict::Again { at: UnixMs(at), reason: "busy".into(), holds_lane }
}

#[tokio::test]
async fn a_job_of_a_kind_about_the_same_is_written_once() {
    let (_dir, store) = store();
    for at in [1, 2] {
        store.enqueue(job("a", Lane::ordered("l"), at)).await.unwrap();
    }
    let (jobs, next) = claimed(&store, 10).await;
    assert_eq!((jobs.len(), next), (1, None));
    let first = &jobs[0];
    assert_eq!((first.tries, first.created, &first.payload), (1, UnixMs(1), &json!({ "key": "a" })));
    store.end_try(first.id, Verdict::Done, UnixMs(11)).await.unwrap();
    store.enqueue(job("a", Lane::ordered("l"), 12)).await.unwrap();
    assert_eq!(claimed(&store, 20).await, (vec![], None), "nor again when it is done");
}

#[tokio::test]
async fn an_ordered_lane_waits_for_its_first_and_others_do_not_wait_for_it() {
    let (_dir, store) = store();
    for key in ["a1", "a2", "b1"] {
        store.enqueue(job(key, Lane::ordered(&key[..1]), 1)).await.unwrap();
    }
    let (jobs, _) = claimed(&store, 5).await;
    assert_eq!(keys(&jobs), ["a1", "b1"]);
    assert_eq!(claimed(&store, 5).await, (vec![], None), "one of a lane at a time");
    store.end_try(jobs[0].id, again(100, false), UnixMs(6)).await.unwrap();
    store.end_try(jobs[1].id, Verdict::Done, UnixMs(6)).await.unwrap();
    assert_eq!(claimed(&store, 99).await, (vec![], Some(100)), "the second does not overtake");
    let (jobs, _) = claimed(&store, 100).await;
    assert_eq!((keys(&jobs), jobs[0].tries), (vec!["a1"], 2));
    store.end_try(jobs[0].id, Verdict::Dead { reason: "no".into() }, UnixMs(101)).await.unwrap();
    assert_eq!(keys(&claimed(&store, 101).await.0), ["a2"]);
}

#[tokio::test]
async fn an_unordered_lane_lets_others_by_unless_it_is_held() {
    let (_dir, store) = store();
    for (key, at) in [("1", 1), ("2", 2), ("3", 3)] {
        store.enqueue(job(key, Lane::unordered("l"), at)).await.unwrap();
    }
    let (jobs, _) = claimed(&store, 5).await;
    assert_eq!(keys(&jobs), ["1"]);
    store.end_try(jobs[0].id, again(100, false), UnixMs(6)).await.unwrap();
    let (jobs, next) = claimed(&store, 6).await;
    assert_eq!((keys(&jobs), next), (vec!["2"], None), "one at a time here too");
    store.end_try(jobs[0].id, again(200, true), UnixMs(7)).await.unwrap();
    assert_eq!(claimed(&store, 199).await, (vec![], Some(200)), "all of them wait");
    assert_eq!(keys(&claimed(&store, 200).await.0), ["1"]);
}

#[tokio::test]
async fn the_longest_due_come_first_when_there_is_not_room_for_all() {
    let (_dir, store) = store();
    for (key, at) in [("a", 30), ("b", 10), ("c", 20)] {
        store.enqueue(job(key, Lane::ordered(key), at)).await.unwrap();
    }
    let claimed = store.claim_jobs(KINDS.to_vec(), UnixMs(50), 2).await.unwrap();
    assert_eq!((keys(&claimed.jobs), claimed.next), (vec!["b", "c"], Some(UnixMs(30))));
}

#[tokio::test]
async fn jobs_that_nobody_here_does_wait() {
    let (_dir, store) = store();
    store.enqueue(job("a", Lane::ordered("l"), 1)).await.unwrap();
    assert_eq!(store.claim_jobs(vec!["other"], UnixMs(9), 9).await.unwrap(), Claimed::default());
    assert_eq!(keys(&claimed(&store, 9).await.0), ["a"]);
}

#[tokio::test]
async fn what_ran_when_the_process_died_goes_on_where_it_was() {
    let (dir, store) = store();
    store.enqueue(job("a", Lane::ordered("l"), 1)).await.unwrap();
    let (jobs, _) = claimed(&store, 5).await;
    store.note_progress(jobs[0].id, json!({ "person": "p" })).await.unwrap();
    store.close();
    drop(store);
    let store = Store::open(dir.path(), UnixMs(6)).unwrap();
    let (jobs, _) = claimed(&store, 7).await;
    assert_eq!((jobs[0].tries, &jobs[0].progress), (2, &json!({ "person": "p" })), "the try counts");
    store.put_jobs_back().await.unwrap();
    let (jobs, _) = claimed(&store, 8).await;
    assert_eq!(jobs[0].tries, 2, "one that was put back does not");
}

#[tokio::test]
async fn a_job_that_was_given_up_can_be_taken_up_again() {
    let (_dir, store) = store();
    store.enqueue(job("a", Lane::ordered("l"), 1)).await.unwrap();
    assert!(!store.revive_job("work", "a".into(), UnixMs(2)).await.unwrap(), "it is not dead");
    let (jobs, _) = claimed(&store, 5).await;
    store.end_try(jobs[0].id, Verdict::Dead { reason: "no".into() }, UnixMs(6)).await.unwrap();
    assert!(store.revive_job("work", "a".into(), UnixMs(1_000)).await.unwrap());
    let (jobs, _) = claimed(&store, 1_000).await;
    assert_eq!((jobs[0].tries, jobs[0].created), (1, UnixMs(1_000)));
}

#[tokio::test]
async fn jobs_that_ended_long_ago_go_and_those_that_were_given_up_stay_longer() {
    let (_dir, store) = store();
    for key in 0..REMOVED_EVERY {
        store.enqueue(job(&key.to_string(), Lane::ordered(key.to_string()), 1)).await.unwrap();
    }
    let (jobs, _) = claimed(&store, 5).await;
    let (last, others) = jobs.split_last().unwrap();
    for job in others {
        let verdict = if job.id == 1 { Verdict::Dead { reason: "no".into() } } else { Verdict::Done };
        store.end_try(job.id, verdict, UnixMs(6)).await.unwrap();
    }
    let count = async || {
        store.read(|c| c.query_row("SELECT count(*) FROM jobs", [], |row| row.get::<_, i64>(0))).await
    };
    assert_eq!(count().await.unwrap(), REMOVED_EVERY);
    store.end_try(last.id, Verdict::Done, UnixMs(7 + KEPT_DONE_MS)).await.unwrap();
    assert_eq!(count().await.unwrap(), 2, "the dead one, and the one that ended just before");
}
