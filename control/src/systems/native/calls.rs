//! Calls: the list, one of them, its timeline, its files, and its end.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use offhook_engine::CallId;
use offhook_engine::call::{By, EndReason, Speaker};
use serde::Serialize;
use serde_json::{Map, Value};
use tower_http::services::ServeFile;
use utoipa::ToSchema;

use super::page::{Parameters, count};
use crate::domain::call::{CallRecord, TurnRecord};
use crate::domain::timeline;
use crate::server::App;
use crate::systems::error::ApiError;

/// How many calls a page has, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (50, 500);

/// How many entries of a timeline are given, unless asked otherwise, and at most.
const ENTRIES: (usize, usize) = (1_000, 10_000);

/// A call, as in the list.
#[derive(Debug, Serialize, ToSchema)]
struct Call {
    id: String,
    carrier: String,
    carrier_call_id: String,
    stream_id: Option<String>,
    from: String,
    to: String,
    direction: String,
    scenario: String,
    status: &'static str,
    carrier_status: Option<String>,
    carrier_duration_seconds: Option<u32>,
    announced_at: String,
    answered_at: Option<String>,
    ended_at: Option<String>,
    end_reason: Option<String>,
    duration_ms: Option<u64>,
    /// File under the data folder.
    recording: Option<String>,
    /// File under the data folder.
    journal: Option<String>,
    lost_timeline_entries: u64,
    losses: Vec<String>,
    links: Links,
}

