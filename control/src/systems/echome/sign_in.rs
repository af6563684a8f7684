//! Signing in with Google, and the session in its cookie.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::auth::{COOKIE, COOKIES, Caller, SESSION_LIFE_S};
use super::error::told;
use super::ids::shown;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::systems::error::ApiError;
use crate::systems::frontdesk::code_and_state;
use crate::systems::seen::Seen;

/// Where Google sends browsers back to, below the system's base.
const CALLBACK: &str = "/api/auth/callback/google";

/// What stands before the ids of users.
const KIND: &str = "usr";

/// Who is signed in, and until when.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "user": {
        "id": "usr_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "email": "user@example.com", "name": "John Doe",
        "image": "https://lh3.googleusercontent.com/…",
    },
    "expires": "2025-03-20T12:00:00.000Z",
})))]
pub(super) struct Signed {
    #[schema(inline)]
    user: SignedUser,
    /// With milliseconds.
    expires: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct SignedUser {
    id: String,
    email: String,
    name: String,
    /// Where their picture is, if Google says.
    image: Option<String>,
}

/// That it was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "success": true })))]
pub(super) struct Done {
    success: bool,
}

/// Sign in
///
/// Sends the browser to Google's consent page.
#[utoipa::path(
    get,
    path = "/api/auth/signin",
    tag = "authentication",
    responses(
        (status = 302, description = "To Google"),
        (status = 503, description = "Signing in is not configured on this server")
    )
)]
pub(super) async fn begin(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let redirect = Seen::of(&app, &request)?.origin(&format!("{}{CALLBACK}", arrival.base));
    let started = app.authorizations.begin_sign_in(redirect, UnixMs::now()).await.map_err(told)?;
    found(&started.url, HeaderMap::new())
}

/// Come back from Google
///
/// Sets the cookie with the session, for thirty days, and sends the browser to the dashboard.
#[utoipa::path(
    get,
    path = "/api/auth/callback/google",
    tag = "authentication",
    params(
        ("code" = String, Query, description = "Google's"),
        ("state" = String, Query, description = "As it was in the authorization URL")
    ),
    responses(
        (status = 302, description = "To the dashboard, with the cookie"),
        (status = 400, description = "The state is unknown or was used, or Google refuses the code")
    )
)]
pub(super) async fn come_back(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (code, state) = code_and_state(request.uri().query().unwrap_or_default())?;
    let signer = app.echome_signer.as_ref().ok_or_else(|| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "This server has no secret to sign sessions with (OFFHOOK_JWT_SECRET)",
        )
    })?;
    let seen = Seen::of(&app, &request)?;
    let now = UnixMs::now();
    let user = app.authorizations.sign_in(&code, &state, now).await.map_err(told)?;
    let token = signer.sign_session(&user.id, SESSION_LIFE_S, now);
    let mut headers = HeaderMap::new();
    headers
        .append(header::SET_COOKIE, cookie(COOKIE, &token, SESSION_LIFE_S, arrival.base, seen.is_secure()));
    found(&format!("{}/dashboard", arrival.base), headers)
}

/// Who is signed in
///
/// Where the server is set so, who is not is answered `{}`, as NextAuth's clients expect it.
#[utoipa::path(get, path = "/api/auth/session", tag = "authentication", responses((status = 200, body = Signed)))]
pub(super) async fn session(
    State(app): State<Arc<App>>,
    caller: Result<Caller, ApiError>,
) -> Result<Response<Body>, ApiError> {
    let told = match caller {
        Ok(Caller { user, session }) => {
            let id = shown(KIND, &user.id);
            let user = SignedUser { id, email: user.email, name: user.name, image: user.picture };
            Json(Signed { user, expires: session.expires.to_string() }).into_response()
        }
        Err(error) if error.status == StatusCode::UNAUTHORIZED && app.settings.echome.nextauth_compat => {
            Json(json!({})).into_response()
        }
        Err(error) => return Err(error),
    };
    Ok(([(header::CACHE_CONTROL, "private, no-cache, no-store")], told).into_response())
}

/// Sign out
///
/// Ends the session, wherever its cookie was copied to.
#[utoipa::path(
    post,
    path = "/api/auth/signout",
    tag = "authentication",
    responses((status = 200, body = Done), (status = 403, description = "A page of another site asks"))
)]
pub(super) async fn end(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let seen = Seen::of(&app, &request)?;
    if is_foreign(request.headers(), &seen.origin("")) {
        return Err(ApiError::forbidden("Only a page of this site may sign out"));
    }
    app.store.revoke(&caller.session, UnixMs::now()).await?;
    let mut headers = HeaderMap::new();
    for name in COOKIES {
        headers.append(header::SET_COOKIE, cookie(name, "", 0, arrival.base, seen.is_secure()));
    }
    Ok((headers, Json(Done { success: true })).into_response())
}

/// Where a browser lands that has signed in
#[utoipa::path(
    get,
    path = "/dashboard",
    tag = "authentication",
    responses((status = 200, content_type = "text/html", body = String))
)]
pub(super) async fn landing(Extension(arrival): Extension<Arrival>) -> Html<String> {
    Html(include_str!("landing.html").replace("{base}", arrival.base))
}

/// Whether a page of another site has a browser ask.
fn is_foreign(headers: &HeaderMap, own: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let site =
        text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "same-site" | "none"));
    let origin = text("origin").is_some_and(|origin| !origin.eq_ignore_ascii_case(own));
    site || origin
}

/// A cookie for this system alone, which pages cannot read. `life_s`: 0 takes it away.
fn cookie(name: &str, value: &str, life_s: i64, base: &str, is_secure: bool) -> HeaderValue {
    let path = if base.is_empty() { "/" } else { base };
    // A browser takes a cookie of this name from TLS alone.
    let secure = if is_secure || name.starts_with("__Secure-") { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path={path}; Max-Age={life_s}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(text).expect("a token and a base are text of a header")
}

fn found(location: &str, mut headers: HeaderMap) -> Result<Response<Body>, ApiError> {
    let location = HeaderValue::try_from(location).map_err(|_| ApiError::invalid("The address is no URL"))?;
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok((StatusCode::FOUND, headers).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_for_its_system_alone() {
        let set = |base, secure| cookie(COOKIE, "a.b", 60, base, secure).to_str().unwrap().to_owned();
        assert_eq!(
            set("/echome", true),
            "next-auth.session-token=a.b; Path=/echome; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
        );
        assert!(set("", false).ends_with("Path=/; Max-Age=60; HttpOnly; SameSite=Lax"));
        assert!(cookie(COOKIES[1], "", 0, "", false).to_str().unwrap().ends_with("; Secure"));
    }

    #[test]
    fn a_page_of_another_site_is_told_by_its_browser() {
        let own = "https://voice.example.com";
        let asked = |name: &'static str, value: &str| {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            is_foreign(&headers, own)
        };
        assert!(!is_foreign(&HeaderMap::new(), own), "no browser");
        assert!(!asked("origin", own) && !asked("sec-fetch-site", "same-origin"));
        assert!(asked("origin", "https://evil.example") && asked("sec-fetch-site", "cross-site"));
        assert!(asked("origin", "null"));
    }
}
