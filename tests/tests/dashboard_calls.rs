//! Calls that run, end and are counted for their owner, over real sockets; with those that are reported from outside.

use futures_util::future::join_all;
use hyper::Method;
use offhook_tests::dashboard::{self, User, report, status, variables};
use offhook_tests::desk::{self, Owner, google_client};
use offhook_tests::{RawCall, Server};
use serde_json::{Value, json};

const FLAGS: [&str; 2] = ["--speech", "keypad"];
const OWNER: &str = "owner@example.com";

/// A server whose calls on nobody's line are those of [`OWNER`].
async fn server() -> Server {
    let variables = [&variables()[..], &[("OFFHOOK_CALLS_OWNER", OWNER)]].concat();
    Server::start_with(&FLAGS, &variables).await
}

/// What a user with no calls sees.
async fn assert_sees_nothing(user: &User<'_>) {
    for (path, nothing) in [
        ("/api/active-calls", json!([])),
        ("/api/webhook-calls", json!([])),
        ("/api/concurrent-calls", json!({ "current": 0, "peak": 0 })),
        ("/api/concurrent-calls/timeseries", json!([])),
        ("/api/agent-distribution", json!([])),
        ("/api/call-ended-reasons?start_date=2026-01-01", json!([])),
        ("/api/keywords", json!([])),
        ("/api/intent-analysis", json!([])),
        ("/api/appointments", json!([])),
        (
            "/api/dashboard-summary",
            json!({
                "totalCalls": 0, "answeredCalls": 0, "missedCalls": 0, "averageDuration": 0, "totalDuration": 0,
            }),
        ),
    ] {
        assert_eq!(user.get(path).await, nothing, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_seen_while_it_runs_and_counted_once_it_is_over_by_its_owner_alone() {
    let server = server().await;
    let (owner, other) = (User::named(&server, OWNER).await, User::new(&server).await);
    assert_sees_nothing(&owner).await;

    let mut call = RawCall::open(&server).await;
    call.listen_to_turn().await;
    let active = owner.get_when("/api/active-calls", |calls| calls[0]["status"] == "in-progress").await;
    assert_eq!(active[0].as_object().unwrap().len(), 4);
    let mut second = RawCall::open(&server).await;
    second.listen_to_turn().await;
    owner.get_when("/api/concurrent-calls", |told| told["current"] == 2).await;
    call.press('2').await;
    call.press('#').await;
    call.hang_up().await;
    owner.get_when("/api/concurrent-calls", |told| *told == json!({ "current": 1, "peak": 2 })).await;
    second.hang_up().await;
    owner.get_when("/api/active-calls", |calls| *calls == json!([])).await;
    assert_eq!(owner.get("/api/concurrent-calls").await, json!({ "current": 0, "peak": 2 }));

    let calls = owner.get("/api/webhook-calls").await;
    assert_eq!(calls.as_array().unwrap().len(), 2);
    let told = calls.as_array().unwrap().iter().find(|told| told["id"] == active[0]["id"]).unwrap();
    assert_eq!(told["ended_reason"], "customer-ended-call");
    assert_eq!(told["created_at"], active[0]["started_at"]);
    let sum = owner.get("/api/dashboard-summary").await;
    assert_eq!(
        (&sum["totalCalls"], &sum["answeredCalls"], &sum["missedCalls"]),
        (&json!(2), &json!(2), &json!(0))
    );
    let agents = owner.get("/api/agent-distribution").await;
    assert_eq!(agents, json!([{ "agent_name": "lead_qualification", "call_count": 2, "percentage": 100.0 }]));
    let series = owner.get("/api/concurrent-calls/timeseries?granularity=hour").await;
    assert_eq!(
        series.as_array().unwrap().iter().map(|point| point["count"].as_u64().unwrap()).max(),
        Some(2)
    );

    // The recording is its owner's: by the URL that is told.
    let url = told["recording_url"].as_str().unwrap();
    let path = url.strip_prefix(&format!("{}{}", server.base(), dashboard::BASE)).unwrap();
    let wav = owner.ask(Method::GET, path, &Value::Null).await;
    assert_eq!((wav.status, wav.header("content-type"), &wav.body[..4]), (200, "audio/wav", &b"RIFF"[..]));
    assert_eq!(other.ask(Method::GET, path, &Value::Null).await.status, 404);
    assert_sees_nothing(&other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_the_middle_of_calls_has_counted_them_when_it_is_back() {
    let mut server = server().await;
    let data = server.data();
    let owner = User::named(&server, OWNER).await;
    let webhook = owner.webhook().await;
    owner.report(&webhook, &status("reported", "in-progress")).await;
    let mut calls = Vec::new();
    for _ in 0..2 {
        let mut call = RawCall::open(&server).await;
        call.listen_to_turn().await;
        calls.push(call);
    }
    owner.get_when("/api/concurrent-calls", |told| told["current"] == 3).await;
    let token = owner.token.clone();
    drop(owner);
    server.kill();
    drop(server);

    let variables = [&variables()[..], &[("OFFHOOK_CALLS_OWNER", OWNER)]].concat();
    let server = Server::start_on(data, &FLAGS, &variables).await;
    let owner = User { server: &server, token, email: OWNER.into() };
    assert_eq!(owner.get("/api/concurrent-calls").await, json!({ "current": 1, "peak": 3 }));
    let active = owner.get("/api/active-calls").await;
    assert_eq!(
        (active.as_array().unwrap().len(), &active[0]["id"]),
        (1, &json!("reported")),
        "that runs elsewhere"
    );
    let ends = owner.get("/api/call-ended-reasons").await;
    assert_eq!(ends[0]["ended_reason"], "call.in-progress.error-engine-restarted");
    assert_eq!(ends[0]["count"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_from_outside_are_one_call_each_however_they_come() {
    let server = server().await;
    let user = User::new(&server).await;
    let webhook = user.webhook().await;
    let calls: Vec<String> = (0..10).map(|n| format!("call-{n}")).collect();
    let messages = calls.iter().flat_map(|call| {
        let over = report(call, "Customer Support", "customer-ended-call", "I love the pricing.");
        let running = status(call, "in-progress");
        // The end overtakes the rest; all of it comes twice.
        [over.clone(), running.clone(), over, status(call, "ended"), running, status(call, "ringing")]
    });
    let messages: Vec<_> = messages.collect();
    let answers = join_all(messages.iter().map(|message| user.report(&webhook, message))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let unknown = json!({ "message": { "type": "end-of-call-report", "call": { "assistantId": "nobody" } } });
    assert_eq!(user.report(&webhook, &unknown).await.status, 200, "an unknown assistant's call is a call");

    assert_eq!(user.get("/api/active-calls").await, json!([]));
    let sum = user.get("/api/dashboard-summary").await;
    assert_eq!((&sum["totalCalls"], &sum["totalDuration"]), (&json!(11), &json!(1_800)));
    let agents = user.get("/api/agent-distribution").await;
    assert_eq!(
        agents,
        json!([
            { "agent_name": "Customer Support", "call_count": 10, "percentage": 90.9 },
            { "agent_name": "nobody", "call_count": 1, "percentage": 9.1 },
        ])
    );
    assert_eq!(user.get("/api/concurrent-calls").await["peak"], 10, "all ten were at the same time");
    let found = user.get_when("/api/keywords", |words| words[0]["count"] == 10).await;
    let pricing = found.as_array().unwrap().iter().find(|word| word["keyword"] == "pricing").unwrap();
    assert_eq!((&pricing["positive_count"], &pricing["negative_count"]), (&json!(10), &json!(0)));
    let intents = user.get_when("/api/intent-analysis", |intents| intents[0]["count"] == 10).await;
    assert_eq!(intents[0]["intent"], "inquiry");
    let page = user.get("/api/webhook-calls?limit=4&offset=9").await;
    assert_eq!(page.as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_webhooks_secret_reports_nothing() {
    let server = server().await;
    let user = User::new(&server).await;
    let (path, secret) = user.webhook().await;
    let body = report("call-1", "A", "customer-ended-call", "Hi.").to_string();
    let send = async |path: &str, more: &[(&str, &str)], body: &str| {
        let headers = [&[("content-type", "application/json")], more].concat();
        server.ask(Method::POST, path, &headers, body).await.status
    };
    assert_eq!(send(&path, &[("x-vapi-secret", "guess")], &body).await, 401);
    assert_eq!(send(&path, &[("authorization", "Bearer guess")], &body).await, 401);
    assert_eq!(send(&path, &[("x-signature", &"0".repeat(64))], &body).await, 401);
    assert_eq!(send(&path[..path.len() - 1], &[("x-vapi-secret", &secret)], &body).await, 404);
    assert_eq!(send(&format!("{}/webhook/x", dashboard::BASE), &[], &body).await, 404);
    for bad in ["", "[]", "{}", r#"{"message":[]}"#, r#"{"message":{"type":{}}}"#, &"[".repeat(100_000)] {
        assert_eq!(send(&path, &[("x-vapi-secret", &secret)], bad).await, 400);
    }
    let huge = json!({ "message": { "type": "transcript", "x": "x".repeat(9_000_000) } }).to_string();
    assert_eq!(send(&path, &[("x-vapi-secret", &secret)], &huge).await, 413);
    assert_sees_nothing(&user).await;
    let bearer = format!("Bearer {secret}");
    assert_eq!(send(&path, &[("authorization", &bearer)], &body).await, 200);
    assert_eq!(user.get("/api/dashboard-summary").await["totalCalls"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_through_frontdesk_is_in_the_dashboard_once_the_accounts_are_joined() {
    let variables = [&variables()[1..], &google_client()].concat();
    let server = Server::start_with(&FLAGS, &variables).await;
    let desk_owner = Owner::sign_in(&server).await;
    let client = desk_owner.client(600, json!({ "name": "Acme Corp" })).await;
    // Who types in the other's address gets nothing of theirs.
    let user = User::named(&server, desk_owner.user["email"].as_str().unwrap()).await;
    let mut call = desk::call(&server, "+15005550009", &client).await;
    call.listen_to_turn().await;
    assert_sees_nothing(&user).await;
    for bad in [json!({}), json!({ "frontdesk_token": "x" }), json!({ "frontdesk_token": user.token })] {
        assert_eq!(user.ask(Method::POST, "/v1/join", &bad).await.status, 400, "{bad}");
    }
    user.does(Method::POST, "/v1/join", json!({ "frontdesk_token": desk_owner.token })).await;
    let active = user.get("/api/active-calls").await;
    assert_eq!(
        (&active[0]["customer_phone"], &active[0]["status"]),
        (&json!("+15005550009"), &json!("in-progress"))
    );
    call.hang_up().await;
    let ended = user.get_when("/api/webhook-calls", |calls| calls[0].is_object()).await;
    assert_eq!(ended[0]["id"], active[0]["id"]);
    assert_eq!(user.get("/api/agent-distribution").await[0]["agent_name"], "Acme Corp");
    assert_eq!(user.get("/api/assistants").await["assistants"][0]["name"], "Acme Corp");
    let again = Owner::sign_in(&server).await;
    assert_eq!(again.get("/api/clients").await[0]["id"], client["id"], "Google leads to the same account");
    let deleted = format!("/api/conversations/{}", active[0]["id"].as_str().unwrap());
    assert_eq!(again.ask(Method::DELETE, &deleted, &Value::Null).await.status, 200);
    assert_sees_nothing_of_calls(&user).await;
}

/// A record that was taken out is counted no more.
async fn assert_sees_nothing_of_calls(user: &User<'_>) {
    assert_eq!(user.get("/api/webhook-calls").await, json!([]));
    assert_eq!(user.get("/api/dashboard-summary").await["totalCalls"], 0);
    assert_eq!(user.get("/api/concurrent-calls").await, json!({ "current": 0, "peak": 0 }));
}
