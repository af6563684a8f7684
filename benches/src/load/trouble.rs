//! Trouble beside the calls that are measured: things that must make none of their frames late.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::caller::{Audio, Caller, FRAME};
use super::connect::Target;
use super::frozen_disk::FrozenDisk;
use super::process::Server;
use super::requests::{ask, connect};
use super::{Error, Heard};

/// Names of calls that make trouble begin here, so that they are nobody else's.
const FIRST_NUMBER: usize = 1_000_000;
/// How many calls are deaf, and how many stall.
const SICK_CALLS: usize = 8;
/// What the system may take in for a deaf call, in bytes: less than half a second of an agent's speech.
const DEAF_BYTES: usize = 2 * 1024;
/// How long a stalling call is silent before all of that comes at once.
const STALL: Duration = Duration::from_secs(1);
/// Requests of a flood come over so many connections, this far apart on each.
const FLOOD_CONNECTIONS: usize = 4;
const FLOOD_PERIOD: Duration = Duration::from_millis(2);
/// What is written and forced to the disk in one go, and how large the file may grow.
const DISK_BYTES: usize = 8 << 20;
const DISK_BYTES_MAX: u64 = 256 << 20;
/// How long the database is kept locked, and how long it is free in between.
const LOCKED: Duration = Duration::from_millis(400);
const FREE: Duration = Duration::from_millis(50);
/// How long the disk hangs, and how long it works in between.
const FROZEN: Duration = Duration::from_secs(2);
const THAWED: Duration = Duration::from_millis(500);

/// One kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// None: what the others are compared with.
    Quiet,
    /// Calls that never read their sockets, calls that stall and then send all at once, and calls that send rubbish.
    SickCalls,
    /// Requests, small and large, right and wrong, as fast as four clients can.
    HttpFlood,
    /// A line of the log for each of two thousand requests a second, and nobody who reads the log.
    LogStorm,
    /// The disk that journals and recordings go to is kept busy with forced writes.
    BusyDisk,
    /// The disk that the server keeps all its data on hangs for seconds.
    HungDisk,
    /// The database is locked most of the time.
    LockedStore,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Quiet,
        Self::SickCalls,
        Self::HttpFlood,
        Self::LogStorm,
        Self::BusyDisk,
        Self::HungDisk,
        Self::LockedStore,
    ];

    /// What a reader calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quiet => "none",
            Self::SickCalls => "sick calls",
            Self::HttpFlood => "HTTP flood",
            Self::LogStorm => "log storm",
            Self::BusyDisk => "busy disk",
            Self::HungDisk => "hung disk",
            Self::LockedStore => "locked store",
        }
    }

    /// How much the server should log.
    pub fn log_level(self) -> &'static str {
        if self == Self::LogStorm { "debug" } else { "info" }
    }

    /// Makes the trouble until `over`, for a server on `port` that keeps its data in `data`, on `disk` if that can hang.
    /// `audio`: what its callers send. Returns what it came to.
    pub fn make(
        self,
        over: &AtomicBool,
        port: u16,
        data: &Path,
        disk: Option<&FrozenDisk>,
        audio: Audio<'_>,
    ) -> Result<String, Error> {
        match self {
            Self::Quiet => Ok("–".into()),
            Self::SickCalls => sick_calls(over, port, audio),
            Self::HttpFlood => flood(over, port, FLOOD_PERIOD / 2, &REQUESTS),
            Self::LogStorm => flood(over, port, FLOOD_PERIOD, &REQUESTS[1..2]),
            Self::BusyDisk => busy_disk(over, data),
            Self::HungDisk => hang(over, disk.ok_or("this disk cannot hang")?),
            Self::LockedStore => lock_store(over, data),
        }
    }

    /// What the server itself felt of it between two readings of its metrics: in words, and whether it was any trouble.
    pub fn felt(self, before: &str, after: &str) -> (String, bool) {
        let more = |name| {
            let of = |metrics| Server::metric(metrics, name).unwrap_or(0.0);
            of(after) - of(before)
        };
        let commit_ms = Server::longest_ms("offhook_store_commit_seconds", before, after).unwrap_or(0.0);
        let commits = format!("a commit of up to {commit_ms} ms");
        match self {
            // What these are is told by who makes them.
            Self::Quiet | Self::HttpFlood | Self::BusyDisk => (commits, true),
            Self::SickCalls => {
                let held_up = more("offhook_sends_held_up_total");
                (format!("{held_up} sends held up"), held_up > 0.0)
            }
            Self::LogStorm => {
                let dropped = more("offhook_log_lines_dropped_total");
                (format!("{dropped} log lines dropped"), dropped > 0.0)
            }
            Self::HungDisk => {
                let lost = more("offhook_journal_records_lost_total");
                (format!("{commits}, {lost} journal records lost"), commit_ms >= FROZEN.as_secs_f64() * 500.0)
            }
            Self::LockedStore => (commits, commit_ms >= LOCKED.as_secs_f64() * 500.0),
        }
    }
}

