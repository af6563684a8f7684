//! Echo Me: five keys for all errors, sessions by signing in with Google, a limit for each user and one for each address.
//!
//! A user may ask a hundred times a minute, and the walk asks more often: each endpoint is asked by a user of its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use hyper::Method;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::echome_cases;
use super::inventory::{Endpoint, Inventory};
use super::shape::{Field, Shape};
use super::system::{Case, Credentials, Later, Site, System, World, complaint};
use crate::desk::{JWT_SECRET, consent};
use crate::echome::{self, Programs, form};
use crate::http::Ask;
use crate::server::{Answer, PATIENCE};

/// The endpoint whose request a bot's secret opens.
pub(super) const TELEGRAM: &str = "echome.post.webhook_telegram";

/// A video that is fetched at once, one that never is, and one that cannot be.
pub(super) const VIDEOS: [&str; 3] = ["dQw4w9WgXcQ", "held0000000", "private0000"];

/// How often it is asked whether something is done: a user may ask a hundred times a minute.
const PACE: Duration = Duration::from_millis(500);

/// The system.
pub(super) struct EchoMe;

/// What a server is told of the doubles.
struct Doubles {
    fakes: &'static FakeVendors,
    variables: Vec<(&'static str, String)>,
    _programs: Programs,
}

/// Doubles for the whole process.
static DOUBLES: LazyLock<Doubles> = LazyLock::new(|| {
    let (tell, told) = std::sync::mpsc::channel();
    // A thread of its own: the runtimes of single tests end before the process does.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a thread can have a runtime").block_on(async {
            let fakes: &'static FakeVendors = Box::leak(Box::new(FakeVendors::start().await));
            tell.send(fakes).expect("somebody waits for it");
            std::future::pending::<()>().await;
        });
    });
    let fakes = told.recv().expect("the doubles start");
    let programs = Programs::in_place();
    programs.go();
    let fetch = std::fs::read_to_string(programs.path("yt-dlp")).expect("it was just written");
    let (_, fetch) = fetch.split_once('\n').expect("a script has lines");
    let held = format!("case \"$*\" in *{}*) while :; do sleep 0.2; done;; esac\n", VIDEOS[1]);
    programs.write("yt-dlp", &format!("{held}{fetch}"));
    let variables = vec![
        ("OFFHOOK_JWT_SECRET", JWT_SECRET.to_owned()),
        ("OFFHOOK_GOOGLE_BASE_URL", fakes.base_url(Vendor::Google)),
        ("GOOGLE_CLIENT_ID", "cid".into()),
        ("GOOGLE_CLIENT_SECRET", "the-secret-of-cid".into()),
        ("OFFHOOK_ELEVENLABS_BASE_URL", fakes.base_url(Vendor::ElevenLabs)),
        ("ELEVENLABS_API_KEY", "k".into()),
        ("OFFHOOK_OPENAI_BASE_URL", fakes.base_url(Vendor::OpenAi)),
        ("OPENAI_API_KEY", "sk-any".into()),
        ("OFFHOOK_TELEGRAM_BASE_URL", fakes.base_url(Vendor::Telegram)),
        ("OFFHOOK_YT_DLP", programs.path("yt-dlp")),
        ("OFFHOOK_FFMPEG", programs.path("ffmpeg")),
    ];
    Doubles { fakes, variables, _programs: programs }
});

/// Who asks an endpoint of a site, and what else is known of them: by site and endpoint.
static USERS: LazyLock<Mutex<HashMap<String, User>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Debug, Default)]
struct User {
    token: String,
    /// What Telegram shows when it posts to their bot.
    secret: String,
}

fn user<T>(site: &Site<'_>, endpoint: &str, look: impl FnOnce(&mut User) -> T) -> T {
    let key = format!("{} {}{} {endpoint}", site.server.process_id(), site.host, site.base);
    look(USERS.lock().expect("nobody panics with it").entry(key).or_default())
}

