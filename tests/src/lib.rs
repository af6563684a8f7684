//! What the end-to-end tests share: the built binary as a child process, a carrier that is written by hand, and audio.
//!
//! | file | is |
//! |---|---|
//! | `server.rs` | `offhook serve` as a child process with a data folder of its own, and its API |
//! | `raw.rs` | a media stream message by message, for what the well-behaved caller of `offhook::caller` cannot do |
//! | `audio.rs` | clips, what the voice makes of a text, and what is found in a recording |
//! | `crm.rs` | CRMs: doubles of them, and a browser in which they are connected |
//! | `dashboard.rs` | the dashboard as its users have it: people with passwords, reported calls |
//! | `desk.rs` | FrontDesk as its users have it: people who sign in, clients, callers |
//! | `echome.rs` | Echo Me as its users have it: people who sign in, voices made of videos, catalogues |
//! | `conversation.rs` | the shortest conversation, and a call that goes through it undisturbed |
//! | `http.rs` | a client with an address of its own, for what counts by address |
//! | `journalled.rs` | conversations in virtual time, each with its journal |
//! | `fuzz/` | every byte from outside, a function for each place where it comes in |
//! | `soak.rs` | what a process holds: memory, threads, files |
//! | `contract/` | the walk through every endpoint of a documented API |
//!
//! Waiting is always for something: a message, a record, a line of the log. Time-outs are far beyond what a busy machine
//! takes; no test asserts how fast something was.

pub mod audio;
pub mod contract;
pub mod conversation;
pub mod crm;
pub mod dashboard;
pub mod desk;
pub mod echome;
pub mod fuzz;
pub mod http;
pub mod journalled;
pub mod raw;
pub mod server;
pub mod soak;

pub use http::{Ask, Client};
pub use raw::{Announced, Goodbye, RawCall, Sound};
pub use server::{Answer, Server, Signal, said};
