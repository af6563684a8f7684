//! Whether what this needs is there: the database is asked, ElevenLabs was a moment ago.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tokio::time::timeout;

use crate::domain::services::{Service, Standing};
use crate::domain::time::UnixMs;
use crate::server::App;

/// The database has answered by then.
const DATABASE_WITHIN: Duration = Duration::from_secs(2);
/// At the start of the server the first answer of ElevenLabs is waited for as long.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The answer, field by field as documented.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: &'static str,
    database: &'static str,
    elevenlabs: &'static str,
    timestamp: String,
}

/// Always 200: `status` says how things stand.
pub(super) async fn handle(State(app): State<Arc<App>>) -> Json<Health> {
    let database = match timeout(DATABASE_WITHIN, app.store.ping()).await {
        Ok(Ok(())) => "ok",
        Ok(Err(_)) | Err(_) => "error",
    };
    let elevenlabs = match app.services.settled(Service::ElevenLabs, FIRST_ANSWER_WITHIN).await {
        Standing::Connected => "ok",
        Standing::NotConfigured => "not_configured",
        Standing::Disconnected(_) | Standing::Unknown => "error",
    };
    let status = if database == "error" || elevenlabs == "error" { "degraded" } else { "ok" };
    Json(Health { status, database, elevenlabs, timestamp: UnixMs::now().to_string() })
}
