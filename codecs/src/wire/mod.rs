//! The carriers' dialects, one file each: bytes to [`Message`], and back.

pub mod twilio;

use std::borrow::Cow;

/// One message from a carrier, in the one vocabulary that the engine knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The carrier's name for the stream, where the message carries one.
    pub stream: Option<Cow<'a, str>>,
    /// Place among all of the stream's messages, counted by the carrier from 1, where the message carries one.
    pub sequence: Option<u32>,
    /// What happened.
    pub event: Event<'a>,
}

/// What a carrier's message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The socket speaks this protocol; nothing about the call yet.
    Connected,
    /// The stream begins.
    Start(Start<'a>),
    /// The caller's audio.
    Media(Media<'a>),
    /// A key that the caller pressed: `0`-`9`, `*`, `#`, `A`-`D`.
    Dtmf {
        /// The key.
        digit: char,
    },
    /// A mark of ours came back: played, or dropped by a `clear`.
    Mark {
        /// The name that we gave it.
        name: Cow<'a, str>,
    },
    /// The stream ends.
    Stop,
    /// An event that this dialect does not know; carriers add some.
    Unknown {
        /// Its name.
        event: Cow<'a, str>,
    },
}

/// How a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start<'a> {
    /// The carrier's account; empty where the message names none.
    pub account: Cow<'a, str>,
    /// The carrier's name for the call.
    pub call: Cow<'a, str>,
    /// What the caller's audio is coded as.
    pub format: MediaFormat<'a>,
    /// The parameters that our answer to the webhook set, as name and value.
    pub parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// What a stream's payloads are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaFormat<'a> {
    /// A MIME type: `audio/x-mulaw`.
    pub encoding: Cow<'a, str>,
    /// Samples per second.
    pub sample_rate_hz: u32,
    /// 1 for mono.
    pub channels: u32,
}

/// One piece of the caller's audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media<'a> {
    /// Place among the stream's media messages, from 1.
    pub chunk: Option<u32>,
    /// Milliseconds from the stream's beginning to this piece.
    pub timestamp_ms: Option<u32>,
    /// True if this is the other party's audio (a unidirectional tap), not the caller's.
    pub outbound_track: bool,
    /// Base64 of the samples, not decoded yet: see [`decode_base64`](twilio::decode_base64).
    pub payload: Cow<'a, str>,
}

/// One message to a carrier, as the carrier reads it: what a simulated carrier receives from a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing<'a> {
    /// Audio to play after all that came before.
    Media {
        /// The stream that it belongs to.
        stream: Cow<'a, str>,
        /// Base64 of the samples, not decoded yet.
        payload: Cow<'a, str>,
    },
    /// Asks for an echo once all audio before it has been played.
    Mark {
        /// The stream that it belongs to.
        stream: Cow<'a, str>,
        /// What the echo shall say.
        name: Cow<'a, str>,
    },
    /// Drop the audio that has not been played; echo the marks that wait for it.
    Clear {
        /// The stream that it belongs to.
        stream: Cow<'a, str>,
    },
    /// The bot could not use what it got. Carriers have no use for it; test clients do.
    Error,
    /// An event that this dialect does not know.
    Unknown {
        /// Its name.
        event: Cow<'a, str>,
    },
}

/// Why a message could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The text is not a JSON object, or holds a number beyond any that JSON readers agree on.
    #[error("not JSON at byte {at}")]
    NotJson {
        /// Offset of the offence in the text, in bytes.
        at: usize,
    },
    /// A field that the event needs is absent.
    #[error("field {field} is missing")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A field stands twice, so that readers would disagree on its value.
    #[error("field {field} stands twice")]
    Duplicate {
        /// Its name.
        field: &'static str,
    },
    /// A field has a value that it may not have.
    #[error("field {field} has an invalid value")]
    Invalid {
        /// Its name.
        field: &'static str,
    },
    /// The payload is not base64.
    #[error("payload is not base64 at character {at}")]
    NotBase64 {
        /// Offset of the offence in the payload, in characters.
        at: usize,
    },
    /// The payload holds more than the buffer that it is decoded into.
    #[error("payload of {bytes} bytes is too large")]
    TooLarge {
        /// Its decoded size.
        bytes: usize,
    },
}
