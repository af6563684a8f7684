//! Google's OAuth 2: a person consents in the browser, the code that comes back is exchanged for tokens, tokens are renewed
//! and taken back; and who the person is, by the `id_token`.
//!
//! In: what to ask consent for, codes, tokens. Out: a URL, tokens, an identity. Nothing is kept here but Google's keys: who
//! asks keeps state, nonce and verifier of an [`Attempt`] until its answer, and uses them once.
//!
//! <https://developers.google.com/identity/protocols/oauth2/web-server>, RFC 6749, RFC 7636 (PKCE); by the official client
//! google-auth-oauthlib 1.5, read 2026-11.

mod identity;
mod keys;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

use super::Hosts;
use crate::integrations::http::{HttpClient, Limits};
use crate::integrations::refusal::{Told, of_http, of_status};
use crate::integrations::vendor::VendorError;
use crate::settings::Secret;
pub use identity::{IdTokenError, Identity};
use keys::Keys;

/// What one request may cost: somebody waits for it, in a browser or on the telephone.
pub(super) const LIMITS: Limits = Limits { time: Duration::from_secs(5), body_bytes: 64 * 1024 };

/// Who the person is: `sub`, name, picture, e-mail address.
pub const SIGN_IN: [&str; 3] = ["openid", "email", "profile"];

/// To see when a calendar is busy, and to enter events.
pub const CALENDAR: [&str; 2] =
    ["https://www.googleapis.com/auth/calendar.freebusy", "https://www.googleapis.com/auth/calendar.events"];

/// Why there is no token, or no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OAuthError {
    /// The code or refresh token is not or no longer good. To ask again does not help: the person has to consent anew.
    #[error("the consent is not or no longer good: {0}")]
    Consent(String),
    /// Google could not be asked, or does not take the client.
    #[error("{0}")]
    Vendor(#[from] VendorError),
    /// The `id_token` proves nothing.
    #[error("the id_token is refused: {0}")]
    Identity(#[from] IdTokenError),
}

/// The secrets of one attempt to get somebody's consent. Each has 256 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Comes back with the answer, and shows that it is one to this attempt. To be used once.
    pub state: Secret,
    /// Comes back in the `id_token`.
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
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// What a person is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Where the browser is to come back to, as it stands in Google's console.
    pub redirect_uri: &'a str,
    /// What for: [`SIGN_IN`], [`CALENDAR`].
    pub scopes: &'a [&'a str],
    /// Which page is shown though the person consented before: `consent` gets a refresh token again, `select_account` lets
    /// them choose.
    pub prompt: Option<&'a str>,
    /// The e-mail address that the person probably takes.
    pub login_hint: Option<&'a str>,
}

/// What came of a consent.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Opens what was consented to.
    pub access: Secret,
    /// For how long; none if Google does not say.
    pub expires_in: Option<Duration>,
    /// Gets further ones. At the first consent, and where [`Ask::prompt`] was `consent`; at a renewal only if it replaces the
    /// one that was used, which is not good any more then.
    pub refresh: Option<Secret>,
    /// What was consented to: perhaps less than was asked for, and under other names.
    pub scopes: Vec<String>,
    /// Who it was, for [`OAuth::identity`]; if `openid` was asked for.
    pub id_token: Option<Secret>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expires_in, refresh, scopes, .. } = self;
        write!(f, "Tokens(for {expires_in:?}, renewable: {}, {scopes:?})", refresh.is_some())
    }
}

/// The client that an operator registered with Google.
#[derive(Debug)]
pub struct OAuth {
    http: HttpClient,
    hosts: Hosts,
    client_id: String,
    client_secret: Secret,
    keys: Keys,
}

impl OAuth {
    /// A client with connections of its own. The error says that there can be none.
    pub fn new(hosts: Hosts, client_id: &str, client_secret: Secret) -> Result<Self, String> {
        let http = HttpClient::new().map_err(|error| error.to_string())?;
        Ok(Self { http, hosts, client_id: client_id.to_owned(), client_secret, keys: Keys::default() })
    }

