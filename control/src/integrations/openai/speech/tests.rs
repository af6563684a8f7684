//! Against the fake of OpenAI, over real sockets.

use offhook_codecs::SampleRate;
use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{BAD_KEY, CHARACTER_MS, FakeVendors, Vendor, count_words};

use hyper::{HeaderMap, StatusCode};

use super::*;
use crate::integrations::testing::{Came, cancelled, cancelled_once_asked, speak};
use crate::integrations::wav;

const TEXT: &str = "We open at nine, and close at five.";
const KEY: &str = "sk-very-secret-0123456789";
const PATH: &str = "/openai/v1/audio/speech";

fn options(fakes: &FakeVendors, key: &str) -> Options {
    Options {
        base: fakes.base_url(Vendor::OpenAi).parse().unwrap(),
        key: Some(Secret::new(key)),
        model: "gpt-4o-mini-tts".into(),
        voice: "alloy".into(),
        instructions: Some("Speak calmly.".into()),
        speed: Some(1.0),
    }
}

fn line(fakes: &FakeVendors) -> Box<dyn VoiceLine> {
    Speech::new(options(fakes, KEY)).unwrap().line()
}

/// What comes of the text under this fault.
async fn under(fault: &str) -> Came {
    let fakes = FakeVendors::start().await;
    fakes.fail(PATH, 1, Fault::parse(fault).unwrap());
    let came = speak(&mut *line(&fakes), TEXT).await;
    assert!(!format!("{came:?}").contains(KEY), "{came:?}");
    came
}

#[tokio::test]
async fn speech_comes_at_8_khz_as_long_as_it_is() {
    let fakes = FakeVendors::start().await;
    let came = speak(&mut *line(&fakes), TEXT).await;
    assert_eq!(came.ended, Ok(()));
    assert_eq!(came.ulaw.len(), TEXT.len() * CHARACTER_MS * 8);
    assert_eq!(count_words(&came.samples(), 8_000), 8);
    assert!(came.pieces > 3, "as it comes: {}", came.pieces);
    let asked = &fakes.requests()[0];
    assert_eq!(
        asked.body,
        json!({
            "model": "gpt-4o-mini-tts", "input": TEXT, "voice": "alloy", "response_format": "pcm",
            "instructions": "Speak calmly.", "speed": 1.0,
        })
    );
    assert_eq!(asked.header("authorization"), Some("Bearer …6789"));
    assert!(asked.header("user-agent").unwrap().starts_with("offhook/"));
}

#[tokio::test]
async fn one_connection_does_for_looking_and_for_one_text_after_the_other() {
    let fakes = FakeVendors::start().await;
    let mut line = line(&fakes);
    line.warm().await.unwrap();
    for _ in 0..2 {
        assert_eq!(speak(&mut *line, "Yes.").await.ended, Ok(()));
    }
    let requests = fakes.requests();
    assert!(requests.len() == 3 && requests.iter().all(|asked| asked.connection == 0));
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_known_before_it_is_needed() {
    let fakes = FakeVendors::start().await;
    assert_eq!(Speech::new(options(&fakes, KEY)).unwrap().check().await, Ok(()));
    let error = Speech::new(options(&fakes, BAD_KEY)).unwrap().check().await.unwrap_err();
    assert_eq!(error.why, Failure::Unauthorised);
    let closed = Options { base: "http://127.0.0.1:1".parse().unwrap(), ..options(&fakes, KEY) };
    assert_eq!(Speech::new(closed).unwrap().check().await.unwrap_err().why, Failure::Unreachable);
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
        let error = under(&format!("status={status}")).await.ended.unwrap_err();
        assert_eq!(error.why, why, "{error}");
        assert!(
            error.detail.contains(&status.to_string()) && error.detail.contains("request req_"),
            "{error}"
        );
    }
    let fakes = FakeVendors::start().await;
    let client = Speech::new(options(&fakes, KEY)).unwrap();
    let body =
        json!({"error": {"code": "insufficient_quota", "message": format!("{KEY} is empty")}}).to_string();
    let error = client.0.account.refused(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), body.as_bytes());
    assert_eq!((error.why, &*error.detail), (Failure::Unpaid, "status 429, insufficient_quota: … is empty"));
    let flat = client.0.account.refused(
        StatusCode::BAD_REQUEST,
        &HeaderMap::new(),
        br#"{"message":"flat","code":400}"#,
    );
    assert_eq!(flat.detail, "status 400: flat");
}

