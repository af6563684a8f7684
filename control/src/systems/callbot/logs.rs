//! The log over HTTP: the latest entries, and a socket that gets those to come.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{Request, Response};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::ToSchema;

use super::log_stream;
use crate::server::logs::{self, Entry, Filter, Level};
use crate::server::{App, upgrade};
use crate::systems::error::ApiError;

/// How many entries are given when not told, and at most.
const LINES: (usize, usize) = (100, 1_000);

type Parameters = Query<HashMap<String, String>>;

/// The answer, field by field as documented.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LatestLogs)]
pub(super) struct Latest {
    /// The newest, in the order in which they came.
    #[schema(value_type = Vec<LogEntry>)]
    logs: Vec<Arc<Entry>>,
    /// How many entries are held.
    total_lines: usize,
    /// How many of them `level` and `since` let through.
    filtered_lines: usize,
}

/// How much an entry matters.
#[derive(ToSchema)]
#[schema(rename_all = "UPPERCASE")]
#[expect(dead_code, reason = "it describes the level to the document")]
pub(super) enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
}

/// One entry of the log, as [`Entry`] serializes.
#[derive(ToSchema)]
#[schema(examples(json!({
    "timestamp": "2024-01-01T12:00:00Z",
    "level": "INFO",
    "message": "Processing audio chunk",
    "call_id": "call_123",
    "module": "audio_manager",
})))]
#[expect(dead_code, reason = "it describes the entry to the document")]
pub(super) struct LogEntry {
    /// ISO 8601, whole seconds.
    #[schema(example = "2024-01-01T12:00:00Z", format = DateTime)]
    timestamp: String,
    #[schema(inline)]
    level: LogLevel,
    #[schema(example = "Call initiated from +1234567890")]
    message: String,
    /// The call that it is about.
    #[schema(example = "call_123")]
    call_id: Option<String>,
    /// Which part of the server says it.
    #[schema(example = "callbot")]
    module: String,
}

/// The latest log entries
///
/// Out of those that the server holds in memory.
#[utoipa::path(
    get,
    path = "/api/logs/latest",
    tag = "logs",
    params(
        (
            "lines" = Option<usize>,
            Query,
            minimum = 1,
            maximum = 1000,
            description = "How many: 100 unless asked otherwise; more than 1000 count as 1000",
            example = 100
        ),
        ("level" = inline(Option<LogLevel>), Query, description = "Entries of this level alone"),
        (
            "since" = Option<String>,
            Query,
            description = "Entries from this moment on: ISO 8601, UTC unless it says otherwise",
            example = "2024-01-01T12:00:00Z"
        ),
    ),
    responses((
        status = 200,
        description = "The entries, in the order in which they came",
        body = Latest,
        example = json!({
            "logs": [{
                "timestamp": "2024-01-01T12:00:00Z",
                "level": "INFO",
                "message": "Call initiated from +1234567890",
                "call_id": "call_123",
                "module": "callbot_router",
            }],
            "total_lines": 45,
            "filtered_lines": 45,
        }),
    ))
)]
pub(super) async fn latest(Query(parameters): Parameters) -> Result<Json<Latest>, ApiError> {
    let lines = lines(&parameters)?;
    let filter = Filter { level: level(&parameters)?, since: since(&parameters)? };
    let latest = logs::ring().latest(&filter, lines);
    Ok(Json(Latest { logs: latest.entries, total_lines: latest.held, filtered_lines: latest.wanted }))
}

/// The log as it goes on
///
/// A WebSocket that sends each new entry. A reader that is too slow is told how many entries it missed, in an entry. What
/// it sends is ignored.
#[utoipa::path(
    get,
    path = "/api/logs/stream",
    tag = "logs",
    params(("level" = inline(Option<LogLevel>), Query, description = "Entries of this level alone")),
    extensions(("x-websocket" = json!({ "sends": "LogEntry" }))),
    responses((status = 101), (status = 503, description = "There are 256 readers of the log already"))
)]
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    Query(parameters): Parameters,
    mut request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let level = level(&parameters)?;
    let (response, pending) = upgrade::accept(&mut request)?;
    let turn = app.log_streams.turn()?;
    // From here on nothing is missed: what is logged while the handshake goes on comes first.
    let reader = logs::ring().reader(level);
    tokio::spawn(async move {
        match upgrade::finish(pending).await {
            Ok((socket, read)) => log_stream::serve(socket, read, reader, turn).await,
            Err(error) => tracing::debug!(error, "a log socket was lost in its handshake"),
        }
    });
    Ok(response)
}

