use bytes::Bytes;
use hyper::HeaderMap;

use super::*;
use crate::domain::crm::testing::{BACK, INSTANCE};
use crate::settings::Settings;

fn client(more: &str) -> Result<Dynamics, String> {
    let text = format!("[vendors.dynamics]\nclient_id = 'cid'\nclient_secret = 'hush'\n{more}");
    Dynamics::new(&Settings::from_text(&text).unwrap().crm.dynamics.unwrap())
}

#[test]
fn the_question_is_for_one_instance() {
    let attempt = Attempt::new().unwrap();
    let url = client("").unwrap().authorization_url(BACK, INSTANCE, &attempt);
    let rest = url.strip_prefix("https://login.microsoftonline.com/organizations/oauth2/v2.0/authorize?");
    let query = rest.unwrap().to_owned();
    let field = |wanted: &str| {
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).unwrap().1.into_owned()
    };
    assert!(field("scope").starts_with("https://orgname.crm.dynamics.com/user_impersonation offline_access"));
    assert_eq!((field("response_type").as_str(), field("code_challenge_method").as_str()), ("code", "S256"));
    assert!(!url.contains("hush") && !url.contains(attempt.verifier.reveal()));
    let url = client("tenant = 'contoso'").unwrap().authorization_url(BACK, INSTANCE, &attempt);
    assert!(url.starts_with("https://login.microsoftonline.com/contoso/"), "{url}");
}

#[test]
fn what_was_created_is_named_in_a_header() {
    let answer = |url: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("odata-entityid", url.parse().unwrap());
        named(&Answer { status: StatusCode::NO_CONTENT, headers, body: Bytes::new() })
    };
    let id = "00000000-0000-0000-0000-000000000001";
    assert_eq!(answer("https://x/api/data/v9.2/leads(00000000-0000-0000-0000-000000000001)").unwrap(), id);
    for url in ["", "https://x/leads", "https://x/leads()", "https://x/leads(../../x)"] {
        assert!(answer(url).is_err(), "{url}");
    }
}

#[test]
fn a_status_that_is_none_is_told() {
    let error = client("received_status = 'four'").unwrap_err();
    assert!(error.contains("OFFHOOK_DYNAMICS_RECEIVED_STATUS"), "{error}");
}
