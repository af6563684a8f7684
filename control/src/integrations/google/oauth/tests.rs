use std::time::Duration;

use http_body_util::Full;
use hyper::header::LOCATION;
use hyper::{Request, StatusCode};
use offhook_engine::call::Failure;
use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use serde_json::json;

use super::*;
use crate::integrations::oauth::LIMITS;

const BACK: &str = "http://127.0.0.1:1/frontdesk/auth/google/callback";

fn client(fakes: &FakeVendors) -> OAuth {
    let base = fakes.base_url(Vendor::Google).parse().unwrap();
    OAuth::new(Hosts::at(Some(&base)), "cid", Secret::new("sec")).unwrap()
}

/// What the browser is sent back with.
async fn answer(client: &OAuth, scopes: &[&str], attempt: &Attempt) -> Vec<(String, String)> {
    let ask = Ask { redirect_uri: BACK, scopes, prompt: Some("consent"), login_hint: None };
    let url = client.authorization_url(&ask, attempt);
    let request = Request::get(url).body(Full::default()).unwrap();
    let answer = client.http.send(request, LIMITS).await.unwrap();
    assert_eq!(answer.status, StatusCode::FOUND, "{:?}", answer.body);
    let location = answer.headers[LOCATION].to_str().unwrap();
    let query = location.strip_prefix(BACK).unwrap().strip_prefix('?').unwrap();
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn field<'a>(answer: &'a [(String, String)], name: &str) -> &'a str {
    answer.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

async fn signed_in(client: &OAuth) -> (Attempt, Tokens) {
    let attempt = Attempt::new().unwrap();
    let answer = answer(client, &SIGN_IN, &attempt).await;
    assert_eq!(field(&answer, "state"), attempt.state.reveal());
    let tokens = client.exchange(field(&answer, "code"), attempt.verifier.reveal(), BACK).await.unwrap();
    (attempt, tokens)
}

async fn identity(client: &OAuth) -> Result<Identity, IdentityError> {
    let (attempt, tokens) = signed_in(client).await;
    client.identity(&tokens.id_token.unwrap(), attempt.nonce.reveal()).await
}

#[test]
fn the_question_holds_what_google_wants_and_no_secret_of_the_client() {
    let client = OAuth::new(Hosts::at(None), "c i&d", Secret::new("hush")).unwrap();
    let attempt = Attempt::new().unwrap();
    let ask = Ask { redirect_uri: BACK, scopes: &CALENDAR, prompt: None, login_hint: Some("a@b.example") };
    let url = client.authorization_url(&ask, &attempt);
    let query = url.strip_prefix("https://accounts.google.com/o/oauth2/auth?").unwrap();
    let fields: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    for (name, wanted) in [
        ("client_id", "c i&d"),
        ("redirect_uri", BACK),
        ("response_type", "code"),
        ("access_type", "offline"),
        ("prompt", ""),
        ("login_hint", "a@b.example"),
        ("state", attempt.state.reveal()),
        ("nonce", attempt.nonce.reveal()),
        ("code_challenge_method", "S256"),
        ("code_challenge", &challenge(attempt.verifier.reveal())),
        ("scope", &CALENDAR.join(" ")),
    ] {
        assert_eq!(field(&fields, name), wanted, "{name}");
    }
    assert!(!url.contains("hush") && !url.contains(attempt.verifier.reveal()));
}

#[tokio::test]
async fn whoever_consents_is_known_and_their_tokens_are_renewed_and_taken_back() {
    let fakes = FakeVendors::start().await;
    let client = client(&fakes);
    let (attempt, tokens) = signed_in(&client).await;
    let who = client.identity(tokens.id_token.as_ref().unwrap(), attempt.nonce.reveal()).await.unwrap();
    assert_eq!(
        (who.subject.as_str(), who.email.as_deref(), who.name.as_deref()),
        ("110000000000000000001", Some("pat@example.com"), Some("Pat Example"))
    );
    assert_eq!(tokens.expires_in, Some(Duration::from_secs(3_599)));
    assert!(tokens.scopes.contains(&"openid".to_owned()), "{:?}", tokens.scopes);
    let refresh = tokens.refresh.unwrap();
    let renewed = client.refresh(&refresh).await.unwrap();
    assert!(renewed.access != tokens.access && renewed.refresh.is_none());
    client.revoke(&refresh).await.unwrap();
    assert!(matches!(client.refresh(&refresh).await, Err(OAuthError::Consent(_))));
    client.revoke(&refresh).await.unwrap();
    assert_eq!(fakes.google_state()["consents"], json!([]));
}

#[tokio::test]
async fn a_code_is_good_once_for_whoever_asked() {
    let fakes = FakeVendors::start().await;
    let client = client(&fakes);
    let attempt = Attempt::new().unwrap();
    let code = async || {
        let answer = answer(&client, &SIGN_IN, &attempt).await;
        field(&answer, "code").to_owned()
    };
    let first = code().await;
    let verifier = attempt.verifier.reveal();
    client.exchange(&first, verifier, BACK).await.unwrap();
    let again = client.exchange(&first, verifier, BACK).await.unwrap_err();
    assert!(matches!(again, OAuthError::Consent(_)), "{again}");
    let other = Attempt::new().unwrap();
    let stolen = client.exchange(&code().await, other.verifier.reveal(), BACK).await.unwrap_err();
    assert!(matches!(stolen, OAuthError::Consent(_)), "{stolen}");
    let elsewhere = client.exchange(&code().await, verifier, "http://127.0.0.1:1/other").await.unwrap_err();
    assert!(elsewhere.to_string().contains("redirect_uri_mismatch"), "{elsewhere}");
}

