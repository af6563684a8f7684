//! Who asks, where it matters: a user who signed in at any system.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::{dashboard, echome, frontdesk};

/// A user: whose all that is that they ask for.
#[derive(Clone, Debug)]
pub(super) struct Owner(pub(super) String);

impl FromRequestParts<Arc<App>> for Owner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        if let Some(caller) = known::<dashboard::Caller>(parts, app).await? {
            return Ok(Self(caller.id().to_owned()));
        }
        if let Some(caller) = known::<echome::Caller>(parts, app).await? {
            return Ok(Self(caller.id().to_owned()));
        }
        if let Some(caller) = known::<frontdesk::Caller>(parts, app).await? {
            return Ok(Self(caller.id().to_owned()));
        }
        let told =
            "Sign in at the dashboard, Echo Me or FrontDesk, and show what that gives as a bearer token";
        Err(ApiError::new(StatusCode::UNAUTHORIZED, told))
    }
}

/// The caller, if one system knows them.
async fn known<C>(parts: &mut Parts, app: &Arc<App>) -> Result<Option<C>, ApiError>
where
    C: FromRequestParts<Arc<App>, Rejection = ApiError>,
{
    match C::from_request_parts(parts, app).await {
        Ok(caller) => Ok(Some(caller)),
        Err(error) if error.status == StatusCode::UNAUTHORIZED => Ok(None),
        Err(error) => Err(error),
    }
}
