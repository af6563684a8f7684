//! Errors as clients see them, also those that no route made.
//!
//! A route returns an [`ApiError`]; [`render`] writes it down on the way out, where the request's id is known, in the
//! shape of the system that was asked.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::ObjectBuilder;

use crate::domain::time::UnixMs;
use crate::server::openapi::words;
use crate::store::StoreError;

/// An error as a client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// What is wrong, in a sentence for whoever wrote the client.
    pub message: String,
    /// More on it; an object.
    pub details: Value,
    /// What it is for programs, where a system has a word of its own for it.
    pub code: Option<&'static str>,
}

impl ApiError {
    /// An error without details.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), details: json!({}), code: None }
    }

    /// The same, by a word for programs that its system has for it.
    pub fn coded(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// 400: what was sent cannot be used.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400: a parameter is absent.
    pub fn missing(parameter: &str) -> Self {
        let details = json!({ "parameter": parameter, "expected_type": "string" });
        Self { details, ..Self::invalid(format!("Missing required parameter: {parameter}")) }
    }

    /// 400: a parameter has a value that it may not have.
    pub fn bad_parameter(parameter: &str, expected_type: &str) -> Self {
        let details = json!({ "parameter": parameter, "expected_type": expected_type });
        Self { details, ..Self::invalid(format!("Invalid parameter: {parameter}")) }
    }

    /// 404: there is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 403: the request is not from whom it should be.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    fn code(&self) -> &'static str {
        match self.status.as_u16() {
            401 | 403 => "AUTHENTICATION_FAILED",
            404 => "NOT_FOUND",
            405 => "METHOD_NOT_ALLOWED",
            429 => "RATE_LIMIT_EXCEEDED",
            502..=504 => "SERVICE_UNAVAILABLE",
            400..=499 => "INVALID_REQUEST",
            _ => "INTERNAL_ERROR",
        }
    }
}

/// The client learns that it is our fault; the log learns what it is.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a request failed");
        match error {
            StoreError::Full | StoreError::Delayed(_) | StoreError::Closed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "The database takes no requests; try again later")
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"),
        }
    }
}

/// An extension of a response whose body a route made on purpose, though its status is an error's.
#[derive(Clone, Copy, Debug)]
pub struct OwnBody;

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// What every error looks like, whoever made it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error, examples(json!({
    "error": {
        "code": "INVALID_REQUEST",
        "message": "Missing required parameter: CallSid",
        "details": { "parameter": "CallSid", "expected_type": "string" },
    },
    "timestamp": "2024-01-01T12:00:00Z",
    "request_id": "req_123",
})))]
pub struct Envelope<'a> {
    #[schema(inline)]
    error: Told<'a>,
    /// When it happened, UTC, in whole seconds.
    #[schema(format = DateTime)]
    timestamp: String,
    /// Names the request in the server's log; the same as the header `X-Request-Id`.
    request_id: &'a str,
}

#[derive(Debug, Serialize, ToSchema)]
struct Told<'a> {
    /// What went wrong, for programs.
    #[schema(schema_with = codes)]
    code: &'static str,
    /// What went wrong, for people.
    message: &'a str,
    /// More on it: `parameter` and `expected_type` of a parameter, `limit` and `retry_after_seconds` of a limit.
    #[schema(value_type = Object)]
    details: &'a Value,
}

fn codes() -> ObjectBuilder {
    words(&[
        "INVALID_REQUEST",
        "AUTHENTICATION_FAILED",
        "NOT_FOUND",
        "METHOD_NOT_ALLOWED",
        "RATE_LIMIT_EXCEEDED",
        "SERVICE_UNAVAILABLE",
        "INTERNAL_ERROR",
    ])
}

/// The body that callbot and Offhook's own API have for an error: `{"error":{code,message,details},timestamp,request_id}`.
pub fn enveloped(error: &ApiError, request_id: &str) -> Value {
    let told = Told { code: error.code(), message: &error.message, details: &error.details };
    let envelope = Envelope { error: told, timestamp: UnixMs::now().to_seconds_text(), request_id };
    serde_json::to_value(envelope).expect("an envelope has string keys only")
}

