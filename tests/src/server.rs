//! `offhook serve` as a child process, with a data folder of its own, on a port of its own; and its API.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::soak::Held;

/// A server that is asked to start must answer by then: it loads a dictionary, on a machine that may be busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What is waited for must have happened by then.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often the API is asked again for what is not there yet.
const POLL: Duration = Duration::from_millis(25);

/// Variables that a server reads begin so: a test sets its own.
const SETTINGS: [&str; 14] = [
    "OFFHOOK_",
    "TWILIO_",
    "OTEL_",
    "OPENAI_",
    "DEEPGRAM_",
    "ELEVENLABS_",
    "CARTESIA_",
    "GOOGLE_",
    "STRIPE_",
    "THREECX_",
    "WEBHOOK_",
    "SALESFORCE_",
    "HUBSPOT_",
    "DYNAMICS_",
];

/// How many of the last lines of a server's log are shown when a test fails.
const LOG_LINES: usize = 40;

/// The built binary, beside the test's own executable; built first if it is missing or older than the test.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().expect("a running test has an executable");
        let profile = test.ancestors().nth(2).expect("tests run from target/<profile>/deps").to_path_buf();
        let binary = profile.join(format!("offhook{}", std::env::consts::EXE_SUFFIX));
        let modified =
            |path: &Path| path.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        if modified(&binary) < modified(&test) {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
            cargo.args(["build", "--quiet", "--workspace", "--bins"]);
            cargo.arg("--target-dir").arg(profile.parent().expect("target/<profile> has a parent"));
            if profile.ends_with("release") {
                cargo.arg("--release");
            }
            // What cargo told the test of the test's own package. Build scripts that watch it would run again, and again
            // the next time without it.
            for (name, _) in std::env::vars_os() {
                if name
                    .to_str()
                    .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
                {
                    cargo.env_remove(name);
                }
            }
            let built = cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).status();
            assert!(built.is_ok_and(|status| status.success()), "the binary does not build");
        }
        binary
    })
}

/// Runs `offhook` to its end. `folder`: where it runs, so that it finds no settings file that is not meant for it.
pub fn run(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    // Files rather than pipes, which fill up while nobody reads.
    let file = || tempfile::tempfile().expect("the system has a folder for temporary files");
    let (mut stdout, mut stderr) = (file(), file());
    let to = |file: &File| Stdio::from(file.try_clone().expect("a file can be opened twice"));
    let mut command = command(folder, args, variables);
    let mut child =
        command.stdout(to(&stdout)).stderr(to(&stderr)).spawn().expect("the binary can be started");
    let give_up = std::time::Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            break status;
        }
        if std::time::Instant::now() >= give_up {
            let _ = child.kill();
            let _ = child.wait();
            panic!("offhook {args:?} does not end: {}", String::from_utf8_lossy(&all_of(&mut stderr)));
        }
        std::thread::sleep(POLL);
    };
    Output { status, stdout: all_of(&mut stdout), stderr: all_of(&mut stderr) }
}

fn all_of(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a temporary file can be read");
    bytes
}

fn command(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary());
    let ours = |name: &str| SETTINGS.iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(ours) {
            command.env_remove(name);
        }
    }
    // Tests ask more often than any client; those of the limits switch them on.
    command.env("OFFHOOK_RATE_LIMITS", "off");
    command.args(args).envs(variables.iter().copied()).current_dir(folder).stdin(Stdio::null());
    command
}

/// A signal that a server is told something by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGTERM`: finish, then stop.
    Terminate,
    /// `SIGINT`: stop.
    Interrupt,
}

/// A running server. Killed when it is dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    log: Arc<Mutex<Vec<String>>>,
    data: Arc<TempDir>,
}

/// Speaker and text of each turn of a call's record.
pub fn said(record: &Value) -> Vec<(&str, &str)> {
    let turns = record["turns"].as_array().expect("a record has turns").iter();
    turns
        .map(|turn| (turn["speaker"].as_str().expect("a speaker"), turn["text"].as_str().expect("a text")))
        .collect()
}

