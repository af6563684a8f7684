//! Beyond the documented logs: what is not done yet, and why what failed did.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::auth::Caller;
use super::super::paging::{PageParams, Paging};
use super::parameter;
use crate::domain::crm::Sync;
use crate::domain::time::UnixMs;
use crate::integrations::crm::{Crm, PersonKind};
use crate::server::App;
use crate::systems::error::ApiError;

/// The sync of a call with a CRM.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Sync, examples(json!({
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "crm": "hubspot",
    "call_id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c4",
    "status": "error",
    "phone_number": "+1234567890",
    "tries": 3,
    "reason": "status 400, VALIDATION_ERROR: Property values were not valid",
    "person_id": "101",
    "person_kind": "contact",
    "person_created": true,
    "activity_id": null,
    "created_at": "2026-02-05T10:00:00Z",
    "ended_at": "2026-02-05T10:00:09Z",
})))]
pub(in super::super) struct Shown {
    id: String,
    /// `salesforce`, `hubspot` or `dynamics`.
    crm: &'static str,
    call_id: String,
    /// `pending`, `success` or `error`.
    status: &'static str,
    phone_number: String,
    /// How often it was tried.
    tries: u32,
    /// Why the last try failed.
    reason: Option<String>,
    /// The CRM's name for the lead or contact.
    person_id: Option<String>,
    /// `lead` or `contact`.
    person_kind: Option<&'static str>,
    /// Whether they were made for this call.
    person_created: bool,
    /// The CRM's name for the logged call.
    activity_id: Option<String>,
    /// When the call had ended.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was done or given up.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
}

impl From<Sync> for Shown {
    fn from(sync: Sync) -> Self {
        let person = sync.synced.person;
        Self {
            id: sync.id,
            crm: sync.crm.as_str(),
            call_id: sync.call_name,
            status: sync.state.as_str(),
            phone_number: sync.number,
            tries: sync.tries,
            reason: sync.reason,
            person_kind: person.as_ref().map(|person| PersonKind::as_str(person.kind)),
            person_id: person.map(|person| person.id),
            person_created: sync.synced.person_created,
            activity_id: sync.synced.activity,
            created_at: sync.created.to_seconds_text(),
            ended_at: sync.ended.map(UnixMs::to_seconds_text),
        }
    }
}

/// A sync is tried again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "message": "It is tried again" })))]
pub(in super::super) struct Retried {
    message: &'static str,
}

/// Calls on their way into a CRM
///
/// What is not done yet first, then the latest; with the reason of the last failure.
#[utoipa::path(
    get,
    path = "/v1/sync-logs",
    tag = "crm",
    params(("crm" = String, Query, description = "`salesforce`, `hubspot` or `dynamics`"), PageParams),
    responses((status = 200, body = Vec<Shown>), (status = 400, description = "There is no such CRM"))
)]
pub(in super::super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Paging(page): Paging,
    request: Request,
) -> Result<Json<Vec<Shown>>, ApiError> {
    let name = parameter(request.uri().query().unwrap_or_default(), "crm");
    let name = name.ok_or_else(|| ApiError::missing("crm"))?;
    let crm = Crm::from_text(&name)
        .ok_or_else(|| ApiError::invalid("crm must be salesforce, hubspot or dynamics"))?;
    let syncs = app.store.syncs(caller.id(), crm, true, page).await?;
    Ok(Json(syncs.into_iter().map(Shown::from).collect()))
}

/// Try a call again that was given up
#[utoipa::path(
    post,
    path = "/v1/sync-logs/{id}/retry",
    tag = "crm",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Retried),
        (status = 404, description = "There is no such sync of yours that was given up, or it is too long ago")
    )
)]
pub(in super::super) async fn retry(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Retried>, ApiError> {
    match app.store.retry_sync(caller.id(), &id, UnixMs::now()).await? {
        true => Ok(Json(Retried { message: "It is tried again" })),
        false => Err(ApiError::not_found("Sync not found, or not given up")),
    }
}
