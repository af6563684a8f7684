//! Personas.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Store, StoreError, events, user_jobs};
use crate::domain::customers::merge;
use crate::domain::error::Error;
use crate::domain::events::Event;
use crate::domain::personas::{Persona, PersonaVoice};
use crate::domain::time::UnixMs;
use crate::domain::user_jobs::UserJobKind;

impl Store {
    /// Makes a persona, and the job that makes its voice. Returns its id and that of the job.
    pub async fn add_persona(
        &self,
        owner: &str,
        name: String,
        video: String,
        language: String,
        at: UnixMs,
    ) -> Result<(String, String), StoreError> {
        let (owner, id) = (owner.to_owned(), Uuid::now_v7().to_string());
        self.change(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO personas (id, owner, name, video, language, created_ms, updated_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
                )?
                .execute(params![id, owner, name, video, language, at.0])?;
            let metadata = json!({ "youtube_url": video, "persona_id": id });
            let job = user_jobs::insert(connection, &owner, UserJobKind::VoiceClone, &metadata, at)?;
            Ok((id.clone(), job))
        })
        .await
    }

    /// A persona of an owner's.
    pub async fn persona(&self, owner: &str, id: &str) -> Result<Persona, Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        let found = self.read(move |connection| find(connection, &owner, &id)).await?;
        found.ok_or(Error::NotFound("Persona"))
    }

    /// A persona has its voice, the job that made it is done, and who wants to know it is told. False if the job was over: then nothing is written.
    pub async fn persona_cloned(
        &self,
        persona: &str,
        voice: PersonaVoice,
        job: &str,
        result: Value,
        at: UnixMs,
    ) -> Result<bool, StoreError> {
        let (persona, job) = (persona.to_owned(), job.to_owned());
        self.change(move |connection| {
            if !user_jobs::complete(connection, &job, &result, at)? {
                return Ok(false);
            }
            let owner: Option<String> = connection
                .prepare_cached(
                    "UPDATE personas SET voice_id = ?2, voice_maker = ?3, sample = ?4, updated_ms = ?5 WHERE id = ?1
                     RETURNING owner",
                )?
                .query_row(params![persona, voice.id, voice.maker, voice.sample, at.0], |row| row.get(0))
                .optional()?;
            let Some(owner) = owner else { return Ok(false) };
            let event = Event::VoiceCloned { persona: &persona, voice: &voice.id, job: &job };
            events::tell(connection, &owner, &event, at)?;
            Ok(true)
        })
        .await
    }

    /// Changes what an owner says of a persona, key by key: null takes a key away, others stay.
    pub async fn change_overrides(
        &self,
        owner: &str,
        id: &str,
        changes: Map<String, Value>,
        at: UnixMs,
    ) -> Result<Persona, Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        let changed = self
            .change(move |connection| {
                let Some(mut persona) = find(connection, &owner, &id)? else { return Ok(None) };
                merge(&mut persona.overrides, &changes);
                persona.updated = at;
                connection
                    .prepare_cached("UPDATE personas SET overrides = ?2, updated_ms = ?3 WHERE id = ?1")?
                    .execute(params![id, Value::Object(persona.overrides.clone()).to_string(), at.0])?;
                Ok(Some(persona))
            })
            .await?;
        changed.ok_or(Error::NotFound("Persona"))
    }

    /// Removes a persona of an owner's, and calls off what is being done for it. Returns it as it was.
    pub async fn delete_persona(&self, owner: &str, id: &str, at: UnixMs) -> Result<Persona, Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        let deleted = self
            .change(move |connection| {
                let Some(persona) = find(connection, &owner, &id)? else { return Ok(None) };
                connection
                    .prepare_cached(
                        "UPDATE user_jobs SET status = 'cancelled', updated_ms = ?3, ended_ms = ?3
                         WHERE owner = ?1 AND ended_ms IS NULL AND metadata ->> 'persona_id' = ?2",
                    )?
                    .execute(params![owner, id, at.0])?;
                connection.prepare_cached("DELETE FROM personas WHERE id = ?1")?.execute([&id])?;
                Ok(Some(persona))
            })
            .await?;
        deleted.ok_or(Error::NotFound("Persona"))
    }
}

fn find(connection: &Connection, owner: &str, id: &str) -> rusqlite::Result<Option<Persona>> {
    connection
        .prepare_cached("SELECT * FROM personas WHERE id = ?1 AND owner = ?2")?
        .query_row([id, owner], persona_from_row)
        .optional()
}

fn persona_from_row(row: &Row<'_>) -> rusqlite::Result<Persona> {
    let object = |name: &str| -> rusqlite::Result<Map<String, Value>> {
        let text: String = row.get(name)?;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    };
    let voice: (Option<String>, Option<String>, Option<String>) =
        (row.get("voice_id")?, row.get("voice_maker")?, row.get("sample")?);
    let voice = match voice {
        (Some(id), Some(maker), sample) => {
            Some(PersonaVoice { id, maker, sample: sample.unwrap_or_default() })
        }
        _ => None,
    };
    Ok(Persona {
        id: row.get("id")?,
        owner: row.get("owner")?,
        name: row.get("name")?,
        role: row.get("role")?,
        video: row.get("video")?,
        language: row.get("language")?,
        voice,
        profile: object("profile")?,
        overrides: object("overrides")?,
        created: UnixMs(row.get("created_ms")?),
        updated: UnixMs(row.get("updated_ms")?),
    })
}
