//! What changes at 3CX, as it changes: the event socket, connected to again whenever it is lost.
//!
//! Events say that something changed, not what: the call is then read. What happens while there is no socket is never told, so
//! all calls are read whenever one was opened, and when the events' count has a gap.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use hyper::StatusCode;
use hyper::header::AUTHORIZATION;
use serde_json::Value;
use std::sync::Arc;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::super::dial::{DialError, Socket, TLS, dial};
use super::{CONNECT, Participant, ThreeCx, ThreeCxError, malformed};

/// How often the other side is asked whether it is there, as in 3CX's examples.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Nothing came for so long: it is not.
const SILENCE_MAX: Duration = Duration::from_secs(12);
/// How long a message may take to leave.
const SEND_WITHIN: Duration = Duration::from_secs(2);
/// How long to wait before the next try, at first and at most.
const AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
/// The largest event that is read.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// What is told of the calls at the route point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All that there are: whoever is not among them is gone.
    All(Vec<Participant>),
    /// One of them is new, or has changed, or has not.
    Changed(Participant),
    /// One of them is over.
    Gone(u32),
    /// Its caller pressed these keys.
    Keys(u32, String),
}

/// An event as it comes.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Changed(u32),
    Gone(u32),
    Keys(u32, String),
    /// None of ours.
    Nothing,
}

impl ThreeCx {
    /// Tells of all that happens, for ever: to drop this ends it. `tell` must not block.
    pub async fn watch(&self, mut tell: impl FnMut(Event) + Send) {
        let mut wait = AGAIN[0];
        let mut lost = false;
        loop {
            let opened = Instant::now();
            let error = match self.open_events().await {
                Ok(socket) => {
                    if std::mem::take(&mut lost) {
                        tracing::info!("3CX's events come again");
                    }
                    self.follow(socket, &mut tell).await
                }
                Err(error) => error,
            };
            if !std::mem::replace(&mut lost, true) {
                tracing::warn!(%error, "3CX's events do not come; trying again");
            }
            wait = if opened.elapsed() > SILENCE_MAX { AGAIN[0] } else { wait };
            sleep(wait).await;
            wait = (wait * 2).min(AGAIN[1]);
        }
    }

    async fn open_events(&self) -> Result<Socket, ThreeCxError> {
        let mut token = self.token().await?;
        let mut again = true;
        loop {
            let url = self.settings.base.socket("/callcontrol/ws");
            let mut request = url.into_client_request().map_err(|error| malformed(&error.to_string()))?;
            request.headers_mut().insert(AUTHORIZATION, token.clone());
            let tls = TlsConnector::from(Arc::new(TLS.clone()));
            let config = WebSocketConfig::default()
                .max_message_size(Some(MESSAGE_BYTES_MAX))
                .max_frame_size(Some(MESSAGE_BYTES_MAX));
            let opening = timeout(CONNECT, dial(request, &tls, config));
            match opening.await.map_err(|_| ThreeCxError::Slow("no event socket in time".into()))? {
                Ok((socket, _)) => return Ok(socket),
                Err(DialError::Refused { status, .. }) if status == StatusCode::UNAUTHORIZED && again => {
                    again = false;
                    token = self.other_token(&token).await?;
                }
                Err(DialError::Refused { status, .. }) => return Err(super::refused(status)),
                Err(error) => return Err(ThreeCxError::Unreachable(error.to_string())),
            }
        }
    }

