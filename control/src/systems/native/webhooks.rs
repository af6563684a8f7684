//! Addresses that are told of events, for users of any system, and what became of each telling.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::told;
use super::owner::Owner;
use super::page::{Parameters, count};
use crate::domain::deliveries::{Delivery, OutboundWebhook, WEBHOOKS_MAX, WebhookChange};
use crate::domain::events;
use crate::domain::lines::Page;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::delivery::Tried;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;

/// How many deliveries a page has, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (50, 500);
/// The longest URL, in characters.
const URL_MAX: usize = 2_048;
/// The most names of events.
const EVENTS_MAX: usize = 20;
/// What stands for all events, those to come too.
const ALL: &str = "*";

/// A webhook to be.
#[derive(ToSchema)]
#[schema(as = NewEventWebhook, examples(json!({
    "url": "https://example.com/webhook", "events": ["voice.cloned", "products.ingested"],
})))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct New {
    /// Where it is told: http or https, and no address of this server's own network.
    url: String,
    /// `call.ended`, `voice.cloned`, `persona.analyzed`, `products.ingested`, `conversation.started`, `conversation.ended`, or
    /// `*` for all; all where nothing is said.
    events: Option<Vec<String>>,
    /// What one calls it.
    name: Option<String>,
}

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventWebhook, examples(json!({
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "name": "", "url": "https://example.com/webhook",
    "events": ["voice.cloned", "products.ingested"], "is_active": true, "created_at": "2025-02-18T10:00:00Z",
})))]
pub(super) struct Shown {
    id: String,
    name: String,
    url: String,
    events: Vec<String>,
    /// Whether it is told.
    is_active: bool,
    #[schema(format = DateTime)]
    created_at: String,
    /// What deliveries are signed with. Shown to who makes it, and not again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl From<OutboundWebhook> for Shown {
    fn from(webhook: OutboundWebhook) -> Self {
        Self {
            id: webhook.id,
            name: webhook.name,
            url: webhook.url,
            events: webhook.events.split(',').map(str::to_owned).collect(),
            is_active: webhook.is_active,
            created_at: webhook.created.to_seconds_text(),
            secret: None,
        }
    }
}

/// One's webhooks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventWebhooks, examples(json!({ "webhooks": [{
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "name": "", "url": "https://example.com/webhook",
    "events": ["voice.cloned", "products.ingested"], "is_active": true, "created_at": "2025-02-18T10:00:00Z",
}] })))]
pub(super) struct List {
    webhooks: Vec<Shown>,
}

/// What can be changed of a webhook.
#[derive(ToSchema)]
#[schema(as = EventWebhookChange, examples(json!({ "is_active": false })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct Change {
    url: Option<String>,
    events: Option<Vec<String>>,
    name: Option<String>,
    is_active: Option<bool>,
}

/// Deliveries, the latest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventDeliveries, examples(json!({ "deliveries": [{
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "event": "voice.cloned",
    "subject": "job_voice_0198c1d2e3f47a5b8c6d7e8f90a1b2c4", "status": "delivered", "reason": null,
    "created_at": "2026-02-05T10:00:00Z", "ended_at": "2026-02-05T10:00:03Z",
    "tries": [{ "number": 1, "at": "2026-02-05T10:00:00.120Z", "took_ms": 48, "status": 200, "answer": "ok", "error": null }],
}] })))]
pub(super) struct Deliveries {
    deliveries: Vec<Told>,
}

/// An event on its way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventDelivery)]
struct Told {
    /// As it stands in `X-Webhook-Id`.
    id: String,
    event: String,
    /// The id of what it is of: the job of a voice, an analysis or products; the conversation, at its end with the number of its
    /// messages; the call.
    subject: String,
    /// `pending`, `delivered` or `failed`.
    status: &'static str,
    /// Why it failed for good.
    reason: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was taken or given up.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    tries: Vec<Tried>,
}

