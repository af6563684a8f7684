//! Google's voices: `text:synthesize`, 8 kHz µ-law in one piece, without times of words.
//!
//! The whole text is made before any of it comes; so it pays to give it clauses. To drop the future closes the connection.
//!
//! <https://cloud.google.com/text-to-speech/docs/reference/rest/v1/text/synthesize>, by the official client 2.38.0, read 2026-11.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};
use offhook_engine::call::Failure;
use serde_json::{Value, json};

use super::{Credentials, failure};
use crate::integrations::http::{HttpClient, Limits, told};
use crate::integrations::refusal::{Told, of_http, of_status, reached, refusal};
use crate::integrations::vendor::{CONNECT, Spoken, VendorError, Voice, VoiceLine};
use crate::integrations::wav::{Beginning, beginning};
use crate::settings::BaseUrl;

/// Whom a token of a service account is for, wherever requests go.
const AUDIENCE: &str = "https://texttospeech.googleapis.com/";
/// What a look at the key may cost: there are thousands of voices.
const CHECK: Limits = Limits { time: Duration::from_secs(4), body_bytes: 4 * 1024 * 1024 };
/// An answer is no longer than this: twelve minutes of audio.
const ANSWER_MAX: usize = 8 * 1024 * 1024;

/// Which voice, where, and how it is to speak.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub base: BaseUrl,
    /// In whose name.
    pub credentials: Credentials,
    /// The language, such as `en-US`.
    pub language: String,
    /// The voice, such as `en-US-Chirp3-HD-Charon`; none: as the language has it.
    pub voice: Option<String>,
    /// How fast: 0.25 to 2; none: as the voice has it.
    pub speed: Option<f64>,
}

/// The voice, for all calls.
#[derive(Clone, Debug)]
pub struct Google(Arc<Client>);

#[derive(Debug)]
struct Client {
    http: HttpClient,
    options: Options,
}

impl Google {
    /// A voice with connections of its own. An error says what to do.
    pub fn new(options: Options) -> Result<Self, String> {
        let http = HttpClient::for_streams(CONNECT).map_err(|error| error.to_string())?;
        options.credentials.header(AUDIENCE).map_err(|error| error.detail)?;
        Ok(Self(Arc::new(Client { http, options })))
    }
}

impl Voice for Google {
    fn name(&self) -> &'static str {
        "google"
    }

    fn check(&self) -> BoxFuture<'_, Result<(), VendorError>> {
        self.0.check().boxed()
    }

    fn line(&self) -> Box<dyn VoiceLine> {
        Box::new(self.clone())
    }
}

impl VoiceLine for Google {
    fn warm(&mut self) -> BoxFuture<'_, Result<(), VendorError>> {
        // Its connection is kept for the first text.
        async { reached(self.0.check().await) }.boxed()
    }

    fn speak<'a>(
        &'a mut self,
        text: &'a str,
        spoken: &'a mut (dyn FnMut(Spoken) + Send),
    ) -> BoxFuture<'a, Result<(), VendorError>> {
        async {
            let ulaw = self.0.synthesize(text).await?;
            if !ulaw.is_empty() {
                spoken(Spoken { ulaw, words: Vec::new() });
            }
            Ok(())
        }
        .boxed()
    }
}

impl Client {
    async fn check(&self) -> Result<(), VendorError> {
        let language = form_urlencoded::byte_serialize(self.options.language.as_bytes()).collect::<String>();
        let url = format!("{}?languageCode={language}", self.options.base.of("/v1/voices"));
        let request = self.request(Request::get(url), Bytes::new())?;
        let answer = self.http.send(request, CHECK).await.map_err(|error| of_http(&error))?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(self.refused(answer.status, &answer.body)),
        }
    }

    async fn synthesize(&self, text: &str) -> Result<Vec<u8>, VendorError> {
        let Options { base, language, voice, speed, .. } = &self.options;
        let mut body = json!({
            "input": {"text": text}, "voice": {"languageCode": language},
            "audioConfig": {"audioEncoding": "MULAW", "sampleRateHertz": 8_000},
        });
        if let Some(voice) = voice {
            body["voice"]["name"] = voice.as_str().into();
        }
        if let Some(speed) = speed {
            body["audioConfig"]["speakingRate"] = (*speed).into();
        }
        let builder = Request::post(base.of("/v1/text:synthesize")).header(CONTENT_TYPE, "application/json");
        let request = self.request(builder, body.to_string().into())?;
        let response = self.http.open(request).await.map_err(|error| of_http(&error))?;
        if !response.status().is_success() {
            let (status, _, body) = refusal(response).await;
            return Err(self.refused(status, &body));
        }
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => malformed("an answer without an end"),
            false => VendorError::new(Failure::BrokenOff, told(&*error)),
        })?;
        let said: Value =
            serde_json::from_slice(&body.to_bytes()).map_err(|_| malformed("an answer that is no JSON"))?;
        let audio = said["audioContent"].as_str().ok_or_else(|| malformed("an answer without audio"))?;
        let audio = STANDARD.decode(audio).map_err(|_| malformed("audio that is no base64"))?;
        samples_of(audio)
    }

    fn request(&self, builder: Builder, body: Bytes) -> Result<Request<Full<Bytes>>, VendorError> {
        let (name, value) = self.options.credentials.header(AUDIENCE)?;
        let request = builder.header(name, value).body(Full::new(body));
        Ok(request.expect("a checked base and a fixed path are a URL"))
    }

    /// Its errors are `{"error": {"message", "status", "details": [{"reason"}]}}`.
    fn refused(&self, status: StatusCode, body: &[u8]) -> VendorError {
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &said["error"];
        let details = error["details"].as_array();
        let reason = details.and_then(|details| details.iter().find_map(|detail| detail["reason"].as_str()));
        let why = reason.and_then(failure).unwrap_or_else(|| of_status(status));
        let code = reason.or(error["status"].as_str()).unwrap_or_default();
        let message = error["message"].as_str().unwrap_or_default();
        Told { status: Some(status), code, message, request: None }
            .error(why, self.options.credentials.secret())
    }
}

/// The samples behind the head.
fn samples_of(mut audio: Vec<u8>) -> Result<Vec<u8>, VendorError> {
    match beginning(&audio)? {
        Beginning::Bare => Ok(audio),
        Beginning::Wav(head) if (head.tag, head.channels, head.rate_hz) == (7, 1, 8_000) => {
            // What stands behind the samples is none.
            let end =
                head.samples_bytes.map_or(audio.len(), |bytes| audio.len().min(head.samples_at + bytes));
            audio.truncate(end);
            Ok(audio.split_off(head.samples_at))
        }
        Beginning::Wav(head) => Err(malformed(&format!("WAV of another kind: {head:?}"))),
        Beginning::Unknown if audio.is_empty() => Ok(audio),
        Beginning::Unknown => Err(malformed("a WAV head without audio")),
    }
}

fn malformed(what: &str) -> VendorError {
    VendorError::new(Failure::Malformed, what)
}

#[cfg(test)]
mod tests;
