//! Is the server alive.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::OwnBody;

/// The answer, field by field as documented.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "status": "healthy",
    "timestamp": "2024-01-01T12:00:00Z",
    "version": "1.0.0",
    "uptime_seconds": 3600,
    "active_calls": 2,
})))]
pub(super) struct Health {
    /// `healthy`, or `draining`.
    status: &'static str,
    /// UTC, in whole seconds.
    #[schema(format = DateTime)]
    timestamp: String,
    /// The server's.
    version: &'static str,
    uptime_seconds: u64,
    /// Calls that are running.
    active_calls: usize,
}

/// Is the server alive
///
/// For load balancers: 200 as long as new calls are taken.
#[utoipa::path(
    get,
    path = "/health",
    tag = "health",
    responses(
        (status = 200, body = Health, description = "New calls are taken"),
        (
            status = 503,
            description = "Draining: no new calls are taken",
            body = Health,
            example = json!({
                "status": "draining",
                "timestamp": "2024-01-01T12:00:00Z",
                "version": "1.0.0",
                "uptime_seconds": 3600,
                "active_calls": 2,
            }),
        )
    )
)]
pub(super) async fn handle(State(app): State<Arc<App>>) -> (StatusCode, Extension<OwnBody>, Json<Health>) {
    // A load balancer sends no new calls to a server that drains.
    let (status, word) = match app.is_draining() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        false => (StatusCode::OK, "healthy"),
    };
    let health = Health {
        status: word,
        timestamp: UnixMs::now().to_seconds_text(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app.started.elapsed().as_secs(),
        active_calls: app.calls.running(),
    };
    (status, Extension(OwnBody), Json(health))
}
