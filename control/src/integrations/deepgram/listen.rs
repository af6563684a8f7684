//! `/v1/listen`: Nova and the models before it, which say what they understand while the caller speaks.
//!
//! ```text
//! caller     |Starts Audio Audio … Audio Ends|            |Starts …
//! sent        audio  audio     …   audio Finalize         audio    KeepAlive while there is nothing to send
//! came             interims, finals         the last final
//! ```
//!
//! When an utterance ends, its last words are asked for with `Finalize`, which Deepgram may leave unanswered where it heard
//! nothing: the words so far are the last ones then. Silence between utterances is not sent, so its clock stands still.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use offhook_codecs::g711;
use offhook_engine::call::{Failure, UtteranceId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::line::{Anew, Line, Lost};
use super::results::{Results, Said, Words};
use super::{Account, SILENCE, file, seconds};
use crate::integrations::vendor::{Caller, Ears, Heard, Recording, VendorError};
use crate::settings::{BaseUrl, Secret};

/// Bytes of one message: 40 to 100 ms. Shorter ones cost more than they bring; an utterance's last may be shorter.
const MESSAGE_MIN: usize = 320;
const MESSAGE_MAX: usize = 800;
/// 20 ms of silence, so that there is some audio where nobody speaks for long.
const FIRST_AUDIO: [u8; 160] = [SILENCE; 160];
/// Interims come about once a second of audio, and an utterance ends with silence: who has said nothing of more speech than this,
/// in seconds, is not keeping up, and words would be lost.
const BEHIND_MAX: f64 = 0.4;
/// What is louder counts as speech for that: −32 dBFS, which quiet speech on a telephone is.
const LOUD: u16 = 800;
/// What is allowed for a network beside [`Options::finalize_wait`], before other ears are asked.
const NETWORK: Duration = Duration::from_millis(500);

/// How Deepgram is asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is.
    pub base: BaseUrl,
    /// An API key.
    pub key: Secret,
    /// The model, such as `nova-3` or `nova-2-phonecall`. Models of Flux are for [`Flux`](super::Flux).
    pub model: String,
    /// The language, as in BCP 47, or `multi`.
    pub language: String,
    /// Words that are likelier than elsewhere. Nova 3 only.
    pub keyterms: Vec<String>,
    /// Whether numbers, dates and the like are written as people write them.
    pub smart_format: bool,
    /// After how much silence a pause is told; none: never.
    pub endpointing: Option<Duration>,
    /// How long after its last word an utterance is over, by words instead of silence; 1 s or more. None: never.
    pub utterance_end: Option<Duration>,
    /// Whether a pause that Deepgram tells ends the utterance before the call's own endpointing does.
    pub vendor_endpointing: bool,
    /// How long the answer to `Finalize` may take, which may not come.
    pub finalize_wait: Duration,
    /// How often it is told that the connection is still wanted. It closes after 10 s without.
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
            model: "nova-3".into(),
            language: "en".into(),
            keyterms: Vec::new(),
            smart_format: true,
            endpointing: Some(Duration::from_millis(300)),
            utterance_end: Some(Duration::from_secs(1)),
            vendor_endpointing: false,
            finalize_wait: Duration::from_millis(700),
            keep_alive: Duration::from_secs(4),
            send_within: Duration::from_secs(2),
            goodbye: Duration::from_secs(1),
        }
    }

    /// The path with its query.
    fn path(&self) -> String {
        let millis = |time: Duration| time.as_millis().to_string();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("model", &self.model)
            .append_pair("language", &self.language)
            .append_pair("encoding", "mulaw")
            .append_pair("sample_rate", "8000")
            .append_pair("channels", "1")
            .append_pair("interim_results", "true")
            .append_pair("vad_events", "true")
            .append_pair("punctuate", "true")
            .append_pair("smart_format", if self.smart_format { "true" } else { "false" })
            .append_pair("endpointing", &self.endpointing.map_or_else(|| "false".into(), millis));
        if let Some(after) = self.utterance_end {
            query.append_pair("utterance_end_ms", &millis(after));
        }
        for term in &self.keyterms {
            query.append_pair("keyterm", term);
        }
        format!("/v1/listen?{}", query.finish())
    }
}

/// Ears that are Deepgram's.
#[derive(Debug)]
pub struct Deepgram {
    account: Account,
    options: Options,
    path: String,
}

impl Deepgram {
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
        let mut anew = Anew::new("Deepgram");
        loop {
            let line = self.account.open(&self.path, self.options.send_within).await?;
            let mut session = Session::new(&self.options, line);
            let Err(lost) = session.run(caller, heard).await else { return Ok(()) };
            anew.after(lost, session.has_worked, session.open.is_some())?;
        }
    }
}