#[tokio::test]
async fn a_person_may_say_no_or_consent_to_less() {
    let fakes = FakeVendors::start().await;
    let client = client(&fakes);
    let attempt = Attempt::new().unwrap();
    fakes.google_set("user", &json!({"refuses": [CALENDAR[1]]})).unwrap();
    let less = answer(&client, &CALENDAR, &attempt).await;
    let tokens = client.exchange(field(&less, "code"), attempt.verifier.reveal(), BACK).await.unwrap();
    assert_eq!((tokens.scopes, tokens.id_token), (vec![CALENDAR[0].to_owned()], None));
    fakes.google_set("user", &json!({"denies": true})).unwrap();
    assert_eq!(field(&answer(&client, &CALENDAR, &attempt).await, "error"), "access_denied");
}

#[tokio::test]
async fn an_identity_that_google_did_not_give_us_now_is_refused() {
    let fakes = FakeVendors::start().await;
    let client = client(&fakes);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    use IdTokenError::*;
    for (habits, wanted) in [
        (json!({"alg": "none"}), Algorithm),
        (json!({"alg": "HS256"}), Algorithm),
        (json!({"alg": "broken"}), Signature),
        (json!({"claims": {"iss": "https://accounts.example.com"}}), Issuer),
        (json!({"claims": {"aud": "other"}}), Audience),
        (json!({"claims": {"aud": ["cid", "other"]}}), Audience),
        (json!({"claims": {"azp": "other"}}), Audience),
        (json!({"claims": {"exp": now - 61}}), Expired),
        (json!({"claims": {"iat": now + 120}}), Early),
        (json!({"claims": {"exp": null}}), Malformed),
        (json!({"claims": {"nonce": "other"}}), Nonce),
        (json!({"claims": {"nonce": null}}), Nonce),
        (json!({"claims": {"sub": ""}}), Malformed),
    ] {
        fakes.google_set("oauth", &json!({"alg": "RS256", "claims": {}})).unwrap();
        fakes.google_set("oauth", &habits).unwrap();
        assert_eq!(identity(&client).await, Err(IdentityError::Refused(wanted)), "{habits}");
    }
    fakes.google_set("oauth", &json!({"alg": "RS256", "claims": {"iss": "accounts.google.com"}})).unwrap();
    assert!(identity(&client).await.is_ok(), "Google's other name");
    let (_, tokens) = signed_in(&client).await;
    let empty = client.identity(&tokens.id_token.unwrap(), "").await;
    assert_eq!(empty, Err(IdentityError::Refused(Nonce)));
    for junk in ["", "a.b", "a.b.c", "e30.e30.", "bnVsbA.bnVsbA.AA"] {
        assert!(client.identity(&Secret::new(junk), "n").await.is_err(), "{junk}");
    }
}

#[tokio::test]
async fn an_address_that_google_has_not_verified_is_not_passed_on() {
    let fakes = FakeVendors::start().await;
    let client = client(&fakes);
    for unverified in [json!(false), json!("true"), json!(null)] {
        fakes.google_set("oauth", &json!({"claims": {"email_verified": unverified}})).unwrap();
        assert_eq!(identity(&client).await.unwrap().email, None, "{unverified}");
    }
}

#[tokio::test]
async fn keys_are_asked_for_once_and_again_when_there_is_a_new_one() {
    let fakes = FakeVendors::start().await;
    let mut client = client(&fakes);
    let asked = || fakes.requests().iter().filter(|asked| asked.path.ends_with("/certs")).count();
    let (one, other) = tokio::join!(identity(&client), identity(&client));
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(asked(), 1);
    fakes.google_set("oauth", &json!({"key_id": "fake-2"})).unwrap();
    assert_eq!(identity(&client).await, Err(IdentityError::Refused(IdTokenError::UnknownKey)));
    assert_eq!(asked(), 1, "junk does not make us ask at will");
    client.keys.asked_every = Duration::ZERO;
    assert!(identity(&client).await.is_ok());
    assert_eq!(asked(), 2);
}

#[tokio::test]
async fn what_goes_wrong_at_google_is_told_without_secrets() {
    let fakes = FakeVendors::start().await;
    let client = client(&fakes);
    let refresh = Secret::new("1//hush");
    for (fault, wanted) in
        [("status=503", Failure::Faulty), ("status=429", Failure::Busy), ("malformed", Failure::Malformed)]
    {
        let (_, tokens) = signed_in(&client).await;
        fakes.fail("/google/token", 1, Fault::parse(fault).unwrap());
        match client.refresh(&tokens.refresh.unwrap()).await {
            Err(OAuthError::Vendor(error)) => assert_eq!(error.why, wanted, "{fault}"),
            other => panic!("{fault}: {other:?}"),
        }
    }
    let error = client.refresh(&refresh).await.unwrap_err().to_string();
    assert!(error.contains("invalid_grant") && !error.contains("hush"), "{error}");

    let base = fakes.base_url(Vendor::Google).parse().unwrap();
    let stranger = OAuth::new(Hosts::at(Some(&base)), "cid", Secret::new("bad-secret")).unwrap();
    let error = stranger.refresh(&refresh).await.unwrap_err();
    assert!(matches!(&error, OAuthError::Vendor(error) if error.why == Failure::Unauthorised), "{error}");
    assert!(!format!("{error} {stranger:?}").contains("bad-secret"));

    let (attempt, tokens) = signed_in(&client).await;
    fakes.fail("/google/oauth2/v3/certs", 1, Fault::parse("status=500").unwrap());
    let error = client.identity(&tokens.id_token.unwrap(), attempt.nonce.reveal()).await.unwrap_err();
    assert!(matches!(&error, IdentityError::Vendor(error) if error.why == Failure::Faulty), "{error}");
}