    /// Follows a socket to its end.
    async fn follow(&self, mut socket: Socket, tell: &mut (impl FnMut(Event) + Send)) -> ThreeCxError {
        // Read after the socket is there: what happens in between is told by it.
        let mut all = Some(Box::pin(self.participants()));
        let mut reading = FuturesUnordered::new();
        // Calls that are read at the moment; true if they have changed since.
        let mut changed = BTreeMap::<u32, bool>::new();
        let mut last_sequence = None;
        let mut ping = tokio::time::interval(PING_EVERY);
        let mut heard = Instant::now();
        loop {
            let read_all = async {
                match &mut all {
                    Some(all) => all.await,
                    None => std::future::pending().await,
                }
            };
            let message = tokio::select! {
                message = socket.next() => message,
                read = read_all => {
                    all = None;
                    match read {
                        Ok(list) => tell(Event::All(list)),
                        Err(error) => return error,
                    }
                    continue;
                }
                Some((id, read)) = reading.next(), if !reading.is_empty() => {
                    match read {
                        Ok(participant) => tell(Event::Changed(participant)),
                        Err(ThreeCxError::Gone) => tell(Event::Gone(id)),
                        // With another socket all is read anew.
                        Err(error) => return error,
                    }
                    if changed.remove(&id) == Some(true) {
                        changed.insert(id, false);
                        reading.push(self.read(id));
                    }
                    continue;
                }
                _ = ping.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        return ThreeCxError::Slow("the event socket is silent".into());
                    }
                    let sent = timeout(SEND_WITHIN, socket.send(Message::Ping(Bytes::new()))).await;
                    if !sent.is_ok_and(|sent| sent.is_ok()) {
                        return ThreeCxError::Unreachable("the event socket takes no ping".into());
                    }
                    continue;
                }
            };
            heard = Instant::now();
            let text = match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(_))) | None => {
                    return ThreeCxError::Unreachable("the event socket was closed".into());
                }
                Some(Err(error)) => return ThreeCxError::Unreachable(error.to_string()),
                Some(Ok(_)) => continue,
            };
            let Some((sequence, told)) = told_by(&text, self.dn()) else {
                tracing::debug!("an event of 3CX's cannot be read");
                continue;
            };
            let follows = |last: u64| sequence.is_none_or(|sequence| sequence == last + 1);
            if !last_sequence.is_none_or(follows) {
                tracing::warn!("events of 3CX's were lost; all calls are read");
                all = Some(Box::pin(self.participants()));
            }
            last_sequence = sequence.or(last_sequence);
            match told {
                Told::Changed(id) => match changed.get_mut(&id) {
                    Some(again) => *again = true,
                    None => {
                        changed.insert(id, false);
                        reading.push(self.read(id));
                    }
                },
                Told::Gone(id) => tell(Event::Gone(id)),
                Told::Keys(id, keys) => tell(Event::Keys(id, keys)),
                Told::Nothing => {}
            }
        }
    }

    async fn read(&self, id: u32) -> (u32, Result<Participant, ThreeCxError>) {
        (id, self.participant(id).await)
    }
}

/// The event's number, and what it says of the calls at `dn`.
fn told_by(text: &str, dn: &str) -> Option<(Option<u64>, Told)> {
    let message: Value = serde_json::from_str(text).ok()?;
    let event = &message["event"];
    let sequence = message["sequence"].as_u64();
    let id = event["entity"].as_str().and_then(|entity| {
        let rest = entity.strip_prefix("/callcontrol/")?.strip_prefix(dn)?;
        rest.strip_prefix("/participants/")?.parse::<u32>().ok()
    });
    let told = match (event["event_type"].as_u64()?, id) {
        (0, Some(id)) => Told::Changed(id),
        (1, Some(id)) => Told::Gone(id),
        (2, Some(id)) => {
            Told::Keys(id, event["attached_data"]["dtmf_input"].as_str().unwrap_or_default().to_owned())
        }
        _ => Told::Nothing,
    };
    // An answer to a request has no place in the count.
    let sequence = sequence.filter(|_| !matches!(event["event_type"].as_u64(), Some(4 | 5)));
    Some((sequence, told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_apart() {
        let event = |kind: u32, entity: &str| {
            format!(
                r#"{{"sequence":12,"event":{{"event_type":{kind},"entity":"{entity}","attached_data":{{"dtmf_input":"1#"}}}}}}"#
            )
        };
        let ours = "/callcontrol/900/participants/4";
        let told = |kind, entity: &str| told_by(&event(kind, entity), "900");
        assert_eq!(told(0, ours), Some((Some(12), Told::Changed(4))));
        assert_eq!(told(1, ours), Some((Some(12), Told::Gone(4))));
        assert_eq!(told(2, ours), Some((Some(12), Told::Keys(4, "1#".into()))));
        assert_eq!(told(3, ours), Some((Some(12), Told::Nothing)));
        assert_eq!(told(4, ours), Some((None, Told::Nothing)), "an answer is not counted");
        for foreign in
            ["/callcontrol/9001/participants/4", "/callcontrol/900", "/callcontrol/900/participants/x"]
        {
            assert_eq!(told(0, foreign), Some((Some(12), Told::Nothing)), "{foreign}");
        }
        assert_eq!(told_by("no json", "900"), None);
    }
}
