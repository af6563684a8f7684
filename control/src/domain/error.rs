//! Why the product does not do what it is asked. Each system says it in its own words and with its own statuses.

use crate::store::StoreError;

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing, or it is somebody else's: who asks is not told which.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// It is there already.
    #[error("{0}")]
    Conflict(String),
    /// A value cannot be used.
    #[error("{field} {reason}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What it should be: `must be …`.
        reason: String,
    },
    /// Who asks is known, and may not.
    #[error("{0}")]
    Forbidden(String),
    /// A service that it takes is not configured, or does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Error {
    /// A value that cannot be used.
    pub fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { field, reason: reason.into() }
    }
}
