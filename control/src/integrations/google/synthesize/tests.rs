//! Against the fake of Google, over real sockets.

use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{BAD_KEY, CHARACTER_MS, FakeVendors, Vendor, count_words};

use super::super::ServiceAccount;
use super::super::account::tests::json as account;
use super::*;
use crate::integrations::testing::{Came, cancelled_once_asked, speak};
use crate::integrations::wav::tests::head;
use crate::settings::Secret;

const TEXT: &str = "We open at nine, and close at five.";
const SECRET: &str = "AIza-very-secret-0123456789";
const PATH: &str = "/google/v1/text:synthesize";

fn options(fakes: &FakeVendors, key: &str) -> Options {
    Options {
        base: fakes.base_url(Vendor::Google).parse().unwrap(),
        credentials: Credentials::Key(Secret::new(key)),
        language: "en-US".into(),
        voice: Some("en-US-Chirp3-HD-Charon".into()),
        speed: Some(1.1),
    }
}

fn line(fakes: &FakeVendors) -> Box<dyn VoiceLine> {
    Google::new(options(fakes, SECRET)).unwrap().line()
}

/// What comes of the text under this fault.
async fn under(fault: &str) -> Came {
    let fakes = FakeVendors::start().await;
    fakes.fail(PATH, 1, Fault::parse(fault).unwrap());
    let came = speak(&mut *line(&fakes), TEXT).await;
    assert!(!format!("{came:?}").contains(SECRET), "{came:?}");
    came
}

#[tokio::test]
async fn speech_comes_without_its_head() {
    let fakes = FakeVendors::start().await;
    let came = speak(&mut *line(&fakes), TEXT).await;
    assert_eq!((came.ulaw.len(), count_words(&came.samples(), 8_000)), (TEXT.len() * CHARACTER_MS * 8, 8));
    assert_eq!(came.ended, Ok(()));
    let asked = &fakes.requests()[0];
    let wanted = json!({
        "input": {"text": TEXT}, "voice": {"languageCode": "en-US", "name": "en-US-Chirp3-HD-Charon"},
        "audioConfig": {"audioEncoding": "MULAW", "sampleRateHertz": 8_000, "speakingRate": 1.1},
    });
    assert_eq!(asked.body, wanted);
    assert_eq!((asked.header("x-goog-api-key"), asked.query.len()), (Some("…6789"), 0));
    assert!(asked.header("user-agent").unwrap().starts_with("offhook/"));
}

