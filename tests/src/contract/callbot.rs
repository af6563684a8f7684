//! callbot: one envelope for all errors, signed webhooks, bearer tokens for what is sensitive.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use offhook::caller::{new_call_sid, twiml};
use offhook::systems::callbot::signature;
use offhook_codecs::wire::twilio::{self, Place};
use offhook_codecs::wire::{MediaFormat, Start};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::inventory::{Endpoint, Inventory};
use super::shape::Shape;
use super::system::{Case, Credentials, Site, System, World, complaint};
use crate::audio::QUIET;
use crate::http::Ask;
use crate::server::{Answer, PATIENCE};

const BEARER: &str = "a-long-random-text-of-the-contract-test";
const AUTH_TOKEN: &str = "the-key-that-the-carrier-signs-with";

const INCOMING: &str = "callbot.post.api_callbot_incoming_call";
const SIMULATE: &str = "callbot.post.api_test_simulate_calls";

/// The system.
pub(super) struct Callbot;

impl System for Callbot {
    fn name(&self) -> &'static str {
        "callbot"
    }

    fn bases(&self) -> &'static [&'static str] {
        &["", "/callbot"]
    }

    fn settings(&self, world: World) -> (Vec<&'static str>, Vec<(&'static str, &'static str)>) {
        let mut variables = vec![("OFFHOOK_RATE_LIMITS", "on")];
        if world == World::Production {
            variables.extend([
                ("OFFHOOK_ENVIRONMENT", "production"),
                ("OFFHOOK_BEARER_TOKENS", BEARER),
                ("TWILIO_AUTH_TOKEN", AUTH_TOKEN),
                ("OFFHOOK_TEST_ENDPOINTS", "on"),
            ]);
        }
        (vec!["--speech", "keypad"], variables)
    }

    fn authorize(&self, site: &Site<'_>, endpoint: &Endpoint, with: Credentials, ask: Ask) -> Ask {
        match (endpoint.auth.scheme.as_str(), with) {
            (_, Credentials::None) | ("none", _) => ask,
            ("bearer", Credentials::Right) => ask.with("authorization", format!("Bearer {BEARER}")),
            ("bearer", Credentials::Wrong) => ask.with("authorization", "Bearer guess"),
            ("twilio_signature", with) => {
                let key = if with == Credentials::Right { AUTH_TOKEN } else { "guess" };
                let signature = signature::sign(key, &site.url(&ask.path), &fields_of(&ask.body));
                // A carrier whose key nobody knows does not sign.
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
            "bearer" => Some(401),
            "twilio_signature" => Some(403),
            _ => None,
        }
    }

    fn limit(&self, site: &Site<'_>, endpoint: &Endpoint, with: Credentials) -> Option<u32> {
        let signed = endpoint.auth.scheme == "twilio_signature"
            && site.world == World::Production
            && with == Credentials::Right;
        endpoint.rate_limit.as_ref().filter(|_| !signed).and_then(|limit| limit.requests)
    }

    fn error_complaints(&self, _: &Inventory, status: u16, answer: &Answer) -> Vec<String> {
        let error = answer.json();
        let code = match status {
            401 | 403 => "AUTHENTICATION_FAILED",
            404 => "NOT_FOUND",
            405 => "METHOD_NOT_ALLOWED",
            429 => "RATE_LIMIT_EXCEEDED",
            500 => "INTERNAL_ERROR",
            502 | 503 => "SERVICE_UNAVAILABLE",
            _ => "INVALID_REQUEST",
        };
        let mut told =
            complaint(error["error"]["code"] == code, || format!("the code is not {code}: {error}"));
        let message = error["error"]["message"].as_str().unwrap_or_default();
        told.extend(complaint(!message.is_empty(), || "there is no message".into()));
        let timestamp = error["timestamp"].as_str().unwrap_or_default();
        let whole_seconds = timestamp.len() == 20 && timestamp.ends_with('Z');
        told.extend(complaint(whole_seconds, || format!("the time is {timestamp:?}")));
        let (id, header) = (error["request_id"].as_str().unwrap_or_default(), answer.header("x-request-id"));
        let named = id == header && id.len() > "req_".len() && id.starts_with("req_");
        told.extend(complaint(named, || format!("request_id is {id:?} and X-Request-Id {header:?}")));
        told
    }

    fn missing_complaints(&self, inventory: &Inventory, field: &str, answer: &Answer) -> Vec<String> {
        let mut wanted = inventory.error_formats["callbot_envelope"].examples[0].example["error"].clone();
        if wanted["details"]["parameter"] != field {
            let text = wanted.to_string().replace("CallSid", field);
            wanted = serde_json::from_str(&text).expect("a field's name is plain");
        }
        let given = &answer.json()["error"];
        complaint(*given == wanted, || format!("{given} and not, word for word, {wanted}"))
    }

    fn case(&self, id: &str) -> Option<Case> {
        Some(match id {
            INCOMING => Case {
                good: |_| Box::pin(async { incoming(&new_call_sid()) }),
                check: |site, answer| Box::pin(async move { stream_complaints(site, answer) }),
                bad: || vec![(Ask::form("", "CallSid="), 400), (Ask::form("", "CallSid=%FF%FE"), 400)],
                ..Case::GET
            },
            "callbot.post.api_callbot_call_status" => Case {
                good: |site| {
                    Box::pin(async {
                        let call = new_call_sid();
                        site.ask_for(INCOMING, incoming(&call)).await;
                        Ask::form("", format!("CallSid={call}&CallStatus=completed&CallDuration=0"))
                    })
                },
                ..Case::GET
            },
            "callbot.ws.api_callbot_audio_stream" => {
                Case { talk: Some(|site, socket| Box::pin(a_call(site, socket))), ..Case::GET }
            }
            "callbot.get.api_logs_latest" => Case {
                good: |_| Box::pin(async { Ask::get("/api/logs/latest?lines=1000&level=INFO") }),
                check: |site, _| Box::pin(latest_complaints(site)),
                bad: || {
                    let queries =
                        ["lines=0", "lines=-1", "lines=many", "lines=1.5", "level=LOUD", "since=yesterday"];
                    queries.map(|query| (Ask::get(format!("/api/logs/latest?{query}")), 400)).into()
                },
                ..Case::GET
            },
            "callbot.ws.api_logs_stream" => {
                Case { talk: Some(|site, socket| Box::pin(a_listener(site, socket))), ..Case::GET }
            }
            SIMULATE => Case {
                good: |_| Box::pin(async { simulation() }),
                check: |_, answer| {
                    Box::pin(async {
                        let given = answer.json();
                        let wanted = (&json!(1), &json!(2));
                        complaint((&given["calls_initiated"], &given["estimated_duration"]) == wanted, || {
                            format!("one call of two seconds was asked for: {given}")
                        })
                    })
                },
                bad: || {
                    let bodies = [
                        json!({}),
                        json!({ "call_count": 0 }),
                        json!({ "call_count": "many" }),
                        json!({ "call_count": 1, "duration_seconds": 0 }),
                        json!({ "call_count": 1, "call_scenario": "no such scenario" }),
                        json!({ "call_count": 1, "caller_profiles": {} }),
                    ];
                    bodies.map(|body| (Ask::json("", body.to_string()), 400)).into()
                },
                ..Case::GET
            },
            "callbot.get.api_test_simulation_simulation_id" => Case {
                good: |site| {
                    Box::pin(async { Ask::get(format!("/api/test/simulation/{}", simulated(site).await)) })
                },
                unknown: Some("/api/test/simulation/sim_nobody"),
                ..Case::GET
            },
            "callbot.get.api_test_load_results" => Case {
                good: |site| {
                    Box::pin(async {
                        simulated(site).await;
                        Ask::get("")
                    })
                },
                ..Case::GET
            },
            "callbot.get.health" | "callbot.get.status" => Case::GET,
            "callbot.get.docs" | "callbot.get.redoc" => {
                Case { check: |site, answer| Box::pin(page_complaints(site, answer)), ..Case::GET }
            }
            "callbot.get.openapi_json" => Case {
                check: |site, answer| Box::pin(async move { openapi_complaints(site, answer) }),
                ..Case::GET
            },
            _ => return None,
        })
    }
}

