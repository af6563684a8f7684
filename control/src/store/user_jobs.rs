//! Work that users wait for, as they see it.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Value, json};

use super::{Store, StoreError, jobs};
use crate::domain::jobs::{Lane, NewJob};
use crate::domain::time::UnixMs;
use crate::domain::user_jobs::{JobError, JobStatus, Stage, UserJob, UserJobKind};

impl Store {
    /// A job of an owner's.
    pub async fn user_job_of(&self, owner: &str, id: &str) -> Result<Option<UserJob>, StoreError> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT * FROM user_jobs WHERE id = ?1 AND owner = ?2")?
                .query_row([id, owner], job_from_row)
                .optional()
        })
        .await
    }

    /// Whether there is such a job, over or not.
    pub async fn has_user_job(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| {
            connection.prepare_cached("SELECT 1 FROM user_jobs WHERE id = ?1")?.exists([id])
        })
        .await
    }

    /// A job is being done. None if it is over, or there is none.
    pub async fn begin_user_job(&self, id: &str, at: UnixMs) -> Result<Option<UserJob>, StoreError> {
        let id = id.to_owned();
        self.change(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE user_jobs SET status = 'processing', updated_ms = ?2
                     WHERE id = ?1 AND ended_ms IS NULL RETURNING *",
                )?
                .query_row(params![id, at.0], job_from_row)
                .optional()
        })
        .await
    }

    /// A stage of a job begins, and those before it are done.
    pub async fn user_job_stage(
        &self,
        id: &str,
        stage: &str,
        progress: u8,
        at: UnixMs,
    ) -> Result<(), StoreError> {
        let (id, stage) = (id.to_owned(), stage.to_owned());
        self.change(move |connection| {
            let Some(mut stages) = stages_of(connection, &id)? else { return Ok(()) };
            move_on(&mut stages, Some(&stage), at);
            connection
                .prepare_cached(
                    "UPDATE user_jobs SET stages = ?2, progress = max(progress, ?3), updated_ms = ?4
                     WHERE id = ?1 AND ended_ms IS NULL",
                )?
                .execute(params![id, Value::Array(stages).to_string(), progress.min(99), at.0])
                .map(drop)
        })
        .await
    }

    /// A job is done.
    pub async fn complete_user_job(&self, id: &str, result: Value, at: UnixMs) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.change(move |connection| complete(connection, &id, &result, at).map(drop)).await
    }

    /// A job cannot be done.
    pub async fn fail_user_job(&self, id: &str, error: JobError, at: UnixMs) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.change(move |connection| {
            let Some(mut stages) = stages_of(connection, &id)? else { return Ok(()) };
            for stage in &mut stages {
                if stage["status"] == JobStatus::Processing.as_str() {
                    stage["status"] = JobStatus::Failed.as_str().into();
                }
            }
            let error = json!({ "code": error.code, "message": error.message });
            connection
                .prepare_cached(
                    "UPDATE user_jobs SET status = 'failed', stages = ?2, error = ?3, updated_ms = ?4, ended_ms = ?4
                     WHERE id = ?1 AND ended_ms IS NULL",
                )?
                .execute(params![id, Value::Array(stages).to_string(), error.to_string(), at.0])
                .map(drop)
        })
        .await
    }

    /// A job is called off. False if it is over.
    pub async fn cancel_user_job(&self, id: &str, at: UnixMs) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.change(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE user_jobs SET status = 'cancelled', updated_ms = ?2, ended_ms = ?2
                     WHERE id = ?1 AND ended_ms IS NULL",
                )?
                .execute(params![id, at.0])
                .map(|changed| changed == 1)
        })
        .await
    }
}

/// Makes a job, and has the queue do it. Returns its id.
pub(super) fn insert(
    connection: &Connection,
    owner: &str,
    kind: UserJobKind,
    metadata: &Value,
    at: UnixMs,
) -> rusqlite::Result<String> {
    let id = kind.new_id();
    insert_as(connection, &id, owner, kind, metadata, at)?;
    Ok(id)
}