/// A number of at least 1; more than the greatest is cut, however much it is.
fn lines(parameters: &HashMap<String, String>) -> Result<usize, ApiError> {
    let (default, greatest) = LINES;
    let Some(text) = parameters.get("lines") else { return Ok(default) };
    let digits = text.trim_start_matches('0');
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ApiError::bad_parameter("lines", "integer"));
    }
    Ok(digits.parse().map_or(greatest, |number: usize| number.min(greatest)))
}

fn level(parameters: &HashMap<String, String>) -> Result<Option<Level>, ApiError> {
    let Some(text) = parameters.get("level") else { return Ok(None) };
    match Level::from_text(text) {
        Some(level) => Ok(Some(level)),
        None => Err(ApiError::bad_parameter("level", "DEBUG, INFO, WARNING or ERROR")),
    }
}

/// A moment in ISO 8601, with or without fraction; without an offset it is one of UTC, without a time a midnight.
fn since(parameters: &HashMap<String, String>) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = parameters.get("since") else { return Ok(None) };
    moment(text).map(Some).ok_or_else(|| ApiError::bad_parameter("since", "ISO 8601 timestamp"))
}

fn moment(text: &str) -> Option<Timestamp> {
    // A plus sign that a client did not encode arrives as a blank.
    let mended = match text.rsplit_once(' ') {
        Some((moment, offset)) if moment.contains(['T', 't', ' ']) => format!("{moment}+{offset}"),
        _ => text.to_owned(),
    };
    mended
        .parse::<Timestamp>()
        .or_else(|_| mended.parse::<DateTime>()?.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> HashMap<String, String> {
        HashMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn lines_are_cut_at_the_greatest_and_refused_below_one() {
        assert_eq!(lines(&HashMap::new()).unwrap(), 100);
        for (text, wanted) in
            [("1", 1), ("007", 7), ("1000", 1_000), ("1001", 1_000), ("99999999999999999999999", 1_000)]
        {
            assert_eq!(lines(&with("lines", text)).unwrap(), wanted, "{text}");
        }
        for bad in ["0", "000", "-1", "+1", "1.5", "many", "", " 1"] {
            let error = lines(&with("lines", bad)).unwrap_err();
            assert_eq!((error.status.as_u16(), &error.details["parameter"]), (400, &"lines".into()), "{bad}");
        }
    }

    #[test]
    fn levels_are_the_four_words_exactly() {
        assert_eq!(level(&HashMap::new()).unwrap(), None);
        assert_eq!(level(&with("level", "WARNING")).unwrap(), Some(Level::Warning));
        for bad in ["warning", "WARN", "TRACE", "", "INFO,ERROR"] {
            let error = level(&with("level", bad)).unwrap_err();
            assert_eq!((error.status.as_u16(), &error.details["parameter"]), (400, &"level".into()), "{bad}");
        }
    }

    #[test]
    fn moments_are_read_in_the_ways_that_iso_8601_writes_them() {
        let noon: Timestamp = "2024-01-01T12:00:00Z".parse().unwrap();
        for text in [
            "2024-01-01T12:00:00Z",
            "2024-01-01T12:00:00.000Z",
            "2024-01-01T13:00:00+01:00",
            "2024-01-01T13:00:00 01:00",
            "2024-01-01T07:00:00-05:00",
            "2024-01-01T12:00:00",
            "2024-01-01T12:00",
            "2024-01-01 12:00:00Z",
            "20240101T120000Z",
        ] {
            assert_eq!(moment(text), Some(noon), "{text}");
        }
        assert_eq!(moment("2024-01-01"), Some("2024-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!(moment("2024-01-01T12:00:00.25"), Some("2024-01-01T12:00:00.25Z".parse().unwrap()));
        for bad in ["", "yesterday", "1704110400", "2024-13-01T00:00:00Z", "2024-01-01T25:00:00Z", "12:00:00"]
        {
            let error = since(&with("since", bad)).unwrap_err();
            assert_eq!((error.status.as_u16(), &error.details["parameter"]), (400, &"since".into()), "{bad}");
        }
    }
}