impl System for EchoMe {
    fn name(&self) -> &'static str {
        "echome"
    }

    fn bases(&self) -> &'static [&'static str] {
        &[echome::BASE]
    }

    fn settings(&self, world: World) -> (Vec<&'static str>, Vec<(&'static str, &'static str)>) {
        let mut variables = vec![("OFFHOOK_RATE_LIMITS", "on")];
        variables.extend(DOUBLES.variables.iter().map(|(name, value)| (*name, value.as_str())));
        if world == World::Production {
            variables.extend([
                ("OFFHOOK_ENVIRONMENT", "production"),
                ("OFFHOOK_BEARER_TOKENS", "a-long-random-text-of-the-contract-test"),
                ("OFFHOOK_MASTER_KEY", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
            ]);
        }
        (vec!["--speech", "keypad"], variables)
    }

    fn authorize(&self, site: &Site<'_>, endpoint: &Endpoint, with: Credentials, ask: Ask) -> Ask {
        match (endpoint.auth.scheme.as_str(), with) {
            ("signed_url", Credentials::None) => {
                let path = ask.path.split('?').next().unwrap_or_default().to_owned();
                Ask { path, ..ask }
            }
            ("signed_url", Credentials::Wrong) => {
                let path = format!("{}?token=e30.e30.e30", ask.path.split('?').next().unwrap_or_default());
                Ask { path, ..ask }
            }
            (_, Credentials::None) | ("none" | "oauth_state" | "signed_url", _) => ask,
            ("session", Credentials::Wrong) => ask.with("cookie", "next-auth.session-token=e30.e30.e30"),
            ("session", Credentials::Right) => {
                let token = user(site, &endpoint.id, |user| user.token.clone());
                ask.with("cookie", format!("next-auth.session-token={token}"))
            }
            ("telegram_secret", Credentials::Wrong) => {
                ask.with("x-telegram-bot-api-secret-token", "0".repeat(64))
            }
            ("telegram_secret", Credentials::Right) => {
                let secret = user(site, &endpoint.id, |user| user.secret.clone());
                ask.with("x-telegram-bot-api-secret-token", secret)
            }
            (scheme, _) => panic!("no test knows the scheme {scheme:?}"),
        }
    }

    fn refusal(&self, endpoint: &Endpoint) -> Option<u16> {
        match endpoint.auth.scheme.as_str() {
            "session" | "telegram_secret" => Some(401),
            // Who has no link learns not even that there is something.
            "signed_url" => Some(404),
            _ => None,
        }
    }

    fn limit(&self, _: &Site<'_>, endpoint: &Endpoint, with: Credentials) -> Option<u32> {
        let is_known = endpoint.auth.scheme == "session" && with == Credentials::Right;
        Some(if is_known { 100 } else { 1_000 })
    }

    fn error_shape(&self, inventory: &Inventory, format: &str, status: u16) -> Shape {
        let documented = &inventory.error_formats[format].shape;
        let wait = Field {
            name: "retry_after_seconds".into(),
            of: "integer".into(),
            nullable: false,
            example: Value::Null,
        };
        let limited = (status == 429).then_some(wait);
        Shape::of(&documented.iter().cloned().chain(limited).collect::<Vec<_>>())
    }

    fn error_complaints(&self, _: &Inventory, status: u16, answer: &Answer) -> Vec<String> {
        let error = answer.json();
        let code = error["error"].as_str().unwrap_or_default();
        let documented: &[&str] = match status {
            400 => &["invalid_input", "invalid_url"],
            401 => &["unauthorized", "invalid_api_key"],
            402 => &["quota_exceeded"],
            404 => &["resource_not_found"],
            409 => &["conflict"],
            413 => &["payload_too_large"],
            422 => &["unprocessable_entity"],
            429 => &["rate_limit"],
            502 | 503 => &["external_api_error"],
            405 => &["method_not_allowed"],
            415 => &["invalid_input"],
            _ => &[],
        };
        let mut told = complaint(documented.contains(&code), || format!("{status} says {code:?}"));
        let text = error["message"].as_str().unwrap_or_default();
        told.extend(complaint(!text.is_empty(), || "there is no message".into()));
        let id = answer.header("x-request-id");
        told.extend(complaint(id.starts_with("req_") && error["request_id"] == id, || {
            format!("X-Request-Id is {id:?}, and request_id {}", error["request_id"])
        }));
        told
    }

    fn missing_complaints(&self, _: &Inventory, field: &str, answer: &Answer) -> Vec<String> {
        complaint(answer.text().contains(field), || format!("{field} is not named: {}", answer.text()))
    }

    fn someone_else<'a>(&'a self, site: &'a Site<'a>, endpoint: &'a Endpoint) -> Later<'a, ()> {
        Box::pin(async {
            if endpoint.auth.scheme == "session" {
                user(site, &endpoint.id, |user| user.token.clear());
                owner(site, &endpoint.id).await;
            }
        })
    }

    fn case(&self, id: &str) -> Option<Case> {
        echome_cases::case(id.strip_prefix("echome.")?)
    }
}