/// The webhook of a new call.
fn incoming(call: &str) -> Ask {
    Ask::form("", format!("CallSid={call}&From=%2B15005550009&To=%2B15005550006&CallStatus=ringing"))
}

/// The fields of a form that needs nothing decoded but `+`.
fn fields_of(form: &[u8]) -> Vec<(String, String)> {
    let form = String::from_utf8_lossy(form);
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.replace("%2B", "+"))).collect()
}

/// The URL that was handed out is this site's, and a token came with it.
fn stream_complaints(site: &Site<'_>, answer: &Answer) -> Vec<String> {
    let Ok(twiml::Answer::Stream { url, parameters }) = twiml::read(answer.text()) else {
        return vec![format!("no stream in {}", answer.text())];
    };
    // A host that is not this machine is reached through a proxy that speaks TLS.
    let scheme = if site.host.starts_with("127.") { "ws" } else { "wss" };
    let wanted = format!("{scheme}://{}{}/api/callbot/audio-stream", site.host, site.base);
    let mut told = complaint(url == wanted, || format!("the stream goes to {url} and not to {wanted}"));
    let token = parameters.iter().any(|(name, token)| name == "token" && token.len() >= 16);
    told.extend(complaint(token, || "there is no token".into()));
    told
}

async fn latest_complaints(site: &Site<'_>) -> Vec<String> {
    let mut told = Vec::new();
    for (lines, at_most) in [("1", 1), ("5000", 1_000)] {
        let ask = Ask::get(format!("/api/logs/latest?lines={lines}"));
        let answer = site.ask_for("callbot.get.api_logs_latest", ask).await;
        let entries = serde_json::from_slice::<Value>(&answer.body).ok();
        let entries = entries.and_then(|body| body["logs"].as_array().map(Vec::len));
        let right = answer.status == 200 && entries.is_some_and(|n| (1..=at_most).contains(&n));
        told.extend(complaint(right, || {
            format!("lines={lines}: {} with {entries:?} entries", answer.status)
        }));
    }
    told
}

