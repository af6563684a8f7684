//! What the domain refuses, as Offhook's own API tells it.

use axum::http::StatusCode;

use crate::domain::error::Error;
use crate::systems::error::ApiError;

/// A refusal with its status.
pub(super) fn told(error: Error) -> ApiError {
    let message = error.to_string();
    match error {
        Error::Store(error) => error.into(),
        Error::NotFound(_) => ApiError::new(StatusCode::NOT_FOUND, message),
        Error::Conflict(_) => ApiError::new(StatusCode::CONFLICT, message),
        Error::Forbidden(_) => ApiError::new(StatusCode::FORBIDDEN, message),
        Error::Unavailable(_) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message),
        Error::Invalid { field, .. } => ApiError { message, ..ApiError::bad_parameter(field, "string") },
    }
}
