//! Twilio Media Streams: JSON text messages, both ways, on either side of the socket.
//!
//! | | reads | writes |
//! |---|---|---|
//! | Offhook, as the bot | [`parse`] | [`write_media`], [`write_mark`], [`write_clear`] |
//! | a simulated carrier | [`parse_outgoing`] | [`write_connected`], [`write_start`], [`write_inbound_media`], [`write_dtmf`], [`write_mark_echo`], [`write_stop`] |
//!
//! Reading borrows from the text and allocates nothing, unless a string in it carries an escape. Payloads stay base64
//! until [`decode_base64`] puts their bytes where they are wanted. Writing appends to a buffer that the caller reuses, and
//! allocates nothing once it has grown to the size of a message.
//!
//! Shapes: Twilio's page "Media Streams - WebSocket Messages". It sends `sequenceNumber`, `chunk` and
//! `timestamp` as strings of decimal digits, and `sampleRate` and `channels` as numbers; here either form is read for each.
//! A field that is `null` counts as absent. A field that stands twice is refused: which of the two holds is anybody's guess.

mod plain;

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;
use std::marker::PhantomData;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, DecodeSliceError};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Event, Media, MediaFormat, Message, Outgoing, Start, WireError};

/// The standard alphabet; written with padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads one message from the carrier.
///
/// `text`: one WebSocket text message. Only the fields that its event needs have to be there and right; `sequenceNumber`
/// may be missing from any of them. Errors name the field or the byte.
pub fn parse(text: &str) -> Result<Message<'_>, WireError> {
    plain::media(text).map_or_else(|| parse_json(text), Ok)
}

fn parse_json(text: &str) -> Result<Message<'_>, WireError> {
    let fields = Fields::read(text)?;
    let event = match fields.event.required("event")? {
        name if name == "media" => Event::Media(fields.media.required("media")?.caller_audio()?),
        name if name == "mark" => {
            Event::Mark { name: fields.mark.required("mark")?.name.required("mark.name")? }
        }
        name if name == "dtmf" => Event::Dtmf { digit: fields.dtmf.required("dtmf")?.key()? },
        name if name == "connected" => Event::Connected,
        name if name == "start" => {
            let (start, inner_stream) = fields.start.required("start")?.beginning()?;
            let stream = fields.stream.optional("streamSid")?.or(inner_stream);
            let stream = stream.ok_or(WireError::Missing { field: "streamSid" })?;
            let sequence = fields.sequence.optional("sequenceNumber")?;
            return Ok(Message { stream: Some(stream), sequence, event: Event::Start(start) });
        }
        name if name == "stop" => Event::Stop,
        event => Event::Unknown { event },
    };
    let stream = fields.stream.optional("streamSid")?;
    let sequence = fields.sequence.optional("sequenceNumber")?;
    Ok(Message { stream, sequence, event })
}

/// Reads one message to the carrier, as a simulated carrier does.
///
/// `text`: one WebSocket text message. A known event must name its stream, as Twilio insists (its error 31951).
pub fn parse_outgoing(text: &str) -> Result<Outgoing<'_>, WireError> {
    let fields = Fields::read(text)?;
    let event = fields.event.required("event")?;
    let stream = fields.stream;
    Ok(match event {
        name if name == "media" => Outgoing::Media {
            stream: stream.required("streamSid")?,
            payload: fields.media.required("media")?.payload.required("media.payload")?,
        },
        name if name == "mark" => Outgoing::Mark {
            stream: stream.required("streamSid")?,
            name: fields.mark.required("mark")?.name.required("mark.name")?,
        },
        name if name == "clear" => Outgoing::Clear { stream: stream.required("streamSid")? },
        name if name == "error" => Outgoing::Error,
        event => Outgoing::Unknown { event },
    })
}

/// Decodes a payload into the beginning of `out`, and says how many bytes that made.
///
/// `payload`: standard base64, padded or not. Errors: [`WireError::NotBase64`] with the offending character's place,
/// [`WireError::TooLarge`] if `out` is shorter than the decoded bytes. What `out` holds after an error is unspecified.
pub fn decode_base64(payload: &str, out: &mut [u8]) -> Result<usize, WireError> {
    BASE64.decode_slice(payload, out).map_err(|error| match error {
        DecodeSliceError::OutputSliceTooSmall => {
            let symbols = payload.trim_end_matches('=').len();
            WireError::TooLarge { bytes: symbols / 4 * 3 + symbols % 4 * 3 / 4 }
        }
        DecodeSliceError::DecodeError(error) => WireError::NotBase64 {
            at: match error {
                DecodeError::InvalidByte(at, _) => at,
                DecodeError::InvalidLength(length) => length,
                DecodeError::InvalidLastSymbol { .. } => payload.trim_end_matches('=').len() - 1,
                DecodeError::InvalidPadding => payload.find('=').unwrap_or(payload.len()),
            },
        },
    })
}

