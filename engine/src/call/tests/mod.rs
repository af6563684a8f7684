//! Calls in virtual time, from the outside.

mod conversation;
mod trouble;
