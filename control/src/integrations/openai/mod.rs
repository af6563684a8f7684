//! OpenAI, and the many servers that speak its protocol: OpenRouter, Ollama, llama.cpp, vLLM.
//!
//! What is relied on is what they have in common; what differs is read leniently. Error texts of a service may repeat what
//! was sent, so they are cut short, and a key in them is struck out.

mod account;
pub mod chat;
pub mod complete;
pub mod embeddings;
#[cfg(test)]
pub(crate) mod fake;
pub mod realtime;
pub mod speech;
mod sse;
mod tool_calls;
pub mod transcription;

use std::time::Duration;

use super::http::{HttpClient, Limits};
use super::vendor::VendorError;
use crate::settings::{BaseUrl, Secret};
use offhook_engine::call::Failure;

pub use chat::{Chat, Reply, Waits};
pub use tool_calls::ToolCall;

/// What a look at a key may cost. Some servers list hundreds of models.
const CHECK: Limits = Limits { time: Duration::from_secs(10), body_bytes: 4 * 1024 * 1024 };

/// Looks whether a server takes a key.
pub async fn check_key(http: &HttpClient, base: &BaseUrl, key: Secret) -> Result<(), VendorError> {
    let account = account::Account::new(http.clone(), base.clone(), Some(key));
    account.map_err(|error| VendorError::new(Failure::Unauthorised, error))?.check(CHECK).await
}
