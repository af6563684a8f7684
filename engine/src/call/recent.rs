//! The caller's newest audio. The recogniser is given some from before the onset, since it takes a few frames to be sure
//! of speech, and the first sound of a word is half of it; and what is lost is made up from what came before it.

use super::receive::{FRAME, FRAME_MS, samples_of};
use crate::prefetch::{Prefetch, prefetch};

/// The most that is kept, whatever the settings say: 10 s, 80 KB of every call.
const SAMPLES_MAX: usize = samples_of(10_000);

/// A ring of the newest frames, 8 kHz µ-law.
pub(super) struct Recent {
    bytes: Box<[u8]>,
    /// Where the next frame goes.
    next: usize,
    /// How much of it holds audio.
    filled: usize,
}

impl Prefetch for Recent {
    fn prefetch(&mut self) {
        prefetch(&self.bytes[self.next..self.next + FRAME]);
    }
}

impl Recent {
    /// Holds the newest `samples`, rounded up to whole frames; at most 10 s of them.
    pub(super) fn new(samples: usize) -> Self {
        let frames = samples.min(SAMPLES_MAX).div_ceil(FRAME).max(1);
        Self { bytes: vec![0xFF; frames * FRAME].into_boxed_slice(), next: 0, filled: 0 }
    }

    pub(super) fn push(&mut self, frame: &[u8; FRAME]) {
        self.bytes[self.next..self.next + FRAME].copy_from_slice(frame);
        self.next = (self.next + FRAME) % self.bytes.len();
        self.filled = (self.filled + FRAME).min(self.bytes.len());
    }

    /// The newest `ms`, in whole frames and at least one, as far as it came; in two parts, the older first.
    pub(super) fn newest_ms(&self, ms: u32) -> (&[u8], &[u8]) {
        self.newest(samples_of(ms / FRAME_MS * FRAME_MS).max(FRAME))
    }

    /// The newest `samples`, as far as they came, in two parts, the older first.
    pub(super) fn newest(&self, samples: usize) -> (&[u8], &[u8]) {
        let samples = samples.min(self.filled);
        match self.next.checked_sub(samples) {
            Some(start) => (&[], &self.bytes[start..self.next]),
            None => (&self.bytes[self.bytes.len() + self.next - samples..], &self.bytes[..self.next]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firsts((older, newer): (&[u8], &[u8])) -> Vec<u8> {
        older.iter().chain(newer).step_by(FRAME).copied().collect()
    }

    #[test]
    fn holds_the_newest_frames_in_order() {
        let mut recent = Recent::new(3 * FRAME - 20);
        for value in 1..=5 {
            recent.push(&[value; FRAME]);
            assert_eq!(firsts(recent.newest(FRAME)), [value]);
        }
        assert_eq!(firsts(recent.newest(usize::MAX)), [3, 4, 5]);
        assert_eq!(firsts(recent.newest_ms(50)), [4, 5]);
        assert_eq!(firsts(recent.newest_ms(0)), [5]);
        let (older, newer) = recent.newest(FRAME + 1);
        assert_eq!((older.first().or(newer.first()), older.len() + newer.len()), (Some(&4), FRAME + 1));
    }

    #[test]
    fn holds_no_more_than_came() {
        let mut recent = Recent::new(3 * FRAME);
        assert_eq!(recent.newest(FRAME), (&[][..], &[][..]));
        recent.push(&[7; FRAME]);
        let (older, newer) = recent.newest_ms(60);
        assert_eq!(older.len() + newer.len(), FRAME);
    }

    #[test]
    fn no_setting_asks_for_more_memory_than_there_is() {
        assert_eq!(Recent::new(samples_of(u32::MAX)).bytes.len(), SAMPLES_MAX);
    }
}
