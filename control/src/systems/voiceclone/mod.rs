//! VoiceClone, below `/voiceclone`: webhooks around calls whose agent speaks with the caller's own voice, and the cache of such
//! voices.

mod cache;
mod elevenlabs;
mod health;
pub mod signature;
mod statistics;
mod threecx;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{delete, get, post};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;

use crate::server::App;
use crate::server::system::{Routes, System, by_address, no_cors, unsigned};
use crate::systems::bearer;
use crate::systems::error::ApiError;

/// The system.
pub static SYSTEM: System = System {
    name: "voiceclone",
    bases: &["/voiceclone"],
    prefixes: &[],
    open,
    guarded,
    guard,
    error_body,
    limits: &[],
    counted_as: by_address,
    per_address: None,
    claims_signature: unsigned,
    cors: no_cors,
    about: None,
};

fn open(_: &Arc<App>) -> Routes {
    OpenApiRouter::new()
        .route("/health", get(health::handle))
        .route("/webhook/3cx", post(threecx::handle))
        .route("/webhook/elevenlabs/postcall", post(elevenlabs::handle))
}

fn guarded(_: &Arc<App>) -> Routes {
    OpenApiRouter::new()
        .route("/api/v1/cache/{caller_id}", delete(cache::invalidate))
        .route("/api/v1/statistics", get(statistics::handle))
}

fn guard(app: &App, request: &Parts) -> Result<(), ApiError> {
    bearer::check(app, request)
        .map_err(|_| ApiError::new(StatusCode::UNAUTHORIZED, "Invalid or missing token"))
}

fn error_body(error: &ApiError, _: &str) -> Value {
    json!({ "detail": error.message })
}

/// The documented refusal of a webhook whose sender is not who it should be.
fn invalid_signature() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "Invalid signature")
}

/// The documented refusal of what is no JSON object.
fn invalid_json() -> ApiError {
    ApiError::invalid("Invalid JSON payload")
}

/// The documented refusal of what could not be done, whatever kept it: these clients know of no other.
fn failed(error: impl std::fmt::Display) -> ApiError {
    tracing::error!(%error, "a request of VoiceClone's failed");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
}
