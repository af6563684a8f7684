//! FrontDesk's users: who is let in, what is theirs, and what becomes of what they send.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use futures_util::future::join_all;
use hyper::Method;
use offhook::domain::time::UnixMs;
use offhook::domain::token::Signer;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use offhook_tests::Server;
use offhook_tests::contract::{Inventory, Kind};
use offhook_tests::desk::{self, BASE, JWT_SECRET, Owner, consent, id, new_number};
use serde_json::{Value, json};

/// A server, and a double of Google's of its own, so that others can sit at the browser.
async fn server() -> (Server, FakeVendors) {
    let fakes = FakeVendors::start().await;
    let google = fakes.base_url(Vendor::Google);
    let mut variables = desk::google_client();
    variables[0].1 = &google;
    (Server::start_with(&["--speech", "keypad"], &variables).await, fakes)
}

/// Somebody else sits at the browser, and signs in.
async fn another<'a>(server: &'a Server, fakes: &FakeVendors) -> Owner<'a> {
    let person = json!({ "sub": "2200", "email": "sam@example.com", "name": "Sam" });
    fakes.google_set("user", &person).unwrap();
    Owner::sign_in(server).await
}

/// One of everything that an owner can have.
struct Things {
    client: Value,
    contact: Value,
    conversation: String,
}

impl Things {
    async fn of(owner: &Owner<'_>) -> Self {
        let client = owner.client(600, json!({})).await;
        let contact = json!({ "client_id": id(&client), "phone_number": "+15559876543", "name": "Jane" });
        let contact = owner.ask(Method::POST, "/api/contacts", &contact).await.json();
        let account = json!({ "service_account_json": desk::google().1 });
        let path = format!("/api/clients/{}/calendar/service-account", id(&client));
        assert_eq!(owner.ask(Method::POST, &path, &account).await.status, 200);
        let mut call = desk::call(owner.server, "+15005550009", &client).await;
        call.listen_to_turn().await;
        call.hang_up().await;
        owner.server.record(&call.call_sid).await;
        let conversations = owner.get(&format!("/api/clients/{}/conversations", id(&client))).await;
        let conversation = id(&conversations[0]).to_owned();
        Self { client, contact, conversation }
    }

