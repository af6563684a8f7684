//! FrontDesk: `{"detail"}` for all errors, tokens by signing in with Google, signatures on webhooks.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::Method;
use offhook::caller::{new_call_sid, twiml};
use offhook::integrations::stripe;
use offhook::systems::callbot::signature;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::WebSocketStream;

use super::inventory::{Endpoint, Inventory};
use super::system::{Case, Credentials, Later, Site, System, World, complaint};
use crate::desk::{self, STRIPE_SECRET, consent, google_client, new_number, voice_form};
use crate::http::Ask;
use crate::raw::RawCall;
use crate::server::{Answer, PATIENCE};

const AUTH_TOKEN: &str = "the-key-that-the-carrier-signs-with";
const CALLER: &str = "+15005550009";

/// The system.
pub(super) struct FrontDesk;

/// Who signed in at which site.
static TOKENS: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);

impl System for FrontDesk {
    fn name(&self) -> &'static str {
        "frontdesk"
    }

    fn bases(&self) -> &'static [&'static str] {
        &[desk::BASE]
    }

    fn settings(&self, world: World) -> (Vec<&'static str>, Vec<(&'static str, &'static str)>) {
        let mut variables = vec![
            ("STRIPE_WEBHOOK_SECRET", STRIPE_SECRET),
            // With Stripe only admins set balances, and the walk needs some.
            ("OFFHOOK_ADMIN_EMAILS", "pat@example.com"),
        ];
        variables.extend(google_client());
        if world == World::Production {
            variables.extend([
                ("OFFHOOK_ENVIRONMENT", "production"),
                ("OFFHOOK_BEARER_TOKENS", "a-long-random-text-of-the-contract-test"),
                ("TWILIO_AUTH_TOKEN", AUTH_TOKEN),
                ("OFFHOOK_MASTER_KEY", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
            ]);
        }
        (vec!["--speech", "keypad"], variables)
    }

    fn authorize(&self, site: &Site<'_>, endpoint: &Endpoint, with: Credentials, ask: Ask) -> Ask {
        match (endpoint.auth.scheme.as_str(), with) {
            (_, Credentials::None) | ("none" | "oauth_state", _) => ask,
            ("bearer_jwt", Credentials::Wrong) => ask.with("authorization", "Bearer e30.e30.e30"),
            ("bearer_jwt", Credentials::Right) => {
                let tokens = TOKENS.lock().expect("nobody panics with the tokens");
                let token = tokens.get(&key(site)).cloned().unwrap_or_default();
                ask.with("authorization", format!("Bearer {token}"))
            }
            ("stripe_signature", with) => {
                let secret = if with == Credentials::Right { STRIPE_SECRET } else { "whsec_guess" };
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
                let signature = stripe::sign(secret, now as i64, &ask.body);
                ask.with("stripe-signature", signature)
            }
            ("twilio_signature", with) => {
                let secret = if with == Credentials::Right { AUTH_TOKEN } else { "guess" };
                let fields: Vec<_> = form_urlencoded::parse(&ask.body).into_owned().collect();
                let signature = signature::sign(secret, &site.url(&ask.path), &fields);
                match site.world {
                    World::Development => ask,
                    World::Production => ask.with("x-twilio-signature", signature),
                }
            }
            (scheme, _) => panic!("no test knows the scheme {scheme:?}"),
        }
    }

    fn refusal(&self, endpoint: &Endpoint) -> Option<u16> {
        match endpoint.auth.scheme.as_str() {
            "bearer_jwt" => Some(401),
            "twilio_signature" => Some(403),
            "stripe_signature" => Some(400),
            _ => None,
        }
    }

    fn limit(&self, _: &Site<'_>, _: &Endpoint, _: Credentials) -> Option<u32> {
        None
    }

    fn error_complaints(&self, inventory: &Inventory, status: u16, answer: &Answer) -> Vec<String> {
        let error = answer.json();
        let detail = error["detail"].as_str().unwrap_or_default();
        let mut told = complaint(!detail.is_empty(), || "there is no detail".into());
        if status == 401 {
            let examples = &inventory.error_formats["detail_string"].examples;
            let documented = examples.iter().any(|example| example.example == error);
            told.extend(complaint(documented, || format!("{error} is not in the documented words")));
        }
        let id = answer.header("x-request-id");
        told.extend(complaint(id.starts_with("req_"), || format!("X-Request-Id is {id:?}")));
        told
    }

    fn missing_complaints(&self, _: &Inventory, field: &str, answer: &Answer) -> Vec<String> {
        complaint(answer.text().contains(field), || format!("{field} is not named: {}", answer.text()))
    }

    fn case(&self, id: &str) -> Option<Case> {
        Some(match id.strip_prefix("frontdesk.")? {
            "post.auth_google_initiate" => Case { good: |_| Box::pin(async { post("") }), ..Case::GET },
            "get.auth_google_callback" => Case {
                good: |site| {
                    Box::pin(async { Ask::get(format!("/auth/google/callback?{}", signing_in(site).await)) })
                },
                bad: || {
                    let queries =
                        ["", "?code=a", "?state=b", "?code=a&state=b", "?error=access_denied&state=b"];
                    queries.map(|query| (Ask::get(format!("/auth/google/callback{query}")), 400)).into()
                },
                once: true,
                ..Case::GET
            },
            "post.auth_google_callback" => Case {
                good: |site| {
                    Box::pin(async {
                        let query = signing_in(site).await;
                        let field = |name: &str| field_of(&query, name);
                        Ask::json("", json!({ "code": field("code"), "state": field("state") }).to_string())
                    })
                },
                bad: || {
                    json_bodies(&[
                        json!({}),
                        json!({ "code": "4/0A", "state": "guess" }),
                        json!({ "code": 1, "state": "s" }),
                        json!({ "code": "4/0A" }),
                    ])
                },
                check: |_, answer| {
                    Box::pin(async {
                        let said = answer.json();
                        complaint(said["token_type"] == "Bearer" && said["expires_in"] == 3_600, || {
                            format!("a bearer token for an hour was documented: {said}")
                        })
                    })
                },
                ..Case::GET
            },
            "get.api_clients" => Case {
                good: |site| {
                    Box::pin(async {
                        client(site).await;
                        Ask::get("")
                    })
                },
                bad: || bad_pages("/api/clients"),
                ..Case::GET
            },
            "get.api_clients_client_id" => Case {
                good: |site| Box::pin(async { Ask::get(format!("/api/clients/{}", client(site).await)) }),
                unknown: Some("/api/clients/0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3"),
                ..Case::GET
            },
            "post.api_clients" => Case {
                good: |site| {
                    Box::pin(async {
                        token(site).await;
                        Ask::json("", new_client().to_string())
                    })
                },
                bad: || {
                    json_bodies(&[
                        json!({}),
                        json!({ "name": "x" }),
                        json!({ "name": "", "phone_number": new_number() }),
                        json!({ "name": "x", "phone_number": "5551234" }),
                        json!({ "name": 7, "phone_number": new_number() }),
                        json!({ "name": "x", "phone_number": new_number(), "tts_provider": "espeak" }),
                        json!({ "name": "x", "phone_number": new_number(), "enabled_tools": ["order_pizza"] }),
                        json!({ "name": "x", "phone_number": new_number(), "balance_seconds": -1 }),
                    ])
                },
                ..Case::GET
            },
            "put.api_clients_client_id" => Case {
                good: |site| {
                    Box::pin(async {
                        let path = format!("/api/clients/{}", client(site).await);
                        Ask::json(path, json!({ "name": "Another name", "is_active": false }).to_string())
                            .by(Method::PUT)
                    })
                },
                check: |_, answer| {
                    Box::pin(async {
                        let told = answer.json();
                        let right = told["name"] == "Another name" && told["balance_seconds"] == 600;
                        complaint(right, || format!("what was sent, and nothing else, changes: {told}"))
                    })
                },
                unknown: Some("/api/clients/nobody"),
                ..Case::GET
            },
            "delete.api_clients_client_id" => Case {
                good: |site| Box::pin(async { delete(format!("/api/clients/{}", client(site).await)) }),
                unknown: Some("/api/clients/nobody"),
                check: says("Client deleted successfully"),
                ..Case::GET
            },
            "get.api_clients_client_id_calendar_status" => Case {
                good: |site| {
                    Box::pin(async {
                        let client = client(site).await;
                        connect_service_account(site, &client).await;
                        Ask::get(format!("/api/clients/{client}/calendar/status"))
                    })
                },
                unknown: Some("/api/clients/nobody/calendar/status"),
                ..Case::GET
            },
            "post.api_clients_client_id_calendar_oauth_initiate" => Case {
                good: |site| {
                    Box::pin(async {
                        post(format!("/api/clients/{}/calendar/oauth/initiate", client(site).await))
                    })
                },
                unknown: Some("/api/clients/nobody/calendar/oauth/initiate"),
                ..Case::GET
            },
            "get.api_calendar_oauth_callback" => Case {
                good: |site| {
                    Box::pin(async {
                        let path = format!("/api/clients/{}/calendar/oauth/initiate", client(site).await);
                        let id = "frontdesk.post.api_clients_client_id_calendar_oauth_initiate";
                        let started = site.ask_for(id, post(path)).await.json();
                        let url = started["authorization_url"].as_str().expect("there is a URL").to_owned();
                        Ask::get(format!("/api/calendar/oauth/callback?{}", consent(&url).await))
                    })
                },
                bad: || {
                    let queries = ["", "?code=a", "?state=b", "?code=a&state=b"];
                    queries
                        .map(|query| (Ask::get(format!("/api/calendar/oauth/callback{query}")), 400))
                        .into()
                },
                check: |_, answer| {
                    Box::pin(async {
                        let page = answer.text();
                        complaint(page.contains("calendar_oauth") || !page.contains("postMessage"), || {
                            page.into()
                        })
                    })
                },
                once: true,
                ..Case::GET
            },
            "post.api_clients_client_id_calendar_service_account" => Case {
                good: |site| Box::pin(async { service_account(&client(site).await) }),
                unknown: Some("/api/clients/nobody/calendar/service-account"),
                ..Case::GET
            },
            "delete.api_clients_client_id_calendar_credentials" => Case {
                good: |site| {
                    Box::pin(async {
                        let client = client(site).await;
                        connect_service_account(site, &client).await;
                        delete(format!("/api/clients/{client}/calendar/credentials"))
                    })
                },
                unknown: Some("/api/clients/nobody/calendar/credentials"),
                check: says("Calendar credentials revoked successfully"),
                ..Case::GET
            },
            "get.api_clients_client_id_contacts" => Case {
                good: |site| {
                    Box::pin(async {
                        let (client, _) = contact(site).await;
                        Ask::get(format!("/api/clients/{client}/contacts"))
                    })
                },
                unknown: Some("/api/clients/nobody/contacts"),
                ..Case::GET
            },
            "post.api_contacts" => Case {
                good: |site| Box::pin(async { Ask::json("", new_contact(&client(site).await).to_string()) }),
                bad: || {
                    let mut bad = json_bodies(&[
                        json!({}),
                        json!({ "phone_number": "+15559876543" }),
                        json!({ "client_id": "x", "phone_number": "nobody" }),
                        json!({ "client_id": 7, "phone_number": "+15559876543" }),
                    ]);
                    bad.push((Ask::json("", new_contact("nobody").to_string()), 404));
                    bad
                },
                ..Case::GET
            },
            "put.api_contacts_contact_id" => Case {
                good: |site| {
                    Box::pin(async {
                        let (_, contact) = contact(site).await;
                        let path = format!("/api/contacts/{contact}");
                        Ask::json(path, json!({ "name": "Jane Doe" }).to_string()).by(Method::PUT)
                    })
                },
                unknown: Some("/api/contacts/nobody"),
                ..Case::GET
            },
            "delete.api_contacts_contact_id" => Case {
                good: |site| Box::pin(async { delete(format!("/api/contacts/{}", contact(site).await.1)) }),
                unknown: Some("/api/contacts/nobody"),
                check: says("Contact deleted successfully"),
                ..Case::GET
            },
            "get.api_clients_client_id_conversations" => Case {
                good: |site| {
                    Box::pin(async {
                        let (client, _) = conversation(site).await;
                        Ask::get(format!("/api/clients/{client}/conversations"))
                    })
                },
                unknown: Some("/api/clients/nobody/conversations"),
                ..Case::GET
            },
            "get.api_conversations_conversation_id" => Case {
                good: |site| {
                    Box::pin(async { Ask::get(format!("/api/conversations/{}", conversation(site).await.1)) })
                },
                unknown: Some("/api/conversations/nobody"),
                ..Case::GET
            },
            "delete.api_conversations_conversation_id" => Case {
                good: |site| {
                    Box::pin(async { delete(format!("/api/conversations/{}", conversation(site).await.1)) })
                },
                unknown: Some("/api/conversations/nobody"),
                check: says("Conversation deleted successfully"),
                ..Case::GET
            },
            "get.api_active_calls" => Case {
                good: |site| {
                    Box::pin(async {
                        running_call(site).await;
                        Ask::get("")
                    })
                },
                bad: || bad_pages("/api/active-calls"),
                ..Case::GET
            },
            "post.voice" => Case {
                good: |site| {
                    Box::pin(async {
                        let number = number_of(site, &client(site).await).await;
                        Ask::form("", voice_form(&new_call_sid(), CALLER, &number))
                    })
                },
                bad: || {
                    let forms = [
                        "",
                        "CallSid=CA1",
                        "CallSid=CA1&From=%2B15005550009",
                        "From=%2B1&To=%2B1",
                        "CallSid=%FF",
                    ];
                    forms.map(|form| (Ask::form("", form), 400)).into()
                },
                check: |site, answer| Box::pin(async move { stream_complaints(site, answer) }),
                ..Case::GET
            },
            "post.api_stripe_webhook" => Case {
                good: |site| {
                    Box::pin(async {
                        let event = json!({
                            "id": "evt_1", "object": "event", "type": "checkout.session.completed",
                            "data": { "object": {
                                "id": "cs_1", "payment_status": "paid", "client_reference_id": client(site).await,
                                "metadata": { "seconds": "60" },
                            } },
                        });
                        Ask::json("", event.to_string())
                    })
                },
                check: |_, answer| {
                    Box::pin(async {
                        complaint(answer.json() == json!({ "received": true }), || answer.text().into())
                    })
                },
                bad: || json_bodies(&[json!({}), json!({ "type": 7 }), json!({ "type": "x", "data": [] })]),
                ..Case::GET
            },
            "ws.ws_client_id_caller_phone" => Case {
                good: |site| Box::pin(async { Ask::get(format!("/ws/{}/{CALLER}", client(site).await)) }),
                unknown: Some("/ws/nobody/+15005550009"),
                talk: Some(|site, socket| Box::pin(refused_without_a_webhook(site, socket))),
                ..Case::GET
            },
            _ => return None,
        })
    }
}

