//! From any rate of [`SampleRate::ALL`] to any other, streaming, with little delay.
//!
//! ```text
//! i16, any split ─► block of about 5 ms ─► rubato ─► trim the filter's delay ─► i16, time-aligned with the input
//! ```
//!
//! Two of rubato's engines serve, by what the ratio allows:
//! - **Transform** (`Fft`), wherever blocks of 5 to 7 ms exist that are whole on both sides. The filter is as long as a
//!   block, so it delays by half of one: 2.5 to 3.4 ms. The library's plain constructor would filter over blocks four times
//!   as long, and its default window is so wide at this length that it cuts speech (−18 dB at 3 kHz when measured from 8 to
//!   16 kHz); a Hann window keeps 3.4 kHz within 0.3 dB.
//! - **Sinc** (`Async`), between 22.05 or 44.1 kHz and 8 or 16 kHz, whose common blocks are 10 and 20 ms long. The filter is
//!   6 ms long and delays by 3. Its oversampling is the output's part of the ratio, so that every output sample falls on a
//!   tabulated phase and no interpolation between phases is needed.
//!
//! The filter's first output samples, those before the input's first sample, are dropped: output sample `k` is the signal
//! at the time of input sample `k * from / to` (to within half a sample where the filter's delay is not a whole
//! number of output samples). What remains is that the output's end lags behind the input's by [`Resampler::delay_samples`] and by
//! what does not yet fill a block; [`Resampler::finish`] brings it.

use crate::audio::SampleRate;
use crate::pcm;
use audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, Fft, FixedAsync, FixedSync, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};
use thiserror::Error;

/// Blocks are at least this long: shorter ones would cut into speech, longer ones delay it.
const BLOCK_MS_MIN: u32 = 5;
/// A ratio whose blocks would be longer than this goes by sinc.
const BLOCK_MS_MAX: u32 = 7;
/// Length of a sinc: twice its delay.
const SINC_MS: u32 = 6;

/// Why a resampler can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ResampleError {
    /// The library refuses a conversion between these rates.
    #[error("no conversion from {from} Hz to {to} Hz")]
    Unsupported {
        /// Rate of the input, in Hz.
        from: u32,
        /// Rate wanted, in Hz.
        to: u32,
    },
}

/// A stream of samples at one rate becomes a stream at another.
///
/// The output depends on the samples alone, not on how they were split over calls.
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    /// None: the rates are equal and samples pass through.
    engine: Option<Engine>,
}

struct Engine {
    kind: Kind,
    /// Output samples of the filter that lie before the stream's start.
    lead_in: usize,
    delay_samples: usize,
    /// Input of one block, and how much of it is there.
    block: Vec<f32>,
    filled: usize,
    output: Vec<f32>,
    /// Of the stream so far.
    samples_in: u64,
    samples_out: u64,
    /// How many of the filter's next samples are still from before the stream.
    to_trim: usize,
}

enum Kind {
    Transform(Fft<f32>),
    Sinc(Async<f32>),
}

impl Resampler {
    /// A resampler at the start of a stream.
    ///
    /// Allocates all that it ever will, and computes the filter: tens of microseconds for a transform, more for a sinc.
    pub fn new(from: SampleRate, to: SampleRate) -> Result<Self, ResampleError> {
        let engine = if from == to {
            None
        } else {
            let unsupported = |_| ResampleError::Unsupported { from: from.hz(), to: to.hz() };
            Some(Engine::new(from, to).map_err(unsupported)?)
        };
        Ok(Self { from, to, engine })
    }

    /// Rate of the input.
    pub fn from(&self) -> SampleRate {
        self.from
    }

    /// Rate of the output.
    pub fn to(&self) -> SampleRate {
        self.to
    }

    /// How far the output's end lags behind the input's whenever whole blocks are in, in output samples: 0 when the rates
    /// are equal, else what 2.5 to 3.5 ms hold. By sinc it is the most that it lags; blocks differ by up to two samples.
    pub fn delay_samples(&self) -> usize {
        self.engine.as_ref().map_or(0, |engine| engine.delay_samples)
    }

    /// Input is filtered in blocks of this many samples; up to one less can be waiting. Frames of 20 ms are whole blocks at
    /// 8, 16, 24 and 48 kHz, unless the other rate is 22.05 or 44.1 kHz.
    pub fn block_samples(&self) -> usize {
        self.engine.as_ref().map_or(1, |engine| engine.block.len())
    }

    /// Takes more of the stream, in any split, and appends to `out` what can be told by then.
    ///
    /// Allocates only where `out` has to grow.
    pub fn process(&mut self, input: &[i16], out: &mut Vec<i16>) {
        match &mut self.engine {
            None => out.extend_from_slice(input),
            Some(engine) => engine.process(input, out),
        }
    }

