//! Linear samples: as bytes, as floats, and how loud they are.
//!
//! Offhook's sample is a mono `i16`. On the wire and in files it is two bytes, little-endian; inside a filter it is an
//! `f32` with full scale at ±1. Levels are in dBFS: 0 dBFS is the largest magnitude that a sample has, for a peak, and a
//! square wave of that magnitude for an RMS, so that a full-scale sine reads −3.01 dBFS RMS.
//!
//! A telephone level in dBm0 is a dBFS sine level plus 3.14 for A-law, 3.17 for µ-law (ITU-T G.711, table 5 and 6: the
//! digital sine of 0 dBm0 peaks that far below the law's overload point).

use dasp::Sample;

/// One more than the largest sample: the `i16` that would be 1.0.
const FULL_SCALE: f32 = 32_768.0;

/// The level that [`rms_dbfs`] and [`peak_dbfs`] give for silence, in dBFS; the smallest sound is 90.3 dB below full scale.
pub const SILENCE_DBFS: f32 = -100.0;

/// Reads little-endian samples.
///
/// `bytes`: two per sample. `out` gets `bytes.len() / 2` samples at its end. Gives back what is left over of the last
/// sample when the number of bytes is odd: empty, or the one byte that belongs before the next bytes of the stream.
pub fn samples_from_le<'a>(bytes: &'a [u8], out: &mut Vec<i16>) -> &'a [u8] {
    let (pairs, rest) = bytes.as_chunks::<2>();
    out.extend(pairs.iter().map(|&pair| i16::from_le_bytes(pair)));
    rest
}

/// Writes samples as little-endian bytes, two per sample, at the end of `out`.
pub fn samples_to_le(samples: &[i16], out: &mut Vec<u8>) {
    out.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
}

/// True if no sample is other than 0.
#[inline]
pub fn is_mute(samples: &[i16]) -> bool {
    // All of them, since a loop that may end early takes one at a time.
    samples.iter().fold(0, |any, sample| any | sample) == 0
}

/// A sample as a float, exactly: −1.0 to 32,767/32,768.
#[inline]
pub fn to_float(sample: i16) -> f32 {
    sample.to_sample::<f32>()
}

/// The sample nearest to a float, ±1.0 being full scale; beyond that it saturates. Not-a-number gives 0.
///
/// The rounding is why this is not a plain sample conversion: cutting off the fraction would add half a step of error
/// that follows the signal's sign.
#[inline]
pub fn from_float(value: f32) -> i16 {
    // Added to this, an integer stands in the low bits of the mantissa, rounded by the addition itself: no library call,
    // and a loop over it vectorises, which neither rounding nor a saturating cast does on plain x86-64.
    const INTEGERS: f32 = 12_582_912.0; // 1.5 * 2^23
    let scaled = (value * FULL_SCALE).clamp(-32_768.0, 32_767.0);
    (scaled + INTEGERS).to_bits() as i16
}

/// The root mean square of `samples` in dBFS; [`SILENCE_DBFS`] if there are none, or nothing but zeros.
pub fn rms_dbfs(samples: &[i16]) -> f32 {
    if samples.is_empty() {
        return SILENCE_DBFS;
    }
    let energy: u64 = samples.iter().map(|&sample| u64::from(sample.unsigned_abs()).pow(2)).sum();
    let mean = energy as f64 / samples.len() as f64;
    to_db((mean.sqrt() / f64::from(FULL_SCALE)) as f32)
}

/// The largest magnitude among `samples` in dBFS; [`SILENCE_DBFS`] if there are none, or nothing but zeros.
pub fn peak_dbfs(samples: &[i16]) -> f32 {
    let peak = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    to_db(f32::from(peak) / FULL_SCALE)
}

/// The factor on an amplitude that `db` decibels are.
pub fn db_to_amplitude(db: f32) -> f32 {
    10f32.powf(db / 20.0)
}

/// Makes `samples` louder (`db` above 0) or quieter (below 0). What no longer fits saturates.
pub fn apply_gain(samples: &mut [i16], db: f32) {
    let factor = db_to_amplitude(db);
    for sample in samples {
        *sample = from_float(to_float(*sample) * factor);
    }
}

