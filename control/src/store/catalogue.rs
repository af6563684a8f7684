//! Catalogues: files of products, and how far their imports are.
//!
//! What an import writes, it writes only while it is wanted: in the same transaction it is looked whether its owner has
//! cancelled it. So what is removed after that stays removed.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Store, StoreError, events, jobs};
use crate::domain::catalogue::{Catalogue, Embeddings, Kind, NewCatalogue, Stage, State};
use crate::domain::error::Error;
use crate::domain::events::Event;
use crate::domain::jobs::NewJob;
use crate::domain::time::UnixMs;

/// Rows that are removed at once: some ten milliseconds, so that no call's record waits long for it.
const REMOVED_AT_ONCE: i64 = 100;

impl Store {
    /// Writes a catalogue down, with the job that imports it. Err: so many of its owner's wait already, which is `waiting_max`.
    pub async fn add_catalogue(
        &self,
        new: NewCatalogue,
        job: NewJob,
        waiting_max: u32,
    ) -> Result<Result<(), u32>, StoreError> {
        self.change(move |connection| {
            let waiting = connection
                .prepare_cached("SELECT count(*) FROM catalogues WHERE owner = ?1 AND ended_ms IS NULL")?
                .query_row([&new.owner], |row| row.get::<_, u32>(0))?;
            if waiting >= waiting_max {
                return Ok(Err(waiting));
            }
            connection
                .prepare_cached(
                    "INSERT INTO catalogues (id, owner, name, job, file_name, kind, file_bytes, state, stage, progress,
                         searchable, products, chunks, chunked_row, embedded_chunk, embeddings, created_ms, updated_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'pending', 'parsing', 0, 0, 0, 0, 0, 0, ?8, ?9, ?9)",
                )?
                .execute(params![
                    new.id,
                    new.owner,
                    new.name,
                    new.job,
                    new.file_name,
                    new.kind.as_str(),
                    new.file_bytes.cast_signed(),
                    if new.embeds { Embeddings::Pending } else { Embeddings::Off }.as_str(),
                    new.at.0,
                ])?;
            jobs::enqueue(connection, &job)?;
            Ok(Ok(()))
        })
        .await
    }

    /// A catalogue by its id.
    pub async fn catalogue(&self, id: &str) -> Result<Option<Catalogue>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT * FROM catalogues WHERE id = ?1")?
                .query_row([id], catalogue_from_row)
                .optional()
        })
        .await
    }

    /// The owner's catalogue that a job imports.
    pub async fn catalogue_of_job(&self, owner: &str, job: &str) -> Result<Catalogue, Error> {
        let (owner, job) = (owner.to_owned(), job.to_owned());
        let found = self.read(move |connection| of_job(connection, &owner, &job)).await?;
        found.ok_or(Error::NotFound("Job"))
    }

    /// An import goes on with this stage. False: it is not wanted any more.
    pub async fn begin_stage(
        &self,
        catalogue: i64,
        stage: Stage,
        progress: u8,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        self.change(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE catalogues SET state = 'processing', stage = ?2, progress = ?3, updated_ms = ?4,
                         searchable = searchable OR ?5
                     WHERE number = ?1 AND ended_ms IS NULL",
                )?
                .execute(params![catalogue, stage.as_str(), progress, now.0, stage == Stage::Embedding])
                .map(|changed| changed == 1)
        })
        .await
    }

    /// An import is over, its products are shown, and who wants to know it is told. False: it is not wanted any more.
    pub async fn complete_import(
        &self,
        catalogue: i64,
        embeddings: Embeddings,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        self.change(move |connection| {
            let done = connection
                .prepare_cached(
                    "UPDATE catalogues SET state = 'completed', progress = 100, searchable = 1, embeddings = ?2,
                         updated_ms = ?3, ended_ms = ?3
                     WHERE number = ?1 AND ended_ms IS NULL RETURNING *",
                )?
                .query_row(params![catalogue, embeddings.as_str(), now.0], catalogue_from_row)
                .optional()?;
            let Some(done) = done else { return Ok(false) };
            let event = Event::ProductsIngested {
                catalogue: &done.id,
                job: &done.job,
                products: done.products.into(),
                chunks: done.chunks.into(),
            };
            events::tell(connection, &done.owner, &event, now)?;
            Ok(true)
        })
        .await
    }

    /// An import is given up. What it wrote is to be removed then.
    pub async fn fail_import(&self, catalogue: i64, reason: String, now: UnixMs) -> Result<bool, StoreError> {
        self.change(move |connection| {
            let changed = connection
                .prepare_cached(
                    "UPDATE catalogues SET state = 'failed', reason = ?2, updated_ms = ?3, ended_ms = ?3, searchable = 0
                     WHERE number = ?1 AND ended_ms IS NULL",
                )?
                .execute(params![catalogue, reason, now.0])?;
            Ok(changed == 1)
        })
        .await
    }

    /// The owner does not want an import any more. What it wrote is to be removed then.
    pub async fn cancel_import(&self, owner: &str, job: &str, now: UnixMs) -> Result<Catalogue, Error> {
        let (owner, job) = (owner.to_owned(), job.to_owned());
        self.change(move |connection| {
            let Some(found) = of_job(connection, &owner, &job)? else {
                return Ok(Err(Error::NotFound("Job")));
            };
            if found.state.is_over() {
                let state = found.state.as_str();
                return Ok(Err(Error::Conflict(format!("The job is already {state}"))));
            }
            connection
                .prepare_cached(
                    "UPDATE catalogues SET state = 'cancelled', updated_ms = ?2, ended_ms = ?2, searchable = 0
                     WHERE number = ?1",
                )?
                .execute(params![found.number, now.0])?;
            Ok(of_job(connection, &owner, &job)?.ok_or(Error::NotFound("Job")))
        })
        .await?
    }

    /// Removes some of what is left of a catalogue that failed or was cancelled. False: nothing is left.
    pub async fn remove_some(&self, catalogue: i64) -> Result<bool, StoreError> {
        self.change(move |connection| {
            let chunks = connection
                .prepare_cached(
                    "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE catalogue = ?1 LIMIT ?2)",
                )?
                .execute([catalogue, REMOVED_AT_ONCE])?;
            if chunks > 0 {
                return Ok(true);
            }
            let products = connection
                .prepare_cached(
                    "DELETE FROM products WHERE number IN (SELECT number FROM products WHERE catalogue = ?1 LIMIT ?2)",
                )?
                .execute([catalogue, REMOVED_AT_ONCE])?;
            if products == 0 {
                connection
                    .prepare_cached("UPDATE catalogues SET products = 0, chunks = 0 WHERE number = ?1")?
                    .execute([catalogue])?;
            }
            Ok(products > 0)
        })
        .await
    }

    /// Catalogues that failed or were cancelled and of which something is left.
    pub async fn catalogues_to_remove(&self) -> Result<Vec<i64>, StoreError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT number FROM catalogues WHERE state IN ('failed', 'cancelled') AND (
                         EXISTS (SELECT 1 FROM chunks WHERE catalogue = catalogues.number)
                         OR EXISTS (SELECT 1 FROM products WHERE catalogue = catalogues.number))",
                )?
                .query_map([], |row| row.get(0))?
                .collect()
        })
        .await
    }

    /// The ids of the catalogues whose files are still needed.
    pub async fn catalogues_in_work(&self) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT id FROM catalogues WHERE ended_ms IS NULL")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
        .await
    }
}