impl Ears for Deepgram {
    fn name(&self) -> &'static str {
        "deepgram"
    }

    fn check(&self) -> BoxFuture<'_, Result<(), VendorError>> {
        self.account.check().boxed()
    }

    fn words_wait(&self) -> Duration {
        self.options.finalize_wait + NETWORK
    }

    fn listen<'a>(
        &'a self,
        caller: &'a mut mpsc::Receiver<Caller>,
        heard: &'a mut (dyn FnMut(Heard) + Send),
    ) -> BoxFuture<'a, Result<(), VendorError>> {
        self.hear(caller, heard).boxed()
    }

    fn transcribe<'a>(&'a self, recording: Recording<'a>) -> BoxFuture<'a, Result<String, VendorError>> {
        file::transcribe(&self.account, &self.options, recording).boxed()
    }
}

/// One connection.
struct Session<'a> {
    options: &'a Options,
    line: Line<'a>,
    /// Bytes of audio that were sent, which is Deepgram's clock.
    sent: u64,
    /// Audio that is too short yet to be sent.
    waiting: BytesMut,
    last_sent: Instant,
    /// Up to where results go, and up to where final ones go, in seconds of the audio.
    covered: f64,
    settled: f64,
    open: Option<Utterance>,
    /// The utterance before this one got no answer of any kind.
    was_silent: bool,
    /// An utterance had its final words here.
    has_worked: bool,
}

/// An utterance without final words.
struct Utterance {
    id: UtteranceId,
    /// Where it begins, in bytes of the audio.
    from: u64,
    /// Where its last loud sample is, likewise.
    loud_until: u64,
    words: Words,
    /// What was last told of it.
    told: String,
    /// Deepgram said something since it began.
    is_answered: bool,
    ended: Option<Ended>,
}

