//! Hundreds of short calls and a long one at full speed, each journalled and recorded: afterwards memory, threads and open
//! files are where they were, and the calls can be run again.
//!
//! `make soak` holds more and longer ones (`OFFHOOK_SOAK_VIRTUAL_CALLS`, `OFFHOOK_SOAK_VIRTUAL_MINUTES`). In a program of its own,
//! since it counts the process' own threads and files.

use std::time::Duration;

use offhook_engine::journal::{Verdict, replay};
use offhook_tests::audio::Recording;
use offhook_tests::{journalled, soak};

/// Calls of one writer, in a folder of its own.
const CALLS_PER_ROUND: u64 = 50;
const MEMORY_SLACK_BYTES: u64 = 8 << 20;

/// Holds calls of four seconds, and runs one of them again.
fn round(calls: u64) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let writer = journalled::writer(folder.path());
    for call in 0..calls {
        journalled::converse(&writer, &format!("CA{call}"), Duration::from_secs(4));
    }
    writer.shutdown();
    let again = replay(&journalled::journal_of(folder.path(), "CA0"));
    assert_eq!(again.verdict, Verdict::Same);
}

#[test]
fn after_many_calls_and_a_long_one_everything_is_where_it_was() {
    let calls = soak::setting("OFFHOOK_SOAK_VIRTUAL_CALLS", 300);
    let minutes = soak::setting("OFFHOOK_SOAK_VIRTUAL_MINUTES", 20);
    let process = std::process::id();
    round(CALLS_PER_ROUND);
    long_call(2);
    let before = soak::Held::of(process);

    let mut left = calls;
    while left > 0 {
        let some = left.min(CALLS_PER_ROUND);
        round(some);
        left -= some;
    }
    long_call(minutes);

    let after = soak::Held::of(process);
    soak::print(&format!("{calls} calls and one of {minutes} minutes: {before:?}, then {after:?}"));
    assert_eq!((after.threads, after.files), (before.threads, before.files));
    // The long call's files are read back whole, which an allocator may not give back.
    let allowed = before.memory_bytes + MEMORY_SLACK_BYTES + minutes * 60 * 150_000;
    assert!(after.memory_bytes <= allowed, "{before:?}, then {after:?}");
}

/// A call that goes on for long: it is run again to the same outputs, and its recording is as long as it was.
fn long_call(minutes: u64) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let writer = journalled::writer(folder.path());
    journalled::converse(&writer, "CAlong", Duration::from_secs(minutes * 60));
    writer.shutdown();
    let journal = journalled::journal_of(folder.path(), "CAlong");
    let again = replay(&journal);
    assert_eq!(again.verdict, Verdict::Same);
    let (ended, _) = journal.end().expect("it came to its end");
    let recording = std::fs::read(folder.path().join("recordings/CAlong.wav")).expect("it was recorded");
    Recording::read(&recording).assert_lasts(ended.as_millis());
}
