//! Takes noise out of what a recogniser hears.
//!
//! ```text
//! µ-law ─► 48 kHz ─► RNNoise, 10 ms at a time ─► mixed with what came in ─► 8 kHz ─► µ-law ─► the recogniser
//! ```
//!
//! RNNoise (Valin, "A Hybrid DSP/Deep Learning Approach to Real-Time Full-Band Speech Enhancement", 2018) is a small recurrent
//! network that turns down the bands in which it hears no voice; it comes as a crate, weights and all. It takes a
//! while to know a line's noise, so what it learnt in one utterance is kept for the next; the sound itself is not.
//!
//! A recogniser hears holes worse than noise. So not all noise is taken out: [`DRY`] of what came in is added, which leaves noise
//! some 10 dB down. Answers of people that pocketsphinx understood in four kinds of noise at 20, 10 and 5 dB, of 1,440:
//!
//! | added of what came in | all | 0.5 | 0.3 | 0.2 | 0.1 | none |
//! |---|---|---|---|---|---|---|
//! | understood | 1,192 | 1,259 | 1,268 | 1,265 | 1,249 | 1,234 |
//!
//! Of a third of them, with nothing added, 403 were understood; 368 where the network began each utterance anew, and 393 without it.
//!
//! Whether it pays depends on the noise, which is why it is an option: see `benches/benches/denoise.rs`, whose table is
//! in the README. It runs on a speech thread, in front of any recogniser; what a call decides by never passes through it.

use nnnoiseless::DenoiseState;
use offhook_codecs::resample::Resampler;
use offhook_codecs::{SampleRate, g711, pcm};

use super::{SpeechToText, Transcript};
use crate::agent::Expectation;

/// Samples that the network takes at a time, 10 ms at 48 kHz. What comes out is from one block earlier.
const BLOCK: usize = DenoiseState::FRAME_SIZE;

/// How much of what came in is in what goes out, as a factor on its amplitude: see above.
const DRY: f32 = 0.3;

/// Blocks of silence after which the network holds no sample of what was before: its buffer is 1,728 samples long.
const FORGETS_AFTER: usize = 4;

/// A stream of 8 kHz samples becomes one with less noise, of the same length.
///
/// The output depends on the samples alone, not on how they were split over calls. Its end lags behind the input's by 15 ms,
/// and by what does not yet fill 10 ms; [`Suppressor::finish`] brings it.
pub struct Suppressor {
    up: Resampler,
    network: Box<DenoiseState<'static>>,
    down: Resampler,
    /// At 48 kHz: what is not yet through the network, and what just came out of it.
    noisy: Vec<i16>,
    clean: Vec<i16>,
    /// The block that went in last, and what came out for the one before it. Full scale is that of `i16`, as the network wants it.
    input: [f32; BLOCK],
    output: [f32; BLOCK],
    /// At 48 kHz, of the stream so far: samples in, and out of the network.
    samples_in: u64,
    samples_out: u64,
    /// The network's next block is from before the stream.
    leads_in: bool,
}

impl Default for Suppressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Suppressor {
    /// A suppressor at the start of a stream, which knows no noise yet. Takes some 80 KB.
    pub fn new() -> Self {
        let resampler = |from, to| Resampler::new(from, to).expect("8 and 48 kHz convert both ways");
        Self {
            up: resampler(SampleRate::HZ_8000, SampleRate::HZ_48000),
            network: DenoiseState::new(),
            down: resampler(SampleRate::HZ_48000, SampleRate::HZ_8000),
            noisy: Vec::new(),
            clean: Vec::new(),
            input: [0.0; BLOCK],
            output: [0.0; BLOCK],
            samples_in: 0,
            samples_out: 0,
            leads_in: true,
        }
    }

    /// Takes more of the stream, in any split, and appends to `out` what can be told by then.
    ///
    /// Allocates only where its own buffers or `out` have to grow.
    pub fn process(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        let waiting = self.noisy.len();
        self.up.process(samples, &mut self.noisy);
        self.samples_in += (self.noisy.len() - waiting) as u64;
        self.suppress(out);
    }

    /// Ends the stream: appends the rest, so that as many samples came out as went in. The suppressor is then at the start of
    /// a new stream, of which it knows the noise.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        let waiting = self.noisy.len();
        self.up.finish(&mut self.noisy);
        self.samples_in += (self.noisy.len() - waiting) as u64;
        self.suppress(out);
        while self.samples_out < self.samples_in {
            self.noisy.resize(self.noisy.len().next_multiple_of(BLOCK).max(BLOCK), 0);
            self.suppress(out);
        }
        self.down.finish(out);