/// Makes a job with this id, and has the queue do it.
pub(super) fn insert_as(
    connection: &Connection,
    id: &str,
    owner: &str,
    kind: UserJobKind,
    metadata: &Value,
    at: UnixMs,
) -> rusqlite::Result<()> {
    let stage = |name: &&str| json!({ "name": name, "status": JobStatus::Pending.as_str() });
    let stages: Vec<Value> = kind.stages().iter().map(stage).collect();
    connection
        .prepare_cached(
            "INSERT INTO user_jobs (id, owner, kind, status, stages, metadata, created_ms, updated_ms)
             VALUES (?1, ?2, ?3, 'pending', ?4, ?5, ?6, ?6)",
        )?
        .execute(params![
            id,
            owner,
            kind.as_str(),
            Value::Array(stages).to_string(),
            metadata.to_string(),
            at.0
        ])?;
    // One of an owner's at a time: the others' are not kept waiting by it.
    let lane = Lane::unordered(format!("{} {owner}", kind.as_str()));
    let job = NewJob { kind: kind.as_str(), key: id.to_owned(), lane, payload: json!({}), at };
    jobs::enqueue(connection, &job).map(drop)
}

/// A job is done. False if it was over.
pub(super) fn complete(
    connection: &Connection,
    id: &str,
    result: &Value,
    at: UnixMs,
) -> rusqlite::Result<bool> {
    let Some(mut stages) = stages_of(connection, id)? else { return Ok(false) };
    move_on(&mut stages, None, at);
    connection
        .prepare_cached(
            "UPDATE user_jobs
             SET status = 'completed', progress = 100, stages = ?2, result = ?3, updated_ms = ?4, ended_ms = ?4
             WHERE id = ?1 AND ended_ms IS NULL",
        )?
        .execute(params![id, Value::Array(stages).to_string(), result.to_string(), at.0])
        .map(|changed| changed == 1)
}

/// The stages before `next` are done, or all of them; that one begins, unless it had begun before.
fn move_on(stages: &mut [Value], next: Option<&str>, at: UnixMs) {
    for stage in stages {
        if next.is_some_and(|next| stage["name"] == next) {
            if stage["status"] != JobStatus::Processing.as_str() {
                stage["status"] = JobStatus::Processing.as_str().into();
                stage["started_ms"] = at.0.into();
            }
            return;
        }
        if stage["status"] != JobStatus::Completed.as_str() {
            stage["status"] = JobStatus::Completed.as_str().into();
            let started = stage["started_ms"].as_i64().unwrap_or(at.0);
            stage["duration_ms"] = (at.0 - started).max(0).into();
        }
    }
}

fn stages_of(connection: &Connection, id: &str) -> rusqlite::Result<Option<Vec<Value>>> {
    let text: Option<String> = connection
        .prepare_cached("SELECT stages FROM user_jobs WHERE id = ?1 AND ended_ms IS NULL")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(text.map(|text| serde_json::from_str(&text).unwrap_or_default()))
}

