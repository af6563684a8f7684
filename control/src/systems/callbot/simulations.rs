//! Simulated calls: start some, see how they go, and what all that ever ran came to.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::simulations::{
    CALLS_MAX, CallerProfile, DURATION_MAX, NewSimulation, SimulateError, Simulation, SimulationStatus,
};
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;
use axum::http::StatusCode;

/// How long a simulated call may last, unless asked otherwise, in seconds.
const DURATION_S: u32 = 30;

/// What callers say, unless asked otherwise.
const SCENARIO: &str = "lead_qualification";

/// How many runs the results go back to.
const RUNS_MAX: usize = 1_000;

/// The calls to simulate, as documented; [`read`] takes them apart, so that every fault is told by its name.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "it describes the body to the document")]
pub(super) struct SimulateCalls {
    /// How many calls.
    #[schema(minimum = 1, maximum = 1000, example = 5)]
    call_count: u32,
    /// The callers hang up after so many seconds at the latest.
    #[schema(minimum = 1, maximum = 3600, default = 30, example = 30)]
    duration_seconds: Option<u32>,
    /// All together, or one after another.
    #[schema(default = true, example = true)]
    concurrent: Option<bool>,
    /// What the callers say.
    #[schema(default = "lead_qualification", example = "lead_qualification")]
    call_scenario: Option<String>,
    /// Who calls; used over and over if they are fewer than the calls.
    caller_profiles: Option<Vec<Profile>>,
}

/// Who calls.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CallerProfile)]
#[expect(dead_code, reason = "it describes the body to the document")]
pub(super) struct Profile {
    /// In E.164.
    #[schema(example = "+1234567890")]
    phone_number: Option<String>,
    #[schema(example = "John Doe")]
    name: Option<String>,
    #[schema(example = "Acme Corp")]
    company: Option<String>,
}

/// A simulation that has begun.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimulationStarted)]
pub(super) struct Started {
    #[schema(example = "sim_123")]
    simulation_id: String,
    #[schema(example = 5)]
    calls_initiated: u32,
    /// In seconds.
    #[schema(example = 30)]
    estimated_duration: u64,
    #[schema(example = "running")]
    status: &'static str,
}

/// How a simulation goes, or went.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimulationStatus)]
pub(super) struct Status {
    #[schema(example = "sim_123")]
    simulation_id: String,
    /// running, completed, stopped or failed.
    #[schema(example = "completed")]
    status: &'static str,
    #[schema(example = 5)]
    calls_completed: u64,
    #[schema(example = 0)]
    calls_failed: u64,
    /// Of the completed calls, in seconds.
    #[schema(example = 28.5)]
    average_duration: f64,
    metrics: Metrics,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimulationMetrics)]
struct Metrics {
    /// Calls in which the agent recorded a qualified prospect.
    #[schema(example = 3)]
    successful_qualifications: u64,
    /// Calls in which the agent recorded an appointment.
    #[schema(example = 2)]
    appointments_scheduled: u64,
    /// From the end of the caller's speech to the agent's first sound, as the caller hears it, in seconds.
    #[schema(example = 1.2)]
    average_response_time: f64,
}

/// All simulations that are over, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LoadResults {
    test_runs: Vec<TestRun>,
    summary: Summary,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LoadTestRun)]
struct TestRun {
    #[schema(example = "load_001")]
    test_id: String,
    #[schema(example = "2024-01-01T12:00:00Z")]
    timestamp: String,
    /// The most calls that were up together.
    #[schema(example = 10)]
    concurrent_calls: u64,
    /// Begun minutes.
    #[schema(example = 5)]
    duration_minutes: u64,
    /// 0 to 1: completed calls among those that were not cut by stopping the simulation.
    #[schema(example = 0.95)]
    success_rate: f64,
    /// The mean response time.
    #[schema(example = 250)]
    average_latency_ms: u64,
    /// Calls that failed.
    #[schema(example = 2)]
    error_count: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LoadSummary)]
struct Summary {
    #[schema(example = 15)]
    max_concurrent_calls: u64,
    #[schema(example = 0.98)]
    best_success_rate: f64,
    /// The mean over all answers of all runs.
    #[schema(example = 275)]
    average_latency_ms: u64,
}

