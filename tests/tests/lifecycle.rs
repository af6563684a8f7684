//! How a server ends: it drains when it is told to, ends calls when the time is over or it is told again, and has complete
//! records of all of them.

use std::time::Duration;

use offhook::caller::{INCOMING_PATH, twiml};
use offhook_tests::conversation::{self, assert_conversed, assert_files, converse, sane_call};
use offhook_tests::server::PATIENCE;
use offhook_tests::{Announced, Answer, RawCall, Server, Signal};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// A call in the middle of the agent's greeting.
async fn running_call(server: &Server) -> RawCall {
    let mut call = RawCall::open(server).await;
    call.listen_until("the greeting", |call| call.heard.len() > 10).await;
    call
}

/// Waits until the server says that it drains, and gives what it says.
async fn draining(server: &Server) -> Answer {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let health = server.get("/health").await;
        if health.status == 503 {
            return health;
        }
        assert!(Instant::now() < give_up, "it does not drain: {}", health.text());
        sleep(Duration::from_millis(25)).await;
    }
}

/// The record of a call that was cut off when the server ended: complete, and told as what it was.
async fn assert_shut_down(server: &Server, call: &RawCall) {
    let record = server.record(&call.call_sid).await;
    assert_eq!(record["end_reason"], "shutdown", "{record:#}");
    assert!(record["ended_at"].is_string() && record["duration_ms"].is_u64(), "{record:#}");
    assert_eq!((&record["lost_timeline_entries"], &record["losses"]), (&json!(0), &json!([])), "{record:#}");
    let turns = record["turns"].as_array().map_or(0, Vec::len);
    assert_eq!(turns, 1, "what was said of the greeting is in it: {record:#}");
    assert_files(server, &record).await;
    let timeline = server.timeline(&call.call_sid).await;
    assert_eq!(timeline.last(), Some(&("ended".to_owned(), json!({ "reason": "shutdown" }))));
}

/// Starts a server again on the data of one that has ended.
async fn again(server: Server, scenario: &str) -> Server {
    let data = server.data();
    drop(server);
    Server::start_on(data, &["--speech", "keypad", "--scenario", scenario], &[]).await
}

