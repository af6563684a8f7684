//! Signing in with Google.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::told;
use crate::domain::time::UnixMs;
use crate::domain::token::TOKEN_LIFE_S;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;
use crate::systems::seen::Seen;

/// Where Google sends browsers back to, below the system's base.
const CALLBACK: &str = "/auth/google/callback";

/// Where to sign in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "authorization_url": "https://accounts.google.com/o/oauth2/auth?response_type=code&state=…" })))]
pub(super) struct Authorization {
    /// Where the browser goes. Its query has the `state` that comes back.
    authorization_url: String,
}

/// What who exchanges a code by hand sends.
#[derive(ToSchema)]
#[schema(examples(json!({ "code": "4/0AbCd", "state": "7b0b2c" })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct ExchangeBody {
    /// Google's.
    code: String,
    /// As it was in the authorization URL.
    state: String,
}

/// A token, and whose it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9…",
    "token_type": "Bearer",
    "expires_in": 3600,
    "user": { "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "email": "user@example.com", "name": "John Doe" },
})))]
pub(super) struct SignedIn {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// In seconds.
    expires_in: i64,
    #[schema(inline)]
    user: SignedInUser,
}

#[derive(Debug, Serialize, ToSchema)]
struct SignedInUser {
    id: String,
    email: String,
    name: String,
}

/// Begin to sign in
///
/// Answers where to send the browser. What comes back from there is good for ten minutes, once.
#[utoipa::path(
    post,
    path = "/auth/google/initiate",
    tag = "authentication",
    responses(
        (status = 200, body = Authorization),
        (status = 503, description = "Signing in is not configured on this server")
    )
)]
pub(super) async fn initiate(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Json<Authorization>, ApiError> {
    let redirect = Seen::of(&app, &request)?.origin(&format!("{}{CALLBACK}", arrival.base));
    let started = app.authorizations.begin_sign_in(redirect, UnixMs::now()).await.map_err(told)?;
    Ok(Json(Authorization { authorization_url: started.url }))
}

/// Come back from Google
///
/// Where Google sends the browser back to. A browser that wants a page is sent on to the configured one, with the token in the
/// fragment; all others get it as JSON.
#[utoipa::path(
    get,
    path = "/auth/google/callback",
    tag = "authentication",
    params(
        ("code" = String, Query, description = "Google's"),
        ("state" = String, Query, description = "As it was in the authorization URL")
    ),
    responses(
        (status = 200, body = SignedIn),
        (status = 302, description = "To the configured page, with `access_token` in the fragment"),
        (status = 400, description = "The state is unknown or was used, or Google refuses the code")
    )
)]
pub(super) async fn callback(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (code, state) = code_and_state(request.uri().query().unwrap_or_default())?;
    let signed_in = sign_in(&app, &code, &state).await?;
    match app.settings.frontdesk.page.as_deref().filter(|_| wants_page(request.headers())) {
        Some(page) => Ok(redirected(page, &signed_in)),
        None => Ok(private(signed_in)),
    }
}

/// Exchange a code
///
/// For whoever lets Google send the browser elsewhere: the code and the state that came back, for a token.
#[utoipa::path(
    post,
    path = "/auth/google/callback",
    tag = "authentication",
    request_body = ExchangeBody,
    responses(
        (status = 200, body = SignedIn),
        (status = 400, description = "The state is unknown or was used, or Google refuses the code")
    )
)]
pub(super) async fn exchange(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let fields = Fields::read(request).await?;
    let required = |name: &str| {
        let text = fields.long_text(name, 2_048)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| ApiError::missing(name))
    };
    let signed_in = sign_in(&app, &required("code")?, &required("state")?).await?;
    Ok(private(signed_in))
}

async fn sign_in(app: &App, code: &str, state: &str) -> Result<SignedIn, ApiError> {
    let now = UnixMs::now();
    let signer = app.frontdesk_signer.as_ref().ok_or_else(|| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "This server has no secret to sign tokens with (OFFHOOK_JWT_SECRET)",
        )
    })?;
    let user = app.authorizations.sign_in(code, state, now).await.map_err(told)?;
    Ok(SignedIn {
        access_token: signer.sign(&user.id, now),
        token_type: "Bearer",
        expires_in: TOKEN_LIFE_S,
        user: SignedInUser { id: user.id, email: user.email, name: user.name },
    })
}

/// What Google sends a browser back with.
pub(in crate::systems) fn code_and_state(query: &str) -> Result<(String, String), ApiError> {
    let field = |name: &str| {
        let mut fields = form_urlencoded::parse(query.as_bytes());
        fields.find(|(given, _)| given == name).map(|(_, value)| value.into_owned()).filter(|v| !v.is_empty())
    };
    if let Some(error) = field("error") {
        let plain = error.len() <= 64 && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let error = if plain { error.as_str() } else { "an error" };
        return Err(ApiError::invalid(format!("Google answered {error}: there is no consent")));
    }
    let required = |name: &str| field(name).ok_or_else(|| ApiError::missing(name));
    Ok((required("code")?, required("state")?))
}

fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/html"))
}

/// The fragment of a URL stays in the browser: no server and no log sees the token.
fn redirected(page: &str, signed_in: &SignedIn) -> Response<Body> {
    let fragment = form_urlencoded::Serializer::new(String::new())
        .append_pair("access_token", &signed_in.access_token)
        .append_pair("token_type", signed_in.token_type)
        .append_pair("expires_in", &signed_in.expires_in.to_string())
        .finish();
    let location =
        HeaderValue::try_from(format!("{page}#{fragment}")).expect("a checked page and a form are a header");
    let headers =
        [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (StatusCode::FOUND, headers).into_response()
}

/// A token is nothing for a cache.
fn private(signed_in: SignedIn) -> Response<Body> {
    ([(header::CACHE_CONTROL, "no-store")], Json(signed_in)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_google_comes_back_with_is_told_apart() {
        assert_eq!(code_and_state("state=s&code=4%2F0Ab&scope=x").unwrap(), ("4/0Ab".into(), "s".into()));
        for (query, word) in [
            ("", "code"),
            ("code=a", "state"),
            ("state=a&code=", "code"),
            ("error=access_denied&state=s", "access_denied"),
            ("error=%3Cscript%3E", "an error"),
        ] {
            let error = code_and_state(query).unwrap_err();
            assert!(error.status == 400 && error.message.contains(word), "{query}: {}", error.message);
        }
    }

    #[test]
    fn only_a_browser_is_sent_to_a_page() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            wants_page(&headers)
        };
        assert!(wants("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(!wants("*/*") && !wants("application/json") && !wants_page(&HeaderMap::new()));
    }
}