#[tokio::test]
async fn a_service_account_speaks_as_well() {
    let fakes = FakeVendors::start().await;
    let account = ServiceAccount::from_json(&account("a@b.example")).unwrap();
    let options = Options { credentials: Credentials::Account(account), ..options(&fakes, SECRET) };
    let google = Google::new(options).unwrap();
    assert_eq!(google.check().await, Ok(()));
    assert_eq!(speak(&mut *google.line(), "Yes.").await.ended, Ok(()));
    assert!(fakes.requests()[1].header("authorization").unwrap().starts_with("Bearer …"));
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
    assert_eq!(requests[0].parameter("languageCode"), Some("en-US"));
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_known_before_it_is_needed() {
    let fakes = FakeVendors::start().await;
    let check =
        async |options: Options| Google::new(options).unwrap().check().await.map_err(|error| error.why);
    assert_eq!(check(options(&fakes, SECRET)).await, Ok(()));
    assert_eq!(check(options(&fakes, BAD_KEY)).await, Err(Failure::Unauthorised));
    let closed = Options { base: "http://127.0.0.1:1".parse().unwrap(), ..options(&fakes, SECRET) };
    assert_eq!(check(closed).await, Err(Failure::Unreachable));
    assert!(Google::new(options(&fakes, "two\nlines")).is_err());
}

#[tokio::test]
async fn each_refusal_has_its_reason() {
    for (status, why, code) in [
        (401, Failure::Unauthorised, "UNAUTHENTICATED"),
        (402, Failure::Unpaid, "INVALID_ARGUMENT"),
        (403, Failure::Unauthorised, "PERMISSION_DENIED"),
        (404, Failure::Refused, "NOT_FOUND"),
        (429, Failure::Busy, "RESOURCE_EXHAUSTED"),
        (500, Failure::Faulty, "INTERNAL"),
        (503, Failure::Faulty, "UNAVAILABLE"),
    ] {
        let error = under(&format!("status={status}")).await.ended.unwrap_err();
        assert!(
            error.why == why && error.detail.starts_with(&format!("status {status}, {code}")),
            "{error:?}"
        );
    }
    let fakes = FakeVendors::start().await;
    let google = Google::new(options(&fakes, SECRET)).unwrap();
    assert!(!format!("{google:?}").contains(SECRET));
    for (status, reason, why) in [
        (StatusCode::BAD_REQUEST, "API_KEY_INVALID", Failure::Unauthorised),
        (StatusCode::FORBIDDEN, "BILLING_DISABLED", Failure::Unpaid),
        (StatusCode::BAD_REQUEST, "OTHER", Failure::Refused),
    ] {
        let body = json!({"error": {"message": SECRET, "status": "X", "details": [{}, {"reason": reason}]}});
        let error = google.0.refused(status, body.to_string().as_bytes());
        assert!(
            error.why == why && error.detail.contains(reason) && !error.detail.contains(SECRET),
            "{error}"
        );
    }
    let error = google.0.refused(StatusCode::BAD_GATEWAY, b"<html>");
    assert_eq!((error.why, &*error.detail), (Failure::Faulty, "status 502"));
}

#[tokio::test]
async fn what_breaks_off_or_cannot_be_read_gives_nothing_and_says_so() {
    for (fault, why) in [
        ("close=1011@2000", Failure::BrokenOff),
        ("malformed@2000", Failure::Malformed),
        ("malformed", Failure::Malformed),
    ] {
        let came = under(fault).await;
        assert_eq!((came.ulaw.len(), came.ended.unwrap_err().why), (0, why), "{fault}");
    }
}

#[tokio::test]
async fn latency_and_slow_audio_are_for_others_to_judge() {
    for fault in ["latency=200ms", "slow=8"] {
        assert_eq!(under(fault).await.ended, Ok(()), "{fault}");
    }
}

#[tokio::test]
async fn to_drop_a_text_closes_its_connection_and_the_next_one_is_clean() {
    for fault in ["stall_after=2000", "latency=1500ms", "slow=0.5"] {
        let fakes = FakeVendors::start().await;
        fakes.fail(PATH, 1, Fault::parse(fault).unwrap());
        let mut line = line(&fakes);
        cancelled_once_asked(&mut *line, TEXT, &fakes).await;
        let came = speak(&mut *line, "No.").await;
        assert_eq!((came.ulaw.len(), came.ended), (3 * CHARACTER_MS * 8, Ok(())), "{fault}");
        let requests = fakes.requests();
        assert_ne!(requests[0].connection, requests[1].connection, "{fault}");
    }
}

#[test]
fn samples_stand_between_their_head_and_what_follows_them() {
    let unknown = [head(7, 8_000, 8), vec![1, 2, 3]].concat();
    assert_eq!(samples_of(unknown).unwrap(), [1, 2, 3]);
    let mut known = head(7, 8_000, 8);
    let at = known.len() - 4;
    known[at..].copy_from_slice(&2u32.to_le_bytes());
    assert_eq!(samples_of([known, vec![1, 2], b"LIST\0\0\0\0".to_vec()].concat()).unwrap(), [1, 2]);
    assert_eq!(samples_of(vec![0xff, 0x7f]).unwrap(), [0xff, 0x7f], "no head is no harm");
    assert!(samples_of(Vec::new()).unwrap().is_empty());
    for wrong in [head(1, 8_000, 16), head(7, 24_000, 8), b"RIFF".to_vec()] {
        assert_eq!(samples_of(wrong).unwrap_err().why, Failure::Malformed);
    }
}
