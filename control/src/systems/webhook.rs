//! Who sent a webhook, and what is in it: settled before its route sees it.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response};
use axum::middleware::Next;
use axum::response::IntoResponse;

use super::callbot::signature;
use super::seen::Seen;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::server::middleware::{CarrierSigned, too_many};
use crate::server::rate_limit::{Client, Quota};
use crate::settings::Environment;
use crate::systems::error::ApiError;
use crate::systems::form::Form;

/// The header that carries a carrier's signature.
pub(super) const SIGNATURE: &str = "x-twilio-signature";

/// The limiter's scope of carriers' accounts: beyond those of the systems' own limits.
const ACCOUNTS: usize = usize::MAX;

/// A webhook that may be acted on. An extension of the requests that webhook routes get; their bodies are empty.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    pub(super) form: Form,
    pub(super) seen: Seen,
}

/// Reads a webhook's form and checks who sent it.
pub(super) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response<Body> {
    let (webhook, signed, request) = match read(&app, request).await {
        Ok(read) => read,
        Err(error) => return error.into_response(),
    };
    if !signed {
        return next.run(with(request, webhook)).await;
    }
    let account = account_quota(&app, &webhook.form);
    let mut response = match account.filter(|quota| quota.exceeded) {
        Some(quota) => too_many(&quota).into_response(),
        None => next.run(with(request, webhook)).await,
    };
    response.extensions_mut().insert(CarrierSigned { account });
    response
}

fn with(mut request: Request, webhook: Webhook) -> Request {
    request.extensions_mut().insert(webhook);
    request
}

/// The webhook, whether its carrier signed it, and its request without a body.
async fn read(app: &App, request: Request) -> Result<(Webhook, bool, Request), ApiError> {
    let seen = Seen::of(app, &request)?;
    let mut bare = Request::new(Body::empty());
    *bare.method_mut() = request.method().clone();
    *bare.uri_mut() = request.uri().clone();
    *bare.headers_mut() = request.headers().clone();
    *bare.extensions_mut() = request.extensions().clone();
    let simulated = request.extensions().get::<Arrival>().is_some_and(|arrival| arrival.simulated);
    let form = Form::read(request).await?;
    // The fields of a GET are in its URL, and signed with it.
    let fields = if bare.method() == Method::POST { form.fields() } else { &[] };
    let signed = !simulated && is_signed(app, bare.headers(), &seen, fields)?;
    Ok((Webhook { form, seen }, signed, bare))
}

/// True if the carrier signed a webhook; false if none has to. Refuses what had to be signed and is not.
fn is_signed(
    app: &App,
    headers: &HeaderMap,
    seen: &Seen,
    fields: &[(String, String)],
) -> Result<bool, ApiError> {
    let Some(key) = &app.settings.twilio_auth_token else {
        return match app.settings.environment {
            Environment::Development => Ok(false),
            Environment::Production => Err(ApiError::forbidden(
                "In production webhooks must be signed, and TWILIO_AUTH_TOKEN is not set",
            )),
        };
    };
    let signature = headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
    let Some(signature) = signature else {
        tracing::warn!("a webhook without a signature was refused");
        return Err(ApiError::forbidden("X-Twilio-Signature is missing"));
    };
    // Signatures with a shared key are made of a secret that is not configured here: they cannot be right.
    let urls = seen.url().of_webhook();
    if signature::is_valid(key.reveal(), signature, &urls, fields) {
        return Ok(true);
    }
    tracing::warn!(
        tried = ?urls.first(), "a webhook with a wrong signature was refused; is OFFHOOK_PUBLIC_URL the URL that the carrier asks?"
    );
    Err(ApiError::forbidden("X-Twilio-Signature does not match"))
}

/// Counts the webhook for its carrier's account, where accounts are limited.
fn account_quota(app: &App, form: &Form) -> Option<Quota> {
    let requests = app.settings.account_limit.filter(|_| app.settings.rate_limits)?;
    let account = Client::Account(form.get("AccountSid").unwrap_or_default().chars().take(64).collect());
    Some(app.limiter.take(ACCOUNTS, account, requests, Instant::now(), UnixMs::now()))
}
