//! Google's OAuth 2: a person consents in the browser, the code that comes back is exchanged for tokens, tokens are renewed
//! and taken back; and who the person is, by the `id_token`.
//!
//! In: what to ask consent for, codes, tokens. Out: a URL, tokens, an identity. Nothing is kept here but Google's keys: who
//! asks keeps state, nonce and verifier of an [`Attempt`] until its answer, and uses them once.
//!
//! <https://developers.google.com/identity/protocols/oauth2/web-server>; by the official client google-auth-oauthlib 1.5, read
//! 2026-11.

mod identity;
mod keys;

use std::time::{SystemTime, UNIX_EPOCH};

use super::Hosts;
use crate::integrations::http::HttpClient;
use crate::integrations::oauth::{self, Attempt, OAuthError, Tokens, ask, challenge, tokens_of};
use crate::integrations::vendor::VendorError;
use crate::settings::Secret;
pub use identity::{IdTokenError, Identity};
use keys::Keys;

/// Who the person is: `sub`, name, picture, e-mail address.
pub const SIGN_IN: [&str; 3] = ["openid", "email", "profile"];

/// To see when a calendar is busy, and to enter events.
pub const CALENDAR: [&str; 2] =
    ["https://www.googleapis.com/auth/calendar.freebusy", "https://www.googleapis.com/auth/calendar.events"];

/// Why it is not known who consented.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Google's keys cannot be had.
    #[error("{0}")]
    Vendor(#[from] VendorError),
    /// The `id_token` proves nothing.
    #[error("the id_token is refused: {0}")]
    Refused(#[from] IdTokenError),
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
        oauth::revoke(&self.http, self.hosts.revoke(), token).await
    }

    /// Who consented: checks signature, issuer, addressee, times, and that it answers the attempt with this `nonce`.
    pub async fn identity(&self, id_token: &Secret, nonce: &str) -> Result<Identity, IdentityError> {
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

#[cfg(test)]
mod tests;
