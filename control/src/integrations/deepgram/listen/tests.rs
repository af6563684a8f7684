use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{BAD_KEY, FakeVendors, Limits, Message, Vendor};
use serde_json::{Value, json};

use super::super::testing::{Call, Server, only_request, ulaw};
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
    Options { finalize_wait: LONG, ..Options::new(base, Secret::new(KEY)) }
}

fn call(options: Options) -> Call {
    Call::begin(Deepgram::new(options).unwrap())
}

#[tokio::test]
async fn words_come_while_the_caller_speaks_and_the_last_ones_when_the_utterance_ends() {
    let fakes = fakes().await;
    fakes.deepgram(["Book a table for two.", "Thank you."]);
    let mut call = call(options(&fakes));
    call.says(1, &[(true, 1_300), (false, 410)]).await;
    let words = call.words_of(1).await;
    assert_eq!(words.last().unwrap(), "Book a table for two.");
    assert!(
        words.len() > 2 && words.iter().all(|text| "Book a table for two.".starts_with(text)),
        "{words:?}"
    );
    call.says(2, &[(true, 500), (false, 50)]).await;
    assert_eq!(call.last_words_of(2).await, "Thank you.");
    call.hang_up().await.unwrap();

    let asked = only_request(&fakes).await;
    for (name, value) in [
        ("model", "nova-3"),
        ("language", "en"),
        ("encoding", "mulaw"),
        ("sample_rate", "8000"),
        ("channels", "1"),
        ("interim_results", "true"),
        ("endpointing", "300"),
        ("utterance_end_ms", "1000"),
    ] {
        assert_eq!(asked.parameter(name), Some(value), "{name}");
    }
    assert_eq!(asked.header("authorization"), Some("Token …cdef"));
    assert!(asked.header("user-agent").unwrap().starts_with("offhook/"));
    let finalize = || Message::Text(json!({"type": "Finalize"}));
    let [first, second] = [1_710 * 8, 550 * 8];
    let count = |messages: &Message| match messages {
        Message::Binary { messages, bytes } => (*messages, *bytes),
        other => panic!("{other:?}"),
    };
    assert_eq!(asked.messages[1], finalize());
    assert_eq!(asked.messages[3], finalize());
    assert_eq!(asked.messages[4], Message::Text(json!({"type": "CloseStream"})));
    assert_eq!(count(&asked.messages[0]), (first / 320 + 1, first), "40 ms each, and the rest");
    assert_eq!(count(&asked.messages[2]).1, second);
    assert_eq!(asked.ended, Some("complete"));
}

#[tokio::test]
async fn a_replay_is_sent_in_messages_of_100_ms() {
    let fakes = fakes().await;
    let mut call = call(options(&fakes));
    call.starts(1).await;
    call.did(Caller::Audio(ulaw(&[(true, 1_000), (false, 100)]))).await;
    call.ends(1).await;
    assert_eq!(call.last_words_of(1).await, "one two");
    call.hang_up().await.unwrap();
    let asked = only_request(&fakes).await;
    assert_eq!(asked.messages[0], Message::Binary { messages: 11, bytes: 8_800 });
}

#[tokio::test]
async fn key_terms_language_and_endpointing_are_asked_for_as_they_are_set() {
    let fakes = fakes().await;
    let options = Options {
        language: "multi".into(),
        model: "nova-2-phonecall".into(),
        keyterms: vec!["Offhook & Söhne".into(), "two".into()],
        endpointing: None,
        utterance_end: None,
        smart_format: false,
        ..options(&fakes)
    };
    call(options).hang_up().await.unwrap();
    let asked = only_request(&fakes).await;
    assert_eq!(asked.parameter("language"), Some("multi"));
    assert_eq!(asked.parameter("model"), Some("nova-2-phonecall"));
    assert_eq!(asked.parameter("endpointing"), Some("false"));
    assert_eq!(asked.parameter("utterance_end_ms"), None);
    let terms = asked.query.iter().filter(|(name, _)| name == "keyterm").map(|(_, term)| term.as_str());
    assert_eq!(terms.collect::<Vec<_>>(), ["Offhook & Söhne", "two"]);
}

