//! A server that dies in the middle of a call has kept what was said, and says so when it is back.

use std::time::Duration;

use offhook::caller::{CallPlan, EndedBy, Step, place, prepare};
use offhook_tests::{RawCall, Server, server};

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
