//! What can be switched on beside the rest.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use crate::domain::addons::{self, Addon};
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;

/// Which add-ons are on.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(examples(json!({
    "openai_analysis": true, "twilio_enhanced_caller_id": false, "appointments_by_ai": true,
})))]
pub(super) struct Addons {
    /// A model looks at what was said on ended calls, with one's own `openaiApiKey`.
    openai_analysis: bool,
    /// Twilio is asked whose number called, where nobody knows, with one's own account.
    twilio_enhanced_caller_id: bool,
    /// With `openai_analysis`: the model also finds appointments in what was said.
    appointments_by_ai: bool,
}

/// What to switch.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", examples(json!({ "addonType": "openai_analysis", "enabled": true })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct Toggle {
    /// `openai_analysis`, `twilio_enhanced_caller_id` or `appointments_by_ai`.
    addon_type: String,
    enabled: bool,
}

/// What was switched.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "message": "Add-on updated successfully", "enabled": true })))]
pub(super) struct Toggled {
    message: &'static str,
    enabled: bool,
}

/// Which add-ons are on
#[utoipa::path(get, path = "/api/addons", tag = "settings", responses((status = 200, body = Addons)))]
pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Addons>, ApiError> {
    let addons::Addons { openai_analysis, twilio_enhanced_caller_id, appointments_by_ai } =
        app.store.addons(caller.id()).await?;
    Ok(Json(Addons { openai_analysis, twilio_enhanced_caller_id, appointments_by_ai }))
}

/// Switch an add-on on or off
#[utoipa::path(
    post,
    path = "/api/addons/toggle",
    tag = "settings",
    request_body = Toggle,
    responses(
        (status = 200, body = Toggled),
        (status = 400, description = "There is no such add-on, or it is not said whether it is on")
    )
)]
pub(super) async fn toggle(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Toggled>, ApiError> {
    let fields = Fields::read(request).await?;
    let name = fields.text("addonType")?.ok_or_else(|| ApiError::missing("addonType"))?;
    let addon = Addon::from_text(&name).ok_or_else(|| {
        let known = Addon::ALL.map(Addon::as_str).join(", ");
        ApiError::invalid(format!("addonType must be one of: {known}"))
    })?;
    let enabled = fields.boolean("enabled")?.ok_or_else(|| ApiError::missing("enabled"))?;
    app.store.switch_addon(caller.id(), addon, enabled, UnixMs::now()).await?;
    Ok(Json(Toggled { message: "Add-on updated successfully", enabled }))
}
