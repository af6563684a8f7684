//! Google Calendar: when somebody is busy, and events.
//!
//! A request is tried again while the time for it lasts: with a new token if Google does not take the one there is, and after
//! a while if it is asked too often or fails. That is safe for all of them, since an event is named before it is entered.
//!
//! <https://developers.google.com/workspace/calendar/api/v3/reference>, by its description of 2026-10-30, read 2026-11.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::http::request::Builder;
use hyper::{Method, Request, StatusCode};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use offhook_engine::call::Failure;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{Access, Hosts};
use crate::domain::time::Span;
use crate::integrations::http::{Answer, HttpClient, Limits};
use crate::integrations::oauth::OAuthError;
use crate::integrations::refusal::{Told, header, of_http, of_status, sensitive};
use crate::integrations::vendor::VendorError;

/// How long all tries of one request may take: a caller waits for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one try may take.
const TRY: Duration = Duration::from_millis(2_500);
/// How long is waited before the second try; twice as long before each further one.
const BACK_OFF: Duration = Duration::from_millis(200);
/// An answer is no longer than this: a page of events.
const BODY_BYTES: usize = 4 * 1024 * 1024;
/// Events that one page has at most, by the API.
const PAGE: &str = "2500";
/// No list has more pages.
const PAGES_MAX: usize = 8;

/// Why a calendar could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// Whoever consented has to do so anew.
    #[error("{0}")]
    Access(#[from] OAuthError),
    /// There is no such calendar, or it is not shared with who asks.
    #[error("the calendar cannot be seen: {0}")]
    Hidden(String),
    /// An event of this name is there already.
    #[error("an event of this name is there already")]
    Exists,
    /// There was such an event, and it was deleted: its name cannot be used again.
    #[error("an event of this name was deleted")]
    Deleted,
    /// Google could not be asked, or refuses.
    #[error("{0}")]
    Vendor(#[from] VendorError),
}

/// An event to be entered.
#[derive(Clone, Debug)]
pub struct NewEvent<'a> {
    /// Chosen here, so that to enter it twice enters it once: 5 to 1024 of `a` to `v` and `0` to `9`.
    pub id: &'a str,
    /// When.
    pub span: Span,
    /// The zone that it is shown in.
    pub zone: &'a TimeZone,
    /// What stands in the calendar.
    pub summary: &'a str,
    /// What else is known. Google takes some HTML in it: what came from outside is escaped here.
    pub description: &'a str,
}

/// An event that blocks time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name in its calendar.
    pub id: String,
    /// When.
    pub span: Span,
    /// When it was entered.
    pub created: Timestamp,
}

/// Somebody's calendar.
#[derive(Clone, Debug)]
pub struct GoogleCalendar {
    http: HttpClient,
    hosts: Hosts,
    access: Access,
    id: String,
    patience: Duration,
}

