//! Simulations: the list, one of them with all that was measured, and its end.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{Parameters, count};
use crate::domain::simulations::{Measured, NewSimulation, Simulation, SimulationStatus};
use crate::server::App;
use crate::systems::error::ApiError;

/// How many simulations a page has, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (50, 500);

/// A page of simulations, the latest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimulationList)]
pub(super) struct List {
    simulations: Vec<Entry>,
    /// Give it as `cursor` to get what follows; null on the last page.
    next_cursor: Option<String>,
}

/// A simulation, with all that was measured.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Simulation)]
pub(super) struct Entry {
    id: String,
    /// running, completed, stopped or failed.
    status: &'static str,
    #[schema(format = DateTime)]
    started_at: String,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// What was asked for.
    #[schema(value_type = Object)]
    request: NewSimulation,
    /// What was measured so far, or for good. Times in ms.
    #[schema(value_type = Object)]
    measured: Measured,
}

impl Entry {
    fn example() -> Self {
        Self {
            id: "sim_123".into(),
            status: SimulationStatus::Completed.as_str(),
            started_at: "2024-01-01T12:00:00.000Z".into(),
            ended_at: Some("2024-01-01T12:00:31.250Z".into()),
            request: NewSimulation {
                calls: 5,
                duration_s: 30,
                at_once: true,
                scenario: "lead_qualification".into(),
                callers: Vec::new(),
            },
            measured: Measured { calls_completed: 5, ..Measured::default() },
        }
    }
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

/// List simulations
///
/// The latest first, page by page.
#[utoipa::path(
    get,
    path = "/v1/simulations",
    tag = "simulations",
    params(
        (
            "limit" = Option<usize>,
            Query,
            minimum = 1,
            maximum = 500,
            description = "Simulations a page: 50 unless asked otherwise; more than 500 count as 500"
        ),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((
        status = 200,
        description = "A page",
        body = List,
        example = json!({ "simulations": [Entry::example()], "next_cursor": null }),
    ))
)]
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

/// One simulation
///
/// With all that was measured, so far or for good.
#[utoipa::path(
    get,
    path = "/v1/simulations/{simulation}",
    tag = "simulations",
    params(("simulation" = String, Path, description = "As given at the start", example = "sim_123")),
    responses(
        (status = 200, description = "The simulation", body = Entry, example = json!(Entry::example())),
        (status = 404, description = "There is no simulation of this name")
    )
)]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Entry>, ApiError> {
    app.simulations.one(&id).await?.map(|simulation| Json(simulation.into())).ok_or_else(unknown)
}

/// Stop a simulation
///
/// Its callers hang up; what was measured until then is kept.
#[utoipa::path(
    post,
    path = "/v1/simulations/{simulation}/stop",
    tag = "simulations",
    params(("simulation" = String, Path, description = "As given at the start", example = "sim_123")),
    responses(
        (status = 202, description = "The simulation is told to stop"),
        (status = 404, description = "There is no simulation of this name"),
        (status = 409, description = "The simulation is over")
    )
)]
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
