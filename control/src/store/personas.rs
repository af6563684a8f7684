//! Personas.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Store, StoreError, events, persona_conversations, user_jobs};
use crate::domain::customers::merge;
use crate::domain::error::Error;
use crate::domain::events::Event;
use crate::domain::personas::{Analysed, MergeStrategy, Persona, PersonaVoice, Words};
use crate::domain::time::UnixMs;
use crate::domain::user_jobs::UserJobKind;

/// So many analyses of a persona may be under way or wait.
const ANALYSES_MAX: i64 = 5;

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

    /// A persona has its voice, the job that made it is done, and who wants to know it is told; the job that finds out how it
    /// speaks follows, as `analysis`. False if the job was over: then nothing is written.
    pub async fn persona_cloned(
        &self,
        persona: &Persona,
        voice: PersonaVoice,
        job: &str,
        result: Value,
        analysis: &str,
        at: UnixMs,
    ) -> Result<bool, StoreError> {
        let (persona, owner) = (persona.id.clone(), persona.owner.clone());
        let (job, analysis) = (job.to_owned(), analysis.to_owned());
        self.change(move |connection| {
            if !user_jobs::complete(connection, &job, &result, at)? {
                return Ok(false);
            }
            let changed = connection
                .prepare_cached(
                    "UPDATE personas SET voice_id = ?2, voice_maker = ?3, sample = ?4, updated_ms = ?5 WHERE id = ?1",
                )?
                .execute(params![persona, voice.id, voice.maker, voice.sample, at.0])?;
            if changed == 1 {
                let metadata = analysis_of(&persona, &[], MergeStrategy::Append);
                let kind = UserJobKind::PersonaAnalysis;
                user_jobs::insert_as(connection, &analysis, &owner, kind, &metadata, at)?;
                let event = Event::VoiceCloned { persona: &persona, voice: &voice.id, job: &job };
                events::tell(connection, &owner, &event, at)?;
            }
            Ok(changed == 1)
        })
        .await
    }

    /// Has a persona of an owner's analysed anew, with the words of these videos. Returns the job's id. One without a voice cannot
    /// be, since its first analysis follows on the voice; nor one whose analyses wait already, [`ANALYSES_MAX`] of them.
    pub async fn analyse_persona(
        &self,
        owner: &str,
        id: &str,
        videos: Vec<String>,
        strategy: MergeStrategy,
        at: UnixMs,
    ) -> Result<String, Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.change(move |connection| {
            let Some(persona) = find(connection, &owner, &id)? else {
                return Ok(Err(Error::NotFound("Persona")));
            };
            if persona.voice.is_none() {
                return Ok(Err(Error::Conflict("The persona's voice is not there yet".into())));
            }
            let waiting: i64 = connection
                .prepare_cached(
                    "SELECT count(*) FROM user_jobs
                     WHERE owner = ?1 AND kind = ?2 AND ended_ms IS NULL AND metadata ->> 'persona_id' = ?3",
                )?
                .query_row(params![owner, UserJobKind::PersonaAnalysis.as_str(), id], |row| row.get(0))?;
            if waiting >= ANALYSES_MAX {
                let text = format!("{waiting} analyses of the persona are not over yet");
                return Ok(Err(Error::Conflict(text)));
            }
            let metadata = analysis_of(&id, &videos, strategy);
            user_jobs::insert(connection, &owner, UserJobKind::PersonaAnalysis, &metadata, at).map(Ok)
        })
        .await?
    }

    /// What a persona is known to have said.
    pub async fn persona_words(&self, id: &str) -> Result<Words, StoreError> {
        let id = id.to_owned();
        let words = self
            .read(move |connection| {
                connection
                    .prepare_cached("SELECT transcript, transcript_videos FROM personas WHERE id = ?1")?
                    .query_row([id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
                    .optional()
            })
            .await?;
        let (transcript, videos) = words.unwrap_or_default();
        Ok(Words { transcript, videos: serde_json::from_str(&videos).unwrap_or_default() })
    }

    /// A persona is analysed, and the job that did it is done. What its owner says instead stays as it is. False if the job was
    /// over: then nothing is written.
    pub async fn persona_analysed(
        &self,
        found: Analysed,
        job: &str,
        result: Value,
        at: UnixMs,
    ) -> Result<bool, StoreError> {
        let job = job.to_owned();
        self.change(move |connection| {
            if !user_jobs::complete(connection, &job, &result, at)? {
                return Ok(false);
            }
            let owner: Option<String> = connection
                .prepare_cached(
                    "UPDATE personas SET transcript = ?2, transcript_videos = ?3, profile = ?4, profile_source = ?5,
                     role = coalesce(?6, role), updated_ms = ?7 WHERE id = ?1 RETURNING owner",
                )?
                .query_row(
                    params![
                        found.persona,
                        found.words.transcript,
                        json!(found.words.videos).to_string(),
                        json!(found.profile).to_string(),
                        found.source.as_str(),
                        found.role,
                        at.0
                    ],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(owner) = owner else { return Ok(false) };
            let event = Event::PersonaAnalyzed { persona: &found.persona, job: &job };
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

    /// The persona of an owner's that was made last, of those that have a voice.
    pub async fn latest_persona(&self, owner: &str) -> Result<Option<Persona>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT * FROM personas WHERE owner = ?1 AND voice_id IS NOT NULL ORDER BY id DESC LIMIT 1",
                )?
                .query_row([owner], persona_from_row)
                .optional()
        })
        .await
    }

    /// Removes a persona of an owner's, and calls off what is being done for it. Returns it as it was, and the jobs that were
    /// called off. A conflict while somebody talks with it: in the last `idle`, or on the telephone.
    pub async fn delete_persona(
        &self,
        owner: &str,
        id: &str,
        idle: Duration,
        at: UnixMs,
    ) -> Result<(Persona, Vec<String>), Error> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.change(move |connection| {
            let Some(persona) = find(connection, &owner, &id)? else {
                return Ok(Err(Error::NotFound("Persona")));
            };
            if persona_conversations::any_goes_on(connection, &id, idle, at)? {
                return Ok(Err(Error::Conflict("The persona has active conversations".into())));
            }
            persona_conversations::end_all_of(connection, &id, idle)?;
            let jobs = connection
                .prepare_cached(
                    "UPDATE user_jobs SET status = 'cancelled', updated_ms = ?3, ended_ms = ?3
                     WHERE owner = ?1 AND ended_ms IS NULL AND metadata ->> 'persona_id' = ?2 RETURNING id",
                )?
                .query_map(params![owner, id, at.0], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            connection.prepare_cached("DELETE FROM personas WHERE id = ?1")?.execute([&id])?;
            Ok(Ok((persona, jobs)))
        })
        .await?
    }
}

/// What the job of an analysis is about.
fn analysis_of(persona: &str, videos: &[String], strategy: MergeStrategy) -> Value {
    json!({
        "persona_id": persona,
        "additional_youtube_urls": videos,
        "merge_strategy": strategy.as_str(),
    })
}

/// A persona of an owner's.
pub(super) fn find(connection: &Connection, owner: &str, id: &str) -> rusqlite::Result<Option<Persona>> {
    connection
        .prepare_cached("SELECT * FROM personas WHERE id = ?1 AND owner = ?2")?
        .query_row([id, owner], persona_from_row)
        .optional()
}

/// A persona of a row with all its columns.
pub(super) fn persona_from_row(row: &Row<'_>) -> rusqlite::Result<Persona> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::personas::ProfileSource;
    use crate::domain::user_jobs::JobStatus;
    use crate::domain::users::GoogleIdentity;

    const ANALYSIS: &str = "job_persona_1";

    /// A store, a user, and a persona of theirs that has its voice.
    async fn cloned() -> (Store, String, Persona, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), UnixMs(0)).unwrap();
        let identity =
            GoogleIdentity { sub: "1".into(), email: "a@example.com".into(), name: None, picture: None };
        let owner = store.sign_in(identity, UnixMs(1)).await.unwrap().id;
        let url = "https://youtu.be/dQw4w9WgXcQ";
        let made = store.add_persona(&owner, "John".into(), url.into(), "en".into(), UnixMs(2)).await;
        let (id, job) = made.unwrap();
        let persona = store.persona(&owner, &id).await.unwrap();
        let early = store.analyse_persona(&owner, &id, vec![], MergeStrategy::Append, UnixMs(3)).await;
        assert!(matches!(early, Err(Error::Conflict(_))), "{early:?}");
        let voice = PersonaVoice { id: "v".into(), maker: "local".into(), sample: "s.ogg".into() };
        let cloned = store.persona_cloned(&persona, voice, &job, json!({}), ANALYSIS, UnixMs(4)).await;
        assert!(cloned.unwrap());
        (store, owner, persona, dir)
    }

    fn found(persona: &str, source: ProfileSource) -> Analysed {
        let profile = json!({ "tone": { "humor": "dry" } });
        Analysed {
            persona: persona.to_owned(),
            words: Words { transcript: "Hello.".into(), videos: vec!["dQw4w9WgXcQ".into()] },
            profile: profile.as_object().unwrap().clone(),
            source,
            role: None,
        }
    }

    #[tokio::test]
    async fn an_analysis_follows_on_the_voice_and_leaves_what_the_owner_says() {
        let (store, owner, persona, _dir) = cloned().await;
        let job = store.user_job_of(&owner, ANALYSIS).await.unwrap().unwrap();
        assert_eq!((job.status, job.kind), (JobStatus::Pending, UserJobKind::PersonaAnalysis));
        assert_eq!(job.metadata["merge_strategy"], "append");
        let said = json!({ "dos": ["Ask first"] });
        let said = said.as_object().unwrap().clone();
        store.change_overrides(&owner, &persona.id, said.clone(), UnixMs(5)).await.unwrap();
        let founder = Analysed { role: Some("Founder".into()), ..found(&persona.id, ProfileSource::Model) };
        assert!(store.persona_analysed(founder, ANALYSIS, json!({}), UnixMs(6)).await.unwrap());
        let words = store.persona_words(&persona.id).await.unwrap();
        assert_eq!((words.transcript.as_str(), words.videos.len()), ("Hello.", 1));
        let again = found(&persona.id, ProfileSource::Counted);
        assert!(!store.persona_analysed(again.clone(), ANALYSIS, json!({}), UnixMs(7)).await.unwrap());
        let next =
            store.analyse_persona(&owner, &persona.id, vec![], MergeStrategy::Replace, UnixMs(8)).await;
        assert!(store.persona_analysed(again, &next.unwrap(), json!({}), UnixMs(9)).await.unwrap());
        let seen = store.persona(&owner, &persona.id).await.unwrap();
        assert_eq!((seen.overrides, seen.role.as_deref()), (said, Some("Founder")));
        assert_eq!(seen.profile["tone"]["humor"], "dry");
    }

    #[tokio::test]
    async fn what_is_done_for_a_persona_that_goes_is_called_off_and_others_have_none_of_it() {
        let (store, owner, persona, _dir) = cloned().await;
        let others =
            store.analyse_persona("somebody", &persona.id, vec![], MergeStrategy::Append, UnixMs(5)).await;
        assert!(matches!(others, Err(Error::NotFound(_))));
        let again = async || {
            store.analyse_persona(&owner, &persona.id, vec![], MergeStrategy::Append, UnixMs(5)).await
        };
        for _ in 1..ANALYSES_MAX {
            again().await.unwrap();
        }
        assert!(matches!(again().await, Err(Error::Conflict(_))), "so many wait and no more");
        let (_, jobs) = store.delete_persona(&owner, &persona.id, Duration::ZERO, UnixMs(6)).await.unwrap();
        assert_eq!((jobs.len(), jobs.contains(&ANALYSIS.to_owned())), (ANALYSES_MAX as usize, true));
        let late = found(&persona.id, ProfileSource::Counted);
        assert!(!store.persona_analysed(late, ANALYSIS, json!({}), UnixMs(7)).await.unwrap());
    }
}
