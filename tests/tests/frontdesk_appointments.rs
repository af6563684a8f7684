//! A caller of a FrontDesk client books by voice in the calendar that its owner connected.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use hyper::Method;
use jiff::civil::Date;
use jiff::{ToSpan, Zoned};
use offhook::caller::{CallPlan, CallReport, Step, place, prepare};
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use offhook_tests::Server;
use offhook_tests::desk::{self, BASE, Owner, consent, id};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// Open every day from nine to five, in Amsterdam.
const HOURS: &str = "[appointments]\nzone = 'Europe/Amsterdam'\nslot_minutes = 30\nnotice_minutes = 0\n\
                     hours = { monday = ['09:00-17:00'], tuesday = ['09:00-17:00'], wednesday = ['09:00-17:00'], \
                     thursday = ['09:00-17:00'], friday = ['09:00-17:00'], saturday = ['09:00-17:00'], \
                     sunday = ['09:00-17:00'] }\n";

fn day() -> Date {
    Zoned::now().in_tz("Europe/Amsterdam").unwrap().date().saturating_add(2.days())
}

async fn server(fakes: &FakeVendors) -> (Server, NamedTempFile) {
    let config = NamedTempFile::new().unwrap();
    std::fs::write(config.path(), HOURS).unwrap();
    let base = |vendor| fakes.base_url(vendor);
    let (deepgram, openai, google) = (base(Vendor::Deepgram), base(Vendor::OpenAi), base(Vendor::Google));
    let mut variables = desk::google_client().to_vec();
    variables[0].1 = &google;
    variables.extend([
        ("OFFHOOK_CONFIG", config.path().to_str().unwrap()),
        ("OFFHOOK_AGENT", "openai"),
        ("OFFHOOK_EARS", "deepgram"),
        ("OFFHOOK_DEEPGRAM_BASE_URL", &deepgram),
        ("OFFHOOK_OPENAI_BASE_URL", &openai),
        ("DEEPGRAM_API_KEY", "dg"),
        ("OPENAI_API_KEY", "sk"),
    ]);
    (Server::start_with(&[], &variables).await, config)
}

async fn connect_calendar(owner: &Owner<'_>, client: &Value) {
    let path = format!("/api/clients/{}/calendar/oauth/initiate", id(client));
    let started = owner.ask(Method::POST, &path, &Value::Null).await.json();
    let query = consent(started["authorization_url"].as_str().unwrap()).await;
    let answer = owner.server.get(&format!("{BASE}/api/calendar/oauth/callback?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn call(server: &Server, client: &Value, steps: &[&str]) -> CallReport {
    let steps: Vec<Step> = steps.iter().map(|text| Step::Say((*text).into())).collect();
    let plan = CallPlan {
        incoming_path: format!("{BASE}/voice"),
        to: client["phone_number"].as_str().unwrap().to_owned(),
        max_duration: Duration::from_secs(60),
        ..CallPlan::new(server.base(), prepare(&steps).unwrap())
    };
    place(plan, |_| {}).await.unwrap()
}

/// The model looks what is free, offers it, and books what the caller wants.
fn a_model_that_books(fakes: &FakeVendors) {
    let day = day().to_string();
    let book =
        json!({"name": "book_appointment", "arguments": {"date": day, "time": "10:00", "name": "Al Jones"}});
    for answer in [
        json!({"to": "appointment", "tool_calls": [{"name": "get_available_slots", "arguments": {"date": day}}]}),
        json!({"to": "\"free\":[\"09:00\"", "content": "Ten o'clock is free."}),
        json!({"to": "Ten please", "tool_calls": [book]}),
        json!({"to": "\"booked\":true", "content": "You are booked for ten.", "tool_calls": [{"name": "end_call", "arguments": {}}]}),
    ] {
        fakes.answer(&answer).unwrap();
    }
    fakes.deepgram(["I need an appointment.", "Ten please."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_books_in_the_calendar_of_the_client_is_charged_and_can_be_read() {
    let fakes = FakeVendors::start().await;
    let (server, _config) = server(&fakes).await;
    let owner = Owner::sign_in(&server).await;
    let client = json!({
        "initial_greeting": "Acme, good morning.", "system_prompt": "You are the receptionist of Acme.",
        "llm_model": "openai/gpt-4o",
    });
    let client = owner.client(600, client).await;
    connect_calendar(&owner, &client).await;
    a_model_that_books(&fakes);
    let report = call(&server, &client, &["I need an appointment.", "Ten please."]).await;
    let record = server.record(&report.call_sid).await;

    let told = owner.get(&format!("/api/clients/{}/conversations", id(&client))).await;
    let said: Vec<_> = told[0]["transcript"]
        .as_array()
        .unwrap()
        .iter()
        .map(|said| (said["role"].as_str().unwrap(), said["content"].as_str().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            ("assistant", "Acme, good morning."),
            ("user", "I need an appointment."),
            ("assistant", "Ten o'clock is free."),
            ("user", "Ten please."),
            ("assistant", "You are booked for ten."),
        ]
    );
    let events = &fakes.google_state()["calendars"]["pat@example.com"];
    assert_eq!(events.as_array().map(Vec::len), Some(1), "{:#}", fakes.google_state());
    assert!(events[0]["summary"].as_str().unwrap().starts_with("Al Jones (+"), "{events}");
    assert!(events[0]["start"]["dateTime"].as_str().unwrap().starts_with(&format!("{}T10:00:00", day())));

    let seconds = record["duration_ms"].as_u64().unwrap().div_ceil(1_000);
    assert_eq!(owner.client_now(&client).await["balance_seconds"], 600 - seconds);
    let status = owner.get(&format!("/api/clients/{}/calendar/status", id(&client))).await;
    assert!(status["last_used_at"].is_string(), "{status}");
    // The model is the client's, and was told what its client says.
    let asked = fakes.requests();
    let asked = asked.iter().find(|asked| asked.body["messages"].is_array()).unwrap();
    assert_eq!(asked.body["model"], "gpt-4o");
    let prompt = asked.body["messages"][0]["content"].as_str().unwrap();
    assert!(
        prompt.contains("You are the receptionist of Acme.") && prompt.contains("Europe/Amsterdam"),
        "{prompt}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_the_tools_that_are_enabled_and_its_own_calendar_where_none_is_connected() {
    let fakes = FakeVendors::start().await;
    let (server, _config) = server(&fakes).await;
    let owner = Owner::sign_in(&server).await;
    let client = owner.client(600, json!({ "enabled_tools": ["get_available_slots"] })).await;
    let look = json!({"name": "get_available_slots", "arguments": {"date": day().to_string()}});
    fakes.answer(&json!({"to": "appointment", "tool_calls": [look]})).unwrap();
    fakes
        .answer(&json!({"to": "\"free\":[\"09:00\"", "content": "Goodbye.", "tool_calls": [{"name": "end_call", "arguments": {}}]}))
        .unwrap();
    fakes.deepgram(["I need an appointment."]);
    let report = call(&server, &client, &["I need an appointment."]).await;
    assert_eq!(server.record(&report.call_sid).await["end_reason"], "agent-hangup");
    let asked = fakes.requests();
    let offered: Vec<_> = asked
        .iter()
        .find(|asked| asked.body["tools"].is_array())
        .map(|asked| asked.body["tools"].as_array().unwrap().clone())
        .unwrap()
        .iter()
        .map(|tool| tool["function"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(offered, ["end_call", "get_available_slots"]);
}
