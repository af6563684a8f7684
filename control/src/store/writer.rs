//! The writer thread: takes writes off the queue, commits them in groups, answers who waits.
//!
//! A group holds all that is queued. While nobody waits for an answer it also waits [`COMPANY`] for more, so that a
//! trickle of timeline entries costs twenty commits a second and not one each, and is not woken for them. A write that the database refuses for
//! what it says (a constraint) is dropped alone. When the database itself fails (disk full), the group is rolled back
//! and kept, and tried again each [`RETRY`]; beyond [`KEPT_WRITES`] the oldest timeline entries are dropped, counted,
//! and the count is written on the call once that is possible.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use offhook_engine::CallId;
use offhook_engine::measure::Histogram;
use offhook_engine::priority::Turns;
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::{StoreError, Unwritten, calls, jobs, simulations};
use crate::domain::call::{Announcement, CallStatus, ReportOutcome, StatusReport, TurnRecord};
use crate::domain::simulations::Simulation;
use crate::domain::time::UnixMs;

/// How long a write that nobody waits for waits for others, at most: what `kill -9` can lose.
const COMPANY: Duration = Duration::from_millis(50);

/// How many writes one transaction takes, so that who waits never waits for long.
const GROUP_WRITES: usize = 2_048;

/// How long to wait after the database failed.
const RETRY: Duration = Duration::from_secs(1);

/// How many writes are kept while the database fails: some tens of megabytes.
const KEPT_WRITES: usize = 50_000;

/// One thing to write down.
#[derive(Clone, Debug)]
pub enum Write {
    /// A call was announced.
    Announced(Announcement),
    /// A call's media came.
    Answered {
        /// The call.
        call: CallId,
        /// The carrier's name for the stream.
        stream_id: String,
        /// When.
        at: UnixMs,
    },
    /// An entry of a call's timeline.
    Event {
        /// The call.
        call: CallId,
        /// µs from the answer.
        at_us: u64,
        /// The event's name.
        kind: String,
        /// A JSON object.
        data: String,
    },
    /// A turn is over.
    Turn {
        /// The call.
        call: CallId,
        /// What was said.
        turn: TurnRecord,
    },
    /// The agent wrote something down.
    Answer {
        /// The call.
        call: CallId,
        /// What it is.
        name: String,
        /// Its value.
        value: String,
    },
    /// A carrier reports a call's status.
    Reported(StatusReport),
    /// A call is over.
    Finished {
        /// The call.
        call: CallId,
        /// Where it stands.
        status: CallStatus,
        /// Why it is over.
        reason: String,
        /// From the answer to the end, in ms; none if it was never answered.
        duration_ms: Option<u64>,
        /// When.
        at: UnixMs,
        /// The recording's file, under the data folder.
        recording: Option<String>,
        /// The journal's file, under the data folder.
        journal: Option<String>,
    },
    /// A simulation started, or is over.
    Simulation(Box<Simulation>),
    /// Something else changes; see [`Store::change`](super::Store).
    Change(Change),
    /// Something of a call could not be kept.
    Loss {
        /// The call.
        call: CallId,
        /// What, for the operator. Empty if only entries are counted.
        note: String,
        /// How many entries of the timeline.
        entries: u64,
    },
}

impl Write {
    /// True if it may be dropped when there is no room: the record of the call stays whole without it.
    pub fn may_be_dropped(&self) -> bool {
        matches!(self, Self::Event { .. })
    }
}

/// What came of a write.
#[derive(Debug)]
pub(super) enum Written {
    Done,
    Report(ReportOutcome),
    Changed(Box<dyn Any + Send>),
}

type Changing = dyn Fn(&Connection) -> rusqlite::Result<Box<dyn Any + Send>> + Send + Sync;

/// A change with an answer, all or nothing. Somebody waits for it, so it is not kept while the database fails: who hears that
/// it was not done may ask again, and must not have it done twice.
#[derive(Clone)]
pub struct Change(Arc<Changing>);

impl Change {
    pub(super) fn new<T: Send + 'static>(
        change: impl Fn(&Connection) -> rusqlite::Result<T> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |connection| Ok(Box::new(change(connection)?))))
    }

    fn apply(&self, connection: &Connection) -> rusqlite::Result<Written> {
        connection.execute_batch("SAVEPOINT change")?;
        let done = (self.0)(connection);
        if done.is_err() {
            connection.execute_batch("ROLLBACK TO change")?;
        }
        connection.execute_batch("RELEASE change")?;
        done.map(Written::Changed)
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Change(…)")
    }
}

