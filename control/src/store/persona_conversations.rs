//! What personas and customers say to each other.
//!
//! A conversation begins in [`begin`] and ends in [`end`], and nowhere else: whatever follows from that is written there, in the
//! same transaction.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Store, StoreError, events};
use crate::domain::error::Error;
use crate::domain::events::{Event, Talk};
use crate::domain::personas::conversations::{
    Answered, CONVERSATION, Channel, Ending, Message, Open, Place, Speaker, Turn, Within, goes_on_since,
};
use crate::domain::time::UnixMs;

/// How many that are over are ended in one transaction.
const ENDED_AT_ONCE: i64 = 200;

/// A conversation that begins.
struct Beginning<'a> {
    owner: &'a str,
    persona: &'a str,
    customer: Option<&'a str>,
    channel: Channel,
    place: Option<&'a str>,
    at: UnixMs,
}

impl Store {
    /// The last `most` messages of a conversation by chat, in order, of an owner's persona with this customer, if one is named.
    pub async fn messages_of_chat(
        &self,
        owner: &str,
        persona: &str,
        customer: Option<&str>,
        conversation: &str,
        most: u32,
    ) -> Result<Vec<Message>, Error> {
        let [owner, persona, id] = [owner, persona, conversation].map(str::to_owned);
        let customer = customer.map(str::to_owned);
        self.read(move |connection| {
            let known: bool = connection
                .prepare_cached(
                    "SELECT EXISTS (
                         SELECT 1 FROM persona_conversations
                         WHERE id = ?1 AND owner = ?2 AND persona = ?3 AND channel = 'chat' AND (?4 IS NULL OR customer = ?4)
                     )",
                )?
                .query_row(params![id, owner, persona, customer], |row| row.get(0))?;
            if !known {
                return Ok(Err(Error::NotFound("Conversation")));
            }
            messages(connection, &id, most).map(Ok)
        })
        .await?
    }

    /// The conversation that goes on at a place, with its last `most` messages.
    pub async fn open_conversation(
        &self,
        place: Place,
        idle: Duration,
        now: UnixMs,
        most: u32,
    ) -> Result<Option<Open>, StoreError> {
        self.read(move |connection| {
            let found = connection
                .prepare_cached(
                    "SELECT id, persona FROM persona_conversations
                     WHERE channel = ?1 AND place = ?2 AND ended_ms IS NULL AND (channel = 'phone' OR last_ms > ?3)",
                )?
                .query_row(
                    params![place.channel.as_str(), place.name, goes_on_since(now, idle).0],
                    |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)),
                )
                .optional()?;
            let Some((id, persona)) = found else { return Ok(None) };
            let messages = messages(connection, &id, most)?;
            Ok(Some(Open { id, persona, messages }))
        })
        .await
    }

    /// What was answered to `source`, if it was.
    pub async fn answer_to(&self, source: &str) -> Result<Option<Answered>, StoreError> {
        let source = source.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT answer, persona, text FROM persona_messages
                     JOIN persona_conversations ON persona_conversations.id = conversation
                     WHERE source = ?1",
                )?
                .query_row([source], |row| {
                    Ok(Answered { id: row.get(0)?, persona: row.get(1)?, text: row.get(2)? })
                })
                .optional()
        })
        .await
    }

    /// Writes a question and its answer down, and begins a conversation if need be. Returns the conversation's id. What was
    /// answered before is not written again.
    pub async fn add_turn(&self, turn: Turn, idle: Duration) -> Result<String, Error> {
        self.change(move |connection| add_turn(connection, &turn, idle)).await?
    }

    /// Begins a conversation at a place, such as a call; the one that went on there ends.
    pub async fn begin_conversation(
        &self,
        owner: &str,
        persona: &str,
        customer: Option<&str>,
        place: Place,
        at: UnixMs,
    ) -> Result<String, Error> {
        let (owner, persona) = (owner.to_owned(), persona.to_owned());
        let customer = customer.map(str::to_owned);
        self.change(move |connection| {
            if !has_persona(connection, &owner, &persona)? {
                return Ok(Err(Error::NotFound("Persona")));
            }
            if let Some(before) = at_place(connection, &place)? {
                end(connection, &before, at, Ending::Over)?;
            }
            let customer = customer.as_deref();
            let Place { channel, name } = &place;
            let beginning = Beginning {
                owner: &owner,
                persona: &persona,
                customer,
                channel: *channel,
                place: Some(name),
                at,
            };
            begin(connection, &beginning).map(Ok)
        })
        .await?
    }

    /// Ends the conversation at a place. False if none goes on there.
    pub async fn end_conversation(&self, place: Place, why: Ending, at: UnixMs) -> Result<bool, StoreError> {
        self.change(move |connection| match at_place(connection, &place)? {
            Some(id) => end(connection, &id, at, why).map(|()| true),
            None => Ok(false),
        })
        .await
    }

    /// Ends conversations in which nobody said anything for `idle`, as of that time, and those whose call is over. True if there
    /// may be more.
    pub async fn end_idle_conversations(&self, idle: Duration, now: UnixMs) -> Result<bool, StoreError> {
        const OVER: &str = "SELECT id, last_ms, NULL FROM persona_conversations
             WHERE ended_ms IS NULL AND channel <> 'phone' AND last_ms <= ?1
             UNION ALL
             SELECT persona_conversations.id, last_ms, calls.ended_ms
             FROM persona_conversations JOIN calls ON calls.id = place
             WHERE persona_conversations.ended_ms IS NULL AND channel = 'phone' AND calls.ended_ms IS NOT NULL
             LIMIT ?2";
        let since = goes_on_since(now, idle);
        // To look costs the writer nothing, and there is mostly nothing to end.
        let any = move |connection: &Connection| connection.prepare_cached(OVER)?.exists(params![since.0, 1]);
        if !self.read(any).await? {
            return Ok(false);
        }
        let ended = self
            .change(move |connection| {
                let over: Vec<(String, i64, Option<i64>)> = connection
                    .prepare_cached(OVER)?
                    .query_map(params![since.0, ENDED_AT_ONCE], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })?
                    .collect::<Result<_, _>>()?;
                for (id, last, hung_up) in &over {
                    match hung_up {
                        Some(at) => end(connection, id, UnixMs(*at), Ending::Over)?,
                        None => end(connection, id, UnixMs(last + (now.0 - since.0)), Ending::Idle)?,
                    }
                }
                Ok(over.len())
            })
            .await?;
        Ok(ended as i64 == ENDED_AT_ONCE)
    }
}

