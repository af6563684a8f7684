//! The call: a pure audio graph and state machine, and all that it needs to be on the telephone.

pub mod agent;
pub mod call;
pub mod journal;
pub mod leg;
pub mod measure;
pub mod media;
pub mod memory;
pub mod priority;
pub mod sim;
pub mod speech;

mod engine;
mod prefetch;

pub use engine::{
    CallHandle, CallId, CallSink, Engine, EngineError, EngineSettings, Finished, NewCall, NewLeg,
};
