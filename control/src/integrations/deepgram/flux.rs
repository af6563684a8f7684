//! `/v2/listen`: Flux, which says by itself when the caller's turn is over.
//!
//! ```text
//! caller   |Starts Audio … Audio Ends|              |Starts …
//! sent      80 ms  80 ms …  80 ms silence silence    80 ms …
//! came        StartOfTurn Update …    EndOfTurn
//! ```
//!
//! The text of a turn is told each time from its beginning. All of its clocks run on audio: when an utterance has ended,
//! silence is sent in real time until Flux takes the turn for over, which it may also do before.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use offhook_engine::call::{Failure, UtteranceId};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::line::{Anew, Line, Lost};
use super::results::NEAR;
use super::{Account, SILENCE, seconds};
use crate::integrations::vendor::{CONNECT, Caller, Ears, Heard, VendorError};
use crate::settings::{BaseUrl, Secret};

/// What is sent at once, as its documentation strongly recommends: 80 ms.
const PIECE: usize = 640;
const PIECE_TIME: Duration = Duration::from_millis(80);
const QUIET: [u8; PIECE] = [SILENCE; PIECE];
/// It tells of the turn four times a second; who is further behind than this, in seconds, is not keeping up.
const BEHIND_MAX: f64 = 1.0;
/// Where no word came so long after an utterance, in seconds of the audio, there was none in it.
const WORDLESS: f64 = 0.3;
/// What is allowed for a network beside [`Options::silence_max`], before other ears are asked.
const NETWORK: Duration = Duration::from_millis(500);

/// How Flux is asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where Deepgram is.
    pub base: BaseUrl,
    /// An API key.
    pub key: Secret,
    /// The model: `flux-general-en`, or `flux-general-multi`.
    pub model: String,
    /// Languages that the caller may speak. For `flux-general-multi` only.
    pub language_hints: Vec<String>,
    /// Words that are likelier than elsewhere.
    pub keyterms: Vec<String>,
    /// How sure it must be that a turn is over, 0.5 to 1.
    pub eot_threshold: f64,
    /// After how much silence a turn is over, however sure it is.
    pub eot_timeout: Duration,
    /// How much silence is sent behind an utterance for it to take the turn for over.
    pub silence_max: Duration,
    /// How often a piece of silence is sent where nobody speaks.
    pub keep_alive: Duration,
    /// How long one message may take to be sent.
    pub send_within: Duration,
    /// How long it may take to say goodbye.
    pub goodbye: Duration,
}

impl Options {
    /// As a telephone call needs it, in English.
    pub fn new(base: BaseUrl, key: Secret) -> Self {
        Self {
            base,
            key,
            model: "flux-general-en".into(),
            language_hints: Vec::new(),
            keyterms: Vec::new(),
            eot_threshold: 0.7,
            eot_timeout: Duration::from_secs(5),
            silence_max: Duration::from_millis(1_200),
            keep_alive: Duration::from_secs(4),
            send_within: Duration::from_secs(2),
            goodbye: Duration::from_secs(1),
        }
    }

    /// The path with its query. Options of `/v1/listen` would be refused.
    fn path(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("model", &self.model)
            .append_pair("encoding", "mulaw")
            .append_pair("sample_rate", "8000")
            .append_pair("eot_threshold", &self.eot_threshold.to_string())
            .append_pair("eot_timeout_ms", &self.eot_timeout.as_millis().to_string());
        for term in &self.keyterms {
            query.append_pair("keyterm", term);
        }
        for hint in &self.language_hints {
            query.append_pair("language_hint", hint);
        }
        format!("/v2/listen?{}", query.finish())
    }
}

/// Ears that are Deepgram's Flux.
#[derive(Debug)]
pub struct Flux {
    account: Account,
    options: Options,
    path: String,
}

impl Flux {
    /// Ears for all calls. An error says what to do.
    pub fn new(options: Options) -> Result<Self, String> {
        let account = Account::new(options.base.clone(), options.key.clone())?;
        let path = options.path();
        Ok(Self { account, options, path })
    }

    async fn hear(
        &self,
        caller: &mut mpsc::Receiver<Caller>,
        heard: &mut (dyn FnMut(Heard) + Send),
    ) -> Result<(), VendorError> {
        let mut anew = Anew::new("Flux");
        loop {
            let line = self.account.open(&self.path, self.options.send_within).await?;
            let mut session = Session::new(&self.options, line);
            let Err(lost) = session.run(caller, heard).await else { return Ok(()) };
            anew.after(lost, session.has_worked, session.open.is_some())?;
        }
    }
}

