//! What goes out when a call has ended: which CRMs can be connected, and how what fails is tried again.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use super::SettingsError;
use super::agent::BaseUrl;
use super::frontdesk::Page;
use super::layers::Layers;
use super::values::{Millis, Secret, Switch};

/// The wait after the first failure, where nothing else is set.
const RETRY: Duration = Duration::from_secs(2);

/// A CRM as settings know it.
struct Vendor {
    name: &'static str,
    base: &'static str,
    options: &'static [&'static str],
}

const SALESFORCE: Vendor = Vendor {
    name: "salesforce",
    base: "https://login.salesforce.com",
    options: &["api_version", "lead_source", "task_status", "task_priority"],
};
const HUBSPOT: Vendor =
    Vendor { name: "hubspot", base: "https://api.hubapi.com", options: &["token_path", "search_lag_ms"] };
const DYNAMICS: Vendor = Vendor {
    name: "dynamics",
    base: "https://login.microsoftonline.com",
    options: &["tenant", "api_version", "completed_state", "received_status", "made_status"],
};

/// Their names and what their tables in the file may have, beside the address.
pub(super) const TABLES: [(&str, &[&str]); 3] = [
    (
        SALESFORCE.name,
        &["client_id", "client_secret", "api_version", "lead_source", "task_status", "task_priority"],
    ),
    (HUBSPOT.name, &["client_id", "client_secret", "token_path", "search_lag_ms"]),
    (
        DYNAMICS.name,
        &[
            "client_id",
            "client_secret",
            "tenant",
            "api_version",
            "completed_state",
            "received_status",
            "made_status",
        ],
    ),
];

/// The client that an operator registered with one CRM.
#[derive(Clone, Debug)]
pub struct CrmClientSettings {
    /// Where people consent and tokens are given; for HubSpot, where its API is. Default: the vendor's own.
    pub base: BaseUrl,
    /// The client's id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    vendors_base: &'static str,
    options: BTreeMap<&'static str, String>,
}

impl CrmClientSettings {
    /// An option by its name; none if it was not set.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Whether it is asked where the vendor is. If not, all of its hosts are at the base.
    pub fn is_vendors_base(&self) -> bool {
        self.base.to_string() == self.vendors_base
    }
}

/// All that goes out when a call has ended.
#[derive(Clone, Debug)]
pub struct CrmSettings {
    /// Salesforce's client. Default none: nobody can connect it.
    pub salesforce: Option<CrmClientSettings>,
    /// HubSpot's. Likewise.
    pub hubspot: Option<CrmClientSettings>,
    /// Dynamics 365's. Likewise.
    pub dynamics: Option<CrmClientSettings>,
    /// The page that a browser is sent to after a CRM was connected, with `?connected=` or `?error=`. Default none: it gets a
    /// sentence.
    pub page: Option<String>,
    /// Whether webhooks may go to addresses inside a network. Default false.
    pub allow_private_destinations: bool,
    /// How long is waited after the first failure; it grows from there. Default 2 s.
    pub retry: Duration,
}

impl Default for CrmSettings {
    fn default() -> Self {
        Self {
            salesforce: None,
            hubspot: None,
            dynamics: None,
            page: None,
            allow_private_destinations: false,
            retry: RETRY,
        }
    }
}

pub(super) fn read(layers: &Layers<'_>) -> Result<CrmSettings, SettingsError> {
    Ok(CrmSettings {
        salesforce: client(layers, &SALESFORCE)?,
        hubspot: client(layers, &HUBSPOT)?,
        dynamics: client(layers, &DYNAMICS)?,
        page: layers.read::<Page>("dashboard_page", None)?.map(|page| page.0),
        allow_private_destinations: layers
            .read::<Switch>("allow_private_destinations", None)?
            .is_some_and(|switch| switch.0),
        retry: layers.read::<Retry>("retry_ms", None)?.map_or(RETRY, |time| time.0),
    })
}

/// At least a millisecond: nobody is asked again at once.
struct Retry(Duration);

impl FromStr for Retry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Millis(time) = text.parse()?;
        if time.is_zero() { Err("write 1 or more, in ms".into()) } else { Ok(Self(time)) }
    }
}

fn client(layers: &Layers<'_>, vendor: &Vendor) -> Result<Option<CrmClientSettings>, SettingsError> {
    let Vendor { name, base, options } = vendor;
    let upper = name.to_uppercase();
    let id = layers.plain(&format!("{name}_client_id"), &format!("{upper}_CLIENT_ID"));
    let secret = layers.secret(&format!("{name}_client_secret"), &format!("{upper}_CLIENT_SECRET"));
    let (client_id, client_secret) = match (id, secret) {
        (Some(id), Some(secret)) => (id, secret),
        (None, None) => return Ok(None),
        _ => {
            return Err(SettingsError::Together(format!(
                "{upper}_CLIENT_ID and {upper}_CLIENT_SECRET go together: both stand beside the app that was registered there."
            )));
        }
    };
    let option = |option: &&'static str| {
        let given = layers.text(&format!("{name}_{option}"), None)?;
        Some((*option, given.text.trim().to_owned())).filter(|(_, text)| !text.is_empty())
    };
    Ok(Some(CrmClientSettings {
        base: layers
            .read(&format!("{name}_base_url"), None)?
            .unwrap_or_else(|| base.parse().expect("the vendors' own addresses can be read")),
        client_id,
        client_secret,
        vendors_base: base,
        options: options.iter().filter_map(option).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_crm_is_there_with_both_halves_of_its_client() {
        let none = Settings::from_text("").unwrap().crm;
        assert!(none.salesforce.is_none() && none.hubspot.is_none() && none.dynamics.is_none());
        let text = Settings::from_text("[vendors.hubspot]\nclient_id = 'a'").unwrap_err().to_string();
        assert!(text.contains("HUBSPOT_CLIENT_SECRET"), "{text}");
        let both = "[vendors.salesforce]\nclient_id = 'a'\nclient_secret = 'hush'\nlead_source = 'Web'";
        let settings = Settings::from_text(both).unwrap();
        let client = settings.crm.salesforce.as_ref().unwrap();
        assert!(client.is_vendors_base());
        assert_eq!((client.option("lead_source"), client.option("api_version")), (Some("Web"), None));
        assert!(!format!("{settings:?}").contains("hush"));
        let elsewhere = format!("{both}\nbase_url = 'http://127.0.0.1:9/salesforce'");
        let settings = Settings::from_text(&elsewhere).unwrap();
        assert!(!settings.crm.salesforce.unwrap().is_vendors_base());
        let text = Settings::from_text("[vendors.dynamics]\nnothing = 'a'").unwrap_err().to_string();
        assert!(text.contains("completed_state"), "{text}");
    }

    #[test]
    fn nothing_is_tried_again_at_once() {
        assert_eq!(Settings::from_text("retry_ms = 50").unwrap().crm.retry, Duration::from_millis(50));
        assert!(Settings::from_text("retry_ms = 0").is_err());
    }

    #[test]
    fn what_tables_may_have_is_what_is_read() {
        for (vendor, (name, keys)) in [SALESFORCE, HUBSPOT, DYNAMICS].iter().zip(TABLES) {
            assert_eq!((vendor.name, vendor.options), (name, &keys[2..]));
        }
    }
}
