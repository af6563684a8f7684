//! What does G.711 cost a call, in samples per second? Divided by 8,000 that is calls in real time on one core.
//!
//! Each bench first checks all 256 bytes or all 65,536 samples, then measures one 20 ms frame of 160 samples.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use offhook_codecs::g711;
use std::hint::black_box;

const FRAME: usize = 160;

/// A frame with every size of sample in it, the same each time.
fn frame() -> [i16; FRAME] {
    let mut state = 1u32;
    std::array::from_fn(|n| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 16) as i16) >> (n % 12)
    })
}

/// Every byte decodes to a sample of its own interval, the intervals rise without a gap, and both zeros are found.
fn check(decode: fn(&[u8], &mut [i16]), encode: fn(&[i16], &mut [u8])) {
    let all: Vec<i16> = (i16::MIN..=i16::MAX).collect();
    let (mut codes, mut decoded) = (vec![0; all.len()], vec![0; all.len()]);
    encode(&all, &mut codes);
    decode(&codes, &mut decoded);
    assert!(decoded.is_sorted(), "a larger sample never decodes smaller");
    for (&sample, &back) in all.iter().zip(&decoded) {
        let (sample, error) = (i32::from(sample), (i32::from(sample) - i32::from(back)).abs());
        assert!(error <= 8.max(sample.abs() / 31 + 4), "{sample} came back as {back}");
    }
    let mut seen = [false; 256];
    codes.iter().for_each(|&code| seen[usize::from(code)] = true);
    assert!(seen.iter().all(|&seen| seen), "all 256 bytes occur");
}

fn frame_through_g711(c: &mut Criterion) {
    check(g711::decode_ulaw, g711::encode_ulaw);
    check(g711::decode_alaw, g711::encode_alaw);
    let samples = frame();
    let (mut ulaw, mut alaw, mut linear) = ([0; FRAME], [0; FRAME], [0; FRAME]);
    g711::encode_ulaw(&samples, &mut ulaw);
    g711::encode_alaw(&samples, &mut alaw);

    let mut group = c.benchmark_group("g711_20ms_frame");
    group.throughput(Throughput::Elements(FRAME as u64));
    group.bench_function("caller_decode_ulaw", |b| {
        b.iter(|| g711::decode_ulaw(black_box(&ulaw), black_box(&mut linear)));
    });
    group.bench_function("caller_decode_alaw", |b| {
        b.iter(|| g711::decode_alaw(black_box(&alaw), black_box(&mut linear)));
    });
    group.bench_function("agent_encode_ulaw", |b| {
        b.iter(|| g711::encode_ulaw(black_box(&samples), black_box(&mut ulaw)));
    });
    group.bench_function("agent_encode_alaw", |b| {
        b.iter(|| g711::encode_alaw(black_box(&samples), black_box(&mut alaw)));
    });
    group.finish();
}

criterion_group!(benches, frame_through_g711);
criterion_main!(benches);
