use offhook_fixtures::vendors::faults::Fault;

use super::*;
use crate::domain::crm::testing::{BACK, Desk, vendor};
use crate::settings::Settings;

/// A client of the vendor's own.
fn client() -> Salesforce {
    let text = "[vendors.salesforce]\nclient_id = 'c i&d'\nclient_secret = 'hush'";
    Salesforce::new(&Settings::from_text(text).unwrap().crm.salesforce.unwrap()).unwrap()
}

#[test]
fn the_question_holds_what_salesforce_wants_and_no_secret() {
    let attempt = Attempt::new().unwrap();
    let url = client().authorization_url(BACK, "", &attempt);
    let query = url.strip_prefix("https://login.salesforce.com/services/oauth2/authorize?").unwrap();
    let field = |wanted: &str| {
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).unwrap().1.into_owned()
    };
    assert_eq!((field("response_type").as_str(), field("client_id").as_str()), ("code", "c i&d"));
    assert_eq!((field("redirect_uri").as_str(), field("state").as_str()), (BACK, attempt.state.reveal()));
    assert!(field("scope").split(' ').any(|scope| scope == "refresh_token"));
    assert_eq!(field("code_challenge_method"), "S256");
    assert!(!url.contains("hush") && !url.contains(attempt.verifier.reveal()));
}

#[test]
fn tokens_go_to_salesforce_alone() {
    let client = client();
    for url in
        ["https://acme.my.salesforce.com", "https://na1.salesforce.com/", "https://x.lightning.force.com"]
    {
        assert_eq!(client.instance_url(url).as_deref(), Ok(url.trim_end_matches('/')));
    }
    for url in [
        "http://acme.my.salesforce.com",
        "https://salesforce.com.evil.example",
        "https://evilsalesforce.com",
        "https://127.0.0.1",
        "https://acme.my.salesforce.com/path",
        "nothing",
    ] {
        assert!(client.instance_url(url).is_err(), "{url}");
    }
}

#[tokio::test]
async fn errors_mean_what_they_say_and_show_no_token() {
    let desk = Desk::with(Crm::Salesforce).await;
    let open = desk.crms.open(&desk.owner, Crm::Salesforce, desk.now()).await.unwrap();
    let number = E164::parse("+14155551234").unwrap();
    for (fault, wanted) in [
        ("status=401", "expired"),
        ("status=403", "later"),
        ("status=503", "later"),
        ("status=500", "later"),
        ("status=400", "refused"),
        ("malformed", "later"),
    ] {
        desk.fakes.fail("/salesforce/services/data", 1, Fault::parse(fault).unwrap());
        let error = open.client.find(open.access(), &number).await.unwrap_err();
        let kind = match error {
            CrmError::Expired(_) => "expired",
            CrmError::Later { .. } => "later",
            CrmError::Gone(_) => "gone",
            CrmError::Refused(_) => "refused",
        };
        assert_eq!(kind, wanted, "{fault}: {error}");
        assert!(!error.to_string().contains("access-"), "{error}");
    }
    desk.fakes.crm_set(vendor(Crm::Salesforce), "expire", &json!(null)).unwrap();
    let error = open.client.find(open.access(), &number).await.unwrap_err();
    assert!(matches!(error, CrmError::Expired(_)), "{error}");
}

#[test]
fn an_id_is_one_of_salesforces() {
    assert_eq!(id_of(&"00Qxx0000000001EAA".into()).unwrap(), "00Qxx0000000001EAA");
    for id in ["", "00Q", "00Qxx0000000001EA'", "../../../../../etc", "00Qxx0000000001EAAA"] {
        assert!(id_of(&id.into()).is_err(), "{id}");
    }
    assert!(id_of(&Value::Null).is_err());
}
