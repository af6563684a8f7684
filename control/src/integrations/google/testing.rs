//! What tests do with the fake of Google: consent, and see what is in a calendar.

use std::sync::Arc;

use http_body_util::Full;
use hyper::Request;
use hyper::header::LOCATION;
use offhook_fixtures::vendors::{FakeVendors, Vendor};

use super::oauth::{Ask, CALENDAR, OAuth};
use super::{Access, Hosts, OnReplaced};
use crate::integrations::http::HttpClient;
use crate::integrations::oauth::{Attempt, LIMITS, Tokens};
use crate::settings::Secret;

/// The fake's hosts.
pub(crate) fn hosts(fakes: &FakeVendors) -> Hosts {
    let base = fakes.base_url(Vendor::Google).parse().expect("the fakes have a URL");
    Hosts::at(Some(&base))
}

/// The client that the tests have registered.
pub(crate) fn client(fakes: &FakeVendors) -> OAuth {
    OAuth::new(hosts(fakes), "cid", Secret::new("sec")).unwrap()
}

/// Tokens for calendars, by the consent of whoever sits at the browser.
pub(crate) async fn consented(oauth: &OAuth) -> Tokens {
    const BACK: &str = "http://127.0.0.1:1/back";
    let attempt = Attempt::new().unwrap();
    let ask = Ask { redirect_uri: BACK, scopes: &CALENDAR, prompt: Some("consent"), login_hint: None };
    let request = Request::get(oauth.authorization_url(&ask, &attempt)).body(Full::default()).unwrap();
    let answer = HttpClient::new().unwrap().send(request, LIMITS).await.unwrap();
    let location = answer.headers[LOCATION].to_str().unwrap();
    let query = location.split_once('?').unwrap().1.as_bytes();
    let code = form_urlencoded::parse(query).find(|(name, _)| name == "code").expect("a code").1;
    oauth.exchange(&code, attempt.verifier.reveal(), BACK).await.unwrap()
}

/// Access to calendars likewise.
pub(crate) async fn consent(fakes: &FakeVendors, on_replaced: OnReplaced) -> Access {
    let oauth = Arc::new(client(fakes));
    let refresh = consented(&oauth).await.refresh.expect("a refresh token");
    Access::of_consent(oauth, refresh, on_replaced)
}
