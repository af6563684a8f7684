//! Where Google's services are: each at its own host, or all of them at one origin, with the paths that they have at Google.

use crate::settings::BaseUrl;

/// The hosts that people's accounts and calendars need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Where people consent.
    accounts: BaseUrl,
    /// Where tokens are given and taken back.
    tokens: BaseUrl,
    /// Keys that tokens are signed with, and calendars.
    apis: BaseUrl,
}

impl Hosts {
    /// All at `base`; at Google if there is none.
    pub fn at(base: Option<&BaseUrl>) -> Self {
        let host = |google: &str| match base {
            Some(base) => base.clone(),
            None => google.parse().expect("Google's own addresses can be read"),
        };
        Self {
            accounts: host("https://accounts.google.com"),
            tokens: host("https://oauth2.googleapis.com"),
            apis: host("https://www.googleapis.com"),
        }
    }

    /// Where a browser is sent, without the query.
    pub(super) fn consent(&self) -> String {
        self.accounts.of("/o/oauth2/auth")
    }

    pub(super) fn token(&self) -> String {
        self.tokens.of("/token")
    }

    pub(super) fn revoke(&self) -> String {
        self.tokens.of("/revoke")
    }

    /// `path` below the calendars' API, such as `/freeBusy`.
    pub(super) fn calendar(&self, path: &str) -> String {
        self.apis.of(&format!("/calendar/v3{path}"))
    }

    pub(super) fn certs(&self) -> String {
        self.apis.of("/oauth2/v3/certs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_is_at_its_host_or_all_at_one_origin() {
        let google = Hosts::at(None);
        assert_eq!(google.consent(), "https://accounts.google.com/o/oauth2/auth");
        assert_eq!(google.token(), "https://oauth2.googleapis.com/token");
        assert_eq!(google.certs(), "https://www.googleapis.com/oauth2/v3/certs");
        let base = "http://127.0.0.1:9/google".parse().unwrap();
        let fake = Hosts::at(Some(&base));
        assert_eq!(fake.revoke(), "http://127.0.0.1:9/google/revoke");
        assert_eq!(fake.consent(), "http://127.0.0.1:9/google/o/oauth2/auth");
    }
}
