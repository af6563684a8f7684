//! Static bearer tokens: who may read what was said on calls.

use axum::http::header;
use axum::http::request::Parts;
use subtle::ConstantTimeEq;

use crate::server::App;
use crate::settings::Secret;
use crate::systems::error::ApiError;
use axum::http::StatusCode;

/// Lets in whoever shows one of the configured tokens; everyone, where the API is open to this machine.
///
/// A WebSocket may show it as `?token=`, since web pages cannot set its headers.
pub fn check(app: &App, request: &Parts) -> Result<(), ApiError> {
    if app.settings.api_is_open() {
        return Ok(());
    }
    let given = request.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let in_header = given
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim().to_owned());
    let known = |token: &str| is_known(app, token);
    let token = in_header.or_else(|| {
        let query = request.uri.query().filter(|_| request.headers.contains_key(header::UPGRADE))?;
        let mut fields = form_urlencoded::parse(query.as_bytes());
        fields.find(|(name, _)| name == "token").map(|(_, token)| token.into_owned())
    });
    if token.is_some_and(|token| known(&token)) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNAUTHORIZED,
        if app.settings.bearer_tokens.is_empty() {
            "This is closed: it can be reached from other machines, and OFFHOOK_BEARER_TOKENS is not set"
        } else {
            "A valid bearer token is required"
        },
    ))
}

/// Whether this is one of the configured tokens.
pub(super) fn is_known(app: &App, token: &str) -> bool {
    let is_it = |known: &Secret| bool::from(known.reveal().as_bytes().ct_eq(token.as_bytes()));
    app.settings.bearer_tokens.iter().fold(false, |found, known| found | is_it(known))
}