    /// All that its owner sees of it.
    async fn seen(&self, owner: &Owner<'_>) -> Vec<Value> {
        let client = id(&self.client);
        let paths = [
            format!("/api/clients/{client}"),
            format!("/api/clients/{client}/contacts"),
            format!("/api/clients/{client}/conversations"),
            format!("/api/clients/{client}/calendar/status"),
            format!("/api/conversations/{}", self.conversation),
            "/api/clients".to_owned(),
        ];
        let mut seen = Vec::new();
        for path in &paths {
            seen.push(owner.get(path).await);
        }
        seen
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_id_is_answered_everywhere_as_if_it_were_not_there() {
    let (server, fakes) = server().await;
    let owner = Owner::sign_in(&server).await;
    let things = Things::of(&owner).await;
    let before = things.seen(&owner).await;
    let stranger = another(&server, &fakes).await;
    assert_ne!(stranger.user["id"], owner.user["id"]);

    let inventory = Inventory::of("frontdesk");
    let mut asked = Vec::new();
    for endpoint in
        inventory.endpoints.iter().filter(|e| e.auth.scheme == "bearer_jwt" && e.kind == Kind::Http)
    {
        let path = endpoint
            .path
            .replace("{client_id}", id(&things.client))
            .replace("{contact_id}", id(&things.contact))
            .replace("{conversation_id}", &things.conversation);
        let in_body = endpoint.request_fields.iter().any(|field| field.name == "client_id");
        if path == endpoint.path && !in_body {
            continue;
        }
        assert!(!path.contains('{'), "no test knows an id for {path}");
        let body = match endpoint.method.as_str() {
            "POST" | "PUT" => json!({
                "client_id": id(&things.client), "name": "Mine now", "phone_number": "+15551112222",
                "service_account_json": desk::google().1,
            }),
            _ => Value::Null,
        };
        let answer = stranger.ask(endpoint.method.parse().unwrap(), &path, &body).await;
        assert_eq!(answer.status, 404, "{}: {}", endpoint.id, answer.text());
        let nobodys = path
            .replace(id(&things.client), "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3")
            .replace(id(&things.contact), "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3")
            .replace(&things.conversation, "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3");
        let mut unknown_body = body;
        if unknown_body.is_object() {
            unknown_body["client_id"] = "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3".into();
        }
        let unknown = stranger.ask(endpoint.method.parse().unwrap(), &nobodys, &unknown_body).await;
        assert_eq!(
            (unknown.status, unknown.text()),
            (404, answer.text()),
            "{}: a stranger learns nothing",
            endpoint.id
        );
        asked.push(endpoint.id.as_str());
    }
    assert_eq!(asked.len(), 14, "every endpoint that takes an id: {asked:?}");
    assert_eq!(stranger.get("/api/clients").await, json!([]));
    assert_eq!(stranger.get("/api/active-calls").await, json!([]));
    assert_eq!(things.seen(&owner).await, before, "nothing of it changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_token_of_this_system_and_hour_and_of_somebody_who_is_there_is_taken() {
    let (server, _fakes) = server().await;
    let owner = Owner::sign_in(&server).await;
    let user = id(&owner.user);
    let now = UnixMs::now();
    let token = |secret: &str, system, user: &str, at| Signer::new(secret.as_bytes(), system).sign(user, at);
    for (what, token, status) in [
        ("its own", owner.token.clone(), 200),
        ("one like it", token(JWT_SECRET, "frontdesk", user, now), 200),
        ("expired", token(JWT_SECRET, "frontdesk", user, UnixMs(now.0 - 3_601_000)), 401),
        ("from the future", token(JWT_SECRET, "frontdesk", user, UnixMs(now.0 + 3_601_000)), 401),
        ("of another system", token(JWT_SECRET, "dashboard", user, now), 401),
        ("forged", token("another secret, as long as the real one is", "frontdesk", user, now), 401),
        ("of nobody", token(JWT_SECRET, "frontdesk", "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", now), 401),
        ("empty", String::new(), 401),
    ] {
        let shown = Owner { server: &server, token, user: Value::Null };
        let answer = shown.ask(Method::GET, "/api/clients", &Value::Null).await;
        assert_eq!(answer.status, status, "{what}");
        if status == 401 {
            assert_eq!(answer.json(), json!({ "detail": "Invalid authentication credentials" }), "{what}");
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{what}");
        }
    }
    let basic = [("authorization", format!("Basic {}", owner.token))];
    let basic = [(basic[0].0, basic[0].1.as_str())];
    assert_eq!(server.ask(Method::GET, &format!("{BASE}/api/clients"), &basic, "").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_good_once_and_for_what_it_was_begun() {
    let (server, fakes) = server().await;
    let begin = async || {
        let answer = server.ask(Method::POST, &format!("{BASE}/auth/google/initiate"), &[], "").await;
        consent(answer.json()["authorization_url"].as_str().unwrap()).await
    };
    let callback = |query: &str| format!("{BASE}/auth/google/callback?{query}");
    let query = begin().await;
    let at_once = join_all((0..10).map(|_| async { server.get(&callback(&query)).await.status })).await;
    assert_eq!(at_once.iter().filter(|status| **status == 200).count(), 1, "{at_once:?}");
    assert!(at_once.iter().all(|status| [200, 400].contains(status)), "{at_once:?}");
    let again = server.get(&callback(&query)).await;
    assert_eq!(again.status, 400);
    assert!(again.json()["detail"].as_str().unwrap().contains("state"), "{}", again.text());

    let owner = Owner::sign_in(&server).await;
    let client = owner.client(0, json!({})).await;
    let path = format!("/api/clients/{}/calendar/oauth/initiate", id(&client));
    let started = owner.ask(Method::POST, &path, &Value::Null).await.json();
    let for_calendar = consent(started["authorization_url"].as_str().unwrap()).await;
    assert!(for_calendar.contains(started["state"].as_str().unwrap()));
    assert_eq!(server.get(&callback(&for_calendar)).await.status, 400, "a calendar's state signs nobody in");
    let connected = server.get(&format!("{BASE}/api/calendar/oauth/callback?{for_calendar}")).await;
    assert_eq!(connected.status, 200, "and is not used up by trying: {}", connected.text());
    assert!(connected.text().contains(id(&client)));
    let status = owner.get(&format!("/api/clients/{}/calendar/status", id(&client))).await;
    assert_eq!((&status["has_credentials"], &status["credential_type"]), (&true.into(), &"oauth".into()));
    let path = format!("/api/clients/{}/calendar/credentials", id(&client));
    assert_eq!(owner.ask(Method::DELETE, &path, &Value::Null).await.status, 200);
    assert_eq!(owner.ask(Method::DELETE, &path, &Value::Null).await.status, 404, "there is none any more");
    assert!(
        fakes.requests().iter().any(|asked| asked.path.contains("/revoke")),
        "the consent was given back"
    );

    // A code that Google does not know: the state is used up by it.
    let query = begin().await;
    let state =
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state").unwrap().1.into_owned();
    let forged = json!({ "code": "4/0Aguess", "state": state }).to_string();
    let json = [("content-type", "application/json")];
    for _ in 0..2 {
        let answer = server.ask(Method::POST, &format!("{BASE}/auth/google/callback"), &json, &forged).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    assert_eq!(server.get(&callback(&query)).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_google_that_proves_nothing_signs_nobody_in() {
    let (server, fakes) = server().await;
    for wrong in [
        json!({ "alg": "none" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "broken" }),
        json!({ "claims": { "aud": "somebody else's client" } }),
        json!({ "claims": { "iss": "https://evil.example" } }),
        json!({ "claims": { "exp": 1 } }),
        json!({ "claims": { "nonce": "of another attempt" } }),
    ] {
        fakes.google_set("oauth", &wrong).unwrap();
        let answer = server.ask(Method::POST, &format!("{BASE}/auth/google/initiate"), &[], "").await;
        let query = consent(answer.json()["authorization_url"].as_str().unwrap()).await;
        let answer = server.get(&format!("{BASE}/auth/google/callback?{query}")).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
        let usual = json!({ "alg": "RS256", "claims": {} });
        fakes.google_set("oauth", &usual).unwrap();
    }
    assert_eq!(Owner::sign_in(&server).await.user["email"], "pat@example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_is_taken_only_if_it_is_one_of_googles() {
    let (server, _fakes) = server().await;
    let owner = Owner::sign_in(&server).await;
    let client = owner.client(0, json!({})).await;
    let path = format!("/api/clients/{}/calendar/service-account", id(&client));
    let file = |change: &dyn Fn(&mut Value)| {
        let mut file = desk::google().1.clone();
        change(&mut file);
        file
    };
    for body in [
        json!({}),
        json!({ "service_account_json": "no JSON" }),
        json!({ "service_account_json": "{}" }),
        json!({ "service_account_json": [] }),
        json!({ "service_account_json": file(&|f| f["token_uri"] = "http://169.254.169.254/token".into()) }),
        json!({ "service_account_json": file(&|f| f["type"] = "authorized_user".into()).to_string() }),
        json!({ "service_account_json": file(&|f| f["private_key"] = "-----BEGIN".into()).to_string() }),
        json!({ "service_account_json": "x".repeat(20_000) }),
    ] {
        let answer = owner.ask(Method::POST, &path, &body).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    let status = owner.get(&format!("/api/clients/{}/calendar/status", id(&client))).await;
    assert_eq!(status["has_credentials"], false, "nothing was kept: {status}");
    for service_account in [desk::google().1.clone(), desk::google().1.to_string().into()] {
        let answer =
            owner.ask(Method::POST, &path, &json!({ "service_account_json": service_account })).await;
        assert_eq!(answer.json()["service_account_email"], desk::google().1["client_email"]);
    }
    // The key is in the database, and cannot be read there.
    let data = server.data();
    for file in ["offhook.db", "offhook.db-wal"] {
        let bytes = std::fs::read(data.path().join(file)).unwrap_or_default();
        assert!(!bytes.windows(11).any(|window| window == b"PRIVATE KEY"), "{file} shows the key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_has_one_client_and_one_contact_of_each_client() {
    let (server, _fakes) = server().await;
    let owner = Owner::sign_in(&server).await;
    let number = new_number();
    let body = json!({ "name": "Acme", "phone_number": number });
    let at_once = join_all((0..10).map(|_| owner.ask(Method::POST, "/api/clients", &body))).await;
    let made: Vec<_> = at_once.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), 1);
    assert!(at_once.iter().all(|answer| [201, 400].contains(&answer.status)));
    let clients = owner.get("/api/clients").await;
    assert_eq!(clients.as_array().unwrap().len(), 1, "no half of a client is left: {clients}");
    let client = made[0].json();
    let other = owner.client(0, json!({})).await;
    let path = format!("/api/clients/{}", id(&other));
    assert_eq!(
        owner.ask(Method::PUT, &path, &json!({ "phone_number": number, "name": "New" })).await.status,
        400
    );
    assert_eq!(owner.client_now(&other).await, other, "all or nothing");

    let contact = |of: &Value| json!({ "client_id": id(of), "phone_number": "+1 (555) 987-6543" });
    assert_eq!(owner.ask(Method::POST, "/api/contacts", &contact(&client)).await.status, 201);
    assert_eq!(owner.ask(Method::POST, "/api/contacts", &contact(&client)).await.status, 400);
    let elsewhere = owner.ask(Method::POST, "/api/contacts", &contact(&other)).await;
    assert_eq!((elsewhere.status, &elsewhere.json()["phone_number"]), (201, &json!("+15559876543")));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_contacts_come_page_by_page_and_none_past_the_end() {
    let (server, _fakes) = server().await;
    let owner = Owner::sign_in(&server).await;
    let client = owner.client(0, json!({})).await;
    for hundred in 0..100 {
        let new = (0..100).map(|n| {
            json!({ "client_id": id(&client), "phone_number": format!("+1555{:07}", 2_000_000 + hundred * 100 + n) })
        });
        let bodies: Vec<_> = new.collect();
        let made = join_all(bodies.iter().map(|body| owner.ask(Method::POST, "/api/contacts", body))).await;
        assert!(made.iter().all(|answer| answer.status == 201));
    }
    let contacts = format!("/api/clients/{}/contacts", id(&client));
    assert_eq!(owner.get(&contacts).await.as_array().unwrap().len(), 10_000);
    let first = owner.get(&format!("{contacts}?limit=1000")).await;
    assert_eq!(first.as_array().unwrap().len(), 100, "more than 100 count as 100");
    let last = owner.get(&format!("{contacts}?limit=100&offset=9950")).await;
    assert_eq!(last.as_array().unwrap().len(), 50);
    for offset in ["10000", "99999999", "99999999999999999999"] {
        assert_eq!(owner.get(&format!("{contacts}?offset={offset}")).await, json!([]), "{offset}");
    }
    let removed = owner.ask(Method::DELETE, &format!("/api/clients/{}", id(&client)), &Value::Null).await;
    assert_eq!(removed.status, 200);
    let gone = owner.ask(Method::GET, &contacts, &Value::Null).await;
    assert_eq!(gone.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_any_origin_may_ask_in_development_without_credentials() {
    let (server, _fakes) = server().await;
    let headers = [
        ("origin", "https://app.example.com"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let answer = server.ask(Method::OPTIONS, &format!("{BASE}/api/clients"), &headers, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-allow-credentials").is_empty());
    assert!(answer.header("access-control-allow-methods").contains("PUT"));
    let strict = [("OFFHOOK_FRONTDESK_ORIGINS", "https://app.example.com")];
    let strict = Server::start_with(&["--speech", "keypad"], &strict).await;
    for (origin, allowed) in
        [("https://app.example.com", "https://app.example.com"), ("https://evil.example", "")]
    {
        let headers = [("origin", origin)];
        let answer = strict.ask(Method::GET, &format!("{BASE}/api/clients"), &headers, "").await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
    }
}
