//! What the jobs about personas have in common: a folder of their own until they are over, and what ends them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Persona;
use crate::domain::error::Error;
use crate::domain::jobs::{Job, Outcome};
use crate::domain::time::UnixMs;
use crate::domain::user_jobs::{JobError, UnderWay, UserJob, UserJobs};
use crate::integrations::video::{Video, VideoError, VideoFault};
use crate::store::{Store, StoreError};

/// The folder under the data folder in which jobs have theirs.
const FOLDER: &str = "work";

/// Why a try came to nothing.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Somebody called it off.
    Cancelled,
    /// It will never come to anything.
    Failed(JobError),
    /// It may, another time.
    Later(String),
}

impl Stopped {
    /// It will never come to anything.
    pub(super) fn failed(code: &'static str, message: impl Into<String>) -> Self {
        Self::Failed(JobError::new(code, message))
    }

    /// The same, and of which video.
    pub(super) fn of(self, video: &Video) -> Self {
        match self {
            Self::Failed(error) => {
                Self::failed(error.code, format!("The video {}: {}", video.id(), error.message))
            }
            other => other,
        }
    }
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

impl From<tokio::task::JoinError> for Stopped {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<VideoError> for Stopped {
    fn from(error: VideoError) -> Self {
        let message = error.message;
        match error.fault {
            VideoFault::Unavailable => Self::failed("video_unavailable", message),
            VideoFault::Refused => Self::failed("invalid_input", message),
            VideoFault::Tool => Self::failed("external_api_error", message),
            VideoFault::Failed => Self::failed("job_failed", message),
            VideoFault::Later => Self::Later(message),
        }
    }
}

/// One kind of such work.
pub(super) trait Task: Sync {
    /// Does a job, or goes on with it. `folder`: its own, there or not.
    fn attempt<'a>(
        &'a self,
        job: &'a UserJob,
        doing: &'a UnderWay,
        folder: &'a Path,
    ) -> BoxFuture<'a, Result<(), Stopped>>;
}

/// Where jobs are done.
pub(super) struct Workshop {
    pub(super) store: Arc<Store>,
    jobs: Arc<UserJobs>,
    folder: PathBuf,
}

impl Workshop {
    /// `data_dir`: where jobs have their folders.
    pub(super) fn new(store: Arc<Store>, jobs: Arc<UserJobs>, data_dir: &Path) -> Self {
        Self { store, jobs, folder: data_dir.join(FOLDER) }
    }

    /// The folder of a job, there or not. What stands in it is gone once the job is over.
    pub(super) fn folder_of(&self, job: &str) -> PathBuf {
        self.folder.join(job)
    }

    /// The persona that a job is about. One that is gone is nobody's work any more.
    pub(super) async fn persona_of(&self, job: &UserJob) -> Result<Persona, Stopped> {
        let persona = job.metadata["persona_id"].as_str().unwrap_or_default();
        match self.store.persona(&job.owner, persona).await {
            Ok(persona) => Ok(persona),
            Err(Error::Store(error)) => Err(error.into()),
            Err(_) => Err(Stopped::Cancelled),
        }
    }

    /// Does a job, or goes on with it; writes down that it failed, if it did.
    pub(super) async fn work_on(&self, task: &impl Task, job: &Job) -> Outcome {
        let folder = self.folder_of(&job.key);
        let later = |reason: String| Outcome::Later { reason, after: None, holds_lane: false };
        let begun = match self.jobs.begin(&job.key, UnixMs::now()).await {
            Ok(begun) => begun,
            Err(error) => return later(error.to_string()),
        };
        let outcome = match begun {
            // It was called off, or its owner is gone.
            None => Outcome::Done,
            Some((user_job, doing)) => match task.attempt(&user_job, &doing, &folder).await {
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

    /// A job is given up.
    pub(super) async fn give_up(&self, job: &Job, reason: &str) {
        let error = JobError::new("job_failed", reason);
        if let Err(error) = self.store.fail_user_job(&job.key, error, UnixMs::now()).await {
            tracing::error!(%error, job = job.key, "a job that failed cannot be written down");
        }
        emptied(&self.folder_of(&job.key)).await;
    }
}

/// Removes a job's folder.
pub(super) async fn emptied(folder: &Path) {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::error!(%error, folder = %folder.display(), "the folder of a job stays");
        }
        _ => {}
    }
}
