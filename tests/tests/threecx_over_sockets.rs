//! Calls of a 3CX system: a double of it on a real socket, callers that follow a script, and the built binary that answers.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use offhook_codecs::g711;
use offhook_fixtures::threecx::{
    Caller, Ending, FakeThreeCx, Fault, Heard, LineFault, Options, RungCall, Step,
};
use offhook_fixtures::vendors::{FakeVendors, Vendor, is_cloned};
use offhook_tests::{Server, Signal, audio, conversation, said};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// What is waited for must have happened by then.
const PATIENCE: Duration = Duration::from_secs(60);

const CALLER: &str = "+31612345678";

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A server that answers the calls of this 3CX system.
async fn server(pbx: &FakeThreeCx, flags: &[&str], more: &[(&str, &str)]) -> Server {
    let (url, options) = (pbx.url(), pbx.options().clone());
    let ours = [
        ("OFFHOOK_THREECX_BASE_URL", url.as_str()),
        ("THREECX_CLIENT_ID", &options.client_id),
        ("THREECX_CLIENT_SECRET", &options.client_secret),
        ("OFFHOOK_THREECX_DN", &options.dn),
    ];
    let server = Server::start_with(flags, &[&ours[..], more].concat()).await;
    until("the event socket is open", || pbx.sockets() == 1).await;
    server
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up, "{what}: not in time");
        sleep(ms(10)).await;
    }
}

async fn over(call: &RungCall) -> Ending {
    timeout(PATIENCE, call.over()).await.expect("the call ends")
}

/// The call's end of what the agent says, as it is heard on a line that changes nothing.
fn spoken(text: &str) -> Vec<i16> {
    let ulaw = audio::spoken_sentences(text);
    let mut samples = vec![0; ulaw.len()];
    g711::decode_ulaw(&ulaw, &mut samples);
    samples
}

