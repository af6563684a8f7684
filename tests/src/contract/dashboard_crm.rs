//! The dashboard's CRMs and outbound webhooks.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::dashboard::{bad_pages, json_bodies, send, token, until_there};
use super::system::{Case, Later, Site, complaint};
use crate::crm::INSTANCE;
use crate::dashboard::{doubles, report};
use crate::desk::consent;
use crate::http::Ask;
use crate::server::Answer;

/// Where browsers are sent on to.
const PAGE: &str = "https://app.example.com/crm";

/// A destination that nobody is at, by RFC 2606.
const DESTINATION: &str = "https://hooks.example.invalid/webhook";

/// What a server needs for them.
pub(super) fn variables() -> Vec<(&'static str, &'static str)> {
    let crms = doubles().crms.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    crms.chain([("OFFHOOK_DASHBOARD_PAGE", PAGE)]).collect()
}

/// A CRM, by its name in paths.
trait Crm {
    const NAME: &'static str;
    const TITLE: &'static str;
    const CALLBACK: &'static str;
    const LOGS: &'static str;
}

struct Salesforce;
struct HubSpot;
struct Dynamics;

impl Crm for Salesforce {
    const NAME: &'static str = "salesforce";
    const TITLE: &'static str = "Salesforce";
    const CALLBACK: &'static str = "dashboard.get.api_salesforce_oauth_callback";
    const LOGS: &'static str = "/api/salesforce/sync-logs";
}

impl Crm for HubSpot {
    const NAME: &'static str = "hubspot";
    const TITLE: &'static str = "HubSpot";
    const CALLBACK: &'static str = "dashboard.get.api_hubspot_oauth_callback";
    const LOGS: &'static str = "/api/hubspot/sync-logs";
}

impl Crm for Dynamics {
    const NAME: &'static str = "dynamics";
    const TITLE: &'static str = "Dynamics 365";
    const CALLBACK: &'static str = "dashboard.get.api_dynamics_oauth_callback";
    const LOGS: &'static str = "/api/dynamics/sync-logs";
}

/// How their endpoints are asked. `name`: of the endpoint, without the system.
pub(super) fn case(name: &str) -> Option<Case> {
    match name {
        "get.api_outbound_webhooks" => Some(Case {
            good: |site| {
                Box::pin(async {
                    token(site).await;
                    site.ask_for("dashboard.post.api_outbound_webhooks", new_webhook()).await;
                    Ask::get("")
                })
            },
            bad: || bad_pages("/api/outbound-webhooks"),
            ..Case::GET
        }),
        "post.api_outbound_webhooks" => Some(Case {
            good: |site| {
                Box::pin(async {
                    token(site).await;
                    new_webhook()
                })
            },
            bad: || {
                let with = |url: &str| json!({ "name": "n", "destinationUrl": url });
                json_bodies(&[
                    json!({ "name": "n" }),
                    json!({ "destinationUrl": DESTINATION }),
                    json!({ "name": "", "destinationUrl": DESTINATION }),
                    json!({ "name": 7, "destinationUrl": DESTINATION }),
                    json!({ "name": "n", "destinationUrl": 7 }),
                    json!({ "name": "n", "destinationUrl": DESTINATION, "events": 7 }),
                    json!({ "name": "n", "destinationUrl": DESTINATION, "events": "<b>" }),
                    with("example.com/webhook"),
                    with("ftp://example.com/webhook"),
                    with("http://127.0.0.1/webhook"),
                    with("http://localhost:9/webhook"),
                    with("http://[::1]/webhook"),
                    with("http://169.254.169.254/latest/meta-data"),
                    with("http://10.0.0.1/webhook"),
                    with("http://user:password@hooks.example.invalid/"),
                    with(&format!("{DESTINATION}/{}", "x".repeat(3_000))),
                ])
            },
            check: |site, _| {
                Box::pin(async {
                    let list =
                        json!({ "name": "n", "destination_url": DESTINATION, "events": ["call.ended", "x"] });
                    let ask = Ask::json("", list.to_string());
                    let made = site.ask_for("dashboard.post.api_outbound_webhooks", ask).await;
                    let events = made.json()["webhook"]["events"].clone();
                    complaint(events == "call.ended,x", || format!("the other spelling: {}", made.text()))
                })
            },
            ..Case::GET
        }),
        name => {
            let rest = name.strip_prefix("get.api_").or_else(|| name.strip_prefix("delete.api_"))?;
            let (crm, what) = rest.split_once('_')?;
            match crm {
                "salesforce" => crm_case::<Salesforce>(what),
                "hubspot" => crm_case::<HubSpot>(what),
                "dynamics" => crm_case::<Dynamics>(what),
                _ => None,
            }
        }
    }
}

fn new_webhook() -> Ask {
    let body = json!({ "name": "External Webhook", "destinationUrl": DESTINATION, "events": "call.ended" });
    Ask::json("", body.to_string())
}

