//! Callers book appointments by voice: the model is a double that asks for the tools, all else is as in production.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};
use offhook::caller::{CallPlan, CallReport, Step, place, prepare};
use offhook::domain::appointments::Appointment;
use offhook::domain::time::{Span, UnixMs};
use offhook::store::Store;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use offhook_tests::Server;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

const DESK: &str = "desk@example.com";

/// Open day and night, in Amsterdam.
const HOURS: &str = "[appointments]\nzone = 'Europe/Amsterdam'\nslot_minutes = 30\nnotice_minutes = 0\n\
                     hours = { monday = ['00:00-24:00'], tuesday = ['00:00-24:00'], wednesday = ['00:00-24:00'], \
                     thursday = ['00:00-24:00'], friday = ['00:00-24:00'], saturday = ['00:00-24:00'], \
                     sunday = ['00:00-24:00'] }\n";

/// The day after tomorrow there: it begins today or tomorrow nowhere.
fn day() -> Date {
    Zoned::now().in_tz("Europe/Amsterdam").unwrap().date().saturating_add(2.days())
}

/// Ten o'clock on that day.
fn ten() -> Timestamp {
    day().at(10, 0, 0, 0).in_tz("Europe/Amsterdam").unwrap().timestamp()
}

async fn server(fakes: &FakeVendors, appointments: &str, more: &[(&str, &str)]) -> (Server, NamedTempFile) {
    let config = NamedTempFile::new().unwrap();
    std::fs::write(config.path(), format!("{HOURS}{appointments}")).unwrap();
    let base = |vendor| fakes.base_url(vendor);
    let (deepgram, openai, google) = (base(Vendor::Deepgram), base(Vendor::OpenAi), base(Vendor::Google));
    let variables = [
        ("OFFHOOK_CONFIG", config.path().to_str().unwrap()),
        ("OFFHOOK_AGENT", "openai"),
        ("OFFHOOK_EARS", "deepgram"),
        ("OFFHOOK_DEEPGRAM_BASE_URL", &deepgram),
        ("OFFHOOK_OPENAI_BASE_URL", &openai),
        ("OFFHOOK_GOOGLE_BASE_URL", &google),
        ("OFFHOOK_AGENT_GREETING", "Hello."),
        ("DEEPGRAM_API_KEY", "dg"),
        ("OPENAI_API_KEY", "sk"),
    ];
    let variables = [&variables[..], more].concat();
    (Server::start_with(&[], &variables).await, config)
}

/// A caller who wants an appointment, and hears the answer out.
async fn call(server: &Server, steps: &[&str]) -> CallReport {
    let steps: Vec<Step> = steps.iter().map(|text| Step::Say((*text).into())).collect();
    let plan = CallPlan {
        max_duration: Duration::from_secs(60),
        ..CallPlan::new(server.base(), prepare(&steps).unwrap())
    };
    place(plan, |_| {}).await.unwrap()
}

