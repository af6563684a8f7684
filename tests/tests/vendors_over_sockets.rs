//! Calls whose ears, voice and mind are vendors': all of them doubles, over real sockets.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use offhook::caller::{CallPlan, CallReport, EndedBy, Step, place, prepare};
use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use offhook_tests::{Server, said};
use serde_json::json;

/// A server all of whose services are the doubles, and more settings of the file.
async fn server(
    fakes: &FakeVendors,
    ears: &str,
    voices: &str,
    file: &str,
) -> (Server, tempfile::NamedTempFile) {
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), file).unwrap();
    let base = |vendor| fakes.base_url(vendor);
    let (deepgram, openai) = (base(Vendor::Deepgram), base(Vendor::OpenAi));
    let (elevenlabs, cartesia) = (base(Vendor::ElevenLabs), base(Vendor::Cartesia));
    let google = fakes.grpc_url();
    let path = config.path().to_str().unwrap();
    let variables = [
        ("OFFHOOK_CONFIG", path),
        ("OFFHOOK_AGENT", "openai"),
        ("OFFHOOK_EARS", ears),
        ("OFFHOOK_VOICES", voices),
        ("OFFHOOK_DEEPGRAM_BASE_URL", &deepgram),
        ("OFFHOOK_OPENAI_BASE_URL", &openai),
        ("OFFHOOK_ELEVENLABS_BASE_URL", &elevenlabs),
        ("OFFHOOK_CARTESIA_BASE_URL", &cartesia),
        ("OFFHOOK_GOOGLE_SPEECH_BASE_URL", &google),
        ("OFFHOOK_ELEVENLABS_VOICE", "v1"),
        ("OFFHOOK_CARTESIA_VOICE", "v2"),
        ("OFFHOOK_AGENT_GREETING", "Hello. How can I help you?"),
        ("DEEPGRAM_API_KEY", "dg-key-of-the-test"),
        ("OPENAI_API_KEY", "sk-key-of-the-test"),
        ("ELEVENLABS_API_KEY", "el-key-of-the-test"),
        ("CARTESIA_API_KEY", "ca-key-of-the-test"),
        ("GOOGLE_API_KEY", "go-key-of-the-test"),
    ];
    (Server::start_with(&[], &variables).await, config)
}

async fn call(server: &Server, steps: &[&str]) -> CallReport {
    let steps: Vec<Step> = steps.iter().map(|text| Step::Say((*text).into())).collect();
    let plan = CallPlan {
        max_duration: Duration::from_secs(60),
        ..CallPlan::new(server.base(), prepare(&steps).unwrap())
    };
    place(plan, |_| {}).await.unwrap()
}