    /// Ends the stream: appends the rest, so that `n` samples in have become `n * to / from` samples out, rounded to the
    /// nearest. The resampler is then at the start of a new stream.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        if let Some(engine) = &mut self.engine {
            engine.finish(self.from, self.to, out);
        }
    }
}

impl Engine {
    fn new(from: SampleRate, to: SampleRate) -> Result<Self, rubato::ResamplerConstructionError> {
        let (from, to) = (from.hz(), to.hz());
        let unit = gcd(from, to);
        let ratio = f64::from(to) / f64::from(from);
        // The smallest block that is whole on both sides and long enough.
        let unit_in = from / unit;
        let block = (from * BLOCK_MS_MIN).div_ceil(1_000).next_multiple_of(unit_in);
        let (block, kind, lead_in, in_hand) = if block * 1_000 <= from * BLOCK_MS_MAX {
            let block = block as usize;
            // One block is one transform: the four "sub-chunks" of a 20 ms frame, without waiting for the whole frame.
            let fft = Fft::new_custom(
                from as usize,
                to as usize,
                block,
                1,
                1,
                WindowFunction::Hann,
                FixedSync::Input,
            )?;
            // The filter is centred on a whole input sample, also where the block's length is odd.
            let lead_in = ((block / 2) as f64 * ratio).round() as usize;
            (block, Kind::Transform(fft), lead_in, 0)
        } else {
            let taps = (from * SINC_MS).div_ceil(1_000).next_multiple_of(8) as usize;
            let parameters = SincInterpolationParameters::new(taps, WindowFunction::Hann)
                .oversampling_factor((to / unit) as usize)
                .interpolation(SincInterpolationType::Nearest);
            let block = (from * BLOCK_MS_MIN / 1_000) as usize;
            let sinc = Async::new_sinc(ratio, 1.0, &parameters, block, 1, FixedAsync::Input)?;
            // Its output k is the signal at input (k + 1) / ratio - taps / 2, and it keeps two input samples in hand; where
            // blocks are no whole number of output samples, the fraction waits too. All three are measured in the tests.
            let lead_in = (taps as f64 / 2.0 * ratio).round() as usize - 1;
            let in_hand = (2.0 * ratio).ceil() as usize + 1;
            (block, Kind::Sinc(sinc), lead_in, in_hand)
        };
        let output = vec![0.0; kind.output_frames_max()];
        Ok(Self {
            kind,
            lead_in,
            delay_samples: lead_in + in_hand,
            block: vec![0.0; block],
            filled: 0,
            output,
            samples_in: 0,
            samples_out: 0,
            to_trim: lead_in,
        })
    }

    fn process(&mut self, mut input: &[i16], out: &mut Vec<i16>) {
        self.samples_in += input.len() as u64;
        while !input.is_empty() {
            let room = &mut self.block[self.filled..];
            let (taken, rest) = input.split_at(room.len().min(input.len()));
            for (value, &sample) in room.iter_mut().zip(taken) {
                *value = pcm::to_float(sample);
            }
            self.filled += taken.len();
            input = rest;
            if self.filled == self.block.len() {
                self.filter_block(u64::MAX, out);
            }
        }
    }

    fn finish(&mut self, from: SampleRate, to: SampleRate, out: &mut Vec<i16>) {
        let (from, to) = (u64::from(from.hz()), u64::from(to.hz()));
        let total = (2 * self.samples_in * to + from) / (2 * from);
        while self.samples_out < total {
            self.block[self.filled..].fill(0.0);
            self.filter_block(total, out);
        }
        self.kind.reset();
        self.filled = 0;
        self.samples_in = 0;
        self.samples_out = 0;
        self.to_trim = self.lead_in;
    }

    /// Filters the block, and appends what it gives until the stream is `total` samples long.
    fn filter_block(&mut self, total: u64, out: &mut Vec<i16>) {
        let made = self.kind.filter(&self.block, &mut self.output);
        self.filled = 0;
        let trimmed = made.min(self.to_trim);
        self.to_trim -= trimmed;
        let wanted = (made - trimmed).min(usize::try_from(total - self.samples_out).unwrap_or(usize::MAX));
        out.extend(self.output[trimmed..][..wanted].iter().map(|&value| pcm::from_float(value)));
        self.samples_out += wanted as u64;
    }
}

impl Kind {
    fn output_frames_max(&self) -> usize {
        match self {
            Self::Transform(fft) => fft.output_frames_max(),
            Self::Sinc(sinc) => sinc.output_frames_max(),
        }
    }

