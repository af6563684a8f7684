//! How a client's calendar is reached: a person's consent, or a service account.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, Response, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::auth::Caller;
use super::clients::Message;
use super::error::told;
use super::sign_in::code_and_state;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::settings::Environment;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;
use crate::systems::seen::Seen;

/// Where Google sends browsers back to, below the system's base.
const CALLBACK: &str = "/api/calendar/oauth/callback";

/// The longest key file, in characters: Google's have some 2,400.
const KEY_FILE_MAX: usize = 16 * 1024;

/// How a client's calendar is reached.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "has_credentials": true,
    "credential_type": "oauth",
    "created_at": "2026-02-05T10:00:00Z",
    "last_used_at": "2026-02-06T09:30:00Z",
    "fallback_available": true,
})))]
pub(super) struct Status {
    has_credentials: bool,
    /// `oauth` or `service_account`; null: none.
    credential_type: Option<&'static str>,
    #[schema(format = DateTime)]
    created_at: Option<String>,
    /// Null: never yet.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
    /// Whether the server has a service account for clients without credentials.
    fallback_available: bool,
}

/// Where to consent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "authorization_url": "https://accounts.google.com/o/oauth2/auth?response_type=code&state=…",
    "state": "csrf_state_token",
})))]
pub(super) struct Authorization {
    /// Where the browser goes.
    authorization_url: String,
    /// What comes back with it.
    state: String,
}

/// A service account.
#[derive(ToSchema)]
#[schema(examples(json!({ "service_account_json": "{\"type\":\"service_account\",\"client_email\":\"…\"}" })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct ServiceAccountBody {
    /// The key file as Google gives it, in a text or as an object.
    service_account_json: String,
}

/// What was taken.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "message": "Service account uploaded successfully",
    "service_account_email": "frontdesk@project.iam.gserviceaccount.com",
})))]
pub(super) struct Uploaded {
    message: &'static str,
    /// Whom the calendar is to be shared with.
    service_account_email: String,
}

/// How a client's calendar is reached
#[utoipa::path(
    get,
    path = "/api/clients/{client_id}/calendar/status",
    tag = "calendar",
    params(("client_id" = String, Path)),
    responses((status = 200, body = Status))
)]
pub(super) async fn status(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(client): Path<String>,
) -> Result<Json<Status>, ApiError> {
    let connection = app.store.connection(caller.id(), &client).await.map_err(told)?;
    Ok(Json(Status {
        has_credentials: connection.is_some(),
        credential_type: connection.as_ref().map(|connection| connection.kind.as_str()),
        created_at: connection.as_ref().map(|connection| connection.created.to_seconds_text()),
        last_used_at: connection.and_then(|connection| connection.used).map(UnixMs::to_seconds_text),
        fallback_available: app.line_desks.has_fallback(),
    }))
}

/// Begin to connect a calendar
///
/// Answers where to send the browser. What comes back from there is good for ten minutes, once.
#[utoipa::path(
    post,
    path = "/api/clients/{client_id}/calendar/oauth/initiate",
    tag = "calendar",
    params(("client_id" = String, Path)),
    responses(
        (status = 200, body = Authorization),
        (status = 503, description = "Google is not configured on this server")
    )
)]
pub(super) async fn initiate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(client): Path<String>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Json<Authorization>, ApiError> {
    let redirect = Seen::of(&app, &request)?.origin(&format!("{}{CALLBACK}", arrival.base));
    let begun = app.authorizations.begin_calendar(caller.id(), &client, redirect, UnixMs::now());
    let started = begun.await.map_err(told)?;
    Ok(Json(Authorization { authorization_url: started.url, state: started.state }))
}

