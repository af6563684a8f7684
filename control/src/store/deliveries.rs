//! Outbound webhooks, and what became of each delivery.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Store, StoreError};
use crate::domain::deliveries::{
    Delivery, DeliveryState, DeliveryTry, OutboundWebhook, Telling, WEBHOOKS_MAX, WebhookChange,
};
use crate::domain::error::Error;
use crate::domain::lines::Page;
use crate::domain::time::UnixMs;

/// What is not found, or is somebody else's.
const WEBHOOK: Error = Error::NotFound("Webhook");

impl Store {
    /// Makes a webhook, unless its owner has too many.
    pub async fn add_webhook(&self, new: OutboundWebhook) -> Result<(), Error> {
        self.change(move |connection| {
            let there: i64 = connection
                .prepare_cached("SELECT count(*) FROM outbound_webhooks WHERE owner = ?1")?
                .query_row([&new.owner], |row| row.get(0))?;
            if there >= WEBHOOKS_MAX as i64 {
                let told = format!("There are {WEBHOOKS_MAX} webhooks already, and that is the most");
                return Ok(Err(Error::Conflict(told)));
            }
            connection
                .prepare_cached(
                    "INSERT INTO outbound_webhooks (id, owner, name, url, events, active, sealed, created_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    new.id,
                    new.owner,
                    new.name,
                    new.url,
                    new.events,
                    new.is_active,
                    new.sealed,
                    new.created.0,
                ])?;
            Ok(Ok(()))
        })
        .await?
    }

    /// A user's webhooks, in the order of their making.
    pub async fn outbound_webhooks(
        &self,
        owner: &str,
        page: Page,
    ) -> Result<Vec<OutboundWebhook>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT * FROM outbound_webhooks WHERE owner = ?1 ORDER BY id LIMIT ?2 OFFSET ?3",
                )?
                .query_map(params![owner, page.limit.map_or(-1, i64::from), page.offset], webhook_from_row)?
                .collect()
        })
        .await
    }

    /// A user's webhook.
    pub async fn outbound_webhook(&self, owner: &str, id: &str) -> Result<OutboundWebhook, Error> {
        let owner = owner.to_owned();
        let webhook = self.webhook_of_any_owner(id).await?;
        webhook.filter(|webhook| webhook.owner == owner).ok_or(WEBHOOK)
    }

    /// A webhook, whoever owns it.
    pub async fn webhook_of_any_owner(&self, id: &str) -> Result<Option<OutboundWebhook>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT * FROM outbound_webhooks WHERE id = ?1")?
                .query_row([&id], webhook_from_row)
                .optional()
        })
        .await
    }

    /// Gives a user's webhook another secret.
    pub async fn renew_webhook(&self, owner: &str, id: &str, sealed: Vec<u8>) -> Result<(), Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        let changed = self
            .change(move |connection| {
                connection
                    .prepare_cached("UPDATE outbound_webhooks SET sealed = ?3 WHERE id = ?1 AND owner = ?2")?
                    .execute(params![id, owner, sealed])
            })
            .await?;
        if changed == 1 { Ok(()) } else { Err(WEBHOOK) }
    }

    /// Changes a user's webhook.
    pub async fn change_webhook(
        &self,
        owner: &str,
        id: &str,
        change: WebhookChange,
    ) -> Result<OutboundWebhook, Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.change(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE outbound_webhooks SET name = coalesce(?3, name), active = coalesce(?4, active),
                         url = coalesce(?5, url), events = coalesce(?6, events)
                     WHERE id = ?1 AND owner = ?2 RETURNING *",
                )?
                .query_row(
                    params![id, owner, change.name, change.is_active, change.url, change.events],
                    webhook_from_row,
                )
                .optional()
        })
        .await?
        .ok_or(WEBHOOK)
    }

    /// Takes a user's webhook out, and what is known of its deliveries. Those that wait are not done.
    pub async fn remove_webhook(&self, owner: &str, id: &str) -> Result<(), Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        let removed = self
            .change(move |connection| {
                connection
                    .execute("DELETE FROM outbound_webhooks WHERE id = ?1 AND owner = ?2", [&id, &owner])
            })
            .await?;
        if removed == 1 { Ok(()) } else { Err(WEBHOOK) }
    }

    /// The deliveries of a user's webhook with their tries, the latest first.
    pub async fn deliveries(&self, owner: &str, webhook: &str, page: Page) -> Result<Vec<Delivery>, Error> {
        let webhook = self.outbound_webhook(owner, webhook).await?.id;
        let read = self.read(move |connection| {
            let mut deliveries: Vec<Delivery> = connection
                .prepare_cached(
                    "SELECT * FROM deliveries WHERE webhook = ?1 ORDER BY id DESC LIMIT ?2 OFFSET ?3",
                )?
                .query_map(
                    params![webhook, page.limit.map_or(-1, i64::from), page.offset],
                    delivery_from_row,
                )?
                .collect::<Result<_, _>>()?;
            for delivery in &mut deliveries {
                delivery.tries = tries(connection, &delivery.id)?;
            }
            Ok(deliveries)
        });
        Ok(read.await?)
    }

    /// What a delivery tells. None if its webhook was removed.
    pub async fn telling(&self, delivery: &str) -> Result<Option<Telling>, StoreError> {
        let delivery = delivery.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT event, subject, body FROM deliveries WHERE id = ?1")?
                .query_row([delivery], |row| {
                    Ok(Telling {
                        event: row.get("event")?,
                        subject: row.get("subject")?,
                        body: row.get("body")?,
                    })
                })
                .optional()
        })
        .await
    }

    /// A delivery was tried; with `ended`, it was taken.
    pub async fn delivery_tried(
        &self,
        delivery: &str,
        tried: DeliveryTry,
        ended: Option<UnixMs>,
    ) -> Result<(), StoreError> {
        let delivery = delivery.to_owned();
        self.change(move |connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO delivery_tries (delivery, try, at_ms, took_ms, status, answer, error)
                     SELECT id, ?2, ?3, ?4, ?5, ?6, ?7 FROM deliveries WHERE id = ?1",
                )?
                .execute(params![
                    delivery,
                    tried.number,
                    tried.at.0,
                    tried.took_ms as i64,
                    tried.status,
                    tried.answer,
                    tried.error,
                ])?;
            if let Some(at) = ended {
                connection
                    .prepare_cached(
                        "UPDATE deliveries SET state = 'delivered', reason = NULL, ended_ms = ?2 WHERE id = ?1",
                    )?
                    .execute(params![delivery, at.0])?;
            }
            Ok(())
        })
        .await
    }

    /// A delivery is given up.
    pub async fn delivery_failed(&self, delivery: &str, reason: &str, at: UnixMs) -> Result<(), StoreError> {
        let (delivery, reason) = (delivery.to_owned(), reason.to_owned());
        self.change(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE deliveries SET state = 'failed', reason = ?2, ended_ms = ?3
                     WHERE id = ?1 AND state <> 'delivered'",
                )?
                .execute(params![delivery, reason, at.0])
                .map(drop)
        })
        .await
    }
}

