//! Simulations over the API: what is counted is what agents recorded, runs do not disturb each other, and results stay.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use hyper::Method;
use offhook_engine::speech::stt::pocketsphinx::Pocketsphinx;
use offhook_tests::Server;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// A simulation must be over by then: its calls last some forty seconds.
const PATIENCE: Duration = Duration::from_secs(180);

async fn start(server: &Server, body: &Value) -> String {
    let json = [("content-type", "application/json")];
    let answer = server.ask(Method::POST, "/api/test/simulate-calls", &json, &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let started = answer.json();
    assert_eq!((&started["status"], &started["calls_initiated"]), (&"running".into(), &body["call_count"]));
    started["simulation_id"].as_str().unwrap().to_owned()
}

/// The simulation's status, once it is over.
async fn over(server: &Server, id: &str) -> Value {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let answer = server.get(&format!("/api/test/simulation/{id}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let status = answer.json();
        if status["status"] != "running" {
            return status;
        }
        assert!(Instant::now() < give_up, "{status:#}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn qualifications_are_those_that_agents_recorded() {
    if Pocketsphinx::load().is_err() {
        return;
    }
    let server = Server::start(&[]).await;
    // Of ten prospects seven say what qualifies them.
    let body = json!({
        "call_count": 10, "duration_seconds": 100,
        "caller_profiles": [{ "phone_number": "+1234567890", "name": "John Doe" }, { "phone_number": "+1234567891" }]
    });
    let id = start(&server, &body).await;
    let status = over(&server, &id).await;
    assert_eq!((&status["status"], &status["calls_failed"]), (&"completed".into(), &0.into()), "{status:#}");
    assert_eq!(status["calls_completed"], 10);
    let metrics = &status["metrics"];
    assert_eq!(metrics["appointments_scheduled"], 0);
    assert!(metrics["average_response_time"].as_f64().unwrap() > 0.1, "{status:#}");

    let calls = server.get("/v1/calls?limit=500").await.json();
    let calls = calls["calls"].as_array().unwrap();
    assert_eq!(calls.len(), 10);
    let from = |number: &str| calls.iter().filter(|call| call["from"] == number).count();
    assert_eq!((from("+1234567890"), from("+1234567891")), (5, 5), "profiles are cycled");
    let mut qualified = 0;
    for call in calls {
        let record = server.record(call["id"].as_str().unwrap()).await;
        qualified += usize::from(record["recorded"]["outcome"] == "qualified");
    }
    assert_eq!(metrics["successful_qualifications"], qualified);
    // A machine that is busy may cost a word, never make one up: three say that they do not qualify.
    assert!((5..=7).contains(&qualified), "{qualified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appointment_is_booked_by_the_agent_that_the_scenario_names() {
    if Pocketsphinx::load().is_err() {
        return;
    }
    let server = Server::start(&[]).await;
    let body = json!({ "call_count": 2, "duration_seconds": 100, "call_scenario": "appointment_booking" });
    let id = start(&server, &body).await;
    let status = over(&server, &id).await;
    let calls = server.get("/v1/calls").await.json();
    let mut booked = 0;
    for call in calls["calls"].as_array().unwrap() {
        assert_eq!(call["scenario"], "appointment_booking");
        let record = server.record(call["id"].as_str().unwrap()).await;
        booked += u64::from(record["recorded"]["outcome"] == "appointment_booked");
    }
    assert!(booked > 0, "{status:#}");
    assert_eq!(status["metrics"]["appointments_scheduled"], booked);
    assert_eq!(status["metrics"]["successful_qualifications"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_keep_apart_one_is_stopped_and_their_results_survive_a_restart() {
    let mut server = Server::start(&["--speech", "canned"]).await;
    let short = json!({ "call_count": 3, "duration_seconds": 2 });
    let long = json!({ "call_count": 2, "duration_seconds": 600, "call_scenario": "silent_caller" });
    let (long, short) = (start(&server, &long).await, start(&server, &short).await);
    assert_ne!(long, short);

    let status = over(&server, &short).await;
    // Their callers hang up when their two seconds are over: that is what was asked for.
    assert_eq!((&status["calls_completed"], &status["calls_failed"]), (&3.into(), &0.into()), "{status:#}");
    let running = server.get(&format!("/api/test/simulation/{long}")).await.json();
    assert_eq!(running["status"], "running");

    let stop = format!("/v1/simulations/{long}/stop");
    assert_eq!(server.ask(Method::POST, &stop, &[], "").await.status, 202);
    assert_eq!(over(&server, &long).await["status"], "stopped");
    assert_eq!(server.ask(Method::POST, &stop, &[], "").await.status, 409);
    assert_eq!(server.ask(Method::POST, "/v1/simulations/sim_no/stop", &[], "").await.status, 404);

    let before = server.get("/api/test/load-results").await.json();
    let runs = before["test_runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    let ids: Vec<&str> = runs.iter().map(|run| run["test_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["load_002", "load_001"], "the latest first");
    assert_eq!(before["summary"]["best_success_rate"], 1.0);

    server.kill();
    let server = Server::start_on(server.data(), &["--speech", "canned"], &[]).await;
    assert_eq!(server.get("/api/test/load-results").await.json(), before);
    let page = server.get("/v1/simulations?limit=1").await.json();
    assert_eq!(page["simulations"][0]["id"], short);
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = server.get(&format!("/v1/simulations?limit=1&cursor={cursor}")).await.json();
    assert_eq!((&next["simulations"][0]["id"], &next["next_cursor"]), (&long.into(), &Value::Null));
}
