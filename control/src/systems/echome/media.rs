//! Sound that links open.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};
use ring::digest::{SHA256, digest};
use tokio::task::spawn_blocking;

use crate::domain::personas::media::MIME;
use crate::domain::time::UnixMs;
use crate::hex;
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::file;

/// A sound
#[utoipa::path(
    get,
    path = "/media/{file}",
    tag = "voices",
    params(("file" = String, Path), ("token" = String, Query, description = "As it was in the link")),
    responses(
        (status = 200, content_type = "audio/ogg", body = Vec<u8>),
        (status = 404, description = "There is no such sound, or the link has expired")
    )
)]
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let query = request.uri().query().unwrap_or_default();
    let token = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token");
    let token = token.map(|(_, token)| token.into_owned()).unwrap_or_default();
    let opened = app.media.opened(&name, &token, UnixMs::now());
    let path = opened.ok_or_else(|| ApiError::not_found("The link opens nothing, or has expired"))?;
    file::serve(&app, &path, MIME, request).await
}

/// What a persona's text in a voice is kept as: the same for the same.
pub(super) fn name_of(persona: &str, voice: &str, text: &str) -> String {
    let what = digest(&SHA256, format!("{voice}\n{text}").as_bytes());
    format!("{persona}_{}", &hex::encode(what.as_ref())[..32])
}

/// Keeps what was said.
pub(super) async fn keep(app: &App, name: String, ulaw: Vec<u8>) -> Result<String, ApiError> {
    let media = app.media.clone();
    let kept = spawn_blocking(move || media.keep(&name, &ulaw)).await.map_err(std::io::Error::other);
    kept.flatten().map_err(|error| {
        tracing::error!(%error, "a sound cannot be kept");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
    })
}

pub(super) fn no_secret() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This server has no secret to sign links with (OFFHOOK_JWT_SECRET)",
    )
}