        self.input.fill(0.0);
        for _ in 0..FORGETS_AFTER {
            self.network.process_frame(&mut self.output, &self.input);
        }
        self.noisy.clear();
        (self.samples_in, self.samples_out, self.leads_in) = (0, 0, true);
    }

    /// Passes all whole blocks on.
    fn suppress(&mut self, out: &mut Vec<i16>) {
        self.clean.clear();
        let (blocks, rest) = self.noisy.as_chunks::<BLOCK>();
        for block in blocks {
            let before = self.input;
            self.input = block.map(f32::from);
            self.network.process_frame(&mut self.output, &self.input);
            if std::mem::replace(&mut self.leads_in, false) {
                continue;
            }
            // The last block of a stream may be filled up with silence, which is not part of it.
            let owed = (self.samples_in - self.samples_out).min(BLOCK as u64);
            self.samples_out += owed;
            let mixed = self.output.iter().zip(&before).map(|(clean, dry)| clean + DRY * (dry - clean));
            self.clean.extend(mixed.take(owed as usize).map(|value| pcm::from_float(value / 32_768.0)));
        }
        let done = self.noisy.len() - rest.len();
        self.noisy.drain(..done);
        self.down.process(&self.clean, out);
    }
}

/// A recogniser that hears less noise: the one inside gets each utterance at its full length, up to 25 ms later.
pub struct Denoised {
    inner: Box<dyn SpeechToText>,
    suppressor: Suppressor,
    noisy: Vec<i16>,
    clean: Vec<i16>,
    ulaw: Vec<u8>,
}

impl Denoised {
    /// Puts a suppressor in front of `inner`.
    pub fn new(inner: Box<dyn SpeechToText>) -> Self {
        Self { inner, suppressor: Suppressor::new(), noisy: Vec::new(), clean: Vec::new(), ulaw: Vec::new() }
    }

    fn pass_on(&mut self) -> Option<Transcript> {
        if self.clean.is_empty() {
            return None;
        }
        self.ulaw.resize(self.clean.len(), 0);
        g711::encode_ulaw(&self.clean, &mut self.ulaw);
        self.clean.clear();
        self.inner.audio(&self.ulaw)
    }
}

impl SpeechToText for Denoised {
    fn expect(&mut self, expectation: &Expectation) {
        self.inner.expect(expectation);
    }

    fn start(&mut self) {
        // What is left of an utterance that never ended.
        self.suppressor.finish(&mut self.clean);
        self.clean.clear();
        self.inner.start();
    }

    fn audio(&mut self, ulaw: &[u8]) -> Option<Transcript> {
        self.noisy.resize(ulaw.len(), 0);
        g711::decode_ulaw(ulaw, &mut self.noisy);
        self.suppressor.process(&self.noisy, &mut self.clean);
        self.pass_on()
    }

