//! Callbot, the system at the root: a carrier's webhooks, its media socket, the log, health and status.

mod after_stream;
mod audio_stream;
mod call_status;
mod health;
mod incoming_call;
pub mod log_stream;
mod logs;
pub mod shapes;
pub mod signature;
mod simulations;
mod status;

pub use simulations::read_simulation;

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware;
use serde_json::{Value, json};
use utoipa::{OpenApi, PartialSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::shapes::MediaMessages;
use crate::server::App;
use crate::server::openapi::About;
use crate::server::rate_limit::Limit;
use crate::server::system::{Routes, System, by_address, no_cors};
use crate::systems::bearer;
use crate::systems::error::{ApiError, Envelope, enveloped};
use crate::systems::webhook;

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
    counted_as: by_address,
    per_address: None,
    claims_signature,
    cors: no_cors,
    about: Some(&ABOUT),
};

static ABOUT: About = About {
    title: "Offhook callbot",
    description: include_str!("openapi.md"),
    tags: &[
        ("callbot", "What a carrier asks: webhooks, and the socket that carries a call's audio."),
        ("logs", "What the server logs, as it was and as it goes on."),
        ("test", "Simulated callers against this server, and what was measured."),
        ("health", "How the server and what it needs are doing."),
        ("documentation", "This document, and the pages that show it."),
        (
            "calls",
            "Offhook's own API: calls, what was said on them, and their files. It is at the root, whatever the base.",
        ),
        ("metrics", "What was measured, for a scraper. It is at the root, whatever the base."),
        ("appointments", "Offhook's own API: what callers booked in the calendar of this server's own."),
        ("simulations", "Offhook's own API: simulations, all that was measured, and their end."),
        ("webhooks", "Offhook's own API: addresses that users want to be told of events at."),
    ],
    schemes,
    guarded_by: &["bearer"],
    guarded_sockets_by: &["bearer", "socketToken"],
    error: Envelope::schema,
    missing: "CallSid",
};

fn schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "One of the tokens in `OFFHOOK_BEARER_TOKENS`. A server in development that only its own machine \
                            can reach asks for none, unless tokens are set.",
        },
        "session": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "What signing in gives: the token of the dashboard or of FrontDesk, or the value of Echo Me's cookie.",
        },
        "socketToken": {
            "type": "apiKey",
            "in": "query",
            "name": "token",
            "description": "The same token, for WebSockets of web pages, which cannot set headers.",
        },
        "twilioSignature": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Twilio-Signature",
            "description": "Twilio's signature: HMAC-SHA1 with `TWILIO_AUTH_TOKEN` over the URL and the form's fields, in \
                            base64. Asked for in production, and wherever that token is set.",
        },
    })
}

/// Where the simulator's endpoints are.
const TEST: &str = "/api/test/";

fn open(app: &Arc<App>) -> Routes {
    let webhooks = OpenApiRouter::new()
        .routes(routes!(incoming_call::handle))
        .routes(routes!(call_status::handle))
        .routes(routes!(after_stream::handle))
        .route_layer(middleware::from_fn_with_state(app.clone(), webhook::check));
    OpenApiRouter::with_openapi(MediaMessages::openapi())
        .merge(webhooks)
        .routes(routes!(audio_stream::handle))
        .routes(routes!(health::handle))
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
