//! Authorizations on their way: somebody was sent to another service to consent, and comes back with a code.
//!
//! What has to come back with an answer is kept for ten minutes, by the digest of its state, and taken out by the first use. The
//! verifier and what else proves it are sealed meanwhile, as tokens are for good.

use std::sync::Arc;

use super::connections::{Begun, Proof, Purpose, STATE_LIFE_MS, Whose};
use super::error::Error;
use super::keys::Keys;
use super::seal::Sealer;
use super::time::UnixMs;
use crate::hex;
use crate::integrations::oauth::Attempt;
use crate::store::Store;

/// The longest code or state that is looked at, in bytes.
const TEXT_MAX: usize = 2_048;

/// An authorization to be finished in a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Where the browser goes.
    pub url: String,
    /// What comes back with it.
    pub state: String,
}

/// All that are on their way.
#[derive(Clone, Debug)]
pub struct Attempts {
    store: Arc<Store>,
    keys: Arc<Keys>,
}

impl Attempts {
    /// `keys`: what they are sealed with.
    pub fn new(store: Arc<Store>, keys: Arc<Keys>) -> Self {
        Self { store, keys }
    }

    /// Begins one that comes back at `redirect_uri`. `instance_url`: see [`Proof`].
    pub async fn begin(
        &self,
        purpose: Purpose,
        whose: Whose,
        redirect_uri: String,
        instance_url: Option<String>,
        now: UnixMs,
    ) -> Result<Attempt, Error> {
        let sealer = self.sealer()?;
        let attempt = Attempt::new().map_err(|error| Error::Unavailable(error.to_string()))?;
        let digest = digest(attempt.state.reveal());
        let proof = Proof {
            verifier: attempt.verifier.reveal().to_owned(),
            nonce: attempt.nonce.reveal().to_owned(),
            instance_url,
        };
        let proof = serde_json::to_vec(&proof).expect("texts are JSON");
        let sealed = sealer.seal(Begun::place(&digest), &proof);
        let expires = UnixMs(now.0 + STATE_LIFE_MS);
        self.store.begin(Begun { digest, purpose, whose, redirect_uri, sealed, expires }, now).await?;
        Ok(attempt)
    }

    /// One comes back, once. `service`: who gave the code.
    pub async fn come_back(
        &self,
        purpose: Purpose,
        service: &str,
        code: &str,
        state: &str,
        now: UnixMs,
    ) -> Result<(Begun, Proof), Error> {
        let sealer = self.sealer()?;
        let unknown = || Error::invalid("state", "is unknown, was used before, or is older than ten minutes");
        if state.is_empty() || state.len() > TEXT_MAX {
            return Err(unknown());
        }
        if code.is_empty() || code.len() > TEXT_MAX {
            return Err(Error::invalid("code", format!("is not one of {service}'s")));
        }
        let digest = digest(state);
        let begun = self.store.come_back(&digest, purpose, now).await?.ok_or_else(unknown)?;
        let proof = sealer.open(Begun::place(&digest), &begun.sealed).map_err(|_| unknown())?;
        Ok((begun, serde_json::from_slice(&proof).map_err(|_| unknown())?))
    }

    /// What secrets are sealed with.
    pub fn sealer(&self) -> Result<&Sealer, Error> {
        self.keys.sealer().ok_or_else(|| {
            Error::Unavailable("This server has no key to keep secrets with (OFFHOOK_MASTER_KEY)".into())
        })
    }
}

fn digest(state: &str) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, state.as_bytes()).as_ref())
}