#[tokio::test]
async fn a_pause_ends_an_utterance_only_where_deepgrams_endpointing_is_wanted() {
    let fakes = fakes().await;
    fakes.deepgram(["Book a table", "for two."]);
    let mut patient = call(options(&fakes));
    let two_parts = [(true, 800), (false, 400), (true, 800), (false, 400)];
    patient.says(1, &two_parts).await;
    assert_eq!(patient.last_words_of(1).await, "Book a table for two.");
    patient.hang_up().await.unwrap();

    fakes.deepgram(["Book a table", "for two."]);
    let mut hasty = call(Options { vendor_endpointing: true, ..options(&fakes) });
    hasty.starts(1).await;
    hasty.speaks(&two_parts[..2]).await;
    assert_eq!(hasty.last_words_of(1).await, "Book a table");
    // What still comes of it is nobody's.
    hasty.speaks(&[(false, 100)]).await;
    hasty.ends(1).await;
    hasty.says(2, &two_parts[2..]).await;
    assert_eq!(hasty.last_words_of(2).await, "for two.");
    hasty.assert_silent();
    hasty.hang_up().await.unwrap();
}

#[tokio::test]
async fn silence_between_utterances_keeps_the_connection() {
    let fakes = FakeVendors::with(Limits {
        deepgram_speed: 1_000.0,
        deepgram_idle: Duration::from_secs(1),
        ..Limits::default()
    })
    .await;
    let keep_alive = Duration::from_millis(150);
    let mut call = call(Options { keep_alive, ..options(&fakes) });
    for utterance in 1..=2 {
        tokio::time::sleep(Duration::from_millis(1_400)).await;
        call.says(utterance, &[(true, 500), (false, 100)]).await;
        assert!(!call.last_words_of(utterance).await.is_empty());
    }
    call.hang_up().await.unwrap();
    let asked = only_request(&fakes).await;
    assert_eq!(asked.messages[0], Message::Binary { messages: 1, bytes: 160 }, "some audio, before words");
    assert_eq!(asked.messages[1], Message::Text(json!({"type": "KeepAlive"})));
}

#[tokio::test]
async fn an_utterance_without_audio_has_no_words_at_once() {
    let fakes = fakes().await;
    let mut call = call(options(&fakes));
    call.says(1, &[]).await;
    assert_eq!(call.words_of(1).await, [""]);
    call.hang_up().await.unwrap();
}

/// What a call meets whose connection has this fault.
async fn fault(fault: &str) -> VendorError {
    let fakes = fakes().await;
    fakes.fail("/deepgram/v1/listen", 1, Fault::parse(fault).unwrap());
    let call = call(Options { finalize_wait: Duration::from_millis(100), ..options(&fakes) });
    call.says(1, &[(true, 3_000), (false, 300)]).await;
    let error = call.failed().await;
    assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    assert!(error.detail.contains("(request ") || fault.starts_with("latency"), "{error:?}");
    error
}

#[tokio::test]
async fn each_fault_has_its_name() {
    for (text, why) in [
        ("status=400", Failure::Refused),
        ("status=401", Failure::Unauthorised),
        ("status=402", Failure::Unpaid),
        ("status=403", Failure::Unauthorised),
        ("status=429", Failure::Busy),
        ("status=500", Failure::Faulty),
        ("status=503", Failure::Faulty),
        ("latency=3s", Failure::Unreachable),
        ("stall_after=1600", Failure::Slow),
        ("slow=0.5", Failure::Slow),
        ("close=1000@3200", Failure::BrokenOff),
        ("close=1008@3200", Failure::Refused),
        ("close=1011@3200", Failure::Faulty),
        ("malformed@3200", Failure::Malformed),
    ] {
        let error = fault(text).await;
        assert_eq!(error.why, why, "{text}: {error}");
    }
}