/// One call of two seconds.
fn simulation() -> Ask {
    Ask::json("", json!({ "call_count": 1, "duration_seconds": 2 }).to_string())
}

/// The id of a simulation that is over.
async fn simulated(site: &Site<'_>) -> String {
    let started = site.ask_for(SIMULATE, simulation()).await;
    let Some(id) = serde_json::from_slice::<Value>(&started.body)
        .ok()
        .and_then(|body| body["simulation_id"].as_str().map(str::to_owned))
    else {
        return "sim_that_was_never_started".into();
    };
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        let ask = Ask::get(format!("/api/test/simulation/{id}"));
        let answer = site.ask_for("callbot.get.api_test_simulation_simulation_id", ask).await;
        let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        if body["status"] != "running" {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    id
}

/// Takes a whole call over a socket: the greeting and its mark, a fault that is told, the end.
async fn a_call(site: &Site<'_>, mut socket: WebSocketStream<TcpStream>) -> Vec<String> {
    let call = new_call_sid();
    let answer = site.ask_for(INCOMING, incoming(&call)).await;
    let Ok(twiml::Answer::Stream { parameters, .. }) = twiml::read(answer.text()) else {
        return vec![format!("the call cannot be announced: {}", answer.text())];
    };
    let stream = call.replacen("CA", "MZ", 1);
    let start = Start {
        account: Cow::Borrowed("AC00000000000000000000000000000000"),
        call: Cow::Borrowed(&call),
        format: MediaFormat { encoding: Cow::Borrowed("audio/x-mulaw"), sample_rate_hz: 8_000, channels: 1 },
        parameters: parameters
            .iter()
            .map(|(n, v)| (Cow::Borrowed(n.as_str()), Cow::Borrowed(v.as_str())))
            .collect(),
    };
    let mut out = Vec::new();
    twilio::write_connected(&mut out);
    send(&mut socket, &mut out).await;
    twilio::write_start(&mut out, &stream, &start);
    send(&mut socket, &mut out).await;

    let mut told = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    let mut chunk = 0;
    let give_up = Instant::now() + PATIENCE;
    let has = |seen: &[String], event: &str| seen.iter().any(|seen| seen == event);
    // Silence, until the agent was heard and its mark came.
    while !(has(&seen, "media") && has(&seen, "mark")) {
        if Instant::now() > give_up {
            return vec![format!("only {seen:?} came")];
        }
        chunk += 1;
        let place = Place { sequence: chunk + 1, chunk, timestamp_ms: (chunk - 1) * 20 };
        twilio::write_inbound_media(&mut out, &stream, place, &QUIET);
        send(&mut socket, &mut out).await;
        let until = Instant::now() + Duration::from_millis(20);
        while let Ok(message) = tokio::time::timeout_at(until, socket.next()).await {
            let Some(Ok(Message::Text(text))) = message else {
                return vec![format!("instead of a frame: {message:?}")];
            };
            let frame: Value = serde_json::from_str(&text).unwrap_or_default();
            told.extend(frame_complaints(site, &stream, &frame));
            if let Some(name) = frame["mark"]["name"].as_str() {
                twilio::write_mark_echo(&mut out, &stream, chunk + 2, name);
                send(&mut socket, &mut out).await;
            }
            seen.push(frame["event"].as_str().unwrap_or_default().to_owned());
        }
    }
    // A fault. A server answers in order: what it has to say of the fault comes before the pong.
    let broken = format!(r#"{{"event":"media","streamSid":"{stream}","media":{{"payload":"not base64!"}}}}"#);
    out.extend_from_slice(broken.as_bytes());
    send(&mut socket, &mut out).await;
    let _ = socket.send(Message::Ping(Default::default())).await;
    loop {
        match timeout(PATIENCE, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => {
                let frame: Value = serde_json::from_str(&text).unwrap_or_default();
                told.extend(frame_complaints(site, &stream, &frame));
                seen.push(frame["event"].as_str().unwrap_or_default().to_owned());
            }
            Ok(Some(Ok(Message::Pong(_)))) => break,
            other => return vec![format!("after a fault: {other:?}")],
        }
    }
    told.extend(complaint(has(&seen, "error"), || "a fault is not told by an error frame".into()));
    twilio::write_stop(&mut out, &stream, chunk + 3, &start);
    send(&mut socket, &mut out).await;
    let goodbye = timeout(PATIENCE, async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => break frame.map(|frame| u16::from(frame.code)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break None,
            }
        }
    });
    let goodbye = goodbye.await.unwrap_or_default();
    told.extend(complaint(goodbye == Some(1000), || format!("after stop: closed with {goodbye:?}")));
    told.dedup();
    told
}

