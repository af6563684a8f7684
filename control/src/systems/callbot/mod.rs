//! Callbot, the system at the root: a carrier's webhooks, its media socket, the log, health and status.

mod audio_stream;
mod call_status;
mod health;
mod incoming_call;
pub mod log_stream;
mod logs;
mod seen;
pub mod signature;
mod simulations;
mod status;
mod webhook;

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::server::App;
use crate::server::rate_limit::Limit;
use crate::server::system::{Routes, System, no_cors};
use crate::systems::bearer;
use crate::systems::error::{ApiError, enveloped};

/// The system.
pub static SYSTEM: System = System {
    name: "callbot",
    bases: &["", "/callbot"],
    prefixes: &[],
    open,
    guarded,
    guard,
    error_body: enveloped,
    limits: &[
        Limit { prefix: "/api/callbot/", requests: 100 },
        Limit { prefix: "/api/logs/", requests: 60 },
        Limit { prefix: TEST, requests: 10 },
    ],
    claims_signature,
    cors: no_cors,
};

/// Where the simulator's endpoints are.
const TEST: &str = "/api/test/";

fn open(app: &Arc<App>) -> Routes {
    let webhooks = OpenApiRouter::new()
        .routes(routes!(incoming_call::handle))
        .routes(routes!(call_status::handle))
        .route_layer(middleware::from_fn_with_state(app.clone(), webhook::check));
    OpenApiRouter::new().merge(webhooks).routes(routes!(audio_stream::handle)).routes(routes!(health::handle))
}

fn guarded(_: &Arc<App>) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(simulations::start))
        .routes(routes!(simulations::one))
        .routes(routes!(simulations::results))
        .routes(routes!(logs::latest))
        .routes(routes!(logs::stream))
        .routes(routes!(status::handle))
}

fn guard(app: &App, request: &Parts) -> Result<(), ApiError> {
    bearer::check(app, request)?;
    if request.uri.path().starts_with(TEST) && !app.settings.test_endpoints {
        return Err(ApiError::not_found("Test endpoints are switched off (OFFHOOK_TEST_ENDPOINTS)"));
    }
    Ok(())
}

fn claims_signature(headers: &HeaderMap) -> bool {
    headers.contains_key(webhook::SIGNATURE)
}
