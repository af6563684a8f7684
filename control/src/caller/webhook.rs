//! The carrier's HTTP side: announces a call, reads the answer, tells how the call ended.
//!
//! Field names and the signature follow Twilio's pages "TwiML Voice request parameters", "Call resource" and "Secure webhooks", read
//! on 2026-11-22.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use sha1::Sha1;
use tokio_rustls::rustls::{self, ClientConfig};

use super::{CallPlan, CallerError};
use crate::integrations::dial::TLS;

/// A server must have answered by then: Twilio waits 15 s for a webhook's complete reply.
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// The most of an answer that is read, in bytes. Twilio takes 64 KB of TwiML.
pub const BODY_MAX: usize = 256 * 1024;

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "x-twilio-signature";

/// The header by which a server knows a simulator on its own machine: the token that it keeps in its data folder.
pub const SIMULATOR_HEADER: &str = "x-offhook-simulator";

/// Connections to a server that are kept open though nobody uses them: enough for calls that begin and end in bursts, and few
/// beside the media sockets of a thousand calls.
const IDLE_MAX: usize = 32;

/// … and for so long. Shorter than servers keep theirs, so that a request seldom meets a connection that is just being closed.
const IDLE_TIME: Duration = Duration::from_secs(4);

/// A form, in the order in which it is sent.
pub type Form = Vec<(&'static str, String)>;

/// What an HTTP server answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The body; text that is not UTF-8 has its bad bytes replaced.
    pub body: String,
}

/// Talks HTTP to one server. Clones share their connections.
#[derive(Clone)]
pub struct Webhooks {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    signing: Option<Signing>,
    simulator_token: Option<HeaderValue>,
}

#[derive(Clone)]
struct Signing {
    auth_token: String,
    public_base: String,
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing").field("public_base", &self.public_base).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhooks")
            .field("base", &self.base)
            .field("signing", &self.signing)
            .finish_non_exhaustive()
    }
}

impl Webhooks {
    /// For the server of `plan`, with what it says of signatures and tokens.
    pub fn of(plan: &CallPlan) -> Result<Self, CallerError> {
        Self::with_tls(plan, TLS.clone())
    }

    /// … and with the authorities that `tls` trusts.
    pub(super) fn with_tls(plan: &CallPlan, tls: ClientConfig) -> Result<Self, CallerError> {
        let (auth_token, public_url) = (plan.auth_token.as_deref(), plan.public_url.as_deref());
        let mut webhooks = Self::build(&plan.base, auth_token, public_url, tls)?;
        webhooks.simulator_token = match &plan.simulator_token {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::from_str(token).map_err(|_| CallerError::Url {
                    url: webhooks.base.clone(),
                    why: "the simulator token is not one: it has characters that no header can carry".into(),
                })?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(webhooks)
    }

    /// For the server at `base` (`http://127.0.0.1:8080`). With an `auth_token` everything is signed, for the same paths
    /// under `public_base`, which is the server's own idea of its address; `base` where that is none.
    pub fn new(base: &str, auth_token: Option<&str>, public_base: Option<&str>) -> Result<Self, CallerError> {
        Self::build(base, auth_token, public_base, TLS.clone())
    }

    fn build(
        base: &str,
        auth_token: Option<&str>,
        public_base: Option<&str>,
        tls: ClientConfig,
    ) -> Result<Self, CallerError> {
        let base = base.trim().trim_end_matches('/').to_owned();
        let uri: Uri =
            base.parse().map_err(|e| CallerError::Url { url: base.clone(), why: format!("{e}") })?;
        match uri.scheme_str() {
            Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => {}
            _ => {
                let why = "write it as http://host:port or https://host".into();
                return Err(CallerError::Url { url: base, why });
            }
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_TIME)
            .build(connector);
        let signing = auth_token.map(|token| Signing {
            auth_token: token.to_owned(),
            public_base: public_base.map_or_else(|| base.clone(), |url| url.trim_end_matches('/').to_owned()),
        });
        Ok(Self { client, base, signing, simulator_token: None })
    }

    /// Posts a form, signed if there is a token. Any status is a reply; an error means that there was none.
    pub async fn post(&self, path: &str, form: &Form) -> Result<Reply, CallerError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.base))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=UTF-8")
            .header(ACCEPT, "*/*");
        if let Some(signing) = &self.signing {
            let url = format!("{}{path}", signing.public_base);
            request = request.header(SIGNATURE_HEADER, signature(&signing.auth_token, &url, form));
        }
        if let Some(token) = &self.simulator_token {
            request = request.header(SIMULATOR_HEADER, token);
        }
        self.send(path, request.body(Full::from(body))).await
    }

    /// Fetches a document as JSON, with a bearer token if there is one.
    pub async fn get(&self, path: &str, bearer: Option<&str>) -> Result<Reply, CallerError> {
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(format!("{}{path}", self.base))
            .header(ACCEPT, "application/json");
        if let Some(token) = bearer {
            request = request.header(hyper::header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(token) = &self.simulator_token {
            request = request.header(SIMULATOR_HEADER, token);
        }
        self.send(path, request.body(Full::default())).await
    }

    /// The signature for a media socket at `url`, if there is a token: over the URL as the answer had it.
    pub fn sign_socket(&self, url: &str) -> Option<String> {
        self.signing.as_ref().map(|signing| signature(&signing.auth_token, url, &Form::new()))
    }

    /// The value of [`SIMULATOR_HEADER`], if there is one.
    pub fn simulator_token(&self) -> Option<&HeaderValue> {
        self.simulator_token.as_ref()
    }

    /// The server's address, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    async fn send(
        &self,
        path: &str,
        request: Result<Request<Full<Bytes>>, hyper::http::Error>,
    ) -> Result<Reply, CallerError> {
        let url = format!("{}{path}", self.base);
        let request = request.map_err(|e| CallerError::Url { url: url.clone(), why: e.to_string() })?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|e| no_answer(&self.base, &e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), BODY_MAX)
                .collect()
                .await
                .map_err(|e| CallerError::NoAnswer { url: url.clone(), why: e.to_string() })?
                .to_bytes();
            Ok(Reply { status, body: String::from_utf8_lossy(&body).into_owned() })
        };
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| {
            let why = format!(
                "no complete answer within {} s, which is when a carrier gives up",
                TIMEOUT.as_secs()
            );
            Err(CallerError::NoAnswer { url: url.clone(), why })
        })
    }
}

