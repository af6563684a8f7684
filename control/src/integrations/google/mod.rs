//! Google: Cloud's speech services, for whoever has an API key or a service account; and people's accounts, who consent to
//! what is done in their name.

mod access;
mod account;
pub mod calendar;
mod grpc;
mod hosts;
mod messages;
pub mod oauth;
mod recognize;
mod synthesize;
#[cfg(test)]
pub(crate) mod testing;

use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use offhook_engine::call::Failure;

use super::refusal::sensitive;
use super::vendor::VendorError;
use crate::settings::Secret;
pub use access::{Access, OnReplaced};
pub use account::ServiceAccount;
pub use calendar::GoogleCalendar;
pub use hosts::Hosts;
pub use oauth::OAuth;
pub use recognize::{GoogleEars, Options as GoogleEarsOptions};
pub use synthesize::{Google, Options};

/// In whose name a request is made.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// An API key.
    Key(Secret),
    /// A service account.
    Account(ServiceAccount),
}

impl Credentials {
    /// The header that says so. `audience`: the service that is asked.
    fn header(&self, audience: &str) -> Result<(HeaderName, HeaderValue), VendorError> {
        match self {
            Self::Key(key) => {
                let value = sensitive(key.reveal()).map_err(account::unusable)?;
                Ok((HeaderName::from_static("x-goog-api-key"), value))
            }
            Self::Account(account) => Ok((AUTHORIZATION, account.bearer(audience)?)),
        }
    }

    /// What must not be told.
    fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Key(key) => Some(key),
            // Its key never leaves; what is signed with it is short-lived, and in no answer.
            Self::Account(_) => None,
        }
    }
}

/// What a reason of Google's means that says more than the status beside it.
fn failure(reason: &str) -> Option<Failure> {
    match reason {
        // Its status is that of a wrong argument.
        "API_KEY_INVALID" => Some(Failure::Unauthorised),
        "BILLING_DISABLED" => Some(Failure::Unpaid),
        _ => None,
    }
}
