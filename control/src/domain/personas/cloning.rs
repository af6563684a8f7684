//! The job that makes a persona's voice of a video: its sound is fetched, the clearest speech chosen, a voice made of that.
//!
//! What a stage made stands in the job's own folder until the job is over: after a crash it goes on at the stage that was under
//! way. A voice that was made, and could not be written down, is taken away again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use offhook_codecs::wav::Writer;
use offhook_engine::call::Failure;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::media::Media;
use super::sound::{Sounds, samples};
use super::speech::clearest;
use super::work::{Stopped, Task, Workshop, emptied};
use super::{Persona, PersonaVoice};
use crate::domain::api_keys::{ApiKeys, KeyService};
use crate::domain::jobs::{Job, Outcome, Policy, Work};
use crate::domain::speech::{PersonaVoices, STAND_INS};
use crate::domain::time::UnixMs;
use crate::domain::user_jobs::{UnderWay, UserJob, UserJobKind, UserJobs};
use crate::integrations::vendor::VendorError;
use crate::integrations::video::{RATE_HZ, Video};
use crate::settings::Secret;
use crate::store::Store;

/// What a new voice says first.
pub const SAMPLE_TEXT: &str = "Hello, this is my cloned voice.";

/// Makes voices of videos.
pub struct Cloning {
    shop: Workshop,
    keys: Arc<ApiKeys>,
    sounds: Sounds,
    voices: Arc<PersonaVoices>,
    media: Arc<Media>,
}

/// Why there is no voice.
fn stopped(error: VendorError) -> Stopped {
    match error.why {
        Failure::Unpaid => Stopped::failed(
            "elevenlabs_quota_exceeded",
            "ElevenLabs API quota exceeded. Please upgrade your plan.",
        ),
        Failure::Unauthorised => Stopped::failed("external_api_error", "ElevenLabs does not accept the key"),
        Failure::Refused => Stopped::failed("external_api_error", format!("ElevenLabs refuses: {error}")),
        _ => Stopped::Later(error.to_string()),
    }
}

impl Cloning {
    /// `data_dir`: where jobs have their folders.
    pub fn new(
        store: Arc<Store>,
        jobs: Arc<UserJobs>,
        keys: Arc<ApiKeys>,
        sounds: Sounds,
        voices: Arc<PersonaVoices>,
        media: Arc<Media>,
        data_dir: &Path,
    ) -> Self {
        Self { shop: Workshop::new(store, jobs, data_dir), keys, sounds, voices, media }
    }

    async fn clone(&self, job: &UserJob, doing: &UnderWay, folder: &Path) -> Result<(), Stopped> {
        let _room = self.sounds.room(doing).await?;
        let owner = &job.owner;
        let persona = self.shop.persona_of(job).await?;
        let no_video = || Stopped::failed("invalid_url", "The URL is no video of YouTube's");
        let video = Video::of_url(&persona.video).ok_or_else(no_video)?;
        tokio::fs::create_dir_all(folder).await?;
        doing.stage("downloading_video", 5).await?;
        let (wav, speech) = (Sounds::file(folder, &video), folder.join("speech.wav"));
        if !wav.is_file() && !speech.is_file() {
            let fetched = self.sounds.fetched(doing, &video, folder).await?;
            doing.stage("extracting_audio", 45).await?;
            self.sounds.wav(doing, &video, &fetched, folder).await?;
        }
        doing.stage("extracting_audio", 60).await?;
        if !speech.is_file() {
            let (from, to) = (wav.clone(), speech.clone());
            let chosen = spawn_blocking(move || choose(&from, &to));
            doing.unless_cancelled(chosen).await.ok_or(Stopped::Cancelled)???;
        }
        doing.stage("cloning_voice", 70).await?;
        let speech = tokio::fs::read(&speech).await?;
        let seconds = speech.len() as u64 / 2 / u64::from(RATE_HZ);
        let key = self.keys.of(owner, KeyService::ElevenLabs).await?;
        let note = folder.join("voice.json");
        let voice = match noted(&note).await {
            Some(voice) => voice,
            None => {
                let made = self.voices.make(&persona.name, speech, key.as_ref());
                let made = doing.unless_cancelled(made).await.ok_or(Stopped::Cancelled)?;
                let (id, maker) = made.map_err(stopped)?;
                // Who goes on after a crash makes no second one.
                tokio::fs::write(&note, json!([id, maker]).to_string()).await?;
                PersonaVoice { id, maker: maker.to_owned(), sample: String::new() }
            }
        };
        let analysis = UserJobKind::PersonaAnalysis.id_after(&job.id);
        let heard = self.shop.folder_of(&analysis);
        let introduced = async {
            hand_on(&wav, &Sounds::file(&heard, &video)).await?;
            self.introduce(job, &persona, &voice, key.as_ref(), seconds, &analysis).await
        };
        match doing.unless_cancelled(introduced).await {
            Some(Ok(true)) => Ok(()),
            other => {
                self.voices.take_away(&voice, key.as_ref()).await;
                let _ = tokio::fs::remove_file(&note).await;
                self.media.remove(&persona.id);
                Err(match other {
                    Some(Err(stopped)) => stopped,
                    _ => Stopped::Cancelled,
                })
            }
        }
    }

