//! Salesforce: people are leads and contacts, a call is a completed task of theirs.
//!
//! A task cannot be named by who creates it. It is found again by its `CallObject`, which telephony has for that: the call's
//! identifier.
//!
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/>, and by the client simple-salesforce 1.12, read
//! 2026-11; what the objects are made of, by the object reference.

mod consent;
mod soql;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::Method;
use serde_json::{Value, json};

use super::crm::{
    Crm, CrmAccess, CrmClient, CrmError, Grant, LoggedCall, NewPerson, Person, PersonKind, Refusal, Request,
    malformed, parsed, query,
};
use super::http::{Answer, HttpClient};
use super::oauth::{Attempt, OAuthError};
use crate::domain::phone::E164;
use crate::settings::{CrmClientSettings, Secret};
use consent::Consent;
use soql::{list, quoted};

/// The longest description of a task, in characters.
const DESCRIPTION_MAX: usize = 32_000;
/// The longest subject, in characters.
const SUBJECT_MAX: usize = 255;
/// An org's requests of a day are used up: how long is waited, where nothing is said.
const LIMIT_PAUSE: Duration = Duration::from_secs(15 * 60);
/// Such a lead is created though a rule finds one that is like it, where the rule allows that.
const ALLOW_LIKENESS: (&str, &str) = ("sforce-duplicate-rule-header", "allowSave=true");

/// The client.
#[derive(Debug)]
pub struct Salesforce {
    http: HttpClient,
    consent: Consent,
    /// Such as `59.0`.
    version: String,
    lead_source: String,
    task_status: String,
    task_priority: String,
}

impl Salesforce {
    /// A client with connections of its own. The error says that there can be none.
    pub fn new(settings: &CrmClientSettings) -> Result<Self, String> {
        let http = HttpClient::new().map_err(|error| error.to_string())?;
        let option = |name: &str, default: &str| settings.option(name).unwrap_or(default).to_owned();
        Ok(Self {
            consent: Consent::new(http.clone(), settings),
            http,
            version: option("api_version", "59.0"),
            lead_source: option("lead_source", "Phone Inquiry"),
            task_status: option("task_status", "Completed"),
            task_priority: option("task_priority", "Normal"),
        })
    }

    async fn ask(
        &self,
        access: CrmAccess<'_>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CrmError> {
        let url = format!("{}/services/data/v{}{path}", access.instance_url, self.version);
        let headers: &[_] = if method == Method::POST { &[ALLOW_LIKENESS] } else { &[] };
        let request = Request { method, url, token: access.token, headers, body };
        let answer = request.send(&self.http).await?;
        if answer.status.is_success() { parsed(&answer) } else { Err(refused(&answer)) }
    }

    async fn select(&self, access: CrmAccess<'_>, soql: &str) -> Result<Option<String>, CrmError> {
        let path = format!("/query/?{}", query(&[("q", soql)]));
        let said = self.ask(access, Method::GET, &path, None).await?;
        let records = said["records"].as_array().ok_or_else(|| malformed("an answer without records"))?;
        records.first().map(|record| id_of(&record["Id"])).transpose()
    }

    async fn found(&self, access: CrmAccess<'_>, number: &E164) -> Result<Option<Person>, CrmError> {
        let numbers = list(number.spellings().iter());
        let any = |fields: &[&str]| {
            let terms: Vec<_> = fields.iter().map(|field| format!("{field} IN ({numbers})")).collect();
            terms.join(" OR ")
        };
        let contact = format!(
            "SELECT Id FROM Contact WHERE {} ORDER BY LastModifiedDate DESC LIMIT 1",
            any(&["Phone", "MobilePhone", "HomePhone"])
        );
        if let Some(id) = self.select(access, &contact).await? {
            return Ok(Some(Person { id, kind: PersonKind::Contact }));
        }
        let lead = format!(
            "SELECT Id FROM Lead WHERE IsConverted = false AND ({}) ORDER BY LastModifiedDate DESC LIMIT 1",
            any(&["Phone", "MobilePhone"])
        );
        if let Some(id) = self.select(access, &lead).await? {
            return Ok(Some(Person { id, kind: PersonKind::Lead }));
        }
        self.searched(access, number).await
    }

    /// By the index of telephone numbers, which knows digits in whatever spelling; new records come into it late.
    async fn searched(&self, access: CrmAccess<'_>, number: &E164) -> Result<Option<Person>, CrmError> {
        let sosl = format!(
            "FIND {{{}}} IN PHONE FIELDS RETURNING Contact(Id), Lead(Id WHERE IsConverted = false)",
            number.national_digits()
        );
        let said =
            self.ask(access, Method::GET, &format!("/search/?{}", query(&[("q", &sosl)])), None).await?;
        let records =
            said["searchRecords"].as_array().ok_or_else(|| malformed("an answer without records"))?;
        for (name, kind) in [("Contact", PersonKind::Contact), ("Lead", PersonKind::Lead)] {
            if let Some(record) = records.iter().find(|record| record["attributes"]["type"] == name) {
                return Ok(Some(Person { id: id_of(&record["Id"])?, kind }));
            }
        }
        Ok(None)
    }

