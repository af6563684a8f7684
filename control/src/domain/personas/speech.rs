//! The clearest speech of a recording, chosen for a voice to be made of it.
//!
//! Voice activity detection cuts it into stretches; of those that are long enough and not distorted, the ones that stand out most
//! from the noise around them are taken, and put together in the order in which they were said.

use std::time::Duration;

use webrtc_vad::{SampleRate, Vad, VadMode};

use crate::integrations::video::RATE_HZ;

/// Samples of 30 ms: the longest that the detection takes, and the surest.
pub(super) const FRAME: usize = RATE_HZ as usize * 30 / 1_000;
/// A pause that is no longer is a part of what is said: 300 ms.
const PAUSE_FRAMES: usize = 10;
/// A stretch that is shorter says little of a voice: 600 ms.
const STRETCH_FRAMES: usize = 20;
/// A stretch is taken apart after so long: 12 s. What is chosen is spread over the recording then.
const STRETCH_FRAMES_MAX: usize = 400;
/// Frames before and behind a stretch that tell of its noise: 300 ms.
const AROUND: usize = 10;
/// More than that of the samples at full scale is distortion.
const CLIPPED_MAX: f32 = 0.005;
/// Full scale, but for a hair.
const FULL_SCALE: u16 = 32_700;

/// Less speech than this makes no voice.
pub(super) const SPEECH_MIN: Duration = Duration::from_secs(10);
/// More makes none that is better.
pub(super) const SPEECH_MAX: Duration = Duration::from_secs(120);

/// There is too little speech: so much, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the recording has {} s of clear speech; {} s are needed", .0 / 1_000, SPEECH_MIN.as_secs())]
pub(super) struct TooLittle(pub(super) u64);

/// A stretch of speech: its frames, and how far it stands out from the noise, in dB.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: usize,
    to: usize,
    clear_db: f32,
}

/// Chooses up to [`SPEECH_MAX`] of `samples`, at [`RATE_HZ`]. Takes some ms for each second.
pub(super) fn clearest(samples: &[i16]) -> Result<Vec<i16>, TooLittle> {
    let voiced = voiced(samples);
    let levels: Vec<f32> = samples.chunks_exact(FRAME).map(level_db).collect();
    let is_clean = |from: usize, to: usize| {
        let samples = &samples[from * FRAME..to * FRAME];
        let clipped = samples.iter().filter(|sample| sample.unsigned_abs() >= FULL_SCALE).count();
        clipped as f32 <= CLIPPED_MAX * samples.len() as f32
    };
    let mut stretches: Vec<Stretch> = stretches(&voiced, STRETCH_FRAMES)
        .into_iter()
        .filter(|&(from, to)| is_clean(from, to))
        .map(|(from, to)| {
            let spoken = (from..to).filter(|&at| voiced[at]);
            let (sum, count) = spoken.fold((0.0, 0), |(sum, count), at| (sum + levels[at], count + 1));
            Stretch {
                from,
                to,
                clear_db: sum / count.max(1) as f32 - noise_around(&levels, &voiced, from, to),
            }
        })
        .collect();
    stretches.sort_by(|a, b| b.clear_db.total_cmp(&a.clear_db));
    let most = SPEECH_MAX.as_millis() as usize / 30;
    let mut taken = 0;
    stretches.retain(|stretch| {
        let fits = taken + (stretch.to - stretch.from) <= most;
        taken += if fits { stretch.to - stretch.from } else { 0 };
        fits
    });
    let ms = taken as u64 * 30;
    if ms < SPEECH_MIN.as_millis() as u64 {
        return Err(TooLittle(ms));
    }
    stretches.sort_by_key(|stretch| stretch.from);
    Ok(stretches
        .iter()
        .flat_map(|stretch| &samples[stretch.from * FRAME..stretch.to * FRAME])
        .copied()
        .collect())
}

/// The noise before or behind a stretch, whichever is louder: it is in the speech too. Where there is nothing but speech, the
/// quietest of the stretch.
fn noise_around(levels: &[f32], voiced: &[bool], from: usize, to: usize) -> f32 {
    let quiet = |frames: std::ops::Range<usize>| {
        let quiet: Vec<f32> = frames.filter(|&at| !voiced[at]).map(|at| levels[at]).collect();
        (!quiet.is_empty()).then(|| quiet.iter().sum::<f32>() / quiet.len() as f32)
    };
    let before = quiet(from.saturating_sub(AROUND)..from);
    let behind = quiet(to..(to + AROUND).min(levels.len()));
    let least = || levels[from..to].iter().copied().fold(f32::MAX, f32::min);
    before.into_iter().chain(behind).reduce(f32::max).unwrap_or_else(least)
}