/// Appends a piece of the agent's audio, any length of 8 kHz µ-law.
pub fn write_media(out: &mut Vec<u8>, stream: &str, ulaw: &[u8]) {
    out.extend_from_slice(br#"{"event":"media","streamSid":"#);
    write_string(out, stream);
    out.extend_from_slice(br#","media":{"payload":""#);
    write_base64(out, ulaw);
    out.extend_from_slice(br#""}}"#);
}

/// Appends a mark: the carrier sends `name` back once all audio before it has been played or cleared.
pub fn write_mark(out: &mut Vec<u8>, stream: &str, name: &str) {
    out.extend_from_slice(br#"{"event":"mark","streamSid":"#);
    write_string(out, stream);
    out.extend_from_slice(br#","mark":{"name":"#);
    write_string(out, name);
    out.extend_from_slice(b"}}");
}

/// Appends a clear: the carrier drops what it has not played yet, and sends every outstanding mark back.
pub fn write_clear(out: &mut Vec<u8>, stream: &str) {
    out.extend_from_slice(br#"{"event":"clear","streamSid":"#);
    write_string(out, stream);
    out.push(b'}');
}

/// Appends word of a message that could not be used: callbot's own addition to the dialect, which Twilio ignores (its error
/// 31951, told once per stream).
pub fn write_error(out: &mut Vec<u8>, message: &str, recoverable: bool) {
    out.extend_from_slice(br#"{"event":"error","error":{"code":"AUDIO_PROCESSING_FAILED","message":"#);
    write_string(out, message);
    out.extend_from_slice(if recoverable {
        br#","recoverable":true}}"#
    } else {
        br#","recoverable":false}}"#
    });
}

/// Appends the carrier's first message, before the stream has a name.
pub fn write_connected(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#);
}

/// Appends the carrier's second message, which counts as the stream's first.
pub fn write_start(out: &mut Vec<u8>, stream: &str, start: &Start<'_>) {
    out.extend_from_slice(br#"{"event":"start","sequenceNumber":"1","streamSid":"#);
    write_string(out, stream);
    out.extend_from_slice(br#","start":{"accountSid":"#);
    write_string(out, &start.account);
    out.extend_from_slice(br#","streamSid":"#);
    write_string(out, stream);
    out.extend_from_slice(br#","callSid":"#);
    write_string(out, &start.call);
    out.extend_from_slice(br#","tracks":["inbound"],"mediaFormat":{"encoding":"#);
    write_string(out, &start.format.encoding);
    out.extend_from_slice(br#","sampleRate":"#);
    write_number(out, start.format.sample_rate_hz);
    out.extend_from_slice(br#","channels":"#);
    write_number(out, start.format.channels);
    out.extend_from_slice(br#"},"customParameters":{"#);
    for (index, (name, value)) in start.parameters.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_string(out, value);
    }
    out.extend_from_slice(b"}}}");
}

/// Where a piece of the caller's audio stands in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Among all messages of the stream; `start` is 1.
    pub sequence: u32,
    /// Among the media messages, from 1.
    pub chunk: u32,
    /// Milliseconds since the stream began.
    pub timestamp_ms: u32,
}

/// Appends a piece of the caller's audio, any length of 8 kHz µ-law.
pub fn write_inbound_media(out: &mut Vec<u8>, stream: &str, place: Place, ulaw: &[u8]) {
    write_numbered(out, "media", stream, place.sequence);
    out.extend_from_slice(br#","media":{"track":"inbound","chunk":""#);
    write_number(out, place.chunk);
    out.extend_from_slice(br#"","timestamp":""#);
    write_number(out, place.timestamp_ms);
    out.extend_from_slice(br#"","payload":""#);
    write_base64(out, ulaw);
    out.extend_from_slice(br#""}}"#);
}

/// Appends a key that the caller pressed.
pub fn write_dtmf(out: &mut Vec<u8>, stream: &str, sequence: u32, digit: char) {
    write_numbered(out, "dtmf", stream, sequence);
    out.extend_from_slice(br#","dtmf":{"track":"inbound_track","digit":"#);
    write_string(out, digit.encode_utf8(&mut [0; 4]));
    out.extend_from_slice(b"}}");
}

/// Appends the echo of a mark.
pub fn write_mark_echo(out: &mut Vec<u8>, stream: &str, sequence: u32, name: &str) {
    write_numbered(out, "mark", stream, sequence);
    out.extend_from_slice(br#","mark":{"name":"#);
    write_string(out, name);
    out.extend_from_slice(b"}}");
}

/// Appends the carrier's last message. `start` is what the stream began with.
pub fn write_stop(out: &mut Vec<u8>, stream: &str, sequence: u32, start: &Start<'_>) {
    write_numbered(out, "stop", stream, sequence);
    out.extend_from_slice(br#","stop":{"accountSid":"#);
    write_string(out, &start.account);
    out.extend_from_slice(br#","callSid":"#);
    write_string(out, &start.call);
    out.extend_from_slice(b"}}");
}

fn write_numbered(out: &mut Vec<u8>, event: &str, stream: &str, sequence: u32) {
    out.extend_from_slice(br#"{"event":"#);
    write_string(out, event);
    out.extend_from_slice(br#","sequenceNumber":""#);
    write_number(out, sequence);
    out.extend_from_slice(br#"","streamSid":"#);
    write_string(out, stream);
}

fn write_number(out: &mut Vec<u8>, number: u32) {
    write!(out, "{number}").expect("writing to a Vec cannot fail");
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    BASE64.encode_slice(bytes, &mut out[start..]).expect("four characters stand for three bytes");
}

/// Appends a JSON string with its quotes.
fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                0..0x20 => write!(out, "\\u{byte:04x}").expect("writing to a Vec cannot fail"),
                _ => out.push(byte),
            }
        }
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

/// A field as it stands in the text. Whether it is needed shows only once the event is known, so nothing fails before.
#[derive(Default)]
enum Field<T> {
    #[default]
    Absent,
    Wrong,
    Is(T),
}

impl<T> Field<T> {
    fn optional(self, field: &'static str) -> Result<Option<T>, WireError> {
        match self {
            Self::Absent => Ok(None),
            Self::Wrong => Err(WireError::Invalid { field }),
            Self::Is(value) => Ok(Some(value)),
        }
    }

    fn required(self, field: &'static str) -> Result<T, WireError> {
        self.optional(field)?.ok_or(WireError::Missing { field })
    }
}

impl<T> From<Option<T>> for Field<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Wrong, Self::Is)
    }
}

/// What a field may be made from; the other kinds of JSON value make it [`Field::Wrong`].
trait FromJson<'de>: Sized {
    fn from_text(_text: Cow<'de, str>) -> Option<Self> {
        None
    }

    fn from_number(_number: u64) -> Option<Self> {
        None
    }

    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl<'de> FromJson<'de> for Cow<'de, str> {
    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        Some(text)
    }
}

impl<'de> FromJson<'de> for u32 {
    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    }

    fn from_number(number: u64) -> Option<Self> {
        number.try_into().ok()
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: FromJson<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(FieldVisitor(PhantomData))
    }
}

impl<'de, T: FromJson<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(T::from_text(Cow::Borrowed(text)).into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(T::from_text(Cow::Owned(text.to_owned())).into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(T::from_number(number).into())
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        Ok(T::from_object(object)?.into())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Wrong)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::Wrong)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Field::Wrong)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Field::Wrong)
    }
}

/// An object's key, or a field's text where nothing else is allowed.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        match Field::deserialize(json)? {
            Field::Is(text) => Ok(Self(text)),
            Field::Absent | Field::Wrong => Err(D::Error::custom("a key is a string")),
        }
    }
}

/// Declares an object of known fields, each with its key and the name that errors give it. Other keys are skipped.
macro_rules! object {
    ($object:ident { $($field:ident: $kind:ty = $key:literal as $name:literal,)* }) => {
        #[derive(Default)]
        struct $object<'a> {
            $($field: Field<$kind>,)*
            /// The name of a field that stands here twice.
            twice: Option<&'static str>,
        }

        impl<'a> FromJson<'a> for $object<'a> {
            fn from_object<A: MapAccess<'a>>(mut object: A) -> Result<Option<Self>, A::Error> {
                let mut fields = Self::default();
                let mut seen = 0_u32;
                while let Some(Key(key)) = object.next_key()? {
                    let mut _bit = 1;
                    $(
                        if key == $key {
                            if seen & _bit != 0 {
                                fields.twice = Some($name);
                            }
                            seen |= _bit;
                            fields.$field = object.next_value()?;
                            continue;
                        }
                        _bit <<= 1;
                    )*
                    object.next_value::<IgnoredAny>()?;
                }
                Ok(Some(fields))
            }
        }
    };
}

object!(Fields {
    event: Cow<'a, str> = "event" as "event",
    stream: Cow<'a, str> = "streamSid" as "streamSid",
    sequence: u32 = "sequenceNumber" as "sequenceNumber",
    media: MediaFields<'a> = "media" as "media",
    mark: MarkFields<'a> = "mark" as "mark",
    dtmf: DtmfFields<'a> = "dtmf" as "dtmf",
    start: StartFields<'a> = "start" as "start",
});

object!(MediaFields {
    track: Cow<'a, str> = "track" as "media.track",
    chunk: u32 = "chunk" as "media.chunk",
    timestamp_ms: u32 = "timestamp" as "media.timestamp",
    payload: Cow<'a, str> = "payload" as "media.payload",
});

object!(MarkFields {
    name: Cow<'a, str> = "name" as "mark.name",
});

object!(DtmfFields {
    digit: Cow<'a, str> = "digit" as "dtmf.digit",
});

object!(StartFields {
    stream: Cow<'a, str> = "streamSid" as "start.streamSid",
    account: Cow<'a, str> = "accountSid" as "start.accountSid",
    call: Cow<'a, str> = "callSid" as "start.callSid",
    format: FormatFields<'a> = "mediaFormat" as "start.mediaFormat",
    parameters: Parameters<'a> = "customParameters" as "start.customParameters",
});

object!(FormatFields {
    encoding: Cow<'a, str> = "encoding" as "start.mediaFormat.encoding",
    sample_rate_hz: u32 = "sampleRate" as "start.mediaFormat.sampleRate",
    channels: u32 = "channels" as "start.mediaFormat.channels",
});

/// More parameters than a stream can be given: Twilio's REST API stops at `Parameter99`. Bounds the search for duplicates.
const MAX_PARAMETERS: usize = 128;

/// Names and values in the order of the text.
struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> FromJson<'a> for Parameters<'a> {
    fn from_object<A: MapAccess<'a>>(mut object: A) -> Result<Option<Self>, A::Error> {
        let mut parameters = Vec::new();
        let mut wrong = false;
        while let Some(Key(name)) = object.next_key()? {
            match object.next_value()? {
                Field::Is(value)
                    if parameters.len() < MAX_PARAMETERS
                        && !parameters.iter().any(|(other, _)| *other == name) =>
                {
                    parameters.push((name, value));
                }
                _ => wrong = true,
            }
        }
        Ok((!wrong).then_some(Self(parameters)))
    }
}

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self, WireError> {
        let fields = match serde_json::from_str(text) {
            Ok(Field::Is(fields)) => fields,
            Ok(Field::Absent | Field::Wrong) => return Err(WireError::NotJson { at: 0 }),
            Err(error) => return Err(WireError::NotJson { at: offset(text, &error) }),
        };
        match Self::twice(&fields) {
            Some(field) => Err(WireError::Duplicate { field }),
            None => Ok(fields),
        }
    }

    /// The first field that stands twice, in any of the objects.
    fn twice(&self) -> Option<&'static str> {
        fn inner<T>(field: &Field<T>, twice: impl Fn(&T) -> Option<&'static str>) -> Option<&'static str> {
            if let Field::Is(object) = field { twice(object) } else { None }
        }
        self.twice
            .or_else(|| inner(&self.media, |media| media.twice))
            .or_else(|| inner(&self.mark, |mark| mark.twice))
            .or_else(|| inner(&self.dtmf, |dtmf| dtmf.twice))
            .or_else(|| {
                inner(&self.start, |start| start.twice.or(inner(&start.format, |format| format.twice)))
            })
    }
}

impl<'a> MediaFields<'a> {
    fn caller_audio(self) -> Result<Media<'a>, WireError> {
        let outbound_track = match self.track.optional("media.track")?.as_deref() {
            None | Some("inbound" | "inbound_track") => false,
            Some("outbound" | "outbound_track") => true,
            Some(_) => return Err(WireError::Invalid { field: "media.track" }),
        };
        Ok(Media {
            chunk: self.chunk.optional("media.chunk")?,
            timestamp_ms: self.timestamp_ms.optional("media.timestamp")?,
            outbound_track,
            payload: self.payload.required("media.payload")?,
        })
    }
}

impl DtmfFields<'_> {
    fn key(self) -> Result<char, WireError> {
        let digit = self.digit.required("dtmf.digit")?;
        let mut chars = digit.chars().map(|key| key.to_ascii_uppercase());
        match (chars.next(), chars.next()) {
            (Some(key @ ('0'..='9' | '*' | '#' | 'A'..='D')), None) => Ok(key),
            _ => Err(WireError::Invalid { field: "dtmf.digit" }),
        }
    }
}

