//! How a line's calendar is reached, and what is kept of authorizations on their way.

use serde::{Deserialize, Serialize};

use super::time::UnixMs;
use crate::integrations::crm::Crm;

/// What a connection is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionKind {
    /// A person let us in.
    OAuth,
    /// An account of a program, which the calendar is shared with.
    ServiceAccount,
}

impl ConnectionKind {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OAuth => "oauth",
            Self::ServiceAccount => "service_account",
        }
    }

    /// The reverse of [`ConnectionKind::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::OAuth, Self::ServiceAccount].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A connection, sealed as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// What it is made of.
    pub kind: ConnectionKind,
    /// Whose: an e-mail address; empty if it is not known.
    pub account: String,
    /// Tokens or key file, sealed for [`Connection::place`].
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created: UnixMs,
    /// When a calendar was last asked with it.
    pub used: Option<UnixMs>,
}

impl Connection {
    /// Where the secrets of a line's connection stand.
    pub fn place(line: &str) -> super::seal::Place<'_> {
        super::seal::Place { table: "calendar_connections", column: "sealed", row: line }
    }
}

/// What an authorization is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Somebody signs in.
    SignIn,
    /// A line gets its calendar.
    Calendar,
    /// A user's CRM is connected.
    Crm(Crm),
}

impl Purpose {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::Calendar => "calendar",
            Self::Crm(crm) => crm.as_str(),
        }
    }
}

/// Whose an authorization is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    /// The line whose calendar it is for.
    pub line: Option<String>,
    /// The user who connects a CRM.
    pub owner: Option<String>,
}

/// How long an authorization may take.
pub const STATE_LIFE_MS: i64 = 10 * 60 * 1_000;

/// An authorization that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// SHA-256 of the state, in hexadecimal digits.
    pub digest: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Whose it is.
    pub whose: Whose,
    /// Where the browser is sent back to.
    pub redirect_uri: String,
    /// [`Proof`], sealed for [`Begun::place`].
    pub sealed: Vec<u8>,
    /// Until when.
    pub expires: UnixMs,
}

impl Begun {
    /// Where the proof of an authorization stands.
    pub fn place(digest: &str) -> super::seal::Place<'_> {
        super::seal::Place { table: "oauth_states", column: "sealed", row: digest }
    }
}

/// What shows that who finishes an authorization has begun it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// PKCE's, RFC 7636.
    pub verifier: String,
    /// What the id_token has to repeat.
    pub nonce: String,
    /// Where the API is that is to be opened, if not all of a kind are at one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_url: Option<String>,
}
