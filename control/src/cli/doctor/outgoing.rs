//! What goes out when a call has ended: CRMs, webhooks.

use super::Finding;
use crate::integrations::crm::Crm;
use crate::integrations::dynamics::Dynamics;
use crate::integrations::hubspot::HubSpot;
use crate::integrations::salesforce::Salesforce;
use crate::settings::Settings;

/// What is configured of it.
pub(super) fn outgoing(settings: &Settings) -> Vec<Finding> {
    let crm = &settings.crm;
    let clients = [
        (Crm::Salesforce, crm.salesforce.as_ref().map(|settings| Salesforce::new(settings).map(drop))),
        (Crm::HubSpot, crm.hubspot.as_ref().map(|settings| HubSpot::new(settings).map(drop))),
        (Crm::Dynamics, crm.dynamics.as_ref().map(|settings| Dynamics::new(settings).map(drop))),
    ];
    let configured = clients.into_iter().filter_map(|(crm, client)| Some((crm, client?)));
    let mut findings: Vec<_> = configured.map(|(crm, client)| finding(settings, crm, client)).collect();
    if crm.allow_private_destinations {
        findings.push(Finding::note(
            "webhooks",
            "may go to addresses inside this network (OFFHOOK_ALLOW_PRIVATE_DESTINATIONS): whoever has an account can have \
             them asked",
        ));
    }
    findings
}

fn finding(settings: &Settings, crm: Crm, client: Result<(), String>) -> Finding {
    let path = format!("/dashboard/api/{}/oauth/callback", crm.as_str());
    match (client, &settings.public_url) {
        (Err(error), _) => Finding::fail("crm", error),
        (Ok(()), Some(url)) => Finding::ok(
            "crm",
            format!("{crm} can be connected; its app has to allow the redirect {url}{path}"),
        ),
        (Ok(()), None) => Finding::note(
            "crm",
            format!(
                "{crm} can be connected from this machine; for others set OFFHOOK_PUBLIC_URL, and have its app allow the \
                 redirect to {path} there"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn found(text: &str) -> Vec<(Verdict, String)> {
        let settings = Settings::from_text(text).unwrap();
        outgoing(&settings).into_iter().map(|finding| (finding.verdict, finding.text)).collect()
    }

    #[test]
    fn what_is_configured_is_told_with_the_redirect_to_allow() {
        const CLIENT: &str = "client_id = 'a'\nclient_secret = 'hush'";
        assert!(found("").is_empty());
        let public = format!("public_url = 'https://v.example'\n[vendors.hubspot]\n{CLIENT}");
        let told = found(&public);
        assert_eq!(told[0].0, Verdict::Ok);
        assert!(told[0].1.contains("https://v.example/dashboard/api/hubspot/oauth/callback"), "{told:?}");
        let told = found(&format!("[vendors.dynamics]\n{CLIENT}\nreceived_status = 'x'"));
        assert_eq!(told[0].0, Verdict::Fail);
        let told = found(&format!("allow_private_destinations = true\n[vendors.salesforce]\n{CLIENT}"));
        assert_eq!((told[0].0, told[1].0), (Verdict::Note, Verdict::Note));
        assert!(!told.iter().any(|(_, text)| text.contains("hush")));
    }
}