async fn send(socket: &mut WebSocketStream<TcpStream>, out: &mut Vec<u8>) {
    let text = String::from_utf8(std::mem::take(out)).expect("the wire's writers make JSON from text");
    // A server that is gone is noticed when it is listened to.
    let _ = socket.send(Message::text(text)).await;
}

/// What is wrong with a frame that the server sent.
fn frame_complaints(site: &Site<'_>, stream: &str, frame: &Value) -> Vec<String> {
    let endpoint = site.inventory.endpoint("callbot.ws.api_callbot_audio_stream");
    let event = frame["event"].as_str().unwrap_or_default();
    let mut told = match event {
        "media" => endpoint.shape().complaints(frame),
        "error" => {
            let code = &frame["error"]["code"];
            let mut told = site.inventory.error_shape("callbot_websocket_error").complaints(frame);
            told.extend(complaint(code == "AUDIO_PROCESSING_FAILED", || format!("the code is {code}")));
            told
        }
        // As Twilio's documentation has them.
        "mark" | "clear" => {
            twilio::parse_outgoing(&frame.to_string()).err().map(|e| format!("{e:?}")).into_iter().collect()
        }
        other => vec![format!("nobody sends {other:?}")],
    };
    if event != "error" {
        told.extend(complaint(frame["streamSid"] == stream, || {
            format!("{event} of stream {}", frame["streamSid"])
        }));
    }
    told
}

