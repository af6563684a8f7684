//! Personas: what was made out of what somebody said, and what their owner says instead.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::auth::Caller;
use super::error::told;
use super::ids::{own, shown};
use crate::domain::personas::Persona;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::json::{Fields, JSON_BYTES_MAX};

/// What stands before the ids.
pub(super) const KIND: &str = "persona";

/// Texts of a list, at most.
const LIST_MAX: usize = 100;
/// Characters of a text, at most.
const TEXT_MAX: usize = 10_000;
/// What may be said instead: lists of texts, and texts.
const LISTS: [&str; 4] = ["personality_traits", "dos", "donts", "custom_expressions"];
const TEXTS: [&str; 3] = ["tone_guidelines", "backstory", "context_notes"];

/// What is said instead.
#[derive(ToSchema)]
#[schema(examples(json!({
    "manual_overrides": {
        "personality_traits": ["warm"], "tone_guidelines": "Never pushy", "dos": ["Ask first"], "donts": ["Interrupt"],
        "custom_expressions": ["Here's the thing"], "backstory": "Ten years in sales", "context_notes": null,
    },
})))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct Overrides {
    /// Key by key: what is sent replaces, null takes away, the rest stays.
    #[schema(value_type = Object)]
    manual_overrides: Value,
}

/// That a persona was changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "success": true, "persona_id": "persona_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "updated_fields": ["manual_overrides"], "updated_at": "2025-02-18T13:00:00Z",
})))]
pub(super) struct Changed {
    success: bool,
    persona_id: String,
    updated_fields: [&'static str; 1],
    updated_at: String,
}

/// A persona
#[utoipa::path(
    get,
    path = "/api/persona/{persona_id}",
    tag = "personas",
    params(("persona_id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, description = "There is no such persona"))
)]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(persona_id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let persona = app.store.persona(caller.id(), own(KIND, &persona_id)).await.map_err(told)?;
    Ok(Json(shown_persona(persona)))
}

/// Say something instead of what was found
///
/// It stands, whatever a later analysis finds.
#[utoipa::path(
    patch,
    path = "/api/persona/{persona_id}",
    tag = "personas",
    params(("persona_id" = String, Path)),
    request_body = Overrides,
    responses(
        (status = 200, body = Changed),
        (status = 400, description = "A value is of another type than it should be"),
        (status = 404, description = "There is no such persona")
    )
)]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(persona_id): Path<String>,
    request: Request,
) -> Result<Json<Changed>, ApiError> {
    let changes = changes(&Fields::read(request).await?)?;
    let changed = app.store.change_overrides(caller.id(), own(KIND, &persona_id), changes, UnixMs::now());
    let updated_at = changed.await.map_err(told)?.updated.to_seconds_text();
    Ok(Json(Changed { success: true, persona_id, updated_fields: ["manual_overrides"], updated_at }))
}

fn changes(fields: &Fields) -> Result<Map<String, Value>, ApiError> {
    let Some(Value::Object(sent)) = fields.object("manual_overrides") else {
        return Err(match fields.has("manual_overrides") {
            true => ApiError::bad_parameter("manual_overrides", "object"),
            false => ApiError::missing("manual_overrides"),
        });
    };
    debug_assert!(sent.len() <= JSON_BYTES_MAX, "the body is bounded");
    let is_text = |value: &Value| value.as_str().is_some_and(|text| text.chars().count() <= TEXT_MAX);
    let mut changes = Map::new();
    for (name, value) in sent {
        let name = name.as_str();
        let (is_known, is_good) = match value {
            _ if LISTS.contains(&name) => {
                let texts = value.as_array().filter(|texts| texts.len() <= LIST_MAX);
                (true, value.is_null() || texts.is_some_and(|texts| texts.iter().all(is_text)))
            }
            value => (TEXTS.contains(&name), value.is_null() || is_text(value)),
        };
        if is_known && !is_good {
            let wanted = if LISTS.contains(&name) { "array of strings" } else { "string" };
            return Err(ApiError::bad_parameter(&format!("manual_overrides.{name}"), wanted));
        }
        if is_known {
            changes.insert(name.to_owned(), value.clone());
        }
    }
    Ok(changes)
}

fn shown_persona(persona: Persona) -> Value {
    let overrides = persona.overrides;
    let of = |name: &str, absent: Value| overrides.get(name).cloned().unwrap_or(absent);
    let lists = LISTS.map(|name| (name.to_owned(), of(name, json!([]))));
    let texts = TEXTS.map(|name| (name.to_owned(), of(name, json!(""))));
    let manual: Map<String, Value> = lists.into_iter().chain(texts).collect();
    json!({
        "id": shown(KIND, &persona.id),
        "user_id": shown("usr", &persona.owner),
        "name": persona.name,
        "role": persona.role,
        "voice_id": persona.voice.map(|voice| voice.id),
        "youtube_url": persona.video,
        "language": persona.language,
        "profile": { "auto_extracted": found(persona.profile), "manual_overrides": manual },
        "created_at": persona.created.to_seconds_text(),
        "updated_at": persona.updated.to_seconds_text(),
    })
}

/// What was found, with every documented key: what was not found is empty.
fn found(mut profile: Map<String, Value>) -> Value {
    let mut all = json!({
        "speech_patterns": { "catchphrases": [], "filler_words": [], "expressions": [] },
        "vocabulary": { "level": "", "style": "", "technical_terms": [], "slang": [] },
        "tone": { "formality": "", "energy": "", "humor": "", "empathy": "" },
        "selling_style": { "approach": "", "primary_methods": [], "objection_handling": "" },
        "greeting_closing": { "typical_greeting": "", "typical_closing": "" },
    });
    for (part, keys) in all.as_object_mut().into_iter().flatten() {
        let Some(Value::Object(found)) = profile.remove(part) else { continue };
        for (key, value) in keys.as_object_mut().into_iter().flatten() {
            if let Some(found) = found.get(key) {
                *value = found.clone();
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Value) -> Result<Map<String, Value>, ApiError> {
        changes(&Fields::parse(body.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn what_is_said_instead_is_checked_by_name_and_what_is_unknown_is_left_out() {
        let said =
            read(&json!({ "manual_overrides": { "dos": ["Ask"], "backstory": null, "else": 7 } })).unwrap();
        assert_eq!(Value::Object(said), json!({ "dos": ["Ask"], "backstory": null }));
        for (sent, parameter) in [
            (json!({}), "manual_overrides"),
            (json!({ "manual_overrides": [] }), "manual_overrides"),
            (json!({ "manual_overrides": { "dos": "Ask" } }), "manual_overrides.dos"),
            (json!({ "manual_overrides": { "dos": [7] } }), "manual_overrides.dos"),
            (json!({ "manual_overrides": { "backstory": {} } }), "manual_overrides.backstory"),
        ] {
            let error = read(&sent).unwrap_err();
            assert_eq!(
                (error.status.as_u16(), &error.details["parameter"]),
                (400, &json!(parameter)),
                "{sent}"
            );
        }
    }

    #[test]
    fn a_profile_has_every_key_whatever_was_found() {
        let profile = json!({ "tone": { "humor": "dry", "unknown": 1 }, "unknown": {} });
        let shown = found(profile.as_object().unwrap().clone());
        assert_eq!((&shown["tone"]["humor"], &shown["tone"]["energy"]), (&json!("dry"), &json!("")));
        assert_eq!(shown.as_object().unwrap().len(), 5);
        assert_eq!(shown["tone"].as_object().unwrap().len(), 4);
    }
}
