//! Recognisers, one file each.

pub mod none;
pub mod pocketsphinx;
