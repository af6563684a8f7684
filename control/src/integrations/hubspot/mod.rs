//! HubSpot: people are contacts, a call is an engagement that is associated with one.
//!
//! Its search finds a new record only after some seconds; what is associated with a contact is there at once. So a call is looked
//! for among those, and a contact that was just created has to be remembered by who created it.
//!
//! <https://developers.hubspot.com/docs/api-reference/>, and by the official client hubspot-api-client 12.0, read 2026-11.

mod consent;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::Method;
use serde_json::{Value, json};

use super::crm::{
    Crm, CrmAccess, CrmClient, CrmError, Grant, LoggedCall, NewPerson, Person, PersonKind, Refusal, Request,
    malformed, parsed,
};
use super::http::{Answer, HttpClient};
use super::oauth::{Attempt, OAuthError};
use crate::domain::phone::E164;
use crate::settings::{CrmClientSettings, Secret};
use consent::Consent;

/// From a call to a contact, as HubSpot numbers its own associations.
const CALL_TO_CONTACT: u32 = 194;
/// A page of associations, the largest that the API gives.
const PAGE: usize = 500;
/// How many calls are read at once, the most that the API takes.
const BATCH: usize = 100;
/// The longest text of a call, in bytes: HubSpot takes 65,536 characters, and markup comes to it.
const TEXT_MAX: usize = 48 * 1024;

/// How long its search may not know of what was created, where nothing else is set: it says seconds, and means some of them.
const SEARCH_LAG: Duration = Duration::from_secs(30);

/// The client.
#[derive(Debug)]
pub struct HubSpot {
    http: HttpClient,
    consent: Consent,
    search_lag: Duration,
}

impl HubSpot {
    /// A client with connections of its own. The error says that there can be none.
    pub fn new(settings: &CrmClientSettings) -> Result<Self, String> {
        let http = HttpClient::new().map_err(|error| error.to_string())?;
        let lag = settings.option("search_lag_ms").map(|text| text.parse().map(Duration::from_millis));
        let search_lag = lag
            .unwrap_or(Ok(SEARCH_LAG))
            .map_err(|_| "OFFHOOK_HUBSPOT_SEARCH_LAG_MS: write a number of milliseconds".to_owned())?;
        Ok(Self { consent: Consent::new(http.clone(), settings), http, search_lag })
    }

    async fn ask(
        &self,
        access: CrmAccess<'_>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CrmError> {
        let request =
            Request { method, url: self.consent.api(path), token: access.token, headers: &[], body };
        let answer = request.send(&self.http).await?;
        if answer.status.is_success() { parsed(&answer) } else { Err(refused(&answer)) }
    }

    async fn search(&self, access: CrmAccess<'_>, groups: Value) -> Result<Option<Person>, CrmError> {
        let body = json!({
            "filterGroups": groups,
            "properties": ["phone", "mobilephone"],
            "sorts": [{"propertyName": "lastmodifieddate", "direction": "DESCENDING"}],
            "limit": 1,
        });
        let said = self.ask(access, Method::POST, "/crm/v3/objects/contacts/search", Some(&body)).await?;
        let results = said["results"].as_array().ok_or_else(|| malformed("an answer without results"))?;
        let Some(found) = results.first() else { return Ok(None) };
        Ok(Some(Person { id: id_of(&found["id"])?, kind: PersonKind::Contact }))
    }

    async fn found(&self, access: CrmAccess<'_>, number: &E164) -> Result<Option<Person>, CrmError> {
        let spellings = number.spellings();
        let group = |property: &str| json!({"filters": [{"propertyName": property, "operator": "IN", "values": spellings}]});
        let typed = self.search(access, json!([group("phone"), group("mobilephone")])).await?;
        if typed.is_some() {
            return Ok(typed);
        }
        // What HubSpot makes of a number that it could read, whatever it looks like.
        let digits = format!("*{}", number.national_digits());
        let group = |property: &str| json!({"filters": [{"propertyName": property, "operator": "CONTAINS_TOKEN", "value": digits}]});
        let groups =
            [group("hs_searchable_calculated_phone_number"), group("hs_searchable_calculated_mobile_number")];
        match self.search(access, json!(groups)).await {
            // An account that has no such property has nobody to be found by it.
            Err(CrmError::Refused(_)) => Ok(None),
            found => found,
        }
    }

    /// Which of a contact's calls is this one, if any is.
    async fn logged(
        &self,
        access: CrmAccess<'_>,
        contact: &str,
        mark: &str,
    ) -> Result<Option<String>, CrmError> {
        let path = format!("/crm/v4/objects/contacts/{contact}/associations/calls?limit={PAGE}");
        let said = self.ask(access, Method::GET, &path, None).await?;
        let results = said["results"].as_array().ok_or_else(|| malformed("an answer without results"))?;
        let number = |id: &Value| id.as_u64().or_else(|| id.as_str()?.parse().ok());
        let mut calls: Vec<u64> = results.iter().filter_map(|one| number(&one["toObjectId"])).collect();
        // The latest have the highest numbers, and this one is among the latest.
        calls.sort_unstable_by(|one, other| other.cmp(one));
        calls.truncate(BATCH);
        if calls.is_empty() {
            return Ok(None);
        }
        let inputs: Vec<_> = calls.iter().map(|id| json!({"id": id.to_string()})).collect();
        let body = json!({"properties": ["hs_call_body"], "inputs": inputs});
        let said = self.ask(access, Method::POST, "/crm/v3/objects/calls/batch/read", Some(&body)).await?;
        let results = said["results"].as_array().ok_or_else(|| malformed("an answer without results"))?;
        let is_it = |call: &&Value| {
            call["properties"]["hs_call_body"].as_str().is_some_and(|body| body.contains(mark))
        };
        results.iter().find(is_it).map(|call| id_of(&call["id"])).transpose()
    }
}

