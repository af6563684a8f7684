//! Realtime: speech in, speech out, over one WebSocket.
//!
//! When a turn is over is not the server's business here (`turn_detection` is null): whoever holds the session commits what the
//! caller said and asks for a response. Audio is 8 kHz µ-law (`audio/pcmu`) both ways, and comes faster than it is played, so
//! that only the caller of [`Session::truncate`] knows what was heard of it.
//!
//! <https://platform.openai.com/docs/guides/realtime>, by the official SDK 3.54.0 and API description, read 2026-11: the events of
//! the GA interface. Servers that still use the names of the beta for what they send are understood.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use hyper::header::{HeaderValue, USER_AGENT};
use offhook_engine::call::Failure;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::ToolCall;
use super::account::Account;
use crate::integrations::dial::{DialError, Socket, TLS, dial};
use crate::integrations::http::{AGENT, HttpClient, Limits};
use crate::integrations::refusal::{Told, no_connection, of_close, of_dial};
use crate::integrations::vendor::{CONNECT, VendorError};
use crate::settings::{BaseUrl, Secret};

/// A message is no longer than this: four minutes of audio.
const MESSAGE_MAX: usize = 4 * 1024 * 1024;
/// How long a message may take to leave.
const SEND: Duration = Duration::from_secs(2);
/// How long the server may take to take the session's settings.
const SET_UP: Duration = Duration::from_secs(3);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);
/// A list of models, which is what a key is tried with.
const MODELS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a commit is called in [`Event::Refused`].
pub const COMMIT: &str = "commit";

/// How a session is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the server is.
    pub base: BaseUrl,
    /// Its key, where it wants one.
    pub key: Option<Secret>,
    /// The model: `gpt-realtime-2`.
    pub model: String,
    /// Its voice: `marin`.
    pub voice: String,
    /// The model that writes down what the caller said.
    pub transcription_model: String,
    /// What it may do, as chat completions are told of it.
    pub tools: Vec<Value>,
    /// How many tokens a response may have, audio included.
    pub max_tokens: u32,
}

/// A server that speaks Realtime. Shared by all calls.
#[derive(Debug)]
pub struct Realtime {
    account: Account,
    options: Options,
}

/// What the server says, as far as it matters.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// What the caller said is an item of the conversation now.
    Committed {
        /// The item.
        item: String,
    },
    /// What an item of the caller's says.
    Transcript {
        /// The item.
        item: String,
        /// The words; none if it could not be written down.
        text: Option<String>,
    },
    /// A response begins.
    Began {
        /// The response.
        response: String,
    },
    /// Audio of a response: 8 kHz µ-law.
    Audio {
        /// The response.
        response: String,
        /// The item of it that speaks.
        item: String,
        /// The samples.
        ulaw: Vec<u8>,
    },
    /// Words of a response's audio.
    Text {
        /// The response.
        response: String,
        /// The words.
        text: String,
    },
    /// A response wants a tool used.
    Call {
        /// The response.
        response: String,
        /// The tool and what for.
        call: ToolCall,
    },
    /// A response is over.
    Over {
        /// The response.
        response: String,
        /// Whether it is as it was meant; to be cancelled is.
        ended: Result<(), VendorError>,
        /// What it wrote, in tokens.
        tokens: u64,
    },
    /// A message of ours was not taken.
    Refused {
        /// The name that the message had; empty if it had none.
        event: String,
        /// Why.
        error: VendorError,
    },
    /// Anything else.
    Other,
}

impl Realtime {
    /// For all calls. An error says what to do.
    pub fn new(options: Options) -> Result<Self, String> {
        let http = HttpClient::new().map_err(|error| error.to_string())?;
        let account = Account::new(http, options.base.clone(), options.key.clone())?;
        Ok(Self { account, options })
    }

    /// Looks whether the server is there and takes the key, at no cost.
    pub async fn check(&self) -> Result<(), VendorError> {
        self.account.check(Limits { time: CONNECT, body_bytes: MODELS_BYTES_MAX }).await
    }

