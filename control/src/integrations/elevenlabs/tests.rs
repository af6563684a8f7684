//! Against the fake of ElevenLabs, over real sockets.

use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{BAD_KEY, CHARACTER_MS, FakeVendors, Limits as Times, Vendor, count_words};

use super::*;
use crate::integrations::contexts::{Dialect, Marks, Piece, Said};
use crate::integrations::testing::{Came, again, cancelled, cancelled_once_asked, ended, speak};

const TEXT: &str = "We open at nine, and close at five.";
const SECRET: &str = "xi-very-secret-0123456789";
const PATH: &str = "/elevenlabs/v1/text-to-speech/";
const BOTH: [Transport; 2] = [Transport::Socket, Transport::Http];

fn options(fakes: &FakeVendors, transport: Transport) -> Options {
    Options {
        base: fakes.base_url(Vendor::ElevenLabs).parse().unwrap(),
        key: Secret::new(SECRET),
        voice: "21m00Tcm4TlvDq8ikWAM".into(),
        model: "eleven_flash_v2_5".into(),
        language: Some("en".into()),
        speed: Some(1.1),
        transport,
    }
}

fn line(fakes: &FakeVendors, transport: Transport) -> Box<dyn VoiceLine> {
    ElevenLabs::new(options(fakes, transport)).unwrap().line()
}

/// What comes of the text under this fault.
async fn under(fault: &str, transport: Transport) -> Came {
    let fakes = FakeVendors::start().await;
    fakes.fail(PATH, 1, Fault::parse(fault).unwrap());
    let came = speak(&mut *line(&fakes, transport), TEXT).await;
    assert!(!format!("{came:?}").contains(SECRET), "{came:?}");
    came
}

/// So many characters of speech.
fn length(characters: usize) -> usize {
    characters * CHARACTER_MS * 8
}

#[tokio::test]
async fn speech_comes_as_it_is_and_every_word_has_its_place() {
    for transport in BOTH {
        let fakes = FakeVendors::start().await;
        let came = speak(&mut *line(&fakes, transport), TEXT).await;
        assert_eq!(came.ended, Ok(()));
        // A socket wants a space behind every text, and speaks it.
        let spaces = usize::from(transport == Transport::Socket);
        assert_eq!(came.ulaw.len(), length(TEXT.len() + spaces));
        assert_eq!(count_words(&came.samples(), 8_000), 8);
        assert!(came.pieces > 3, "as it comes: {}", came.pieces);
        assert_eq!(came.early, 0, "what is placed has begun");
        let at = |word: &str| (TEXT.find(word).unwrap() * CHARACTER_MS * 8) as u32;
        let placed = came.placed(TEXT);
        assert_eq!(placed.len(), 8);
        assert_eq!(placed[..4], [("We", 0), ("open", at("open")), ("at", at("at")), ("nine,", at("nine"))]);
        assert_eq!(placed[7], ("five.", at("five")));
        let asked = &fakes.requests()[0];
        assert_eq!(asked.parameter("output_format"), Some("ulaw_8000"));
        assert_eq!(asked.header("xi-api-key"), Some("…6789"));
        assert!(asked.header("user-agent").unwrap().starts_with("offhook/"));
    }
}

#[tokio::test]
async fn a_text_has_a_context_with_the_settings_which_is_flushed_and_closed() {
    let fakes = FakeVendors::start().await;
    let mut line = line(&fakes, Transport::Socket);
    assert_eq!(speak(&mut *line, "Yes.").await.ended, Ok(()));
    let asked = &fakes.requests()[0];
    let texts = asked.texts();
    let context = &texts[0]["context_id"];
    assert_eq!(
        texts,
        [
            &json!({"text": " ", "context_id": context, "voice_settings": {"speed": 1.1}}),
            &json!({"text": "Yes. ", "context_id": context, "flush": true}),
            &json!({"context_id": context, "close_context": true}),
        ]
    );
    assert_eq!(
        (asked.parameter("model_id"), asked.parameter("language_code")),
        (Some("eleven_flash_v2_5"), Some("en"))
    );
}

#[tokio::test]
async fn a_request_over_http_says_what_is_wanted() {
    let fakes = FakeVendors::start().await;
    assert_eq!(speak(&mut *line(&fakes, Transport::Http), "Yes.").await.ended, Ok(()));
    let wanted = json!({
        "text": "Yes.", "model_id": "eleven_flash_v2_5", "language_code": "en", "voice_settings": {"speed": 1.1}
    });
    assert_eq!(fakes.requests()[0].body, wanted);
}

