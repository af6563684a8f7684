//! Bots at Telegram that answer for their owners, in a persona's voice.
//!
//! ```text
//! update ─► a job, once (before Telegram gets its answer) ─► who writes ─► command, or question ─► answer ─► voice ─► sent
//! ```
//!
//! The jobs of a chat stand in a lane of their own, so that they are done in order. What was answered is written down with the
//! answer, and what was sent as the job's progress: who goes on after a crash neither asks nor sends again what is known to be
//! done. If the process dies between Telegram's taking a message and our writing that down, it is sent once more: that is better
//! than never.
//!
//! The persona that answers is the one with which the chat's conversation goes on; in a new one, the one of the owner's that was
//! made last, of those that have a voice.

mod update;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::Persona;
use super::answers::{AnswerError, Answers, Asked};
use super::conversations::{Channel, Ending, Place, Within};
use super::media::Media;
use crate::domain::api_keys::{ApiKeys, KnownBot};
use crate::domain::error::Error;
use crate::domain::jobs::{Job, Lane, NewJob, Outcome, Policy, Work};
use crate::domain::time::UnixMs;
use crate::integrations::telegram::{CAPTION_MAX, TEXT_MAX, Telegram, TelegramError, length, pieces};
use crate::store::{Store, StoreError};
pub use update::{Update, Written};

/// The kind of the jobs.
pub const KIND: &str = "telegram";
/// How often it is shown that a voice is being recorded: Telegram shows it for five seconds.
const SHOWN_EVERY: Duration = Duration::from_secs(4);

const HELP: &str = "Write your question as a message, and I answer with my voice.\n\n/reset: let us begin anew\n/help: this text";
const NO_TEXT: &str = "I can only read text so far. Please write your question to me.";
const NOBODY: &str = "There is nobody here yet who could answer. Please try again later.";
const SORRY: &str = "I am sorry, I cannot answer at the moment. Please try again later.";
const RESET: &str = "Let us begin anew: I have put our conversation aside.";

/// All users' bots.
pub struct Bots {
    store: Arc<Store>,
    keys: Arc<ApiKeys>,
    answers: Arc<Answers>,
    media: Arc<Media>,
    idle: Duration,
}

/// A job's payload.
#[derive(Debug, Serialize, Deserialize)]
struct Task {
    owner: String,
    bot: i64,
    update: i64,
    written: Written,
}

/// What of a job is done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Progress {
    /// No voice could be made or sent.
    text_only: bool,
    /// The voice, once it is made.
    file: Option<String>,
    seconds: u32,
    /// How many messages were sent.
    sent: usize,
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Voice { file: String, seconds: u32, caption: String },
}

/// Why a job is not done.
enum Stopped {
    Telegram(TelegramError),
    Later(String),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<TelegramError> for Stopped {
    fn from(error: TelegramError) -> Self {
        Self::Telegram(error)
    }
}

impl Task {
    fn place(&self) -> Place {
        Place { channel: Channel::Telegram, name: format!("{}:{}", self.bot, self.written.chat) }
    }

    /// What an answer to it is written down for, once.
    fn source(&self) -> String {
        format!("telegram:{}:{}", self.bot, self.update)
    }
}

impl Bots {
    /// `idle`: how long a conversation goes on after its last message.
    pub fn new(
        store: Arc<Store>,
        keys: Arc<ApiKeys>,
        answers: Arc<Answers>,
        media: Arc<Media>,
        idle: Duration,
    ) -> Self {
        Self { store, keys, answers, media, idle }
    }

    /// Takes what was written to a bot, to be answered: once, however often it comes.
    pub async fn take(
        &self,
        bot: KnownBot,
        update: i64,
        written: Written,
        at: UnixMs,
    ) -> Result<(), StoreError> {
        let KnownBot { owner, bot } = bot;
        let lane = Lane::ordered(format!("{KIND} {bot} {}", written.chat));
        let payload = json!(Task { owner, bot, update, written });
        self.store.enqueue(NewJob { kind: KIND, key: format!("{bot}:{update}"), lane, payload, at }).await
    }

    /// The bot of a task, if it still answers for the same owner.
    async fn bot(&self, task: &Task) -> Result<Option<Telegram>, StoreError> {
        if self.store.telegram_bot_of(&task.owner).await? != Some(task.bot) {
            return Ok(None);
        }
        self.keys.bot(&task.owner).await
    }

