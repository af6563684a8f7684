//! The telephone numbers of an account at Twilio, page by page, and whose a number is.
//!
//! `GET /2010-04-01/Accounts/{Sid}/IncomingPhoneNumbers.json?PageSize=…`; each page names the next one in `next_page_uri`, a path
//! of the same host. <https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource>, by the official SDK 9.13, read
//! 2026-11.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION};
use hyper::{Request, StatusCode};
use serde_json::Value;

use super::{basic, percent_encoded};
use crate::integrations::http::{HttpClient, Limits};
use crate::settings::{PublicUrl, Secret, TWILIO_API};

/// Numbers on one page.
const PAGE: u32 = 100;
/// Pages that are asked for: ten thousand numbers.
const PAGES_MAX: usize = 100;
/// What one page may cost: a number is some 1.5 KB.
const LIMITS: Limits = Limits { time: Duration::from_secs(10), body_bytes: 2 * 1024 * 1024 };
/// How long all pages may take.
const TIME_MAX: Duration = Duration::from_secs(20);

/// One number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneNumber {
    /// Twilio's name for it: `PN…`.
    pub sid: String,
    /// E.164.
    pub number: String,
    /// As its owner calls it.
    pub name: String,
    /// Whether it takes calls.
    pub voice: bool,
    /// Whether it takes messages.
    pub sms: bool,
}

/// Where names of numbers are looked up, where the rest is at Twilio itself.
const LOOKUPS: &str = "https://lookups.twilio.com";

/// Why there are no numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumbersError {
    /// Twilio does not take the credentials.
    #[error("Twilio does not take this account SID with this auth token")]
    Credentials,
    /// It cannot be asked, or answers what is no answer. Without secrets.
    #[error("Twilio cannot be asked: {0}")]
    Unavailable(String),
}

/// An account.
#[derive(Clone, Debug)]
pub struct TwilioAccount {
    /// `AC…`.
    pub sid: String,
    /// Its token.
    pub token: Secret,
}

/// All numbers of an account.
pub async fn list(
    client: &HttpClient,
    base: &PublicUrl,
    account: &TwilioAccount,
) -> Result<Vec<PhoneNumber>, NumbersError> {
    let all = tokio::time::timeout(TIME_MAX, pages(client, base, account));
    let slow = || NumbersError::Unavailable(format!("it took more than {} s", TIME_MAX.as_secs()));
    all.await.unwrap_or_else(|_| Err(slow()))
}

/// Whose number this is, as far as Twilio knows: the carriers of the United States tell. `number` is E.164.
///
/// `GET /v2/PhoneNumbers/{number}?Fields=caller_name` at a host of its own: <https://www.twilio.com/docs/lookup/v2-api/caller-name>,
/// by the official SDK 9.13, read 2026-11.
pub async fn caller_name(
    client: &HttpClient,
    base: &PublicUrl,
    account: &TwilioAccount,
    number: &str,
) -> Result<Option<String>, NumbersError> {
    let host = if base.authority == TWILIO_API { LOOKUPS.to_owned() } else { base.to_string() };
    let url = format!("{host}/v2/PhoneNumbers/{}?Fields=caller_name", percent_encoded(number));
    let answer = ask(client, &url, account).await?;
    let name = answer["caller_name"]["caller_name"].as_str().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(128).collect();
    Ok(Some(name.trim().to_owned()).filter(|name| !name.is_empty()))
}

async fn pages(
    client: &HttpClient,
    base: &PublicUrl,
    account: &TwilioAccount,
) -> Result<Vec<PhoneNumber>, NumbersError> {
    let below = format!("/2010-04-01/Accounts/{}/", percent_encoded(&account.sid));
    let mut path = format!("{below}IncomingPhoneNumbers.json?PageSize={PAGE}");
    let mut numbers = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = ask(client, &format!("{base}{path}"), account).await?;
        let Some(items) = page["incoming_phone_numbers"].as_array() else { return Err(no_answer()) };
        numbers.extend(items.iter().filter_map(number_of));
        match page["next_page_uri"].as_str().filter(|next| !next.is_empty()) {
            None => return Ok(numbers),
            // The token goes nowhere else, whatever the answer says.
            Some(next) if next.starts_with(&below) && next.bytes().all(|byte| byte.is_ascii_graphic()) => {
                path = next.to_owned();
            }
            Some(_) => return Err(no_answer()),
        }
    }
    tracing::warn!(account = account.sid, "an account at Twilio has more numbers than are listed");
    Ok(numbers)
}

