//! Calls in virtual time, from the outside.

mod anything;
mod conversation;
mod early;
mod exact;
mod table;
mod trouble;
mod worst;
