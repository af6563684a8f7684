//! The tones of a telephone line at 8 kHz: DTMF keys, both ways, and the call-progress tones that a caller hears.
//!
//! A key is one tone of a low group and one of a high group (ITU-T Q.23). The detector looks through windows of 12.75 ms,
//! one each 6.4 ms, and asks of each, with a Goertzel filter per tone: is there one strong tone in each group, do the
//! two make up most of all the energy, are they about equally strong, and as loud as in the window before? Speech has harmonics and formants beside any pair of
//! tones, so the share of energy is what keeps it out: in 25 minutes of recorded prompts by one female voice (November 2026)
//! not one key was heard.
//!
//! | requirement (Q.24, the strictest of its administrations in brackets) | here |
//! |---|---|
//! | tone of 40 ms is a key | four steady windows in a row: any 255 samples, 31.9 ms, in the worst alignment 38.1 ms |
//! | tone of 20 ms is none (23 ms) | its outermost windows of four hold half a window of tone: too small a share |
//! | pause of 40 ms separates (30 ms), a gap of 10 ms does not | four windows in a row without the key |
//! | frequency within 1.5 % is taken | at the edge of that a tone keeps 0.72 of its share |
//! | high group up to 4 dB above or 8 dB below the low one (10 dB) | up to 10 dB either way |
//! | level of −25 dBm0 per tone is taken, −55 is not (−29) | from −36 dBFS per tone on |

use crate::audio::SampleRate;
use crate::pcm;
use dasp::{Signal, signal};
use std::f64::consts::TAU;

/// ITU-T Q.23: the low group, by row of the keypad, then the high group, by column; in Hz.
const TONES_HZ: [f64; 8] = [697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0];
const KEYPAD: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// Samples of a window, and from one window's start to the next.
const WINDOW: usize = 2 * HOP;
const HOP: usize = 51;
/// Windows in a row that make a key, or end it.
const WINDOWS_TO_START: u8 = 4;
const WINDOWS_TO_END: u8 = 4;

/// The two tones' share of a window's energy.
const SHARE_MIN: f32 = 0.68;
/// Power of a tone over the next strongest of its group: 6 dB.
const AHEAD_OF_GROUP: f32 = 4.0;
/// Power of one group's tone over the other's: 10 dB.
const TWIST_MAX: f32 = 10.0;
/// Power of both tones together in one window over that in the window before, either way: 1.5 dB.
const STEADY: f32 = 1.4;
/// Mean square of a sine at −36 dBFS.
const POWER_MIN: f32 = 0.5 * 32_768.0 * 32_768.0 * 2.512e-4;

/// A key of the telephone: `0` to `9`, `*`, `#`, `A` to `D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    row: u8,
    column: u8,
}

impl Key {
    /// The key of this character, `a` to `d` too; `None` if there is no such key.
    pub fn from_char(key: char) -> Option<Self> {
        let key = key.to_ascii_uppercase();
        (0..16).map(|n| Self { row: n / 4, column: n % 4 }).find(|candidate| candidate.to_char() == key)
    }

    /// What is printed on the key; letters are upper case.
    pub fn to_char(self) -> char {
        KEYPAD[usize::from(self.row)][usize::from(self.column)]
    }

    /// Its low and its high tone, in Hz.
    pub fn frequencies_hz(self) -> [f64; 2] {
        [TONES_HZ[usize::from(self.row)], TONES_HZ[4 + usize::from(self.column)]]
    }

    /// Appends `ms` milliseconds of the key at 8 kHz, each of its two tones at `level_dbfs` (a sine of full scale has 0;
    /// keypads send about −10). Above −6 the sum saturates.
    pub fn generate(self, ms: u32, level_dbfs: f32, out: &mut Vec<i16>) {
        two_tones(self.frequencies_hz(), SampleRate::HZ_8000.samples_in_ms(ms), level_dbfs, out);
    }
}

/// What a network plays while a call is set up: two tones, on and off. If both are the same it is a single tone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CallProgress {
    /// In Hz.
    pub frequencies_hz: [f64; 2],
    /// Sounding for this long, in ms.
    pub on_ms: u32,
    /// Then silent for this long, in ms.
    pub off_ms: u32,
}

