//! One request to a CRM, and what its failure means.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, StatusCode};
use offhook_engine::call::Failure;
use serde_json::Value;

use super::CrmError;
use crate::integrations::http::{Answer, HttpClient, HttpError, Limits};
use crate::integrations::refusal::{Told, header, of_http, of_status, sensitive};
use crate::settings::Secret;

/// What one request may cost. Nobody on the telephone waits for it.
const LIMITS: Limits = Limits { time: Duration::from_secs(10), body_bytes: 1024 * 1024 };

/// A request with a bearer token.
pub(in crate::integrations) struct Request<'a> {
    pub(in crate::integrations) method: Method,
    pub(in crate::integrations) url: String,
    pub(in crate::integrations) token: &'a Secret,
    pub(in crate::integrations) headers: &'a [(&'static str, &'static str)],
    pub(in crate::integrations) body: Option<&'a Value>,
}

impl Request<'_> {
    /// Sends it, once, and gives its answer, whatever the status.
    pub(in crate::integrations) async fn send(self, http: &HttpClient) -> Result<Answer, CrmError> {
        let bearer = sensitive(&format!("Bearer {}", self.token.reveal()));
        let bearer = bearer.map_err(CrmError::Expired)?;
        let mut request =
            hyper::Request::builder().method(self.method).uri(self.url).header(AUTHORIZATION, bearer);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        if self.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json; charset=utf-8");
        }
        let body = self.body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = request
            .body(Full::new(body))
            .map_err(|_| CrmError::Refused("its address cannot be asked for".into()))?;
        http.send(request, LIMITS).await.map_err(|error| unanswered(&error))
    }
}

/// There is no whole answer.
fn unanswered(error: &HttpError) -> CrmError {
    let was_sent = !matches!(error, HttpError::Unreachable(_) | HttpError::Tls(_));
    CrmError::Later {
        detail: of_http(error).detail,
        after: None,
        is_general: !matches!(error, HttpError::Large(_)),
        is_unsure: was_sent,
    }
}

/// What a CRM says when it refuses.
pub(in crate::integrations) struct Refusal<'a> {
    /// Its name for the reason.
    pub(in crate::integrations) code: &'a str,
    /// What it says of it.
    pub(in crate::integrations) message: &'a str,
}

impl Refusal<'_> {
    /// What an answer means that is no success, where its code has no meaning of its own.
    pub(in crate::integrations) fn of(&self, answer: &Answer) -> CrmError {
        let status = answer.status;
        let detail = self.told(answer);
        match status.as_u16() {
            401 => CrmError::Expired(detail),
            404 | 410 => CrmError::Gone(detail),
            408 | 425 | 429 | 500.. => CrmError::Later {
                detail,
                after: seconds(answer),
                // What one request runs into, others need not.
                is_general: status != StatusCode::INTERNAL_SERVER_ERROR,
                is_unsure: status.is_server_error(),
            },
            _ => CrmError::Refused(detail),
        }
    }

    /// It has to be asked less often: whatever its status says.
    pub(in crate::integrations) fn is_busy(&self, answer: &Answer, after: Option<Duration>) -> CrmError {
        let after = seconds(answer).or(after);
        CrmError::Later { detail: self.told(answer), after, is_general: true, is_unsure: false }
    }

    fn told(&self, answer: &Answer) -> String {
        let Self { code, message } = *self;
        let why = match of_status(answer.status) {
            // What is said of a right that is missing helps who has to give it, and shows no token.
            Failure::Unauthorised if answer.status == StatusCode::FORBIDDEN => Failure::Refused,
            why => why,
        };
        Told { status: Some(answer.status), code, message, request: None }.error(why, None).detail
    }
}

/// How long the other side asks to be left alone; none if it does not say so in seconds.
fn seconds(answer: &Answer) -> Option<Duration> {
    header(&answer.headers, RETRY_AFTER.as_str())?.trim().parse().ok().map(Duration::from_secs)
}

/// The JSON of a success.
pub(in crate::integrations) fn parsed(answer: &Answer) -> Result<Value, CrmError> {
    serde_json::from_slice(&answer.body).map_err(|_| malformed("an answer that is no JSON"))
}

/// A success that does not say what it has to. It may have been done.
pub(in crate::integrations) fn malformed(what: &str) -> CrmError {
    CrmError::Later { detail: what.to_owned(), after: None, is_general: false, is_unsure: true }
}

/// The query of a URL. A space is `%20` in it: a plus is not one everywhere.
pub(in crate::integrations) fn query(fields: &[(&str, &str)]) -> String {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    form.replace('+', "%20")
}
