//! What Stripe tells is added to balances: once, in whatever order, and only if Stripe tells it.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use hyper::Method;
use offhook::integrations::stripe;
use offhook_tests::desk::{BASE, Owner, STRIPE_SECRET, google_client, id};
use offhook_tests::{Answer, Server};
use serde_json::{Value, json};

async fn server() -> Server {
    let mut variables = google_client().to_vec();
    variables.extend([
        ("STRIPE_WEBHOOK_SECRET", STRIPE_SECRET),
        ("OFFHOOK_STRIPE_PRICES", "usd:1000=3600,price_A=60"),
    ]);
    Server::start_with(&["--speech", "keypad"], &variables).await
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

async fn send(server: &Server, event: &Value, signature: Option<&str>) -> Answer {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(signature.map(|signature| ("stripe-signature", signature)));
    server.ask(Method::POST, &format!("{BASE}/api/stripe/webhook"), &headers, &event.to_string()).await
}

async fn deliver(server: &Server, event: &Value) -> Answer {
    let signature = stripe::sign(STRIPE_SECRET, now_s(), event.to_string().as_bytes());
    send(server, event, Some(&signature)).await
}

fn event(id: &str, kind: &str, object: Value) -> Value {
    json!({ "id": id, "object": "event", "type": kind, "created": now_s(), "data": { "object": object } })
}

fn session(id: &str, client: &str, status: &str) -> Value {
    json!({
        "id": id, "object": "checkout.session", "mode": "payment", "payment_status": status,
        "client_reference_id": client, "currency": "usd", "amount_total": 1000, "metadata": {},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_is_credited_once_however_often_and_in_whatever_order_it_is_told() {
    let server = server().await;
    let owner = Owner::sign_in(&server).await;
    let client = owner.client(0, json!({})).await;
    let balance = async || owner.client_now(&client).await["balance_seconds"].as_u64().unwrap();

    let completed = event("evt_1", "checkout.session.completed", session("cs_1", id(&client), "paid"));
    let answers = join_all((0..10).map(|_| deliver(&server, &completed))).await;
    assert!(
        answers.iter().all(|answer| answer.status == 200 && answer.json() == json!({ "received": true }))
    );
    assert_eq!(balance().await, 3_600, "ten deliveries at once are one payment");

    // A slow way to pay: the success overtakes the completion, which is not yet paid.
    let paid =
        event("evt_3", "checkout.session.async_payment_succeeded", session("cs_2", id(&client), "paid"));
    let unpaid = event("evt_2", "checkout.session.completed", session("cs_2", id(&client), "unpaid"));
    for event in [&paid, &unpaid, &paid] {
        assert_eq!(deliver(&server, event).await.status, 200);
    }
    assert_eq!(balance().await, 7_200);
    // The same checkout, told by an event of another name.
    let again = event("evt_4", "checkout.session.completed", session("cs_2", id(&client), "paid"));
    assert_eq!(deliver(&server, &again).await.status, 200);
    assert_eq!(balance().await, 7_200);

    let invoice = json!({
        "id": "in_1", "object": "invoice", "parent": { "subscription_details": { "metadata": { "client_id": id(&client) } } },
        "lines": { "data": [{ "pricing": { "price_details": { "price": "price_A" } }, "quantity": 3 }] },
    });
    for (id, kind) in [("evt_5", "invoice.paid"), ("evt_6", "invoice.payment_succeeded")] {
        assert_eq!(deliver(&server, &event(id, kind, invoice.clone())).await.status, 200);
    }
    assert_eq!(balance().await, 7_380, "an invoice counts once, though two events tell of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stripe_did_not_sign_lately_changes_nothing() {
    let server = server().await;
    let owner = Owner::sign_in(&server).await;
    let client = owner.client(0, json!({})).await;
    let event = event("evt_1", "checkout.session.completed", session("cs_1", id(&client), "paid"));
    let body = event.to_string();
    let sign = |secret: &str, at: i64| stripe::sign(secret, at, body.as_bytes());
    let good = sign(STRIPE_SECRET, now_s());
    for signature in [
        None,
        Some(String::new()),
        Some("t=1,v1=00".to_owned()),
        Some(sign("whsec_guess", now_s())),
        Some(sign(STRIPE_SECRET, now_s() - 301)),
        Some(sign(STRIPE_SECRET, now_s() + 301)),
        Some(good.replace("v1=", "v0=")),
        Some(stripe::sign(STRIPE_SECRET, now_s(), b"another body")),
    ] {
        let answer = send(&server, &event, signature.as_deref()).await;
        assert_eq!(answer.status, 400, "{signature:?}: {}", answer.text());
        assert!(answer.json()["detail"].is_string());
    }
    assert_eq!(owner.client_now(&client).await["balance_seconds"], 0);
    assert_eq!(send(&server, &event, Some(&good)).await.status, 200);
    assert_eq!(owner.client_now(&client).await["balance_seconds"], 3_600);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_for_nobody_here_are_acknowledged() {
    let server = server().await;
    for (id, kind, object) in [
        ("evt_1", "checkout.session.completed", session("cs_1", "nobody", "paid")),
        ("evt_2", "checkout.session.completed", json!({ "id": "cs_2", "payment_status": "paid" })),
        ("evt_3", "customer.subscription.deleted", json!({ "id": "sub_1", "status": "canceled" })),
        ("evt_4", "something.new", json!({})),
    ] {
        let answer = deliver(&server, &event(id, kind, object)).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "received": true })), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_payments_set_the_balance_its_owner_does_not() {
    let server = server().await;
    let owner = Owner::sign_in(&server).await;
    let client = owner.client(0, json!({})).await;
    let path = format!("/api/clients/{}", id(&client));
    let change = json!({ "balance_seconds": 60, "name": "Rich" });
    let refused = owner.ask(Method::PUT, &path, &change).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(owner.client_now(&client).await, client, "all or nothing");
    let as_it_is = owner.ask(Method::PUT, &path, &client).await;
    assert_eq!(as_it_is.status, 200, "a client that sends all back changes nothing: {}", as_it_is.text());
}
