//! Jobs: each query beside the function that runs it.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use super::{Store, StoreError};
use crate::domain::jobs::{Claimed, Job, NewJob, Verdict};
use crate::domain::time::UnixMs;

/// How long jobs are kept that are done.
const KEPT_DONE_MS: i64 = 7 * 24 * 3_600_000;
/// How long jobs are kept that were given up: so long they can be taken up again.
const KEPT_DEAD_MS: i64 = 90 * 24 * 3_600_000;
/// How many that are too old are removed at once.
const REMOVED_AT_ONCE: i64 = 500;
/// At the end of every how manieth job it is looked for those.
const REMOVED_EVERY: i64 = 64;

impl Store {
    /// Ready once a job was written down that was not there when this was called.
    pub fn job_enqueued(&self) -> impl Future<Output = ()> + use<> {
        let mut enqueued = self.jobs_enqueued.clone();
        enqueued.mark_unchanged();
        async move {
            // The writer is gone: nothing comes any more.
            if enqueued.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Writes a job down, once.
    pub async fn enqueue(&self, job: NewJob) -> Result<(), StoreError> {
        self.change(move |connection| enqueue(connection, &job).map(drop)).await
    }

    /// Takes up to `room` jobs of these kinds that are due, at most one of a lane, the longest due first. They run from here on.
    pub async fn claim_jobs(
        &self,
        kinds: Vec<&'static str>,
        now: UnixMs,
        room: usize,
    ) -> Result<Claimed, StoreError> {
        // To look costs the writer nothing, and there is mostly nothing to take.
        let next = self
            .read({
                let kinds = kinds.clone();
                move |connection| turns(connection, &kinds)
            })
            .await?
            .into_iter()
            .map(|turn| turn.at)
            .min();
        match next {
            Some(at) if at <= now => {
                self.change(move |connection| claim(connection, &kinds, now, room)).await
            }
            next => Ok(Claimed { jobs: Vec::new(), next }),
        }
    }

    /// Notes what of a job is done, so that its next try goes on there.
    pub async fn note_progress(&self, job: i64, progress: Value) -> Result<(), StoreError> {
        self.change(move |connection| {
            connection
                .prepare_cached("UPDATE jobs SET progress = ?2 WHERE id = ?1")?
                .execute(params![job, progress.to_string()])
                .map(drop)
        })
        .await
    }

    /// What is noted of a job.
    #[cfg(test)]
    pub(crate) async fn progress_of(&self, job: i64) -> Result<Value, StoreError> {
        let text = self.read(move |connection| {
            connection
                .query_row("SELECT progress FROM jobs WHERE id = ?1", [job], |row| row.get::<_, String>(0))
        });
        Ok(serde_json::from_str(&text.await?).unwrap_or_default())
    }

    /// Writes down what came of a try.
    pub async fn end_try(&self, job: i64, verdict: Verdict, now: UnixMs) -> Result<(), StoreError> {
        self.change(move |connection| end_try(connection, job, &verdict, now)).await
    }

    /// Jobs that run were not done after all, and no try is counted.
    pub async fn put_jobs_back(&self) -> Result<(), StoreError> {
        self.change(|connection| {
            connection
                .execute("UPDATE jobs SET state = 'pending', tries = tries - 1 WHERE state = 'running'", [])
                .map(drop)
        })
        .await
    }

    /// Takes up again a job that was given up. False if there is none.
    pub async fn revive_job(&self, kind: &'static str, key: String, now: UnixMs) -> Result<bool, StoreError> {
        self.change(move |connection| revive(connection, kind, &key, now)).await
    }
}

/// Writes a job down, once: false if one of its kind is there about the same. Stands in the transaction of what makes it
/// necessary.
pub(super) fn enqueue(connection: &Connection, job: &NewJob) -> rusqlite::Result<bool> {
    let written = connection
        .prepare_cached(
            "INSERT INTO jobs (kind, key, lane, ordered, payload, progress, state, tries, next_try_ms, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, '{}', 'pending', 0, ?6, ?6) ON CONFLICT (kind, key) DO NOTHING",
        )?
        .execute(params![
            job.kind,
            job.key,
            job.lane.name,
            job.lane.is_ordered,
            job.payload.to_string(),
            job.at.0,
        ])?;
    Ok(written == 1)
}

/// The number of the last job that was ever written down.
pub(super) fn last(connection: &Connection) -> rusqlite::Result<i64> {
    let last = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0))
}

/// What ran when the process died is tried again.
pub(super) fn put_back_running(connection: &Connection) -> rusqlite::Result<usize> {
    connection.execute("UPDATE jobs SET state = 'pending' WHERE state = 'running'", [])
}

/// Whose turn it is in a lane.
struct Turn {
    id: i64,
    at: UnixMs,
}