#[tokio::test]
async fn a_connection_that_comes_late_loses_no_audio() {
    let fakes = fakes().await;
    fakes.fail("/deepgram/v1/listen", 1, Fault::parse("latency=300ms").unwrap());
    let mut call = call(options(&fakes));
    call.says(1, &[(true, 1_000), (false, 100)]).await;
    assert_eq!(call.last_words_of(1).await, "one two");
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_reached() {
    let server = Server::start();
    let options = Options::new(server.url.parse().unwrap(), Secret::new(KEY));
    drop(server);
    assert_eq!(call(options).failed().await.why, Failure::Unreachable);
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

#[tokio::test]
async fn a_check_looks_at_the_key_and_listens_to_nothing() {
    let fakes = fakes().await;
    let ears = |key| Deepgram::new(Options { key: Secret::new(key), ..options(&fakes) }).unwrap();
    ears(KEY).check().await.unwrap();
    assert_eq!(ears(BAD_KEY).check().await.unwrap_err().why, Failure::Unauthorised);
    fakes.fail("/deepgram/v1/projects", 1, Fault::parse("status=503").unwrap());
    assert_eq!(ears(KEY).check().await.unwrap_err().why, Failure::Faulty);
    assert!(fakes.requests().iter().all(|asked| asked.path == "/deepgram/v1/projects"));
}

/// A result for `[start, end]`, in seconds.
fn result(start: f64, end: f64, text: &str, more: Value) -> Value {
    let each = (end - start) / text.split(' ').count() as f64;
    let words = text.split_whitespace().enumerate().map(|(n, word)| {
        let start = start + each * n as f64;
        json!({"word": word, "start": start, "end": start + each})
    });
    let words: Vec<Value> = words.collect();
    let mut result = json!({
        "type": "Results", "start": start, "duration": end - start, "is_final": false, "speech_final": false,
        "channel": {"alternatives": [{"transcript": text, "words": words}]},
    });
    result.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    result
}

fn scripted(server: &Server, finalize_wait: Duration) -> Call {
    let base = server.url.parse().unwrap();
    call(Options { finalize_wait, ..Options::new(base, Secret::new(KEY)) })
}

#[tokio::test]
async fn words_that_come_late_are_not_those_of_the_next_utterance() {
    let server = Server::start();
    let mut call = scripted(&server, LONG);
    call.says(1, &[(true, 1_000)]).await;
    let mut peer = server.accept().await;
    assert_eq!(peer.audio_until("Finalize").await, 8_000);
    peer.send(result(0.0, 0.5, "I", json!({}))).await;
    assert_eq!(call.next().await.text, "I");
    call.says(2, &[(true, 1_000)]).await;
    assert_eq!(call.last_words_of(1).await, "I", "nobody waits for more");
    assert_eq!(peer.audio_until("Finalize").await, 8_000);
    let last = json!({"is_final": true, "from_finalize": true});
    peer.send(result(0.0, 1.0, "I need help", last.clone())).await;
    // Here a range goes from one utterance into the next.
    peer.send(result(0.0, 1.5, "I need please", json!({}))).await;
    assert_eq!(call.next().await.text, "please");
    peer.send(result(1.0, 2.0, "please stop", last)).await;
    assert_eq!(call.words_of(2).await, ["please stop"]);
    call.assert_silent();
}

#[tokio::test]
async fn without_an_answer_the_words_so_far_are_the_last() {
    let server = Server::start();
    let mut call = scripted(&server, Duration::from_millis(50));
    call.says(1, &[(true, 400)]).await;
    let mut peer = server.accept().await;
    peer.audio_until("Finalize").await;
    assert_eq!(call.last_words_of(1).await, "", "a cough");
    call.starts(2).await;
    call.speaks(&[(true, 1_000)]).await;
    peer.audio(8_000).await;
    peer.send(result(0.4, 1.2, "hello", json!({}))).await;
    assert_eq!(call.next().await.text, "hello");
    call.ends(2).await;
    assert_eq!(call.last_words_of(2).await, "hello");
    // Once more there is no answer, and to the next none of any kind.
    call.says(3, &[(true, 400)]).await;
    assert_eq!(call.last_words_of(3).await, "");
    call.says(4, &[(true, 400)]).await;
    let error = call.failed().await;
    assert_eq!(error.why, Failure::Slow, "{error}");
    assert!(error.detail.ends_with("(request id-of-the-test)"), "{error}");
}

#[tokio::test]
async fn ears_that_are_behind_but_go_on_are_waited_for() {
    let server = Server::start();
    let mut call = scripted(&server, Duration::from_millis(400));
    call.says(1, &[(true, 10_000)]).await;
    let mut peer = server.accept().await;
    peer.audio_until("Finalize").await;
    for second in 1..=8 {
        peer.send(result(0.0, f64::from(second), "so much", json!({}))).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    peer.send(result(0.0, 10.0, "so much of it", json!({"is_final": true}))).await;
    assert_eq!(call.words_of(1).await, ["so much", "so much of it"]);
}

#[tokio::test]
async fn an_utterance_end_counts_where_noise_kept_a_pause_from_being_one() {
    let server = Server::start();
    let base = server.url.parse().unwrap();
    let mut call = call(Options { vendor_endpointing: true, ..Options::new(base, Secret::new(KEY)) });
    let mut peer = server.accept().await;
    for (utterance, word_end) in [(1, 0.5), (2, -1.0)] {
        let from = f64::from(utterance - 1) * 2.0;
        call.starts(utterance).await;
        call.speaks(&[(true, 2_000)]).await;
        peer.audio(16_000).await;
        // That of the utterance before, and one without words, end nothing.
        peer.send(json!({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": from - 0.5})).await;
        peer.send(json!({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": -1})).await;
        peer.send(result(from, from + 0.5, "good bye", json!({"is_final": true}))).await;
        assert_eq!(call.next().await.text, "good bye");
        peer.send(json!({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": word_end})).await;
        assert_eq!(call.words_of(utterance).await, ["good bye"]);
    }
    call.assert_silent();
}

#[tokio::test]
async fn a_connection_that_idled_away_is_replaced_and_its_clock_begins_anew() {
    let server = Server::start();
    let mut call = scripted(&server, LONG);
    let last = json!({"is_final": true, "from_finalize": true});
    for utterance in 1..=2 {
        let mut peer = server.accept().await;
        call.says(utterance, &[(true, 1_000)]).await;
        peer.audio_until("Finalize").await;
        peer.send(result(0.0, 1.0, "hello", last.clone())).await;
        assert_eq!(call.last_words_of(utterance).await, "hello");
        peer.close(1011, "NET-0001: nothing was received").await;
    }
    server.accept().await.close(1011, "NET-0001: nothing was received").await;
    let error = call.failed().await;
    assert_eq!(error.why, Failure::BrokenOff, "without a word in between, once is enough: {error}");
    assert!(error.detail.contains("1011 NET-0001"), "{error}");
}

#[tokio::test]
async fn a_connection_that_ends_in_an_utterance_is_not_replaced() {
    let server = Server::start();
    let call = scripted(&server, LONG);
    call.starts(1).await;
    call.speaks(&[(true, 1_000)]).await;
    let mut peer = server.accept().await;
    peer.audio(8_000).await;
    peer.close(1011, "NET-0001: nothing was received").await;
    assert_eq!(call.failed().await.why, Failure::BrokenOff);
}

#[tokio::test]
async fn a_server_that_takes_no_audio_is_slow() {
    let server = Server::start();
    let base = server.url.parse().unwrap();
    let send_within = Duration::from_millis(200);
    let call = call(Options { send_within, ..Options::new(base, Secret::new(KEY)) });
    let _unread = server.accept().await;
    call.starts(1).await;
    for _ in 0..1_000 {
        call.did(Caller::Audio(vec![0; 64 * 1024])).await;
    }
    let error = call.failed().await;
    assert_eq!(error.why, Failure::Slow, "{error}");
}

#[tokio::test]
async fn what_deepgram_does_not_like_is_an_error_and_what_is_new_is_none() {
    let server = Server::start();
    let mut call = scripted(&server, LONG);
    let mut peer = server.accept().await;
    call.says(1, &[(true, 1_000)]).await;
    peer.audio_until("Finalize").await;
    peer.send(json!({"type": "SpeechStarted", "channel": [0, 1], "timestamp": 0.1})).await;
    peer.send(json!({"type": "SomethingNew", "channel": "left"})).await;
    peer.send(result(0.0, 1.0, "yes", json!({"is_final": true, "from_finalize": true, "new": {}}))).await;
    assert_eq!(call.last_words_of(1).await, "yes");
    peer.send(json!({
        "type": "Error", "variant": "SchemaError", "description": format!("not {KEY}"), "message": "{}"
    }))
    .await;
    let error = call.failed().await;
    assert_eq!(error.why, Failure::Refused);
    assert_eq!(error.detail, "an error in the stream, SchemaError: not … (request id-of-the-test)");
}