type Reply = oneshot::Sender<Result<Written, StoreError>>;

/// What the writer thread is sent.
#[derive(Debug)]
pub(super) enum Request {
    Write { write: Write, reply: Option<Reply> },
    Close,
}

impl Request {
    pub(super) fn unwritten(self, error: StoreError) -> Box<Unwritten> {
        match self {
            Self::Write { write, .. } => Box::new(Unwritten { write, error }),
            Self::Close => unreachable!("only writes are passed back to who passed them"),
        }
    }
}

/// What commits cost. Written by the writer thread alone.
#[derive(Debug, Default)]
pub struct Commits {
    /// How long a group of writes took, from the beginning of its transaction to the end of its commit.
    pub time: Histogram,
    /// Groups that the database did not take.
    pub failures: AtomicU64,
}

pub(super) struct Writer {
    connection: Connection,
    commits: Arc<Commits>,
    requests: Receiver<Request>,
    /// Who does jobs is woken by it.
    enqueued: watch::Sender<()>,
    /// The last job of which that was told.
    last_job: i64,
    /// What the next transaction holds, in order.
    group: VecDeque<(Write, Option<Reply>)>,
    /// Entries that were dropped, by call, and not yet written on it.
    lost: BTreeMap<CallId, u64>,
    failing: bool,
    closing: bool,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        requests: Receiver<Request>,
        commits: Arc<Commits>,
        enqueued: watch::Sender<()>,
    ) -> Self {
        Self {
            // Those that are there already, who does jobs finds at the start.
            last_job: jobs::last(&connection).unwrap_or(0),
            connection,
            commits,
            requests,
            enqueued,
            group: VecDeque::new(),
            lost: BTreeMap::new(),
            failing: false,
            closing: false,
        }
    }

    pub(super) fn run(mut self) {
        while !self.closing {
            self.gather();
            while !self.group.is_empty() {
                self.commit();
                if self.failing {
                    break;
                }
            }
        }
        if !self.group.is_empty() {
            tracing::error!(
                writes = self.group.len(),
                "the database failed to the end: these writes are lost"
            );
        }
    }

    /// Waits for a write, then for company, then takes all that is queued.
    fn gather(&mut self) {
        let first = if self.failing {
            match self.requests.recv_timeout(RETRY) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => None,
            }
        } else {
            self.requests.recv().ok()
        };
        let until = Instant::now() + if self.failing { RETRY } else { COMPANY };
        let mut next = first;
        let mut somebody_waits = false;
        loop {
            match next {
                Some(Request::Write { write, reply }) => {
                    // While the database fails nobody is kept waiting for it: the write is kept, and said to be late.
                    let reply = match reply {
                        Some(reply) if self.failing => {
                            let _ = reply.send(Err(StoreError::Delayed("it failed a moment ago".into())));
                            None
                        }
                        reply => reply,
                    };
                    somebody_waits |= reply.is_some();
                    if !(self.failing && matches!(write, Write::Change(_))) {
                        self.group.push_back((write, reply));
                    }
                }
                Some(Request::Close) | None => {
                    self.closing = true;
                    break;
                }
            }
            if self.failing {
                self.drop_excess();
            } else if self.group.len() >= GROUP_WRITES {
                break;
            }
            next = match self.next_until(until, somebody_waits) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => None,
            };
        }
    }

    /// The next write, if one is queued by `until`, or is already if there is a hurry. What is queued meanwhile is not
    /// waited for as it comes, since each waking costs more than the write: who is in a hurry unparks the thread.
    fn next_until(&self, until: Instant, hurry: bool) -> Result<Request, RecvTimeoutError> {
        loop {
            match self.requests.try_recv() {
                Ok(request) => return Ok(request),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if hurry || left.is_zero() {
                return Err(RecvTimeoutError::Timeout);
            }
            std::thread::park_timeout(left);
        }
    }

    /// Writes the first [`GROUP_WRITES`] of the group in one transaction, or keeps them if the database fails.
    fn commit(&mut self) {
        let size = self.group.len().min(GROUP_WRITES);
        let began = Instant::now();
        let results = match write_group(&mut self.connection, self.group.iter().take(size), &self.lost) {
            Ok(results) => results,
            Err(error) => return self.on_failure(&error),
        };
        self.commits.time.record(began.elapsed());
        if self.failing {
            tracing::info!("the database takes writes again");
        }
        self.failing = false;
        self.lost.clear();
        self.tell_of_jobs();
        for ((write, reply), result) in self.group.drain(..size).zip(results) {
            match (reply, result) {
                (Some(reply), result) => drop(reply.send(result.map_err(StoreError::from))),
                (None, Err(error)) => tracing::error!(%error, ?write, "a write was refused and is lost"),
                (None, Ok(_)) => {}
            }
        }
    }

    /// Wakes who does jobs, if this commit wrote some down: it comes out of any of the writes above.
    fn tell_of_jobs(&mut self) {
        let last = jobs::last(&self.connection).unwrap_or(self.last_job);
        if last != self.last_job {
            self.last_job = last;
            self.enqueued.send_replace(());
        }
    }

    fn on_failure(&mut self, error: &rusqlite::Error) {
        self.commits.failures.fetch_add(1, Ordering::Relaxed);
        if !self.failing {
            tracing::error!(%error, kept = self.group.len(), "the database takes no writes: they are kept and tried again");
        }
        self.failing = true;
        for (_, reply) in &mut self.group {
            if let Some(reply) = reply.take() {
                let _ = reply.send(Err(StoreError::Delayed(error.to_string())));
            }
        }
        self.group.retain(|(write, _)| !matches!(write, Write::Change(_)));
    }

    /// Drops the oldest timeline entries beyond what may be kept, and counts them.
    fn drop_excess(&mut self) {
        if self.group.len() <= KEPT_WRITES {
            return;
        }
        let before = self.group.len();
        let mut excess = before / 10;
        let lost = &mut self.lost;
        self.group.retain(|(write, _)| match write {
            Write::Event { call, .. } if excess > 0 => {
                excess -= 1;
                *lost.entry(call.clone()).or_default() += 1;
                false
            }
            _ => true,
        });
        tracing::error!(
            entries = before - self.group.len(),
            "timeline entries are lost: the database takes no writes"
        );
    }
}