    /// Where the browser is sent to ask for consent, to be used also when the person is not there.
    pub fn authorization_url(&self, ask: &Ask<'_>, attempt: &Attempt) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", ask.redirect_uri)
            .append_pair("scope", &ask.scopes.join(" "))
            .append_pair("access_type", "offline")
            .append_pair("include_granted_scopes", "true")
            .append_pair("state", attempt.state.reveal())
            .append_pair("nonce", attempt.nonce.reveal())
            .append_pair("code_challenge", &challenge(attempt.verifier.reveal()))
            .append_pair("code_challenge_method", "S256");
        for (name, value) in [("prompt", ask.prompt), ("login_hint", ask.login_hint)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        format!("{}?{}", self.hosts.consent(), query.finish())
    }

    /// The tokens for a code. `redirect_uri` and `verifier` are those of the question. A code is good once: this is never
    /// tried twice.
    pub async fn exchange(
        &self,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
    ) -> Result<Tokens, OAuthError> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        self.tokens(&fields).await
    }

    /// New tokens for a refresh token. Not twice at the same time: the first may replace what the second shows.
    pub async fn refresh(&self, refresh: &Secret) -> Result<Tokens, OAuthError> {
        self.tokens(&[("grant_type", "refresh_token"), ("refresh_token", refresh.reveal())]).await
    }

    /// Takes a consent back, by its refresh token or an access token. Ok too if it was not good any more.
    pub async fn revoke(&self, token: &Secret) -> Result<(), OAuthError> {
        match ask(&self.http, self.hosts.revoke(), &[("token", token.reveal())], token).await {
            Ok(_) | Err(OAuthError::Consent(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Who consented: checks signature, issuer, addressee, times, and that it answers the attempt with this `nonce`.
    pub async fn identity(&self, id_token: &Secret, nonce: &str) -> Result<Identity, OAuthError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let token = identity::parse(id_token.reveal())?;
        let key = self.keys.of(&token.key_id, &self.http, self.hosts.certs()).await?;
        let key = key.ok_or(IdTokenError::UnknownKey)?;
        Ok(token.check(&key, &self.client_id, nonce, now_s)?)
    }

    async fn tokens(&self, fields: &[(&str, &str)]) -> Result<Tokens, OAuthError> {
        let client = [("client_id", self.client_id.as_str()), ("client_secret", self.client_secret.reveal())];
        let fields: Vec<_> = fields.iter().copied().chain(client).collect();
        tokens_of(&ask(&self.http, self.hosts.token(), &fields, &self.client_secret).await?)
    }
}

/// Posts a form, and reads the JSON that comes. `secret` is struck out of what is told of a failure.
pub(super) async fn ask(
    http: &HttpClient,
    url: String,
    fields: &[(&str, &str)],
    secret: &Secret,
) -> Result<Value, OAuthError> {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Request::post(url)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form)))
        .expect("a checked base and a fixed path are a URL");
    let answer = http.send(request, LIMITS).await.map_err(|error| of_http(&error))?;
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status.is_success() {
        return match said {
            Value::Object(_) => Ok(said),
            _ => Err(malformed("an answer that is no JSON object").into()),
        };
    }
    let code = said["error"].as_str().unwrap_or_default();
    let message = said["error_description"].as_str().unwrap_or_default();
    let why = match code {
        "invalid_client" | "unauthorized_client" => Failure::Unauthorised,
        _ => of_status(answer.status),
    };
    let error = Told { status: Some(answer.status), code, message, request: None }.error(why, Some(secret));
    Err(match code {
        "invalid_grant" | "invalid_token" if answer.status.is_client_error() => {
            OAuthError::Consent(error.detail)
        }
        _ => error.into(),
    })
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

fn malformed(what: &str) -> VendorError {
    VendorError::new(Failure::Malformed, what)
}

#[cfg(test)]
mod tests;
