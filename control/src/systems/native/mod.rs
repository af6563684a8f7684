//! Offhook's own API, below `/v1`: what calls were, and what was said on them.

mod calls;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::middleware::{self, Next};
use axum::routing::{get, post};
use subtle::ConstantTimeEq;

use crate::server::App;
use crate::systems::error::ApiError;

/// The routes.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/v1/calls", get(calls::list))
        .route("/v1/calls/{call}", get(calls::one))
        .route("/v1/calls/{call}/timeline", get(calls::call_timeline))
        .route("/v1/calls/{call}/recording", get(calls::recording))
        .route("/v1/calls/{call}/journal", get(calls::journal))
        .route("/v1/calls/{call}/hangup", post(calls::hang_up))
        .route_layer(middleware::from_fn_with_state(app.clone(), check_bearer))
}

async fn check_bearer(
    State(app): State<Arc<App>>,
    request: Request<Body>,
    next: Next,
) -> Result<Response<Body>, ApiError> {
    if app.settings.api_is_open() || has_token(&app, request.headers()) {
        return Ok(next.run(request).await);
    }
    let message = if app.settings.bearer_tokens.is_empty() {
        "/v1 is closed: it can be reached from other machines, and OFFHOOK_BEARER_TOKENS is not set"
    } else {
        "A valid bearer token is required"
    };
    Err(ApiError::new(StatusCode::UNAUTHORIZED, message))
}

fn has_token(app: &App, headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, token)) = given.and_then(|value| value.split_once(' ')) else { return false };
    scheme.eq_ignore_ascii_case("bearer")
        && app.settings.bearer_tokens.iter().fold(false, |found, known| {
            found | bool::from(known.reveal().as_bytes().ct_eq(token.trim().as_bytes()))
        })
}