    async fn work_on(&self, job: &Job, task: &Task) -> Result<(), Stopped> {
        let Some(bot) = self.bot(task).await? else { return Ok(()) };
        let Written { chat, from, name, text } = &task.written;
        let customer = self.store.customer_at_telegram(&task.owner, *from, name, job.created).await?;
        let mut progress: Progress = serde_json::from_value(job.progress.clone()).unwrap_or_default();
        let mut send = async |parts| self.send(&bot, job, *chat, parts, &mut progress).await;
        let done = match text.as_deref().map(|text| (command(text), text)) {
            None => send(texts(NO_TEXT)).await,
            Some((Some("start"), _)) => {
                let welcome = match self.persona(task).await? {
                    Some(persona) => format!("Hello {name}! I am {}. {HELP}", persona.name),
                    None => NOBODY.to_owned(),
                };
                send(texts(&welcome)).await
            }
            Some((Some("reset"), _)) => {
                self.store.end_conversation(task.place(), Ending::Reset, job.created).await?;
                send(texts(RESET)).await
            }
            Some((Some(_), _)) => send(texts(HELP)).await,
            Some((None, question)) => self.answer(&bot, job, task, &customer, question).await,
        };
        match done {
            Err(Stopped::Telegram(TelegramError::Blocked(reason))) => {
                tracing::info!(customer, reason, "a customer wants nothing from a bot");
                Ok(self.store.note_blocked_bot(&customer, UnixMs::now()).await?)
            }
            done => done,
        }
    }

    async fn answer(
        &self,
        bot: &Telegram,
        job: &Job,
        task: &Task,
        customer: &str,
        question: &str,
    ) -> Result<(), Stopped> {
        let chat = task.written.chat;
        let mut progress: Progress = serde_json::from_value(job.progress.clone()).unwrap_or_default();
        let making = self.make(job, task, customer, question, &mut progress);
        let showing = async {
            loop {
                // It is for show: whoever cannot be reached is told of that by the answer.
                let _ = bot.show_recording(chat).await;
                tokio::time::sleep(SHOWN_EVERY).await;
            }
        };
        let parts: Vec<Part> = tokio::select! {
            biased;
            parts = making => parts?,
            never = showing => { let never: Infallible = never; match never {} }
        };
        let spoken = match parts.first() {
            Some(Part::Voice { caption, .. }) if caption.is_empty() => {
                Some(parts.iter().filter_map(Part::text).collect::<Vec<_>>().join(" "))
            }
            Some(Part::Voice { caption, .. }) => Some(caption.clone()),
            _ => None,
        };
        match (self.send(bot, job, chat, parts, &mut progress).await, spoken) {
            // Some people take no voices.
            (Err(Stopped::Telegram(TelegramError::Refused(reason))), Some(text)) if progress.sent == 0 => {
                tracing::info!(reason, "a voice is not taken, and its text sent");
                progress.text_only = true;
                self.send(bot, job, chat, texts(&text), &mut progress).await
            }
            (sent, _) => sent,
        }
    }