    /// Opens a session that is ready to be spoken to. `instructions`: what the model is told before the call.
    pub async fn open(&self, instructions: &str) -> Result<Session<'_>, VendorError> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("model", &self.options.model)
            .finish();
        let request = self.options.base.socket(&format!("/v1/realtime?{query}")).into_client_request();
        let mut request = request.map_err(|error| VendorError::new(Failure::Refused, error.to_string()))?;
        self.account.sign(request.headers_mut());
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let tls = TlsConnector::from(Arc::new(TLS.clone()));
        let config =
            WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
        let dialled = timeout(CONNECT, dial(request, &tls, config)).await;
        let socket = match dialled.map_err(|_| no_connection())? {
            Ok((socket, _)) => socket,
            Err(DialError::Refused { status, headers, body }) => {
                return Err(self.account.refused(status, &headers, &body));
            }
            Err(error) => return Err(of_dial(&error)),
        };
        let mut session = Session { account: &self.account, socket };
        session.send(json!({"type": "session.update", "session": self.session(instructions)})).await?;
        let set_up = async {
            loop {
                let message = session.message().await?;
                match message["type"].as_str() {
                    Some("session.updated") => return Ok(()),
                    Some("error") => return Err(self.account.told(&message["error"])),
                    _ => {}
                }
            }
        };
        let late = |_| VendorError::new(Failure::Slow, "it does not take the session's settings");
        timeout(SET_UP, set_up).await.map_err(late)??;
        Ok(session)
    }

    fn session(&self, instructions: &str) -> Value {
        let options = &self.options;
        let pcmu = json!({"type": "audio/pcmu"});
        // A tool stands in a layer of its own where chat is told of it.
        let tools = options.tools.iter().map(|tool| {
            let mut flat = tool["function"].clone();
            flat["type"] = "function".into();
            flat
        });
        json!({
            "type": "realtime",
            "instructions": instructions,
            "output_modalities": ["audio"],
            "audio": {
                "input": {
                    "format": pcmu,
                    "transcription": {"model": options.transcription_model},
                    "turn_detection": null,
                },
                "output": {"format": pcmu, "voice": options.voice},
            },
            "tools": tools.collect::<Vec<_>>(),
            "tool_choice": "auto",
            "max_output_tokens": options.max_tokens,
        })
    }
}

/// A session, for one call. To drop it closes its connection.
pub struct Session<'a> {
    account: &'a Account,
    socket: Socket,
}

