//! Around every request of a system: its line in the log, its limits, its errors' shape, and what a panic becomes.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::middleware::Next;
use axum::response::IntoResponse;
use futures_util::FutureExt;

use super::arrival::Arrival;
use super::rate_limit::{Client, Quota};
use super::sites::Mount;
use crate::domain::time::UnixMs;
use crate::systems::error::{ApiError, render};

/// An extension of a response whose request a carrier signed: it does not count for an address.
#[derive(Clone, Copy, Debug)]
pub struct CarrierSigned {
    /// What is left to the carrier's account, where accounts are limited.
    pub account: Option<Quota>,
}

/// Names the request, writes the access log, gives errors the system's shape, and turns a panic into one.
pub(super) async fn around(State(mount): State<Mount>, request: Request, next: Next) -> Response<Body> {
    let started = Instant::now();
    let Some(arrival) = request.extensions().get::<Arrival>().cloned() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let method = request.method().clone();
    // Without the query: it may hold numbers of callers.
    let path = arrival.uri.path();
    let response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!(request_id = &*arrival.request_id, path, "a request's handler panicked");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error").into_response()
        }
    };
    let mut response = render(response, &arrival.request_id, mount.system.error_body);
    mount.app.http.count(response.status());
    let status = response.status().as_u16();
    let took_us = started.elapsed().as_micros() as u64;
    let (request_id, client, system) = (&*arrival.request_id, arrival.client, mount.system.name);
    // Who reads the log must not fill it by reading.
    if path.contains("/api/logs/") {
        tracing::debug!(target: "offhook::access", request_id, %client, system, %method, path, status, took_us, "request");
    } else {
        tracing::info!(target: "offhook::access", request_id, %client, system, %method, path, status, took_us, "request");
    }
    if let Ok(value) = HeaderValue::from_str(&arrival.request_id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

/// Counts the request for its client, and refuses what is over the limit of its path.
///
/// A request that says that its carrier signed it is counted only if that turns out to be false: carriers ask from a few
/// addresses, for all their customers' calls.
pub(super) async fn limit(State(mount): State<Mount>, request: Request, next: Next) -> Response<Body> {
    let path = request.uri().path();
    let limits = mount.system.limits.iter().enumerate();
    let found = limits.into_iter().find(|(_, limit)| path.starts_with(limit.prefix));
    let arrival = request.extensions().get::<Arrival>();
    let (Some((number, limit)), Some(arrival)) = (found, arrival) else { return next.run(request).await };
    if !mount.app.settings.rate_limits || arrival.simulated {
        return next.run(request).await;
    }
    let known = (mount.system.counted_as)(&mount.app, request.headers());
    let address = Client::from(arrival.client);
    // Who is known is counted for all of such a system together, as addresses are.
    let scope = mount.first_scope + if mount.system.per_address.is_some() { 0 } else { number };
    let of_addresses = mount.first_scope + mount.system.limits.len();
    let app = mount.app.clone();
    let per_address = mount.system.per_address;
    let take = move || {
        let take = |scope, client, most| app.limiter.take(scope, client, most, Instant::now(), UnixMs::now());
        match (per_address, known) {
            (None, known) => take(scope, known.unwrap_or(address), limit.requests),
            (Some(most), None) => take(of_addresses, address, most),
            (Some(most), Some(known)) => {
                tighter(take(of_addresses, address, most), take(scope, known, limit.requests))
            }
        }
    };

    let claimed =
        mount.app.settings.twilio_auth_token.is_some() && (mount.system.claims_signature)(request.headers());
    if claimed {
        let response = next.run(request).await;
        return match response.extensions().get::<CarrierSigned>().copied() {
            Some(CarrierSigned { account: Some(quota) }) => told(response, &quota),
            Some(CarrierSigned { account: None }) => response,
            None => {
                let quota = take();
                told(if quota.exceeded { too_many(&quota).into_response() } else { response }, &quota)
            }
        };
    }
    let quota = take();
    let response = if quota.exceeded { too_many(&quota).into_response() } else { next.run(request).await };
    told(response, &quota)
}

/// Of two limits the one that a client reaches first.
fn tighter(one: Quota, other: Quota) -> Quota {
    let later = |quota: &Quota| (!quota.exceeded, quota.remaining, std::cmp::Reverse(quota.reset_in));
    if later(&other) < later(&one) { other } else { one }
}

fn told(mut response: Response<Body>, quota: &Quota) -> Response<Body> {
    quota.write(response.headers_mut());
    response
}

/// 429, with how long to wait.
pub fn too_many(quota: &Quota) -> ApiError {
    let seconds = quota.retry_after_s();
    let message = format!("More than {} requests in a minute; try again in {seconds} s", quota.limit);
    let details = serde_json::json!({ "limit": quota.limit, "retry_after_seconds": seconds });
    ApiError { details, ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, message) }
}
