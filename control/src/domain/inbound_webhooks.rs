//! Addresses that a user's calls are reported to from outside.
//!
//! Who reports has to know the webhook's secret: shown as it is, or as the key of an HMAC over the body.

use std::sync::Arc;

use ring::hmac;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::account_calls::CallReport;
use super::error::Error;
use super::keys::{Keys, random_hex};
use super::seal::Place;
use super::time::UnixMs;
use crate::hex;
use crate::settings::Secret;
use crate::store::{Store, StoreError};

/// How a webhook's token begins, so that it cannot be taken for a path of another kind.
pub const TOKEN_PREFIX: &str = "wh_";

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundWebhook {
    /// Ours: a UUID.
    pub id: String,
    /// Whose: a user's id.
    pub owner: String,
    /// As its owner calls it.
    pub name: String,
    /// In its URL.
    pub token: String,
    /// Its secret, sealed.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created: UnixMs,
}

/// What a message shows of the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// The secret itself.
    Secret(&'a str),
    /// HMAC-SHA256 of the body, in hexadecimal digits.
    Hmac(&'a str),
    /// Nothing.
    Nothing,
}

/// All of them.
#[derive(Debug)]
pub struct InboundWebhooks {
    store: Arc<Store>,
    keys: Arc<Keys>,
    /// Whether messages count that show nothing.
    takes_unsigned: bool,
}

impl InboundWebhooks {
    /// `takes_unsigned`: whether messages count that show nothing of the secret.
    pub fn new(store: Arc<Store>, keys: Arc<Keys>, takes_unsigned: bool) -> Self {
        Self { store, keys, takes_unsigned }
    }

    /// Makes a webhook, and gives its secret, which is not shown again.
    pub async fn create(
        &self,
        owner: &str,
        name: &str,
        at: UnixMs,
    ) -> Result<(InboundWebhook, Secret), Error> {
        let sealer = self.keys.sealer().ok_or_else(|| {
            Error::Unavailable("This server has no key to keep secrets with (OFFHOOK_MASTER_KEY)".into())
        })?;
        let id = Uuid::now_v7().to_string();
        let secret = random_hex(24);
        let webhook = InboundWebhook {
            sealed: sealer.seal(place(&id), secret.as_bytes()),
            id,
            owner: owner.into(),
            name: name.into(),
            token: format!("{TOKEN_PREFIX}{}", random_hex(24)),
            created: at,
        };
        self.store.add_inbound_webhook(webhook.clone()).await?;
        Ok((webhook, Secret::new(secret)))
    }

    /// The webhook of a token.
    pub async fn of_token(&self, token: &str) -> Result<Option<InboundWebhook>, StoreError> {
        if !token.starts_with(TOKEN_PREFIX) || token.len() > 128 {
            return Ok(None);
        }
        self.store.inbound_webhook(token).await
    }

    /// Whether who sent this body knows the webhook's secret.
    pub fn knows_secret(&self, webhook: &InboundWebhook, shown: Shown<'_>, body: &[u8]) -> bool {
        let opened =
            || self.keys.sealer().and_then(|sealer| sealer.open(place(&webhook.id), &webhook.sealed).ok());
        match shown {
            Shown::Nothing => self.takes_unsigned,
            Shown::Secret(given) => opened().is_some_and(|secret| secret.ct_eq(given.as_bytes()).into()),
            Shown::Hmac(given) => {
                let tag: Option<[u8; 32]> = hex::decode(given);
                let key = opened().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, &secret));
                tag.zip(key).is_some_and(|(tag, key)| hmac::verify(&key, body, &tag).is_ok())
            }
        }
    }

    /// Takes what was reported of a call.
    pub async fn take(
        &self,
        webhook: &InboundWebhook,
        report: CallReport,
        at: UnixMs,
    ) -> Result<(), StoreError> {
        self.store.report_call(&webhook.owner, &webhook.id, report, at).await
    }
}

fn place(id: &str) -> Place<'_> {
    Place { table: "inbound_webhooks", column: "sealed", row: id }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[tokio::test]
    async fn who_knows_the_secret_is_believed_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
        let keys = Arc::new(Keys::load(&Settings::local(dir.path().into())).unwrap());
        let pat =
            store.add_account("pat@example.com", "Pat", "h".into(), false, UnixMs(1)).await.unwrap().unwrap();
        let strict = InboundWebhooks::new(store.clone(), keys.clone(), false);
        let (webhook, secret) = strict.create(&pat.id, "My Webhook", UnixMs(2)).await.unwrap();
        assert_eq!(strict.of_token(&webhook.token).await.unwrap(), Some(webhook.clone()));
        for token in ["", "wh_", "wh_0", &webhook.token[3..], &format!("wh_{}", "0".repeat(500))] {
            assert_eq!(strict.of_token(token).await.unwrap(), None, "{token}");
        }
        let (_, other) = strict.create(&pat.id, "Another", UnixMs(2)).await.unwrap();
        let signed = |secret: &Secret, body: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
            hex::encode(hmac::sign(&key, body).as_ref())
        };
        let (good, bad) = (signed(&secret, b"body"), signed(&other, b"body"));
        for (shown, known) in [
            (Shown::Secret(secret.reveal()), true),
            (Shown::Secret(other.reveal()), false),
            (Shown::Secret(""), false),
            (Shown::Hmac(&good), true),
            (Shown::Hmac(&bad), false),
            (Shown::Hmac("zz"), false),
            (Shown::Nothing, false),
        ] {
            assert_eq!(strict.knows_secret(&webhook, shown, b"body"), known, "{shown:?}");
        }
        assert!(!strict.knows_secret(&webhook, Shown::Hmac(&good), b"bodY"));
        let lenient = InboundWebhooks::new(store, keys, true);
        assert!(lenient.knows_secret(&webhook, Shown::Nothing, b"body"));
        assert!(
            !lenient.knows_secret(&webhook, Shown::Secret("guess"), b"body"),
            "what is shown is looked at"
        );
    }
}