impl CallProgress {
    /// North America: the other telephone rings (ITU-T E.180, supplement 2).
    pub const RINGBACK_US: Self = Self { frequencies_hz: [440.0, 480.0], on_ms: 2_000, off_ms: 4_000 };
    /// North America: the line is busy.
    pub const BUSY_US: Self = Self { frequencies_hz: [480.0, 620.0], on_ms: 500, off_ms: 500 };
    /// Most of Europe: the other telephone rings.
    pub const RINGBACK_EU: Self = Self { frequencies_hz: [425.0, 425.0], on_ms: 1_000, off_ms: 4_000 };
    /// Most of Europe: the line is busy.
    pub const BUSY_EU: Self = Self { frequencies_hz: [425.0, 425.0], on_ms: 500, off_ms: 500 };

    /// Appends one cycle at 8 kHz, the sound and then the silence, each tone at `level_dbfs` (a sine of full scale has 0).
    pub fn generate(&self, level_dbfs: f32, out: &mut Vec<i16>) {
        two_tones(self.frequencies_hz, SampleRate::HZ_8000.samples_in_ms(self.on_ms), level_dbfs, out);
        out.resize(out.len() + SampleRate::HZ_8000.samples_in_ms(self.off_ms), 0);
    }
}

fn two_tones([a, b]: [f64; 2], samples: usize, level_dbfs: f32, out: &mut Vec<i16>) {
    let amplitude = f64::from(pcm::db_to_amplitude(level_dbfs));
    let sine = |hz| signal::rate(f64::from(SampleRate::HZ_8000.hz())).const_hz(hz).sine();
    let both = sine(a).add_amp(sine(b)).scale_amp(amplitude);
    out.extend(both.take(samples).map(|value| pcm::from_float(value as f32)));
}

/// A key that goes down or up, as heard in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEvent {
    /// The key sounds, long enough to be one.
    Down {
        /// Which key.
        key: Key,
        /// Sample of the stream at which the first window that holds it began: within 6.4 ms of the tone's start.
        at_samples: u64,
    },
    /// The key that was down has stopped.
    Up {
        /// Which key.
        key: Key,
        /// Sample of the stream at which the last window that holds it ended.
        at_samples: u64,
    },
}

/// Finds the keys in a stream at 8 kHz.
///
/// About 0.5 KB, without any allocation. How samples are split over calls makes no difference. A key is told 32 to 45 ms
/// after it began to sound.
#[derive(Clone, Debug)]
pub struct KeyDetector {
    /// The latest samples, up to one window.
    window: [f32; WINDOW],
    filled: usize,
    /// Samples of the stream before the window.
    passed: u64,
    candidate: Option<Candidate>,
    down: Option<Down>,
}

/// The key of the last windows.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    key: Key,
    /// Of its two tones, in the last window.
    power: f32,
    /// In how many windows in a row it sounded steadily.
    windows: u8,
}

#[derive(Clone, Copy, Debug)]
struct Down {
    key: Key,
    heard_until: u64,
    /// Windows in a row without it.
    missed: u8,
}

impl Default for KeyDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyDetector {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self { window: [0.0; WINDOW], filled: 0, passed: 0, candidate: None, down: None }
    }

    /// Takes more of the stream, in any split, and calls `on_event` for each key that went down or up in it, in order.
    pub fn detect(&mut self, mut samples: &[i16], mut on_event: impl FnMut(KeyEvent)) {
        while !samples.is_empty() {
            let room = &mut self.window[self.filled..];
            let (taken, rest) = samples.split_at(room.len().min(samples.len()));
            for (value, &sample) in room.iter_mut().zip(taken) {
                *value = f32::from(sample);
            }
            self.filled += taken.len();
            samples = rest;
            if self.filled == WINDOW {
                self.on_window(key_in(&self.window), &mut on_event);
                self.window.copy_within(HOP.., 0);
                self.filled = WINDOW - HOP;
                self.passed += HOP as u64;
            }
        }
    }

    fn on_window(&mut self, heard: Option<(Key, f32)>, on_event: &mut impl FnMut(KeyEvent)) {
        let end = self.passed + WINDOW as u64;
        self.candidate = heard.map(|(key, power)| {
            let steady = |before: &Candidate| {
                before.key == key && power <= STEADY * before.power && before.power <= STEADY * power
            };
            let windows = self.candidate.filter(steady).map_or(1, |before| before.windows.saturating_add(1));
            Candidate { key, power, windows }
        });
        let heard = heard.map(|(key, _)| key);
        let started = self.candidate.filter(|it| it.windows == WINDOWS_TO_START).map(|it| it.key);

        if let Some(down) = &mut self.down {
            if heard == Some(down.key) {
                (down.heard_until, down.missed) = (end, 0);
            } else {
                down.missed += 1;
            }
            if down.missed == WINDOWS_TO_END || started.is_some_and(|key| key != down.key) {
                on_event(KeyEvent::Up { key: down.key, at_samples: down.heard_until });
                self.down = None;
            }
        }
        if let (Some(key), None) = (started, self.down) {
            let at_samples = self.passed - u64::from(WINDOWS_TO_START - 1) * HOP as u64;
            on_event(KeyEvent::Down { key, at_samples });
            self.down = Some(Down { key, heard_until: end, missed: 0 });
        }
    }
}