impl From<Delivery> for Told {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            event: delivery.event,
            subject: delivery.subject,
            status: delivery.state.as_str(),
            reason: delivery.reason,
            created_at: delivery.created.to_seconds_text(),
            ended_at: delivery.ended.map(UnixMs::to_seconds_text),
            tries: delivery.tries.into_iter().map(Tried::from).collect(),
        }
    }
}

/// What deliveries are signed with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventWebhookSecret, examples(json!({ "secret": "whsec_c0ffee" })))]
pub(super) struct Secret {
    secret: String,
}

/// Make a webhook
///
/// From then on each event that it wants is posted there as JSON: `event`, `timestamp`, `user_id`, `data`; a call that ends as the
/// dashboard documents it. `X-Webhook-Signature` is `t=…,v1=…`: the time in seconds, and the HMAC-SHA256 with the secret of that time,
/// a full stop and the body, in hexadecimal digits. What is not taken with a status of 200 to 299 within ten seconds is tried five
/// times in all, in order, with the same `X-Webhook-Id`. Any session opens this: the dashboard's, Echo Me's or FrontDesk's.
#[utoipa::path(
    post,
    path = "/v1/webhooks",
    tag = "webhooks",
    security(("session" = [])),
    request_body = New,
    responses(
        (status = 201, body = Shown),
        (status = 400, description = "The URL is not one that may be told, or an event is unknown"),
        (status = 401, description = "There is no session"),
        (status = 409, description = "There are 50 already"),
        (status = 503, description = "This server has no key to keep secrets with")
    )
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Owner(owner): Owner,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let fields = Fields::read(request).await?;
    let url = fields.long_text("url", URL_MAX)?.ok_or_else(|| ApiError::missing("url"))?;
    let events = wanted(&fields)?.unwrap_or_else(|| ALL.into());
    let name = fields.text("name")?.unwrap_or_default();
    let made = app.webhooks.add(&owner, name, &url, &events, UnixMs::now()).await.map_err(told)?;
    let secret = Some(app.webhooks.secret_of(&made).map_err(told)?);
    Ok(private(StatusCode::CREATED, Shown { secret, ..made.into() }))
}

/// One's webhooks
///
/// All of them, in the order of their making; those made at the dashboard too.
#[utoipa::path(
    get,
    path = "/v1/webhooks",
    tag = "webhooks",
    security(("session" = [])),
    responses((status = 200, body = List), (status = 401, description = "There is no session"))
)]
pub(super) async fn list(State(app): State<Arc<App>>, Owner(owner): Owner) -> Result<Json<List>, ApiError> {
    let most = Page { limit: Some(WEBHOOKS_MAX as u32), offset: 0 };
    let webhooks = app.store.outbound_webhooks(&owner, most).await?;
    Ok(Json(List { webhooks: webhooks.into_iter().map(Shown::from).collect() }))
}

/// One webhook
///
/// Its secret is not shown.
#[utoipa::path(
    get,
    path = "/v1/webhooks/{webhook}",
    tag = "webhooks",
    security(("session" = [])),
    params(("webhook" = String, Path, description = "Its id")),
    responses(
        (status = 200, body = Shown),
        (status = 401, description = "There is no session"),
        (status = 404, description = "There is no such webhook, or it is somebody else's")
    )
)]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Owner(owner): Owner,
    Path(id): Path<String>,
) -> Result<Json<Shown>, ApiError> {
    Ok(Json(app.store.outbound_webhook(&owner, &id).await.map_err(told)?.into()))
}

/// Change a webhook
///
/// What is on its way goes to the new URL, too.
#[utoipa::path(
    patch,
    path = "/v1/webhooks/{webhook}",
    tag = "webhooks",
    security(("session" = [])),
    params(("webhook" = String, Path, description = "Its id")),
    request_body = Change,
    responses(
        (status = 200, body = Shown),
        (status = 401, description = "There is no session"),
        (status = 404, description = "There is no such webhook, or it is somebody else's")
    )
)]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    Owner(owner): Owner,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Shown>, ApiError> {
    let fields = Fields::read(request).await?;
    let change = WebhookChange {
        name: fields.text("name")?,
        url: fields.long_text("url", URL_MAX)?,
        events: wanted(&fields)?,
        is_active: fields.boolean("is_active")?,
    };
    Ok(Json(app.webhooks.change(&owner, &id, change).await.map_err(told)?.into()))
}