impl GoogleCalendar {
    /// `id`: an address, or `primary` for the own one of whoever consented; a service account's own one is empty. The error says
    /// that there is no TLS.
    pub fn new(hosts: Hosts, access: Access, id: &str) -> Result<Self, String> {
        let http = HttpClient::new().map_err(|error| error.to_string())?;
        Ok(Self { http, hosts, access, id: id.to_owned(), patience: PATIENCE })
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When it is busy within a span of two months at most. Spans may touch and overlap.
    pub async fn busy(&self, within: Span) -> Result<Vec<Span>, CalendarError> {
        let body = json!({
            "timeMin": within.from.to_string(), "timeMax": within.to.to_string(), "items": [{"id": self.id}],
        });
        let said = self.ask(Method::POST, "/freeBusy", Some(&body)).await?;
        // One was asked about, so there is one; under which name, does not matter.
        let calendars = said["calendars"].as_object().and_then(|all| all.values().next());
        let calendar = calendars.ok_or_else(|| malformed("free and busy of no calendar"))?;
        // Who may not see a calendar gets no busy times either: it is not free for that.
        if let Some(error) = calendar["errors"].as_array().and_then(|errors| errors.first()) {
            let reason = error["reason"].as_str().unwrap_or("no reason given");
            return Err(CalendarError::Hidden(reason.chars().take(40).collect()));
        }
        let busy = calendar["busy"].as_array().ok_or_else(|| malformed("no busy times"))?;
        let spans =
            busy.iter().map(|span| Some(Span { from: moment(&span["start"])?, to: moment(&span["end"])? }));
        spans.collect::<Option<_>>().ok_or_else(|| malformed("a busy time that is none").into())
    }

    /// The events that block time within a span.
    pub async fn events(&self, within: Span) -> Result<Vec<Event>, CalendarError> {
        let mut events = Vec::new();
        let mut page: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let (from, to) = (within.from.to_string(), within.to.to_string());
            let fields = [
                ("timeMin", Some(from.as_str())),
                ("timeMax", Some(&to)),
                ("singleEvents", Some("true")),
                ("orderBy", Some("startTime")),
                ("maxResults", Some(PAGE)),
                ("pageToken", page.as_deref()),
            ];
            let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
            let said = self.ask(Method::GET, &self.path(&format!("?{query}")), None).await?;
            let items = said["items"].as_array().ok_or_else(|| malformed("no list of events"))?;
            let zone = said["timeZone"].as_str().and_then(|name| TimeZone::get(name).ok());
            let zone = zone.unwrap_or(TimeZone::UTC);
            for item in items.iter().filter(|item| blocks(item)) {
                events.push(event(item, &zone).ok_or_else(|| malformed("an event that is none"))?);
            }
            page = said["nextPageToken"].as_str().map(str::to_owned);
            if page.is_none() {
                return Ok(events);
            }
        }
        Err(malformed("a list of events without an end").into())
    }

    /// Enters an event. That one of this name is there is the success of an earlier try.
    pub async fn insert(&self, event: &NewEvent<'_>) -> Result<(), CalendarError> {
        let time = |at: Timestamp| {
            let zoned = Zoned::new(at, event.zone.clone());
            let mut time = json!({"dateTime": rfc3339(&zoned)});
            if let Some(name) = event.zone.iana_name() {
                time["timeZone"] = name.into();
            }
            time
        };
        let body = json!({
            "id": event.id, "summary": event.summary, "description": escaped(event.description),
            "start": time(event.span.from), "end": time(event.span.to),
        });
        match self.ask(Method::POST, &self.path("?sendUpdates=none"), Some(&body)).await {
            Err(CalendarError::Exists) => {
                let there = self.ask(Method::GET, &self.path(&format!("/{}", event.id)), None).await?;
                if there["status"] == "cancelled" { Err(CalendarError::Deleted) } else { Ok(()) }
            }
            said => said.map(drop),
        }
    }

    /// Deletes an event. Ok too if there is none.
    pub async fn delete(&self, id: &str) -> Result<(), CalendarError> {
        match self.ask(Method::DELETE, &self.path(&format!("/{id}?sendUpdates=none")), None).await {
            Err(CalendarError::Hidden(_)) => Ok(()),
            said => said.map(drop),
        }
    }

    /// Of its events, and below.
    fn path(&self, rest: &str) -> String {
        let id: String = form_urlencoded::byte_serialize(self.id.as_bytes()).collect();
        // A form's space is a plus, and a path's is not.
        format!("/calendars/{}/events{rest}", id.replace('+', "%20"))
    }