/// The key that makes up this window, if one does, and the mean square of its two tones.
fn key_in(window: &[f32; WINDOW]) -> Option<(Key, f32)> {
    let energy: f32 = window.iter().map(|sample| sample * sample).sum();
    if energy < POWER_MIN * WINDOW as f32 {
        return None;
    }
    let powers = tone_powers(window);
    let strongest = |group: &[f32]| {
        let (at, power) = group.iter().copied().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let alone = group.iter().enumerate().all(|(n, &other)| n == at || other * AHEAD_OF_GROUP <= power);
        (alone && power >= POWER_MIN).then_some((at as u8, power))
    };
    let ((row, low), (column, high)) = (strongest(&powers[..4])?, strongest(&powers[4..])?);
    let balanced = low <= high * TWIST_MAX && high <= low * TWIST_MAX;
    let pure = (low + high) * WINDOW as f32 >= SHARE_MIN * energy;
    (balanced && pure).then_some((Key { row, column }, low + high))
}

/// Mean square of each of [`TONES_HZ`] in the window, were it a sine throughout: eight Goertzel filters side by side.
fn tone_powers(window: &[f32; WINDOW]) -> [f32; 8] {
    const SCALE: f32 = 2.0 / (WINDOW * WINDOW) as f32;
    let coefficients = &*COEFFICIENTS;
    let (mut s1, mut s2) = ([0.0f32; 8], [0.0f32; 8]);
    for &sample in window {
        for n in 0..8 {
            let s0 = (sample - s2[n]) + coefficients[n] * s1[n];
            (s2[n], s1[n]) = (s1[n], s0);
        }
    }
    std::array::from_fn(|n| SCALE * (s1[n] * s1[n] + s2[n] * s2[n] - coefficients[n] * s1[n] * s2[n]))
}

