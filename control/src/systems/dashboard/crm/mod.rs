//! CRMs: how they are connected, and what was put into them. Each has the same five endpoints, with answers of its own.

pub(super) mod dynamics;
pub(super) mod hubspot;
pub(super) mod salesforce;
pub(super) mod syncs;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{Caller, token_in};
use super::error::told;
use crate::domain::crm::{CrmConnection, Sync};
use crate::domain::error::Error;
use crate::domain::lines::Page;
use crate::domain::time::UnixMs;
use crate::integrations::crm::Crm;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::systems::error::ApiError;
use crate::systems::seen::Seen;

/// Where to consent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(examples(json!({ "authUrl": "https://login.salesforce.com/services/oauth2/authorize?…" })))]
pub(super) struct Authorization {
    /// Where the browser goes. What comes back from there is good for ten minutes, once.
    auth_url: String,
}

/// What was taken away.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "success": true, "message": "Salesforce disconnected successfully" })))]
pub(super) struct Disconnected {
    success: bool,
    message: String,
}

/// Where a CRM sends the browser back to.
fn redirect(app: &App, crm: Crm, arrival: &Arrival, request: &Request) -> Result<String, ApiError> {
    let path = format!("{}/api/{}/oauth/callback", arrival.base, crm.as_str());
    Ok(Seen::of(app, request)?.origin(&path))
}

/// Begins to connect the caller's CRM.
async fn begin(
    app: &App,
    caller: &Caller,
    crm: Crm,
    redirect: String,
    instance_url: Option<&str>,
) -> Result<Json<Authorization>, ApiError> {
    let begun = app.crms.begin(caller.id(), crm, redirect, instance_url, UnixMs::now()).await;
    Ok(Json(Authorization { auth_url: begun.map_err(told)?.url }))
}

/// The browser comes back from a CRM.
async fn come_back(app: &App, crm: Crm, request: Request) -> Result<Response<Body>, ApiError> {
    // A body, if there is one, is nobody's business.
    let (request, _) = request.into_parts();
    let query = request.uri.query().unwrap_or_default();
    let page = app.settings.crm.page.as_deref();
    if let Some(error) = parameter(query, "error") {
        let is_plain =
            error.len() <= 64 && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let error = if is_plain { error.as_str() } else { "an error" };
        return match page {
            Some(page) => Ok(sent_on(page, "error", error)),
            None => Err(ApiError::invalid(format!("{crm} answered {error}: there is no consent"))),
        };
    }
    let required = |name: &str| parameter(query, name).ok_or_else(|| ApiError::missing(name));
    let (code, state) = (required("code")?, required("state")?);
    let now = UnixMs::now();
    let shown = token_in(&request.headers).and_then(|token| app.accounts.session(token, now));
    let shown = shown.as_ref().map(|session| session.user.as_str());
    match (app.crms.connect(crm, &code, &state, shown, now).await, page) {
        (Ok(()), Some(page)) => Ok(sent_on(page, "connected", crm.as_str())),
        (Ok(()), None) => Ok(said(crm)),
        // Whoever made this up is sent nowhere.
        (Err(error @ Error::Invalid { field: "state", .. }), _) => Err(told(error)),
        (Err(error @ (Error::Invalid { .. } | Error::Unavailable(_))), Some(page)) => {
            Ok(sent_on(page, "error", &error.to_string()))
        }
        (Err(error), _) => Err(told(error)),
    }
}

/// The caller's connection, if it can be used.
async fn connection(app: &App, caller: &Caller, crm: Crm) -> Result<Option<CrmConnection>, ApiError> {
    let connection = app.store.crm_connection(caller.id(), crm).await?;
    Ok(connection.filter(|connection| connection.broken.is_none()))
}

async fn disconnect(app: &App, caller: &Caller, crm: Crm) -> Result<Json<Disconnected>, ApiError> {
    app.crms.disconnect(caller.id(), crm).await.map_err(told)?;
    Ok(Json(Disconnected { success: true, message: format!("{crm} disconnected successfully") }))
}

/// What became of the caller's calls: those that were put into the CRM, and those that never will be.
async fn logs(app: &App, caller: &Caller, crm: Crm, page: Page) -> Result<Vec<Sync>, ApiError> {
    Ok(app.store.syncs(caller.id(), crm, false, page).await?)
}

/// The id of the lead or contact.
fn person(sync: &Sync) -> Option<String> {
    sync.synced.person.as_ref().map(|person| person.id.clone())
}

/// When a sync was done, or given up: Unix time in seconds.
fn at(sync: &Sync) -> i64 {
    sync.ended.unwrap_or(sync.created).0.div_euclid(1_000)
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(query.as_bytes());
    fields.find(|(given, _)| given == name).map(|(_, value)| value.into_owned()).filter(|v| !v.is_empty())
}

/// To the configured page, with what came of it.
fn sent_on(page: &str, name: &str, value: &str) -> Response<Body> {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
    let joint = if page.contains('?') { '&' } else { '?' };
    let location = HeaderValue::try_from(format!("{page}{joint}{query}"));
    let location = location.expect("a checked page and a form are a header");
    let headers =
        [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (StatusCode::FOUND, headers).into_response()
}

/// A page that says that it is done.
fn said(crm: Crm) -> Response<Body> {
    let text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{crm} connected</title>\n</head>\n\
         <body>\n<p>{crm} is connected. You can close this window.</p>\n</body>\n</html>\n"
    );
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_sent_to_with_what_came_of_it() {
        let location = |page: &str| {
            let response = sent_on(page, "error", "a & b");
            assert_eq!(response.status(), 302);
            response.headers()[header::LOCATION].to_str().unwrap().to_owned()
        };
        assert_eq!(location("https://app.example.com/crm"), "https://app.example.com/crm?error=a+%26+b");
        assert_eq!(location("https://app.example.com/?a=b"), "https://app.example.com/?a=b&error=a+%26+b");
    }
}
