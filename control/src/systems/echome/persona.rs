//! Personas: what was made out of what somebody said, and what their owner says instead.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use hyper::body::Body as _;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::auth::Caller;
use super::error::told;
use super::ids::{own, shown};
use crate::domain::personas::{MergeStrategy, Persona};
use crate::domain::time::UnixMs;
use crate::domain::user_jobs::JobStatus;
use crate::integrations::video::Video;
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::json::{Fields, JSON_BYTES_MAX};

/// What stands before the ids.
pub(super) const KIND: &str = "persona";

/// Texts of a list, at most.
const LIST_MAX: usize = 100;
/// Characters of a text, at most.
const TEXT_MAX: usize = 10_000;
/// Videos of one analysis, at most.
const VIDEOS_MAX: usize = 10;
/// Bytes of a URL, at most.
const URL_MAX: usize = 2_048;
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

/// What is to be analysed.
#[derive(ToSchema)]
#[schema(examples(json!({
    "additional_youtube_urls": ["https://www.youtube.com/watch?v=dQw4w9WgXcQ"], "merge_strategy": "append",
})))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct NewAnalysis {
    /// At most 10. None: the words that are known are looked at anew.
    additional_youtube_urls: Option<Vec<String>>,
    /// `append`: the words of the videos are added to those that are known. `replace`: they take their place. Default `append`.
    merge_strategy: Option<String>,
}

/// That a persona is being analysed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "job_id": "job_persona_0198c1d2e3f47a5b8c6d7e8f90a1b2c3", "status": "pending", "message": "Persona re-analysis started",
})))]
pub(super) struct Started {
    job_id: String,
    status: &'static str,
    message: &'static str,
}

/// Find out anew how somebody speaks
///
/// In the videos that the persona is made of, and in more. What its owner says instead stands, whatever is found. The first
/// analysis follows on the voice by itself.
#[utoipa::path(
    post,
    path = "/api/persona/{persona_id}/reanalyze",
    tag = "personas",
    params(("persona_id" = String, Path)),
    request_body(content = Option<NewAnalysis>),
    responses(
        (status = 202, body = Started),
        (status = 400, description = "A URL is none of YouTube's (`invalid_url`), or the strategy is not known"),
        (status = 404, description = "There is no such persona"),
        (status = 409, description = "Its voice is not there yet, or five analyses of it are not over")
    )
)]
pub(super) async fn reanalyze(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(persona_id): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<Started>), ApiError> {
    // Nothing is required, so that nothing need be sent.
    let is_empty = request.body().is_end_stream();
    let fields = if is_empty { Fields::default() } else { Fields::read(request).await? };
    let (videos, strategy) = analysis(&fields)?;
    let owner = caller.id();
    let queued =
        app.store.analyse_persona(owner, own(KIND, &persona_id), videos, strategy, UnixMs::now()).await;
    let job_id = queued.map_err(told)?;
    let status = JobStatus::Pending.as_str();
    Ok((StatusCode::ACCEPTED, Json(Started { job_id, status, message: "Persona re-analysis started" })))
}

fn analysis(fields: &Fields) -> Result<(Vec<String>, MergeStrategy), ApiError> {
    let videos = fields.texts("additional_youtube_urls", VIDEOS_MAX)?.unwrap_or_default();
    if let Some(url) = videos.iter().find(|url| url.len() > URL_MAX || Video::of_url(url).is_none()) {
        let error = ApiError::invalid("YouTube URL is invalid").coded("invalid_url");
        let url: String = url.chars().take(URL_MAX).collect();
        return Err(ApiError { details: json!({ "url": url }), ..error });
    }
    let strategy = match fields.text("merge_strategy")? {
        None => MergeStrategy::default(),
        Some(name) => MergeStrategy::from_text(&name)
            .ok_or_else(|| ApiError::bad_parameter("merge_strategy", "append or replace"))?,
    };
    Ok((videos, strategy))
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
    let status = if persona.voice.is_some() { "active" } else { "pending" };
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
        "status": status,
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
        "greeting_closing": { "typical_greetings": [], "typical_closings": [] },
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
    fn an_analysis_without_a_word_is_of_what_is_known_and_bad_ones_are_told_by_name() {
        let read = |body: Value| analysis(&Fields::parse(body.to_string().as_bytes()).unwrap());
        assert_eq!(read(json!({})).unwrap(), (vec![], MergeStrategy::Append));
        let url = "https://youtu.be/dQw4w9WgXcQ";
        let both = json!({ "additional_youtube_urls": [url], "merge_strategy": "replace" });
        assert_eq!(read(both).unwrap(), (vec![url.to_owned()], MergeStrategy::Replace));
        for (sent, code) in [
            (json!({ "additional_youtube_urls": ["https://vimeo.com/1"] }), Some("invalid_url")),
            (json!({ "additional_youtube_urls": ["x".repeat(9_000)] }), Some("invalid_url")),
            (json!({ "additional_youtube_urls": url }), None),
            (json!({ "additional_youtube_urls": [7] }), None),
            (json!({ "additional_youtube_urls": vec![url; 11] }), None),
            (json!({ "merge_strategy": "merge" }), None),
            (json!({ "merge_strategy": 7 }), None),
        ] {
            let error = read(sent.clone()).unwrap_err();
            assert_eq!((error.status.as_u16(), error.code), (400, code), "{sent}");
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
