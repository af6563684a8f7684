//! Addresses that are told of events, and what became of each telling.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::error::told;
use super::paging::{PageParams, Paging};
use super::workspaces::required_name;
use crate::domain::deliveries::{Delivery, OutboundWebhook, WebhookChange};
use crate::domain::ended_calls::EVENT;
use crate::domain::error::Error;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::delivery::Tried;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;

/// The longest URL, in characters.
const URL_MAX: usize = 2_048;

/// The most names of events.
const EVENTS_MAX: usize = 20;

/// A webhook to be.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewOutboundWebhook, examples(json!({
    "name": "External Webhook",
    "destinationUrl": "https://example.com/webhook",
    "events": "call.ended",
})))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct NewWebhook {
    name: String,
    /// Where it is told: http or https, and no address of this server's own network. `destination_url` is read too.
    destination_url: String,
    /// Names with commas between them, or a list of them, or `*`; `call.ended` where nothing is said.
    events: Option<String>,
}

/// The webhook that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MadeOutboundWebhook, examples(json!({ "webhook": {
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "name": "External Webhook",
    "destination_url": "https://example.com/webhook",
    "events": "call.ended",
    "is_active": true,
} })))]
pub(super) struct Made {
    #[schema(inline)]
    webhook: MadeWebhook,
}

#[derive(Debug, Serialize, ToSchema)]
struct MadeWebhook {
    id: String,
    name: String,
    destination_url: String,
    events: String,
    is_active: bool,
}

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OutboundWebhook, examples(json!({
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "name": "External Webhook",
    "destination_url": "https://example.com/webhook",
    "events": "call.ended",
    "is_active": true,
    "created_at": 1234567890,
})))]
pub(super) struct Listed {
    id: String,
    name: String,
    destination_url: String,
    events: String,
    is_active: bool,
    /// Unix time in seconds.
    created_at: i64,
}

impl From<OutboundWebhook> for Listed {
    fn from(webhook: OutboundWebhook) -> Self {
        Self {
            id: webhook.id,
            name: webhook.name,
            destination_url: webhook.url,
            events: webhook.events,
            is_active: webhook.is_active,
            created_at: webhook.created.0.div_euclid(1_000),
        }
    }
}

/// What can be changed of a webhook.
#[derive(ToSchema)]
#[schema(as = OutboundWebhookChange, examples(json!({ "is_active": false })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct Change {
    name: Option<String>,
    /// Whether it is told.
    is_active: Option<bool>,
}

/// What deliveries are signed with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OutboundWebhookSecret, examples(json!({ "secret": "whsec_c0ffee" })))]
pub(super) struct Secret {
    secret: String,
}

/// A webhook is gone.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RemovedOutboundWebhook, examples(json!({ "message": "Webhook removed" })))]
pub(super) struct Removed {
    message: &'static str,
}

/// An event on its way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery, examples(json!({
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "event": "call.ended",
    "call": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c4",
    "status": "delivered",
    "reason": null,
    "created_at": "2026-02-05T10:00:00Z",
    "ended_at": "2026-02-05T10:00:03Z",
    "tries": [
        { "number": 1, "at": "2026-02-05T10:00:00.120Z", "took_ms": 48, "status": 503, "answer": "", "error": "status 503" },
        { "number": 2, "at": "2026-02-05T10:00:02.700Z", "took_ms": 35, "status": 200, "answer": "ok", "error": null },
    ],
})))]
pub(super) struct Shown {
    /// As it stands in `X-Webhook-Id`.
    id: String,
    event: String,
    /// The call's id; null if the event is of something else.
    call: Option<String>,
    /// `pending`, `delivered` or `failed`.
    status: &'static str,
    /// Why it failed for good.
    reason: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was taken or given up.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    #[schema(inline)]
    tries: Vec<Tried>,
}

impl From<Delivery> for Shown {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            call: (delivery.event == EVENT).then_some(delivery.subject),
            event: delivery.event,
            status: delivery.state.as_str(),
            reason: delivery.reason,
            created_at: delivery.created.to_seconds_text(),
            ended_at: delivery.ended.map(UnixMs::to_seconds_text),
            tries: delivery.tries.into_iter().map(Tried::from).collect(),
        }
    }
}

