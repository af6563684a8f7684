//! Consents: somebody signs in with Google, or lets a line into a calendar.

use std::sync::Arc;

use serde_json::json;

use super::attempts::{Attempts, Started};
use super::connections::{Begun, Connection, ConnectionKind, Proof, Purpose, Whose};
use super::error::Error;
use super::keys::Keys;
use super::time::UnixMs;
use super::users::{GoogleIdentity, User};
use crate::integrations::google::oauth::{Ask, CALENDAR, IdentityError, SIGN_IN};
use crate::integrations::google::{OAuth, ServiceAccount};
use crate::integrations::oauth::{OAuthError, Tokens};
use crate::settings::Secret;
use crate::store::Store;

/// Where Google's service accounts get their tokens. A key file that names another place would have us send what it signs, and
/// our requests, to whoever wrote it.
const TOKEN_URIS: [&str; 2] =
    ["https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token"];

/// All consents.
#[derive(Debug)]
pub struct Authorizations {
    store: Arc<Store>,
    attempts: Attempts,
    google: Option<Arc<OAuth>>,
}

impl Authorizations {
    /// `google`: the client that asks for consent, if one is configured.
    pub fn new(store: Arc<Store>, keys: Arc<Keys>, google: Option<Arc<OAuth>>) -> Self {
        let attempts = Attempts::new(store.clone(), keys);
        Self { store, attempts, google }
    }

    /// Begins a sign-in that comes back at `redirect_uri`.
    pub async fn begin_sign_in(&self, redirect_uri: String, now: UnixMs) -> Result<Started, Error> {
        self.begin(Purpose::SignIn, None, redirect_uri, now).await
    }

    /// Finishes a sign-in.
    pub async fn sign_in(&self, code: &str, state: &str, now: UnixMs) -> Result<User, Error> {
        let (_, tokens, proof) = self.come_back(Purpose::SignIn, code, state, now).await?;
        let refused = || Error::invalid("code", "was not answered with who signs in");
        let id_token = tokens.id_token.ok_or_else(refused)?;
        let identity = self.google()?.identity(&id_token, &proof.nonce).await;
        let identity = identity.map_err(told_of_identity)?;
        let email = identity
            .email
            .ok_or_else(|| Error::invalid("code", "is for an account without a verified e-mail address"))?;
        let identity =
            GoogleIdentity { sub: identity.subject, email, name: identity.name, picture: identity.picture };
        Ok(self.store.sign_in(identity, now).await?)
    }

    /// Begins to connect the calendar of an owner's line.
    pub async fn begin_calendar(
        &self,
        owner: &str,
        line: &str,
        redirect_uri: String,
        now: UnixMs,
    ) -> Result<Started, Error> {
        let line = self.store.line(owner, line).await?.id;
        self.begin(Purpose::Calendar, Some(line), redirect_uri, now).await
    }

    /// Finishes that, and says for which line.
    pub async fn connect_calendar(&self, code: &str, state: &str, now: UnixMs) -> Result<String, Error> {
        let (begun, tokens, _) = self.come_back(Purpose::Calendar, code, state, now).await?;
        let line = begun.whose.line.ok_or(Error::NotFound("Client"))?;
        let missing: Vec<_> =
            CALENDAR.iter().filter(|scope| !tokens.scopes.iter().any(|given| given == *scope)).collect();
        // Somebody may leave a tick away. The scope of all of a calendar holds both.
        let all = tokens.scopes.iter().any(|given| given == "https://www.googleapis.com/auth/calendar");
        if !missing.is_empty() && !all {
            return Err(Error::invalid(
                "code",
                "is for less than seeing when the calendar is busy and entering appointments",
            ));
        }
        let Some(refresh) = &tokens.refresh else {
            return Err(Error::invalid("code", "came without a refresh token: the consent ends in an hour"));
        };
        let expires = tokens.expires_in.map(|time| now.0 + i64::try_from(time.as_millis()).unwrap_or(0));
        let secrets = json!({
            "access_token": tokens.access.reveal(),
            "refresh_token": refresh.reveal(),
            "expires_ms": expires,
        });
        self.connect(&line, ConnectionKind::OAuth, String::new(), &secrets.to_string(), now).await?;
        Ok(line)
    }

    /// Connects an owner's line with calendars that are shared with a service account. `key`: its key file. Returns its address.
    pub async fn connect_service_account(
        &self,
        owner: &str,
        line: &str,
        key: &str,
        now: UnixMs,
    ) -> Result<String, Error> {
        let line = self.store.line(owner, line).await?.id;
        let email = service_account_email(key)?;
        self.connect(&line, ConnectionKind::ServiceAccount, email.clone(), key, now).await?;
        Ok(email)
    }

    /// Takes the calendar of an owner's line away, and gives the consent back if Google can be asked.
    pub async fn disconnect(&self, owner: &str, line: &str) -> Result<(), Error> {
        let line = self.store.line(owner, line).await?.id;
        let connection = self.store.disconnect(owner, &line).await?;
        if let (ConnectionKind::OAuth, Some(google)) = (connection.kind, &self.google)
            && let Some(token) = self.opened(&line, &connection).as_ref().and_then(to_revoke)
            && let Err(error) = google.revoke(&token).await
        {
            // It is gone here in any case.
            tracing::warn!(%error, "a consent could not be given back to Google");
        }
        Ok(())
    }

    fn opened(&self, line: &str, connection: &Connection) -> Option<serde_json::Value> {
        let opened = self.attempts.sealer().ok()?.open(Connection::place(line), &connection.sealed).ok()?;
        serde_json::from_slice(&opened).ok()
    }

