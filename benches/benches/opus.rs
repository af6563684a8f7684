//! What does Opus cost a call, per 20 ms frame, at the default of 24 kbit/s and effort 5?

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use offhook_codecs::opus::{Decoder, Encoder, MAX_PACKET_BYTES, Settings};
use offhook_codecs::resample::Resampler;
use offhook_codecs::{SampleRate, g711, pcm};
use offhook_engine::sim::voiced;

/// Two seconds of a vowel at `rate`.
fn speech(rate: SampleRate) -> Vec<i16> {
    let ulaw = voiced(Duration::from_secs(2));
    let mut samples = vec![0; ulaw.len()];
    g711::decode_ulaw(&ulaw, &mut samples);
    if rate == SampleRate::HZ_8000 {
        return samples;
    }
    let (mut resampler, mut out) =
        (Resampler::new(SampleRate::HZ_8000, rate).expect("every pair of rates"), Vec::new());
    resampler.process(&samples, &mut out);
    resampler.finish(&mut out);
    out
}

fn opus(c: &mut Criterion) {
    let mut group = c.benchmark_group("opus_20ms_frame");
    for rate in [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_48000] {
        let (khz, frame) = (rate.hz() / 1_000, rate.samples_in_ms(20));
        let speech = speech(rate);
        let mut encoder = Encoder::new(rate, &Settings::default()).expect("Opus knows this rate");
        let mut decoder = Decoder::new(rate).expect("Opus knows this rate");
        let (mut packet, mut back) = ([0; MAX_PACKET_BYTES], vec![0; frame]);
        let mut packets = Vec::new();
        let mut decoded = Vec::new();
        for samples in speech.chunks_exact(frame) {
            let length = encoder.encode(samples, &mut packet).expect("a frame of speech");
            assert_eq!(decoder.decode(&packet[..length], &mut back), Ok(frame));
            packets.push(packet[..length].to_vec());
            decoded.extend_from_slice(&back);
        }
        let loss_db = pcm::rms_dbfs(&speech) - pcm::rms_dbfs(&decoded);
        assert!(loss_db.abs() < 1.5, "what comes out is {loss_db:.1} dB from what went in");

        group.throughput(Throughput::Elements(frame as u64));
        let mut frames = speech.chunks_exact(frame).cycle();
        group.bench_function(format!("encode_{khz}k"), |b| {
            b.iter(|| encoder.encode(black_box(frames.next().expect("for ever")), &mut packet));
        });
        let mut packets = packets.iter().cycle();
        group.bench_function(format!("decode_{khz}k"), |b| {
            b.iter(|| decoder.decode(black_box(packets.next().expect("for ever")), &mut back));
        });
    }
    group.finish();
}

criterion_group!(benches, opus);
criterion_main!(benches);
