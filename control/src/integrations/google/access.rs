//! Access to somebody's things at Google: a token that is renewed before its time is over, by one request at a time, and once
//! more if Google does not take it.
//!
//! Two renewals at the same time would spoil each other where a refresh token is replaced at each use; so the second waits
//! and takes what the first brought. A renewal goes on though nobody waits for it any more: what it brings may be the only
//! token that is good.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use offhook_engine::call::Failure;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Hosts, OAuth, ServiceAccount};
use crate::integrations::http::HttpClient;
use crate::integrations::oauth::{OAuthError, Tokens, ask, tokens_of};
use crate::integrations::vendor::VendorError;
use crate::settings::Secret;

/// How long before its end a token is renewed: requests take time.
const EARLY: Duration = Duration::from_secs(60);
/// How long a token is used whose answer does not say for how long it is good.
const UNSAID: Duration = Duration::from_secs(300);
/// Of an assertion, by Google's documentation of its tokens; see [`ServiceAccount`].
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Told of a refresh token that replaces the one before, which is void: it must be kept before anything else.
pub type OnReplaced = Box<dyn Fn(&Secret) + Send + Sync>;

/// Access. Clones share it.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    grant: Grant,
    state: Mutex<State>,
}

enum Grant {
    /// Somebody consented.
    Consent { oauth: Arc<OAuth>, on_replaced: OnReplaced },
    /// An account of a program's own.
    Account(Box<Claimant>),
}

/// Claims tokens by its signature.
struct Claimant {
    account: ServiceAccount,
    http: HttpClient,
    hosts: Hosts,
    scopes: String,
}

struct State {
    token: Option<(Secret, Instant)>,
    /// Of a consent.
    refresh: Secret,
    /// The consent is over, Google said; nothing helps but a new one.
    over: Option<OAuthError>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.grant {
            Grant::Consent { .. } => f.write_str("Access(by consent)"),
            Grant::Account(claimant) => write!(f, "Access({:?})", claimant.account),
        }
    }
}

impl Access {
    /// By somebody's consent.
    pub fn of_consent(oauth: Arc<OAuth>, refresh: Secret, on_replaced: OnReplaced) -> Self {
        Self::new(Grant::Consent { oauth, on_replaced }, refresh)
    }

    /// By a service account, for what `scopes` name. The error says that there is no TLS.
    pub fn of_account(account: ServiceAccount, hosts: Hosts, scopes: &[&str]) -> Result<Self, String> {
        let http = HttpClient::new().map_err(|error| error.to_string())?;
        let claimant = Claimant { account, http, hosts, scopes: scopes.join(" ") };
        Ok(Self::new(Grant::Account(Box::new(claimant)), Secret::new("")))
    }

    fn new(grant: Grant, refresh: Secret) -> Self {
        Self(Arc::new(Shared { grant, state: Mutex::new(State { token: None, refresh, over: None }) }))
    }

    /// A token that is good for some time yet.
    pub async fn token(&self) -> Result<Secret, OAuthError> {
        self.other_than(None).await
    }

    /// A token in place of one that Google refused before its time.
    pub async fn token_after(&self, refused: &Secret) -> Result<Secret, OAuthError> {
        self.other_than(Some(refused.clone())).await
    }

    async fn other_than(&self, refused: Option<Secret>) -> Result<Secret, OAuthError> {
        let shared = Arc::clone(&self.0);
        let renewal = tokio::spawn(async move { shared.renew(refused).await });
        let gone = |_| VendorError::new(Failure::BrokenOff, "the renewal of a token broke off");
        renewal.await.map_err(gone)?
    }
}

impl Shared {
    async fn renew(&self, refused: Option<Secret>) -> Result<Secret, OAuthError> {
        let mut state = self.state.lock().await;
        if let Some((token, until)) = &state.token
            && Instant::now() < *until
            && refused.as_ref() != Some(token)
        {
            return Ok(token.clone());
        }
        if let Some(over) = &state.over {
            return Err(over.clone());
        }
        let tokens = match self.fetch(&state.refresh).await {
            Ok(tokens) => tokens,
            Err(error) => {
                if let OAuthError::Consent(_) = error {
                    state.over = Some(error.clone());
                }
                return Err(error);
            }
        };
        if let (Some(refresh), Grant::Consent { on_replaced, .. }) = (tokens.refresh, &self.grant) {
            on_replaced(&refresh);
            state.refresh = refresh;
        }
        let life = tokens.expires_in.map_or(UNSAID, |life| life.saturating_sub(EARLY));
        state.token = Some((tokens.access.clone(), Instant::now() + life));
        Ok(tokens.access)
    }

    async fn fetch(&self, refresh: &Secret) -> Result<Tokens, OAuthError> {
        match &self.grant {
            Grant::Consent { oauth, .. } => oauth.refresh(refresh).await,
            Grant::Account(claimant) => claimant.claim().await,
        }
    }
}

