//! Assistants with names.

use rusqlite::{Row, params};

use super::{Store, StoreError};
use crate::domain::assistants::{NamedAssistant, model_of};
use crate::domain::lines::{Page, VoiceProvider};
use crate::domain::time::UnixMs;

impl Store {
    /// All assistants of a user's, those that answer lines among them, in the order in which they were made.
    pub async fn assistants(&self, owner: &str, page: Page) -> Result<Vec<NamedAssistant>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            let (limit, offset) = (page.limit.map_or(-1, i64::from), page.offset);
            connection
                .prepare_cached(
                    "SELECT assistants.id, llm_model, tts_voice, coalesce(voice_provider, tts_provider) AS voice_provider,
                            coalesce(assistant_names.name,
                                     (SELECT name FROM lines WHERE lines.assistant = assistants.id LIMIT 1), '') AS name
                     FROM assistants LEFT JOIN assistant_names ON assistant_names.assistant = assistants.id
                     WHERE assistants.owner = ?1 ORDER BY assistants.id LIMIT ?2 OFFSET ?3",
                )?
                .query_map(params![owner, limit, offset], assistant_from_row)?
                .collect()
        })
        .await
    }

    /// Makes an assistant that answers no line.
    pub async fn add_assistant(
        &self,
        owner: &str,
        assistant: NamedAssistant,
        at: UnixMs,
    ) -> Result<(), StoreError> {
        let owner = owner.to_owned();
        self.change(move |connection| {
            // The documented word for it, and others' that this server does not speak with, are kept as they are.
            let speaks = match assistant.voice_provider.as_str() {
                "11labs" | "elevenlabs" => VoiceProvider::ElevenLabs,
                _ => VoiceProvider::Cartesia,
            };
            connection
                .prepare_cached(
                    "INSERT INTO assistants (id, owner, prompt, greeting, llm_model, stt_model, tts_provider, tts_voice, tools,
                                             created_ms, updated_ms)
                     VALUES (?1, ?2, '', '', ?3, 'nova-2-phonecall', ?4, ?5, '[]', ?6, ?6)",
                )?
                .execute(params![
                    assistant.id,
                    owner,
                    format!("{}/{}", assistant.model_provider, assistant.model),
                    speaks.as_str(),
                    assistant.voice,
                    at.0,
                ])?;
            connection
                .prepare_cached("INSERT INTO assistant_names (assistant, name, voice_provider) VALUES (?1, ?2, ?3)")?
                .execute(params![assistant.id, assistant.name, assistant.voice_provider])
                .map(drop)
        })
        .await
    }
}

fn assistant_from_row(row: &Row<'_>) -> rusqlite::Result<NamedAssistant> {
    let (model_provider, model) = model_of(row.get_ref("llm_model")?.as_str()?);
    Ok(NamedAssistant {
        id: row.get("id")?,
        name: row.get("name")?,
        model_provider,
        model,
        voice_provider: row.get("voice_provider")?,
        voice: row.get("tts_voice")?,
    })
}