fn sick_calls(over: &AtomicBool, port: u16, audio: Audio<'_>) -> Result<String, Error> {
    let (mut heard, mut text, mut scratch) = (Heard::default(), Vec::new(), vec![0; 64 * 1024]);
    let mut number = FIRST_NUMBER;
    let mut call = |heard: &mut Heard, text: &mut Vec<u8>, receive_bytes| {
        number += 1;
        let connected = Target::Offhook(port).connect_holding(number, receive_bytes)?;
        let mut caller = Caller::new(connected, 5, false);
        caller.begin(text);
        caller.flush(heard);
        Ok::<_, Error>(caller)
    };
    let mut of =
        |bytes| (0..SICK_CALLS).map(|_| call(&mut heard, &mut text, bytes)).collect::<Result<Vec<_>, _>>();
    let (mut deaf, mut stalling) = (of(Some(DEAF_BYTES))?, of(None)?);
    let (mut rubbish, mut bursts, mut stalled_at) = (0, 0, Instant::now());
    while !over.load(Ordering::Relaxed) {
        let now = Instant::now();
        deaf.iter_mut().for_each(|caller| caller.tick(now, now, audio, &mut text, &mut heard));
        if now.duration_since(stalled_at) >= STALL {
            stalled_at = now;
            for caller in &mut stalling {
                bursts += 1;
                (0..STALL.as_millis() / 20).for_each(|_| caller.tick(now, now, audio, &mut text, &mut heard));
                caller.read(now, &mut scratch, &mut heard);
            }
        }
        let mut one = call(&mut heard, &mut text, None)?;
        // A frame that no client may send: unmasked, of a kind that is not there, longer than anything.
        let bytes = [[0xFF; 10].as_slice(), &[0; 10 * FRAME]].concat();
        rubbish += 1;
        // What cannot be sent was refused before its end: that is right.
        let _ = one.socket.write_all(&bytes);
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(format!("{SICK_CALLS} deaf calls, {bursts} bursts of 1 s, {rubbish} calls of rubbish"))
}

/// Requests as they may come: for health, for nothing that is there, for the list of calls, with a large and useless body.
const REQUESTS: [(&str, &str, usize); 4] = [
    ("GET", "/health", 0),
    ("GET", "/not-here", 0),
    ("GET", "/v1/calls", 0),
    ("POST", "/api/callbot/incoming-call", 48 * 1024),
];

fn flood(
    over: &AtomicBool,
    port: u16,
    period: Duration,
    requests: &[(&str, &str, usize)],
) -> Result<String, Error> {
    let one = || {
        let (mut sent, mut due) = (0usize, Instant::now());
        let mut socket = connect(port)?;
        while !over.load(Ordering::Relaxed) {
            due += period;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (method, path, bytes) = requests[sent % requests.len()];
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n");
            if ask(&mut socket, &[request.as_bytes(), &vec![b'x'; bytes]].concat()).is_err() {
                socket = connect(port)?;
            }
            sent += 1;
        }
        Ok::<_, Error>(sent)
    };
    let began = Instant::now();
    let sent: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..FLOOD_CONNECTIONS).map(|_| scope.spawn(one)).collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap_or_else(|_| Err("a client panicked".into())))
            .sum::<Result<_, _>>()
    })?;
    Ok(format!("{:.0} requests a second", sent as f64 / began.elapsed().as_secs_f64()))
}

fn busy_disk(over: &AtomicBool, data: &Path) -> Result<String, Error> {
    let path = data.join("busy");
    let mut file = fs::File::create(&path)?;
    let (block, mut written, mut slowest) = (vec![0x5A; DISK_BYTES], 0u64, Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        if file.metadata()?.len() >= DISK_BYTES_MAX {
            file.set_len(0)?;
            file = fs::File::create(&path)?;
        }
        let began = Instant::now();
        file.write_all(&block)?;
        file.sync_all()?;
        slowest = slowest.max(began.elapsed());
        written += 1;
    }
    fs::remove_file(&path)?;
    Ok(format!("{} MB forced to disk, up to {} ms for 8 MB", written * 8, slowest.as_millis()))
}

fn hang(over: &AtomicBool, disk: &FrozenDisk) -> Result<String, Error> {
    let mut times = 0;
    while !over.load(Ordering::Relaxed) {
        disk.freeze(FROZEN)?;
        times += 1;
        std::thread::sleep(THAWED);
    }
    Ok(format!("{times} times no write for {} s", FROZEN.as_secs()))
}

fn lock_store(over: &AtomicBool, data: &Path) -> Result<String, Error> {
    let mut database = rusqlite::Connection::open(data.join("offhook.db"))?;
    database.busy_timeout(Duration::from_secs(5))?;
    let mut times = 0;
    while !over.load(Ordering::Relaxed) {
        let lock = database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        std::thread::sleep(LOCKED);
        lock.rollback()?;
        times += 1;
        std::thread::sleep(FREE);
    }
    Ok(format!("locked {times} times for {} ms", LOCKED.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_disk_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let over = AtomicBool::new(true);
        busy_disk(&over, folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
