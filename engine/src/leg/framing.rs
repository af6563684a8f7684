//! The frames of a WebSocket client, taken apart (RFC 6455, section 5): bytes in, messages out.
//!
//! Own code, where the rest of the house leaves WebSockets to tungstenite, because this is where a frame's cost lies: a
//! library's reader keeps a buffer per connection, clears it before each read, and makes a string of each message. Here
//! all calls of a thread share one buffer, a message is unmasked where it was read, and a call keeps bytes of its own
//! only while a message has come in part.

use crate::call::Fault;

/// The largest message that a carrier may send, in bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// The longest head of a frame: two bytes, eight of length, four of mask.
const HEAD_BYTES_MAX: usize = 14;
/// How much is read from a socket at once.
const READ_BYTES: usize = 64 * 1024;
/// A call that had to keep part of a message may keep this much memory for the next time.
const KEPT_BYTES_MAX: usize = 4 * 1024;

// What a frame is (5.2).
const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// What the bytes of a client say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// A text message, whole.
    Text(&'a str),
    /// A binary message, whole.
    Binary,
    /// To be answered with the same payload, of at most 125 bytes.
    Ping(&'a [u8]),
    /// An answer to no question of ours.
    Pong,
    /// The client says goodbye, with a status code or none.
    Close(Option<u16>),
    /// Bytes that break the protocol, or a message that is too large: nothing more can be read.
    Broken(Fault),
}

/// What a connection knows between two reads.
#[derive(Debug, Default)]
pub(super) struct Unframer {
    /// Bytes that were read and not taken apart yet.
    rest: Vec<u8>,
    /// The pieces of a message in several frames, and whether it is text.
    pieces: Option<(bool, Vec<u8>)>,
}

/// Room for what one read brings: one for all connections of a thread.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    shared: Box<[u8]>,
    filled: usize,
    /// A connection's own bytes, in place of the shared ones, while it has some from before.
    own: Vec<u8>,
    owns: bool,
    /// Where the next frame begins.
    at: usize,
    /// A message that came in pieces.
    whole: Vec<u8>,
}

impl Inbox {
    /// With room. The default has none, and stands in for one that is in use.
    pub(crate) fn new() -> Self {
        Self { shared: vec![0; READ_BYTES].into_boxed_slice(), ..Self::default() }
    }

    fn bytes(&mut self) -> &mut [u8] {
        if self.owns { &mut self.own } else { &mut self.shared[..self.filled] }
    }
}

impl Unframer {
    /// A connection of which `already_read` came with the handshake.
    pub(super) fn new(already_read: Vec<u8>) -> Self {
        Self { rest: already_read, pieces: None }
    }

