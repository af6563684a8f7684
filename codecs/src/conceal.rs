//! Covers lost frames at 8 kHz by going on with the voice as it last was.
//!
//! After the method of ITU-T G.711, Appendix I (09/99): the last pitch period is repeated, joined by overlap-adding a
//! quarter of a period; from 10 ms on two periods alternate, from 20 ms on three, so that a long loss does not buzz; from
//! 10 ms on the level falls by a fifth of full each 10 ms, to silence at 60 ms. The first good samples after a loss are
//! faded in over what would have come next.
//!
//! Unlike the Appendix, nothing is delayed: it holds back the output by 3.75 ms, to blend the last good samples into the
//! repetition. Here those have been played already, so the first repeated samples are bent to meet them instead: the step
//! at the seam is spread over a quarter of a period.
//!
//! Good samples cost nothing: whoever plays them knows what was played, and is asked for it once per loss, as the search
//! for the pitch is made once per loss.

/// Repeated periods are 66 to 200 Hz: 5 to 15 ms.
const PITCH_MIN: usize = 40;
const PITCH_MAX: usize = 120;
/// How much of the history is compared with itself one period earlier: 20 ms.
const CORRELATED: usize = 160;
/// How many samples before a loss are used: three longest periods, and a quarter for the join.
pub const HISTORY: usize = 3 * PITCH_MAX + PITCH_MAX / 4;

/// One more period is repeated every 10 ms.
const STAGE: usize = 80;
/// Full level until here.
const FADE_FROM: usize = 80;
/// Silence from here on: 60 ms.
const FADE_TO: usize = 480;

/// The fade into good samples: a quarter of a period, longer by 4 ms for each 10 ms that were lost, up to 10 ms.
const REJOIN_MAX: usize = 80;
const REJOIN_PER_STAGE: usize = 32;

/// Covers the gaps of one stream. Asked for what is missing, and told of what comes after.
///
/// About 0.8 KB, asked for when it is made and never later, and touched by a loss only. How samples are split over calls
/// makes no difference.
#[derive(Clone, Debug)]
pub struct Concealer {
    /// What was played last before the loss, oldest first.
    before: Box<[i16; HISTORY]>,
    /// In samples.
    pitch: usize,
    /// From the period's last sample to its first, at the start of the loss.
    step: f32,
    /// Samples made since the loss began, the fade after it included.
    made: usize,
    /// Reads `before`, counted from the first of the periods being repeated.
    position: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    Lost,
    /// Good samples are back: `done` of the `length` samples of the fade are made.
    Rejoining {
        done: usize,
        length: usize,
    },
}

impl Default for Concealer {
    fn default() -> Self {
        Self::new()
    }
}

impl Concealer {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self {
            before: Box::new([0; HISTORY]),
            pitch: PITCH_MAX,
            step: 0.0,
            made: 0,
            position: 0,
            state: State::Good,
        }
    }

    /// Makes up the next `out.len()` samples, which were lost. `before` is asked, if the loss begins here, for the
    /// samples that were played last, as they were played, oldest first; silence stands for what never came.
    pub fn conceal(&mut self, out: &mut [i16], before: impl FnOnce(&mut [i16; HISTORY])) {
        if out.is_empty() {
            return;
        }
        if self.state != State::Lost {
            before(&mut self.before);
            self.begin();
        }
        for sample in out {
            *sample = round(self.next_sample());
        }
    }

    /// True if the next good samples are to be changed: there was a loss, and its fade is not over.
    pub fn will_change_next(&self) -> bool {
        self.state != State::Good
    }

    /// Takes the next good samples, of any number, before they are played. After a loss the first of them, at most 10 ms,
    /// are changed: faded in over the concealed voice.
    pub fn resume(&mut self, samples: &mut [i16]) {
        for sample in samples {
            let (done, length) = match self.state {
                State::Good => return,
                State::Lost => (0, (self.quarter() + REJOIN_PER_STAGE * (self.made / STAGE)).min(REJOIN_MAX)),
                State::Rejoining { done, length } => (done, length),
            };
            let good = (done + 1) as f32 / (length + 1) as f32;
            *sample = round(f32::from(*sample) * good + self.next_sample() * (1.0 - good));
            self.state =
                if done + 1 == length { State::Good } else { State::Rejoining { done: done + 1, length } };
        }
    }

    fn begin(&mut self) {
        self.pitch = pitch(&self.before);
        self.step = f32::from(self.before[HISTORY - 1]) - f32::from(self.before[HISTORY - 1 - self.pitch]);
        self.made = 0;
        self.position = 0;
        self.state = State::Lost;
    }

    /// The next sample of the voice going on.
    fn next_sample(&mut self) -> f32 {
        let made = self.made;
        if made >= FADE_TO {
            return 0.0;
        }
        self.made += 1;

        let periods = (1 + made / STAGE).min(3);
        let quarter = self.quarter();
        let mut value = self.repeated(periods, self.position);
        // A period more is one that began earlier: the same phase, so the position stays. The old stage fades out.
        let into_stage = made % STAGE;
        if (STAGE..3 * STAGE).contains(&made) && into_stage < quarter {
            let new = (into_stage + 1) as f32 / (quarter + 1) as f32;
            value = value * new + self.repeated(periods - 1, self.position) * (1.0 - new);
        }
        // The first quarter of a period meets the last sample that was played.
        if made < quarter {
            value += self.step * (1.0 - made as f32 / quarter as f32);
        }
        self.position += 1;
        let fade = made.saturating_sub(FADE_FROM) as f32 / (FADE_TO - FADE_FROM) as f32;
        value * (1.0 - fade)
    }

    /// Sample `position` of the last `periods` periods before the loss, repeated without end. The last quarter of a period
    /// blends into what came before the first, so that the end leads to the beginning.
    fn repeated(&self, periods: usize, position: usize) -> f32 {
        let length = periods * self.pitch;
        let quarter = self.quarter();
        let at = position % length;
        let value = f32::from(self.before[HISTORY - length + at]);
        match (at + quarter).checked_sub(length) {
            None => value,
            Some(into) => {
                let earlier = f32::from(self.before[HISTORY - length - quarter + into]);
                let new = (into + 1) as f32 / (quarter + 1) as f32;
                value * (1.0 - new) + earlier * new
            }
        }
    }

    /// A quarter of a period, in samples.
    fn quarter(&self) -> usize {
        self.pitch / 4
    }
}

