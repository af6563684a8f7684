//! The token: one for the whole client, since a new one may end the one before.
//!
//! It is renewed when its own claim `exp` is near: `expires_in` was seen to say 60 s of a token that is good for an hour.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::http::HttpClient;
use super::{REQUEST, ThreeCxError, malformed, refused};
use crate::settings::ThreeCxSettings;

/// A token is renewed so long before its end, or at half its life if that is short.
const EARLY: Duration = Duration::from_secs(60);
/// A token is used so long at least, whatever is said of its life: who asks for one each time is soon refused.
const LIFE_MIN: Duration = Duration::from_secs(10);
/// What is taken for the life of a token that does not say.
const LIFE: Duration = Duration::from_secs(1_800);

#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<Option<Held>>);

#[derive(Clone, Debug)]
struct Held {
    header: HeaderValue,
    renew_at: Instant,
    expires: Instant,
}

impl Tokens {
    /// The token, new if need be, as it stands in `Authorization`.
    pub(super) async fn get(
        &self,
        http: &HttpClient,
        settings: &ThreeCxSettings,
    ) -> Result<HeaderValue, ThreeCxError> {
        let mut held = self.0.lock().await;
        let now = Instant::now();
        if let Some(held) = held.as_ref().filter(|held| now < held.renew_at) {
            return Ok(held.header.clone());
        }
        match mint(http, settings).await {
            Ok(fresh) => Ok(held.insert(fresh).header.clone()),
            // What is still good is better than none.
            Err(error) => match held.as_ref().filter(|held| Instant::now() < held.expires) {
                Some(held) => {
                    tracing::warn!(%error, "3CX gives no new token; the old one is good for a while");
                    Ok(held.header.clone())
                }
                None => Err(error),
            },
        }
    }

    /// A token in place of one that was refused; if somebody has a newer one already, that.
    pub(super) async fn other(
        &self,
        refused: &HeaderValue,
        http: &HttpClient,
        settings: &ThreeCxSettings,
    ) -> Result<HeaderValue, ThreeCxError> {
        let mut held = self.0.lock().await;
        if let Some(held) = held.as_ref().filter(|held| held.header != *refused) {
            return Ok(held.header.clone());
        }
        *held = None;
        Ok(held.insert(mint(http, settings).await?).header.clone())
    }
}

async fn mint(http: &HttpClient, settings: &ThreeCxSettings) -> Result<Held, ThreeCxError> {
    let form: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", &settings.client_id)
        .append_pair("client_secret", settings.client_secret.reveal())
        .append_pair("grant_type", "client_credentials")
        .finish();
    let request = Request::post(settings.base.of("/connect/token"))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form)))
        .expect("a checked base and a fixed path are a URL");
    let answer = http.send(request, REQUEST).await?;
    match answer.status.as_u16() {
        200 => {}
        400 | 401 => {
            return Err(ThreeCxError::Unauthorised(
                "the client id or its secret is wrong (THREECX_CLIENT_ID, THREECX_CLIENT_SECRET)".into(),
            ));
        }
        _ => return Err(refused(answer.status)),
    }
    let said: Value = serde_json::from_slice(&answer.body).map_err(|_| malformed("the token's answer"))?;
    let token = said["access_token"].as_str().ok_or_else(|| malformed("no access_token"))?;
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| malformed("no token has such characters"))?;
    header.set_sensitive(true);
    let now = Instant::now();
    let life = life_of(token, SystemTime::now())
        .or_else(|| said["expires_in"].as_u64().map(Duration::from_secs))
        .unwrap_or(LIFE)
        .max(LIFE_MIN);
    Ok(Held { header, renew_at: now + life.saturating_sub(EARLY).max(life / 2), expires: now + life })
}

/// How long a JWT is good by its claim.
fn life_of(token: &str, now: SystemTime) -> Option<Duration> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let exp = UNIX_EPOCH + Duration::from_secs(claims["exp"].as_u64()?);
    // One that is over already by this machine's clock says more of the clock.
    exp.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_itself_how_long_it_is_good() {
        let token = |claims: &str| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        assert_eq!(life_of(&token(r#"{"exp":4600}"#), now), Some(Duration::from_secs(3_600)));
        assert_eq!(life_of(&token(r#"{"exp":900}"#), now), None);
        assert_eq!(life_of(&token(r#"{"sub":"900"}"#), now), None);
        assert_eq!(life_of("opaque", now), None);
    }
}
