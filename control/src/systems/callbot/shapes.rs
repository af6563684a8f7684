//! Shapes of the API that no handler has as a type: forms, whose fields are read by name, and the media socket's messages,
//! which are read and written without allocating. They are what the OpenAPI document shows.

use serde::{Deserialize, Serialize};
use utoipa::openapi::ObjectBuilder;
use utoipa::{OpenApi, ToSchema};

use crate::server::openapi::words;

/// What a carrier says of a call that comes in. Carriers send more fields; the others are ignored, but signed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(examples(json!({
    "CallSid": "CA00000000000000000000000000000001",
    "From": "+1234567890",
    "To": "+1987654321",
    "Direction": "inbound",
    "CallStatus": "ringing",
    "AccountSid": "AC00000000000000000000000000000001",
})))]
pub struct IncomingCallForm {
    /// The carrier's name for the call: at most 256 characters.
    #[schema(max_length = 256)]
    pub call_sid: String,
    /// Who calls, E.164.
    #[schema(required = false)]
    pub from: String,
    /// The number that was called, E.164.
    #[schema(required = false)]
    pub to: String,
    /// `inbound`, or a word for calls that the carrier was told to make.
    #[schema(required = false)]
    pub direction: String,
    /// Where the call stands. Not read here.
    #[schema(required = false)]
    pub call_status: String,
    /// Whose account it is. Signed webhooks are limited by it, where accounts are.
    #[schema(required = false)]
    pub account_sid: String,
}

/// Where a call stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(examples(json!({
    "CallSid": "CA00000000000000000000000000000001",
    "CallStatus": "completed",
    "CallDuration": 30,
    "SequenceNumber": 3,
})))]
pub struct CallStatusForm {
    /// The carrier's name for the call: at most 256 characters.
    #[schema(max_length = 256)]
    pub call_sid: String,
    /// `queued`, `initiated`, `ringing`, `in-progress`, `completed`, `busy`, `failed`, `no-answer` or `canceled`; other words
    /// are kept as they are.
    #[schema(max_length = 256)]
    pub call_status: String,
    /// How long the call was, in seconds.
    #[schema(required = false)]
    pub call_duration: u32,
    /// In seconds too, unless `CallDuration` is there: Twilio's own `Duration` is in minutes, and comes with it.
    #[schema(required = false)]
    pub duration: u32,
    /// The report's place among those of its call. One that was overtaken does not count.
    #[schema(required = false)]
    pub sequence_number: u32,
}

/// A call's stream is over.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(examples(json!({ "CallSid": "CA00000000000000000000000000000001", "CallStatus": "in-progress" })))]
pub struct AfterStreamForm {
    /// The carrier's name for the call: at most 256 characters.
    #[schema(max_length = 256)]
    pub call_sid: String,
    /// `in-progress`; other words are passed over.
    #[schema(required = false, max_length = 256)]
    pub call_status: String,
}

/// The schemas of the media socket's messages: no request or answer has them as its body.
#[derive(Debug, OpenApi)]
#[openapi(components(schemas(CarrierMessage, BotMessage)))]
pub struct MediaMessages;

