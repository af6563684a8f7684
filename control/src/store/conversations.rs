//! Calls on lines: what was said, and which run.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::calls::{call_id, turns};
use super::{Store, StoreError, lines};
use crate::domain::conversations::{ActiveCall, Conversation, Removed};
use crate::domain::error::Error;
use crate::domain::lines::Page;
use crate::domain::time::UnixMs;

/// What a conversation is read from: calls that were answered.
const CONVERSATIONS: &str =
    "SELECT calls.id, line_calls.line, line_calls.contact, calls.answered_ms, calls.duration_ms
                             FROM line_calls JOIN calls ON calls.id = line_calls.call
                             WHERE calls.answered_ms IS NOT NULL";

impl Store {
    /// The conversations of an owner's line, the latest first, each as far as it has come.
    pub async fn conversations(
        &self,
        owner: &str,
        line: &str,
        page: Page,
    ) -> Result<Vec<Conversation>, Error> {
        let (owner, line) = (owner.to_owned(), line.to_owned());
        self.read(move |connection| {
            if let Err(error) = lines::found(connection, &owner, &line)? {
                return Ok(Err(error));
            }
            let (limit, offset) = (page.limit.map_or(-1, i64::from), page.offset);
            let mut found = connection
                .prepare_cached(&format!(
                    "{CONVERSATIONS} AND line_calls.line = ?1 ORDER BY line_calls.call DESC LIMIT ?2 OFFSET ?3"
                ))?
                .query_map(params![line, limit, offset], conversation_from_row)?
                .collect::<Result<Vec<_>, _>>()?;
            for conversation in &mut found {
                conversation.turns = turns(connection, &conversation.call)?;
            }
            Ok(Ok(found))
        })
        .await?
    }

    /// A conversation on one of an owner's lines.
    pub async fn conversation(&self, owner: &str, id: &str) -> Result<Conversation, Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.read(move |connection| {
            let Some(mut conversation) = find(connection, &owner, &id)? else {
                return Ok(Err(Error::NotFound("Conversation")));
            };
            conversation.turns = turns(connection, &conversation.call)?;
            Ok(Ok(conversation))
        })
        .await?
    }

    /// Takes a conversation on one of an owner's lines out, and the whole record of its call. What it cost stays.
    pub async fn remove_conversation(&self, owner: &str, id: &str) -> Result<Removed, Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.change(move |connection| {
            let Some(conversation) = find(connection, &owner, &id)? else {
                return Ok(Err(Error::NotFound("Conversation")));
            };
            connection.execute("DELETE FROM calls WHERE id = ?1", [conversation.call.as_str()])?;
            Ok(Ok(Removed { calls: vec![conversation.call] }))
        })
        .await?
    }

    /// The calls that run on an owner's lines, or on all lines; the latest first.
    pub async fn active_calls(&self, owner: Option<&str>, page: Page) -> Result<Vec<ActiveCall>, StoreError> {
        let owner = owner.map(str::to_owned);
        self.read(move |connection| {
            let (limit, offset) = (page.limit.map_or(-1, i64::from), page.offset);
            connection
                .prepare_cached(
                    "SELECT calls.id, lines.id AS line, lines.name, lines.owner, calls.from_number, calls.answered_ms
                     FROM calls JOIN line_calls ON line_calls.call = calls.id JOIN lines ON lines.id = line_calls.line
                     WHERE calls.ended_ms IS NULL AND calls.answered_ms IS NOT NULL
                           AND (?1 IS NULL OR lines.owner = ?1)
                     ORDER BY calls.id DESC LIMIT ?2 OFFSET ?3",
                )?
                .query_map(params![owner, limit, offset], |row| {
                    Ok(ActiveCall {
                        call: call_id(row, 0)?,
                        line: row.get("line")?,
                        line_name: row.get("name")?,
                        owner: row.get("owner")?,
                        from: row.get("from_number")?,
                        answered: UnixMs(row.get("answered_ms")?),
                    })
                })?
                .collect()
        })
        .await
    }
}

/// Takes all calls of a line out of the records.
pub(super) fn remove_of_line(connection: &Connection, line: &str) -> rusqlite::Result<Removed> {
    let calls = connection
        .prepare_cached("SELECT call FROM line_calls WHERE line = ?1 ORDER BY call")?
        .query_map([line], |row| call_id(row, 0))?
        .collect::<Result<_, _>>()?;
    connection
        .execute("DELETE FROM calls WHERE id IN (SELECT call FROM line_calls WHERE line = ?1)", [line])?;
    Ok(Removed { calls })
}

fn find(connection: &Connection, owner: &str, id: &str) -> rusqlite::Result<Option<Conversation>> {
    connection
        .prepare_cached(&format!(
            "{CONVERSATIONS} AND calls.id = ?1
             AND EXISTS (SELECT 1 FROM lines WHERE lines.id = line_calls.line AND lines.owner = ?2)"
        ))?
        .query_row([id, owner], conversation_from_row)
        .optional()
}

fn conversation_from_row(row: &Row<'_>) -> rusqlite::Result<Conversation> {
    Ok(Conversation {
        call: call_id(row, 0)?,
        line: row.get("line")?,
        contact: row.get("contact")?,
        answered: UnixMs(row.get("answered_ms")?),
        duration_ms: row.get::<_, Option<i64>>("duration_ms")?.map(|ms| ms as u64),
        turns: Vec::new(),
    })
}
