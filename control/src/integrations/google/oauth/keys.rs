//! Google's public keys, as its certs endpoint gives them (RFC 7517): asked for when they are first needed, and again when
//! their time is over or a token names another one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{AGE, CACHE_CONTROL, HeaderMap};
use offhook_engine::call::Failure;
use ring::signature::RsaPublicKeyComponents;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::integrations::http::HttpClient;
use crate::integrations::oauth::{LIMITS, malformed};
use crate::integrations::refusal::{header, of_http, of_status};
use crate::integrations::vendor::VendorError;

/// How long keys are good whose answer does not say it; and at most, whatever it says.
const LIFE: Duration = Duration::from_secs(3_600);
const LIFE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// A token that names a key nobody has makes us ask no oftener than this.
const ASKED_EVERY: Duration = Duration::from_secs(30);

/// A public key.
pub(super) type Key = RsaPublicKeyComponents<Vec<u8>>;

/// The keys that are known.
#[derive(Debug)]
pub(super) struct Keys {
    known: Mutex<Option<Known>>,
    pub(super) asked_every: Duration,
}

#[derive(Debug)]
struct Known {
    keys: Vec<(String, Key)>,
    asked: Instant,
    until: Instant,
}

impl Default for Keys {
    fn default() -> Self {
        Self { known: Mutex::default(), asked_every: ASKED_EVERY }
    }
}

impl Keys {
    /// The key of this name, if Google has one.
    pub(super) async fn of(
        &self,
        id: &str,
        http: &HttpClient,
        url: String,
    ) -> Result<Option<Key>, VendorError> {
        // Held while they are asked for: whoever needs them too waits for the one answer.
        let mut known = self.known.lock().await;
        let now = Instant::now();
        if let Some(known) = known.as_ref().filter(|known| now < known.until) {
            let found = known.find(id);
            if found.is_some() || now < known.asked + self.asked_every {
                return Ok(found);
            }
        }
        let fresh = fetch(http, url).await?;
        let found = fresh.find(id);
        *known = Some(fresh);
        Ok(found)
    }
}

impl Known {
    fn find(&self, id: &str) -> Option<Key> {
        let (_, key) = self.keys.iter().find(|(known, _)| known == id)?;
        Some(Key { n: key.n.clone(), e: key.e.clone() })
    }
}

async fn fetch(http: &HttpClient, url: String) -> Result<Known, VendorError> {
    let request = Request::get(url).body(Full::default()).expect("a checked base and a fixed path are a URL");
    let answer = http.send(request, LIMITS).await.map_err(|error| of_http(&error))?;
    if !answer.status.is_success() {
        let what = format!("Google's keys: status {}", answer.status.as_u16());
        let why = of_status(answer.status);
        // Nobody is authorised here, so nobody can lack it.
        let why = if why == Failure::Unauthorised { Failure::Refused } else { why };
        return Err(VendorError::new(why, what));
    }
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let list = said["keys"].as_array().ok_or_else(|| malformed("Google's keys: no list of them"))?;
    let keys: Vec<_> = list.iter().filter_map(key).collect();
    if keys.is_empty() {
        return Err(malformed("Google's keys: none among them for RS256"));
    }
    let asked = Instant::now();
    Ok(Known { keys, asked, until: asked + life(&answer.headers) })
}

/// A key for RS256, and its name; none if it is for something else.
fn key(jwk: &Value) -> Option<(String, Key)> {
    let is = |name: &str, wanted: &str| jwk[name].as_str().is_none_or(|value| value == wanted);
    if jwk["kty"] != "RSA" || !is("alg", "RS256") || !is("use", "sig") {
        return None;
    }
    let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str()?).ok();
    Some((jwk["kid"].as_str()?.to_owned(), Key { n: number("n")?, e: number("e")? }))
}

/// For how long an answer may be kept (RFC 9111, section 4.2.1).
fn life(headers: &HeaderMap) -> Duration {
    let control = header(headers, CACHE_CONTROL.as_str()).unwrap_or_default();
    let mut words = control.split(',').map(str::trim);
    let max_age = words.find_map(|word| word.strip_prefix("max-age=")?.parse().ok()).map(Duration::from_secs);
    let age = header(headers, AGE.as_str()).and_then(|age| age.parse().ok()).unwrap_or_default();
    max_age.map_or(LIFE, |max| max.min(LIFE_MAX).saturating_sub(Duration::from_secs(age)))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_for_something_else_are_left_out() {
        let jwk = json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k", "n": "AQAB", "e": "AQAB"});
        assert_eq!(key(&jwk).map(|(id, key)| (id, key.e)), Some(("k".into(), vec![1, 0, 1])));
        for (name, value) in
            [("kty", "EC"), ("kty", "oct"), ("alg", "RS512"), ("use", "enc"), ("n", "=="), ("e", "a b")]
        {
            let mut other = jwk.clone();
            other[name] = value.into();
            assert!(key(&other).is_none(), "{name}={value}");
        }
    }

    #[test]
    fn keys_are_kept_as_long_as_their_answer_says() {
        let of = |control: &'static str, age: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(control));
            if let Some(age) = age {
                headers.insert(AGE, HeaderValue::from_static(age));
            }
            life(&headers).as_secs()
        };
        assert_eq!(of("public, max-age=19800, must-revalidate", None), 19_800);
        assert_eq!(of("max-age=100", Some("30")), 70);
        assert_eq!(of("max-age=100", Some("300")), 0);
        assert_eq!(of("no-cache", None), LIFE.as_secs());
        assert_eq!(of("max-age=999999999", None), LIFE_MAX.as_secs());
    }
}
