//! What FrontDesk needs beside the calls: who may sign in where, and who pays.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::SettingsError;
use super::layers::Layers;
use super::values::{PublicUrl, Secret};

/// The client that an operator registered with Google.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoogleClient {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
}

/// Seconds of call by what is paid: a price's id (`price_…`), or an amount in the smallest unit of a currency (`usd:1000`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices(pub BTreeMap<String, u32>);

impl FromStr for Prices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = "write what is paid and the seconds it buys, separated by commas: usd:1000=3600, price_1AbC=36000";
        let price = |item: &str| {
            let (paid, seconds) = item.split_once('=')?;
            let seconds = seconds.trim().parse().ok().filter(|seconds| *seconds > 0)?;
            Some((paid.trim().to_lowercase(), seconds))
        };
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(price).collect::<Option<_>>().map(Self).ok_or_else(|| help.to_owned())
    }
}

/// Origins of web pages, separated by commas.
#[derive(Default)]
struct Origins(Vec<PublicUrl>);

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let help = |_| "write origins, separated by commas, such as https://app.example.com".to_owned();
        items.map(|item| item.parse().map_err(help)).collect::<Result<_, _>>().map(Self)
    }
}

/// A page, with its path.
pub(super) struct Page(pub(super) String);

impl FromStr for Page {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let authority = rest.and_then(|rest| rest.split(['/', '?']).next());
        let fits = authority.is_some_and(super::is_authority)
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\"'<>\\".contains(&byte));
        fits.then(|| Self(text.to_owned()))
            .ok_or_else(|| "write the URL of a page, such as https://app.example.com/signed-in".to_owned())
    }
}

/// All that FrontDesk needs.
#[derive(Clone, Debug, Default)]
pub struct FrontDeskSettings {
    /// Who asks people for their consent. Default none: nobody can sign in.
    pub google: Option<GoogleClient>,
    /// What Stripe signs its webhooks with. Default none: they are refused, and owners set their balance by hand.
    pub stripe_secret: Option<Secret>,
    /// What is bought by what is paid. Default none: only what says its seconds itself.
    pub prices: Prices,
    /// The e-mail addresses, in lower case, of those who see all. Default none.
    pub admins: Vec<String>,
    /// The page that a browser is sent to with its token after it signed in. Default none: it gets JSON.
    pub page: Option<String>,
    /// The origins of web pages that may ask. Default: any in development, none in production.
    pub origins: Vec<PublicUrl>,
}

pub(super) fn read(layers: &Layers<'_>) -> Result<FrontDeskSettings, SettingsError> {
    let id = layers.plain("google_client_id", "GOOGLE_CLIENT_ID");
    let secret = layers.secret("google_client_secret", "GOOGLE_CLIENT_SECRET");
    let google = match (id, secret) {
        (Some(id), Some(secret)) => Some(GoogleClient { id, secret }),
        (None, None) => None,
        _ => {
            return Err(SettingsError::Together(
                "GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET go together: both stand beside the client in Google's console."
                    .into(),
            ));
        }
    };
    let admins = layers.text("admin_emails", None).map(|given| given.text).unwrap_or_default();
    let admins = admins.split(',').map(|email| email.trim().to_lowercase());
    Ok(FrontDeskSettings {
        google,
        stripe_secret: layers.secret("stripe_webhook_secret", "STRIPE_WEBHOOK_SECRET"),
        prices: layers.read("stripe_prices", None)?.unwrap_or_default(),
        admins: admins.filter(|email| !email.is_empty()).collect(),
        page: layers.read::<Page>("frontdesk_page", None)?.map(|page| page.0),
        origins: layers.read::<Origins>("frontdesk_origins", None)?.unwrap_or_default().0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn prices_are_what_is_paid_and_the_seconds_for_it() {
        let prices: Prices = "usd:1000=3600, price_1AbC=60,".parse().unwrap();
        assert_eq!((prices.0["usd:1000"], prices.0["price_1abc"]), (3_600, 60));
        for bad in ["usd:1000", "usd:1000=", "usd:1000=0", "usd:1000=-1", "usd:1000=an hour"] {
            assert!(bad.parse::<Prices>().unwrap_err().contains("usd:1000=3600"), "{bad}");
        }
    }

    #[test]
    fn a_page_is_a_url_that_a_fragment_can_be_put_to() {
        for good in ["https://app.example.com", "http://127.0.0.1:3000/in?a=b"] {
            assert!(good.parse::<Page>().is_ok(), "{good}");
        }
        for bad in
            ["app.example.com", "javascript:alert(1)", "https://a/#b", "https://a/\" onload=\"", "https:///x"]
        {
            assert!(bad.parse::<Page>().is_err(), "{bad}");
        }
    }

    #[test]
    fn half_a_client_is_told() {
        let text = Settings::from_text("[vendors.google]\nclient_id = 'a'").unwrap_err().to_string();
        assert!(text.contains("GOOGLE_CLIENT_SECRET"), "{text}");
        let both = Settings::from_text("[vendors.google]\nclient_id = 'a'\nclient_secret = 'b'").unwrap();
        assert_eq!(both.frontdesk.google.unwrap().id, "a");
    }
}
