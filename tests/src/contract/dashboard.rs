//! The dashboard: `{"error"}` for all errors, tokens by password, a secret on the webhook that calls are reported to.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::dashboard_crm;
use super::inventory::{Endpoint, Inventory};
use super::system::{Case, Credentials, Later, Site, System, World, complaint};
use crate::dashboard::{self, ADMIN, PASSWORD, TWILIO, doubles, new_email, report, status};
use crate::http::{Ask, Client};
use crate::server::{Answer, PATIENCE};

/// The operator's own token in production.
const BEARER: &str = "a-long-random-text-of-the-contract-test";

const REGISTER: &str = "dashboard.post.api_auth_register";
const LOGIN: &str = "dashboard.post.api_auth_login";
const LOGOUT: &str = "dashboard.post.api_auth_logout";
const WEBHOOKS: &str = "dashboard.post.api_webhooks";
const RECEIVER: &str = "dashboard.implied.post.webhook_webhook_token";

/// The system.
pub(super) struct Dashboard;

/// What is known of each site: who signed in there, and what was made.
static KNOWN: LazyLock<Mutex<HashMap<String, Known>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Debug, Default)]
struct Known {
    token: String,
    /// Of a session that is only there to be ended.
    passing_token: String,
    /// The webhook's path below the base, and its secret.
    webhook: Option<(String, String)>,
}

fn known<T>(site: &Site<'_>, look: impl FnOnce(&mut Known) -> T) -> T {
    let key = format!("{} {}{}", site.server.process_id(), site.host, site.base);
    look(KNOWN.lock().expect("nobody panics with it").entry(key).or_default())
}

impl System for Dashboard {
    fn name(&self) -> &'static str {
        "dashboard"
    }

    fn bases(&self) -> &'static [&'static str] {
        &[dashboard::BASE]
    }

    fn settings(&self, world: World) -> (Vec<&'static str>, Vec<(&'static str, &'static str)>) {
        let mut variables = dashboard::variables();
        variables.push(("TWILIO_AUTH_TOKEN", TWILIO.1));
        variables.extend(dashboard_crm::variables());
        if world == World::Production {
            variables.extend([
                ("OFFHOOK_ENVIRONMENT", "production"),
                ("OFFHOOK_BEARER_TOKENS", BEARER),
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
                let token = known(site, |known| match endpoint.id == LOGOUT {
                    true => known.passing_token.clone(),
                    false => known.token.clone(),
                });
                ask.with("authorization", format!("Bearer {token}"))
            }
            ("webhook_secret", Credentials::Wrong) => ask.with("x-vapi-secret", "guess"),
            ("webhook_secret", Credentials::Right) => {
                let secret = known(site, |known| known.webhook.clone()).map(|webhook| webhook.1);
                ask.with("x-vapi-secret", secret.unwrap_or_default())
            }
            (scheme, _) => panic!("no test knows the scheme {scheme:?}"),
        }
    }

    fn refusal(&self, endpoint: &Endpoint) -> Option<u16> {
        matches!(endpoint.auth.scheme.as_str(), "bearer_jwt" | "webhook_secret").then_some(401)
    }

    fn limit(&self, _: &Site<'_>, _: &Endpoint, _: Credentials) -> Option<u32> {
        None
    }

    fn error_complaints(&self, _: &Inventory, _: u16, answer: &Answer) -> Vec<String> {
        let error = answer.json();
        let text = error["error"].as_str().unwrap_or_default();
        let mut told = complaint(!text.is_empty(), || "there is no error".into());
        let id = answer.header("x-request-id");
        told.extend(complaint(id.starts_with("req_"), || format!("X-Request-Id is {id:?}")));
        told
    }

    fn missing_complaints(&self, _: &Inventory, field: &str, answer: &Answer) -> Vec<String> {
        complaint(answer.text().contains(field), || format!("{field} is not named: {}", answer.text()))
    }

    fn case(&self, id: &str) -> Option<Case> {
        let name = id.strip_prefix("dashboard.")?;
        account_case(name)
            .or_else(|| own_case(name))
            .or_else(|| calls_case(name))
            .or_else(|| dashboard_crm::case(name))
    }
}

