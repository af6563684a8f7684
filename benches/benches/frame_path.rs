//! What 20 ms of a call cost in the graph, without sockets: order and gaps, decoding, voice detection, turn-taking,
//! playout and its ledger. One element is one frame of one call, so a rate of 5 M elements/s is 100,000 times real time.
//!
//! The socket's work (two system calls, about 10 µs) and the carrier's message (see `wire`) come on top.

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use offhook_benches::load::{SILENCE, hiss};
use offhook_engine::sim::{Line, voiced};

fn speaking_agent() -> Line {
    let mut line = Line::open();
    line.agent_speaks(60);
    line
}

fn frames(c: &mut Criterion) {
    let speech = voiced(Duration::from_secs(10));
    let hiss = hiss();
    let ten_seconds_of_silence = |line: &mut Line| (0..500).for_each(|_| line.hear(&SILENCE));
    let ten_seconds_of_hiss =
        |line: &mut Line| hiss.chunks(160).cycle().take(500).for_each(|frame| line.hear(frame));

    let mut line = speaking_agent();
    ten_seconds_of_silence(&mut line);
    assert!(line.media_out >= 500 * 160, "a frame in, a frame out");
    let mut line = Line::open();
    speech.chunks(160).for_each(|frame| line.hear(frame));
    assert!(line.caller_audio > 490 * 160, "the caller's speech goes to the recogniser");

    let mut group = c.benchmark_group("a frame of");
    group.throughput(Throughput::Elements(500));
    group.bench_function("an idle caller", |b| {
        b.iter_batched_ref(Line::open, ten_seconds_of_hiss, BatchSize::LargeInput);
    });
    group.bench_function("an idle caller, digital silence", |b| {
        b.iter_batched_ref(Line::open, ten_seconds_of_silence, BatchSize::LargeInput);
    });
    group.bench_function("a speaking caller", |b| {
        b.iter_batched_ref(
            Line::open,
            |line| speech.chunks(160).for_each(|frame| line.hear(frame)),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("a speaking agent", |b| {
        b.iter_batched_ref(speaking_agent, ten_seconds_of_hiss, BatchSize::LargeInput);
    });
    group.finish();

    let interrupt = |line: &mut Line| {
        for frame in speech.chunks(160) {
            line.hear(frame);
            if line.cleared {
                break;
            }
        }
        assert!(line.cleared, "the caller took the floor");
    };
    let mut group = c.benchmark_group("from the first loud frame to clear");
    group.bench_function("barge-in", |b| {
        b.iter_batched_ref(
            || {
                let mut line = speaking_agent();
                (0..50).for_each(|_| line.hear(&SILENCE));
                line
            },
            interrupt,
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