/// 2 cos ω of each of [`TONES_HZ`].
static COEFFICIENTS: std::sync::LazyLock<[f32; 8]> = std::sync::LazyLock::new(|| {
    TONES_HZ.map(|hz| (2.0 * (TAU * hz / f64::from(SampleRate::HZ_8000.hz())).cos()) as f32)
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::g711;
    use proptest::prelude::*;

    const KEYS: &str = "123A456B789C*0#D";

    fn key(c: char) -> Key {
        Key::from_char(c).unwrap()
    }

    fn events(samples: &[i16]) -> Vec<KeyEvent> {
        let mut found = Vec::new();
        KeyDetector::new().detect(samples, |event| found.push(event));
        found
    }

    /// The keys that went down.
    fn dialled(samples: &[i16]) -> String {
        let downs = events(samples).into_iter().filter_map(|event| match event {
            KeyEvent::Down { key, .. } => Some(key.to_char()),
            KeyEvent::Up { .. } => None,
        });
        downs.collect()
    }

    /// Uniform noise of this RMS level, the same for the same seed.
    fn noise(seed: u32, level_dbfs: f32, samples: usize) -> Vec<i16> {
        let mut state = seed;
        let peak = pcm::db_to_amplitude(level_dbfs) * 3f32.sqrt();
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            pcm::from_float(peak * f32::from((state >> 16) as i16) / 32_768.0)
        };
        std::iter::repeat_with(next).take(samples).collect()
    }

    /// 50 ms of silence, then two sines of these frequencies and levels for so many samples, then silence again.
    fn pair(hz: [f64; 2], levels_dbfs: [f32; 2], samples: usize, start: usize) -> Vec<i16> {
        let mut all = vec![0; 400 + start];
        let amplitudes = levels_dbfs.map(|level| f64::from(pcm::db_to_amplitude(level)));
        all.extend((0..samples).map(|n| {
            let sine = |i: usize| amplitudes[i] * (TAU * hz[i] * n as f64 / 8_000.0).sin();
            pcm::from_float((sine(0) + sine(1)) as f32)
        }));
        all.resize(all.len() + 800, 0);
        all
    }

    #[test]
    fn every_character_of_the_keypad_is_a_key_and_no_other() {
        for c in KEYS.chars() {
            assert_eq!(key(c).to_char(), c);
        }
        assert_eq!(Key::from_char('d'), Key::from_char('D'));
        assert_eq!(key('0').frequencies_hz(), [941.0, 1_336.0]);
        for c in ['E', ' ', 'é', '\0'] {
            assert_eq!(Key::from_char(c), None);
        }
    }

    #[test]
    fn all_sixteen_keys_of_40_ms_are_heard_through_ulaw_and_noise() {
        for (level, noise_level) in [(-7.0, -27.0), (-12.0, -40.0), (-28.0, -55.0)] {
            let mut line = Vec::new();
            for c in KEYS.chars() {
                // Pauses of 40 ms and a bit, so that every alignment with the windows occurs.
                line.resize(line.len() + 320 + line.len() % 51, 0);
                key(c).generate(40, level, &mut line);
            }
            line.resize(line.len() + 400, 0);
            let noise = noise(5, noise_level, line.len());
            pcm::mix_into(&mut line, &noise);
            for sample in &mut line {
                *sample = g711::ulaw_to_linear(g711::linear_to_ulaw(*sample));
            }
            assert_eq!(dialled(&line), KEYS, "at {level} dBFS");
        }
    }

    #[test]
    fn a_key_of_40_ms_is_heard_wherever_it_begins() {
        for c in KEYS.chars() {
            for start in 0..HOP {
                assert_eq!(
                    dialled(&pair(key(c).frequencies_hz(), [-10.0; 2], 320, start)),
                    c.to_string(),
                    "{start}"
                );
            }
        }
    }

    #[test]
    fn a_tone_of_20_ms_is_not_a_key_wherever_it_begins() {
        for c in KEYS.chars() {
            for start in 0..HOP {
                assert_eq!(
                    dialled(&pair(key(c).frequencies_hz(), [-10.0; 2], 160, start)),
                    "",
                    "{c} at {start}"
                );
            }
        }
    }

    #[test]
    fn a_held_key_is_one_key_with_its_length() {
        let found = events(&pair(key('5').frequencies_hz(), [-10.0; 2], 8_000, 0));
        let &[KeyEvent::Down { key: down, at_samples: from }, KeyEvent::Up { key: up, at_samples: to }] =
            found.as_slice()
        else {
            panic!("down and up: {found:?}")
        };
        assert_eq!((down, up), (key('5'), key('5')));
        assert!(from.abs_diff(400) <= HOP as u64 && to.abs_diff(8_400) <= HOP as u64, "{from} to {to}");
    }

    #[test]
    fn a_gap_of_10_ms_does_not_make_two_keys_and_a_pause_of_40_ms_does() {
        for (gap, keys) in [(80, "7"), (320, "77")] {
            for start in 0..HOP {
                let mut line = vec![0; start];
                key('7').generate(60, -10.0, &mut line);
                line.resize(line.len() + gap, 0);
                key('7').generate(60, -10.0, &mut line);
                line.resize(line.len() + 400, 0);
                assert_eq!(dialled(&line), keys, "gap of {gap} samples, start {start}");
            }
        }
    }

    #[test]
    fn one_key_may_follow_another_without_a_pause() {
        let mut line = Vec::new();
        "15D0".chars().for_each(|c| key(c).generate(60, -10.0, &mut line));
        assert_eq!(dialled(&line), "15D0");
    }

    #[test]
    fn twist_is_taken_within_the_limits_and_refused_far_beyond() {
        for c in KEYS.chars() {
            let hz = key(c).frequencies_hz();
            for levels in [[-10.0, -18.0], [-14.0, -10.0], [-18.0, -10.0]] {
                assert_eq!(dialled(&pair(hz, levels, 480, 0)), c.to_string(), "{levels:?}");
            }
            for levels in [[-10.0, -25.0], [-25.0, -10.0]] {
                assert_eq!(dialled(&pair(hz, levels, 480, 0)), "", "{c} {levels:?}");
            }
        }
    }

    #[test]
    fn frequencies_may_be_off_by_a_and_a_half_percent_and_not_by_three_and_a_half() {
        for c in KEYS.chars() {
            for off in [-0.015, 0.015] {
                for start in 0..HOP {
                    let hz = key(c).frequencies_hz().map(|hz| hz * (1.0 + off));
                    assert_eq!(dialled(&pair(hz, [-10.0; 2], 320, start)), c.to_string(), "{off} at {start}");
                }
            }
            for off in [-0.035, 0.035] {
                let hz = key(c).frequencies_hz().map(|hz| hz * (1.0 + off));
                assert_eq!(dialled(&pair(hz, [-10.0; 2], 480, 0)), "", "{c} off by {off}");
            }
        }
    }

    #[test]
    fn quiet_tones_single_tones_noise_and_progress_tones_are_no_keys() {
        let mut lines = vec![
            pair(key('5').frequencies_hz(), [-50.0; 2], 4_000, 0),
            noise(3, -12.0, 80_000),
            vec![0; 8_000],
            vec![i16::MIN; 8_000],
        ];
        for hz in TONES_HZ {
            lines.push(pair([hz, hz], [-10.0; 2], 4_000, 0));
        }
        for tones in [
            CallProgress::RINGBACK_US,
            CallProgress::BUSY_US,
            CallProgress::RINGBACK_EU,
            CallProgress::BUSY_EU,
        ] {
            let mut line = Vec::new();
            tones.generate(-13.0, &mut line);
            lines.push(line);
        }
        for (n, line) in lines.iter().enumerate() {
            assert_eq!(dialled(line), "", "line {n}");
        }
    }

    /// The ten vowels of American English at the mean formants of men (Peterson and Barney, 1952), with a pitch that glides
    /// over an octave, so that harmonics pass all the tones of the keypad. A vowel with bare formants right on a key's two
    /// tones (say 700 and 1,220 Hz) does fool the detector for a moment; none of these ten lies there.
    #[test]
    fn gliding_vowels_are_no_keys() {
        const FORMANTS_HZ: [(f64, f64); 10] = [
            (270.0, 2_290.0),
            (390.0, 1_990.0),
            (530.0, 1_840.0),
            (660.0, 1_720.0),
            (730.0, 1_090.0),
            (570.0, 840.0),
            (440.0, 1_020.0),
            (300.0, 870.0),
            (640.0, 1_190.0),
            (490.0, 1_350.0),
        ];
        let mut line = Vec::new();
        for (first, second) in FORMANTS_HZ {
            let mut phases = [0.0f64; 24];
            for n in 0..24_000 {
                let pitch =
                    90.0 * 2f64.powf(f64::from(n) / 24_000.0) * (1.0 + 0.01 * (f64::from(n) / 300.0).sin());
                let mut value = 0.0;
                for (harmonic, phase) in phases.iter_mut().enumerate() {
                    let hz = pitch * (harmonic + 1) as f64;
                    *phase += TAU * hz / 8_000.0;
                    let formant = |centre: f64| 1.0 / (1.0 + ((hz - centre) / 60.0).powi(2));
                    // A voice keeps energy at its pitch, below the formants; two bare formants would be a key.
                    let source = 0.5 / (harmonic + 1) as f64;
                    value += phase.sin() * (source + formant(first) + 0.6 * formant(second));
                }
                line.push(pcm::from_float((0.25 * value) as f32));
            }
        }
        assert_eq!(dialled(&line), "");
    }

    #[test]
    fn progress_tones_have_their_cadence() {
        let mut line = Vec::new();
        CallProgress::BUSY_US.generate(-13.0, &mut line);
        assert_eq!(line.len(), 8_000);
        assert!(line[4_000..].iter().all(|&sample| sample == 0));
        let level = pcm::rms_dbfs(&line[..4_000]);
        assert!((level + 13.0).abs() < 0.1, "two sines of -13 dBFS peak have {level} dBFS RMS");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_split_gives_the_same_events(cuts in prop::collection::vec(1..400usize, 1..40), pause in 0..500usize) {
            let mut line = noise(9, -45.0, pause);
            for c in "4#A".chars() {
                key(c).generate(70, -9.0, &mut line);
                line.resize(line.len() + pause, 0);
            }
            line.resize(line.len() + 500, 0);
            let mut found = Vec::new();
            let mut detector = KeyDetector::new();
            let mut rest = line.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (head, tail) = rest.split_at((*cut).min(rest.len()));
                detector.detect(head, |event| found.push(event));
                rest = tail;
            }
            prop_assert_eq!(found, events(&line));
        }
    }
}
