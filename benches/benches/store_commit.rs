//! How long does a webhook wait until its call is on record, and what does an entry of a timeline cost the store's thread?
//!
//! Both through the store as the server has it: one thread that commits in groups, to SQLite in a temporary folder.

use std::sync::atomic::{AtomicU64, Ordering};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use offhook::domain::call::Announcement;
use offhook::domain::time::UnixMs;
use offhook::store::{Store, Write};
use offhook_engine::CallId;

/// Entries that are committed together.
const ENTRIES: u64 = 500;

fn announcement() -> Announcement {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let number = CALLS.fetch_add(1, Ordering::Relaxed);
    Announcement {
        call: CallId::new(&format!("call-{number}")).expect("letters and figures"),
        carrier: "twilio",
        carrier_call_id: format!("CA{number:032x}"),
        from: "+15005550006".into(),
        to: "+15005550009".into(),
        direction: "inbound".into(),
        scenario: "lead_qualification".into(),
        on_line: None,
        owner_email: None,
        at: UnixMs(1_700_000_000_000),
    }
}

fn event(call: &CallId, at_us: u64) -> Write {
    let data = r#"{"decision":"barge_in","reason":"sustained_speech","measured_ms":120,"threshold_ms":120}"#;
    Write::Event { call: call.clone(), at_us, kind: "decided".into(), data: data.into() }
}

fn commit(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let store = Store::open(folder.path(), UnixMs(0)).expect("an empty folder can be used");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");

    let first = announcement();
    let call = first.call.clone();
    runtime.block_on(store.announce(first)).expect("the store takes writes");
    store.pass(event(&call, 1)).expect("there is room");
    runtime.block_on(store.announce(announcement())).expect("the store takes writes");
    let kept = runtime.block_on(store.call(call.as_str())).expect("the store can be read");
    assert_eq!(kept.map(|kept| kept.record.call), Some(call.clone()), "the call is on record");

    let mut group = c.benchmark_group("store");
    group.sample_size(30);
    group.bench_function("a call announced, until it is committed", |b| {
        b.iter_batched(
            announcement,
            |new| runtime.block_on(store.announce(new)).expect("the store takes writes"),
            BatchSize::SmallInput,
        );
    });
    group.throughput(Throughput::Elements(ENTRIES));
    group.bench_function("500 entries of a timeline, until they are committed", |b| {
        b.iter_batched(
            || {
                let entries: Vec<Write> = (0..ENTRIES).map(|at_us| event(&call, at_us)).collect();
                (entries, announcement())
            },
            |(entries, last)| {
                entries.into_iter().for_each(|entry| store.pass(entry).expect("there is room"));
                // The writes are taken in order, so that the last one's answer is for all.
                runtime.block_on(store.announce(last)).expect("the store takes writes");
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
    store.close();
}

criterion_group!(benches, commit);
criterion_main!(benches);