    fn end(&mut self, speech_ms: u32) -> Transcript {
        self.suppressor.finish(&mut self.clean);
        // The final words hold all that this could change.
        let _ = self.pass_on();
        self.inner.end(speech_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use offhook_fixtures::sounds::{self, HZ, dbfs, person};
    use proptest::prelude::*;

    use super::*;

    /// Passes on what it was given, and says how much of the utterance that was.
    struct Ear {
        heard: Sender<Vec<u8>>,
        samples: usize,
    }

    impl Ear {
        fn denoised() -> (Denoised, Receiver<Vec<u8>>) {
            let (heard, pieces) = channel();
            (Denoised::new(Box::new(Self { heard, samples: 0 })), pieces)
        }
    }

    impl SpeechToText for Ear {
        fn expect(&mut self, _: &Expectation) {}

        fn start(&mut self) {
            self.samples = 0;
        }

        fn audio(&mut self, ulaw: &[u8]) -> Option<Transcript> {
            self.heard.send(ulaw.into()).unwrap();
            self.samples += ulaw.len();
            Some(Transcript { text: self.samples.to_string(), is_final: false })
        }

        fn end(&mut self, speech_ms: u32) -> Transcript {
            Transcript { text: format!("{speech_ms} ms"), is_final: true }
        }
    }

    fn pcm_of(sound: &[f32]) -> Vec<i16> {
        sound.iter().map(|&s| pcm::from_float(s)).collect()
    }

    fn ulaw_of(sound: &[f32]) -> Vec<u8> {
        pcm_of(sound).into_iter().map(g711::linear_to_ulaw).collect()
    }

    fn suppressed(suppressor: &mut Suppressor, samples: &[i16]) -> Vec<i16> {
        let mut out = Vec::new();
        suppressor.process(samples, &mut out);
        suppressor.finish(&mut out);
        out
    }

    fn level(samples: &[i16]) -> f32 {
        dbfs(&samples.iter().map(|&s| pcm::to_float(s)).collect::<Vec<_>>())
    }

    #[test]
    fn steady_noise_falls_by_8_db_and_speech_keeps_its_level_and_time() {
        for noise in [sounds::white(1, 2 * HZ, -35.0), sounds::pink(1, 2 * HZ, -35.0)] {
            let out = suppressed(&mut Suppressor::new(), &pcm_of(&noise));
            let fell = -35.0 - level(&out[HZ..]);
            assert!(fell > 8.0, "{fell:.1} dB");
        }
        let speech = pcm_of(&person("two_hundred", -25.0));
        let out = suppressed(&mut Suppressor::new(), &speech);
        let change = level(&out) - level(&speech);
        assert!(change.abs() < 1.5, "{change:.1} dB");
        let alike = |lag: i32| -> f64 {
            (100..speech.len() - 100)
                .map(|n| f64::from(speech[n]) * f64::from(out[(n as i32 + lag) as usize]))
                .sum()
        };
        assert_eq!((-80..=80).max_by(|a, b| alike(*a).total_cmp(&alike(*b))), Some(0), "samples late");
    }

    #[test]
    fn an_utterance_keeps_its_length_its_interims_and_its_end() {
        let (mut denoised, pieces) = Ear::denoised();
        let sound = ulaw_of(&person("two_hundred", -25.0));
        for length in [0, 1, 79, 80, 160, 161, 4_000, 8_017] {
            denoised.start();
            let interims: Vec<_> =
                sound[..length].chunks(480).filter_map(|piece| denoised.audio(piece)).collect();
            // 25 ms are the most that may be missing while it goes on.
            let heard = interims.last().map_or(0, |interim| interim.text.parse::<usize>().unwrap());
            assert!(heard <= length && length - heard <= 200, "{heard} of {length}");
            assert!(interims.iter().all(|interim| !interim.is_final));
            assert_eq!(denoised.end(70), Transcript { text: "70 ms".into(), is_final: true });
            assert_eq!(pieces.try_iter().flatten().count(), length);
        }
    }

    #[test]
    fn no_sample_of_an_utterance_is_in_the_next_though_it_never_ended() {
        let (mut denoised, pieces) = Ear::denoised();
        let loud = ulaw_of(&sounds::white(1, HZ / 2 + 33, -10.0));
        let silence = [0xff; 2_000];
        for ends in [true, false] {
            denoised.start();
            denoised.audio(&loud);
            if ends {
                denoised.end(500);
            }
            denoised.start();
            pieces.try_iter().for_each(drop);
            denoised.audio(&silence);
            denoised.end(250);
            let heard: Vec<u8> = pieces.try_iter().flatten().collect();
            assert!(heard.len() == 2_000 && heard.iter().all(|&code| g711::ulaw_to_linear(code) == 0));
        }
    }

    #[test]
    fn noise_that_was_heard_before_is_known_at_once() {
        let noise = pcm_of(&sounds::white(1, HZ, -35.0));
        let mut suppressor = Suppressor::new();
        let first = suppressed(&mut suppressor, &noise);
        let second = suppressed(&mut suppressor, &noise);
        let [first, second] = [first, second].map(|out| level(&out[200..1_000]));
        assert!(second < first - 1.0, "{first:.1} dBFS at first, then {second:.1}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_split_gives_the_same_samples(seed: u64, cuts in prop::collection::vec(0..900usize, 0..12)) {
            let noise = pcm_of(&sounds::white(seed, 3_000, -30.0));
            let mut suppressor = Suppressor::new();
            let (mut out, mut rest) = (Vec::new(), noise.as_slice());
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                suppressor.process(head, &mut out);
                rest = tail;
            }
            suppressor.process(rest, &mut out);
            suppressor.finish(&mut out);
            prop_assert_eq!(out, suppressed(&mut Suppressor::new(), &noise));
        }
    }
}