/// Registering, signing in and out.
fn account_case(name: &str) -> Option<Case> {
    Some(match name {
        "post.api_auth_register" => Case {
            good: |_| Box::pin(async { Ask::json("", registration(&new_email()).to_string()) }),
            bad: || {
                json_bodies(&[
                    json!({}),
                    json!({ "email": "someone@example.com" }),
                    json!({ "password": PASSWORD }),
                    json!({ "email": "no address", "password": PASSWORD }),
                    json!({ "email": "someone@example.com", "password": "short" }),
                    json!({ "email": "someone@example.com", "password": 12345678 }),
                    json!({ "email": ["someone@example.com"], "password": PASSWORD }),
                ])
            },
            check: |site, answer| {
                Box::pin(async {
                    let email = answer.json()["user"]["email"].as_str().unwrap_or_default().to_uppercase();
                    let again = Ask::json("", registration(&email).to_string());
                    let refused = site.ask_for(REGISTER, again).await;
                    complaint(refused.status == 400, || format!("{email} twice: {}", refused.status))
                })
            },
            once: true,
            ..Case::GET
        },
        "post.api_auth_login" => Case {
            good: |site| {
                Box::pin(async {
                    token(site).await;
                    Ask::json("", json!({ "email": ADMIN, "password": PASSWORD }).to_string())
                })
            },
            bad: || {
                let wrong = [
                    json!({ "email": ADMIN, "password": "another password" }),
                    json!({ "email": "nobody@example.com", "password": PASSWORD }),
                ];
                let wrong = wrong.iter().map(|body| (Ask::json("", body.to_string()), 401));
                let missing = [json!({}), json!({ "email": ADMIN }), json!({ "password": PASSWORD })];
                json_bodies(&missing).into_iter().chain(wrong).collect()
            },
            ..Case::GET
        },
        "post.api_auth_logout" => Case {
            good: |site| {
                Box::pin(async {
                    token(site).await;
                    let login = json!({ "email": ADMIN, "password": PASSWORD }).to_string();
                    let token = text(&site.ask_for(LOGIN, Ask::json("", login)).await.json()["token"]);
                    known(site, |known| known.passing_token = token);
                    Ask::new(Method::POST, "")
                })
            },
            check: |site, answer| {
                Box::pin(async {
                    let mut told = says(answer, "message", "Logged out successfully");
                    let token = known(site, |known| known.passing_token.clone());
                    let ask = Ask::get("/api/auth/me").with("authorization", format!("Bearer {token}"));
                    let status = site.ask(ask).await.status;
                    told.extend(complaint(status == 401, || format!("the token is still good: {status}")));
                    told
                })
            },
            once: true,
            ..Case::GET
        },
        "get.api_auth_me" => get(|_, answer| Box::pin(async { says(answer, "email", ADMIN) })),
        _ => return None,
    })
}

