//! Offhook's own API, below `/v1`: what calls were, what was said on them, what was booked, who answers on lines, what
//! simulations measured, and where users want to be told of events.

mod appointments;
mod calls;
mod error;
mod lines;
mod owner;
mod page;
mod simulations;
mod webhooks;

use std::sync::Arc;

use axum::http::request::Parts;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::server::rate_limit::Limit;
use crate::server::system::{Routes, System, by_address, no_cors, unsigned};
use crate::server::{App, metrics};
use crate::systems::bearer;
use crate::systems::error::{ApiError, enveloped};

/// The system.
pub static SYSTEM: System = System {
    name: "native",
    bases: &[],
    prefixes: &["/v1", "/metrics"],
    open: |_| OpenApiRouter::new(),
    guarded,
    guard,
    error_body: enveloped,
    limits: &[Limit { prefix: "/v1/webhooks", requests: 300 }],
    counted_as: by_address,
    per_address: None,
    claims_signature: unsigned,
    cors: no_cors,
    about: None,
};

fn guarded(_: &Arc<App>) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(calls::list))
        .routes(routes!(calls::one))
        .routes(routes!(calls::call_timeline))
        .routes(routes!(calls::recording))
        .routes(routes!(calls::journal))
        .routes(routes!(calls::hang_up))
        .routes(routes!(appointments::list))
        .routes(routes!(lines::put, lines::delete))
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(webhooks::one, webhooks::change, webhooks::remove))
        .routes(routes!(webhooks::renew_secret))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(simulations::list))
        .routes(routes!(simulations::one))
        .routes(routes!(simulations::stop))
        .routes(routes!(metrics::metrics))
}

/// What belongs to one user is theirs to ask for; all else is the operator's.
fn guard(app: &App, request: &Parts) -> Result<(), ApiError> {
    let path = request.uri.path();
    if path.starts_with("/v1/lines/") || path.starts_with("/v1/webhooks") {
        return owner::guard(app, request);
    }
    bearer::check(app, request)
}
