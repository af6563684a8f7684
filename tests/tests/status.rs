//! `/status` over the built binary: the documented keys, what probes of a Twilio on loopback find, and the day's figures.

use std::time::Duration;

use offhook_fixtures::twilio::{Mood, TwilioApi};
use offhook_tests::server::PATIENCE;
use offhook_tests::{RawCall, Server};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const TOKEN: &str = "3a9c0e5d7f1b24680ace13579bdf0246";

/// The answer as it is documented.
fn documented() -> Value {
    json!({
        "application": { "status": "running", "version": "1.0.0", "environment": "production" },
        "services": {
            "twilio": { "status": "connected", "last_check": "2024-01-01T12:00:00Z" },
            "google_cloud": { "status": "connected", "speech_api": "available", "tts_api": "available" },
            "salesforce": { "status": "connected", "api_version": "58.0" },
            "calendar": { "provider": "salesforce", "status": "connected" },
        },
        "metrics": {
            "active_calls": 3,
            "total_calls_today": 127,
            "average_call_duration": 180,
            "success_rate": 0.94,
        },
    })
}

/// Checks that two values have the same keys, in the same order, and the same types below them.
fn assert_same_shape(place: &str, given: &Value, documented: &Value) {
    match (given, documented) {
        (Value::Object(given), Value::Object(documented)) => {
            let keys = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(given), keys(documented), "{place}");
            for (key, value) in given {
                assert_same_shape(&format!("{place}.{key}"), value, &documented[key]);
            }
        }
        (Value::String(_), Value::String(_)) => {}
        (Value::Number(given), Value::Number(documented)) => {
            assert_eq!(given.is_u64(), documented.is_u64(), "{place} is {given}");
        }
        _ => panic!("{place} is {given}"),
    }
}

async fn status(server: &Server) -> Value {
    let answer = server.get("/status").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json"),
        "{}",
        answer.text()
    );
    let status = answer.json();
    assert_same_shape("status", &status, &documented());
    status
}

/// The answer, once Twilio stands as `wanted`.
async fn status_when(server: &Server, wanted: &str) -> Value {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let status = status(server).await;
        if status["services"]["twilio"]["status"] == wanted {
            return status;
        }
        assert!(Instant::now() < give_up, "Twilio is not {wanted}: {status:#}");
        sleep(Duration::from_millis(25)).await;
    }
}

async fn serve_with(base: &str, token: &str) -> Server {
    let variables =
        [("TWILIO_ACCOUNT_SID", ACCOUNT), ("TWILIO_AUTH_TOKEN", token), ("OFFHOOK_TWILIO_BASE_URL", base)];
    Server::start_with(&["--speech", "canned"], &variables).await
}

/// What the log says of services.
async fn said_of_services(server: &Server) -> Vec<String> {
    let latest = server.get("/api/logs/latest?lines=1000").await;
    assert!(!latest.text().contains(TOKEN), "the log holds the token: {}", latest.text());
    let latest = latest.json();
    let entries = latest["logs"].as_array().expect("the answer has logs").iter();
    let messages = entries.filter(|entry| entry["module"] == "services").map(|entry| &entry["message"]);
    messages.map(|message| message.as_str().expect("a message is a text").to_owned()).collect()
}

/// Checks that the log says one thing of services, and `wanted` in it. A line comes a moment after what it tells.
async fn assert_said_once(server: &Server, wanted: &str) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let said = said_of_services(server).await;
        if !said.is_empty() || Instant::now() >= give_up {
            assert!(said.len() == 1 && said[0].contains(wanted), "{said:?}");
            return;
        }
        sleep(Duration::from_millis(25)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_configured_says_so_and_the_time_is_that_of_the_start() {
    let server = Server::start(&["--speech", "canned"]).await;
    let first = status(&server).await;
    assert_eq!(first["application"]["environment"], "development");
    for service in ["twilio", "google_cloud", "salesforce", "calendar"] {
        assert_eq!(first["services"][service]["status"], "not_configured", "{service}");
    }
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(status(&server).await["services"], first["services"], "no time of this answer's own making");
    assert_eq!(said_of_services(&server).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn twilio_is_connected_when_it_knows_the_account() {
    let api = TwilioApi::start(ACCOUNT, TOKEN).await;
    let server = serve_with(&api.base_url(), TOKEN).await;
    let first = status_when(&server, "connected").await;
    for _ in 0..5 {
        let again = status(&server).await;
        assert_eq!(again["services"], first["services"], "who asks for the status does not ask Twilio");
    }
    let asked = api.asked();
    assert!(asked.len() == 1 && asked[0].authenticated, "{asked:?}");
    assert_said_once(&server, "a service is connected service=twilio").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twilio_is_disconnected_when_it_refuses_and_the_log_says_why_without_the_token() {
    let api = TwilioApi::start(ACCOUNT, "another").await;
    let server = serve_with(&api.base_url(), TOKEN).await;
    status_when(&server, "disconnected").await;
    assert_said_once(&server, "HTTP 401, Twilio's error 20003").await;

    api.turn(Mood::Suspended);
    let server = serve_with(&api.base_url(), "another").await;
    status_when(&server, "disconnected").await;
    assert_said_once(&server, "the account is suspended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twilio_is_disconnected_when_nothing_listens_there() {
    let api = TwilioApi::start(ACCOUNT, TOKEN).await;
    let closed = api.base_url();
    drop(api);
    let server = serve_with(&closed, TOKEN).await;
    status_when(&server, "disconnected").await;
    assert_said_once(&server, "refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twilio_that_does_not_answer_holds_no_status_up() {
    let api = TwilioApi::start(ACCOUNT, TOKEN).await;
    api.turn(Mood::Slow(Duration::from_secs(600)));
    let server = serve_with(&api.base_url(), TOKEN).await;
    // It answers at all, though Twilio will not for ten minutes; once the probe is given up, it says so.
    status(&server).await;
    status_when(&server, "disconnected").await;
    assert_said_once(&server, "no answer within 5 s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_those_of_the_days_calls() {
    let server = Server::start(&["--speech", "canned"]).await;
    let metrics = status(&server).await["metrics"].take();
    assert_eq!(
        metrics,
        json!({ "active_calls": 0, "total_calls_today": 0, "average_call_duration": 0, "success_rate": 0.0 })
    );
    let mut call = RawCall::open(&server).await;
    server.record_when(&call.call_sid, |record| record["status"] == "in-progress").await;
    let metrics = status(&server).await["metrics"].take();
    assert_eq!((&metrics["active_calls"], &metrics["total_calls_today"]), (&json!(1), &json!(1)));
    call.hang_up().await;
    server.record(&call.call_sid).await;
    let form = |sid: &str| format!("CallSid={sid}&CallStatus=no-answer");
    assert_eq!(server.post_form("/api/callbot/incoming-call", "CallSid=CA2").await.status, 200);
    assert_eq!(server.post_form("/api/callbot/call-status", &form("CA2")).await.status, 200);
    let metrics = status(&server).await["metrics"].take();
    assert_eq!(
        (&metrics["active_calls"], &metrics["total_calls_today"], &metrics["success_rate"]),
        (&json!(0), &json!(2), &json!(0.5))
    );
}
