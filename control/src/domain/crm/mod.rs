//! CRMs that users connect: consent, tokens, and what is kept of both. What is done with them, see [`sync`].

mod activity;
pub mod sync;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attempts::{Attempts, Started};
use super::connections::{Purpose, Whose};
use super::error::Error;
use super::keys::Keys;
use super::seal::Place;
use super::time::UnixMs;
use crate::integrations::crm::{Crm, CrmAccess, CrmClient, CrmError, Grant, Person, PersonKind};
use crate::integrations::dynamics::Dynamics;
use crate::integrations::hubspot::HubSpot;
use crate::integrations::oauth::OAuthError;
use crate::integrations::salesforce::Salesforce;
use crate::settings::{CrmSettings, Secret};
use crate::store::Store;
use tokens::Renewals;
pub use tokens::{AccessError, Open};

/// The longest instance URL that is looked at, in bytes.
const URL_MAX: usize = 256;

/// A connection, sealed as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrmConnection {
    /// Its id: another one each time that it is connected.
    pub id: String,
    /// Whose: a user's id.
    pub owner: String,
    /// Which CRM.
    pub crm: Crm,
    /// The e-mail address of who consented; empty if it is not known.
    pub account: String,
    /// Where its API is; empty where all have the same.
    pub instance_url: String,
    /// [`Tokens`], sealed for [`CrmConnection::place`].
    pub sealed: Vec<u8>,
    /// Why it has to be connected anew; none while it works.
    pub broken: Option<String>,
    /// When it was made.
    pub created: UnixMs,
}

impl CrmConnection {
    /// Where the tokens of a connection stand.
    pub fn place(id: &str) -> Place<'_> {
        Place { table: "crm_connections", column: "sealed", row: id }
    }
}

/// What is kept of a consent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Tokens {
    access_token: String,
    refresh_token: String,
    /// None: until it is refused.
    expires_ms: Option<i64>,
}

impl Tokens {
    /// `refresh`: the one before, where none replaces it.
    fn of(grant: &Grant, refresh: Option<&str>, now: UnixMs) -> Option<Self> {
        let tokens = &grant.tokens;
        let replaced = tokens.refresh.as_ref().map(Secret::reveal);
        Some(Self {
            access_token: tokens.access.reveal().to_owned(),
            refresh_token: replaced.or(refresh)?.to_owned(),
            expires_ms: tokens
                .expires_in
                .map(|life| now.0.saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX))),
        })
    }
}

/// What a sync found or made in the CRM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// The lead or contact.
    pub person: Option<Person>,
    /// Whether it was made for this call.
    pub person_created: bool,
    /// The CRM's name for the logged call.
    pub activity: Option<String>,
}

/// Where the sync of a call with a CRM stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// It is not done yet.
    Pending,
    /// The call is logged.
    Success,
    /// It cannot be.
    Error,
}

impl SyncState {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Error => "error",
        }
    }

    /// The reverse of [`SyncState::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Pending, Self::Success, Self::Error].into_iter().find(|state| state.as_str() == text)
    }
}

/// The sync of one call with one CRM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Its id.
    pub id: String,
    /// Which CRM.
    pub crm: Crm,
    /// The call, by its id in `account_calls`.
    pub call: String,
    /// What the call is called in answers: the reporter's name for it, or ours.
    pub call_name: String,
    /// The customer's number; empty if it was withheld.
    pub number: String,
    /// Where it stands.
    pub state: SyncState,
    /// How often it was tried.
    pub tries: u32,
    /// Why the last try failed.
    pub reason: Option<String>,
    /// What is there by now.
    pub synced: Synced,
    /// When the call had ended.
    pub created: UnixMs,
    /// When it was done or given up; none while it is pending.
    pub ended: Option<UnixMs>,
}

/// All CRMs that can be connected.
pub struct Crms {
    store: Arc<Store>,
    attempts: Attempts,
    clients: BTreeMap<Crm, Arc<dyn CrmClient>>,
    renewals: Arc<Renewals>,
}

impl std::fmt::Debug for Crms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Crms").field(&self.clients.keys()).finish()
    }
}

impl Crms {
    /// Those that are configured. The error says what is wrong with the settings.
    pub fn new(settings: &CrmSettings, store: Arc<Store>, keys: Arc<Keys>) -> Result<Self, String> {
        let mut clients = BTreeMap::<Crm, Arc<dyn CrmClient>>::new();
        if let Some(settings) = &settings.salesforce {
            clients.insert(Crm::Salesforce, Arc::new(Salesforce::new(settings)?));
        }
        if let Some(settings) = &settings.hubspot {
            clients.insert(Crm::HubSpot, Arc::new(HubSpot::new(settings)?));
        }
        if let Some(settings) = &settings.dynamics {
            clients.insert(Crm::Dynamics, Arc::new(Dynamics::new(settings)?));
        }
        let attempts = Attempts::new(store.clone(), keys);
        let renewals = Arc::new(Renewals::new(store.clone(), attempts.clone()));
        Ok(Self { store, attempts, clients, renewals })
    }

