//! Media sockets that misbehave in every way that we could think of: each is told on its call's timeline, each call's
//! record is complete, and a call that comes after it on the same server notices nothing.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use futures_util::future::join_all;
use offhook::caller::time::FRAME;
use offhook_tests::audio::QUIET;
use offhook_tests::conversation::{self, TROUBLE, assert_conversed, assert_files, converse, sane_call};
use offhook_tests::{Announced, Goodbye, RawCall, Server};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

async fn server() -> (Server, tempfile::NamedTempFile) {
    conversation::server(&[]).await
}

/// What a socket does wrong in the middle of a call that goes on.
#[derive(Clone, Copy, Debug)]
enum Misdeed {
    MediaBeforeStart,
    SecondStart,
    ForeignStream,
    SequenceJumps,
    SequenceRepeats,
    NoNumbers,
    ChunkRepeats,
    TimestampJumps,
    EmptyPayload,
    OddPayloads,
    HugePayload,
    BrokenBase64,
    NotJson,
    MediaWithoutMedia,
    Binary,
    UnknownEvent,
    UnknownMark,
    NotAKey,
    OutboundTrack,
    DoubleSpeed,
}

use Misdeed::*;

impl Misdeed {
    /// What the timeline tells of it, with some of its data; none where it is no misdeed.
    fn told(self) -> Option<(&'static str, Value)> {
        let fault = |fault: &str| Some(("fault", json!({ "fault": fault, "count": 1 })));
        match self {
            MediaBeforeStart => Some(("fault", json!({ "fault": "MediaBeforeStart", "count": 3 }))),
            SecondStart => fault("SecondStart"),
            ForeignStream => fault("ForeignStream"),
            SequenceJumps | SequenceRepeats => Some(("out_of_sequence", json!({ "count": 1 }))),
            NoNumbers | OddPayloads => None,
            ChunkRepeats => Some(("stale", json!({ "count": 1 }))),
            TimestampJumps => Some(("gap", json!({ "missing_ms": 60, "concealed_ms": 60, "count": 1 }))),
            EmptyPayload => Some(("empty_payload", json!({ "count": 1 }))),
            HugePayload | DoubleSpeed => Some(("ahead_of_time", json!({ "count": 1 }))),
            BrokenBase64 => fault("NotBase64"),
            NotJson => Some(("fault", json!({ "fault": "NotAMessage", "count": 3 }))),
            MediaWithoutMedia | NotAKey => fault("NotAMessage"),
            Binary => fault("BinaryFrame"),
            UnknownEvent => fault("UnknownEvent"),
            UnknownMark => Some(("unknown_mark", json!({ "count": 2 }))),
            OutboundTrack => fault("ForeignTrack"),
        }
    }

