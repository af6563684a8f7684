//! Echo Me: personas that speak with a cloned voice, and whom they talk with.

mod api_keys;
mod auth;
mod clients;
mod error;
mod ids;
mod jobs;
mod media;
mod paging;
mod persona;
mod products;
mod sign_in;
mod voice;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
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

/// Where Telegram posts what is written to bots, below the base.
const TELEGRAM: &str = "/webhook/telegram";

/// Requests of one user in a minute.
const REQUESTS: u32 = 100;

/// The system.
pub static SYSTEM: System = System {
    name: NAME,
    bases: &["/echome"],
    prefixes: &[],
    open,
    guarded,
    guard: auth::guard,
    error_body: error::body,
    limits: &[
        Limit { prefix: "/api/", requests: REQUESTS },
        Limit { prefix: "/webhook/", requests: REQUESTS },
        Limit { prefix: "/media/", requests: REQUESTS },
    ],
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
        ("voices", "Voices that are made of videos."),
        ("personas", "Whose voice and manner agents take on."),
        ("products", "What personas know, out of files."),
        ("jobs", "Work that takes a while."),
        ("clients", "People whom personas talk with."),
        ("settings", "Keys of services."),
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
        .routes(routes!(media::handle))
}

fn guarded(_: &Arc<App>) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(sign_in::session))
        .routes(routes!(sign_in::end))
        .routes(routes!(clients::list, clients::create))
        .routes(routes!(clients::change))
        .routes(routes!(api_keys::list, api_keys::set))
        .routes(routes!(api_keys::delete))
        .routes(routes!(voice::clone))
        .routes(routes!(voice::status))
        .routes(routes!(voice::preview))
        .routes(routes!(voice::delete))
        .routes(routes!(persona::one, persona::change))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(products::upload))
                .layer(DefaultBodyLimit::max(products::FORM_BYTES_MAX)),
        )
        .routes(routes!(products::list))
        .routes(routes!(products::one, products::delete))
        .routes(routes!(jobs::one))
        .routes(routes!(jobs::cancel))
}

/// The user whose session a request shows.
fn counted_as(app: &App, headers: &HeaderMap) -> Option<Client> {
    Some(Client::User(auth::session_of(app, headers)?.user))
}
