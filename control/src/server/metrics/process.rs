//! The process itself, as the kernel counts it. Linux only: elsewhere there is nothing to tell, and nothing is told.

use std::fs;

/// Clock ticks per second in `/proc`: USER_HZ, which is 100 on every architecture that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the kernel says; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) start_time_seconds: Option<f64>,
    pub(super) threads: Option<u64>,
    pub(super) cpu_cores: Option<u64>,
}

impl Process {
    /// Reads a few files of a few hundred bytes.
    pub(super) fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self {
            cpu_seconds: cpu_seconds(&stat),
            resident_bytes: field(&status, "VmRSS:").map(|kib| kib * 1_024),
            // The folder that is being read is one of them.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| (fds.count() as u64).saturating_sub(1)),
            start_time_seconds: start_time(&stat, &boot),
            threads: field(&status, "Threads:"),
            cpu_cores: std::thread::available_parallelism().ok().map(|cores| cores.get() as u64),
        }
    }
}

/// The number behind a word at the start of a line.
fn field(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(word))?;
    line[word.len()..].split_whitespace().next()?.parse().ok()
}

/// Field `number` of `/proc/<pid>/stat`, counted from 1 as in proc(5). The second is a name, which may hold anything.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    let (user, system) = (stat_field(stat, 14)?, stat_field(stat, 15)?);
    Some((user + system) / TICKS_PER_SECOND)
}

fn start_time(stat: &str, boot: &str) -> Option<f64> {
    Some(field(boot, "btime")? as f64 + stat_field(stat, 22)? / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "4242 (a) b (c) S 1 4242 4242 0 -1 4194560 99 0 0 0 1234 66 0 0 20 0 9 0 5000 1 2 3";

    #[test]
    fn a_name_with_brackets_moves_no_field() {
        assert_eq!(cpu_seconds(STAT), Some(13.0));
        assert_eq!(start_time(STAT, "cpu 1 2\nbtime 1000\n"), Some(1_050.0));
        assert_eq!(cpu_seconds("nothing"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_tells_all_of_this_process() {
        let process = Process::now();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 1_000_000), "{process:?}");
        assert!(process.open_fds.is_some_and(|fds| fds >= 3), "{process:?}");
        assert!(process.start_time_seconds.is_some_and(|at| at > 1_700_000_000.0), "{process:?}");
        assert!(process.cpu_seconds.is_some() && process.cpu_cores.is_some(), "{process:?}");
    }
}
