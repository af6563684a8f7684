//! One media connection of a call: bytes of a socket to inputs of the call, and outputs to bytes.
//!
//! [`Leg`] joins a WebSocket ([`websocket`], over [`framing`]) and a dialect ([`twilio`]). Used on media threads: nothing
//! here blocks.

mod framing;
mod twilio;
mod websocket;

pub(crate) use framing::Inbox;
pub(crate) use twilio::{PAYLOAD_BYTES_MAX, Reading};
pub(crate) use websocket::{Closed, Filled, Flushed, Received};

use mio::net::TcpStream;

use crate::call::{EndReason, Fault, mark_name};
use crate::prefetch::Prefetch;
use twilio::Twilio;
use websocket::WebSocketLink;

/// What the bytes of a WebSocket client say, a line for each message, to their end or to where they break the protocol.
///
/// `portion`: how many bytes are read at once. A leg reads from its socket; this is for tests that have any bytes at all.
pub fn messages_in(bytes: &[u8], portion: usize) -> Vec<String> {
    let (mut unframer, mut inbox, mut lines) = (framing::Unframer::default(), Inbox::new(), Vec::new());
    let mut rest = bytes;
    loop {
        let filled = unframer.fill(&mut inbox, |room| {
            let (head, tail) = rest.split_at(rest.len().min(portion.clamp(1, room.len())));
            room[..head.len()].copy_from_slice(head);
            rest = tail;
            Ok::<_, std::convert::Infallible>(head.len())
        });
        let read = matches!(filled, Some((Ok(1..), _)));
        let before = lines.len();
        while let Some(item) = unframer.next(&mut inbox) {
            lines.push(format!("{item:?}"));
            if matches!(item, framing::Item::Broken(_) | framing::Item::Close(_)) {
                return lines;
            }
        }
        unframer.keep(&mut inbox);
        if !read && lines.len() == before {
            return lines;
        }
    }
}

pub(crate) struct Leg {
    link: WebSocketLink,
    dialect: Twilio,
}

impl Prefetch for Leg {
    fn prefetch(&mut self) {
        self.dialect.prefetch();
    }
}

impl Leg {
    /// A leg over an upgraded, non-blocking socket, of which `already_read` was read after the handshake.
    pub(crate) fn new(socket: TcpStream, already_read: Vec<u8>) -> Self {
        Self { link: WebSocketLink::new(socket, already_read), dialect: Twilio::default() }
    }

    /// The socket, to be watched.
    pub(crate) fn source(&mut self) -> &mut TcpStream {
        self.link.source()
    }

    /// Takes one of the thread's outboxes for what a wake-up sends: so few are in use at a time that they stay in the cache.
    pub(crate) fn take_outbox(&mut self, spare: &mut Vec<Vec<u8>>) {
        self.link.take_outbox(spare);
    }

    /// Lays it back, unless something waits in it.
    pub(crate) fn give_outbox_back(&mut self, spare: &mut Vec<Vec<u8>>) {
        self.link.give_outbox_back(spare);
    }

    /// Fills the thread's inbox: what was left of this leg, and one read of its socket.
    pub(crate) fn fill(&mut self, inbox: &mut Inbox) -> Filled {
        self.link.fill(inbox)
    }

    /// The next message in the inbox that has come whole.
    pub(crate) fn receive<'a>(&mut self, inbox: &'a mut Inbox) -> Option<Received<'a>> {
        self.link.receive(inbox)
    }

    /// Takes back what the inbox still holds of this leg. True if that may be a whole message.
    pub(crate) fn keep(&mut self, inbox: &mut Inbox) -> bool {
        self.link.keep(inbox)
    }

    /// What a text message says. `payload`: room for decoded audio, [`PAYLOAD_BYTES_MAX`] bytes.
    pub(crate) fn read<'a>(&mut self, text: &'a str, payload: &'a mut [u8]) -> Reading<'a> {
        self.dialect.read(text, payload)
    }

    /// Puts a piece of audio (8 kHz µ-law) into the outbox.
    pub(crate) fn send_media(&mut self, ulaw: &[u8]) {
        let Self { link, dialect } = self;
        link.put_text(|out| dialect.write_media(out, ulaw));
    }

    /// Puts a mark into the outbox.
    pub(crate) fn send_mark(&mut self, mark: u32) {
        let Self { link, dialect } = self;
        link.put_text(|out| dialect.write_mark(out, mark_name(mark).as_str()));
    }

    /// Puts a clear into the outbox.
    pub(crate) fn send_clear(&mut self) {
        let Self { link, dialect } = self;
        link.put_text(|out| dialect.write_clear(out));
    }

    /// Puts word of a message that could not be used into the outbox, where the dialect has such a word.
    pub(crate) fn send_fault(&mut self, fault: Fault) {
        if let Some(word) = Twilio::word_of(fault) {
            self.link.put_text(|out| word.write(out));
        }
    }

    /// Puts the goodbye of the WebSocket into the outbox, with why.
    pub(crate) fn send_close(&mut self, reason: EndReason) {
        self.link.put_close(reason);
    }

    /// Writes what the outbox holds, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> Result<Flushed, Closed> {
        self.link.flush()
    }
}
