use std::time::Duration;

use futures_util::future::join_all;
use offhook_fixtures::vendors::faults::Fault;
use serde_json::json;

use super::testing::{BACK, Desk, INSTANCE, vendor};
use super::*;

/// How often a token was asked for anew.
fn renewals(desk: &Desk) -> usize {
    let asked = desk.fakes.requests();
    let is_one = |body: &serde_json::Value| body.as_str().is_some_and(|body| body.contains("refresh_token="));
    asked.iter().filter(|asked| is_one(&asked.body)).count()
}

#[tokio::test]
async fn a_crm_is_connected_by_a_consent_and_its_tokens_do_not_show() {
    for crm in Crm::ALL {
        let desk = Desk::with(crm).await;
        let connection = desk.store.crm_connection(&desk.owner, crm).await.unwrap().unwrap();
        let (account, instance) = match crm {
            Crm::Salesforce => ("pat@example.com", desk.fakes.base_url(vendor(crm))),
            Crm::HubSpot => ("pat@example.com", String::new()),
            Crm::Dynamics => ("", INSTANCE.to_owned()),
        };
        assert_eq!((connection.account.as_str(), &connection.instance_url), (account, &instance), "{crm}");
        let shown = String::from_utf8_lossy(&connection.sealed).into_owned();
        assert!(!shown.contains("access-") && !shown.contains("refresh-"), "{crm}");
        let open = desk.crms.open(&desk.owner, crm, desk.now()).await.unwrap();
        assert!(!format!("{open:?}").contains("access-"), "{crm}");
    }
}

#[tokio::test]
async fn a_state_is_good_once_for_its_crm_and_its_user_and_for_ten_minutes() {
    let desk = Desk::start().await;
    let refused = async |crm, code: &str, state: &str, shown: Option<&str>| match desk
        .crms
        .connect(crm, code, state, shown, desk.now())
        .await
    {
        Err(Error::Invalid { field, .. }) => field,
        other => panic!("{crm}: {other:?}"),
    };
    for crm in Crm::ALL {
        let (code, state) = desk.consent(crm).await;
        let other = Crm::ALL.into_iter().find(|other| *other != crm).unwrap();
        assert_eq!(refused(other, &code, &state, None).await, "state", "{crm}: another CRM's");
        assert_eq!(refused(crm, "stolen", &state, None).await, "code", "{crm}: it was used up by the try");
        assert_eq!(refused(crm, &code, &state, None).await, "state", "{crm}: a second time");

        let (code, state) = desk.consent(crm).await;
        assert_eq!(refused(crm, &code, &state, Some("somebody else")).await, "state", "{crm}");
        assert!(desk.store.crm_connection(&desk.owner, crm).await.unwrap().is_none());

        let (code, state) = desk.consent(crm).await;
        desk.pass(Duration::from_secs(601));
        assert_eq!(refused(crm, &code, &state, None).await, "state", "{crm}: too late");
    }
    for state in ["", "unknown", &"x".repeat(3_000)] {
        assert_eq!(refused(Crm::HubSpot, "code", state, None).await, "state");
    }
    assert_eq!(refused(Crm::HubSpot, &"x".repeat(3_000), "state", None).await, "code");
}

#[tokio::test]
async fn who_begins_again_and_again_keeps_the_latest_alone() {
    let desk = Desk::start().await;
    let (first_code, first) = desk.consent(Crm::HubSpot).await;
    let mut last = (String::new(), String::new());
    for _ in 0..10 {
        desk.pass(Duration::from_millis(5));
        last = desk.consent(Crm::HubSpot).await;
    }
    let refused = desk.crms.connect(Crm::HubSpot, &first_code, &first, None, desk.now()).await;
    assert!(matches!(refused, Err(Error::Invalid { field: "state", .. })), "{refused:?}");
    desk.crms.connect(Crm::HubSpot, &last.0, &last.1, None, desk.now()).await.unwrap();
}

#[tokio::test]
async fn a_consent_without_a_refresh_token_is_none() {
    let desk = Desk::start().await;
    for crm in [Crm::Salesforce, Crm::Dynamics] {
        desk.fakes.crm_set(vendor(crm), "habits", &json!({"refresh_token": "none"})).unwrap();
        let refused = desk.connect(crm).await.unwrap_err().to_string();
        assert!(refused.contains("refresh token"), "{refused}");
    }
}

#[tokio::test]
async fn an_instance_must_be_one_of_dynamics() {
    let desk = Desk::start().await;
    let own = desk.fakes.base_url(vendor(Crm::Dynamics));
    let begin = async |url: &str| {
        let begun = desk.crms.begin(&desk.owner, Crm::Dynamics, BACK.into(), Some(url), desk.now()).await;
        begun.map(|started| started.url)
    };
    for url in [INSTANCE, "https://orgname.crm4.dynamics.com/", &own] {
        let asked = begin(url).await.unwrap();
        let query = asked.split_once('?').unwrap().1.to_owned();
        let scope = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "scope").unwrap().1;
        let resource = format!("{}/user_impersonation", url.trim_end_matches('/'));
        assert!(scope.split(' ').any(|name| name == resource), "{scope}");
    }
    for url in [
        "",
        "orgname.crm.dynamics.com",
        "http://orgname.crm.dynamics.com",
        "https://dynamics.com",
        "https://evil.example",
        "https://evildynamics.com",
        "https://orgname.crm.dynamics.com.evil.example",
        "https://orgname.crm.dynamics.com@evil.example",
        "https://evil.example/.dynamics.com",
        "https://evil.example#.dynamics.com",
        "https://orgname.crm.dynamics.com:8443",
        "https://169.254.169.254",
        "javascript:alert(1)",
        &format!("https://{}.dynamics.com", "x".repeat(300)),
    ] {
        let refused = begin(url).await;
        assert!(matches!(refused, Err(Error::Invalid { field: "instanceUrl", .. })), "{url}: {refused:?}");
    }
}