/// A message from the carrier. `sequenceNumber` may be missing from any; unknown events are counted and ignored.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
#[schema(examples(
    json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" }),
    json!({
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": "MZ00000000000000000000000000000001",
        "start": {
            "accountSid": "AC00000000000000000000000000000001",
            "streamSid": "MZ00000000000000000000000000000001",
            "callSid": "CA00000000000000000000000000000001",
            "tracks": ["inbound"],
            "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 },
            "customParameters": { "token": "the one in the TwiML" },
        },
    }),
    json!({
        "event": "media",
        "sequenceNumber": "2",
        "streamSid": "MZ00000000000000000000000000000001",
        "media": { "track": "inbound", "chunk": "1", "timestamp": "20", "payload": "/////w==" },
    }),
    json!({
        "event": "mark",
        "sequenceNumber": "3",
        "streamSid": "MZ00000000000000000000000000000001",
        "mark": { "name": "7" },
    }),
    json!({
        "event": "dtmf",
        "sequenceNumber": "4",
        "streamSid": "MZ00000000000000000000000000000001",
        "dtmf": { "track": "inbound_track", "digit": "5" },
    }),
    json!({
        "event": "stop",
        "sequenceNumber": "5",
        "streamSid": "MZ00000000000000000000000000000001",
        "stop": {
            "accountSid": "AC00000000000000000000000000000001",
            "callSid": "CA00000000000000000000000000000001",
        },
    }),
))]
pub enum CarrierMessage {
    /// The first message.
    Connected {
        /// `Call`.
        protocol: String,
        /// Of the protocol.
        version: String,
    },
    /// The stream begins. It must come within 10 s, and show the token that the TwiML gave.
    Start {
        /// Among all messages of the stream, from 1.
        #[serde(rename = "sequenceNumber")]
        sequence_number: Option<String>,
        /// The carrier's name for the stream.
        #[serde(rename = "streamSid")]
        stream_sid: String,
        /// What the stream is of.
        start: StreamStart,
    },
    /// A piece of the caller's audio: 20 ms as a rule.
    Media {
        /// Among all messages of the stream.
        #[serde(rename = "sequenceNumber")]
        sequence_number: Option<String>,
        /// The carrier's name for the stream.
        #[serde(rename = "streamSid")]
        stream_sid: String,
        /// The audio.
        media: CallerAudio,
    },
    /// All audio before a mark of ours was played, or dropped at our `clear`.
    Mark {
        /// Among all messages of the stream.
        #[serde(rename = "sequenceNumber")]
        sequence_number: Option<String>,
        /// The carrier's name for the stream.
        #[serde(rename = "streamSid")]
        stream_sid: String,
        /// The mark.
        mark: MarkName,
    },
    /// The caller pressed a key.
    Dtmf {
        /// Among all messages of the stream.
        #[serde(rename = "sequenceNumber")]
        sequence_number: Option<String>,
        /// The carrier's name for the stream.
        #[serde(rename = "streamSid")]
        stream_sid: String,
        /// The key.
        dtmf: Key,
    },
    /// The call is over.
    Stop {
        /// Among all messages of the stream.
        #[serde(rename = "sequenceNumber")]
        sequence_number: Option<String>,
        /// The carrier's name for the stream.
        #[serde(rename = "streamSid")]
        stream_sid: String,
        /// What the stream was of.
        stop: StreamStop,
    },
}

/// A message to the carrier.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
#[schema(examples(
    json!({
        "event": "media",
        "streamSid": "MZ00000000000000000000000000000001",
        "media": { "payload": "/////w==" },
    }),
    json!({ "event": "mark", "streamSid": "MZ00000000000000000000000000000001", "mark": { "name": "7" } }),
    json!({ "event": "clear", "streamSid": "MZ00000000000000000000000000000001" }),
    json!({
        "event": "error",
        "error": {
            "code": "AUDIO_PROCESSING_FAILED",
            "message": "Failed to process audio chunk",
            "recoverable": true,
        },
    }),
))]
pub enum BotMessage {
    /// A piece of the agent's audio, to be played after what came before.
    Media {
        /// The carrier's name for the stream.
        #[serde(rename = "streamSid")]
        stream_sid: String,
        /// The audio.
        media: AgentAudio,
    },
    /// To be sent back once all audio before it was played.
    Mark {
        /// The carrier's name for the stream.
        #[serde(rename = "streamSid")]
        stream_sid: String,
        /// The mark.
        mark: MarkName,
    },
    /// Drop what was not played yet: the caller took the floor.
    Clear {
        /// The carrier's name for the stream.
        #[serde(rename = "streamSid")]
        stream_sid: String,
    },
    /// Something that was sent could not be used. The stream goes on, if it is recoverable.
    Error {
        /// What.
        error: StreamError,
    },
}

/// What a stream is of.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamStart {
    /// Whose account it is.
    pub account_sid: Option<String>,
    /// The carrier's name for the stream.
    pub stream_sid: Option<String>,
    /// The carrier's name for the call.
    pub call_sid: String,
    /// `inbound`: the caller's audio.
    pub tracks: Option<Vec<String>>,
    /// How audio is written, both ways.
    pub media_format: MediaFormat,
    /// What the TwiML gave as `<Parameter>`s.
    pub custom_parameters: StreamParameters,
}

