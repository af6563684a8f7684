//! Who asks: the token's user, as the store knows them now.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::error::unauthorized;
use crate::domain::time::UnixMs;
use crate::domain::users::User;
use crate::server::App;
use crate::systems::error::ApiError;

/// Somebody who signed in.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) user: User,
    /// Sees all, and sets balances though they are paid for.
    pub(super) is_admin: bool,
}

impl Caller {
    pub(super) fn id(&self) -> &str {
        &self.user.id
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let id = user_of(app, parts).ok_or_else(unauthorized)?;
        // A token outlives its user.
        let user = app.store.user(&id).await?.ok_or_else(unauthorized)?;
        let is_admin = app.settings.frontdesk.admins.contains(&user.email.to_lowercase());
        Ok(Self { user, is_admin })
    }
}

/// Refuses whoever shows no good token, before anything of the request is looked at.
pub(super) fn guard(app: &App, request: &Parts) -> Result<(), ApiError> {
    user_of(app, request).map(drop).ok_or_else(unauthorized)
}

fn user_of(app: &App, request: &Parts) -> Option<String> {
    let given = request.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    let signer = app.frontdesk_signer.as_ref().filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
    signer.verify(token.trim(), UnixMs::now())
}
