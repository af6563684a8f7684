//! Outbound webhooks: addresses that a user wants to be told of events at, and what became of each telling.

mod body;
pub mod send;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ended_calls::EVENT;
use super::error::Error;
use super::keys::{Keys, random_hex};
use super::lines::Page;
use super::seal::{Place, Sealer};
use super::time::UnixMs;
use crate::integrations::webhook::WebhookSender;
use crate::store::Store;

/// Webhooks that one user may have.
pub const WEBHOOKS_MAX: usize = 50;

/// The longest URL, in bytes.
const URL_MAX: usize = 2_048;
/// The longest list of events, in bytes.
const EVENTS_MAX: usize = 256;

/// A webhook, its secret sealed as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundWebhook {
    /// Its id.
    pub id: String,
    /// Whose: a user's id.
    pub owner: String,
    /// What its owner calls it.
    pub name: String,
    /// Where it is told.
    pub url: String,
    /// Of which events: names with commas between them.
    pub events: String,
    /// Whether it is told.
    pub is_active: bool,
    /// What deliveries are signed with, sealed for [`OutboundWebhook::place`].
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created: UnixMs,
}

impl OutboundWebhook {
    /// Where the secret of a webhook stands.
    pub fn place(id: &str) -> Place<'_> {
        Place { table: "outbound_webhooks", column: "sealed", row: id }
    }

    /// Whether it is to be told of this event.
    pub fn wants(events: &str, event: &str) -> bool {
        events.split(',').any(|wanted| wanted == event || wanted == "*")
    }
}

/// What its owner may change of a webhook; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    /// Its name.
    pub name: Option<String>,
    /// Where it is told: what waits goes there too.
    pub url: Option<String>,
    /// Of which events, from then on.
    pub events: Option<String>,
    /// Whether it is told.
    pub is_active: Option<bool>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is not done yet.
    Pending,
    /// It was taken.
    Delivered,
    /// It was not, and is not tried again.
    Failed,
}

impl DeliveryState {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// The reverse of [`DeliveryState::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Failed].into_iter().find(|state| state.as_str() == text)
    }
}

/// One event on its way to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id, which stays the same from try to try.
    pub id: String,
    /// The event's name.
    pub event: String,
    /// What the event is of: of a call that ended, its id in `account_calls`.
    pub subject: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Why it failed for good.
    pub reason: Option<String>,
    /// When the event was.
    pub created: UnixMs,
    /// When it was taken or given up; none while it is pending.
    pub ended: Option<UnixMs>,
    /// What came of it so far.
    pub tries: Vec<DeliveryTry>,
}

/// One try of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryTry {
    /// Which, from 1.
    pub number: u32,
    /// When it began.
    pub at: UnixMs,
    /// How long it took, in ms.
    pub took_ms: u64,
    /// The answer's status; none if there was none.
    pub status: Option<u16>,
    /// The beginning of its body.
    pub answer: String,
    /// Why it does not count as taken; none if it does.
    pub error: Option<String>,
}

/// What a delivery's job is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Payload {
    /// The delivery.
    pub delivery: String,
    /// The webhook.
    pub webhook: String,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// The event's name.
    pub event: String,
    /// What the event is of.
    pub subject: String,
    /// The body, as JSON; none for a call that ended: it is made of the call's record.
    pub body: Option<String>,
}

/// All webhooks.
#[derive(Debug)]
pub struct Webhooks {
    store: Arc<Store>,
    keys: Arc<Keys>,
    sender: WebhookSender,
}

impl Webhooks {
    /// `sender`: says where a webhook may be.
    pub fn new(store: Arc<Store>, keys: Arc<Keys>, sender: WebhookSender) -> Self {
        Self { store, keys, sender }
    }

    /// Makes a webhook of a user's. `events`: names with commas between them; none are those of calls that ended.
    pub async fn add(
        &self,
        owner: &str,
        name: String,
        url: &str,
        events: &str,
        now: UnixMs,
    ) -> Result<OutboundWebhook, Error> {
        let url = self.destination(url).await?;
        let events = event_names(events)?;
        let id = uuid::Uuid::now_v7().to_string();
        let sealed = self.sealer()?.seal(OutboundWebhook::place(&id), new_secret().as_bytes());
        let webhook = OutboundWebhook {
            id,
            owner: owner.to_owned(),
            name,
            url,
            events,
            is_active: true,
            sealed,
            created: now,
        };
        self.store.add_webhook(webhook.clone()).await?;
        Ok(webhook)
    }

