//! Who comes first where threads of a server want the same core.
#![cfg(target_os = "linux")]

use std::fs::{read_dir, read_to_string};

use offhook_tests::Server;

/// What threads have by default, and what those have that interrupt nobody when they wake.
const SCHED_OTHER: i32 = 0;
const SCHED_BATCH: i32 = 3;

/// How a thread is scheduled: how nice it is, and its policy, as sched(7) numbers them.
type Scheduled = (i32, i32);

/// The threads of a process by name.
fn scheduled(process: u32) -> Vec<(String, Scheduled)> {
    let threads = read_dir(format!("/proc/{process}/task")).expect("Linux tells of its processes");
    let told = threads.filter_map(|thread| {
        let thread = thread.ok()?.path();
        let name = read_to_string(thread.join("comm")).ok()?.trim().to_owned();
        let stat = read_to_string(thread.join("stat")).ok()?;
        // The name stands in brackets, and may have spaces in it; of what follows niceness is the 17th, the policy the 39th (proc(5)).
        let fields: Vec<i32> =
            stat.rsplit_once(") ")?.1.split(' ').map(|field| field.parse().unwrap_or(-1)).collect();
        Some((name, (*fields.get(16)?, *fields.get(38)?)))
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn media_threads_come_before_all_and_who_has_a_caller_waiting_before_who_has_not() {
    let server = Server::start(&["--speech", "keypad"]).await;
    let threads = scheduled(server.process_id());
    let of = |name: &str| {
        let mut alike: Vec<_> =
            threads.iter().filter(|(thread, _)| thread.starts_with(name)).map(|(_, how)| *how).collect();
        alike.dedup();
        assert!(matches!(alike[..], [_]), "threads called {name} are alike: {threads:?}");
        alike[0]
    };
    let nice = |name: &str| of(name).0;
    assert_eq!(nice("media-"), nice("offhook"), "{threads:?}");
    assert!(nice("media-") < nice("speech-"), "{threads:?}");
    assert!(nice("speech-") < nice("control"), "{threads:?}");
    assert_eq!(nice("control"), nice("store-writer"), "requests wait for it: {threads:?}");
    assert!(nice("control") < nice("journal-writer"), "{threads:?}");
    assert_eq!(nice("journal-writer"), nice("log"), "{threads:?}");

    let policy = |name: &str| of(name).1;
    for name in ["control", "store-writer", "journal-writer", "log"] {
        assert_eq!(policy(name), SCHED_BATCH, "{name} interrupts nobody: {threads:?}");
    }
    for name in ["media-", "speech-"] {
        assert_eq!(policy(name), SCHED_OTHER, "{name} has a caller waiting: {threads:?}");
    }
}
