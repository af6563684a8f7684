//! Speech or not, per frame; and from frames to the beginning and the end of speech.
//!
//! The detector is WebRTC's (libfvad), fed with the 8 kHz telephone signal as it is. A single voiced frame means
//! little, a single unvoiced one too, so both edges look at a short window of verdicts.
//!
//! libfvad goes on saying "voiced" for up to 100 ms after a sound has ended (its hang-over). That would turn a click of
//! 40 ms into speech long enough to interrupt, and would hide when the caller really stopped; so a frame also has to
//! be within 30 dB of the caller's recent peak.
//!
//! In a room full of people libfvad says "voiced" without end, as those are voices, and so it does in loud hiss. So a frame has
//! to be 9 dB louder, below 1 kHz, than the quietest moment of the last seconds: somebody who speaks takes breath, a room does
//! not. Of 33 people who begin to speak (`benches/benches/vad.rs`), missed in half a second, and false beginnings a minute:
//!
//! | | libfvad alone | with the floor | earshot, a neural network | RNNoise, another |
//! |---|---|---|---|---|
//! | clean | 0, 0 | 0, 0 | 0, 0 | 0, 0 |
//! | white noise at 5 dB | 2, 11 | 0, 1 | 0, 0 | 0, 0 |
//! | pink noise at 5 dB | 18, 79 | 0, 4 | 2, 1 | 0, 0 |
//! | babble at 20 dB | 17, 46 | 1, 4 | 1, 1 | 33, 50 |
//! | babble at 10 dB | 32, 17 | 1, 8 | 27, 51 | 33, 32 |
//! | babble at 5 dB | 33, 1 | 1, 7 | 33, 7 | 33, 16 |
//!
//! (Where all is held for speech, nobody begins: many missed, few false.) The price are soft ends of words in loud noise, so that
//! a turn there ends some 50 ms early. The first network also notices speech 60 ms later on a clean line, and costs 13 µs a
//! frame for 1.6; as a second opinion beside libfvad it changed nothing of the corpus of turn-taking for the better. The second
//! is the best of all in hiss, takes any distant voice for the caller's, and costs 100 µs.

use offhook_codecs::pcm::is_mute;
use webrtc_vad::{SampleRate, Vad, VadMode};

use super::receive::{FRAME, FRAME_MS};
use super::settings::CallSettings;
use crate::prefetch::{Prefetch, prefetch_at};

/// Unvoiced for this long, the caller has fallen silent (which does not end the turn yet).
const HANGOVER_MS: u32 = 200;

/// A frame this far below the recent peak is an echo of the verdict before, not speech: 30 dB, as a ratio of energies.
const PEAK_RATIO: u64 = 1_000;
/// The peak falls by a fiftieth per frame: 4.4 dB a second.
const PEAK_DECAY: u64 = 50;

/// Speech is louder than the line is without it: 9 dB, as a ratio of energies.
const FLOOR_RATIO: u64 = 8;
/// The quietest moment of so many frames (2 s), and of as many before, is taken for the line without speech.
const FLOOR_FRAMES: u32 = 100;
/// Somebody may speak with the first frame: until so many were heard, nothing is known.
const FIRST_FLOOR_FRAMES: u32 = 40;
/// A moment is so many frames.
const SMOOTH: u64 = 4;

/// After so many frames without a sound in them (0.5 s), libfvad's filters are empty and its hang-over is past: the next such
/// frame changes nothing in it. µ-law has many of those, as it sends nothing for what is 78 dB below full scale.
const AT_REST_FRAMES: u8 = 25;

/// A voice detector that may be owned by one thread and handed to another.
struct Detector(Vad);

// SAFETY: `Vad` owns one heap block of plain integers that nothing else points to; libfvad keeps no globals and no
// thread-local state, so the block may be used from any one thread at a time, which `&mut self` guarantees.
unsafe impl Send for Detector {}

/// What libfvad keeps of a line, in bytes.
const STATE_BYTES: usize = 736;

impl Prefetch for Detector {
    fn prefetch(&mut self) {
        const { assert!(size_of::<Vad>() == size_of::<usize>(), "a detector is a pointer to its state") };
        // SAFETY: it is as large as a pointer and made by `Vad`; what it holds is only used as a hint of where to fetch.
        let state = unsafe { std::ptr::from_ref(&self.0).cast::<*const u8>().read() };
        prefetch_at(state, STATE_BYTES);
    }
}

/// What one frame changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    /// Nothing.
    None,
    /// The caller began to speak.
    Started,
    /// The caller fell silent.
    Ended,
}

pub(crate) struct SpeechDetector {
    detector: Detector,
    /// Energy of the loudest recent frame, as a sum of squares.
    peak: u64,
    /// Energy of the newest frames, smoothed, and its least of this and of the last stretch of [`FLOOR_FRAMES`].
    smooth: u64,
    floors: [u64; 2],
    floor_frames: u32,
    /// How many of the newest frames, up to [`AT_REST_FRAMES`], held no sound at all.
    mute_frames: u8,
    /// Verdicts of the last 64 frames, newest in the lowest bit.
    verdicts: u64,
    speaking: bool,
    silent_frames: u32,
    onset_frames: u32,
    onset_window: u64,
}

impl Prefetch for SpeechDetector {
    fn prefetch(&mut self) {
        self.detector.prefetch();
    }
}

