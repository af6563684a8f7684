//! The store: SQLite, one thread that writes, a few connections that read. All SQL of the product stands in this folder.
//!
//! A write is a message to the writer thread. Who needs to know that it is on disk awaits its answer, which comes after
//! the commit; who need not passes it on and goes its way. Reads run on the runtime's blocking threads.

mod account_calls;
mod accounts;
mod analyses;
mod appointments;
mod assistants;
mod booked;
mod calls;
mod catalogue;
mod chunks;
mod concurrency;
mod connections;
mod contacts;
mod conversations;
mod crm;
mod customers;
mod deliveries;
mod ended_calls;
pub(crate) mod events;
mod figures;
mod jobs;
mod keys;
mod ledger;
mod line_personas;
mod lines;
mod migrations;
mod persona_conversations;
mod personas;
mod products;
mod reported_calls;
mod simulations;
mod telegram;
mod user_jobs;
mod user_settings;
mod users;
mod voiceclone;
mod workspaces;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, TrySendError, bounded};
use offhook_engine::priority::{Rank, give_way, run_soon};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::domain::call::{Announcement, ReportOutcome, StatusReport};
use crate::domain::time::UnixMs;

pub use chunks::{NewChunks, Scope};
pub use products::ToChunk;
pub use writer::{Change, Commits, Write};
use writer::{Request, Written};

/// How many writes may wait for the writer thread. 16,384: some ten seconds of five hundred talkative calls.
const QUEUE_WRITES: usize = 16_384;

/// How many reads run at once.
const READERS: usize = 4;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}: {what}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why, and what to do.
        what: String,
    },
    /// The database cannot be opened.
    #[error("cannot open the database {}: {what}", path.display())]
    Open {
        /// Its file.
        path: PathBuf,
        /// Why, and what to do.
        what: String,
    },
    /// The database refused.
    #[error("the database failed: {0}")]
    Sql(#[from] rusqlite::Error),
    /// The write waits for the database to recover.
    #[error("the database takes no writes: {0}")]
    Delayed(String),
    /// More waits to be written than may wait.
    #[error("too much waits to be written")]
    Full,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// A write that the queue did not take.
#[derive(Debug)]
pub struct Unwritten {
    /// What was to be written.
    pub write: Write,
    /// Why it is not.
    pub error: StoreError,
}

/// The store. Dropping it without [`Store::close`] loses what was not yet committed.
#[derive(Debug)]
pub struct Store {
    queue: Sender<Request>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The writer thread, which is unparked by who waits for an answer.
    writer: std::thread::Thread,
    readers: Readers,
    /// Calls that were running when the store was last closed without warning, and are closed now.
    restarted: usize,
    commits: Arc<Commits>,
    /// Changes with each commit that wrote jobs down.
    jobs_enqueued: watch::Receiver<()>,
    _lock: std::fs::File,
}

impl Store {
    /// Opens `offhook.db` in `data_dir`, makes both if need be, and closes calls that a dead process left running.
    pub fn open(data_dir: &Path, now: UnixMs) -> Result<Self, StoreError> {
        let lock = open_folder(data_dir)?;
        let path = data_dir.join("offhook.db");
        let connection = open_database(&path)?;
        let failed = |e: rusqlite::Error| StoreError::Open { path: path.clone(), what: advice(&e) };
        let files = |call: &str| {
            let there = |name: String| data_dir.join(&name).is_file().then_some(name);
            (there(format!("recordings/{call}.wav")), there(format!("journals/{call}.journal")))
        };
        let restarted = calls::close_running(&connection, now, &files).map_err(failed)?;
        simulations::close_running(&connection, now).map_err(failed)?;
        jobs::put_back_running(&connection).map_err(failed)?;
        let (queue, requests) = bounded(QUEUE_WRITES);
        let commits = Arc::<Commits>::default();
        let (enqueued, jobs_enqueued) = watch::channel(());
        let writer = writer::Writer::new(connection, requests, Arc::clone(&commits), enqueued);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                give_way(Rank::Control);
                run_soon();
                writer.run();
            })
            .map_err(|e| StoreError::Open { path: path.clone(), what: format!("no thread for it: {e}") })?;
        Ok(Self {
            queue,
            writer: thread.thread().clone(),
            thread: Mutex::new(Some(thread)),
            readers: Readers { path, idle: Mutex::default(), turns: Semaphore::new(READERS) },
            restarted,
            commits,
            jobs_enqueued,
            _lock: lock,
        })
    }

    /// How many calls were found running at the start, and closed as `engine-restarted`.
    pub fn restarted(&self) -> usize {
        self.restarted
    }

    /// What commits cost since the start.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// How many writes wait for the writer thread.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Writes a new call down. Announcing the same call again changes nothing.
    pub async fn announce(&self, announcement: Announcement) -> Result<(), StoreError> {
        self.write_and_wait(Write::Announced(announcement)).await.map(drop)
    }

    /// Writes down what a carrier reports of a call, unless it says nothing new.
    pub async fn report(&self, report: StatusReport) -> Result<ReportOutcome, StoreError> {
        match self.write_and_wait(Write::Reported(report)).await? {
            Written::Report(outcome) => Ok(outcome),
            _ => Err(StoreError::Closed),
        }
    }

    /// Passes a write on, without waiting for it. Gives it back if the queue is full.
    pub fn pass(&self, write: Write) -> Result<(), Box<Unwritten>> {
        self.queue.try_send(Request::Write { write, reply: None }).map_err(|e| match e {
            TrySendError::Full(request) => request.unwritten(StoreError::Full),
            TrySendError::Disconnected(request) => request.unwritten(StoreError::Closed),
        })
    }

    /// As [`Store::pass`], but waits up to `patience` for room. Never on a media thread, nor on the runtime's.
    pub fn pass_patiently(&self, write: Write, patience: std::time::Duration) -> Result<(), Box<Unwritten>> {
        use crossbeam_channel::SendTimeoutError;
        self.queue.send_timeout(Request::Write { write, reply: None }, patience).map_err(|e| match e {
            SendTimeoutError::Timeout(request) => request.unwritten(StoreError::Full),
            SendTimeoutError::Disconnected(request) => request.unwritten(StoreError::Closed),
        })
    }

    /// Commits all that waits, and ends the writer thread.
    pub fn close(&self) {
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            // The writer's connection must be the last one: only it can fold the log back into the database.
            if let Ok(mut idle) = self.readers.idle.lock() {
                idle.clear();
            }
            // A send can only fail once the thread is gone, which is what is wanted.
            let _ = self.queue.send(Request::Close);
            self.writer.unpark();
            let _ = thread.join();
        }
    }

    async fn write_and_wait(&self, write: Write) -> Result<Written, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Request::Write { write, reply: Some(reply) }).map_err(|e| match e {
            TrySendError::Full(_) => StoreError::Full,
            TrySendError::Disconnected(_) => StoreError::Closed,
        })?;
        self.writer.unpark();
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Does a change, all or nothing, and gives its answer once it is on disk. Changes are done one after the other: what one
    /// looks at, no other changes meanwhile.
    async fn change<T: Send + 'static>(
        &self,
        change: impl Fn(&Connection) -> rusqlite::Result<T> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        match self.write_and_wait(Write::Change(Change::new(change))).await? {
            Written::Changed(answer) => {
                Ok(*answer.downcast().expect("a change answers with what it is made for"))
            }
            _ => Err(StoreError::Closed),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _turn = self.readers.turns.acquire().await.map_err(|_| StoreError::Closed)?;
        let idle = self.readers.idle.lock().ok().and_then(|mut idle| idle.pop());
        let path = self.readers.path.clone();
        let work = move || -> Result<(T, Connection), StoreError> {
            let connection = match idle {
                Some(connection) => connection,
                None => open_reader(&path)?,
            };
            Ok((query(&connection)?, connection))
        };
        let (answer, connection) =
            tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)??;
        if let Ok(mut idle) = self.readers.idle.lock() {
            idle.push(connection);
        }
        Ok(answer)
    }
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    turns: Semaphore,
}