fn no_answer(base: &str, error: &hyper_util::client::legacy::Error) -> CallerError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    let mut why = error.to_string();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            if io.kind() == std::io::ErrorKind::ConnectionRefused {
                return CallerError::Refused { base: base.to_owned() };
            }
            if is_of_tls(io) {
                return CallerError::NoAnswer { url: base.to_owned(), why: format!("TLS failed: {error}") };
            }
        }
        why = error.to_string();
        cause = error.source();
    }
    CallerError::NoAnswer { url: base.to_owned(), why }
}

/// True if TLS is the cause: connectors wrap it in I/O errors, once or twice.
fn is_of_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| {
        inner.is::<rustls::Error>() || inner.downcast_ref::<std::io::Error>().is_some_and(is_of_tls)
    })
}

/// `X-Twilio-Signature`: HMAC-SHA1 over the URL and then each distinct name and value of the form, by ascending name and
/// value, in base64.
pub fn signature(auth_token: &str, url: &str, form: &Form) -> String {
    let mut sorted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in form {
        sorted.entry(name).or_default().insert(value);
    }
    let mut mac =
        Hmac::<Sha1>::new_from_slice(auth_token.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(url.as_bytes());
    for (name, values) in sorted {
        for value in values {
            mac.update(name.as_bytes());
            mac.update(value.as_bytes());
        }
    }
    BASE64.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "offhook_test_auth_token_0123456789";
    const URL: &str = "https://voice.example.com/twilio/voice";

    fn form(pairs: &[(&'static str, &str)]) -> Form {
        pairs.iter().map(|(name, value)| (*name, value.to_string())).collect()
    }

    #[test]
    fn signatures_are_those_of_twilios_own_library() {
        let call = form(&[
            ("To", "+15005550006"),
            ("From", "+15005550009"),
            ("Caller", "+15005550009"),
            ("Called", "+15005550006"),
            ("CallSid", "CA00000000000000000000000000000002"),
            ("CallStatus", "ringing"),
            ("AccountSid", "AC00000000000000000000000000000001"),
            ("ApiVersion", "2010-04-01"),
            ("Direction", "inbound"),
        ]);
        assert_eq!(signature(TOKEN, URL, &call), "nU/IjNOLM1tQ0lzMYuN0JkTmTZc=");
        let socket = "wss://voice.example.com/twilio/media";
        assert_eq!(signature(TOKEN, socket, &Form::new()), "IAEr/V3YOGJIqfTmieG8+84urGY=");
        let odd = form(&[
            ("SidAccount", "AC"),
            ("Sid", "CA"),
            ("Digits", "5"),
            ("Digits", "6"),
            ("Digits", "5"),
            ("MatchMethod", "b"),
            ("MatchMethod", "a"),
        ]);
        assert_eq!(signature(TOKEN, URL, &odd), "MES1kbhRiLqD965bws6yGW3gYX0=");
        assert_eq!(signature(TOKEN, URL, &form(&[("CallerName", "Zoë")])), "m+ilr8UWdQrO6TDypxCzKuykxfw=");
    }

    #[test]
    fn addresses_that_cannot_be_called_say_why() {
        let refuse = |url: &str| Webhooks::new(url, None, None).unwrap_err();
        for url in ["", "127.0.0.1:8080", "ftp://host", "http://", "not a url"] {
            assert!(matches!(refuse(url), CallerError::Url { .. }), "{url}");
        }
        assert_eq!(Webhooks::new("http://host:1/", None, None).unwrap().base(), "http://host:1");
        assert_eq!(Webhooks::new("https://host", None, None).unwrap().base(), "https://host");
    }

    #[test]
    fn tokens_are_not_printed() {
        let plan = CallPlan {
            auth_token: Some(TOKEN.into()),
            simulator_token: Some("simulators_own".into()),
            ..CallPlan::new("http://host:1", Default::default())
        };
        let webhooks = Webhooks::of(&plan).unwrap();
        for text in
            [format!("{webhooks:?}"), format!("{plan:?}"), format!("{:?}", webhooks.simulator_token())]
        {
            assert!(!text.contains(TOKEN) && !text.contains("simulators_own"), "{text}");
        }
        let plan = CallPlan { simulator_token: Some("a\nb".into()), ..plan };
        assert!(matches!(Webhooks::of(&plan), Err(CallerError::Url { .. })));
    }
}
