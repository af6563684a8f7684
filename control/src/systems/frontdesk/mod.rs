//! FrontDesk: businesses (clients) whose telephone an assistant answers, their callers, what was said, and what it costs.

mod active_calls;
mod auth;
mod calendar;
mod clients;
mod contacts;
mod conversations;
mod error;
mod paging;
mod sign_in;
mod socket;
mod stripe;
mod voice;

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware;
use serde_json::{Value, json};
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::PartialSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::server::App;
use crate::server::openapi::About;
use crate::server::system::{Routes, System, by_address};
use crate::settings::{Environment, Settings};
use crate::systems::webhook;

pub(super) use sign_in::code_and_state;

/// The system's name, in settings, logs and tokens.
pub const NAME: &str = "frontdesk";

/// The system.
pub static SYSTEM: System = System {
    name: NAME,
    bases: &["/frontdesk"],
    prefixes: &[],
    open,
    guarded,
    guard: auth::guard,
    error_body: error::body,
    limits: &[],
    counted_as: by_address,
    per_address: None,
    claims_signature,
    cors,
    about: Some(&ABOUT),
};

static ABOUT: About = About {
    title: "Offhook FrontDesk",
    description: include_str!("openapi.md"),
    tags: &[
        ("authentication", "Sign in with Google, and get a token."),
        ("clients", "Businesses, each with a number that is answered for it."),
        ("calendar", "Where a client's appointments are looked up and entered."),
        ("contacts", "Who calls."),
        ("conversations", "What was said."),
        ("calls", "Calls that run, and what a carrier asks."),
        ("payments", "What Stripe tells."),
        ("documentation", "This document, and the pages that show it."),
    ],
    schemes,
    guarded_by: &["bearer"],
    guarded_sockets_by: &["bearer"],
    error: error::Detail::schema,
    missing: "phone_number",
};

fn schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The `access_token` that signing in gives, for an hour.",
        },
        "twilioSignature": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Twilio-Signature",
            "description": "Twilio's signature. Asked for in production, and wherever `TWILIO_AUTH_TOKEN` is set.",
        },
        "stripeSignature": {
            "type": "apiKey",
            "in": "header",
            "name": "Stripe-Signature",
            "description": "Stripe's signature, made with `STRIPE_WEBHOOK_SECRET`.",
        },
    })
}

fn open(app: &Arc<App>) -> Routes {
    let signed = OpenApiRouter::new()
        .routes(routes!(voice::handle))
        .route_layer(middleware::from_fn_with_state(app.clone(), webhook::check));
    OpenApiRouter::new()
        .routes(routes!(sign_in::initiate))
        .routes(routes!(sign_in::callback, sign_in::exchange))
        .routes(routes!(calendar::callback))
        .merge(signed)
        .routes(routes!(stripe::handle))
        .routes(routes!(socket::handle))
}

fn guarded(_: &Arc<App>) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(clients::list, clients::create))
        .routes(routes!(clients::one, clients::change, clients::remove))
        .routes(routes!(calendar::status))
        .routes(routes!(calendar::initiate))
        .routes(routes!(calendar::service_account))
        .routes(routes!(calendar::revoke))
        .routes(routes!(contacts::list))
        .routes(routes!(contacts::create))
        .routes(routes!(contacts::change, contacts::remove))
        .routes(routes!(conversations::list))
        .routes(routes!(conversations::one, conversations::remove))
        .routes(routes!(active_calls::list))
}

fn claims_signature(headers: &HeaderMap) -> bool {
    headers.contains_key(webhook::SIGNATURE)
}

/// Any page in development, the configured ones otherwise; without credentials, since a token is a header that a page sets.
fn cors(settings: &Settings) -> Option<CorsLayer> {
    let configured = &settings.frontdesk.origins;
    let origins = match (configured.is_empty(), settings.environment) {
        (true, Environment::Production) => return None,
        (true, Environment::Development) => AllowOrigin::any(),
        (false, _) => AllowOrigin::list(
            configured.iter().filter_map(|origin| HeaderValue::try_from(origin.to_string()).ok()),
        ),
    };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE]);
    Some(layer)
}
