//! How loud a short stretch of sound is in each of four bands: what is left of a voice once pitch and phase are gone, and what
//! an echo keeps of it, since loudspeakers, rooms and codecs change a band's loudness by a factor but not its course.
//!
//! The bands are octaves, cut by sums and differences of neighbours (Haar's wavelet): below 500 Hz, 500 Hz to 1 kHz, 1 to
//! 2 kHz, 2 to 4 kHz. They overlap widely, which does no harm where two signals that went through the same bands are compared;
//! in return a block costs some 200 additions and no state.

use crate::pcm::is_mute;

/// Samples of a block: 10 ms at 8 kHz.
pub const BLOCK: usize = 80;
/// How many bands there are.
pub const BANDS: usize = 4;

/// The level of each band of up to [`BLOCK`] samples, the lowest band first, in dB above a mean square of 1: full scale is
/// 90, telephone speech 50 to 75, silence 0.
///
/// A block that is not full counts as one that is, by its mean. An empty one is silent.
pub fn levels(pcm: &[i16]) -> [u8; BANDS] {
    // Telephones that suppress noise send much of this.
    if is_mute(pcm) {
        return [0; BANDS];
    }
    let mut wave = [0.0f32; BLOCK];
    let n = pcm.len().min(BLOCK);
    wave.iter_mut().zip(pcm).for_each(|(out, &sample)| *out = f32::from(sample));
    let mut energies = [0.0f32; BANDS];
    // Each octave halves the rate: what the sums keep is an amplitude twice as high, at half as many samples.
    let mut left = [0.0f32; BLOCK / 2];
    energies[3] = halve(&wave, &mut left) / 2.0;
    let mut lower = [0.0f32; BLOCK / 4];
    energies[2] = halve(&left, &mut lower) / 4.0;
    let mut lowest = [0.0f32; BLOCK / 8];
    energies[1] = halve(&lower, &mut lowest) / 8.0;
    energies[0] = lowest.iter().map(|s| s * s).sum::<f32>() / 8.0;
    energies.map(|energy| decibels(energy / n.max(1) as f32))
}

/// Sums of neighbours into `sums`; the energy of their differences.
fn halve(wave: &[f32], sums: &mut [f32]) -> f32 {
    // Several sums side by side, as one would have to be added up in order.
    let mut energy = [0.0f32; 2];
    for (pairs, sums) in wave.chunks_exact(4).zip(sums.chunks_exact_mut(2)) {
        for at in 0..2 {
            let (a, b) = (pairs[2 * at], pairs[2 * at + 1]);
            sums[at] = a + b;
            energy[at] += (a - b) * (a - b);
        }
    }
    energy[0] + energy[1]
}

/// 10·log10 of `mean_square`, to 0.3 dB: the logarithm of a float stands in its bits, but for the bend between two powers.
fn decibels(mean_square: f32) -> u8 {
    const DB_PER_OCTAVE: f32 = 3.010_3;
    let bits = mean_square.max(1.0).to_bits();
    let octaves = (bits - 1.0f32.to_bits()) as f32 / (1u32 << 23) as f32;
    (octaves * DB_PER_OCTAVE + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    fn tone(hz: f32, amplitude: f32) -> Vec<i16> {
        (0..BLOCK).map(|n| (amplitude * (TAU * hz * n as f32 / 8_000.0).sin()) as i16).collect()
    }

    #[test]
    fn each_tone_is_loudest_in_its_band() {
        for (band, hz) in [200.0, 700.0, 1_500.0, 3_000.0].into_iter().enumerate() {
            let levels = levels(&tone(hz, 8_000.0));
            let loudest = (0..BANDS).max_by_key(|&band| levels[band]);
            assert_eq!(loudest, Some(band), "{hz} Hz: {levels:?}");
            // A sine of amplitude 8,000 has a mean square of 75 dB.
            assert!((72..=76).contains(&levels[band]), "{hz} Hz: {levels:?}");
        }
    }

    #[test]
    fn ten_times_the_amplitude_is_20_db_in_every_band() {
        let [quiet, loud] = [800.0, 8_000.0].map(|amplitude| levels(&tone(900.0, amplitude)));
        for band in 0..BANDS {
            assert!((19..=21).contains(&(loud[band] - quiet[band])), "{quiet:?} {loud:?}");
        }
    }

    #[test]
    fn silence_and_nothing_are_silent_and_a_part_of_a_block_counts_as_one() {
        assert_eq!(levels(&[0; BLOCK]), [0; BANDS]);
        assert_eq!(levels(&[]), [0; BANDS]);
        let (whole, half) = (levels(&tone(800.0, 5_000.0)), levels(&tone(800.0, 5_000.0)[..40]));
        assert!(whole.iter().zip(half).all(|(a, b)| a.abs_diff(b) <= 1), "{whole:?} {half:?}");
    }

    #[test]
    fn the_loudest_sound_there_is_does_not_overflow() {
        assert_eq!(levels(&[i16::MIN; BLOCK])[0], 90);
    }
}
