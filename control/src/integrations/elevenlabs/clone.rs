//! Instant voice cloning: a voice is made of some speech, and taken away again.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use offhook_engine::call::Failure;
use serde::Deserialize;

use super::{KEY, refused};
use crate::integrations::form::Form;
use crate::integrations::http::{Answer, HttpClient, Limits};
use crate::integrations::refusal::{of_http, sensitive};
use crate::integrations::vendor::VendorError;
use crate::integrations::wav::file_of_ulaw;
use crate::settings::{BaseUrl, Secret};

/// What making a voice may cost: some seconds are usual.
const MAKE: Limits = Limits { time: Duration::from_secs(60), body_bytes: 64 * 1024 };
/// What taking one away may cost.
const REMOVE: Limits = Limits { time: Duration::from_secs(10), body_bytes: 64 * 1024 };

/// An account in which voices are made.
#[derive(Clone, Debug)]
pub struct VoiceMaker {
    http: HttpClient,
    base: BaseUrl,
    key: Secret,
    header: HeaderValue,
}

impl VoiceMaker {
    /// An account by its key. An error says what to do.
    pub fn new(http: HttpClient, base: BaseUrl, key: Secret) -> Result<Self, String> {
        let header = sensitive(key.reveal())?;
        Ok(Self { http, base, key, header })
    }

    /// Looks whether the account takes the key.
    pub async fn check(&self) -> Result<(), VendorError> {
        let request = Request::get(self.base.of("/v1/models"));
        self.send(request, Bytes::new(), super::CHECK).await.map(drop)
    }

    /// Makes a voice of speech, 8 kHz µ-law, and returns its id. `name`: as it is listed in the account.
    pub async fn make(&self, name: &str, ulaw: &[u8]) -> Result<String, VendorError> {
        self.make_of_file(name, &file_of_ulaw(ulaw)).await
    }

    /// As [`VoiceMaker::make`], of a WAV file.
    pub async fn make_of_file(&self, name: &str, wav: &[u8]) -> Result<String, VendorError> {
        #[derive(Deserialize)]
        struct Made {
            voice_id: String,
            #[serde(default)]
            requires_verification: bool,
        }
        let (content_type, body) = Form::new()
            .text("name", name)
            .text("remove_background_noise", "false")
            .file("files", "speech.wav", "audio/wav", wav)
            .finish();
        let request = Request::post(self.base.of("/v1/voices/add")).header(CONTENT_TYPE, content_type);
        let answer = self.send(request, body.into(), MAKE).await?;
        let malformed = |what: &str| VendorError::new(Failure::Malformed, what);
        let made: Made =
            serde_json::from_slice(&answer.body).map_err(|_| malformed("an answer without a voice"))?;
        if made.requires_verification {
            let _ = self.remove(&made.voice_id).await;
            return Err(VendorError::new(Failure::Refused, "the voice must be verified before it speaks"));
        }
        match is_id(&made.voice_id) {
            true => Ok(made.voice_id),
            false => Err(malformed("an answer with a voice that has no id")),
        }
    }

    /// Takes a voice away. One that is not there is gone.
    pub async fn remove(&self, voice: &str) -> Result<(), VendorError> {
        if !is_id(voice) {
            return Err(VendorError::new(Failure::Refused, "what is no id of a voice"));
        }
        let url = self.base.of(&format!("/v1/voices/{voice}"));
        let request = Request::builder().method(Method::DELETE).uri(url);
        match self.send(request, Bytes::new(), REMOVE).await {
            Err(error) if error.why == Failure::Refused && error.detail.contains("voice_") => Ok(()),
            answered => answered.map(drop),
        }
    }

    async fn send(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
        limits: Limits,
    ) -> Result<Answer, VendorError> {
        let request = request.header(KEY, self.header.clone()).body(Full::new(body));
        let request = request.expect("a checked base and a checked id are a URL");
        let answer = self.http.send(request, limits).await.map_err(|error| of_http(&error))?;
        match answer.status {
            status if status.is_success() => Ok(answer),
            StatusCode::PAYLOAD_TOO_LARGE => {
                Err(VendorError::new(Failure::Refused, "the speech is too long"))
            }
            status => Err(refused(status, &answer.headers, &answer.body, &self.key)),
        }
    }
}

/// Whether this may stand in a path.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}
