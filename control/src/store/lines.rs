//! Lines with their assistants.

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{Store, StoreError, conversations, ledger};
use crate::domain::conversations::Removed;
use crate::domain::error::Error;
use crate::domain::line_desks::desk_of;
use crate::domain::lines::{Assistant, Line, LineChange, NewLine, Page, Tool, VoiceProvider};
use crate::domain::time::UnixMs;

/// What a line is read from.
const LINES: &str = "SELECT lines.*, prompt, greeting, llm_model, stt_model, tts_provider, tts_voice, tools
                     FROM lines JOIN assistants ON assistants.id = lines.assistant";

impl Store {
    /// Makes a line. A number has one line at most.
    pub async fn add_line(&self, new: NewLine, at: UnixMs) -> Result<Line, Error> {
        let (line, assistant) = (Uuid::now_v7().to_string(), Uuid::now_v7().to_string());
        self.change(move |connection| {
            if let Some(taken) = number_taken(connection, new.number.as_str(), &line)? {
                return Ok(Err(taken));
            }
            let with = &new.assistant;
            connection
                .prepare_cached(
                    "INSERT INTO assistants (id, owner, prompt, greeting, llm_model, stt_model, tts_provider, tts_voice,
                                             tools, created_ms, updated_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
                )?
                .execute(params![
                    assistant,
                    new.owner,
                    with.prompt,
                    with.greeting,
                    with.llm_model,
                    with.stt_model,
                    with.tts_provider.as_str(),
                    with.tts_voice,
                    tools_text(&with.tools),
                    at.0,
                ])?;
            connection
                .prepare_cached(
                    "INSERT INTO lines (id, owner, assistant, name, number, calendar, balance_s, active, created_ms,
                                        updated_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?8)",
                )?
                .execute(params![
                    line,
                    new.owner,
                    assistant,
                    new.name,
                    new.number.as_str(),
                    new.calendar,
                    new.active,
                    at.0,
                ])?;
            if new.balance_s > 0 {
                ledger::grant(connection, &line, new.balance_s.into(), at)?;
            }
            found(connection, &new.owner, &line)
        })
        .await?
    }

    /// The lines of an owner, in the order in which they were made.
    pub async fn lines(&self, owner: &str, page: Page) -> Result<Vec<Line>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            let (limit, offset) = (page.limit.map_or(-1, i64::from), page.offset);
            connection
                .prepare_cached(&format!(
                    "{LINES} WHERE lines.owner = ?1 ORDER BY lines.id LIMIT ?2 OFFSET ?3"
                ))?
                .query_map(params![owner, limit, offset], line_from_row)?
                .collect()
        })
        .await
    }

    /// A line of this owner.
    pub async fn line(&self, owner: &str, id: &str) -> Result<Line, Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.read(move |connection| found(connection, &owner, &id)).await?
    }

    /// A line, whoever owns it.
    pub async fn any_line(&self, id: &str) -> Result<Option<Line>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(&format!("{LINES} WHERE lines.id = ?1"))?
                .query_row([id], line_from_row)
                .optional()
        })
        .await
    }

    /// The line of a number, whoever owns it.
    pub async fn line_of_number(&self, number: &str) -> Result<Option<Line>, StoreError> {
        let number = number.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(&format!("{LINES} WHERE lines.number = ?1"))?
                .query_row([number], line_from_row)
                .optional()
        })
        .await
    }

    /// Changes a line of this owner.
    pub async fn change_line(
        &self,
        owner: &str,
        id: &str,
        change: LineChange,
        at: UnixMs,
    ) -> Result<Line, Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.change(move |connection| {
            let known = match found(connection, &owner, &id)? {
                Ok(line) => line,
                Err(error) => return Ok(Err(error)),
            };
            if let Some(number) = &change.number
                && let Some(taken) = number_taken(connection, number.as_str(), &id)?
            {
                return Ok(Err(taken));
            }
            connection
                .prepare_cached(
                    "UPDATE assistants
                     SET prompt = coalesce(?2, prompt), greeting = coalesce(?3, greeting),
                         llm_model = coalesce(?4, llm_model), stt_model = coalesce(?5, stt_model),
                         tts_provider = coalesce(?6, tts_provider), tts_voice = coalesce(?7, tts_voice),
                         tools = coalesce(?8, tools), updated_ms = ?9
                     WHERE id = (SELECT assistant FROM lines WHERE id = ?1)",
                )?
                .execute(params![
                    id,
                    change.prompt,
                    change.greeting,
                    change.llm_model,
                    change.stt_model,
                    change.tts_provider.map(VoiceProvider::as_str),
                    change.tts_voice,
                    change.tools.as_deref().map(tools_text),
                    at.0,
                ])?;
            connection
                .prepare_cached(
                    "UPDATE lines
                     SET name = coalesce(?2, name), number = coalesce(?3, number), calendar = coalesce(?4, calendar),
                         active = coalesce(?5, active), updated_ms = ?6
                     WHERE id = ?1",
                )?
                .execute(params![
                    id,
                    change.name,
                    change.number.as_ref().map(|number| number.as_str()),
                    change.calendar,
                    change.active,
                    at.0,
                ])?;
            let known_s = known.balance_s as i64;
            if let Some(balance) = change.balance_s.map(i64::from).filter(|balance| *balance != known_s) {
                ledger::grant(connection, &id, balance - known_s, at)?;
            }
            found(connection, &owner, &id)
        })
        .await?
    }

    /// Takes a line of this owner out, with its contacts, calls and all else that it has. Says which calls.
    pub async fn remove_line(&self, owner: &str, id: &str) -> Result<Removed, Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.change(move |connection| {
            if let Err(error) = found(connection, &owner, &id)? {
                return Ok(Err(error));
            }
            let removed = conversations::remove_of_line(connection, &id)?;
            let assistant: String =
                connection.query_row("SELECT assistant FROM lines WHERE id = ?1", [&id], |row| row.get(0))?;
            connection.execute("DELETE FROM appointments WHERE desk = ?1", [desk_of(&id)])?;
            connection.execute("DELETE FROM lines WHERE id = ?1", [&id])?;
            connection.execute(
                "DELETE FROM assistants WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM lines WHERE assistant = ?1)",
                [&assistant],
            )?;
            Ok(Ok(removed))
        })
        .await?
    }
}