impl<'a> StartFields<'a> {
    /// The beginning, and the stream's name if it stands here (Twilio writes it here and beside the event).
    fn beginning(self) -> Result<(Start<'a>, Option<Cow<'a, str>>), WireError> {
        let stream = self.stream.optional("start.streamSid")?;
        let format = self.format.optional("start.mediaFormat")?.unwrap_or_default();
        let start = Start {
            account: self.account.optional("start.accountSid")?.unwrap_or_default(),
            call: self.call.required("start.callSid")?,
            format: format.or_mulaw()?,
            parameters: self
                .parameters
                .optional("start.customParameters")?
                .map_or_else(Vec::new, |parameters| parameters.0),
        };
        Ok((start, stream))
    }
}

impl<'a> FormatFields<'a> {
    /// What is not said is as Twilio documents it for every stream: mono µ-law at 8 kHz.
    fn or_mulaw(self) -> Result<MediaFormat<'a>, WireError> {
        let encoding = self.encoding.optional("start.mediaFormat.encoding")?;
        Ok(MediaFormat {
            encoding: encoding.unwrap_or(Cow::Borrowed("audio/x-mulaw")),
            sample_rate_hz: self.sample_rate_hz.optional("start.mediaFormat.sampleRate")?.unwrap_or(8_000),
            channels: self.channels.optional("start.mediaFormat.channels")?.unwrap_or(1),
        })
    }
}

