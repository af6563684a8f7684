//! Calls whose agent hears and speaks itself: the double of OpenAI's Realtime, over real sockets.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use offhook::caller::{CallPlan, CallReport, EndedBy, Step, place, prepare};
use offhook_codecs::tones::{KeyDetector, KeyEvent};
use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use offhook_tests::audio::Recording;
use offhook_tests::{Server, said};
use serde_json::{Value, json};

const KEY: &str = "sk-key-of-the-test";

async fn server(fakes: &FakeVendors, more: &[(&str, &str)]) -> Server {
    let openai = fakes.base_url(Vendor::OpenAi);
    let variables = [
        ("OFFHOOK_AGENT", "realtime"),
        ("OFFHOOK_OPENAI_BASE_URL", openai.as_str()),
        ("OFFHOOK_AGENT_GREETING", "Hello. How can I help you?"),
        ("OPENAI_API_KEY", KEY),
    ];
    Server::start_with(&[], &[&variables, more].concat()).await
}

async fn call(server: &Server, steps: &[Step]) -> CallReport {
    let plan = CallPlan {
        max_duration: Duration::from_secs(60),
        ..CallPlan::new(server.base(), prepare(steps).unwrap())
    };
    place(plan, |_| {}).await.unwrap()
}

fn say(text: &str) -> Step {
    Step::Say(text.into())
}

fn answers(fakes: &FakeVendors, answers: &[Value]) {
    answers.iter().for_each(|answer| fakes.answer(answer).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_with_one_model_is_recorded_word_by_word_and_replayed_byte_by_byte() {
    let fakes = FakeVendors::start().await;
    fakes.transcribe(["I would like to book a table.", "Thank you, goodbye."]);
    answers(
        &fakes,
        &[
            json!({"content": "Hello. How can I help you?"}),
            json!({"content": "Of course, for tomorrow at nine. What else?"}),
            json!({"content": "Goodbye.", "tool_calls": [{"name": "end_call", "arguments": {}}]}),
        ],
    );
    let server = server(&fakes, &[]).await;
    let report = call(&server, &[say("I would like to book a table."), say("Thank you, goodbye.")]).await;
    assert_eq!((&report.ended_by, report.unsaid), (&EndedBy::Server, 0));
    let record = server.record(&report.call_sid).await;
    assert_eq!(
        said(&record),
        [
            ("agent", "Hello. How can I help you?"),
            ("caller", "I would like to book a table."),
            ("agent", "Of course, for tomorrow at nine. What else?"),
            ("caller", "Thank you, goodbye."),
            ("agent", "Goodbye."),
        ]
    );
    let replayed = server.replay(&record).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stdout));
    assert!(server.log().iter().all(|line| !line.contains(KEY)));
    let metrics = server.get("/metrics").await.text().to_owned();
    assert!(metrics.contains("offhook_agent_tokens_total"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_talks_over_the_model_stops_it_and_it_learns_what_was_heard_of_it() {
    let fakes = FakeVendors::start().await;
    let long = "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen.";
    fakes.transcribe(["Stop it right there, please."]);
    answers(&fakes, &[json!({"content": long}), json!({"content": "I am all ears. What is it?"})]);
    let server = server(&fakes, &[]).await;
    let steps = [Step::BargeIn(Duration::from_millis(2_000)), say("Stop it right there, please.")];
    let report = call(&server, &steps).await;
    let record = server.record(&report.call_sid).await;
    let turns = said(&record);
    assert_eq!(
        turns[1..3],
        [("caller", "Stop it right there, please."), ("agent", "I am all ears. What is it?")]
    );
    assert!(
        turns[0].1.starts_with("One, two,") && long.starts_with(turns[0].1) && turns[0].1 != long,
        "{turns:?}"
    );
    let asked = fakes.requests();
    let session = asked.iter().find(|asked| asked.path == "/openai/v1/realtime").unwrap();
    let cut = session.texts().into_iter().find(|text| text["type"] == "conversation.item.truncate").cloned();
    // Two seconds, and what it takes to notice.
    let heard_ms = cut.unwrap()["audio_end_ms"].as_u64().unwrap();
    assert!((1_900..2_600).contains(&heard_ms), "{heard_ms} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_a_model_presses_are_heard_as_tones_after_what_it_said() {
    let fakes = FakeVendors::start().await;
    fakes.transcribe(["Press one for sales."]);
    let press = json!({"name": "press_keys", "arguments": {"keys": "1#"}});
    answers(
        &fakes,
        &[
            json!({"content": "Hello. How can I help you?"}),
            json!({"content": "One moment.", "tool_calls": [press]}),
            json!({"content": "Goodbye.", "tool_calls": [{"name": "end_call", "arguments": {}}]}),
        ],
    );
    let server = server(&fakes, &[("OFFHOOK_AGENT_PRESSES_KEYS", "on")]).await;
    let report = call(&server, &[say("Press one for sales.")]).await;
    assert_eq!(report.ended_by, EndedBy::Server);
    let record = server.record(&report.call_sid).await;
    assert_eq!(said(&record).last(), Some(&("agent", "One moment. Goodbye.")));
    let recording = Recording::read(&server.file(&record, "recording").await);
    let mut keys = String::new();
    KeyDetector::new().detect(&recording.right, |event| {
        if let KeyEvent::Down { key, .. } = event {
            keys.push(key.to_char());
        }
    });
    assert_eq!(keys, "1#");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_breaks_off_is_apologised_for_by_the_voice_of_this_machine() {
    let fakes = FakeVendors::start().await;
    fakes.fail("/openai/v1/realtime", 9, Fault { close: Some((1011, 6_000)), ..Fault::default() });
    answers(&fakes, &[json!({"content": "Hello. How can I help you today?"})]);
    let server = server(&fakes, &[]).await;
    let report = call(&server, &[]).await;
    let record = server.record(&report.call_sid).await;
    assert_eq!(record["end_reason"], "agent-failed");
    let turns = said(&record);
    assert!(turns[0].1.starts_with("Hello.") && turns[0].1.contains("I am sorry"), "{turns:?}");
}