    /// Fills the inbox: what was left from before, and what `read` puts into the room that it is given. Returns what
    /// `read` does, and how much room it had. Reads nothing while what is left holds a whole message.
    pub(super) fn fill<E>(
        &mut self,
        inbox: &mut Inbox,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Option<(Result<usize, E>, usize)> {
        inbox.at = 0;
        inbox.own = std::mem::take(&mut self.rest);
        inbox.owns = !inbox.own.is_empty();
        inbox.filled = 0;
        if inbox.own.len() >= MESSAGE_BYTES_MAX + HEAD_BYTES_MAX {
            return None;
        }
        let done = read(&mut inbox.shared);
        if let Ok(n) = done {
            inbox.filled = n;
            if inbox.owns {
                inbox.own.extend_from_slice(&inbox.shared[..n]);
            }
        }
        Some((done, inbox.shared.len()))
    }

    /// The next thing that the inbox holds whole.
    pub(super) fn next<'a>(&mut self, inbox: &'a mut Inbox) -> Option<Item<'a>> {
        loop {
            let start = inbox.at;
            let bytes = &inbox.bytes()[start..];
            let head = match Head::read(bytes) {
                Ok(head) => head?,
                Err(fault) => return Some(Item::Broken(fault)),
            };
            if let Err(fault) = self.allow(&head) {
                return Some(Item::Broken(fault));
            }
            let end = head.bytes + head.payload;
            if bytes.len() < end {
                return None;
            }
            inbox.at += end;
            let payload = start + head.bytes..start + end;
            unmask(&mut inbox.bytes()[payload.clone()], head.mask);
            let is_text = match (head.opcode, &mut self.pieces) {
                (CONTINUATION, Some((_, pieces))) => {
                    pieces.extend_from_slice(&inbox.bytes()[payload]);
                    if !head.is_final {
                        continue;
                    }
                    let (is_text, pieces) = self.pieces.take()?;
                    inbox.whole = pieces;
                    return Some(message(is_text, &inbox.whole));
                }
                (TEXT | BINARY, _) if !head.is_final => {
                    self.pieces = Some((head.opcode == TEXT, inbox.bytes()[payload].to_vec()));
                    continue;
                }
                (TEXT, _) => true,
                (BINARY, _) => false,
                (CLOSE, _) => return Some(close(&inbox.bytes()[payload])),
                (PING, _) => return Some(Item::Ping(&inbox.bytes()[payload])),
                _ => return Some(Item::Pong),
            };
            return Some(message(is_text, &inbox.bytes()[payload]));
        }
    }

    /// Takes back what the inbox holds of a message that has not come whole, or that there was no time for.
    /// True if the latter may be.
    pub(super) fn keep(&mut self, inbox: &mut Inbox) -> bool {
        let at = inbox.at;
        if inbox.owns {
            inbox.own.drain(..at);
            self.rest = std::mem::take(&mut inbox.own);
            if self.rest.is_empty() && self.rest.capacity() > KEPT_BYTES_MAX {
                self.rest = Vec::new();
            }
        } else {
            self.rest.extend_from_slice(&inbox.shared[at..inbox.filled]);
        }
        (inbox.owns, inbox.filled, inbox.at) = (false, 0, 0);
        match Head::read(&self.rest) {
            Ok(Some(head)) => self.rest.len() >= head.bytes + head.payload,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Checks a frame against what came before it.
    fn allow(&self, head: &Head) -> Result<(), Fault> {
        let so_far = match (&self.pieces, head.opcode) {
            (None, CONTINUATION) | (Some(_), TEXT | BINARY) => return Err(Fault::Protocol),
            (Some((_, pieces)), CONTINUATION) => pieces.len(),
            _ => 0,
        };
        if so_far + head.payload > MESSAGE_BYTES_MAX { Err(Fault::TooLarge) } else { Ok(()) }
    }
}

/// What stands before a frame's payload.
#[derive(Debug)]
struct Head {
    opcode: u8,
    is_final: bool,
    mask: [u8; 4],
    /// Its own length.
    bytes: usize,
    payload: usize,
}

impl Head {
    /// Reads it, if it has come whole. A server must refuse frames without a mask (5.1), unknown opcodes and reserved
    /// bits (5.2), and control frames that are long or in pieces (5.5).
    fn read(bytes: &[u8]) -> Result<Option<Self>, Fault> {
        let [first, second, ..] = *bytes else { return Ok(None) };
        let (opcode, is_final, short) = (first & 0x0F, first & 0x80 != 0, second & 0x7F);
        let is_control = opcode >= CLOSE;
        let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        if first & 0x70 != 0 || second & 0x80 == 0 || !known || is_control && (!is_final || short > 125) {
            return Err(Fault::Protocol);
        }
        let (length, mask_at) = match short {
            126 => (bytes.get(2..4).map(|b| u64::from(u16::from_be_bytes([b[0], b[1]]))), 4),
            127 => (bytes.get(2..10).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes), 10),
            short => (Some(u64::from(short)), 2),
        };
        let Some(length) = length else { return Ok(None) };
        if length > MESSAGE_BYTES_MAX as u64 {
            return Err(Fault::TooLarge);
        }
        let Some(mask) = bytes.get(mask_at..mask_at + 4).and_then(|mask| mask.try_into().ok()) else {
            return Ok(None);
        };
        Ok(Some(Self { opcode, is_final, mask, bytes: mask_at + 4, payload: length as usize }))
    }
}

/// Undoes a client's mask (5.3).
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let mut words = payload.chunks_exact_mut(4);
    for word in &mut words {
        for (byte, mask) in word.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

fn message(is_text: bool, payload: &[u8]) -> Item<'_> {
    if !is_text {
        return Item::Binary;
    }
    std::str::from_utf8(payload).map_or(Item::Broken(Fault::Protocol), Item::Text)
}

