//! Reads a fresh media socket until it has said which call it is for, and keeps every byte.
//!
//! A WebSocket reader over a buffer in memory takes what comes in piece by piece, and answers nothing: who gets the
//! socket reads the same bytes again from the first, and then answers what is to be answered.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::Duration;

use offhook_codecs::wire::{self, twilio};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

use crate::domain::calls::Refusal;

/// What a socket may cost before it has said what it is for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until `start` is complete.
    pub time: Duration,
    /// Bytes read until then.
    pub bytes: usize,
    /// Messages read until then: `connected`, `start`, and some goodwill.
    pub messages: usize,
}

/// 10 s, 64 KB, 8 messages: Twilio sends `connected` and `start`, some 600 bytes, at once.
pub const LIMITS: Limits = Limits { time: Duration::from_secs(10), bytes: 64 * 1024, messages: 8 };

/// What a socket said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// All bytes that came so far, after the handshake.
    pub bytes: Vec<u8>,
    /// The carrier's name for the call.
    pub carrier_call_id: String,
    /// The carrier's name for the stream.
    pub stream_id: String,
    /// The `token` among its parameters.
    pub token: Option<String>,
}

/// Why a socket is turned away. Displays as the reason in the close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// It said nothing, or not enough, in time.
    Silent(Duration),
    /// It sent too much before `start`.
    TooLarge(usize),
    /// It sent too many messages before `start`.
    TooMany(usize),
    /// What it sends is not a WebSocket.
    Protocol,
    /// It closed.
    Gone,
    /// It may not come in.
    Refused(Refusal),
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Turned {
    /// The close code: RFC 6455, section 7.4.1.
    fn code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            _ => 1008,
        }
    }
}

impl fmt::Display for Turned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(time) => write!(f, "no start message within {} s", time.as_secs_f32()),
            Self::TooLarge(bytes) => write!(f, "no start message within {bytes} bytes"),
            Self::TooMany(messages) => write!(f, "no start among the first {messages} messages"),
            Self::Protocol => f.write_str("the bytes are not WebSocket messages"),
            Self::Gone => f.write_str("the client closed before a start message"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

/// Reads until a `start` message is complete. `read`: what came with the handshake already.
pub async fn read_start<S: AsyncRead + Unpin>(
    socket: &mut S,
    read: Vec<u8>,
    limits: Limits,
) -> Result<Opening, Turned> {
    let reading = read_until_start(socket, read, limits);
    tokio::time::timeout(limits.time, reading).await.unwrap_or(Err(Turned::Silent(limits.time)))
}

async fn read_until_start<S: AsyncRead + Unpin>(
    socket: &mut S,
    read: Vec<u8>,
    limits: Limits,
) -> Result<Opening, Turned> {
    let config = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .max_message_size(Some(limits.bytes))
        .max_frame_size(Some(limits.bytes));
    let kept = Kept { bytes: read, consumed: 0 };
    let mut messages = WebSocket::from_raw_socket(kept, Role::Server, Some(config));
    let mut count = 0;
    loop {
        while let Some(message) = next_message(&mut messages)? {
            if let Some((carrier_call_id, stream_id, token)) = start_of(&message) {
                let bytes = std::mem::take(&mut messages.get_mut().bytes);
                return Ok(Opening { bytes, carrier_call_id, stream_id, token });
            }
            count += 1;
            if count >= limits.messages {
                return Err(Turned::TooMany(limits.messages));
            }
        }
        let kept = &mut messages.get_mut().bytes;
        if kept.len() >= limits.bytes {
            return Err(Turned::TooLarge(limits.bytes));
        }
        let mut piece = [0; 4 * 1024];
        let room = piece.len().min(limits.bytes - kept.len());
        match socket.read(&mut piece[..room]).await {
            Ok(0) | Err(_) => return Err(Turned::Gone),
            Ok(count) => kept.extend_from_slice(&piece[..count]),
        }
    }
}

/// The next complete message; none until more bytes come.
fn next_message(messages: &mut WebSocket<Kept>) -> Result<Option<Message>, Turned> {
    match messages.read() {
        Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => Err(Turned::Gone),
        Ok(message) => Ok(Some(message)),
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(Error::Capacity(_)) => Err(Turned::TooLarge(LIMITS.bytes)),
        Err(_) => Err(Turned::Protocol),
    }
}

fn start_of(message: &Message) -> Option<(String, String, Option<String>)> {
    let Message::Text(text) = message else { return None };
    let message = twilio::parse(text).ok()?;
    let wire::Event::Start(start) = message.event else { return None };
    let token = start.parameters.iter().find(|(name, _)| name == "token");
    let stream_id = message.stream.unwrap_or_default().into_owned();
    Some((start.call.into_owned(), stream_id, token.map(|(_, value)| value.to_string())))
}

/// Closes a socket with the reason why. Reads on for a moment, so that the reason arrives before the connection goes.
pub async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, why: &Turned) {
    let farewell = async {
        socket.write_all(&close_frame(why.code(), &why.to_string())).await?;
        socket.shutdown().await?;
        let mut rest = [0; 1024];
        while socket.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // What goes wrong here goes wrong for a client that is turned away anyway.
    let _ = tokio::time::timeout(Duration::from_secs(1), farewell).await;
}

/// A close frame from a server: unmasked, code and reason. RFC 6455, section 5.5.1.
fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let mut cut = reason.len().min(123);
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut frame = vec![0x88, cut as u8 + 2];
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(&reason.as_bytes()[..cut]);
    frame
}