fn path_of(scenario: &tempfile::NamedTempFile) -> String {
    scenario.path().to_str().expect("temporary files have plain names").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_lets_calls_finish_and_takes_no_new_ones() {
    let sentence = "We move house & are back <soon>.";
    let (mut server, scenario) =
        conversation::server(&[("OFFHOOK_DRAIN_SECONDS", "600"), ("OFFHOOK_BUSY_SENTENCE", sentence)]).await;
    let mut call = running_call(&server).await;
    let announced = Announced::to(&server).await;
    server.signal(Signal::Terminate);
    draining(&server).await;

    let refused =
        server.post_form(INCOMING_PATH, "CallSid=CArefused&From=%2B15005550009&To=%2B15005550006").await;
    assert_eq!(
        (refused.status, refused.header("content-type")),
        (200, "application/xml"),
        "{}",
        refused.text()
    );
    assert!(
        refused.text().contains("<Say>We move house &amp; are back &lt;soon&gt;.</Say>"),
        "{}",
        refused.text()
    );
    assert!(refused.text().contains("<Hangup"), "{}", refused.text());
    let read = twiml::read(refused.text());
    assert!(matches!(&read, Ok(twiml::Answer::Other(_))), "{read:?}");

    // A call that was announced before still comes in, and goes to its end like the one that runs.
    let mut late = RawCall::connect(&announced).await;
    late.connected().await;
    late.start(Some(&announced.token)).await;
    converse(&mut late).await;
    assert!(server.is_running(), "a call still runs");
    assert!(call.over.is_none());
    converse(&mut call).await;
    let status = server.ended().await;
    assert!(status.success(), "{status}");

    let server = again(server, &path_of(&scenario)).await;
    for call in [&call, &late] {
        assert_conversed(&server, call).await;
    }
    let refused = server.get("/v1/calls/CArefused").await;
    let record = if refused.status == 200 { refused.json() } else { Value::Null };
    assert!(record.is_null() || record["ended_at"].is_string(), "nothing waits for it: {record:#}");
    sane_call(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_health_says_that_it_drains_in_the_documented_form() {
    let (mut server, _scenario) = conversation::server(&[("OFFHOOK_DRAIN_SECONDS", "600")]).await;
    let mut call = running_call(&server).await;
    let healthy = server.get("/health").await.json();
    assert_eq!((&healthy["status"], &healthy["active_calls"]), (&json!("healthy"), &json!(1)));
    server.signal(Signal::Terminate);
    let health = draining(&server).await.json();
    assert_eq!((&health["status"], &health["active_calls"]), (&json!("draining"), &json!(1)), "{health}");
    let keys = |health: &Value| health.as_object().map(|health| health.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&health), keys(&healthy));
    call.hang_up().await;
    assert!(server.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_calls_may_be_sent_elsewhere_while_it_drains() {
    let elsewhere = "https://voice.example.com/incoming?from=a&to=b";
    let variables = [("OFFHOOK_DRAIN_SECONDS", "600"), ("OFFHOOK_BUSY_REDIRECT", elsewhere)];
    let (mut server, _scenario) = conversation::server(&variables).await;
    let mut call = running_call(&server).await;
    server.signal(Signal::Terminate);
    draining(&server).await;
    let sent_on = server.post_form(INCOMING_PATH, "CallSid=CAsent").await;
    assert_eq!(sent_on.status, 200);
    let text = sent_on.text();
    assert!(
        text.contains("<Redirect") && text.contains("https://voice.example.com/incoming?from=a&amp;to=b<"),
        "{text}"
    );
    call.hang_up().await;
    assert!(server.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_calls_stops_when_it_is_told_to() {
    let (mut server, _scenario) = conversation::server(&[("OFFHOOK_DRAIN_SECONDS", "600")]).await;
    server.signal(Signal::Terminate);
    assert!(server.ended().await.success());
    assert!(!server.data().path().join("simulator.token").exists(), "its token opens nothing any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_calls_end_with_their_records_complete() {
    let (mut server, scenario) = conversation::server(&[("OFFHOOK_DRAIN_SECONDS", "2")]).await;
    let mut calls = [running_call(&server).await, running_call(&server).await];
    server.signal(Signal::Terminate);
    // They go on: nothing of a drain reaches them before the deadline.
    for call in &mut calls {
        call.listen_until_gone().await;
    }
    assert!(server.ended().await.success());
    let server = again(server, &path_of(&scenario)).await;
    for call in &calls {
        assert_shut_down(&server, call).await;
    }
    sane_call(&server).await;
}

/// A call runs, the server is told each of these in turn, and it ends though there is time left to drain.
async fn ends_at_once(told: &[Signal]) {
    let (mut server, scenario) = conversation::server(&[("OFFHOOK_DRAIN_SECONDS", "3600")]).await;
    let mut call = running_call(&server).await;
    for (n, signal) in told.iter().enumerate() {
        if n > 0 {
            draining(&server).await;
            assert!(call.over.is_none(), "it drains");
        }
        server.signal(*signal);
    }
    call.listen_until_gone().await;
    let status = server.ended().await;
    assert!(status.success(), "{told:?}: {status}");
    let server = again(server, &path_of(&scenario)).await;
    assert_shut_down(&server, &call).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_twice_it_ends_calls_at_once() {
    ends_at_once(&[Signal::Terminate, Signal::Terminate]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_it_ends_calls_at_once() {
    ends_at_once(&[Signal::Interrupt]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_while_it_drains_it_ends_calls_at_once() {
    ends_at_once(&[Signal::Terminate, Signal::Interrupt]).await;
}
