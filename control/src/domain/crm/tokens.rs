//! Tokens of connections: renewed shortly before their time is over, or when the CRM refused one; by one request at a time for each
//! connection, since a renewal may replace what the next one would show.
//!
//! What a renewal brings is written down before it is used. It goes on though nobody waits for it any more: it may be the only
//! token that is good.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::{CrmConnection, Tokens};
use crate::domain::attempts::Attempts;
use crate::domain::time::UnixMs;
use crate::integrations::crm::{Crm, CrmAccess, CrmClient};
use crate::integrations::oauth::OAuthError;
use crate::settings::Secret;
use crate::store::{Store, StoreError};

/// How long before its end a token is renewed, in ms: requests take time.
const EARLY_MS: i64 = 60_000;

/// Locks are looked through for unused ones when there are so many.
const LOCKS_MANY: usize = 1_024;

/// A connection that can be used.
#[derive(Clone)]
pub struct Open {
    /// Its client.
    pub client: Arc<dyn CrmClient>,
    /// Its id.
    pub connection: String,
    pub(super) owner: String,
    pub(super) crm: Crm,
    pub(super) token: Secret,
    instance_url: String,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Open({} of {})", self.crm, self.owner)
    }
}

impl Open {
    /// How it is reached.
    pub fn access(&self) -> CrmAccess<'_> {
        CrmAccess { token: &self.token, instance_url: &self.instance_url }
    }
}

/// Why a connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// There is none.
    #[error("it is not connected any more")]
    Disconnected,
    /// This server has no client for it.
    #[error("it is not configured on this server any more")]
    NotConfigured,
    /// Somebody has to connect it anew.
    #[error("it has to be connected anew: {0}")]
    Broken(String),
    /// It may be had later.
    #[error("no token is to be had: {0}")]
    Later(String),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Renews tokens.
#[derive(Debug)]
pub(super) struct Renewals {
    store: Arc<Store>,
    attempts: Attempts,
    /// By the connection's id.
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Renewals {
    pub(super) fn new(store: Arc<Store>, attempts: Attempts) -> Self {
        Self { store, attempts, locks: Mutex::default() }
    }

    /// Opens a user's connection. `refused`: a token that is not good, whatever is known of it.
    pub(super) async fn open(
        self: &Arc<Self>,
        client: &Arc<dyn CrmClient>,
        owner: &str,
        crm: Crm,
        refused: Option<&Secret>,
        now: UnixMs,
    ) -> Result<Open, AccessError> {
        let (connection, tokens) = self.read(owner, crm).await?;
        if is_good(&tokens, refused, now) {
            return Ok(opened(client.clone(), &connection, &tokens));
        }
        let (renewals, client) = (self.clone(), client.clone());
        let (owner, refused) = (owner.to_owned(), refused.cloned());
        let renewal = tokio::spawn(async move {
            let lock = renewals.lock_of(&connection.id);
            let _turn = lock.lock().await;
            // Somebody else may have had it before.
            let (connection, tokens) = renewals.read(&owner, crm).await?;
            if is_good(&tokens, refused.as_ref(), now) {
                return Ok(opened(client, &connection, &tokens));
            }
            renewals.renew(client, connection, &tokens, now).await
        });
        renewal.await.unwrap_or_else(|_| Err(AccessError::Later("its renewal broke off".into())))
    }

    async fn renew(
        &self,
        client: Arc<dyn CrmClient>,
        mut connection: CrmConnection,
        tokens: &Tokens,
        now: UnixMs,
    ) -> Result<Open, AccessError> {
        let refresh = Secret::new(&*tokens.refresh_token);
        let grant = match client.refresh(&refresh, &connection.instance_url).await {
            Ok(grant) => grant,
            Err(OAuthError::Consent(why)) => {
                self.store.break_crm(&connection.id, &why).await?;
                return Err(AccessError::Broken(why));
            }
            Err(error) => return Err(AccessError::Later(error.to_string())),
        };
        let tokens = Tokens::of(&grant, Some(&tokens.refresh_token), now).expect("there was one before");
        if let Some(instance_url) = grant.instance_url {
            connection.instance_url = instance_url;
        }
        let text = serde_json::to_vec(&tokens).expect("texts are JSON");
        let sealer = self.attempts.sealer().map_err(|error| AccessError::Broken(error.to_string()))?;
        connection.sealed = sealer.seal(CrmConnection::place(&connection.id), &text);
        self.store.renew_crm(connection.clone()).await?;
        Ok(opened(client, &connection, &tokens))
    }

    async fn read(&self, owner: &str, crm: Crm) -> Result<(CrmConnection, Tokens), AccessError> {
        let connection = self.store.crm_connection(owner, crm).await?.ok_or(AccessError::Disconnected)?;
        if let Some(why) = connection.broken {
            return Err(AccessError::Broken(why));
        }
        let sealer = self.attempts.sealer().map_err(|error| AccessError::Broken(error.to_string()))?;
        let opened = sealer.open(CrmConnection::place(&connection.id), &connection.sealed);
        let opened = opened.map_err(|error| AccessError::Broken(error.to_string()))?;
        let tokens = serde_json::from_slice(&opened)
            .map_err(|_| AccessError::Broken("what is kept of the consent is no JSON".into()))?;
        Ok((connection, tokens))
    }

    fn lock_of(&self, connection: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if locks.len() >= LOCKS_MANY {
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        locks.entry(connection.to_owned()).or_default().clone()
    }
}

fn is_good(tokens: &Tokens, refused: Option<&Secret>, now: UnixMs) -> bool {
    let is_refused = refused.is_some_and(|refused| refused.reveal() == tokens.access_token);
    !is_refused && tokens.expires_ms.is_none_or(|end| now.0 < end.saturating_sub(EARLY_MS))
}

fn opened(client: Arc<dyn CrmClient>, connection: &CrmConnection, tokens: &Tokens) -> Open {
    Open {
        client,
        connection: connection.id.clone(),
        owner: connection.owner.clone(),
        crm: connection.crm,
        token: Secret::new(&*tokens.access_token),
        instance_url: connection.instance_url.clone(),
    }
}
