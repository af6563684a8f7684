//! What calls come to: sums, shares, keywords and intents.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use crate::domain::figures::{self, Share, shares};
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;

/// All calls that are over.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(examples(json!({
    "totalCalls": 1234, "answeredCalls": 1100, "missedCalls": 134, "averageDuration": 180, "totalDuration": 222000,
})))]
pub(super) struct Summary {
    total_calls: u64,
    answered_calls: u64,
    missed_calls: u64,
    /// Seconds, over all calls.
    average_duration: u64,
    /// Seconds.
    total_duration: u64,
}

impl From<figures::Summary> for Summary {
    fn from(summary: figures::Summary) -> Self {
        Self {
            total_calls: summary.calls,
            answered_calls: summary.answered,
            missed_calls: summary.calls.saturating_sub(summary.answered),
            average_duration: summary.duration_s_average(),
            total_duration: summary.duration_s,
        }
    }
}

/// The calls of one agent.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(examples(json!({ "agent_name": "Customer Support", "call_count": 450, "percentage": 36.5 })))]
pub(super) struct AgentShare {
    agent_name: String,
    call_count: u64,
    /// From 0 to 100, of all calls.
    percentage: f64,
}

/// The calls that ended in one way.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(examples(json!({ "ended_reason": "customer-ended-call", "count": 450, "percentage": 45.0 })))]
pub(super) struct EndShare {
    ended_reason: String,
    count: u64,
    /// From 0 to 100, of the calls of that time.
    percentage: f64,
}

/// The calls that were about one thing.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(examples(json!({ "intent": "inquiry", "count": 450, "percentage": 45.0 })))]
pub(super) struct IntentShare {
    intent: String,
    count: u64,
    /// From 0 to 100, of the calls that were looked at.
    percentage: f64,
}

/// A keyword, and how it was meant.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(examples(json!({
    "keyword": "pricing", "count": 120, "positive_count": 80, "neutral_count": 30, "negative_count": 10,
    "avg_sentiment": 0.65, "last_detected_at": 1234567890,
})))]
pub(super) struct Keyword {
    keyword: String,
    /// In how many calls.
    count: u64,
    positive_count: u64,
    neutral_count: u64,
    negative_count: u64,
    /// From -1 to 1: the mean of how it was meant in each call.
    avg_sentiment: f64,
    /// When the latest of these calls ended, in Unix time.
    last_detected_at: i64,
}

impl From<figures::Keyword> for Keyword {
    fn from(keyword: figures::Keyword) -> Self {
        Self {
            count: keyword.calls,
            positive_count: keyword.positive,
            neutral_count: keyword.calls.saturating_sub(keyword.positive + keyword.negative),
            negative_count: keyword.negative,
            avg_sentiment: (keyword.sentiment * 100.0).round() / 100.0,
            last_detected_at: keyword.last.0.div_euclid(1_000),
            keyword: keyword.keyword,
        }
    }
}

