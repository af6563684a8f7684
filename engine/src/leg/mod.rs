//! One media connection of a call: bytes of a socket to inputs of the call, and outputs to bytes.
//!
//! [`Leg`] joins a framing ([`websocket`]) and a dialect ([`twilio`]). Used on media threads: nothing here blocks.

mod twilio;
mod websocket;

pub(crate) use twilio::{PAYLOAD_BYTES_MAX, Reading};
pub(crate) use websocket::{Closed, Received};

use mio::net::TcpStream;

use crate::call::{EndReason, Fault, mark_name};
use twilio::Twilio;
use websocket::WebSocketLink;

pub(crate) struct Leg {
    link: WebSocketLink,
    dialect: Twilio,
    /// A message of ours, before it is framed.
    message: Vec<u8>,
}

impl Leg {
    /// A leg over an upgraded, non-blocking socket, of which `already_read` was read after the handshake.
    pub(crate) fn new(socket: TcpStream, already_read: Vec<u8>) -> Self {
        let link = WebSocketLink::new(socket, already_read);
        Self { link, dialect: Twilio::default(), message: Vec::with_capacity(512) }
    }

    /// The socket, to be watched.
    pub(crate) fn source(&mut self) -> &mut TcpStream {
        self.link.source()
    }

    /// The next message that has come whole.
    pub(crate) fn receive(&mut self) -> Received {
        self.link.receive()
    }

    /// What a text message says. `payload`: room for decoded audio, [`PAYLOAD_BYTES_MAX`] bytes.
    pub(crate) fn read<'a>(&mut self, text: &'a str, payload: &'a mut [u8]) -> Reading<'a> {
        self.dialect.read(text, payload)
    }

    /// Puts a piece of audio (8 kHz µ-law) into the outbox.
    pub(crate) fn send_media(&mut self, ulaw: &[u8]) {
        self.message.clear();
        self.dialect.write_media(&mut self.message, ulaw);
        self.link.put_text(&self.message);
    }

    /// Puts a mark into the outbox.
    pub(crate) fn send_mark(&mut self, mark: u32) {
        self.message.clear();
        self.dialect.write_mark(&mut self.message, mark_name(mark).as_str());
        self.link.put_text(&self.message);
    }

    /// Puts a clear into the outbox.
    pub(crate) fn send_clear(&mut self) {
        self.message.clear();
        self.dialect.write_clear(&mut self.message);
        self.link.put_text(&self.message);
    }

    /// Puts word of a message that could not be used into the outbox, where the dialect has such a word.
    pub(crate) fn send_fault(&mut self, fault: Fault) {
        self.message.clear();
        self.dialect.write_fault(&mut self.message, fault);
        if !self.message.is_empty() {
            self.link.put_text(&self.message);
        }
    }

    /// Puts the goodbye of the WebSocket into the outbox, with why.
    pub(crate) fn send_close(&mut self, reason: EndReason) {
        self.link.put_close(reason);
    }

    /// Writes what the outbox holds, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> Result<(), Closed> {
        self.link.flush()
    }
}
