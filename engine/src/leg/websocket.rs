//! A WebSocket on a media thread, after its handshake: messages in from the thread's one buffer, messages out through
//! an outbox, so that all that one wake-up sends costs one write, and a message costs no allocation.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use super::framing::{CLOSE, Inbox, Item, PONG, TEXT, Unframer};
use crate::call::{EndReason, Fault};

/// The most that waits for a carrier which does not read: some 15 s of agent audio. Beyond, the leg counts as lost.
const OUTBOX_BYTES_MAX: usize = 256 * 1024;
/// Room for what one wake-up sends: the first 120 ms of an utterance, and its mark.
const OUTBOX_BYTES: usize = 2 * 1024;
/// The longest head of a frame of ours: two bytes, and two of length.
const HEAD_BYTES: usize = 4;

/// The bit of a frame's first byte that says that no more of its message follows (RFC 6455, 5.2).
const FINAL: u8 = 0x80;

/// The other side is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// What became of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// It is empty.
    All,
    /// The socket took no more: the rest follows once it is writable.
    Waiting,
}

/// What a socket had to give.
#[derive(Debug)]
pub(crate) enum Received<'a> {
    /// A text message.
    Text(&'a str),
    /// A message that no dialect here speaks, such as a binary one.
    Fault(Fault),
    /// Nothing that concerns the call, such as a ping.
    Nothing,
    /// Bytes that break the protocol: nothing more can be read.
    Broken(Fault),
    /// The other side said goodbye.
    Closed,
}

/// What one read of the socket came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// All there was.
    Drained,
    /// There may be more.
    Full,
    /// The other side is gone: what was read is the last.
    Closed,
}

pub(super) struct WebSocketLink {
    socket: TcpStream,
    unframer: Unframer,
    outbox: Vec<u8>,
    /// How much of the outbox was sent already.
    sent: usize,
    /// True once our goodbye is in the outbox: nothing may follow it.
    said_goodbye: bool,
}

impl WebSocketLink {
    pub(super) fn new(socket: TcpStream, already_read: Vec<u8>) -> Self {
        Self {
            socket,
            unframer: Unframer::new(already_read),
            outbox: Vec::new(),
            sent: 0,
            said_goodbye: false,
        }
    }

    /// Takes one of the outboxes in which nothing waits, unless it has one.
    pub(super) fn take_outbox(&mut self, spare: &mut Vec<Vec<u8>>) {
        if self.outbox.capacity() == 0 {
            self.outbox = spare.pop().unwrap_or_else(|| Vec::with_capacity(OUTBOX_BYTES));
        }
    }

    /// Lays its outbox back, if nothing waits in it. One that has grown is kept: freeing it is not for a media thread.
    pub(super) fn give_outbox_back(&mut self, spare: &mut Vec<Vec<u8>>) {
        if self.outbox.is_empty() && (1..=OUTBOX_BYTES).contains(&self.outbox.capacity()) {
            spare.push(std::mem::take(&mut self.outbox));
        }
    }

