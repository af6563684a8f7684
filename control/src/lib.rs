//! The thin control plane: webhooks and REST, the store, the caller that plays a carrier, and the command line.

pub mod caller;
pub mod cli;
pub mod domain;
mod hex;
pub mod integrations;
pub mod server;
pub mod settings;
pub mod store;
pub mod systems;
