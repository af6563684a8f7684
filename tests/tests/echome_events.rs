//! What becomes of personas and products is told to their owner's webhooks, over real sockets: once, signed, through outages of the
//! receiver and the death of the process.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use hyper::Method;
use offhook::domain::time::UnixMs;
use offhook::integrations::stripe;
use offhook_fixtures::receiver::{Received, Receiver, Reply};
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use offhook_tests::dashboard::User;
use offhook_tests::desk::{self, google_client};
use offhook_tests::echome::{Owner, Programs, profile, upload, variables};
use offhook_tests::server::PATIENCE;
use offhook_tests::{Answer, Server};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const FLAGS: [&str; 2] = ["--speech", "keypad"];
const VIDEO: &str = "dQw4w9WgXcQ";

/// What a server of these tests has.
struct House {
    fakes: FakeVendors,
    programs: Programs,
    receiver: Receiver,
}

impl House {
    async fn build() -> Self {
        let (fakes, programs) = (FakeVendors::start().await, Programs::in_place());
        programs.go();
        Self { fakes, programs, receiver: Receiver::start().await }
    }

    fn variables(&self) -> Vec<(String, String)> {
        let paths = [self.programs.path("yt-dlp"), self.programs.path("ffmpeg")];
        let elevenlabs = self.fakes.base_url(Vendor::ElevenLabs);
        let more = [("OFFHOOK_ALLOW_PRIVATE_DESTINATIONS", "true"), ("OFFHOOK_RETRY_MS", "50")];
        let all = [&google_client()[..], &variables(&paths, &elevenlabs), &more].concat();
        all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    async fn server(&self) -> Server {
        self.server_with(&[]).await
    }

    async fn server_with(&self, more: &[(&str, &str)]) -> Server {
        let variables = self.variables();
        Server::start_with(&FLAGS, &[&borrowed(&variables), more].concat()).await
    }

    /// The server is back, after its end.
    async fn again(&self, dead: Server) -> Server {
        let variables = self.variables();
        Server::start_on(dead.data(), &FLAGS, &borrowed(&variables)).await
    }

    /// What came at a path, once there is as much.
    async fn received(&self, path: &str, count: usize) -> Vec<Received> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let received = self.receiver.received_at(path);
            if received.len() >= count {
                return received;
            }
            assert!(Instant::now() < give_up, "{path} was told {} times", received.len());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn borrowed(variables: &[(String, String)]) -> Vec<(&str, &str)> {
    variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Asks for webhooks with this token.
async fn ask(server: &Server, bearer: &str, method: Method, path: &str, body: Value) -> Answer {
    let headers = [("authorization", bearer), ("content-type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    server.ask(method, &format!("/v1/webhooks{path}"), &headers, &body).await
}

/// Makes a webhook: its id and its secret.
async fn webhook(owner: &Owner<'_>, new: Value) -> (String, String) {
    let made = ask(owner.server, &owner.bearer, Method::POST, "", new).await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"), "{}", made.text());
    let text = |name: &str| made.json()[name].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

/// The deliveries of a webhook, the first one first, once all are over.
async fn delivered(owner: &Owner<'_>, webhook: &str) -> Vec<Value> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let path = format!("/{webhook}/deliveries");
        let told = ask(owner.server, &owner.bearer, Method::GET, &path, Value::Null).await;
        assert_eq!(told.status, 200, "{}", told.text());
        let mut deliveries = told.json()["deliveries"].as_array().unwrap().clone();
        if !deliveries.is_empty() && deliveries.iter().all(|one| one["status"] != "pending") {
            deliveries.reverse();
            return deliveries;
        }
        assert!(Instant::now() < give_up, "{deliveries:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Signed with this secret, with the documented envelope.
fn assert_told(received: &Received, secret: &str, event: &str) {
    let shown = Some(received.header("x-webhook-signature"));
    stripe::verify(secret, shown, &received.raw, UnixMs::now()).unwrap();
    assert!(stripe::verify("whsec_guess", shown, &received.raw, UnixMs::now()).is_err());
    let body = received.body.as_object().unwrap();
    assert_eq!(body.keys().collect::<Vec<_>>(), ["event", "timestamp", "user_id", "data"]);
    assert_eq!((&body["event"], received.header("x-webhook-event")), (&json!(event), event));
    let time = body["timestamp"].as_str().unwrap();
    assert!(time.len() == "2025-02-18T10:00:00Z".len() && time.ends_with('Z'), "{time}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_that_was_made_is_told_once_and_signed() {
    let house = House::build().await;
    let server = house.server().await;
    let owner = Owner::of(&server).await;
    let (id, secret) = webhook(&owner, json!({ "url": house.receiver.url("/hook") })).await;
    webhook(&owner, json!({ "url": house.receiver.url("/other"), "events": ["products.ingested"] })).await;
    let (job, persona) = owner.clone(VIDEO).await;
    let status = owner.status(&job, &["completed", "failed"]).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    let delivered = delivered(&owner, &id).await;
    let received = house.receiver.received();
    assert_eq!((received.len(), delivered.len()), (1, 1), "once, and to who wants it");
    assert_told(&received[0], &secret, "voice.cloned");
    let session = owner.get("/api/auth/session").await;
    let voice = &status["result"]["voice_id"];
    assert_eq!(received[0].body["user_id"], session["user"]["id"]);
    assert_eq!(received[0].body["data"], json!({ "persona_id": persona, "voice_id": voice, "job_id": job }));
    assert_eq!(
        (&delivered[0]["status"], &delivered[0]["event"], &delivered[0]["subject"], &delivered[0]["id"]),
        (
            &json!("delivered"),
            &json!("voice.cloned"),
            &json!(job),
            &json!(received[0].header("x-webhook-id"))
        )
    );
    assert!(!server.log().iter().any(|line| line.contains(&secret)), "secrets are not logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_for_a_while_is_told_later_and_one_that_fails_a_voice_is_told_nothing() {
    let house = House::build().await;
    let server = house.server().await;
    let owner = Owner::of(&server).await;
    let (id, secret) = webhook(&owner, json!({ "url": house.receiver.url("/hook") })).await;
    let (private, _) = owner.clone("private0000").await;
    owner.status(&private, &["failed"]).await;
    house
        .receiver
        .reply("/hook", [Reply::Status(503), Reply::Status(502), Reply::Redirect("http://x.invalid/")]);
    let (job, _) = owner.clone(VIDEO).await;
    let told = house.received("/hook", 4).await;
    let deliveries = delivered(&owner, &id).await;
    assert_eq!((deliveries.len(), &deliveries[0]["subject"]), (1, &json!(job)), "{deliveries:#?}");
    assert_eq!(deliveries[0]["status"], "delivered");
    let statuses: Vec<_> =
        deliveries[0]["tries"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [503, 502, 307, 200]);
    for one in &told {
        assert_told(one, &secret, "voice.cloned");
        assert_eq!(one.header("x-webhook-id"), told[0].header("x-webhook-id"), "known again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_before_the_server_was_killed_is_told_when_it_is_back() {
    let house = House::build().await;
    let mut server = house.server().await;
    let owner = Owner::of(&server).await;
    let (id, secret) = webhook(&owner, json!({ "url": house.receiver.url("/hook") })).await;
    // Nobody answers the first try, so that the server is killed in the middle of it.
    house.receiver.reply("/hook", [Reply::Never]);
    let (job, _) = owner.clone(VIDEO).await;
    owner.status(&job, &["completed"]).await;
    house.received("/hook", 1).await;
    let bearer = owner.bearer.clone();
    server.kill();
    let server = house.again(server).await;
    let owner = Owner { server: &server, bearer };
    let deliveries = delivered(&owner, &id).await;
    assert_eq!((deliveries.len(), &deliveries[0]["status"]), (1, &json!("delivered")), "{deliveries:#?}");
    let told = house.received("/hook", 2).await;
    assert_eq!(told.len(), 2, "and no more");
    assert_told(&told[1], &secret, "voice.cloned");
    assert_eq!(told[0].raw, told[1].raw, "what is told stands in the database");
    assert_eq!(told[0].header("x-webhook-id"), told[1].header("x-webhook-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_is_told_and_a_conversation_when_it_begins_when_it_is_over_and_when_it_is_over_again() {
    let house = House::build().await;
    let openai = house.fakes.base_url(Vendor::OpenAi);
    house.fakes.transcribe(["Hey there! Um, let me tell you. Take care!"]);
    house.fakes.answer(&json!({ "content": profile("Let me tell you").to_string() })).unwrap();
    let more = [
        ("OFFHOOK_OPENAI_BASE_URL", openai.as_str()),
        ("OFFHOOK_EARS", "openai"),
        ("OPENAI_API_KEY", "k"),
        ("OFFHOOK_ECHOME_CONVERSATION_IDLE_SECONDS", "1"),
    ];
    let server = house.server_with(&more).await;
    let owner = Owner::of(&server).await;
    let hook = |path: &str, events: Value| json!({ "url": house.receiver.url(path), "events": events });
    let (_, of_analyses) = webhook(&owner, hook("/analyses", json!(["persona.analyzed"]))).await;
    let talks = json!(["conversation.started", "conversation.ended"]);
    let (_, of_talks) = webhook(&owner, hook("/talks", talks)).await;
    let (job, persona) = owner.clone(VIDEO).await;
    owner.status(&job, &["completed"]).await;
    let told = house.received("/analyses", 1).await;
    assert_told(&told[0], &of_analyses, "persona.analyzed");
    let analysis = job.replace("job_voice_", "job_persona_");
    assert_eq!(told[0].body["data"], json!({ "persona_id": persona, "job_id": analysis }));

    let client = owner.ask(Method::POST, "/api/clients", &json!({ "name": "Alice" })).await.json();
    house.fakes.answer(&json!({ "content": "Yes." })).unwrap();
    let mut asked = json!({ "persona_id": persona, "client_id": client["id"], "query": "Are you there?" });
    let answer = owner.ask(Method::POST, "/api/chat/query", &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let conversation = answer.header("x-conversation-id").to_owned();
    let data = json!({
        "conversation_id": conversation, "persona_id": persona, "client_id": client["id"], "channel": "chat",
    });
    let over = |messages: u64| {
        let mut data = data.clone();
        data["messages"] = messages.into();
        data
    };
    let told = house.received("/talks", 2).await;
    assert_told(&told[0], &of_talks, "conversation.started");
    assert_eq!(told[0].body["data"], data);
    assert_told(&told[1], &of_talks, "conversation.ended");
    assert_eq!(told[1].body["data"], over(2));
    // It goes on after its end, and so it ends again.
    asked["conversation_id"] = json!(conversation);
    house.fakes.answer(&json!({ "content": "Still." })).unwrap();
    assert_eq!(owner.ask(Method::POST, "/api/chat/query", &asked).await.status, 200);
    let told = house.received("/talks", 3).await;
    assert_told(&told[2], &of_talks, "conversation.ended");
    assert_eq!((told.len(), &told[2].body["data"]), (3, &over(4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn products_that_were_read_are_told_and_those_that_were_not_are_not() {
    let house = House::build().await;
    let server = house.server().await;
    let owner = Owner::of(&server).await;
    let new = json!({ "url": house.receiver.url("/hook"), "events": ["products.ingested", "voice.cloned"] });
    let (_, secret) = webhook(&owner, new).await;
    let refused = upload(&owner, "a.csv", "text/csv", b"colour,size\nred,L\n").await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    let csv = "name,description,price\nNotebook A5,Recycled paper,12.99\nPen,Writes in the rain,3.50\n";
    let started = upload(&owner, "products.csv", "text/csv", csv.as_bytes()).await;
    assert_eq!(started.status, 202, "{}", started.text());
    let started = started.json();
    let told = house.received("/hook", 1).await;
    assert_told(&told[0], &secret, "products.ingested");
    let job = owner.get(&format!("/api/jobs/{}", started["job_id"].as_str().unwrap())).await;
    assert_eq!(job["status"], "completed", "it is told when it is so: {job:#}");
    let data = json!({
        "catalog_id": started["catalog_id"], "job_id": started["job_id"], "products": 2,
        "chunks": job["metadata"]["chunks"],
    });
    assert_eq!(told[0].body["data"], data);
    assert_eq!(house.receiver.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_made_changed_and_removed_by_their_owner_alone() {
    let house = House::build().await;
    let server = house.server().await;
    let owner = Owner::of(&server).await;
    let url = house.receiver.url("/hook");
    let (id, secret) = webhook(&owner, json!({ "url": url, "name": "Ours" })).await;
    let mine =
        async |method: Method, path: &str, body: Value| ask(&server, &owner.bearer, method, path, body).await;
    let one = mine(Method::GET, &format!("/{id}"), Value::Null).await;
    let shown = json!({
        "id": id, "name": "Ours", "url": url, "events": ["*"], "is_active": true,
        "created_at": one.json()["created_at"],
    });
    assert_eq!((one.status, one.json()), (200, shown.clone()), "the secret is shown once");
    let listed = mine(Method::GET, "", Value::Null).await.json();
    assert_eq!(listed, json!({ "webhooks": [shown] }));

    // Users of other systems: people with passwords, and those of FrontDesk, who may be the same person.
    let password = User::new(&server).await;
    let password = format!("Bearer {}", password.token);
    let desk = format!("Bearer {}", desk::Owner::sign_in(&server).await.token);
    assert_eq!(
        ask(&server, &desk, Method::GET, "", Value::Null).await.json(),
        listed,
        "one user of two systems"
    );
    assert_eq!(ask(&server, &password, Method::GET, "", Value::Null).await.json(), json!({ "webhooks": [] }));
    for (method, rest) in [
        (Method::GET, ""),
        (Method::PATCH, ""),
        (Method::DELETE, ""),
        (Method::POST, "/secret"),
        (Method::GET, "/deliveries"),
    ] {
        let body = if method == Method::PATCH { json!({ "is_active": false }) } else { Value::Null };
        let path = format!("/{id}{rest}");
        let other = ask(&server, &password, method.clone(), &path, body.clone()).await;
        assert_eq!(
            (other.status, &other.json()["error"]["code"]),
            (404, &json!("NOT_FOUND")),
            "{method} {path}"
        );
        for stranger in ["Bearer e30.e30.e30", "Basic x", ""] {
            let refused = ask(&server, stranger, method.clone(), &path, body.clone()).await;
            assert_eq!(refused.status, 401, "{method} {path} {stranger}");
        }
    }

    let change = json!({ "url": house.receiver.url("/new"), "events": ["voice.cloned"], "is_active": false });
    let changed = mine(Method::PATCH, &format!("/{id}"), change.clone()).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    for name in ["url", "events", "is_active"] {
        assert_eq!(changed.json()[name], change[name]);
    }
    let (job, _) = owner.clone(VIDEO).await;
    owner.status(&job, &["completed"]).await;
    let renewed = mine(Method::POST, &format!("/{id}/secret"), Value::Null).await;
    let renewed = renewed.json()["secret"].as_str().unwrap().to_owned();
    assert!(renewed.starts_with("whsec_") && renewed != secret);
    assert_eq!(mine(Method::DELETE, &format!("/{id}"), Value::Null).await.status, 204);
    assert_eq!(mine(Method::GET, &format!("/{id}"), Value::Null).await.status, 404);
    assert!(house.receiver.received().is_empty(), "it was switched off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_cannot_be_is_refused() {
    let server = Server::start_with(&FLAGS, &google_client()).await;
    let owner = Owner::of(&server).await;
    let good = "https://hooks.example.invalid/";
    for new in [
        json!({}),
        json!({ "url": 7 }),
        json!({ "url": "hooks.example.com" }),
        json!({ "url": "file:///etc/passwd" }),
        json!({ "url": server.base() }),
        json!({ "url": "http://169.254.169.254/latest/meta-data/" }),
        json!({ "url": "http://[::ffff:10.0.0.1]/" }),
        json!({ "url": "https://user:password@example.com/" }),
        json!({ "url": format!("https://example.com/{}", "a".repeat(2_100)) }),
        json!({ "url": good, "events": [] }),
        json!({ "url": good, "events": ["voice.stolen"] }),
        json!({ "url": good, "events": "voice.cloned" }),
        json!({ "url": good, "name": ["n"] }),
    ] {
        let refused = ask(&server, &owner.bearer, Method::POST, "", new.clone()).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]["code"]),
            (400, &json!("INVALID_REQUEST")),
            "{new}"
        );
    }
    let listed = ask(&server, &owner.bearer, Method::GET, "", Value::Null).await.json();
    assert_eq!(listed, json!({ "webhooks": [] }));
    let (id, _) = webhook(&owner, json!({ "url": good })).await;
    let inside = json!({ "url": server.base() });
    let refused = ask(&server, &owner.bearer, Method::PATCH, &format!("/{id}"), inside).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    for query in ["limit=0", "limit=x", "offset=-1", "offset=x"] {
        let path = format!("/{id}/deliveries?{query}");
        let refused = ask(&server, &owner.bearer, Method::GET, &path, Value::Null).await;
        assert_eq!(refused.status, 400, "{query}");
    }
}
