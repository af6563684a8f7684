//! CRMs as the dashboard's users have them: doubles of the three, and a browser in which they are connected.

use hyper::Method;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use serde_json::Value;

use crate::dashboard::{BASE, User};
use crate::desk::consent;
use crate::server::{Answer, Server};

/// An instance of Dynamics.
pub const INSTANCE: &str = "https://orgname.crm.dynamics.com";

/// The CRMs: their names in paths, and their doubles.
pub const CRMS: [(&str, Vendor); 3] =
    [("salesforce", Vendor::Salesforce), ("hubspot", Vendor::HubSpot), ("dynamics", Vendor::Dynamics)];

/// The variables of a server with a client at each double.
pub fn variables(fakes: &FakeVendors) -> Vec<(String, String)> {
    let of = |(name, vendor): (&str, Vendor)| {
        let name = name.to_uppercase();
        [
            (format!("OFFHOOK_{name}_BASE_URL"), fakes.base_url(vendor)),
            (format!("{name}_CLIENT_ID"), "cid".to_owned()),
            (format!("{name}_CLIENT_SECRET"), "the-secret-of-cid".to_owned()),
        ]
    };
    CRMS.into_iter().flat_map(of).collect()
}

/// The path that begins to connect a CRM.
pub fn initiate_path(crm: &str) -> String {
    let query = if crm == "dynamics" { format!("?instanceUrl={INSTANCE}") } else { String::new() };
    format!("/api/{crm}/oauth/initiate{query}")
}

/// Consents at a CRM; the path and query that the browser comes back with.
pub async fn consented(user: &User<'_>, crm: &str) -> String {
    let begun = user.get(&initiate_path(crm)).await;
    let url = begun["authUrl"].as_str().expect("there is a URL");
    format!("{BASE}/api/{crm}/oauth/callback?{}", consent(url).await)
}

/// Comes back.
pub async fn come_back(server: &Server, path: &str) -> Answer {
    server.ask(Method::GET, path, &[], "").await
}

/// Connects a user's CRM.
pub async fn connect(user: &User<'_>, crm: &str) {
    let path = consented(user, crm).await;
    let answer = come_back(user.server, &path).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The records of a double of these kinds.
pub fn records(fakes: &FakeVendors, vendor: Vendor, kinds: &[&str]) -> Vec<Value> {
    let state = fakes.crm_state(vendor);
    let records = state["records"].as_array().expect("there are records").iter();
    records.filter(|record| kinds.iter().any(|kind| record["type"] == *kind)).cloned().collect()
}

/// The people in a double.
pub fn people(fakes: &FakeVendors, vendor: Vendor) -> Vec<Value> {
    records(fakes, vendor, &["Lead", "Contact", "contacts", "leads"])
}

/// The calls that are logged in a double.
pub fn activities(fakes: &FakeVendors, vendor: Vendor) -> Vec<Value> {
    records(fakes, vendor, &["Task", "calls", "phonecalls"])
}
