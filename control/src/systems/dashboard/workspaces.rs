//! Workspaces.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::paging::{PageParams, Paging};
use crate::domain::time::UnixMs;
use crate::domain::workspaces::Membership;
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;

/// The workspaces of the caller.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "workspaces": [
        { "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "name": "My Workspace", "role": "admin", "created_at": 1234567890 },
    ],
})))]
pub(super) struct Workspaces {
    #[schema(inline)]
    workspaces: Vec<Listed>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Listed {
    id: String,
    name: String,
    /// `admin` or `member`.
    role: &'static str,
    /// Unix time in seconds.
    created_at: i64,
}

/// A workspace to be.
#[derive(ToSchema)]
#[schema(examples(json!({ "name": "New Workspace" })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct NewWorkspace {
    name: String,
}

/// The workspace that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "workspace": { "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "name": "New Workspace", "created_at": 1234567890 },
})))]
pub(super) struct Made {
    #[schema(inline)]
    workspace: MadeWorkspace,
}

#[derive(Debug, Serialize, ToSchema)]
struct MadeWorkspace {
    id: String,
    name: String,
    /// Unix time in seconds.
    created_at: i64,
}

/// The workspaces that one is in
#[utoipa::path(
    get,
    path = "/api/workspaces",
    tag = "workspaces",
    params(PageParams),
    responses((status = 200, body = Workspaces))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Paging(page): Paging,
) -> Result<Json<Workspaces>, ApiError> {
    let memberships = app.store.workspaces(caller.id(), page).await?;
    let listed = memberships.into_iter().map(|Membership { workspace, role }| Listed {
        id: workspace.id,
        name: workspace.name,
        role: role.as_str(),
        created_at: workspace.created.0.div_euclid(1_000),
    });
    Ok(Json(Workspaces { workspaces: listed.collect() }))
}

/// Make a workspace
///
/// Who makes it is its admin.
#[utoipa::path(
    post,
    path = "/api/workspaces",
    tag = "workspaces",
    request_body = NewWorkspace,
    responses((status = 200, body = Made), (status = 400, description = "The name is missing or empty"))
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Made>, ApiError> {
    let name = required_name(&Fields::read(request).await?)?;
    let made = app.store.add_workspace(caller.id(), &name, UnixMs::now()).await?;
    let workspace =
        MadeWorkspace { id: made.id, name: made.name, created_at: made.created.0.div_euclid(1_000) };
    Ok(Json(Made { workspace }))
}

/// A name that is there and says something.
pub(super) fn required_name(fields: &Fields) -> Result<String, ApiError> {
    let name = fields.text("name")?.ok_or_else(|| ApiError::missing("name"))?.trim().to_owned();
    if name.is_empty() {
        return Err(ApiError::invalid("name must not be empty"));
    }
    Ok(name)
}
