//! Calls in virtual time, from the outside.

mod conversation;
mod exact;
mod trouble;
