//! What stands in for a caller's own voice where none can be made: the voice of this machine, at the caller's pitch and pace.
//!
//! It is no copy of anybody, and is called a stand-in wherever it is told of.

use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use offhook_codecs::g711;
use offhook_engine::speech::tts::flite::Flite;
use offhook_engine::speech::{SpeechError, TextToSpeech, render};

use super::sample::level_dbfs;

/// 8 kHz.
const RATE_HZ: f32 = 8_000.0;
/// Lags of the highest and of the lowest pitch that people speak at, in samples: 400 and 60 Hz.
const LAGS: std::ops::RangeInclusive<usize> = 20..=133;
/// How much is looked at to find a pitch, in samples: 50 ms, three periods of the lowest.
const WINDOW: usize = 400;
/// From look to look: 20 ms.
const HOP: usize = 160;
/// A sound repeats itself so well if it has a pitch, of 1.
const VOICED_MIN: f32 = 0.6;
/// The shortest lag whose likeness is so near to the best is the period; the others are multiples of it.
const NEAR_BEST: f32 = 0.9;
/// Sound that is so far below the loudest is none, in dB.
const SILENT_BELOW: f32 = 25.0;
/// A step of the course of loudness, in samples: 10 ms.
const STEP: usize = 80;
/// Steps over which that course is smoothed: 50 ms, less than a syllable.
const SMOOTH: usize = 5;
/// A syllable is so much louder than what is between it and the one before, in dB.
const SYLLABLE_DB: f32 = 2.5;

/// What the voice of this machine says to be measured by.
const SENTENCE: &str =
    "We open at nine in the morning, and close at five. Please call again if anything is not clear.";

/// How somebody speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Manner {
    pitch_hz: f32,
    syllables_per_s: f32,
}

/// The pitch and the pace of a stand-in, in percent of the voice of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StandIn {
    pitch: u16,
    pace: u16,
}

/// The voice of this machine, as it is measured by.
static OWN: LazyLock<Option<Manner>> = LazyLock::new(|| {
    let mut samples = Vec::new();
    let voice = Flite::new().ok()?;
    let take = &mut |ulaw: Vec<u8>| {
        samples.extend(ulaw.iter().map(|&code| g711::ulaw_to_linear(code)));
        ControlFlow::Continue(())
    };
    render(&voice, SENTENCE, take).ok()?;
    measure(&samples)
});

impl StandIn {
    /// For whoever speaks so, 8 kHz µ-law. None if no pitch can be found in it. Takes some ms for each second of it.
    pub(super) fn of(speech: &[u8]) -> Option<Self> {
        let mut samples = vec![0; speech.len()];
        g711::decode_ulaw(speech, &mut samples);
        let (caller, own) = (measure(&samples)?, (*OWN)?);
        let percent =
            |of: f32, own: f32, least: f32, most: f32| (100.0 * of / own).round().clamp(least, most) as u16;
        // A pace beyond these is an error of counting.
        Some(Self {
            pitch: percent(caller.pitch_hz, own.pitch_hz, 50.0, 200.0),
            pace: percent(caller.syllables_per_s, own.syllables_per_s, 75.0, 135.0),
        })
    }

    /// The name by which it can be made again: `local-134-96`.
    pub(super) fn id(self) -> String {
        format!("local-{}-{}", self.pitch, self.pace)
    }

    /// The one of this name.
    pub(super) fn named(id: &str) -> Option<Self> {
        let (pitch, pace) = id.strip_prefix("local-")?.split_once('-')?;
        Some(Self { pitch: pitch.parse().ok()?, pace: pace.parse().ok()? })
    }

    /// The voice.
    pub(super) fn voice(self) -> Result<Arc<dyn TextToSpeech>, SpeechError> {
        let part = |percent: u16| f32::from(percent) / 100.0;
        Ok(Arc::new(Flite::at_pitch(part(self.pitch))?.at_pace(part(self.pace))))
    }
}

/// How these samples are spoken. None if there is no voice in them.
fn measure(samples: &[i16]) -> Option<Manner> {
    let loudest = samples.chunks_exact(HOP).map(level_dbfs).fold(f32::MIN, f32::max);
    let floor = loudest - SILENT_BELOW;
    let windows = samples.windows(WINDOW).step_by(HOP);
    let mut periods: Vec<usize> =
        windows.filter(|window| level_dbfs(window) > floor).filter_map(period).collect();
    // A second of voice, at the least.
    if periods.len() < 50 {
        return None;
    }
    let middle = periods.len() / 2;
    let period = *periods.select_nth_unstable(middle).1;
    let syllables_per_s = syllables_per_s(samples, floor)?;
    Some(Manner { pitch_hz: RATE_HZ / period as f32, syllables_per_s })
}

