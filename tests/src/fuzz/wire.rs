//! Messages of the media socket, and their frames.

use std::io::{self, Read, Write};

use offhook_codecs::wire::twilio::{self, Place};
use offhook_codecs::wire::{Event, Outgoing, WireError};
use offhook_engine::leg::messages_in;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// The largest payload that the engine decodes.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// The largest message that the engine reads.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;

fn text_of(out: &[u8]) -> &str {
    std::str::from_utf8(out).expect("what is written is text")
}

/// A message from the carrier: what can be read can be written, and reads the same again.
pub(super) fn from_carrier(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let message = match twilio::parse(text) {
        Ok(message) => message,
        Err(WireError::NotJson { at }) => return assert!(at <= text.len(), "byte {at} of {}", text.len()),
        Err(_) => return,
    };
    let stream = message.stream.as_deref().unwrap_or("MZ1").to_owned();
    let sequence = message.sequence.unwrap_or(7);
    let mut out = Vec::new();
    match &message.event {
        Event::Start(start) => {
            twilio::write_start(&mut out, &stream, start);
            let again = twilio::parse(text_of(&out)).expect("a start that was read can be written");
            assert_eq!(again.stream.as_deref(), Some(&*stream));
            assert_eq!(again.event, message.event);
        }
        Event::Media(media) => {
            let mut ulaw = vec![0; PAYLOAD_BYTES_MAX];
            let Ok(length) = twilio::decode_base64(&media.payload, &mut ulaw) else { return };
            let (chunk, timestamp_ms) = (media.chunk.unwrap_or(1), media.timestamp_ms.unwrap_or(2));
            let place = Place { sequence, chunk, timestamp_ms };
            twilio::write_inbound_media(&mut out, &stream, place, &ulaw[..length]);
            let again = twilio::parse(text_of(&out)).expect("audio that was read can be written");
            let Event::Media(media) = &again.event else { panic!("{again:?} is no audio") };
            assert_eq!((media.chunk, media.timestamp_ms), (Some(chunk), Some(timestamp_ms)));
            assert_eq!((again.stream.as_deref(), again.sequence), (Some(&*stream), Some(sequence)));
            let mut same = vec![0; PAYLOAD_BYTES_MAX];
            assert_eq!(twilio::decode_base64(&media.payload, &mut same), Ok(length));
            assert_eq!(same[..length], ulaw[..length]);
        }
        Event::Dtmf { digit } => {
            assert!(matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D'), "{digit:?} is no key");
            twilio::write_dtmf(&mut out, &stream, sequence, *digit);
            assert_eq!(twilio::parse(text_of(&out)).map(|again| again.event), Ok(message.event.clone()));
        }
        Event::Mark { name } => {
            twilio::write_mark_echo(&mut out, &stream, sequence, name);
            assert_eq!(twilio::parse(text_of(&out)).map(|again| again.event), Ok(message.event.clone()));
        }
        Event::Connected | Event::Stop | Event::Unknown { .. } => {}
    }
}

/// A message to the carrier, as a simulated carrier reads it.
pub(super) fn to_carrier(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(message) = twilio::parse_outgoing(text) else { return };
    let mut out = Vec::new();
    match &message {
        Outgoing::Media { stream, payload } => {
            let mut ulaw = vec![0; PAYLOAD_BYTES_MAX];
            let Ok(length) = twilio::decode_base64(payload, &mut ulaw) else { return };
            twilio::write_media(&mut out, stream, &ulaw[..length]);
            let Ok(Outgoing::Media { payload: same, .. }) = twilio::parse_outgoing(text_of(&out)) else {
                panic!("{} is no audio", text_of(&out));
            };
            assert_eq!(same.trim_end_matches('='), payload.trim_end_matches('='));
            return;
        }
        Outgoing::Mark { stream, name } => twilio::write_mark(&mut out, stream, name),
        Outgoing::Clear { stream } => twilio::write_clear(&mut out, stream),
        Outgoing::Error | Outgoing::Unknown { .. } => return,
    }
    assert_eq!(twilio::parse_outgoing(text_of(&out)), Ok(message));
}

/// A payload: what decodes encodes to the same text, and a buffer that is too small is refused with the right size.
pub(super) fn base64(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut out = vec![0xAA; text.len()];
    match twilio::decode_base64(text, &mut out) {
        Ok(length) => {
            let mut message = Vec::new();
            twilio::write_media(&mut message, "MZ1", &out[..length]);
            let Ok(Outgoing::Media { payload, .. }) = twilio::parse_outgoing(text_of(&message)) else {
                panic!("{} is no audio", text_of(&message));
            };
            assert_eq!(payload.trim_end_matches('='), text.trim_end_matches('='));
            if length > 0 {
                let small = twilio::decode_base64(text, &mut out[..length - 1]);
                assert_eq!(small, Err(WireError::TooLarge { bytes: length }));
            }
        }
        Err(WireError::NotBase64 { at }) => assert!(at <= text.len(), "character {at} of {}", text.len()),
        Err(other) => panic!("{other} with room for all"),
    }
}

/// The frames of a WebSocket client: the same however they come, and the same as a library reads.
pub(super) fn websocket(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(300_000)];
    let lines = messages_in(bytes, usize::MAX);
    for portion in [1_000, 7, 1] {
        if bytes.len() / portion < 20_000 {
            assert_eq!(messages_in(bytes, portion), lines, "in portions of {portion}");
        }
    }
    let ended = |line: &String| line.starts_with("Broken") || line.starts_with("Close");
    let theirs = library_reads(bytes);
    // Who refuses, and when, differs: a library may refuse a message at its first piece.
    let ours = &lines[..lines.len() - usize::from(lines.last().is_some_and(ended))];
    let (messages, broken) = &theirs;
    let both = ours.len().min(messages.len());
    assert_eq!(ours[..both], messages[..both]);
    if !broken && !lines.last().is_some_and(ended) {
        assert_eq!(ours, messages.as_slice());
    }
}

/// A socket that gives these bytes, and takes what is answered.
struct Given<'a>(&'a [u8]);

impl Read for Given<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(out)
    }
}

impl Write for Given<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of the same bytes, and whether it refused some or was told goodbye.
fn library_reads(bytes: &[u8]) -> (Vec<String>, bool) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let mut socket = WebSocket::from_raw_socket(Given(bytes), Role::Server, Some(config));
    let mut lines = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => lines.push(format!("Text({:?})", text.as_str())),
            Ok(Message::Binary(_)) => lines.push("Binary".to_owned()),
            Ok(Message::Ping(payload)) => lines.push(format!("Ping({:?})", &payload[..])),
            Ok(Message::Pong(_)) => lines.push("Pong".to_owned()),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return (lines, false),
            Ok(Message::Close(_) | Message::Frame(_)) | Err(_) => return (lines, true),
        }
    }
}
