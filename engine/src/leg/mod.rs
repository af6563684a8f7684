//! One media connection of a call: bytes of a socket to inputs of the call, and outputs to bytes.
//!
//! [`Leg`] joins a WebSocket ([`websocket`], over [`framing`]) and a dialect ([`twilio`]), or it is the near end of a
//! connection that stays elsewhere ([`remote`]). Used on media threads: nothing here blocks.

mod framing;
mod remote;
mod twilio;
mod websocket;

pub(crate) use framing::Inbox;
pub(crate) use remote::{Arrival, remote};
pub use remote::{Departure, FRAME_SAMPLES, Gone, LegEnd, Piece};
pub(crate) use twilio::{PAYLOAD_BYTES_MAX, Reading};
pub(crate) use websocket::{Closed, Filled, Flushed, Received};

use std::sync::Arc;

use mio::net::TcpStream;

use crate::call::{EndReason, Fault, mark_name};
use crate::prefetch::{Prefetch, prefetch};
use remote::RemoteLeg;
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

pub(crate) enum Leg {
    /// A socket of this thread's.
    Socket(SocketLeg),
    /// A connection that is served elsewhere.
    Remote(Box<RemoteLeg>),
}

/// A WebSocket, and what is spoken on it.
pub(crate) struct SocketLeg {
    link: WebSocketLink,
    dialect: Twilio,
}

impl Prefetch for Leg {
    fn prefetch(&mut self) {
        match self {
            Self::Socket(leg) => leg.dialect.prefetch(),
            Self::Remote(leg) => prefetch(&**leg),
        }
    }
}

impl Leg {
    /// A leg over an upgraded, non-blocking socket, of which `already_read` was read after the handshake.
    pub(crate) fn new(socket: TcpStream, already_read: Vec<u8>) -> Self {
        Self::Socket(SocketLeg { link: WebSocketLink::new(socket, already_read), dialect: Twilio::default() })
    }

    /// The socket, to be watched, if there is one.
    pub(crate) fn source(&mut self) -> Option<&mut TcpStream> {
        self.socket().map(|leg| leg.link.source())
    }

    fn socket(&mut self) -> Option<&mut SocketLeg> {
        match self {
            Self::Socket(leg) => Some(leg),
            Self::Remote(_) => None,
        }
    }

    /// Takes one of the thread's outboxes for what a wake-up sends: so few are in use at a time that they stay in the cache.
    pub(crate) fn take_outbox(&mut self, spare: &mut Vec<Vec<u8>>) {
        if let Self::Socket(leg) = self {
            leg.link.take_outbox(spare);
        }
    }

    /// Lays it back, unless something waits in it.
    pub(crate) fn give_outbox_back(&mut self, spare: &mut Vec<Vec<u8>>) {
        if let Self::Socket(leg) = self {
            leg.link.give_outbox_back(spare);
        }
    }

    /// Fills the thread's inbox: what was left of this leg, and one read of its socket.
    pub(crate) fn fill(&mut self, inbox: &mut Inbox) -> Filled {
        self.socket().map_or(Filled::Drained, |leg| leg.link.fill(inbox))
    }

    /// The next message in the inbox that has come whole.
    pub(crate) fn receive<'a>(&mut self, inbox: &'a mut Inbox) -> Option<Received<'a>> {
        self.socket()?.link.receive(inbox)
    }

    /// Takes back what the inbox still holds of this leg. True if that may be a whole message.
    pub(crate) fn keep(&mut self, inbox: &mut Inbox) -> bool {
        self.socket().is_some_and(|leg| leg.link.keep(inbox))
    }

    /// What a text message says. `payload`: room for decoded audio, [`PAYLOAD_BYTES_MAX`] bytes.
    pub(crate) fn read<'a>(&mut self, text: &'a str, payload: &'a mut [u8]) -> Option<Reading<'a>> {
        Some(self.socket()?.dialect.read(text, payload))
    }

    /// The name of a stream that is served elsewhere, once: with it the stream begins.
    pub(crate) fn begin(&mut self) -> Option<Arc<str>> {
        match self {
            Self::Socket(_) => None,
            Self::Remote(leg) => leg.begin(),
        }
    }

    /// The next thing that is told of a connection that is served elsewhere.
    pub(crate) fn next_arrival(&mut self) -> Option<Arrival> {
        match self {
            Self::Socket(_) => None,
            Self::Remote(leg) => leg.next_arrival(),
        }
    }

    /// Sends a piece of audio (8 kHz µ-law). As all that is sent, it goes out with [`Leg::flush`].
    pub(crate) fn send_media(&mut self, ulaw: &[u8]) {
        match self {
            Self::Socket(SocketLeg { link, dialect }) => link.put_text(|out| dialect.write_media(out, ulaw)),
            Self::Remote(leg) => leg.send_media(ulaw),
        }
    }

    /// Sends a mark.
    pub(crate) fn send_mark(&mut self, mark: u32) {
        match self {
            Self::Socket(SocketLeg { link, dialect }) => {
                link.put_text(|out| dialect.write_mark(out, mark_name(mark).as_str()));
            }
            Self::Remote(leg) => leg.send(Departure::Mark(mark)),
        }
    }

    /// Sends a clear.
    pub(crate) fn send_clear(&mut self) {
        match self {
            Self::Socket(SocketLeg { link, dialect }) => link.put_text(|out| dialect.write_clear(out)),
            Self::Remote(leg) => leg.send(Departure::Clear),
        }
    }

    /// Sends word of a message that could not be used, where the dialect has such a word.
    pub(crate) fn send_fault(&mut self, fault: Fault) {
        if let Some(word) = Twilio::word_of(fault)
            && let Self::Socket(leg) = self
        {
            leg.link.put_text(|out| word.write(out));
        }
    }

    /// Says goodbye, with why.
    pub(crate) fn send_close(&mut self, reason: EndReason) {
        match self {
            Self::Socket(leg) => leg.link.put_close(reason),
            Self::Remote(leg) => leg.send(Departure::Close(reason)),
        }
    }

    /// Writes what was sent, as far as the other side takes it.
    pub(crate) fn flush(&mut self) -> Result<Flushed, Closed> {
        match self {
            Self::Socket(leg) => leg.link.flush(),
            Self::Remote(leg) => leg.flush(),
        }
    }
}
