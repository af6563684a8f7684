//! What does it cost a media thread to keep a call? One element is 20 ms of it: a frame in and a frame out, encoded into
//! a chunk, and now and then a chunk handed to the writer's thread, which writes files meanwhile.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use offhook_benches::journal::Recorded;

/// So many frames are measured in one go: far fewer than the writer's queue holds, so that nothing is lost.
const BURST: u64 = 5_000;

fn append(c: &mut Criterion) {
    let ulaw: [u8; 160] = std::array::from_fn(|n| (n * 37) as u8);
    let mut recorded = Recorded::new();
    (0..500).for_each(|_| recorded.frame(&ulaw));
    let (frames, bytes) = recorded.check();
    assert_eq!(frames, 500);
    assert!((330..420).contains(&(bytes / frames)), "{bytes} bytes for {frames} frames, both ways");

    let mut group = c.benchmark_group("journal");
    group.throughput(Throughput::Elements(1)).sample_size(20).measurement_time(Duration::from_secs(1));
    let mut recorded = Recorded::new();
    group.bench_function("a frame in and a frame out", |b| {
        b.iter_custom(|iterations| {
            let (mut left, mut took) = (iterations, Duration::ZERO);
            while left > 0 {
                let burst = left.min(BURST);
                left -= burst;
                let begun = Instant::now();
                (0..burst).for_each(|_| recorded.frame(&ulaw));
                took += begun.elapsed();
                if recorded.is_long() {
                    recorded.begin_anew();
                }
            }
            took
        });
    });
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
