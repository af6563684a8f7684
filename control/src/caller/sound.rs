//! Sounds that are no words: a cough, and noise on the line. Made from numbers, the same for the same seed.

use offhook_codecs::pcm;

use super::time::HZ;

/// How long noise lasts before it repeats, in samples: 4 s, a whole number of frames, and too long to be heard as a rhythm.
pub const NOISE_SAMPLES: usize = 4 * HZ as usize;

/// A cough: two bursts of noise, each with a sudden beginning and a decay, 360 ms in all. 8 kHz.
///
/// Coughs last 300 to 700 ms and begin with their loudest part, an explosive burst of broad noise; a second one often
/// follows as the air flow ends.
pub fn cough(seed: u64) -> Vec<i16> {
    let mut random = Random::new(seed);
    let mut samples = vec![0.0f32; ms(360)];
    for (from, length, peak, decay) in [(0, ms(200), 0.5, 70.0), (ms(180), ms(180), 0.3, 60.0)] {
        let mut before = 0.0;
        for n in 0..length {
            let attack = (n as f32 / ms(8) as f32).min(1.0);
            let decay = (-(n as f32) / (decay * HZ as f32 / 1_000.0)).exp();
            // One pole at about 1.5 kHz: a throat, not a hiss.
            before += 0.7 * (random.gauss() - before);
            samples[from + n] += peak * attack * decay * before;
        }
    }
    samples.into_iter().map(pcm::from_float).collect()
}

/// [`NOISE_SAMPLES`] of white noise of this RMS level, 8 kHz.
pub fn noise(seed: u64, level_dbfs: f32) -> Vec<i16> {
    let mut random = Random::new(seed);
    let amplitude = pcm::db_to_amplitude(level_dbfs);
    (0..NOISE_SAMPLES).map(|_| pcm::from_float(amplitude * random.gauss())).collect()
}

const fn ms(ms: usize) -> usize {
    ms * HZ as usize / 1_000
}

/// Numbers that look random, the same for the same seed: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to, and without, 1.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Nearly normal, with variance 1: the sum of twelve of [`Random::unit`], less its mean.
    pub fn gauss(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }
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
