//! Microsoft Dynamics 365, by Dataverse's Web API: people are contacts and leads, a call is a phone call activity.
//!
//! Who creates a record may name it: to create it twice creates it once, and it is found by its name.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/>, read 2026-11. Names are case-sensitive.

mod consent;
mod odata;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::crm::{
    Crm, CrmAccess, CrmClient, CrmError, Grant, LoggedCall, NewPerson, Person, PersonKind, Refusal, Request,
    malformed, parsed, query,
};
use super::http::{Answer, HttpClient};
use super::oauth::{Attempt, OAuthError};
use super::refusal::header;
use crate::domain::phone::E164;
use crate::settings::{CrmClientSettings, Secret};
use consent::Consent;
use odata::is_any;

/// A record of that name is there already.
const IS_THERE: &str = "0x80040237";
/// The longest description, in characters, as these tables have it where nobody changed that.
const DESCRIPTION_MAX: usize = 2_000;
/// The longest subject, in characters.
const SUBJECT_MAX: usize = 200;
/// Who calls, and who is called.
const FROM: u8 = 1;
const TO: u8 = 2;

const HEADERS: [(&str, &str); 4] = [
    ("accept", "application/json"),
    ("odata-version", "4.0"),
    ("odata-maxversion", "4.0"),
    // Not from a cache on the way.
    ("if-none-match", "null"),
];

/// The client.
#[derive(Debug)]
pub struct Dynamics {
    http: HttpClient,
    consent: Consent,
    /// Such as `9.2`.
    version: String,
    /// `statecode` and `statuscode` of calls that came in and that went out.
    completed: [u32; 3],
}

impl Dynamics {
    /// A client with connections of its own. The error says that there can be none.
    pub fn new(settings: &CrmClientSettings) -> Result<Self, String> {
        let http = HttpClient::new().map_err(|error| error.to_string())?;
        let number = |name: &str, default: u32| {
            settings.option(name).map_or(Ok(default), |text| {
                text.parse().map_err(|_| format!("OFFHOOK_DYNAMICS_{}: write a number", name.to_uppercase()))
            })
        };
        Ok(Self {
            consent: Consent::new(http.clone(), settings),
            http,
            version: settings.option("api_version").unwrap_or("9.2").to_owned(),
            completed: [
                number("completed_state", 1)?,
                number("received_status", 4)?,
                number("made_status", 2)?,
            ],
        })
    }

    async fn ask(
        &self,
        access: CrmAccess<'_>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, CrmError> {
        let url = format!("{}/api/data/v{}/{path}", self.consent.api(access.instance_url), self.version);
        let request = Request { method, url, token: access.token, headers: &HEADERS, body };
        let answer = request.send(&self.http).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(refused(&answer)) }
    }

    async fn first(
        &self,
        access: CrmAccess<'_>,
        table: &str,
        key: &str,
        filter: &str,
    ) -> Result<Option<String>, CrmError> {
        let order = "modifiedon desc";
        let query = query(&[("$select", key), ("$filter", filter), ("$orderby", order), ("$top", "1")]);
        // `$` stands for itself in a query.
        let path = format!("{table}?{}", query.replace("%24", "$"));
        let said = parsed(&self.ask(access, Method::GET, &path, None).await?)?;
        let rows = said["value"].as_array().ok_or_else(|| malformed("an answer without value"))?;
        rows.first().map(|row| guid(&row[key])).transpose()
    }

    async fn found(&self, access: CrmAccess<'_>, number: &E164) -> Result<Option<Person>, CrmError> {
        let spellings = number.spellings();
        let contact = is_any(&["telephone1", "telephone2", "mobilephone"], &spellings);
        if let Some(id) = self.first(access, "contacts", "contactid", &contact).await? {
            return Ok(Some(Person { id, kind: PersonKind::Contact }));
        }
        let lead = is_any(&["telephone1", "telephone2", "mobilephone"], &spellings);
        let lead = format!("statecode eq 0 and ({lead})");
        let id = self.first(access, "leads", "leadid", &lead).await?;
        Ok(id.map(|id| Person { id, kind: PersonKind::Lead }))
    }

    /// Creates a record by the name that it has in `row`, or finds it there already.
    async fn created(
        &self,
        access: CrmAccess<'_>,
        table: &str,
        key: &str,
        row: &Value,
    ) -> Result<String, CrmError> {
        let url = format!("{}/api/data/v{}/{table}", self.consent.api(access.instance_url), self.version);
        let request =
            Request { method: Method::POST, url, token: access.token, headers: &HEADERS, body: Some(row) };
        let answer = request.send(&self.http).await?;
        match answer.status {
            StatusCode::NO_CONTENT => named(&answer),
            status if status.is_success() => guid(&parsed(&answer)?[key]),
            _ if code(&answer) == IS_THERE => guid(&row[key]),
            _ => Err(refused(&answer)),
        }
    }
}

impl CrmClient for Dynamics {
    fn crm(&self) -> Crm {
        Crm::Dynamics
    }

    fn instance_url(&self, text: &str) -> Result<String, String> {
        self.consent.instance_url(text)
    }

