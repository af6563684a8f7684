//! Which ear hears best on a telephone, and what it costs: a table, over people at -25 dBFS in noise of four levels, through µ-law.
//!
//! `right`: frames of 20 ms that are told right, speech or none. `onset`: from the first sound of a stretch of speech until it is
//! noticed (three voiced frames in five), median and 95th percentile, of those that are noticed within half a second; `missed`
//! are the others. `false`: how often a minute of no speech is taken for the beginning of some. The truth is the clean
//! recording: speech is what lies within 30 dB of its loudest 10 ms. That favours ears that go by energy.
//!
//! ```sh
//! cargo bench -p offhook-benches --bench vad
//! ```

#![expect(clippy::print_stdout, reason = "the table is what a reader comes for")]

use std::time::Instant;

use nnnoiseless::DenoiseState;
use offhook_codecs::resample::Resampler;
use offhook_codecs::{SampleRate, g711, pcm};
use offhook_engine::call::CallSettings;
use offhook_engine::sim::Ear;
use offhook_fixtures::sounds::{self, person, samples, spoken};

const FRAME: usize = 160;
const PEOPLE: [&str; 11] = [
    "two_hundred",
    "twenty_thousand",
    "fifty_thousand",
    "september",
    "tomorrow",
    "monday",
    "wednesday",
    "ten",
    "no",
    "hello",
    "thank_you_for_your_patience",
];
/// After this long an onset is missed.
const MISSED_FRAMES: usize = 25;

/// A recording as it comes over the line, and where it is speech.
struct Tape {
    pcm: Vec<i16>,
    speech: Vec<bool>,
}

/// Everybody in turn, three times over, 1.3 s apart; with noise.
fn tape(noise: Option<(&str, f32)>) -> Tape {
    let (mut sound, mut speech) = (vec![0.0; samples(2_000)], Vec::new());
    for name in PEOPLE.iter().cycle().take(33) {
        let person = person(name, -25.0);
        let span = spoken(&person);
        speech.push(sound.len() + span.start..sound.len() + span.end);
        sound.extend(person);
        sound.resize(sound.len() + samples(1_300), 0.0);
    }
    sound.truncate(sound.len() / FRAME * FRAME);
    if let Some((kind, level)) = noise {
        let voices: Vec<Vec<f32>> = PEOPLE.iter().map(|name| person(name, -25.0)).collect();
        let noise = match kind {
            "white" => sounds::white(3, sound.len(), level),
            "pink" => sounds::pink(3, sound.len(), level),
            _ => sounds::babble(3, &voices, sound.len(), level),
        };
        sound.iter_mut().zip(noise).for_each(|(sum, s)| *sum += s);
    }
    let line = |s: f32| g711::ulaw_to_linear(g711::linear_to_ulaw(pcm::from_float(s)));
    let is_speech = |frame: usize| speech.iter().any(|span| span.contains(&(frame * FRAME + FRAME / 2)));
    Tape {
        speech: (0..sound.len() / FRAME).map(is_speech).collect(),
        pcm: sound.into_iter().map(line).collect(),
    }
}

/// What an ear makes of a tape: for each frame, voiced or not, and whether speech begins with it.
type Heard = Vec<(bool, bool)>;
type Listen = Box<dyn Fn(&Tape) -> Heard>;

fn webrtc(mode: u8, tape: &Tape) -> Heard {
    let mut ear = Ear::new(&CallSettings { vad_mode: mode, ..CallSettings::default() });
    tape.pcm.as_chunks::<FRAME>().0.iter().map(|frame| ear.hear(frame)).collect()
}

fn earshot(threshold: f32, tape: &Tape) -> Heard {
    let mut resampler = Resampler::new(SampleRate::HZ_8000, SampleRate::HZ_16000).expect("8 to 16 kHz");
    let mut wide = Vec::new();
    resampler.process(&tape.pcm, &mut wide);
    resampler.finish(&mut wide);
    let mut detector = earshot::Detector::default_boxed();
    let scores: Vec<f32> = wide.chunks_exact(256).map(|block| detector.predict_i16(block)).collect();
    let mut edges = Edges::default();
    (0..tape.speech.len())
        .map(|frame| {
            // The newest block that is complete when the frame ends: 20 ms are 320 samples, a block is 256.
            let block = ((frame + 1) * 320 / 256).saturating_sub(1).min(scores.len() - 1);
            let voiced = scores[block] > threshold;
            (voiced, edges.begins(voiced))
        })
        .collect()
}

