//! Addresses that calls are reported to from outside, and what is reported there.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{Caller, token_in};
use super::error::told;
use super::paging::{PageParams, Paging};
use super::workspaces::required_name;
use crate::domain::inbound_webhooks::{InboundWebhook, Shown};
use crate::domain::time::UnixMs;
use crate::integrations::vapi;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::systems::error::ApiError;
use crate::systems::json::{Fields, json_body};
use crate::systems::seen::Seen;

/// The largest report that is read: an hour's transcript with its word times has some 2 MB.
const REPORT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Headers that have an HMAC of the body.
const HMAC_HEADERS: [&str; 4] =
    ["x-vapi-signature", "x-webhook-signature", "x-signature", "x-hub-signature-256"];

/// A webhook to be.
#[derive(ToSchema)]
#[schema(examples(json!({ "name": "My Webhook" })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct NewWebhook {
    name: String,
}

/// The webhook that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "webhook": {
        "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
        "url": "https://voice.example.com/dashboard/webhook/wh_0123456789abcdef",
        "secret": "c0ffee",
    },
})))]
pub(super) struct Made {
    #[schema(inline)]
    webhook: MadeWebhook,
}

#[derive(Debug, Serialize, ToSchema)]
struct MadeWebhook {
    id: String,
    /// Where calls are reported to.
    url: String,
    /// What whoever reports has to know. It is not shown again.
    secret: String,
}

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook, examples(json!({
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "name": "My Webhook",
    "url": "https://voice.example.com/dashboard/webhook/wh_0123456789abcdef",
    "created_at": 1234567890,
})))]
pub(super) struct Listed {
    id: String,
    name: String,
    /// Where calls are reported to.
    url: String,
    /// Unix time in seconds.
    created_at: i64,
}

/// What was reported is taken note of.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "received": true })))]
pub(super) struct Received {
    received: bool,
}

/// Make a webhook
#[utoipa::path(
    post,
    path = "/api/webhooks",
    tag = "webhooks",
    request_body = NewWebhook,
    responses(
        (status = 200, body = Made),
        (status = 400, description = "The name is missing or empty"),
        (status = 503, description = "This server has no key to keep secrets with")
    )
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let seen = Seen::of(&app, &request)?;
    let name = required_name(&Fields::read(request).await?)?;
    let made = app.inbound_webhooks.create(caller.id(), &name, UnixMs::now()).await;
    let (webhook, secret) = made.map_err(told)?;
    let url = url(&seen, &arrival, &webhook);
    let webhook = MadeWebhook { url, id: webhook.id, secret: secret.reveal().to_owned() };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(Made { webhook })).into_response())
}

/// One's webhooks
#[utoipa::path(
    get,
    path = "/api/webhooks",
    tag = "webhooks",
    params(PageParams),
    responses((status = 200, body = Vec<Listed>))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Paging(page): Paging,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Json<Vec<Listed>>, ApiError> {
    let seen = Seen::of(&app, &request)?;
    let webhooks = app.store.inbound_webhooks(caller.id(), page).await?;
    let listed = webhooks.into_iter().map(|webhook| Listed {
        url: url(&seen, &arrival, &webhook),
        id: webhook.id,
        name: webhook.name,
        created_at: webhook.created.0.div_euclid(1_000),
    });
    Ok(Json(listed.collect()))
}

/// Report a call
///
/// Vapi's server messages. An `end-of-call-report` makes a call, or completes it; a `status-update` shows it while it runs. They
/// may come twice and in any order. All other messages are taken note of.
///
/// The webhook's secret is shown in `X-Vapi-Secret`, as bearer token, or as HMAC-SHA256 of the body in hexadecimal digits
/// (`X-Vapi-Signature`, `X-Webhook-Signature`, `X-Signature` or `X-Hub-Signature-256`, with or without `sha256=`). A server in
/// development also believes who shows nothing.
#[utoipa::path(
    post,
    path = "/webhook/{webhook_token}",
    tag = "webhooks",
    params(("webhook_token" = String, Path, description = "`wh_…`")),
    request_body(content = Object, description = "A server message of Vapi's"),
    security((), ("webhookSecret" = [])),
    responses(
        (status = 200, body = Received),
        (status = 400, description = "The body is no message"),
        (status = 401, description = "The secret is missing or wrong"),
        (status = 404, description = "There is no such webhook"),
        (status = 503, description = "The database takes no requests; try again later")
    )
)]
pub(super) async fn receive(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Json<Received>, ApiError> {
    let known = app.inbound_webhooks.of_token(&token).await?;
    let webhook = known.ok_or_else(|| ApiError::not_found("Webhook not found"))?;
    let (headers, body) = json_body(request, REPORT_BYTES_MAX).await?;
    if !app.inbound_webhooks.knows_secret(&webhook, shown(&headers), &body) {
        tracing::warn!(webhook = webhook.id, "a report without the webhook's secret was refused");
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "The webhook's secret is missing or wrong"));
    }
    let report = vapi::read(&body).map_err(|error| ApiError::invalid(error.to_string()))?;
    if let Some(report) = report {
        app.inbound_webhooks.take(&webhook, report, UnixMs::now()).await?;
    }
    Ok(Json(Received { received: true }))
}

/// What a message shows of the webhook's secret.
fn shown(headers: &HeaderMap) -> Shown<'_> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(secret) = text("x-vapi-secret") {
        return Shown::Secret(secret);
    }
    if let Some(tag) = HMAC_HEADERS.iter().find_map(|name| text(name)) {
        return Shown::Hmac(tag.strip_prefix("sha256=").unwrap_or(tag));
    }
    match headers.contains_key(header::AUTHORIZATION) {
        true => Shown::Secret(token_in(headers).unwrap_or_default()),
        false => Shown::Nothing,
    }
}

fn url(seen: &Seen, arrival: &Arrival, webhook: &InboundWebhook) -> String {
    seen.origin(&format!("{}/webhook/{}", arrival.base, webhook.token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_looked_for_where_senders_put_it() {
        for (name, value, expected) in [
            ("x-vapi-secret", "s", Shown::Secret("s")),
            ("authorization", "Bearer s", Shown::Secret("s")),
            ("authorization", "Basic s", Shown::Secret("")),
            ("x-signature", "ab", Shown::Hmac("ab")),
            ("x-hub-signature-256", "sha256=ab", Shown::Hmac("ab")),
            ("x-other", "s", Shown::Nothing),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(shown(&headers), expected, "{name}: {value}");
        }
    }
}
