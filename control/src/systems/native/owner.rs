//! Who asks: somebody who signed in at one of the systems, by the token that it gave them. Whose a line or a persona is, is the
//! same in all of them.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};

use crate::domain::time::UnixMs;
use crate::server::App;
use crate::store::StoreError;
use crate::systems::error::ApiError;

/// Somebody who signed in: a user's id.
#[derive(Clone, Debug)]
pub(super) struct Owner(pub(super) String);

impl FromRequestParts<Arc<App>> for Owner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let token = token_in(&parts.headers).ok_or_else(unauthorized)?;
        user_of(app, token).await?.map(Self).ok_or_else(unauthorized)
    }
}

/// A token outlives its user, and is good no longer once it was given back.
async fn user_of(app: &App, token: &str) -> Result<Option<String>, StoreError> {
    let now = UnixMs::now();
    if let Some(id) = frontdesk(app, token, now) {
        return Ok(app.store.user(&id).await?.map(|user| user.id));
    }
    if let Some(session) = app.echome_signer.as_ref().and_then(|signer| signer.session(token, now)) {
        return Ok(app.store.user_of_session(&session).await?.map(|user| user.id));
    }
    match app.accounts.session(token, now) {
        Some(session) => Ok(app.accounts.account(&session).await?.map(|account| account.id)),
        None => Ok(None),
    }
}

fn frontdesk(app: &App, token: &str, now: UnixMs) -> Option<String> {
    app.frontdesk_signer.as_ref().and_then(|signer| signer.verify(token, now))
}

/// The token of `Authorization: Bearer`. No cookie counts: no page of another origin can have a browser show this.
fn token_in(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "The bearer token of somebody who signed in is required")
}
