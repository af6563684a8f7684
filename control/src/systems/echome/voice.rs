//! Voices of personas: made of a video, heard, and taken away.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use offhook_engine::call::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::error::told;
use super::ids::{own, shown};
use super::media;
use super::persona::KIND;
use crate::domain::api_keys::KeyService;
use crate::domain::error::Error;
use crate::domain::personas::cloning::SAMPLE_TEXT;
use crate::domain::personas::media::Link;
use crate::domain::time::UnixMs;
use crate::domain::user_jobs::{JobStatus, UserJob, UserJobKind};
use crate::integrations::vendor::VendorError;
use crate::integrations::video::Video;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;
use crate::systems::seen::Seen;

/// How long making a voice usually takes, in s.
const ESTIMATE_S: u32 = 180;
/// The longest name, in characters.
const NAME_MAX: usize = 200;
/// The longest text of a preview, in characters.
const TEXT_MAX: usize = 100;
/// The language where none is named.
const LANGUAGE: &str = "en";

/// A voice to be made.
#[derive(ToSchema)]
#[schema(examples(json!({
    "youtube_url": "https://www.youtube.com/watch?v=dQw4w9WgXcQ", "persona_name": "John Sales Expert", "language": "en",
})))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct NewVoice {
    youtube_url: String,
    /// At most 200 characters.
    persona_name: String,
    /// Default `en`.
    language: Option<String>,
}

/// That a voice is being made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "job_id": "job_voice_0198c1d2e3f47a5b8c6d7e8f90a1b2c3", "status": "pending",
    "persona_id": "persona_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "estimated_completion_seconds": 180,
    "message": "Voice cloning started. Check /api/voice/status/{job_id} for progress.",
})))]
pub(super) struct Started {
    job_id: String,
    status: &'static str,
    persona_id: String,
    estimated_completion_seconds: u32,
    message: &'static str,
}

/// How a voice sounds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "persona_id": "persona_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "audio_url": "https://voice.example.com/echome/media/…",
    "expires_at": "2025-02-18T11:00:00Z", "text": "Hello, this is my cloned voice.",
})))]
pub(super) struct Preview {
    persona_id: String,
    /// Ogg with Opus.
    audio_url: String,
    /// From then on the link opens nothing.
    expires_at: String,
    text: String,
}

/// What a preview says.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PreviewParams {
    /// At most 100 characters.
    #[param(max_length = 100)]
    text: Option<String>,
}

/// That a voice is gone.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "success": true, "message": "Voice deleted successfully", "persona_id": "persona_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
})))]
pub(super) struct Deleted {
    success: bool,
    message: &'static str,
    persona_id: String,
}

/// Make a persona and its voice
#[utoipa::path(
    post,
    path = "/api/voice/clone",
    tag = "voices",
    request_body = NewVoice,
    responses(
        (status = 202, body = Started),
        (status = 400, description = "The URL is none of YouTube's (`invalid_url`), or a field is missing")
    )
)]
pub(super) async fn clone(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, Json<Started>), ApiError> {
    let fields = Fields::read(request).await?;
    let url = fields.long_text("youtube_url", 2_048)?.ok_or_else(|| ApiError::missing("youtube_url"))?;
    if Video::of_url(&url).is_none() {
        let error = ApiError::invalid("YouTube URL is invalid").coded("invalid_url");
        return Err(ApiError { details: json!({ "url": url }), ..error });
    }
    let name = fields.long_text("persona_name", NAME_MAX)?.unwrap_or_default().trim().to_owned();
    if name.is_empty() {
        return Err(ApiError::missing("persona_name"));
    }
    let language = fields.text("language")?.unwrap_or_else(|| LANGUAGE.into());
    let is_language = (2..=12).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !is_language {
        return Err(ApiError::bad_parameter("language", "language code such as en"));
    }
    let (persona, job_id) = app.store.add_persona(caller.id(), name, url, language, UnixMs::now()).await?;
    let started = Started {
        job_id,
        status: JobStatus::Pending.as_str(),
        persona_id: shown(KIND, &persona),
        estimated_completion_seconds: ESTIMATE_S,
        message: "Voice cloning started. Check /api/voice/status/{job_id} for progress.",
    };
    Ok((StatusCode::ACCEPTED, Json(started)))
}

/// How far a voice is
#[utoipa::path(
    get,
    path = "/api/voice/status/{job_id}",
    tag = "voices",
    params(("job_id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, description = "There is no such job of a voice"))
)]
pub(super) async fn status(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    caller: Caller,
    Path(job_id): Path<String>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let job = app.user_jobs.one(caller.id(), &job_id).await.map_err(told)?;
    if job.kind != UserJobKind::VoiceClone {
        return Err(told(Error::NotFound("Job")));
    }
    let sample = job.result["sample"].as_str().and_then(|file| app.media.link(file, UnixMs::now()));
    let origin = Seen::of(&app, &request)?.origin(arrival.base);
    Ok(Json(shown_status(&job, sample.map(|link| format!("{origin}{}", link.path)))))
}