    pub(super) fn source(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Reads the socket once. A read that leaves room found all there was (epoll(7) on edge-triggered streams).
    pub(super) fn fill(&mut self, inbox: &mut Inbox) -> Filled {
        let socket = &mut self.socket;
        match self.unframer.fill(inbox, |room| socket.read(room)) {
            None => Filled::Full,
            Some((Ok(0), _)) => Filled::Closed,
            Some((Ok(n), room)) => {
                if n == room {
                    Filled::Full
                } else {
                    Filled::Drained
                }
            }
            Some((Err(e), _)) if e.kind() == io::ErrorKind::WouldBlock => Filled::Drained,
            Some((Err(e), _)) if e.kind() == io::ErrorKind::Interrupted => Filled::Full,
            Some((Err(_), _)) => Filled::Closed,
        }
    }

    /// The next message of the inbox that has come whole.
    pub(super) fn receive<'a>(&mut self, inbox: &'a mut Inbox) -> Option<Received<'a>> {
        Some(match self.unframer.next(inbox)? {
            Item::Text(text) => Received::Text(text),
            Item::Binary => Received::Fault(Fault::BinaryFrame),
            Item::Ping(payload) => {
                self.put(PONG, |out| out.extend_from_slice(payload));
                Received::Nothing
            }
            Item::Pong => Received::Nothing,
            Item::Close(code) => {
                // Their code comes back, as the protocol has it (5.5.1); none is answered with none.
                self.say_goodbye(code, "");
                Received::Closed
            }
            Item::Broken(fault) => Received::Broken(fault),
        })
    }

    /// Takes back what the inbox still holds. True if that may be a whole message.
    pub(super) fn keep(&mut self, inbox: &mut Inbox) -> bool {
        self.unframer.keep(inbox)
    }

    /// Puts a text message into the outbox, as `write` appends it.
    pub(super) fn put_text(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.put(TEXT, write);
    }

    pub(super) fn put_close(&mut self, reason: EndReason) {
        // The codes of RFC 6455, 7.4.1.
        let code = match reason {
            EndReason::EngineFault => 1011,
            EndReason::UnsupportedMedia => 1003,
            EndReason::ProtocolError => 1002,
            EndReason::Shutdown => 1001,
            _ => 1000,
        };
        self.say_goodbye(Some(code), reason.as_str());
    }

    fn say_goodbye(&mut self, code: Option<u16>, reason: &str) {
        self.put(CLOSE, |out| {
            if let Some(code) = code {
                out.extend_from_slice(&code.to_be_bytes());
                out.extend_from_slice(reason.as_bytes());
            }
        });
        self.said_goodbye = true;
    }

    /// Frames what `write` appends, at most 65,535 bytes: its length is known only afterwards, and stands before it.
    fn put(&mut self, opcode: u8, write: impl FnOnce(&mut Vec<u8>)) {
        if self.said_goodbye {
            return;
        }
        let start = self.outbox.len();
        self.outbox.extend_from_slice(&[FINAL | opcode, 126, 0, 0]);
        write(&mut self.outbox);
        let len = self.outbox.len() - start - HEAD_BYTES;
        match u16::try_from(len) {
            Ok(short @ 0..=125) => {
                self.outbox[start + 1] = short as u8;
                self.outbox.copy_within(start + HEAD_BYTES.., start + 2);
                self.outbox.truncate(start + 2 + len);
            }
            Ok(len) => self.outbox[start + 2..start + HEAD_BYTES].copy_from_slice(&len.to_be_bytes()),
            // No message of ours is a tenth as long; one that were would not be sent.
            Err(_) => self.outbox.truncate(start),
        }
    }

    /// Writes what the outbox holds, as far as the socket takes it.
    pub(super) fn flush(&mut self) -> Result<Flushed, Closed> {
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
            return Ok(Flushed::All);
        }
        if self.outbox.len() - self.sent > OUTBOX_BYTES_MAX {
            return Err(Closed);
        } else if self.sent >= OUTBOX_BYTES_MAX {
            // A carrier that is always a little behind must not make the outbox grow without end.
            self.outbox.drain(..self.sent);
            self.sent = 0;
        }
        Ok(Flushed::Waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::super::framing::MESSAGE_BYTES_MAX;
    use super::*;

    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

    /// A link, and the library's client at the other end.
    fn connected() -> (WebSocketLink, WebSocket<std::net::TcpStream>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        (
            WebSocketLink::new(TcpStream::from_std(server), Vec::new()),
            WebSocket::from_raw_socket(client, Role::Client, None),
        )
    }

    /// Reads until something concerns the call; `None` once the other side is gone.
    fn next(link: &mut WebSocketLink) -> Option<String> {
        let mut inbox = Inbox::new();
        loop {
            let filled = link.fill(&mut inbox);
            let said = link.receive(&mut inbox).map(|received| format!("{received:?}"));
            link.keep(&mut inbox);
            match said {
                Some(said) => return Some(said),
                None if filled == Filled::Closed => return None,
                None => std::thread::yield_now(),
            }
        }
    }

    #[test]
    fn messages_of_any_length_reach_a_client() {
        let (mut link, mut client) = connected();
        for len in [0, 1, 125, 126, 127, 1_000, 65_535] {
            link.put_text(|out| out.extend(std::iter::repeat_n(b'a', len)));
            link.flush().unwrap();
            assert_eq!(client.read().unwrap(), Message::text("a".repeat(len)));
        }
    }

    #[test]
    fn pings_are_answered() {
        let (mut link, mut client) = connected();
        client.send(Message::Ping("still there?".into())).unwrap();
        assert_eq!(next(&mut link).as_deref(), Some("Nothing"));
        link.flush().unwrap();
        assert_eq!(client.read().unwrap(), Message::Pong("still there?".into()));
    }

    #[test]
    fn a_goodbye_is_answered_once_and_nothing_follows_it() {
        let (mut link, mut client) = connected();
        client.close(None).unwrap();
        assert_eq!(next(&mut link).as_deref(), Some("Closed"));
        link.put_text(|out| out.extend_from_slice(b"too late"));
        link.put_close(EndReason::CallerHangup);
        link.flush().unwrap();
        assert_eq!(client.read().unwrap(), Message::Close(None));
        drop(link);
        assert!(client.read().is_err(), "and no more");
    }

    #[test]
    fn our_goodbye_says_why() {
        let (mut link, mut client) = connected();
        link.put_close(EndReason::UnsupportedMedia);
        link.flush().unwrap();
        let Message::Close(Some(close)) = client.read().unwrap() else { panic!("a goodbye") };
        assert_eq!((close.code, close.reason.as_str()), (CloseCode::Unsupported, "unsupported-media"));
        let _ = client.flush();
        assert_eq!(next(&mut link).as_deref(), Some("Closed"));
    }

    #[test]
    fn what_was_sent_before_the_end_is_read() {
        let (mut link, mut client) = connected();
        client.send(Message::text("last words")).unwrap();
        drop(client);
        assert_eq!(next(&mut link).as_deref(), Some(r#"Text("last words")"#));
        assert_eq!(next(&mut link), None);
    }

    #[test]
    fn the_largest_message_fits_the_way_in() {
        let (mut link, mut client) = connected();
        let sender = std::thread::spawn(move || {
            client.send(Message::text("a".repeat(MESSAGE_BYTES_MAX))).unwrap();
            client
        });
        assert_eq!(next(&mut link).unwrap().len(), MESSAGE_BYTES_MAX + r#"Text("")"#.len());
        drop(sender.join());
    }
}