/// Gives an error response its body, whoever made it; leaves other responses as they are.
pub fn render(
    response: Response<Body>,
    request_id: &str,
    body: fn(&ApiError, &str) -> Value,
) -> Response<Body> {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    if !is_error || response.extensions().get::<OwnBody>().is_some() {
        return response;
    }
    let error =
        response.extensions().get::<ApiError>().cloned().unwrap_or_else(|| of_status(response.status()));
    let mut rendered = Response::new(Body::from(body(&error, request_id).to_string()));
    *rendered.status_mut() = error.status;
    *rendered.headers_mut() = kept_headers(response.headers());
    rendered.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if error.status == StatusCode::UNAUTHORIZED {
        rendered.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    // Some limits are a route's own, and not among those that the server counts for all.
    let wait = error.details["retry_after_seconds"].as_u64().filter(|_| error.status == 429);
    if let Some(seconds) = wait {
        rendered.headers_mut().entry(header::RETRY_AFTER).or_insert(HeaderValue::from(seconds));
    }
    rendered
}

/// All headers but those of the body that is replaced.
fn kept_headers(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for of_the_body in
        [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::TRANSFER_ENCODING, header::ETAG]
    {
        kept.remove(of_the_body);
    }
    kept
}

/// What is said of an error that the router made.
pub(crate) fn of_status(status: StatusCode) -> ApiError {
    let message = match status.as_u16() {
        404 => "There is nothing at this path",
        405 => "This path does not take this method",
        408 => "The request took too long",
        413 => "The request is too large",
        415 => "The request's content type is not supported",
        416 => "The range is not within the file",
        400..=499 => "The request cannot be used",
        _ => "Internal server error",
    };
    ApiError::new(status, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(response: Response<Body>) -> Value {
        serde_json::from_slice(&axum::body::to_bytes(response.into_body(), 10_000).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_missing_call_sid_is_told_as_the_contract_shows_it() {
        let response = render(ApiError::missing("CallSid").into_response(), "req_123", enveloped);
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = body(response).await;
        assert_eq!(
            body["error"],
            json!({
                "code": "INVALID_REQUEST",
                "message": "Missing required parameter: CallSid",
                "details": { "parameter": "CallSid", "expected_type": "string" },
            })
        );
        assert_eq!(body["request_id"], "req_123");
        assert_eq!(body["timestamp"].as_str().unwrap().len(), "2024-01-01T12:00:00Z".len());
        assert_eq!(body.as_object().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn every_status_has_its_code() {
        for (status, code) in [
            (400, "INVALID_REQUEST"),
            (401, "AUTHENTICATION_FAILED"),
            (403, "AUTHENTICATION_FAILED"),
            (404, "NOT_FOUND"),
            (405, "METHOD_NOT_ALLOWED"),
            (413, "INVALID_REQUEST"),
            (415, "INVALID_REQUEST"),
            (429, "RATE_LIMIT_EXCEEDED"),
            (500, "INTERNAL_ERROR"),
            (502, "SERVICE_UNAVAILABLE"),
            (503, "SERVICE_UNAVAILABLE"),
        ] {
            let mut made_by_router = Response::new(Body::from("a framework's text"));
            *made_by_router.status_mut() = StatusCode::from_u16(status).unwrap();
            let body = body(render(made_by_router, "req_1", enveloped)).await;
            assert_eq!(body["error"]["code"], code, "{status}");
            assert!(body["error"]["details"].is_object());
        }
    }

    #[test]
    fn a_body_that_was_made_on_purpose_stays() {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.extensions_mut().insert(OwnBody);
        assert!(render(response, "req_1", enveloped).headers().is_empty());
    }

    #[test]
    fn a_success_is_left_as_it_is() {
        let response = render(Response::new(Body::from("x")), "req_1", enveloped);
        assert!(response.headers().is_empty());
    }
}