    /// Changes a user's webhook.
    pub async fn change(
        &self,
        owner: &str,
        id: &str,
        mut change: WebhookChange,
    ) -> Result<OutboundWebhook, Error> {
        if let Some(url) = &change.url {
            change.url = Some(self.destination(url).await?);
        }
        if let Some(events) = &change.events {
            change.events = Some(event_names(events)?);
        }
        self.store.change_webhook(owner, id, change).await
    }

    /// A URL that a webhook may have.
    async fn destination(&self, url: &str) -> Result<String, Error> {
        let url = url.trim();
        let refused = |why: String| Error::invalid("url", why);
        if url.len() > URL_MAX {
            return Err(refused(format!("must have at most {URL_MAX} bytes")));
        }
        self.sender.check(url).await.map_err(refused)?;
        Ok(url.to_owned())
    }

    /// What deliveries to this webhook are signed with.
    pub fn secret_of(&self, webhook: &OutboundWebhook) -> Result<String, Error> {
        open(self.sealer()?, webhook)
            .ok_or_else(|| Error::Conflict("The secret cannot be opened any more: make a new one".into()))
    }

    /// What deliveries to a user's webhook are signed with.
    pub async fn secret(&self, owner: &str, id: &str) -> Result<String, Error> {
        self.secret_of(&self.store.outbound_webhook(owner, id).await?)
    }

    /// Gives a user's webhook another secret, at once: deliveries that wait are signed with it.
    pub async fn renew_secret(&self, owner: &str, id: &str) -> Result<String, Error> {
        let secret = new_secret();
        let sealed = self.sealer()?.seal(OutboundWebhook::place(id), secret.as_bytes());
        self.store.renew_webhook(owner, id, sealed).await?;
        Ok(secret)
    }

    /// The deliveries of a user's webhook, the latest first.
    pub async fn deliveries(&self, owner: &str, id: &str, page: Page) -> Result<Vec<Delivery>, Error> {
        self.store.deliveries(owner, id, page).await
    }

    fn sealer(&self) -> Result<&Sealer, Error> {
        self.keys.sealer().ok_or_else(|| {
            Error::Unavailable("This server has no key to keep secrets with (OFFHOOK_MASTER_KEY)".into())
        })
    }
}

/// The secret of a webhook, if it is one of this server's key.
fn open(sealer: &Sealer, webhook: &OutboundWebhook) -> Option<String> {
    let opened = sealer.open(OutboundWebhook::place(&webhook.id), &webhook.sealed).ok()?;
    String::from_utf8(opened).ok()
}

fn new_secret() -> String {
    format!("whsec_{}", random_hex(32))
}

/// A list of names of events, as it is kept. None are those of calls that ended.
fn event_names(text: &str) -> Result<String, Error> {
    let refused = || {
        Error::invalid("events", format!("must be names of events with commas between them, such as {EVENT}"))
    };
    if text.len() > EVENTS_MAX {
        return Err(refused());
    }
    let mut names: Vec<&str> = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let is_name = name == "*"
            || name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte));
        if !is_name {
            return Err(refused());
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(if names.is_empty() { EVENT.to_owned() } else { names.join(",") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_names_with_commas() {
        for (text, kept) in [
            ("", "call.ended"),
            ("call.ended", "call.ended"),
            (" call.ended , call.started,call.ended", "call.ended,call.started"),
            ("*", "*"),
        ] {
            assert_eq!(event_names(text).unwrap(), kept, "{text}");
        }
        for text in ["call ended", "Call.Ended", "<b>", &"a".repeat(257)] {
            assert!(event_names(text).is_err(), "{text}");
        }
        assert!(OutboundWebhook::wants("call.started,call.ended", EVENT));
        assert!(OutboundWebhook::wants("*", EVENT));
        assert!(!OutboundWebhook::wants("call.started", EVENT));
    }
}