/// How a voice sounds
///
/// The same text is spoken once.
#[utoipa::path(
    get,
    path = "/api/voice/preview/{persona_id}",
    tag = "voices",
    params(("persona_id" = String, Path), PreviewParams),
    responses(
        (status = 200, body = Preview),
        (status = 400, description = "The text is longer than 100 characters"),
        (status = 402, description = "The account at the voice's maker is used up"),
        (status = 404, description = "There is no such persona, or its voice is not there yet"),
        (status = 502, description = "The voice cannot be asked")
    )
)]
pub(super) async fn preview(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    caller: Caller,
    Path(persona_id): Path<String>,
    Query(params): Query<PreviewParams>,
    request: Request,
) -> Result<Json<Preview>, ApiError> {
    let text = params.text.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| SAMPLE_TEXT.into());
    if text.chars().count() > TEXT_MAX || text.chars().any(char::is_control) {
        return Err(ApiError::bad_parameter("text", "string of at most 100 characters"));
    }
    let persona = app.store.persona(caller.id(), own(KIND, &persona_id)).await.map_err(told)?;
    let voice = persona.voice.ok_or_else(|| ApiError::not_found("The persona's voice is not there yet"))?;
    let name = media::name_of(&persona.id, &voice.id, &text);
    let file = match app.media.has(&name) {
        Some(file) => file,
        None => {
            let key = app.api_keys.of(caller.id(), KeyService::ElevenLabs).await?;
            let said = app.persona_voices.speak(&voice, key.as_ref(), &text).await.map_err(unspoken)?;
            media::keep(&app, name, said).await?
        }
    };
    let Link { path, expires } = app.media.link(&file, UnixMs::now()).ok_or_else(media::no_secret)?;
    let origin = Seen::of(&app, &request)?.origin(arrival.base);
    let (audio_url, expires_at) = (format!("{origin}{path}"), expires.to_seconds_text());
    Ok(Json(Preview { persona_id, audio_url, expires_at, text }))
}

/// Why there is no preview.
fn unspoken(error: VendorError) -> ApiError {
    tracing::warn!(%error, "a preview cannot be spoken");
    match error.why {
        Failure::Unpaid => ApiError::new(
            StatusCode::PAYMENT_REQUIRED,
            "ElevenLabs API quota exceeded. Please upgrade your plan.",
        ),
        _ => {
            ApiError::new(StatusCode::BAD_GATEWAY, "The voice cannot be asked at the moment; try again later")
        }
    }
}

/// Remove a persona and its voice
///
/// At the maker too. What is being made for it is called off, and it answers on no line any more.
#[utoipa::path(
    delete,
    path = "/api/voice/{persona_id}",
    tag = "voices",
    params(("persona_id" = String, Path)),
    responses(
        (status = 200, body = Deleted),
        (status = 404, description = "There is no such persona"),
        (status = 409, description = "Somebody talks with it, or did a short while ago")
    )
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(persona_id): Path<String>,
) -> Result<Json<Deleted>, ApiError> {
    let key = app.api_keys.of(caller.id(), KeyService::ElevenLabs).await?;
    let idle = app.settings.echome.conversation_idle;
    let deleted = app.store.delete_persona(caller.id(), own(KIND, &persona_id), idle, UnixMs::now()).await;
    let (persona, jobs) = deleted.map_err(told)?;
    for job in &jobs {
        app.user_jobs.tell_cancelled(job);
    }
    if let Some(voice) = &persona.voice {
        app.persona_voices.take_away(voice, key.as_ref()).await;
    }
    let media = app.media.clone();
    // What could not be removed is in the log.
    let _ = tokio::task::spawn_blocking(move || media.remove(&persona.id)).await;
    Ok(Json(Deleted { success: true, message: "Voice deleted successfully", persona_id }))
}

/// The documented body for each status.
fn shown_status(job: &UserJob, sample: Option<String>) -> Value {
    let ended = job.ended.unwrap_or(job.updated).to_seconds_text();
    match job.status {
        JobStatus::Completed => json!({
            "job_id": job.id,
            "status": job.status.as_str(),
            "progress": 100,
            "result": {
                "voice_id": job.result["voice_id"],
                "persona_id": shown(KIND, job.result["persona_id"].as_str().unwrap_or_default()),
                "audio_sample_url": sample,
                "duration_seconds": job.result["duration_seconds"],
            },
            "completed_at": ended,
        }),
        JobStatus::Failed => json!({
            "job_id": job.id,
            "status": job.status.as_str(),
            "error": { "code": job.error["code"], "message": job.error["message"], "retry_after_seconds": null },
            "failed_at": ended,
        }),
        status => {
            let seconds = |ms: u64| ms.div_ceil(1_000);
            let stages: Vec<Value> = job
                .stages
                .iter()
                .map(|stage| {
                    let duration = stage.duration_ms.map(seconds);
                    json!({ "name": stage.name, "status": stage.status.as_str(), "duration_seconds": duration })
                })
                .collect();
            let last = job.stages.last().map(|stage| stage.name.as_str());
            let mut shown = json!({
                "job_id": job.id,
                "status": status.as_str(),
                "progress": job.progress,
                "stage": job.stage().map(|stage| stage.name.as_str()).or(last),
                "stages": stages,
                "created_at": job.created.to_seconds_text(),
                "updated_at": job.updated.to_seconds_text(),
            });
            if status == JobStatus::Cancelled {
                shown["cancelled_at"] = ended.into();
            }
            shown
        }
    }
}