/// Whether somebody talks with a persona: on a call that is not over, or within the last `idle`.
pub(super) fn any_goes_on(
    connection: &Connection,
    persona: &str,
    idle: Duration,
    now: UnixMs,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM persona_conversations
             WHERE persona = ?1 AND ended_ms IS NULL AND CASE channel
                 WHEN 'phone' THEN NOT EXISTS (SELECT 1 FROM calls WHERE calls.id = place AND calls.ended_ms IS NOT NULL)
                 ELSE last_ms > ?2
             END",
        )?
        .exists(params![persona, goes_on_since(now, idle).0])
}

/// Ends what nobody noticed was over, before its persona goes.
pub(super) fn end_all_of(connection: &Connection, persona: &str, idle: Duration) -> rusqlite::Result<()> {
    let idle_ms = i64::try_from(idle.as_millis()).unwrap_or(i64::MAX);
    let open: Vec<(String, i64)> = connection
        .prepare_cached(
            "SELECT id, last_ms FROM persona_conversations WHERE persona = ?1 AND ended_ms IS NULL",
        )?
        .query_map([persona], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (id, last) in open {
        end(connection, &id, UnixMs(last.saturating_add(idle_ms)), Ending::Idle)?;
    }
    Ok(())
}

fn begin(connection: &Connection, beginning: &Beginning<'_>) -> rusqlite::Result<String> {
    let Beginning { owner, persona, customer, channel, place, at } = beginning;
    let id = Uuid::now_v7().to_string();
    connection
        .prepare_cached(
            "INSERT INTO persona_conversations
                 (id, owner, persona, customer, channel, place, messages, started_ms, last_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?7)",
        )?
        .execute(params![id, owner, persona, customer, channel.as_str(), place, at.0])?;
    if let Some(customer) = customer {
        connection
            .prepare_cached("UPDATE customers SET conversations = conversations + 1 WHERE id = ?1")?
            .execute([customer])?;
        met(connection, customer, *at)?;
    }
    let talk = Talk { conversation: &shown(&id), persona, customer: *customer, channel: channel.as_str() };
    events::tell(connection, owner, &Event::ConversationStarted(talk), *at)?;
    Ok(id)
}

fn end(connection: &Connection, id: &str, at: UnixMs, why: Ending) -> rusqlite::Result<()> {
    let ended = connection
        .prepare_cached(
            "UPDATE persona_conversations SET ended_ms = max(?2, started_ms), end_reason = ?3
             WHERE id = ?1 AND ended_ms IS NULL
             RETURNING owner, persona, customer, channel, messages, ended_ms",
        )?
        .query_row(params![id, at.0, why.as_str()], |row| {
            let names: (String, String, Option<String>, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok((names, row.get::<_, u32>(4)?, UnixMs(row.get(5)?)))
        })
        .optional()?;
    let Some(((owner, persona, customer, channel), messages, at)) = ended else { return Ok(()) };
    let talk = Talk {
        conversation: &shown(id),
        persona: &persona,
        customer: customer.as_deref(),
        channel: &channel,
    };
    let event = Event::ConversationEnded { talk, messages: messages.into() };
    events::tell(connection, &owner, &event, at)
}

/// A conversation's id as users see it.
fn shown(id: &str) -> String {
    format!("{CONVERSATION}_{id}")
}

/// A customer wrote or called.
pub(super) fn met(connection: &Connection, customer: &str, at: UnixMs) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE customers SET last_contact_ms = max(coalesce(last_contact_ms, 0), ?2) WHERE id = ?1",
        )?
        .execute(params![customer, at.0])
        .map(drop)
}

