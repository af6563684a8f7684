//! Media messages as carriers write them, read without a JSON parser: they are all but one in a thousand of what comes.
//!
//! "Plain" is one object of strings, with one more object of strings in it, no blanks, no escapes, each known key at most once.
//! Anything else is left to the parser, so nothing is decided here: what is read here, the parser reads alike.

use std::borrow::Cow;

use memchr::memchr2;

use super::FromJson as _;
use crate::wire::{Event, Media, Message};

/// Reads a plain media message; `None` for everything else.
pub(super) fn media(text: &str) -> Option<Message<'_>> {
    let mut rest = text.strip_prefix('{')?;
    let (mut is_media, mut stream, mut sequence, mut media) = (None, None, None, None);
    loop {
        match key(&mut rest)? {
            "event" => once(&mut is_media, string(&mut rest)? == "media")?,
            "streamSid" => once(&mut stream, Cow::Borrowed(string(&mut rest)?))?,
            "sequenceNumber" => once(&mut sequence, number(&mut rest)?)?,
            "media" => once(&mut media, audio(&mut rest)?)?,
            _ => return None,
        }
        if is_last(&mut rest)? {
            break;
        }
    }
    (is_media? && rest.is_empty()).then_some(Message { stream, sequence, event: Event::Media(media?) })
}

fn audio<'a>(rest: &mut &'a str) -> Option<Media<'a>> {
    *rest = rest.strip_prefix('{')?;
    let (mut track, mut chunk, mut timestamp_ms, mut payload) = (None, None, None, None);
    loop {
        match key(rest)? {
            "track" => once(&mut track, string(rest)?)?,
            "chunk" => once(&mut chunk, number(rest)?)?,
            "timestamp" => once(&mut timestamp_ms, number(rest)?)?,
            "payload" => once(&mut payload, Cow::Borrowed(string(rest)?))?,
            _ => return None,
        }
        if is_last(rest)? {
            break;
        }
    }
    let outbound_track = match track {
        None | Some("inbound") => false,
        Some("outbound") => true,
        Some(_) => return None,
    };
    Some(Media { chunk, timestamp_ms, outbound_track, payload: payload? })
}

fn key<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let key = string(rest)?;
    *rest = rest.strip_prefix(':')?;
    Some(key)
}

/// A string without escapes. JSON forbids control characters in it (RFC 8259, section 7).
fn string<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let inside = rest.strip_prefix('"')?;
    let end = memchr2(b'"', b'\\', inside.as_bytes()).filter(|&end| inside.as_bytes()[end] == b'"')?;
    let (string, tail) = inside.split_at(end);
    *rest = &tail[1..];
    // All of it, since a loop that may end early takes one byte at a time.
    let has_control = string.bytes().fold(false, |has, byte| has | (byte < 0x20));
    (!has_control).then_some(string)
}

fn number(rest: &mut &str) -> Option<u32> {
    u32::from_text(Cow::Borrowed(string(rest)?))
}

/// Steps over what follows a value: true at the end of the object.
fn is_last(rest: &mut &str) -> Option<bool> {
    let (first, tail) = rest.split_at_checked(1)?;
    *rest = tail;
    match first {
        "," => Some(false),
        "}" => Some(true),
        _ => None,
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.is_none().then(|| *place = Some(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::twilio::{Place, parse_json, write_inbound_media};

    /// As Twilio's documentation shows it, and as it is written here.
    const TWILIO: &str = r#"{"event":"media","sequenceNumber":"4","media":{"track":"inbound","chunk":"2","timestamp":"5","payload":"/+8="},"streamSid":"MZ1"}"#;

    #[test]
    fn media_in_either_order_is_plain() {
        let message = media(TWILIO).expect("plain");
        assert_eq!((message.stream.as_deref(), message.sequence), (Some("MZ1"), Some(4)));
        let mut own = Vec::new();
        write_inbound_media(&mut own, "MZ1", Place { sequence: 4, chunk: 2, timestamp_ms: 5 }, &[0xFF, 0xEF]);
        assert_eq!(media(std::str::from_utf8(&own).expect("text")), Some(message));
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_parser() {
        for (from, to) in [
            ("media\",\"seq", "mark\",\"seq"),
            ("\"4\"", "4"),
            ("\"4\"", "\"x\""),
            ("\"4\"", "\"4294967296\""),
            (",\"seq", ", \"seq"),
            ("inbound", "both"),
            ("/+8=", "\\/+8="),
            ("/+8=", "a\u{1}b"),
            ("streamSid", "stream"),
            ("\"timestamp\"", "\"chunk\""),
            ("\"streamSid\"", "\"event\""),
            ("\"payload\":\"/+8=\"", "\"chunk\":\"3\""),
            ("\"MZ1\"}", "\"MZ1\"}}"),
            ("\"MZ1\"}", "\"MZ1\""),
            ("\"MZ1\"}", "\"MZ1\"é"),
        ] {
            let text = TWILIO.replacen(from, to, 1);
            assert_ne!(text, TWILIO, "{from}");
            assert_eq!(media(&text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_here_the_parser_reads_alike(
            edits in prop::collection::vec((any::<prop::sample::Index>(), "[\"{}:,\\\\0-9a-zé ]{0,3}", 0..3usize), 0..4),
        ) {
            let mut text = TWILIO.to_owned();
            for (place, put, cut) in edits {
                let start = text.floor_char_boundary(place.index(text.len() + 1));
                let end = text.floor_char_boundary((start + cut).min(text.len())).max(start);
                text.replace_range(start..end, &put);
            }
            if let Some(message) = media(&text) {
                prop_assert_eq!(parse_json(&text), Ok(message));
            }
        }
    }
}
