use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{Asked, BAD_KEY, FakeVendors, Limits, Message};
use serde_json::json;
use tokio::net::TcpListener;

use super::super::ServiceAccount;
use super::super::account::tests::json as account;
use super::super::messages;
use super::testing::Server;
use super::*;
use crate::integrations::testing::ears::{Call, only_request, ulaw};
use crate::settings::Secret;

const KEY: &str = "AIza-very-secret-0123456789";
/// As long as no test takes.
const LONG: Duration = Duration::from_secs(15);
/// Speech, and the silence that makes it final.
const SAID: [(bool, usize); 2] = [(true, 1_300), (false, 700)];

fn at(url: &str) -> Options {
    let credentials = Credentials::Key(Secret::new(KEY));
    Options { finalize_wait: LONG, ..Options::new(url.parse().unwrap(), credentials) }
}

fn options(fakes: &FakeVendors) -> Options {
    at(&fakes.grpc_url())
}

fn call(options: Options) -> Call {
    Call::begin(GoogleEars::new(options).unwrap())
}

/// All streams, once each of them has ended.
async fn streams(fakes: &FakeVendors) -> Vec<Asked> {
    crate::integrations::testing::ended(fakes).await
}

/// An utterance whose end is awaited until its words are final, as a caller's silence does. The texts that were told of it.
async fn says(fakes: &FakeVendors, call: &mut Call, utterance: u32) -> Vec<String> {
    // One word more than interims have by then, so that the final ones are news.
    fakes.google(["I need a table for two."]);
    call.starts(utterance).await;
    call.speaks(&SAID).await;
    let mut told = Vec::new();
    while told.last().is_none_or(|text| text != "I need a table for two.") {
        told.push(call.next().await.text);
    }
    call.ends(utterance).await;
    assert_eq!(call.words_of(utterance).await, ["I need a table for two."], "told already, and at once");
    told
}

#[tokio::test]
async fn words_come_while_the_caller_speaks_and_one_stream_hears_what_is_final_in_time() {
    let fakes = FakeVendors::start().await;
    let mut call = call(options(&fakes));
    for utterance in 1..=2 {
        let told = says(&fakes, &mut call, utterance).await;
        assert!(told.len() > 2, "{told:?}");
        assert!(told.iter().all(|text| "I need a table for two.".starts_with(text)), "{told:?}");
    }
    call.assert_silent();
    call.hang_up().await.unwrap();

    let asked = only_request(&fakes).await;
    assert_eq!(asked.path, "/google.cloud.speech.v1.Speech/StreamingRecognize");
    assert_eq!(asked.header("x-goog-api-key"), Some("…6789"));
    assert_eq!(
        (asked.header("te"), asked.header("content-type")),
        (Some("trailers"), Some("application/grpc"))
    );
    assert!(asked.header("user-agent").unwrap().starts_with("offhook/"));
    let config = json!({
        "model": "telephony", "encoding": "ULaw", "sample_rate_hertz": 8_000, "language": "en-US",
        "interim_results": true,
    });
    assert_eq!(asked.messages[0], Message::Text(json!({ "streaming_config": config })));
    // As long as the frames of the phone, of which five make a message.
    assert_eq!(asked.messages[1], Message::Binary { messages: 2 * 20, bytes: 2 * 16_000 });
    assert_eq!(asked.ended, Some("complete"));
}

#[tokio::test]
async fn what_is_not_final_when_the_utterance_ends_is_asked_for_and_the_next_has_a_stream_of_its_own() {
    let fakes = FakeVendors::start().await;
    fakes.google(["Two, please.", "Thank you.", "Bye."]);
    let mut call = call(options(&fakes));
    for (utterance, words) in [(1, "Two, please."), (2, "Thank you."), (3, "Bye.")] {
        call.says(utterance, &[(true, 600), (false, 50)]).await;
        assert_eq!(call.last_words_of(utterance).await, words);
    }
    call.hang_up().await.unwrap();
    let streams = streams(&fakes).await;
    assert_eq!(streams.len(), 3);
    for asked in &streams {
        assert_eq!((asked.connection, asked.ended), (streams[0].connection, Some("complete")));
        assert_eq!(asked.messages[1], Message::Binary { messages: 7, bytes: 650 * 8 });
    }
}

