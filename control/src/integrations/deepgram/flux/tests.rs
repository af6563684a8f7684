use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{FakeVendors, Limits, Message, Vendor};
use serde_json::{Value, json};

use super::super::testing::{Call, Server, only_request};
use super::*;

const KEY: &str = "0123456789abcdef";
/// As long as no test takes.
const LONG: Duration = Duration::from_secs(15);

/// A double that listens as fast as it can.
async fn fakes() -> FakeVendors {
    FakeVendors::with(Limits { deepgram_speed: 1_000.0, ..Limits::default() }).await
}

fn options(fakes: &FakeVendors) -> Options {
    let base = fakes.base_url(Vendor::Deepgram).parse().unwrap();
    Options { silence_max: LONG, ..Options::new(base, Secret::new(KEY)) }
}

fn call(options: Options) -> Call {
    Call::begin(Flux::new(options).unwrap())
}

#[tokio::test]
async fn a_turn_that_is_over_ends_the_utterance_before_and_after_it_has_ended() {
    let fakes = fakes().await;
    fakes.deepgram(["Book a table.", "Thank you."]);
    let mut call = call(options(&fakes));
    call.starts(1).await;
    call.speaks(&[(true, 1_000), (false, 400)]).await;
    assert_eq!(call.words_of(1).await, ["Book", "Book a", "Book a table.", "Book a table."]);
    // What still comes of it is nobody's.
    call.ends(1).await;
    call.says(2, &[(true, 810)]).await;
    assert_eq!(call.last_words_of(2).await, "Thank you.", "of silence there was none yet");
    call.assert_silent();
    call.hang_up().await.unwrap();

    let asked = only_request(&fakes).await;
    let names: Vec<&str> = asked.query.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["model", "encoding", "sample_rate", "eot_threshold", "eot_timeout_ms"]);
    assert_eq!(asked.texts(), [&json!({"type": "CloseStream"})]);
    let Message::Binary { messages, bytes } = asked.messages[0] else { panic!("{asked:?}") };
    assert_eq!(bytes, messages * 640, "80 ms each");
}

#[tokio::test]
async fn a_turn_that_does_not_end_is_ended_after_so_much_silence() {
    let fakes = fakes().await;
    fakes.deepgram(["Book a table.", "Thank you."]);
    let silence_max = Duration::from_secs(1);
    let mut call = call(Options { eot_threshold: 1.0, silence_max, ..options(&fakes) });
    for (utterance, words) in [(1, "Book a table."), (2, "Thank you.")] {
        call.says(utterance, &[(true, 800)]).await;
        assert_eq!(call.last_words_of(utterance).await, words, "no word of another turn");
    }
    call.hang_up().await.unwrap();
    let force = json!({"type": "ForceEndTurn"});
    assert_eq!(only_request(&fakes).await.texts(), [&force, &force, &json!({"type": "CloseStream"})]);
}

#[tokio::test]
async fn an_utterance_without_words_has_none_soon() {
    let fakes = fakes().await;
    let mut call = call(options(&fakes));
    call.says(1, &[(false, 500)]).await;
    assert_eq!(call.words_of(1).await, [""]);
    call.says(2, &[]).await;
    assert_eq!(call.words_of(2).await, [""]);
    call.hang_up().await.unwrap();
}

#[tokio::test]
async fn terms_and_languages_are_asked_for_as_they_are_set() {
    let fakes = fakes().await;
    let options = Options {
        model: "flux-general-multi".into(),
        language_hints: vec!["de".into(), "en".into()],
        keyterms: vec!["Offhook & Söhne".into()],
        ..options(&fakes)
    };
    call(options).hang_up().await.unwrap();
    let asked = only_request(&fakes).await;
    let more = asked.query.iter().skip(5).map(|(name, value)| (name.as_str(), value.as_str()));
    assert_eq!(
        more.collect::<Vec<_>>(),
        [("keyterm", "Offhook & Söhne"), ("language_hint", "de"), ("language_hint", "en")]
    );
}

#[tokio::test]
async fn each_fault_has_its_name() {
    for (text, why) in [
        ("status=401", Failure::Unauthorised),
        ("status=402", Failure::Unpaid),
        ("status=429", Failure::Busy),
        ("status=500", Failure::Faulty),
        ("latency=3s", Failure::Unreachable),
        ("stall_after=1600", Failure::Slow),
        ("slow=0.1", Failure::Slow),
        ("close=1000@3200", Failure::BrokenOff),
        ("close=1011@3200", Failure::Faulty),
        ("malformed@3200", Failure::Malformed),
    ] {
        let fakes = fakes().await;
        fakes.fail("/deepgram/v2/listen", 1, Fault::parse(text).unwrap());
        let call = call(Options { silence_max: Duration::from_millis(200), ..options(&fakes) });
        call.says(1, &[(true, 3_000)]).await;
        let error = call.failed().await;
        assert_eq!(error.why, why, "{text}: {error}");
        assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    }
}

#[tokio::test]
async fn to_want_no_more_closes_the_connection() {
    let fakes = fakes().await;
    let mut call = call(options(&fakes));
    call.starts(1).await;
    call.speaks(&[(true, 1_000)]).await;
    assert_eq!(call.next().await.text, "one");
    call.abandon().await;
    assert_eq!(only_request(&fakes).await.ended, Some("client"));
}

