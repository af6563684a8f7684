//! The job that makes a persona's voice of a video: its sound is fetched, the clearest speech chosen, a voice made of that.
//!
//! What a stage made stands in the job's own folder until the job is over: after a crash it goes on at the stage that was under
//! way. A voice that was made, and could not be written down, is taken away again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use offhook_codecs::wav::{Reader, Writer};
use offhook_engine::call::Failure;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::media::Media;
use super::speech::clearest;
use super::{Persona, PersonaVoice};
use crate::domain::api_keys::{ApiKeys, KeyService};
use crate::domain::error::Error;
use crate::domain::jobs::{Job, Outcome, Policy, Work};
use crate::domain::speech::{PersonaVoices, STAND_INS};
use crate::domain::time::UnixMs;
use crate::domain::user_jobs::{JobError, UnderWay, UserJob, UserJobKind, UserJobs};
use crate::integrations::vendor::VendorError;
use crate::integrations::video::{RATE_HZ, Video, VideoError, VideoFault, VideoTools};
use crate::settings::Secret;
use crate::store::{Store, StoreError};

/// The folder under the data folder in which jobs have theirs.
const FOLDER: &str = "work";
/// How many videos are fetched and looked at at once, on all of this machine.
const AT_ONCE: usize = 2;
/// What a new voice says first.
pub const SAMPLE_TEXT: &str = "Hello, this is my cloned voice.";

/// Makes voices of videos.
pub struct Cloning {
    store: Arc<Store>,
    jobs: Arc<UserJobs>,
    keys: Arc<ApiKeys>,
    tools: VideoTools,
    voices: Arc<PersonaVoices>,
    media: Arc<Media>,
    folder: PathBuf,
    room: Semaphore,
}

/// Why a try came to nothing.
enum Stopped {
    /// Somebody called it off.
    Cancelled,
    /// It will never come to anything.
    Failed(JobError),
    /// It may, another time.
    Later(String),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<std::io::Error> for Stopped {
    fn from(error: std::io::Error) -> Self {
        Self::Later(format!("the data folder: {error}"))
    }
}

impl From<VideoError> for Stopped {
    fn from(error: VideoError) -> Self {
        let message = error.message;
        match error.fault {
            VideoFault::Unavailable => Self::Failed(JobError::new("video_unavailable", message)),
            VideoFault::Refused => Self::Failed(JobError::new("invalid_input", message)),
            VideoFault::Tool => Self::Failed(JobError::new("external_api_error", message)),
            VideoFault::Failed => Self::Failed(JobError::new("job_failed", message)),
            VideoFault::Later => Self::Later(message),
        }
    }
}

impl From<VendorError> for Stopped {
    fn from(error: VendorError) -> Self {
        match error.why {
            Failure::Unpaid => Self::Failed(JobError::new(
                "elevenlabs_quota_exceeded",
                "ElevenLabs API quota exceeded. Please upgrade your plan.",
            )),
            Failure::Unauthorised => {
                Self::Failed(JobError::new("external_api_error", "ElevenLabs does not accept the key"))
            }
            Failure::Refused => {
                Self::Failed(JobError::new("external_api_error", format!("ElevenLabs refuses: {error}")))
            }
            _ => Self::Later(error.to_string()),
        }
    }
}

impl Cloning {
    /// `data_dir`: where jobs have their folders.
    pub fn new(
        store: Arc<Store>,
        jobs: Arc<UserJobs>,
        keys: Arc<ApiKeys>,
        tools: VideoTools,
        voices: Arc<PersonaVoices>,
        media: Arc<Media>,
        data_dir: &Path,
    ) -> Self {
        let folder = data_dir.join(FOLDER);
        Self { store, jobs, keys, tools, voices, media, folder, room: Semaphore::new(AT_ONCE) }
    }

    async fn clone(&self, job: &UserJob, doing: &UnderWay, folder: &Path) -> Result<(), Stopped> {
        let _room = doing.unless_cancelled(self.room.acquire()).await.ok_or(Stopped::Cancelled)?;
        let owner = &job.owner;
        let persona = job.metadata["persona_id"].as_str().unwrap_or_default();
        let persona = match self.store.persona(owner, persona).await {
            Ok(persona) => persona,
            Err(Error::Store(error)) => return Err(error.into()),
            Err(_) => return Err(Stopped::Cancelled),
        };
        let video = Video::of_url(&persona.video).ok_or_else(|| {
            Stopped::Failed(JobError::new("invalid_url", "The URL is no video of YouTube's"))
        })?;
        tokio::fs::create_dir_all(folder).await?;
        doing.stage("downloading_video", 5).await?;
        let (fetched, wav, speech) =
            (folder.join("fetched"), folder.join("sound.wav"), folder.join("speech.wav"));
        if !wav.is_file() && !speech.is_file() {
            if !fetched.is_file() {
                let sound = doing.unless_cancelled(self.tools.fetch(&video, folder)).await;
                tokio::fs::rename(sound.ok_or(Stopped::Cancelled)??, &fetched).await?;
            }
            doing.stage("extracting_audio", 45).await?;
            let part = folder.join("sound.part");
            doing.unless_cancelled(self.tools.extract(&fetched, &part)).await.ok_or(Stopped::Cancelled)??;
            tokio::fs::rename(&part, &wav).await?;
        }
        doing.stage("extracting_audio", 60).await?;
        if !speech.is_file() {
            let (from, to) = (wav.clone(), speech.clone());
            let chosen = spawn_blocking(move || choose(&from, &to));
            let chosen = doing.unless_cancelled(chosen).await.ok_or(Stopped::Cancelled)?;
            chosen.map_err(|error| Stopped::Later(error.to_string()))??;
        }
        doing.stage("cloning_voice", 70).await?;
        let speech = tokio::fs::read(&speech).await?;
        let seconds = speech.len() as u64 / 2 / u64::from(RATE_HZ);
        let key = self.keys.of(owner, KeyService::ElevenLabs).await?;
        let made = self.voices.make(&persona.name, speech, key.as_ref());
        let (id, maker) = doing.unless_cancelled(made).await.ok_or(Stopped::Cancelled)??;
        let voice = PersonaVoice { id, maker: maker.to_owned(), sample: String::new() };
        match doing.unless_cancelled(self.introduce(job, &persona, &voice, key.as_ref(), seconds)).await {
            Some(Ok(true)) => Ok(()),
            other => {
                self.voices.take_away(&voice, key.as_ref()).await;
                self.media.remove(&persona.id);
                Err(match other {
                    Some(Err(stopped)) => stopped,
                    _ => Stopped::Cancelled,
                })
            }
        }
    }

