//! What the benches of vendors' clients share: the doubles of `fixtures` on another thread, the clock of this one, and how
//! what it costs is told.
//!
//! The time is this thread's CPU time; what the doubles use is not in it. Connections go over loopback without TLS. Beside the
//! time stands what is asked of the allocator.

use std::sync::mpsc::channel;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use offhook::settings::BaseUrl;
use offhook_fixtures::alloc::counted;
use offhook_fixtures::vendors::{FakeVendors, Limits, Vendor};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};

/// An hour, for limits that nothing here is to meet.
const NEVER: Duration = Duration::from_secs(3_600);

/// Doubles that live as long as the process, on a thread of their own: where each of them is, and where Google's gRPC is.
pub(crate) fn doubles() -> (impl Fn(Vendor) -> BaseUrl, BaseUrl) {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let limits = Limits {
                deepgram_idle: NEVER,
                google_idle: NEVER,
                google_stream: NEVER,
                elevenlabs_idle: NEVER,
                cartesia_idle: NEVER,
                cartesia_contexts: 1_000,
                ..Limits::default()
            };
            let doubles = FakeVendors::with(limits).await;
            tell.send((doubles.url(), doubles.grpc_url())).expect("somebody asked");
            doubles.served().await;
        });
    });
    let (origin, grpc) = told.recv().expect("loopback has a free port");
    let base = move |vendor: Vendor| format!("{origin}/{}", vendor.name()).parse().expect("it is a URL");
    (base, grpc.parse().expect("it is a URL"))
}

/// A runtime on this thread alone.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A group of benches that wait for sockets more than they compute.
pub(crate) fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_secs(1));
    group.measurement_time(Duration::from_secs(20));
    group
}

/// Measures what `round` costs per unit, of which it does `units`; it panics if an answer is not right. `what`: a unit, such as
/// `a second of speech`.
pub(crate) fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    what: &str,
    units: f64,
    mut round: impl FnMut(),
) {
    // The first connects.
    round();
    let ((), counts) = counted(&mut round);
    println!("{name}: {:.0} allocations for {what}", counts.allocations as f64 / units);
    group.bench_function(format!("{name}, {what}"), |b| {
        b.iter_custom(|rounds| {
            let before = cpu_time();
            (0..rounds).for_each(|_| round());
            (cpu_time() - before).div_f64(units)
        });
    });
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("it is not negative")
}
