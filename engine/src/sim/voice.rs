//! A voice made of numbers: each letter lasts 60 ms and is its own sample value, so that what was heard can be read.

use crate::call::WordStart;

/// How long a letter lasts: 60 ms at 8 kHz.
const LETTER: usize = 480;

#[derive(Debug)]
pub(super) struct SimVoice;

impl SimVoice {
    /// ASCII text as samples, and where its words begin.
    pub(super) fn speak(&self, text: &str) -> (Vec<u8>, Vec<WordStart>) {
        let audio = text.bytes().flat_map(|letter| std::iter::repeat_n(letter, LETTER)).collect();
        let starts = text
            .bytes()
            .enumerate()
            .filter(|&(at, letter)| letter != b' ' && (at == 0 || text.as_bytes()[at - 1] == b' '));
        let words = starts
            .map(|(at, _)| WordStart { text_offset: at as u32, sample: (at * LETTER) as u32 })
            .collect();
        (audio, words)
    }
}

/// What a listener makes of samples: runs of one value are its letters; half a letter is none.
pub(super) fn understand(samples: &[u8]) -> String {
    let mut text = String::new();
    for run in samples.chunk_by(|a, b| a == b) {
        for _ in 0..(run.len() + LETTER / 2) / LETTER {
            text.push(run[0] as char);
        }
    }
    text
}
