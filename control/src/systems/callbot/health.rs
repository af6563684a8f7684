//! Is the server alive.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::time::UnixMs;
use crate::server::App;

/// The answer, field by field as documented.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    status: &'static str,
    timestamp: String,
    version: &'static str,
    uptime_seconds: u64,
    active_calls: usize,
}

#[utoipa::path(
    get,
    path = "/health",
    tag = "health",
    responses((status = 200, body = Health), (status = 503, body = Health, description = "Draining: takes no new calls"))
)]
pub(super) async fn handle(State(app): State<Arc<App>>) -> (StatusCode, Json<Health>) {
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
    (status, Json(health))
}
