//! Sounds made of chance, the same for the same seed: numbers, noise, a cough. 8 kHz, samples within ±1.

/// Samples of a millisecond.
const PER_MS: usize = 8;

/// Numbers that look random, the same for the same seed: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", OOPSLA 2014). Not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins at `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
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

    /// Nearly normal, with variance 1: the sum of twelve of [`Random::unit`], less its mean. As samples, white noise.
    pub fn gauss(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }
}

/// A cough: two bursts of noise, each with a sudden beginning and a decay, 360 ms in all.
///
/// Coughs last 300 to 700 ms and begin with their loudest part, an explosive burst of broad noise; a second one often
/// follows as the air flow ends.
pub fn cough(seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut sound = vec![0.0; 360 * PER_MS];
    for (from_ms, length_ms, peak, decay_ms) in [(0, 200, 0.5, 70), (180, 180, 0.3, 60)] {
        let mut throat = 0.0;
        for n in 0..length_ms * PER_MS {
            let attack = (n as f32 / (8 * PER_MS) as f32).min(1.0);
            let decay = (-(n as f32) / (decay_ms * PER_MS) as f32).exp();
            // One pole at about 1.5 kHz: a throat, not a hiss.
            throat += 0.7 * (random.gauss() - throat);
            sound[from_ms * PER_MS + n] += peak * attack * decay * throat;
        }
    }
    sound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_numbers() {
        // The first three of the reference implementation for the seed 1234567.
        let mut random = Random::new(1_234_567);
        assert_eq!(
            [random.bits(), random.bits(), random.bits()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }
}
