//! The HTTP APIs: each system's routes and JSON. No SQL here, and no business rule.

pub mod bearer;
mod body;
pub mod callbot;
pub mod dashboard;
mod delivery;
pub mod echome;
pub mod error;
mod file;
pub mod form;
pub mod frontdesk;
pub mod json;
mod media;
pub mod native;
mod seen;
pub mod twiml;
pub mod voiceclone;
mod webhook;
