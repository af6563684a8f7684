//! What admins see of all users, and how well things were found that one asked for.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::account::User;
use super::auth::{Admin, Caller};
use super::paging::{PageParams, Paging};
use crate::domain::figures::ServerFigures;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;

/// All users and their calls.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(examples(json!({ "totalUsers": 1234, "totalCalls": 56789, "activeUsers": 890 })))]
pub(super) struct Figures {
    total_users: u64,
    /// Calls of users that are over.
    total_calls: u64,
    /// Users who signed in, or had a call, in the last 30 days.
    active_users: u64,
}

/// How well things were found.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(examples(json!({ "totalKeys": 150, "hitRate": 0.85, "missRate": 0.15 })))]
pub(super) struct CacheStatistics {
    /// Things of one's own that are kept.
    total_keys: usize,
    /// Of one's look-ups, from 0 to 1; 0 before the first.
    hit_rate: f64,
    /// Likewise.
    miss_rate: f64,
}

/// All users and their calls
///
/// For admins.
#[utoipa::path(
    get,
    path = "/api/admin/dashboard",
    tag = "admin",
    responses((status = 200, body = Figures), (status = 403, description = "One is no admin"))
)]
pub(super) async fn figures(State(app): State<Arc<App>>, _: Admin) -> Result<Json<Figures>, ApiError> {
    let ServerFigures { users, calls, active_users } = app.store.server_figures(UnixMs::now()).await?;
    Ok(Json(Figures { total_users: users, total_calls: calls, active_users }))
}

/// All users
///
/// For admins.
#[utoipa::path(
    get,
    path = "/api/admin/users",
    tag = "admin",
    params(PageParams),
    responses((status = 200, body = Vec<User>), (status = 403, description = "One is no admin"))
)]
pub(super) async fn users(
    State(app): State<Arc<App>>,
    _: Admin,
    Paging(page): Paging,
) -> Result<Json<Vec<User>>, ApiError> {
    let users = app.store.all_users(page).await?;
    Ok(Json(users.into_iter().map(User::from).collect()))
}

/// How well things were found
///
/// Lists and translations that one asked for, since the server started.
#[utoipa::path(get, path = "/api/cache/stats", tag = "settings", responses((status = 200, body = CacheStatistics)))]
pub(super) async fn cache(State(app): State<Arc<App>>, caller: Caller) -> Json<CacheStatistics> {
    let figures = app.cache.figures(caller.id(), Instant::now());
    Json(CacheStatistics {
        total_keys: figures.keys,
        hit_rate: figures.hit_rate,
        miss_rate: figures.miss_rate,
    })
}
