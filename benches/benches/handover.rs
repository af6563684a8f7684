//! What does it cost to hand 20 ms of audio from the media thread to the speech thread, and the agent's audio back?
//!
//! Both ends are in one thread here, so that this is the rings' and the bell's own cost; waking a sleeping thread costs 10
//! to 40 µs more, which is why audio wakes it once in 100 ms for all calls together.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use offhook_engine::speech::HandOver;

fn hand_over(c: &mut Criterion) {
    let ulaw: [u8; 160] = std::array::from_fn(|n| (n * 37) as u8);
    let answer: Arc<[u8]> = vec![0x55; 4_000].into();
    let mut rings = HandOver::new(Instant::now());
    let mut got = Vec::new();
    assert_eq!(rings.to_session(&ulaw, |ulaw| got.extend_from_slice(ulaw)), 160);
    assert_eq!(got, ulaw);
    assert_eq!(rings.to_call(&answer), 4_000);

    let mut group = c.benchmark_group("hand over");
    group.throughput(Throughput::Elements(1));
    group.bench_function("20 ms of the caller, ring and bell", |b| {
        b.iter(|| {
            rings.to_session(black_box(&ulaw), |ulaw| {
                black_box(ulaw);
            })
        });
    });
    group.bench_function("a piece of the agent's audio, ring", |b| {
        b.iter(|| rings.to_call(black_box(&answer)))
    });
    group.finish();
}

criterion_group!(benches, hand_over);
criterion_main!(benches);