#[tokio::test]
async fn model_and_language_are_asked_for_as_they_are_set_and_accounts_have_tokens() {
    let fakes = FakeVendors::start().await;
    let account = ServiceAccount::from_json(&account("a@b.example")).unwrap();
    let options = Options {
        credentials: Credentials::Account(account),
        language: "de-AT".into(),
        model: "phone_call".into(),
        ..options(&fakes)
    };
    assert!(options.first().streaming_config.unwrap().config.unwrap().use_enhanced);
    let mut call = call(options);
    call.says(1, &SAID).await;
    assert_eq!(call.last_words_of(1).await, "one two");
    call.hang_up().await.unwrap();
    let asked = only_request(&fakes).await;
    let Message::Text(first) = &asked.messages[0] else { panic!("{:?}", asked.messages) };
    let config = &first["streaming_config"];
    assert_eq!((&config["language"], &config["model"]), (&json!("de-AT"), &json!("phone_call")));
    assert!(asked.header("authorization").unwrap().starts_with("Bearer …"));
}

#[tokio::test]
async fn an_utterance_without_audio_has_no_words_at_once_and_one_without_speech_soon() {
    let fakes = FakeVendors::start().await;
    let mut call = call(options(&fakes));
    call.says(1, &[]).await;
    assert_eq!(call.words_of(1).await, [""]);
    call.says(2, &[(false, 400)]).await;
    assert_eq!(call.words_of(2).await, [""]);
    call.hang_up().await.unwrap();
}

#[tokio::test]
async fn a_caller_who_goes_on_gets_the_words_of_both() {
    let mut server = Server::start().await;
    let mut call = call(at(&server.url));
    call.says(1, &[(true, 500)]).await;
    let mut first = server.accept().await;
    assert_eq!(first.config().await.language_code, "en-US");
    assert_eq!(first.rest().await, ulaw(&[(true, 500)]));
    call.starts(2).await;
    call.speaks(&[(true, 500)]).await;
    let mut second = server.accept().await;
    assert_eq!((second.connection, second.config().await.model.as_str()), (0, "telephony"));
    second.audio(4_000).await;
    second.says(400, "two", false);
    assert_eq!(call.next().await.text, "two");
    first.says(450, "one", true);
    assert_eq!(call.words_of(1).await, ["one"]);
    first.ends(0, "");
    call.ends(2).await;
    second.rest().await;
    second.says(500, "two three", true);
    second.ends(0, "");
    assert_eq!(call.last_words_of(2).await, "two three");
    call.assert_silent();
    call.hang_up().await.unwrap();
}

#[tokio::test]
async fn a_forgotten_utterance_is_heard_no_more() {
    let fakes = FakeVendors::start().await;
    let mut call = call(options(&fakes));
    call.starts(1).await;
    call.speaks(&[(true, 600)]).await;
    assert_eq!(call.next().await.text, "one");
    call.says(2, &SAID).await;
    assert_eq!(call.last_words_of(2).await, "one two");
    call.assert_silent();
    call.hang_up().await.unwrap();
    let streams = streams(&fakes).await;
    assert_eq!(
        streams.iter().map(|asked| asked.ended).collect::<Vec<_>>(),
        [Some("client"), Some("complete")]
    );
}

/// What a call meets whose stream has this fault.
async fn fault(fault: &str) -> VendorError {
    let fakes = FakeVendors::start().await;
    fakes.fail(PATH, 1, Fault::parse(fault).unwrap());
    let call = call(Options { finalize_wait: Duration::from_millis(200), ..options(&fakes) });
    call.says(1, &[(true, 3_000), (false, 300)]).await;
    let error = call.failed().await;
    assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    error
}

