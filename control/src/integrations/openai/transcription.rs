//! Transcription of OpenAI's, and of servers that speak its protocol: of whole utterances, one request each.
//!
//! In: an utterance of 8 kHz µ-law. Out: its words, once, after it has ended; there are none before. To drop the future closes
//! the connection. A connection is there before it is needed: one is opened at the beginning, and when an utterance begins
//! after a long silence.
//!
//! <https://platform.openai.com/docs/api-reference/audio/createTranscription>, by the official SDK 3.54.0, read 2026-11.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::header::CONTENT_TYPE;
use offhook_engine::call::{Failure, UtteranceId};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::account::Account;
use crate::integrations::form::Form;
use crate::integrations::http::{HttpClient, Limits};
use crate::integrations::refusal::{Told, header, of_http, reached};
use crate::integrations::vendor::{CONNECT, Caller, Ears, Heard, RECORDING_HZ, Recording, VendorError};
use crate::integrations::wav::{file_of, file_of_ulaw};
use crate::settings::{BaseUrl, Secret};

/// The rate of all audio here, in Hz.
const RATE_HZ: u32 = 8_000;
/// Bytes of an utterance that are sent: two minutes, four times what a turn may last.
const AUDIO_MAX: usize = 120 * RATE_HZ as usize;
/// What is shorter is refused, so that it is filled up with silence to this length: 200 ms.
const AUDIO_MIN: usize = RATE_HZ as usize / 5;
/// µ-law of silence.
const SILENCE: u8 = 0xff;
/// Bytes of an answer: an hour of words.
const ANSWER_MAX: usize = 256 * 1024;
/// What a look at the key may cost. Some servers list hundreds of models.
const CHECK: Limits = Limits { time: Duration::from_secs(4), body_bytes: 4 * 1024 * 1024 };
/// After so long, a connection may be gone.
const KEPT: Duration = Duration::from_secs(20);
/// What is allowed beside [`Options::answer_within`], before other ears are asked.
const MARGIN: Duration = Duration::from_millis(200);
/// How long the words of a recording may take: nobody waits for them.
const RECORDING_WITHIN: Duration = Duration::from_secs(60);

/// Which model, where, and how it is asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub base: BaseUrl,
    /// Its key, where it wants one.
    pub key: Option<Secret>,
    /// The model, such as `gpt-transcribe`.
    pub model: String,
    /// The language, as in ISO 639-1; none: the model finds out.
    pub language: Option<String>,
    /// Words and names that are likely.
    pub prompt: Option<String>,
    /// How long the words may take, from the end of the utterance on.
    pub answer_within: Duration,
}

/// Ears that are a model's.
#[derive(Debug)]
pub struct Transcription {
    account: Account,
    options: Options,
}

impl Transcription {
    /// Ears for all calls. An error says what to do.
    pub fn new(options: Options) -> Result<Self, String> {
        let client = HttpClient::for_streams(CONNECT).map_err(|error| error.to_string())?;
        let account = Account::new(client, options.base.clone(), options.key.clone())?;
        Ok(Self { account, options })
    }