impl CrmClient for HubSpot {
    fn crm(&self) -> Crm {
        Crm::HubSpot
    }

    fn instance_url(&self, _: &str) -> Result<String, String> {
        // All accounts have one.
        Ok(String::new())
    }

    fn authorization_url(&self, redirect_uri: &str, _: &str, attempt: &Attempt) -> String {
        self.consent.authorization_url(redirect_uri, attempt)
    }

    fn exchange<'a>(
        &'a self,
        code: &'a str,
        verifier: &'a str,
        redirect_uri: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Grant, OAuthError>> {
        self.consent.exchange(code, verifier, redirect_uri).boxed()
    }

    fn refresh<'a>(&'a self, refresh: &'a Secret, _: &'a str) -> BoxFuture<'a, Result<Grant, OAuthError>> {
        self.consent.refresh(refresh).boxed()
    }

    fn revoke<'a>(&'a self, refresh: &'a Secret) -> BoxFuture<'a, Result<(), OAuthError>> {
        self.consent.revoke(refresh).boxed()
    }

    fn account<'a>(&'a self, access: CrmAccess<'a>) -> BoxFuture<'a, Result<Option<String>, CrmError>> {
        async move {
            let token: String = form_urlencoded::byte_serialize(access.token.reveal().as_bytes()).collect();
            let path = format!("/oauth/v1/access-tokens/{}", token.replace('+', "%20"));
            Ok(self.ask(access, Method::GET, &path, None).await?["user"].as_str().map(str::to_owned))
        }
        .boxed()
    }

    fn search_lag(&self) -> Duration {
        self.search_lag
    }

    fn find<'a>(
        &'a self,
        access: CrmAccess<'a>,
        number: &'a E164,
    ) -> BoxFuture<'a, Result<Option<Person>, CrmError>> {
        self.found(access, number).boxed()
    }

    fn create<'a>(
        &'a self,
        access: CrmAccess<'a>,
        new: &'a NewPerson<'a>,
    ) -> BoxFuture<'a, Result<Person, CrmError>> {
        async move {
            let mut properties = json!({"phone": new.number.as_str()});
            // A contact may have no name: then HubSpot shows what else there is.
            if new.name.is_some() {
                let (first, last) = new.first_and_last();
                properties["lastname"] = last.into();
                if let Some(first) = first {
                    properties["firstname"] = first.into();
                }
            }
            let body = json!({"properties": properties, "associations": []});
            let said = self.ask(access, Method::POST, "/crm/v3/objects/contacts", Some(&body)).await?;
            Ok(Person { id: id_of(&said["id"])?, kind: PersonKind::Contact })
        }
        .boxed()
    }

    fn find_call<'a>(
        &'a self,
        access: CrmAccess<'a>,
        person: &'a Person,
        call: &'a LoggedCall<'a>,
    ) -> BoxFuture<'a, Result<Option<String>, CrmError>> {
        async move { self.logged(access, &person.id, &mark(call)).await }.boxed()
    }

    fn log_call<'a>(
        &'a self,
        access: CrmAccess<'a>,
        person: &'a Person,
        call: &'a LoggedCall<'a>,
    ) -> BoxFuture<'a, Result<String, CrmError>> {
        async move {
            let mut properties = json!({
                "hs_timestamp": call.started.to_string(),
                "hs_call_title": call.subject,
                "hs_call_body": format!("{}<br>{}", markup(call.text), mark(call)),
                "hs_call_direction": if call.is_inbound { "INBOUND" } else { "OUTBOUND" },
                "hs_call_duration": call.duration_s.saturating_mul(1_000).to_string(),
                "hs_call_status": "COMPLETED",
            });
            let number = if call.is_inbound { "hs_call_from_number" } else { "hs_call_to_number" };
            properties[number] = call.number.as_str().into();
            // HubSpot plays what it can fetch by TLS.
            if let Some(url) = call.recording_url.filter(|url| url.starts_with("https://")) {
                properties["hs_call_recording_url"] = url.into();
            }
            let kind =
                json!({"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": CALL_TO_CONTACT});
            let body = json!({
                "properties": properties,
                "associations": [{"to": {"id": person.id}, "types": [kind]}],
            });
            id_of(&self.ask(access, Method::POST, "/crm/v3/objects/calls", Some(&body)).await?["id"])
        }
        .boxed()
    }

    fn complete<'a>(
        &'a self,
        _: CrmAccess<'a>,
        _: &'a str,
        _: &'a LoggedCall<'a>,
    ) -> BoxFuture<'a, Result<(), CrmError>> {
        // It is created completed.
        async { Ok(()) }.boxed()
    }
}

/// By what a call is known again.
fn mark(call: &LoggedCall<'_>) -> String {
    format!("Reference {}", call.key)
}

/// A text as markup that shows it.
fn markup(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_MAX);
    text[..end].replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', "<br>")
}

fn refused(answer: &Answer) -> CrmError {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = said["category"].as_str().or(said["errorType"].as_str()).unwrap_or_default();
    let refusal = Refusal { code, message: said["message"].as_str().unwrap_or_default() };
    match refusal.of(answer) {
        // Of a token that is too old it says so with a status of its own, too.
        CrmError::Refused(detail) if code == "EXPIRED_AUTHENTICATION" => CrmError::Expired(detail),
        error => error,
    }
}

/// A record's name: digits.
fn id_of(value: &Value) -> Result<String, CrmError> {
    let id = value.as_str().filter(|id| (1..=20).contains(&id.len()));
    let id = id.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
    id.map(str::to_owned).ok_or_else(|| malformed("an id that is none"))
}

#[cfg(test)]
mod tests;
