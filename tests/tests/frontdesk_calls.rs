//! Calls to FrontDesk's clients, over real sockets: who answers, what is kept of it, and what it costs.

use std::time::Duration;

use futures_util::future::join_all;
use hyper::Method;
use offhook::caller::new_call_sid;
use offhook::domain::billing::FAREWELL;
use offhook_tests::desk::{self, Owner, google_client, id, ring};
use offhook_tests::{RawCall, Server, audio::QUIET};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const CALLER: &str = "+15005550009";
const FLAGS: [&str; 2] = ["--speech", "keypad"];

async fn server() -> Server {
    Server::start_with(&FLAGS, &google_client()).await
}

/// Asks until it is as wanted.
async fn once(owner: &Owner<'_>, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let give_up = Instant::now() + offhook_tests::server::PATIENCE;
    loop {
        let told = owner.get(path).await;
        if wanted(&told) {
            return told;
        }
        assert!(Instant::now() < give_up, "{path} stays as it is: {told:#}");
        sleep(Duration::from_millis(25)).await;
    }
}

/// Says nothing for so many frames of 20 ms.
async fn wait(call: &mut RawCall, frames: usize) {
    for _ in 0..frames {
        call.frame(&QUIET).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_answers_with_its_greeting_and_what_is_said_can_be_read_while_the_call_runs() {
    let server = server().await;
    let owner = Owner::sign_in(&server).await;
    let client = owner.client(600, json!({ "initial_greeting": "Acme Corp, good morning." })).await;
    let conversations = format!("/api/clients/{}/conversations", id(&client));
    let mut call = desk::call(&server, CALLER, &client).await;
    let active = once(&owner, "/api/active-calls", |active| active[0].is_object()).await;
    assert_eq!(
        (
            &active[0]["client_id"],
            &active[0]["client_name"],
            &active[0]["caller_phone"],
            &active[0]["owner_user_id"]
        ),
        (&client["id"], &client["name"], &json!(CALLER), &owner.user["id"])
    );
    call.listen_to_turn().await;
    let running = once(&owner, &conversations, |told| told[0]["transcript"][0].is_object()).await;
    assert_eq!(running[0]["id"], active[0]["call_id"]);
    let said = &running[0]["transcript"][0];
    assert_eq!(said["role"], "assistant");
    assert!(said["content"].as_str().unwrap().starts_with("Acme Corp, good morning."), "{said}");
    call.press('2').await;
    call.press('#').await;
    let typed =
        |told: &Value| told[0]["transcript"].as_array().unwrap().iter().any(|said| said["role"] == "user");
    let running = once(&owner, &conversations, typed).await;
    assert_eq!(owner.get("/api/active-calls").await[0]["call_id"], running[0]["id"], "it still runs");
    call.hang_up().await;
    once(&owner, "/api/active-calls", |active| *active == json!([])).await;
    let over = owner.get(&format!("/api/conversations/{}", running[0]["id"].as_str().unwrap())).await;
    assert!(over["transcript"].as_array().unwrap().len() >= 2, "{over}");

    // Its line is its own: the record of the call is that of any call.
    let record = server.record(&call.call_sid).await;
    assert_eq!(record["to"], client["phone_number"]);
    let removed = owner.ask(Method::DELETE, &format!("/api/conversations/{}", id(&over)), &Value::Null).await;
    assert_eq!(removed.status, 200);
    assert_eq!(owner.get(&conversations).await, json!([]));
    assert_eq!(server.get(&format!("/v1/calls/{}", id(&over))).await.status, 404, "nor is it anywhere else");
    let data = server.data();
    for folder in ["recordings", "journals"] {
        let left = std::fs::read_dir(data.path().join(folder)).unwrap().count();
        assert_eq!(left, 0, "{folder}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_becomes_a_contact_at_the_first_call_and_is_known_at_the_next() {
    let server = server().await;
    let owner = Owner::sign_in(&server).await;
    let client = owner.client(600, json!({})).await;
    let contacts = format!("/api/clients/{}/contacts", id(&client));
    let mut of_calls = Vec::new();
    for from in [CALLER, "+1 500 555 0009", "anonymous"] {
        let mut call = desk::call(&server, from, &client).await;
        call.listen_to_turn().await;
        call.hang_up().await;
        server.record(&call.call_sid).await;
        let conversations = owner.get(&format!("/api/clients/{}/conversations", id(&client))).await;
        of_calls.push(conversations[0]["contact_id"].clone());
    }
    let known = owner.get(&contacts).await;
    assert_eq!(known.as_array().unwrap().len(), 1, "{known}");
    assert_eq!((&known[0]["phone_number"], &known[0]["name"]), (&json!(CALLER), &Value::Null));
    assert_eq!(of_calls, [known[0]["id"].clone(), known[0]["id"].clone(), Value::Null]);
    let path = format!("/api/contacts/{}", id(&known[0]));
    assert_eq!(owner.ask(Method::DELETE, &path, &Value::Null).await.status, 200);
    let conversations = owner.get(&format!("/api/clients/{}/conversations", id(&client))).await;
    assert!(conversations.as_array().unwrap().iter().all(|told| told["contact_id"].is_null()), "they stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_served_hears_a_sentence_and_gets_no_call() {
    let server = server().await;
    let owner = Owner::sign_in(&server).await;
    let broke = owner.client(0, json!({})).await;
    let off = owner.client(600, json!({ "is_active": false })).await;
    for to in [
        broke["phone_number"].as_str().unwrap(),
        off["phone_number"].as_str().unwrap(),
        "+15550000000",
        "101",
    ] {
        let answer = ring(&server, &new_call_sid(), CALLER, to).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/xml"));
        assert!(
            answer.text().contains("<Say>") && answer.text().contains("<Hangup/>"),
            "{to}: {}",
            answer.text()
        );
    }
    // Nor does a socket help.
    for (client, reason) in [(&broke, "balance"), (&off, "switched off")] {
        let url = format!("ws://{}{}/ws/{}/{CALLER}", server.address(), desk::BASE, id(client));
        let announced = offhook_tests::Announced { call_sid: new_call_sid(), url, token: String::new() };
        let mut call = RawCall::connect(&announced).await;
        call.listen_until_gone().await;
        let goodbye = call.over.clone().unwrap();
        assert!(goodbye.code == 1008 && goodbye.reason.contains(reason), "{goodbye:?}");
    }
    let balance = owner.client_now(&broke).await["balance_seconds"].clone();
    assert_eq!(balance, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_charged_by_the_second_while_it_runs_and_every_second_that_began() {
    let server = server().await;
    let owner = Owner::sign_in(&server).await;
    let client = owner.client(600, json!({})).await;
    let balance = async || owner.client_now(&client).await["balance_seconds"].as_u64().unwrap();
    let mut call = desk::call(&server, CALLER, &client).await;
    call.listen_to_turn().await;
    let give_up = Instant::now() + offhook_tests::server::PATIENCE;
    while balance().await >= 599 {
        assert!(Instant::now() < give_up, "a running call costs nothing");
        wait(&mut call, 5).await;
    }
    wait(&mut call, 30).await;
    call.hang_up().await;
    let record = server.record(&call.call_sid).await;
    let seconds = record["duration_ms"].as_u64().unwrap().div_ceil(1_000);
    assert_eq!(balance().await, 600 - seconds, "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_balance_is_used_up_is_told_goodbye() {
    let server = server().await;
    let owner = Owner::sign_in(&server).await;
    let client = owner.client(3, json!({})).await;
    let mut call = desk::call(&server, CALLER, &client).await;
    let goodbye = call.listen_to_end().await;
    assert_eq!(goodbye.code, 1000, "{goodbye:?}");
    let record = server.record(&call.call_sid).await;
    assert_eq!(record["end_reason"], "agent-hangup");
    let turns = record["turns"].as_array().unwrap();
    assert!(turns.last().unwrap()["text"].as_str().unwrap().contains(FAREWELL), "{record:#}");
    assert_eq!(owner.client_now(&client).await["balance_seconds"], 0, "and no less");
    let answer = ring(&server, &new_call_sid(), CALLER, client["phone_number"].as_str().unwrap()).await;
    assert!(answer.text().contains("<Hangup/>"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_taken_out_takes_its_calls_along() {
    let server = server().await;
    let owner = Owner::sign_in(&server).await;
    let client = owner.client(600, json!({})).await;
    let mut call = desk::call(&server, CALLER, &client).await;
    call.listen_to_turn().await;
    let path = format!("/api/clients/{}", id(&client));
    assert_eq!(owner.ask(Method::DELETE, &path, &Value::Null).await.status, 200);
    call.listen_until_gone().await;
    assert_eq!(owner.get("/api/active-calls").await, json!([]));
    assert_eq!(server.get(&format!("/v1/calls/{}", call.call_sid)).await.status, 404);
    let answer = ring(&server, &new_call_sid(), CALLER, client["phone_number"].as_str().unwrap()).await;
    assert!(answer.text().contains("not in service"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_has_lost_no_second_charged_none_twice_and_kept_what_was_said() {
    const CALLS: usize = 20;
    let mut server = server().await;
    let data = server.data();
    let (clients, token, user) = {
        let owner = Owner::sign_in(&server).await;
        let clients = join_all((0..4).map(|_| owner.client(1_000, json!({})))).await;
        (clients, owner.token.clone(), owner.user.clone())
    };
    let mut calls = Vec::new();
    for n in 0..CALLS {
        calls.push(desk::call(&server, &format!("+1500555{:04}", 1_000 + n), &clients[n % 4]).await);
    }
    // Some are over when it dies, some are in the middle.
    join_all(calls.iter_mut().enumerate().map(async |(n, call)| {
        call.listen_to_turn().await;
        wait(call, 40).await;
        if n % 5 == 0 {
            call.hang_up().await;
        }
    }))
    .await;
    {
        let owner = Owner { server: &server, token: token.clone(), user: user.clone() };
        for client in &clients {
            let path = format!("/api/clients/{}/conversations", id(client));
            once(&owner, &path, |told| {
                let said = |told: &Value| told["transcript"][0].is_object();
                told.as_array().unwrap().len() == CALLS / 4 && told.as_array().unwrap().iter().all(said)
            })
            .await;
        }
    }
    server.kill();
    drop(server);

    for start in 1..=2 {
        let server = Server::start_on(data.clone(), &FLAGS, &google_client()).await;
        let owner = Owner { server: &server, token: token.clone(), user: user.clone() };
        assert_eq!(owner.get("/api/active-calls").await, json!([]));
        let mut records = Vec::new();
        for call in &calls {
            records.push(server.record(&call.call_sid).await);
        }
        for client in &clients {
            let told = owner.get(&format!("/api/clients/{}/conversations", id(client))).await;
            assert!(told.as_array().unwrap().iter().all(|told| told["transcript"][0].is_object()), "{told}");
            let seconds = records
                .iter()
                .filter(|record| record["to"] == client["phone_number"])
                .map(|record| record["duration_ms"].as_u64().unwrap().div_ceil(1_000));
            let spent: u64 = seconds.sum();
            assert!(spent > 0);
            let balance = owner.client_now(client).await["balance_seconds"].as_u64().unwrap();
            assert_eq!(1_000 - balance, spent, "start {start}: what is charged is what the calls lasted");
        }
        let balances: Vec<_> = join_all(clients.iter().map(|client| owner.client_now(client))).await;
        drop(server);
        let server = Server::start_on(data.clone(), &FLAGS, &google_client()).await;
        let owner = Owner { server: &server, token: token.clone(), user: user.clone() };
        let again: Vec<_> = join_all(clients.iter().map(|client| owner.client_now(client))).await;
        assert_eq!(again, balances, "another start charges nothing");
    }
}