    /// Begins to connect a user's CRM; the browser comes back at `redirect_uri`. `instance_url`: where its API is, for a CRM
    /// that has one for each customer and does not tell itself.
    pub async fn begin(
        &self,
        owner: &str,
        crm: Crm,
        redirect_uri: String,
        instance_url: Option<&str>,
        now: UnixMs,
    ) -> Result<Started, Error> {
        let client = self.client(crm)?;
        let instance_url = match instance_url {
            Some(text) if text.len() > URL_MAX => return Err(Error::invalid("instanceUrl", "is too long")),
            Some(text) => client.instance_url(text).map_err(|why| Error::invalid("instanceUrl", why))?,
            None => String::new(),
        };
        let whose = Whose { line: None, owner: Some(owner.to_owned()) };
        let kept = Some(instance_url.clone()).filter(|url| !url.is_empty());
        let attempt = self.attempts.begin(Purpose::Crm(crm), whose, redirect_uri.clone(), kept, now).await?;
        let url = client.authorization_url(&redirect_uri, &instance_url, &attempt);
        Ok(Started { url, state: attempt.state.reveal().to_owned() })
    }

    /// The browser comes back with a code. `shown`: who it shows to be, if it shows a token: they must have begun it.
    pub async fn connect(
        &self,
        crm: Crm,
        code: &str,
        state: &str,
        shown: Option<&str>,
        now: UnixMs,
    ) -> Result<(), Error> {
        let client = self.client(crm)?;
        let (begun, proof) =
            self.attempts.come_back(Purpose::Crm(crm), crm.title(), code, state, now).await?;
        let owner = begun.whose.owner.ok_or_else(|| Error::invalid("state", "is nobody's"))?;
        if shown.is_some_and(|shown| shown != owner) {
            return Err(Error::invalid("state", "is another user's"));
        }
        let instance_url = proof.instance_url.unwrap_or_default();
        let grant = client.exchange(code, &proof.verifier, &begun.redirect_uri, &instance_url).await;
        let grant = grant.map_err(|error| told(crm, &error))?;
        let tokens = Tokens::of(&grant, None, now).ok_or_else(|| {
            Error::invalid("code", "came without a refresh token: the app must be allowed to have one")
        })?;
        let instance_url = grant.instance_url.unwrap_or(instance_url);
        let access = CrmAccess { token: &grant.tokens.access, instance_url: &instance_url };
        let account = match client.account(access).await {
            Ok(account) => account.unwrap_or_default(),
            Err(CrmError::Refused(why) | CrmError::Expired(why)) => {
                tracing::warn!(%crm, why, "a consent does not open the CRM");
                return Err(Error::invalid("code", format!("does not open {crm} for this user")));
            }
            // It is not needed for anything but to be shown.
            Err(error) => {
                tracing::info!(%crm, %error, "whose a connection is cannot be learned");
                String::new()
            }
        };
        let id = uuid::Uuid::now_v7().to_string();
        let text = serde_json::to_vec(&tokens).expect("texts are JSON");
        let sealed = self.attempts.sealer()?.seal(CrmConnection::place(&id), &text);
        let connection =
            CrmConnection { id, owner, crm, account, instance_url, sealed, broken: None, created: now };
        Ok(self.store.connect_crm(connection).await?)
    }

    /// Takes a user's CRM away, and gives the consent back if the CRM can be asked. What was to be logged there is not. Nothing, if
    /// none is connected.
    pub async fn disconnect(&self, owner: &str, crm: Crm) -> Result<(), Error> {
        let Some(connection) = self.store.disconnect_crm(owner, crm).await? else { return Ok(()) };
        let tokens = self.attempts.sealer().ok().and_then(|sealer| {
            let opened = sealer.open(CrmConnection::place(&connection.id), &connection.sealed).ok()?;
            serde_json::from_slice::<Tokens>(&opened).ok()
        });
        if let (Some(tokens), Some(client)) = (tokens, self.clients.get(&crm))
            && let Err(error) = client.revoke(&Secret::new(tokens.refresh_token)).await
        {
            // It is gone here in any case.
            tracing::warn!(%crm, %error, "a consent could not be given back");
        }
        Ok(())
    }

    /// A connection with a token that is good by all that is known.
    pub async fn open(&self, owner: &str, crm: Crm, now: UnixMs) -> Result<Open, AccessError> {
        let client = self.clients.get(&crm).ok_or(AccessError::NotConfigured)?;
        self.renewals.open(client, owner, crm, None, now).await
    }

    /// The same with another token than the one that the CRM refused.
    pub async fn reopen(&self, refused: &Open, now: UnixMs) -> Result<Open, AccessError> {
        let Open { client, owner, crm, token, .. } = refused;
        self.renewals.open(client, owner, *crm, Some(token), now).await
    }

    fn client(&self, crm: Crm) -> Result<&Arc<dyn CrmClient>, Error> {
        self.clients.get(&crm).ok_or_else(|| {
            let name = crm.as_str().to_uppercase();
            Error::Unavailable(format!(
                "{crm} is not configured on this server ({name}_CLIENT_ID, {name}_CLIENT_SECRET)"
            ))
        })
    }
}

/// What a CRM does not take is the caller's; that it cannot be asked is not.
fn told(crm: Crm, error: &OAuthError) -> Error {
    tracing::warn!(%crm, %error, "a CRM could not be connected");
    match error {
        OAuthError::Consent(_) => Error::invalid("code", format!("was refused by {crm}")),
        OAuthError::Vendor(_) => {
            Error::Unavailable(format!("{crm} cannot be asked at the moment; try again later"))
        }
    }
}

/// A person's kind as it stands in a row.
pub(crate) fn kind_from_text(text: &str) -> PersonKind {
    PersonKind::from_text(text).unwrap_or(PersonKind::Lead)
}
