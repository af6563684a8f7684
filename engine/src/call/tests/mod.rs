//! Calls in virtual time, from the outside.

mod anything;
mod conversation;
mod early;
mod elsewhere;
mod exact;
mod itself;
mod table;
mod trouble;
mod worst;