/// Take a webhook out
///
/// What is on its way to it is not told, and what was is forgotten.
#[utoipa::path(
    delete,
    path = "/v1/webhooks/{webhook}",
    tag = "webhooks",
    security(("session" = [])),
    params(("webhook" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 401, description = "There is no session"),
        (status = 404, description = "There is no such webhook, or it is somebody else's")
    )
)]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Owner(owner): Owner,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.store.remove_webhook(&owner, &id).await.map_err(told)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make another secret of a webhook
///
/// What is on its way is signed with it, too. It is not shown again.
#[utoipa::path(
    post,
    path = "/v1/webhooks/{webhook}/secret",
    tag = "webhooks",
    security(("session" = [])),
    params(("webhook" = String, Path, description = "Its id")),
    responses(
        (status = 200, body = Secret),
        (status = 401, description = "There is no session"),
        (status = 404, description = "There is no such webhook, or it is somebody else's")
    )
)]
pub(super) async fn renew_secret(
    State(app): State<Arc<App>>,
    Owner(owner): Owner,
    Path(id): Path<String>,
) -> Result<Response<Body>, ApiError> {
    let secret = app.webhooks.renew_secret(&owner, &id).await.map_err(told)?;
    Ok(private(StatusCode::OK, Secret { secret }))
}

/// Deliveries to a webhook
///
/// The latest first, with what was answered to each try.
#[utoipa::path(
    get,
    path = "/v1/webhooks/{webhook}/deliveries",
    tag = "webhooks",
    security(("session" = [])),
    params(
        ("webhook" = String, Path, description = "Its id"),
        (
            "limit" = Option<usize>,
            Query,
            minimum = 1,
            maximum = 500,
            description = "Deliveries a page: 50 unless asked otherwise; more than 500 count as 500"
        ),
        ("offset" = Option<u32>, Query, description = "How many are left out, from the latest on"),
    ),
    responses(
        (status = 200, body = Deliveries),
        (status = 401, description = "There is no session"),
        (status = 404, description = "There is no such webhook, or it is somebody else's")
    )
)]
pub(super) async fn deliveries(
    State(app): State<Arc<App>>,
    Owner(owner): Owner,
    Path(id): Path<String>,
    Query(parameters): Parameters,
) -> Result<Json<Deliveries>, ApiError> {
    let limit = count(&parameters, "limit", PAGE)?;
    let offset = match parameters.get("offset") {
        Some(text) => text.parse().map_err(|_| ApiError::bad_parameter("offset", "integer"))?,
        None => 0,
    };
    let page = Page { limit: u32::try_from(limit).ok(), offset };
    let deliveries = app.webhooks.deliveries(&owner, &id, page).await.map_err(told)?;
    Ok(Json(Deliveries { deliveries: deliveries.into_iter().map(Told::from).collect() }))
}

/// The events that are asked for, as they are kept; none if nothing is said.
fn wanted(fields: &Fields) -> Result<Option<String>, ApiError> {
    let Some(names) = fields.texts("events", EVENTS_MAX)? else { return Ok(None) };
    let is_known = |name: &String| name == ALL || events::NAMES.contains(&name.as_str());
    if names.is_empty() || !names.iter().all(is_known) {
        let known = events::NAMES.join(", ");
        return Err(ApiError::bad_parameter("events", &format!("a list of some of: {known}, {ALL}")));
    }
    Ok(Some(names.join(",")))
}

/// A secret is nothing for a cache.
fn private(status: StatusCode, body: impl Serialize) -> Response<Body> {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
