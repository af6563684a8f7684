//! A WebSocket on a media thread.
//!
//! tungstenite reads frames and answers pings; its replies go through the same outbox as our messages, which are framed
//! here (a server's frames carry no mask), so that a message costs no allocation, and all that one wake-up sends costs
//! one write.

use std::io::{self, Read, Write};

use mio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::call::{EndReason, Fault};

/// The largest message that a carrier may send.
pub(super) const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// tungstenite zero-fills the free part of this before each read; its default of 128 KiB would be most of a call.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// The most that waits for a carrier which does not read: some 15 s of agent audio. Beyond, the leg counts as lost.
const OUTBOX_BYTES_MAX: usize = 256 * 1024;

/// The other side is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// What a socket had to give.
#[derive(Debug)]
pub(crate) enum Received {
    /// A text message.
    Text(Utf8Bytes),
    /// A message that no dialect here speaks, such as a binary one.
    Fault(Fault),
    /// Nothing that concerns the call, such as a ping.
    Nothing,
    /// Nothing more for now.
    Blocked,
    /// Bytes that break the protocol: nothing more can be read.
    Broken(Fault),
    /// The other side closed, or is gone.
    Closed,
}

pub(super) struct WebSocketLink {
    socket: WebSocket<Wire>,
}

/// The socket under the WebSocket: reads pass through, writes wait for [`WebSocketLink::flush`].
struct Wire {
    socket: TcpStream,
    outbox: Vec<u8>,
    /// How much of the outbox was sent already.
    sent: usize,
}

impl WebSocketLink {
    pub(super) fn new(socket: TcpStream, already_read: Vec<u8>) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let wire = Wire { socket, outbox: Vec::with_capacity(4 * 1024), sent: 0 };
        Self { socket: WebSocket::from_partially_read(wire, already_read, Role::Server, Some(config)) }
    }

    pub(super) fn source(&mut self) -> &mut TcpStream {
        &mut self.socket.get_mut().socket
    }

    pub(super) fn receive(&mut self) -> Received {
        match self.socket.read() {
            Ok(Message::Text(text)) => Received::Text(text),
            Ok(Message::Binary(_)) => Received::Fault(Fault::BinaryFrame),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Received::Nothing,
            // tungstenite has put the answer into the outbox.
            Ok(Message::Close(_)) => Received::Closed,
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => Received::Blocked,
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::Interrupted => Received::Nothing,
            Err(Error::Capacity(_)) => Received::Broken(Fault::TooLarge),
            Err(Error::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => Received::Closed,
            Err(Error::Protocol(_) | Error::Utf8(_)) => Received::Broken(Fault::Protocol),
            Err(_) => Received::Closed,
        }
    }

    /// Frames a text message into the outbox: final, unmasked (RFC 6455, 5.2).
    pub(super) fn put_text(&mut self, text: &[u8]) {
        const FINAL_TEXT: u8 = 0x81;
        let outbox = &mut self.socket.get_mut().outbox;
        outbox.push(FINAL_TEXT);
        match text.len() {
            len @ 0..=125 => outbox.push(len as u8),
            len @ 126..=0xFFFF => {
                outbox.push(126);
                outbox.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                outbox.push(127);
                outbox.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        outbox.extend_from_slice(text);
    }

    pub(super) fn put_close(&mut self, reason: EndReason) {
        let code = match reason {
            EndReason::EngineFault => CloseCode::Error,
            EndReason::UnsupportedMedia => CloseCode::Unsupported,
            EndReason::ProtocolError => CloseCode::Protocol,
            EndReason::Shutdown => CloseCode::Away,
            _ => CloseCode::Normal,
        };
        // After the other side's close, or a broken protocol, there is nothing left to say.
        let _ = self.socket.close(Some(CloseFrame { code, reason: reason.as_str().into() }));
    }

    pub(super) fn flush(&mut self) -> Result<(), Closed> {
        self.socket.get_mut().send()
    }
}

impl Wire {
    fn send(&mut self) -> Result<(), Closed> {
        while self.sent < self.outbox.len() {
            match self.socket.write(&self.outbox[self.sent..]) {
                Ok(0) => return Err(Closed),
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Closed),
            }
        }
        if self.sent == self.outbox.len() {
            self.outbox.clear();
            self.sent = 0;
        } else if self.outbox.len() - self.sent > OUTBOX_BYTES_MAX {
            return Err(Closed);
        } else if self.sent >= OUTBOX_BYTES_MAX {
            // A carrier that is always a little behind must not make the outbox grow without end.
            self.outbox.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buf)
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.outbox.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