/// What users set and make for themselves.
fn own_case(name: &str) -> Option<Case> {
    Some(match name {
        "get.api_settings" => get(no_check),
        "put.api_settings" => Case {
            good: |site| {
                Box::pin(async {
                    token(site).await;
                    put(&json!({ "privateKey": "k", "openaiApiKey": "sk", "selectedOrgId": "o", "more": 1 }))
                })
            },
            bad: || {
                let bad = [json!({ "privateKey": 7 }), json!({ "openaiApiKey": ["sk"] })];
                bad.iter().map(|body| (put(body), 400)).collect()
            },
            check: |site, answer| {
                Box::pin(async {
                    let mut told = says(answer, "message", "Settings updated successfully");
                    site.ask_for("dashboard.put.api_settings", put(&json!({ "selectedOrgId": null }))).await;
                    let set = site.ask_for("dashboard.get.api_settings", Ask::get("")).await.json();
                    let right = set["privateKey"] == "k"
                        && set["openaiApiKey"] == "sk"
                        && set["selectedOrgId"].is_null();
                    told.extend(complaint(right, || {
                        format!("null clears, and what is not sent stays: {set}")
                    }));
                    told
                })
            },
            ..Case::GET
        },
        "post.api_translate" => Case {
            good: |site| {
                Box::pin(async {
                    has_key(site).await;
                    answers("Hola, ¿cómo estás?", "Hello, how are").await;
                    let body = json!({ "text": "Hello, how are you?", "targetLanguage": "spanish" });
                    Ask::json("", body.to_string())
                })
            },
            bad: || {
                json_bodies(&[
                    json!({ "text": "Hello" }),
                    json!({ "targetLanguage": "spanish" }),
                    json!({ "text": 7, "targetLanguage": "spanish" }),
                ])
            },
            check: |_, answer| Box::pin(async { says(answer, "translatedText", "Hola, ¿cómo estás?") }),
            ..Case::GET
        },
        "get.api_workspaces" => Case { bad: || bad_pages("/api/workspaces"), ..get(no_check) },
        "post.api_workspaces" => {
            Case { good: |site| named(site, "New Workspace"), bad: bad_names, ..Case::GET }
        }
        "get.api_twilio_phone_numbers" => get(|_, answer| {
            Box::pin(async {
                let listed = answer.json().as_array().map(Vec::len);
                complaint(listed == Some(3), || format!("the account has three numbers: {}", answer.text()))
            })
        }),
        "get.api_assistants" => Case {
            good: |site| {
                Box::pin(async {
                    token(site).await;
                    make_assistant(site).await;
                    Ask::get("")
                })
            },
            check: |site, answer| {
                Box::pin(async {
                    let list =
                        async || site.ask_for("dashboard.get.api_assistants", Ask::get("")).await.json();
                    let mut told = says(answer, "cached", false);
                    let again = list().await;
                    told.extend(complaint(again["cached"] == true, || {
                        format!("what is kept says so: {again}")
                    }));
                    make_assistant(site).await;
                    let anew = list().await;
                    let count = |list: &Value| list["assistants"].as_array().map(Vec::len);
                    let grown = anew["cached"] == false && count(&anew) > count(&again);
                    told.extend(complaint(grown, || format!("what was made is in the list at once: {anew}")));
                    told
                })
            },
            ..Case::GET
        },
        "post.api_assistants" => Case {
            good: |site| {
                Box::pin(async {
                    token(site).await;
                    Ask::json("", assistant().to_string())
                })
            },
            bad: || {
                json_bodies(&[
                    json!({}),
                    json!({ "name": "" }),
                    json!({ "name": "n", "model": "gpt-4" }),
                    json!({ "name": "n", "voice": { "voiceId": 7 } }),
                ])
            },
            ..Case::GET
        },
        "post.api_webhooks" => Case {
            good: |site| named(site, "My Webhook"),
            bad: bad_names,
            check: |site, answer| {
                Box::pin(async {
                    let url = text(&answer.json()["webhook"]["url"]);
                    let scheme = if site.host.starts_with("127.") { "http" } else { "https" };
                    let begins = format!("{scheme}://{}{}/webhook/wh_", site.host, site.base);
                    complaint(url.starts_with(&begins), || format!("{url} does not begin with {begins}"))
                })
            },
            ..Case::GET
        },
        "get.api_webhooks" => Case {
            good: |site| {
                Box::pin(async {
                    webhook(site).await;
                    Ask::get("")
                })
            },
            bad: || bad_pages("/api/webhooks"),
            ..Case::GET
        },
        "get.api_addons" => get(no_check),
        "post.api_addons_toggle" => Case {
            good: |site| {
                Box::pin(async {
                    token(site).await;
                    toggle("twilio_enhanced_caller_id", true)
                })
            },
            bad: || {
                json_bodies(&[
                    json!({}),
                    json!({ "addonType": "openai_analysis" }),
                    json!({ "addonType": "mind_reading", "enabled": true }),
                    json!({ "addonType": "openai_analysis", "enabled": "yes" }),
                ])
            },
            check: |site, answer| {
                Box::pin(async {
                    let mut told = says(answer, "enabled", true);
                    let list = async || site.ask_for("dashboard.get.api_addons", Ask::get("")).await.json();
                    let on = list().await;
                    site.ask_for(
                        "dashboard.post.api_addons_toggle",
                        toggle("twilio_enhanced_caller_id", false),
                    )
                    .await;
                    let off = list().await;
                    let name = "twilio_enhanced_caller_id";
                    told.extend(complaint(on[name] == true && off[name] == false, || {
                        format!("{on} and {off}")
                    }));
                    told
                })
            },
            ..Case::GET
        },
        "get.api_cache_stats" => get(no_check),
        "get.api_admin_dashboard" => get(|site, _| Box::pin(only_for_admins(site, "/api/admin/dashboard"))),
        "get.api_admin_users" => Case {
            bad: || bad_pages("/api/admin/users"),
            ..get(|site, _| Box::pin(only_for_admins(site, "/api/admin/users")))
        },
        _ => return None,
    })
}