/// All calls that are over, in sum
#[utoipa::path(
    get,
    path = "/api/dashboard-summary",
    tag = "analytics",
    responses((status = 200, body = Summary))
)]
pub(super) async fn summary(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Summary>, ApiError> {
    Ok(Json(app.store.call_summary(caller.id()).await?.into()))
}

/// Which agent had how many calls
#[utoipa::path(
    get,
    path = "/api/agent-distribution",
    tag = "analytics",
    responses((status = 200, body = Vec<AgentShare>))
)]
pub(super) async fn agents(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Vec<AgentShare>>, ApiError> {
    let counts = app.store.calls_by_agent(caller.id()).await?;
    let share =
        |Share { name, calls, percentage }| AgentShare { agent_name: name, call_count: calls, percentage };
    Ok(Json(shares(counts).into_iter().map(share).collect()))
}

/// How many calls ended in which way
///
/// Of those that began from `start_date` on and until `end_date`: days, or moments in ISO 8601; a day is a whole one, in UTC.
#[utoipa::path(
    get,
    path = "/api/call-ended-reasons",
    tag = "analytics",
    params(
        ("start_date" = Option<String>, Query, description = "2025-01-15, or 2025-01-15T10:30:00Z"),
        ("end_date" = Option<String>, Query, description = "Likewise; a day is in it to its end")
    ),
    responses((status = 200, body = Vec<EndShare>))
)]
pub(super) async fn ends(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Vec<EndShare>>, ApiError> {
    let (from, to) = time_asked_for(request.uri().query().unwrap_or_default())?;
    let counts = app.store.calls_by_end(caller.id(), from, to).await?;
    let share = |Share { name, calls, percentage }| EndShare { ended_reason: name, count: calls, percentage };
    Ok(Json(shares(counts).into_iter().map(share).collect()))
}

/// What calls were about, word by word
#[utoipa::path(
    get,
    path = "/api/keywords",
    tag = "analytics",
    responses((status = 200, body = Vec<Keyword>))
)]
pub(super) async fn keywords(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Vec<Keyword>>, ApiError> {
    let keywords = app.store.keywords(caller.id()).await?;
    Ok(Json(keywords.into_iter().map(Keyword::from).collect()))
}

/// What calls were for
#[utoipa::path(
    get,
    path = "/api/intent-analysis",
    tag = "analytics",
    responses((status = 200, body = Vec<IntentShare>))
)]
pub(super) async fn intents(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Vec<IntentShare>>, ApiError> {
    let counts = app.store.calls_by_intent(caller.id()).await?;
    let share = |Share { name, calls, percentage }| IntentShare { intent: name, count: calls, percentage };
    Ok(Json(shares(counts).into_iter().map(share).collect()))
}

/// The first moment, and the first one after the last.
fn time_asked_for(query: &str) -> Result<(Option<UnixMs>, Option<UnixMs>), ApiError> {
    let (mut from, mut to) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
        let moment = |is_end| {
            moment(&value, is_end).ok_or_else(|| {
                ApiError::invalid(format!("{name} must be a date in ISO 8601, such as 2025-01-15"))
            })
        };
        match &*name {
            "start_date" => from = Some(moment(false)?),
            "end_date" => to = Some(moment(true)?),
            _ => {}
        }
    }
    Ok((from, to))
}

/// A moment; of a day its first, or with `is_end` the first after it. Both ends of the asked time are in it.
fn moment(text: &str, is_end: bool) -> Option<UnixMs> {
    let text = text.trim();
    let at = |moment: Timestamp| UnixMs(moment.as_millisecond() + i64::from(is_end));
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(at(moment));
    }
    if text.len() > 10 {
        // Without a zone it is UTC, like all times here.
        let moment = text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?;
        return Some(at(moment.timestamp()));
    }
    let day = Date::strptime("%Y-%m-%d", text).ok()?;
    let day = if is_end { day.checked_add(1.day()).ok()? } else { day };
    Some(UnixMs(day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_told_as_the_contract_shows_them() {
        let summary = figures::Summary { calls: 1_234, answered: 1_100, duration_s: 222_000 };
        assert_eq!(
            serde_json::to_value(Summary::from(summary)).unwrap(),
            json!({
                "totalCalls": 1234, "answeredCalls": 1100, "missedCalls": 134, "averageDuration": 180,
                "totalDuration": 222000,
            })
        );
        let keyword = figures::Keyword {
            keyword: "pricing".into(),
            calls: 120,
            positive: 80,
            negative: 10,
            sentiment: 0.6512,
            last: UnixMs(1_234_567_890_999),
        };
        assert_eq!(
            serde_json::to_value(Keyword::from(keyword)).unwrap(),
            json!({
                "keyword": "pricing", "count": 120, "positive_count": 80, "neutral_count": 30, "negative_count": 10,
                "avg_sentiment": 0.65, "last_detected_at": 1234567890,
            })
        );
    }

    #[test]
    fn a_time_goes_from_its_first_day_to_the_end_of_its_last() {
        let asked = |query: &str| {
            let (from, to) = time_asked_for(query).unwrap();
            (from.map(|at| at.0), to.map(|at| at.0))
        };
        let day = 1_736_899_200_000; // 2025-01-15
        assert_eq!(asked(""), (None, None));
        assert_eq!(asked("start_date=&end_date="), (None, None));
        assert_eq!(asked("start_date=2025-01-15&end_date=2025-01-15"), (Some(day), Some(day + 86_400_000)));
        let moment = day + 10 * 3_600_000;
        assert_eq!(asked("start_date=2025-01-15T10:00:00Z"), (Some(moment), None));
        assert_eq!(asked("end_date=2025-01-15T12:00:00%2B02:00"), (None, Some(moment + 1)));
        assert_eq!(asked("start_date=2025-01-15T10:00:00"), (Some(moment), None));
        for bad in ["2025-13-01", "15.1.2025", "yesterday", "2025-01-15Tx", "1736899200", "2025-02-30"] {
            assert_eq!(time_asked_for(&format!("start_date={bad}")).unwrap_err().status, 400, "{bad}");
        }
    }
}
