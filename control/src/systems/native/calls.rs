//! Calls: the list, one of them, its timeline, its files, and its end.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Request, Response, StatusCode};
use offhook_engine::CallId;
use offhook_engine::call::{By, EndReason, Speaker};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::ObjectBuilder;

use super::page::{Parameters, count};
use crate::domain::call::{CallRecord, CallStatus, TimelineEntry, TurnRecord};
use crate::domain::timeline;
use crate::server::App;
use crate::server::openapi::words;
use crate::systems::error::ApiError;
use crate::systems::file::serve;

/// How many calls a page has, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (50, 500);

/// How many entries of a timeline are given, unless asked otherwise, and at most.
const ENTRIES: (usize, usize) = (1_000, 10_000);

/// A call, as in the list.
#[derive(Debug, Serialize, ToSchema)]
struct Call {
    /// Offhook's name for the call.
    #[schema(example = "0198c1d2-e3f4-7a6b-8c9d-0e1f2a3b4c5d")]
    id: String,
    /// Who connects it.
    #[schema(example = "twilio")]
    carrier: String,
    /// The carrier's name for the call.
    #[schema(example = "CA00000000000000000000000000000001")]
    carrier_call_id: String,
    /// The carrier's name for the stream of its audio.
    #[schema(example = "MZ00000000000000000000000000000001")]
    stream_id: Option<String>,
    /// Who calls.
    #[schema(example = "+1234567890")]
    from: String,
    /// Who was called.
    #[schema(example = "+1987654321")]
    to: String,
    /// As the carrier says.
    #[schema(example = "inbound")]
    direction: String,
    /// The agent that answers.
    #[schema(example = "lead_qualification")]
    scenario: String,
    #[schema(schema_with = statuses)]
    status: &'static str,
    /// What the carrier last reported.
    #[schema(example = "completed")]
    carrier_status: Option<String>,
    /// How long the call was, as the carrier reports it.
    carrier_duration_seconds: Option<u32>,
    #[schema(format = DateTime)]
    announced_at: String,
    #[schema(format = DateTime)]
    answered_at: Option<String>,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// Why it ended.
    #[schema(example = "caller-hangup")]
    end_reason: Option<String>,
    /// From the answer to the end.
    duration_ms: Option<u64>,
    /// File under the data folder.
    recording: Option<String>,
    /// File under the data folder.
    journal: Option<String>,
    /// Entries of the timeline for which there was no room.
    lost_timeline_entries: u64,
    /// What could not be kept, in words.
    losses: Vec<String>,
    links: Links,
}

/// Where more of the call is: paths at the root of this server, null for what there is not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CallLinks)]
struct Links {
    call: String,
    timeline: String,
    recording: Option<String>,
    journal: Option<String>,
}

/// What one side said until the floor changed.
#[derive(Debug, Serialize, ToSchema)]
struct Turn {
    /// From 1.
    turn: u32,
    #[schema(schema_with = speakers)]
    speaker: Speaker,
    /// Since the answer.
    started_ms: u64,
    /// Since the answer.
    ended_ms: u64,
    /// What was said; of the agent, what was heard of it.
    text: String,
    /// What the agent meant to say, and the caller did not hear.
    unheard: String,
    #[schema(schema_with = ways_to_say)]
    by: By,
    /// From the end of the caller's turn to the first of the agent's audio that was heard.
    response_ms: Option<u32>,
}

/// A page of calls, the newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CallList)]
pub(super) struct List {
    calls: Vec<Call>,
    /// Give it as `cursor` to get what follows; null on the last page.
    next_cursor: Option<String>,
}

/// A call with what was said on it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WholeCall)]
pub(super) struct Whole {
    #[serde(flatten)]
    call: Call,
    turns: Vec<Turn>,
    /// What the agent wrote down, by the names that its scenario gives.
    #[schema(value_type = Object)]
    recorded: Map<String, Value>,
}

/// A part of what happened on a call, in order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CallTimeline)]
pub(super) struct Timeline {
    #[schema(example = "0198c1d2-e3f4-7a6b-8c9d-0e1f2a3b4c5d")]
    call_id: String,
    events: Vec<Entry>,
    /// Give it as `after` to get what followed; the same again if nothing has.
    next_after: i64,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelineEntry)]
struct Entry {
    /// Microseconds since the answer.
    at_us: u64,
    /// What happened.
    kind: String,
    /// More on it; what there is depends on the kind.
    data: Value,
    /// The entry as a sentence, for people.
    text: Option<String>,
}

/// A call's name in examples.
const EXAMPLE_ID: &str = "0198c1d2-e3f4-7a6b-8c9d-0e1f2a3b4c5d";

impl Call {
    fn example() -> Self {
        let file = |folder: &str, kind: &str| Some(format!("{folder}/{EXAMPLE_ID}.{kind}"));
        let link = |what: &str| format!("/v1/calls/{EXAMPLE_ID}{what}");
        Self {
            id: EXAMPLE_ID.into(),
            carrier: "twilio".into(),
            carrier_call_id: "CA00000000000000000000000000000001".into(),
            stream_id: Some("MZ00000000000000000000000000000001".into()),
            from: "+1234567890".into(),
            to: "+1987654321".into(),
            direction: "inbound".into(),
            scenario: "lead_qualification".into(),
            status: CallStatus::Completed.as_str(),
            carrier_status: Some("completed".into()),
            carrier_duration_seconds: Some(30),
            announced_at: "2024-01-01T12:00:00.000Z".into(),
            answered_at: Some("2024-01-01T12:00:01.250Z".into()),
            ended_at: Some("2024-01-01T12:00:31.250Z".into()),
            end_reason: Some("caller-hangup".into()),
            duration_ms: Some(30_000),
            recording: file("recordings", "wav"),
            journal: file("journals", "journal"),
            lost_timeline_entries: 0,
            losses: Vec::new(),
            links: Links {
                call: link(""),
                timeline: link("/timeline"),
                recording: Some(link("/recording")),
                journal: Some(link("/journal")),
            },
        }
    }
}

