//! Voices, one file each.

pub mod flite;