#[tokio::test]
async fn a_token_is_renewed_by_one_request_however_many_want_one_and_rotation_is_kept() {
    for crm in Crm::ALL {
        let desk = Desk::with(crm).await;
        desk.fakes.crm_set(vendor(crm), "habits", &json!({"refresh_token": "rotate"})).unwrap();
        let mut last = desk.crms.open(&desk.owner, crm, desk.now()).await.unwrap();
        for round in 1..=3 {
            let all = join_all((0..10).map(|_| desk.crms.reopen(&last, desk.now()))).await;
            let first = all[0].as_ref().unwrap().clone();
            assert!(all.iter().all(|open| open.as_ref().unwrap().token == first.token), "{crm}");
            assert_ne!(first.token, last.token);
            assert_eq!(renewals(&desk), round, "{crm}");
            last = first;
        }
    }
}

#[tokio::test]
async fn a_token_is_renewed_before_its_time_is_over() {
    let desk = Desk::with(Crm::HubSpot).await;
    let first = desk.crms.open(&desk.owner, Crm::HubSpot, desk.now()).await.unwrap();
    desk.pass(Duration::from_secs(1_700));
    let same = desk.crms.open(&desk.owner, Crm::HubSpot, desk.now()).await.unwrap();
    assert_eq!((same.token == first.token, renewals(&desk)), (true, 0));
    desk.pass(Duration::from_secs(50));
    let other = desk.crms.open(&desk.owner, Crm::HubSpot, desk.now()).await.unwrap();
    assert_eq!((other.token == first.token, renewals(&desk)), (false, 1));
}

#[tokio::test]
async fn a_renewal_that_nobody_waits_for_any_more_is_kept_all_the_same() {
    let desk = Desk::with(Crm::Dynamics).await;
    let open = desk.crms.open(&desk.owner, Crm::Dynamics, desk.now()).await.unwrap();
    desk.fakes.fail("/dynamics/organizations", 1, Fault::parse("latency=100ms").unwrap());
    let gone = tokio::time::timeout(Duration::from_millis(20), desk.crms.reopen(&open, desk.now())).await;
    assert!(gone.is_err());
    assert!(desk.crms.reopen(&open, desk.now()).await.is_ok(), "the second waits for the first");
    assert_eq!(renewals(&desk), 1);
}

#[tokio::test]
async fn a_consent_that_is_over_is_not_asked_about_again_and_a_failure_is() {
    let desk = Desk::with(Crm::Salesforce).await;
    let open = desk.crms.open(&desk.owner, Crm::Salesforce, desk.now()).await.unwrap();
    desk.fakes.fail("/salesforce/services/oauth2/token", 1, Fault::parse("status=503").unwrap());
    assert!(matches!(desk.crms.reopen(&open, desk.now()).await, Err(AccessError::Later(_))));
    let open = desk.crms.reopen(&open, desk.now()).await.unwrap();
    desk.fakes.crm_set(vendor(Crm::Salesforce), "forget", &json!(null)).unwrap();
    assert!(matches!(desk.crms.reopen(&open, desk.now()).await, Err(AccessError::Broken(_))));
    let asked = renewals(&desk);
    assert!(matches!(desk.crms.reopen(&open, desk.now()).await, Err(AccessError::Broken(_))));
    assert_eq!(renewals(&desk), asked);
    desk.connect(Crm::Salesforce).await.unwrap();
    assert!(desk.crms.open(&desk.owner, Crm::Salesforce, desk.now()).await.is_ok(), "connected anew");
}

#[tokio::test]
async fn an_instance_that_is_another_one_after_a_renewal_is_asked_from_then_on() {
    let desk = Desk::with(Crm::Salesforce).await;
    desk.fakes.crm_set(vendor(Crm::Salesforce), "habits", &json!({"instance": "/na2"})).unwrap();
    desk.fakes.crm_set(vendor(Crm::Salesforce), "expire", &json!(null)).unwrap();
    desk.call("+15005550009").await;
    desk.work().await;
    assert_eq!(desk.syncs(Crm::Salesforce).await[0].state, SyncState::Success);
    let connection = desk.store.crm_connection(&desk.owner, Crm::Salesforce).await.unwrap().unwrap();
    assert!(connection.instance_url.ends_with("/na2"), "{}", connection.instance_url);
}

#[tokio::test]
async fn who_disconnects_takes_the_consent_back_and_may_do_so_twice() {
    for crm in Crm::ALL {
        let desk = Desk::with(crm).await;
        desk.crms.disconnect(&desk.owner, crm).await.unwrap();
        let left = desk.fakes.crm_state(vendor(crm))["consents"].clone();
        // Entra has no way to take one back.
        assert_eq!(left, json!(u8::from(crm == Crm::Dynamics)), "{crm}");
        desk.crms.disconnect(&desk.owner, crm).await.unwrap();
        let open = desk.crms.open(&desk.owner, crm, desk.now()).await;
        assert!(matches!(open, Err(AccessError::Disconnected)), "{crm}");

        desk.connect(crm).await.unwrap();
        desk.fakes.fail(&format!("/{}", crm.as_str()), 1, Fault::parse("status=503").unwrap());
        desk.crms.disconnect(&desk.owner, crm).await.unwrap();
        assert!(desk.store.crm_connection(&desk.owner, crm).await.unwrap().is_none(), "gone in any case");
    }
}
