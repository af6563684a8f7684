//! With whom it is spoken, in whose name, and over which connections: what chat, speech and transcription have in common.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};
use offhook_engine::call::Failure;
use serde_json::Value;

use crate::integrations::http::{Answer, HttpClient, Limits};
use crate::integrations::refusal::{Told, header, of_http, of_status, sensitive};
use crate::integrations::vendor::VendorError;
use crate::settings::{BaseUrl, Secret};

/// A server, and a key for it where it wants one.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) http: HttpClient,
    base: BaseUrl,
    key: Option<Secret>,
    authorization: Option<HeaderValue>,
}

impl Account {
    /// An error says what to do.
    pub(super) fn new(http: HttpClient, base: BaseUrl, key: Option<Secret>) -> Result<Self, String> {
        let authorization =
            key.as_ref().map(|key| sensitive(&format!("Bearer {}", key.reveal()))).transpose()?;
        Ok(Self { http, base, key, authorization })
    }

    /// The key, for whoever strikes it out of a text.
    pub(super) fn key(&self) -> Option<&Secret> {
        self.key.as_ref()
    }

    /// Says in the headers of a request who asks.
    pub(super) fn sign(&self, headers: &mut HeaderMap) {
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
    }

    /// A request that posts to `path`, to be completed by [`Account::request`].
    pub(super) fn post(&self, path: &str) -> Builder {
        Request::post(self.base.of(path))
    }

    /// A request with what says who asks.
    pub(super) fn request(&self, builder: Builder, body: Bytes) -> Request<Full<Bytes>> {
        let request = builder.body(Full::new(body));
        let mut request = request.expect("a checked base and a fixed path are a URL");
        self.sign(request.headers_mut());
        request
    }

    /// Asks for the list of models, which costs nothing; the connection is kept for whoever asks next. `Err` in it: what was
    /// answered instead.
    pub(super) async fn look(&self, limits: Limits) -> Result<Result<(), Answer>, VendorError> {
        let request = self.request(Request::get(self.base.of("/v1/models")), Bytes::new());
        let answer = self.http.send(request, limits).await.map_err(|error| of_http(&error))?;
        // A server without such a list is there all the same.
        let is_there = answer.status.is_success() || answer.status == StatusCode::NOT_FOUND;
        Ok(if is_there { Ok(()) } else { Err(answer) })
    }

    /// Looks whether the server is there and takes the key.
    pub(super) async fn check(&self, limits: Limits) -> Result<(), VendorError> {
        let looked = self.look(limits).await?;
        looked.map_err(|Answer { status, headers, body }| self.refused(status, &headers, &body))
    }

    /// What an `error` object in a message says.
    pub(super) fn told(&self, error: &Value) -> VendorError {
        let code = error["code"].as_str().or(error["type"].as_str()).unwrap_or_default();
        let why = match code {
            "insufficient_quota" => Failure::Unpaid,
            "rate_limit_exceeded" => Failure::Busy,
            "server_error" => Failure::Faulty,
            "invalid_api_key" => Failure::Unauthorised,
            "session_expired" => Failure::BrokenOff,
            _ => Failure::Refused,
        };
        let message = error["message"].as_str().unwrap_or_default();
        Told { status: None, code, message, request: None }.error(why, self.key())
    }

    /// What a refusal of speech or transcription says.
    pub(super) fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> VendorError {
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        // Most nest it, some do not; a code may be a number, which says no more than the status.
        let error = if said["error"].is_object() { &said["error"] } else { &said };
        let code = error["code"].as_str().or(error["type"].as_str()).unwrap_or_default();
        let message = error["message"].as_str().or(said["error"].as_str()).unwrap_or_default();
        let why = match code {
            "insufficient_quota" => Failure::Unpaid,
            _ => of_status(status),
        };
        let told = Told { status: Some(status), code, message, request: header(headers, "x-request-id") };
        told.error(why, self.key())
    }
}
