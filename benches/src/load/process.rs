//! A server's process: started on a core of its own, asked what it costs, ended.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use core_affinity::CoreId;

use super::Error;

/// How long a server may take to listen.
const START_MAX: Duration = Duration::from_secs(20);

/// A running server. Ended when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
}

/// Runs `work` on a thread that keeps to `core`, and so do the processes that it starts.
pub fn pinned<T: Send>(core: Option<CoreId>, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Some(core) = core {
                core_affinity::set_for_current(core);
            }
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A field of `/proc/PID/status` that is a size (proc_pid_status(5)), in bytes.
pub fn status_bytes(process: u32, field: &str) -> Result<u64, Error> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib: u64 = value.ok_or_else(|| format!("no {field}"))?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// How late a server's frames were, by its own count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lateness {
    /// Upper bound of the bucket in which the percentile lies, in ms.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// The same.
    pub p999_ms: f64,
    /// The same, of the latest frame.
    pub max_ms: f64,
}

impl Server {
    /// Starts `program` with what `arguments` makes of a free port, on `core`, with its files in `folder`.
    pub fn start(
        program: &Path,
        core: Option<CoreId>,
        folder: &Path,
        arguments: impl FnOnce(u16) -> Vec<String>,
    ) -> Result<Self, Error> {
        let log = fs::File::create(folder.join("server.log"))?;
        Self::start_logging_to(log.into(), program, core, folder, arguments)
    }

    /// The same, with its log going to `log`.
    pub fn start_logging_to(
        log: Stdio,
        program: &Path,
        core: Option<CoreId>,
        folder: &Path,
        arguments: impl FnOnce(u16) -> Vec<String>,
    ) -> Result<Self, Error> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(program);
        command
            .args(arguments(port))
            .current_dir(folder)
            .env("OFFHOOK_RATE_LIMITS", "off")
            .env("OFFHOOK_OVERLOAD_LATENESS_MS", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = pinned(core, move || command.spawn())
            .map_err(|e| format!("cannot start {}: {e}", program.display()))?;
        let server = Self { child, port };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if started.elapsed() > START_MAX {
                let log = fs::read_to_string(folder.join("server.log")).unwrap_or_default();
                return Err(format!("{} does not listen: {log}", program.display()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Where it listens, on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its processor time so far by name of thread, longest first, to the nanosecond: utime and stime count in ticks
    /// of 10 ms.
    pub fn cpu_by_thread(&self) -> Result<Vec<(String, Duration)>, Error> {
        let mut threads = std::collections::BTreeMap::<String, u64>::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let path = task?.path();
            // A thread may end while it is asked.
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            let ns = text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
            *threads.entry(name.trim().to_owned()).or_default() += ns;
        }
        let mut threads: Vec<_> =
            threads.into_iter().map(|(name, ns)| (name, Duration::from_nanos(ns))).collect();
        threads.sort_by_key(|(_, cpu)| std::cmp::Reverse(*cpu));
        Ok(threads)
    }

    /// Its memory in RAM that is no file's, in bytes.
    pub fn memory(&self) -> Result<u64, Error> {
        status_bytes(self.child.id(), "RssAnon")
    }

    /// How late its frames were between two readings of [`Server::metrics`], over all its media threads.
    pub fn lateness(before: &str, after: &str) -> Option<Lateness> {
        let counts = counted("offhook_frame_lateness_seconds", before, after);
        let &(_, all) = counts.last()?;
        let at = |share: f64| {
            let rank = (all as f64 * share).ceil() as u64;
            counts.iter().find(|(_, count)| *count >= rank).map_or(f64::INFINITY, |(bound, _)| bound * 1e3)
        };
        (all > 0).then(|| Lateness { p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999), max_ms: at(1.0) })
    }

    /// The upper bound, in ms, of the bucket of the longest time that histogram `name` counted between two readings.
    pub fn longest_ms(name: &str, before: &str, after: &str) -> Option<f64> {
        let counts = counted(name, before, after);
        let &(_, all) = counts.last()?;
        let (bound, _) = counts.iter().find(|(_, count)| *count == all)?;
        (all > 0).then_some(bound * 1e3)
    }

    /// What `/metrics` says.
    pub fn metrics(&self) -> Result<String, Error> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(socket, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
            _ => Err(format!("/metrics answered: {answer}").into()),
        }
    }

    /// The value of a metric without labels.
    pub fn metric(metrics: &str, name: &str) -> Option<f64> {
        metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    }
}

/// What a histogram counted between two readings: cumulated, as upper bound in seconds and count.
fn counted(name: &str, before: &str, after: &str) -> Vec<(f64, u64)> {
    let before = buckets(name, before);
    let then = |bound| before.iter().find(|(other, _)| *other == bound).map_or(0, |(_, count)| *count);
    buckets(name, after).into_iter().map(|(bound, count)| (bound, count - then(bound))).collect()
}

/// Cumulated buckets of a histogram, as upper bound in seconds and count, summed over whatever labels it has.
fn buckets(name: &str, metrics: &str) -> Vec<(f64, u64)> {
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    for line in metrics.lines() {
        let rest = line.strip_prefix(name).and_then(|rest| rest.strip_prefix("_bucket{"));
        let Some(rest) = rest else { continue };
        let Some((labels, value)) = rest.split_once("} ") else { continue };
        let Some((_, bound)) = labels.split_once("le=\"") else { continue };
        let bound = bound.trim_end_matches('"').split('"').next().unwrap_or_default();
        let bound = bound.parse().unwrap_or(f64::INFINITY);
        let count = value.split(' ').next().and_then(|value| value.parse().ok()).unwrap_or(0);
        match buckets.iter_mut().find(|(other, _)| *other == bound) {
            Some((_, sum)) => *sum += count,
            None => buckets.push((bound, count)),
        }
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_that_between_two_readings_over_all_threads() {
        let line = |thread: u32, le: &str, count: u64| {
            format!(
                "offhook_frame_lateness_seconds_bucket{{thread=\"media-{thread}\",le=\"{le}\"}} {count}\n"
            )
        };
        let before = line(0, "0.001", 10) + &line(0, "0.02", 10) + &line(0, "+Inf", 10);
        let after = line(0, "0.001", 1_000)
            + &line(0, "0.02", 1_009)
            + &line(0, "+Inf", 1_010)
            + &line(1, "0.001", 0)
            + &line(1, "0.02", 0)
            + &line(1, "+Inf", 0);
        let late = Server::lateness(&before, &after).unwrap();
        assert_eq!((late.p50_ms, late.p99_ms), (1.0, 1.0));
        assert_eq!((late.p999_ms, late.max_ms), (20.0, f64::INFINITY));
        let name = "offhook_frame_lateness_seconds";
        assert_eq!(Server::longest_ms(name, &before, &after), Some(f64::INFINITY));
        assert_eq!(Server::longest_ms(name, &after, &after), None);
    }
}
