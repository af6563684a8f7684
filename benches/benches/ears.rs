//! What does it cost to have a vendor hear a second of a caller's speech?
//!
//! A hundred calls at once on one thread, each a frame every 20 ms as on a telephone, against the doubles of `fixtures` on
//! another thread. The time is that thread's CPU time, for one call and one second of speech: the frames in the client's
//! queue, its messages over loopback without TLS, the results read. Silence costs next to nothing: it is not sent. Beside it
//! stands what it asks of the allocator, of which 50 times are the frames themselves.

#![expect(clippy::print_stdout, reason = "the allocations are what a reader comes for, too")]

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use offhook::integrations::deepgram::{Deepgram, Flux, FluxOptions, Options};
use offhook::integrations::vendor::{Caller, Ears, Heard};
use offhook::settings::Secret;
use offhook_codecs::g711;
use offhook_engine::call::UtteranceId;
use offhook_fixtures::alloc::{CountingAllocator, counted};
use offhook_fixtures::vendors::{FakeVendors, Limits, Vendor};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const CALLS: usize = 100;
/// Of speech, in each round.
const SECONDS: usize = 2;
const FRAME: usize = 160;
const FRAME_TIME: Duration = Duration::from_millis(20);

/// Calls that are listened to.
struct Calls {
    runtime: Runtime,
    calls: Vec<(mpsc::Sender<Caller>, mpsc::UnboundedReceiver<Heard>)>,
    speech: Vec<u8>,
    utterance: u32,
}

impl Calls {
    fn begin(ears: impl Ears + 'static) -> Self {
        let ears: Arc<dyn Ears> = Arc::new(ears);
        let runtime = runtime();
        let call = |_| {
            let (tell, mut told) = mpsc::channel(256);
            let (give, heard) = mpsc::unbounded_channel();
            let ears = ears.clone();
            runtime.spawn(async move {
                let mut pass = |words| give.send(words).expect("it is read");
                ears.listen(&mut told, &mut pass).await.expect("the double has no faults");
            });
            (tell, heard)
        };
        let calls = (0..CALLS).map(call).collect();
        let tone = |n: usize| (n as f32 * 400.0 * std::f32::consts::TAU / 8_000.0).sin() * 6_000.0;
        let speech = (0..SECONDS * 50 * FRAME).map(|n| g711::linear_to_ulaw(tone(n) as i16)).collect();
        Self { runtime, calls, speech, utterance: 0 }
    }

    /// An utterance on each call, from its beginning to its last words.
    fn round(&mut self) {
        self.utterance += 1;
        let utterance = UtteranceId(self.utterance);
        let (calls, speech) = (&mut self.calls, &self.speech);
        self.runtime.block_on(async {
            let mut tick = interval(FRAME_TIME);
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for (tell, _) in calls.iter() {
                tell.send(Caller::Starts(utterance)).await.expect("it listens");
            }
            for frame in speech.chunks(FRAME) {
                tick.tick().await;
                for (tell, _) in calls.iter() {
                    tell.send(Caller::Audio(frame.to_vec())).await.expect("it listens");
                }
            }
            for (tell, _) in calls.iter() {
                let speech_ms = 1_000 * SECONDS as u32;
                tell.send(Caller::Ends { utterance, speech_ms }).await.expect("it listens");
            }
            for (_, heard) in calls.iter_mut() {
                loop {
                    let heard = heard.recv().await.expect("it listens");
                    assert_eq!(heard.utterance, utterance);
                    if heard.is_final {
                        // The double counts aloud, a number each half second.
                        assert_eq!(heard.text.split(' ').count(), 2 * SECONDS, "{}", heard.text);
                        break;
                    }
                }
            }
        });
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("it is not negative")
}

/// The URL of doubles that live as long as the process, on a thread of their own.
fn doubles() -> String {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let limits = Limits { deepgram_idle: Duration::from_secs(3_600), ..Limits::default() };
            let doubles = FakeVendors::with(limits).await;
            tell.send(doubles.base_url(Vendor::Deepgram)).expect("somebody asked");
            doubles.served().await;
        });
    });
    told.recv().expect("loopback has a free port")
}

fn ears(c: &mut Criterion) {
    let url = doubles();
    let base = || url.parse().expect("it is a URL");
    let (key, wait) = (|| Secret::new("any"), Duration::from_secs(30));
    let nova = Deepgram::new(Options { finalize_wait: wait, ..Options::new(base(), key()) });
    let flux = Flux::new(FluxOptions { silence_max: wait, ..FluxOptions::new(base(), key()) });
    let nova = Calls::begin(nova.expect("the key is one"));
    let flux = Calls::begin(flux.expect("the key is one"));
    let mut group = c.benchmark_group("ears");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_secs(1));
    group.measurement_time(Duration::from_secs(25));
    for (name, mut calls) in [("Deepgram", nova), ("Flux", flux)] {
        // The first connects.
        calls.round();
        let ((), counts) = counted(|| calls.round());
        let each = counts.allocations as f64 / (CALLS * SECONDS) as f64;
        println!("{name}: {each:.0} allocations for a second of speech");
        group.bench_function(format!("{name}, a second of speech"), |b| {
            b.iter_custom(|rounds| {
                let before = cpu_time();
                (0..rounds).for_each(|_| calls.round());
                (cpu_time() - before) / (CALLS * SECONDS) as u32
            });
        });
    }
    group.finish();
}

criterion_group!(benches, ears);
criterion_main!(benches);
