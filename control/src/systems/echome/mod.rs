//! Echo Me: personas that speak with a cloned voice, and whom they talk with.

mod auth;
mod clients;
mod error;
mod ids;
mod paging;
mod sign_in;

use std::sync::Arc;

use axum::http::HeaderMap;
use serde_json::{Value, json};
use utoipa::PartialSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::server::App;
use crate::server::openapi::About;
use crate::server::rate_limit::{Client, Limit};
use crate::server::system::{Routes, System, no_cors, unsigned};

/// The system's name, in settings, logs and tokens.
pub const NAME: &str = "echome";

/// The system.
pub static SYSTEM: System = System {
    name: NAME,
    bases: &["/echome"],
    prefixes: &[],
    open,
    guarded,
    guard: auth::guard,
    error_body: error::body,
    limits: &[Limit { prefix: "/api/", requests: 100 }],
    counted_as,
    per_address: Some(1_000),
    claims_signature: unsigned,
    cors: no_cors,
    about: Some(&ABOUT),
};

static ABOUT: About = About {
    title: "Offhook Echo Me",
    description: include_str!("openapi.md"),
    tags: &[
        ("authentication", "Sign in with Google, and out."),
        ("clients", "People whom personas talk with."),
        ("documentation", "This document, and the pages that show it."),
    ],
    schemes,
    guarded_by: &["session", "bearer"],
    guarded_sockets_by: &["session"],
    error: error::Told::schema,
    missing: "name",
};

fn schemes() -> Value {
    json!({
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": auth::COOKIE,
            "description": "The session that signing in sets, for thirty days or until it is ended.",
        },
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The same token.",
        },
    })
}

fn open(_: &Arc<App>) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(sign_in::begin))
        .routes(routes!(sign_in::come_back))
        .routes(routes!(sign_in::landing))
}

fn guarded(_: &Arc<App>) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(sign_in::session))
        .routes(routes!(sign_in::end))
        .routes(routes!(clients::list, clients::create))
        .routes(routes!(clients::change))
}

/// The user whose session a request shows.
fn counted_as(app: &App, headers: &HeaderMap) -> Option<Client> {
    Some(Client::User(auth::session_of(app, headers)?.user))
}
