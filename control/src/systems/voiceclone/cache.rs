//! The cache of callers' voices.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

use super::failed;
use crate::domain::time::UnixMs;
use crate::domain::voiceclone::number;
use crate::server::App;
use crate::systems::error::ApiError;

/// The answer, field by field as documented.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    success: bool,
    message: String,
}

/// A caller's voice is not to be used any more.
pub(super) async fn invalidate(
    State(app): State<Arc<App>>,
    Path(caller_id): Path<String>,
) -> Result<Json<Answer>, ApiError> {
    let caller = number(&caller_id).ok_or_else(|| ApiError::bad_parameter("caller_id", "phone number"))?;
    let success = match &app.clones {
        Some(clones) => clones.forget(&caller, UnixMs::now()).await,
        None => app.store.drop_voice(&caller, UnixMs::now()).await.map(|dropped| dropped.is_some()),
    };
    let success = success.map_err(failed)?;
    let message = match success {
        true => format!("Cache invalidated for caller {caller}"),
        false => format!("No cached voice clone for caller {caller}"),
    };
    Ok(Json(Answer { success, message }))
}
