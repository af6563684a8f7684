//! OpenAI, and the many servers that speak its protocol: OpenRouter, Ollama, llama.cpp, vLLM.
//!
//! What is relied on is what they have in common; what differs is read leniently. Error texts of a service may repeat what
//! was sent, so they are cut short, and a key in them is struck out.

mod account;
pub mod chat;
pub mod embeddings;
#[cfg(test)]
pub(crate) mod fake;
pub mod realtime;
pub mod speech;
mod sse;
mod tool_calls;
pub mod transcription;

pub use chat::{Chat, Reply, Waits};
pub use tool_calls::ToolCall;
