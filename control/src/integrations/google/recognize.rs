//! Google's recognition: `StreamingRecognize` of the first version, over gRPC.
//!
//! ```text
//! caller   |Starts Audio … Audio Ends|             |Starts Audio …       … Ends|
//! sent      100 ms 100 ms … 100 ms, end of stream   100 ms …  (another stream)
//! came        interims, finals        the last final  interims, finals
//! ```
//!
//! A stream hears one utterance after the other for as long as all that was said on it is final when an utterance ends, as it
//! usually is by then: pauses make words final. What is not yet is asked for by ending the stream, the only way to ask. The
//! next stream is opened when the caller begins to speak, on the connection that is there, which costs no waiting. So a stream
//! on which nothing is said is simply left, by Google or by us: silence is neither sent nor paid for.
//!
//! Google ends a stream after some five minutes. Before that it is left for a new one: between two utterances, else in a pause
//! that made words final, else in the middle of speech. The new stream gets the audio from the end of the last final words
//! on, so that every word is heard once, and whole.
//!
//! <https://cloud.google.com/speech-to-text/docs/reference/rpc/google.cloud.speech.v1>, by the official client 2.41.0, read 2026-11.

mod hearing;
mod session;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use offhook_engine::call::Failure;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::grpc::{Connection, Ended, Method, Status, Stream};
use super::messages::{Config, MULAW, Request, Response, StreamingConfig};
use super::{Credentials, failure};
use crate::integrations::refusal::{Told, of_status};
use crate::integrations::vendor::{Caller, Ears, Heard, VendorError};
use crate::settings::BaseUrl;
use session::Session;

/// Whom a token of a service account is for, wherever requests go.
const AUDIENCE: &str = "https://speech.googleapis.com/";
/// The method.
const PATH: &str = "/google.cloud.speech.v1.Speech/StreamingRecognize";
/// How long a look at the key may take.
const CHECK: Duration = Duration::from_secs(4);
/// What is allowed for a network beside [`Options::finalize_wait`], before other ears are asked.
const NETWORK: Duration = Duration::from_millis(500);

/// How Google is asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is: an origin of gRPC.
    pub base: BaseUrl,
    /// In whose name.
    pub credentials: Credentials,
    /// The language, such as `en-US`.
    pub language: String,
    /// The model, such as `telephony` or `latest_long`.
    pub model: String,
    /// After how long a stream is left for a new one, in the next pause.
    pub rotate_after: Duration,
    /// After how long it is left however much is being said.
    pub rotate_by: Duration,
    /// A stream on which nobody speaks for so long is ended, before Google does it.
    pub idle: Duration,
    /// How long the last words may take once a stream was ended.
    pub finalize_wait: Duration,
    /// How long one message may take to be sent.
    pub send_within: Duration,
    /// How long it may take to say goodbye.
    pub goodbye: Duration,
}

impl Options {
    /// As a telephone call needs it, in English.
    pub fn new(base: BaseUrl, credentials: Credentials) -> Self {
        Self {
            base,
            credentials,
            language: "en-US".into(),
            model: "telephony".into(),
            rotate_after: Duration::from_secs(240),
            rotate_by: Duration::from_secs(288),
            idle: Duration::from_secs(8),
            finalize_wait: Duration::from_secs(1),
            send_within: Duration::from_secs(2),
            goodbye: Duration::from_secs(1),
        }
    }

    /// The first message of a stream.
    fn first(&self) -> Request {
        let config = Config {
            encoding: MULAW,
            sample_rate_hertz: 8_000,
            language_code: self.language.clone(),
            enable_automatic_punctuation: true,
            model: self.model.clone(),
            // The better one of two, where there are two.
            use_enhanced: self.model == "phone_call",
        };
        let streaming_config = Some(StreamingConfig { config: Some(config), interim_results: true });
        Request { streaming_config, ..Request::default() }
    }
}

/// Ears that are Google's.
pub struct GoogleEars {
    method: Method,
    options: Options,
    first: Request,
}

impl GoogleEars {
    /// Ears for all calls. An error says what to do.
    pub fn new(options: Options) -> Result<Self, String> {
        options.credentials.header(AUDIENCE).map_err(|error| error.detail)?;
        let (method, first) = (Method::new(&options.base.of(PATH))?, options.first());
        Ok(Self { method, options, first })
    }

