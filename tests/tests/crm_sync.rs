//! Calls that end are put into the CRMs of whom they belong to, over real sockets: also while a CRM is down, and through the death
//! of the process.

use std::time::Duration;

use hyper::Method;
use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use offhook_tests::crm::{self, CRMS, activities, come_back, connect, consented, people};
use offhook_tests::dashboard::{BASE, User};
use offhook_tests::desk::JWT_SECRET;
use offhook_tests::server::PATIENCE;
use offhook_tests::{RawCall, Server};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const FLAGS: [&str; 2] = ["--speech", "keypad"];
const OWNER: &str = "owner@example.com";
const CALLER: &str = "+15005550009";

/// What a server is told, whose calls on nobody's line are those of [`OWNER`], and which tries again at once.
fn variables(fakes: &FakeVendors) -> Vec<(String, String)> {
    let mut variables = crm::variables(fakes);
    for (name, value) in [
        ("OFFHOOK_JWT_SECRET", JWT_SECRET),
        ("OFFHOOK_CALLS_OWNER", OWNER),
        ("OFFHOOK_RETRY_MS", "50"),
        ("OFFHOOK_HUBSPOT_SEARCH_LAG_MS", "50"),
    ] {
        variables.push((name.to_owned(), value.to_owned()));
    }
    variables
}