impl SpeechDetector {
    pub(crate) fn new(settings: &CallSettings) -> Self {
        let mode = match settings.vad_mode {
            0 => VadMode::Quality,
            1 => VadMode::LowBitrate,
            2 => VadMode::Aggressive,
            _ => VadMode::VeryAggressive,
        };
        Self {
            detector: Detector(Vad::new_with_rate_and_mode(SampleRate::Rate8kHz, mode)),
            peak: 0,
            smooth: 0,
            floors: [u64::MAX; 2],
            floor_frames: 0,
            mute_frames: 0,
            verdicts: 0,
            speaking: false,
            silent_frames: 0,
            onset_frames: (settings.onset_ms / FRAME_MS).max(1),
            onset_window: window(settings.onset_window_ms.max(settings.onset_ms)),
        }
    }

    /// Judges one frame by itself: is it voiced?
    pub(crate) fn is_voiced(&mut self, pcm: &[i16; FRAME]) -> bool {
        let mute = is_mute(pcm);
        if mute && self.mute_frames == AT_REST_FRAMES {
            return self.is_loud(0, 0);
        }
        self.mute_frames = if mute { self.mute_frames + 1 } else { 0 };
        // A frame of 160 samples at 8 kHz is 20 ms, one of the three lengths that the detector takes.
        let voiced = self.detector.0.is_voice_segment(pcm).unwrap_or(false);
        let energy = pcm.iter().map(|&s| u64::from((i32::from(s) * i32::from(s)) as u32)).sum();
        // Below 1 kHz, where voices are loud and hiss is not.
        let low = pcm
            .chunks_exact(4)
            .map(|four| {
                let sum: i32 = four.iter().map(|&s| i32::from(s)).sum();
                i64::from(sum).pow(2) as u64
            })
            .sum();
        self.is_loud(energy, low) && voiced
    }

    /// Takes the verdict on one frame: what did it change?
    pub(crate) fn take(&mut self, voiced: bool) -> Edge {
        self.verdicts = self.verdicts << 1 | u64::from(voiced);
        self.silent_frames = if voiced { 0 } else { self.silent_frames.saturating_add(1) };
        if !self.speaking && voiced && self.voiced_in(self.onset_window) >= self.onset_frames {
            self.speaking = true;
            Edge::Started
        } else if self.speaking && self.silent_frames * FRAME_MS >= HANGOVER_MS {
            self.speaking = false;
            Edge::Ended
        } else {
            Edge::None
        }
    }

    /// `energy`: of a frame, as a sum of squares; `low`: the same below 1 kHz.
    fn is_loud(&mut self, energy: u64, low: u64) -> bool {
        self.peak = (self.peak - self.peak / PEAK_DECAY).max(energy);
        let floor = self.floor(low);
        energy > self.peak / PEAK_RATIO && low / FLOOR_RATIO > floor
    }

    /// How loud the line is when nobody speaks, as far as the last seconds tell; 0 as long as too little was heard.
    fn floor(&mut self, energy: u64) -> u64 {
        let first = self.floors == [u64::MAX; 2];
        self.smooth = if first { energy } else { self.smooth - self.smooth / SMOOTH + energy / SMOOTH };
        self.floors[0] = self.floors[0].min(self.smooth);
        self.floor_frames += 1;
        if self.floor_frames == FLOOR_FRAMES {
            self.floors = [self.smooth, self.floors[0]];
            self.floor_frames = 0;
        }
        let known = self.floors[1] != u64::MAX || self.floor_frames > FIRST_FLOOR_FRAMES;
        if known { self.floors[0].min(self.floors[1]) } else { 0 }
    }

    /// Forgets what was heard, as audio stopped coming: speech that goes on later begins anew.
    pub(super) fn forget(&mut self) {
        self.verdicts = 0;
        self.speaking = false;
    }

    /// How much of `ms` has to be voiced for speech to have lasted that long, in ms: five in six frames, since speech
    /// itself has holes.
    pub(super) fn sustained_needs_ms(ms: u32) -> u32 {
        let frames = (ms / FRAME_MS).clamp(1, 64);
        (frames * 5).div_ceil(6) * FRAME_MS
    }

    /// How much of the last `ms` was voiced, in ms.
    pub(super) fn voiced_ms(&self, ms: u32) -> u32 {
        self.voiced_in(window(ms)) * FRAME_MS
    }

    fn voiced_in(&self, window: u64) -> u32 {
        (self.verdicts & window).count_ones()
    }
}

/// A mask over the verdicts of the newest `ms`.
fn window(ms: u32) -> u64 {
    match (ms / FRAME_MS).clamp(1, 64) {
        64 => u64::MAX,
        frames => (1 << frames) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::voiced;

    fn state(detector: &SpeechDetector) -> Vec<u8> {
        // SAFETY: as in `Detector::prefetch`; the block holds so many bytes of integers, and nobody else touches it here.
        unsafe {
            let state = std::ptr::from_ref(&detector.detector.0).cast::<*const u8>().read();
            std::slice::from_raw_parts(state, STATE_BYTES).to_vec()
        }
    }

    #[test]
    fn after_half_a_second_without_a_sound_the_next_such_frame_changes_nothing_in_libfvad() {
        let speech = voiced(std::time::Duration::from_secs(3));
        for mode in 0..4 {
            let settings = CallSettings { vad_mode: mode, ..CallSettings::default() };
            let mut detector = SpeechDetector::new(&settings);
            for spoken in [0, 1, 2, 7, 50, 149] {
                let mut pcm = [0; FRAME];
                for frame in speech.as_chunks::<FRAME>().0.iter().take(spoken) {
                    offhook_codecs::g711::decode_ulaw(frame, &mut pcm);
                    detector.is_voiced(&pcm);
                }
                let silence = [0; FRAME];
                for _ in 0..AT_REST_FRAMES {
                    detector.is_voiced(&silence);
                }
                let at_rest = state(&detector);
                assert_eq!(detector.detector.0.is_voice_segment(&silence), Ok(false));
                assert!(at_rest == state(&detector), "mode {mode}, after {spoken} frames");
            }
        }
    }
}