    /// One request, with as many tries as there is time for. The answer is null if it has no body.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, CalendarError> {
        let until = Instant::now() + self.patience;
        let asking = async {
            let mut token = self.access.token().await?;
            let (mut is_renewed, mut wait) = (false, BACK_OFF);
            loop {
                let (error, after) = match self.attempt(&method, path, body, token.reveal()).await {
                    Ok(answer) if answer.status.is_success() => return said(&answer),
                    Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && !is_renewed => {
                        is_renewed = true;
                        token = self.access.token_after(&token).await?;
                        continue;
                    }
                    Ok(answer) => {
                        let refusal = refused(&answer);
                        if !refusal.1 {
                            return Err(refusal.0);
                        }
                        let after = header(&answer.headers, RETRY_AFTER.as_str());
                        (refusal.0, after.and_then(|after| after.parse().ok()).map(Duration::from_secs))
                    }
                    Err(error) => (error.into(), None),
                };
                // By a part of it more, so that those who were refused together do not come together again.
                let pause = after.unwrap_or_default().max(wait.mul_f64(1.0 + jitter()));
                if Instant::now() + pause >= until {
                    return Err(error);
                }
                sleep(pause).await;
                wait *= 2;
            }
        };
        let late =
            || VendorError::new(Failure::Slow, format!("no answer within {} s", self.patience.as_secs_f32()));
        timeout(self.patience, asking).await.unwrap_or_else(|_| Err(late().into()))
    }

    async fn attempt(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        token: &str,
    ) -> Result<Answer, VendorError> {
        let bearer = sensitive(&format!("Bearer {token}"));
        let bearer = bearer.map_err(|detail| VendorError::new(Failure::Unauthorised, detail))?;
        let mut request: Builder =
            Request::builder().method(method).uri(self.hosts.calendar(path)).header("authorization", bearer);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = request.body(Full::new(body)).expect("a checked base and an encoded path are a URL");
        let limits = Limits { time: TRY, body_bytes: BODY_BYTES };
        self.http.send(request, limits).await.map_err(|error| of_http(&error))
    }
}

fn said(answer: &Answer) -> Result<Value, CalendarError> {
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&answer.body).map_err(|_| malformed("an answer that is no JSON").into())
}

/// What a refusal means, and whether it may be another one a little later.
fn refused(answer: &Answer) -> (CalendarError, bool) {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let error = &said["error"];
    let code = error["errors"][0]["reason"].as_str().or(error["status"].as_str()).unwrap_or_default();
    let message = error["message"].as_str().unwrap_or_default();
    match answer.status {
        StatusCode::NOT_FOUND => return (CalendarError::Hidden("notFound".into()), false),
        StatusCode::GONE => return (CalendarError::Hidden("deleted".into()), false),
        StatusCode::CONFLICT => return (CalendarError::Exists, false),
        _ => {}
    }
    let is_busy = matches!(code, "rateLimitExceeded" | "userRateLimitExceeded");
    let why = match answer.status {
        _ if is_busy || code == "quotaExceeded" => Failure::Busy,
        status => of_status(status),
    };
    let told = Told { status: Some(answer.status), code, message, request: None }.error(why, None);
    let may_pass = is_busy || matches!(answer.status.as_u16(), 408 | 429 | 500 | 502..=504);
    (told.into(), may_pass)
}

/// Whether an event takes time, as Google itself counts it for free and busy.
fn blocks(item: &Value) -> bool {
    let declined = |who: &Value| who["self"] == true && who["responseStatus"] == "declined";
    item["status"] != "cancelled"
        && item["transparency"] != "transparent"
        && !item["attendees"].as_array().is_some_and(|all| all.iter().any(declined))
}

fn event(item: &Value, zone: &TimeZone) -> Option<Event> {
    let at = |time: &Value| match time["date"].as_str() {
        Some(date) => Some(date.parse::<Date>().ok()?.to_zoned(zone.clone()).ok()?.timestamp()),
        None => moment(&time["dateTime"]),
    };
    Some(Event {
        id: item["id"].as_str()?.to_owned(),
        span: Span { from: at(&item["start"])?, to: at(&item["end"])? },
        // Those that Google makes itself may have none; they were there before.
        created: moment(&item["created"]).unwrap_or(Timestamp::MIN),
    })
}

fn moment(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// With its offset, and without the name of its zone: `2026-03-02T10:00:00+01:00`.
fn rfc3339(zoned: &Zoned) -> String {
    zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// As text in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// From 0 to 1, by the clock's smallest digits: that is chance enough to part requests.
fn jitter() -> f64 {
    f64::from(Timestamp::now().subsec_nanosecond().unsigned_abs() % 1_000_000) / 1e6
}

fn malformed(what: &str) -> VendorError {
    VendorError::new(Failure::Malformed, what)
}

#[cfg(test)]
mod tests;