/// The end of an utterance.
struct Ended {
    /// Where, in bytes of the audio.
    at: u64,
    /// Until when its last words may come.
    due: Instant,
    /// Up to where results went when the wait for them began.
    covered: f64,
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
            settled: 0.0,
            open: None,
            was_silent: false,
            has_worked: false,
        }
    }

    /// Listens until the call is over.
    async fn run(
        &mut self,
        caller: &mut mpsc::Receiver<Caller>,
        heard: &mut (dyn FnMut(Heard) + Send),
    ) -> Result<(), Lost> {
        loop {
            let due = self.open.as_ref().and_then(|open| open.ended.as_ref()).map(|ended| ended.due);
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
                () = sleep_until(due.unwrap_or(self.last_sent)), if due.is_some() => self.on_due(heard)?,
                () = sleep_until(self.last_sent + self.options.keep_alive) => self.keep_alive().await?,
            }
        }
    }

    async fn on_caller(&mut self, did: Caller, heard: &mut (dyn FnMut(Heard) + Send)) -> Result<(), Lost> {
        match did {
            Caller::Starts(id) => {
                // Nobody waits any more for the words of the one before.
                self.finish(heard);
                self.open = Some(Utterance {
                    id,
                    from: self.sent,
                    loud_until: self.sent,
                    words: Words::default(),
                    told: String::new(),
                    is_answered: false,
                    ended: None,
                });
                Ok(())
            }
            // It has its final words already.
            Caller::Audio(_) if self.open.is_none() => Ok(()),
            Caller::Audio(ulaw) => {
                let at = self.sent + self.waiting.len() as u64;
                let is_loud = |&code: &u8| g711::ulaw_to_linear(code).unsigned_abs() > LOUD;
                if let (Some(last), Some(open)) = (ulaw.iter().rposition(is_loud), &mut self.open) {
                    open.loud_until = at + last as u64;
                }
                self.waiting.extend_from_slice(&ulaw);
                self.send(MESSAGE_MIN).await
            }
            Caller::Ends { utterance, .. } => self.on_end(utterance, heard).await,
            Caller::Expected(_) => Ok(()),
        }
    }

    async fn on_end(&mut self, id: UtteranceId, heard: &mut (dyn FnMut(Heard) + Send)) -> Result<(), Lost> {
        if self.open.as_ref().is_none_or(|open| open.id != id || open.ended.is_some()) {
            return Ok(());
        }
        self.send(1).await?;
        let Some(open) = &mut self.open else { return Ok(()) };
        // There was none, or nothing of it can change any more.
        if open.from == self.sent || self.settled > seconds(self.sent) - 0.001 {
            self.finish(heard);
            return Ok(());
        }
        let due = Instant::now() + self.options.finalize_wait;
        open.ended = Some(Ended { at: self.sent, due, covered: self.covered });
        self.tell("Finalize").await
    }

    /// Sends what waits, as long as it is at least so many bytes.
    async fn send(&mut self, least: usize) -> Result<(), Lost> {
        while self.waiting.len() >= least {
            let length = self.waiting.len().min(MESSAGE_MAX);
            let audio = self.waiting.split_to(length).freeze();
            self.line.audio(audio).await?;
            self.sent += length as u64;
            self.last_sent = Instant::now();
        }
        Ok(())
    }

    async fn tell(&mut self, kind: &str) -> Result<(), Lost> {
        self.line.tell(kind).await?;
        self.last_sent = Instant::now();
        Ok(())
    }

    /// What has had no audio yet is not kept alive by words alone.
    async fn keep_alive(&mut self) -> Result<(), Lost> {
        if self.waiting.is_empty() && self.sent > 0 {
            return self.tell("KeepAlive").await;
        }
        if self.waiting.is_empty() {
            self.waiting.extend_from_slice(&FIRST_AUDIO);
        }
        self.send(1).await
    }

    fn on_message(&mut self, text: &str, heard: &mut (dyn FnMut(Heard) + Send)) -> Result<(), VendorError> {
        if let Some(open) = &mut self.open {
            open.is_answered = true;
        }
        match Said::read(text) {
            Ok(Said::Results(results)) => self.on_results(&results, heard),
            Ok(Said::UtteranceEnd(last_word_end)) => self.on_utterance_end(last_word_end, heard),
            Ok(Said::Error { name, description }) => {
                let detail = self.line.shown(&format!("an error in the stream, {name}: {description}"));
                return Err(self.line.error(Failure::Refused, detail));
            }
            Ok(Said::Other) => {}
            Err(error) => {
                let detail = format!("a message that cannot be read, at byte {}", error.column());
                return Err(self.line.error(Failure::Malformed, detail));
            }
        }
        Ok(())
    }

    fn on_results(&mut self, results: &Results, heard: &mut (dyn FnMut(Heard) + Send)) {
        self.covered = self.covered.max(results.end());
        if results.is_final {
            self.settled = self.settled.max(results.end());
        }
        let Some(open) = &mut self.open else { return };
        let from = seconds(open.from);
        if results.is_before(from) {
            return;
        }
        open.words.take(results, from);
        let text = open.words.text();
        let is_last = match &open.ended {
            Some(ended) => results.from_finalize || results.is_final && results.reaches(seconds(ended.at)),
            None => self.options.vendor_endpointing && results.speech_final && !text.is_empty(),
        };
        if is_last {
            self.was_silent = false;
            self.finish(heard);
        } else if !text.is_empty() && text != open.told {
            open.told.clone_from(&text);
            heard(Heard { utterance: open.id, text, is_final: false });
        }
    }

    /// Noise can keep a pause from being one, so that only the words tell that there are no more.
    fn on_utterance_end(&mut self, last_word_end: f64, heard: &mut (dyn FnMut(Heard) + Send)) {
        let is_over = self.open.as_ref().is_some_and(|open| {
            let is_of_this = last_word_end < 0.0 || last_word_end > seconds(open.from);
            open.ended.is_none() && is_of_this && !open.words.text().is_empty()
        });
        if is_over && self.options.vendor_endpointing {
            self.finish(heard);
        }
    }

    /// The answer to `Finalize` did not come.
    fn on_due(&mut self, heard: &mut (dyn FnMut(Heard) + Send)) -> Result<(), VendorError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let Some(ended) = &mut open.ended else { return Ok(()) };
        let behind = seconds(open.loud_until) - self.covered.max(seconds(open.from));
        if behind > BEHIND_MAX || self.was_silent && !open.is_answered {
            if self.covered > ended.covered {
                // It is on its way; whoever waits for the words knows how long that makes sense.
                ended.covered = self.covered;
                ended.due = Instant::now() + self.options.finalize_wait;
                return Ok(());
            }
            let detail = format!("it is {behind:.1} s of speech behind, and no longer says anything");
            return Err(self.line.error(Failure::Slow, detail));
        }
        self.was_silent = !open.is_answered;
        self.finish(heard);
        Ok(())
    }

    /// The words so far are the last ones of the utterance, if one is open.
    fn finish(&mut self, heard: &mut (dyn FnMut(Heard) + Send)) {
        if let Some(open) = self.open.take() {
            self.has_worked = true;
            self.waiting.clear();
            heard(Heard { utterance: open.id, text: open.words.text(), is_final: true });
        }
    }
}

#[cfg(test)]
mod tests;
