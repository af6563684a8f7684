//! VoiceClone: one text for all errors, webhooks with two kinds of signature, bearer tokens for what is looked after.

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::Method;
use offhook::systems::voiceclone::signature::hex_hmac;
use serde_json::{Value, json};

use super::inventory::{Endpoint, Inventory};
use super::system::{Case, Credentials, Site, System, World, complaint};
use crate::http::Ask;
use crate::server::Answer;

const BEARER: &str = "a-long-random-text-of-the-contract-test";
const THREECX_SECRET: &str = "the-key-that-the-relay-signs-with";
const ELEVENLABS_SECRET: &str = "the-key-that-elevenlabs-signs-with";

const THREECX: &str = "voiceclone.post.webhook_3cx";
const POST_CALL: &str = "voiceclone.post.webhook_elevenlabs_postcall";
const STATISTICS: &str = "voiceclone.get.api_v1_statistics";

/// The system.
pub(super) struct VoiceClone;

impl System for VoiceClone {
    fn name(&self) -> &'static str {
        "voiceclone"
    }

    fn bases(&self) -> &'static [&'static str] {
        &["/voiceclone"]
    }

    fn settings(&self, world: World) -> (Vec<&'static str>, Vec<(&'static str, &'static str)>) {
        let mut variables = vec![("OFFHOOK_RATE_LIMITS", "on")];
        if world == World::Production {
            variables.extend([
                ("OFFHOOK_ENVIRONMENT", "production"),
                ("OFFHOOK_BEARER_TOKENS", BEARER),
                ("THREECX_WEBHOOK_SECRET", THREECX_SECRET),
                ("WEBHOOK_SECRET", ELEVENLABS_SECRET),
                ("OFFHOOK_VOICECLONE_REQUIRE_SIGNATURE", "on"),
            ]);
        }
        (vec!["--speech", "keypad"], variables)
    }

    fn authorize(&self, site: &Site<'_>, endpoint: &Endpoint, with: Credentials, ask: Ask) -> Ask {
        let key = |right| if with == Credentials::Right { right } else { "guess" };
        match (endpoint.auth.scheme.as_str(), with) {
            (_, Credentials::None) | ("none", _) => ask,
            ("bearer_static", _) => ask.with("authorization", format!("Bearer {}", key(BEARER))),
            // A relay that has no key does not sign.
            ("hmac_3cx", _) if site.world == World::Development => ask,
            ("hmac_3cx", _) => {
                let signature = hex_hmac(key(THREECX_SECRET), &[&ask.body[..]]);
                ask.with("x-3cx-signature", signature)
            }
            ("hmac_elevenlabs", _) => {
                let signature = elevenlabs_signature(key(ELEVENLABS_SECRET), &ask.body);
                ask.with("elevenlabs-signature", signature)
            }
            (scheme, _) => panic!("no test knows the scheme {scheme:?}"),
        }
    }

    fn refusal(&self, endpoint: &Endpoint) -> Option<u16> {
        (endpoint.auth.scheme != "none").then_some(401)
    }

    fn limit(&self, _: &Site<'_>, _: &Endpoint, _: Credentials) -> Option<u32> {
        None
    }

    fn error_complaints(&self, _: &Inventory, status: u16, answer: &Answer) -> Vec<String> {
        let error = answer.json();
        let detail = error["detail"].as_str().unwrap_or_default();
        let mut told = complaint(!detail.is_empty(), || "there is no detail".into());
        if status == 401 {
            let documented = ["Invalid signature", "Invalid or missing token"].contains(&detail);
            told.extend(complaint(documented, || format!("401 says {detail:?}")));
        }
        let id = answer.header("x-request-id");
        told.extend(complaint(id.starts_with("req_"), || format!("X-Request-Id is {id:?}")));
        told
    }

    fn missing_complaints(&self, _: &Inventory, field: &str, answer: &Answer) -> Vec<String> {
        let error = answer.json();
        let named = error["detail"].as_str().is_some_and(|detail| detail.contains(field));
        complaint(named, || format!("{error} does not name {field}"))
    }

    fn case(&self, id: &str) -> Option<Case> {
        Some(match id {
            THREECX => Case {
                good: |_| Box::pin(async { Ask::json("", incoming(&fresh("3cx-call")).to_string()) }),
                bad: || {
                    let bodies = [
                        json!({"call_id": "c", "caller_id": "+31612345678"}),
                        json!({"event_type": "IncomingCall", "caller_id": "+31612345678"}),
                        json!({"event_type": "IncomingCall", "call_id": "c"}),
                        json!({"event_type": "IncomingCall", "call_id": 7, "caller_id": "+31612345678"}),
                        json!({"event_type": "IncomingCall", "call_id": "c", "caller_id": ["+31612345678"]}),
                        json!({"event_type": "IncomingCall", "call_id": "c", "caller_id": "+31612345678", "duration": "long"}),
                    ];
                    bodies.into_iter().map(|body| (Ask::json("", body.to_string()), 400)).collect()
                },
                check: |site, answer| Box::pin(webhook_complaints(site, answer)),
                ..Case::GET
            },
            POST_CALL => Case {
                good: |_| Box::pin(async { Ask::json("", post_call(&fresh("conv")).to_string()) }),
                bad: || {
                    let bodies = [
                        json!({"status": "completed"}),
                        json!({"call_id": "c"}),
                        json!({"call_id": "c", "status": true}),
                        json!({"call_id": "c", "status": "completed", "duration_seconds": "long"}),
                        json!({"type": "post_call_transcription", "data": {}}),
                    ];
                    bodies.into_iter().map(|body| (Ask::json("", body.to_string()), 400)).collect()
                },
                check: |site, _| Box::pin(vendor_body_complaints(site)),
                ..Case::GET
            },
            "voiceclone.delete.api_v1_cache_caller_id" => Case {
                good: |_| Box::pin(async { Ask::new(Method::DELETE, "/api/v1/cache/%2B31612345678") }),
                bad: || {
                    let path = |caller: &str| Ask::new(Method::DELETE, format!("/api/v1/cache/{caller}"));
                    vec![(path("nobody"), 400), (path("0612345678"), 400)]
                },
                check: |_, answer| {
                    let wanted =
                        json!({"success": false, "message": "No cached voice clone for caller +31612345678"});
                    let told = complaint(answer.json() == wanted, || answer.text().to_owned());
                    Box::pin(async move { told })
                },
                ..Case::GET
            },
            STATISTICS => {
                Case { check: |site, answer| Box::pin(statistics_complaints(site, answer)), ..Case::GET }
            }
            "voiceclone.get.health" => Case {
                check: |_, answer| {
                    let health = answer.json();
                    let timestamp = health["timestamp"].as_str().unwrap_or_default();
                    let mut told = complaint(health["status"] == "ok" && health["database"] == "ok", || {
                        format!("a server that is well says {health}")
                    });
                    let milliseconds =
                        timestamp.len() == "2025-12-10T12:00:00.000Z".len() && timestamp.ends_with('Z');
                    told.extend(complaint(milliseconds, || format!("the time is {timestamp:?}")));
                    Box::pin(async move { told })
                },
                ..Case::GET
            },
            _ => return None,
        })
    }
}