/// Whether what an import writes is still wanted.
pub(super) fn is_wanted(connection: &Connection, catalogue: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM catalogues WHERE number = ?1 AND ended_ms IS NULL)")?
        .query_row([catalogue], |row| row.get(0))
}

fn of_job(connection: &Connection, owner: &str, job: &str) -> rusqlite::Result<Option<Catalogue>> {
    connection
        .prepare_cached("SELECT * FROM catalogues WHERE job = ?2 AND owner = ?1")?
        .query_row([owner, job], catalogue_from_row)
        .optional()
}

fn catalogue_from_row(row: &Row<'_>) -> rusqlite::Result<Catalogue> {
    let text = |name: &str| row.get::<_, String>(name);
    Ok(Catalogue {
        number: row.get("number")?,
        id: row.get("id")?,
        owner: row.get("owner")?,
        name: row.get("name")?,
        job: row.get("job")?,
        file_name: row.get("file_name")?,
        kind: known(Kind::named(&text("kind")?), row, "kind")?,
        file_bytes: row.get::<_, i64>("file_bytes")?.unsigned_abs(),
        state: known(State::named(&text("state")?), row, "state")?,
        stage: known(Stage::named(&text("stage")?), row, "stage")?,
        progress: row.get("progress")?,
        reason: row.get("reason")?,
        products: row.get("products")?,
        chunks: row.get("chunks")?,
        chunked_row: row.get("chunked_row")?,
        embedded_chunk: row.get("embedded_chunk")?,
        embeddings: known(Embeddings::named(&text("embeddings")?), row, "embeddings")?,
        embedding_model: row.get("embedding_model")?,
        embedding_dimensions: row.get("embedding_dimensions")?,
        created: UnixMs(row.get("created_ms")?),
        updated: UnixMs(row.get("updated_ms")?),
        ended: row.get::<_, Option<i64>>("ended_ms")?.map(UnixMs),
    })
}

/// A word of this version's; another one is a damaged row.
fn known<T>(value: Option<T>, row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    value.ok_or_else(|| {
        let at = row.as_ref().column_index(column).unwrap_or_default();
        rusqlite::Error::InvalidColumnType(at, column.to_owned(), rusqlite::types::Type::Text)
    })
}