async fn ask(client: &HttpClient, url: &str, account: &TwilioAccount) -> Result<Value, NumbersError> {
    let request = Request::get(url)
        .header(AUTHORIZATION, basic(&account.sid, &account.token))
        .header(ACCEPT, "application/json")
        .body(Full::<Bytes>::default())
        .map_err(|_| no_answer())?;
    let answer = client.send(request, LIMITS).await;
    let answer = answer.map_err(|error| NumbersError::Unavailable(error.to_string()))?;
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            Err(NumbersError::Credentials)
        }
        status if status.is_success() => serde_json::from_slice(&answer.body).map_err(|_| no_answer()),
        status => Err(NumbersError::Unavailable(format!("it answers HTTP {}", status.as_u16()))),
    }
}

fn number_of(item: &Value) -> Option<PhoneNumber> {
    let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let can = |name: &str| item["capabilities"][name].as_bool().unwrap_or(false);
    Some(PhoneNumber {
        sid: Some(text("sid")).filter(|sid| !sid.is_empty())?,
        number: text("phone_number"),
        name: text("friendly_name"),
        voice: can("voice"),
        sms: can("sms"),
    })
}

fn no_answer() -> NumbersError {
    NumbersError::Unavailable("the answer is not that of Twilio; is OFFHOOK_TWILIO_BASE_URL right?".into())
}

#[cfg(test)]
mod tests {
    use offhook_fixtures::twilio::{Mood, TwilioApi};

    use super::*;

    const ACCOUNT: &str = "AC00000000000000000000000000000001";

    async fn listed(api: &TwilioApi, token: &str) -> Result<Vec<PhoneNumber>, NumbersError> {
        let base = api.base_url().parse().unwrap();
        let account = TwilioAccount { sid: ACCOUNT.into(), token: Secret::new(token) };
        list(&HttpClient::new().unwrap(), &base, &account).await
    }

    #[tokio::test]
    async fn all_pages_are_read_in_order() {
        let api = TwilioApi::start(ACCOUNT, "t").await;
        assert_eq!(listed(&api, "t").await, Ok(Vec::new()));
        api.has_numbers(250);
        let numbers = listed(&api, "t").await.unwrap();
        assert_eq!(numbers.len(), 250);
        assert_eq!(
            numbers[0],
            PhoneNumber {
                sid: format!("PN{:032x}", 0),
                number: "+15005550000".into(),
                name: "Number 0".into(),
                voice: true,
                sms: true,
            }
        );
        assert_eq!((numbers[249].name.as_str(), numbers[249].sms), ("Number 249", false));
        assert_eq!(api.asked().len(), 1 + 3);
    }

    #[tokio::test]
    async fn a_name_is_looked_up_by_the_number() {
        let api = TwilioApi::start(ACCOUNT, "t").await;
        let base = api.base_url().parse().unwrap();
        let account = TwilioAccount { sid: ACCOUNT.into(), token: Secret::new("t") };
        let name = async |number: &str| {
            caller_name(&HttpClient::new().unwrap(), &base, &account, number).await.unwrap()
        };
        assert_eq!(name("+15005550009").await.as_deref(), Some("CALLER 0009"));
        assert_eq!(name("+31201234567").await, None, "elsewhere names are not told");
    }

    #[tokio::test]
    async fn every_trouble_is_told_apart_from_wrong_credentials() {
        let api = TwilioApi::start(ACCOUNT, "t").await;
        assert_eq!(listed(&api, "wrong").await, Err(NumbersError::Credentials));
        for mood in [Mood::Broken, Mood::Garbage, Mood::HangsUp] {
            api.turn(mood);
            let error = listed(&api, "t").await.unwrap_err();
            assert!(matches!(error, NumbersError::Unavailable(_)), "{mood:?}: {error}");
        }
    }

    #[tokio::test]
    async fn a_next_page_elsewhere_is_not_asked_for() {
        for next in [
            "https://elsewhere.example/2010-04-01/x",
            "//elsewhere.example/x",
            "/2010-04-01/Accounts/AC9/x",
            "@h/",
        ] {
            let api = TwilioApi::start(ACCOUNT, "t").await;
            api.names_as_next_page(next);
            assert!(matches!(listed(&api, "t").await, Err(NumbersError::Unavailable(_))), "{next}");
            assert_eq!(api.asked().len(), 1);
        }
    }
}
