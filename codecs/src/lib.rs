//! Bytes to samples and messages, and back: pure functions and small state, without I/O, threads or clocks.
//!
//! | rate | ptime | samples | µ-law or A-law bytes | 16-bit PCM bytes |
//! |---|---|---|---|---|
//! | 8 kHz | 20 ms | 160 | 160 | 320 |
//! | 16 kHz | 20 ms | 320 | – | 640 |
//! | 24 kHz | 20 ms | 480 | – | 960 |
//! | 48 kHz | 20 ms | 960 | – | 1,920 |
//!
//! Samples are mono `i16`, full scale ±32,767. Every streaming stage gives the same samples however its input is split.

pub mod audio;
pub mod conceal;
pub mod g711;
pub mod levels;
pub mod noise;
pub mod ogg;
#[cfg(feature = "opus")]
pub mod opus;
pub mod pcm;
pub mod resample;
pub mod tones;
pub mod wav;
pub mod wire;

pub use audio::{Ptime, SampleRate};
