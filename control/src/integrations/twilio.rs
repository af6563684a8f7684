//! Twilio's REST API: whether the account is there, active, and ours.
//!
//! Account resource, `GET /2010-04-01/Accounts/{Sid}.json` with Basic authentication: `status` is `active`, `suspended` or
//! `closed`; errors are `{code, message, more_info, status}`. <https://www.twilio.com/docs/iam/api/account>, read 2025-11-24.
//! The answer holds the account's auth token: nothing of it but the two words below is ever looked at.

pub mod numbers;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode};
use serde::Deserialize;

use super::http::{Answer, HttpClient, Limits};
use crate::domain::services::{PACE, Probe, Probing, Service};
use crate::settings::{PublicUrl, Secret, Settings};

/// An account resource is some 2 KB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Asks for the account.
pub struct TwilioProbe {
    client: HttpClient,
    url: String,
    authorization: HeaderValue,
}

impl TwilioProbe {
    /// A probe with the settings' account and token. None unless there are both.
    pub fn from_settings(settings: &Settings, client: &HttpClient) -> Option<Self> {
        let (account, token) =
            settings.twilio_account_sid.as_ref().zip(settings.twilio_auth_token.as_ref())?;
        let base = &settings.twilio_base_url;
        if !base.tls && !is_loopback(base) {
            tracing::warn!(
                %base, "Twilio is asked without TLS: whoever is on the way there can read the auth token"
            );
        }
        Some(Self::new(client.clone(), base, account, token))
    }

    fn new(client: HttpClient, base: &PublicUrl, account: &str, token: &Secret) -> Self {
        let authorization = basic(account, token);
        let url = format!("{base}/2010-04-01/Accounts/{}.json", percent_encoded(account));
        Self { client, url, authorization }
    }

    async fn look(&self) -> Result<(), String> {
        let request = Request::get(&self.url)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/json")
            .body(Full::<Bytes>::default())
            .map_err(|error| error.to_string())?;
        let limits = Limits { time: PACE.answer_within, body_bytes: ANSWER_BYTES_MAX };
        judge(&self.client.send(request, limits).await.map_err(|error| error.to_string())?)
    }
}

impl Probe for TwilioProbe {
    fn service(&self) -> Service {
        Service::Twilio
    }

    fn ask(&self) -> Probing<'_> {
        Box::pin(self.look())
    }
}

/// What an answer says of the account.
fn judge(answer: &Answer) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Account {
        status: String,
    }
    #[derive(Deserialize)]
    struct Refusal {
        code: u32,
    }
    if answer.status.is_success() {
        return match serde_json::from_slice::<Account>(&answer.body) {
            Ok(account) if account.status == "active" => Ok(()),
            Ok(account) if ["suspended", "closed"].contains(&account.status.as_str()) => {
                Err(format!("the account is {}", account.status))
            }
            _ => Err("the answer is not that of Twilio; is OFFHOOK_TWILIO_BASE_URL right?".into()),
        };
    }
    let code = serde_json::from_slice::<Refusal>(&answer.body).map(|refusal| refusal.code);
    let code = code.map_or_else(|_| String::new(), |code| format!(", Twilio's error {code}"));
    let status = answer.status.as_u16();
    let meaning = match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "it does not take TWILIO_ACCOUNT_SID with TWILIO_AUTH_TOKEN"
        }
        StatusCode::NOT_FOUND => "it knows no account TWILIO_ACCOUNT_SID",
        StatusCode::TOO_MANY_REQUESTS => "it was asked too often",
        status if status.is_server_error() => "it has troubles of its own",
        _ => "it gave an answer that means nothing here",
    };
    Err(format!("{meaning} (HTTP {status}{code})"))
}

/// Who asks, in the header.
fn basic(account: &str, token: &Secret) -> HeaderValue {
    let credentials = STANDARD.encode(format!("{account}:{}", token.reveal()));
    let mut value = HeaderValue::try_from(format!("Basic {credentials}")).expect("base64 is printable");
    value.set_sensitive(true);
    value
}

fn is_loopback(url: &PublicUrl) -> bool {
    let host = &url.authority;
    host == "localhost" || ["localhost:", "127.", "[::1]"].iter().any(|here| host.starts_with(here))
}