    async fn commit(self, call: &mut RawCall) {
        let stream = call.stream_sid.clone();
        match self {
            // Committed before the call begins.
            MediaBeforeStart => {}
            SecondStart => {
                let sequence = call.sequence;
                call.stream_sid = "MZ00000000000000000000000000000000".into();
                call.start(None).await;
                call.stream_sid = stream;
                call.sequence = sequence;
            }
            ForeignStream => {
                call.stream_sid = "MZ00000000000000000000000000000000".into();
                call.media(&QUIET).await;
                call.stream_sid = stream;
                // It is none of this stream's pieces.
                call.frames -= 1;
                call.timestamp_ms -= 20;
            }
            SequenceJumps => call.sequence += 1_000,
            SequenceRepeats => call.sequence -= 1,
            NoNumbers => {
                let payload = "/".repeat(213) + "w==";
                for _ in 0..5 {
                    call.text(format!(
                        r#"{{"event":"media","streamSid":"{stream}","media":{{"payload":"{payload}"}}}}"#
                    ))
                    .await;
                }
            }
            ChunkRepeats => {
                call.frames -= 1;
                call.timestamp_ms -= 20;
            }
            TimestampJumps => {
                call.frames += 3;
                call.timestamp_ms += 60;
            }
            EmptyPayload => call.media(&[]).await,
            OddPayloads => {
                for size in [1, 7, 159, 161, 1_592, 1_600] {
                    call.media(&vec![0xFF; size]).await;
                }
            }
            HugePayload => call.media(&vec![0xFF; 60_000]).await,
            BrokenBase64 => call.text(media(&stream, "not base64!")).await,
            NotJson => {
                for text in ["hello", "", "{\"event\":"] {
                    call.text(text).await;
                }
            }
            MediaWithoutMedia => call.text(format!(r#"{{"event":"media","streamSid":"{stream}"}}"#)).await,
            Binary => call.send(Message::binary(vec![0; 500])).await,
            UnknownEvent => call.text(format!(r#"{{"event":"dance","streamSid":"{stream}"}}"#)).await,
            UnknownMark => {
                for name in ["never-sent", "m4000000000"] {
                    let mark =
                        format!(r#"{{"event":"mark","streamSid":"{stream}","mark":{{"name":"{name}"}}}}"#);
                    call.text(mark).await;
                }
            }
            NotAKey => {
                let key = format!(r#"{{"event":"dtmf","streamSid":"{stream}","dtmf":{{"digit":"X"}}}}"#);
                call.text(key).await;
            }
            OutboundTrack => {
                let media = format!(
                    r#"{{"event":"media","streamSid":"{stream}","media":{{"track":"outbound","payload":"/w=="}}}}"#
                );
                call.text(media).await;
            }
            DoubleSpeed => {
                for _ in 0..75 {
                    call.media(&QUIET).await;
                    call.frame(&QUIET).await;
                }
            }
        }
        call.settle().await;
    }
}

fn media(stream: &str, payload: &str) -> String {
    format!(r#"{{"event":"media","streamSid":"{stream}","media":{{"payload":"{payload}"}}}}"#)
}

/// A call that misbehaves and goes on, and a call after it.
async fn misbehave(server: &Server, misdeed: Misdeed) {
    let announced = Announced::to(server).await;
    let mut call = RawCall::connect(&announced).await;
    call.connected().await;
    if matches!(misdeed, MediaBeforeStart) {
        for _ in 0..3 {
            call.media(&QUIET).await;
        }
    }
    call.start(Some(&announced.token)).await;
    call.say(&[QUIET; 5].concat()).await;
    misdeed.commit(&mut call).await;
    converse(&mut call).await;
    let timeline = assert_conversed(server, &call).await;
    let holds = |data: &Value, wanted: &Value| {
        wanted.as_object().unwrap().iter().all(|(name, value)| data[name] == *value)
    };
    if let Some((kind, wanted)) = misdeed.told() {
        let told = timeline.iter().any(|(name, data)| name == kind && holds(data, &wanted));
        assert!(told, "{misdeed:?} should be told as {kind} {wanted}: {timeline:#?}");
    }
    // What is not to be expected of this misdeed did not happen either.
    let allowed = |kind: &str| match misdeed {
        MediaBeforeStart | SecondStart => matches!(kind, "fault" | "out_of_sequence"),
        _ => misdeed.told().is_some_and(|(told, _)| told == kind),
    };
    let more: Vec<_> =
        timeline.iter().filter(|(kind, _)| TROUBLE.contains(&kind.as_str()) && !allowed(kind)).collect();
    assert!(more.is_empty(), "{misdeed:?}: {more:?}");
    sane_call(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_whatever_is_wrong_with_their_messages() {
    let (server, _scenario) = server().await;
    let all = [
        MediaBeforeStart,
        SecondStart,
        ForeignStream,
        SequenceJumps,
        SequenceRepeats,
        NoNumbers,
        ChunkRepeats,
        TimestampJumps,
        EmptyPayload,
        OddPayloads,
        HugePayload,
        BrokenBase64,
        NotJson,
        MediaWithoutMedia,
        Binary,
        UnknownEvent,
        UnknownMark,
        NotAKey,
        OutboundTrack,
        DoubleSpeed,
    ];
    join_all(all.map(|misdeed| misbehave(&server, misdeed))).await;
}

/// What a socket does that a call does not survive.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The connection ends without a close frame.
    Vanishes,
    /// The connection is reset.
    Resets,
    /// Bytes that are no WebSocket frame.
    NoFrame,
    /// A message larger than any carrier's.
    HugeMessage,
    /// A stream in another format.
    ForeignFormat,
    /// A text message that is no text.
    InvalidUtf8,
    /// The carrier sends no more, and would still listen.
    HalfCloses,
    /// A frame that says it goes on with a message that never began.
    LoneContinuation,
    /// A frame that no client may send: unmasked.
    Unmasked,
    /// A ping longer than pings may be.
    LongPing,
}

async fn end_badly(server: &Server, end: End) {
    let announced = Announced::to(server).await;
    let mut call = RawCall::connect(&announced).await;
    call.connected().await;
    let encoding = if matches!(end, End::ForeignFormat) { "audio/x-alaw" } else { "audio/x-mulaw" };
    call.start_in(Some(&announced.token), encoding).await;
    if !matches!(end, End::ForeignFormat) {
        call.listen_until("the greeting", |call| call.heard.len() > 10).await;
    }
    let (reason, fault) = match end {
        End::Vanishes => ("leg-lost", None),
        End::Resets => {
            call.tcp().set_zero_linger().unwrap();
            ("leg-lost", None)
        }
        End::NoFrame => {
            call.tcp().write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            ("protocol-error", Some("Protocol"))
        }
        End::HugeMessage => {
            call.text(media(&call.stream_sid, &"////".repeat(50_000))).await;
            ("protocol-error", Some("TooLarge"))
        }
        End::ForeignFormat => ("unsupported-media", Some("ForeignFormat")),
        End::InvalidUtf8 => {
            // A final text frame of two bytes, masked with zeros.
            call.tcp().write_all(&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe]).await.unwrap();
            ("protocol-error", Some("Protocol"))
        }
        End::HalfCloses => {
            call.tcp().shutdown().await.unwrap();
            call.listen_until_gone().await;
            ("leg-lost", None)
        }
        End::LoneContinuation => {
            call.tcp().write_all(&[0x80, 0x82, 0, 0, 0, 0, b'{', b'}']).await.unwrap();
            ("protocol-error", Some("Protocol"))
        }
        End::Unmasked => {
            call.tcp().write_all(&[0x81, 0x02, b'{', b'}']).await.unwrap();
            ("protocol-error", Some("Protocol"))
        }
        End::LongPing => {
            call.tcp().write_all(&[&[0x89, 0xfe, 0, 200, 0, 0, 0, 0][..], &[0; 200]].concat()).await.unwrap();
            ("protocol-error", Some("Protocol"))
        }
    };
    if fault.is_some() {
        call.listen_to_end().await;
    }
    // A fault is told on the stream, and is no word of the agent.
    let (sid, spoke) = (call.call_sid.clone(), !call.audio(0).is_empty());
    drop(call);
    let record = server.record(&sid).await;
    assert_eq!((&record["status"], &record["end_reason"]), (&json!("failed"), &json!(reason)), "{end:?}");
    assert_eq!(record["turns"].as_array().unwrap().len(), usize::from(spoke), "{end:?}: {record:#}");
    assert_files(server, &record).await;
    let timeline = server.timeline(&sid).await;
    if let Some(fault) = fault {
        let told = timeline.iter().any(|(kind, data)| kind == "fault" && data["fault"] == fault);
        assert!(told, "{end:?}: {timeline:#?}");
    }
    assert_eq!(timeline.last().unwrap(), &("ended".to_owned(), json!({ "reason": reason })));
    sane_call(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_break_off_are_recorded_to_where_they_did() {
    let (server, _scenario) = server().await;
    let all = [
        End::Vanishes,
        End::Resets,
        End::NoFrame,
        End::HugeMessage,
        End::ForeignFormat,
        End::InvalidUtf8,
        End::HalfCloses,
        End::LoneContinuation,
        End::Unmasked,
        End::LongPing,
    ];
    join_all(all.map(|end| end_badly(&server, end))).await;
}

/// How the server ends a socket that sends `start` with this token, for this call.
async fn turned_away(announced: &Announced, token: Option<&str>) -> Goodbye {
    let mut call = RawCall::connect(announced).await;
    call.connected().await;
    call.start(token).await;
    call.listen_to_end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_may_not_come_in_are_told_why() {
    let (server, _scenario) = server().await;
    let policy = |reason: &str| Goodbye { code: 1008, reason: reason.into() };
    let announced = Announced::to(&server).await;
    let no_token =
        "start has no token: only calls that the webhook announced are let in (OFFHOOK_MEDIA_AUTH)";
    assert_eq!(turned_away(&announced, None).await, policy(no_token));
    assert_eq!(turned_away(&announced, Some("")).await, policy("the token is not known"));
    assert_eq!(turned_away(&announced, Some("guess")).await, policy("the token is not known"));
    let other = Announced::to(&server).await;
    let wrong = turned_away(&announced, Some(&other.token)).await;
    assert_eq!(wrong, policy("the token was given to another call"));

    // All that has burnt no token: the call that was announced still comes in, once.
    let mut call = RawCall::connect(&announced).await;
    call.connected().await;
    call.start(Some(&announced.token)).await;
    converse(&mut call).await;
    assert_conversed(&server, &call).await;
    let again = turned_away(&announced, Some(&announced.token)).await;
    assert_eq!(again, policy("the token was used before: it opens one socket"));

    // No start at all: eight other messages are enough.
    let mut call = RawCall::connect(&other).await;
    for _ in 0..4 {
        call.connected().await;
        call.media(&QUIET[..FRAME]).await;
    }
    let goodbye = tokio::time::timeout(Duration::from_secs(60), call.listen_to_end()).await.unwrap();
    assert_eq!(goodbye, policy("no start among the first 8 messages"));
    assert_eq!(server.record_when(&other.call_sid, |_| true).await["status"], "announced");
    sane_call(&server).await;
}
