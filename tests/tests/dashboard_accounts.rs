//! Who is let in to the dashboard, how often they may try, and what of one user another one sees.

use hyper::Method;
use offhook_tests::dashboard::{self, ADMIN, PASSWORD, User, new_email, post, variables};
use offhook_tests::desk::{Owner, google_client};
use offhook_tests::{Ask, Client, Server};
use serde_json::{Value, json};

const FLAGS: [&str; 2] = ["--speech", "canned"];

async fn server(more: &[(&str, &str)]) -> Server {
    Server::start_with(&FLAGS, &[&variables()[..], more].concat()).await
}

async fn login(server: &Server, client: Client, email: &str, password: &str) -> (u16, String, Value) {
    let body = json!({ "email": email, "password": password }).to_string();
    let ask = Ask::json(format!("{}/api/auth/login", dashboard::BASE), body);
    let answer = client.ask(server.address(), ask).await;
    (answer.status, answer.header("retry-after").to_owned(), answer.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_and_a_wrong_password_are_told_in_the_same_words() {
    let server = server(&[]).await;
    let user = User::new(&server).await;
    let wrong = login(&server, Client::new(), &user.email, "another password").await;
    assert_eq!(wrong.0, 401);
    assert_eq!(login(&server, Client::new(), &new_email(), PASSWORD).await, wrong);
    assert_eq!(login(&server, Client::new(), &user.email.to_uppercase(), PASSWORD).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_tried_a_few_times_a_minute_from_wherever() {
    let server = server(&[("OFFHOOK_RATE_LIMITS", "on")]).await;
    let (user, other) = (User::new(&server).await, User::new(&server).await);
    for _ in 0..10 {
        // Each from another address.
        assert_eq!(login(&server, Client::new(), &user.email, "a guess of many").await.0, 401);
    }
    let (status, after, error) = login(&server, Client::new(), &user.email, PASSWORD).await;
    let after: u64 = after.parse().unwrap_or(0);
    assert!(
        status == 429 && (1..=60).contains(&after) && error["error"].is_string(),
        "{status} {after} {error}"
    );
    assert_eq!(login(&server, Client::new(), &other.email, PASSWORD).await.0, 200, "others are let in");
    let one = Client::new();
    let mut refused = 0;
    for _ in 0..70 {
        refused += u32::from(login(&server, one, &new_email(), "a guess of many").await.0 == 429);
    }
    assert_eq!(refused, 10, "an address has sixty tries");
    assert_eq!(login(&server, Client::new(), &other.email, PASSWORD).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_for_the_user_and_not_for_the_address() {
    let server = server(&[("OFFHOOK_RATE_LIMITS", "on")]).await;
    let (user, other) = (User::new(&server).await, User::new(&server).await);
    let ask = async |client: Client, token: &str| {
        let path = format!("{}/api/addons", dashboard::BASE);
        let ask = Ask::get(path).with("authorization", format!("Bearer {token}"));
        client.ask(server.address(), ask).await
    };
    let one = Client::new();
    for n in 0..300 {
        let client = if n % 2 == 0 { one } else { Client::new() };
        assert_eq!(ask(client, &user.token).await.status, 200, "request {n}");
    }
    let refused = ask(Client::new(), &user.token).await;
    assert_eq!((refused.status, refused.json()["error"].is_string()), (429, true));
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
    assert_eq!(ask(one, &other.token).await.status, 200, "another user behind the same address");
    let docs = one.ask(server.address(), Ask::get(format!("{}/openapi.json", dashboard::BASE))).await;
    assert_eq!(docs.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_other_systems_forged_or_given_back_ones_open_nothing() {
    let google: Vec<_> = google_client().into_iter().collect();
    let mut server = Server::start_with(&FLAGS, &[&variables()[1..], &google].concat()).await;
    let user = User::new(&server).await;
    let desk = Owner::sign_in(&server).await;
    let me = async |server: &Server, token: &str| {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        server.ask(Method::GET, &format!("{}/api/auth/me", dashboard::BASE), &headers, "").await.status
    };
    assert_eq!(me(&server, &user.token).await, 200);
    assert_eq!(me(&server, &desk.token).await, 401, "FrontDesk's");
    let at_desk = Owner { server: &server, token: user.token.clone(), user: Value::Null };
    assert_eq!(at_desk.ask(Method::GET, "/api/clients", &Value::Null).await.status, 401, "and the reverse");
    let (head, rest) = user.token.split_once('.').unwrap();
    let (claims, tag) = rest.split_once('.').unwrap();
    for forged in [
        format!("{head}.{claims}."),
        format!("{head}.{claims}.{}", tag.replace(&tag[..4], "AAAA")),
        format!("eyJhbGciOiJub25lIn0.{claims}."),
        String::new(),
        "x".repeat(10_000),
    ] {
        assert_eq!(me(&server, &forged).await, 401, "{forged}");
    }
    let token = user.token.clone();
    user.does(Method::POST, "/api/auth/logout", Value::Null).await;
    assert_eq!(me(&server, &token).await, 401);
    let data = server.data();
    drop((at_desk, desk, user));
    server.kill();
    drop(server);
    let server = Server::start_on(data, &FLAGS, &[&variables()[1..], &google].concat()).await;
    assert_eq!(me(&server, &token).await, 401, "after a restart too");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_registers_twice_or_with_a_body_that_is_none() {
    let server = server(&[]).await;
    let user = User::new(&server).await;
    let body = json!({ "email": user.email.to_uppercase(), "password": PASSWORD });
    let twice = post(&server, "/api/auth/register", &body).await;
    assert_eq!((twice.status, twice.json()), (400, json!({ "error": "The email is already registered" })));
    let huge = json!({ "email": new_email(), "password": PASSWORD, "name": "x".repeat(100_000) });
    assert_eq!(post(&server, "/api/auth/register", &huge).await.status, 413);
    let racing = json!({ "email": new_email(), "password": PASSWORD });
    let all = (0..8).map(|_| post(&server, "/api/auth/register", &racing));
    let answers = futures_util::future::join_all(all).await;
    let made = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(made, 1, "of eight at once one has the address");
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 400)));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_stay_sealed_over_a_restart_and_are_shown_by_their_end_where_that_is_wanted() {
    let mut first = server(&[]).await;
    let data = first.data();
    let user = User::new(&first).await;
    let key = "sk-0123456789abcdef0123";
    user.does(Method::PUT, "/api/settings", json!({ "openaiApiKey": key, "twilioAccountSid": "AC1" })).await;
    let set = user.get("/api/settings").await;
    assert_eq!((&set["openaiApiKey"], &set["twilioAccountSid"]), (&json!(key), &json!("AC1")));
    assert!(set.get("twilioAuthToken").is_none() && set["privateKey"].is_null());
    let token = user.token.clone();
    drop(user);
    first.kill();
    for file in std::fs::read_dir(data.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "the key lies open");
    }
    drop(first);
    let variables = [&variables()[..], &[("OFFHOOK_REDACT_SETTINGS", "true")]].concat();
    let second = Server::start_on(data, &FLAGS, &variables).await;
    let user = User { server: &second, token, email: String::new() };
    assert_eq!(user.get("/api/settings").await["openaiApiKey"], "…0123");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_production_an_admins_address_takes_a_token_of_the_operators() {
    const BEARER: &str = "a-long-random-text-of-the-operators";
    let production = [
        ("OFFHOOK_ENVIRONMENT", "production"),
        ("OFFHOOK_BEARER_TOKENS", BEARER),
        ("OFFHOOK_MASTER_KEY", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
    ];
    let server = server(&production).await;
    let body = json!({ "email": ADMIN, "password": PASSWORD });
    let stranger = post(&server, "/api/auth/register", &body).await;
    assert_eq!(stranger.status, 403, "{}", stranger.text());
    let authorization = format!("Bearer {BEARER}");
    let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
    let path = format!("{}/api/auth/register", dashboard::BASE);
    let made = server.ask(Method::POST, &path, &headers, &body.to_string()).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let admin = User {
        server: &server,
        token: made.json()["token"].as_str().unwrap().to_owned(),
        email: ADMIN.to_owned(),
    };
    let user = User::new(&server).await;
    let figures = admin.get("/api/admin/dashboard").await;
    assert_eq!(figures, json!({ "totalUsers": 2, "totalCalls": 0, "activeUsers": 2 }));
    assert_eq!(admin.get("/api/admin/users").await[1]["email"], user.email.as_str());
    assert_eq!(user.ask(Method::GET, "/api/admin/users", &Value::Null).await.status, 403);
}