fn job_from_row(row: &Row<'_>) -> rusqlite::Result<UserJob> {
    let json = |name: &str| -> rusqlite::Result<Value> {
        let text: Option<String> = row.get(name)?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    };
    let (kind, status): (String, String) = (row.get("kind")?, row.get("status")?);
    let stage = |stage: &Value| Stage {
        name: stage["name"].as_str().unwrap_or_default().to_owned(),
        status: stage["status"].as_str().and_then(JobStatus::from_text).unwrap_or(JobStatus::Pending),
        duration_ms: stage["duration_ms"].as_u64(),
    };
    Ok(UserJob {
        id: row.get("id")?,
        owner: row.get("owner")?,
        kind: UserJobKind::from_text(&kind).unwrap_or(UserJobKind::VoiceClone),
        status: JobStatus::from_text(&status).unwrap_or(JobStatus::Failed),
        progress: row.get::<_, i64>("progress")?.clamp(0, 100) as u8,
        stages: json("stages")?.as_array().into_iter().flatten().map(stage).collect(),
        metadata: json("metadata")?,
        result: json("result")?,
        error: json("error")?,
        created: UnixMs(row.get("created_ms")?),
        updated: UnixMs(row.get("updated_ms")?),
        ended: row.get::<_, Option<i64>>("ended_ms")?.map(UnixMs),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::users::GoogleIdentity;

    async fn store() -> (Store, String, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), UnixMs(0)).unwrap();
        let identity =
            GoogleIdentity { sub: "1".into(), email: "a@example.com".into(), name: None, picture: None };
        let user = store.sign_in(identity, UnixMs(1)).await.unwrap().id;
        (store, user, dir)
    }

    async fn made(store: &Store, owner: &str) -> String {
        let owner = owner.to_owned();
        let metadata = json!({ "persona_id": "p" });
        let make = move |connection: &Connection| {
            insert(connection, &owner, UserJobKind::VoiceClone, &metadata, UnixMs(10))
        };
        store.change(make).await.unwrap()
    }

    #[tokio::test]
    async fn stages_follow_one_another_and_tell_how_long_they_took() {
        let (store, user, _dir) = store().await;
        let id = made(&store, &user).await;
        let job = store.begin_user_job(&id, UnixMs(100)).await.unwrap().unwrap();
        assert_eq!(
            (job.status, job.stage().unwrap().name.as_str()),
            (JobStatus::Processing, "downloading_video")
        );
        store.user_job_stage(&id, "downloading_video", 5, UnixMs(1_000)).await.unwrap();
        store.user_job_stage(&id, "downloading_video", 3, UnixMs(1_500)).await.unwrap();
        store.user_job_stage(&id, "extracting_audio", 50, UnixMs(4_000)).await.unwrap();
        let job = store.user_job_of(&user, &id).await.unwrap().unwrap();
        assert_eq!((job.progress, job.stages[0].duration_ms), (50, Some(3_000)));
        assert_eq!(job.stage().unwrap().name, "extracting_audio");
        store.complete_user_job(&id, json!({ "voice_id": "v" }), UnixMs(9_000)).await.unwrap();
        let job = store.user_job_of(&user, &id).await.unwrap().unwrap();
        assert_eq!((job.status, job.progress, job.ended), (JobStatus::Completed, 100, Some(UnixMs(9_000))));
        assert!(job.stages.iter().all(|stage| stage.status == JobStatus::Completed));
        assert_eq!(store.user_job_of("somebody else", &id).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_over_stays_as_it_is() {
        let (store, user, _dir) = store().await;
        let id = made(&store, &user).await;
        assert!(store.cancel_user_job(&id, UnixMs(50)).await.unwrap());
        assert!(!store.cancel_user_job(&id, UnixMs(60)).await.unwrap());
        assert_eq!(store.begin_user_job(&id, UnixMs(70)).await.unwrap(), None);
        store.complete_user_job(&id, json!({}), UnixMs(80)).await.unwrap();
        store.fail_user_job(&id, JobError::new("x", "y"), UnixMs(80)).await.unwrap();
        let job = store.user_job_of(&user, &id).await.unwrap().unwrap();
        assert_eq!((job.status, job.ended), (JobStatus::Cancelled, Some(UnixMs(50))));
        let failed = made(&store, &user).await;
        let _ = store.begin_user_job(&failed, UnixMs(90)).await.unwrap();
        store.user_job_stage(&failed, "cloning_voice", 60, UnixMs(95)).await.unwrap();
        store.fail_user_job(&failed, JobError::new("job_failed", "no speech"), UnixMs(99)).await.unwrap();
        let job = store.user_job_of(&user, &failed).await.unwrap().unwrap();
        assert_eq!((job.stages[2].status, &job.error["code"]), (JobStatus::Failed, &json!("job_failed")));
    }
}
