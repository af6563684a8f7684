//! The dashboard: what happened on a user's calls, and how they are answered.

mod account;
mod addons;
mod admin;
mod analytics;
mod appointments;
mod assistants;
mod auth;
mod calls;
mod crm;
mod error;
mod joining;
mod outbound_webhooks;
mod paging;
mod phone_numbers;
mod settings;
mod translate;
mod webhooks;
mod workspaces;

use std::sync::Arc;

use axum::http::HeaderMap;
use serde_json::{Value, json};
use utoipa::PartialSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::time::UnixMs;
use crate::server::App;
use crate::server::openapi::About;
use crate::server::rate_limit::{Client, Limit};
use crate::server::system::{Routes, System, no_cors, unsigned};

/// The system's name, in settings, logs and tokens.
pub const NAME: &str = "dashboard";

/// Requests of one user in a minute.
const REQUESTS: u32 = 300;

/// The system.
pub static SYSTEM: System = System {
    name: NAME,
    bases: &["/dashboard"],
    prefixes: &[],
    open,
    guarded,
    guard: auth::guard,
    error_body: error::body,
    limits: &[Limit { prefix: "/api/", requests: REQUESTS }, Limit { prefix: "/v1/", requests: REQUESTS }],
    counted_as,
    per_address: None,
    claims_signature: unsigned,
    cors: no_cors,
    about: Some(&ABOUT),
};

static ABOUT: About = About {
    title: "Offhook dashboard",
    description: include_str!("openapi.md"),
    tags: &[
        ("account", "Register, sign in and out."),
        ("settings", "What one sets for oneself, and what is done with it."),
        ("workspaces", "Places that people share."),
        ("assistants", "What answers, and on which numbers."),
        ("webhooks", "Where calls are reported to from outside."),
        ("outbound webhooks", "Addresses that are told when calls end."),
        ("crm", "Salesforce, HubSpot and Dynamics 365, which calls are put into."),
        ("calls", "Calls that are over, calls that run, and how many at once."),
        ("analytics", "What calls come to."),
        ("admin", "All users."),
        ("documentation", "This document, and the pages that show it."),
    ],
    schemes,
    guarded_by: &["bearer"],
    guarded_sockets_by: &["bearer"],
    error: error::Told::schema,
    missing: "email",
};

fn schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The `token` that registering and signing in give, for seven days or until it is given back.",
        },
        "webhookSecret": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Vapi-Secret",
            "description": "The `secret` that making a webhook gives. Asked for in production.",
        },
    })
}

fn open(_: &Arc<App>) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(account::register))
        .routes(routes!(account::log_in))
        .routes(routes!(webhooks::receive))
        .routes(routes!(crm::salesforce::callback))
        .routes(routes!(crm::hubspot::callback))
        .routes(routes!(crm::dynamics::callback))
}

fn guarded(_: &Arc<App>) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(account::log_out))
        .routes(routes!(account::me))
        .routes(routes!(joining::handle))
        .routes(routes!(settings::show, settings::change))
        .routes(routes!(translate::handle))
        .routes(routes!(workspaces::list, workspaces::create))
        .routes(routes!(phone_numbers::list))
        .routes(routes!(assistants::list, assistants::create))
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(crm::salesforce::initiate))
        .routes(routes!(crm::salesforce::status))
        .routes(routes!(crm::salesforce::disconnect))
        .routes(routes!(crm::salesforce::logs))
        .routes(routes!(crm::hubspot::initiate))
        .routes(routes!(crm::hubspot::status))
        .routes(routes!(crm::hubspot::disconnect))
        .routes(routes!(crm::hubspot::logs))
        .routes(routes!(crm::dynamics::initiate))
        .routes(routes!(crm::dynamics::status))
        .routes(routes!(crm::dynamics::disconnect))
        .routes(routes!(crm::dynamics::logs))
        .routes(routes!(crm::syncs::list))
        .routes(routes!(crm::syncs::retry))
        .routes(routes!(outbound_webhooks::list, outbound_webhooks::create))
        .routes(routes!(outbound_webhooks::change, outbound_webhooks::remove))
        .routes(routes!(outbound_webhooks::secret, outbound_webhooks::renew_secret))
        .routes(routes!(outbound_webhooks::deliveries))
        .routes(routes!(calls::ended))
        .routes(routes!(calls::active))
        .routes(routes!(calls::concurrent))
        .routes(routes!(calls::series))
        .routes(routes!(calls::recording))
        .routes(routes!(analytics::summary))
        .routes(routes!(analytics::agents))
        .routes(routes!(analytics::ends))
        .routes(routes!(analytics::keywords))
        .routes(routes!(analytics::intents))
        .routes(routes!(appointments::list))
        .routes(routes!(addons::list))
        .routes(routes!(addons::toggle))
        .routes(routes!(admin::cache))
        .routes(routes!(admin::figures))
        .routes(routes!(admin::users))
}

/// The user whose token a request shows: many may sit behind one address, and one at many.
fn counted_as(app: &App, headers: &HeaderMap) -> Option<Client> {
    let session = app.accounts.session(auth::token_in(headers)?, UnixMs::now())?;
    Some(Client::User(session.user))
}
