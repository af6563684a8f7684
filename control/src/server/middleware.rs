//! Around every request: its id, its line in the log, the error's shape, and what a panic becomes.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use axum::middleware::Next;
use axum::response::IntoResponse;
use futures_util::FutureExt;
use uuid::Uuid;

use crate::systems::error::{ApiError, render};

pub(super) async fn around(request: Request<Body>, next: Next) -> Response<Body> {
    let started = Instant::now();
    let request_id = format!("req_{}", Uuid::new_v4().simple());
    let method = request.method().clone();
    // Without the query: it may hold numbers of callers.
    let path = request.uri().path().to_owned();
    let response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!(request_id, path, "a request's handler panicked");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error").into_response()
        }
    };
    let mut response = render(response, &request_id);
    let status = response.status().as_u16();
    let took_us = started.elapsed().as_micros() as u64;
    // Who reads the log must not fill it by reading.
    if path.contains("/api/logs/") {
        tracing::debug!(target: "offhook::access", request_id, %method, path, status, took_us, "request");
    } else {
        tracing::info!(target: "offhook::access", request_id, %method, path, status, took_us, "request");
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_panic_in_a_handler_becomes_an_error_of_the_one_shape() {
        async fn broken() -> &'static str {
            panic!("a bug of ours")
        }
        let router: Router = Router::new().route("/", get(broken)).layer(axum::middleware::from_fn(around));
        let response = router.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 500);
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["code"], "INTERNAL_ERROR");
        assert_eq!(body["request_id"], id.as_str());
        assert!(!body.to_string().contains("a bug of ours"));
    }
}
