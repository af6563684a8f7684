//! Assistants.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::auth::Caller;
use super::paging::LIMIT;
use super::workspaces::required_name;
use crate::domain::assistants::NamedAssistant;
use crate::domain::cache::Found;
use crate::domain::lines::Page;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;

/// How long a list is good. FrontDesk's clients have assistants too, and are changed there.
const LIST_LIFE: Duration = Duration::from_secs(30);

const CACHE_KEY: &str = "assistants";

/// What an assistant has where nothing is said.
const MODEL: (&str, &str) = ("openai", "gpt-4o-mini");
const VOICE: (&str, &str) = ("11labs", "");

/// One's assistants.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "assistants": [{
        "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
        "name": "Customer Support",
        "model": { "provider": "openai", "model": "gpt-4" },
        "voice": { "provider": "11labs", "voiceId": "voice-id" },
    }],
    "cached": false,
})))]
pub(super) struct Assistants {
    #[schema(inline)]
    assistants: Vec<Listed>,
    /// Whether the list is one of the last half minute, kept.
    cached: bool,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct Listed {
    id: String,
    name: String,
    #[schema(inline)]
    model: Model,
    #[schema(inline)]
    voice: Voice,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Model {
    provider: String,
    model: String,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Voice {
    /// In the words that it was made with: `11labs`.
    provider: String,
    /// Empty: the provider's default.
    voice_id: String,
}

impl From<&NamedAssistant> for Listed {
    fn from(assistant: &NamedAssistant) -> Self {
        let NamedAssistant { id, name, model_provider, model, voice_provider, voice } = assistant.clone();
        Self {
            id,
            name,
            model: Model { provider: model_provider, model },
            voice: Voice { provider: voice_provider, voice_id: voice },
        }
    }
}

/// An assistant to be.
#[derive(ToSchema)]
#[schema(examples(json!({
    "name": "New Assistant",
    "model": { "provider": "openai", "model": "gpt-4" },
    "voice": { "provider": "11labs", "voiceId": "voice-id" },
})))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct NewAssistant {
    name: String,
    /// Default: `gpt-4o-mini` of `openai`.
    #[schema(inline)]
    model: Option<Model>,
    /// Default: that of `11labs`.
    #[schema(inline)]
    voice: Option<Voice>,
}

/// The assistant that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "assistant": { "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "name": "New Assistant" } })))]
pub(super) struct Made {
    #[schema(inline)]
    assistant: MadeAssistant,
}

#[derive(Debug, Serialize, ToSchema)]
struct MadeAssistant {
    id: String,
    name: String,
}

/// One's assistants
///
/// Those of one's FrontDesk clients among them. The list is kept for half a minute.
#[utoipa::path(get, path = "/api/assistants", tag = "assistants", responses((status = 200, body = Assistants)))]
pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Assistants>, ApiError> {
    let now = Instant::now();
    let (found, cached) = match app.cache.get::<Vec<NamedAssistant>>(caller.id(), CACHE_KEY, now) {
        Found::Hit(kept) => (kept, true),
        Found::Miss(ticket) => {
            let page = Page { limit: Some(LIMIT), offset: 0 };
            let found = Arc::new(app.store.assistants(caller.id(), page).await?);
            app.cache.put(caller.id(), CACHE_KEY, found.clone(), ticket, now, LIST_LIFE);
            (found, false)
        }
    };
    Ok(Json(Assistants { assistants: found.iter().map(Listed::from).collect(), cached }))
}

/// Make an assistant
#[utoipa::path(
    post,
    path = "/api/assistants",
    tag = "assistants",
    request_body = NewAssistant,
    responses((status = 200, body = Made), (status = 400, description = "The name is missing, or a value cannot be used"))
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Made>, ApiError> {
    let assistant = assistant_of(&Fields::read(request).await?)?;
    let made = MadeAssistant { id: assistant.id.clone(), name: assistant.name.clone() };
    app.store.add_assistant(caller.id(), assistant, UnixMs::now()).await?;
    app.cache.forget(caller.id(), CACHE_KEY);
    Ok(Json(Made { assistant: made }))
}

fn assistant_of(fields: &Fields) -> Result<NamedAssistant, ApiError> {
    let name = required_name(fields)?;
    let (model, voice) = (fields.part("model")?, fields.part("voice")?);
    let word = |part: &Option<Fields>, of: &str, name: &str, default: &str| {
        let given = part.as_ref().map(|part| part.text(name)).transpose().map_err(|error| ApiError {
            message: error.message.replacen(name, &format!("{of}.{name}"), 1),
            ..error
        })?;
        let given = given.flatten().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok::<_, ApiError>(given.unwrap_or_else(|| default.to_owned()))
    };
    let model_provider = word(&model, "model", "provider", MODEL.0)?;
    if model_provider.contains('/') {
        return Err(ApiError::invalid("model.provider must be a name, such as openai"));
    }
    Ok(NamedAssistant {
        id: Uuid::now_v7().to_string(),
        name,
        model_provider,
        model: word(&model, "model", "model", MODEL.1)?,
        voice_provider: word(&voice, "voice", "provider", VOICE.0)?,
        voice: word(&voice, "voice", "voiceId", VOICE.1)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(body: Value) -> Result<NamedAssistant, ApiError> {
        assistant_of(&Fields::parse(body.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn an_assistant_is_told_as_it_was_made() {
        let made = read(json!({
            "name": "Customer Support", "model": { "provider": "openai", "model": "gpt-4" },
            "voice": { "provider": "11labs", "voiceId": "voice-id" },
        }));
        let made = NamedAssistant { id: "assistant-id".into(), ..made.unwrap() };
        assert_eq!(
            serde_json::to_value(Listed::from(&made)).unwrap(),
            json!({
                "id": "assistant-id",
                "name": "Customer Support",
                "model": { "provider": "openai", "model": "gpt-4" },
                "voice": { "provider": "11labs", "voiceId": "voice-id" },
            })
        );
        let bare = read(json!({ "name": "n", "model": null })).unwrap();
        assert_eq!((bare.model.as_str(), bare.voice_provider.as_str()), ("gpt-4o-mini", "11labs"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        for (body, name) in [
            (json!({}), "name"),
            (json!({ "name": " " }), "name"),
            (json!({ "name": "n", "model": "gpt-4" }), "model"),
            (json!({ "name": "n", "model": { "model": 4 } }), "model.model"),
            (json!({ "name": "n", "model": { "provider": "a/b" } }), "model.provider"),
            (json!({ "name": "n", "voice": [] }), "voice"),
            (json!({ "name": "n", "voice": { "voiceId": {} } }), "voice.voiceId"),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.status == 400 && error.message.contains(name), "{}", error.message);
        }
    }
}
