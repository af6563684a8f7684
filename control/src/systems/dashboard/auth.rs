//! Who asks: the token's account, as the store knows it at this moment.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::error::unauthorized;
use crate::domain::accounts::Account;
use crate::domain::time::UnixMs;
use crate::domain::token::Session;
use crate::server::App;
use crate::systems::error::ApiError;

/// Somebody who signed in.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) account: Account,
    /// The token that was shown.
    pub(super) session: Session,
}

impl Caller {
    /// The user's id: whose all that is that they ask for.
    pub(super) fn id(&self) -> &str {
        &self.account.id
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let session = session_of(app, parts).ok_or_else(unauthorized)?;
        // A token outlives its account, and is good no longer once it was given back.
        let account = app.accounts.account(&session).await?.ok_or_else(unauthorized)?;
        Ok(Self { account, session })
    }
}

/// An admin, as the store and the settings say at this moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admin;

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        match app.accounts.is_admin(&caller.account) {
            true => Ok(Self),
            false => Err(ApiError::forbidden("Only admins may see this")),
        }
    }
}

/// Refuses whoever shows no good token, before anything of the request is looked at. Whether it was given back, [`Caller`] asks.
pub(super) fn guard(app: &App, request: &Parts) -> Result<(), ApiError> {
    session_of(app, request).map(drop).ok_or_else(unauthorized)
}

fn session_of(app: &App, request: &Parts) -> Option<Session> {
    app.accounts.session(token_in(&request.headers)?, UnixMs::now())
}

/// The token of `Authorization: Bearer`.
pub(super) fn token_in(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