/// What the agent said on a call, in one text.
async fn answers(server: &Server, report: &CallReport) -> String {
    let record = server.record(&report.call_sid).await;
    let turns = record["turns"].as_array().unwrap().iter().filter(|turn| turn["speaker"] == "agent");
    turns.map(|turn| turn["text"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// The model looks what is free, offers it, and books what the caller wants.
fn a_model_that_books(fakes: &FakeVendors) {
    let day = day().to_string();
    let book =
        json!({"name": "book_appointment", "arguments": {"date": day, "time": "10:00", "name": "Al Jones"}});
    for answer in [
        json!({"to": "appointment", "tool_calls": [{"name": "get_available_slots", "arguments": {"date": day}}]}),
        json!({"to": "\"free\":[\"00:00\"", "content": "Ten o'clock is free."}),
        json!({"to": "Ten please", "tool_calls": [book]}),
        json!({"to": "\"booked\":true", "content": "You are booked for ten.", "tool_calls": [{"name": "end_call", "arguments": {}}]}),
    ] {
        fakes.answer(&answer).unwrap();
    }
    fakes.deepgram(["I need an appointment.", "Ten please."]);
}

/// What is in the local calendar of a server that was killed.
async fn local(mut server: Server) -> Vec<Appointment> {
    let data = server.data();
    server.kill();
    let store = Store::open(data.path(), UnixMs::now()).unwrap();
    let near =
        Span { from: ten() - SignedDuration::from_hours(48), to: ten() + SignedDuration::from_hours(48) };
    let found = store.appointments("callbot", near).await.unwrap();
    store.close();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_books_by_voice_and_the_appointment_outlives_the_server() {
    let fakes = FakeVendors::start().await;
    a_model_that_books(&fakes);
    let (server, _config) = server(&fakes, "", &[]).await;
    let report = call(&server, &["I need an appointment.", "Ten please."]).await;
    let said = answers(&server, &report).await;
    assert!(said.contains("Ten o'clock is free.") && said.contains("You are booked for ten."), "{said}");
    // The model was told which day it is.
    let asked = fakes.requests();
    let prompt = asked.iter().find_map(|asked| asked.body["messages"][0]["content"].as_str()).unwrap();
    assert!(prompt.contains("Europe/Amsterdam") && prompt.contains("It is "), "{prompt}");
    let record = server.record(&report.call_sid).await;
    let listed = server.get("/v1/appointments").await.json();
    let booked = local(server).await;
    assert_eq!(listed["appointments"][0]["id"], booked[0].id.as_str());
    assert_eq!(listed["appointments"][0]["starts_at"], ten().to_string());
    assert_eq!(booked.len(), 1, "{booked:?}");
    assert_eq!((booked[0].name.as_str(), booked[0].span.from), ("Al Jones", ten()));
    assert_eq!(record["from"], booked[0].phone.as_str(), "the number that the call came from");
    assert_eq!(record["id"], booked[0].call.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_books_by_voice_in_a_calendar_at_google() {
    let fakes = FakeVendors::start().await;
    let account = fakes.google_account();
    let shared =
        json!({"calendar": DESK, "zone": "Europe/Amsterdam", "shared_with": [account["client_email"]]});
    fakes.google_set("calendar", &shared).unwrap();
    a_model_that_books(&fakes);
    let key = NamedTempFile::new().unwrap();
    std::fs::write(key.path(), account.to_string()).unwrap();
    let credentials = [("GOOGLE_APPLICATION_CREDENTIALS", key.path().to_str().unwrap())];
    let (server, _config) = server(&fakes, &format!("google_calendar = '{DESK}'\n"), &credentials).await;
    let report = call(&server, &["I need an appointment.", "Ten please."]).await;
    let said = answers(&server, &report).await;
    assert!(said.contains("You are booked for ten."), "{said}");
    let events = fakes.google_state()["calendars"][DESK].clone();
    assert_eq!(events.as_array().map(Vec::len), Some(1), "{events}");
    assert!(events[0]["summary"].as_str().unwrap().starts_with("Al Jones (+"), "{events}");
    let start = format!("{}T10:00:00", day());
    assert!(events[0]["start"]["dateTime"].as_str().unwrap().starts_with(&start), "{events}");
    let token: Vec<_> = server.log().into_iter().filter(|line| line.contains("ya29")).collect();
    assert!(token.is_empty(), "{token:?}");
    assert!(local(server).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_calls_for_one_slot_one_gets_it_and_the_other_is_told() {
    let fakes = FakeVendors::start().await;
    let book = json!({
        "name": "book_appointment", "arguments": {"date": day().to_string(), "time": "10:00", "name": "Al Jones"},
    });
    for answer in [
        json!({"to": "Ten please", "tool_calls": [book]}),
        json!({"to": "Ten please", "tool_calls": [book]}),
        json!({"to": "\"booked\":true", "content": "You are booked for ten."}),
        json!({"to": "is taken", "content": "I am sorry, that one is gone."}),
    ] {
        fakes.answer(&answer).unwrap();
    }
    fakes.deepgram(["Ten please.", "Ten please."]);
    let (server, _config) = server(&fakes, "", &[]).await;
    let (one, other) = tokio::join!(call(&server, &["Ten please."]), call(&server, &["Ten please."]));
    let mut said = [answers(&server, &one).await, answers(&server, &other).await];
    said.sort();
    assert!(said[0].contains("that one is gone") && said[1].contains("You are booked for ten."), "{said:?}");
    assert_eq!(local(server).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_that_is_away_ends_no_call() {
    let fakes = FakeVendors::start().await;
    // Not shared with the account, so not seen, so not free.
    fakes.google_set("calendar", &json!({ "calendar": DESK })).unwrap();
    let look = json!({"name": "get_available_slots", "arguments": {"date": day().to_string()}});
    fakes.answer(&json!({"to": "Ten please", "tool_calls": [look]})).unwrap();
    fakes.answer(&json!({"to": "cannot be reached", "content": "May I take a message?"})).unwrap();
    fakes.answer(&json!({"to": "No thanks", "content": "Goodbye.", "tool_calls": [{"name": "end_call", "arguments": {}}]})).unwrap();
    fakes.deepgram(["Ten please.", "No thanks."]);
    let key = NamedTempFile::new().unwrap();
    std::fs::write(key.path(), fakes.google_account().to_string()).unwrap();
    let credentials = [("GOOGLE_APPLICATION_CREDENTIALS", key.path().to_str().unwrap())];
    let (server, _config) = server(&fakes, &format!("google_calendar = '{DESK}'\n"), &credentials).await;
    let report = call(&server, &["Ten please.", "No thanks."]).await;
    let said = answers(&server, &report).await;
    assert!(said.contains("May I take a message?") && said.contains("Goodbye."), "{said}");
    let record: Value = server.record(&report.call_sid).await;
    assert_eq!(record["end_reason"], "agent-hangup");
}
