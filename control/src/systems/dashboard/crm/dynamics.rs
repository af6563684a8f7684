//! Dynamics 365.

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

/// Whether Dynamics 365 is connected; if not, all else is null.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DynamicsStatus, examples(json!({
    "connected": true,
    "instanceUrl": "https://orgname.crm.dynamics.com",
    "connectedAt": "2025-01-15T10:30:00Z",
})))]
pub(in super::super) struct Status {
    connected: bool,
    instance_url: Option<String>,
    #[schema(format = DateTime)]
    connected_at: Option<String>,
}

/// What became of a call.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DynamicsSyncLog, examples(json!({
    "id": "log-id",
    "call_id": "call-id",
    "status": "success",
    "phone_number": "+1234567890",
    "dynamics_record_id": "lead-or-contact-id",
    "dynamics_activity_id": "phone-call-activity-id",
    "lead_created": false,
    "created_at": 1234567890,
})))]
pub(in super::super) struct Log {
    id: String,
    call_id: String,
    /// `success` or `error`.
    status: &'static str,
    /// The customer's; empty if it was withheld.
    phone_number: String,
    /// Of the lead or contact.
    dynamics_record_id: Option<String>,
    /// Of the logged call.
    dynamics_activity_id: Option<String>,
    /// Whether the lead was made for this call.
    lead_created: bool,
    /// Unix time in seconds.
    created_at: i64,
}

impl From<Sync> for Log {
    fn from(sync: Sync) -> Self {
        Self {
            dynamics_record_id: super::person(&sync),
            dynamics_activity_id: sync.synced.activity.clone(),
            lead_created: sync.synced.person_created,
            created_at: super::at(&sync),
            status: sync.state.as_str(),
            id: sync.id,
            call_id: sync.call_name,
            phone_number: sync.number,
        }
    }
}

/// Begin to connect Dynamics 365
///
/// Answers where to send the browser.
#[utoipa::path(
    get,
    path = "/api/dynamics/oauth/initiate",
    tag = "crm",
    params(("instanceUrl" = String, Query, description = "Such as `https://orgname.crm.dynamics.com`")),
    responses(
        (status = 200, body = Authorization),
        (status = 400, description = "`instanceUrl` is missing, or not an instance of Dynamics 365"),
        (status = 503, description = "Dynamics 365 is not configured on this server")
    )
)]
pub(in super::super) async fn initiate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Json<Authorization>, ApiError> {
    let instance_url = super::parameter(request.uri().query().unwrap_or_default(), "instanceUrl");
    let instance_url = instance_url.ok_or_else(|| ApiError::missing("instanceUrl"))?;
    let redirect = super::redirect(&app, Crm::Dynamics, &arrival, &request)?;
    super::begin(&app, &caller, Crm::Dynamics, redirect, Some(&instance_url)).await
}

/// Come back from Dynamics 365
///
/// Where the browser is sent back to; from here it is sent on to the configured page, if there is one. Whoever shows a token of
/// another user than began is refused.
#[utoipa::path(
    get,
    path = "/api/dynamics/oauth/callback",
    tag = "crm",
    params(
        ("code" = String, Query, description = "Dynamics 365's"),
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
    super::come_back(&app, Crm::Dynamics, request).await
}

/// Whether Dynamics 365 is connected
#[utoipa::path(
    get,
    path = "/api/dynamics/status",
    tag = "crm",
    responses((status = 200, body = Status))
)]
pub(in super::super) async fn status(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Status>, ApiError> {
    let connection = super::connection(&app, &caller, Crm::Dynamics).await?;
    Ok(Json(Status {
        connected: connection.is_some(),
        connected_at: connection.as_ref().map(|connection| UnixMs::to_seconds_text(connection.created)),
        instance_url: connection.map(|connection| connection.instance_url),
    }))
}

/// Disconnect Dynamics 365
///
/// The consent is given back. Calls that wait to be put there are not. If nothing is connected, nothing happens.
#[utoipa::path(
    delete,
    path = "/api/dynamics/disconnect",
    tag = "crm",
    responses((status = 200, body = Disconnected))
)]
pub(in super::super) async fn disconnect(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Disconnected>, ApiError> {
    super::disconnect(&app, &caller, Crm::Dynamics).await
}

/// Calls that were put into Dynamics 365
///
/// The latest first, and with them those that could not be; why, `/v1/sync-logs` tells, and what is not done yet.
#[utoipa::path(
    get,
    path = "/api/dynamics/sync-logs",
    tag = "crm",
    params(PageParams),
    responses((status = 200, body = Vec<Log>))
)]
pub(in super::super) async fn logs(
    State(app): State<Arc<App>>,
    caller: Caller,
    Paging(page): Paging,
) -> Result<Json<Vec<Log>>, ApiError> {
    let syncs = super::logs(&app, &caller, Crm::Dynamics, page).await?;
    Ok(Json(syncs.into_iter().map(Log::from).collect()))
}