    /// Removes what was left for an analysis that does not follow.
    async fn tidy(&self, job: &Job) {
        let analysis = UserJobKind::PersonaAnalysis.id_after(&job.key);
        match self.shop.store.has_user_job(&analysis).await {
            Ok(true) => {}
            Ok(false) => emptied(&self.shop.folder_of(&analysis)).await,
            Err(error) => tracing::error!(%error, analysis, "the folder of a job may stay"),
        }
    }

    /// Has a voice say a sentence, and writes it down, and that `analysis` is to be done. False if nobody wants it any more.
    async fn introduce(
        &self,
        job: &UserJob,
        persona: &Persona,
        voice: &PersonaVoice,
        key: Option<&Secret>,
        seconds: u64,
        analysis: &str,
    ) -> Result<bool, Stopped> {
        let said = self.voices.speak(voice, key, SAMPLE_TEXT).await.map_err(stopped)?;
        let (media, name) = (self.media.clone(), format!("{}_sample", persona.id));
        let kept = spawn_blocking(move || media.keep(&name, &said)).await;
        let sample = kept??;
        let result = json!({
            "voice_id": voice.id,
            "persona_id": persona.id,
            "sample": sample,
            "duration_seconds": seconds,
            "stand_in": voice.maker == STAND_INS,
        });
        let voice = PersonaVoice { sample, ..voice.clone() };
        let cloned = self.shop.store.persona_cloned(persona, voice, &job.id, result, analysis, UnixMs::now());
        Ok(cloned.await?)
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
            let outcome = self.shop.work_on(self, job).await;
            if !matches!(outcome, Outcome::Later { .. }) {
                self.tidy(job).await;
            }
            outcome
        }
        .boxed()
    }

    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> BoxFuture<'a, ()> {
        async move {
            self.shop.give_up(job, reason).await;
            self.tidy(job).await;
        }
        .boxed()
    }
}

impl Task for Cloning {
    fn attempt<'a>(
        &'a self,
        job: &'a UserJob,
        doing: &'a UnderWay,
        folder: &'a Path,
    ) -> BoxFuture<'a, Result<(), Stopped>> {
        self.clone(job, doing, folder).boxed()
    }
}

/// Leaves a file for the job that follows. One that is not here any more was left by an earlier try, or is fetched anew there.
async fn hand_on(from: &Path, to: &Path) -> std::io::Result<()> {
    if let Some(folder) = to.parent().filter(|_| from.is_file()) {
        tokio::fs::create_dir_all(folder).await?;
        tokio::fs::rename(from, to).await?;
    }
    Ok(())
}

/// The voice that a try before this one made, if it wrote that down.
async fn noted(note: &Path) -> Option<PersonaVoice> {
    let (id, maker) = serde_json::from_slice(&tokio::fs::read(note).await.ok()?).ok()?;
    Some(PersonaVoice { id, maker, sample: String::new() })
}

/// Chooses the clearest speech of a WAV file. Blocks.
fn choose(from: &Path, to: &Path) -> Result<(), Stopped> {
    let too_little = |error| Stopped::failed("invalid_input", format!("Too little speech: {error}"));
    let speech = clearest(&samples(from)?).map_err(too_little)?;
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
