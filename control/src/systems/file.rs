//! Files under the data folder, whole or in part.

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use tower_http::services::ServeFile;

use super::error::ApiError;
use crate::server::App;

/// Gives a file, or the range of it that is asked for.
pub(super) async fn serve(
    app: &App,
    file: &str,
    mime: &'static str,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let path = app.settings.data_dir.join(file);
    let served = ServeFile::new(&path).try_call(request).await;
    let response = served.map_err(|error| {
        tracing::error!(path = %path.display(), %error, "a file cannot be read");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "The file cannot be read")
    })?;
    if response.status() == StatusCode::NOT_FOUND {
        return Err(ApiError::not_found("The file is no longer there"));
    }
    let mut response = response.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
