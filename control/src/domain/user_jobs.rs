//! Work that a user waits for: what they see of it, and how they call it off. The queue does it ([`super::jobs`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use super::error::Error;
use super::time::UnixMs;
use crate::store::{Store, StoreError};

/// What kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserJobKind {
    /// A voice is made of a video.
    VoiceClone,
    /// What somebody said, and how, is found out.
    PersonaAnalysis,
}

impl UserJobKind {
    /// As it stands in records and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VoiceClone => "voice_clone",
            Self::PersonaAnalysis => "persona_analysis",
        }
    }

    /// The one of this name.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::VoiceClone, Self::PersonaAnalysis].into_iter().find(|kind| kind.as_str() == text)
    }

    /// What the ids of its jobs begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::VoiceClone => "job_voice_",
            Self::PersonaAnalysis => "job_persona_",
        }
    }

    /// A new id of such a job.
    pub fn new_id(self) -> String {
        format!("{}{}", self.prefix(), Uuid::now_v7().simple())
    }

    /// The id of the one such job that follows on another job: always the same.
    pub fn id_after(self, job: &str) -> String {
        format!("{}{}", self.prefix(), job.rsplit('_').next().unwrap_or_default())
    }

    /// Its stages, in order.
    pub const fn stages(self) -> &'static [&'static str] {
        match self {
            Self::VoiceClone => &["downloading_video", "extracting_audio", "cloning_voice"],
            Self::PersonaAnalysis => {
                &["downloading_videos", "choosing_speech", "transcribing_speech", "extracting_persona"]
            }
        }
    }
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStatus {
    /// It waits.
    Pending,
    /// It is being done.
    Processing,
    /// It is done.
    Completed,
    /// It could not be done.
    Failed,
    /// It was called off.
    Cancelled,
}

impl JobStatus {
    /// As it stands in records and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The one of this name.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Pending, Self::Processing, Self::Completed, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|status| status.as_str() == text)
    }

    /// Whether nothing more comes of it.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A stage of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub status: JobStatus,
    /// How long it took, in ms; none until it is completed.
    pub duration_ms: Option<u64>,
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl JobError {
    /// An error with this code.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A job, as its owner sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct UserJob {
    /// Its id, which says what kind it is.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// What kind.
    pub kind: UserJobKind,
    /// How far it is.
    pub status: JobStatus,
    /// The same, from 0 to 100.
    pub progress: u8,
    /// Its stages, in order.
    pub stages: Vec<Stage>,
    /// What it is about: an object.
    pub metadata: Value,
    /// What came of it; null until it is completed.
    pub result: Value,
    /// Why it failed: `code` and `message`; null unless it did.
    pub error: Value,
    /// When it was made.
    pub created: UnixMs,
    /// When something of it changed last.
    pub updated: UnixMs,
    /// When it was over.
    pub ended: Option<UnixMs>,
}

impl UserJob {
    /// The stage that is under way, or the next one; none if all are done.
    pub fn stage(&self) -> Option<&Stage> {
        let under_way = self.stages.iter().find(|stage| stage.status == JobStatus::Processing);
        under_way.or_else(|| self.stages.iter().find(|stage| stage.status != JobStatus::Completed))
    }
}

/// All users' jobs.
#[derive(Debug)]
pub struct UserJobs {
    store: Arc<Store>,
    /// Who does a job hears here that it was called off.
    under_way: Mutex<HashMap<String, watch::Sender<bool>>>,
}

/// A job that is being done, for who does it. Dropped when it is not any more.
#[derive(Debug)]
pub struct UnderWay {
    jobs: Arc<UserJobs>,
    id: String,
    cancelled: watch::Receiver<bool>,
}

impl UserJobs {
    /// Kept in `store`.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, under_way: Mutex::default() }
    }

    /// A job of an owner's.
    pub async fn one(&self, owner: &str, id: &str) -> Result<UserJob, Error> {
        self.store.user_job_of(owner, id).await?.ok_or(Error::NotFound("Job"))
    }

    /// Calls a job off. One that is over cannot be.
    pub async fn cancel(&self, owner: &str, id: &str, now: UnixMs) -> Result<UserJob, Error> {
        let job = self.one(owner, id).await?;
        if !self.store.cancel_user_job(id, now).await? {
            let job = self.one(owner, id).await?;
            return Err(Error::Conflict(format!("The job is {} already", job.status.as_str())));
        }
        self.tell_cancelled(id);
        self.one(owner, &job.id).await
    }

    /// Tells whoever does a job that it was called off, which is written down.
    pub fn tell_cancelled(&self, id: &str) {
        if let Some(doing) = self.lock().get(id) {
            doing.send_replace(true);
        }
    }

    /// Begins to do a job, or goes on with it. None if it is over, or there is no such job.
    pub async fn begin(
        self: &Arc<Self>,
        id: &str,
        now: UnixMs,
    ) -> Result<Option<(UserJob, UnderWay)>, StoreError> {
        let (tell, cancelled) = watch::channel(false);
        // First this: who calls it off writes that down before looking here.
        self.lock().insert(id.to_owned(), tell);
        let under_way = UnderWay { jobs: self.clone(), id: id.to_owned(), cancelled };
        let job = self.store.begin_user_job(id, now).await?;
        Ok(job.map(|job| (job, under_way)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<bool>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// Does a part of the job, unless it is called off: then the part is dropped, and there is nothing.
    pub async fn unless_cancelled<T>(&self, part: impl Future<Output = T>) -> Option<T> {
        let mut cancelled = self.cancelled.clone();
        tokio::select! {
            biased;
            Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => None,
            done = part => Some(done),
        }
    }

    /// A stage begins; those before it are done. `progress`: of the whole job, in percent.
    pub async fn stage(&self, name: &str, progress: u8) -> Result<(), StoreError> {
        self.jobs.store.user_job_stage(&self.id, name, progress, UnixMs::now()).await
    }

    /// It is done.
    pub async fn complete(&self, result: Value) -> Result<(), StoreError> {
        self.jobs.store.complete_user_job(&self.id, result, UnixMs::now()).await
    }

    /// It cannot be done.
    pub async fn fail(&self, error: JobError) -> Result<(), StoreError> {
        self.jobs.store.fail_user_job(&self.id, error, UnixMs::now()).await
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.jobs.lock().remove(&self.id);
    }
}
