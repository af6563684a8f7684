//! People who sign in.

use super::time::UnixMs;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Ours: a UUID.
    pub id: String,
    /// As the identity provider verified it last.
    pub email: String,
    /// What they are called; their e-mail address where nobody told.
    pub name: String,
    /// Where Google has their picture, if it says.
    pub picture: Option<String>,
    /// When they signed in first.
    pub created: UnixMs,
}

/// Who somebody is, as Google says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoogleIdentity {
    /// Google's name for the account, which never changes.
    pub sub: String,
    /// A verified address.
    pub email: String,
    /// What they are called, if Google tells.
    pub name: Option<String>,
    /// Where their picture is, if Google tells.
    pub picture: Option<String>,
}
