//! What is written to users' bots, as Telegram posts it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::error::unauthorized;
use crate::domain::personas::bots::Update;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::json::json_body;

/// The header with the bot's secret.
const SECRET: &str = "x-telegram-bot-api-secret-token";
/// The largest update: a message of the longest text, with the one that it replies to, and all their markup.
const UPDATE_BYTES_MAX: usize = 256 * 1024;

/// That an update came.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "ok": true, "message": "Message processed" })))]
pub(super) struct Received {
    ok: bool,
    /// What becomes of it.
    message: &'static str,
}

/// Receive what is written to a bot
///
/// The secret in `X-Telegram-Bot-Api-Secret-Token` says to which. It is answered before anything else is done, and done once,
/// however often it comes. What is not written to the bot alone is taken and left alone.
#[utoipa::path(
    post,
    path = "/webhook/telegram",
    tag = "telegram",
    params(("X-Telegram-Bot-Api-Secret-Token" = String, Header, description = "As it was given to Telegram")),
    request_body = Object,
    responses(
        (status = 200, body = Received),
        (status = 400, description = "It is no update"),
        (status = 401, description = "No bot has this secret")
    ),
    security(())
)]
pub(super) async fn webhook(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<Received>, ApiError> {
    receive(&app, request).await
}

/// Receive what is written to a bot, below `/api`
#[utoipa::path(
    post,
    path = "/api/webhook/telegram",
    tag = "telegram",
    params(("X-Telegram-Bot-Api-Secret-Token" = String, Header, description = "As it was given to Telegram")),
    request_body = Object,
    responses(
        (status = 200, body = Received),
        (status = 400, description = "It is no update"),
        (status = 401, description = "No bot has this secret")
    ),
    security(())
)]
pub(super) async fn webhook_below_api(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<Received>, ApiError> {
    receive(&app, request).await
}

async fn receive(app: &App, request: Request) -> Result<Json<Received>, ApiError> {
    let bot = match secret_of(request.headers()) {
        Some(secret) => app.api_keys.bot_of_secret(secret).await?,
        None => None,
    };
    let Some(bot) = bot else {
        return Err(ApiError { message: "No bot has this secret".into(), ..unauthorized() });
    };
    let (_, body) = json_body(request, UPDATE_BYTES_MAX).await?;
    let update = serde_json::from_slice::<Value>(&body).ok().and_then(|value| Update::read(&value));
    let Update { id, message } = update.ok_or_else(|| ApiError::invalid("The body is no Update"))?;
    let Some(written) = message else {
        return Ok(Json(Received { ok: true, message: "Update ignored" }));
    };
    app.bots.take(bot, id, written, UnixMs::now()).await?;
    Ok(Json(Received { ok: true, message: "Message processed" }))
}

fn secret_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(SECRET)?.to_str().ok().filter(|secret| !secret.is_empty())
}