    fn authorization_url(&self, redirect_uri: &str, instance_url: &str, attempt: &Attempt) -> String {
        self.consent.authorization_url(redirect_uri, instance_url, attempt)
    }

    fn exchange<'a>(
        &'a self,
        code: &'a str,
        verifier: &'a str,
        redirect_uri: &'a str,
        instance_url: &'a str,
    ) -> BoxFuture<'a, Result<Grant, OAuthError>> {
        self.consent.exchange(code, verifier, redirect_uri, instance_url).boxed()
    }

    fn refresh<'a>(
        &'a self,
        refresh: &'a Secret,
        instance_url: &'a str,
    ) -> BoxFuture<'a, Result<Grant, OAuthError>> {
        self.consent.refresh(refresh, instance_url).boxed()
    }

    fn revoke<'a>(&'a self, _: &'a Secret) -> BoxFuture<'a, Result<(), OAuthError>> {
        // Entra has no way to take one token back: its owner does that among their applications. Here it is forgotten.
        async { Ok(()) }.boxed()
    }

    fn account<'a>(&'a self, access: CrmAccess<'a>) -> BoxFuture<'a, Result<Option<String>, CrmError>> {
        async move {
            // Shows that the token opens this instance.
            self.ask(access, Method::GET, "WhoAmI", None).await?;
            Ok(None)
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
                "leadid": new.key.to_string(),
                "subject": format!("Telephone call from {}", new.number),
                "lastname": cut(last, 50),
                "telephone1": new.number.as_str(),
            });
            if let Some(first) = first {
                lead["firstname"] = cut(first, 50).into();
            }
            let id = self.created(access, "leads", "leadid", &lead).await?;
            Ok(Person { id, kind: PersonKind::Lead })
        }
        .boxed()
    }

    fn find_call<'a>(
        &'a self,
        access: CrmAccess<'a>,
        _: &'a Person,
        call: &'a LoggedCall<'a>,
    ) -> BoxFuture<'a, Result<Option<String>, CrmError>> {
        async move {
            let path = format!("phonecalls({})?$select=activityid", call.key);
            match self.ask(access, Method::GET, &path, None).await {
                Ok(_) => Ok(Some(call.key.to_string())),
                Err(CrmError::Gone(_)) => Ok(None),
                Err(error) => Err(error),
            }
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
            let (name, table) = match person.kind {
                PersonKind::Lead => ("lead", "leads"),
                PersonKind::Contact => ("contact", "contacts"),
            };
            let bound = format!("/{table}({})", person.id);
            let role = if call.is_inbound { FROM } else { TO };
            let mut party = json!({"participationtypemask": role});
            party[format!("partyid_{name}@odata.bind")] = bound.as_str().into();
            let mut activity = json!({
                "activityid": call.key.to_string(),
                "subject": cut(call.subject, SUBJECT_MAX),
                "description": cut(call.text, DESCRIPTION_MAX),
                "phonenumber": call.number.as_str(),
                // False: it came in.
                "directioncode": !call.is_inbound,
                "actualdurationminutes": call.duration_s.div_ceil(60).min(i32::MAX as u64),
                "actualstart": call.started.to_seconds_text(),
                "actualend": call.ended.to_seconds_text(),
                "phonecall_activity_parties": [party],
            });
            activity[format!("regardingobjectid_{name}_phonecall@odata.bind")] = bound.into();
            self.created(access, "phonecalls", "activityid", &activity).await
        }
        .boxed()
    }

    fn complete<'a>(
        &'a self,
        access: CrmAccess<'a>,
        logged: &'a str,
        call: &'a LoggedCall<'a>,
    ) -> BoxFuture<'a, Result<(), CrmError>> {
        async move {
            let [state, received, made] = self.completed;
            let status = if call.is_inbound { received } else { made };
            let body = json!({"statecode": state, "statuscode": status});
            self.ask(access, Method::PATCH, &format!("phonecalls({logged})"), Some(&body)).await.map(drop)
        }
        .boxed()
    }
}

fn code(answer: &Answer) -> String {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    said["error"]["code"].as_str().unwrap_or_default().to_owned()
}

fn refused(answer: &Answer) -> CrmError {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let error = &said["error"];
    let code = error["code"].as_str().unwrap_or_default();
    Refusal { code, message: error["message"].as_str().unwrap_or_default() }.of(answer)
}

/// The name of what was created, which stands in a header alone: `…/leads(00000000-0000-0000-0000-000000000001)`.
fn named(answer: &Answer) -> Result<String, CrmError> {
    let url = header(&answer.headers, "odata-entityid").unwrap_or_default();
    let name = url.strip_suffix(')').and_then(|url| url.rsplit_once('(')).map_or("", |(_, name)| name);
    guid(&name.into())
}

fn guid(value: &Value) -> Result<String, CrmError> {
    let id = value.as_str().and_then(|text| Uuid::try_parse(text).ok());
    id.map(|id| id.to_string()).ok_or_else(|| malformed("an id that is none"))
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests;