fn tries(connection: &Connection, delivery: &str) -> rusqlite::Result<Vec<DeliveryTry>> {
    connection
        .prepare_cached("SELECT * FROM delivery_tries WHERE delivery = ?1 ORDER BY try")?
        .query_map([delivery], |row| {
            Ok(DeliveryTry {
                number: row.get("try")?,
                at: UnixMs(row.get("at_ms")?),
                took_ms: row.get::<_, i64>("took_ms")? as u64,
                status: row.get("status")?,
                answer: row.get("answer")?,
                error: row.get("error")?,
            })
        })?
        .collect()
}

fn webhook_from_row(row: &Row<'_>) -> rusqlite::Result<OutboundWebhook> {
    Ok(OutboundWebhook {
        id: row.get("id")?,
        owner: row.get("owner")?,
        name: row.get("name")?,
        url: row.get("url")?,
        events: row.get("events")?,
        is_active: row.get("active")?,
        sealed: row.get("sealed")?,
        created: UnixMs(row.get("created_ms")?),
    })
}

fn delivery_from_row(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let state: String = row.get("state")?;
    Ok(Delivery {
        id: row.get("id")?,
        event: row.get("event")?,
        subject: row.get("subject")?,
        state: DeliveryState::from_text(&state).unwrap_or(DeliveryState::Pending),
        reason: row.get("reason")?,
        created: UnixMs(row.get("created_ms")?),
        ended: row.get::<_, Option<i64>>("ended_ms")?.map(UnixMs),
        tries: Vec::new(),
    })
}
