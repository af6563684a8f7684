//! Calls that run.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::paging::{PageParams, Paging};
use super::voice::WITHHELD;
use crate::domain::conversations;
use crate::server::App;
use crate::systems::error::ApiError;

/// A call that runs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "call_id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "client_id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c4",
    "client_name": "Acme Corp",
    "caller_phone": "+15551234567",
    "start_time": "2026-02-06T10:00:00Z",
    "owner_user_id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c5",
})))]
pub(super) struct ActiveCall {
    call_id: String,
    client_id: String,
    client_name: String,
    /// `anonymous` if it was withheld.
    caller_phone: String,
    #[schema(format = DateTime)]
    start_time: String,
    owner_user_id: String,
}

impl From<conversations::ActiveCall> for ActiveCall {
    fn from(call: conversations::ActiveCall) -> Self {
        Self {
            call_id: call.call.to_string(),
            client_id: call.line,
            client_name: call.line_name,
            caller_phone: if call.from.is_empty() { WITHHELD.to_owned() } else { call.from },
            start_time: call.answered.to_seconds_text(),
            owner_user_id: call.owner,
        }
    }
}

/// Calls that run
///
/// On all clients of the caller; for an admin, on all clients. The latest first.
#[utoipa::path(
    get,
    path = "/api/active-calls",
    tag = "calls",
    params(PageParams),
    responses((status = 200, body = Vec<ActiveCall>))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Paging(page): Paging,
) -> Result<Json<Vec<ActiveCall>>, ApiError> {
    let owner = (!caller.is_admin).then_some(caller.id());
    let calls = app.store.active_calls(owner, page).await?;
    Ok(Json(calls.into_iter().map(ActiveCall::from).collect()))
}
