//! Calls: those that are over, those that run, and how many ran at once.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::paging::{LIMIT, PageParams, Paging, limit};
use crate::domain::account_calls::{Recording, WITHHELD};
use crate::domain::concurrency::{self, Granularity};
use crate::domain::figures::{ListedCall, RunningCall};
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::server::openapi::words;
use crate::systems::error::ApiError;
use crate::systems::file::serve;
use crate::systems::seen::Seen;

/// A call that is over.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(examples(json!({
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "customer_phone": "+1234567890",
    "customer_name": "John Doe",
    "duration": 180,
    "call_summary": "Customer inquired about pricing...",
    "ended_reason": "customer-ended-call",
    "recording_url": "https://voice.example.com/dashboard/v1/calls/0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3/recording",
    "created_at": 1234567890,
})))]
pub(super) struct WebhookCall {
    /// Its name at who reported it, or ours.
    id: String,
    /// `anonymous` if it was withheld.
    customer_phone: String,
    /// Null: nobody knows.
    customer_name: Option<String>,
    /// Seconds.
    duration: u32,
    /// Null: there is none.
    call_summary: Option<String>,
    ended_reason: String,
    /// Of a call that this server had, with the same token. Null: there is none.
    recording_url: Option<String>,
    /// When it began, in Unix time.
    created_at: i64,
}

impl WebhookCall {
    /// `base`: of the URLs of this server's recordings.
    fn of(call: ListedCall, base: &str) -> Self {
        let recording_url = call.recording.map(|recording| match call.is_ours {
            true => Recording::of_call(&call.id).url(base),
            false => recording,
        });
        Self {
            id: call.name,
            customer_phone: shown(call.customer_phone),
            customer_name: call.customer_name,
            duration: call.duration_s,
            call_summary: call.summary,
            ended_reason: call.ended_reason,
            recording_url,
            created_at: call.started.0.div_euclid(1_000),
        }
    }
}

/// A call that runs.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = DashboardActiveCall, examples(json!({
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "customer_phone": "+1234567890",
    "status": "in-progress",
    "started_at": 1234567890,
})))]
pub(super) struct ActiveCall {
    id: String,
    /// `anonymous` if it was withheld.
    customer_phone: String,
    #[schema(schema_with = statuses)]
    status: &'static str,
    /// In Unix time.
    started_at: i64,
}

fn statuses() -> utoipa::openapi::ObjectBuilder {
    words(&["ringing", "in-progress"])
}

impl From<RunningCall> for ActiveCall {
    fn from(call: RunningCall) -> Self {
        Self {
            id: call.name,
            customer_phone: shown(call.customer_phone),
            status: if call.answered { "in-progress" } else { "ringing" },
            started_at: call.started.0.div_euclid(1_000),
        }
    }
}

/// How many calls run at once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "current": 5, "peak": 12 })))]
pub(super) struct Concurrent {
    /// At this moment.
    current: u32,
    /// At most, since records began.
    peak: u32,
}

/// How many calls ran at once, at most, within a time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "timestamp": 1234567890, "count": 5 })))]
pub(super) struct Point {
    /// When the time begins, in Unix time.
    timestamp: i64,
    count: u32,
}

/// Calls that are over, the latest first
///
/// Those that were reported, and those that this server had.
#[utoipa::path(
    get,
    path = "/api/webhook-calls",
    tag = "calls",
    params(PageParams),
    responses((status = 200, body = Vec<WebhookCall>))
)]
pub(super) async fn ended(
    State(app): State<Arc<App>>,
    caller: Caller,
    Paging(page): Paging,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Json<Vec<WebhookCall>>, ApiError> {
    let base = Seen::of(&app, &request)?.origin(arrival.base);
    let calls = app.store.ended_calls(caller.id(), page).await?;
    Ok(Json(calls.into_iter().map(|call| WebhookCall::of(call, &base)).collect()))
}

/// Calls that run, the latest first
#[utoipa::path(
    get,
    path = "/api/active-calls",
    tag = "calls",
    params(PageParams),
    responses((status = 200, body = Vec<ActiveCall>))
)]
pub(super) async fn active(
    State(app): State<Arc<App>>,
    caller: Caller,
    Paging(page): Paging,
) -> Result<Json<Vec<ActiveCall>>, ApiError> {
    let calls = app.store.running_calls(caller.id(), page).await?;
    Ok(Json(calls.into_iter().map(ActiveCall::from).collect()))
}

