//! People whom personas talk with, as their owners know them.

use serde_json::{Map, Value};

use super::phone::E164;
use super::time::UnixMs;

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Customer {
    /// A UUID.
    pub id: String,
    /// What they are called.
    pub name: String,
    /// Their address.
    pub email: Option<String>,
    /// Telegram's number for them: digits.
    pub telegram_id: Option<String>,
    /// Their number.
    pub phone: Option<String>,
    /// What the owner noted.
    pub notes: Option<String>,
    /// What the owner keeps with them.
    pub metadata: Map<String, Value>,
    /// When they last wrote or called.
    pub last_contact: Option<UnixMs>,
    /// How many conversations were begun with them.
    pub conversations: u64,
    /// When they were made.
    pub created: UnixMs,
    /// When they were last changed by the owner.
    pub updated: UnixMs,
}

/// Changes of a customer. Of a text that may be absent, none leaves it, and `Some(None)` takes it away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CustomerChanges {
    /// The name.
    pub name: Option<String>,
    /// The address.
    pub email: Option<Option<String>>,
    /// Telegram's number.
    pub telegram_id: Option<Option<String>>,
    /// The telephone number.
    pub phone: Option<Option<E164>>,
    /// The notes.
    pub notes: Option<Option<String>>,
    /// Of the metadata, key by key: null takes a key away, others stay.
    pub metadata: Map<String, Value>,
}

/// Puts the changes of `changes` into `metadata`, key by key.
pub fn merge(metadata: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (key, value) in changes {
        match value {
            Value::Null => drop(metadata.remove(key)),
            value => drop(metadata.insert(key.clone(), value.clone())),
        }
    }
}

/// A part of a list, and how long all of it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Part<T> {
    /// The part.
    pub items: Vec<T>,
    /// Of all that match.
    pub total: u64,
}