    /// What is to be sent in answer to a question.
    async fn make(
        &self,
        job: &Job,
        task: &Task,
        customer: &str,
        question: &str,
        progress: &mut Progress,
    ) -> Result<Vec<Part>, Stopped> {
        let (source, owner) = (task.source(), &task.owner);
        let (persona, id, text) = match self.store.answer_to(&source).await? {
            Some(answered) => {
                let persona = self.store.persona(owner, &answered.persona).await?;
                (persona, answered.id, answered.text)
            }
            None => {
                let Some(persona) = self.persona(task).await? else { return Ok(texts(NOBODY)) };
                let asked = Asked {
                    persona: &persona,
                    customer: Some(customer),
                    within: Within::At(task.place()),
                    source: Some(&source),
                    text: question,
                    aloud: false,
                };
                match self.answers.answer(asked).await {
                    Ok(answer) => (persona, answer.id, answer.text),
                    Err(AnswerError::Domain(error)) => return Err(error.into()),
                    Err(error @ AnswerError::Failed { is_passing: true, .. }) => {
                        return Err(Stopped::Later(error.to_string()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, owner, "a bot cannot answer");
                        return Ok(texts(SORRY));
                    }
                }
            }
        };
        if progress.text_only {
            return Ok(texts(&text));
        }
        let there = progress.file.clone().filter(|file| progress.sent > 0 || self.has(file));
        let file = match there {
            Some(file) => file,
            None => match self.answers.speak(&persona, &id, &text).await {
                Ok(spoken) => {
                    (progress.file, progress.seconds) = (Some(spoken.file.clone()), spoken.seconds);
                    self.note(job, progress).await;
                    spoken.file
                }
                Err(error) => {
                    tracing::warn!(%error, owner, "an answer has no voice, and is sent as a text");
                    progress.text_only = true;
                    self.note(job, progress).await;
                    return Ok(texts(&text));
                }
            },
        };
        let fits = length(&text) <= CAPTION_MAX;
        let caption = if fits { text.clone() } else { String::new() };
        let mut parts = vec![Part::Voice { file, seconds: progress.seconds, caption }];
        if !fits {
            parts.extend(texts(&text));
        }
        Ok(parts)
    }

    /// Sends what of a job's messages was not sent before.
    async fn send(
        &self,
        bot: &Telegram,
        job: &Job,
        chat: i64,
        parts: Vec<Part>,
        progress: &mut Progress,
    ) -> Result<(), Stopped> {
        let before = progress.sent;
        for (number, part) in (1..).zip(parts).skip(before) {
            match part {
                Part::Text(text) => bot.send_text(chat, &text).await?,
                Part::Voice { file, seconds, caption } => {
                    let media = self.media.clone();
                    let ogg = spawn_blocking(move || media.read(&file)).await.map_err(std::io::Error::other);
                    let ogg = ogg.flatten().map_err(|error| Stopped::Later(format!("a voice: {error}")))?;
                    bot.send_voice(chat, &ogg, seconds, &caption).await?;
                }
            }
            progress.sent = number;
            self.note(job, progress).await;
        }
        Ok(())
    }

    /// Whoever answers for a bot.
    async fn persona(&self, task: &Task) -> Result<Option<Persona>, Stopped> {
        let open = self.store.open_conversation(task.place(), self.idle, UnixMs::now(), 0).await?;
        if let Some(open) = open {
            match self.store.persona(&task.owner, &open.persona).await {
                Ok(persona) if persona.voice.is_some() => return Ok(Some(persona)),
                Err(Error::Store(error)) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(self.store.latest_persona(&task.owner).await?)
    }

    fn has(&self, file: &str) -> bool {
        file.strip_suffix(".ogg").is_some_and(|name| self.media.has(name).is_some())
    }

    /// Notes how far a job is. What cannot be noted is done again after a crash.
    async fn note(&self, job: &Job, progress: &Progress) {
        if let Err(error) = self.store.note_progress(job.id, json!(progress)).await {
            tracing::warn!(%error, key = job.key, "how far a job is cannot be written down");
        }
    }
}

impl Part {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Voice { .. } => None,
        }
    }
}

/// A text in as many messages as it takes.
fn texts(text: &str) -> Vec<Part> {
    pieces(text, TEXT_MAX).into_iter().map(|piece| Part::Text(piece.to_owned())).collect()
}

/// The command that a text is: `help` of `/Help@some_bot me`. None if it is none.
fn command(text: &str) -> Option<&str> {
    const KNOWN: [&str; 3] = ["start", "help", "reset"];
    let word = text.trim().strip_prefix('/')?.split_whitespace().next().unwrap_or_default();
    let name = word.split('@').next().unwrap_or_default();
    Some(KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or("help"))
}

impl Work for Bots {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn policy(&self) -> Policy {
        Policy {
            base: Duration::from_secs(2),
            factor: 3.0,
            cap: Duration::from_secs(60),
            tries_max: Some(8),
            give_up_after: Duration::from_secs(6 * 3_600),
        }
    }

    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome> {
        async move {
            let Ok(task) = serde_json::from_value::<Task>(job.payload.clone()) else {
                return Outcome::Dead { reason: "a payload of another kind".into() };
            };
            let later = |reason, after, holds_lane| Outcome::Later { reason, after, holds_lane };
            match self.work_on(job, &task).await {
                Ok(()) => Outcome::Done,
                Err(Stopped::Later(reason)) => later(reason, None, false),
                Err(Stopped::Telegram(error)) => {
                    let reason = error.to_string();
                    match error {
                        TelegramError::Limited(after) => later(reason, Some(after), true),
                        TelegramError::Failed(_) => later(reason, None, false),
                        TelegramError::Token | TelegramError::Refused(_) | TelegramError::Blocked(_) => {
                            Outcome::Dead { reason }
                        }
                    }
                }
            }
        }
        .boxed()
    }

    /// Who waits for an answer that does not come is told so, if that can be.
    fn gave_up<'a>(&'a self, job: &'a Job, _: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let Ok(task) = serde_json::from_value::<Task>(job.payload.clone()) else { return };
            let is_question = task.written.text.as_deref().is_some_and(|text| command(text).is_none());
            if !is_question || !matches!(self.store.answer_to(&task.source()).await, Ok(None)) {
                return;
            }
            if let Ok(Some(bot)) = self.bot(&task).await
                && let Err(error) = bot.send_text(task.written.chat, SORRY).await
            {
                tracing::info!(%error, "a customer is not told that there is no answer");
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
