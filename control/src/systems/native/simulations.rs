//! Simulations: the list, one of them with all that was measured, and its end.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{Parameters, count};
use crate::domain::simulations::{Measured, NewSimulation, Simulation};
use crate::server::App;
use crate::systems::error::ApiError;

/// How many simulations a page has, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (50, 500);

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List {
    simulations: Vec<Entry>,
    /// Give it as `cursor` to get what follows; null on the last page.
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Entry {
    id: String,
    /// running, completed, stopped or failed.
    status: &'static str,
    started_at: String,
    ended_at: Option<String>,
    /// What was asked for.
    #[schema(value_type = Object)]
    request: NewSimulation,
    /// What was measured so far, or for good. Times in ms.
    #[schema(value_type = Object)]
    measured: Measured,
}

impl From<Simulation> for Entry {
    fn from(simulation: Simulation) -> Self {
        Self {
            id: simulation.id,
            status: simulation.status.as_str(),
            started_at: simulation.started.to_string(),
            ended_at: simulation.ended.map(|at| at.to_string()),
            request: simulation.request,
            measured: simulation.measured,
        }
    }
}

#[utoipa::path(get, path = "/v1/simulations", tag = "simulations", responses((status = 200, body = List)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(parameters): Parameters,
) -> Result<Json<List>, ApiError> {
    let limit = count(&parameters, "limit", PAGE)?;
    let before = match parameters.get("cursor").filter(|cursor| !cursor.is_empty()) {
        Some(text) => Some(text.parse().map_err(|_| ApiError::bad_parameter("cursor", "string"))?),
        None => None,
    };
    // One more than asked for tells whether anything follows.
    let mut simulations = app.store.simulations(limit + 1, before).await?;
    let more = simulations.len() > limit;
    simulations.truncate(limit);
    let next_cursor = simulations.last().filter(|_| more).map(|last| last.number.to_string());
    Ok(Json(List { simulations: simulations.into_iter().map(Entry::from).collect(), next_cursor }))
}

#[utoipa::path(get, path = "/v1/simulations/{simulation}", tag = "simulations", responses((status = 200, body = Entry)))]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Entry>, ApiError> {
    app.simulations.one(&id).await?.map(|simulation| Json(simulation.into())).ok_or_else(unknown)
}

#[utoipa::path(post, path = "/v1/simulations/{simulation}/stop", tag = "simulations", responses((status = 202)))]
pub(super) async fn stop(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if app.simulations.stop(&id) {
        return Ok(StatusCode::ACCEPTED);
    }
    match app.store.simulation(&id).await? {
        Some(_) => Err(ApiError::new(StatusCode::CONFLICT, "The simulation is over")),
        None => Err(unknown()),
    }
}

fn unknown() -> ApiError {
    ApiError::not_found("There is no simulation of this name")
}
