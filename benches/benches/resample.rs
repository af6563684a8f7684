//! What does another rate cost a call, how late does it make the audio, and how clean is it?
//!
//! Times are for one 20 ms frame. Before measuring, each ratio carries a 1 kHz tone; its delay and the tone's
//! signal-to-noise ratio are printed, and the bench fails if either is not what `codecs/src/resample.rs` promises.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use offhook_codecs::SampleRate;
use offhook_codecs::resample::Resampler;
use std::f64::consts::TAU;
use std::hint::black_box;

/// Pairs a call meets, by what they are for.
const PAIRS: [(&str, u32, u32); 12] = [
    ("caller_to_16k_recogniser", 8_000, 16_000),
    ("caller_to_22k05_file", 8_000, 22_050),
    ("caller_to_24k_model", 8_000, 24_000),
    ("caller_to_48k_browser", 8_000, 48_000),
    ("caller_to_44k1_file", 8_000, 44_100),
    ("16k_voice_to_caller", 16_000, 8_000),
    ("22k05_voice_to_caller", 22_050, 8_000),
    ("24k_voice_to_caller", 24_000, 8_000),
    ("44k1_voice_to_caller", 44_100, 8_000),
    ("48k_browser_to_caller", 48_000, 8_000),
    ("24k_voice_to_48k_browser", 24_000, 48_000),
    ("44k1_file_to_48k_browser", 44_100, 48_000),
];

fn tone(rate: SampleRate, samples: usize) -> Vec<i16> {
    let step = TAU * 1_000.0 / f64::from(rate.hz());
    (0..samples).map(|n| (16_000.0 * (step * n as f64).sin()).round() as i16).collect()
}

/// How far a 1 kHz sine of best fit stands above everything else in the middle of `samples`, in dB.
fn tone_snr_db(rate: SampleRate, samples: &[i16]) -> f64 {
    let step = TAU * 1_000.0 / f64::from(rate.hz());
    // Whole periods at every rate: 200 ms, from 100 ms on.
    let middle = &samples[rate.samples_in_ms(100)..rate.samples_in_ms(300)];
    let wave = |n: usize| (step * n as f64).sin_cos();
    let scale = 2.0 / middle.len() as f64;
    let (a, b) = middle.iter().enumerate().fold((0.0, 0.0), |(a, b), (n, &x)| {
        let (s, c) = wave(n);
        (a + scale * s * f64::from(x), b + scale * c * f64::from(x))
    });
    let (signal, noise) = middle.iter().enumerate().fold((0.0, 0.0), |(signal, noise), (n, &x)| {
        let (s, c) = wave(n);
        let fit = a * s + b * c;
        (signal + fit * fit, noise + (f64::from(x) - fit).powi(2))
    });
    10.0 * (signal / noise).log10()
}

#[expect(clippy::print_stderr, reason = "the delay and the noise are half of this bench's answer")]
fn frame_to_another_rate(c: &mut Criterion) {
    let mut group = c.benchmark_group("resample_20ms_frame");
    for (name, from, to) in PAIRS {
        let rate = |hz| SampleRate::from_hz(hz).expect("PAIRS holds supported rates only");
        let (from, to) = (rate(from), rate(to));
        let mut resampler = Resampler::new(from, to).expect("every pair of supported rates converts");

        let mut out = Vec::new();
        resampler.process(&tone(from, from.samples_in_ms(400)), &mut out);
        resampler.finish(&mut out);
        assert_eq!(out.len(), to.samples_in_ms(400), "{name}: 400 ms in, 400 ms out");
        let snr = tone_snr_db(to, &out);
        let delay_ms = resampler.delay_samples() as f64 * 1_000.0 / f64::from(to.hz());
        let block_ms = resampler.block_samples() as f64 * 1_000.0 / f64::from(from.hz());
        assert!(snr > 60.0, "{name}: {snr:.1} dB");
        assert!(delay_ms < 3.6, "{name}: {delay_ms:.2} ms");
        eprintln!(
            "{name}: delay {delay_ms:.2} ms, blocks of {block_ms:.2} ms, 1 kHz tone {snr:.1} dB above noise"
        );

        let frame = tone(from, from.samples_in_ms(20));
        group.throughput(Throughput::Elements(frame.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                resampler.process(black_box(&frame), &mut out);
                black_box(out.len())
            });
        });
    }
    group.finish();
}

fn new_resampler_for_a_call(c: &mut Criterion) {
    let mut group = c.benchmark_group("resampler_new");
    for (name, from, to) in [
        ("transform_8k_to_16k", SampleRate::HZ_8000, SampleRate::HZ_16000),
        ("sinc_22k05_to_8k", SampleRate::HZ_22050, SampleRate::HZ_8000),
    ] {
        group.bench_function(name, |b| b.iter(|| Resampler::new(black_box(from), to).is_ok()));
    }
    group.finish();
}

criterion_group!(benches, frame_to_another_rate, new_resampler_for_a_call);
criterion_main!(benches);
