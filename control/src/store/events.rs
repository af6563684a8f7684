//! Events, written down for the webhooks that want them, in the transaction of what they tell of: neither is there without the other.

use rusqlite::{Connection, params};
use serde_json::to_value;
use uuid::Uuid;

use super::jobs;
use crate::domain::deliveries::{OutboundWebhook, Payload, send};
use crate::domain::events::Event;
use crate::domain::jobs::{Lane, NewJob};
use crate::domain::time::UnixMs;

/// An owner's webhooks are told of this. Again, it changes nothing.
pub(crate) fn tell(
    connection: &Connection,
    owner: &str,
    event: &Event<'_>,
    now: UnixMs,
) -> rusqlite::Result<()> {
    let body = event.body(owner, now).to_string();
    put_on_its_way(connection, owner, event.name(), &event.subject(), Some(&body), now)
}

/// Has an event delivered to each of an owner's webhooks that wants it. `body`: see the table.
pub(super) fn put_on_its_way(
    connection: &Connection,
    owner: &str,
    event: &str,
    subject: &str,
    body: Option<&str>,
    now: UnixMs,
) -> rusqlite::Result<()> {
    let webhooks: Vec<(String, String)> = connection
        .prepare_cached("SELECT id, events FROM outbound_webhooks WHERE owner = ?1 AND active = 1")?
        .query_map([owner], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (webhook, _) in webhooks.iter().filter(|(_, events)| OutboundWebhook::wants(events, event)) {
        let id = Uuid::now_v7().to_string();
        let added = connection
            .prepare_cached(
                "INSERT INTO deliveries (id, webhook, event, subject, state, created_ms, body)
                 VALUES (?1, ?2, ?3, ?4, 'pending', ?5, ?6) ON CONFLICT (webhook, event, subject) DO NOTHING",
            )?
            .execute(params![id, webhook, event, subject, now.0, body])?;
        if added == 0 {
            continue;
        }
        let payload = Payload { delivery: id.clone(), webhook: webhook.clone() };
        let job = NewJob {
            kind: send::KIND,
            key: id,
            lane: Lane::ordered(format!("{} {webhook}", send::KIND)),
            payload: to_value(payload).expect("texts are JSON"),
            at: now,
        };
        jobs::enqueue(connection, &job)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::crm::testing::{ALL, Desk};
    use crate::domain::events::Talk;

    const TALK: Talk<'_> = Talk { conversation: "conv_1", persona: "p", customer: None, channel: "chat" };

    async fn webhook(desk: &Desk, events: &str) -> String {
        let url = "https://hooks.example.invalid/".to_owned();
        desk.webhooks.add(&desk.owner, "Hook".into(), &url, events, desk.now()).await.unwrap().id
    }

    /// The events that are on their way to a webhook, the first one first.
    async fn told(desk: &Desk, webhook: &str) -> Vec<String> {
        let deliveries = desk.webhooks.deliveries(&desk.owner, webhook, ALL).await.unwrap();
        deliveries.into_iter().rev().map(|delivery| delivery.event).collect()
    }

    #[tokio::test]
    async fn who_wants_an_event_is_told_once() {
        let desk = Desk::start().await;
        let (all, one, calls) =
            (webhook(&desk, "*").await, webhook(&desk, "conversation.ended").await, webhook(&desk, "").await);
        let owner = desk.owner.clone();
        for _ in 0..2 {
            let owner = owner.clone();
            let tell_all = move |connection: &Connection| {
                for event in [
                    Event::VoiceCloned { persona: "p", voice: "v", job: "job_voice_1" },
                    Event::PersonaAnalyzed { persona: "p", job: "job_persona_1" },
                    Event::ProductsIngested { catalogue: "c", job: "job_products_1", products: 1, chunks: 2 },
                    Event::ConversationStarted(TALK),
                    Event::ConversationEnded { talk: TALK, messages: 2 },
                ] {
                    tell(connection, &owner, &event, UnixMs(5))?;
                    tell(connection, "somebody else", &event, UnixMs(5))?;
                }
                Ok(())
            };
            desk.store.change(tell_all).await.unwrap();
        }
        assert_eq!(told(&desk, &all).await, crate::domain::events::NAMES[1..]);
        assert_eq!(told(&desk, &one).await, ["conversation.ended"]);
        assert!(told(&desk, &calls).await.is_empty());
        // It went on, and is over again.
        let again = move |connection: &Connection| {
            tell(connection, &owner, &Event::ConversationEnded { talk: TALK, messages: 4 }, UnixMs(6))
        };
        desk.store.change(again).await.unwrap();
        assert_eq!(told(&desk, &one).await, ["conversation.ended"; 2]);
    }

    #[tokio::test]
    async fn what_does_not_happen_is_not_told() {
        let desk = Desk::start().await;
        let webhook = webhook(&desk, "*").await;
        let owner = desk.owner.clone();
        let undone = desk.store.change(move |connection: &Connection| {
            tell(connection, &owner, &Event::ConversationStarted(TALK), UnixMs(5))?;
            Err::<(), _>(rusqlite::Error::InvalidQuery)
        });
        assert!(undone.await.is_err());
        assert!(told(&desk, &webhook).await.is_empty());
    }
}