fn add_turn(connection: &Connection, turn: &Turn, idle: Duration) -> rusqlite::Result<Result<String, Error>> {
    let answered: Option<String> = connection
        .prepare_cached("SELECT conversation FROM persona_messages WHERE source = ?1")?
        .query_row([&turn.source], |row| row.get(0))
        .optional()?;
    if let Some(conversation) = answered {
        return Ok(Ok(conversation));
    }
    if !has_persona(connection, &turn.owner, &turn.persona)? {
        return Ok(Err(Error::NotFound("Persona")));
    }
    let beginning = |channel, place| Beginning {
        owner: &turn.owner,
        persona: &turn.persona,
        customer: turn.customer.as_deref(),
        channel,
        place,
        at: turn.asked,
    };
    let conversation = match &turn.within {
        Within::New => begin(connection, &beginning(Channel::Chat, None))?,
        Within::Conversation(id) => {
            // It may have ended meanwhile, or long ago.
            let goes_on = connection
                .prepare_cached(
                    "UPDATE persona_conversations SET ended_ms = NULL, end_reason = NULL
                     WHERE id = ?1 AND owner = ?2 AND persona = ?3 AND channel = 'chat'",
                )?
                .execute(params![id, turn.owner, turn.persona])?;
            if goes_on == 0 {
                return Ok(Err(Error::NotFound("Conversation")));
            }
            id.clone()
        }
        Within::At(place) => {
            let since = goes_on_since(turn.asked, idle);
            let open = connection
                .prepare_cached(
                    "SELECT id, persona = ?3 AND (channel = 'phone' OR last_ms > ?4), last_ms
                     FROM persona_conversations WHERE channel = ?1 AND place = ?2 AND ended_ms IS NULL",
                )?
                .query_row(params![place.channel.as_str(), place.name, turn.persona, since.0], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?, row.get::<_, i64>(2)?))
                })
                .optional()?;
            match open {
                Some((id, true, _)) => id,
                open => {
                    if let Some((before, _, last)) = open {
                        let is_idle = last <= since.0;
                        let ended = if is_idle { last + (turn.asked.0 - since.0) } else { turn.asked.0 };
                        let why = if is_idle { Ending::Idle } else { Ending::Over };
                        end(connection, &before, UnixMs(ended), why)?;
                    }
                    begin(connection, &beginning(place.channel, Some(&place.name)))?
                }
            }
        }
    };
    let count: i64 = connection
        .prepare_cached(
            "UPDATE persona_conversations SET messages = messages + 2, last_ms = max(last_ms, ?2) WHERE id = ?1
             RETURNING messages",
        )?
        .query_row(params![conversation, turn.at.0], |row| row.get(0))?;
    let customer: Option<String> = connection
        .prepare_cached("SELECT customer FROM persona_conversations WHERE id = ?1")?
        .query_row([&conversation], |row| row.get(0))?;
    if let Some(customer) = customer {
        met(connection, &customer, turn.asked)?;
    }
    let mut say = connection.prepare_cached(
        "INSERT INTO persona_messages
             (conversation, message, speaker, text, answer, source, citations, prompt_tokens, completion_tokens, at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    say.execute(params![
        conversation,
        count - 1,
        Speaker::Customer.as_str(),
        turn.question,
        None::<String>,
        None::<String>,
        "[]",
        0,
        0,
        turn.asked.0,
    ])?;
    let cited = turn.citations.iter().map(
        |citation| json!({ "product": citation.product, "chunk": citation.chunk, "score": citation.score }),
    );
    say.execute(params![
        conversation,
        count,
        Speaker::Persona.as_str(),
        turn.answer,
        turn.id,
        turn.source,
        Value::Array(cited.collect()).to_string(),
        turn.prompt_tokens,
        turn.completion_tokens,
        turn.at.0,
    ])?;
    Ok(Ok(conversation))
}

fn has_persona(connection: &Connection, owner: &str, persona: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM personas WHERE id = ?1 AND owner = ?2")?.exists([persona, owner])
}

fn at_place(connection: &Connection, place: &Place) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT id FROM persona_conversations WHERE channel = ?1 AND place = ?2 AND ended_ms IS NULL",
        )?
        .query_row(params![place.channel.as_str(), place.name], |row| row.get(0))
        .optional()
}

fn messages(connection: &Connection, conversation: &str, most: u32) -> rusqlite::Result<Vec<Message>> {
    let mut last: Vec<Message> = connection
        .prepare_cached(
            "SELECT speaker, text FROM persona_messages WHERE conversation = ?1 ORDER BY message DESC LIMIT ?2",
        )?
        .query_map(params![conversation, most], |row| {
            let is_persona = row.get::<_, String>(0)? == Speaker::Persona.as_str();
            let speaker = if is_persona { Speaker::Persona } else { Speaker::Customer };
            Ok(Message { speaker, text: row.get(1)? })
        })?
        .collect::<Result<_, _>>()?;
    last.reverse();
    Ok(last)
}

#[cfg(test)]
mod tests;
