//! Is the server alive.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::domain::time::UnixMs;
use crate::server::App;

/// The answer, field by field as documented.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: &'static str,
    timestamp: String,
    version: &'static str,
    uptime_seconds: u64,
    active_calls: usize,
}

pub(super) async fn handle(State(app): State<Arc<App>>) -> Json<Health> {
    Json(Health {
        status: "healthy",
        timestamp: UnixMs::now().to_seconds_text(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app.started.elapsed().as_secs(),
        active_calls: app.calls.running(),
    })
}