/// A name that nobody has had.
fn fresh(kind: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
    format!("{kind}-{now:x}")
}

fn incoming(call_id: &str) -> Value {
    json!({
        "event_type": "IncomingCall",
        "call_id": call_id,
        "caller_id": "+31612345678",
        "called_number": "+31201234567",
        "timestamp": "2025-12-10T12:00:00Z",
        "direction": "In",
        "duration": null,
        "recording_url": null,
    })
}

fn post_call(call_id: &str) -> Value {
    json!({
        "call_id": call_id,
        "agent_id": "agent-abc123",
        "transcript": "Hello, how can I help you today?",
        "duration_seconds": 120,
        "status": "completed",
        "custom_variables": {"threecx_call_id": "3cx-call-that-nobody-knows"},
        "timestamp": "2025-12-10T12:02:00Z",
    })
}

fn elevenlabs_signature(key: &str, body: &[u8]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()).to_string();
    let hex = hex_hmac(key, &[now.as_bytes(), b".", body]);
    format!("t={now},v0={hex}")
}

/// The answer is the documented one; the same delivered ten times at once gets it ten times; what is no incoming call is ignored.
async fn webhook_complaints(site: &Site<'_>, answer: &Answer) -> Vec<String> {
    let first = answer.json();
    let mut told = complaint(
        first["status"] == "success"
            && first["cloned_voice_id"] == "pending"
            && first["message"] == "Greeting initiated, voice cloning in progress"
            && first["call_id"].is_string(),
        || first.to_string(),
    );
    let call_id = first["threecx_call_id"].as_str().unwrap_or_default().to_owned();
    let again = || site.ask_for(THREECX, Ask::json("", incoming(&call_id).to_string()));
    let repeated = futures_util::future::join_all((0..10).map(|_| again())).await;
    let all_alike = repeated.iter().all(|answer| answer.status == 200 && answer.json() == first);
    told.extend(complaint(all_alike, || "a repetition gets another answer".into()));
    for (field, value) in [("event_type", "CallEnded"), ("direction", "Out")] {
        let mut other = incoming(&fresh("3cx-call"));
        other[field] = value.into();
        let answer = site.ask_for(THREECX, Ask::json("", other.to_string())).await.json();
        let ignored = answer["status"] == "ignored"
            && answer["call_id"].is_null()
            && answer["threecx_call_id"] == other["call_id"];
        told.extend(complaint(ignored, || format!("{field} {value}: {answer}")));
    }
    told
}

/// ElevenLabs' own body is taken as well, and as often as it comes.
async fn vendor_body_complaints(site: &Site<'_>) -> Vec<String> {
    let conversation = fresh("conv");
    let body = json!({
        "type": "post_call_transcription",
        "event_timestamp": 1739537297,
        "data": {"agent_id": "agent_1", "conversation_id": conversation, "status": "done", "transcript": []},
    });
    let mut told = Vec::new();
    for _ in 0..2 {
        let answer = site.ask_for(POST_CALL, Ask::json("", body.to_string())).await;
        let wanted = json!({"status": "processed", "call_id": conversation});
        told.extend(complaint(answer.status == 200 && answer.json() == wanted, || answer.text().to_owned()));
    }
    told
}

/// One more call is one more, delivered twice or not.
async fn statistics_complaints(site: &Site<'_>, answer: &Answer) -> Vec<String> {
    let before = answer.json();
    let body = incoming(&fresh("3cx-call")).to_string();
    for _ in 0..2 {
        site.ask_for(THREECX, Ask::json("", body.clone())).await;
    }
    let after = site.ask_for(STATISTICS, Ask::get("")).await.json();
    let grown =
        |name: &str| after[name].as_u64().zip(before[name].as_u64()).map(|(after, before)| after - before);
    let mut told = complaint(grown("total_calls") == Some(1) && grown("cache_misses") == Some(1), || {
        format!("{before} and then {after}")
    });
    told.extend(complaint(after["hit_rate"].as_f64() == Some(0.0), || format!("{}", after["hit_rate"])));
    told
}