fn crm_case<C: Crm>(what: &str) -> Option<Case> {
    Some(match what {
        "oauth_initiate" => Case {
            good: |site| {
                Box::pin(async {
                    token(site).await;
                    initiate::<C>()
                })
            },
            bad: || {
                let bad = [
                    "",
                    "?instanceUrl=",
                    "?instanceUrl=http://orgname.crm.dynamics.com",
                    "?instanceUrl=https://evil.example",
                ];
                let bad = bad.map(|query| (Ask::get(format!("/api/dynamics/oauth/initiate{query}")), 400));
                if C::NAME == "dynamics" { bad.into() } else { Vec::new() }
            },
            check: |site, answer| {
                Box::pin(async {
                    let url = answer.json()["authUrl"].as_str().unwrap_or_default().to_owned();
                    let query = url.split_once('?').map_or("", |(_, query)| query).as_bytes();
                    let fields: Vec<_> = form_urlencoded::parse(query).into_owned().collect();
                    let given: BTreeSet<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
                    let wanted =
                        ["client_id", "redirect_uri", "state", "scope", "response_type", "code_challenge"];
                    let back = format!("{}/api/{}/oauth/callback", site.base, C::NAME);
                    let returns =
                        fields.iter().any(|(name, value)| name == "redirect_uri" && value.ends_with(&back));
                    let right = returns && wanted.iter().all(|name| given.contains(name));
                    complaint(right, || format!("the URL lacks something: {url}"))
                })
            },
            ..Case::GET
        },
        "oauth_callback" => Case {
            good: |site| {
                Box::pin(async {
                    token(site).await;
                    consented::<C>(site).await
                })
            },
            bad: || {
                let path = |query: &str| Ask::get(format!("/api/{}/oauth/callback{query}", C::NAME));
                [path(""), path("?code=c"), path("?state=s"), path("?code=c&state=unknown")]
                    .map(|ask| (ask, 400))
                    .into()
            },
            check: |site, answer| {
                Box::pin(async {
                    let to = answer.header("location").to_owned();
                    let mut told = complaint(to == format!("{PAGE}?connected={}", C::NAME), || to);
                    let ask = consented::<C>(site).await;
                    site.ask(ask.clone()).await;
                    let again = site.ask(ask).await.status;
                    told.extend(complaint(again == 400, || format!("a state a second time: {again}")));
                    let denied = Ask::get(format!("/api/{}/oauth/callback?error=access_denied", C::NAME));
                    let to = site.ask(denied).await.header("location").to_owned();
                    told.extend(complaint(to == format!("{PAGE}?error=access_denied"), || to));
                    told
                })
            },
            once: true,
            ..Case::GET
        },
        "status" => Case {
            good: |site| {
                Box::pin(async {
                    token(site).await;
                    connect::<C>(site).await;
                    Ask::get("")
                })
            },
            check: |_, answer| {
                Box::pin(async {
                    let told = answer.json();
                    let whole =
                        told.as_object().is_some_and(|all| all.values().all(|value| !value.is_null()));
                    complaint(told["connected"] == true && whole, || format!("it is connected: {told}"))
                })
            },
            ..Case::GET
        },
        "disconnect" => Case {
            good: |site| {
                Box::pin(async {
                    token(site).await;
                    connect::<C>(site).await;
                    Ask::new(hyper::Method::DELETE, "")
                })
            },
            check: |site, answer| {
                Box::pin(async {
                    let wanted = json!({ "success": true, "message": format!("{} disconnected successfully", C::TITLE) });
                    let mut told = complaint(answer.json() == wanted, || answer.text().to_owned());
                    let ask = Ask::get(format!("/api/{}/status", C::NAME));
                    let status = site.ask(site.system.authorize(
                        site,
                        site.inventory.endpoint(&format!("dashboard.get.api_{}_status", C::NAME)),
                        super::system::Credentials::Right,
                        ask,
                    ));
                    let status = status.await.json();
                    let nulls = status.as_object().is_some_and(|all| {
                        all.iter().all(|(name, value)| {
                            (name == "connected") == (*value == json!(false))
                                && (name == "connected" || value.is_null())
                        })
                    });
                    told.extend(complaint(nulls, || format!("nothing is connected: {status}")));
                    told
                })
            },
            ..Case::GET
        },
        "sync_logs" => Case {
            good: |site| {
                Box::pin(async {
                    token(site).await;
                    connect::<C>(site).await;
                    static CALLS: AtomicU32 = AtomicU32::new(1);
                    let call = format!("sync-{}", CALLS.fetch_add(1, Ordering::Relaxed));
                    let ended =
                        report(&call, "Customer Support", "customer-ended-call", "Asked about pricing.");
                    send(site, &ended).await;
                    until_there(site, C::LOGS).await;
                    Ask::get("")
                })
            },
            bad: || bad_pages(C::LOGS),
            check: |_, answer| {
                Box::pin(async {
                    let rows = answer.json();
                    let right =
                        rows.as_array().is_some_and(|rows| rows.iter().any(|row| row["status"] == "success"));
                    complaint(right, || format!("no call was put there: {rows}"))
                })
            },
            ..Case::GET
        },
        _ => return None,
    })
}

fn initiate<C: Crm>() -> Ask {
    match C::NAME {
        "dynamics" => Ask::get(format!("/api/dynamics/oauth/initiate?instanceUrl={INSTANCE}")),
        _ => Ask::get(""),
    }
}

/// What a browser comes back with.
async fn consented<C: Crm>(site: &Site<'_>) -> Ask {
    let id = format!("dashboard.get.api_{}_oauth_initiate", C::NAME);
    let begun: Value = site.ask_for(&id, initiate::<C>()).await.json();
    let query = consent(begun["authUrl"].as_str().unwrap_or_default()).await;
    Ask::get(format!("/api/{}/oauth/callback?{query}", C::NAME))
}

fn connect<'a, C: Crm>(site: &'a Site<'a>) -> Later<'a, Answer> {
    Box::pin(async {
        let ask = consented::<C>(site).await;
        site.ask_for(C::CALLBACK, ask).await
    })
}