/// RNNoise, which gives how probable a voice is beside the sound without noise. Turning that sound out is in its time.
fn rnnoise(threshold: f32, tape: &Tape) -> Heard {
    const BLOCK: usize = DenoiseState::FRAME_SIZE;
    let mut resampler = Resampler::new(SampleRate::HZ_8000, SampleRate::HZ_48000).expect("8 to 48 kHz");
    let mut wide = Vec::new();
    resampler.process(&tape.pcm, &mut wide);
    resampler.finish(&mut wide);
    let (mut network, mut out) = (DenoiseState::new(), [0.0; BLOCK]);
    let probabilities: Vec<f32> = (wide.as_chunks::<BLOCK>().0.iter())
        .map(|block| network.process_frame(&mut out, &block.map(f32::from)))
        .collect();
    // A block is 10 ms: the newest two when the frame ends.
    probabilities
        .as_chunks::<2>()
        .0
        .iter()
        .scan(Edges::default(), |edges, two| {
            let voiced = two[0].max(two[1]) > threshold;
            Some((voiced, edges.begins(voiced)))
        })
        .collect()
}

/// From verdicts to beginnings, as the call's own ear does it.
#[derive(Default)]
struct Edges {
    verdicts: u64,
    speaking: bool,
    silent: usize,
}

impl Edges {
    fn begins(&mut self, voiced: bool) -> bool {
        self.verdicts = self.verdicts << 1 | u64::from(voiced);
        self.silent = if voiced { 0 } else { self.silent + 1 };
        let begins = !self.speaking && voiced && (self.verdicts & 0b1_1111).count_ones() >= 3;
        self.speaking = begins || self.speaking && self.silent < 10;
        begins
    }
}

/// The numbers of one ear on one tape.
fn row(tape: &Tape, heard: &Heard) -> String {
    let right = tape.speech.iter().zip(heard).filter(|(speech, (voiced, _))| *speech == voiced).count();
    let begins: Vec<usize> = (1..heard.len()).filter(|&at| tape.speech[at] && !tape.speech[at - 1]).collect();
    let mut delays: Vec<usize> = Vec::new();
    for &begin in &begins {
        // An ear that hears somebody speak already has noticed this one too late to tell.
        let notices = (begin..(begin + MISSED_FRAMES).min(heard.len())).find(|&at| heard[at].1);
        delays.extend(notices.map(|at| at + 1 - begin));
    }
    delays.sort_unstable();
    let part = |of: f32| delays.get((delays.len() as f32 * of) as usize).map_or(0, |frames| frames * 20);
    // The first frames after speech are its own end.
    let quiet = |at: usize| (at.saturating_sub(10)..=at).all(|at| !tape.speech[at]);
    let falsely = (0..heard.len()).filter(|&at| heard[at].1 && quiet(at)).count();
    let minutes = (0..heard.len()).filter(|&at| quiet(at)).count() as f32 * 0.02 / 60.0;
    format!(
        "{:>6.1} {:>6} {:>6} {:>7} {:>7.0}",
        100.0 * right as f32 / heard.len() as f32,
        part(0.5),
        part(0.95),
        begins.len() - delays.len(),
        falsely as f32 / minutes
    )
}

fn main() {
    let mut ears: Vec<(String, Listen)> = Vec::new();
    for mode in 0..4 {
        ears.push((format!("webrtc {mode}"), Box::new(move |tape| webrtc(mode, tape))));
    }
    for threshold in [0.5, 0.7, 0.9] {
        ears.push((format!("earshot {threshold}"), Box::new(move |tape| earshot(threshold, tape))));
    }
    for threshold in [0.5, 0.7, 0.9] {
        ears.push((format!("rnnoise {threshold}"), Box::new(move |tape| rnnoise(threshold, tape))));
    }
    let clean = tape(None);
    let mut noises = vec![("clean".to_owned(), clean)];
    for kind in ["white", "pink", "babble"] {
        for snr in [20.0, 10.0, 5.0] {
            noises.push((format!("{kind} {snr} dB"), tape(Some((kind, -25.0 - snr)))));
        }
    }
    println!(
        "{:<14} {:<14} {:>6} {:>6} {:>6} {:>7} {:>7} {:>9}",
        "", "", "right", "onset", "p95", "missed", "false", "µs/frame"
    );
    for (noise, tape) in &noises {
        for (name, ear) in &ears {
            let began = Instant::now();
            let heard = ear(tape);
            let us = began.elapsed().as_secs_f64() * 1e6 / heard.len() as f64;
            assert_eq!(heard.len(), tape.speech.len(), "a verdict for each frame");
            println!("{noise:<14} {name:<14} {} {us:>9.2}", row(tape, &heard));
        }
    }
}