fn borrowed(variables: &[(String, String)]) -> Vec<(&str, &str)> {
    variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

async fn server(fakes: &FakeVendors) -> Server {
    Server::start_with(&FLAGS, &borrowed(&variables(fakes))).await
}

/// A call, from its beginning to its end.
async fn call(server: &Server) -> String {
    let mut call = RawCall::open(server).await;
    call.listen_to_turn().await;
    call.hang_up().await;
    let record = server.record(&call.call_sid).await;
    record["id"].as_str().expect("a record has an id").to_owned()
}

/// Waits until it is so.
async fn until(what: &str, so: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < give_up, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ends_is_put_into_each_connected_crm_and_its_row_is_its_owners_alone() {
    let fakes = FakeVendors::start().await;
    let server = server(&fakes).await;
    let (owner, other) = (User::named(&server, OWNER).await, User::new(&server).await);
    for (crm, _) in CRMS {
        connect(&owner, crm).await;
        connect(&other, crm).await;
        let status = owner.get(&format!("/api/{crm}/status")).await;
        assert_eq!(status["connected"], true, "{crm}: {status}");
    }
    let id = call(&server).await;
    for (crm, vendor) in CRMS {
        let path = format!("/api/{crm}/sync-logs");
        let rows = owner.get_when(&path, |rows| rows[0].is_object()).await;
        let (person, activity) = (people(&fakes, vendor).remove(0), activities(&fakes, vendor).remove(0));
        let row = rows[0].as_object().unwrap();
        let mut wanted = json!({
            "id": row["id"], "call_id": id, "status": "success", "phone_number": CALLER,
            "created_at": row["created_at"],
        });
        match crm {
            "salesforce" => wanted["lead_id"] = person["id"].clone(),
            "hubspot" => {
                wanted["contact_id"] = person["id"].clone();
                wanted["engagement_id"] = activity["id"].clone();
            }
            _ => {
                wanted["dynamics_record_id"] = person["id"].clone();
                wanted["dynamics_activity_id"] = activity["id"].clone();
                wanted["lead_created"] = true.into();
            }
        }
        assert_eq!(rows[0], wanted, "{crm}");
        assert!(row["created_at"].as_i64().unwrap() > 1_700_000_000, "{crm}: seconds");
        assert_eq!(activity["of"], json!([person["id"]]), "{crm}");
        assert!(activity["fields"].to_string().contains(&id), "{crm}: {activity}");
        assert_eq!((people(&fakes, vendor).len(), activities(&fakes, vendor).len()), (1, 1), "{crm}");
        assert_eq!(other.get(&path).await, json!([]), "{crm}");
    }
    // A second call of the same person's.
    let id = call(&server).await;
    for (crm, vendor) in CRMS {
        owner.get_when(&format!("/api/{crm}/sync-logs"), |rows| rows[0]["call_id"] == *id).await;
        assert_eq!((people(&fakes, vendor).len(), activities(&fakes, vendor).len()), (1, 2), "{crm}");
    }
    assert!(!server.log().iter().any(|line| line.contains("access-") || line.contains("refresh-")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crm_that_is_down_slows_no_call_and_has_all_of_them_when_it_is_back() {
    let fakes = FakeVendors::start().await;
    let server = server(&fakes).await;
    let owner = User::named(&server, OWNER).await;
    for (crm, _) in CRMS {
        connect(&owner, crm).await;
        fakes.fail(&format!("/{crm}"), 1_000_000, Fault::parse("status=503").unwrap());
    }
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(call(&server).await);
    }
    for (crm, _) in CRMS {
        let path = format!("/v1/sync-logs?crm={crm}");
        let failing = |rows: &Value| rows.as_array().unwrap().iter().any(|row| row["reason"].is_string());
        let rows = owner.get_when(&path, failing).await;
        assert_eq!(rows.as_array().unwrap().len(), 3, "{crm}");
        assert!(rows.as_array().unwrap().iter().all(|row| row["status"] == "pending"), "{crm}: {rows}");
        assert!(rows.to_string().contains("503"), "{crm}: {rows}");
        assert_eq!(owner.get(&format!("/api/{crm}/sync-logs")).await, json!([]), "{crm}: nothing is done");
    }
    fakes.forget_faults();
    for (crm, vendor) in CRMS {
        let all = |rows: &Value| rows.as_array().unwrap().len() == 3;
        let rows = owner.get_when(&format!("/api/{crm}/sync-logs"), all).await;
        assert!(rows.as_array().unwrap().iter().all(|row| row["status"] == "success"), "{crm}: {rows}");
        assert_eq!((people(&fakes, vendor).len(), activities(&fakes, vendor).len()), (1, 3), "{crm}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_between_two_steps_goes_on_there_and_doubles_nothing() {
    let fakes = FakeVendors::start().await;
    let variables = variables(&fakes);
    let mut server = Server::start_with(&FLAGS, &borrowed(&variables)).await;
    let data = server.data();
    let owner = User::named(&server, OWNER).await;
    for (crm, _) in CRMS {
        connect(&owner, crm).await;
    }
    let token = owner.token.clone();
    // What is asked for is done, and nobody hears of it: a person in one, an activity in the others.
    for path in [
        "/salesforce/services/data/v59.0/sobjects/Lead",
        "/hubspot/crm/v3/objects/calls",
        "/dynamics/api/data/v9.2/phonecalls",
    ] {
        fakes.fail(path, 1, Fault::parse("lost").unwrap());
    }
    let id = call(&server).await;
    until("the person and the activities are made", || {
        !people(&fakes, Vendor::Salesforce).is_empty()
            && !activities(&fakes, Vendor::HubSpot).is_empty()
            && !activities(&fakes, Vendor::Dynamics).is_empty()
    })
    .await;
    drop(owner);
    server.kill();
    drop(server);

    let server = Server::start_on(data, &FLAGS, &borrowed(&variables)).await;
    let owner = User { server: &server, token, email: OWNER.into() };
    for (crm, vendor) in CRMS {
        let rows = owner.get_when(&format!("/api/{crm}/sync-logs"), |rows| rows[0].is_object()).await;
        assert_eq!(
            (&rows[0]["status"], &rows[0]["call_id"]),
            (&json!("success"), &json!(id)),
            "{crm}: {rows}"
        );
        assert_eq!((people(&fakes, vendor).len(), activities(&fakes, vendor).len()), (1, 1), "{crm}");
    }
    assert_eq!(activities(&fakes, Vendor::Dynamics)[0]["fields"]["statecode"], 1, "and completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crm_refuses_is_shown_with_its_reason_and_can_be_tried_again_by_its_owner() {
    let fakes = FakeVendors::start().await;
    let server = server(&fakes).await;
    let (owner, other) = (User::named(&server, OWNER).await, User::new(&server).await);
    connect(&owner, "hubspot").await;
    fakes.fail("/hubspot/crm/v3/objects/calls", 1, Fault::parse("status=400").unwrap());
    call(&server).await;
    let rows = owner.get_when("/api/hubspot/sync-logs", |rows| rows[0].is_object()).await;
    assert_eq!((&rows[0]["status"], &rows[0]["engagement_id"]), (&json!("error"), &Value::Null));
    let told = owner.get("/v1/sync-logs?crm=hubspot").await;
    assert!(told[0]["reason"].as_str().unwrap().contains("VALIDATION_ERROR"), "{told}");
    let path = format!("/v1/sync-logs/{}/retry", told[0]["id"].as_str().unwrap());
    assert_eq!(other.ask(Method::POST, &path, &Value::Null).await.status, 404);
    assert_eq!(owner.ask(Method::POST, &path, &Value::Null).await.status, 200);
    owner.get_when("/api/hubspot/sync-logs", |rows| rows[0]["status"] == "success").await;
    assert_eq!(owner.ask(Method::POST, &path, &Value::Null).await.status, 404, "it is done");
    assert_eq!(activities(&fakes, Vendor::HubSpot).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn states_instances_and_tokens_that_are_none_of_ones_own_are_refused() {
    let fakes = FakeVendors::start().await;
    let server = server(&fakes).await;
    let (owner, other) = (User::named(&server, OWNER).await, User::new(&server).await);
    let refused = |answer: offhook_tests::Answer, word: &str| {
        let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 400 && error.contains(word), "{word}: {} {}", answer.status, answer.text());
    };
    for (crm, _) in CRMS {
        let path = consented(&owner, crm).await;
        let shown = [("authorization", format!("Bearer {}", other.token))];
        let shown = shown.each_ref().map(|(name, value)| (*name, value.as_str()));
        refused(server.ask(Method::GET, &path, &shown, "").await, "another user");
        refused(come_back(&server, &path).await, "state");
        let path = consented(&owner, crm).await;
        assert_eq!(come_back(&server, &path).await.status, 200, "{crm}");
        refused(come_back(&server, &path).await, "state");
        let elsewhere = if crm == "hubspot" { "salesforce" } else { "hubspot" };
        let path = consented(&owner, crm).await.replace(crm, elsewhere);
        refused(come_back(&server, &path).await, "state");
        refused(
            come_back(&server, &format!("{BASE}/api/{crm}/oauth/callback?error=access_denied")).await,
            "consent",
        );
        let huge = format!("{BASE}/api/{crm}/oauth/callback?code=c&state={}", "x".repeat(4_000));
        refused(come_back(&server, &huge).await, "state");
        let connected = other.get(&format!("/api/{crm}/status")).await;
        assert_eq!(connected["connected"], false, "{crm}");

        let gone = owner.does(Method::DELETE, &format!("/api/{crm}/disconnect"), Value::Null).await;
        assert_eq!(gone["success"], true, "{crm}");
        assert_eq!(owner.get(&format!("/api/{crm}/status")).await["connected"], false, "{crm}");
    }
    for url in [
        "",
        "https%3A%2F%2Fevil.example",
        "https%3A%2F%2Forgname.crm.dynamics.com.evil.example",
        "http%3A%2F%2Forgname.crm.dynamics.com",
        "https%3A%2F%2F169.254.169.254",
        "%00",
    ] {
        let path = format!("/api/dynamics/oauth/initiate?instanceUrl={url}");
        refused(owner.ask(Method::GET, &path, &Value::Null).await, "instanceUrl");
    }
    refused(owner.ask(Method::GET, "/v1/sync-logs?crm=sugar", &Value::Null).await, "crm");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_clients_the_routes_say_so() {
    let server = Server::start_with(&FLAGS, &[("OFFHOOK_JWT_SECRET", JWT_SECRET)]).await;
    let user = User::new(&server).await;
    for (crm, _) in CRMS {
        let answer = user.ask(Method::GET, &crm::initiate_path(crm), &Value::Null).await;
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(answer.status == 503 && error.contains("CLIENT_ID"), "{crm}: {error}");
        assert_eq!(user.get(&format!("/api/{crm}/status")).await["connected"], false, "{crm}");
        assert_eq!(user.get(&format!("/api/{crm}/sync-logs")).await, json!([]), "{crm}");
    }
}
