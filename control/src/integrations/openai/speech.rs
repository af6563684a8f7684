//! Speech of OpenAI's, and of servers that speak its protocol.
//!
//! In: a text. Out: its audio as it comes, 24 kHz brought down to 8 kHz µ-law. There are no times of words. To drop the future
//! closes the connection, on which such servers stop.
//!
//! <https://platform.openai.com/docs/api-reference/audio/createSpeech>, by the official SDK 3.54.0, read 2026-11.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::header::CONTENT_TYPE;
use offhook_codecs::resample::Resampler;
use offhook_codecs::{SampleRate, g711, pcm};
use offhook_engine::call::Failure;
use serde_json::json;

use super::account::Account;
use crate::integrations::http::{HttpClient, Limits, told};
use crate::integrations::refusal::{header, of_http, reached, refusal};
use crate::integrations::vendor::{CONNECT, Spoken, VendorError, Voice, VoiceLine};
use crate::integrations::wav::{Beginning, beginning};
use crate::settings::{BaseUrl, Secret};

/// What `pcm` is, where no head says something else.
const RATE: SampleRate = SampleRate::HZ_24000;
/// So many bytes are looked at before any is played: 0.7 ms.
const LOOKED_AT: usize = 32;
/// What a look at the key may cost. Some servers list hundreds of models.
const CHECK: Limits = Limits { time: Duration::from_secs(4), body_bytes: 4 * 1024 * 1024 };

/// Which voice, where, and how it is to speak.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub base: BaseUrl,
    /// Its key, where it wants one.
    pub key: Option<Secret>,
    /// The model, such as `gpt-4o-mini-tts`.
    pub model: String,
    /// The voice, such as `alloy`.
    pub voice: String,
    /// How it is to speak, in words, where the model takes that.
    pub instructions: Option<String>,
    /// How fast: 0.25 to 4; none: as the server has it.
    pub speed: Option<f64>,
}

/// The voice, for all calls.
#[derive(Clone, Debug)]
pub struct Speech(Arc<Client>);

#[derive(Debug)]
struct Client {
    account: Account,
    options: Options,
}

impl Speech {
    /// A voice with connections of its own. An error says what to do.
    pub fn new(options: Options) -> Result<Self, String> {
        let http = HttpClient::for_streams(CONNECT).map_err(|error| error.to_string())?;
        let account = Account::new(http, options.base.clone(), options.key.clone())?;
        Ok(Self(Arc::new(Client { account, options })))
    }
}

impl Voice for Speech {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn check(&self) -> BoxFuture<'_, Result<(), VendorError>> {
        self.0.account.check(CHECK).boxed()
    }

    fn line(&self) -> Box<dyn VoiceLine> {
        Box::new(self.clone())
    }
}

impl VoiceLine for Speech {
    fn warm(&mut self) -> BoxFuture<'_, Result<(), VendorError>> {
        // Its connection is kept for the first text.
        async { reached(self.0.account.check(CHECK).await) }.boxed()
    }

    fn speak<'a>(
        &'a mut self,
        text: &'a str,
        spoken: &'a mut (dyn FnMut(Spoken) + Send),
    ) -> BoxFuture<'a, Result<(), VendorError>> {
        self.0.speak(text, spoken).boxed()
    }
}