    async fn hear(
        &self,
        caller: &mut mpsc::Receiver<Caller>,
        heard: &mut (dyn FnMut(Heard) + Send),
    ) -> Result<(), VendorError> {
        let mut warming = Some(self.account.check(CHECK).boxed());
        let mut asked_at = Instant::now();
        let mut open: Option<(UtteranceId, Vec<u8>)> = None;
        let mut asking: Option<(UtteranceId, BoxFuture<'_, Result<String, VendorError>>)> = None;
        // One after the other, so that words come in the order in which they were said.
        let mut waiting: VecDeque<(UtteranceId, Vec<u8>)> = VecDeque::new();
        loop {
            tokio::select! {
                biased;
                (utterance, text) = asked(&mut asking) => {
                    heard(Heard { utterance, text: text?, is_final: true });
                    let next = waiting.pop_front();
                    asking = next.map(|(utterance, audio)| (utterance, self.transcribe(audio).boxed()));
                }
                warm = warmed(&mut warming) => {
                    warming = None;
                    reached(warm)?;
                }
                did = caller.recv() => match did {
                    None => return Ok(()),
                    Some(Caller::Starts(utterance)) => {
                        open = Some((utterance, Vec::new()));
                        if asking.is_none() && warming.is_none() && asked_at.elapsed() > KEPT {
                            asked_at = Instant::now();
                            warming = Some(self.account.check(CHECK).boxed());
                        }
                    }
                    Some(Caller::Audio(ulaw)) => {
                        if let Some((_, audio)) = &mut open {
                            let room = AUDIO_MAX.saturating_sub(audio.len());
                            audio.extend_from_slice(&ulaw[..ulaw.len().min(room)]);
                        }
                    }
                    Some(Caller::Ends { utterance, .. }) => {
                        let Some((_, audio)) = open.take_if(|(id, _)| *id == utterance) else { continue };
                        if audio.is_empty() {
                            heard(Heard { utterance, text: String::new(), is_final: true });
                            continue;
                        }
                        asked_at = Instant::now();
                        if asking.is_some() {
                            waiting.push_back((utterance, audio));
                        } else {
                            asking = Some((utterance, self.transcribe(audio).boxed()));
                        }
                    }
                    Some(Caller::Expected(_)) => {}
                },
            }
        }
    }

    async fn transcribe(&self, mut ulaw: Vec<u8>) -> Result<String, VendorError> {
        ulaw.resize(ulaw.len().max(AUDIO_MIN), SILENCE);
        let form = self.form(&file_of_ulaw(&ulaw), self.options.language.as_deref());
        self.words_of(form, self.options.answer_within).await
    }

    /// `form`: its type, and itself.
    async fn words_of(
        &self,
        (content_type, body): (String, Vec<u8>),
        within: Duration,
    ) -> Result<String, VendorError> {
        #[derive(Deserialize)]
        struct Words {
            text: String,
        }
        let builder = self.account.post("/v1/audio/transcriptions").header(CONTENT_TYPE, content_type);
        let limits = Limits { time: within, body_bytes: ANSWER_MAX };
        let answer = self.account.http.send(self.account.request(builder, body.into()), limits).await;
        let answer = answer.map_err(|error| of_http(&error))?;
        if !answer.status.is_success() {
            return Err(self.account.refused(answer.status, &answer.headers, &answer.body));
        }
        let words: Words = serde_json::from_slice(&answer.body).map_err(|_| {
            let request = header(&answer.headers, "x-request-id");
            let told = Told { status: None, code: "", message: "an answer without a text", request };
            told.error(Failure::Malformed, self.options.key.as_ref())
        })?;
        Ok(words.text.trim().to_owned())
    }

    /// A form with a WAV file: its type, and itself.
    fn form(&self, wav: &[u8], language: Option<&str>) -> (String, Vec<u8>) {
        let Options { model, prompt, .. } = &self.options;
        let fields = [
            ("model", Some(model.as_str())),
            ("response_format", Some("json")),
            ("language", language),
            ("prompt", prompt.as_deref()),
        ];
        let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given
            .fold(Form::new(), |form, (name, value)| form.text(name, value))
            .file("file", "utterance.wav", "audio/wav", wav)
            .finish()
    }
}

impl Ears for Transcription {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn check(&self) -> BoxFuture<'_, Result<(), VendorError>> {
        self.account.check(CHECK).boxed()
    }

    fn words_wait(&self) -> Duration {
        self.options.answer_within + MARGIN
    }

    fn listen<'a>(
        &'a self,
        caller: &'a mut mpsc::Receiver<Caller>,
        heard: &'a mut (dyn FnMut(Heard) + Send),
    ) -> BoxFuture<'a, Result<(), VendorError>> {
        self.hear(caller, heard).boxed()
    }

    /// As one file. The language is known by its first letters alone, as in ISO 639-1.
    fn transcribe<'a>(&'a self, recording: Recording<'a>) -> BoxFuture<'a, Result<String, VendorError>> {
        async move {
            let language = recording.language.split('-').next().filter(|code| code.len() == 2);
            let form = self.form(&file_of(recording.samples, RECORDING_HZ), language);
            self.words_of(form, RECORDING_WITHIN).await
        }
        .boxed()
    }
}

/// The words that were asked for; never, if none were.
async fn asked(
    asking: &mut Option<(UtteranceId, BoxFuture<'_, Result<String, VendorError>>)>,
) -> (UtteranceId, Result<String, VendorError>) {
    match asking {
        Some((utterance, words)) => (*utterance, words.await),
        None => std::future::pending().await,
    }
}

/// Whether a connection could be made; never, if none is being made.
async fn warmed(warming: &mut Option<BoxFuture<'_, Result<(), VendorError>>>) -> Result<(), VendorError> {
    match warming {
        Some(warm) => warm.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