/// Calls and what they come to.
fn calls_case(name: &str) -> Option<Case> {
    Some(match name {
        "implied.post.webhook_webhook_token" => Case {
            good: |site| {
                Box::pin(async {
                    let body =
                        report("call-1", "Customer Support", "customer-ended-call", "Asked about pricing.");
                    Ask::json(webhook(site).await, body.to_string())
                })
            },
            unknown: Some("/webhook/wh_0123"),
            ..Case::GET
        },
        "get.api_webhook_calls" => Case {
            good: reported,
            bad: || bad_pages("/api/webhook-calls"),
            check: |_, answer| {
                Box::pin(async {
                    let calls = answer.json();
                    let call =
                        calls.as_array().and_then(|calls| calls.iter().find(|call| call["id"] == "call-1"));
                    let call = call.cloned().unwrap_or_default();
                    let right = call["duration"] == 180 && call["created_at"] == 1_768_473_000;
                    complaint(right, || format!("what was reported is there: {calls}"))
                })
            },
            ..Case::GET
        },
        "get.api_active_calls" => Case {
            good: |site| {
                Box::pin(async {
                    send(site, &status("call-that-runs", "in-progress")).await;
                    Ask::get("")
                })
            },
            bad: || bad_pages("/api/active-calls"),
            ..Case::GET
        },
        "get.api_concurrent_calls" => Case { good: reported, ..Case::GET },
        "get.api_concurrent_calls_timeseries" => Case {
            good: reported,
            bad: || {
                let queries = ["granularity=week", "granularity=", "limit=0", "limit=-1", "limit=many"];
                queries
                    .map(|query| (Ask::get(format!("/api/concurrent-calls/timeseries?{query}")), 400))
                    .into()
            },
            ..Case::GET
        },
        "get.api_dashboard_summary" => Case {
            good: reported,
            check: |_, answer| {
                Box::pin(async {
                    let sum = answer.json();
                    let number = |name: &str| sum[name].as_u64().unwrap_or(u64::MAX);
                    let adds_up = number("answeredCalls") + number("missedCalls") == number("totalCalls");
                    complaint(adds_up && number("totalCalls") > 0, || sum.to_string())
                })
            },
            ..Case::GET
        },
        "get.api_agent_distribution" => Case { good: reported, ..Case::GET },
        "get.api_call_ended_reasons" => Case {
            good: reported,
            bad: || {
                let queries =
                    ["start_date=yesterday", "end_date=2026-13-01", "start_date=1", "end_date=15.1.2026"];
                queries.map(|query| (Ask::get(format!("/api/call-ended-reasons?{query}")), 400)).into()
            },
            check: |site, _| {
                Box::pin(async {
                    let within = async |query: &str| {
                        let ask = Ask::get(format!("/api/call-ended-reasons?{query}"));
                        site.ask_for("dashboard.get.api_call_ended_reasons", ask).await.json()
                    };
                    let day = within("start_date=2026-01-15&end_date=2026-01-15").await;
                    let mut told = complaint(day[0]["percentage"] == 100.0, || format!("that day: {day}"));
                    let other = within("end_date=2026-01-14").await;
                    told.extend(complaint(other == json!([]), || format!("before it: {other}")));
                    told
                })
            },
            ..Case::GET
        },
        "get.api_keywords" => Case { good: |site| analysed(site, "/api/keywords"), ..Case::GET },
        "get.api_intent_analysis" => {
            Case { good: |site| analysed(site, "/api/intent-analysis"), ..Case::GET }
        }
        "get.api_appointments" => Case {
            good: |site| {
                Box::pin(async {
                    has_key(site).await;
                    for addon in ["openai_analysis", "appointments_by_ai"] {
                        site.ask_for("dashboard.post.api_addons_toggle", toggle(addon, true)).await;
                    }
                    let found = json!({
                        "intent": "booking", "sentiment": 0.5, "summary": "Booked a consultation.",
                        "keywords": [{ "keyword": "consultation", "sentiment": 0.5 }],
                        "appointment": { "date": "2026-01-20", "time": "14:00", "type": "Consultation" },
                    });
                    let said = format!("A consultation of {}", new_email());
                    answers(&found.to_string(), &said).await;
                    send(site, &report(&new_email(), "Customer Support", "customer-ended-call", &said)).await;
                    until_there(site, "/api/appointments").await;
                    site.ask_for("dashboard.post.api_addons_toggle", toggle("openai_analysis", false)).await;
                    Ask::get("")
                })
            },
            bad: || bad_pages("/api/appointments"),
            ..Case::GET
        },
        _ => return None,
    })
}

