//! Who comes first where threads of a server want the same core.
#![cfg(target_os = "linux")]

use std::fs::{read_dir, read_to_string};

use offhook_tests::Server;

/// The threads of a process by name, with how nice each is.
fn niceness(process: u32) -> Vec<(String, i32)> {
    let threads = read_dir(format!("/proc/{process}/task")).expect("Linux tells of its processes");
    let told = threads.filter_map(|thread| {
        let thread = thread.ok()?.path();
        let name = read_to_string(thread.join("comm")).ok()?.trim().to_owned();
        let stat = read_to_string(thread.join("stat")).ok()?;
        // The name stands in brackets, and may have spaces in it; niceness is the 17th field behind it (proc(5)).
        let nice = stat.rsplit_once(") ")?.1.split(' ').nth(16)?.parse().ok()?;
        Some((name, nice))
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn media_threads_come_before_all_and_who_has_a_caller_waiting_before_who_has_not() {
    let server = Server::start(&["--speech", "keypad"]).await;
    let threads = niceness(server.process_id());
    let of = |name: &str| {
        let mut nice: Vec<_> =
            threads.iter().filter(|(thread, _)| thread.starts_with(name)).map(|(_, nice)| *nice).collect();
        nice.dedup();
        assert!(matches!(nice[..], [_]), "threads called {name} are alike: {threads:?}");
        nice[0]
    };
    let first = of("offhook");
    assert_eq!(of("media-"), first, "{threads:?}");
    assert!(of("media-") < of("speech-"), "{threads:?}");
    assert!(of("speech-") < of("control"), "{threads:?}");
    assert_eq!(of("control"), of("store-writer"), "requests wait for it: {threads:?}");
    assert!(of("control") < of("journal-writer"), "{threads:?}");
    assert_eq!(of("journal-writer"), of("log"), "{threads:?}");
}
