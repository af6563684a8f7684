//! Against the fake of Cartesia, over real sockets.

use std::time::Duration;

use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{BAD_KEY, CHARACTER_MS, FakeVendors, Limits, Vendor, count_words};

use super::*;
use crate::integrations::testing::{Came, again, cancelled, ended, speak};

const TEXT: &str = "We open at nine, and close at five.";
const SECRET: &str = "sk-car-very-secret-0123456789";
const PATH: &str = "/cartesia/tts/websocket";

fn options(fakes: &FakeVendors) -> Options {
    Options {
        base: fakes.base_url(Vendor::Cartesia).parse().unwrap(),
        key: Secret::new(SECRET),
        version: VERSION.into(),
        voice: "694f9389-aac1-45b6-b726-9d9369183238".into(),
        model: "sonic-3".into(),
        language: Some("en".into()),
        speed: Some(1.1),
    }
}

fn line(fakes: &FakeVendors) -> Box<dyn VoiceLine> {
    Cartesia::new(options(fakes)).unwrap().line()
}

/// A line that does by itself what it does at these times.
fn line_with(fakes: &FakeVendors, times: Times) -> Box<dyn VoiceLine> {
    let mut client = Arc::into_inner(Cartesia::new(options(fakes)).unwrap().0).unwrap();
    client.times = times;
    Cartesia(Arc::new(client)).line()
}

/// What comes of the text under this fault.
async fn under(fault: &str) -> Came {
    let fakes = FakeVendors::start().await;
    fakes.fail(PATH, 1, Fault::parse(fault).unwrap());
    let came = speak(&mut *line(&fakes), TEXT).await;
    assert!(!format!("{came:?}").contains(SECRET), "{came:?}");
    came
}

/// So many characters of speech.
fn length(characters: usize) -> usize {
    characters * CHARACTER_MS * 8
}

#[tokio::test]
async fn speech_comes_as_it_is_and_every_word_has_its_place() {
    let fakes = FakeVendors::start().await;
    let came = speak(&mut *line(&fakes), TEXT).await;
    assert_eq!(came.ended, Ok(()));
    assert_eq!((came.ulaw.len(), count_words(&came.samples(), 8_000)), (length(TEXT.len()), 8));
    assert!(came.pieces > 3, "as it comes: {}", came.pieces);
    assert_eq!(came.early, 0, "what is placed has begun");
    let at = |word: &str| length(TEXT.find(word).unwrap()) as u32;
    let placed = came.placed(TEXT);
    assert_eq!(placed.len(), 8);
    assert_eq!(placed[..4], [("We", 0), ("open", at("open")), ("at", at("at")), ("nine,", at("nine"))]);
    assert_eq!(placed[7], ("five.", at("five")));
    let asked = &fakes.requests()[0];
    let texts = asked.texts();
    let wanted = json!({
        "model_id": "sonic-3", "context_id": texts[0]["context_id"], "transcript": TEXT, "continue": false,
        "voice": {"mode": "id", "id": "694f9389-aac1-45b6-b726-9d9369183238"},
        "output_format": {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8_000},
        "add_timestamps": true, "max_buffer_delay_ms": 0, "language": "en", "generation_config": {"speed": 1.1},
    });
    assert_eq!(texts, [&wanted]);
    assert_eq!(asked.header("authorization"), Some("Bearer …6789"));
    assert_eq!(asked.header("cartesia-version"), Some(VERSION));
    assert!(asked.header("user-agent").unwrap().starts_with("offhook/"));
}