#[tokio::test]
async fn one_connection_does_for_warming_and_for_one_text_after_the_other() {
    for transport in BOTH {
        let fakes = FakeVendors::start().await;
        let mut line = line(&fakes, transport);
        assert_eq!(line.warm().await, Ok(()));
        for _ in 0..7 {
            assert_eq!(speak(&mut *line, "Yes.").await.ended, Ok(()));
        }
        line.warm().await.unwrap();
        assert!(fakes.requests().iter().all(|asked| asked.connection == 0), "{transport:?}");
        drop(line);
        if transport == Transport::Socket {
            assert_eq!(ended(&fakes).await[0].ended, Some("client"), "it closes with its line");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_known_before_it_is_needed() {
    let fakes = FakeVendors::start().await;
    let check = async |options: Options| ElevenLabs::new(options).unwrap().check().await;
    assert_eq!(check(options(&fakes, Transport::Socket)).await, Ok(()));
    let bad = Options { key: Secret::new(BAD_KEY), ..options(&fakes, Transport::Socket) };
    assert_eq!(check(bad).await.unwrap_err().why, Failure::Unauthorised);
    let closed = "http://127.0.0.1:1".parse().unwrap();
    let closed = Options { base: closed, ..options(&fakes, Transport::Socket) };
    assert_eq!(check(closed.clone()).await.unwrap_err().why, Failure::Unreachable);
    let mut line = ElevenLabs::new(closed).unwrap().line();
    assert_eq!(line.warm().await.unwrap_err().why, Failure::Unreachable);
    assert_eq!(speak(&mut *line, "Yes.").await.ended.unwrap_err().why, Failure::Unreachable);
}

#[tokio::test]
async fn each_refusal_has_its_reason() {
    for (status, why) in [
        (401, Failure::Unauthorised),
        (402, Failure::Unpaid),
        (404, Failure::Refused),
        (429, Failure::Busy),
        (500, Failure::Faulty),
        (503, Failure::Faulty),
    ] {
        for transport in BOTH {
            let error = under(&format!("status={status}"), transport).await.ended.unwrap_err();
            assert_eq!(error.why, why, "{error}");
            let text = error.detail;
            assert!(text.contains(&status.to_string()) && text.contains("(request fake"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_socket_that_is_refused_behind_its_handshake_says_why() {
    let fakes = FakeVendors::start().await;
    let good = options(&fakes, Transport::Socket);
    let no_voice = Options { voice: "no-such-voice".into(), ..good.clone() };
    let bad_key = Options { key: Secret::new(BAD_KEY), ..good };
    for (options, why, code) in
        [(no_voice, Failure::Refused, "voice_not_found"), (bad_key, Failure::Unauthorised, "invalid_api_key")]
    {
        let error = speak(&mut *ElevenLabs::new(options).unwrap().line(), TEXT).await.ended.unwrap_err();
        assert!(error.why == why && error.detail.contains(code), "{error:?}");
    }
}

#[test]
fn a_code_says_more_than_a_status() {
    let fakes = "http://127.0.0.1:1";
    let client = ElevenLabs::new(Options {
        base: fakes.parse().unwrap(),
        key: Secret::new(SECRET),
        voice: "v".into(),
        model: "m".into(),
        language: None,
        speed: None,
        transport: Transport::Http,
    });
    let client = client.unwrap().0;
    for (status, body, why, detail) in [
        (
            401,
            json!({"detail": {"status": "quota_exceeded", "message": "Empty."}}),
            Failure::Unpaid,
            "status 401, quota_exceeded: Empty.",
        ),
        (
            402,
            json!({"detail": {"type": "payment_required", "code": "insufficient_credits", "request_id": "r"}}),
            Failure::Unpaid,
            "status 402, insufficient_credits (request r)",
        ),
        (
            422,
            json!({"detail": [{"loc": ["body"], "msg": "missing", "type": "value_error"}]}),
            Failure::Refused,
            "status 422, value_error: missing",
        ),
        (500, json!({"detail": format!("{SECRET} broke")}), Failure::Faulty, "status 500: … broke"),
        (
            403,
            json!({"detail": {"code": "voice_access_denied"}}),
            Failure::Refused,
            "status 403, voice_access_denied",
        ),
        (502, json!("<html>"), Failure::Faulty, "status 502"),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let error = Client::refused(&client, status, &HeaderMap::new(), body.to_string().as_bytes());
        assert_eq!((error.why, &*error.detail), (why, detail));
    }
    assert!(!format!("{client:?}").contains(SECRET));
    let options = Options { voice: "../v1/user?".into(), ..client.options.clone() };
    assert!(ElevenLabs::new(options).is_err(), "a voice is part of the URL");
}

#[test]
fn both_spellings_of_every_field_are_read() {
    let fakes = "http://127.0.0.1:1".parse().unwrap();
    let options = Options {
        base: fakes,
        key: Secret::new(SECRET),
        voice: "v".into(),
        model: "m".into(),
        language: None,
        speed: None,
        transport: Transport::Socket,
    };
    let client = ElevenLabs::new(options).unwrap().0;
    let alignment = json!({"chars": ["H", "i"], "charStartTimesMs": [0, 40], "charsDurationsMs": [40, 60]});
    for (context, last) in [("contextId", "isFinal"), ("context_id", "is_final")] {
        let said = client.read(&json!({"audio": "/w==", context: "c", last: true, "alignment": alignment}));
        let [
            Said::Piece { piece: Piece { ulaw, marks: Marks::Characters(marks) }, .. },
            Said::Ended { context },
        ] = &said.unwrap()[..]
        else {
            panic!("audio and an end were said")
        };
        assert_eq!((&ulaw[..], &marks[1], &**context), (&[0xff][..], &("i".to_owned(), 320), "c"));
    }
    // What says nothing of a context, nothing new, or what nobody knows yet, does not matter.
    for nothing in
        [json!({}), json!({"type": "news", "contextId": "c"}), json!({"audio": null, "contextId": "c"})]
    {
        assert!(client.read(&nothing).unwrap().is_empty(), "{nothing}");
    }
    let bare = client.read(&json!({"audio": "", "alignment": null, "contextId": "c"})).unwrap();
    assert!(matches!(&bare[..], [Said::Piece { piece: Piece { marks: Marks::None, .. }, .. }]));
    assert!(client.read(&json!({"audio": "no base64!", "contextId": "c"})).is_err());
}

#[tokio::test]
async fn what_breaks_off_gives_what_there_was_and_the_next_text_has_another_connection() {
    for transport in BOTH {
        for (fault, why) in [
            (
                "close=1011@3000",
                if transport == Transport::Socket { Failure::Faulty } else { Failure::BrokenOff },
            ),
            ("malformed@3000", Failure::Malformed),
        ] {
            let fakes = FakeVendors::start().await;
            fakes.fail(PATH, 1, Fault::parse(fault).unwrap());
            let mut line = line(&fakes, transport);
            let came = speak(&mut *line, TEXT).await;
            assert_eq!(came.ended.unwrap_err().why, why, "{fault}, {transport:?}");
            assert_eq!((came.ulaw.len(), came.words.len()), (2_880, 2), "{fault}, {transport:?}");
            let came = speak(&mut *line, "No.").await;
            assert_eq!((count_words(&came.samples(), 8_000), came.ended), (1, Ok(())));
        }
    }
}

#[tokio::test]
async fn latency_and_slow_audio_are_for_others_to_judge() {
    for transport in BOTH {
        for fault in ["latency=200ms", "slow=4"] {
            let came = under(fault, transport).await;
            assert_eq!((came.words.len(), came.ended), (8, Ok(())), "{fault}");
        }
    }
}

#[tokio::test]
async fn to_drop_a_text_closes_its_context_and_nothing_of_it_is_in_the_next_one() {
    let fakes = FakeVendors::with(Times { voice_speed: 2.0, ..Times::default() }).await;
    let mut line = line(&fakes, Transport::Socket);
    cancelled(&mut *line, TEXT).await;
    let came = speak(&mut *line, "No.").await;
    assert_eq!((came.ulaw.len(), came.ended), (length(4), Ok(())));
    assert_eq!(came.words.len(), 1);
    let requests = fakes.requests();
    assert_eq!(requests.len(), 1, "on the same socket");
    let texts = requests[0].texts();
    let first = &texts[0]["context_id"];
    let closes = texts.iter().filter(|text| text["context_id"] == *first && text["close_context"] == true);
    assert_eq!(closes.count(), 2, "at the end of the text, and when it was dropped");
    assert_eq!(texts[3]["close_context"], true, "before anything else");
}

#[tokio::test]
async fn a_stalled_text_can_be_dropped() {
    let fakes = FakeVendors::start().await;
    fakes.fail(PATH, 1, Fault::parse("stall_after=3000").unwrap());
    let mut line = line(&fakes, Transport::Socket);
    cancelled(&mut *line, TEXT).await;
    drop(line);
    assert_eq!(ended(&fakes).await[0].texts()[3]["close_context"], true);
}

#[tokio::test]
async fn to_drop_a_request_closes_its_connection() {
    for fault in ["stall_after=4000", "latency=1500ms"] {
        let fakes = FakeVendors::start().await;
        fakes.fail(PATH, 1, Fault::parse(fault).unwrap());
        let mut line = line(&fakes, Transport::Http);
        match fault.starts_with("latency") {
            true => cancelled_once_asked(&mut *line, TEXT, &fakes).await,
            false => cancelled(&mut *line, TEXT).await,
        }
        let came = speak(&mut *line, "No.").await;
        assert_eq!((came.ulaw.len(), came.ended), (length(3), Ok(())), "{fault}");
        let requests = fakes.requests();
        assert_ne!(requests[0].connection, requests[1].connection, "{fault}");
    }
}

#[tokio::test]
async fn a_text_may_be_dropped_before_there_is_a_socket() {
    let fakes = FakeVendors::start().await;
    fakes.fail(PATH, 1, Fault::parse("latency=1500ms").unwrap());
    let mut line = line(&fakes, Transport::Socket);
    cancelled_once_asked(&mut *line, TEXT, &fakes).await;
    assert_eq!(speak(&mut *line, "No.").await.ulaw.len(), length(4));
    let requests = fakes.requests();
    assert_eq!((requests.len(), requests[0].texts().len()), (1, 3), "the dropped text never left");
}

#[tokio::test]
async fn a_sixth_context_is_opened_on_another_socket() {
    let fakes = FakeVendors::with(Times { voice_speed: 1.0, ..Times::default() }).await;
    let mut line = line(&fakes, Transport::Socket);
    let long = TEXT.repeat(20);
    for _ in 0..6 {
        cancelled(&mut *line, &long).await;
    }
    let came = speak(&mut *line, "No.").await;
    assert_eq!((came.ulaw.len(), came.ended), (length(4), Ok(())));
    let requests = fakes.requests();
    let contexts = |at: usize| {
        let texts: &[_] = &requests[at].texts();
        texts.iter().filter(|text| text["text"] == " ").count()
    };
    assert_eq!((requests.len(), contexts(0), contexts(1)), (2, 5, 2));
}

#[tokio::test]
async fn a_line_whose_socket_went_away_opens_another_one() {
    let fakes = FakeVendors::start().await;
    let address = fakes.url().trim_start_matches("http://").parse().unwrap();
    let mut line = line(&fakes, Transport::Socket);
    assert_eq!(speak(&mut *line, "Yes.").await.ended, Ok(()));
    drop(fakes);
    let fakes = again(address).await;
    assert_eq!(speak(&mut *line, "Yes.").await.ended, Ok(()));
    assert_eq!(fakes.requests().len(), 1);
}

#[tokio::test]
async fn a_text_that_finds_its_socket_closed_is_said_once_on_another_one() {
    let fakes = FakeVendors::start().await;
    let all_of_the_first = length("Yes. ".len());
    let fault = format!("close=1000@{}", all_of_the_first + 1);
    fakes.fail(PATH, 3, Fault::parse(&fault).unwrap());
    let mut line = line(&fakes, Transport::Socket);
    assert_eq!(speak(&mut *line, "Yes.").await.ended, Ok(()));
    let came = speak(&mut *line, "No.").await;
    assert_eq!((came.ulaw.len(), came.ended), (length(4), Ok(())));
    assert_eq!(fakes.requests().len(), 2);
    // Nor is it said again after the first audio: the same would be heard twice.
    let came = speak(&mut *line, TEXT).await;
    assert_eq!((came.ulaw.len(), came.ended.unwrap_err().why), (1_920, Failure::BrokenOff));
    assert_eq!(fakes.requests().len(), 3);
}