/// What took over from what, and why: part, from, to, reason.
async fn switches(server: &Server, call: &str) -> Vec<[String; 4]> {
    let timeline = server.timeline(call).await;
    let switched = timeline.iter().filter(|(kind, _)| kind == "switched");
    switched
        .map(|(_, event)| {
            ["part", "from", "to", "why"].map(|name| event[name].as_str().unwrap_or("nobody").to_owned())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_with_vendors_is_what_was_said_and_no_key_is_in_the_log() {
    let fakes = FakeVendors::start().await;
    fakes.deepgram(["I would like to book a table.", "Thank you, goodbye."]);
    fakes.answer(&json!({"content": "Of course, for tomorrow at nine. What else?"})).unwrap();
    fakes
        .answer(&json!({"content": "Goodbye.", "tool_calls": [{"name": "end_call", "arguments": {}}]}))
        .unwrap();
    let (server, _config) = server(&fakes, "deepgram", "openai", "").await;
    let report = call(&server, &["I would like to book a table.", "Goodbye."]).await;
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
    assert!(switches(&server, &report.call_sid).await.is_empty());
    let metrics = server.get("/metrics").await.text().to_owned();
    for wanted in [
        "offhook_ears_bytes_total{service=\"deepgram\"}",
        "offhook_voice_characters_total{service=\"openai\"}",
    ] {
        assert!(metrics.contains(wanted), "{metrics}");
    }
    for line in server.log() {
        assert!(!line.contains("-key-of-the-test"), "{line}");
    }
    let replayed = server.replay(&record).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_be_answered_hears_an_apology_and_is_put_through() {
    let fakes = FakeVendors::start().await;
    fakes.deepgram(["Can you help me?"]);
    fakes.fail("/openai/v1/chat", 100, Fault { status: Some(401), ..Fault::default() });
    let file = "fallback_number = '+15005550001'\n[call]\napology = 'I am sorry. Somebody will help you.'";
    let (server, _config) = server(&fakes, "deepgram", "openai", file).await;
    let report = call(&server, &["Can you help me?"]).await;
    let record = server.record(&report.call_sid).await;
    assert_eq!(record["end_reason"], "agent-failed");
    assert_eq!(said(&record).last(), Some(&("agent", "I am sorry. Somebody will help you.")));
    let form = format!("CallSid={}&CallStatus=in-progress", report.call_sid);
    let answer = server.post_form("/api/callbot/after-stream", &form).await;
    assert!(answer.text().contains("<Dial>+15005550001</Dial>"), "{}", answer.text());
    let unknown = server.post_form("/api/callbot/after-stream", "CallSid=CA404").await;
    assert!(unknown.text().contains("<Hangup/>"), "{}", unknown.text());
}

/// Every service fails in the middle of what it does: the voice in the greeting, the ears in what the caller says, the model in
/// its answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_without_a_lost_or_repeated_word_whoever_fails_in_the_middle() {
    let fakes = FakeVendors::start().await;
    let closes = |bytes| Fault { close: Some((1011, bytes)), ..Fault::default() };
    fakes.fail("/elevenlabs/v1/text-to-speech", 1, closes(4_000));
    fakes.fail("/deepgram/v1/listen", 1, closes(8_000));
    fakes.fail("/openai/v1/chat", 1, closes(20));
    fakes.deepgram(["I would like to book a table.", "Thank you, goodbye."]);
    fakes.answer(&json!({"content": "Of course, for tomorrow at nine. What else?"})).unwrap();
    // The first one broke off in "tomorrow".
    fakes.answer(&json!({"content": "tomorrow at nine. What else?"})).unwrap();
    fakes
        .answer(&json!({"content": "Goodbye.", "tool_calls": [{"name": "end_call", "arguments": {}}]}))
        .unwrap();
    let file = "[[fallback_models]]\nmodel = 'second'";
    let (server, _config) = server(&fakes, "deepgram,flux", "elevenlabs,cartesia", file).await;
    let report = call(&server, &["I would like to book a table.", "Goodbye."]).await;
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
    let switched = switches(&server, &report.call_sid).await;
    let names: Vec<_> = switched.iter().map(|[part, from, to, _]| [part.as_str(), from, to]).collect();
    assert_eq!(
        names,
        [
            ["voice", "elevenlabs", "cartesia"],
            ["ears", "deepgram", "flux"],
            ["agent", "gpt-4o-mini", "second"]
        ],
        "{switched:?}"
    );
    for [.., why] in &switched {
        assert!(["broken_off", "faulty"].contains(&why.as_str()), "{switched:?}");
    }
    let continued =
        fakes.requests().into_iter().filter(|asked| asked.path.ends_with("/chat/completions")).nth(1);
    let messages = continued.unwrap().body["messages"].to_string();
    assert!(messages.contains("Of course, for ") && !messages.contains("tomor"), "{messages}");
    let replayed = server.replay(&record).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stdout));
}

/// Streams to Google are used for two seconds here: each thing that is said finds an old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_over_one_stream_after_the_other() {
    let fakes = FakeVendors::start().await;
    let said_by_caller = ["I would like to book a table.", "At nine.", "Thank you, goodbye."];
    fakes.google(said_by_caller);
    for content in ["Of course. When?", "Nine it is."] {
        fakes.answer(&json!({ "content": content })).unwrap();
    }
    fakes
        .answer(&json!({"content": "Goodbye.", "tool_calls": [{"name": "end_call", "arguments": {}}]}))
        .unwrap();
    let file = "[vendors.google]\nrotate_ms = '2000'";
    let (server, _config) = server(&fakes, "google", "openai", file).await;
    let report = call(&server, &said_by_caller).await;
    assert_eq!((&report.ended_by, report.unsaid), (&EndedBy::Server, 0));
    let record = server.record(&report.call_sid).await;
    assert_eq!(
        said(&record),
        [
            ("agent", "Hello. How can I help you?"),
            ("caller", "I would like to book a table."),
            ("agent", "Of course. When?"),
            ("caller", "At nine."),
            ("agent", "Nine it is."),
            ("caller", "Thank you, goodbye."),
            ("agent", "Goodbye."),
        ]
    );
    assert!(switches(&server, &report.call_sid).await.is_empty());
    let requests = fakes.requests();
    let streams: Vec<_> =
        requests.iter().filter(|asked| asked.path.ends_with("/StreamingRecognize")).collect();
    assert!(streams.len() >= 3, "{streams:?}");
    assert!(streams.iter().all(|asked| asked.connection == streams[0].connection), "{streams:?}");
    for line in server.log() {
        assert!(!line.contains("-key-of-the-test"), "{line}");
    }
}
