//! HubSpot.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::auth::Caller;
use super::super::paging::{PageParams, Paging};
use super::{Authorization, Disconnected};
use crate::domain::crm::Sync;
use crate::domain::time::UnixMs;
use crate::integrations::crm::Crm;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::systems::error::ApiError;

/// Whether HubSpot is connected; if not, all else is null.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HubSpotStatus, examples(json!({ "connected": true, "connectedAt": "2025-01-15T10:30:00Z" })))]
pub(in super::super) struct Status {
    connected: bool,
    #[schema(format = DateTime)]
    connected_at: Option<String>,
}

/// What became of a call.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HubSpotSyncLog, examples(json!({
    "id": "log-id",
    "call_id": "call-id",
    "status": "success",
    "phone_number": "+1234567890",
    "contact_id": "hubspot-contact-id",
    "engagement_id": "hubspot-engagement-id",
    "created_at": 1234567890,
})))]
pub(in super::super) struct Log {
    id: String,
    call_id: String,
    /// `success` or `error`.
    status: &'static str,
    /// The customer's; empty if it was withheld.
    phone_number: String,
    contact_id: Option<String>,
    /// Of the logged call.
    engagement_id: Option<String>,
    /// Unix time in seconds.
    created_at: i64,
}

impl From<Sync> for Log {
    fn from(sync: Sync) -> Self {
        Self {
            contact_id: super::person(&sync),
            engagement_id: sync.synced.activity.clone(),
            created_at: super::at(&sync),
            status: sync.state.as_str(),
            id: sync.id,
            call_id: sync.call_name,
            phone_number: sync.number,
        }
    }
}

/// Begin to connect HubSpot
///
/// Answers where to send the browser.
#[utoipa::path(
    get,
    path = "/api/hubspot/oauth/initiate",
    tag = "crm",
    responses(
        (status = 200, body = Authorization),
        (status = 503, description = "HubSpot is not configured on this server")
    )
)]
pub(in super::super) async fn initiate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Json<Authorization>, ApiError> {
    let redirect = super::redirect(&app, Crm::HubSpot, &arrival, &request)?;
    super::begin(&app, &caller, Crm::HubSpot, redirect, None).await
}

/// Come back from HubSpot
///
/// Where the browser is sent back to; from here it is sent on to the configured page, if there is one. Whoever shows a token of
/// another user than began is refused.
#[utoipa::path(
    get,
    path = "/api/hubspot/oauth/callback",
    tag = "crm",
    params(
        ("code" = String, Query, description = "HubSpot's"),
        ("state" = String, Query, description = "As it was in `authUrl`"),
        ("error" = Option<String>, Query, description = "Why there is no consent")
    ),
    responses(
        (status = 200, description = "It is connected", content_type = "text/html", body = String),
        (status = 302, description = "To the configured page, with `connected` or `error` in the query"),
        (status = 400, description = "The state is unknown, was used or is another user's, or there is no consent")
    )
)]
pub(in super::super) async fn callback(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    super::come_back(&app, Crm::HubSpot, request).await
}

/// Whether HubSpot is connected
#[utoipa::path(
    get,
    path = "/api/hubspot/status",
    tag = "crm",
    responses((status = 200, body = Status))
)]
pub(in super::super) async fn status(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Status>, ApiError> {
    let connection = super::connection(&app, &caller, Crm::HubSpot).await?;
    Ok(Json(Status {
        connected: connection.is_some(),
        connected_at: connection.as_ref().map(|connection| UnixMs::to_seconds_text(connection.created)),
    }))
}

/// Disconnect HubSpot
///
/// The consent is given back. Calls that wait to be put there are not. If nothing is connected, nothing happens.
#[utoipa::path(
    delete,
    path = "/api/hubspot/disconnect",
    tag = "crm",
    responses((status = 200, body = Disconnected))
)]
pub(in super::super) async fn disconnect(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Disconnected>, ApiError> {
    super::disconnect(&app, &caller, Crm::HubSpot).await
}

/// Calls that were put into HubSpot
///
/// The latest first, and with them those that could not be; why, `/v1/sync-logs` tells, and what is not done yet.
#[utoipa::path(
    get,
    path = "/api/hubspot/sync-logs",
    tag = "crm",
    params(PageParams),
    responses((status = 200, body = Vec<Log>))
)]
pub(in super::super) async fn logs(
    State(app): State<Arc<App>>,
    caller: Caller,
    Paging(page): Paging,
) -> Result<Json<Vec<Log>>, ApiError> {
    let syncs = super::logs(&app, &caller, Crm::HubSpot, page).await?;
    Ok(Json(syncs.into_iter().map(Log::from).collect()))
}
