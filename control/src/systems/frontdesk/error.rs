//! Errors as FrontDesk's clients see them: `{"detail": "…"}`. The only place of this system with statuses of domain errors.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::domain::error::Error;
use crate::systems::error::ApiError;

/// What every error looks like.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error, examples(json!({ "detail": "Invalid authentication credentials" })))]
pub(super) struct Detail {
    /// What is wrong, in a sentence.
    detail: String,
}

/// The body of an error.
pub(super) fn body(error: &ApiError, _: &str) -> Value {
    json!(Detail { detail: error.message.clone() })
}

/// 401, in the documented words.
pub(super) fn unauthorized() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "Invalid authentication credentials")
}

/// What the domain refuses, with its status.
pub(super) fn told(error: Error) -> ApiError {
    let status = match &error {
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::Conflict(_) | Error::Invalid { .. } => StatusCode::BAD_REQUEST,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    match error {
        Error::Store(error) => error.into(),
        error => ApiError::new(status, error.to_string()),
    }
}