impl Ears for Flux {
    fn name(&self) -> &'static str {
        "flux"
    }

    fn check(&self) -> BoxFuture<'_, Result<(), VendorError>> {
        self.account.check().boxed()
    }

    fn words_wait(&self) -> Duration {
        self.options.silence_max + NETWORK
    }

    fn listen<'a>(
        &'a self,
        caller: &'a mut mpsc::Receiver<Caller>,
        heard: &'a mut (dyn FnMut(Heard) + Send),
    ) -> BoxFuture<'a, Result<(), VendorError>> {
        self.hear(caller, heard).boxed()
    }
}

/// What Flux says. All of it, for each type the fields that it has.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    event: String,
    audio_window_start: f64,
    audio_window_end: f64,
    transcript: String,
    words: Vec<Word>,
    code: String,
    description: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Word {
    word: String,
    start: Option<f64>,
    end: Option<f64>,
}

impl Said {
    /// The text of what was said from `from` on, in seconds.
    fn text(&self, from: f64) -> String {
        let is_before = |word: &Word| {
            word.start.zip(word.end).is_some_and(|(start, end)| f64::midpoint(start, end) < from)
        };
        if self.audio_window_start >= from || !self.words.iter().any(is_before) {
            return self.transcript.trim().to_owned();
        }
        let words = self.words.iter().filter(|word| !is_before(word));
        words.map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// One connection.
struct Session<'a> {
    options: &'a Options,
    line: Line<'a>,
    /// Bytes of audio that were sent, which is Flux's clock.
    sent: u64,
    /// Audio that is less than a piece.
    waiting: BytesMut,
    last_sent: Instant,
    /// Up to where it has listened, in seconds of the audio.
    covered: f64,
    open: Option<Utterance>,
    /// An utterance had its final words here.
    has_worked: bool,
}

/// An utterance without final words.
struct Utterance {
    id: UtteranceId,
    /// Where it begins, in bytes of the audio.
    from: u64,
    text: String,
    ended: Option<Ended>,
}

/// The end of an utterance.
struct Ended {
    /// Where, in bytes of the audio.
    at: u64,
    /// Until when its last words may come.
    due: Instant,
    /// Up to where Flux had listened when the wait for them began.
    covered: f64,
    /// When silence is sent next.
    silence: Instant,
}

impl<'a> Session<'a> {
    fn new(options: &'a Options, line: Line<'a>) -> Self {
        Self {
            options,
            line,
            sent: 0,
            waiting: BytesMut::new(),
            last_sent: Instant::now(),
            covered: 0.0,
            open: None,
            has_worked: false,
        }
    }

    /// Listens until the call is over.
    async fn run(
        &mut self,
        caller: &mut mpsc::Receiver<Caller>,
        heard: &mut (dyn FnMut(Heard) + Send),
    ) -> Result<(), Lost> {
        self.greeted().await?;
        loop {
            let ended = self.open.as_ref().and_then(|open| open.ended.as_ref());
            let (due, silence) = (ended.map(|ended| ended.due), ended.map(|ended| ended.silence));
            tokio::select! {
                biased;
                text = self.line.next() => self.on_message(&text?, heard)?,
                did = caller.recv() => match did {
                    Some(did) => self.on_caller(did, heard).await?,
                    None => {
                        self.line.goodbye(self.options.goodbye).await;
                        return Ok(());
                    }
                },
                () = sleep_until(due.unwrap_or(self.last_sent)), if due.is_some() => {
                    self.on_due(heard).await?;
                }
                () = sleep_until(silence.unwrap_or(self.last_sent)), if silence.is_some() => {
                    if let Some(ended) = self.open.as_mut().and_then(|open| open.ended.as_mut()) {
                        ended.silence += PIECE_TIME;
                    }
                    self.quiet().await?;
                }
                () = sleep_until(self.last_sent + self.options.keep_alive) => self.quiet().await?,
            }
        }
    }

    /// Waits for the first message, before which nothing is sure.
    async fn greeted(&mut self) -> Result<(), Lost> {
        let by = Instant::now() + CONNECT;
        loop {
            let Ok(text) = timeout_at(by, self.line.next()).await else {
                let detail = format!("no word of welcome within {} s", CONNECT.as_secs_f32());
                return Err(self.line.error(Failure::Slow, detail).into());
            };
            if self.read(&text?)?.kind == "Connected" {
                return Ok(());
            }
        }
    }

    async fn on_caller(&mut self, did: Caller, heard: &mut (dyn FnMut(Heard) + Send)) -> Result<(), Lost> {
        match did {
            Caller::Starts(id) => {
                // Nobody waits any more for the words of the one before.
                self.give_up(heard).await?;
                self.open = Some(Utterance { id, from: self.sent, text: String::new(), ended: None });
                Ok(())
            }
            // It has its final words already.
            Caller::Audio(_) if self.open.is_none() => Ok(()),
            Caller::Audio(ulaw) => {
                self.waiting.extend_from_slice(&ulaw);
                while self.waiting.len() >= PIECE {
                    let piece = self.waiting.split_to(PIECE).freeze();
                    self.send(piece).await?;
                }
                Ok(())
            }
            Caller::Ends { utterance, .. } => self.on_end(utterance, heard).await,
            Caller::Expected(_) => Ok(()),
        }
    }