    /// Opens a stream on this connection, and says what is wanted of it.
    async fn open(&self, connection: &mut Connection) -> Result<Stream, VendorError> {
        let credentials = self.options.credentials.header(AUDIENCE)?;
        let mut stream = connection.open(&self.method, credentials, self.options.send_within);
        match stream.send(&self.first).await {
            true => Ok(stream),
            false => Err(self.takes_nothing()),
        }
    }

    /// A stream that is ended at once costs nothing, and is refused to who may not have one.
    async fn look(&self) -> Result<(), VendorError> {
        let mut connection = self.method.connect().await?;
        let mut stream = self.open(&mut connection).await?;
        stream.finish();
        loop {
            match stream.next::<Response>().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                // It would have liked some audio.
                Err(ended) if is_ordinary(&ended) => return Ok(()),
                Err(ended) => return Err(self.error(ended, 0)),
            }
        }
    }

    fn takes_nothing(&self) -> VendorError {
        let within_s = self.options.send_within.as_secs_f32();
        VendorError::new(Failure::Slow, format!("it takes no audio for {within_s} s"))
    }

    /// How a stream ended, as it may be told. `request`: Google's number for it; 0 if it gave none.
    fn error(&self, ended: Ended, request: i64) -> VendorError {
        let (why, status, code, message) = match &ended {
            Ended::Status(Status { code, message, reason }) => {
                let (name, why) = meaning(*code);
                let why = reason.as_deref().and_then(failure).unwrap_or(why);
                (why, None, reason.as_deref().unwrap_or(name), message.as_str())
            }
            Ended::Http(status) => (of_status(*status), Some(*status), "", ""),
            Ended::Broken { detail, .. } => (Failure::BrokenOff, None, "", detail.as_str()),
            Ended::Malformed(detail) => (Failure::Malformed, None, "", detail.as_str()),
        };
        let request = (request != 0).then(|| request.to_string());
        let told = Told { status, code, message, request: request.as_deref() };
        told.error(why, self.options.credentials.secret())
    }
}

impl Ears for GoogleEars {
    fn name(&self) -> &'static str {
        "google"
    }

    fn check(&self) -> BoxFuture<'_, Result<(), VendorError>> {
        async {
            let slow = |_| VendorError::new(Failure::Slow, format!("no answer within {} s", CHECK.as_secs()));
            timeout(CHECK, self.look()).await.map_err(slow)?
        }
        .boxed()
    }

    fn words_wait(&self) -> Duration {
        self.options.finalize_wait + NETWORK
    }

    fn listen<'a>(
        &'a self,
        caller: &'a mut mpsc::Receiver<Caller>,
        heard: &'a mut (dyn FnMut(Heard) + Send),
    ) -> BoxFuture<'a, Result<(), VendorError>> {
        Session::new(self).run(caller, heard).boxed()
    }
}

/// Whether it is what happens to a stream that has had too little audio, or enough.
fn is_ordinary(ended: &Ended) -> bool {
    /// `OK`, `ABORTED`, `OUT_OF_RANGE`.
    const CODES: [i32; 3] = [0, 10, 11];
    matches!(ended, Ended::Status(status) if CODES.contains(&status.code))
}

/// What gRPC calls a status, and what it means.
fn meaning(code: i32) -> (&'static str, Failure) {
    match code {
        0 => ("OK", Failure::BrokenOff),
        1 => ("CANCELLED", Failure::BrokenOff),
        3 => ("INVALID_ARGUMENT", Failure::Refused),
        4 => ("DEADLINE_EXCEEDED", Failure::Slow),
        5 => ("NOT_FOUND", Failure::Refused),
        6 => ("ALREADY_EXISTS", Failure::Refused),
        7 => ("PERMISSION_DENIED", Failure::Unauthorised),
        8 => ("RESOURCE_EXHAUSTED", Failure::Busy),
        9 => ("FAILED_PRECONDITION", Failure::Refused),
        10 => ("ABORTED", Failure::BrokenOff),
        11 => ("OUT_OF_RANGE", Failure::BrokenOff),
        12 => ("UNIMPLEMENTED", Failure::Refused),
        13 => ("INTERNAL", Failure::Faulty),
        14 => ("UNAVAILABLE", Failure::Faulty),
        15 => ("DATA_LOSS", Failure::Faulty),
        16 => ("UNAUTHENTICATED", Failure::Unauthorised),
        _ => ("UNKNOWN", Failure::Faulty),
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
