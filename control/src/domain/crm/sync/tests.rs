use std::time::Duration;

use offhook_fixtures::vendors::faults::Fault;
use serde_json::{Value, json};

use super::super::testing::{Desk, vendor};
use super::super::{Sync, SyncState};
use super::*;
use crate::integrations::crm::PersonKind;

const CALLER: &str = "+14155551234";

/// A contact as somebody typed it in.
fn contact(crm: Crm, number: &str) -> Value {
    match crm {
        Crm::Salesforce => json!({"type": "Contact", "fields": {"LastName": "Pat", "MobilePhone": number}}),
        Crm::HubSpot => json!({"type": "contacts", "fields": {"lastname": "Pat", "mobilephone": number}}),
        Crm::Dynamics => json!({"type": "contacts", "fields": {"lastname": "Pat", "telephone1": number}}),
    }
}

/// Where people are created, and calls logged, at a double.
fn paths(crm: Crm) -> (&'static str, &'static str) {
    match crm {
        Crm::Salesforce => {
            ("/salesforce/services/data/v59.0/sobjects/Lead", "/salesforce/services/data/v59.0/sobjects/Task")
        }
        Crm::HubSpot => ("/hubspot/crm/v3/objects/contacts", "/hubspot/crm/v3/objects/calls"),
        Crm::Dynamics => ("/dynamics/api/data/v9.2/leads", "/dynamics/api/data/v9.2/phonecalls"),
    }
}

fn fail(desk: &Desk, path: &str, count: usize, fault: &str) {
    desk.fakes.fail(path, count, Fault::parse(fault).unwrap());
}

fn states(syncs: &[Sync]) -> Vec<SyncState> {
    syncs.iter().map(|sync| sync.state).collect()
}

#[tokio::test]
async fn a_stranger_is_created_once_and_each_call_logged_once() {
    for crm in Crm::ALL {
        let desk = Desk::with(crm).await;
        // The search of the first call's person knows nothing for a while.
        desk.fakes.crm_set(vendor(crm), "habits", &json!({"lag_ms": 3_600_000})).unwrap();
        desk.call(CALLER).await;
        desk.call(CALLER).await;
        desk.work().await;
        let syncs = desk.syncs(crm).await;
        assert_eq!(states(&syncs), [SyncState::Success; 2], "{crm}: {syncs:#?}");
        assert_eq!(
            (syncs[0].synced.person_created, syncs[1].synced.person_created),
            (true, false),
            "{crm}: {syncs:#?}"
        );
        let (people, activities) = (desk.people(crm), desk.activities(crm));
        assert_eq!((people.len(), activities.len()), (1, 2), "{crm}: {people:?} {activities:?}");
        for (sync, activity) in syncs.iter().zip(&activities) {
            assert_eq!(sync.synced.person.as_ref().unwrap().id, people[0]["id"], "{crm}");
            assert_eq!(sync.synced.activity.as_deref(), activity["id"].as_str(), "{crm}");
            assert_eq!(activity["of"], json!([people[0]["id"]]), "{crm}");
            assert_eq!((sync.number.as_str(), sync.reason.as_deref()), (CALLER, None));
        }
    }
}

#[tokio::test]
async fn a_call_is_logged_with_what_is_known_of_it() {
    for crm in Crm::ALL {
        let desk = Desk::with(crm).await;
        let call = desk.call(CALLER).await;
        desk.work().await;
        let fields = desk.activities(crm)[0]["fields"].clone();
        let wanted = match crm {
            Crm::Salesforce => json!({
                "Status": "Completed", "TaskSubtype": "Call", "CallType": "Inbound", "CallDurationInSeconds": 61,
            }),
            Crm::HubSpot => json!({
                "hs_call_direction": "INBOUND", "hs_call_duration": "61000", "hs_call_from_number": CALLER,
                "hs_call_status": "COMPLETED",
            }),
            // The second step completed it.
            Crm::Dynamics => json!({
                "directioncode": false, "actualdurationminutes": 2, "phonenumber": CALLER, "statecode": 1, "statuscode": 4,
            }),
        };
        for (name, value) in wanted.as_object().unwrap() {
            assert_eq!(&fields[name], value, "{crm}: {name}");
        }
        let text = fields.to_string();
        assert!(text.contains(&call) && text.contains("lead_qualification"), "{crm}: {text}");
    }
}

