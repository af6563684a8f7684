//! What a load test costs its own process.

use std::time::{Duration, Instant};

/// Ticks of a second in `/proc/<pid>/stat`: USER_HZ, 100 on every Linux that people run (`man 5 proc`).
const TICKS: u64 = 100;

/// The processor time of a process and when it was read.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    at: Instant,
    cpu: Option<Duration>,
}

impl Usage {
    /// Of this process.
    pub fn now() -> Self {
        Self { at: Instant::now(), cpu: cpu_of("self") }
    }

    /// The processors that this process kept busy since `earlier`, as a number of cores; none where the system does not tell.
    pub fn cores_since(&self, earlier: &Self) -> Option<f64> {
        let wall = self.at.saturating_duration_since(earlier.at).as_secs_f64();
        let busy = self.cpu?.checked_sub(earlier.cpu?)?.as_secs_f64();
        (wall > 0.0).then(|| busy / wall)
    }
}

/// The processors that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// User and system time of a process, by its number or `self`, from `/proc`; none where there is no such thing.
pub fn cpu_of(process: &str) -> Option<Duration> {
    cpu_in(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// Fields 14 and 15 of `stat`, counted after the name, which may have spaces and brackets in it.
fn cpu_in(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 1_000 / TICKS))
}

/// Memory of a process that is in RAM, in bytes, from `/proc`.
pub fn memory_of(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a ) (b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 100 1 1";
        assert_eq!(cpu_in(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_in(""), None);
        assert_eq!(cpu_in("7 (a) S 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory() {
        assert!(memory_of("self").is_some_and(|bytes| bytes > 100_000));
        assert!(cpu_of("self").is_some());
        assert_eq!(memory_of("0"), None);
    }
}
