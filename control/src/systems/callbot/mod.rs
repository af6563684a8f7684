//! Callbot, the system at the root: a carrier's webhooks, its media socket, the log, health and status.

mod audio_stream;
mod call_status;
mod health;
mod incoming_call;
pub mod log_stream;
mod logs;
pub mod signature;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, Uri, header};
use axum::routing::get;

use crate::server::App;
use crate::settings::{Environment, is_authority};
use crate::systems::error::ApiError;
use signature::SeenUrl;

/// The routes, below `base` (empty for the root).
pub fn routes(base: &str) -> Router<Arc<App>> {
    let path = |path: &str| format!("{base}{path}");
    Router::new()
        .route(&path("/api/callbot/incoming-call"), get(incoming_call::handle).post(incoming_call::handle))
        .route(&path("/api/callbot/call-status"), get(call_status::handle).post(call_status::handle))
        .route(&path("/api/callbot/audio-stream"), get(audio_stream::handle))
        .route(&path("/api/logs/latest"), get(logs::latest))
        .route(&path("/api/logs/stream"), get(logs::stream))
        .route(&path("/health"), get(health::handle))
        .route(&path("/status"), get(status::handle))
}

/// Where a request was sent to, as its sender saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) tls: Option<bool>,
    pub(crate) authority: String,
    path_and_query: String,
}

impl Seen {
    /// From the public URL if there is one, else from the forwarded headers and `Host`.
    pub(crate) fn of(app: &App, headers: &HeaderMap, uri: &Uri) -> Result<Self, ApiError> {
        let path_and_query = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if let Some(public) = &app.settings.public_url {
            return Ok(Self { tls: Some(public.tls), authority: public.authority.clone(), path_and_query });
        }
        let first = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            value.split(',').next().map(str::trim).filter(|value| !value.is_empty())
        };
        let authority = first("x-forwarded-host")
            .or_else(|| first(header::HOST.as_str()))
            .or_else(|| uri.authority().map(|authority| authority.as_str()))
            .ok_or_else(|| ApiError::invalid("The request has no Host header"))?;
        if !is_authority(authority) {
            return Err(ApiError::invalid("The Host header is not a host name"));
        }
        let tls = match first("x-forwarded-proto") {
            Some("https" | "wss") => Some(true),
            Some("http" | "ws") => Some(false),
            _ => None,
        };
        Ok(Self { tls, authority: authority.to_owned(), path_and_query })
    }

    fn url(&self) -> SeenUrl<'_> {
        SeenUrl { tls: self.tls, authority: &self.authority, path_and_query: &self.path_and_query }
    }

    /// True if sockets to this host are asked for as `wss`. Where nothing tells, they are, but for this machine itself,
    /// which has no certificate.
    fn socket_is_tls(&self) -> bool {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, port)| {
            if port.contains(']') { self.authority.as_str() } else { host }
        });
        let loopback = host == "localhost" || host == "[::1]" || host.starts_with("127.");
        self.tls.unwrap_or(!loopback)
    }
}

const SIGNATURE: &str = "x-twilio-signature";

/// Refuses a webhook that the carrier did not sign, where signatures can be checked or must be.
fn check_webhook(
    app: &App,
    headers: &HeaderMap,
    seen: &Seen,
    fields: &[(String, String)],
) -> Result<(), ApiError> {
    let Some(key) = &app.settings.twilio_auth_token else {
        return match app.settings.environment {
            Environment::Development => Ok(()),
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
        return Ok(());
    }
    tracing::warn!(
        tried = ?urls.first(), "a webhook with a wrong signature was refused; is OFFHOOK_PUBLIC_URL the URL that the carrier asks?"
    );
    Err(ApiError::forbidden("X-Twilio-Signature does not match"))
}

/// Refuses a socket whose signature is there and wrong.
fn check_socket(app: &App, headers: &HeaderMap, seen: &Seen) -> Result<(), ApiError> {
    let (Some(key), Some(signature)) = (&app.settings.twilio_auth_token, headers.get(SIGNATURE)) else {
        return Ok(());
    };
    let signature = signature.to_str().unwrap_or("");
    if signature::is_valid(key.reveal(), signature, &seen.url().of_socket(), &[]) {
        return Ok(());
    }
    tracing::warn!("a media socket with a wrong signature was refused");
    Err(ApiError::forbidden("X-Twilio-Signature does not match"))
}