/// The token of who asks an endpoint, who is signed in first.
pub(super) async fn owner(site: &Site<'_>, endpoint: &str) -> String {
    let there = user(site, endpoint, |user| user.token.clone());
    if !there.is_empty() {
        return there;
    }
    let query = signing_in(site).await;
    let back = site.ask(Ask::get(format!("/api/auth/callback/google?{query}"))).await;
    let cookie = back.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let token = cookie.strip_prefix("next-auth.session-token=").unwrap_or_default().to_owned();
    assert!(!token.is_empty(), "nobody is let in: {} {}", back.status, back.text());
    user(site, endpoint, |user| user.token.clone_from(&token));
    token
}

/// The query that a browser comes back with from Google, where somebody consented who was never there before.
pub(super) async fn signing_in(site: &Site<'_>) -> String {
    static PEOPLE: AtomicU32 = AtomicU32::new(1);
    /// One person sits at the double at a time.
    static AT_THE_BROWSER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let begun = site.ask(Ask::get("/api/auth/signin")).await;
    assert_eq!(begun.status, 302, "{}", begun.text());
    let _alone = AT_THE_BROWSER.lock().await;
    let number = PEOPLE.fetch_add(1, Ordering::Relaxed);
    let person = json!({
        "sub": format!("{number:021}"), "email": format!("person-{number}@example.com"), "name": "Pat Example",
    });
    DOUBLES.fakes.google_set("user", &person).expect("the double takes anybody");
    consent(begun.header("location")).await
}

/// Asks as who asks this endpoint, whatever is asked for.
pub(super) async fn ask(site: &Site<'_>, endpoint: &str, ask: Ask) -> Answer {
    let token = owner(site, endpoint).await;
    site.ask(ask.with("authorization", format!("Bearer {token}"))).await
}

/// Has a voice made of a video, for who asks this endpoint: the ids of the job and the persona.
pub(super) async fn clone(site: &Site<'_>, endpoint: &str, video: &str) -> (String, String) {
    let body = json!({
        "youtube_url": format!("https://www.youtube.com/watch?v={video}"), "persona_name": "John Sales Expert",
    });
    let started = ask(site, endpoint, Ask::json("/api/voice/clone", body.to_string())).await;
    assert_eq!(started.status, 202, "{}", started.text());
    (text(&started, "job_id"), text(&started, "persona_id"))
}

/// A persona whose voice is there.
pub(super) async fn persona(site: &Site<'_>, endpoint: &str) -> String {
    let (job, persona) = clone(site, endpoint, VIDEOS[0]).await;
    let status = once(site, endpoint, &format!("/api/voice/status/{job}"), &["completed", "failed"]).await;
    assert_eq!(status.json()["status"], "completed", "{}", status.text());
    persona
}