    async fn begin(
        &self,
        purpose: Purpose,
        line: Option<String>,
        redirect_uri: String,
        now: UnixMs,
    ) -> Result<Started, Error> {
        let google = self.google()?;
        let whose = Whose { line, owner: None };
        let attempt = self.attempts.begin(purpose, whose, redirect_uri.clone(), None, now).await?;
        let (scopes, prompt): (&[&str], _) = match purpose {
            // Without asking again there is no refresh token the second time.
            Purpose::Calendar => (&CALENDAR, "consent"),
            _ => (&SIGN_IN, "select_account"),
        };
        let ask = Ask { redirect_uri: &redirect_uri, scopes, prompt: Some(prompt), login_hint: None };
        let url = google.authorization_url(&ask, &attempt);
        Ok(Started { url, state: attempt.state.reveal().to_owned() })
    }

    async fn come_back(
        &self,
        purpose: Purpose,
        code: &str,
        state: &str,
        now: UnixMs,
    ) -> Result<(Begun, Tokens, Proof), Error> {
        let google = self.google()?;
        let (begun, proof) = self.attempts.come_back(purpose, "Google", code, state, now).await?;
        let tokens = google.exchange(code, &proof.verifier, &begun.redirect_uri).await.map_err(told)?;
        Ok((begun, tokens, proof))
    }

    async fn connect(
        &self,
        line: &str,
        kind: ConnectionKind,
        account: String,
        secrets: &str,
        now: UnixMs,
    ) -> Result<(), Error> {
        let sealed = self.attempts.sealer()?.seal(Connection::place(line), secrets.as_bytes());
        let connection = Connection { kind, account, sealed, created: now, used: None };
        self.store.connect(line, connection).await
    }

    fn google(&self) -> Result<&OAuth, Error> {
        self.google.as_deref().ok_or_else(|| {
            Error::Unavailable(
                "Google sign-in is not configured on this server (GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET)"
                    .into(),
            )
        })
    }
}

/// The address of a service account, if this is the key file of one of Google's.
fn service_account_email(key: &str) -> Result<String, Error> {
    const FIELD: &str = "service_account_json";
    let file: serde_json::Value =
        serde_json::from_str(key).map_err(|_| Error::invalid(FIELD, "is not JSON"))?;
    if file["type"] != "service_account" {
        return Err(Error::invalid(
            FIELD,
            "is not the key file of a service account: its type must be service_account",
        ));
    }
    let uri = &file["token_uri"];
    if !uri.is_null() && !uri.as_str().is_some_and(|uri| TOKEN_URIS.contains(&uri)) {
        return Err(Error::invalid(FIELD, format!("must have {} as token_uri", TOKEN_URIS[0])));
    }
    let email = file["client_email"].as_str().unwrap_or_default();
    let is_email = email.len() <= 256
        && email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
        && email.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_email {
        return Err(Error::invalid(FIELD, "has no client_email that is an address"));
    }
    ServiceAccount::from_json(key)
        .map_err(|error| Error::invalid(FIELD, format!("cannot be used: {error}")))?;
    Ok(email.to_owned())
}

/// The token by which a consent is given back.
fn to_revoke(secrets: &serde_json::Value) -> Option<Secret> {
    let token = |name: &str| secrets[name].as_str().map(Secret::new);
    token("refresh_token").or_else(|| token("access_token"))
}

/// What Google does not take is the caller's; that it cannot be asked is not.
fn told(error: OAuthError) -> Error {
    tracing::warn!(%error, "an authorization failed");
    match error {
        OAuthError::Consent(_) => Error::invalid("code", "was refused by Google"),
        OAuthError::Vendor(_) => unavailable(),
    }
}

fn told_of_identity(error: IdentityError) -> Error {
    tracing::warn!(%error, "a sign-in failed");
    match error {
        IdentityError::Refused(_) => Error::invalid("code", "was not answered with who signs in"),
        IdentityError::Vendor(_) => unavailable(),
    }
}

fn unavailable() -> Error {
    Error::Unavailable("Google cannot be asked at the moment; try again later".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_file_of_googles_is_taken() {
        let pem = include_str!("../integrations/google/test_key.pem");
        let file = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut file = json!({
                "type": "service_account",
                "client_email": "frontdesk@project.iam.gserviceaccount.com",
                "private_key": pem,
                "private_key_id": "1",
                "token_uri": "https://oauth2.googleapis.com/token",
            });
            change(&mut file);
            service_account_email(&file.to_string())
        };
        assert_eq!(file(&|_| {}).unwrap(), "frontdesk@project.iam.gserviceaccount.com");
        let elsewhere =
            |uri: &'static str| file(&|file| file["token_uri"] = uri.into()).unwrap_err().to_string();
        for uri in [
            "http://169.254.169.254/token",
            "https://oauth2.googleapis.com.evil.example/token",
            "https://oauth2.googleapis.com@evil.example/token",
            "http://oauth2.googleapis.com/token",
        ] {
            assert!(elsewhere(uri).contains("token_uri"), "{uri}");
        }
        for (field, value) in [
            ("type", json!("authorized_user")),
            ("client_email", json!("nobody")),
            ("client_email", json!(7)),
            ("private_key", json!("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")),
            ("private_key", json!(null)),
            ("token_uri", json!(7)),
        ] {
            let error = file(&|file| file[field] = value.clone()).unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }), "{field}");
        }
        assert!(service_account_email("no JSON").is_err());
    }

    #[test]
    fn the_longer_lived_token_is_given_back() {
        let token = |secrets: serde_json::Value| to_revoke(&secrets).map(|token| token.reveal().to_owned());
        assert_eq!(token(json!({ "access_token": "a", "refresh_token": "r" })).as_deref(), Some("r"));
        assert_eq!(token(json!({ "access_token": "a", "refresh_token": null })).as_deref(), Some("a"));
        assert_eq!(token(json!({})), None);
    }
}
