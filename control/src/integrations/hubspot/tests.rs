use super::*;
use crate::domain::crm::testing::BACK;
use crate::settings::Settings;

#[test]
fn the_question_holds_what_hubspot_wants_and_no_secret() {
    let text = "[vendors.hubspot]\nclient_id = 'c i&d'\nclient_secret = 'hush'";
    let client = HubSpot::new(&Settings::from_text(text).unwrap().crm.hubspot.unwrap()).unwrap();
    let attempt = Attempt::new().unwrap();
    let url = client.authorization_url(BACK, "", &attempt);
    let query = url.strip_prefix("https://app.hubspot.com/oauth/authorize?").unwrap();
    assert!(!query.contains('+'), "a space is written as %20: {query}");
    let field = |wanted: &str| {
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).unwrap().1.into_owned()
    };
    assert_eq!((field("client_id").as_str(), field("redirect_uri").as_str()), ("c i&d", BACK));
    assert_eq!(field("scope"), "oauth crm.objects.contacts.read crm.objects.contacts.write");
    assert_eq!((field("state").as_str(), field("response_type").as_str()), (attempt.state.reveal(), "code"));
    assert!(!url.contains("hush") && !url.contains(attempt.verifier.reveal()));
}

#[test]
fn what_was_said_is_no_markup() {
    assert_eq!(markup("<script>a & b</script>\nc"), "&lt;script&gt;a &amp; b&lt;/script&gt;<br>c");
    let long = "é".repeat(TEXT_MAX);
    assert!(markup(&long).len() <= TEXT_MAX);
}

#[test]
fn an_id_is_digits() {
    assert_eq!(id_of(&"101".into()).unwrap(), "101");
    for id in ["", "1/2", "-1", "1".repeat(21).as_str()] {
        assert!(id_of(&id.into()).is_err(), "{id}");
    }
}

#[test]
fn a_lag_that_is_none_is_told() {
    let text = "[vendors.hubspot]\nclient_id = 'a'\nclient_secret = 'b'\nsearch_lag_ms = 'soon'";
    let error = HubSpot::new(&Settings::from_text(text).unwrap().crm.hubspot.unwrap()).unwrap_err();
    assert!(error.contains("OFFHOOK_HUBSPOT_SEARCH_LAG_MS"), "{error}");
}
