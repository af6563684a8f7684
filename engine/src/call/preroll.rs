//! The caller's newest audio, for the recogniser: it takes a few frames to be sure of speech, and the first sound of
//! a word is half of it.

use super::receive::{FRAME, FRAME_MS};

/// The longest that is kept, whatever the settings say: 10 s are 80 KB of every call.
const MS_MAX: u32 = 10_000;

/// A ring of the newest frames, 8 kHz µ-law.
pub(super) struct Preroll {
    bytes: Box<[u8]>,
    /// Where the next frame goes.
    next: usize,
    full: bool,
}

impl Preroll {
    /// Holds the newest `ms`, at least one frame, at most 10 s.
    pub(super) fn new(ms: u32) -> Self {
        let frames = (ms.min(MS_MAX) / FRAME_MS).max(1) as usize;
        Self { bytes: vec![0xFF; frames * FRAME].into_boxed_slice(), next: 0, full: false }
    }

    pub(super) fn push(&mut self, frame: &[u8; FRAME]) {
        self.bytes[self.next..self.next + FRAME].copy_from_slice(frame);
        self.next += FRAME;
        if self.next == self.bytes.len() {
            self.next = 0;
            self.full = true;
        }
    }

    /// The newest frame.
    pub(super) fn newest(&self) -> &[u8] {
        let end = if self.next == 0 { self.bytes.len() } else { self.next };
        &self.bytes[end - FRAME..end]
    }

    /// All that it holds, in two parts, the older first.
    pub(super) fn parts(&self) -> (&[u8], &[u8]) {
        let (newer, older) = self.bytes.split_at(self.next);
        if self.full { (older, newer) } else { (&[], newer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_newest_frames_in_order() {
        let mut preroll = Preroll::new(60);
        for value in 1..=5 {
            preroll.push(&[value; FRAME]);
            assert_eq!(preroll.newest(), [value; FRAME]);
        }
        let (older, newer) = preroll.parts();
        let firsts: Vec<u8> = older.iter().chain(newer).step_by(FRAME).copied().collect();
        assert_eq!(firsts, [3, 4, 5]);
    }

    #[test]
    fn holds_no_more_than_came() {
        let mut preroll = Preroll::new(60);
        preroll.push(&[7; FRAME]);
        let (older, newer) = preroll.parts();
        assert_eq!(older.len() + newer.len(), FRAME);
    }

    #[test]
    fn no_setting_asks_for_more_memory_than_there_is() {
        assert_eq!(Preroll::new(u32::MAX).bytes.len(), 10 * 8_000);
    }
}