fn registration(email: &str) -> Value {
    json!({ "email": email, "password": PASSWORD, "name": "John Doe" })
}

/// Signs the admin in at a site, once.
pub(super) async fn token(site: &Site<'_>) -> String {
    let there = known(site, |known| known.token.clone());
    if !there.is_empty() {
        return there;
    }
    // In production an admin's address takes a token of the operator's.
    let ask = Ask::json("", registration(ADMIN).to_string());
    let mut answer = site.ask_for(REGISTER, ask.with("authorization", format!("Bearer {BEARER}"))).await;
    if answer.status == 400 {
        // The same server at another of its places.
        let login = json!({ "email": ADMIN, "password": PASSWORD }).to_string();
        answer = site.ask_for(LOGIN, Ask::json("", login)).await;
    }
    let token = text(&answer.json()["token"]);
    assert!(!token.is_empty(), "nobody is let in: {}", answer.text());
    known(site, |known| known.token.clone_from(&token));
    token
}

/// Makes a webhook at a site, once; its path.
async fn webhook(site: &Site<'_>) -> String {
    token(site).await;
    if let Some((path, _)) = known(site, |known| known.webhook.clone()) {
        return path;
    }
    let made = site.ask_for(WEBHOOKS, Ask::json("", json!({ "name": "w" }).to_string())).await.json();
    let url = text(&made["webhook"]["url"]);
    let (_, wh) = url.split_once("/webhook/").unwrap_or_else(|| panic!("no webhook: {made}"));
    let path = format!("/webhook/{wh}");
    known(site, |known| known.webhook = Some((path.clone(), text(&made["webhook"]["secret"]))));
    path
}

/// Reports something of a call.
pub(super) async fn send(site: &Site<'_>, message: &Value) {
    let path = webhook(site).await;
    let answer = site.ask_for(RECEIVER, Ask::json(path, message.to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A GET once a call was reported.
fn reported<'a>(site: &'a Site<'a>) -> Later<'a, Ask> {
    Box::pin(async {
        send(site, &report("call-1", "Customer Support", "customer-ended-call", "Asked about pricing."))
            .await;
        Ask::get("")
    })
}

/// A GET once something is found in what was reported.
fn analysed<'a>(site: &'a Site<'a>, path: &'static str) -> Later<'a, Ask> {
    Box::pin(async move {
        reported(site).await;
        until_there(site, path).await;
        Ask::get("")
    })
}

/// Waits until a list has something.
pub(super) async fn until_there(site: &Site<'_>, path: &str) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let token = token(site).await;
        let ask = Ask::get(path).with("authorization", format!("Bearer {token}"));
        let told = site.ask(ask).await.json();
        if told.as_array().is_some_and(|list| !list.is_empty()) {
            return;
        }
        assert!(Instant::now() < give_up, "{path} stays {told}");
        sleep(Duration::from_millis(25)).await;
    }
}