/// A line of this owner; nobody is told of others' lines.
pub(super) fn found(connection: &Connection, owner: &str, id: &str) -> rusqlite::Result<Result<Line, Error>> {
    let line = connection
        .prepare_cached(&format!("{LINES} WHERE lines.id = ?1 AND lines.owner = ?2"))?
        .query_row([id, owner], line_from_row)
        .optional()?;
    Ok(line.ok_or(Error::NotFound("Client")))
}

fn number_taken(connection: &Connection, number: &str, except: &str) -> rusqlite::Result<Option<Error>> {
    let taken = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM lines WHERE number = ?1 AND id <> ?2)")?
        .query_row([number, except], |row| row.get::<_, bool>(0))?;
    Ok(taken.then(|| Error::Conflict(format!("The phone number {number} is in use"))))
}

fn tools_text(tools: &[Tool]) -> String {
    let names: Vec<&str> = tools.iter().map(|tool| tool.as_str()).collect();
    serde_json::to_string(&names).expect("names are JSON")
}

fn line_from_row(row: &Row<'_>) -> rusqlite::Result<Line> {
    let provider: String = row.get("tts_provider")?;
    let tools: String = row.get("tools")?;
    let tools: Vec<String> = serde_json::from_str(&tools).unwrap_or_default();
    Ok(Line {
        id: row.get("id")?,
        owner: row.get("owner")?,
        name: row.get("name")?,
        number: row.get("number")?,
        calendar: row.get("calendar")?,
        assistant: Assistant {
            prompt: row.get("prompt")?,
            greeting: row.get("greeting")?,
            llm_model: row.get("llm_model")?,
            stt_model: row.get("stt_model")?,
            tts_provider: VoiceProvider::from_text(&provider).unwrap_or(VoiceProvider::Cartesia),
            tts_voice: row.get("tts_voice")?,
            tools: tools.iter().filter_map(|name| Tool::from_text(name)).collect(),
        },
        balance_s: row.get::<_, i64>("balance_s")? as u64,
        active: row.get("active")?,
        created: UnixMs(row.get("created_ms")?),
        updated: UnixMs(row.get("updated_ms")?),
    })
}