/// All writes in one transaction. `Err`: the database failed, nothing was written. Inner errors: that write was refused.
fn write_group<'a>(
    connection: &mut Connection,
    group: impl Iterator<Item = &'a (Write, Option<Reply>)>,
    lost: &BTreeMap<CallId, u64>,
) -> rusqlite::Result<Vec<rusqlite::Result<Written>>> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut results = Vec::new();
    let mut turns = Turns::begin();
    for (write, _) in group {
        let result = apply(&transaction, write);
        match result {
            Err(error) if !is_refusal(&error) => return Err(error),
            result => results.push(result),
        }
        turns.offer();
    }
    for (call, entries) in lost {
        calls::add_loss(&transaction, call, "", *entries)?;
    }
    transaction.commit()?;
    Ok(results)
}

fn apply(connection: &Connection, write: &Write) -> rusqlite::Result<Written> {
    match write {
        Write::Announced(announcement) => calls::insert(connection, announcement)?,
        Write::Answered { call, stream_id, at } => calls::answer(connection, call, stream_id, *at)?,
        Write::Event { call, at_us, kind, data } => {
            calls::add_event(connection, call, *at_us, kind, data)?;
        }
        Write::Turn { call, turn } => calls::add_turn(connection, call, turn)?,
        Write::Answer { call, name, value } => calls::set_answer(connection, call, name, value)?,
        Write::Reported(report) => return calls::report(connection, report).map(Written::Report),
        Write::Finished { call, status, reason, duration_ms, at, recording, journal } => {
            let end = calls::End {
                status: *status,
                reason,
                duration_ms: *duration_ms,
                at: *at,
                recording: recording.as_deref(),
                journal: journal.as_deref(),
            };
            calls::finish(connection, call, &end)?;
        }
        Write::Simulation(simulation) => simulations::write(connection, simulation)?,
        Write::Change(change) => return change.apply(connection),
        Write::Loss { call, note, entries } => calls::add_loss(connection, call, note, *entries)?,
    }
    Ok(Written::Done)
}

