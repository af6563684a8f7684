//! What the product does. Knows neither HTTP nor SQL.

pub mod agent;
pub mod call;
pub mod calls;
pub mod failover;
pub mod onward;
pub mod services;
pub mod simulations;
pub mod spans;
pub mod speech;
pub mod time;
pub mod timeline;
pub mod voiceclone;