/// Simulate calls
///
/// Starts simulated callers against this server's own webhook and media socket. They run on after the answer: ask for the
/// simulation by its id, or stop it below `/v1/simulations`.
#[utoipa::path(
    post,
    path = "/api/test/simulate-calls",
    tag = "test",
    request_body(
        content = SimulateCalls,
        example = json!({
            "call_count": 5,
            "duration_seconds": 30,
            "concurrent": true,
            "call_scenario": "lead_qualification",
            "caller_profiles": [{ "phone_number": "+1234567890", "name": "John Doe", "company": "Acme Corp" }],
        }),
    ),
    responses(
        (
            status = 200,
            description = "The simulation has begun",
            body = Started,
            example = json!({
                "simulation_id": "sim_123",
                "calls_initiated": 5,
                "estimated_duration": 30,
                "status": "running",
            }),
        ),
        (status = 404, description = "Test endpoints are switched off (OFFHOOK_TEST_ENDPOINTS)"),
        (status = 503, description = "Too many simulated calls are running already")
    )
)]
pub(super) async fn start(State(app): State<Arc<App>>, request: Request) -> Result<Json<Started>, ApiError> {
    let new = read_simulation(&Fields::read(request).await?)?;
    let (calls, seconds) = (new.calls, u64::from(new.duration_s));
    let estimated_duration = if new.at_once { seconds } else { seconds * u64::from(calls) };
    let simulation_id = app.simulations.start(new).await?;
    let status = SimulationStatus::Running.as_str();
    Ok(Json(Started { simulation_id, calls_initiated: calls, estimated_duration, status }))
}

/// A simulation
///
/// What was measured so far, or for good.
#[utoipa::path(
    get,
    path = "/api/test/simulation/{simulation_id}",
    tag = "test",
    params(("simulation_id" = String, Path, description = "As given at the start", example = "sim_123")),
    responses(
        (
            status = 200,
            description = "How it goes, or went",
            body = Status,
            example = json!({
                "simulation_id": "sim_123",
                "status": "completed",
                "calls_completed": 5,
                "calls_failed": 0,
                "average_duration": 28.5,
                "metrics": {
                    "successful_qualifications": 3,
                    "appointments_scheduled": 2,
                    "average_response_time": 1.2,
                },
            }),
        ),
        (status = 404, description = "There is no such simulation")
    )
)]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Status>, ApiError> {
    let simulation =
        app.simulations.one(&id).await?.ok_or_else(|| ApiError::not_found("There is no such simulation"))?;
    let measured = simulation.measured;
    Ok(Json(Status {
        simulation_id: simulation.id,
        status: simulation.status.as_str(),
        calls_completed: measured.calls_completed,
        calls_failed: measured.calls_failed,
        average_duration: seconds(measured.duration_ms_mean),
        metrics: Metrics {
            successful_qualifications: measured.qualifications,
            appointments_scheduled: measured.appointments,
            average_response_time: seconds(measured.response_ms_mean),
        },
    }))
}

/// Results of all simulations
///
/// Of those that are over, the latest first, and what they come to together. They survive a restart.
#[utoipa::path(
    get,
    path = "/api/test/load-results",
    tag = "test",
    responses(
        (
            status = 200,
            description = "The runs, and their summary",
            body = LoadResults,
            example = json!({
                "test_runs": [{
                    "test_id": "load_001",
                    "timestamp": "2024-01-01T12:00:00Z",
                    "concurrent_calls": 10,
                    "duration_minutes": 5,
                    "success_rate": 0.95,
                    "average_latency_ms": 250,
                    "error_count": 2,
                }],
                "summary": { "max_concurrent_calls": 15, "best_success_rate": 0.98, "average_latency_ms": 275 },
            }),
        ),
        (status = 404, description = "Test endpoints are switched off (OFFHOOK_TEST_ENDPOINTS)")
    )
)]
pub(super) async fn results(State(app): State<Arc<App>>) -> Result<Json<LoadResults>, ApiError> {
    let mut simulations = app.store.simulations(RUNS_MAX, None).await?;
    simulations.retain(|simulation| simulation.status != SimulationStatus::Running);
    let test_runs: Vec<TestRun> = simulations.iter().map(test_run).collect();
    let answers: u64 = simulations.iter().map(|simulation| simulation.measured.responses).sum();
    let waited_ms: f64 = simulations
        .iter()
        .map(|simulation| {
            simulation.measured.response_ms_mean.unwrap_or(0.0) * simulation.measured.responses as f64
        })
        .sum();
    let summary = Summary {
        max_concurrent_calls: test_runs.iter().map(|run| run.concurrent_calls).max().unwrap_or(0),
        best_success_rate: test_runs.iter().map(|run| run.success_rate).fold(0.0, f64::max),
        average_latency_ms: if answers > 0 { (waited_ms / answers as f64).round() as u64 } else { 0 },
    };
    Ok(Json(LoadResults { test_runs, summary }))
}

fn test_run(simulation: &Simulation) -> TestRun {
    let measured = &simulation.measured;
    let judged = measured.calls_completed + measured.calls_failed;
    TestRun {
        test_id: format!("load_{:03}", simulation.number),
        timestamp: simulation.started.to_seconds_text(),
        concurrent_calls: measured.calls_at_once_max,
        duration_minutes: measured.took_ms.div_ceil(60_000),
        success_rate: if judged > 0 { rounded(measured.calls_completed as f64 / judged as f64) } else { 0.0 },
        average_latency_ms: measured.response_ms_mean.unwrap_or(0.0).round() as u64,
        error_count: measured.calls_failed,
    }
}