impl Claimant {
    async fn claim(&self) -> Result<Tokens, OAuthError> {
        let assertion = Secret::new(self.account.assertion(&self.scopes)?);
        let fields = [("grant_type", GRANT), ("assertion", assertion.reveal())];
        match ask(&self.http, self.hosts.token(), &fields, &assertion).await {
            // An account can be let in again, and its clock set right, without a new key.
            Err(OAuthError::Consent(detail)) => Err(VendorError::new(Failure::Unauthorised, detail).into()),
            said => tokens_of(&said?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;

    use offhook_fixtures::vendors::faults::Fault;
    use offhook_fixtures::vendors::{FakeVendors, Vendor};
    use serde_json::json;

    use super::super::oauth::CALENDAR;
    use super::super::testing::consent;
    use super::*;

    fn renewals(fakes: &FakeVendors) -> usize {
        let asked = fakes.requests();
        asked
            .iter()
            .filter(|asked| asked.body.as_str().is_some_and(|body| body.contains("refresh_token=")))
            .count()
    }

    #[tokio::test]
    async fn a_token_is_renewed_by_one_request_however_many_want_one() {
        let fakes = FakeVendors::start().await;
        let access = consent(&fakes, Box::new(|_| panic!("nothing is replaced"))).await;
        let tokens = futures_util::future::join_all((0..10).map(|_| access.token())).await;
        let first = tokens[0].clone().unwrap();
        assert!(tokens.iter().all(|token| token.as_ref() == Ok(&first)));
        assert_eq!(renewals(&fakes), 1);
        let others = futures_util::future::join_all((0..10).map(|_| access.token_after(&first))).await;
        assert!(
            others.iter().all(|token| token.as_ref() == others[0].as_ref() && token.as_ref() != Ok(&first))
        );
        assert_eq!(renewals(&fakes), 2);
    }

    #[tokio::test]
    async fn a_refresh_token_that_is_replaced_is_told_and_used_from_then_on() {
        let fakes = FakeVendors::start().await;
        let kept = Arc::new(StdMutex::new(Vec::new()));
        let keep = kept.clone();
        let access = consent(&fakes, Box::new(move |token| keep.lock().unwrap().push(token.clone()))).await;
        fakes.google_set("oauth", &json!({"refresh_token": "rotate", "expires_in": null})).unwrap();
        let first = access.token().await.unwrap();
        let second = access.token_after(&first).await.unwrap();
        assert!(access.token_after(&second).await.is_ok());
        let kept = kept.lock().unwrap();
        assert!(kept.len() == 3 && kept[0] != kept[1] && kept[1] != kept[2]);
    }

    #[tokio::test]
    async fn a_renewal_that_nobody_waits_for_any_more_is_kept_all_the_same() {
        let fakes = FakeVendors::start().await;
        let access = consent(&fakes, Box::new(|_| ())).await;
        fakes.google_set("oauth", &json!({"refresh_token": "rotate"})).unwrap();
        fakes.fail("/google/token", 1, Fault::parse("latency=100ms").unwrap());
        let gone = tokio::time::timeout(Duration::from_millis(20), access.token()).await;
        assert!(gone.is_err());
        assert!(access.token().await.is_ok());
        assert_eq!(renewals(&fakes), 1);
    }

    #[tokio::test]
    async fn a_consent_that_is_over_is_not_asked_about_again_and_a_failure_is() {
        let fakes = FakeVendors::start().await;
        let access = consent(&fakes, Box::new(|_| ())).await;
        fakes.fail("/google/token", 1, Fault::parse("status=503").unwrap());
        assert!(matches!(access.token().await, Err(OAuthError::Vendor(_))));
        let token = access.token().await.unwrap();
        fakes.google_set("forget", &json!(null)).unwrap();
        assert!(matches!(access.token_after(&token).await, Err(OAuthError::Consent(_))));
        let asked = renewals(&fakes);
        assert!(matches!(access.token_after(&token).await, Err(OAuthError::Consent(_))));
        assert_eq!(renewals(&fakes), asked);
    }

    #[tokio::test]
    async fn a_service_account_gets_tokens_by_its_signature() {
        let fakes = FakeVendors::start().await;
        let base = fakes.base_url(Vendor::Google).parse().unwrap();
        let hosts = Hosts::at(Some(&base));
        let account = ServiceAccount::from_json(&fakes.google_account().to_string()).unwrap();
        let access = Access::of_account(account, hosts.clone(), &CALENDAR).unwrap();
        let token = access.token().await.unwrap();
        assert_eq!(access.token().await.unwrap(), token);

        // Another key under the same name.
        let other = super::super::account::tests::json("desk@made-for-tests.iam.gserviceaccount.com");
        let access =
            Access::of_account(ServiceAccount::from_json(&other).unwrap(), hosts, &CALENDAR).unwrap();
        let error = access.token().await.unwrap_err();
        assert!(matches!(&error, OAuthError::Vendor(error) if error.why == Failure::Unauthorised), "{error}");
    }
}