    /// Has a voice say a sentence, and writes it down. False if nobody wants it any more.
    async fn introduce(
        &self,
        job: &UserJob,
        persona: &Persona,
        voice: &PersonaVoice,
        key: Option<&Secret>,
        seconds: u64,
    ) -> Result<bool, Stopped> {
        let said = self.voices.speak(voice, key, SAMPLE_TEXT).await?;
        let (media, name) = (self.media.clone(), format!("{}_sample", persona.id));
        let kept = spawn_blocking(move || media.keep(&name, &said)).await;
        let sample = kept.map_err(|error| Stopped::Later(error.to_string()))??;
        let result = json!({
            "voice_id": voice.id,
            "persona_id": persona.id,
            "sample": sample,
            "duration_seconds": seconds,
            "stand_in": voice.maker == STAND_INS,
        });
        let voice = PersonaVoice { sample, ..voice.clone() };
        Ok(self.store.persona_cloned(&persona.id, voice, &job.id, result, UnixMs::now()).await?)
    }
}

impl Work for Cloning {
    fn kind(&self) -> &'static str {
        UserJobKind::VoiceClone.as_str()
    }

    fn policy(&self) -> Policy {
        Policy {
            base: Duration::from_secs(15),
            factor: 4.0,
            cap: Duration::from_secs(600),
            tries_max: Some(4),
            give_up_after: Duration::from_secs(24 * 3_600),
        }
    }

    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome> {
        async move {
            let folder = self.folder.join(&job.key);
            let later = |reason: String| Outcome::Later { reason, after: None, holds_lane: false };
            let begun = match self.jobs.begin(&job.key, UnixMs::now()).await {
                Ok(begun) => begun,
                Err(error) => return later(error.to_string()),
            };
            let outcome = match begun {
                // It was called off, or its owner is gone.
                None => Outcome::Done,
                Some((user_job, doing)) => match self.clone(&user_job, &doing, &folder).await {
                    Ok(()) | Err(Stopped::Cancelled) => Outcome::Done,
                    Err(Stopped::Later(reason)) => return later(reason),
                    Err(Stopped::Failed(error)) => {
                        let reason = error.message.clone();
                        match doing.fail(error).await {
                            Ok(()) => Outcome::Dead { reason },
                            Err(error) => return later(error.to_string()),
                        }
                    }
                },
            };
            emptied(&folder).await;
            outcome
        }
        .boxed()
    }

    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let error = JobError::new("job_failed", reason);
            if let Err(error) = self.store.fail_user_job(&job.key, error, UnixMs::now()).await {
                tracing::error!(%error, job = job.key, "a job that failed cannot be written down");
            }
            emptied(&self.folder.join(&job.key)).await;
        }
        .boxed()
    }
}

/// Removes a job's folder.
async fn emptied(folder: &Path) {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::error!(%error, folder = %folder.display(), "the folder of a job stays");
        }
        _ => {}
    }
}

/// Chooses the clearest speech of a WAV file. Blocks.
fn choose(from: &Path, to: &Path) -> Result<(), Stopped> {
    let unreadable = |what: String| {
        Stopped::Failed(JobError::new("job_failed", format!("The sound cannot be read: {what}")))
    };
    let file = std::io::BufReader::new(std::fs::File::open(from)?);
    let mut reader = Reader::new(file).map_err(|error| unreadable(error.to_string()))?;
    let format = reader.format();
    if format.rate_hz != RATE_HZ || format.channels != 1 {
        return Err(unreadable(format!("{} Hz, {} channels", format.rate_hz, format.channels)));
    }
    let samples = reader.read_mono().map_err(|error| unreadable(error.to_string()))?;
    let speech = clearest(&samples).map_err(|error| {
        Stopped::Failed(JobError::new("invalid_input", format!("Too little speech: {error}")))
    })?;
    let part = to.with_extension("part");
    let file = std::fs::File::create(&part)?;
    let write = || {
        let mut writer = Writer::mono(file, RATE_HZ)?;
        writer.write(&speech)?;
        writer.finish()
    };
    write().map_err(|error| Stopped::Later(error.to_string()))?;
    Ok(std::fs::rename(&part, to)?)
}
