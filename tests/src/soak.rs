//! What a process holds, for tests that see whether it comes back to where it was.

/// What Linux tells of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Memory that is resident.
    pub memory_bytes: u64,
    /// Threads.
    pub threads: usize,
    /// Open files, sockets among them.
    pub files: usize,
}

impl Held {
    /// What the process of this number holds.
    pub fn of(process: u32) -> Self {
        let count = |folder: &str| {
            let entries = std::fs::read_dir(format!("/proc/{process}/{folder}"));
            entries.expect("Linux tells of its processes").count()
        };
        let status = std::fs::read_to_string(format!("/proc/{process}/status"));
        let status = status.expect("Linux tells of its processes");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it tells of memory");
        let kib = line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok());
        let memory_bytes = kib.expect("VmRSS is a number of KiB") * 1_024;
        Self { memory_bytes, threads: count("task"), files: count("fd") }
    }
}

/// A number from the environment, so that a soak can be made long.
pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        Err(_) => default,
    }
}

/// Prints what was measured, for whoever runs a test with `--nocapture`.
#[expect(clippy::print_stdout, reason = "figures for whoever asks for them")]
pub fn print(text: &str) {
    println!("{text}");
}