/// How audio is written.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MediaFormat {
    /// `audio/x-mulaw`.
    pub encoding: String,
    /// In Hz.
    pub sample_rate: u32,
    /// One.
    pub channels: u32,
}

/// What the TwiML gave as `<Parameter>`s.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StreamParameters {
    /// Opens the stream: good for one stream of the call that it was made for, and for a short time.
    pub token: Option<String>,
}

/// A piece of the caller's audio.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CallerAudio {
    /// `inbound`.
    pub track: Option<String>,
    /// Among the media messages, from 1.
    pub chunk: Option<String>,
    /// Milliseconds since the stream began.
    pub timestamp: Option<String>,
    /// µ-law at 8 kHz in base64; 160 bytes are 20 ms.
    #[schema(content_encoding = "base64", content_media_type = "audio/basic")]
    pub payload: String,
}

/// A piece of the agent's audio.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AgentAudio {
    /// µ-law at 8 kHz in base64; 160 bytes are 20 ms.
    #[schema(content_encoding = "base64", content_media_type = "audio/basic")]
    pub payload: String,
}

/// A mark.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MarkName {
    /// Whoever sets the mark chooses it.
    pub name: String,
}

/// A key of the telephone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// `inbound_track`.
    pub track: Option<String>,
    /// `0` to `9`, `*`, `#`, `A` to `D`.
    #[schema(max_length = 1)]
    pub digit: String,
}

/// What a stream was of.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamStop {
    /// Whose account it is.
    pub account_sid: Option<String>,
    /// The carrier's name for the call.
    pub call_sid: Option<String>,
}

/// What could not be used.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StreamError {
    /// For programs.
    #[schema(schema_with = stream_error_codes)]
    pub code: String,
    /// For people.
    pub message: String,
    /// True if the stream goes on.
    pub recoverable: bool,
}

fn stream_error_codes() -> ObjectBuilder {
    words(&["AUDIO_PROCESSING_FAILED"])
}

#[cfg(test)]
mod tests {
    use offhook_codecs::wire::{Event, Outgoing, twilio};
    use serde_json::Value;

    use super::*;

    fn examples(schema: &str) -> Vec<Value> {
        let document = serde_json::to_value(MediaMessages::openapi()).unwrap();
        document["components"]["schemas"][schema]["examples"].as_array().unwrap().clone()
    }

    #[test]
    fn the_carriers_messages_are_those_that_calls_read() {
        for example in examples("CarrierMessage") {
            let text = example.to_string();
            let message = twilio::parse(&text).unwrap();
            assert!(!matches!(message.event, Event::Unknown { .. }), "{text}");
            let shaped: CarrierMessage = serde_json::from_value(example.clone()).unwrap();
            assert_eq!(serde_json::to_value(shaped).unwrap(), example);
        }
    }

    #[test]
    fn our_messages_are_those_that_calls_write() {
        let mut media = Vec::new();
        twilio::write_media(&mut media, "MZ1", &[0xff; 4]);
        let mut mark = Vec::new();
        twilio::write_mark(&mut mark, "MZ1", "7");
        let mut clear = Vec::new();
        twilio::write_clear(&mut clear, "MZ1");
        let mut error = Vec::new();
        twilio::write_error(&mut error, "Failed to process audio chunk", true);
        for written in [media, mark, clear, error] {
            let written: Value = serde_json::from_slice(&written).unwrap();
            let shaped: BotMessage = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(serde_json::to_value(shaped).unwrap(), written);
        }
        for example in examples("BotMessage") {
            let shaped: BotMessage = serde_json::from_value(example.clone()).unwrap();
            assert_eq!(serde_json::to_value(shaped).unwrap(), example);
            let text = example.to_string();
            let known = !matches!(twilio::parse_outgoing(&text).unwrap(), Outgoing::Unknown { .. });
            assert!(known, "{text}");
        }
    }
}
