//! A server that dies in the middle of a call has kept what was said, and says so when it is back.

use std::time::Duration;

use futures_util::future::join_all;
use offhook::caller::{CallPlan, EndedBy, Step, place, prepare};
use offhook_tests::{Announced, RawCall, Server, server};
use serde_json::Value;

const FLAGS: [&str; 2] = ["--speech", "keypad"];

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_closes_its_call_at_the_next_start_with_all_that_was_said() {
    let mut server = Server::start(&FLAGS).await;
    let data = server.data();
    let script = prepare(&[Step::Keys("200#".into()), Step::Pause(Duration::from_secs(60))]).unwrap();
    let plan = CallPlan { call_sid: Some("CA1".into()), ..CallPlan::new(server.base(), script) };
    let call = tokio::spawn(place(plan, |_| {}));
    let running = server.record_when("CA1", |record| record["recorded"]["company_size"] == "200").await;
    assert_eq!(running["status"], "in-progress");
    server.kill();
    let report = call.await.unwrap().unwrap();
    assert!(matches!(report.ended_by, EndedBy::Lost(_)), "{:?}", report.ended_by);
    drop(server);

    let server = Server::start_on(data.clone(), &FLAGS, &[]).await;
    let record = server.record("CA1").await;
    assert_eq!((&record["status"], &record["end_reason"]), (&"failed".into(), &"engine-restarted".into()));
    assert_eq!(record["recorded"]["company_size"], "200");
    let turns = record["turns"].as_array().unwrap();
    assert_eq!(turns.len(), 2, "{record:#}");
    assert!(
        turns[0]["text"].as_str().unwrap().starts_with("Hello, and thank you for calling."),
        "{record:#}"
    );
    assert_eq!((&turns[1]["speaker"], &turns[1]["text"]), (&"caller".into(), &"200".into()));
    assert!(record["ended_at"].is_string(), "{record:#}");

    // What is in the journal runs as it did, and then it says that the end is missing.
    let journal = record["journal"].as_str().unwrap();
    let replayed = server::run(data.path(), &["replay", journal], &[]);
    let told = String::from_utf8_lossy(&replayed.stdout);
    assert!(!replayed.status.success(), "an incomplete journal is no success: {told}");
    assert!(told.contains("Same until ") && told.contains("where the journal lacks records"), "{told}");
    assert!(told.contains("200") && !told.contains("Different at"), "{told}");
    let json = server::run(data.path(), &["replay", "--json", journal], &[]);
    let json = String::from_utf8_lossy(&json.stdout);
    assert!(json.lines().last().unwrap().contains(r#""verdict":"same-as-far""#), "{json}");

    let mut call = RawCall::open(&server).await;
    call.listen_until("a greeting", |call| !call.heard.is_empty()).await;
    call.hang_up().await;
    assert_eq!(
        server.record(&call.call_sid).await["end_reason"],
        "caller-hangup",
        "the next call is as any other"
    );
}

/// A call's life at the moment of the crash.
const STAGES: [&str; 4] = ["announced", "greeted", "answered", "over"];

#[tokio::test(flavor = "multi_thread")]
async fn several_calls_at_once_each_keep_what_was_committed_of_them() {
    const OF_EACH: usize = 3;
    let mut server = Server::start(&FLAGS).await;
    let data = server.data();
    let mut calls: Vec<(&str, RawCall)> = Vec::new();
    let mut announced = Vec::new();
    for stage in STAGES {
        for _ in 0..OF_EACH {
            if stage == "announced" {
                announced.push(Announced::to(&server).await.call_sid);
            } else {
                calls.push((stage, RawCall::open(&server).await));
            }
        }
    }
    let played = calls.iter_mut().map(async |(stage, call)| {
        call.listen_to_turn().await;
        if *stage != "greeted" {
            for key in ['2', '0', '0', '#'] {
                call.press(key).await;
            }
            call.listen_to_turn().await;
        }
        if *stage == "over" {
            call.hang_up().await;
        }
    });
    join_all(played).await;
    let mut before = Vec::new();
    for (stage, call) in &calls {
        let wanted = |record: &Value| match *stage {
            "greeted" => record["turns"].as_array().is_some_and(|turns| !turns.is_empty()),
            "answered" => record["recorded"]["company_size"] == "200",
            _ => record["end_reason"].is_string(),
        };
        before.push(server.record_when(&call.call_sid, wanted).await);
    }
    server.kill();
    for (stage, call) in &mut calls {
        call.listen_until_gone().await;
        let code = call.over.as_ref().map(|goodbye| goodbye.code);
        assert_eq!(code.is_some_and(|code| code == 0), *stage != "over", "a dead process says no goodbye");
    }
    drop(server);

    let server = Server::start_on(data.clone(), &FLAGS, &[]).await;
    assert_eq!(server.get("/health").await.json()["active_calls"], 0);
    for ((stage, call), before) in calls.iter().zip(&before) {
        let record = server.record(&call.call_sid).await;
        let status =
            if *stage == "over" { ("completed", "caller-hangup") } else { ("failed", "engine-restarted") };
        assert_eq!(
            (&record["status"], &record["end_reason"]),
            (&status.0.into(), &status.1.into()),
            "{record:#}"
        );
        assert!(record["ended_at"].is_string(), "{record:#}");
        assert_eq!(record["recorded"], before["recorded"], "{stage}");
        // What was committed is there; more may have been committed between the look and the kill.
        let turns = |record: &Value| record["turns"].as_array().cloned().unwrap_or_default();
        let (kept, seen) = (turns(&record), turns(before));
        assert!(kept.len() >= seen.len(), "{stage}: {kept:#?} of {seen:#?}");
        for (kept, seen) in kept.iter().zip(&seen).take(seen.len() - usize::from(*stage != "over")) {
            assert_eq!(kept, seen, "{stage}");
        }
        let journal = record["journal"].as_str().unwrap();
        let replayed = server::run(data.path(), &["replay", journal], &[]);
        let told = String::from_utf8_lossy(&replayed.stdout);
        assert_eq!(replayed.status.success(), *stage == "over", "{stage}: {told}");
        assert!(!told.contains("Different at"), "{stage}: {told}");
    }
    for call in announced {
        let record = server.record_when(&call, |record| record["status"] != "announced").await;
        assert_eq!(record["end_reason"], "engine-restarted", "{record:#}");
    }
    let mut call = RawCall::open(&server).await;
    call.listen_until("a greeting", |call| !call.heard.is_empty()).await;
    call.hang_up().await;
    assert_eq!(server.record(&call.call_sid).await["end_reason"], "caller-hangup");
}