/// True if the database works, and refuses this one write for what it says.
fn is_refusal(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => matches!(
            code,
            rusqlite::ErrorCode::ConstraintViolation
                | rusqlite::ErrorCode::TypeMismatch
                | rusqlite::ErrorCode::TooBig
        ),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;

    fn announced(name: &str) -> Write {
        Write::Announced(Announcement {
            call: CallId::new(name).unwrap(),
            carrier: "twilio",
            carrier_call_id: format!("CA-{name}"),
            from: "+1".into(),
            to: "+2".into(),
            direction: "inbound".into(),
            scenario: "s".into(),
            on_line: None,
            owner_email: None,
            at: UnixMs(1),
        })
    }

    fn event(name: &str, at_us: u64) -> Write {
        Write::Event {
            call: CallId::new(name).unwrap(),
            at_us,
            kind: "media_flows".into(),
            data: "{}".into(),
        }
    }

    fn writer() -> (Writer, crossbeam_channel::Sender<Request>) {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        super::super::migrations::run(&mut connection).unwrap();
        let (queue, requests) = unbounded();
        (Writer::new(connection, requests, Arc::default(), watch::channel(()).0), queue)
    }

    fn send(queue: &crossbeam_channel::Sender<Request>, write: Write) {
        queue.send(Request::Write { write, reply: None }).unwrap();
    }

    fn count(writer: &Writer, table: &str) -> i64 {
        writer.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn all_that_is_queued_becomes_one_commit() {
        let (mut writer, queue) = writer();
        send(&queue, announced("a"));
        for at in 0..100 {
            send(&queue, event("a", at));
        }
        writer.gather();
        assert_eq!(writer.group.len(), 101);
        writer.commit();
        assert!(writer.group.is_empty());
        assert_eq!(count(&writer, "events"), 100);
    }

    #[test]
    fn one_refused_write_does_not_take_its_group_along() {
        let (mut writer, queue) = writer();
        let half = Change::new(|connection| {
            connection.execute("INSERT INTO events_seen (sender, id, at_ms) VALUES ('s', 'e', 1)", [])?;
            connection.execute("INSERT INTO key_checks (name) VALUES ('without what it is')", [])
        });
        send(&queue, Write::Change(half));
        send(&queue, event("nobody", 1));
        send(&queue, announced("a"));
        send(&queue, event("a", 2));
        writer.gather();
        writer.commit();
        assert!(!writer.failing);
        assert_eq!((count(&writer, "calls"), count(&writer, "events")), (1, 1));
        assert_eq!(count(&writer, "events_seen"), 0, "no change is half done");
    }

    #[test]
    fn while_the_database_fails_writes_are_kept_and_nobody_waits() {
        let (mut writer, queue) = writer();
        writer.connection.execute_batch("PRAGMA query_only = ON").unwrap();
        let (reply, mut answer) = oneshot::channel();
        queue.send(Request::Write { write: announced("a"), reply: Some(reply) }).unwrap();
        writer.gather();
        writer.commit();
        assert!(writer.failing);
        assert!(matches!(answer.try_recv(), Ok(Err(StoreError::Delayed(_)))));

        writer.connection.execute_batch("PRAGMA query_only = OFF").unwrap();
        writer.commit();
        assert!(!writer.failing);
        assert_eq!(count(&writer, "calls"), 1);
    }

    #[test]
    fn beyond_what_may_be_kept_the_oldest_entries_go_and_are_counted_on_their_call() {
        let (mut writer, _queue) = writer();
        writer.failing = true;
        writer.group.push_back((announced("a"), None));
        writer.group.extend((0..KEPT_WRITES as u64).map(|at| (event("a", at), None)));
        writer.drop_excess();
        let kept = writer.group.len() - 1;
        assert!(kept < KEPT_WRITES);
        while !writer.group.is_empty() {
            writer.commit();
        }
        let (lost, oldest): (i64, i64) = writer
            .connection
            .query_row("SELECT lost_entries, (SELECT min(at_us) FROM events) FROM calls", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(lost as usize, KEPT_WRITES - kept);
        assert_eq!(oldest, lost, "the oldest were dropped");
    }

    #[test]
    fn closing_commits_what_was_queued_before() {
        let (mut writer, queue) = writer();
        send(&queue, announced("a"));
        queue.send(Request::Close).unwrap();
        writer.gather();
        assert!(writer.closing);
        writer.commit();
        assert_eq!(count(&writer, "calls"), 1);
    }
}
