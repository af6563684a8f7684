//! The dashboard as its users have it: people with passwords, calls that are reported to their webhooks, and doubles of the
//! services that are asked in their names.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hyper::Method;
use offhook_fixtures::twilio::TwilioApi;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::server::{Answer, PATIENCE, Server};

/// Where the dashboard is on the main listener.
pub const BASE: &str = "/dashboard";

/// What everybody signs in with.
pub const PASSWORD: &str = "correct horse battery";

/// Who is admin.
pub const ADMIN: &str = "admin@example.com";

/// The account at Twilio, and its token.
pub const TWILIO: (&str, &str) =
    ("AC00000000000000000000000000000001", "the-key-that-the-carrier-signs-with");

/// Where the doubles are.
#[derive(Debug)]
pub struct Doubles {
    /// OpenAI's API.
    pub openai: String,
    /// Where to say what its models answer.
    pub control: String,
    /// Twilio's API, whose account has three numbers.
    pub twilio: String,
    /// What a server has to know of the CRMs.
    pub crms: Vec<(String, String)>,
}

/// Doubles for the whole process.
pub fn doubles() -> &'static Doubles {
    static DOUBLES: LazyLock<Doubles> = LazyLock::new(|| {
        let (tell, told) = std::sync::mpsc::channel();
        // A thread of its own: the runtimes of single tests end before the process does.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a thread can have a runtime").block_on(async {
                let fakes = FakeVendors::start().await;
                let twilio = TwilioApi::start(TWILIO.0, TWILIO.1).await;
                twilio.has_numbers(3);
                let doubles = Doubles {
                    openai: fakes.base_url(Vendor::OpenAi),
                    control: format!("{}/_control", fakes.url()),
                    twilio: twilio.base_url(),
                    crms: crate::crm::variables(&fakes),
                };
                tell.send(doubles).expect("somebody waits for it");
                fakes.served().await;
            });
        });
        told.recv().expect("the doubles start")
    });
    &DOUBLES
}

/// The variables of a server that asks the doubles.
pub fn variables() -> Vec<(&'static str, &'static str)> {
    let doubles = doubles();
    vec![
        ("OFFHOOK_JWT_SECRET", crate::desk::JWT_SECRET),
        ("OFFHOOK_ADMIN_EMAILS", ADMIN),
        ("OFFHOOK_OPENAI_BASE_URL", &doubles.openai),
        ("OFFHOOK_TWILIO_BASE_URL", &doubles.twilio),
        ("TWILIO_ACCOUNT_SID", TWILIO.0),
    ]
}

/// An address that nobody else of this process has.
pub fn new_email() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("user-{}@example.com", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A report that a call is over.
pub fn report(call: &str, agent: &str, reason: &str, summary: &str) -> Value {
    json!({
        "message": {
            "type": "end-of-call-report",
            "endedReason": reason,
            "startedAt": "2026-01-15T10:30:00.000Z",
            "endedAt": "2026-01-15T10:33:00.000Z",
            "artifact": {
                "messages": [
                    { "role": "system", "message": "You are a receptionist." },
                    { "role": "bot", "message": "Hello, how can I help you?", "time": 1, "secondsFromStart": 0.4 },
                    { "role": "user", "message": summary, "time": 2, "secondsFromStart": 3.1 },
                ],
                "recordingUrl": "https://storage.example/a.wav",
            },
            "analysis": { "summary": summary },
            "call": { "id": call, "type": "inboundPhoneCall", "assistantId": "a-1" },
            "customer": { "number": "+15005550009", "name": "John Doe" },
            "assistant": { "name": agent },
        },
    })
}

/// Word of how far a call is.
pub fn status(call: &str, status: &str) -> Value {
    json!({
        "message": {
            "type": "status-update",
            "status": status,
            "call": { "id": call },
            "customer": { "number": "+15005550009" },
        },
    })
}

/// Somebody who registered.
pub struct User<'a> {
    /// The server.
    pub server: &'a Server,
    /// The token.
    pub token: String,
    /// The address.
    pub email: String,
}

impl<'a> User<'a> {
    /// Registers under an address of its own.
    pub async fn new(server: &'a Server) -> Self {
        Self::named(server, &new_email()).await
    }

    /// Registers under this address.
    pub async fn named(server: &'a Server, email: &str) -> Self {
        let body = json!({ "email": email, "password": PASSWORD, "name": "John Doe" });
        let answer = post(server, "/api/auth/register", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = answer.json()["token"].as_str().expect("there is a token").to_owned();
        Self { server, token, email: email.to_owned() }
    }

    /// Asks for a path below the base.
    pub async fn ask(&self, method: Method, path: &str, body: &Value) -> Answer {
        let authorization = format!("Bearer {}", self.token);
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.server.ask(method, &format!("{BASE}{path}"), &headers, &body).await
    }

    /// Fetches what must be there.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.ask(Method::GET, path, &Value::Null).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Does what must succeed.
    pub async fn does(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.ask(method, path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Fetches a path until `wanted` is true of it.
    pub async fn get_when(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let told = self.get(path).await;
            if wanted(&told) {
                return told;
            }
            assert!(Instant::now() < give_up, "{path} stays {told:#}");
            sleep(Duration::from_millis(25)).await;
        }
    }

    /// Makes a webhook: the path of its URL on this server, and its secret.
    pub async fn webhook(&self) -> (String, String) {
        let made = self.does(Method::POST, "/api/webhooks", json!({ "name": "My Webhook" })).await;
        let text = |name: &str| made["webhook"][name].as_str().expect("a webhook has it").to_owned();
        let (url, secret) = (text("url"), text("secret"));
        let path = url.strip_prefix(&self.server.base()).expect("the URL is this server's").to_owned();
        (path, secret)
    }

    /// Reports a call to a webhook.
    pub async fn report(&self, webhook: &(String, String), message: &Value) -> Answer {
        let headers = [("content-type", "application/json"), ("x-vapi-secret", webhook.1.as_str())];
        self.server.ask(Method::POST, &webhook.0, &headers, &message.to_string()).await
    }
}

/// Posts JSON to a path below the base, without a token.
pub async fn post(server: &Server, path: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    server.ask(Method::POST, &format!("{BASE}{path}"), &headers, &body.to_string()).await
}