fn scripted(server: &Server) -> Call {
    call(Options { silence_max: LONG, ..Options::new(server.url.parse().unwrap(), Secret::new(KEY)) })
}

fn connected() -> Value {
    json!({"type": "Connected", "request_id": "r", "sequence_id": 0})
}

fn turn(event: &str, (start, end): (f64, f64), words: &[(&str, f64)]) -> Value {
    let texts: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let words = words.iter().map(|(word, start)| json!({"word": word, "start": start, "end": start + 0.2}));
    json!({
        "type": "TurnInfo", "request_id": "r", "sequence_id": 1, "event": event, "turn_index": 0,
        "audio_window_start": start, "audio_window_end": end, "transcript": texts.join(" "),
        "words": words.collect::<Vec<_>>(), "end_of_turn_confidence": 0.5, "news": {},
    })
}

#[tokio::test]
async fn a_turn_is_told_anew_each_time_and_one_that_is_resumed_goes_on() {
    let server = Server::start();
    let mut call = scripted(&server);
    let mut peer = server.accept().await;
    peer.send(connected()).await;
    call.starts(1).await;
    call.speaks(&[(true, 1_600)]).await;
    peer.audio(12_800).await;
    let (a, b) = (("A", 0.2), ("table", 0.5));
    peer.send(turn("StartOfTurn", (0.0, 0.4), &[a])).await;
    peer.send(json!({"type": "Warning", "code": "W", "description": "d"})).await;
    peer.send(turn("EagerEndOfTurn", (0.0, 0.8), &[a, b])).await;
    peer.send(turn("TurnResumed", (0.0, 1.0), &[a, b])).await;
    peer.send(turn("Update", (0.0, 1.2), &[("The", 0.2), b])).await;
    peer.send(turn("EndOfTurn", (0.0, 1.6), &[("The", 0.2), ("table.", 0.5)])).await;
    assert_eq!(call.words_of(1).await, ["A", "A table", "The table", "The table."]);
}

#[tokio::test]
async fn words_of_a_turn_that_went_on_are_not_those_of_the_next_utterance() {
    let server = Server::start();
    let mut call = scripted(&server);
    let mut peer = server.accept().await;
    peer.send(connected()).await;
    call.starts(1).await;
    call.speaks(&[(true, 800)]).await;
    peer.audio(6_400).await;
    peer.send(turn("StartOfTurn", (0.0, 0.5), &[("Hello", 0.2)])).await;
    assert_eq!(call.next().await.text, "Hello");
    call.starts(2).await;
    assert_eq!(call.words_of(1).await, ["Hello"]);
    peer.audio_until("ForceEndTurn").await;
    call.speaks(&[(true, 800)]).await;
    peer.audio(6_400).await;
    peer.send(turn("EndOfTurn", (0.0, 0.8), &[("Hello", 0.2), ("you", 0.6)])).await;
    peer.send(turn("Update", (0.0, 1.2), &[("Hello", 0.2), ("you", 0.6), ("Stop", 1.0)])).await;
    peer.send(turn("EndOfTurn", (0.8, 1.6), &[("Stop.", 1.0)])).await;
    assert_eq!(call.words_of(2).await, ["Stop", "Stop."]);
}

#[tokio::test]
async fn where_nobody_speaks_a_little_silence_keeps_the_connection() {
    let server = Server::start();
    let base = server.url.parse().unwrap();
    let call =
        call(Options { keep_alive: Duration::from_millis(50), ..Options::new(base, Secret::new(KEY)) });
    let mut peer = server.accept().await;
    peer.send(connected()).await;
    peer.audio(3 * 640).await;
    let (peer, call) = tokio::join!(
        async {
            peer.audio_until("CloseStream").await;
            peer.close(1000, "").await;
        },
        call.hang_up()
    );
    let () = peer;
    call.unwrap();
}

#[tokio::test]
async fn a_connection_that_idled_away_is_replaced_and_its_clock_begins_anew() {
    let server = Server::start();
    let mut call = scripted(&server);
    for utterance in 1..=2 {
        let mut peer = server.accept().await;
        peer.send(connected()).await;
        call.starts(utterance).await;
        call.speaks(&[(true, 800)]).await;
        peer.audio(6_400).await;
        peer.send(turn("EndOfTurn", (0.0, 0.8), &[("Hello.", 0.2)])).await;
        assert_eq!(call.last_words_of(utterance).await, "Hello.");
        peer.close(1011, "NET-0001: nothing was received").await;
    }
    server.accept().await.close(1011, "NET-0001: nothing was received").await;
    assert_eq!(call.failed().await.why, Failure::BrokenOff);
}

#[tokio::test]
async fn without_a_welcome_it_is_slow_and_an_error_is_told_for_the_log() {
    let server = Server::start();
    let waiting = scripted(&server);
    let _mute = server.accept().await;
    assert_eq!(waiting.failed().await.why, Failure::Slow);
    for (code, why) in [("INTERNAL_SERVER_ERROR", Failure::Faulty), ("UNPARSABLE", Failure::Refused)] {
        let call = scripted(&server);
        let mut peer = server.accept().await;
        let description = format!("not {KEY}");
        peer.send(json!({"type": "Error", "sequence_id": 0, "code": code, "description": description})).await;
        let error = call.failed().await;
        assert_eq!(error.why, why);
        let detail = format!("an error in the stream, {code}: not … (request id-of-the-test)");
        assert_eq!(error.detail, detail);
    }
}