/// How many calls run at once
#[utoipa::path(
    get,
    path = "/api/concurrent-calls",
    tag = "calls",
    responses((status = 200, body = Concurrent))
)]
pub(super) async fn concurrent(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Concurrent>, ApiError> {
    let concurrency::Concurrency { current, peak } =
        app.store.concurrency(caller.id(), UnixMs::now()).await?;
    Ok(Json(Concurrent { current, peak }))
}

/// How many calls ran at once, over time
///
/// From the first call to the last, without gaps; where there are more points than asked for, the newest.
#[utoipa::path(
    get,
    path = "/api/concurrent-calls/timeseries",
    tag = "calls",
    params(
        ("granularity" = Option<String>, Query, description = "`minute` (default), `hour` or `day` (in UTC)"),
        ("limit" = Option<u32>, Query, description = "At most so many points, from 1; more than 1000 counts as 1000")
    ),
    responses((status = 200, body = Vec<Point>))
)]
pub(super) async fn series(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Vec<Point>>, ApiError> {
    let (granularity, most) = series_query(request.uri().query().unwrap_or_default())?;
    let points = app.store.concurrency_series(caller.id(), granularity, most, UnixMs::now()).await?;
    let point = |point: concurrency::Point| Point { timestamp: point.at_s, count: point.count };
    Ok(Json(points.into_iter().map(point).collect()))
}

fn series_query(query: &str) -> Result<(Granularity, u32), ApiError> {
    let (mut granularity, mut most) = (Granularity::Minute, LIMIT);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "granularity" => {
                granularity = Granularity::from_text(&value)
                    .ok_or_else(|| ApiError::invalid("granularity must be minute, hour or day"))?;
            }
            "limit" => most = limit(&value)?,
            _ => {}
        }
    }
    Ok((granularity, most))
}

/// The recording of a call that this server had
///
/// Stereo: the caller on the left, the agent on the right.
#[utoipa::path(
    get,
    path = "/v1/calls/{call_id}/recording",
    tag = "calls",
    params(("call_id" = String, Path)),
    responses(
        (status = 200, description = "WAV", content_type = "audio/wav", body = Vec<u8>),
        (status = 404, description = "There is no such call, or no recording of it here")
    )
)]
pub(super) async fn recording(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let none = || ApiError::not_found("Recording not found");
    let call = app.store.listed_call(caller.id(), &name).await?.filter(|call| call.is_ours);
    let file = call.and_then(|call| call.recording).ok_or_else(none)?;
    serve(&app, &file, "audio/wav", request).await
}

fn shown(phone: String) -> String {
    if phone.is_empty() { WITHHELD.to_owned() } else { phone }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_are_told_as_the_contract_shows_them() {
        let call = ListedCall {
            id: "0198".into(),
            name: "call-id".into(),
            is_ours: false,
            customer_phone: "+1234567890".into(),
            customer_name: Some("John Doe".into()),
            duration_s: 180,
            summary: Some("Customer inquired about pricing...".into()),
            ended_reason: "customer-ended-call".into(),
            recording: Some("https://elsewhere.example/a.wav".into()),
            started: UnixMs(1_234_567_890_999),
        };
        assert_eq!(
            serde_json::to_value(WebhookCall::of(call.clone(), "https://h/dashboard")).unwrap(),
            json!({
                "id": "call-id",
                "customer_phone": "+1234567890",
                "customer_name": "John Doe",
                "duration": 180,
                "call_summary": "Customer inquired about pricing...",
                "ended_reason": "customer-ended-call",
                "recording_url": "https://elsewhere.example/a.wav",
                "created_at": 1234567890,
            })
        );
        let ours = ListedCall { name: "0198".into(), is_ours: true, customer_phone: String::new(), ..call };
        let ours = WebhookCall::of(ours, "https://h/dashboard");
        assert_eq!(ours.recording_url.as_deref(), Some("https://h/dashboard/v1/calls/0198/recording"));
        assert_eq!(ours.customer_phone, "anonymous");
        let runs = RunningCall {
            name: "c".into(),
            customer_phone: "+1".into(),
            answered: false,
            started: UnixMs(1_234_567_890_000),
        };
        assert_eq!(
            serde_json::to_value(ActiveCall::from(runs)).unwrap(),
            json!({ "id": "c", "customer_phone": "+1", "status": "ringing", "started_at": 1234567890 })
        );
    }

    #[test]
    fn a_series_is_asked_for_by_known_words() {
        assert_eq!(series_query("").unwrap(), (Granularity::Minute, 1_000));
        assert_eq!(series_query("granularity=day&limit=7&x=y").unwrap(), (Granularity::Day, 7));
        for bad in ["granularity=week", "granularity=", "limit=0", "limit=-1", "limit=x"] {
            assert_eq!(series_query(bad).unwrap_err().status, 400, "{bad}");
        }
    }
}
