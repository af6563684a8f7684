//! flite, in pure Rust.
