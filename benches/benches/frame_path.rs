//! What 20 ms of a call cost in the graph, without sockets: order and gaps, decoding, voice detection, turn-taking,
//! playout and its ledger. One element is one frame of one call, so a rate of 5 M elements/s is 100,000 times real time.
//!
//! The socket's work (two system calls, about 10 µs) and the carrier's message (see `wire`) come on top.

#![expect(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use offhook_engine::call::{
    Call, CallSettings, CallTime, Input, Media, Output, Outputs, Then, TurnId, UtteranceId,
};
use offhook_engine::sim::voiced;

const SILENCE: [u8; 160] = [0xFF; 160];

struct Line {
    call: Call,
    out: Outputs,
    frame: u32,
    media_out: u32,
    cleared: bool,
}

impl Line {
    fn open() -> Self {
        let settings =
            CallSettings { turn_ms_max: u32::MAX, no_input_ms: u32::MAX, ..CallSettings::default() };
        let mut line = Self {
            call: Call::new(settings),
            out: Outputs::default(),
            frame: 0,
            media_out: 0,
            cleared: false,
        };
        line.input(Input::Start { stream: "MZ1", format_ok: true });
        line.hear(&SILENCE);
        line
    }

    /// The agent has a minute to say.
    fn agent_speaks(mut self) -> Self {
        self.input(Input::AgentSays { turn: TurnId(1), text: "a long story" });
        self.input(Input::AgentDone { turn: TurnId(1), then: Then::Listen { keys_max: 0 } });
        let audio: Arc<[u8]> = vec![0x55; 60 * 8_000].into();
        self.input(Input::AgentAudio { utterance: UtteranceId(1), audio: &audio });
        self
    }

    fn input(&mut self, input: Input<'_>) {
        let now = CallTime::from_millis(u64::from(self.frame) * 20);
        self.call.handle(now, input, &mut self.out);
        let mut list = self.out.take_list();
        for output in list.drain(..) {
            match output {
                Output::Media { audio, .. } => {
                    self.media_out += 1;
                    black_box(self.out.audio(audio));
                }
                Output::Clear => self.cleared = true,
                other => drop(black_box(other)),
            }
        }
        self.out.give_back(list);
        self.out.take_spent().for_each(drop);
    }

    fn hear(&mut self, payload: &[u8]) {
        self.frame += 1;
        let (chunk, timestamp_ms) = (Some(self.frame), Some((self.frame - 1) * 20));
        self.input(Input::Media(Media { chunk, timestamp_ms, payload }));
    }
}

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("a frame of");
    group.throughput(Throughput::Elements(500));
    let speech = voiced(Duration::from_secs(10));

    group.bench_function("an idle caller", |b| {
        b.iter_batched_ref(
            Line::open,
            |line| (0..500).for_each(|_| line.hear(&SILENCE)),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("a speaking caller", |b| {
        b.iter_batched_ref(
            Line::open,
            |line| speech.chunks(160).for_each(|frame| line.hear(frame)),
            BatchSize::LargeInput,
        );
    });

    let mut line = Line::open().agent_speaks();
    (0..500).for_each(|_| line.hear(&SILENCE));
    assert!(line.media_out >= 500, "a frame in, a frame out");
    group.bench_function("a speaking agent", |b| {
        b.iter_batched_ref(
            || Line::open().agent_speaks(),
            |line| (0..500).for_each(|_| line.hear(&SILENCE)),
            BatchSize::LargeInput,
        );
    });
    group.finish();

    let mut group = c.benchmark_group("from the first loud frame to clear");
    let interrupt = |line: &mut Line| {
        for frame in speech.chunks(160) {
            line.hear(frame);
            if line.cleared {
                break;
            }
        }
        assert!(line.cleared, "the caller took the floor");
    };
    let start = || {
        let mut line = Line::open().agent_speaks();
        (0..50).for_each(|_| line.hear(&SILENCE));
        line
    };
    group.bench_function("barge-in", |b| b.iter_batched_ref(start, interrupt, BatchSize::LargeInput));
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
