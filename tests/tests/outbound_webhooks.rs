//! Calls that end are told to the webhooks of whom they belong to, over real sockets: signed, in order, and through the death of the
//! process.

use std::collections::BTreeSet;

use hyper::Method;
use offhook::domain::time::UnixMs;
use offhook::integrations::stripe;
use offhook_fixtures::receiver::{Receiver, Reply};
use offhook_tests::dashboard::{User, report};
use offhook_tests::desk::JWT_SECRET;
use offhook_tests::{RawCall, Server};
use serde_json::{Value, json};

const FLAGS: [&str; 2] = ["--speech", "keypad"];
const OWNER: &str = "owner@example.com";
const VARIABLES: [(&str, &str); 4] = [
    ("OFFHOOK_JWT_SECRET", JWT_SECRET),
    ("OFFHOOK_CALLS_OWNER", OWNER),
    ("OFFHOOK_ALLOW_PRIVATE_DESTINATIONS", "true"),
    ("OFFHOOK_RETRY_MS", "20"),
];

/// What `call.ended` has.
const KEYS: [&str; 12] = [
    "event",
    "timestamp",
    "call_id",
    "customer_phone",
    "assistant_name",
    "duration_seconds",
    "ended_reason",
    "call_summary",
    "call_details",
    "structured_outputs",
    "conversation_transcript",
    "recording_url",
];

/// A webhook of a user's. Its id.
async fn webhook(user: &User<'_>, url: &str) -> String {
    let body = json!({ "name": "External Webhook", "destinationUrl": url });
    let made = user.does(Method::POST, "/api/outbound-webhooks", body).await;
    made["webhook"]["id"].as_str().expect("a webhook has an id").to_owned()
}

/// A call, from its beginning to its end. Its id.
async fn call(server: &Server) -> String {
    let mut call = RawCall::open(server).await;
    call.listen_to_turn().await;
    call.press('2').await;
    call.press('#').await;
    call.hang_up().await;
    server.record(&call.call_sid).await["id"].as_str().expect("a record has an id").to_owned()
}

