//! OAuth 2 as a client of it: what one attempt to get somebody's consent needs, and the token endpoint, where codes and refresh
//! tokens become tokens.
//!
//! Nothing is kept here: who asks keeps state, nonce and verifier of an [`Attempt`] until its answer, and uses them once.
//!
//! RFC 6749; RFC 7636 (PKCE).

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use offhook_engine::call::Failure;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

use super::http::{Answer, HttpClient, Limits};
use super::refusal::{Told, of_http, of_status};
use super::vendor::VendorError;
use crate::settings::Secret;

/// What one request may cost: somebody waits for it, in a browser or on the telephone.
pub(super) const LIMITS: Limits = Limits { time: Duration::from_secs(5), body_bytes: 64 * 1024 };

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OAuthError {
    /// The code or refresh token is not or no longer good. To ask again does not help: the person has to consent anew.
    #[error("the consent is not or no longer good: {0}")]
    Consent(String),
    /// The service could not be asked, or does not take the client.
    #[error("{0}")]
    Vendor(#[from] VendorError),
}

/// The secrets of one attempt to get somebody's consent. Each has 256 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Comes back with the answer, and shows that it is one to this attempt. To be used once.
    pub state: Secret,
    /// Comes back in the `id_token`, where there is one.
    pub nonce: Secret,
    /// Shows, at the exchange of the code, that who exchanges it is who asked.
    pub verifier: Secret,
}

impl Attempt {
    /// A new one. The error says that the system has no randomness.
    pub fn new() -> Result<Self, VendorError> {
        Ok(Self { state: random()?, nonce: random()?, verifier: random()? })
    }
}

/// 256 random bits, in base64url: 43 characters.
fn random() -> Result<Secret, VendorError> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| VendorError::new(Failure::Faulty, "the system gives no random numbers"))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

/// What of a verifier may be shown before its time (RFC 7636, section 4.2, `S256`).
pub(super) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// What came of a consent.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Opens what was consented to.
    pub access: Secret,
    /// For how long; none if it is not said.
    pub expires_in: Option<Duration>,
    /// Gets further ones. At a renewal only if it replaces the one that was used, which is not good any more then.
    pub refresh: Option<Secret>,
    /// What was consented to: perhaps less than was asked for, and under other names.
    pub scopes: Vec<String>,
    /// Who it was, where `openid` was asked for.
    pub id_token: Option<Secret>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expires_in, refresh, scopes, .. } = self;
        write!(f, "Tokens(for {expires_in:?}, renewable: {}, {scopes:?})", refresh.is_some())
    }
}

/// Posts a form, and reads the JSON object that comes. `secret` is struck out of what is told of a failure.
pub(super) async fn ask(
    http: &HttpClient,
    url: String,
    fields: &[(&str, &str)],
    secret: &Secret,
) -> Result<Value, OAuthError> {
    match serde_json::from_slice(&post(http, url, fields, secret).await?) {
        Ok(said @ Value::Object(_)) => Ok(said),
        _ => Err(malformed("an answer that is no JSON object").into()),
    }
}

/// Posts a form; the body of its success.
async fn post(
    http: &HttpClient,
    url: String,
    fields: &[(&str, &str)],
    secret: &Secret,
) -> Result<Bytes, OAuthError> {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Request::post(url)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form)))
        .expect("a checked base and a fixed path are a URL");
    let answer = http.send(request, LIMITS).await.map_err(|error| of_http(&error))?;
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    Err(refused(&answer, secret))
}

/// What the refusal of a token endpoint means.
fn refused(answer: &Answer, secret: &Secret) -> OAuthError {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    // HubSpot has words of its own, under names of its own.
    let code = said["error"].as_str().or(said["status"].as_str()).unwrap_or_default();
    let message = said["error_description"].as_str().or(said["message"].as_str()).unwrap_or_default();
    let why = match code {
        "invalid_client" | "unauthorized_client" => Failure::Unauthorised,
        _ => of_status(answer.status),
    };
    let error = Told { status: Some(answer.status), code, message, request: None }.error(why, Some(secret));
    match code {
        "invalid_grant"
        | "invalid_token"
        | "interaction_required"
        | "consent_required"
        | "BAD_AUTH_CODE"
        | "BAD_REFRESH_TOKEN"
            if answer.status.is_client_error() =>
        {
            OAuthError::Consent(error.detail)
        }
        _ => error.into(),
    }
}

/// Takes a consent back, by its refresh token or an access token. Ok too if it was not good any more.
pub(super) async fn revoke(http: &HttpClient, url: String, token: &Secret) -> Result<(), OAuthError> {
    match post(http, url, &[("token", token.reveal())], token).await {
        Ok(_) | Err(OAuthError::Consent(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Reads the answer of the token endpoint.
pub(super) fn tokens_of(said: &Value) -> Result<Tokens, OAuthError> {
    let secret = |name: &str| said[name].as_str().filter(|text| !text.is_empty()).map(Secret::new);
    let access = secret("access_token").ok_or_else(|| malformed("an answer without access_token"))?;
    if !said["token_type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(malformed("a token that is no bearer token").into());
    }
    let scopes = said["scope"].as_str().unwrap_or_default();
    Ok(Tokens {
        access,
        expires_in: said["expires_in"].as_u64().map(Duration::from_secs),
        refresh: secret("refresh_token"),
        scopes: scopes.split_ascii_whitespace().map(str::to_owned).collect(),
        id_token: secret("id_token"),
    })
}

pub(super) fn malformed(what: &str) -> VendorError {
    VendorError::new(Failure::Malformed, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_that_of_the_rfc() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn no_two_attempts_have_a_secret_in_common() {
        let (one, two) = (Attempt::new().unwrap(), Attempt::new().unwrap());
        let all = [&one.state, &one.nonce, &one.verifier, &two.state, &two.nonce, &two.verifier];
        let all: std::collections::BTreeSet<_> = all.iter().map(|secret| secret.reveal()).collect();
        assert!(all.len() == 6 && all.iter().all(|secret| secret.len() == 43), "{all:?}");
        let printed = format!("{one:?}");
        assert!(!all.iter().any(|secret| printed.contains(secret)), "{printed}");
    }
}