    /// Gives how many samples `output` got.
    fn filter(&mut self, block: &[f32], output: &mut [f32]) -> usize {
        let frames = output.len();
        let input = InterleavedSlice::new(block, 1, block.len()).expect("a mono slice holds its own length");
        let mut output =
            InterleavedSlice::new_mut(output, 1, frames).expect("a mono slice holds its own length");
        let (_, made) = match self {
            Self::Transform(fft) => fft.process_into_buffer(&input, &mut output, None),
            Self::Sinc(sinc) => sinc.process_into_buffer(&input, &mut output, None),
        }
        .expect("the block has the engine's fixed input size, and the output its maximum");
        made
    }

    fn reset(&mut self) {
        match self {
            Self::Transform(fft) => fft.reset(),
            Self::Sinc(sinc) => sinc.reset(),
        }
    }
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    fn pairs() -> impl Iterator<Item = (SampleRate, SampleRate)> {
        SampleRate::ALL.into_iter().flat_map(|from| SampleRate::ALL.into_iter().map(move |to| (from, to)))
    }

    fn resample(from: SampleRate, to: SampleRate, input: &[i16]) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to).unwrap();
        let mut out = Vec::new();
        resampler.process(input, &mut out);
        resampler.finish(&mut out);
        out
    }

    fn tone(rate: SampleRate, hz: f64, amplitude: f64, samples: usize) -> Vec<i16> {
        (0..samples)
            .map(|n| (amplitude * (TAU * hz * n as f64 / f64::from(rate.hz())).sin()).round() as i16)
            .collect()
    }

    /// Fits a sine and a cosine of `hz` to the middle of `samples`: the amplitude, the phase against a sine that starts
    /// at sample 0 (in samples, positive is late), and how far the fit is above what it leaves (in dB).
    fn fit(rate: SampleRate, hz: f64, samples: &[i16]) -> (f64, f64, f64) {
        let step = TAU * hz / f64::from(rate.hz());
        let edge = samples.len() / 5;
        let middle = || samples.iter().enumerate().skip(edge).take(samples.len() - 2 * edge);
        let [mut ss, mut sc, mut cc, mut xs, mut xc] = [0.0; 5];
        for (n, &x) in middle() {
            let (s, c) = (step * n as f64).sin_cos();
            (ss, sc, cc) = (ss + s * s, sc + s * c, cc + c * c);
            (xs, xc) = (xs + f64::from(x) * s, xc + f64::from(x) * c);
        }
        let det = ss * cc - sc * sc;
        let (a, b) = ((xs * cc - xc * sc) / det, (xc * ss - xs * sc) / det);
        let [mut signal, mut noise] = [0.0; 2];
        for (n, &x) in middle() {
            let (s, c) = (step * n as f64).sin_cos();
            let fitted = a * s + b * c;
            signal += fitted * fitted;
            noise += (f64::from(x) - fitted).powi(2);
        }
        (a.hypot(b), -b.atan2(a) / step, 10.0 * (signal / noise).log10())
    }

    #[test]
    fn equal_rates_pass_samples_through() {
        let input: Vec<i16> = (0..777).map(|n| (n * 41) as i16).collect();
        for rate in SampleRate::ALL {
            assert_eq!(resample(rate, rate, &input), input);
            assert_eq!(Resampler::new(rate, rate).unwrap().delay_samples(), 0);
        }
    }

    #[test]
    fn tones_come_out_clean_at_their_level_and_time() {
        for (from, to) in pairs().filter(|(from, to)| from != to) {
            for hz in [300.0, 1_000.0, 3_000.0] {
                let out = resample(from, to, &tone(from, hz, 16_000.0, from.hz() as usize / 2));
                let (amplitude, late, snr) = fit(to, hz, &out);
                let case = format!("{} -> {} Hz, {hz} Hz tone", from.hz(), to.hz());
                assert!(snr > 60.0, "{case}: {snr:.1} dB");
                let gain = 20.0 * (amplitude / 16_000.0).log10();
                assert!(gain.abs() < 0.2, "{case}: gain {gain:.2} dB");
                assert!(late.abs() <= 0.51, "{case}: {late:.2} samples late");
            }
        }
    }

    #[test]
    fn telephone_band_edge_stays_within_half_a_decibel() {
        for (from, to) in pairs().filter(|(from, to)| from != to) {
            let out = resample(from, to, &tone(from, 3_400.0, 16_000.0, from.hz() as usize / 2));
            let gain = 20.0 * (fit(to, 3_400.0, &out).0 / 16_000.0).log10();
            assert!(gain.abs() < 0.5, "{} -> {} Hz: {gain:.2} dB", from.hz(), to.hz());
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_does_not_fold_back() {
        for (from, to) in pairs().filter(|(from, to)| from > to) {
            // From a quarter above the new Nyquist frequency (5 kHz at 8 kHz) to just below the old one.
            let (lowest, highest) = (f64::from(to.hz()) * 0.625, f64::from(from.hz()) * 0.49);
            let mut worst = f64::NEG_INFINITY;
            for step in 0..8 {
                let hz = lowest + (highest - lowest) * f64::from(step) / 7.0;
                if hz > highest.max(lowest) || lowest > highest {
                    continue;
                }
                let out = resample(from, to, &tone(from, hz, 16_000.0, from.hz() as usize / 4));
                let middle = &out[out.len() / 5..out.len() * 4 / 5];
                let rms =
                    (middle.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / middle.len() as f64).sqrt();
                worst = worst.max(20.0 * (rms / (16_000.0 / 2f64.sqrt())).max(1e-9).log10());
            }
            assert!(worst < -60.0, "{} -> {} Hz: {worst:.1} dB", from.hz(), to.hz());
        }
    }

    #[test]
    fn the_delay_is_what_it_says_measured_by_an_impulse() {
        for (from, to) in pairs().filter(|(from, to)| from != to) {
            let mut resampler = Resampler::new(from, to).unwrap();
            let case = format!("{} -> {} Hz", from.hz(), to.hz());
            let ms = resampler.delay_samples() as f64 * 1_000.0 / f64::from(to.hz());
            assert!((2.0..3.6).contains(&ms), "{case}: {ms:.2} ms");

            // 50 whole blocks with one impulse.
            let mut input = vec![0; 50 * resampler.block_samples()];
            let at = input.len() / 2;
            input[at] = 30_000;
            let mut out = Vec::new();
            resampler.process(&input, &mut out);
            let lag = input.len() as f64 * f64::from(to.hz()) / f64::from(from.hz()) - out.len() as f64;
            assert!(
                (-2.0..=0.0).contains(&(lag - resampler.delay_samples() as f64)),
                "{case}: lags by {lag:.2}"
            );

            let (centre, weight) =
                out.iter().enumerate().fold((0.0, 0.0), |(centre, weight), (n, &sample)| {
                    let energy = f64::from(sample).powi(2);
                    (centre + n as f64 * energy, weight + energy)
                });
            let expected = at as f64 * f64::from(to.hz()) / f64::from(from.hz());
            let late = centre / weight - expected;
            assert!(late.abs() <= 0.6, "{case}: the impulse stands {late:.2} samples late");
        }
    }

    #[test]
    fn lengths_are_exact_for_every_input_length() {
        for (from, to) in pairs() {
            for samples in [0, 1, 2, 3, 79, 160, 161, 441, 1_000, 4_801] {
                let out = resample(from, to, &vec![1_000; samples]);
                let exact = samples as f64 * f64::from(to.hz()) / f64::from(from.hz());
                assert_eq!(
                    out.len(),
                    exact.round() as usize,
                    "{samples} samples, {} -> {}",
                    from.hz(),
                    to.hz()
                );
            }
        }
    }

    #[test]
    fn a_finished_resampler_starts_anew() {
        for (from, to) in pairs() {
            let input = tone(from, 440.0, 20_000.0, 1_234);
            let mut resampler = Resampler::new(from, to).unwrap();
            let (mut first, mut second) = (Vec::new(), Vec::new());
            resampler.process(&input, &mut first);
            resampler.finish(&mut first);
            resampler.process(&input, &mut second);
            resampler.finish(&mut second);
            assert_eq!(first, second, "{} -> {}", from.hz(), to.hz());
        }
    }

    #[test]
    fn the_loudest_square_wave_saturates_rather_than_wraps() {
        let input: Vec<i16> = (0..8_000).map(|n| if n / 40 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let out = resample(SampleRate::HZ_8000, SampleRate::HZ_16000, &input);
        for (n, sample) in out.iter().enumerate().take(15_000).skip(1_000) {
            let into_half_wave = n % 80;
            if (10..70).contains(&into_half_wave) {
                assert_eq!(*sample > 0, n / 80 % 2 == 0, "sample {n} is {sample}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_split_gives_the_same_samples(
            from in 0..6usize, to in 0..6usize, seed: u64, cuts in prop::collection::vec(0..700usize, 0..12),
        ) {
            let (from, to) = (SampleRate::ALL[from], SampleRate::ALL[to]);
            let mut state = seed | 1;
            let input: Vec<i16> = (0..3_000).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 48) as i16
            }).collect();
            let mut resampler = Resampler::new(from, to).unwrap();
            let mut out = Vec::new();
            let mut rest = input.as_slice();
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                resampler.process(head, &mut out);
                rest = tail;
            }
            resampler.process(rest, &mut out);
            resampler.finish(&mut out);
            prop_assert_eq!(out, resample(from, to, &input));
        }
    }
}