async fn has_key(site: &Site<'_>) {
    token(site).await;
    site.ask_for("dashboard.put.api_settings", put(&json!({ "openaiApiKey": "sk-any" }))).await;
}

/// Has the double's model answer so to a text with these words.
async fn answers(content: &str, to: &str) {
    let control = doubles().control.strip_prefix("http://").expect("the double has no TLS");
    let (host, path) = control.split_once('/').expect("the URL has a path");
    let body = json!({ "answers": [{ "content": content, "to": to }] }).to_string();
    let ask = Ask::json(format!("/{path}/openai/chat"), body);
    let answer = Client::new().ask_of_host(host.parse().expect("an address"), host, ask).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn make_assistant(site: &Site<'_>) {
    let answer = site.ask_for("dashboard.post.api_assistants", Ask::json("", assistant().to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn assistant() -> Value {
    json!({
        "name": "Customer Support",
        "model": { "provider": "openai", "model": "gpt-4" },
        "voice": { "provider": "11labs", "voiceId": "voice-id" },
    })
}

/// Who is no admin is told so.
async fn only_for_admins(site: &Site<'_>, path: &str) -> Vec<String> {
    let other = site.ask_for(REGISTER, Ask::json("", registration(&new_email()).to_string())).await.json();
    let ask = Ask::get(path).with("authorization", format!("Bearer {}", text(&other["token"])));
    let status = site.ask(ask).await.status;
    complaint(status == 403, || format!("anybody may see this: {status}"))
}

type Check = for<'a> fn(&'a Site<'a>, &'a Answer) -> Later<'a, Vec<String>>;

/// A GET by somebody who signed in.
pub(super) fn get(check: Check) -> Case {
    let good: for<'a> fn(&'a Site<'a>) -> Later<'a, Ask> = |site| {
        Box::pin(async {
            token(site).await;
            Ask::get("")
        })
    };
    Case { good, check, ..Case::GET }
}

pub(super) fn no_check<'a>(_: &'a Site<'a>, _: &'a Answer) -> Later<'a, Vec<String>> {
    Box::pin(async { Vec::new() })
}

/// A POST of a name by somebody who signed in.
fn named<'a>(site: &'a Site<'a>, name: &'static str) -> Later<'a, Ask> {
    Box::pin(async move {
        token(site).await;
        Ask::json("", json!({ "name": name }).to_string())
    })
}

fn bad_names() -> Vec<(Ask, u16)> {
    json_bodies(&[json!({}), json!({ "name": "" }), json!({ "name": 7 }), json!({ "name": "x".repeat(300) })])
}

fn put(body: &Value) -> Ask {
    Ask::json("", body.to_string()).by(Method::PUT)
}

fn toggle(addon: &str, enabled: bool) -> Ask {
    Ask::json("", json!({ "addonType": addon, "enabled": enabled }).to_string())
}

pub(super) fn json_bodies(bodies: &[Value]) -> Vec<(Ask, u16)> {
    bodies.iter().map(|body| (Ask::json("", body.to_string()), 400)).collect()
}

pub(super) fn bad_pages(path: &str) -> Vec<(Ask, u16)> {
    let queries = ["limit=0", "limit=-1", "limit=many", "limit=1.5", "offset=-1", "offset=x"];
    queries.map(|query| (Ask::get(format!("{path}?{query}")), 400)).into()
}

fn says(answer: &Answer, field: &str, value: impl Into<Value>) -> Vec<String> {
    let value = value.into();
    complaint(answer.json()[field] == value, || format!("{field} should be {value}: {}", answer.text()))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