/// Where serde_json found the offence, in bytes; it counts lines and columns from 1.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    if error.is_eof() {
        return text.len();
    }
    let line = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    (line + error.column().saturating_sub(1)).min(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "MZ0123456789abcdef0123456789abcdef";

    fn start() -> Start<'static> {
        Start {
            account: "AC01".into(),
            call: "CA01".into(),
            format: MediaFormat { encoding: "audio/x-mulaw".into(), sample_rate_hz: 8_000, channels: 1 },
            parameters: vec![("token".into(), "a\"b\\c\n\u{1f600}".into()), ("to".into(), "+1500".into())],
        }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("what is written is text")
    }

    fn message(sequence: u32, event: Event<'static>) -> Message<'static> {
        Message { stream: Some(STREAM.into()), sequence: Some(sequence), event }
    }

    #[test]
    fn each_message_of_the_carrier_is_read_as_it_was_written() {
        assert_eq!(
            parse(&written(write_connected)),
            Ok(Message { stream: None, sequence: None, event: Event::Connected })
        );
        let text = written(|out| write_start(out, STREAM, &start()));
        assert_eq!(parse(&text), Ok(message(1, Event::Start(start()))));
        let place = Place { sequence: 2, chunk: 1, timestamp_ms: 5 };
        let text = written(|out| write_inbound_media(out, STREAM, place, &[0xff; 3]));
        let media =
            Media { chunk: Some(1), timestamp_ms: Some(5), outbound_track: false, payload: "////".into() };
        assert_eq!(parse(&text), Ok(message(2, Event::Media(media))));
        let text = written(|out| write_dtmf(out, STREAM, 3, '#'));
        assert_eq!(parse(&text), Ok(message(3, Event::Dtmf { digit: '#' })));
        let text = written(|out| write_mark_echo(out, STREAM, 4, "m-17"));
        assert_eq!(parse(&text), Ok(message(4, Event::Mark { name: "m-17".into() })));
        let text = written(|out| write_stop(out, STREAM, 5, &start()));
        assert_eq!(parse(&text), Ok(message(5, Event::Stop)));
    }

    #[test]
    fn messages_have_the_documented_shape() {
        assert_eq!(
            written(|out| write_media(out, "MZ1", &[0x7f, 0xff])),
            r#"{"event":"media","streamSid":"MZ1","media":{"payload":"f/8="}}"#
        );
        assert_eq!(
            written(|out| write_mark(out, "MZ1", "m-17")),
            r#"{"event":"mark","streamSid":"MZ1","mark":{"name":"m-17"}}"#
        );
        assert_eq!(written(|out| write_clear(out, "MZ1")), r#"{"event":"clear","streamSid":"MZ1"}"#);
        let place = Place { sequence: 2, chunk: 1, timestamp_ms: 5 };
        assert_eq!(
            written(|out| write_inbound_media(out, "MZ1", place, &[0xff])),
            r#"{"event":"media","sequenceNumber":"2","streamSid":"MZ1","media":{"track":"inbound","chunk":"1","timestamp":"5","payload":"/w=="}}"#
        );
        assert_eq!(
            written(|out| write_dtmf(out, "MZ1", 5, '1')),
            r#"{"event":"dtmf","sequenceNumber":"5","streamSid":"MZ1","dtmf":{"track":"inbound_track","digit":"1"}}"#
        );
        assert_eq!(
            written(|out| write_mark_echo(out, "MZ1", 6, "m-17")),
            r#"{"event":"mark","sequenceNumber":"6","streamSid":"MZ1","mark":{"name":"m-17"}}"#
        );
        let start = Start { parameters: vec![("token".into(), "abc".into())], ..start() };
        assert_eq!(
            written(|out| write_stop(out, "MZ1", 7, &start)),
            r#"{"event":"stop","sequenceNumber":"7","streamSid":"MZ1","stop":{"accountSid":"AC01","callSid":"CA01"}}"#
        );
        assert_eq!(
            written(|out| write_start(out, "MZ1", &start)),
            concat!(
                r#"{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{"accountSid":"AC01","streamSid":"MZ1","#,
                r#""callSid":"CA01","tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"#,
                r#""channels":1},"customParameters":{"token":"abc"}}}"#
            )
        );
    }

    #[test]
    fn each_message_of_the_bot_is_read_as_it_was_written() {
        let text = written(|out| write_media(out, STREAM, &[0xff; 3]));
        let media = Outgoing::Media { stream: STREAM.into(), payload: "////".into() };
        assert_eq!(parse_outgoing(&text), Ok(media));
        let text = written(|out| write_mark(out, STREAM, "m\t\"1\""));
        let mark = Outgoing::Mark { stream: STREAM.into(), name: "m\t\"1\"".into() };
        assert_eq!(parse_outgoing(&text), Ok(mark));
        let text = written(|out| write_clear(out, STREAM));
        assert_eq!(parse_outgoing(&text), Ok(Outgoing::Clear { stream: STREAM.into() }));
        let text = written(|out| write_error(out, "Failed to process audio chunk", true));
        assert_eq!(
            text,
            r#"{"event":"error","error":{"code":"AUDIO_PROCESSING_FAILED","message":"Failed to process audio chunk","recoverable":true}}"#
        );
        assert_eq!(parse_outgoing(&text), Ok(Outgoing::Error));
        let unknown = Outgoing::Unknown { event: "hangup".into() };
        assert_eq!(parse_outgoing(r#"{"event":"hangup"}"#), Ok(unknown));
    }

    #[test]
    fn a_bot_must_name_the_stream_and_what_it_sends() {
        for (text, field) in [
            (r#"{"streamSid":"MZ1"}"#, "event"),
            (r#"{"event":"clear"}"#, "streamSid"),
            (r#"{"event":"media","media":{"payload":""}}"#, "streamSid"),
            (r#"{"event":"media","streamSid":"MZ1"}"#, "media"),
            (r#"{"event":"media","streamSid":"MZ1","media":{}}"#, "media.payload"),
            (r#"{"event":"mark","streamSid":"MZ1","mark":{}}"#, "mark.name"),
        ] {
            assert_eq!(parse_outgoing(text), Err(WireError::Missing { field }), "{text}");
        }
    }

    #[test]
    fn a_media_message_is_read_without_a_copy() {
        let text = written(|out| write_media(out, STREAM, &[1; 160]));
        let Ok(Message { stream: Some(Cow::Borrowed(_)), event: Event::Media(media), .. }) = parse(&text)
        else {
            panic!("not media, or copied: {text}");
        };
        assert!(matches!(media.payload, Cow::Borrowed(_)));
    }

    #[test]
    fn order_spacing_numbers_escapes_and_strangers_do_not_matter() {
        let text = r#" {
            "media": { "payload": "\/\u002f\/\/", "extra": [{"deep": [1, 2.5e3, null]}], "timestamp": 40, "chunk": 3 },
            "streamSid": "MZ1", "sequenceNumber": 7, "dtmf": null, "new": {"x": {"y": []}}, "ev\u0065nt": "media"
        } "#;
        let media =
            Media { chunk: Some(3), timestamp_ms: Some(40), outbound_track: false, payload: "////".into() };
        let message = Message { stream: Some("MZ1".into()), sequence: Some(7), event: Event::Media(media) };
        assert_eq!(parse(text), Ok(message));
    }

    #[test]
    fn a_tap_hears_both_parties() {
        let outbound = |track: &str| {
            let text = format!(r#"{{"event":"media","media":{{"track":"{track}","payload":""}}}}"#);
            match parse(&text).map(|message| message.event) {
                Ok(Event::Media(media)) => Ok(media.outbound_track),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error),
            }
        };
        assert_eq!(outbound("inbound"), Ok(false));
        assert_eq!(outbound("outbound"), Ok(true));
        assert_eq!(outbound("sideways"), Err(WireError::Invalid { field: "media.track" }));
    }

    #[test]
    fn a_short_start_means_what_twilio_documents() {
        let text = r#"{"event":"start","start":{"streamSid":"MZ1","callSid":"CA1"}}"#;
        let message = parse(text).unwrap();
        assert_eq!(message.stream.as_deref(), Some("MZ1"));
        let Event::Start(begun) = message.event else { panic!("{:?}", message.event) };
        assert_eq!(begun.format, start().format);
        assert_eq!((&*begun.account, &*begun.call, begun.parameters.len()), ("", "CA1", 0));
    }

    #[test]
    fn events_that_we_do_not_know_are_named_whatever_they_hold() {
        for text in [r#"{"event":"weather","media":5}"#, r#"{"weather":{"event":"x"},"event":"weather"}"#] {
            assert_eq!(parse(text).unwrap().event, Event::Unknown { event: "weather".into() });
        }
    }

    #[test]
    fn a_malformed_message_is_an_error_that_says_what_and_where() {
        use WireError::{Duplicate, Invalid, Missing, NotJson};
        for (text, error) in [
            ("", NotJson { at: 0 }),
            ("null", NotJson { at: 0 }),
            ("[\"media\"]", NotJson { at: 0 }),
            ("\"media\"", NotJson { at: 0 }),
            ("{\"event\":\"stop\"} x", NotJson { at: 17 }),
            ("{\"event\":\n \"stop\",}", NotJson { at: 18 }),
            ("{\"event\":stop}", NotJson { at: 9 }),
            ("{}", Missing { field: "event" }),
            (r#"{"event":null}"#, Missing { field: "event" }),
            (r#"{"event":7}"#, Invalid { field: "event" }),
            (r#"{"event":"stop","event":"media"}"#, Duplicate { field: "event" }),
            (r#"{"event":"stop","streamSid":["MZ1"]}"#, Invalid { field: "streamSid" }),
            (r#"{"event":"stop","sequenceNumber":"-1"}"#, Invalid { field: "sequenceNumber" }),
            (r#"{"event":"stop","sequenceNumber":"+1"}"#, Invalid { field: "sequenceNumber" }),
            (r#"{"event":"stop","sequenceNumber":""}"#, Invalid { field: "sequenceNumber" }),
            (r#"{"event":"stop","sequenceNumber":-1}"#, Invalid { field: "sequenceNumber" }),
            (r#"{"event":"stop","sequenceNumber":4294967296}"#, Invalid { field: "sequenceNumber" }),
            (r#"{"event":"stop","sequenceNumber":"4294967296"}"#, Invalid { field: "sequenceNumber" }),
            (r#"{"event":"stop","sequenceNumber":1e30}"#, Invalid { field: "sequenceNumber" }),
            (r#"{"event":"stop","sequenceNumber":true}"#, Invalid { field: "sequenceNumber" }),
            (r#"{"event":"media"}"#, Missing { field: "media" }),
            (r#"{"event":"media","media":"////"}"#, Invalid { field: "media" }),
            (r#"{"event":"media","media":{}}"#, Missing { field: "media.payload" }),
            (r#"{"event":"media","media":{"payload":{"a":1}}}"#, Invalid { field: "media.payload" }),
            (
                r#"{"event":"media","media":{"payload":"","payload":"////"}}"#,
                Duplicate { field: "media.payload" },
            ),
            (r#"{"event":"media","media":{"payload":"","chunk":1.5}}"#, Invalid { field: "media.chunk" }),
            (r#"{"event":"mark","mark":{"name":1}}"#, Invalid { field: "mark.name" }),
            (r#"{"event":"mark"}"#, Missing { field: "mark" }),
            (r#"{"event":"dtmf","dtmf":{"digit":"12"}}"#, Invalid { field: "dtmf.digit" }),
            (r#"{"event":"dtmf","dtmf":{"digit":"E"}}"#, Invalid { field: "dtmf.digit" }),
            (r#"{"event":"dtmf","dtmf":{"digit":""}}"#, Invalid { field: "dtmf.digit" }),
            (r#"{"event":"start","streamSid":"MZ1"}"#, Missing { field: "start" }),
            (r#"{"event":"start","streamSid":"MZ1","start":{}}"#, Missing { field: "start.callSid" }),
            (r#"{"event":"start","start":{"callSid":"CA1"}}"#, Missing { field: "streamSid" }),
            (
                r#"{"event":"start","streamSid":"MZ1","start":{"callSid":"CA1","mediaFormat":{"channels":[]}}}"#,
                Invalid { field: "start.mediaFormat.channels" },
            ),
            (
                r#"{"event":"start","streamSid":"MZ1","start":{"callSid":"CA1","mediaFormat":{"channels":1,"channels":1}}}"#,
                Duplicate { field: "start.mediaFormat.channels" },
            ),
            (
                r#"{"event":"start","streamSid":"MZ1","start":{"callSid":"CA1","customParameters":{"a":"1","a":"2"}}}"#,
                Invalid { field: "start.customParameters" },
            ),
            (
                r#"{"event":"start","streamSid":"MZ1","start":{"callSid":"CA1","customParameters":{"a":1}}}"#,
                Invalid { field: "start.customParameters" },
            ),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_number_beyond_all_bounds_is_refused_where_it_ends() {
        let text = format!(r#"{{"event":"stop","sequenceNumber":1{}}}"#, "0".repeat(400));
        assert!(matches!(parse(&text), Err(WireError::NotJson { at: 400.. })), "{:?}", parse(&text));
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let bomb = "[".repeat(200_000) + &"]".repeat(200_000);
        let text = format!(r#"{{"new":{bomb},"event":"stop"}}"#);
        assert_eq!(parse(&text).unwrap().event, Event::Stop);
        for field in ["event", "media"] {
            let text = format!(r#"{{"{field}":{bomb},"event":"media"}}"#);
            assert!(parse(&text).is_err());
        }
        let objects = r#"{"start":"#.repeat(200_000);
        assert_eq!(parse(&objects), Err(WireError::NotJson { at: objects.len() }));
    }

    #[test]
    fn base64_says_where_it_is_wrong() {
        let mut out = [0; 6];
        for (payload, expected) in [
            ("", Ok(&[] as &[u8])),
            ("/w==", Ok(&[0xff])),
            ("/w", Ok(&[0xff])),
            ("f/8=", Ok(&[0x7f, 0xff])),
            ("AAECAwQF", Ok(&[0, 1, 2, 3, 4, 5])),
            ("AAECAwQFBg==", Err(WireError::TooLarge { bytes: 7 })),
            ("AAECAwQFBg", Err(WireError::TooLarge { bytes: 7 })),
            ("AA-C", Err(WireError::NotBase64 { at: 2 })),
            ("AAé", Err(WireError::NotBase64 { at: 2 })),
            ("AAE\n", Err(WireError::NotBase64 { at: 3 })),
            ("A", Err(WireError::NotBase64 { at: 1 })),
            ("/x==", Err(WireError::NotBase64 { at: 1 })),
            ("=", Err(WireError::NotBase64 { at: 0 })),
            ("AA==AAAA", Err(WireError::NotBase64 { at: 2 })),
        ] {
            let decoded = decode_base64(payload, &mut out).map(|length| out[..length].to_vec());
            assert_eq!(decoded, expected.map(<[u8]>::to_vec), "{payload}");
        }
    }

    #[test]
    fn every_message_of_the_capture_is_known() {
        let capture = include_str!("../../../fixtures/captures/twilio/session.jsonl");
        let mut kinds = Vec::new();
        let mut heard = 0;
        let mut last_sequence = 0;
        for line in capture.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = line["text"].as_str().unwrap();
            let mut ulaw = [0; 160];
            let kind = match line["from"].as_str().unwrap() {
                "carrier" => {
                    let message = parse(text).unwrap();
                    if let Some(sequence) = message.sequence {
                        assert_eq!(sequence, last_sequence + 1, "{text}");
                        last_sequence = sequence;
                    }
                    match message.event {
                        Event::Connected => "connected",
                        Event::Start(start) => {
                            assert_eq!(start.parameters[0], ("token".into(), "fixture".into()));
                            "start"
                        }
                        Event::Media(media) => {
                            heard += decode_base64(&media.payload, &mut ulaw).unwrap();
                            "media"
                        }
                        Event::Dtmf { .. } => "dtmf",
                        Event::Mark { .. } => "mark",
                        Event::Stop => "stop",
                        Event::Unknown { event } => panic!("{event}"),
                    }
                }
                "bot" => match parse_outgoing(text).unwrap() {
                    Outgoing::Media { payload, .. } => {
                        assert_eq!(decode_base64(&payload, &mut ulaw), Ok(160));
                        "bot media"
                    }
                    Outgoing::Mark { .. } => "bot mark",
                    Outgoing::Clear { .. } => "bot clear",
                    Outgoing::Error => panic!("the bot could use all that it got"),
                    Outgoing::Unknown { event } => panic!("{event}"),
                },
                other => panic!("direction {other}"),
            };
            kinds.push(kind);
        }
        assert_eq!(kinds[..2], ["connected", "start"]);
        assert_eq!(kinds.last(), Some(&"stop"));
        for kind in ["media", "dtmf", "mark", "bot media", "bot mark", "bot clear"] {
            assert!(kinds.contains(&kind), "{kind} is missing");
        }
        assert_eq!(heard, 160 * kinds.iter().filter(|kind| **kind == "media").count());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,400}") {
            let _ = parse(&text);
            let _ = parse_outgoing(&text);
            let mut out = [0; 64];
            let _ = decode_base64(&text, &mut out);
        }

        #[test]
        fn any_damage_to_a_message_is_read_or_refused(
            at in 0_usize..600, with in "[\\x00-\\x7f]{0,4}", cut in 0_usize..8,
        ) {
            let mut text = written(|out| write_start(out, STREAM, &start()));
            text.push_str(&written(|out| write_media(out, STREAM, b"some bytes")));
            let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            let end = (at + cut..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
            text.replace_range(at.min(end)..end, &with);
            let _ = parse(&text);
            let _ = parse_outgoing(&text);
        }

        #[test]
        fn any_bytes_and_names_come_back_from_a_message(
            stream in ".{0,40}", name in ".{0,40}", ulaw in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let text = written(|out| write_media(out, &stream, &ulaw));
            let Ok(Outgoing::Media { stream: read, payload }) = parse_outgoing(&text) else {
                panic!("{text}");
            };
            prop_assert_eq!(&*read, &*stream);
            let mut decoded = vec![0; ulaw.len()];
            prop_assert_eq!(decode_base64(&payload, &mut decoded), Ok(ulaw.len()));
            prop_assert_eq!(decoded, ulaw);
            let text = written(|out| write_mark_echo(out, &stream, 9, &name));
            let message = Message {
                stream: Some(stream.into()),
                sequence: Some(9),
                event: Event::Mark { name: name.into() },
            };
            prop_assert_eq!(parse(&text), Ok(message));
        }
    }
}
