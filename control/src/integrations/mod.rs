//! Outside services that the control plane asks: one file or folder per service, one HTTP client and one way to open a
//! WebSocket for all of them.

pub mod cartesia;
mod contexts;
pub mod crm;
pub mod deepgram;
pub mod dial;
pub mod dynamics;
pub mod elevenlabs;
mod form;
pub mod google;
pub mod http;
pub mod hubspot;
pub mod oauth;
pub mod openai;
pub mod otlp;
mod recorded;
mod refusal;
pub mod salesforce;
pub mod stripe;
pub mod telegram;
#[cfg(test)]
mod testing;
pub mod threecx;
pub mod tools;
pub mod twilio;
pub mod vapi;
pub mod vendor;
pub mod video;
mod wav;
pub mod webhook;
pub mod wire;
mod words;
