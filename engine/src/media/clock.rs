//! The only clock of the engine.

use std::time::Instant;

/// Now. Read once per wake-up of a media thread; everything below takes it as an argument.
#[expect(clippy::disallowed_methods, reason = "the only clock of the engine")]
pub(super) fn now() -> Instant {
    Instant::now()
}