#[tokio::test]
async fn each_fault_has_its_name() {
    for (text, why, detail) in [
        ("status=400", Failure::Refused, "INVALID_ARGUMENT: "),
        ("status=401", Failure::Unauthorised, "UNAUTHENTICATED"),
        ("status=403", Failure::Unauthorised, "PERMISSION_DENIED"),
        ("status=404", Failure::Refused, "NOT_FOUND: "),
        ("status=429", Failure::Busy, "RESOURCE_EXHAUSTED: "),
        ("status=500", Failure::Faulty, "INTERNAL: "),
        ("status=503", Failure::Faulty, "UNAVAILABLE: "),
        ("status=504", Failure::Slow, "DEADLINE_EXCEEDED: "),
        ("latency=5s", Failure::Slow, "no last words"),
        ("stall_after=1600", Failure::Slow, "no last words"),
        ("slow=0.5", Failure::Slow, "no last words"),
        ("close=1011@3200", Failure::BrokenOff, ""),
        ("malformed@3200", Failure::Malformed, "a message that cannot be read"),
    ] {
        let error = fault(text).await;
        assert!(error.why == why && error.detail.starts_with(detail), "{text}: {error:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_refused_is_known_before_the_caller_speaks() {
    let fakes = FakeVendors::start().await;
    let credentials = Credentials::Key(Secret::new(BAD_KEY));
    assert_eq!(call(Options { credentials, ..options(&fakes) }).failed().await.why, Failure::Unauthorised);
    assert!(
        GoogleEars::new(Options { credentials: Credentials::Key(Secret::new("a\nb")), ..options(&fakes) })
            .is_err()
    );
}

#[tokio::test]
async fn where_nobody_listens_or_answers_nothing_is_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let secure = at(&url.replace("http", "https"));
    assert_eq!(call(secure).failed().await.why, Failure::Unreachable, "no TLS in time");
    drop(listener);
    assert_eq!(call(at(&url)).failed().await.why, Failure::Unreachable);
}

#[tokio::test]
async fn a_check_looks_at_the_key_and_is_heard_saying_nothing() {
    let fakes = FakeVendors::start().await;
    let ears = |key| {
        let credentials = Credentials::Key(Secret::new(key));
        GoogleEars::new(Options { credentials, ..options(&fakes) }).unwrap()
    };
    assert_eq!(ears(KEY).check().await, Ok(()));
    assert_eq!(ears(BAD_KEY).check().await.unwrap_err().why, Failure::Unauthorised);
    fakes.fail(PATH, 1, Fault::parse("status=503").unwrap());
    assert_eq!(ears(KEY).check().await.unwrap_err().why, Failure::Faulty);
    assert!(fakes.requests().iter().all(|asked| asked.bytes_in() == 0));
}

#[tokio::test]
async fn to_want_no_more_ends_the_stream() {
    let fakes = FakeVendors::start().await;
    let mut call = call(options(&fakes));
    call.starts(1).await;
    call.speaks(&[(true, 1_000)]).await;
    assert_eq!(call.next().await.text, "one");
    call.abandon().await;
    assert_eq!(only_request(&fakes).await.ended, Some("client"));
}

#[tokio::test]
async fn a_stream_that_google_ends_while_nobody_speaks_is_no_failure() {
    let idle = Duration::from_millis(200);
    let fakes = FakeVendors::with(Limits { google_idle: idle, ..Limits::default() }).await;
    let mut call = call(options(&fakes));
    for utterance in 1..=3 {
        tokio::time::sleep(idle * 2).await;
        says(&fakes, &mut call, utterance).await;
    }
    call.hang_up().await.unwrap();
    assert!(streams(&fakes).await.len() >= 4);
}

#[tokio::test]
async fn a_stream_on_which_nobody_speaks_is_ended_and_none_is_opened_for_silence() {
    let fakes = FakeVendors::start().await;
    let mut call = call(Options { idle: Duration::from_millis(500), ..options(&fakes) });
    says(&fakes, &mut call, 1).await;
    assert_eq!(only_request(&fakes).await.ended, Some("complete"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    says(&fakes, &mut call, 2).await;
    call.hang_up().await.unwrap();
    let streams = streams(&fakes).await;
    assert_eq!((streams.len(), streams[1].connection), (2, streams[0].connection));
}

#[tokio::test]
async fn a_stream_is_left_between_two_utterances_once_it_is_old() {
    let fakes = FakeVendors::start().await;
    let rotate_after = Duration::from_secs(1);
    let mut call = call(Options { rotate_after, ..options(&fakes) });
    for utterance in 1..=2 {
        says(&fakes, &mut call, utterance).await;
        tokio::time::sleep(rotate_after).await;
    }
    call.hang_up().await.unwrap();
    let streams = streams(&fakes).await;
    let told = streams.iter().map(|asked| (asked.bytes_in(), asked.ended)).collect::<Vec<_>>();
    assert_eq!(told, [(16_000, Some("complete")); 2]);
}

#[tokio::test]
async fn a_pause_that_made_words_final_is_the_time_to_leave_an_old_stream() {
    let mut server = Server::start().await;
    let mut call = call(Options { rotate_after: Duration::from_millis(500), ..at(&server.url) });
    let mut first = server.accept().await;
    let all = ulaw(&[(true, 1_000), (false, 600), (true, 800)]);
    call.starts(1).await;
    call.did(Caller::Audio(all[..12_800].to_vec())).await;
    first.config().await;
    first.audio(12_800).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    first.says(1_500, "I would like", true);
    let mut second = server.accept().await;
    second.config().await;
    call.did(Caller::Audio(all[12_800..].to_vec())).await;
    call.ends(1).await;
    assert_eq!(second.rest().await, all[12_000..], "from the end of what is final on");
    second.says(850, " to book a table.", true);
    second.ends(0, "");
    assert_eq!(call.words_of(1).await, ["I would like", "I would like to book a table."]);
    call.hang_up().await.unwrap();
}

#[tokio::test]
async fn an_old_stream_is_left_in_the_middle_of_speech_without_losing_or_repeating_a_word() {
    let mut server = Server::start().await;
    let mut call = call(Options { rotate_by: Duration::from_secs(1), ..at(&server.url) });
    let mut first = server.accept().await;
    let all = ulaw(&[(true, 4_000)]);
    call.starts(1).await;
    call.did(Caller::Audio(all[..24_000].to_vec())).await;
    first.config().await;
    first.audio(24_000).await;
    first.says(1_000, "I would", true);
    first.says(2_900, " like to book", false);
    let mut second = server.accept().await;
    second.config().await;
    assert_eq!(second.connection, 0);
    assert_eq!(second.audio(16_000).await, all[8_000..24_000], "what had not been final");
    // It hears again what was told already.
    second.says(500, "like", false);
    second.says(1_900, "like to book", false);
    call.did(Caller::Audio(all[24_000..].to_vec())).await;
    call.ends(1).await;
    assert_eq!(second.rest().await, all[24_000..]);
    second.says(2_600, "like to book a table", false);
    second.says(2_980, "like to book a table.", true);
    let wanted =
        ["I would", "I would like to book", "I would like to book a table", "I would like to book a table."];
    assert_eq!(call.words_of(1).await, wanted);
    call.assert_silent();
    call.hang_up().await.unwrap();
}

#[tokio::test]
async fn a_stream_that_google_ends_in_the_middle_is_gone_on_with_once() {
    for code in [10, 11] {
        let mut server = Server::start().await;
        let mut call = call(at(&server.url));
        call.starts(1).await;
        call.speaks(&[(true, 1_000)]).await;
        let mut first = server.accept().await;
        first.config().await;
        first.audio(8_000).await;
        first.says(500, "I would", true);
        assert_eq!(call.next().await.text, "I would");
        first.ends(code, "Exceeded maximum allowed stream duration of 305 seconds.");
        let mut second = server.accept().await;
        second.config().await;
        assert_eq!(second.audio(4_000).await, ulaw(&[(true, 1_000)])[4_000..]);
        second.ends(code, "Audio Timeout Error");
        let error = call.failed().await;
        let name =
            ["ABORTED: Audio Timeout Error", "OUT_OF_RANGE: Audio Timeout Error"][usize::from(code - 10)];
        assert_eq!((error.why, error.detail.as_str()), (Failure::BrokenOff, name));
    }
}

#[tokio::test]
async fn a_connection_that_takes_no_more_streams_is_replaced() {
    let mut server = Server::start().await;
    let mut call = call(at(&server.url));
    let mut first = server.accept().await;
    first.config().await;
    server.go_away().await;
    // What is open on it goes on.
    call.says(1, &[(true, 500)]).await;
    first.rest().await;
    first.says(490, "hello", true);
    assert_eq!(call.words_of(1).await, ["hello"]);
    first.ends(0, "");
    call.says(2, &[(true, 500)]).await;
    let mut second = server.accept().await;
    assert_eq!(second.connection, 1);
    second.config().await;
    second.rest().await;
    second.says(490, "bye", true);
    assert_eq!(call.last_words_of(2).await, "bye");
    call.hang_up().await.unwrap();
}

#[tokio::test]
async fn a_reset_in_the_middle_is_a_failure_and_in_silence_none() {
    let mut server = Server::start().await;
    let mut call = call(at(&server.url));
    server.accept().await.resets();
    tokio::time::sleep(Duration::from_millis(200)).await;
    call.says(1, &[(true, 500)]).await;
    let mut second = server.accept().await;
    second.rest().await;
    second.says(500, "hello", true);
    assert_eq!(call.last_words_of(1).await, "hello");
    second.ends(0, "");
    call.says(2, &[(true, 500)]).await;
    let third = server.accept().await;
    third.says(300, "hel", false);
    assert_eq!(call.next().await.text, "hel");
    third.resets();
    assert_eq!(call.failed().await.why, Failure::BrokenOff);
}

#[tokio::test]
async fn a_server_that_takes_no_audio_is_slow() {
    let mut server = Server::start().await;
    let call = call(Options { send_within: Duration::from_millis(200), ..at(&server.url) });
    let _unread = server.accept().await;
    call.starts(1).await;
    for _ in 0..100 {
        call.did(Caller::Audio(vec![0; 64 * 1024])).await;
    }
    let error = call.failed().await;
    assert_eq!((error.why, error.detail.as_str()), (Failure::Slow, "it takes no audio for 0.2 s"));
}

#[tokio::test]
async fn ears_that_are_behind_but_go_on_are_waited_for() {
    let mut server = Server::start().await;
    let mut call = call(Options { finalize_wait: Duration::from_millis(300), ..at(&server.url) });
    call.says(1, &[(true, 10_000)]).await;
    let mut peer = server.accept().await;
    peer.rest().await;
    for second in 1..=8 {
        peer.says(second * 1_000, "so much", false);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    peer.says(10_000, "so much of it", true);
    assert_eq!(call.words_of(1).await, ["so much", "so much of it"]);
}

#[tokio::test]
async fn junk_and_errors_in_the_stream_are_told_apart() {
    let error = messages::Status { code: 8, message: format!("no quota for {KEY}"), details: Vec::new() };
    let error = messages::Response { error: Some(error), request_id: 12, ..messages::Response::default() };
    let cases: [(&[u8], Failure, &str); 4] = [
        (&[1, 0, 0, 0, 1, 0], Failure::Malformed, "a message of 1 bytes, compression 1"),
        (&[0, 0x7f, 0, 0, 0], Failure::Malformed, "a message of 2130706432 bytes, compression 0"),
        (&[0, 0, 0, 0, 1, 0x0a], Failure::Malformed, "a message that cannot be read"),
        (&[], Failure::Busy, "RESOURCE_EXHAUSTED: no quota for … (request 12)"),
    ];
    for (bytes, why, detail) in cases {
        let mut server = Server::start().await;
        let call = call(at(&server.url));
        let peer = server.accept().await;
        match bytes {
            [] => peer.send(&error),
            bytes => peer.bytes(bytes),
        }
        let error = call.failed().await;
        assert_eq!((error.why, error.detail.as_str()), (why, detail));
    }
}

#[tokio::test]
async fn what_is_new_is_passed_over() {
    let mut server = Server::start().await;
    let mut call = call(at(&server.url));
    call.says(1, &[(true, 500)]).await;
    let mut peer = server.accept().await;
    peer.rest().await;
    // An event, an unknown field, and a result without alternatives.
    peer.bytes(&[0, 0, 0, 0, 8, 0x20, 2, 0xca, 0x3e, 1, 9, 0x12, 0]);
    peer.bytes(&[0, 0, 0, 0, 0]);
    peer.says(500, "yes", true);
    assert_eq!(call.words_of(1).await, ["yes"]);
    call.hang_up().await.unwrap();
}

#[tokio::test]
async fn who_speaks_no_grpc_is_told_by_the_status_or_the_kind_of_the_answer() {
    let fakes = FakeVendors::start().await;
    // The fakes' other port speaks the first version of HTTP.
    let call = call(at(&fakes.url()));
    call.says(1, &SAID).await;
    assert_eq!(call.failed().await.why, Failure::BrokenOff);
    let ears = GoogleEars::new(at("http://127.0.0.1:1")).unwrap();
    let error = |ended| ears.error(ended, 0);
    let refused = error(Ended::Http(hyper::StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!((refused.why, refused.detail.as_str()), (Failure::Faulty, "status 503"));
    let reason = |code, reason: &str| {
        error(Ended::Status(Status { code, message: "…".into(), reason: Some(reason.into()) }))
    };
    let invalid = reason(3, "API_KEY_INVALID");
    assert_eq!((invalid.why, invalid.detail.as_str()), (Failure::Unauthorised, "API_KEY_INVALID"));
    assert_eq!(reason(7, "BILLING_DISABLED").why, Failure::Unpaid);
    assert_eq!(reason(7, "SERVICE_DISABLED").why, Failure::Unauthorised);
}
