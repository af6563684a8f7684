//! The speech that a voice is made of, chosen from what a caller says.
//!
//! The call's own voice activity detection cuts utterances. Of those, what is loud, clear of noise and not clipped is kept,
//! from its first sound to its last.

use std::time::Duration;

use offhook_codecs::g711;

/// Samples of 20 ms at 8 kHz.
const FRAME: usize = 160;
/// Samples of 1 ms.
const MS: usize = 8;
/// What is shorter is a cough, or a yes with more noise than voice.
const SPEECH_MIN_MS: usize = 400;
/// Speech that is not so loud has come through a bad line, or from across a room.
const LEVEL_MIN_DBFS: f32 = -38.0;
/// So far the speech must be above the noise.
const OVER_NOISE_MIN_DB: f32 = 15.0;
/// A frame is sound if it is so far above the noise.
const SOUND_OVER_NOISE_DB: f32 = 8.0;
/// More than that of the samples at full scale is distortion.
const CLIPPED_MAX: f32 = 0.01;
/// The highest amplitude of µ-law, but for a step.
const FULL_SCALE: u16 = 31_000;
/// Silence that a line does not carry at all.
const SILENCE_DBFS: f32 = -75.0;

/// Why an utterance is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("too short")]
    Short,
    #[error("too quiet")]
    Quiet,
    #[error("too much noise")]
    Noisy,
    #[error("clipped")]
    Clipped,
}

/// Speech of one caller, as it is collected.
#[derive(Debug)]
pub(super) struct Sample {
    least: usize,
    speech: Vec<u8>,
}

impl Sample {
    /// Nothing yet; enough is `least`.
    pub(super) fn new(least: Duration) -> Self {
        Self { least: least.as_millis() as usize * MS, speech: Vec::new() }
    }

    /// Takes an utterance, 8 kHz µ-law, of which `speech_ms` were speech.
    pub(super) fn take(&mut self, utterance: &[u8], speech_ms: u32) -> Result<(), Unfit> {
        let kept = fit(utterance)?;
        // Silence within it is a part of how somebody speaks, and counts for nothing.
        let speech = kept.len().min(speech_ms as usize * MS);
        if speech < SPEECH_MIN_MS * MS {
            return Err(Unfit::Short);
        }
        self.speech.extend_from_slice(kept);
        self.least = self.least.saturating_sub(speech);
        Ok(())
    }

    /// All of it, once it is enough.
    pub(super) fn enough(&mut self) -> Option<Vec<u8>> {
        (self.least == 0 && !self.speech.is_empty()).then(|| std::mem::take(&mut self.speech))
    }
}

/// What of an utterance is good to be copied.
fn fit(utterance: &[u8]) -> Result<&[u8], Unfit> {
    let mut samples = vec![0; utterance.len()];
    g711::decode_ulaw(utterance, &mut samples);
    let levels: Vec<f32> = samples.chunks_exact(FRAME).map(level_dbfs).collect();
    if levels.len() * FRAME < SPEECH_MIN_MS * MS {
        return Err(Unfit::Short);
    }
    let mut sorted = levels.clone();
    sorted.sort_by(f32::total_cmp);
    // An utterance begins before its first sound and ends in the silence by which its end was known.
    let noise = sorted[sorted.len() / 10];
    let loud = sorted[sorted.len() * 3 / 4];
    if loud < LEVEL_MIN_DBFS {
        return Err(Unfit::Quiet);
    }
    if loud - noise < OVER_NOISE_MIN_DB {
        return Err(Unfit::Noisy);
    }
    let clipped = samples.iter().filter(|sample| sample.unsigned_abs() >= FULL_SCALE).count();
    if clipped as f32 > CLIPPED_MAX * samples.len() as f32 {
        return Err(Unfit::Clipped);
    }
    let is_sound = |level: &f32| *level > noise + SOUND_OVER_NOISE_DB;
    let first = levels.iter().position(is_sound).unwrap_or(0).saturating_sub(1);
    let last = levels.iter().rposition(is_sound).map_or(levels.len(), |last| last + 2);
    Ok(&utterance[first * FRAME..(last * FRAME).min(utterance.len())])
}

/// The level of some samples, in dB of full scale.
pub(super) fn level_dbfs(samples: &[i16]) -> f32 {
    let square: f32 = samples.iter().map(|&sample| f32::from(sample).powi(2)).sum();
    let mean = square / samples.len().max(1) as f32;
    (10.0 * (mean / 32_768.0f32.powi(2)).max(f32::MIN_POSITIVE).log10()).max(SILENCE_DBFS)
}

#[cfg(test)]
mod tests {
    use offhook_codecs::noise::Random;

    use super::*;
    use crate::domain::speech::clones::testing::{SPEECH_S, spoken};

    fn ulaw(samples: &[i16]) -> Vec<u8> {
        samples.iter().map(|&sample| g711::linear_to_ulaw(sample)).collect()
    }

    fn scaled(samples: &[i16], by: f32) -> Vec<i16> {
        samples.iter().map(|&sample| (f32::from(sample) * by) as i16).collect()
    }

    /// Speech with the silence around it that an utterance has.
    fn utterance(speech: &[i16]) -> Vec<i16> {
        [&[0; 1_600], speech, &[0; 5_600]].concat()
    }

    #[test]
    fn speech_is_kept_from_its_first_sound_to_its_last() {
        let speech = spoken(1.0);
        let whole = ulaw(&utterance(&speech));
        let kept = fit(&whole).unwrap();
        assert!(
            kept.len() < speech.len() + 4 * FRAME && kept.len() * 10 > speech.len() * 8,
            "{}",
            kept.len()
        );
        let at = whole.windows(kept.len()).position(|window| window == kept);
        assert!(at.unwrap().abs_diff(1_600) < 2_000, "as it was said");
    }

    #[test]
    fn what_is_quiet_noisy_clipped_or_short_makes_no_voice() {
        let speech = spoken(1.0);
        let said = utterance(&speech);
        let unfit = |samples: &[i16]| fit(&ulaw(samples)).err();
        assert_eq!(unfit(&said), None);
        assert_eq!(unfit(&scaled(&said, 0.02)), Some(Unfit::Quiet));
        let mut noise = Random::new(7);
        let noisy: Vec<i16> =
            said.iter().map(|&sample| sample.saturating_add((noise.gauss() * 2_000.0) as i16)).collect();
        assert_eq!(unfit(&noisy), Some(Unfit::Noisy));
        let clipped: Vec<i16> = said.iter().map(|&sample| sample.saturating_mul(40)).collect();
        assert_eq!(unfit(&clipped), Some(Unfit::Clipped));
        assert_eq!(unfit(&said[..1_600]), Some(Unfit::Short));
        assert_eq!(unfit(&[]), Some(Unfit::Short));
        let mut sample = Sample::new(Duration::from_secs(3));
        assert_eq!(sample.take(&ulaw(&said), 300), Err(Unfit::Short), "a cough with silence around it");
    }

    #[test]
    fn there_is_enough_once_all_utterances_are_as_long_as_is_asked_and_it_is_given_once() {
        let speech = spoken(1.0);
        let said = ulaw(&utterance(&speech));
        let mut sample = Sample::new(Duration::from_secs_f32(1.6 * SPEECH_S));
        sample.take(&said, 60_000).unwrap();
        assert_eq!(sample.enough(), None);
        sample.take(&said, 60_000).unwrap();
        let all = sample.enough().unwrap();
        assert!(all.len() > (1.6 * SPEECH_S * 8_000.0) as usize);
        assert_eq!(sample.enough(), None);
    }
}
