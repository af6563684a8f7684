//! What a CRM is to the rest of the program: people who are found by their number or created, and calls that are logged with
//! them. One folder per CRM speaks its protocol.
//!
//! A client keeps nothing: who asks holds the tokens, and asks again when one was refused. A request that failed may have been
//! done all the same, unless the error says that it was not; so everything that creates can be looked for.

mod exchange;

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::oauth::{Attempt, OAuthError, Tokens};
use crate::domain::phone::E164;
use crate::domain::time::UnixMs;
use crate::settings::Secret;
pub(super) use exchange::{Refusal, Request, malformed, parsed, query};

/// A CRM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Crm {
    /// Salesforce.
    Salesforce,
    /// HubSpot.
    HubSpot,
    /// Microsoft Dynamics 365.
    Dynamics,
}

impl Crm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Salesforce, Self::HubSpot, Self::Dynamics];

    /// As it stands in records, paths and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Salesforce => "salesforce",
            Self::HubSpot => "hubspot",
            Self::Dynamics => "dynamics",
        }
    }

    /// The reverse of [`Crm::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|crm| crm.as_str() == text)
    }

    /// As people call it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Salesforce => "Salesforce",
            Self::HubSpot => "HubSpot",
            Self::Dynamics => "Dynamics 365",
        }
    }
}

impl fmt::Display for Crm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// What a person is in a CRM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersonKind {
    /// Somebody who may become a customer.
    Lead,
    /// Somebody who is known.
    Contact,
}

impl PersonKind {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::Contact => "contact",
        }
    }

    /// The reverse of [`PersonKind::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Lead, Self::Contact].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A person in a CRM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The CRM's name for them.
    pub id: String,
    /// What they are there.
    pub kind: PersonKind,
}

/// A person to be created.
#[derive(Clone, Debug)]
pub struct NewPerson<'a> {
    /// Chosen here, so that to create it twice creates it once, where a CRM allows that.
    pub key: Uuid,
    /// Their number.
    pub number: &'a E164,
    /// What they are called; none if it is not known.
    pub name: Option<&'a str>,
}

impl<'a> NewPerson<'a> {
    /// Their name as CRMs want it: first names, which may be none, and a last name, which is the number where none is known.
    pub fn first_and_last(&self) -> (Option<&'a str>, &'a str) {
        let name = self.name.map(str::trim).filter(|name| !name.is_empty());
        match name.map(|name| name.rsplit_once(char::is_whitespace)) {
            Some(Some((first, last))) => (Some(first.trim_end()), last),
            Some(None) => (None, name.expect("it was just there")),
            None => (None, self.number.as_str()),
        }
    }
}

/// A call as it is logged.
#[derive(Clone, Debug)]
pub struct LoggedCall<'a> {
    /// Chosen here; see [`NewPerson::key`]. Where a CRM does not allow that, the call is looked for by it.
    pub key: Uuid,
    /// What it is called in a list.
    pub subject: &'a str,
    /// What is known of it, in plain text of several lines. Cut where a CRM has less room.
    pub text: &'a str,
    /// The customer's number.
    pub number: &'a E164,
    /// Whether the customer called.
    pub is_inbound: bool,
    /// When it began.
    pub started: UnixMs,
    /// When it ended.
    pub ended: UnixMs,
    /// How long they talked, in s.
    pub duration_s: u64,
    /// Where its recording can be fetched, if anywhere.
    pub recording_url: Option<&'a str>,
}

/// How somebody's CRM is reached.
#[derive(Clone, Copy, Debug)]
pub struct CrmAccess<'a> {
    /// The bearer token.
    pub token: &'a Secret,
    /// Where the API is; empty where all have the same.
    pub instance_url: &'a str,
}

/// What came of a consent or a renewal.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The tokens.
    pub tokens: Tokens,
    /// Where the API is, if the CRM says so.
    pub instance_url: Option<String>,
}

/// Why a CRM did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrmError {
    /// It does not take the token any more.
    #[error("the token is not taken: {0}")]
    Expired(String),
    /// It may do it later.
    #[error("{detail}")]
    Later {
        /// Why, without secrets.
        detail: String,
        /// Not before so much time is over.
        after: Option<Duration>,
        /// Other requests would fare no better.
        is_general: bool,
        /// Whether it may have been done.
        is_unsure: bool,
    },
    /// What it is about is not there.
    #[error("{0}")]
    Gone(String),
    /// It will not do it.
    #[error("{0}")]
    Refused(String),
}

/// A CRM's client. Shared by all connections.
pub trait CrmClient: Send + Sync {
    /// Which.
    fn crm(&self) -> Crm;

    /// Whether an API can be there: some have one for each customer, and tokens are sent to it. The text is as it is kept
    /// from then on; the error says what is wrong with it.
    fn instance_url(&self, text: &str) -> Result<String, String>;

    /// Where a browser is sent to ask for consent.
    fn authorization_url(&self, redirect_uri: &str, instance_url: &str, attempt: &Attempt) -> String;

    /// The tokens for a code, which is good once.
    fn exchange<'a>(
        &'a self,
        code: &'a str,
        verifier: &'a str,
        redirect_uri: &'a str,
        instance_url: &'a str,
    ) -> BoxFuture<'a, Result<Grant, OAuthError>>;

    /// New tokens for a refresh token. Not twice at the same time: the first may replace what the second shows.
    fn refresh<'a>(
        &'a self,
        refresh: &'a Secret,
        instance_url: &'a str,
    ) -> BoxFuture<'a, Result<Grant, OAuthError>>;

    /// Takes a consent back, by its refresh token. Ok too if it was not good any more, or if the CRM has no way for it.
    fn revoke<'a>(&'a self, refresh: &'a Secret) -> BoxFuture<'a, Result<(), OAuthError>>;

    /// The e-mail address of who consented, if it can be known.
    fn account<'a>(&'a self, access: CrmAccess<'a>) -> BoxFuture<'a, Result<Option<String>, CrmError>>;

    /// How long [`CrmClient::find`] may not know of a person who was created.
    fn search_lag(&self) -> Duration {
        Duration::ZERO
    }

    /// Finds a person by their number, however it was written there.
    fn find<'a>(
        &'a self,
        access: CrmAccess<'a>,
        number: &'a E164,
    ) -> BoxFuture<'a, Result<Option<Person>, CrmError>>;

    /// Creates a person.
    fn create<'a>(
        &'a self,
        access: CrmAccess<'a>,
        new: &'a NewPerson<'a>,
    ) -> BoxFuture<'a, Result<Person, CrmError>>;

    /// Looks whether a call is logged with a person already. The CRM's name for it.
    fn find_call<'a>(
        &'a self,
        access: CrmAccess<'a>,
        person: &'a Person,
        call: &'a LoggedCall<'a>,
    ) -> BoxFuture<'a, Result<Option<String>, CrmError>>;

    /// Logs a call with a person. The CRM's name for it.
    fn log_call<'a>(
        &'a self,
        access: CrmAccess<'a>,
        person: &'a Person,
        call: &'a LoggedCall<'a>,
    ) -> BoxFuture<'a, Result<String, CrmError>>;

    /// What is left to do once it is logged, as often as one likes.
    fn complete<'a>(
        &'a self,
        access: CrmAccess<'a>,
        logged: &'a str,
        call: &'a LoggedCall<'a>,
    ) -> BoxFuture<'a, Result<(), CrmError>>;
}