/// In which frames somebody speaks.
pub(super) fn voiced(samples: &[i16]) -> Vec<bool> {
    let mut vad = Vad::new_with_rate_and_mode(SampleRate::Rate16kHz, VadMode::Aggressive);
    samples.chunks_exact(FRAME).map(|frame| vad.is_voice_segment(frame).unwrap_or(false)).collect()
}

/// From where to where somebody speaks, in frames; at least for `frames_min`.
pub(super) fn stretches(voiced: &[bool], frames_min: usize) -> Vec<(usize, usize)> {
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    for at in (0..voiced.len()).filter(|&at| voiced[at]) {
        match stretches.last_mut() {
            Some((from, to)) if at <= *to + PAUSE_FRAMES && at + 1 - *from <= STRETCH_FRAMES_MAX => {
                *to = at + 1
            }
            _ => stretches.push((at, at + 1)),
        }
    }
    stretches.retain(|(from, to)| to - from >= frames_min);
    stretches
}

/// In dB above a mean square of 1.
fn level_db(frame: &[i16]) -> f32 {
    let square: f32 = frame.iter().map(|&sample| f32::from(sample).powi(2)).sum();
    10.0 * (square / frame.len().max(1) as f32).max(1.0).log10()
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use offhook_codecs::noise::Random;
    use offhook_engine::speech::TextToSpeech;
    use offhook_engine::speech::tts::flite::Flite;

    use super::*;

    /// Some three seconds, at 16 kHz.
    fn spoken() -> Vec<i16> {
        let mut samples = Vec::new();
        let text = "We open at nine in the morning, and we close at five in the afternoon.";
        let _ = Flite::new().unwrap().synthesize(text, &mut |piece| {
            samples.extend_from_slice(piece);
            ControlFlow::Continue(())
        });
        samples
    }

    fn with_noise(samples: &[i16], level: f32, seed: u64) -> Vec<i16> {
        let mut random = Random::new(seed);
        samples.iter().map(|&sample| sample.saturating_add((random.gauss() * level) as i16)).collect()
    }

    #[test]
    fn the_clearest_stretches_are_chosen_in_the_order_in_which_they_were_said() {
        let (speech, pause) = (spoken(), vec![0; 16_000]);
        let clear = [&speech[..], &pause].concat();
        let noisy = with_noise(&clear, 900.0, 5);
        // The last bit of a sample tells which of them it is of.
        let clear: Vec<i16> = clear.iter().map(|sample| sample & !1).collect();
        let noisy: Vec<i16> = noisy.iter().map(|sample| sample | 1).collect();
        // More clear speech than is taken, and as much that is noisy behind it.
        let both: Vec<i16> = [&clear, &noisy].iter().flat_map(|said| said.repeat(60)).collect();
        let chosen = clearest(&both).unwrap();
        let most = SPEECH_MAX.as_secs() as usize * 16_000;
        assert!(chosen.len() <= most && chosen.len() > most * 8 / 10, "{}", chosen.len());
        let of_clear = chosen.iter().filter(|sample| **sample & 1 == 0).count();
        assert!(of_clear > chosen.len() * 9 / 10, "{of_clear} of {}", chosen.len());
    }

    #[test]
    fn what_has_too_little_speech_says_how_much_it_has() {
        let few = [spoken(), vec![0; 16_000]].concat();
        let TooLittle(ms) = clearest(&few).unwrap_err();
        assert!((2_000..6_000).contains(&ms), "{ms}");
        for none in [vec![], vec![0; 160_000], with_noise(&vec![0; 320_000], 300.0, 9)] {
            assert!(clearest(&none).unwrap_err().0 < 2_000);
        }
        let clipped: Vec<i16> = few.iter().map(|&sample| sample.saturating_mul(60)).collect();
        let clipped: Vec<i16> = (0..20).flat_map(|_| clipped.clone()).collect();
        assert!(clearest(&clipped).is_err(), "distortion makes no voice");
    }
}
