//! Posts events to addresses that users gave: within ten seconds, without following anybody anywhere, and never into the network that
//! this server is in.
//!
//! A host's name is looked up once, all of its addresses are checked, and the connection goes to one of those: a name that means
//! something else a moment later changes nothing. So it is with each connection; an address in a URL is checked as it stands.

mod address;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use tower::Service;

use super::http::{AGENT, HttpError, over_tls, told};
use super::refusal::header;
use address::is_public;

/// How long a delivery may take: from the look-up of the name to the end of the answer.
const TIME: Duration = Duration::from_secs(10);
/// How long is waited for a name when a webhook is made.
const LOOK_UP: Duration = Duration::from_secs(2);
/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read. The rest does not matter.
const ANSWER_BYTES: usize = 4 * 1024;
/// Characters of it that are kept.
const ANSWER_CHARACTERS: usize = 1_000;

/// What is wrong with an address inside.
const INSIDE: &str = "is not a public address: webhooks do not go to this server's own network (OFFHOOK_ALLOW_PRIVATE_DESTINATIONS)";

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It must not be asked.
    #[error("{0}")]
    Forbidden(String),
    /// It could not be asked, or does not answer.
    #[error("{0}")]
    Unanswered(String),
}

/// What is sent with a body.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    /// Where to.
    pub url: &'a str,
    /// The event's name.
    pub event: &'a str,
    /// The delivery's id, by which it is known again at a second try.
    pub delivery: &'a str,
    /// See [`crate::domain::deliveries`].
    pub signature: &'a str,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// The beginning of the body.
    pub text: String,
    /// Why it does not count as taken; none if it does.
    pub refusal: Option<String>,
    /// How long it asks to be left alone.
    pub after: Option<Duration>,
}

/// Posts. Clones share its connections.
#[derive(Clone, Debug)]
pub struct WebhookSender {
    client: Client<HttpsConnector<HttpConnector<Checked>>, Full<Bytes>>,
    checked: Checked,
}

impl WebhookSender {
    /// `allow_private`: addresses inside are asked like all others.
    pub fn new(allow_private: bool) -> Result<Self, HttpError> {
        let checked = Checked { allow_private };
        let mut http = HttpConnector::new_with_resolver(checked);
        http.enforce_http(false);
        http.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .pool_timer(TokioTimer::new())
            .build(over_tls(http)?);
        Ok(Self { client, checked })
    }

    /// Whether a webhook may be there. The error says what it must be. A name that nobody knows at the moment may be known
    /// later.
    pub async fn check(&self, url: &str) -> Result<(), String> {
        let uri = self.destination(url)?;
        let host = uri.host().unwrap_or_default();
        if address_in(host).is_some() {
            return Ok(());
        }
        match timeout(LOOK_UP, self.checked.look_up(host)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Err(INSIDE.into()),
            _ => Ok(()),
        }
    }

    /// Posts a body of JSON, once.
    pub async fn post(&self, sending: Sending<'_>, body: Bytes) -> Result<Answered, SendError> {
        let forbidden = |why: String| SendError::Forbidden(format!("the destination {why}"));
        let uri = self.destination(sending.url).map_err(forbidden)?;
        let request = Request::post(uri)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header("x-webhook-event", sending.event)
            .header("x-webhook-id", sending.delivery)
            .header("x-webhook-signature", sending.signature)
            .body(Full::new(body))
            .map_err(|_| forbidden("is no URL that can be asked".into()))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| failed(&error))?;
            Ok(answered(response).await)
        };
        let late = || SendError::Unanswered(format!("no answer within {} s", TIME.as_secs()));
        timeout(TIME, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    /// A URL that may be asked, as far as one sees from it.
    fn destination(&self, url: &str) -> Result<Uri, String> {
        const HELP: &str = "must be an http or https URL, such as https://example.com/webhook";
        let uri: Uri = url.parse().map_err(|_| HELP.to_owned())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(HELP.into());
        };
        if !matches!(scheme, "http" | "https") || authority.host().is_empty() {
            return Err(HELP.into());
        }
        if authority.as_str().contains('@') {
            return Err("must not have a user or password in it".into());
        }
        if address_in(authority.host()).is_some_and(|address| !self.checked.allows(address)) {
            return Err(INSIDE.into());
        }
        Ok(uri)
    }
}

/// The address that a host is, if it is one.
fn address_in(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn failed(error: &hyper_util::client::legacy::Error) -> SendError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let is_inside = error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.get_ref().is_some_and(|inner| inner.is::<Inside>()));
        if is_inside || error.is::<Inside>() {
            return SendError::Forbidden(format!("the destination {INSIDE}"));
        }
        cause = error.source();
    }
    SendError::Unanswered(told(error))
}

/// Reads what matters of an answer.
async fn answered(response: Response<Incoming>) -> Answered {
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES {
        // An answer that breaks off after its status has given that.
        let Some(Ok(frame)) = body.frame().await else { break };
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data[..data.len().min(ANSWER_BYTES - bytes.len())]);
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let text = text.chars().map(|c| if c == '\0' { ' ' } else { c }).take(ANSWER_CHARACTERS).collect();
    let status = head.status;
    let refusal = match status {
        status if status.is_success() => None,
        status if status.is_redirection() => {
            let to = header(&head.headers, LOCATION.as_str()).unwrap_or("nowhere");
            let to: String = to.chars().take(200).collect();
            Some(format!("status {}, to {to}: redirects are not followed", status.as_u16()))
        }
        status => Some(format!("status {}", status.as_u16())),
    };
    let after = header(&head.headers, RETRY_AFTER.as_str())
        .filter(|_| matches!(status.as_u16(), 429 | 503))
        .and_then(|after| after.trim().parse().ok())
        .map(Duration::from_secs);
    Answered { status, text, refusal, after }
}

/// A name means an address inside.
#[derive(Debug, thiserror::Error)]
#[error("the name has an address that is not public")]
struct Inside;

/// Looks names up, and refuses those that mean an address inside, if only among others.
#[derive(Clone, Copy, Debug)]
struct Checked {
    allow_private: bool,
}

impl Checked {
    fn allows(self, address: IpAddr) -> bool {
        self.allow_private || is_public(address)
    }

    async fn look_up(self, host: &str) -> io::Result<Vec<SocketAddr>> {
        let addresses: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
        if addresses.iter().all(|address| self.allows(address.ip())) {
            Ok(addresses)
        } else {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, Inside))
        }
    }
}

impl Service<Name> for Checked {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let checked = *self;
        Box::pin(async move { Ok(checked.look_up(name.as_str()).await?.into_iter()) })
    }
}

#[cfg(test)]
mod tests;
