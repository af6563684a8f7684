//! The messages of `google.cloud.speech.v1` that are sent and read, with the numbers that their fields have there. What is
//! not listed is passed over.
//!
//! <https://github.com/googleapis/googleapis/blob/master/google/cloud/speech/v1/cloud_speech.proto>, by the official client
//! 2.41.0, read 2026-11.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

/// `RecognitionConfig.AudioEncoding.MULAW`.
pub(super) const MULAW: i32 = 3;

/// `StreamingRecognizeRequest`: the first of a stream has a configuration, all others have audio.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(message, optional, tag = "1")]
    pub(super) streaming_config: Option<StreamingConfig>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) audio_content: Bytes,
}

/// `StreamingRecognitionConfig`. Without `single_utterance`, a stream hears one utterance after the other.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamingConfig {
    #[prost(message, optional, tag = "1")]
    pub(super) config: Option<Config>,
    #[prost(bool, tag = "3")]
    pub(super) interim_results: bool,
}

/// `RecognitionConfig`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Config {
    #[prost(int32, tag = "1")]
    pub(super) encoding: i32,
    #[prost(int32, tag = "2")]
    pub(super) sample_rate_hertz: i32,
    #[prost(string, tag = "3")]
    pub(super) language_code: String,
    #[prost(bool, tag = "11")]
    pub(super) enable_automatic_punctuation: bool,
    #[prost(string, tag = "13")]
    pub(super) model: String,
    #[prost(bool, tag = "14")]
    pub(super) use_enhanced: bool,
}

/// `StreamingRecognizeResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(message, optional, tag = "1")]
    pub(super) error: Option<Status>,
    #[prost(message, repeated, tag = "2")]
    pub(super) results: Vec<Output>,
    #[prost(int64, tag = "10")]
    pub(super) request_id: i64,
}

/// `StreamingRecognitionResult`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Output {
    /// The best is the first.
    #[prost(message, repeated, tag = "1")]
    pub(super) alternatives: Vec<Alternative>,
    #[prost(bool, tag = "2")]
    pub(super) is_final: bool,
    /// From the beginning of the stream's audio.
    #[prost(message, optional, tag = "4")]
    pub(super) result_end_time: Option<Time>,
}

impl Output {
    /// What was understood, as it came.
    pub(super) fn transcript(&self) -> &str {
        self.alternatives.first().map_or("", |best| &best.transcript)
    }
}

/// `SpeechRecognitionAlternative`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Alternative {
    #[prost(string, tag = "1")]
    pub(super) transcript: String,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl From<Time> for Duration {
    /// Zero for what is negative.
    fn from(time: Time) -> Self {
        let seconds = u64::try_from(time.seconds).unwrap_or(0);
        let nanos = u32::try_from(time.nanos).unwrap_or(0);
        Self::from_secs(seconds) + Self::from_nanos(nanos.into())
    }
}

#[cfg(test)]
impl From<Duration> for Time {
    fn from(time: Duration) -> Self {
        let (seconds, nanos) = (time.as_secs() as i64, time.subsec_nanos() as i32);
        Self { seconds, nanos }
    }
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Detail>,
}

impl Status {
    /// The reason in its `google.rpc.ErrorInfo`, if it has one: `API_KEY_INVALID`.
    pub(super) fn reason(&self) -> Option<String> {
        let is_info = |detail: &&Detail| detail.type_url.ends_with("/google.rpc.ErrorInfo");
        let info = ErrorInfo::decode(self.details.iter().find(is_info)?.value.clone()).ok()?;
        Some(info.reason).filter(|reason| !reason.is_empty())
    }
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ErrorInfo {
    #[prost(string, tag = "1")]
    pub(super) reason: String,
}
