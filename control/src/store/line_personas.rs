//! Which personas answer on which lines.

use rusqlite::{Connection, OptionalExtension, params};

use super::personas::persona_from_row;
use super::{Store, StoreError, personas};
use crate::domain::error::Error;
use crate::domain::personas::Persona;
use crate::domain::time::UnixMs;

impl Store {
    /// Has a persona answer on the line of a number, in place of whoever did; both must be this owner's. Returns the persona.
    pub async fn put_on_line(
        &self,
        owner: &str,
        number: &str,
        persona: &str,
        at: UnixMs,
    ) -> Result<Persona, Error> {
        let (owner, number, persona) = (owner.to_owned(), number.to_owned(), persona.to_owned());
        self.change(move |connection| {
            let Some(line) = line_of(connection, &owner, &number)? else {
                return Ok(Err(Error::NotFound("Line")));
            };
            let Some(persona) = personas::find(connection, &owner, &persona)? else {
                return Ok(Err(Error::NotFound("Persona")));
            };
            if persona.voice.is_none() {
                return Ok(Err(Error::Conflict("The persona's voice is not there yet".into())));
            }
            connection
                .prepare_cached(
                    "INSERT INTO line_personas (line, persona, created_ms) VALUES (?1, ?2, ?3)
                     ON CONFLICT (line) DO UPDATE SET persona = excluded.persona, created_ms = excluded.created_ms",
                )?
                .execute(params![line, persona.id, at.0])?;
            Ok(Ok(persona))
        })
        .await?
    }

    /// The line of a number is answered by its assistant again. False if it was before.
    pub async fn take_off_line(&self, owner: &str, number: &str) -> Result<bool, Error> {
        let (owner, number) = (owner.to_owned(), number.to_owned());
        self.change(move |connection| {
            let Some(line) = line_of(connection, &owner, &number)? else {
                return Ok(Err(Error::NotFound("Line")));
            };
            let taken =
                connection.prepare_cached("DELETE FROM line_personas WHERE line = ?1")?.execute([line])?;
            Ok(Ok(taken == 1))
        })
        .await?
    }

    /// Who answers on a line, by its id, in place of its assistant.
    pub async fn persona_of_line(&self, line: &str) -> Result<Option<Persona>, StoreError> {
        let line = line.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT personas.* FROM line_personas JOIN personas ON personas.id = line_personas.persona
                     WHERE line = ?1",
                )?
                .query_row([line], persona_from_row)
                .optional()
        })
        .await
    }
}

/// The id of an owner's line.
fn line_of(connection: &Connection, owner: &str, number: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT id FROM lines WHERE number = ?1 AND owner = ?2")?
        .query_row([number, owner], |row| row.get(0))
        .optional()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::domain::lines::{Assistant, NewLine, VoiceProvider};
    use crate::domain::personas::PersonaVoice;
    use crate::domain::phone::E164;
    use crate::domain::users::GoogleIdentity;

    const NUMBER: &str = "+12025550100";

    async fn user(store: &Store, sub: &str) -> String {
        let email = format!("{sub}@example.com");
        let identity = GoogleIdentity { sub: sub.into(), email, name: None, picture: None };
        store.sign_in(identity, UnixMs(1)).await.unwrap().id
    }

    async fn persona(store: &Store, owner: &str, has_voice: bool) -> String {
        let url = "https://youtu.be/dQw4w9WgXcQ".to_owned();
        let (id, job) = store.add_persona(owner, "P".into(), url, "en".into(), UnixMs(2)).await.unwrap();
        if has_voice {
            let made = store.persona(owner, &id).await.unwrap();
            let voice = PersonaVoice { id: "v".into(), maker: "local".into(), sample: String::new() };
            let analysis = job.replace("voice", "persona");
            store.persona_cloned(&made, voice, &job, json!({}), &analysis, UnixMs(3)).await.unwrap();
        }
        id
    }

    #[tokio::test]
    async fn a_persona_answers_on_its_owners_lines_alone_and_is_gone_from_them_with_itself() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), UnixMs(0)).unwrap();
        let (pat, bea) = (user(&store, "1").await, user(&store, "2").await);
        let assistant = Assistant {
            prompt: String::new(),
            greeting: String::new(),
            llm_model: "m".into(),
            stt_model: "s".into(),
            tts_provider: VoiceProvider::ElevenLabs,
            tts_voice: String::new(),
            tools: Vec::new(),
        };
        let line = NewLine {
            owner: pat.clone(),
            name: "Acme".into(),
            number: E164::parse(NUMBER).unwrap(),
            calendar: "primary".into(),
            assistant,
            balance_s: 0,
            active: true,
        };
        let line = store.add_line(line, UnixMs(2)).await.unwrap().id;
        let [own, other, mute] = [
            persona(&store, &pat, true).await,
            persona(&store, &bea, true).await,
            persona(&store, &pat, false).await,
        ];
        let put =
            async |owner: &str, persona: &str| store.put_on_line(owner, NUMBER, persona, UnixMs(5)).await;
        assert!(matches!(put(&pat, &other).await, Err(Error::NotFound("Persona"))));
        assert!(matches!(put(&bea, &other).await, Err(Error::NotFound("Line"))));
        assert!(matches!(put(&pat, &mute).await, Err(Error::Conflict(_))));
        assert_eq!(store.persona_of_line(&line).await.unwrap(), None);
        for _ in 0..2 {
            assert_eq!(put(&pat, &own).await.unwrap().id, own);
        }
        assert_eq!(store.persona_of_line(&line).await.unwrap().unwrap().id, own);
        assert!(matches!(store.take_off_line(&bea, NUMBER).await, Err(Error::NotFound("Line"))));
        assert!(store.take_off_line(&pat, NUMBER).await.unwrap());
        assert!(!store.take_off_line(&pat, NUMBER).await.unwrap());
        put(&pat, &own).await.unwrap();
        store.delete_persona(&pat, &own, Duration::ZERO, UnixMs(6)).await.unwrap();
        assert_eq!(store.persona_of_line(&line).await.unwrap(), None);
    }
}