/// Whose turn it is in each lane in which none runs.
fn turns(connection: &Connection, kinds: &[&str]) -> rusqlite::Result<Vec<Turn>> {
    // From lane to lane along the index, however many jobs wait in each.
    let lanes: Vec<String> = connection
        .prepare_cached(
            "WITH RECURSIVE lanes (lane) AS (
                 SELECT min(lane) FROM jobs WHERE ended_ms IS NULL
                 UNION ALL
                 SELECT (SELECT min(lane) FROM jobs WHERE ended_ms IS NULL AND lane > lanes.lane)
                 FROM lanes WHERE lanes.lane IS NOT NULL
             )
             SELECT lane FROM lanes
             WHERE lane IS NOT NULL AND NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'running' AND jobs.lane = lanes.lane)",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut first = connection.prepare_cached(
        "SELECT id, kind, next_try_ms, ordered FROM jobs WHERE lane = ?1 AND ended_ms IS NULL ORDER BY id LIMIT 1",
    )?;
    let mut soonest = connection.prepare_cached(
        "SELECT id, kind, next_try_ms, ordered FROM jobs WHERE lane = ?1 AND ended_ms IS NULL
         ORDER BY next_try_ms, id LIMIT 1",
    )?;
    let read = |row: &Row<'_>| {
        let turn = Turn { id: row.get(0)?, at: UnixMs(row.get(2)?) };
        Ok((turn, row.get::<_, String>(1)?, row.get::<_, bool>(3)?))
    };
    let mut turns = Vec::new();
    for lane in lanes {
        let Some(mut turn) = first.query_row([&lane], read).optional()? else { continue };
        if !turn.2 {
            turn = soonest.query_row([&lane], read)?;
        }
        if kinds.contains(&turn.1.as_str()) {
            turns.push(turn.0);
        }
    }
    turns.sort_by_key(|turn| (turn.at, turn.id));
    Ok(turns)
}

fn claim(connection: &Connection, kinds: &[&str], now: UnixMs, room: usize) -> rusqlite::Result<Claimed> {
    let turns = turns(connection, kinds)?;
    let due = turns.iter().take_while(|turn| turn.at <= now).count();
    let taken = due.min(room);
    let mut take = connection.prepare_cached(
        "UPDATE jobs SET state = 'running', tries = tries + 1 WHERE id = ?1
         RETURNING id, kind, key, lane, payload, progress, tries, created_ms",
    )?;
    let jobs = turns[..taken].iter().map(|turn| take.query_row([turn.id], job_from_row));
    Ok(Claimed { jobs: jobs.collect::<Result<_, _>>()?, next: turns.get(taken).map(|turn| turn.at) })
}

fn job_from_row(row: &Row<'_>) -> rusqlite::Result<Job> {
    let json = |text: String| serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Job {
        id: row.get("id")?,
        kind: row.get("kind")?,
        key: row.get("key")?,
        lane: row.get("lane")?,
        payload: json(row.get("payload")?),
        progress: json(row.get("progress")?),
        tries: row.get("tries")?,
        created: UnixMs(row.get("created_ms")?),
    })
}

fn end_try(connection: &Connection, job: i64, verdict: &Verdict, now: UnixMs) -> rusqlite::Result<()> {
    let end = |state: &str, reason: Option<&str>| {
        connection
            .prepare_cached(
                "UPDATE jobs SET state = ?2, reason = ?3, ended_ms = ?4 WHERE id = ?1 AND state = 'running'",
            )?
            .execute(params![job, state, reason, now.0])
    };
    match verdict {
        Verdict::Done => end("done", None)?,
        Verdict::Dead { reason } => end("dead", Some(reason))?,
        Verdict::Again { at, reason, holds_lane } => {
            if *holds_lane {
                connection
                    .prepare_cached(
                        "UPDATE jobs SET next_try_ms = ?2
                         WHERE lane = (SELECT lane FROM jobs WHERE id = ?1) AND ended_ms IS NULL AND next_try_ms < ?2",
                    )?
                    .execute(params![job, at.0])?;
            }
            connection
                .prepare_cached(
                    "UPDATE jobs SET state = 'pending', reason = ?2, next_try_ms = ?3
                     WHERE id = ?1 AND state = 'running'",
                )?
                .execute(params![job, reason, at.0])?
        }
    };
    if job % REMOVED_EVERY == 0 { remove_old(connection, now) } else { Ok(()) }
}

/// What ended long ago goes, a little at a time.
fn remove_old(connection: &Connection, now: UnixMs) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM jobs WHERE id IN (
                 SELECT id FROM jobs
                 WHERE ended_ms IS NOT NULL AND ended_ms < ?1 AND (state = 'done' OR ended_ms < ?2)
                 ORDER BY ended_ms LIMIT ?3
             )",
        )?
        .execute([now.0 - KEPT_DONE_MS, now.0 - KEPT_DEAD_MS, REMOVED_AT_ONCE])
        .map(drop)
}

pub(super) fn revive(connection: &Connection, kind: &str, key: &str, now: UnixMs) -> rusqlite::Result<bool> {
    let revived = connection
        .prepare_cached(
            "UPDATE jobs SET state = 'pending', tries = 0, next_try_ms = ?3, created_ms = ?3, ended_ms = NULL
             WHERE kind = ?1 AND key = ?2 AND state = 'dead'",
        )?
        .execute(params![kind, key, now.0])?;
    Ok(revived == 1)
}

#[cfg(test)]
mod tests;