fn key(site: &Site<'_>) -> String {
    format!("{} {}", site.server.process_id(), site.url(""))
}

/// Signs in at a site, once.
async fn token(site: &Site<'_>) -> String {
    let known = TOKENS.lock().expect("nobody panics with the tokens").get(&key(site)).cloned();
    if let Some(known) = known {
        return known;
    }
    let ask = Ask::get(format!("/auth/google/callback?{}", signing_in(site).await));
    let said = site.ask(ask).await.json();
    let token = said["access_token"].as_str().expect("there is a token").to_owned();
    TOKENS.lock().expect("nobody panics with the tokens").insert(key(site), token.clone());
    token
}

/// What a browser comes back with from Google.
async fn signing_in(site: &Site<'_>) -> String {
    let started = site.ask(post("/auth/google/initiate")).await;
    let url = started.json()["authorization_url"].as_str().expect("there is a URL").to_owned();
    consent(&url).await
}

fn field_of(query: &str, name: &str) -> String {
    let mut fields = form_urlencoded::parse(query.as_bytes());
    fields.find(|(given, _)| given == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn post(path: impl Into<String>) -> Ask {
    Ask::new(Method::POST, path)
}

fn delete(path: impl Into<String>) -> Ask {
    Ask::new(Method::DELETE, path)
}

fn json_bodies(bodies: &[Value]) -> Vec<(Ask, u16)> {
    bodies.iter().map(|body| (Ask::json("", body.to_string()), 400)).collect()
}

fn bad_pages(path: &str) -> Vec<(Ask, u16)> {
    let queries = ["limit=0", "limit=-1", "limit=many", "limit=1.5", "offset=-1", "offset=x"];
    queries.map(|query| (Ask::get(format!("{path}?{query}")), 400)).into()
}

type Check = for<'a> fn(&'a Site<'a>, &'a Answer) -> Later<'a, Vec<String>>;

/// A check for the documented message.
fn says(message: &'static str) -> Check {
    match message {
        "Client deleted successfully" => {
            |_, answer| Box::pin(async { told(answer, "Client deleted successfully") })
        }
        "Contact deleted successfully" => {
            |_, answer| Box::pin(async { told(answer, "Contact deleted successfully") })
        }
        "Conversation deleted successfully" => {
            |_, answer| Box::pin(async { told(answer, "Conversation deleted successfully") })
        }
        _ => |_, answer| Box::pin(async { told(answer, "Calendar credentials revoked successfully") }),
    }
}

fn told(answer: &Answer, message: &str) -> Vec<String> {
    complaint(answer.json()["message"] == message, || format!("{} and not {message:?}", answer.text()))
}

fn new_client() -> Value {
    json!({
        "name": "Acme Corp", "phone_number": new_number(), "initial_greeting": "Acme.", "balance_seconds": 600,
    })
}

/// Makes a client; its id.
async fn client(site: &Site<'_>) -> String {
    token(site).await;
    let made = site.ask_for("frontdesk.post.api_clients", Ask::json("", new_client().to_string())).await;
    made.json()["id"].as_str().unwrap_or_else(|| panic!("no client: {}", made.text())).to_owned()
}

async fn number_of(site: &Site<'_>, client: &str) -> String {
    let ask = Ask::get(format!("/api/clients/{client}"));
    let told = site.ask_for("frontdesk.get.api_clients_client_id", ask).await.json();
    told["phone_number"].as_str().expect("a client has a number").to_owned()
}

fn new_contact(client: &str) -> Value {
    json!({ "client_id": client, "phone_number": "+15559876543", "name": "Jane Smith" })
}

/// Makes a client with a contact; their ids.
async fn contact(site: &Site<'_>) -> (String, String) {
    let client = client(site).await;
    let made = site.ask_for("frontdesk.post.api_contacts", Ask::json("", new_contact(&client).to_string()));
    let contact = made.await.json()["id"].as_str().expect("there is a contact").to_owned();
    (client, contact)
}

fn service_account(client: &str) -> Ask {
    let body = json!({ "service_account_json": desk::google().1.to_string() });
    Ask::json(format!("/api/clients/{client}/calendar/service-account"), body.to_string())
}

async fn connect_service_account(site: &Site<'_>, client: &str) {
    let id = "frontdesk.post.api_clients_client_id_calendar_service_account";
    let answer = site.ask_for(id, service_account(client)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Calls a client, up to the end of its greeting; the client's id, and the call.
async fn call(site: &Site<'_>) -> (String, RawCall) {
    let client = client(site).await;
    let number = number_of(site, &client).await;
    let call_sid = new_call_sid();
    site.ask_for("frontdesk.post.voice", Ask::form("", voice_form(&call_sid, CALLER, &number))).await;
    let opened = site.open(Ask::get(format!("/ws/{client}/{CALLER}"))).await;
    let (_, socket) = opened.unwrap_or_else(|answer| panic!("no socket: {}", answer.text()));
    let mut call = RawCall::on(socket, &call_sid);
    call.connected().await;
    call.start(None).await;
    call.listen_to_turn().await;
    (client, call)
}

/// A call that is over, with what was said; the client's id, and the conversation's.
async fn conversation(site: &Site<'_>) -> (String, String) {
    let (client, mut call) = call(site).await;
    call.hang_up().await;
    let give_up = Instant::now() + PATIENCE;
    loop {
        let ask = Ask::get(format!("/api/clients/{client}/conversations"));
        let told = site.ask_for("frontdesk.get.api_clients_client_id_conversations", ask).await.json();
        if let Some(id) = told[0]["id"].as_str().filter(|_| told[0]["transcript"][0].is_object()) {
            return (client, id.to_owned());
        }
        assert!(Instant::now() < give_up, "nothing was said: {told}");
        sleep(Duration::from_millis(25)).await;
    }
}

/// A call that goes on.
async fn running_call(site: &Site<'_>) {
    let (_, mut call) = call(site).await;
    tokio::spawn(async move {
        while call.over.is_none() {
            call.frame(&crate::audio::QUIET).await;
        }
    });
}

/// The URL that was handed out is this site's, as documented.
fn stream_complaints(site: &Site<'_>, answer: &Answer) -> Vec<String> {
    let Ok(twiml::Answer::Stream { url, .. }) = twiml::read(answer.text()) else {
        return vec![format!("no stream in {}", answer.text())];
    };
    let scheme = if site.host.starts_with("127.") { "ws" } else { "wss" };
    let begins = format!("{scheme}://{}{}/ws/", site.host, site.base);
    let right = url.starts_with(&begins) && url.ends_with(&format!("/{CALLER}"));
    complaint(right, || format!("the stream goes to {url} and not to {begins}…/{CALLER}"))
}

/// Nobody is let in whom no webhook announced, and is told why; whoever was announced talks.
async fn refused_without_a_webhook(site: &Site<'_>, socket: WebSocketStream<TcpStream>) -> Vec<String> {
    let mut stranger = RawCall::on(socket, &new_call_sid());
    stranger.connected().await;
    stranger.start(None).await;
    stranger.listen_until_gone().await;
    let goodbye = stranger.over.clone().expect("that is what was waited for");
    let mut told = complaint(goodbye.code == 1008 && goodbye.reason.contains("announced"), || {
        format!("whom nobody announced is told {goodbye:?}")
    });
    let (_, mut call) = call(site).await;
    call.hang_up().await;
    let goodbye = call.over.clone().expect("it was hung up");
    told.extend(complaint(goodbye.code == 1000, || format!("after stop: {goodbye:?}")));
    told
}