/// The bytes so far, read as a socket that has no more for the moment; what is written to it is nobody's.
struct Kept {
    bytes: Vec<u8>,
    consumed: usize,
}

impl Read for Kept {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let rest = &self.bytes[self.consumed..];
        if rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.consumed += count;
        Ok(count)
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTED: &str = r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#;
    const START: &str = r#"{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{"accountSid":"AC1",
        "streamSid":"MZ1","callSid":"CA1","tracks":["inbound"],
        "mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},
        "customParameters":{"other":"x","token":"secret"}}}"#;
    const MEDIA: &str = r#"{"event":"media","sequenceNumber":"2","streamSid":"MZ1","media":{"track":"inbound",
        "chunk":"1","timestamp":"5","payload":"////"}}"#;
    const QUICK: Limits = Limits { time: Duration::from_millis(200), ..LIMITS };

    /// A client's frame: masked (with zeros), so that a server takes it.
    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        frame
    }

    fn text(payload: &str) -> Vec<u8> {
        frame(1, payload.as_bytes())
    }

    /// What becomes of a socket that has `before` with its handshake, sends `pieces`, and then stays open.
    async fn admit(before: &[u8], pieces: &[&[u8]]) -> Result<Opening, Turned> {
        let (mut client, mut server) = tokio::io::duplex(256 * 1024);
        for piece in pieces {
            client.write_all(piece).await.unwrap();
        }
        read_start(&mut server, before.to_vec(), QUICK).await
    }

    #[tokio::test]
    async fn no_byte_is_lost_wherever_the_pieces_are_cut() {
        let whole = [text(CONNECTED), frame(9, b"ping"), text(START), text(MEDIA)].concat();
        let start_ends = whole.len() - text(MEDIA).len();
        for cut in [0, 1, 2, 7, 60, start_ends - 1, start_ends, whole.len() - 1, whole.len()] {
            let (mut client, mut server) = tokio::io::duplex(1);
            let rest = whole[cut..].to_vec();
            let writer = tokio::spawn(async move {
                let _ = client.write_all(&rest).await;
                client
            });
            let opening = read_start(&mut server, whole[..cut].to_vec(), LIMITS).await.unwrap();
            assert!(opening.bytes.len() >= start_ends, "{cut}");
            assert_eq!(opening.bytes, whole[..opening.bytes.len()], "{cut}");
            assert_eq!(
                (opening.carrier_call_id.as_str(), opening.stream_id.as_str()),
                ("CA1", "MZ1"),
                "{cut}"
            );
            assert_eq!(opening.token.as_deref(), Some("secret"));
            writer.abort();
        }
    }

    #[tokio::test]
    async fn silence_is_turned_away() {
        assert_eq!(admit(b"", &[]).await, Err(Turned::Silent(QUICK.time)));
        assert_eq!(admit(&text(CONNECTED), &[&text(START)[..40]]).await, Err(Turned::Silent(QUICK.time)));
    }

    #[tokio::test]
    async fn media_before_start_is_borne_for_a_few_messages() {
        let media = text(MEDIA);
        let early = [text(CONNECTED), media.clone(), text(START)].concat();
        assert!(admit(&early, &[]).await.is_ok());
        let flood = media.repeat(LIMITS.messages);
        assert_eq!(admit(&text(CONNECTED), &[&flood]).await, Err(Turned::TooMany(LIMITS.messages)));
    }

    #[tokio::test]
    async fn too_much_before_start_is_turned_away() {
        // A frame that says it has a megabyte, and one message in endless pieces.
        let huge = [&[0x81, 0xff, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0][..], &[b' '; 100]].concat();
        assert_eq!(admit(&huge, &[]).await, Err(Turned::TooLarge(LIMITS.bytes)));
        let mut endless = vec![];
        while endless.len() < LIMITS.bytes {
            let mut piece = frame(0, &[b' '; 1000]);
            piece[0] = if endless.is_empty() { 0x01 } else { 0x00 };
            endless.extend(piece);
        }
        assert_eq!(admit(b"", &[&endless]).await, Err(Turned::TooLarge(LIMITS.bytes)));
    }

    #[tokio::test]
    async fn what_is_no_websocket_or_closes_is_turned_away() {
        assert_eq!(admit(b"GET / HTTP/1.1\r\n\r\n", &[]).await, Err(Turned::Protocol));
        assert_eq!(admit(&frame(8, b""), &[]).await, Err(Turned::Gone));
        let (client, mut server) = tokio::io::duplex(10);
        drop(client);
        assert_eq!(read_start(&mut server, vec![], QUICK).await, Err(Turned::Gone));
    }

    #[tokio::test]
    async fn who_is_turned_away_is_told_why() {
        let (mut client, server) = tokio::io::duplex(1024);
        let why = Turned::Refused(Refusal::UsedToken);
        let farewell = tokio::spawn(async move { turn_away(server, &why).await });
        let mut received = [0; 256];
        let count = client.read(&mut received).await.unwrap();
        let reason = Refusal::UsedToken.to_string();
        assert_eq!(received[..2], [0x88, reason.len() as u8 + 2]);
        assert_eq!(received[2..4], 1008_u16.to_be_bytes());
        assert_eq!(&received[4..count], reason.as_bytes());
        drop(client);
        farewell.await.unwrap();
    }
}