#[tokio::test]
async fn a_person_is_found_however_their_number_was_typed() {
    for crm in Crm::ALL {
        for typed in [CALLER, "(415) 555-1234", "415.555.1234", "+1 415-555-1234", "4155551234"] {
            let desk = Desk::with(crm).await;
            desk.fakes.crm_set(vendor(crm), "record", &contact(crm, typed)).unwrap();
            desk.call(CALLER).await;
            desk.work().await;
            let sync = desk.syncs(crm).await.remove(0);
            assert_eq!(
                (sync.state, sync.synced.person_created),
                (SyncState::Success, false),
                "{crm} {typed}"
            );
            assert_eq!(desk.people(crm).len(), 1, "{crm} {typed}");
            assert_eq!(sync.synced.person.unwrap().kind, PersonKind::Contact, "{crm} {typed}");
        }
    }
    // Salesforce's and HubSpot's own indexes know more spellings than anybody can list.
    for crm in [Crm::Salesforce, Crm::HubSpot] {
        let desk = Desk::with(crm).await;
        desk.fakes.crm_set(vendor(crm), "record", &contact(crm, "(415) 555 - 12 34")).unwrap();
        desk.call(CALLER).await;
        desk.work().await;
        assert_eq!(desk.people(crm).len(), 1, "{crm}");
    }
}

#[tokio::test]
async fn a_crm_that_is_down_for_an_hour_loses_nothing_and_doubles_nothing() {
    for crm in Crm::ALL {
        let desk = Desk::with(crm).await;
        fail(&desk, &format!("/{}", crm.as_str()), 1_000, "status=503");
        let calls = 5;
        for n in 0..calls {
            desk.call(&format!("+1415555{:04}", 1_000 + n)).await;
            desk.work().await;
        }
        for _ in 0..60 {
            desk.pass(Duration::from_secs(60));
            desk.work().await;
        }
        let syncs = desk.syncs(crm).await;
        assert_eq!(states(&syncs), [SyncState::Pending; 5], "{crm}");
        let shown = syncs.iter().find_map(|sync| sync.reason.as_deref()).unwrap();
        assert!(shown.contains("503"), "{crm}: {shown}");
        let asked = desk.fakes.requests().len();
        assert!(asked < 120, "{crm}: {asked} requests in an hour are too many for one that is down");
        desk.fakes.forget_faults();
        desk.pass(Duration::from_secs(800));
        desk.work().await;
        let syncs = desk.syncs(crm).await;
        assert_eq!(states(&syncs), [SyncState::Success; 5], "{crm}: {syncs:#?}");
        assert_eq!((desk.people(crm).len(), desk.activities(crm).len()), (calls, calls), "{crm}");
    }
}

#[tokio::test]
async fn who_asks_to_be_left_alone_is_left_alone_by_all_of_the_lane() {
    for crm in [Crm::HubSpot, Crm::Dynamics] {
        let desk = Desk::with(crm).await;
        desk.fakes.crm_set(vendor(crm), "habits", &json!({"retry_after_s": 120})).unwrap();
        desk.call(CALLER).await;
        desk.call("+14155550000").await;
        fail(&desk, &format!("/{}", crm.as_str()), 1, "status=429");
        desk.work().await;
        let asked = desk.fakes.requests().len();
        desk.pass(Duration::from_secs(115));
        desk.work().await;
        assert_eq!(desk.fakes.requests().len(), asked, "{crm}");
        desk.pass(Duration::from_secs(10));
        desk.work().await;
        assert_eq!(states(&desk.syncs(crm).await), [SyncState::Success; 2], "{crm}");
    }
    // An org whose requests of the day are used up.
    let desk = Desk::with(Crm::Salesforce).await;
    desk.call(CALLER).await;
    fail(&desk, "/salesforce/services/data", 1, "status=403");
    desk.work().await;
    desk.pass(Duration::from_secs(14 * 60));
    desk.work().await;
    let sync = desk.syncs(Crm::Salesforce).await.remove(0);
    assert_eq!(sync.state, SyncState::Pending);
    assert!(sync.reason.unwrap().contains("REQUEST_LIMIT_EXCEEDED"));
    desk.pass(Duration::from_secs(120));
    desk.work().await;
    assert_eq!(states(&desk.syncs(Crm::Salesforce).await), [SyncState::Success]);
}

