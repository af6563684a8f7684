//! Whether the local recogniser understands more if noise is taken out first, and what that costs.
//!
//! People answer questions at -25 dBFS, in noise of four kinds and three levels, through µ-law. A call is ten answers in one kind of
//! noise, heard by one recogniser, in another order each time; an utterance reaches from 300 ms before its first sound to 200 ms
//! after its last, as the engine cuts them. `right`: answers that came out word for word. `words`: sounds without words (six each
//! of coughs and doors at -20 dBFS, of "mm-hm", and of nothing but the line, under six grammars) that came out as some. Each
//! without and with suppression.
//!
//! Babble is the same ten people, so nothing in it is no voice: it is here to show the limit.
//!
//! ```sh
//! cargo bench -p offhook-benches --bench denoise
//! ```

#![expect(clippy::print_stdout, reason = "the table is what a reader comes for")]

use std::hint::black_box;
use std::time::Instant;

use offhook_benches::load::status_bytes;
use offhook_codecs::{g711, pcm};
use offhook_engine::agent::Expectation;
use offhook_engine::speech::SpeechToText;
use offhook_engine::speech::denoise::{Denoised, Suppressor};
use offhook_engine::speech::stt::Recognisers;
use offhook_engine::speech::stt::none::NoRecogniser;
use offhook_fixtures::alloc::{CountingAllocator, counted};
use offhook_fixtures::answers::{BUDGET, DAY, PEOPLE, SIZE, TIME, WHEN, YES_OR_NO};
use offhook_fixtures::sounds::{self, person, samples, spoken};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const SPEECH_DBFS: f32 = -25.0;
const CALLS: u64 = 12;
const SOUNDS: u64 = 6;
const GRAMMARS: [&str; 6] = [SIZE, BUDGET, WHEN, YES_OR_NO, DAY, TIME];
/// Apart from the seeds by which the suppressor's own numbers were chosen.
const SEED: u64 = 90_000;