/// The period of a voiced sound, by how like it is to itself a little later.
fn period(window: &[i16]) -> Option<usize> {
    let most = *LAGS.end();
    let wave: Vec<f32> = window.iter().map(|&sample| f32::from(sample)).collect();
    let (head, _) = wave.split_at(window.len() - most);
    let energy = |wave: &[f32]| wave.iter().map(|sample| sample * sample).sum::<f32>();
    let own = energy(head);
    let likeness: Vec<f32> = LAGS
        .map(|lag| {
            let later = &wave[lag..lag + head.len()];
            let both: f32 = head.iter().zip(later).map(|(a, b)| a * b).sum();
            both / (own * energy(later)).sqrt().max(1.0)
        })
        .collect();
    let best = likeness.iter().copied().fold(0.0, f32::max);
    if best < VOICED_MIN {
        return None;
    }
    let is_peak = |&at: &usize| {
        let beside = |at: Option<usize>| at.and_then(|at| likeness.get(at)).copied().unwrap_or(f32::MIN);
        likeness[at] >= NEAR_BEST * best
            && likeness[at] >= beside(at.checked_sub(1))
            && likeness[at] >= beside(Some(at + 1))
    };
    (0..likeness.len()).find(is_peak).map(|at| at + LAGS.start())
}

/// Rises of the loudness, for each second that is not silent.
fn syllables_per_s(samples: &[i16], floor: f32) -> Option<f32> {
    let levels: Vec<f32> = samples.chunks_exact(STEP).map(level_dbfs).collect();
    let course: Vec<f32> =
        levels.windows(SMOOTH).map(|levels| levels.iter().sum::<f32>() / SMOOTH as f32).collect();
    let (mut low, mut high, mut rising, mut syllables) = (f32::MAX, f32::MIN, true, 0);
    for &level in &course {
        if rising {
            high = high.max(level);
            if level < high - SYLLABLE_DB {
                syllables += usize::from(high > floor);
                (rising, low) = (false, level);
            }
        } else {
            low = low.min(level);
            if level > low + SYLLABLE_DB {
                (rising, high) = (true, level);
            }
        }
    }
    let spoken = course.iter().filter(|level| **level > floor).count() * STEP;
    (syllables > 0 && spoken > 0).then(|| syllables as f32 * RATE_HZ / spoken as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::speech::clones::testing::{spoken, spoken_at};

    fn manner(samples: &[i16]) -> Manner {
        measure(samples).unwrap()
    }

    #[test]
    fn pitch_and_pace_are_found_as_they_were_spoken() {
        let plain = manner(&spoken(1.0));
        // The voice of this machine is a low one.
        for pitch in [0.85, 1.3, 1.8] {
            let found = manner(&spoken(pitch)).pitch_hz / plain.pitch_hz;
            assert!((found / pitch - 1.0).abs() < 0.1, "{pitch}: {found}");
        }
        for pace in [0.8, 1.25] {
            let found = manner(&spoken_at(1.0, pace)).syllables_per_s / plain.syllables_per_s;
            assert!((found / pace - 1.0).abs() < 0.12, "{pace}: {found}");
        }
    }

    #[test]
    fn a_stand_in_speaks_as_the_caller_does_and_can_be_made_again_by_its_name() {
        let caller = spoken_at(1.5, 1.2);
        let ulaw: Vec<u8> = caller.iter().map(|&sample| g711::linear_to_ulaw(sample)).collect();
        let stand_in = StandIn::of(&ulaw).unwrap();
        assert_eq!(StandIn::named(&stand_in.id()), Some(stand_in));
        let mut said = Vec::new();
        let voice = stand_in.voice().unwrap();
        render(&*voice, SENTENCE, &mut |ulaw: Vec<u8>| {
            said.extend(ulaw.iter().map(|&code| g711::ulaw_to_linear(code)));
            ControlFlow::Continue(())
        })
        .unwrap();
        let (caller, stand_in) = (manner(&caller), manner(&said));
        let is_near = |one: f32, other: f32| (one / other - 1.0).abs() < 0.15;
        assert!(is_near(caller.pitch_hz, stand_in.pitch_hz), "{caller:?} {stand_in:?}");
        assert!(is_near(caller.syllables_per_s, stand_in.syllables_per_s), "{caller:?} {stand_in:?}");
    }

    #[test]
    fn what_has_no_voice_has_no_stand_in() {
        let mut noise = offhook_codecs::noise::Random::new(3);
        let hiss: Vec<u8> =
            (0..40_000).map(|_| g711::linear_to_ulaw((noise.gauss() * 3_000.0) as i16)).collect();
        assert_eq!(StandIn::of(&hiss), None);
        assert_eq!(StandIn::of(&[]), None);
        assert_eq!(StandIn::of(&[0xff; 80_000]), None);
        for name in ["", "local", "local-1", "local-x-1", "21m00Tcm4TlvDq8ikWAM"] {
            assert_eq!(StandIn::named(name), None);
        }
    }
}
