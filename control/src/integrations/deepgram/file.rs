//! `POST /v1/listen`: Nova writes down what is said in a file, all at once.
//!
//! In: a WAV file, so that nothing is said of its encoding. Out: `results.channels[0].alternatives[0].transcript`.
//! <https://developers.deepgram.com/reference/speech-to-text/listen-pre-recorded>, by deepgram-sdk 7.17.0, read 2026-11.

use std::time::Duration;

use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use offhook_engine::call::Failure;
use serde_json::Value;

use super::{Account, Options};
use crate::integrations::http::Limits;
use crate::integrations::refusal::of_http;
use crate::integrations::vendor::{RECORDING_HZ, Recording, VendorError};
use crate::integrations::wav::file_of;

/// Half a minute takes a second or two. Nobody waits for it.
const LIMITS: Limits = Limits { time: Duration::from_secs(60), body_bytes: 4 * 1024 * 1024 };
/// How the names of models for telephones end: they know English alone, and no recording here is of a telephone.
const PHONE: &str = "-phonecall";

/// Writes down a recording. Filler words are wanted: they tell how somebody speaks.
pub(super) async fn transcribe(
    account: &Account,
    options: &Options,
    recording: Recording<'_>,
) -> Result<String, VendorError> {
    let request = Request::post(account.base.of(&path(&options.model, recording.language)))
        .header(AUTHORIZATION, account.authorization.clone())
        .header(CONTENT_TYPE, "audio/wav")
        .body(file_of(recording.samples, RECORDING_HZ).into())
        .expect("a checked base and an encoded query are a URL");
    let answer = account.client.send(request, LIMITS).await.map_err(|error| of_http(&error))?;
    if !answer.status.is_success() {
        return Err(account.refused(answer.status, &answer.headers, &answer.body));
    }
    let answer: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let words = answer.pointer("/results/channels/0/alternatives/0/transcript").and_then(Value::as_str);
    let malformed = || VendorError::new(Failure::Malformed, "an answer without a transcript");
    words.map(|words| words.trim().to_owned()).ok_or_else(malformed)
}

fn path(model: &str, language: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("model", model.strip_suffix(PHONE).unwrap_or(model))
        .append_pair("language", language)
        .append_pair("punctuate", "true")
        .append_pair("smart_format", "true")
        .append_pair("filler_words", "true");
    format!("/v1/listen?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use offhook_fixtures::vendors::faults::Fault;
    use offhook_fixtures::vendors::{FakeVendors, Vendor};

    use super::super::Deepgram;
    use super::*;
    use crate::integrations::vendor::Ears;
    use crate::settings::Secret;

    fn deepgram(fakes: &FakeVendors) -> Deepgram {
        let base = fakes.base_url(Vendor::Deepgram).parse().unwrap();
        let options = Options::new(base, Secret::new("k"));
        Deepgram::new(Options { model: "nova-2-phonecall".into(), ..options }).unwrap()
    }

    #[tokio::test]
    async fn a_recording_is_written_down_as_a_file_in_its_own_language() {
        let fakes = FakeVendors::start().await;
        fakes.deepgram(["um, let me tell you."]);
        let samples = vec![900; 16_000];
        let recording = Recording { samples: &samples, language: "en-US" };
        assert_eq!(deepgram(&fakes).transcribe(recording).await.unwrap(), "um, let me tell you.");
        let asked = &fakes.requests()[0];
        let has = |name: &str, value: &str| asked.query.contains(&(name.into(), value.into()));
        assert!(
            has("model", "nova-2") && has("language", "en-US") && has("filler_words", "true"),
            "{:?}",
            asked.query
        );
        assert_eq!(asked.header("content-type"), Some("audio/wav"));
    }

    #[tokio::test]
    async fn a_file_that_is_refused_or_answered_with_something_else_says_why() {
        let fakes = FakeVendors::start().await;
        let samples = vec![900; 16_000];
        let recording = Recording { samples: &samples, language: "en" };
        for (fault, why) in [
            (Fault { status: Some(401), ..Fault::default() }, Failure::Unauthorised),
            (Fault { status: Some(429), ..Fault::default() }, Failure::Busy),
            (Fault { malformed_after: Some(0), ..Fault::default() }, Failure::Malformed),
        ] {
            fakes.fail("/deepgram/v1/listen", 1, fault);
            assert_eq!(deepgram(&fakes).transcribe(recording).await.unwrap_err().why, why);
        }
    }
}
