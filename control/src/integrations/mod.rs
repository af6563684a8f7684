//! Outside services that the control plane asks over HTTP: one file or folder per service, one client for all of them.

pub mod http;
pub mod openai;
pub mod otlp;
pub mod tools;
pub mod twilio;
