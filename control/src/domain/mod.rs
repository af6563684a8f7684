//! What the product does. Knows neither HTTP nor SQL.

pub mod agent;
pub mod appointments;
pub mod authorizations;
pub mod billing;
pub mod call;
pub mod calls;
pub mod connections;
pub mod conversations;
pub mod error;
pub mod failover;
pub mod keys;
pub mod ledger;
pub mod line_desks;
pub mod lines;
pub mod phone;
pub mod seal;
pub mod services;
pub mod simulations;
pub mod spans;
pub mod speech;
pub mod speech_to_speech;
pub mod time;
pub mod timeline;
pub mod token;
pub mod users;