impl Server {
    /// Starts a server with flags beside `--listen` and `--data-dir`.
    pub async fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[]).await
    }

    /// Starts a server with flags and environment variables.
    pub async fn start_with(flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let data = Arc::new(tempfile::tempdir().expect("the system has a folder for temporary files"));
        Self::start_on(data, flags, variables).await
    }

    /// Starts a server on the data folder of another that is dead.
    pub async fn start_on(data: Arc<TempDir>, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = data.path().to_str().expect("temporary folders have plain names");
        let args = [&["serve", "--listen", "127.0.0.1:0", "--data-dir", folder], flags].concat();
        let mut child = command(data.path(), &args, variables)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (told, address) = oneshot::channel();
        let stderr = child.stderr.take().expect("stderr is piped");
        std::thread::spawn({
            let log = log.clone();
            move || {
                let mut told = Some(told);
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    if let Some(told) = told.take_if(|_| address_in(&line).is_some()) {
                        let _ = told.send(address_in(&line).expect("it was just found there"));
                    }
                    log.lock().expect("nobody panics with the log").push(line);
                }
            }
        });
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), client, log, data };
        server.address = match timeout(START_TIMEOUT, address).await {
            Ok(Ok(address)) => address,
            _ => panic!("the server did not start"),
        };
        let health = server.get("/health").await;
        assert_eq!(health.status, 200, "{}", health.text());
        server
    }

    /// Its origin: `http://127.0.0.1:…`.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data folder, which stays while anyone holds it.
    pub fn data(&self) -> Arc<TempDir> {
        self.data.clone()
    }

    /// Ends it as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours and was not waited for");
        self.child.wait().expect("it is ours");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Terminate => "-TERM",
            Signal::Interrupt => "-INT",
        };
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{signal:?} cannot be sent");
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status;
            }
            assert!(Instant::now() < give_up, "the server does not end");
            sleep(POLL).await;
        }
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_none()
    }

    /// What it logged so far, line by line.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("nobody panics with the log").clone()
    }

    /// The number of its process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// How much memory it has in use, in bytes: `VmRSS` of Linux.
    pub fn memory_bytes(&self) -> u64 {
        Held::of(self.child.id()).memory_bytes
    }

    /// One request.
    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).expect("tests ask for what can be asked");
        let exchange = async {
            let response = self.client.request(request).await.expect("the server answers");
            let (head, body) = response.into_parts();
            let body = body.collect().await.expect("the answer is complete").to_bytes();
            Answer { status: head.status.as_u16(), headers: head.headers, body }
        };
        timeout(PATIENCE, exchange).await.expect("the server answers in time")
    }

    /// Fetches `path`.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    /// Posts a form that is encoded already.
    pub async fn post_form(&self, path: &str, form: &str) -> Answer {
        self.ask(Method::POST, path, &[FORM], form).await
    }

    /// The record of a call, once `wanted` is true of it.
    pub async fn record_when(&self, call: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(&format!("/v1/calls/{call}")).await;
            let record = if answer.status == 200 { answer.json() } else { Value::Null };
            if wanted(&record) {
                return record;
            }
            assert!(Instant::now() < give_up, "call {call} stays as it is: {record:#}");
            sleep(POLL).await;
        }
    }

    /// The record of a call, once the call is over.
    pub async fn record(&self, call: &str) -> Value {
        self.record_when(call, |record| record["end_reason"].is_string()).await
    }

    /// The timeline of a call: kind and data of each entry, in order.
    pub async fn timeline(&self, call: &str) -> Vec<(String, Value)> {
        let answer = self.get(&format!("/v1/calls/{call}/timeline?limit=10000")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let timeline = answer.json();
        let entries = timeline["events"].as_array().expect("a timeline has events");
        let kind = |entry: &Value| entry["kind"].as_str().expect("an entry has a kind").to_owned();
        entries.iter().map(|entry| (kind(entry), entry["data"].clone())).collect()
    }

    /// The file behind a link of a record.
    pub async fn file(&self, record: &Value, link: &str) -> Bytes {
        let path = record["links"][link].as_str().unwrap_or_else(|| panic!("no {link}: {record:#}"));
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.body
    }

    /// Downloads a call's journal and runs `offhook replay` on it.
    pub async fn replay(&self, record: &Value) -> Output {
        self.replay_with(record, &[]).await
    }

    /// As [`Server::replay`], with more on the command line.
    pub async fn replay_with(&self, record: &Value, args: &[&str]) -> Output {
        let journal = self.file(record, "journal").await;
        let name = format!("{}.downloaded", record["id"].as_str().expect("a call has a name"));
        let folder = self.data.path().to_path_buf();
        std::fs::write(folder.join(&name), &journal).expect("the data folder can be written to");
        let args: Vec<String> = ["replay", &name].iter().chain(args).map(|&arg| arg.to_owned()).collect();
        let replay = move || run(&folder, &args.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        tokio::task::spawn_blocking(replay).await.expect("a replay does not panic")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking()
            && let Ok(log) = self.log.lock()
        {
            let last = &log[log.len().saturating_sub(LOG_LINES)..];
            let _ = writeln!(std::io::stderr(), "the server's last lines:\n  {}", last.join("\n  "));
        }
    }
}

/// The header of a form.
pub const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or("(not text)")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header's value; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The address in the line that a server logs once it answers calls.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("answering calls: webhook http://")?;
    rest.split_once('/')?.0.parse().ok()
}