impl Whole {
    fn example() -> Self {
        let turn = Turn {
            turn: 1,
            speaker: Speaker::Caller,
            started_ms: 4_120,
            ended_ms: 5_480,
            text: "twenty thousand".into(),
            unheard: String::new(),
            by: By::Voice,
            response_ms: Some(640),
        };
        let recorded = [("budget".to_owned(), Value::from("20000"))];
        Self { call: Call::example(), turns: vec![turn], recorded: recorded.into_iter().collect() }
    }
}

impl Timeline {
    fn example() -> Self {
        let data = serde_json::json!({ "stream": "MZ00000000000000000000000000000001" });
        let entry = TimelineEntry { place: 1, at_us: 0, kind: "started".into(), data };
        Self { call_id: EXAMPLE_ID.into(), next_after: entry.place, events: vec![entry.into()] }
    }
}

fn statuses() -> ObjectBuilder {
    words(&CallStatus::ALL.map(CallStatus::as_str))
}

fn speakers() -> ObjectBuilder {
    words(&["caller", "agent"])
}

fn ways_to_say() -> ObjectBuilder {
    words(&["voice", "keypad"])
}

/// List calls
///
/// The newest first, page by page.
#[utoipa::path(
    get,
    path = "/v1/calls",
    tag = "calls",
    params(
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "Calls a page: 50 unless asked otherwise; more than 500 count as 500"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((
        status = 200,
        description = "A page",
        body = List,
        example = json!({ "calls": [Call::example()], "next_cursor": null }),
    ))
)]
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

/// One call
///
/// With its turns, and with what the agent wrote down.
#[utoipa::path(
    get,
    path = "/v1/calls/{call}",
    tag = "calls",
    params(("call" = String, Path, description = "The call's `id`, or the carrier's name for it")),
    responses(
        (status = 200, description = "The call", body = Whole, example = json!(Whole::example())),
        (status = 404, description = "There is no call of this name")
    )
)]
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

/// What happened on a call
///
/// Every decision with its reason, in order. A running call's timeline can be followed: ask again `after` what was given.
#[utoipa::path(
    get,
    path = "/v1/calls/{call}/timeline",
    tag = "calls",
    params(
        ("call" = String, Path, description = "The call's `id`, or the carrier's name for it"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 10000, description = "Entries: 1000 unless asked otherwise; more than 10000 count as 10000"),
        ("after" = Option<i64>, Query, description = "`next_after` of the answer before"),
    ),
    responses(
        (
            status = 200,
            description = "The entries that follow",
            body = Timeline,
            example = json!(Timeline::example()),
        ),
        (status = 404, description = "There is no call of this name")
    )
)]
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
        events: entries.into_iter().map(Entry::from).collect(),
    }))
}

/// A call's recording
///
/// WAV with the caller on the left and the agent on the right. Complete when the call is over. `Range` is honoured.
#[utoipa::path(
    get,
    path = "/v1/calls/{call}/recording",
    tag = "calls",
    params(("call" = String, Path, description = "The call's `id`, or the carrier's name for it"), ("Range" = Option<String>, Header, description = "The part that is wanted", example = "bytes=0-99")),
    responses(
        (status = 200, description = "The file", content_type = "audio/wav"),
        (status = 206, description = "The range that was asked for", content_type = "audio/wav"),
        (status = 404, description = "The call has no recording"),
        (status = 416, description = "The range is not within the file")
    )
)]
pub(super) async fn recording(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let record = app.store.record(&name).await?.ok_or_else(unknown)?;
    let file = record.recording.ok_or_else(|| no_file(record.ended.is_none(), "recording"))?;
    serve(&app, &file, "audio/wav", request).await
}

/// A call's journal
///
/// All that went into the call, for `offhook replay`. Complete when the call is over. `Range` is honoured.
#[utoipa::path(
    get,
    path = "/v1/calls/{call}/journal",
    tag = "calls",
    params(("call" = String, Path, description = "The call's `id`, or the carrier's name for it"), ("Range" = Option<String>, Header, description = "The part that is wanted", example = "bytes=0-99")),
    responses(
        (status = 200, description = "The file", content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for", content_type = "application/octet-stream"),
        (status = 404, description = "The call has no journal"),
        (status = 416, description = "The range is not within the file")
    )
)]
pub(super) async fn journal(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let record = app.store.record(&name).await?.ok_or_else(unknown)?;
    let file = record.journal.ok_or_else(|| no_file(record.ended.is_none(), "journal"))?;
    serve(&app, &file, "application/octet-stream", request).await
}

/// End a call
///
/// As an operator: it ends with the reason `operator`, a moment later.
#[utoipa::path(
    post,
    path = "/v1/calls/{call}/hangup",
    tag = "calls",
    params(("call" = String, Path, description = "The call's `id`, or the carrier's name for it")),
    responses(
        (status = 202, description = "The call is told to end"),
        (status = 404, description = "There is no call of this name"),
        (status = 409, description = "The call is not running")
    )
)]
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

impl From<TimelineEntry> for Entry {
    fn from(entry: TimelineEntry) -> Self {
        let (text, data) = (timeline::stored_line(&entry), timeline::explained(&entry));
        Self { text, at_us: entry.at_us, kind: entry.kind, data }
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