#[tokio::test]
async fn who_dies_while_a_person_is_created_creates_none_twice() {
    for crm in Crm::ALL {
        let desk = Desk::with(crm).await;
        desk.fakes.crm_set(vendor(crm), "habits", &json!({"lag_ms": 20_000})).unwrap();
        desk.call(CALLER).await;
        fail(&desk, &format!("{}/search", paths(Crm::HubSpot).0), 2, "latency=0ms");
        fail(&desk, paths(crm).0, if crm == Crm::Dynamics { 2 } else { 1 }, "lost");
        if crm == Crm::Dynamics {
            // Of leads there is a search first, at the same path.
            desk.fakes.forget_faults();
            fail(&desk, "/dynamics/api/data/v9.2/leads", 1, "latency=0ms");
            fail(&desk, "/dynamics/api/data/v9.2/leads", 1, "lost");
        }
        desk.work_and_die_once(|fakes| {
            fakes.crm_state(vendor(crm))["records"].as_array().is_some_and(|records| !records.is_empty())
        })
        .await;
        desk.fakes.forget_faults();
        desk.work().await;
        // By then a search knows of it.
        desk.fakes.crm_set(vendor(crm), "habits", &json!({"lag_ms": 0})).unwrap();
        desk.pass(Duration::from_secs(40));
        desk.work().await;
        let syncs = desk.syncs(crm).await;
        assert_eq!(states(&syncs), [SyncState::Success], "{crm}: {syncs:#?}");
        assert!(syncs[0].synced.person_created, "{crm}");
        assert_eq!((desk.people(crm).len(), desk.activities(crm).len()), (1, 1), "{crm}");
    }
}

#[tokio::test]
async fn who_dies_while_a_call_is_logged_logs_it_once() {
    for crm in Crm::ALL {
        let desk = Desk::with(crm).await;
        desk.call(CALLER).await;
        fail(&desk, paths(crm).1, 1, "lost");
        desk.work_and_die_once(|fakes| {
            let state = fakes.crm_state(vendor(crm));
            let kinds = ["Task", "calls", "phonecalls"];
            state["records"]
                .as_array()
                .unwrap()
                .iter()
                .any(|one| kinds.iter().any(|kind| one["type"] == *kind))
        })
        .await;
        desk.work().await;
        let syncs = desk.syncs(crm).await;
        assert_eq!(states(&syncs), [SyncState::Success], "{crm}: {syncs:#?}");
        let activities = desk.activities(crm);
        assert_eq!((desk.people(crm).len(), activities.len()), (1, 1), "{crm}");
        assert_eq!(syncs[0].synced.activity.as_deref(), activities[0]["id"].as_str(), "{crm}");
        if crm == Crm::Dynamics {
            assert_eq!(activities[0]["fields"]["statecode"], 1, "and the step after it is done");
        }
    }
}

#[tokio::test]
async fn a_fault_of_one_request_lets_the_others_by() {
    for crm in Crm::ALL {
        let desk = Desk::with(crm).await;
        desk.call(CALLER).await;
        desk.call("+14155550000").await;
        fail(&desk, paths(crm).1, 1, "status=500");
        desk.work().await;
        assert_eq!(states(&desk.syncs(crm).await), [SyncState::Pending, SyncState::Success], "{crm}");
        desk.pass(Duration::from_secs(3));
        desk.work().await;
        let syncs = desk.syncs(crm).await;
        assert_eq!(states(&syncs), [SyncState::Success; 2], "{crm}: {syncs:#?}");
        assert_eq!((syncs[0].tries, syncs[1].tries, desk.activities(crm).len()), (2, 1, 2), "{crm}");
    }
}