/// The period, in samples, at which the end of `history` is most like itself one period earlier: searched on
/// every other sample, then refined on all.
fn pitch(history: &[i16; HISTORY]) -> usize {
    let best = |candidates: &mut dyn Iterator<Item = usize>, stride: usize| {
        candidates
            .map(|pitch| (likeness(history, pitch, stride), pitch))
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map_or(PITCH_MAX, |(_, pitch)| pitch)
    };
    let coarse = best(&mut (PITCH_MIN..=PITCH_MAX), 2);
    best(&mut (coarse.max(PITCH_MIN + 1) - 1..=(coarse + 1).min(PITCH_MAX)), 1)
}

/// Correlation of the last 20 ms with those `pitch` samples earlier, relative to the level of the earlier ones.
fn likeness(history: &[i16; HISTORY], pitch: usize, stride: usize) -> f32 {
    let now = &history[HISTORY - CORRELATED..];
    let earlier = &history[HISTORY - CORRELATED - pitch..];
    let (mut product, mut energy) = (0i64, 0i64);
    for (&a, &b) in now.iter().zip(earlier).step_by(stride) {
        product += i64::from(a) * i64::from(b);
        energy += i64::from(b) * i64::from(b);
    }
    // Near silence every period is as good as another: without a floor, noise of one step would decide.
    product as f32 / (energy.max(250) as f32).sqrt()
}