/// Adds `other` to `samples`, sample by sample. What no longer fits saturates.
///
/// # Panics
/// If the lengths differ: that is the caller's bug.
pub fn mix_into(samples: &mut [i16], other: &[i16]) {
    assert_eq!(samples.len(), other.len(), "one sample for each sample");
    for (sample, &other) in samples.iter_mut().zip(other) {
        *sample = sample.saturating_add(other);
    }
}

fn to_db(amplitude: f32) -> f32 {
    if amplitude > 0.0 { 20.0 * amplitude.log10() } else { SILENCE_DBFS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dasp::{Signal, signal};
    use proptest::prelude::*;

    fn sine(hz: f64, amplitude: f64, samples: usize) -> Vec<i16> {
        signal::rate(8_000.0)
            .const_hz(hz)
            .sine()
            .scale_amp(amplitude)
            .take(samples)
            .map(|s| from_float(s as f32))
            .collect()
    }

    #[test]
    fn bytes_are_little_endian_and_an_odd_byte_is_handed_back() {
        let mut samples = Vec::new();
        let rest = samples_from_le(&[0x01, 0x00, 0xFE, 0xFF, 0x7F], &mut samples);
        assert_eq!(samples, [1, -2]);
        assert_eq!(rest, [0x7F]);
    }

    proptest! {
        #[test]
        fn samples_survive_bytes(samples: Vec<i16>) {
            let (mut bytes, mut back) = (Vec::new(), Vec::new());
            samples_to_le(&samples, &mut bytes);
            prop_assert_eq!(bytes.len(), 2 * samples.len());
            prop_assert!(samples_from_le(&bytes, &mut back).is_empty());
            prop_assert_eq!(back, samples);
        }

        #[test]
        fn mixing_never_wraps(a: i16, b: i16) {
            let mut mixed = [a];
            mix_into(&mut mixed, &[b]);
            prop_assert_eq!(i32::from(mixed[0]), (i32::from(a) + i32::from(b)).clamp(-32_768, 32_767));
        }
    }

    #[test]
    fn every_sample_survives_floats() {
        for sample in i16::MIN..=i16::MAX {
            assert_eq!(from_float(to_float(sample)), sample);
        }
    }

    #[test]
    fn floats_round_to_the_nearest_sample_and_saturate() {
        let cases =
            [(1.0, 32_767), (7.5, 32_767), (-1.0, -32_768), (f32::NEG_INFINITY, -32_768), (f32::NAN, 0)];
        for (value, sample) in cases {
            assert_eq!(from_float(value), sample, "{value}");
        }
        assert_eq!(from_float(0.6 / FULL_SCALE), 1);
        assert_eq!(from_float(-0.6 / FULL_SCALE), -1);
        assert_eq!(from_float(0.4 / FULL_SCALE), 0);
    }

    #[test]
    fn a_full_scale_sine_is_three_decibels_below_its_peak() {
        let sine = sine(1_000.0, 1.0, 8_000);
        assert!((rms_dbfs(&sine) + 3.01).abs() < 0.01);
        assert!(peak_dbfs(&sine).abs() < 0.01);
        assert_eq!(peak_dbfs(&[0, i16::MIN]), 0.0);
    }

    #[test]
    fn silence_and_nothing_have_the_level_of_silence() {
        for samples in [&[0; 160][..], &[]] {
            assert_eq!(rms_dbfs(samples), SILENCE_DBFS);
            assert_eq!(peak_dbfs(samples), SILENCE_DBFS);
        }
        assert!(peak_dbfs(&[1]) > SILENCE_DBFS);
    }

    #[test]
    fn only_what_holds_no_sound_at_all_is_mute() {
        assert!(is_mute(&[]) && is_mute(&[0; 160]));
        assert!(!is_mute(&[0, 0, 1]) && !is_mute(&[i16::MIN, 0]));
    }

    #[test]
    fn gain_is_in_decibels_and_saturates() {
        let mut tone = sine(1_000.0, 0.25, 8_000);
        let before = rms_dbfs(&tone);
        apply_gain(&mut tone, -6.0);
        assert!((before - rms_dbfs(&tone) - 6.0).abs() < 0.01);
        let mut loud = [30_000, -30_000];
        apply_gain(&mut loud, 6.0);
        assert_eq!(loud, [i16::MAX, i16::MIN]);
    }
}
