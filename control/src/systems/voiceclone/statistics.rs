//! What was counted.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::failed;
use crate::server::App;
use crate::systems::error::ApiError;

/// The answer, field by field as documented.
#[derive(Debug, Serialize)]
pub(super) struct Statistics {
    total_clones: u64,
    cache_hits: u64,
    cache_misses: u64,
    hit_rate: f64,
    avg_creation_time_ms: f64,
    total_calls: u64,
}

/// Voices that were made, calls that were taken, and how often a voice was there.
pub(super) async fn handle(State(app): State<Arc<App>>) -> Result<Json<Statistics>, ApiError> {
    let figures = app.store.clone_figures().await.map_err(failed)?;
    Ok(Json(Statistics {
        total_clones: figures.clones,
        cache_hits: figures.hits,
        cache_misses: figures.misses,
        hit_rate: figures.hit_rate(),
        avg_creation_time_ms: figures.creation_ms_average.unwrap_or(0.0),
        total_calls: figures.calls,
    }))
}
