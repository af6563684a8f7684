//! Errors as the dashboard's clients see them: `{"error": "…"}`. The only place of this system with statuses of domain errors.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::domain::accounts::AccountError;
use crate::domain::error::Error;
use crate::systems::error::ApiError;

/// How long somebody waits who comes while too many sign in: by then those have had their turn.
const WAIT_S: u32 = 3;

/// What every error looks like.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error, examples(json!({ "error": "Error message description" })))]
pub(super) struct Told {
    /// What is wrong, in a sentence.
    error: String,
}

/// The body of an error.
pub(super) fn body(error: &ApiError, _: &str) -> Value {
    json!(Told { error: error.message.clone() })
}

/// 401 for want of a good token.
pub(super) fn unauthorized() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "Missing or invalid token")
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

/// Why somebody is not let in.
pub(super) fn not_let_in(error: AccountError) -> ApiError {
    let status = match &error {
        AccountError::Invalid { .. } | AccountError::Taken | AccountError::Joined => StatusCode::BAD_REQUEST,
        AccountError::Reserved => StatusCode::FORBIDDEN,
        AccountError::Wrong => StatusCode::UNAUTHORIZED,
        AccountError::NoSecret => StatusCode::SERVICE_UNAVAILABLE,
        AccountError::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        AccountError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    match error {
        AccountError::Store(error) => error.into(),
        AccountError::TooMany(_) => ApiError {
            details: json!({ "retry_after_seconds": WAIT_S }),
            ..ApiError::new(status, error.to_string())
        },
        error => ApiError::new(status, error.to_string()),
    }
}
