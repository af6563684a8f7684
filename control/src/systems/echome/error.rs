//! Errors as Echo Me's clients see them. The only place of this system with statuses of domain errors.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::domain::error::Error;
use crate::domain::time::UnixMs;
use crate::systems::error::ApiError;

/// What every error looks like.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error, examples(json!({
    "error": "invalid_input",
    "message": "Missing required parameter: name",
    "details": { "parameter": "name", "expected_type": "string" },
    "request_id": "req_abc123",
    "timestamp": "2025-02-18T10:00:00Z",
})))]
pub(super) struct Told {
    /// What went wrong, for programs.
    error: &'static str,
    /// What went wrong, for people.
    message: String,
    /// More on it.
    #[schema(value_type = Object)]
    details: Value,
    /// Names the request in the server's log; the same as the header `X-Request-Id`.
    request_id: String,
    /// When it happened, UTC, in whole seconds.
    #[schema(format = DateTime)]
    timestamp: String,
    /// Of a limit: how long to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
}

/// The body of an error.
pub(super) fn body(error: &ApiError, request_id: &str) -> Value {
    let wait = error.details["retry_after_seconds"].as_u64();
    json!(Told {
        error: error.code.unwrap_or_else(|| code(error.status)),
        message: error.message.clone(),
        details: error.details.clone(),
        request_id: request_id.to_owned(),
        timestamp: UnixMs::now().to_seconds_text(),
        retry_after_seconds: wait.filter(|_| error.status == StatusCode::TOO_MANY_REQUESTS),
    })
}

const fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "unauthorized",
        402 => "quota_exceeded",
        404 => "resource_not_found",
        405 => "method_not_allowed",
        409 => "conflict",
        413 => "payload_too_large",
        422 => "unprocessable_entity",
        429 => "rate_limit",
        502 | 503 => "external_api_error",
        400..=499 => "invalid_input",
        _ => "internal_error",
    }
}

/// 401 for want of a session.
pub(super) fn unauthorized() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "No valid session: sign in at /api/auth/signin")
}

/// What the domain refuses, with its status.
pub(super) fn told(error: Error) -> ApiError {
    let status = match &error {
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::Conflict(_) => StatusCode::CONFLICT,
        Error::Invalid { .. } => StatusCode::BAD_REQUEST,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let message = error.to_string();
    match error {
        Error::Store(error) => error.into(),
        Error::Invalid { field, .. } => {
            ApiError { details: json!({ "field": field }), ..ApiError::new(status, message) }
        }
        _ => ApiError::new(status, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_the_five_keys_and_a_limit_one_more() {
        let told = body(&ApiError::missing("name"), "req_1");
        assert_eq!(told["error"], "invalid_input");
        assert_eq!((&told["request_id"], told.as_object().unwrap().len()), (&json!("req_1"), 5));
        let told = body(&ApiError::not_found("x"), "req_1");
        assert_eq!((&told["error"], &told["details"]), (&json!("resource_not_found"), &json!({})));
        let own = ApiError::invalid("x").coded("invalid_url");
        assert_eq!(body(&own, "")["error"], "invalid_url");
        let limited = ApiError {
            details: json!({ "limit": 100, "retry_after_seconds": 60 }),
            ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, "x")
        };
        let told = body(&limited, "");
        assert_eq!((&told["error"], &told["retry_after_seconds"]), (&json!("rate_limit"), &json!(60)));
    }
}
