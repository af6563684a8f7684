//! Many short calls and some long ones against the real server, over real sockets: afterwards its memory, its threads and
//! its open files are where they were.
//!
//! `cargo test` places a few hundred; `make soak` some thousand, for minutes (`OFFHOOK_SOAK_CALLS`).

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use offhook_tests::audio::{self, QUIET, Recording};
use offhook_tests::{RawCall, Server, soak};
use tokio::time::{Instant, sleep};

/// How many short calls are up at once.
const AT_ONCE: u64 = 40;
/// As many as it takes until all threads, buffers and caches are there.
const WARM_UP_CALLS: u64 = 160;
/// Calls that last from the beginning to the end.
const LONG_CALLS: usize = 3;
/// What memory may grow by: the ring of the log is filled bit by bit, and an allocator keeps what it may need again.
const MEMORY_SLACK_BYTES: u64 = 24 << 20;
/// A connection that the HTTP client has not closed yet, or a file of the store.
const FILES_SLACK: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn after_many_calls_the_server_is_where_it_was() {
    let calls = soak::setting("OFFHOOK_SOAK_CALLS", 400);
    let server = Arc::new(Server::start(&["--speech", "canned"]).await);
    short_calls(&server, WARM_UP_CALLS).await;
    let before = at_rest(&server).await;

    let done = Arc::new(AtomicBool::new(false));
    let long: Vec<_> =
        (0..LONG_CALLS).map(|_| tokio::spawn(long_call(server.clone(), done.clone()))).collect();
    short_calls(&server, calls).await;
    done.store(true, Ordering::Relaxed);
    for call_sid in join_all(long).await {
        let record = server.record(&call_sid.unwrap()).await;
        assert_eq!((&record["status"], &record["losses"]), (&"completed".into(), &serde_json::json!([])));
        let duration_ms = record["duration_ms"].as_u64().unwrap();
        Recording::read(&server.file(&record, "recording").await).assert_lasts(duration_ms);
        let replayed = server.replay(&record).await;
        assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stdout));
    }

    let after = at_rest(&server).await;
    soak::print(&format!("{calls} short calls and {LONG_CALLS} long ones: {before:?}, then {after:?}"));
    assert!(after.threads <= before.threads, "threads: {before:?}, then {after:?}");
    assert!(after.files <= before.files + FILES_SLACK, "open files: {before:?}, then {after:?}");
    let allowed = before.memory_bytes + MEMORY_SLACK_BYTES;
    assert!(after.memory_bytes <= allowed, "memory: {before:?}, then {after:?}");
}

/// What the server holds once nothing happens: it is looked at until it no longer falls.
async fn at_rest(server: &Server) -> soak::Held {
    let give_up = Instant::now() + Duration::from_secs(60);
    while server.get("/health").await.json()["active_calls"] != 0 {
        assert!(Instant::now() < give_up, "calls never end");
        sleep(Duration::from_millis(50)).await;
    }
    let mut held = soak::Held::of(server.process_id());
    loop {
        sleep(Duration::from_millis(1_500)).await;
        let now = soak::Held::of(server.process_id());
        if now.files >= held.files && now.threads >= held.threads || Instant::now() > give_up {
            return now;
        }
        held = now;
    }
}

/// Places so many calls, as many at once as there may be.
async fn short_calls(server: &Arc<Server>, calls: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let callers = (0..AT_ONCE).map(|_| {
        let (server, next) = (server.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return;
                }
                short_call(&server, number).await;
            }
        })
    });
    for caller in join_all(callers.collect::<Vec<_>>()).await {
        caller.unwrap();
    }
}

/// A call of a fraction of a second, which ends in one of the ways in which calls end.
async fn short_call(server: &Server, number: u64) {
    let mut call = RawCall::open(server).await;
    for _ in 0..3 + number % 17 {
        call.frame(&QUIET).await;
    }
    match number % 5 {
        0 => drop(call),
        1 => {
            call.text("{\"event\":\"nonsense\"}").await;
            call.hang_up().await;
        }
        2 => {
            call.press('1').await;
            call.hang_up().await;
        }
        _ => call.hang_up().await,
    }
}

/// A caller who speaks now and then, until it is `done`; the carrier's name for the call.
async fn long_call(server: Arc<Server>, done: Arc<AtomicBool>) -> String {
    let mut call = RawCall::open(&server).await;
    let speech = audio::clip("hello");
    while !done.load(Ordering::Relaxed) {
        call.say(&speech).await;
        for _ in 0..100 {
            call.frame(&QUIET).await;
        }
    }
    call.hang_up().await;
    call.call_sid
}