/// A goodbye holds nothing, or a code and a text (5.5.1); which codes may be sent is in 7.4.
fn close(payload: &[u8]) -> Item<'_> {
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() { Item::Close(None) } else { Item::Broken(Fault::Protocol) };
    };
    let code = u16::from_be_bytes([*high, *low]);
    let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if may_be_sent && std::str::from_utf8(reason).is_ok() {
        Item::Close(Some(code))
    } else {
        Item::Broken(Fault::Protocol)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

    use super::*;

    /// A client's frame with the mask 1, 2, 3, 4.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            len @ 0..=125 => bytes.push(0x80 | len as u8),
            len @ 126..=0xFFFF => {
                bytes.push(0x80 | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            len => {
                bytes.push(0x80 | 127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        bytes.extend([1, 2, 3, 4]);
        bytes.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// What comes out, where the bytes come in these portions.
    fn read<'a>(portions: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let (mut unframer, mut inbox, mut said) = (Unframer::default(), Inbox::new(), Vec::new());
        for portion in portions {
            let filled = unframer.fill(&mut inbox, |room| {
                room[..portion.len()].copy_from_slice(portion);
                Ok::<_, ()>(portion.len())
            });
            assert!(filled.is_some());
            while let Some(item) = unframer.next(&mut inbox) {
                said.push(format!("{item:?}"));
                if matches!(item, Item::Broken(_)) {
                    return said;
                }
            }
            assert!(!unframer.keep(&mut inbox), "all that is whole was taken");
        }
        said
    }

    #[test]
    fn messages_come_out_whole_however_their_bytes_come() {
        let bytes = [
            frame(0x81, b"one"),
            frame(0x01, b"two, in "),
            frame(0x89, b"are you there"),
            frame(0x80, "pieces é".as_bytes()),
            frame(0x82, &[0xFF; 300]),
            frame(0x8A, b""),
            frame(0x81, "x".repeat(70_000).as_bytes()),
            frame(0x88, &[0x03, 0xE8, b'b', b'y', b'e']),
        ]
        .concat();
        let whole: Vec<&[u8]> = bytes.chunks(READ_BYTES).collect();
        let said = read(whole);
        assert_eq!(said.len(), 7);
        assert_eq!(said[0], r#"Text("one")"#);
        assert!(said[1].starts_with("Ping"));
        assert_eq!(said[2], r#"Text("two, in pieces é")"#);
        assert_eq!(said[3..5], ["Binary", "Pong"]);
        assert_eq!(said[5].len(), 70_000 + r#"Text("")"#.len());
        assert_eq!(said[6], "Close(Some(1000))");
        for size in [1, 2, 3, 7, 400, 5_000] {
            assert_eq!(read(bytes.chunks(size)), said, "in portions of {size}");
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        let mut unmasked = frame(0x81, b"a");
        unmasked[1] &= 0x7F;
        let cases = [
            ("no mask", unmasked),
            ("a reserved bit", frame(0xC1, b"a")),
            ("an unknown opcode", frame(0x83, b"a")),
            ("an unknown control opcode", frame(0x8B, b"a")),
            ("a ping in pieces", frame(0x09, b"a")),
            ("a long ping", frame(0x89, &[b'a'; 126])),
            ("a piece of nothing", frame(0x80, b"a")),
            ("a message within a message", [frame(0x01, b"a"), frame(0x81, b"b")].concat()),
            ("no UTF-8", frame(0x81, &[0xFF])),
            ("no UTF-8 in pieces", [frame(0x01, &[0xC3]), frame(0x80, b"a")].concat()),
            ("half a code", frame(0x88, &[3])),
            ("a code that may not be sent", frame(0x88, &[0x03, 0xED])),
            ("a reason that is no UTF-8", frame(0x88, &[0x03, 0xE8, 0xFF])),
        ];
        for (what, bytes) in cases {
            assert_eq!(read([&bytes[..]]), ["Broken(Protocol)"], "{what}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_has_come() {
        let mut long = vec![0x81, 0xFF];
        long.extend((MESSAGE_BYTES_MAX as u64 + 1).to_be_bytes());
        assert_eq!(read([&long[..]]), ["Broken(TooLarge)"]);
        let huge = [&[0x81, 0xFF][..], &u64::MAX.to_be_bytes()].concat();
        assert_eq!(read([&huge[..]]), ["Broken(TooLarge)"]);
        let half = vec![b'a'; MESSAGE_BYTES_MAX / 2 + 1];
        let pieces = [frame(0x01, &half), frame(0x00, &half)].concat();
        assert_eq!(read(pieces.chunks(READ_BYTES)), ["Broken(TooLarge)"]);
    }

    #[test]
    fn the_largest_message_is_read() {
        let largest = frame(0x81, &vec![b'a'; MESSAGE_BYTES_MAX]);
        assert_eq!(read(largest.chunks(1_000))[0].len(), MESSAGE_BYTES_MAX + r#"Text("")"#.len());
    }

    #[test]
    fn what_there_was_no_time_for_waits() {
        let bytes = [frame(0x81, b"one"), frame(0x81, b"two"), frame(0x81, b"thr")].concat();
        let (mut unframer, mut inbox) = (Unframer::new(bytes), Inbox::new());
        for (word, more) in [("one", true), ("two", true), ("thr", false)] {
            unframer.fill(&mut inbox, |_| Ok::<_, ()>(0));
            assert_eq!(unframer.next(&mut inbox), Some(Item::Text(word)));
            assert_eq!(unframer.keep(&mut inbox), more);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_the_library_writes_is_read(texts in vec(".{0,300}", 1..8), size in 1..2_000usize) {
            let mut client = WebSocket::from_raw_socket(std::io::Cursor::new(Vec::new()), Role::Client, None);
            for text in &texts {
                client.send(Message::text(text.as_str())).unwrap();
            }
            let bytes = client.get_ref().get_ref().clone();
            let said: Vec<String> = texts.iter().map(|text| format!("Text({text:?})")).collect();
            prop_assert_eq!(read(bytes.chunks(size)), said);
        }

        #[test]
        fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..600), size in 1..64usize) {
            read(bytes.chunks(size));
        }
    }
}