#[tokio::test]
async fn what_a_crm_will_not_do_is_given_up_with_its_reason_and_can_be_tried_again() {
    for crm in Crm::ALL {
        let desk = Desk::with(crm).await;
        desk.call(CALLER).await;
        desk.call("+14155550000").await;
        fail(&desk, paths(crm).1, 1, "status=400");
        desk.work().await;
        let syncs = desk.syncs(crm).await;
        assert_eq!(states(&syncs), [SyncState::Error, SyncState::Success], "{crm}");
        assert!(syncs[0].reason.as_ref().unwrap().contains("400"), "{crm}: {:?}", syncs[0].reason);
        assert!(!desk.store.retry_sync("somebody else", &syncs[0].id, desk.now()).await.unwrap());
        assert!(desk.store.retry_sync(&desk.owner, &syncs[0].id, desk.now()).await.unwrap());
        desk.work().await;
        assert_eq!(states(&desk.syncs(crm).await), [SyncState::Success; 2], "{crm}");
        assert_eq!((desk.people(crm).len(), desk.activities(crm).len()), (2, 2), "{crm}");
    }
}

#[tokio::test]
async fn a_person_who_was_deleted_meanwhile_is_looked_for_anew() {
    for crm in Crm::ALL {
        let desk = Desk::with(crm).await;
        desk.call(CALLER).await;
        // Found or created, and then the CRM has a fault.
        fail(&desk, paths(crm).1, 1, "status=500");
        desk.work().await;
        let person = desk.people(crm).remove(0);
        desk.fakes.crm_set(vendor(crm), "remove", &json!({"id": person["id"]})).unwrap();
        for _ in 0..3 {
            desk.pass(Duration::from_secs(60));
            desk.work().await;
        }
        let syncs = desk.syncs(crm).await;
        assert_eq!(states(&syncs), [SyncState::Success], "{crm}: {syncs:#?}");
        assert_eq!((desk.people(crm).len(), desk.activities(crm).len()), (1, 1), "{crm}");
    }
}

#[tokio::test]
async fn a_withheld_number_and_a_lost_connection_are_told() {
    for crm in Crm::ALL {
        let desk = Desk::with(crm).await;
        desk.call("anonymous").await;
        desk.work().await;
        desk.call(CALLER).await;
        fail(&desk, &format!("/{}", crm.as_str()), 1, "status=503");
        desk.work().await;
        desk.crms.disconnect(&desk.owner, crm).await.unwrap();
        desk.pass(Duration::from_secs(60));
        desk.work().await;
        let syncs = desk.syncs(crm).await;
        assert_eq!(states(&syncs), [SyncState::Error; 2], "{crm}");
        assert!(syncs[0].reason.as_ref().unwrap().contains("withheld"), "{crm}");
        assert!(syncs[1].reason.as_ref().unwrap().contains("not connected"), "{crm}");
        desk.call(CALLER).await;
        desk.work().await;
        assert_eq!(desk.syncs(crm).await.len(), 2, "{crm}: nothing is connected any more");
    }
}

#[tokio::test]
async fn an_expired_token_is_renewed_in_the_middle_of_a_sync() {
    for crm in Crm::ALL {
        let desk = Desk::with(crm).await;
        desk.fakes.crm_set(vendor(crm), "habits", &json!({"refresh_token": "rotate"})).unwrap();
        for _ in 0..3 {
            desk.fakes.crm_set(vendor(crm), "expire", &json!(null)).unwrap();
            desk.call(CALLER).await;
            desk.work().await;
        }
        let syncs = desk.syncs(crm).await;
        assert_eq!(states(&syncs), [SyncState::Success; 3], "{crm}: {syncs:#?}");
        assert!(syncs.iter().all(|sync| sync.tries == 1), "{crm}");
        desk.fakes.crm_set(vendor(crm), "forget", &json!(null)).unwrap();
        desk.call(CALLER).await;
        desk.work().await;
        let last = desk.syncs(crm).await.pop().unwrap();
        assert_eq!(last.state, SyncState::Error, "{crm}");
        assert!(last.reason.unwrap().contains("connected anew"), "{crm}");
    }
}