    async fn on_end(&mut self, id: UtteranceId, heard: &mut (dyn FnMut(Heard) + Send)) -> Result<(), Lost> {
        let Some(open) = self.open.as_mut().filter(|open| open.id == id && open.ended.is_none()) else {
            return Ok(());
        };
        let at = self.sent + self.waiting.len() as u64;
        if at == open.from {
            self.finish(heard);
            return Ok(());
        }
        let now = Instant::now();
        let due = now + self.options.silence_max;
        open.ended = Some(Ended { at, due, covered: self.covered, silence: now + PIECE_TIME });
        if !self.waiting.is_empty() {
            self.waiting.resize(PIECE, SILENCE);
            let piece = self.waiting.split().freeze();
            self.send(piece).await?;
        }
        Ok(())
    }

    async fn send(&mut self, piece: Bytes) -> Result<(), Lost> {
        let length = piece.len() as u64;
        self.line.audio(piece).await?;
        self.sent += length;
        self.last_sent = Instant::now();
        Ok(())
    }

    async fn quiet(&mut self) -> Result<(), Lost> {
        self.send(Bytes::from_static(&QUIET)).await
    }

    fn read(&self, text: &str) -> Result<Said, VendorError> {
        let said: Said = serde_json::from_str(text).map_err(|error| {
            let detail = format!("a message that cannot be read, at byte {}", error.column());
            self.line.error(Failure::Malformed, detail)
        })?;
        match said.kind.as_str() {
            "Error" => {
                let why = match said.code.starts_with("INTERNAL") {
                    true => Failure::Faulty,
                    false => Failure::Refused,
                };
                let detail = format!("an error in the stream, {}: {}", said.code, said.description);
                Err(self.line.error(why, self.line.shown(&detail)))
            }
            "Warning" => {
                let detail = self.line.shown(&format!("{}: {}", said.code, said.description));
                tracing::debug!(detail, "Flux warns");
                Ok(said)
            }
            _ => Ok(said),
        }
    }

    fn on_message(&mut self, text: &str, heard: &mut (dyn FnMut(Heard) + Send)) -> Result<(), VendorError> {
        let said = self.read(text)?;
        if said.kind != "TurnInfo" {
            return Ok(());
        }
        self.covered = self.covered.max(said.audio_window_end);
        let Some(open) = &mut self.open else { return Ok(()) };
        let from = seconds(open.from);
        if said.audio_window_end <= from + NEAR {
            return Ok(());
        }
        // Those of a turn that goes on, or was resumed, are as they are told now: no word of before counts.
        let text = said.text(from);
        let is_new = text != open.text;
        open.text = text;
        let is_wordless = open.ended.as_ref().is_some_and(|ended| {
            open.text.is_empty() && said.audio_window_end >= seconds(ended.at) + WORDLESS
        });
        if said.event == "EndOfTurn" && !open.text.is_empty() || is_wordless {
            self.finish(heard);
        } else if is_new && !open.text.is_empty() {
            heard(Heard { utterance: open.id, text: open.text.clone(), is_final: false });
        }
        Ok(())
    }

    /// It did not take the turn for over.
    async fn on_due(&mut self, heard: &mut (dyn FnMut(Heard) + Send)) -> Result<(), Lost> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let Some(ended) = &mut open.ended else { return Ok(()) };
        let behind = seconds(self.sent) - self.covered.max(seconds(open.from));
        if behind > BEHIND_MAX {
            if self.covered > ended.covered {
                // It is on its way; whoever waits for the words knows how long that makes sense.
                ended.covered = self.covered;
                ended.due = Instant::now() + self.options.silence_max;
                return Ok(());
            }
            let detail = format!("it is {behind:.1} s of audio behind, and no longer says anything");
            return Err(self.line.error(Failure::Slow, detail).into());
        }
        self.give_up(heard).await
    }

    /// The words so far are the last ones of the utterance, if one is open; what comes next is another turn.
    async fn give_up(&mut self, heard: &mut (dyn FnMut(Heard) + Send)) -> Result<(), Lost> {
        let has_begun = self.open.as_ref().is_some_and(|open| !open.text.is_empty());
        self.finish(heard);
        if has_begun { self.line.tell("ForceEndTurn").await } else { Ok(()) }
    }

    fn finish(&mut self, heard: &mut (dyn FnMut(Heard) + Send)) {
        if let Some(open) = self.open.take() {
            self.has_worked = true;
            self.waiting.clear();
            heard(Heard { utterance: open.id, text: open.text, is_final: true });
        }
    }
}

#[cfg(test)]
mod tests;
