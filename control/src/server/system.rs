//! A system: one documented HTTP API, as a value that the server mounts.
//!
//! Systems collide (`/health` means different things), so each stands below a base of its own, and at the root of a listener
//! or of host names that are its own. What a client sees of it (errors, limits, who is let in) is the system's, also where
//! the router or a bug makes the answer.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde_json::Value;
use tower_http::cors::CorsLayer;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::openapi::About;
use super::rate_limit::{Client, Limit};
use crate::settings::Settings;
use crate::systems::error::ApiError;

/// Routes with what the OpenAPI document says of them.
pub type Routes = OpenApiRouter<Arc<App>>;

/// One HTTP API.
pub struct System {
    /// Its name in settings and logs.
    pub name: &'static str,
    /// Where it stands on the main listener: paths without a slash at the end, empty for the root.
    pub bases: &'static [&'static str],
    /// Paths at the root that are its own though another system stands there. They stay part of its routes' paths.
    pub prefixes: &'static [&'static str],
    /// Routes that everyone may ask, or that look after themselves, as signed webhooks do.
    pub open: fn(&Arc<App>) -> Routes,
    /// Routes behind `guard`.
    pub guarded: fn(&Arc<App>) -> Routes,
    /// Who may ask the guarded routes.
    pub guard: fn(&App, &Parts) -> Result<(), ApiError>,
    /// The body of an error. The second argument is the request's id.
    pub error_body: fn(&ApiError, &str) -> Value,
    /// How often one client may ask.
    pub limits: &'static [Limit],
    /// Who is counted instead of the address that asks, if it is known of a request.
    pub counted_as: fn(&App, &HeaderMap) -> Option<Client>,
    /// Where `limits` are for those alone who are known, and for all paths together: how often one address may ask in a minute,
    /// whoever asks from there.
    pub per_address: Option<u32>,
    /// True if a request says that its carrier signed it. Such a request is counted only if that is not true.
    pub claims_signature: fn(&HeaderMap) -> bool,
    /// Which web pages of other origins may ask; none: none of them.
    pub cors: fn(&Settings) -> Option<CorsLayer>,
    /// What its OpenAPI document says of it as a whole. Without it the system has no document and no pages of its own: if
    /// it stands at prefixes only, its routes are in the document of the first system.
    pub about: Option<&'static About>,
}

impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("System").field("name", &self.name).finish_non_exhaustive()
    }
}

/// No web page of another origin may ask.
pub fn no_cors(_: &Settings) -> Option<CorsLayer> {
    None
}

/// Every request is counted for the address that it comes from.
pub fn by_address(_: &App, _: &HeaderMap) -> Option<Client> {
    None
}

/// No request claims a carrier's signature.
pub fn unsigned(_: &HeaderMap) -> bool {
    false
}
