//! A caller that is software: plays the carrier's part of a call over real sockets, and measures what a human would hear.
//!
//! [`place`] announces a call as Twilio does, opens the media stream that the server's answer names, says its [`Script`]
//! in turn with the agent (or across it), and comes back with a [`CallReport`]. One call is one task, so that a load test
//! is many of them.
//!
//! | file | is | |
//! |---|---|---|
//! | `webhook.rs`, `twiml.rs`, `token.rs` | the carrier's HTTP side; plain sockets and TLS | |
//! | `carrier.rs` | socket, timer, and the order of a call | the only clock |
//! | `line.rs` | the media stream without its socket | virtual time |
//! | `playout.rs` | what the carrier plays to the caller, and when marks come back | virtual time |
//! | `ear.rs` | from what is heard to the agent's turns | virtual time |
//! | `script.rs` | what the caller says, and when | virtual time |
//! | `voice.rs`, `sound.rs` | texts, files, coughs and noise to audio for the line | |
//! | `report.rs` | what became of a call | |
//! | `scenario.rs` | who calls and what they say, as data files | |
//! | `load/` | many calls at once, by a schedule | the schedule: virtual time |
//! | `record.rs` | what the server wrote down about it | |

pub mod carrier;
pub mod ear;
pub mod line;
pub mod load;
pub mod playout;
pub mod record;
pub mod report;
pub mod scenario;
pub mod script;
pub mod sound;
pub mod time;
pub mod token;
pub mod twiml;
pub mod voice;
pub mod webhook;

use std::path::PathBuf;
use std::time::Duration;

pub use carrier::{Carrier, Stop, new_call_sid, place};
pub use ear::HeardTurn;
pub use line::{Happening, Keep, What};
pub use report::{BargeIn, CallReport, EndedBy, Lateness, LogEntry, LogMessage, Recording};
pub use scenario::{CallerScenario, ScenarioError, Variant};
pub use script::{Item, Manners, Said, Script, Speech, Step};
pub use time::LineTime;
pub use voice::{Surroundings, Voice, prepare};

/// Where a server takes announcements of calls.
pub const INCOMING_PATH: &str = "/api/callbot/incoming-call";

/// Where a server takes word of how calls ended.
pub const STATUS_PATH: &str = "/api/callbot/call-status";

/// One call to place.
#[derive(Clone)]
pub struct CallPlan {
    /// The server's origin: `http://127.0.0.1:8080`.
    pub base: String,
    /// Where it takes announcements of calls. Default [`INCOMING_PATH`].
    pub incoming_path: String,
    /// Where it takes word of how calls ended; none: it is not told. Default [`STATUS_PATH`].
    pub status_path: Option<String>,
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// The carrier's account, `AC` and 32 hex digits.
    pub account_sid: String,
    /// The carrier's name for the call, `CA` and 32 hex digits; none: a fresh one.
    pub call_sid: Option<String>,
    /// Signs webhooks and the media socket, if there is one.
    pub auth_token: Option<String>,
    /// The origin that signatures are made for, where the server knows itself by another than `base`.
    pub public_url: Option<String>,
    /// The token by which a server knows a simulator on its own machine, if it has one.
    pub simulator_token: Option<String>,
    /// Where the media stream is, whatever the server's answer names.
    pub stream_url: Option<String>,
    /// What the caller says.
    pub script: Script,
    /// How the caller behaves.
    pub manners: Manners,
    /// The call ends after this at the latest. Default 2 minutes.
    pub max_duration: Duration,
    /// What is kept for the report. Default: neither recording nor log.
    pub keep: Keep,
}

impl CallPlan {
    /// A call to the server at `base`, all else by default.
    pub fn new(base: impl Into<String>, script: Script) -> Self {
        Self {
            base: base.into(),
            incoming_path: INCOMING_PATH.into(),
            status_path: Some(STATUS_PATH.into()),
            from: "+15005550009".into(),
            to: "+15005550006".into(),
            account_sid: "AC00000000000000000000000000000000".into(),
            call_sid: None,
            auth_token: None,
            public_url: None,
            simulator_token: None,
            stream_url: None,
            script,
            manners: Manners::default(),
            max_duration: Duration::from_secs(120),
            keep: Keep::default(),
        }
    }
}

impl std::fmt::Debug for CallPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallPlan")
            .field("base", &self.base)
            .field("from", &self.from)
            .field("to", &self.to)
            .field("items", &self.script.items.len())
            .field("max_duration", &self.max_duration)
            .finish_non_exhaustive()
    }
}

/// Why no conversation came about. Displays as what happened and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// An address is not one.
    #[error("{url:?} cannot be called: {why}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing listens there.
    #[error("nothing answers at {base}: start the server with `offhook serve`, or name another address")]
    Refused {
        /// The server's address.
        base: String,
    },
    /// The server gave no answer.
    #[error("no answer from {url}: {why}")]
    NoAnswer {
        /// The address.
        url: String,
        /// What happened.
        why: String,
    },
    /// The server answered with an error.
    #[error("{url} answered {status}{}: {}", hint(*.status), excerpt(.body))]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        body: String,
    },
    /// The server's answer is not TwiML.
    #[error("{url} did not answer with TwiML: {source}")]
    Twiml {
        /// The address.
        url: String,
        /// What is wrong.
        source: twiml::TwimlError,
    },
    /// The server does something else with the call.
    #[error("the server opened no media stream; its answer is: {said}")]
    NoStream {
        /// What it does.
        said: String,
    },
    /// The media socket did not open.
    #[error("the media stream at {url} did not open: {why}")]
    Socket {
        /// The address.
        url: String,
        /// What happened.
        why: String,
    },
    /// It was stopped before the stream was open.
    #[error("the call was stopped before it was answered")]
    Stopped,
    /// The caller itself broke down.
    #[error("the caller broke down, which is a bug in offhook: {why}")]
    Broken {
        /// What happened.
        why: String,
    },
    /// A step of the script cannot be made into something to say.
    #[error("{what:?} cannot be said: {why}")]
    Step {
        /// The step, in words.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file cannot be played.
    #[error("{} cannot be played: {why}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl CallerError {
    /// The error without what differs from call to call, so that equal ones can be counted.
    pub fn reason(&self) -> String {
        match self {
            Self::Status { url, status, .. } => format!("{url} answered {status}{}", hint(*status)),
            error => error.to_string(),
        }
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => " (it wants signed calls: give its token with --auth-token or TWILIO_AUTH_TOKEN)",
        404 => " (nothing takes calls there: name the webhook's path with --path)",
        429 => {
            " (too many calls in a short time: start the server with OFFHOOK_RATE_LIMITS=off for a load test, or sign \
             the calls with --auth-token, or give the server's own --data-dir)"
        }
        503 => " (it takes no more calls just now)",
        _ => "",
    }
}

/// The first line or so of what a server said.
fn excerpt(body: &str) -> String {
    let line = body.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.is_empty() => "an empty body".into(),
        None => line,
    }
}
