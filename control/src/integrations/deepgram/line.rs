//! One connection to Deepgram: its messages, and how it ends.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use offhook_engine::call::Failure;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Account;
use crate::integrations::dial::Socket;
use crate::integrations::refusal::of_close;
use crate::integrations::vendor::VendorError;

/// How long the reason of a broken connection is looked for.
const LOOK_FOR_CLOSE: Duration = Duration::from_millis(100);

/// Why a connection is over.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) error: VendorError,
    /// It is what happens to a connection on which nothing is said for long, and another one will do.
    pub(super) is_ordinary: bool,
}

/// Whether a lost connection is opened anew: once after each that worked, and only while no utterance is open.
#[derive(Debug)]
pub(super) struct Anew {
    /// Whose connections they are, for the log.
    name: &'static str,
    may: bool,
}

impl Anew {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, may: true }
    }

    /// The error, if it is not. `has_worked`: an utterance had its final words on that connection.
    pub(super) fn after(&mut self, lost: Lost, has_worked: bool, is_open: bool) -> Result<(), VendorError> {
        let may = self.may || has_worked;
        if !lost.is_ordinary || is_open || !may {
            return Err(lost.error);
        }
        tracing::debug!(error = %lost.error, "{} is connected to anew", self.name);
        self.may = false;
        Ok(())
    }
}

impl From<VendorError> for Lost {
    fn from(error: VendorError) -> Self {
        Self { error, is_ordinary: false }
    }
}

/// A connection.
pub(super) struct Line<'a> {
    account: &'a Account,
    socket: Socket,
    request_id: String,
    send_within: Duration,
}

impl<'a> Line<'a> {
    pub(super) fn new(
        account: &'a Account,
        socket: Socket,
        request_id: String,
        send_within: Duration,
    ) -> Self {
        Self { account, socket, request_id, send_within }
    }

    /// Sends audio, which must not be empty: Deepgram takes that for the end.
    pub(super) async fn audio(&mut self, ulaw: Bytes) -> Result<(), Lost> {
        debug_assert!(!ulaw.is_empty(), "an empty message ends the stream");
        self.send(Message::Binary(ulaw)).await
    }

    /// Sends a message that has no more to it than its type: `KeepAlive`.
    pub(super) async fn tell(&mut self, kind: &str) -> Result<(), Lost> {
        self.send(Message::text(format!(r#"{{"type":"{kind}"}}"#))).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Lost> {
        match timeout(self.send_within, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.look_for_close(error.to_string()).await),
            Err(_) => {
                let detail = format!("it takes no audio for {} s", self.send_within.as_secs_f32());
                Err(self.error(Failure::Slow, detail).into())
            }
        }
    }

    /// What could not be sent has its reason in a close that was not read.
    async fn look_for_close(&mut self, broken: String) -> Lost {
        let read_on = async {
            while let Some(Ok(message)) = self.socket.next().await {
                if let Message::Close(frame) = message {
                    return Some(frame);
                }
            }
            None
        };
        match timeout(LOOK_FOR_CLOSE, read_on).await.ok().flatten() {
            Some(frame) => self.closed(frame.as_ref()),
            None => self.broken(broken),
        }
    }

    /// The next text message. It may be dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<Utf8Bytes, Lost> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                // Pings are answered below. Audio is for those who asked for a voice.
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(frame))) => return Err(self.closed(frame.as_ref())),
                Some(Err(error)) => return Err(self.broken(error.to_string())),
                None => return Err(self.broken("the connection ended without a close".into())),
            }
        }
    }

    /// Says that there is no more, and waits for the other side to close.
    pub(super) async fn goodbye(&mut self, wait: Duration) {
        let said = async {
            if self.tell("CloseStream").await.is_ok() {
                while self.next().await.is_ok() {}
                // The answer to the close leaves here.
                let _ = self.socket.close(None).await;
            }
        };
        let _ = timeout(wait, said).await;
    }

    /// An error on this connection.
    pub(super) fn error(&self, why: Failure, detail: impl Into<String>) -> VendorError {
        VendorError::new(why, format!("{} (request {})", detail.into(), self.request_id))
    }

    /// A text of Deepgram's as it may stand in a log.
    pub(super) fn shown(&self, text: &str) -> String {
        self.account.shown(text)
    }

    fn broken(&self, detail: String) -> Lost {
        Lost { error: self.error(Failure::BrokenOff, detail), is_ordinary: true }
    }

    fn closed(&self, frame: Option<&CloseFrame>) -> Lost {
        let (code, reason) = frame.map_or((1005, ""), |frame| (frame.code.into(), frame.reason.as_str()));
        let (why, is_ordinary) = ending(code, reason);
        let detail = format!("it closed with {code} {}", self.shown(reason));
        Lost { error: self.error(why, detail.trim_end()), is_ordinary }
    }
}

/// What a close says, and whether it is ordinary.
fn ending(code: u16, reason: &str) -> (Failure, bool) {
    // Nothing came for too long.
    let is_ordinary = code == 1011 && reason.starts_with("NET-0001");
    (if is_ordinary { Failure::BrokenOff } else { of_close(code) }, is_ordinary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_for_want_of_audio_is_ordinary_and_no_other_is() {
        assert_eq!(ending(1011, "NET-0001: nothing was received"), (Failure::BrokenOff, true));
        assert_eq!(ending(1011, "NET-0000: no text in time"), (Failure::Faulty, false));
        assert_eq!(ending(1008, "DATA-0000: no audio"), (Failure::Refused, false));
        assert_eq!(ending(1000, ""), (Failure::BrokenOff, false));
    }
}