/// Reads the body of a request for simulated calls. Errors name the field that is missing or out of bounds.
pub fn read_simulation(fields: &Fields) -> Result<NewSimulation, ApiError> {
    let calls = fields.integer("call_count", 1..=CALLS_MAX)?.ok_or_else(|| ApiError {
        details: serde_json::json!({ "parameter": "call_count", "expected_type": "integer" }),
        ..ApiError::missing("call_count")
    })?;
    let longest = DURATION_MAX.as_secs() as u32;
    let callers = fields.objects("caller_profiles", CALLS_MAX as usize)?;
    Ok(NewSimulation {
        calls,
        duration_s: fields.integer("duration_seconds", 1..=longest)?.unwrap_or(DURATION_S),
        at_once: fields.boolean("concurrent")?.unwrap_or(true),
        scenario: fields.text("call_scenario")?.unwrap_or_else(|| SCENARIO.into()),
        callers: callers.iter().map(profile).collect::<Result<_, _>>()?,
    })
}

fn profile(fields: &Fields) -> Result<CallerProfile, ApiError> {
    Ok(CallerProfile {
        phone_number: fields.text("phone_number")?,
        name: fields.text("name")?,
        company: fields.text("company")?,
    })
}

fn seconds(ms: Option<f64>) -> f64 {
    rounded(ms.unwrap_or(0.0) / 1_000.0)
}

/// Cut to what a person reads: four places.
fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

impl From<SimulateError> for ApiError {
    fn from(error: SimulateError) -> Self {
        match error {
            SimulateError::UnknownScenario(_) => ApiError {
                message: format!("Invalid parameter: call_scenario: {error}"),
                ..ApiError::bad_parameter("call_scenario", "string")
            },
            SimulateError::TooMany { .. } => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            SimulateError::Store(error) => error.into(),
            SimulateError::Broken(why) => {
                tracing::error!(why, "a simulation could not start");
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::simulations::Measured;
    use crate::domain::time::UnixMs;

    fn asked(text: &str) -> Result<NewSimulation, ApiError> {
        read_simulation(&Fields::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn only_the_number_of_calls_must_be_said() {
        let new = asked(r#"{"call_count":5}"#).unwrap();
        assert_eq!((new.calls, new.duration_s, new.at_once), (5, 30, true));
        assert_eq!((new.scenario.as_str(), new.callers.len()), ("lead_qualification", 0));
        let error = asked("{}").unwrap_err();
        assert_eq!(error.message, "Missing required parameter: call_count");
        assert_eq!(error.details["expected_type"], "integer");
    }

    #[test]
    fn the_documented_body_is_read_whole() {
        let new = asked(
            r#"{"call_count":5,"duration_seconds":10,"concurrent":false,"call_scenario":"silent_caller",
                "caller_profiles":[{"phone_number":"+1234567890","name":"John Doe","company":"Acme Corp"},{}]}"#,
        )
        .unwrap();
        assert_eq!((new.duration_s, new.at_once, new.scenario.as_str()), (10, false, "silent_caller"));
        assert_eq!(new.callers[0].company.as_deref(), Some("Acme Corp"));
        assert_eq!(new.callers[1], CallerProfile::default());
    }

    #[test]
    fn each_fault_names_its_field() {
        for (text, parameter) in [
            (r#"{"call_count":0}"#, "call_count"),
            (r#"{"call_count":1001}"#, "call_count"),
            (r#"{"call_count":1,"duration_seconds":0}"#, "duration_seconds"),
            (r#"{"call_count":1,"duration_seconds":3601}"#, "duration_seconds"),
            (r#"{"call_count":1,"concurrent":"yes"}"#, "concurrent"),
            (r#"{"call_count":1,"call_scenario":7}"#, "call_scenario"),
            (r#"{"call_count":1,"caller_profiles":{}}"#, "caller_profiles"),
            (r#"{"call_count":1,"caller_profiles":[{"phone_number":1}]}"#, "phone_number"),
        ] {
            let error = asked(text).unwrap_err();
            assert_eq!(
                (error.status.as_u16(), &error.details["parameter"]),
                (400, &parameter.into()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_run_is_told_in_the_documented_units() {
        let measured = Measured {
            calls_completed: 19,
            calls_failed: 1,
            calls_stopped: 5,
            response_ms_mean: Some(250.4),
            calls_at_once_max: 10,
            took_ms: 61_000,
            ..Measured::default()
        };
        let simulation = Simulation {
            number: 1,
            id: "sim_1".into(),
            started: UnixMs(1_704_110_400_250),
            ended: Some(UnixMs(1_704_110_461_000)),
            status: SimulationStatus::Completed,
            request: asked(r#"{"call_count":25}"#).unwrap(),
            measured,
        };
        assert_eq!(
            serde_json::to_value(test_run(&simulation)).unwrap(),
            serde_json::json!({
                "test_id": "load_001", "timestamp": "2024-01-01T12:00:00Z", "concurrent_calls": 10,
                "duration_minutes": 2, "success_rate": 0.95, "average_latency_ms": 250, "error_count": 1
            })
        );
    }
}