impl Client {
    async fn speak(&self, text: &str, spoken: &mut (dyn FnMut(Spoken) + Send)) -> Result<(), VendorError> {
        let Options { model, voice, instructions, speed, .. } = &self.options;
        let mut body = json!({"model": model, "input": text, "voice": voice, "response_format": "pcm"});
        if let Some(instructions) = instructions {
            body["instructions"] = instructions.as_str().into();
        }
        if let Some(speed) = speed {
            body["speed"] = (*speed).into();
        }
        let builder = self.account.post("/v1/audio/speech").header(CONTENT_TYPE, "application/json");
        let request = self.account.request(builder, body.to_string().into());
        let response = self.account.http.open(request).await.map_err(|error| of_http(&error))?;
        if !response.status().is_success() {
            let (status, headers, body) = refusal(response).await;
            return Err(self.account.refused(status, &headers, &body));
        }
        if let Some(kind) = header(response.headers(), "content-type").filter(|kind| is_no_pcm(kind)) {
            return Err(malformed(&format!("{} instead of samples", kind.escape_debug())));
        }
        let mut pcm = Pcm::default();
        let mut pass = |ulaw: Vec<u8>| {
            if !ulaw.is_empty() {
                spoken(Spoken { ulaw, words: Vec::new() });
            }
        };
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|broken| VendorError::new(Failure::BrokenOff, told(&broken)))?;
            if let Ok(bytes) = frame.into_data() {
                pass(pcm.take(&bytes)?);
            }
        }
        pass(pcm.finish()?);
        Ok(())
    }
}

/// Whether an answer of that type holds no samples for sure.
fn is_no_pcm(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let others =
        ["text/", "application/json", "audio/mpeg", "audio/ogg", "audio/opus", "audio/aac", "audio/flac"];
    others.iter().any(|other| kind.starts_with(other))
}

fn malformed(what: &str) -> VendorError {
    VendorError::new(Failure::Malformed, what)
}

/// Samples of 16 bits, in any split, on their way to 8 kHz µ-law.
#[derive(Default)]
struct Pcm {
    /// Bytes that cannot be taken yet: the beginning of the stream, later the first half of a sample.
    held: Vec<u8>,
    /// Known once the beginning is.
    resampler: Option<Resampler>,
}

impl Pcm {
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<u8>, VendorError> {
        self.held.extend_from_slice(bytes);
        if self.resampler.is_none() && (self.held.len() < LOOKED_AT || !self.begin()?) {
            return Ok(Vec::new());
        }
        Ok(self.convert(false))
    }

    fn finish(&mut self) -> Result<Vec<u8>, VendorError> {
        if self.resampler.is_none() && !self.held.is_empty() && !self.begin()? {
            return Err(malformed("a WAV head without audio"));
        }
        Ok(self.convert(true))
    }

    /// Looks at the beginning. False: there is not enough of it.
    fn begin(&mut self) -> Result<bool, VendorError> {
        let rate = match beginning(&self.held)? {
            Beginning::Unknown => return Ok(false),
            Beginning::Bare => {
                // No voice begins as loud as letters are; a page of a proxy's does, and files of other formats.
                let first = &self.held[..self.held.len().min(LOOKED_AT)];
                let is_text = first.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t'));
                let is_file = [&b"ID3"[..], b"OggS", b"fLaC"].iter().any(|magic| first.starts_with(magic));
                if is_text || is_file {
                    return Err(malformed("an answer that is no samples"));
                }
                RATE
            }
            Beginning::Wav(head) => {
                let rate = SampleRate::from_hz(head.rate_hz);
                let (Some(rate), 1 | 0xfffe, 1, 16) = (rate, head.tag, head.channels, head.bits) else {
                    return Err(malformed(&format!("WAV of another kind: {head:?}")));
                };
                self.held.drain(..head.samples_at);
                rate
            }
        };
        let resampler = Resampler::new(rate, SampleRate::HZ_8000);
        self.resampler = Some(resampler.map_err(|error| malformed(&error.to_string()))?);
        Ok(true)
    }

    fn convert(&mut self, is_last: bool) -> Vec<u8> {
        let Some(resampler) = &mut self.resampler else { return Vec::new() };
        let (mut samples, mut at_8_khz) = (Vec::new(), Vec::new());
        let left = pcm::samples_from_le(&self.held, &mut samples).len();
        self.held.drain(..self.held.len() - left);
        resampler.process(&samples, &mut at_8_khz);
        if is_last {
            resampler.finish(&mut at_8_khz);
        }
        let mut ulaw = vec![0; at_8_khz.len()];
        g711::encode_ulaw(&at_8_khz, &mut ulaw);
        ulaw
    }
}

#[cfg(test)]
mod tests;
