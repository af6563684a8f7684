//! FrontDesk as its users have it: people who sign in at a double of Google, clients with numbers, callers.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use hyper::Method;
use offhook::caller::{new_call_sid, twiml};
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use serde_json::{Value, json};

use crate::http::{Ask, Client};
use crate::raw::{Announced, RawCall};
use crate::server::{Answer, Server};

/// Where FrontDesk is on the main listener.
pub const BASE: &str = "/frontdesk";

/// What the tests' servers sign tokens with.
pub const JWT_SECRET: &str = "a-long-random-text-that-tokens-are-signed-with";

/// What Stripe signs with.
pub const STRIPE_SECRET: &str = "whsec_of_the_tests";

/// Google for FrontDesk's clients: its address, and the key file of a service account that it knows. A double for the whole
/// process, at which everyone consents at once.
pub fn google() -> &'static (String, Value) {
    static GOOGLE: LazyLock<(String, Value)> = LazyLock::new(|| {
        let (tell, told) = std::sync::mpsc::channel();
        // A thread of its own: the runtimes of single tests end before the process does.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a thread can have a runtime").block_on(async {
                let fakes = FakeVendors::start().await;
                let double = (fakes.base_url(Vendor::Google), fakes.google_account());
                tell.send(double).expect("somebody waits for it");
                fakes.served().await;
            });
        });
        told.recv().expect("the double starts")
    });
    &GOOGLE
}

/// The variables of a server with a client at Google's.
pub fn google_client() -> [(&'static str, &'static str); 4] {
    [
        ("OFFHOOK_GOOGLE_BASE_URL", &google().0),
        ("GOOGLE_CLIENT_ID", "cid"),
        ("GOOGLE_CLIENT_SECRET", "the-secret-of-cid"),
        ("OFFHOOK_JWT_SECRET", JWT_SECRET),
    ]
}

/// A number that no other client of this process has.
pub fn new_number() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1_000_000);
    format!("+1555{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Goes where the browser is sent; the query that it comes back with.
pub async fn consent(authorization_url: &str) -> String {
    let rest = authorization_url.strip_prefix("http://").expect("the double has no TLS");
    let (host, _) = rest.split_once('/').expect("the URL has a path");
    let address = host.parse().expect("the double is at an address");
    let answer = Client::new().ask_of_host(address, host, Ask::get(&rest[host.len()..])).await;
    assert_eq!(answer.status, 302, "{authorization_url}: {}", answer.text());
    let location = answer.header("location");
    location.split_once('?').unwrap_or_else(|| panic!("no query in {location}")).1.to_owned()
}

/// Somebody who signed in.
pub struct Owner<'a> {
    /// The server.
    pub server: &'a Server,
    /// The token.
    pub token: String,
    /// Who it is, as the server tells.
    pub user: Value,
}

impl<'a> Owner<'a> {
    /// Signs in at `google`, as whoever sits at the browser there.
    pub async fn sign_in(server: &'a Server) -> Self {
        let answer = server.ask(Method::POST, &format!("{BASE}/auth/google/initiate"), &[], "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let url = answer.json()["authorization_url"].as_str().expect("there is a URL").to_owned();
        let query = consent(&url).await;
        let answer = server.get(&format!("{BASE}/auth/google/callback?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let said = answer.json();
        let token = said["access_token"].as_str().expect("there is a token").to_owned();
        Self { server, token, user: said["user"].clone() }
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

    /// Makes a client with a number of its own and so many seconds.
    pub async fn client(&self, balance_seconds: u32, more: Value) -> Value {
        let mut body = json!({
            "name": "Acme Corp",
            "phone_number": new_number(),
            "initial_greeting": "Acme.",
            "balance_seconds": balance_seconds,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let answer = self.ask(Method::POST, "/api/clients", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// The client as it is now.
    pub async fn client_now(&self, client: &Value) -> Value {
        self.get(&format!("/api/clients/{}", id(client))).await
    }
}

/// The id of what was made.
pub fn id(made: &Value) -> &str {
    made["id"].as_str().expect("what is made has an id")
}

/// The form of a call to a number.
pub fn voice_form(call_sid: &str, from: &str, to: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("CallSid", call_sid)
        .append_pair("From", from)
        .append_pair("To", to)
        .append_pair("CallStatus", "ringing")
        .finish()
}

/// Rings a client; the answer of the webhook.
pub async fn ring(server: &Server, call_sid: &str, from: &str, to: &str) -> Answer {
    server.post_form(&format!("{BASE}/voice"), &voice_form(call_sid, from, to)).await
}

/// Calls a client, up to `start`.
pub async fn call(server: &Server, from: &str, client: &Value) -> RawCall {
    let call_sid = new_call_sid();
    let to = client["phone_number"].as_str().expect("a client has a number");
    let answer = ring(server, &call_sid, from, to).await;
    let Ok(twiml::Answer::Stream { url, .. }) = twiml::read(answer.text()) else {
        panic!("no stream in {}", answer.text());
    };
    let mut call = RawCall::connect(&Announced { call_sid, url, token: String::new() }).await;
    call.connected().await;
    call.start(None).await;
    call
}
