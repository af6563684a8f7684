//! The contract test: every endpoint of a documented API, asked for in turn at a running server.
//!
//! | file | is |
//! |---|---|
//! | `inventory.rs` | a system's file under `fixtures/contract` |
//! | `shape.rs` | the form of a JSON value, and what is wrong with one |
//! | `system.rs` | what the walk has to be told of a system: its errors, its credentials, a case for each endpoint |
//! | `walk.rs` | the walk: what is asked of each endpoint, and the verdict |
//! | `callbot.rs`, `dashboard.rs` (with `dashboard_crm.rs`), `echome.rs` (with `echome_cases.rs`), `frontdesk.rs`, `voiceclone.rs` | a system's description and cases |
//!
//! What is the same for every system stands in the walk and in the inventory. A further system is one file beside
//! `callbot.rs`, with a value that implements [`System`], and its line in [`built`].

mod callbot;
mod dashboard;
mod dashboard_crm;
mod echome;
mod echome_cases;
mod frontdesk;
mod inventory;
mod shape;
mod system;
mod voiceclone;
mod walk;

pub use inventory::{Endpoint, Inventory, Kind, Limit, SYSTEMS};
pub use shape::{Field, Shape};
pub use system::{Case, Credentials, Later, Site, System, Talk, World, complaint};
pub use walk::{Verdict, Walk};

/// The description of a system; none if it is not built yet.
pub fn built(system: &str) -> Option<&'static dyn System> {
    match system {
        "callbot" => Some(&callbot::Callbot),
        "dashboard" => Some(&dashboard::Dashboard),
        "echome" => Some(&echome::EchoMe),
        "frontdesk" => Some(&frontdesk::FrontDesk),
        "voiceclone" => Some(&voiceclone::VoiceClone),
        _ => None,
    }
}
