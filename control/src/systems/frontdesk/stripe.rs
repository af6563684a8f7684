//! Stripe's webhook: what was paid is added to the balance of whom it was paid for, once.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ledger::{Credit, Credited};
use crate::domain::time::UnixMs;
use crate::integrations::stripe::{self, Event, Paid};
use crate::server::App;
use crate::systems::body;
use crate::systems::error::ApiError;

/// The largest event that is read: an invoice with many lines has some 100 KB.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Who tells of it, in the ledger.
const SENDER: &str = "stripe";

/// Taken note of.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "received": true })))]
pub(super) struct Received {
    received: bool,
}

/// What Stripe tells
///
/// A paid checkout or invoice is added to the balance of the client in `client_reference_id` or `metadata.client_id`: as many
/// seconds as `metadata.seconds` says, or as the server's price table has. Events may come twice and in any order; those of
/// other types are taken note of.
#[utoipa::path(
    post,
    path = "/api/stripe/webhook",
    tag = "payments",
    request_body(content = Object, description = "An event, as Stripe sends it"),
    security(("stripeSignature" = [])),
    responses(
        (status = 200, body = Received),
        (status = 400, description = "The signature is missing, wrong or old, or the body is no event"),
        (status = 503, description = "The database takes no requests; try again later")
    )
)]
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<Received>, ApiError> {
    let now = UnixMs::now();
    let (parts, body) = request.into_parts();
    let bytes = body::read(&parts.headers, body, EVENT_BYTES_MAX).await?;
    let secret = app.settings.frontdesk.stripe_secret.as_ref().ok_or_else(|| {
        ApiError::invalid("Stripe is not configured on this server (STRIPE_WEBHOOK_SECRET)")
    })?;
    let signature = parts.headers.get("stripe-signature").and_then(|value| value.to_str().ok());
    let refused = |error: stripe::StripeError| {
        tracing::warn!(%error, "a webhook of Stripe's was refused");
        ApiError::invalid(error.to_string())
    };
    stripe::verify(secret.reveal(), signature, &bytes, now).map_err(refused)?;
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mime = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !mime.eq_ignore_ascii_case("application/json") {
        let what = "The body must be application/json, and its Content-Type must say so";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
    }
    let event = stripe::read(&bytes, &app.settings.frontdesk.prices).map_err(refused)?;
    take(&app, event, now).await?;
    Ok(Json(Received { received: true }))
}

async fn take(app: &App, Event { id, kind, paid }: Event, now: UnixMs) -> Result<(), ApiError> {
    let Some(Paid { object, line, seconds }) = paid else {
        tracing::info!(event = id, kind, "Stripe tells of something that changes nothing here");
        return Ok(());
    };
    let (Some(line), Some(seconds)) = (line, seconds) else {
        // Not noted as seen: once the price is in the table, the event can be sent again from Stripe's dashboard.
        tracing::error!(
            event = id,
            kind,
            object,
            "something was paid, and nobody knows for whom or how much: it needs client_reference_id and metadata.seconds, \
             or its price in OFFHOOK_STRIPE_PRICES"
        );
        return Ok(());
    };
    let credit =
        Credit { sender: SENDER, event: id.clone(), object: object.clone(), line: line.clone(), seconds };
    match app.store.credit(credit, now).await? {
        Credited::Done => tracing::info!(event = id, kind, object, line, seconds, "a balance was topped up"),
        Credited::Repeated => {
            tracing::info!(event = id, kind, object, "Stripe tells again of what is credited")
        }
        Credited::UnknownLine => {
            tracing::error!(
                event = id,
                kind,
                object,
                line,
                "something was paid for a client that is not there"
            );
        }
    }
    Ok(())
}
