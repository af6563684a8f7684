//! Keys of services.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::error::told;
use super::ids::{own, shown};
use crate::domain::api_keys::{KeyError, KeyService};
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;
use crate::systems::seen::Seen;

/// What stands before the ids.
const KIND: &str = "key";

/// The longest key, in characters.
const KEY_MAX: usize = 4_096;

/// Which keys are set.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "api_keys": [
        {
            "id": "key_elevenlabs", "service": "elevenlabs", "name": "ElevenLabs API Key", "configured": true,
            "last_4_chars": "xY9z", "created_at": "2025-02-18T10:00:00Z",
        },
        { "id": "key_openai", "service": "openai", "name": "OpenAI API Key", "configured": false },
        { "id": "key_telegram", "service": "telegram", "name": "Telegram Bot Token", "configured": false },
    ],
})))]
pub(super) struct Keys {
    #[schema(inline)]
    api_keys: Vec<Key>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Key {
    id: String,
    /// `elevenlabs`, `openai` or `telegram`.
    service: &'static str,
    name: &'static str,
    configured: bool,
    /// Absent unless it is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    last_4_chars: Option<String>,
    /// Absent unless it is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    created_at: Option<String>,
}

/// A key to be set.
#[derive(ToSchema)]
#[schema(examples(json!({ "service": "openai", "api_key": "sk-…" })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct NewKey {
    /// `elevenlabs`, `openai` or `telegram`.
    service: String,
    api_key: String,
}

/// That a key was set.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "success": true, "key_id": "key_openai", "service": "openai", "message": "API key updated successfully",
})))]
pub(super) struct Set {
    success: bool,
    key_id: String,
    service: &'static str,
    message: &'static str,
}

/// That a key is gone.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "success": true, "message": "API key deleted" })))]
pub(super) struct Deleted {
    success: bool,
    message: &'static str,
}

/// Which keys are set
///
/// Always all three. Of a key no more is shown than its end.
#[utoipa::path(get, path = "/api/settings/api-keys", tag = "settings", responses((status = 200, body = Keys)))]
pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Keys>, ApiError> {
    let keys = app.api_keys.shown(caller.id()).await?.into_iter().map(|(service, set)| {
        let (end, time) = set.map(|set| (set.end, set.set.to_seconds_text())).unzip();
        Key {
            id: shown(KIND, service.as_str()),
            service: service.as_str(),
            name: service.title(),
            configured: time.is_some(),
            last_4_chars: end,
            created_at: time,
        }
    });
    Ok(Json(Keys { api_keys: keys.collect() }))
}

/// Set a key
///
/// The service is asked whether it takes the key. A bot is told to post here what is written to it.
#[utoipa::path(
    post,
    path = "/api/settings/api-keys",
    tag = "settings",
    request_body = NewKey,
    responses(
        (status = 200, body = Set),
        (status = 400, description = "There is no such service, or the key is none"),
        (status = 401, description = "The service does not take the key (`invalid_api_key`), or there is no session"),
        (status = 502, description = "The service cannot be asked")
    )
)]
pub(super) async fn set(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    caller: Caller,
    request: Request,
) -> Result<Json<Set>, ApiError> {
    let origin = Seen::of(&app, &request)?.origin(&format!("{}{}", arrival.base, super::TELEGRAM));
    let fields = Fields::read(request).await?;
    let service = fields.text("service")?.ok_or_else(|| ApiError::missing("service"))?;
    let service = KeyService::from_text(&service)
        .ok_or_else(|| ApiError::bad_parameter("service", "elevenlabs, openai or telegram"))?;
    let key = fields.long_text("api_key", KEY_MAX)?.ok_or_else(|| ApiError::missing("api_key"))?;
    // Telegram posts over TLS alone.
    let webhook = Some(origin.as_str()).filter(|origin| origin.starts_with("https://"));
    let set = app.api_keys.set(caller.id(), service, &key, webhook, UnixMs::now()).await;
    set.map_err(|error| {
        let message = error.to_string();
        match error {
            KeyError::Refused(_) => ApiError::new(StatusCode::UNAUTHORIZED, message).coded("invalid_api_key"),
            KeyError::Unreachable(_) => ApiError::new(StatusCode::BAD_GATEWAY, message),
            KeyError::Domain(error) => told(error),
        }
    })?;
    let key_id = shown(KIND, service.as_str());
    Ok(Json(Set {
        success: true,
        key_id,
        service: service.as_str(),
        message: "API key updated successfully",
    }))
}

/// Forget a key
#[utoipa::path(
    delete,
    path = "/api/settings/api-keys/{key_id}",
    tag = "settings",
    params(("key_id" = String, Path)),
    responses((status = 200, body = Deleted), (status = 404, description = "There is no such key, or it is not set"))
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(key_id): Path<String>,
) -> Result<Json<Deleted>, ApiError> {
    let missing = || ApiError::not_found("API key not found");
    let service = KeyService::from_text(own(KIND, &key_id)).ok_or_else(missing)?;
    match app.api_keys.delete(caller.id(), service, UnixMs::now()).await.map_err(told)? {
        true => Ok(Json(Deleted { success: true, message: "API key deleted" })),
        false => Err(missing()),
    }
}