/// Come back from Google
///
/// Where Google sends the browser back to: a page that tells the window that opened it, and closes.
#[utoipa::path(
    get,
    path = "/api/calendar/oauth/callback",
    tag = "calendar",
    params(
        ("code" = String, Query, description = "Google's"),
        ("state" = String, Query, description = "As it was in the authorization URL")
    ),
    responses(
        (status = 200, description = "The page", content_type = "text/html", body = String),
        (status = 400, description = "The state is unknown or was used, or Google refuses the code")
    )
)]
pub(super) async fn callback(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (code, state) = code_and_state(request.uri().query().unwrap_or_default())?;
    let client = app.authorizations.connect_calendar(&code, &state, UnixMs::now()).await.map_err(told)?;
    let settings = &app.settings;
    let configured = settings.frontdesk.page.as_deref().map(origin_of);
    // In production a page that nobody named hears nothing.
    let target = match (configured, settings.environment) {
        (Some(origin), _) => Some(origin),
        (None, Environment::Development) => Some("*"),
        (None, Environment::Production) => None,
    };
    Ok(page(&client, target))
}

/// Connect a calendar by a service account
///
/// The calendar has to be shared with the account's address.
#[utoipa::path(
    post,
    path = "/api/clients/{client_id}/calendar/service-account",
    tag = "calendar",
    params(("client_id" = String, Path)),
    request_body = ServiceAccountBody,
    responses(
        (status = 200, body = Uploaded),
        (status = 400, description = "It is not the key file of a service account")
    )
)]
pub(super) async fn service_account(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(client): Path<String>,
    request: Request,
) -> Result<Json<Uploaded>, ApiError> {
    const FIELD: &str = "service_account_json";
    let fields = Fields::read(request).await?;
    let key = match fields.object(FIELD) {
        Some(object) => Some(object.to_string()),
        None => fields.long_text(FIELD, KEY_FILE_MAX)?,
    };
    let key = key.ok_or_else(|| ApiError::missing(FIELD))?;
    let connected = app.authorizations.connect_service_account(caller.id(), &client, &key, UnixMs::now());
    let service_account_email = connected.await.map_err(told)?;
    Ok(Json(Uploaded { message: "Service account uploaded successfully", service_account_email }))
}

/// Take a client's calendar away
#[utoipa::path(
    delete,
    path = "/api/clients/{client_id}/calendar/credentials",
    tag = "calendar",
    params(("client_id" = String, Path)),
    responses((status = 200, body = Message, example = json!({ "message": "Calendar credentials revoked successfully" })))
)]
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(client): Path<String>,
) -> Result<Json<Message>, ApiError> {
    app.authorizations.disconnect(caller.id(), &client).await.map_err(told)?;
    Ok(Json(Message { message: "Calendar credentials revoked successfully" }))
}

/// The origin of a page whose URL was checked.
fn origin_of(page: &str) -> &str {
    let begins = page.find("://").map_or(0, |at| at + 3);
    let ends = page[begins..].find(['/', '?']).map_or(page.len(), |at| begins + at);
    &page[..ends]
}

/// A page that tells its opener, at `target`, that the calendar of `client` is connected, and closes.
fn page(client: &str, target: Option<&str>) -> Response<Body> {
    let message = json!({ "type": "calendar_oauth", "success": true, "client_id": client });
    let tell = target.map(|target| {
        format!(
            "if (window.opener) window.opener.postMessage({}, {});\n",
            script(&message),
            script(&target.into())
        )
    });
    let nonce = crate::domain::keys::random_hex(16);
    let text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Calendar connected</title>\n</head>\n\
         <body>\n<p>The calendar is connected. You can close this window.</p>\n<script nonce=\"{nonce}\">\n{}window.close();\n\
         </script>\n</body>\n</html>\n",
        tell.unwrap_or_default()
    );
    let policy =
        format!("default-src 'none'; script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'");
    let policy = HeaderValue::try_from(policy).expect("hexadecimal digits are printable");
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, text).into_response()
}

/// JSON as it may stand in a script: nothing in it ends the script.
fn script(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_by_its_origin() {
        for (page, origin) in [
            ("https://app.example.com", "https://app.example.com"),
            ("https://app.example.com/a/b?c", "https://app.example.com"),
            ("http://127.0.0.1:3000?x", "http://127.0.0.1:3000"),
        ] {
            assert_eq!(origin_of(page), origin);
        }
    }

    #[test]
    fn nothing_ends_the_script() {
        assert_eq!(script(&json!({ "a": "</script><b>" })), "{\"a\":\"\\u003c/script>\\u003cb>\"}");
    }
}
