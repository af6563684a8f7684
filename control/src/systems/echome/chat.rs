//! Questions to personas.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::auth::Caller;
use super::error::told;
use super::ids::{own, shown};
use super::{clients, media, persona};
use crate::domain::personas::answers::{AnswerError, Asked, QUESTION_MAX};
use crate::domain::personas::conversations::{CONVERSATION, Within};
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;
use crate::systems::seen::Seen;

/// The header that says in which conversation an answer stands: the documented body has no place for it.
const HEADER: HeaderName = HeaderName::from_static("x-conversation-id");

/// A question to a persona.
#[derive(ToSchema)]
#[schema(examples(json!({
    "persona_id": "persona_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "client_id": "client_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "query": "Do you have waterproof notebooks?", "include_audio": true, "conversation_id": null,
})))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct Query {
    persona_id: String,
    /// Who asks, if that is known.
    client_id: Option<String>,
    /// At most 4,096 characters.
    #[schema(max_length = 4096)]
    query: String,
    /// Whether the answer is wanted in the persona's voice. Default false.
    include_audio: Option<bool>,
    /// The conversation that goes on: `X-Conversation-Id` of an answer before. Default: a new one.
    conversation_id: Option<String>,
}

/// What the persona says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChatAnswer, examples(json!({
    "query_id": "query_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "response": {
        "text": "Yes, we have the AquaGuard.", "audio_url": "https://voice.example.com/echome/media/…",
        "audio_duration_seconds": 18,
        "rag_context": [{
            "product_id": "prod_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "chunk": "AquaGuard Notebook …", "similarity_score": 0.89,
        }],
        "tokens_used": { "prompt": 1240, "completion": 95, "total": 1335 },
    },
    "processing_time_ms": 4230, "created_at": "2025-02-18T10:00:00Z",
})))]
pub(super) struct Answered {
    query_id: String,
    #[schema(inline)]
    response: Response,
    /// From the question's arrival to here.
    processing_time_ms: u64,
    created_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Response {
    text: String,
    /// Ogg with Opus, for an hour; null unless it was wanted.
    audio_url: Option<String>,
    /// Rounded.
    audio_duration_seconds: Option<u32>,
    /// What the answer was made from, the best first.
    #[schema(inline)]
    rag_context: Vec<Cited>,
    #[schema(inline)]
    tokens_used: Tokens,
}

#[derive(Debug, Serialize, ToSchema)]
struct Cited {
    product_id: String,
    chunk: String,
    /// From 0 to 1: of the embeddings; without them, the part of the question's words that the chunk has, rare ones weighing more.
    similarity_score: f64,
}

/// As the model's server counts them.
#[derive(Debug, Serialize, ToSchema)]
struct Tokens {
    prompt: u32,
    completion: u32,
    total: u64,
}

/// Ask a persona
///
/// It answers from the catalogues, in its manner, and in its voice where that is wanted.
#[utoipa::path(
    post,
    path = "/api/chat/query",
    tag = "chat",
    request_body = Query,
    responses(
        (
            status = 200,
            body = Answered,
            headers(("X-Conversation-Id" = String, description = "The conversation, to go on with it"))
        ),
        (status = 400, description = "A field is missing or cannot be used"),
        (status = 402, description = "Nothing is left on an account at OpenAI or ElevenLabs"),
        (status = 404, description = "There is no such persona, client or conversation"),
        (status = 422, description = "The persona's voice is not there yet"),
        (status = 500, description = "The model or the voice failed (`external_api_error`)"),
        (status = 503, description = "No language model is configured")
    )
)]
pub(super) async fn query(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    caller: Caller,
    request: Request,
) -> Result<([(HeaderName, String); 1], Json<Answered>), ApiError> {
    let began = Instant::now();
    let origin = Seen::of(&app, &request)?.origin(arrival.base);
    let fields = Fields::read(request).await?;
    let persona_id = fields.text("persona_id")?.ok_or_else(|| ApiError::missing("persona_id"))?;
    let text = fields.long_text("query", QUESTION_MAX)?.map(|text| text.trim().to_owned());
    let text = text.filter(|text| !text.is_empty()).ok_or_else(|| ApiError::missing("query"))?;
    let aloud = fields.boolean("include_audio")?.unwrap_or(false);
    let (client_id, conversation_id) = (fields.text("client_id")?, fields.text("conversation_id")?);
    let persona = app.store.persona(caller.id(), own(persona::KIND, &persona_id)).await.map_err(told)?;
    let customer = match &client_id {
        Some(id) => Some(app.store.customer(caller.id(), own(clients::KIND, id)).await.map_err(told)?.id),
        None => None,
    };
    let within =
        conversation_id.map_or(Within::New, |id| Within::Conversation(own(CONVERSATION, &id).to_owned()));
    let asked =
        Asked { persona: &persona, customer: customer.as_deref(), within, source: None, text: &text, aloud };
    let answer = app.answers.answer(asked).await.map_err(refused)?;
    let link = match &answer.spoken {
        Some(spoken) => Some(app.media.link(&spoken.file, UnixMs::now()).ok_or_else(media::no_secret)?),
        None => None,
    };
    let cited = answer.citations.into_iter().map(|citation| Cited {
        product_id: citation.product,
        chunk: citation.chunk,
        similarity_score: (f64::from(citation.score) * 10_000.0).round() / 10_000.0,
    });
    let (prompt, completion) = (answer.prompt_tokens, answer.completion_tokens);
    let answered = Answered {
        query_id: shown("query", &answer.id),
        response: Response {
            text: answer.text,
            audio_url: link.map(|link| format!("{origin}{}", link.path)),
            audio_duration_seconds: answer.spoken.map(|spoken| spoken.seconds),
            rag_context: cited.collect(),
            tokens_used: Tokens { prompt, completion, total: u64::from(prompt) + u64::from(completion) },
        },
        processing_time_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        created_at: answer.at.to_seconds_text(),
    };
    Ok(([(HEADER, shown(CONVERSATION, &answer.conversation))], Json(answered)))
}

/// Why there is no answer, with its status.
fn refused(error: AnswerError) -> ApiError {
    let message = error.to_string();
    let of_service = |status, service: &str| ApiError {
        details: json!({ "service": service.to_lowercase() }),
        ..ApiError::new(status, message.clone())
    };
    match error {
        AnswerError::NoModel => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message),
        AnswerError::NotCloned => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, message),
        AnswerError::Quota(service) => of_service(StatusCode::PAYMENT_REQUIRED, service),
        AnswerError::Key(service) | AnswerError::Failed { service, .. } => {
            of_service(StatusCode::INTERNAL_SERVER_ERROR, service).coded("external_api_error")
        }
        AnswerError::Domain(error) => told(error),
    }
}
