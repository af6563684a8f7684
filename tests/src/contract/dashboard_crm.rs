//! The dashboard's CRMs and outbound webhooks.

use super::system::Case;

/// What a server needs for them.
pub(super) fn variables() -> Vec<(&'static str, &'static str)> {
    Vec::new()
}

/// How their endpoints are asked. `name`: of the endpoint, without the system.
pub(super) fn case(_: &str) -> Option<Case> {
    None
}