/// Products that were read: the first one's id.
pub(super) async fn product(site: &Site<'_>, endpoint: &str) -> String {
    let csv = "name,description,price,currency,sku,category,in_stock,color\n\
               Notebook A5,\"Recycled paper, 120 pages\",12.99,USD,NB-A5,Stationery,true,Green\n\
               Waterproof Pen,Writes in the rain,3.50,USD,PEN-W,Stationery,false,Black\n";
    let (content_type, body) = form("products.csv", "text/csv", csv.as_bytes());
    let started = ask(site, endpoint, Ask::post("/api/products/upload", &content_type, body)).await;
    let job = text(&started, "job_id");
    let done = once(site, endpoint, &format!("/api/jobs/{job}"), &["completed", "failed"]).await;
    assert_eq!(done.json()["status"], "completed", "{}", done.text());
    let listed = ask(site, endpoint, Ask::get("/api/products")).await.json();
    listed["products"][0]["id"].as_str().expect("a product has an id").to_owned()
}

/// Somebody whom personas talk with: the id.
pub(super) async fn client(site: &Site<'_>, endpoint: &str) -> String {
    let new = json!({ "name": "Alice Johnson", "email": "alice@example.com", "telegram_id": "123456789" });
    let made = ask(site, endpoint, Ask::json("/api/clients", new.to_string())).await;
    assert!(matches!(made.status, 200 | 400), "{}", made.text());
    let listed = ask(site, endpoint, Ask::get("/api/clients")).await.json();
    listed["clients"][0]["id"].as_str().expect("a client has an id").to_owned()
}

/// Sets a key of who asks this endpoint.
pub(super) async fn set_key(site: &Site<'_>, endpoint: &str, service: &str, key: &str) {
    let body = json!({ "service": service, "api_key": key }).to_string();
    // Telegram posts over TLS alone.
    let set = Ask::json("/api/settings/api-keys", body).with("x-forwarded-proto", "https");
    let set = ask(site, endpoint, set).await;
    assert_eq!(set.status, 200, "{}", set.text());
}

/// The token of a bot that nobody else has.
pub(super) fn new_bot() -> String {
    static BOTS: AtomicU32 = AtomicU32::new(1_000);
    format!("{}:{}", BOTS.fetch_add(1, Ordering::Relaxed), "a".repeat(35))
}

/// Connects a bot, once: what Telegram shows from then on is known.
pub(super) async fn bot(site: &Site<'_>) {
    /// Of two that are connected at once, it would not be known which is which.
    static ONE_BY_ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    if !user(site, TELEGRAM, |user| user.secret.clone()).is_empty() {
        return;
    }
    let _alone = ONE_BY_ONE.lock().await;
    set_key(site, TELEGRAM, "telegram", &new_bot()).await;
    let sent = DOUBLES.fakes.telegram_sent();
    let webhook = sent.iter().rev().find(|sent| sent["method"] == "setWebhook").expect("Telegram was told");
    let url = webhook["url"].as_str().unwrap_or_default();
    assert!(url.ends_with(&format!("{}/webhook/telegram", site.base)), "{url}");
    let secret = webhook["secret_token"].as_str().expect("it has a secret").to_owned();
    user(site, TELEGRAM, |user| user.secret = secret);
}

/// What a path answers, once its status is one of these.
pub(super) async fn once(site: &Site<'_>, endpoint: &str, path: &str, wanted: &[&str]) -> Answer {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let answer = ask(site, endpoint, Ask::get(path)).await;
        let status = answer.json()["status"].as_str().unwrap_or_default().to_owned();
        if wanted.contains(&status.as_str()) {
            return answer;
        }
        assert!(Instant::now() < give_up, "{path} stays {}", answer.text());
        sleep(PACE).await;
    }
}

/// Calls a job off.
pub(super) async fn cancel(site: &Site<'_>, endpoint: &str, job: &str) -> Answer {
    ask(site, endpoint, Ask::new(Method::POST, format!("/api/jobs/{job}/cancel"))).await
}

/// A text of an answer.
pub(super) fn text(answer: &Answer, name: &str) -> String {
    answer.json()[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", answer.text())).to_owned()
}
