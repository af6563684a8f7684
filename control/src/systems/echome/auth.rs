//! Who asks: the session in the cookie or in `Authorization`, as the store knows it at this moment.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::error::unauthorized;
use crate::domain::time::UnixMs;
use crate::domain::token::Session;
use crate::domain::users::User;
use crate::server::App;
use crate::systems::error::ApiError;

/// The cookie with the session, as it is set.
pub(super) const COOKIE: &str = "next-auth.session-token";

/// Both names that the cookie may have: NextAuth's clients know the second one where there is TLS.
pub(super) const COOKIES: [&str; 2] = [COOKIE, "__Secure-next-auth.session-token"];

/// Where one asks who is signed in.
pub(super) const SESSION: &str = "/api/auth/session";

/// How long a session lasts, in s: thirty days.
pub(super) const SESSION_LIFE_S: i64 = 30 * 24 * 3_600;

/// Somebody who signed in.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) user: User,
    pub(super) session: Session,
}

impl Caller {
    /// The user's id: whose all that is that they ask for.
    pub(super) fn id(&self) -> &str {
        &self.user.id
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let session = session_of(app, &parts.headers).ok_or_else(unauthorized)?;
        // A session outlives its user, and is good no longer once it was ended.
        let user = app.store.user_of_session(&session).await?.ok_or_else(unauthorized)?;
        Ok(Self { user, session })
    }
}

/// Refuses whoever shows no good session, before anything of the request is looked at. Whether it was ended, [`Caller`] asks.
pub(super) fn guard(app: &App, request: &Parts) -> Result<(), ApiError> {
    if app.settings.echome.nextauth_compat && request.uri.path() == SESSION {
        return Ok(());
    }
    session_of(app, &request.headers).map(drop).ok_or_else(unauthorized)
}

/// The session that a request shows.
pub(super) fn session_of(app: &App, headers: &HeaderMap) -> Option<Session> {
    let signer = app.echome_signer.as_ref()?;
    let now = UnixMs::now();
    tokens_in(headers).into_iter().find_map(|token| signer.session(token, now))
}

/// What may be a session, the header before the cookies.
fn tokens_in(headers: &HeaderMap) -> Vec<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|given| given.to_str().ok());
    let bearer = bearer.and_then(|given| given.split_once(' '));
    let bearer =
        bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let cookies = pairs.filter(|(name, _)| COOKIES.contains(name)).map(|(_, value)| value.trim_matches('"'));
    bearer.into_iter().chain(cookies).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_in_the_header_and_under_both_names_of_the_cookie() {
        let tokens = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().unwrap());
            }
            tokens_in(&headers).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(tokens(&[("authorization", "bearer a.b.c")]), ["a.b.c"]);
        let cookie = "theme=dark; next-auth.session-token=a; __Secure-next-auth.session-token=b";
        assert_eq!(tokens(&[("cookie", cookie), ("authorization", "Bearer c")]), ["c", "a", "b"]);
        assert!(tokens(&[("cookie", "session-token=a; ;=;x"), ("authorization", "Basic x")]).is_empty());
    }
}