/// Listens to the log while something happens.
async fn a_listener(site: &Site<'_>, mut socket: WebSocketStream<TcpStream>) -> Vec<String> {
    let endpoint = site.inventory.endpoint("callbot.ws.api_logs_stream");
    let call = new_call_sid();
    site.ask_for(INCOMING, incoming(&call)).await;
    let mut told = Vec::new();
    let heard = timeout(PATIENCE, async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let entry: Value = serde_json::from_str(&text).unwrap_or_default();
                    told.extend(endpoint.shape().complaints(&entry));
                    // Entries name a call as the server does, not as its carrier.
                    if entry["call_id"].is_string() {
                        break true;
                    }
                }
                Some(Ok(Message::Ping(_))) => {}
                other => {
                    told.push(format!("instead of an entry: {other:?}"));
                    break false;
                }
            }
        }
    });
    let heard = heard.await.unwrap_or(false);
    told.extend(complaint(heard, || format!("no entry tells of call {call}")));
    if site.world == World::Production {
        let ask = Ask::get(format!("{}?token={BEARER}", endpoint.path));
        told.extend(complaint(site.open(ask).await.is_ok(), || "?token= does not open it".into()));
    }
    told
}

/// A page loads nothing from elsewhere, and all that it loads is there.
async fn page_complaints(site: &Site<'_>, answer: &Answer) -> Vec<String> {
    let page = answer.text();
    let mut told = Vec::new();
    let mut loaded = Vec::new();
    for tag in ["<script", "<link", "<img"] {
        for part in page.split(tag).skip(1) {
            let part = part.split('>').next().unwrap_or_default();
            let attribute = if tag == "<link" { "href=" } else { "src=" };
            if let Some(value) = part.split(attribute).nth(1) {
                loaded.push(
                    value.trim_start_matches(['"', '\'']).split(['"', '\'', ' ']).next().unwrap_or_default(),
                );
            }
        }
    }
    for url in loaded.into_iter().filter(|url| !url.is_empty() && !url.starts_with("data:")) {
        if url.contains("//") {
            told.push(format!("it loads {url}"));
            continue;
        }
        // Both pages stand directly below the base: what is relative is relative to that.
        let path = match url.strip_prefix('/') {
            None => format!("/{}", url.trim_start_matches("./")),
            Some(_) => match url.strip_prefix(site.base.as_str()) {
                Some(path) => path.to_owned(),
                None => {
                    told.push(format!("it loads {url}, which is not below {}", site.base));
                    continue;
                }
            },
        };
        let asset = site.ask(Ask::get(path)).await;
        told.extend(complaint(asset.status == 200 && !asset.body.is_empty(), || {
            format!("{url}: {}", asset.status)
        }));
    }
    told
}

/// The document names every endpoint, by its method, and how callers are known.
fn openapi_complaints(site: &Site<'_>, answer: &Answer) -> Vec<String> {
    let document = answer.json();
    let version = document["openapi"].as_str().unwrap_or_default();
    let mut told = complaint(version.starts_with("3."), || format!("openapi is {version:?}"));
    let info = Shape::of(&["title", "version"].map(|name| super::shape::Field {
        name: name.into(),
        of: "string".into(),
        nullable: false,
        example: Value::Null,
    }));
    told.extend(
        info.complaints(&document["info"]).into_iter().filter(|told| !told.ends_with("is not documented")),
    );
    for endpoint in &site.inventory.endpoints {
        let method = endpoint.wire_method().as_str().to_lowercase();
        let operation = &document["paths"][&endpoint.path][&method];
        if !operation.is_object() {
            told.push(format!("{method} {} is not in it", endpoint.path));
            continue;
        }
        let secured = operation["security"].as_array().is_some_and(|list| !list.is_empty());
        told.extend(complaint(secured || endpoint.auth.scheme != "bearer", || {
            format!("{method} {} does not say that it wants a token", endpoint.path)
        }));
        let limited = operation["responses"]["429"].is_object();
        told.extend(complaint(limited || endpoint.rate_limit.is_none(), || {
            format!("{method} {} does not say that it is limited", endpoint.path)
        }));
    }
    let schemes = document["components"]["securitySchemes"].as_object();
    told.extend(complaint(schemes.is_some_and(|schemes| !schemes.is_empty()), || {
        "no security scheme is in it".into()
    }));
    told
}