fn round(value: f32) -> i16 {
    // The cast saturates.
    value.round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f32::consts::TAU;

    /// A concealer, and what was played.
    #[derive(Default)]
    struct Line {
        concealer: Concealer,
        played: Vec<i16>,
    }

    impl Line {
        fn good(&mut self, samples: &[i16]) {
            let start = self.played.len();
            self.played.extend_from_slice(samples);
            self.concealer.resume(&mut self.played[start..]);
        }

        fn lose(&mut self, samples: usize) {
            let mut lost = vec![1; samples];
            self.concealer.conceal(&mut lost, |before| {
                let heard = &self.played[self.played.len().saturating_sub(HISTORY)..];
                before.fill(0);
                before[HISTORY - heard.len()..].copy_from_slice(heard);
            });
            self.played.extend(lost);
        }
    }

    /// A voice-like wave of 125 Hz with harmonics.
    fn voice(n: usize) -> i16 {
        let phase = TAU * 125.0 * n as f32 / 8_000.0;
        (6_000.0 * phase.sin() + 3_000.0 * (2.0 * phase + 1.0).sin() + 1_500.0 * (5.0 * phase + 2.0).sin())
            as i16
    }

    fn sine(hz: f32, n: usize) -> i16 {
        (10_000.0 * (TAU * hz * n as f32 / 8_000.0).sin()) as i16
    }

    fn largest_jump(samples: &[i16]) -> i32 {
        samples.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap_or(0)
    }

    fn energy(samples: &[i16]) -> f64 {
        samples.iter().map(|&s| f64::from(s).powi(2)).sum()
    }

    /// 100 ms of `wave`, a loss of `lost` samples, and 100 ms more.
    fn with_loss(wave: impl Fn(usize) -> i16, lost: usize) -> Vec<i16> {
        let all: Vec<i16> = (0..1_600 + lost).map(wave).collect();
        let mut line = Line::default();
        line.good(&all[..800]);
        line.lose(lost);
        line.good(&all[800 + lost..]);
        line.played
    }

    #[test]
    fn good_frames_pass_unchanged() {
        let original: Vec<i16> = (0..1_600).map(voice).collect();
        let mut line = Line::default();
        original.chunks(160).for_each(|frame| line.good(frame));
        assert_eq!(line.played, original);
    }

    #[test]
    fn a_periodic_voice_goes_on_as_if_nothing_was_lost() {
        let expected: Vec<i16> = (0..1_760).map(voice).collect();
        let got = with_loss(voice, 160);
        let error: f64 = energy(
            &got.iter().zip(&expected).map(|(a, b)| a.saturating_sub(*b)).collect::<Vec<_>>()[800..880],
        );
        assert!(error < 0.001 * energy(&expected[800..880]), "the first 10 ms are the voice itself: {error}");
        assert_eq!(got[..800], expected[..800]);
        assert_eq!(got[960 + REJOIN_MAX..], expected[960 + REJOIN_MAX..], "unchanged after the fade");
    }

    #[test]
    fn a_sine_goes_on_in_phase() {
        for hz in [100.0, 187.0, 440.0, 1_010.0] {
            let got = with_loss(|n| sine(hz, n), 80);
            let (mut product, mut own, mut reference) = (0.0, 0.0, 0.0);
            for (n, &sample) in got.iter().enumerate().skip(800).take(80) {
                let (a, b) = (f64::from(sample), f64::from(sine(hz, n)));
                (product, own, reference) = (product + a * b, own + a * a, reference + b * b);
            }
            let likeness = product / (own * reference).sqrt();
            assert!(likeness > 0.9, "{hz} Hz: {likeness:.3}");
        }
    }

    #[test]
    fn seams_do_not_click() {
        for lost in [1, 7, 80, 160, 161, 320, 479, 480, 800] {
            for hz in [67.0, 125.0, 187.0, 333.0] {
                let wave = |n| sine(hz, n);
                let natural = largest_jump(&(0..800).map(wave).collect::<Vec<_>>());
                let jump = largest_jump(&with_loss(wave, lost));
                // A fade over a quarter of a period can be about as steep again as the wave itself.
                assert!(jump <= 2 * natural + 200, "{lost} samples of {hz} Hz: {jump}, naturally {natural}");
            }
            let natural = largest_jump(&(0..800).map(voice).collect::<Vec<_>>());
            let jump = largest_jump(&with_loss(voice, lost));
            assert!(jump <= 2 * natural, "{lost} samples of voice: {jump}, naturally {natural}");
        }
    }

    #[test]
    fn a_long_loss_fades_to_silence_after_60_ms() {
        let got = with_loss(voice, 800);
        let level = |from: usize| energy(&got[800 + from..][..64]).sqrt();
        let before = energy(&got[800 - 64..800]).sqrt();
        assert!(level(0) > 0.9 * before, "full level for 10 ms");
        let levels: Vec<f64> = [0, 80, 160, 240, 320, 400].map(level).into();
        assert!(levels.is_sorted_by(|a, b| a > b), "{levels:?}");
        assert!(got[800 + FADE_TO..1_600].iter().all(|&sample| sample == 0));
    }

    #[test]
    fn nothing_is_louder_than_what_was_heard() {
        let mut state = 7u32;
        let noise: Vec<i16> = (0..4_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 16) as i16) / 4
            })
            .collect();
        for lost in [160, 480] {
            let got = with_loss(|n| noise[n], lost);
            let before = energy(&noise[..800]) / 800.0;
            let during = energy(&got[800..800 + lost]) / lost as f64;
            assert!(during < 1.3 * before, "{during} after {before}");
        }
    }

    #[test]
    fn a_loss_before_anything_was_heard_is_silence() {
        let mut line = Line::default();
        line.lose(320);
        assert_eq!(line.played, [0; 320]);
    }

    #[test]
    fn full_scale_square_waves_saturate_rather_than_wrap() {
        for period in [2, 41, 97, 250] {
            let got = with_loss(|n| if n / period % 2 == 0 { i16::MAX } else { i16::MIN }, 320);
            assert_eq!(got.len(), 1_920);
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Part {
        Good(usize),
        Lost(usize),
    }

    fn run(parts: &[Part], cut: impl Fn(usize) -> usize) -> Vec<i16> {
        let mut line = Line::default();
        for &part in parts {
            let (Part::Good(mut left) | Part::Lost(mut left)) = part;
            while left > 0 {
                let at = line.played.len();
                let n = cut(at).clamp(1, left);
                match part {
                    Part::Good(_) => line.good(&(at..at + n).map(voice).collect::<Vec<_>>()),
                    Part::Lost(_) => line.lose(n),
                }
                // Nothing at all makes no difference.
                line.good(&[]);
                line.lose(0);
                left -= n;
            }
        }
        line.played
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_samples(
            parts in prop::collection::vec(
                prop_oneof![(0..900usize).prop_map(Part::Good), (0..700usize).prop_map(Part::Lost)], 1..8),
            step in 1..200usize,
        ) {
            let whole = run(&parts, |_| usize::MAX);
            prop_assert_eq!(&run(&parts, |at| 1 + at % step), &whole);
            let length: usize = parts.iter().map(|&part| { let (Part::Good(n) | Part::Lost(n)) = part; n }).sum();
            prop_assert_eq!(whole.len(), length);
        }
    }
}
