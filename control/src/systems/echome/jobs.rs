//! Work that takes a while.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::auth::Caller;
use super::error::told;
use super::ids::shown;
use super::persona::KIND;
use crate::domain::catalogue::{Catalogue, State as ImportState};
use crate::domain::error::Error;
use crate::domain::time::UnixMs;
use crate::domain::user_jobs::{UserJob, UserJobKind};
use crate::server::App;
use crate::systems::error::ApiError;

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job, examples(json!({
    "job_id": "job_voice_0198c1d2e3f47a5b8c6d7e8f90a1b2c3", "type": "voice_clone", "status": "processing", "progress": 60,
    "created_at": "2025-02-18T10:00:00Z", "updated_at": "2025-02-18T10:02:00Z",
    "metadata": { "youtube_url": "https://youtube.com/…", "persona_id": "persona_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3" },
})))]
pub(super) struct Shown {
    job_id: String,
    /// `voice_clone`, `persona_analysis` or `product_ingest`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// `pending`, `processing`, `completed`, `failed` or `cancelled`.
    status: &'static str,
    /// In percent.
    progress: u8,
    created_at: String,
    updated_at: String,
    /// What it is about.
    #[schema(value_type = Object)]
    metadata: Value,
}

/// That a job was called off.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "success": true, "job_id": "job_voice_0198c1d2e3f47a5b8c6d7e8f90a1b2c3", "status": "cancelled",
    "cancelled_at": "2025-02-18T10:03:00Z",
})))]
pub(super) struct Cancelled {
    success: bool,
    job_id: String,
    status: &'static str,
    cancelled_at: String,
}

/// A job
#[utoipa::path(
    get,
    path = "/api/jobs/{job_id}",
    tag = "jobs",
    params(("job_id" = String, Path)),
    responses((status = 200, body = Shown), (status = 404, description = "There is no such job"))
)]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(job_id): Path<String>,
) -> Result<Json<Shown>, ApiError> {
    let job = match app.user_jobs.one(caller.id(), &job_id).await {
        Err(Error::NotFound(_)) => {
            return Ok(Json(of_import(app.catalogues.import(caller.id(), &job_id).await.map_err(told)?)));
        }
        job => job.map_err(told)?,
    };
    Ok(Json(Shown {
        kind: job.kind.as_str(),
        status: job.status.as_str(),
        progress: job.progress,
        created_at: job.created.to_seconds_text(),
        updated_at: job.updated.to_seconds_text(),
        metadata: metadata(&job),
        job_id: job.id,
    }))
}

/// Call a job off
///
/// What it had begun is ended, and what it had made is removed.
#[utoipa::path(
    post,
    path = "/api/jobs/{job_id}/cancel",
    tag = "jobs",
    params(("job_id" = String, Path)),
    responses(
        (status = 200, body = Cancelled),
        (status = 404, description = "There is no such job"),
        (status = 409, description = "It is over already")
    )
)]
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(job_id): Path<String>,
) -> Result<Json<Cancelled>, ApiError> {
    let now = UnixMs::now();
    let job = match app.user_jobs.cancel(caller.id(), &job_id, now).await {
        Err(Error::NotFound(_)) => {
            let import = app.catalogues.cancel(caller.id(), &job_id, now).await.map_err(told)?;
            let cancelled_at = import.ended.unwrap_or(now).to_seconds_text();
            let status = ImportState::Cancelled.as_str();
            return Ok(Json(Cancelled { success: true, job_id, status, cancelled_at }));
        }
        job => job.map_err(told)?,
    };
    let cancelled_at = job.ended.unwrap_or(job.updated).to_seconds_text();
    Ok(Json(Cancelled { success: true, job_id: job.id, status: job.status.as_str(), cancelled_at }))
}

/// The import of a file, as a job.
fn of_import(import: Catalogue) -> Shown {
    Shown {
        kind: "product_ingest",
        status: import.state.as_str(),
        progress: import.progress,
        created_at: import.created.to_seconds_text(),
        updated_at: import.updated.to_seconds_text(),
        metadata: json!({
            "catalog_id": import.id,
            "catalog_name": import.name,
            "file_name": import.file_name,
            "stage": import.stage.as_str(),
            "products": import.products,
            "chunks": import.chunks,
            "error": import.reason,
        }),
        job_id: import.job,
    }
}

/// What a job is about, with ids as they are shown.
fn metadata(job: &UserJob) -> Value {
    let mut metadata = job.metadata.clone();
    if let Some(persona) = metadata["persona_id"].as_str() {
        metadata["persona_id"] = shown(KIND, persona).into();
    }
    // Of a voice the status tells all this. An analysis has none but this.
    if job.kind == UserJobKind::PersonaAnalysis {
        metadata["stage"] = job.stage().map(|stage| stage.name.as_str()).into();
        metadata["error"] = job.error.clone();
        for name in ["profile_source", "videos", "words"] {
            metadata[name] = job.result[name].clone();
        }
    }
    metadata
}