impl Session<'_> {
    /// More of what the caller says: 8 kHz µ-law, not empty.
    pub async fn append(&mut self, ulaw: &[u8]) -> Result<(), VendorError> {
        let audio = STANDARD.encode(ulaw);
        self.send(json!({"type": "input_audio_buffer.append", "audio": audio})).await
    }

    /// What was appended is a turn of the caller's.
    pub async fn commit(&mut self) -> Result<(), VendorError> {
        self.send(json!({"type": "input_audio_buffer.commit", "event_id": COMMIT})).await
    }

    /// What was appended is forgotten.
    pub async fn clear(&mut self) -> Result<(), VendorError> {
        self.send(json!({"type": "input_audio_buffer.clear"})).await
    }

    /// An item at the end of the conversation: see [`message`], [`tool_call`], and [`tool_output`].
    pub async fn create(&mut self, item: &Value) -> Result<(), VendorError> {
        self.send(json!({"type": "conversation.item.create", "item": item})).await
    }

    /// Asks for a response, by what the session is told, or by `instructions`. `event` names the request, in case it is
    /// refused. There must be none under way.
    pub async fn respond(&mut self, event: &str, instructions: Option<&str>) -> Result<(), VendorError> {
        let mut request = json!({"type": "response.create", "event_id": event});
        if let Some(instructions) = instructions {
            request["response"] = json!({"instructions": instructions});
        }
        self.send(request).await
    }

    /// Has the response that is under way end.
    pub async fn cancel(&mut self) -> Result<(), VendorError> {
        self.send(json!({"type": "response.cancel"})).await
    }

    /// Of the speech of this item, no more was heard than so many milliseconds.
    pub async fn truncate(&mut self, item: &str, heard_ms: u32) -> Result<(), VendorError> {
        self.send(json!({
            "type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": heard_ms,
        }))
        .await
    }

    /// Nothing of this item was heard.
    pub async fn delete(&mut self, item: &str) -> Result<(), VendorError> {
        self.send(json!({"type": "conversation.item.delete", "item_id": item})).await
    }

    /// The next that the server says. It may be dropped while it waits.
    pub async fn next(&mut self) -> Result<Event, VendorError> {
        let message = self.message().await?;
        self.read(&message)
    }

    /// Closes the connection as it should be.
    pub async fn goodbye(mut self) {
        let _ = timeout(GOODBYE, self.socket.close(None)).await;
    }

    fn read(&self, message: &Value) -> Result<Event, VendorError> {
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let response = || text("response_id");
        Ok(match message["type"].as_str().unwrap_or_default() {
            "input_audio_buffer.committed" => Event::Committed { item: text("item_id") },
            "conversation.item.input_audio_transcription.completed" => {
                Event::Transcript { item: text("item_id"), text: Some(text("transcript")) }
            }
            "conversation.item.input_audio_transcription.failed" => {
                Event::Transcript { item: text("item_id"), text: None }
            }
            "response.created" => {
                Event::Began { response: message["response"]["id"].as_str().unwrap_or_default().to_owned() }
            }
            "response.output_audio.delta" | "response.audio.delta" => {
                let ulaw = STANDARD.decode(text("delta"));
                let bad = |_| VendorError::new(Failure::Malformed, "audio that is no base64");
                Event::Audio { response: response(), item: text("item_id"), ulaw: ulaw.map_err(bad)? }
            }
            "response.output_audio_transcript.delta" | "response.audio_transcript.delta" => {
                Event::Text { response: response(), text: text("delta") }
            }
            "response.function_call_arguments.done" => {
                let call = ToolCall { id: text("call_id"), name: text("name"), arguments: text("arguments") };
                Event::Call { response: response(), call }
            }
            "response.done" => {
                let of = &message["response"];
                let failed = of["status"] == "failed";
                let ended =
                    if failed { Err(self.account.told(&of["status_details"]["error"])) } else { Ok(()) };
                let tokens = of["usage"]["output_tokens"].as_u64().unwrap_or_default();
                Event::Over { response: of["id"].as_str().unwrap_or_default().to_owned(), ended, tokens }
            }
            "error" => {
                let error = &message["error"];
                let event = error["event_id"].as_str().unwrap_or_default().to_owned();
                Event::Refused { event, error: self.account.told(error) }
            }
            _ => Event::Other,
        })
    }

    async fn send(&mut self, message: Value) -> Result<(), VendorError> {
        match timeout(SEND, self.socket.send(Message::text(message.to_string()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(VendorError::new(Failure::BrokenOff, error.to_string())),
            Err(_) => Err(VendorError::new(Failure::Slow, "it takes no messages")),
        }
    }

    async fn message(&mut self) -> Result<Value, VendorError> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let value: Value = serde_json::from_str(&text).unwrap_or_default();
                    if !value.is_object() {
                        return Err(VendorError::new(Failure::Malformed, "a message that is no JSON object"));
                    }
                    return Ok(value);
                }
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                        (u16::from(frame.code), frame.reason.as_str().to_owned())
                    });
                    let code_text = code.to_string();
                    let told = Told { status: None, code: &code_text, message: &reason, request: None };
                    return Err(told.error(of_close(code), self.account.key()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(VendorError::new(Failure::BrokenOff, error.to_string())),
                None => {
                    return Err(VendorError::new(Failure::BrokenOff, "the connection ended without a close"));
                }
            }
        }
    }
}

/// Something that was said, in words.
pub fn message(is_caller: bool, text: &str) -> Value {
    let (role, kind) = if is_caller { ("user", "input_text") } else { ("assistant", "output_text") };
    json!({"type": "message", "role": role, "content": [{"type": kind, "text": text}]})
}

/// A tool that the model wanted used.
pub fn tool_call(call: &ToolCall) -> Value {
    json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments})
}

/// What a tool answered.
pub fn tool_output(call: &str, output: &str) -> Value {
    json!({"type": "function_call_output", "call_id": call, "output": output})
}