/// What is on the line beside the caller: a kind of noise, and how far the caller is above it.
type Line = Option<(&'static str, f32)>;

fn noise(line: Line, seed: u64, length: usize, voices: &[Vec<f32>]) -> Vec<f32> {
    let Some((kind, snr)) = line else { return vec![0.0; length] };
    let level = SPEECH_DBFS - snr;
    match kind {
        "white" => sounds::white(seed, length, level),
        "pink" => sounds::pink(seed, length, level),
        "hum" => sounds::hum(length, level),
        _ => sounds::babble(seed, voices, length, level),
    }
}

/// What `ear` makes of a sound in noise.
fn utter(ear: &mut dyn SpeechToText, sound: &[f32], noise: &[f32], speech_ms: usize) -> String {
    let line = |(s, n)| g711::linear_to_ulaw(pcm::from_float(s + n));
    let ulaw: Vec<u8> = sound.iter().zip(noise).map(line).collect();
    ear.start();
    for piece in ulaw.chunks(480) {
        ear.audio(piece);
    }
    ear.end(speech_ms as u32).text
}

fn expect(ear: &mut dyn SpeechToText, grammar: &str) {
    ear.expect(&Expectation { grammar: grammar.into(), speech_ms_max: 3_000 });
}

/// `sound` with 300 ms before it and 200 after it.
fn utterance(sound: &[f32]) -> Vec<f32> {
    let mut utterance = vec![0.0; samples(300)];
    utterance.extend(sound);
    utterance.resize(utterance.len() + samples(200), 0.0);
    utterance
}

/// How many answers come out right in all calls.
fn right(ear: &dyn Fn() -> Box<dyn SpeechToText>, line: Line, voices: &[Vec<f32>]) -> usize {
    let mut right = 0;
    for call in 0..CALLS {
        let mut ear = ear();
        for turn in 0..PEOPLE.len() {
            let who = (3 * turn + call as usize) % PEOPLE.len();
            let (_, grammar, words) = PEOPLE[who];
            let said = spoken(&voices[who]);
            let sound = utterance(&voices[who][said.clone()]);
            let noise = noise(line, SEED + 100 * call + turn as u64, sound.len(), voices);
            expect(&mut *ear, grammar);
            right += usize::from(utter(&mut *ear, &sound, &noise, said.len() / samples(1)) == words);
        }
    }
    right
}

/// How many sounds without words come out as some: coughs, doors, "mm-hm", nothing.
fn words(ear: &dyn Fn() -> Box<dyn SpeechToText>, line: Line, voices: &[Vec<f32>]) -> [usize; 4] {
    let makes: [&dyn Fn(u64) -> Vec<f32>; 4] = [
        &|seed| sounds::cough(seed, -20.0),
        &|seed| sounds::door(seed, -20.0),
        &|seed| sounds::mm_hm(SPEECH_DBFS - 2.0 * seed as f32),
        &|_| vec![0.0; samples(600)],
    ];
    makes.map(|make| {
        let mut words = 0;
        for grammar in GRAMMARS {
            let mut ear = ear();
            expect(&mut *ear, grammar);
            for seed in 0..SOUNDS {
                let sound = utterance(&make(seed));
                let noise = noise(line, SEED + 50_000 + seed, sound.len(), voices);
                words += usize::from(!utter(&mut *ear, &sound, &noise, 300).is_empty());
            }
        }
        words
    })
}

fn understanding(recognisers: &Recognisers) {
    let plain = || recognisers.recogniser();
    let denoised = || -> Box<dyn SpeechToText> { Box::new(Denoised::new(recognisers.recogniser())) };
    let voices: Vec<Vec<f32>> = PEOPLE.iter().map(|(name, ..)| person(name, SPEECH_DBFS)).collect();
    let answers = CALLS as usize * PEOPLE.len();
    let tries = SOUNDS as usize * GRAMMARS.len();
    println!("right, of {answers} | words, of {tries} each: coughs, doors, mm-hm, nothing");
    println!("{:<14} {:>8} {:>8}   {:>16} {:>16}", "", "without", "with", "without", "with");
    let kinds = ["white", "pink", "hum", "babble"];
    let noisy = kinds.into_iter().flat_map(|kind| [20.0, 10.0, 5.0].map(|snr| Some((kind, snr))));
    for line in std::iter::once(None).chain(noisy) {
        let [without, with] = [right(&plain, line, &voices), right(&denoised, line, &voices)];
        if line.is_none() {
            assert_eq!([without, with], [answers; 2], "on a quiet line all are understood");
        }
        let name = line.map_or("quiet".into(), |(kind, snr)| format!("{kind} {snr} dB"));
        print!("{name:<14} {without:>8} {with:>8}");
        if line.is_none_or(|(_, snr)| snr == 10.0) {
            let [without, with] = [words(&plain, line, &voices), words(&denoised, line, &voices)];
            print!("   {:>16} {:>16}", format!("{without:?}"), format!("{with:?}"));
        }
        println!();
    }
}

/// Time per 20 ms and memory of one call's suppression.
fn cost() {
    const FRAME: usize = 160;
    let mut tape = sounds::pink(SEED, samples(10_000), SPEECH_DBFS - 10.0);
    let voice = person("two_hundred", SPEECH_DBFS);
    tape.iter_mut().zip(voice.iter().cycle()).for_each(|(n, s)| *n += s);
    let ulaw: Vec<u8> = tape.iter().map(|&s| g711::linear_to_ulaw(pcm::from_float(s))).collect();
    let mut ear = Denoised::new(Box::new(NoRecogniser));
    ear.start();
    let mut passes: Vec<f64> = (0..15)
        .map(|_| {
            let began = Instant::now();
            for frame in ulaw.chunks(FRAME) {
                black_box(ear.audio(black_box(frame)));
            }
            began.elapsed().as_secs_f64() * 1e6 / (ulaw.len() / FRAME) as f64
        })
        .collect();
    let ((), counts) = counted(|| {
        for frame in ulaw.chunks(FRAME) {
            black_box(ear.audio(frame));
        }
    });
    assert_eq!(counts.allocations, 0, "a running suppressor asks for no memory");
    passes.sort_by(f64::total_cmp);
    println!("\n20 ms of an utterance: {:.0} µs (median of 15 runs of 10 s)", passes[passes.len() / 2]);

    const CALLS: usize = 200;
    let frames: Vec<i16> = ulaw[..FRAME * 50].iter().map(|&code| g711::ulaw_to_linear(code)).collect();
    let mut out = Vec::with_capacity(2 * frames.len());
    let before = resident();
    let suppressors: Vec<Suppressor> = (0..CALLS)
        .map(|_| {
            let mut suppressor = Suppressor::new();
            frames.chunks(480).for_each(|piece| suppressor.process(piece, &mut out));
            out.clear();
            suppressor
        })
        .collect();
    println!("memory: {:.0} KB a call (of {CALLS})", (resident() - before) / 1_024.0 / CALLS as f64);
    drop(suppressors);
}

/// The resident memory of this process, in bytes.
fn resident() -> f64 {
    status_bytes(std::process::id(), "VmRSS").map_or(f64::NAN, |bytes| bytes as f64)
}

fn main() {
    cost();
    let recognisers = Recognisers::detect();
    if let Recognisers::None { reason } = &recognisers {
        println!("What is understood cannot be told: {reason}");
        return;
    }
    println!();
    understanding(&recognisers);
}