#[derive(Debug, Serialize, ToSchema)]
struct Links {
    call: String,
    timeline: String,
    recording: Option<String>,
    journal: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Turn {
    turn: u32,
    #[schema(value_type = String)]
    speaker: Speaker,
    started_ms: u64,
    ended_ms: u64,
    text: String,
    unheard: String,
    #[schema(value_type = String)]
    by: By,
    response_ms: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List {
    calls: Vec<Call>,
    /// Give it as `cursor` to get what follows; null on the last page.
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Whole {
    #[serde(flatten)]
    call: Call,
    turns: Vec<Turn>,
    recorded: Map<String, Value>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Timeline {
    call_id: String,
    events: Vec<Entry>,
    /// Give it as `after` to get what followed; the same again if nothing has.
    next_after: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Entry {
    at_us: u64,
    kind: String,
    data: Value,
    /// The entry as a sentence, for people.
    text: Option<String>,
}

#[utoipa::path(get, path = "/v1/calls", tag = "calls", responses((status = 200, body = List)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(parameters): Parameters,
) -> Result<Json<List>, ApiError> {
    let limit = count(&parameters, "limit", PAGE)?;
    let cursor = match parameters.get("cursor").filter(|cursor| !cursor.is_empty()) {
        Some(text) => Some(CallId::new(text).ok_or_else(|| ApiError::bad_parameter("cursor", "string"))?),
        None => None,
    };
    // One more than asked for tells whether anything follows.
    let mut records = app.store.calls(limit + 1, cursor).await?;
    let more = records.len() > limit;
    records.truncate(limit);
    let next_cursor = records.last().filter(|_| more).map(|last| last.call.to_string());
    Ok(Json(List { calls: records.into_iter().map(Call::from).collect(), next_cursor }))
}

#[utoipa::path(get, path = "/v1/calls/{call}", tag = "calls", responses((status = 200, body = Whole)))]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Whole>, ApiError> {
    let whole = app.store.call(&name).await?.ok_or_else(unknown)?;
    Ok(Json(Whole {
        call: whole.record.into(),
        turns: whole.turns.into_iter().map(Turn::from).collect(),
        recorded: whole.answers.into_iter().map(|(name, value)| (name, value.into())).collect(),
    }))
}

#[utoipa::path(get, path = "/v1/calls/{call}/timeline", tag = "calls", responses((status = 200, body = Timeline)))]
pub(super) async fn call_timeline(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(parameters): Parameters,
) -> Result<Json<Timeline>, ApiError> {
    let limit = count(&parameters, "limit", ENTRIES)?;
    let after = match parameters.get("after") {
        Some(text) => text.parse().map_err(|_| ApiError::bad_parameter("after", "integer"))?,
        None => 0,
    };
    let record = app.store.record(&name).await?.ok_or_else(unknown)?;
    let entries = app.store.timeline(&record.call, after, limit).await?;
    Ok(Json(Timeline {
        call_id: record.call.to_string(),
        next_after: entries.last().map_or(after, |last| last.place),
        events: entries
            .into_iter()
            .map(|entry| Entry {
                text: timeline::stored_line(&entry),
                at_us: entry.at_us,
                kind: entry.kind,
                data: entry.data,
            })
            .collect(),
    }))
}

#[utoipa::path(get, path = "/v1/calls/{call}/recording", tag = "calls", responses((status = 200, content_type = "audio/wav")))]
pub(super) async fn recording(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let record = app.store.record(&name).await?.ok_or_else(unknown)?;
    let file = record.recording.ok_or_else(|| no_file(record.ended.is_none(), "recording"))?;
    serve(&app, &file, "audio/wav", request).await
}

#[utoipa::path(get, path = "/v1/calls/{call}/journal", tag = "calls", responses((status = 200, content_type = "application/octet-stream")))]
pub(super) async fn journal(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let record = app.store.record(&name).await?.ok_or_else(unknown)?;
    let file = record.journal.ok_or_else(|| no_file(record.ended.is_none(), "journal"))?;
    serve(&app, &file, "application/octet-stream", request).await
}

#[utoipa::path(post, path = "/v1/calls/{call}/hangup", tag = "calls", responses((status = 202)))]
pub(super) async fn hang_up(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let record = app.store.record(&name).await?.ok_or_else(unknown)?;
    if app.calls.hang_up(&record.call, EndReason::Operator) {
        return Ok(StatusCode::ACCEPTED);
    }
    Err(ApiError::new(StatusCode::CONFLICT, "The call is not running"))
}

/// Gives a file, or the range of it that is asked for.
async fn serve(
    app: &App,
    file: &str,
    mime: &'static str,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let path = app.settings.data_dir.join(file);
    let served = ServeFile::new(&path).try_call(request).await;
    let response = served.map_err(|error| {
        tracing::error!(path = %path.display(), %error, "a file cannot be read");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "The file cannot be read")
    })?;
    if response.status() == StatusCode::NOT_FOUND {
        return Err(ApiError::not_found("The file is no longer there"));
    }
    let mut response = response.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl From<CallRecord> for Call {
    fn from(record: CallRecord) -> Self {
        let link = |what: &str| format!("/v1/calls/{}{what}", record.call);
        Self {
            id: record.call.to_string(),
            links: Links {
                call: link(""),
                timeline: link("/timeline"),
                recording: record.recording.as_ref().map(|_| link("/recording")),
                journal: record.journal.as_ref().map(|_| link("/journal")),
            },
            carrier: record.carrier,
            carrier_call_id: record.carrier_call_id,
            stream_id: record.stream_id,
            from: record.from,
            to: record.to,
            direction: record.direction,
            scenario: record.scenario,
            status: record.status.as_str(),
            carrier_status: record.carrier_status,
            carrier_duration_seconds: record.carrier_duration_s,
            announced_at: record.announced.to_string(),
            answered_at: record.answered.map(|at| at.to_string()),
            ended_at: record.ended.map(|at| at.to_string()),
            end_reason: record.end_reason,
            duration_ms: record.duration_ms,
            recording: record.recording,
            journal: record.journal,
            lost_timeline_entries: record.lost_entries,
            losses: record.loss_notes.lines().map(str::to_owned).collect(),
        }
    }
}

impl From<TurnRecord> for Turn {
    fn from(turn: TurnRecord) -> Self {
        let TurnRecord { turn, speaker, started_ms, ended_ms, text, unheard, by, response_ms } = turn;
        Self { turn, speaker, started_ms, ended_ms, text, unheard, by, response_ms }
    }
}

fn unknown() -> ApiError {
    ApiError::not_found("There is no call of this name")
}

fn no_file(running: bool, what: &str) -> ApiError {
    ApiError::not_found(if running {
        format!("The call is running: its {what} is complete when it ends")
    } else {
        format!("The call has no {what}")
    })
}
