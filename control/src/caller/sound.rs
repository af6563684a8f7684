//! Sounds that are no words: a cough, and noise on the line. Made from numbers, the same for the same seed.

use offhook_codecs::noise::{self, Random};
use offhook_codecs::pcm;

use super::time::HZ;

/// How long noise lasts before it repeats, in samples: 4 s, a whole number of frames, and too long to be heard as a rhythm.
pub const NOISE_SAMPLES: usize = 4 * HZ as usize;

/// A cough, 8 kHz.
pub fn cough(seed: u64) -> Vec<i16> {
    noise::cough(seed).into_iter().map(pcm::from_float).collect()
}

/// [`NOISE_SAMPLES`] of white noise of this RMS level, 8 kHz.
pub fn noise(seed: u64, level_dbfs: f32) -> Vec<i16> {
    let mut random = Random::new(seed);
    let amplitude = pcm::db_to_amplitude(level_dbfs);
    (0..NOISE_SAMPLES).map(|_| pcm::from_float(amplitude * random.gauss())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::time::FRAME;
    use super::*;

    #[test]
    fn noise_is_as_loud_as_asked_and_fits_into_frames() {
        for level in [-60.0, -45.0, -30.0] {
            let got = pcm::rms_dbfs(&noise(3, level));
            assert!((got - level).abs() < 1.0, "{level}: {got}");
        }
        assert_eq!(NOISE_SAMPLES % FRAME, 0);
        assert_eq!(noise(3, -40.0), noise(3, -40.0));
        assert_ne!(noise(3, -40.0), noise(4, -40.0));
    }

    #[test]
    fn a_cough_is_loudest_at_its_beginning_and_over_soon() {
        let cough = cough(7);
        let loudness = |part: &[i16]| pcm::rms_dbfs(part);
        let [first, last] = [loudness(&cough[..800]), loudness(&cough[cough.len() - 400..])];
        assert!(first > -25.0 && first > last + 10.0, "{first} dBFS, then {last}");
        assert_eq!(cough.len(), 2_880);
    }
}