/// An account is letters and digits. What is not must not change where the request goes.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use offhook_fixtures::twilio::{Asked, Mood, TwilioApi};

    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: Default::default(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn only_an_active_account_is_connected() {
        assert_eq!(judge(&answer(200, r#"{"sid":"AC1","status":"active","type":"Full"}"#)), Ok(()));
        for (status, body, wanted) in [
            (200, r#"{"status":"suspended"}"#, "suspended"),
            (200, r#"{"status":"closed"}"#, "closed"),
            (200, r#"{"status":"<script>"}"#, "not that of Twilio"),
            (200, "<html>", "not that of Twilio"),
            (401, r#"{"code":20003,"message":"Authenticate","status":401}"#, "TWILIO_AUTH_TOKEN"),
            (403, "", "TWILIO_AUTH_TOKEN"),
            (404, r#"{"code":20404}"#, "20404"),
            (302, "", "means nothing"),
            (429, "", "too often"),
            (503, "", "troubles"),
        ] {
            let why = judge(&answer(status, body)).unwrap_err();
            assert!(why.contains(wanted), "{status} {body}: {why}");
            assert!(!why.contains("script"), "an outside text is not repeated");
        }
    }

    #[test]
    fn an_account_cannot_change_the_path_and_the_token_is_not_shown() {
        let base = "http://127.0.0.1:1".parse().unwrap();
        let client = HttpClient::new().unwrap();
        let probe = TwilioProbe::new(client, &base, "AC/../x?y", &Secret::new("hush"));
        assert_eq!(probe.url, "http://127.0.0.1:1/2010-04-01/Accounts/AC%2F%2E%2E%2Fx%3Fy.json");
        assert!(!format!("{:?}", probe.authorization).contains("QUM"), "it is marked as sensitive");
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (text, here) in [
            ("http://127.0.0.1:9", true),
            ("http://localhost", true),
            ("http://[::1]:9", true),
            ("http://[::1]", true),
            ("http://[::11]:9", false),
            ("http://localhost.example", false),
            ("http://twilio.example:9", false),
        ] {
            assert_eq!(is_loopback(&text.parse().unwrap()), here, "{text}");
        }
    }

    const ACCOUNT: &str = "AC00000000000000000000000000000001";
    const TOKEN: &str = "3a9c0e5d7f1b24680ace13579bdf0246";

    async fn asked(api: &TwilioApi, account: &str, token: &str) -> Result<(), String> {
        let base = api.base_url().parse().unwrap();
        let token = Secret::new(token);
        let answer = TwilioProbe::new(HttpClient::new().unwrap(), &base, account, &token).ask().await;
        if let Err(why) = &answer {
            assert!(!why.contains(token.reveal()), "{why}");
        }
        answer
    }

    #[tokio::test]
    async fn the_api_is_asked_for_the_account_with_its_credentials() {
        let api = TwilioApi::start(ACCOUNT, TOKEN).await;
        assert_eq!(asked(&api, ACCOUNT, TOKEN).await, Ok(()));
        let line = format!("GET /2010-04-01/Accounts/{ACCOUNT}.json");
        assert_eq!(api.asked(), [Asked { line, authenticated: true }]);
        for (account, token) in [(ACCOUNT, "wrong"), ("AC2", TOKEN)] {
            assert!(asked(&api, account, token).await.unwrap_err().contains("401"));
        }
    }

    #[tokio::test]
    async fn every_trouble_of_the_api_has_its_reason() {
        let api = TwilioApi::start(ACCOUNT, TOKEN).await;
        for (mood, wanted) in [
            (Mood::Suspended, "the account is suspended"),
            (Mood::Closed, "the account is closed"),
            (Mood::Inactive, "20005"),
            (Mood::Broken, "HTTP 500"),
            (Mood::Garbage, "OFFHOOK_TWILIO_BASE_URL"),
            (Mood::HangsUp, "connection closed"),
        ] {
            api.turn(mood);
            let why = asked(&api, ACCOUNT, TOKEN).await.unwrap_err();
            assert!(why.contains(wanted), "{mood:?}: {why}");
        }
        api.turn(Mood::Slow(std::time::Duration::from_millis(10)));
        assert_eq!(asked(&api, ACCOUNT, TOKEN).await, Ok(()));
    }
}