#[tokio::test]
async fn one_socket_does_for_warming_and_for_one_text_after_the_other_and_closes_with_its_line() {
    let fakes = FakeVendors::start().await;
    let mut line = line(&fakes);
    assert_eq!(line.warm().await, Ok(()));
    for _ in 0..7 {
        assert_eq!(speak(&mut *line, "Yes.").await.ended, Ok(()));
    }
    assert_eq!(fakes.requests().len(), 1);
    drop(line);
    assert_eq!(ended(&fakes).await[0].ended, Some("client"));
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_known_before_it_is_needed() {
    let fakes = FakeVendors::start().await;
    let check = async |options: Options| Cartesia::new(options).unwrap().check().await;
    assert_eq!(check(options(&fakes)).await, Ok(()));
    let bad = Options { key: Secret::new(BAD_KEY), ..options(&fakes) };
    let error = check(bad.clone()).await.unwrap_err();
    assert!(error.why == Failure::Unauthorised && !error.detail.contains(BAD_KEY), "{error:?}");
    assert_eq!(Cartesia::new(bad).unwrap().line().warm().await.unwrap_err().why, Failure::Unauthorised);
    let no_version = Options { version: "latest".into(), ..options(&fakes) };
    assert_eq!(check(no_version).await.unwrap_err().why, Failure::Refused);
    let closed = Options { base: "http://127.0.0.1:1".parse().unwrap(), ..options(&fakes) };
    assert_eq!(check(closed).await.unwrap_err().why, Failure::Unreachable);
}

#[tokio::test]
async fn each_refusal_has_its_reason() {
    for (status, why) in [
        (401, Failure::Unauthorised),
        (402, Failure::Unpaid),
        (404, Failure::Refused),
        (429, Failure::Busy),
        (500, Failure::Faulty),
    ] {
        let error = under(&format!("status={status}")).await.ended.unwrap_err();
        assert_eq!(error.why, why, "{error}");
        assert!(error.detail.contains(&status.to_string()) && error.detail.contains("(request "), "{error}");
    }
}

#[tokio::test]
async fn an_error_of_a_context_is_that_of_its_text_and_the_socket_goes_on() {
    for version in [VERSION, "2025-04-16"] {
        let fakes = FakeVendors::start().await;
        let wrong = Options { voice: "no-such-voice".into(), version: version.into(), ..options(&fakes) };
        let mut line = Cartesia::new(wrong).unwrap().line();
        for _ in 0..2 {
            let error = speak(&mut *line, TEXT).await.ended.unwrap_err();
            assert!(error.why == Failure::Refused && error.detail.contains("Voice not found"), "{error:?}");
        }
        assert_eq!(fakes.requests().len(), 1, "{version}");
    }
}

#[test]
fn errors_are_told_with_and_without_a_context_and_what_is_unknown_does_not_matter() {
    let options = Options {
        base: "http://127.0.0.1:1".parse().unwrap(),
        key: Secret::new(SECRET),
        version: VERSION.into(),
        voice: "v".into(),
        model: "m".into(),
        language: None,
        speed: None,
    };
    let client = Cartesia::new(options).unwrap().0;
    assert!(!format!("{client:?}").contains(SECRET));
    let error = |message: Value| match client.read(&message).unwrap().pop() {
        Some(Said::Failed { context, error }) => (context, error.why, error.detail),
        other => panic!("{other:?}"),
    };
    let full = json!({
        "type": "error", "context_id": "c", "status_code": 429, "error_code": "concurrency_limited", "title": "Busy",
        "message": format!("{SECRET} speaks too much"), "request_id": "r7",
    });
    let text = "status 429, concurrency_limited: … speaks too much (request r7)";
    assert_eq!(error(full), (Some("c".into()), Failure::Busy, text.into()));
    let bare = json!({"type": "error", "error": "Bad: thing", "status_code": 400});
    assert_eq!(error(bare), (None, Failure::Refused, "status 400: Bad: thing".into()));
    assert_eq!(error(json!({"type": "error"})).1, Failure::Faulty);
    for nothing in [
        json!({"type": "flush_done", "context_id": "c", "flush_done": true}),
        json!({"type": "phoneme_timestamps", "context_id": "c"}),
        json!({"type": "chunk", "data": "/w=="}),
        json!([]),
    ] {
        assert!(client.read(&nothing).unwrap().is_empty(), "{nothing}");
    }
    assert!(client.read(&json!({"type": "chunk", "context_id": "c", "data": "?"})).is_err());
}

#[tokio::test]
async fn what_breaks_off_gives_what_there_was_and_the_next_text_has_another_socket() {
    for (fault, why) in [("close=1011@3000", Failure::Faulty), ("malformed@3000", Failure::Malformed)] {
        let fakes = FakeVendors::start().await;
        fakes.fail(PATH, 1, Fault::parse(fault).unwrap());
        let mut line = line(&fakes);
        let came = speak(&mut *line, TEXT).await;
        assert_eq!((came.ulaw.len(), came.ended.unwrap_err().why), (2_880, why), "{fault}");
        let came = speak(&mut *line, "No.").await;
        assert_eq!((came.ulaw.len(), came.ended), (length(3), Ok(())), "{fault}");
    }
}

#[tokio::test]
async fn latency_and_slow_audio_are_for_others_to_judge() {
    for fault in ["latency=200ms", "slow=4"] {
        let came = under(fault).await;
        assert_eq!((came.words.len(), came.ended), (8, Ok(())), "{fault}");
    }
}

#[tokio::test]
async fn to_drop_a_text_cancels_its_context_and_nothing_of_it_is_in_the_next_one() {
    let fakes = FakeVendors::with(Limits { voice_speed: 2.0, ..Limits::default() }).await;
    let mut line = line(&fakes);
    for _ in 0..3 {
        cancelled(&mut *line, TEXT).await;
    }
    let came = speak(&mut *line, "No.").await;
    assert_eq!((came.ulaw.len(), came.words.len(), came.ended), (length(3), 1, Ok(())));
    let requests = fakes.requests();
    assert_eq!(requests.len(), 1, "on the same socket");
    let texts = requests[0].texts();
    for at in [0, 2, 4] {
        assert_eq!(*texts[at + 1], json!({"context_id": texts[at]["context_id"], "cancel": true}));
    }
}

#[tokio::test]
async fn a_stalled_text_can_be_dropped() {
    let fakes = FakeVendors::start().await;
    fakes.fail(PATH, 1, Fault::parse("stall_after=3000").unwrap());
    let mut line = line(&fakes);
    cancelled(&mut *line, TEXT).await;
    drop(line);
    assert_eq!(ended(&fakes).await[0].texts()[1]["cancel"], true);
}

#[tokio::test]
async fn a_line_whose_socket_went_away_opens_another_one_for_the_next_text() {
    let limits = Limits { cartesia_idle: Duration::from_secs(1), ..Limits::default() };
    let fakes = FakeVendors::with(limits).await;
    let mut line = line(&fakes);
    assert_eq!(speak(&mut *line, "Yes.").await.ended, Ok(()));
    assert_eq!(ended(&fakes).await[0].ended, Some("complete"), "it was idle for too long");
    assert_eq!(speak(&mut *line, "Yes.").await.ended, Ok(()));
    let address = fakes.url().trim_start_matches("http://").parse().unwrap();
    drop(fakes);
    let fakes = again(address).await;
    assert_eq!(speak(&mut *line, "Yes.").await.ended, Ok(()));
    assert_eq!(fakes.requests().len(), 1);
}

#[tokio::test]
async fn a_socket_that_was_idle_for_too_long_is_opened_anew_before_it_is_needed() {
    let limits = Limits { cartesia_idle: Duration::from_millis(200), ..Limits::default() };
    let fakes = FakeVendors::with(limits).await;
    let mut line = line_with(&fakes, Times { settled: Duration::from_millis(100), ..Times::default() });
    line.warm().await.unwrap();
    for _ in 0..1_000 {
        if fakes.requests().len() >= 3 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it stays closed: {:?}", fakes.requests());
}

#[tokio::test]
async fn a_server_that_answers_pings_is_kept() {
    let fakes = FakeVendors::start().await;
    let mut line = line_with(&fakes, Times { ping: Duration::from_millis(100), ..Times::default() });
    for _ in 0..2 {
        assert_eq!(speak(&mut *line, TEXT).await.ended, Ok(()));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(fakes.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_answers_no_ping_is_left() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // It shakes hands, and never reads again.
    let silent = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let socket = tokio_tungstenite::accept_async(socket).await.unwrap();
        std::future::pending::<()>().await;
        drop(socket);
    });
    let fakes = FakeVendors::start().await;
    let client = Client {
        options: Options { base: url.parse().unwrap(), ..options(&fakes) },
        authorization: HeaderValue::from_static("Bearer k"),
        version: HeaderValue::from_static(VERSION),
        times: Times { ping: Duration::from_millis(50), ..Times::default() },
    };
    let came = speak(&mut *Cartesia(Arc::new(client)).line(), TEXT).await;
    let error = came.ended.unwrap_err();
    assert!(error.why == Failure::BrokenOff && error.detail.contains("ping"), "{error:?}");
    silent.abort();
}