/// The deliveries of a webhook, once `wanted` is true of them.
async fn deliveries(user: &User<'_>, webhook: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let path = format!("/v1/outbound-webhooks/{webhook}/deliveries");
    let told = user.get_when(&path, |told| wanted(told.as_array().expect("a list"))).await;
    told.as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_call_is_told_with_all_twelve_keys_and_a_signature() {
    let receiver = Receiver::start().await;
    let server = Server::start_with(&FLAGS, &VARIABLES).await;
    let (owner, other) = (User::named(&server, OWNER).await, User::new(&server).await);
    let id = webhook(&owner, &receiver.url("/hook")).await;
    webhook(&other, &receiver.url("/other")).await;
    let call = call(&server).await;
    let delivered =
        deliveries(&owner, &id, |told| told.first().is_some_and(|one| one["status"] == "delivered")).await;
    let received = receiver.received_at("/hook");
    assert_eq!((received.len(), delivered.len(), receiver.received_at("/other").len()), (1, 1, 0));
    let body = received[0].body.as_object().unwrap();
    assert_eq!(body.keys().map(String::as_str).collect::<Vec<_>>(), KEYS);
    assert_eq!(
        (&body["event"], &body["call_id"], &body["customer_phone"], &body["assistant_name"]),
        (&json!("call.ended"), &json!(call), &json!("+15005550009"), &json!("lead_qualification"))
    );
    assert_eq!(body["ended_reason"], "customer-ended-call");
    assert!(body["call_details"].is_object() && body["structured_outputs"].is_object());
    assert!(!body["conversation_transcript"].as_array().unwrap().is_empty(), "{body:?}");
    assert!(body["duration_seconds"].is_u64() && body["timestamp"].as_str().unwrap().ends_with('Z'));
    let recording = body["recording_url"].as_str().unwrap();
    let path = recording.strip_prefix(&format!("{}/dashboard", server.base())).unwrap();
    assert_eq!(owner.ask(Method::GET, path, &Value::Null).await.status, 200, "{recording}");

    let path = format!("/v1/outbound-webhooks/{id}/secret");
    let secret = owner.get(&path).await["secret"].as_str().unwrap().to_owned();
    let shown = Some(received[0].header("x-webhook-signature"));
    stripe::verify(&secret, shown, &received[0].raw, UnixMs::now()).unwrap();
    assert_eq!(delivered[0]["id"], received[0].header("x-webhook-id"));
    assert_eq!(
        (&delivered[0]["tries"][0]["status"], &delivered[0]["tries"][0]["answer"]),
        (&json!(200), &json!("answer 200"))
    );
    assert!(!server.log().iter().any(|line| line.contains(&secret)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reported_call_is_told_too_and_once_however_often_it_is_reported() {
    let receiver = Receiver::start().await;
    let server = Server::start_with(&FLAGS, &VARIABLES).await;
    let user = User::new(&server).await;
    webhook(&user, &receiver.url("/hook")).await;
    let inbound = user.webhook().await;
    for _ in 0..3 {
        let message = report("vapi-1", "Customer Support", "customer-ended-call", "They asked about prices.");
        assert_eq!(user.report(&inbound, &message).await.status, 200);
    }
    let last = report("vapi-2", "Customer Support", "customer-ended-call", "They asked about times.");
    assert_eq!(user.report(&inbound, &last).await.status, 200);
    let id = user.get("/api/outbound-webhooks").await[0]["id"].as_str().unwrap().to_owned();
    deliveries(&user, &id, |told| told.iter().filter(|one| one["status"] == "delivered").count() == 2).await;
    let received = receiver.received_at("/hook");
    let calls: Vec<_> = received.iter().map(|one| one.body["call_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(calls, ["vapi-1", "vapi-2"], "in the order in which they ended");
    let body = &received[0].body;
    assert_eq!(
        (&body["duration_seconds"], &body["call_summary"], &body["recording_url"]),
        (&json!(180), &json!("They asked about prices."), &json!("https://storage.example/a.wav"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_it_delivers_delivers_all_in_order_when_it_is_back() {
    let receiver = Receiver::start().await;
    let mut server = Server::start_with(&FLAGS, &VARIABLES).await;
    let data = server.data();
    let owner = User::named(&server, OWNER).await;
    let id = webhook(&owner, &receiver.url("/hook")).await;
    receiver.reply("/hook", [Reply::Status(500), Reply::Never]);
    let first = call(&server).await;
    let second = call(&server).await;
    deliveries(&owner, &id, |told| told.len() == 2).await;
    let give_up = tokio::time::Instant::now() + offhook_tests::server::PATIENCE;
    while receiver.received_at("/hook").len() < 2 {
        assert!(tokio::time::Instant::now() < give_up, "there is no second try");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let token = owner.token.clone();
    drop(owner);
    server.kill();
    drop(server);

    let server = Server::start_on(data, &FLAGS, &VARIABLES).await;
    let owner = User { server: &server, token, email: OWNER.into() };
    let all = |told: &[Value]| told.iter().all(|one| one["status"] == "delivered");
    deliveries(&owner, &id, all).await;
    let received = receiver.received_at("/hook");
    let calls: Vec<_> = received.iter().map(|one| one.body["call_id"].as_str().unwrap()).collect();
    assert_eq!(calls, [&*first, &*first, &*first, &*second]);
    let ids: BTreeSet<_> = received.iter().map(|one| one.header("x-webhook-id")).collect();
    assert_eq!(ids.len(), 2, "who was told twice can know it");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_tries_are_made_and_a_slow_or_failing_destination_harms_no_other() {
    let receiver = Receiver::start().await;
    let server = Server::start_with(&FLAGS, &VARIABLES).await;
    let owner = User::named(&server, OWNER).await;
    let good = webhook(&owner, &receiver.url("/good")).await;
    let bad = webhook(&owner, &receiver.url("/bad")).await;
    webhook(&owner, &receiver.url("/slow")).await;
    receiver.reply("/bad", [500, 404, 307, 503, 400].map(Reply::Status));
    receiver.reply("/slow", [Reply::Never]);
    let (first, second) = (call(&server).await, call(&server).await);
    let all = |told: &[Value]| told.len() == 2 && told.iter().all(|one| one["status"] == "delivered");
    deliveries(&owner, &good, all).await;
    let told =
        deliveries(&owner, &bad, |told| told.first().is_some_and(|one| one["status"] == "delivered")).await;
    assert_eq!((&told[0]["call"], &told[1]["call"]), (&json!(second), &json!(first)));
    assert_eq!((&told[1]["status"], told[1]["tries"].as_array().unwrap().len()), (&json!("failed"), 5));
    assert_eq!(told[1]["reason"], "status 400");
    assert_eq!(receiver.received_at("/bad").len(), 6);
    assert_eq!(receiver.received_at("/slow").len(), 1, "it still holds the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_inside_are_refused_and_webhooks_are_their_owners_alone() {
    let variables = [VARIABLES[0], VARIABLES[1]];
    let server = Server::start_with(&FLAGS, &variables).await;
    let (owner, other) = (User::named(&server, OWNER).await, User::new(&server).await);
    for url in [
        server.base(),
        "http://localhost/x".to_owned(),
        "http://[::ffff:10.0.0.1]/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://2130706433/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "\u{0}".to_owned(),
    ] {
        let body = json!({ "name": "n", "destinationUrl": url });
        let answer = owner.ask(Method::POST, "/api/outbound-webhooks", &body).await;
        let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 400 && error.contains("destinationUrl"), "{url}: {} {error}", answer.status);
    }
    let id = webhook(&owner, "https://hooks.example.invalid/hook").await;
    let paths = ["", "/secret", "/deliveries"].map(|rest| format!("/v1/outbound-webhooks/{id}{rest}"));
    for (method, path) in [
        (Method::PATCH, &paths[0]),
        (Method::DELETE, &paths[0]),
        (Method::GET, &paths[1]),
        (Method::POST, &paths[1]),
        (Method::GET, &paths[2]),
    ] {
        let body = if method == Method::PATCH { json!({ "is_active": false }) } else { Value::Null };
        let answer = other.ask(method, path, &body).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    assert_eq!(other.get("/api/outbound-webhooks").await, json!([]));
    let off = owner.does(Method::PATCH, &paths[0], json!({ "is_active": false, "name": "Off" })).await;
    assert_eq!((&off["is_active"], &off["name"]), (&json!(false), &json!("Off")));
    let (old, new) = (owner.get(&paths[1]).await, owner.does(Method::POST, &paths[1], Value::Null).await);
    assert_ne!(old, new);
    owner.does(Method::DELETE, &paths[0], Value::Null).await;
    assert_eq!(owner.get("/api/outbound-webhooks").await, json!([]));
}