/// Makes the folder if need be, and locks it: two servers in one folder would close each other's calls.
fn open_folder(dir: &Path) -> Result<std::fs::File, StoreError> {
    let failed = |what: String| StoreError::Folder { path: dir.to_path_buf(), what };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(dir)
        .map_err(|e| failed(format!("it cannot be made ({e}); choose another with --data-dir")))?;
    let lock = std::fs::File::create(dir.join("offhook.lock"))
        .map_err(|e| failed(format!("it cannot be written to ({e}); choose another with --data-dir")))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(failed(
            "another offhook uses it; stop that one, or choose another folder with --data-dir".into(),
        )),
        Err(std::fs::TryLockError::Error(e)) => Err(failed(format!("it cannot be locked ({e})"))),
    }
}

/// Opens the database to write to, brings it to this version, and proves that it can be written to.
fn open_database(path: &Path) -> Result<Connection, StoreError> {
    let failed = |e: rusqlite::Error| StoreError::Open { path: path.to_path_buf(), what: advice(&e) };
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Who writes comes back to the last pages of each table: half a megabyte holds those.
    // In WAL mode, NORMAL survives the death of the process; only a power cut can take the last commits.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;
             PRAGMA cache_size = -512;
             PRAGMA foreign_keys = ON;
             PRAGMA busy_timeout = 5000;",
        )
        .map_err(failed)?;
    migrations::run(&mut connection)
        .map_err(|e| StoreError::Open { path: path.to_path_buf(), what: e.to_string() })?;
    Ok(connection)
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA busy_timeout = 5000; PRAGMA query_only = ON;")?;
    Ok(connection)
}

/// What a failure at the start means, and what to do about it.
fn advice(error: &rusqlite::Error) -> String {
    use rusqlite::ErrorCode::*;
    let help = match error.sqlite_error_code() {
        Some(DiskFull) => "the disk is full; free some space, or choose another folder with --data-dir",
        Some(ReadOnly | PermissionDenied | CannotOpen) => {
            "it cannot be written to; check its owner and mode, or choose another folder with --data-dir"
        }
        Some(DatabaseCorrupt | NotADatabase) => {
            "it is damaged or no database; put it aside (and restore a backup) to start with an empty one"
        }
        Some(DatabaseBusy | DatabaseLocked) => "another program holds it; end that one",
        _ => "choose another folder with --data-dir if this one cannot be repaired",
    };
    format!("{error}; {help}")
}

/// Opens and closes the database as a start would, for `offhook doctor`. Fails while a server runs on it.
pub fn check(data_dir: &Path) -> Result<(), StoreError> {
    let _lock = open_folder(data_dir)?;
    open_database(&data_dir.join("offhook.db")).map(drop)
}