/// Make an outbound webhook
///
/// From then on each call that ends is told there, and each other event that `events` names: `voice.cloned`, `persona.analyzed`,
/// `products.ingested`, `conversation.started`, `conversation.ended`; `*` is all of them. What is told is signed with a secret of the
/// webhook's: `X-Webhook-Signature` is `t=…,v1=…`, the
/// time in seconds and the HMAC-SHA256 of that time, a full stop and the body, in hexadecimal digits. What is not taken with a
/// status of 200 to 299 within ten seconds is tried five times in all, in order, with the same `X-Webhook-Id`.
#[utoipa::path(
    post,
    path = "/api/outbound-webhooks",
    tag = "outbound webhooks",
    request_body = NewWebhook,
    responses(
        (status = 200, body = Made),
        (status = 400, description = "A field is missing, or the destination is not one that may be told"),
        (status = 503, description = "This server has no key to keep secrets with")
    )
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Made>, ApiError> {
    let fields = Fields::read(request).await?;
    let name = required_name(&fields)?;
    let url = match fields.long_text("destinationUrl", URL_MAX)? {
        Some(url) => url,
        None => {
            let url = fields.long_text("destination_url", URL_MAX)?;
            url.ok_or_else(|| ApiError::missing("destinationUrl"))?
        }
    };
    let events = match fields.texts("events", EVENTS_MAX) {
        Ok(Some(names)) => names.join(","),
        _ => fields.text("events")?.unwrap_or_default(),
    };
    let made = app.webhooks.add(caller.id(), name, &url, &events, UnixMs::now()).await;
    let made = made.map_err(|error| match error {
        Error::Invalid { field: "url", reason } => told(Error::Invalid { field: "destinationUrl", reason }),
        error => told(error),
    })?;
    let webhook = MadeWebhook {
        id: made.id,
        name: made.name,
        destination_url: made.url,
        events: made.events,
        is_active: made.is_active,
    };
    Ok(Json(Made { webhook }))
}

/// One's outbound webhooks
#[utoipa::path(
    get,
    path = "/api/outbound-webhooks",
    tag = "outbound webhooks",
    params(PageParams),
    responses((status = 200, body = Vec<Listed>))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Paging(page): Paging,
) -> Result<Json<Vec<Listed>>, ApiError> {
    let webhooks = app.store.outbound_webhooks(caller.id(), page).await?;
    Ok(Json(webhooks.into_iter().map(Listed::from).collect()))
}

/// Rename an outbound webhook, or switch it off or on
#[utoipa::path(
    patch,
    path = "/v1/outbound-webhooks/{id}",
    tag = "outbound webhooks",
    params(("id" = String, Path)),
    request_body = Change,
    responses((status = 200, body = Listed))
)]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Listed>, ApiError> {
    let fields = Fields::read(request).await?;
    let name = if fields.has("name") { Some(required_name(&fields)?) } else { None };
    let change = WebhookChange { name, is_active: fields.boolean("is_active")?, ..WebhookChange::default() };
    let changed = app.webhooks.change(caller.id(), &id, change).await.map_err(told)?;
    Ok(Json(changed.into()))
}

/// Take an outbound webhook out
///
/// What is on its way to it is not told, and what was is forgotten.
#[utoipa::path(
    delete,
    path = "/v1/outbound-webhooks/{id}",
    tag = "outbound webhooks",
    params(("id" = String, Path)),
    responses((status = 200, body = Removed))
)]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Removed>, ApiError> {
    app.store.remove_webhook(caller.id(), &id).await.map_err(told)?;
    Ok(Json(Removed { message: "Webhook removed" }))
}

/// What deliveries are signed with
#[utoipa::path(
    get,
    path = "/v1/outbound-webhooks/{id}/secret",
    tag = "outbound webhooks",
    params(("id" = String, Path)),
    responses((status = 200, body = Secret))
)]
pub(super) async fn secret(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response<Body>, ApiError> {
    Ok(private(app.webhooks.secret(caller.id(), &id).await.map_err(told)?))
}

/// Make another secret
///
/// What is on its way is signed with it, too.
#[utoipa::path(
    post,
    path = "/v1/outbound-webhooks/{id}/secret",
    tag = "outbound webhooks",
    params(("id" = String, Path)),
    responses((status = 200, body = Secret))
)]
pub(super) async fn renew_secret(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response<Body>, ApiError> {
    Ok(private(app.webhooks.renew_secret(caller.id(), &id).await.map_err(told)?))
}

/// Deliveries to an outbound webhook
///
/// The latest first, with what was answered to each try.
#[utoipa::path(
    get,
    path = "/v1/outbound-webhooks/{id}/deliveries",
    tag = "outbound webhooks",
    params(("id" = String, Path), PageParams),
    responses((status = 200, body = Vec<Shown>))
)]
pub(super) async fn deliveries(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Paging(page): Paging,
) -> Result<Json<Vec<Shown>>, ApiError> {
    let deliveries = app.webhooks.deliveries(caller.id(), &id, page).await.map_err(told)?;
    Ok(Json(deliveries.into_iter().map(Shown::from).collect()))
}

/// A secret is nothing for a cache.
fn private(secret: String) -> Response<Body> {
    ([(header::CACHE_CONTROL, "no-store")], Json(Secret { secret })).into_response()
}
