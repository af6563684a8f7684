//! Salesforce.

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

/// Whether Salesforce is connected; if not, all else is null.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SalesforceStatus, examples(json!({
    "connected": true,
    "email": "user@salesforce.com",
    "instanceUrl": "https://instance.salesforce.com",
    "connectedAt": "2025-01-15T10:30:00Z",
})))]
pub(in super::super) struct Status {
    connected: bool,
    /// Of who consented, if Salesforce tells.
    email: Option<String>,
    instance_url: Option<String>,
    #[schema(format = DateTime)]
    connected_at: Option<String>,
}

/// What became of a call.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SalesforceSyncLog, examples(json!({
    "id": "log-id",
    "call_id": "call-id",
    "status": "success",
    "phone_number": "+1234567890",
    "lead_id": "salesforce-lead-id",
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
    lead_id: Option<String>,
    /// Unix time in seconds.
    created_at: i64,
}

impl From<Sync> for Log {
    fn from(sync: Sync) -> Self {
        Self {
            lead_id: super::person(&sync),
            created_at: super::at(&sync),
            status: sync.state.as_str(),
            id: sync.id,
            call_id: sync.call_name,
            phone_number: sync.number,
        }
    }
}

/// Begin to connect Salesforce
///
/// Answers where to send the browser.
#[utoipa::path(
    get,
    path = "/api/salesforce/oauth/initiate",
    tag = "crm",
    responses(
        (status = 200, body = Authorization),
        (status = 503, description = "Salesforce is not configured on this server")
    )
)]
pub(in super::super) async fn initiate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Json<Authorization>, ApiError> {
    let redirect = super::redirect(&app, Crm::Salesforce, &arrival, &request)?;
    super::begin(&app, &caller, Crm::Salesforce, redirect, None).await
}

/// Come back from Salesforce
///
/// Where the browser is sent back to; from here it is sent on to the configured page, if there is one. Whoever shows a token of
/// another user than began is refused.
#[utoipa::path(
    get,
    path = "/api/salesforce/oauth/callback",
    tag = "crm",
    params(
        ("code" = String, Query, description = "Salesforce's"),
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
    super::come_back(&app, Crm::Salesforce, request).await
}

/// Whether Salesforce is connected
#[utoipa::path(
    get,
    path = "/api/salesforce/status",
    tag = "crm",
    responses((status = 200, body = Status))
)]
pub(in super::super) async fn status(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Status>, ApiError> {
    let connection = super::connection(&app, &caller, Crm::Salesforce).await?;
    Ok(Json(Status {
        connected: connection.is_some(),
        connected_at: connection.as_ref().map(|connection| UnixMs::to_seconds_text(connection.created)),
        email: connection.as_ref().map(|one| one.account.clone()).filter(|email| !email.is_empty()),
        instance_url: connection.map(|connection| connection.instance_url),
    }))
}

/// Disconnect Salesforce
///
/// The consent is given back. Calls that wait to be put there are not. If nothing is connected, nothing happens.
#[utoipa::path(
    delete,
    path = "/api/salesforce/disconnect",
    tag = "crm",
    responses((status = 200, body = Disconnected))
)]
pub(in super::super) async fn disconnect(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Disconnected>, ApiError> {
    super::disconnect(&app, &caller, Crm::Salesforce).await
}

/// Calls that were put into Salesforce
///
/// The latest first, and with them those that could not be; why, `/v1/sync-logs` tells, and what is not done yet.
#[utoipa::path(
    get,
    path = "/api/salesforce/sync-logs",
    tag = "crm",
    params(PageParams),
    responses((status = 200, body = Vec<Log>))
)]
pub(in super::super) async fn logs(
    State(app): State<Arc<App>>,
    caller: Caller,
    Paging(page): Paging,
) -> Result<Json<Vec<Log>>, ApiError> {
    let syncs = super::logs(&app, &caller, Crm::Salesforce, page).await?;
    Ok(Json(syncs.into_iter().map(Log::from).collect()))
}