/// Where `wanted` stands in what was heard, sample by sample.
fn find(heard: &Heard, wanted: &[i16]) -> Option<usize> {
    // A sentence begins with silence, which is everywhere.
    let first = wanted.iter().position(|sample| sample.unsigned_abs() > 500).unwrap();
    let wanted = &wanted[first..];
    heard.samples.windows(wanted.len()).position(|window| window == wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_greeted_understood_answered_and_put_down_by_the_agent() {
    let pbx = FakeThreeCx::start().await;
    let fakes = FakeVendors::start().await;
    fakes.deepgram(["I would like to book a table.", "Thank you, goodbye."]);
    fakes.answer(&json!({"content": "Of course, for tomorrow at nine. What else?"})).unwrap();
    fakes
        .answer(&json!({"content": "Goodbye.", "tool_calls": [{"name": "end_call", "arguments": {}}]}))
        .unwrap();
    let (deepgram, openai) = (fakes.base_url(Vendor::Deepgram), fakes.base_url(Vendor::OpenAi));
    let variables = [
        ("OFFHOOK_AGENT", "openai"),
        ("OFFHOOK_EARS", "deepgram"),
        ("OFFHOOK_DEEPGRAM_BASE_URL", &deepgram),
        ("OFFHOOK_OPENAI_BASE_URL", &openai),
        ("DEEPGRAM_API_KEY", "k"),
        ("OPENAI_API_KEY", "k"),
        ("OFFHOOK_AGENT_GREETING", "Hello. How can I help you?"),
    ];
    let server = server(&pbx, &[], &variables).await;
    let steps = [
        Step::UntilSilent(ms(1_200)),
        Step::recording("two_hundred"),
        Step::UntilSilent(ms(1_200)),
        Step::recording("tomorrow"),
    ];
    let call = pbx.ring(Caller::who(CALLER, steps));
    assert_eq!(over(&call).await, Ending::Dropped, "the agent hangs up");

    let record = server.record(&call.call_id()).await;
    assert_eq!((&record["carrier"], &record["from"]), (&json!("threecx"), &json!(CALLER)));
    assert_eq!(record["end_reason"], "agent-hangup");
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
    let heard = call.heard();
    assert!(find(&heard, &spoken("Goodbye.")).is_some(), "to the last sample");
    assert!(heard.ahead_max <= ms(200), "{:?} of it waited at 3CX", heard.ahead_max);
    conversation::assert_files(&server, &record).await;
    let timeline = server.timeline(&call.call_id()).await;
    let trouble = |(kind, _): &&(String, Value)| {
        conversation::TROUBLE.contains(&kind.as_str()) || kind == "mark_missing"
    };
    let trouble: Vec<_> = timeline.iter().filter(trouble).collect();
    assert!(trouble.is_empty(), "{trouble:?}");
}

/// When the engine decided so, by the clock of this process.
async fn decided_at(server: &Server, call: &str, decision: &str) -> Instant {
    let record = server.record(call).await;
    let answered: jiff::Timestamp = record["answered_at"].as_str().unwrap().parse().unwrap();
    let timeline = server.get(&format!("/v1/calls/{call}/timeline?limit=10000")).await.json();
    let entries = timeline["events"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["data"]["decision"] == decision).unwrap();
    let at = answered + Duration::from_micros(entry["at_us"].as_u64().unwrap());
    Instant::now() - jiff::Timestamp::now().duration_since(at).unsigned_abs()
}

const GREETING: &str =
    "Hello, and thank you for calling. I have four short questions. How many people work at your company?";

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_agent_is_silent_within_a_tenth_of_a_second_though_nothing_can_be_taken_back() {
    let pbx = FakeThreeCx::start().await;
    let server = server(&pbx, &["--speech", "keypad"], &[]).await;
    let steps = [
        Step::UntilHeard(ms(1_600)),
        Step::recording("thank_you_for_your_patience"),
        Step::UntilSilent(ms(1_500)),
        Step::HangUp,
    ];
    let call = pbx.ring(Caller::who(CALLER, steps));
    assert_eq!(over(&call).await, Ending::Caller);
    let record = server.record(&call.call_id()).await;
    assert_eq!(record["end_reason"], "caller-hangup");
    let turns = record["turns"].as_array().unwrap();
    let (cut, unheard) = (turns[0]["text"].as_str().unwrap(), turns[0]["unheard"].as_str().unwrap());
    assert_eq!(format!("{cut} {unheard}"), GREETING, "the history is cut between two words");

    let decided = decided_at(&server, &call.call_id(), "barge_in").await;
    let heard = call.heard();
    // The first silence of half a second that begins around the decision or after it.
    let around = (decided - heard.since.unwrap()).as_micros() as usize / 125 - 800;
    let quiet = heard.samples[around..]
        .windows(4_000)
        .position(|window| window.iter().all(|s| s.unsigned_abs() < 256));
    let silent_at = heard.time_of(around + quiet.unwrap()).unwrap();
    let after = silent_at.saturating_duration_since(decided);
    assert!(after <= ms(100), "the agent was heard for {after:?} after the decision");
    assert!(heard.ahead_max <= ms(200), "{:?} of it waited at 3CX", heard.ahead_max);
    conversation::assert_files(&server, &record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_rings_on_is_answered_and_keys_are_understood() {
    let pbx = FakeThreeCx::with(Options { connects_after: None, ..Options::default() }).await;
    let scenario = conversation::scenario();
    let path = scenario.path().to_str().unwrap();
    let server = server(&pbx, &["--speech", "keypad", "--scenario", path], &[]).await;
    let steps = [Step::UntilSilent(ms(1_000)), Step::Keys("1".into())];
    let call = pbx.ring(Caller::who(CALLER, steps));
    assert_eq!(over(&call).await, Ending::Dropped);
    let record = server.record(&call.call_id()).await;
    assert_eq!(record["recorded"], json!({ "well": "yes", "outcome": "done" }), "{record:#}");
    assert!(pbx.requests().iter().any(|asked| asked.path.ends_with("/answer") && asked.status == 200));
    assert!(find(&call.heard(), &spoken("Goodbye.")).is_some(), "to the last sample");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outlives_its_streams_its_token_and_the_event_socket() {
    let pbx = FakeThreeCx::with(Options { one_token: true, ..Options::default() }).await;
    let scenario = conversation::scenario();
    let path = scenario.path().to_str().unwrap();
    let server = server(&pbx, &["--speech", "keypad", "--scenario", path], &[]).await;
    let call = pbx.ring(Caller::new(CALLER));
    let line = |fault| Fault::Line { id: call.id(), fault };
    let first = spoken("Good day, and thank you very much for calling.");
    until("the greeting begins", || call.heard().first_audible(0).is_some()).await;
    pbx.fail(Fault::ExpireTokens);
    pbx.fail(line(LineFault::BreakGet));
    pbx.fail(Fault::DropSockets);
    let streams = || pbx.requests().iter().filter(|asked| asked.path.ends_with("/stream")).count();
    until("its audio is streamed again", || streams() >= 2).await;
    until("events come again", || pbx.sockets() == 1).await;
    pbx.fail(line(LineFault::CloseGet));
    pbx.fail(line(LineFault::ClosePost));
    until("both have ended", || streams() >= 4).await;
    // The greeting was said over all that; the question is asked anew once nobody answers it.
    call.then([Step::UntilSilent(ms(1_000)), Step::Keys("1".into())]);
    assert_eq!(over(&call).await, Ending::Dropped);
    let record = server.record(&call.call_id()).await;
    assert_eq!(
        (&record["end_reason"], &record["recorded"]["outcome"]),
        (&json!("agent-hangup"), &json!("done"))
    );
    assert!(!first.is_empty() && find(&call.heard(), &spoken("Goodbye.")).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_never_told_ends_the_call_and_so_do_streams_that_are_lost() {
    let pbx = FakeThreeCx::start().await;
    let server = server(&pbx, &["--speech", "keypad"], &[]).await;
    let call = pbx.ring(Caller::new(CALLER));
    until("the greeting begins", || call.heard().first_audible(0).is_some()).await;
    pbx.fail(Fault::status("/callcontrol/ws", 3, 503));
    pbx.fail(Fault::DropSockets);
    until("nobody listens", || pbx.sockets() == 0).await;
    call.hang_up();
    assert_eq!(server.record(&call.call_id()).await["end_reason"], "caller-hangup");

    until("events come again", || pbx.sockets() == 1).await;
    let lost = pbx.ring(Caller::new(CALLER));
    until("the greeting begins", || lost.heard().first_audible(0).is_some()).await;
    pbx.fail(Fault::status("GET /callcontrol/900/participants", 1_000, 503));
    pbx.fail(Fault::Line { id: lost.id(), fault: LineFault::BreakGet });
    assert_eq!(over(&lost).await, Ending::Dropped, "nobody is left in silence");
    assert_eq!(server.record(&lost.call_id()).await["end_reason"], "leg-lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_be_answered_is_put_through_and_who_finds_no_room_is_dropped() {
    let pbx = FakeThreeCx::start().await;
    let fakes = FakeVendors::start().await;
    fakes.deepgram(["Can you help me?"]);
    fakes.fail(
        "/openai/v1/chat",
        100,
        offhook_fixtures::vendors::faults::Fault { status: Some(401), ..Default::default() },
    );
    let (deepgram, openai) = (fakes.base_url(Vendor::Deepgram), fakes.base_url(Vendor::OpenAi));
    let config = tempfile::NamedTempFile::new().unwrap();
    let file = "fallback_number = '+15005550001'\ncalls_max = 1\n[call]\napology = 'I am sorry. Somebody will help you.'";
    std::fs::write(config.path(), file).unwrap();
    let variables = [
        ("OFFHOOK_CONFIG", config.path().to_str().unwrap()),
        ("OFFHOOK_AGENT", "openai"),
        ("OFFHOOK_EARS", "deepgram"),
        ("OFFHOOK_DEEPGRAM_BASE_URL", &deepgram),
        ("OFFHOOK_OPENAI_BASE_URL", &openai),
        ("DEEPGRAM_API_KEY", "k"),
        ("OPENAI_API_KEY", "k"),
        ("OFFHOOK_AGENT_GREETING", "Hello."),
    ];
    let server = server(&pbx, &[], &variables).await;
    let call = pbx.ring(Caller::who(CALLER, [Step::UntilSilent(ms(1_000)), Step::recording("hello")]));
    until("the greeting begins", || call.heard().first_audible(0).is_some()).await;
    let second = pbx.ring(Caller::new("+31687654321"));
    assert_eq!(over(&second).await, Ending::Dropped);
    let refused = server.record(&second.call_id()).await;
    assert!(refused["end_reason"].as_str().unwrap().starts_with("refused"), "{refused:#}");
    assert_eq!(over(&call).await, Ending::Transferred("+15005550001".into()));
    assert_eq!(server.record(&call.call_id()).await["end_reason"], "agent-failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_drops_its_calls() {
    let pbx = FakeThreeCx::start().await;
    let mut server = server(&pbx, &["--speech", "keypad"], &[]).await;
    let call = pbx.ring(Caller::new(CALLER));
    until("the greeting begins", || call.heard().first_audible(0).is_some()).await;
    server.signal(Signal::Interrupt);
    assert_eq!(over(&call).await, Ending::Dropped);
    assert!(server.ended().await.success());
}

/// What VoiceClone answers to 3CX's webhook that tells of this call.
async fn told_of(server: &Server, call: &RungCall) -> Value {
    let body = json!({"event_type": "IncomingCall", "call_id": call.call_id(), "caller_id": CALLER, "direction": "In"});
    let headers = [("content-type", "application/json")];
    let path = "/voiceclone/webhook/3cx";
    let answer = server.ask(hyper::Method::POST, path, &headers, &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Whether what was heard between these samples is a cloned voice of the double's; none if nobody spoke.
fn is_clone(heard: &[i16]) -> Option<bool> {
    let audible = heard.iter().any(|sample| sample.unsigned_abs() >= 1_000);
    audible.then(|| is_cloned(heard, 8_000))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_greeted_cloned_and_hears_the_clone_from_the_next_sentence_and_on_the_next_call() {
    let pbx = FakeThreeCx::start().await;
    let fakes = FakeVendors::start().await;
    fakes.deepgram(["Can I book a table for two hundred?", "Are you open tomorrow?"]);
    for content in ["Of course.", "We are open from nine to five."] {
        fakes.answer(&json!({"content": content})).unwrap();
    }
    let [deepgram, openai, elevenlabs] =
        [Vendor::Deepgram, Vendor::OpenAi, Vendor::ElevenLabs].map(|vendor| fakes.base_url(vendor));
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), "[voiceclone]\nconsent = 'given'\nspeech_seconds = 3").unwrap();
    let variables = [
        ("OFFHOOK_CONFIG", config.path().to_str().unwrap()),
        ("OFFHOOK_AGENT", "openai"),
        ("OFFHOOK_EARS", "deepgram"),
        ("OFFHOOK_VOICES", "elevenlabs"),
        ("OFFHOOK_ELEVENLABS_VOICE", "21m00Tcm4TlvDq8ikWAM"),
        ("OFFHOOK_DEEPGRAM_BASE_URL", &deepgram),
        ("OFFHOOK_OPENAI_BASE_URL", &openai),
        ("OFFHOOK_ELEVENLABS_BASE_URL", &elevenlabs),
        ("DEEPGRAM_API_KEY", "k"),
        ("OPENAI_API_KEY", "k"),
        ("ELEVENLABS_API_KEY", "k"),
        ("OFFHOOK_AGENT_GREETING", "Hello. How can I help you?"),
    ];
    let server = server(&pbx, &[], &variables).await;
    let parts =
        ["thank_you_for_your_patience", "fifty_thousand", "two_hundred", "thank_you_for_your_patience"];
    let long = parts.map(Step::recording).into_iter().flat_map(|step| match step {
        Step::Say(samples) => samples,
        _ => Vec::new(),
    });
    let steps = [
        Step::UntilSilent(ms(1_200)),
        Step::Say(long.collect()),
        Step::UntilSilent(ms(1_200)),
        Step::recording("tomorrow"),
        Step::UntilSilent(ms(1_200)),
        Step::HangUp,
    ];
    let first = pbx.ring(Caller::who(CALLER, steps));
    let told = told_of(&server, &first).await;
    assert_eq!(told["cloned_voice_id"], "pending");
    assert_eq!(over(&first).await, Ending::Caller);
    let heard = first.heard();
    let greeting = heard.first_audible(0).unwrap();
    assert_eq!(
        is_clone(&heard.samples[greeting..greeting + 8_000]),
        Some(false),
        "greeted in the voice of the settings"
    );
    let last = heard.samples.rchunks(24_000).find(|piece| is_clone(piece).is_some()).unwrap();
    assert_eq!(is_clone(last), Some(true), "and answered in the caller's own");
    let made = fakes.made_voices();
    assert_eq!(made.len(), 1);

    let second = pbx.ring(Caller::who(CALLER, [Step::UntilSilent(ms(1_200)), Step::HangUp]));
    let told = told_of(&server, &second).await;
    assert_eq!((&told["cloned_voice_id"], &told["status"]), (&json!(made[0].id), &json!("success")));
    assert_eq!(over(&second).await, Ending::Caller);
    let heard = second.heard();
    assert_eq!(is_clone(&heard.samples), Some(true), "from the first word on");
    let statistics = server.get("/voiceclone/api/v1/statistics").await.json();
    let figures =
        ["total_clones", "cache_hits", "cache_misses", "total_calls"].map(|name| statistics[name].clone());
    assert_eq!(figures, [1, 1, 1, 2].map(|figure| json!(figure)));
    assert!(statistics["avg_creation_time_ms"].as_f64().unwrap() > 0.0, "{statistics}");

    let path = format!("/voiceclone/api/v1/cache/{CALLER}").replace('+', "%2B");
    let gone = server.ask(hyper::Method::DELETE, &path, &[], "").await;
    assert_eq!(gone.json()["success"], true, "{}", gone.text());
    until("the voice is taken away", || fakes.made_voices().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_webhook_told_of_and_its_audio_are_one_call() {
    let pbx = FakeThreeCx::start().await;
    let server = server(&pbx, &["--speech", "keypad"], &[]).await;
    let webhook = async |call: &RungCall| told_of(&server, call).await["call_id"].clone();
    // The webhook comes while the call rings, or once it is answered: the race is the test's to lose either way.
    let early = pbx.ring(Caller::new(CALLER));
    let told_early = webhook(&early).await;
    let late = pbx.ring(Caller::new(CALLER));
    until("the greeting begins", || late.heard().first_audible(0).is_some()).await;
    let told_late = webhook(&late).await;
    until("the greeting begins", || early.heard().first_audible(0).is_some()).await;
    for (call, told) in [(early, told_early), (late, told_late)] {
        call.hang_up();
        let record = server.record(&call.call_id()).await;
        assert_eq!((&record["id"], &record["end_reason"]), (&told, &json!("caller-hangup")));
    }
    let all = server.get("/v1/calls").await.json();
    assert_eq!(all["calls"].as_array().unwrap().len(), 2, "{all:#}");
}