    async fn created(&self, access: CrmAccess<'_>, object: &str, fields: &Value) -> Result<String, CrmError> {
        let said = self.ask(access, Method::POST, &format!("/sobjects/{object}/"), Some(fields)).await?;
        id_of(&said["id"])
    }
}

impl CrmClient for Salesforce {
    fn crm(&self) -> Crm {
        Crm::Salesforce
    }

    fn instance_url(&self, text: &str) -> Result<String, String> {
        self.consent.instance_url(text)
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
            let url = self.consent.userinfo();
            let request = Request { method: Method::GET, url, token: access.token, headers: &[], body: None };
            let answer = request.send(&self.http).await?;
            if !answer.status.is_success() {
                return Err(refused(&answer));
            }
            Ok(parsed(&answer)?["email"].as_str().map(str::to_owned))
        }
        .boxed()
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
            let (first, last) = new.first_and_last();
            let mut lead = json!({
                "LastName": cut(last, 80), "Company": "Unknown", "Phone": new.number.as_str(),
                "LeadSource": self.lead_source,
            });
            if let Some(first) = first {
                lead["FirstName"] = cut(first, 40).into();
            }
            let id = self.created(access, "Lead", &lead).await?;
            Ok(Person { id, kind: PersonKind::Lead })
        }
        .boxed()
    }

    fn find_call<'a>(
        &'a self,
        access: CrmAccess<'a>,
        person: &'a Person,
        call: &'a LoggedCall<'a>,
    ) -> BoxFuture<'a, Result<Option<String>, CrmError>> {
        async move {
            let soql = format!(
                "SELECT Id FROM Task WHERE WhoId = {} AND CallObject = {} LIMIT 1",
                quoted(&person.id),
                quoted(&call.key.to_string())
            );
            self.select(access, &soql).await
        }
        .boxed()
    }

    fn log_call<'a>(
        &'a self,
        access: CrmAccess<'a>,
        person: &'a Person,
        call: &'a LoggedCall<'a>,
    ) -> BoxFuture<'a, Result<String, CrmError>> {
        async move {
            let started = call.started.to_seconds_text();
            let task = json!({
                "WhoId": person.id,
                "Subject": cut(call.subject, SUBJECT_MAX),
                "Description": cut(call.text, DESCRIPTION_MAX),
                "Status": self.task_status,
                "Priority": self.task_priority,
                "ActivityDate": started.get(..10).unwrap_or_default(),
                "TaskSubtype": "Call",
                "CallType": if call.is_inbound { "Inbound" } else { "Outbound" },
                "CallDurationInSeconds": call.duration_s.min(i32::MAX as u64),
                "CallObject": call.key.to_string(),
            });
            self.created(access, "Task", &task).await
        }
        .boxed()
    }

    fn complete<'a>(
        &'a self,
        _: CrmAccess<'a>,
        _: &'a str,
        _: &'a LoggedCall<'a>,
    ) -> BoxFuture<'a, Result<(), CrmError>> {
        // A task is created completed.
        async { Ok(()) }.boxed()
    }
}

/// Errors are in a list.
fn refused(answer: &Answer) -> CrmError {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = said[0]["errorCode"].as_str().unwrap_or_default();
    let refusal = Refusal { code, message: said[0]["message"].as_str().unwrap_or_default() };
    match code {
        "REQUEST_LIMIT_EXCEEDED" => refusal.is_busy(answer, Some(LIMIT_PAUSE)),
        "UNABLE_TO_LOCK_ROW" | "SERVER_UNAVAILABLE" => refusal.is_busy(answer, None),
        // What a record is to belong to, and is not there.
        "INVALID_CROSS_REFERENCE_KEY" | "ENTITY_IS_DELETED" => match refusal.of(answer) {
            CrmError::Refused(detail) => CrmError::Gone(detail),
            error => error,
        },
        _ => refusal.of(answer),
    }
}

/// A record's name: 15 characters, or 18 in which case does not matter.
fn id_of(value: &Value) -> Result<String, CrmError> {
    let id = value.as_str().filter(|id| matches!(id.len(), 15 | 18));
    let id = id.filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    id.map(str::to_owned).ok_or_else(|| malformed("an id that is none"))
}

/// The beginning of a text.
pub(super) fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests;