#[tokio::test]
async fn what_breaks_off_gives_what_there_was_and_says_so() {
    let came = under("close=1011@4801").await;
    assert_eq!(came.ended.unwrap_err().why, Failure::BrokenOff);
    assert!((600..=800).contains(&came.ulaw.len()), "4,801 bytes are 800 samples: {}", came.ulaw.len());
    assert_eq!(under("malformed").await.ended.unwrap_err().why, Failure::Malformed);
}

#[tokio::test]
async fn latency_and_slow_audio_are_for_others_to_judge() {
    for fault in ["latency=200ms", "slow=4"] {
        let came = under(fault).await;
        assert_eq!((came.ended, came.ulaw.len()), (Ok(()), TEXT.len() * CHARACTER_MS * 8), "{fault}");
    }
}

#[tokio::test]
async fn to_drop_a_text_closes_its_connection_and_the_next_one_is_clean() {
    for fault in ["stall_after=4000", "latency=1500ms", "slow=0.5"] {
        let fakes = FakeVendors::start().await;
        fakes.fail(PATH, 1, Fault::parse(fault).unwrap());
        let mut line = line(&fakes);
        match fault.starts_with("latency") {
            true => cancelled_once_asked(&mut *line, TEXT, &fakes).await,
            false => cancelled(&mut *line, TEXT).await,
        }
        let came = speak(&mut *line, "No.").await;
        assert_eq!((count_words(&came.samples(), 8_000), came.ended), (1, Ok(())), "{fault}");
        let requests = fakes.requests();
        assert_ne!(requests[0].connection, requests[1].connection, "{fault}");
    }
}

#[test]
fn any_split_of_the_bytes_gives_the_same_samples_with_a_head_or_without() {
    let samples: Vec<i16> = (0..4_801).map(|n| ((f64::from(n) * 0.1).sin() * 9_000.0) as i16).collect();
    let bare: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let whole = |bytes: &[u8], by: usize| {
        let mut pcm = Pcm::default();
        let mut ulaw: Vec<u8> = bytes.chunks(by).flat_map(|piece| pcm.take(piece).unwrap()).collect();
        ulaw.extend(pcm.finish().unwrap());
        ulaw
    };
    let wanted = whole(&bare, bare.len());
    assert_eq!(wanted.len(), 1_600);
    let with_head = [wav::tests::head(1, 24_000, 16), bare.clone()].concat();
    for by in [1, 3, 7, 160, 4_095] {
        assert_eq!(whole(&bare, by), wanted, "{by}");
        assert_eq!(whole(&with_head, by), wanted, "{by}, with a head");
    }
    let at_16_khz = [wav::tests::head(1, 16_000, 16), bare].concat();
    assert_eq!(whole(&at_16_khz, 333).len(), 2_401, "a head may name another rate");
    assert_eq!(SampleRate::from_hz(24_000), Some(RATE));
}

#[test]
fn what_is_no_samples_is_not_played() {
    for bytes in
        [&b"<html><body>Bad gateway</body></html>"[..], b"{\"error\": 5}", b"ID3\x04\0\0\0\0\0\0\0\0"]
    {
        let mut pcm = Pcm::default();
        let taken = pcm.take(bytes).and_then(|_| pcm.finish());
        assert_eq!(taken.unwrap_err().why, Failure::Malformed, "{bytes:?}");
    }
    let mut stereo = wav::tests::head(1, 24_000, 16);
    let channels = stereo.windows(4).position(|at| at == b"fmt ").unwrap() + 10;
    stereo[channels] = 2;
    assert!(Pcm::default().take(&stereo).is_err());
    assert!(Pcm::default().take(&[wav::tests::head(3, 24_000, 32), vec![0; 9]].concat()).is_err());
    let mut pcm = Pcm::default();
    assert!(pcm.take(b"RIFF").unwrap().is_empty());
    assert!(pcm.finish().is_err(), "a head that never ends");
    assert!(Pcm::default().finish().unwrap().is_empty(), "no audio is the caller's to judge");
    assert!(is_no_pcm("Text/html; charset=utf-8") && !is_no_pcm("audio/pcm") && !is_no_pcm("audio/wav"));
}
