//! The calls that are announced or running: who may open a media socket, and what of a call is written down.
//!
//! A webhook announces a call and gets a token, which the carrier repeats in the first message of the call's media
//! socket. A token is bound to the carrier's name of the call, lives for [`TOKEN_LIFE`], and is burnt by its first use.
//! So a media socket is let in only for a call that a (signature-checked) webhook told of, and once per announcement.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use offhook_engine::call::{Command, EndReason, Event, EventKind, Speaker};
use offhook_engine::{CallHandle, CallId, CallSink, Finished};
use uuid::Uuid;

use super::call::{
    Announcement, CallStatus, NO_MEDIA, OnLine, ReportOutcome, StatusReport, TurnRecord,
    terminal_carrier_status,
};
use super::time::UnixMs;
use crate::store::{Store, StoreError, Unwritten, Write};

/// How long a token opens a media socket. Carriers connect within a second of the webhook's answer.
pub const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// Media that did not come this long after its announcement is not worth waiting for.
const SOON: Duration = Duration::from_secs(5);

/// How many tokens may be out at once, so that a flood of webhooks cannot fill the memory.
const TOKENS_MAX: usize = 50_000;

/// How long the engine's writer may wait for room in the store's queue before an entry is given up. One such wait, then
/// none until there is room again: a stuck disk must not slow down all journals.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a webhook says of a new call.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Who carries it: `twilio`.
    pub carrier: &'static str,
    /// The carrier's name for it.
    pub carrier_call_id: String,
    /// The caller's number; empty if unknown.
    pub from: String,
    /// The number that was called; empty if unknown.
    pub to: String,
    /// The carrier's word; `inbound` if empty.
    pub direction: String,
    /// What its agent goes through.
    pub scenario: Arc<str>,
    /// The line that it came in on, if it is somebody's.
    pub on_line: Option<OnLine>,
}

/// A call that may have its media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Our name for it.
    pub call: CallId,
    /// What its agent goes through.
    pub scenario: Arc<str>,
    /// The line that it is on, if it is somebody's.
    pub line: Option<String>,
}

impl Admitted {
    /// A call that is not known yet.
    fn fresh(incoming: &Incoming) -> Self {
        let line = incoming.on_line.as_ref().map(|on| on.line.clone());
        Self { call: new_call_id(), scenario: incoming.scenario.clone(), line }
    }
}

/// Why a media socket is not let in. Displays as the reason in the close frame, so at most 123 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The first message has no token.
    #[error("start has no token: only calls that the webhook announced are let in (OFFHOOK_MEDIA_AUTH)")]
    NoToken,
    /// The token is none of ours.
    #[error("the token is not known")]
    UnknownToken,
    /// The token is for another call.
    #[error("the token was given to another call")]
    OtherCall,
    /// The token was used before.
    #[error("the token was used before: it opens one socket")]
    UsedToken,
    /// The token is too old.
    #[error("the token is older than 60 s")]
    ExpiredToken,
    /// No webhook told of this call, or too long ago, or of another line's.
    #[error(
        "the call was not announced within 60 s: only calls that the webhook announced are let in (OFFHOOK_MEDIA_AUTH)"
    )]
    NotAnnounced,
    /// The line is gone.
    #[error("there is no such line")]
    UnknownLine,
    /// The line takes no calls.
    #[error("the line is switched off")]
    LineOff,
    /// The line has nothing to spend.
    #[error("the line has no balance")]
    NoBalance,
}

/// Why no further call is taken. Displays as a word for records and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// The server is about to stop.
    #[error("draining")]
    Draining,
    /// As many calls run as may.
    #[error("{0} calls run, which is the most that are taken")]
    Full(usize),
    /// The media threads are late: one more call would be at the cost of all.
    #[error("overloaded, frames are {0} ms late")]
    Overloaded(u64),
    /// Journals and recordings are not written as fast as calls make them: one more would cost all of them records.
    #[error("overloaded, journals and recordings are written too slowly")]
    Behind,
}

/// No calls are taken while journals and recordings are further behind than this, of 1: four seconds of a disk that hangs under
/// 500 calls.
const BACKLOG_MAX: f64 = 0.5;

impl Busy {
    /// Whether the engine can take one more call. `late`: 99 of 100 frames are no later. `backlog`: how full the way to the
    /// writer of records is, from 0 to 1. `most`: how late frames may be; zero if no call is refused for any of this.
    pub fn judge(late: Duration, backlog: f64, most: Duration) -> Result<(), Self> {
        if most.is_zero() {
            Ok(())
        } else if late > most {
            Err(Self::Overloaded(late.as_millis() as u64))
        } else if backlog > BACKLOG_MAX {
            Err(Self::Behind)
        } else {
            Ok(())
        }
    }
}

/// Why a call could not be announced.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// Too many announced calls wait for their media.
    #[error("too many announced calls wait for their media")]
    TooMany,
}

/// All calls that are announced or running.
#[derive(Debug)]
pub struct Calls {
    store: Arc<Store>,
    data_dir: PathBuf,
    /// What the agents of calls go through that nobody announced.
    scenario: Arc<str>,
    /// The address of the user whose calls those are that are on nobody's line.
    owner_email: Option<Arc<str>>,
    live: Mutex<Live>,
    store_is_stuck: AtomicBool,
    entries_lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Live {
    tokens: HashMap<String, Token>,
    /// Announced calls without media, by the carrier's name.
    announced: HashMap<String, Admitted>,
    /// Calls whose media we went for ourselves, by the carrier's name, until they are over.
    fetched: HashMap<String, CallId>,
    running: HashMap<CallId, Running>,
}

#[derive(Debug)]
struct Token {
    call: CallId,
    carrier_call_id: String,
    expires: Instant,
    used: bool,
}

#[derive(Debug, Default)]
struct Running {
    handle: Option<CallHandle>,
    entries_lost: u64,
    /// Said as the last thing: once it was heard, the call is over.
    farewell: Option<String>,
    /// Its record was taken out while it ran.
    forgotten: bool,
}

impl Calls {
    /// No calls yet. `scenario` is what the agents of calls go through that nobody announced.
    pub fn new(store: Arc<Store>, data_dir: &Path, scenario: &str) -> Self {
        Self {
            store,
            data_dir: data_dir.to_path_buf(),
            scenario: scenario.into(),
            owner_email: None,
            live: Mutex::default(),
            store_is_stuck: AtomicBool::new(false),
            entries_lost: AtomicU64::new(0),
        }
    }

    /// The same, where the calls on nobody's line are those of the user with this address.
    #[must_use]
    pub fn with_owner(self, email: Option<&str>) -> Self {
        Self { owner_email: email.map(Into::into), ..self }
    }

    /// A webhook tells of a call: writes it down and returns its name and a token for its media socket.
    ///
    /// Told again of a call that still has no media, returns the same name and one more token, for a carrier that asks
    /// twice may use either answer. Told of a call whose media we went for, returns its name, and a token that opens nothing. A store that takes no writes does not stop a call: that is logged, and it goes on.
    pub async fn announce(
        &self,
        incoming: Incoming,
        now: Instant,
        at: UnixMs,
    ) -> Result<(CallId, String), AnnounceError> {
        let token = Uuid::new_v4().simple().to_string();
        let carrier_call_id = incoming.carrier_call_id.clone();
        let call = {
            let mut live = self.live();
            if let Some(call) = live.fetched.get(&carrier_call_id) {
                return Ok((call.clone(), token));
            }
            if live.tokens.len() >= TOKENS_MAX {
                live.tokens.retain(|_, token| token.expires > now);
            }
            if live.tokens.len() >= TOKENS_MAX {
                return Err(AnnounceError::TooMany);
            }
            let line = incoming.on_line.as_ref().map(|on| on.line.clone());
            let known = live.announced.get(&carrier_call_id).filter(|known| known.line == line);
            let call = known.map_or_else(new_call_id, |known| known.call.clone());
            let admitted = Admitted { call: call.clone(), scenario: incoming.scenario.clone(), line };
            live.announced.insert(carrier_call_id.clone(), admitted);
            let expires = now + TOKEN_LIFE;
            live.tokens
                .insert(token.clone(), Token { call: call.clone(), carrier_call_id, expires, used: false });
            call
        };
        let announcement = self.announcement(&call, incoming, at);
        if let Err(error) = self.store.announce(announcement).await {
            tracing::error!(call_id = %call, %error, "a call was announced and could not be written down yet");
        }
        Ok((call, token))
    }

    fn announcement(&self, call: &CallId, incoming: Incoming, at: UnixMs) -> Announcement {
        let Incoming { carrier, carrier_call_id, from, to, direction, scenario, on_line } = incoming;
        Announcement {
            call: call.clone(),
            carrier,
            carrier_call_id,
            from,
            to,
            direction: if direction.is_empty() { "inbound".into() } else { direction },
            scenario: scenario.to_string(),
            on_line: on_line.map(Box::new),
            owner_email: self.owner_email.clone(),
            at,
        }
    }

    /// A media socket asks to be let in for the call of this carrier's name. Burns the token, and names the call.
    pub fn admit(
        &self,
        carrier_call_id: &str,
        token: Option<&str>,
        now: Instant,
    ) -> Result<Admitted, Refusal> {
        let mut live = self.live();
        let token = token.ok_or(Refusal::NoToken)?;
        // 122 random bits are looked up by hash: what timing can tell of them is no use within a token's life.
        let known = live.tokens.get_mut(token).ok_or(Refusal::UnknownToken)?;
        if known.carrier_call_id != carrier_call_id {
            return Err(Refusal::OtherCall);
        }
        if known.used {
            return Err(Refusal::UsedToken);
        }
        if known.expires <= now {
            return Err(Refusal::ExpiredToken);
        }
        let call = known.call.clone();
        // A carrier that asked twice got two tokens: the first one used burns both.
        live.tokens.values_mut().filter(|other| other.call == call).for_each(|token| token.used = true);
        // A carrier may be sent on to another system here, which announces a call of its own.
        let is_its = live.announced.get(carrier_call_id).is_some_and(|announced| announced.call == call);
        let announced = if is_its { live.announced.remove(carrier_call_id) } else { None };
        Ok(announced.unwrap_or_else(|| Admitted { call, scenario: self.scenario.clone(), line: None }))
    }

    /// As [`Calls::admit`], where the socket's path names the line: that, and the carrier's name of the call, which nobody else
    /// knows, stand for the token.
    pub fn admit_on_line(
        &self,
        carrier_call_id: &str,
        line: &str,
        now: Instant,
    ) -> Result<Admitted, Refusal> {
        let mut live = self.live();
        let Live { tokens, announced, .. } = &mut *live;
        let known = announced.get(carrier_call_id).filter(|known| known.line.as_deref() == Some(line));
        let known = known.ok_or(Refusal::NotAnnounced)?.clone();
        let waits = |token: &&mut Token| token.call == known.call && !token.used && token.expires > now;
        if tokens.values_mut().filter(waits).map(|token| token.used = true).count() == 0 {
            return Err(Refusal::NotAnnounced);
        }
        announced.remove(carrier_call_id);
        Ok(known)
    }

    /// As [`Calls::admit`] where anyone is let in: a call that nobody announced is written down here.
    /// `on_line`: the line that its socket asked for.
    pub async fn admit_anyone(&self, carrier_call_id: &str, on_line: Option<OnLine>, at: UnixMs) -> Admitted {
        let incoming = Incoming {
            carrier: "twilio",
            carrier_call_id: carrier_call_id.into(),
            from: on_line
                .as_ref()
                .and_then(|on| on.caller.as_ref())
                .map(ToString::to_string)
                .unwrap_or_default(),
            to: String::new(),
            direction: String::new(),
            scenario: self.scenario.clone(),
            on_line,
        };
        let (admitted, known) = self.live().take_announced(carrier_call_id, Admitted::fresh(&incoming));
        self.written_down(admitted, known, incoming, at).await
    }

    /// A call's media is here without its having to be let in, since we went for it. What a webhook announced is that call, and
    /// what a webhook announces later; one that nobody announced is written down here.
    pub async fn fetched(&self, incoming: Incoming, at: UnixMs) -> Admitted {
        let fresh = Admitted::fresh(&incoming);
        let (admitted, known) = {
            let mut live = self.live();
            let taken = live.take_announced(&incoming.carrier_call_id, fresh);
            live.fetched.insert(incoming.carrier_call_id.clone(), taken.0.call.clone());
            taken
        };
        self.written_down(admitted, known, incoming, at).await
    }

    async fn written_down(
        &self,
        admitted: Admitted,
        known: bool,
        incoming: Incoming,
        at: UnixMs,
    ) -> Admitted {
        let call = &admitted.call;
        if !known && let Err(error) = self.store.announce(self.announcement(call, incoming, at)).await {
            tracing::error!(call_id = %call, %error, "a call could not be written down yet");
        }
        admitted
    }

    /// A call that is told of and not taken: its record says why, and it is over.
    pub async fn refuse(&self, incoming: Incoming, why: &str, at: UnixMs) {
        let call = new_call_id();
        if let Err(error) = self.store.announce(self.announcement(&call, incoming, at)).await {
            tracing::error!(call_id = %call, %error, "a refused call could not be written down yet");
        }
        self.pass(Write::Finished {
            call,
            status: CallStatus::Busy,
            reason: format!("refused: {why}"),
            duration_ms: None,
            at,
            recording: None,
            journal: None,
        });
    }

    /// A call's media is about to be handed over: writes it down as answered, and expects events of it.
    pub fn answered(&self, call: &CallId, stream_id: &str, at: UnixMs) {
        self.live().running.insert(call.clone(), Running::default());
        self.pass(Write::Answered { call: call.clone(), stream_id: stream_id.into(), at });
    }

    /// The engine took a call on: from here on it can be told things.
    pub fn took_on(&self, call: &CallId, handle: CallHandle) {
        if let Some(running) = self.live().running.get_mut(call) {
            running.handle = Some(handle);
        }
    }

    /// The engine did not take a call on.
    pub fn not_taken(&self, call: &CallId, at: UnixMs) {
        self.live().forget(call);
        self.pass(Write::Finished {
            call: call.clone(),
            status: CallStatus::Failed,
            reason: EndReason::EngineFault.as_str().into(),
            duration_ms: Some(0),
            at,
            recording: None,
            journal: None,
        });
    }

    /// A carrier reports a call's status. A terminal one also ends the media of a call that still has some: behind some
    /// proxies a socket's end never reaches us.
    pub async fn report(&self, report: StatusReport) -> Result<ReportOutcome, StoreError> {
        let terminal = terminal_carrier_status(&report.status).is_some();
        let carrier_call_id = report.carrier_call_id.clone();
        let outcome = self.store.report(report).await?;
        match &outcome {
            ReportOutcome::Ended(call) => {
                let mut live = self.live();
                if live.announced.get(&carrier_call_id).is_some_and(|announced| announced.call == *call) {
                    live.announced.remove(&carrier_call_id);
                }
                live.tokens.values_mut().filter(|token| token.call == *call).for_each(|t| t.used = true);
            }
            ReportOutcome::Recorded(call) if terminal => {
                self.hang_up(call, EndReason::CallerHangup);
            }
            _ => {}
        }
        Ok(outcome)
    }

    /// Ends a running call. False if it does not run.
    pub fn hang_up(&self, call: &CallId, reason: EndReason) -> bool {
        let handle = self.live().running.get(call).and_then(|running| running.handle.clone());
        handle.is_some_and(|handle| handle.command(Command::HangUp { reason }).is_ok())
    }

    /// Has the agent of a running call say goodbye, and ends the call once that was heard. False if it does not run.
    pub fn say_goodbye(&self, call: &CallId, farewell: &str) -> bool {
        let mut live = self.live();
        let Some(running) = live.running.get_mut(call) else { return false };
        running.farewell = Some(farewell.to_owned());
        let handle = running.handle.clone();
        drop(live);
        handle.is_some_and(|handle| handle.command(Command::Say { text: farewell }).is_ok())
    }

    /// True while the call has media.
    pub fn is_running(&self, call: &CallId) -> bool {
        self.live().running.contains_key(call)
    }

    /// The records of these calls were taken out: ends those that run, and removes the files of all.
    pub fn forget(&self, calls: &[CallId]) {
        for call in calls {
            let runs = match self.live().running.get_mut(call) {
                Some(running) => {
                    running.forgotten = true;
                    true
                }
                None => false,
            };
            if runs {
                self.hang_up(call, EndReason::Operator);
            } else {
                self.remove_files(call);
            }
        }
    }

    fn remove_files(&self, call: &CallId) {
        for file in [format!("recordings/{call}.wav"), format!("journals/{call}.journal")] {
            match std::fs::remove_file(self.data_dir.join(&file)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::error!(call_id = %call, file, %error, "a file of a removed call stays");
                }
                _ => {}
            }
        }
    }

    /// How many calls have media.
    pub fn running(&self) -> usize {
        self.live().running.len()
    }

    /// How many calls have media or may have it any moment: running ones and announced ones.
    pub fn expected(&self) -> usize {
        let live = self.live();
        live.running.len() + live.announced.len()
    }

    /// How many calls a server that stops should wait for: running ones, and those announced so lately that their media may
    /// be under way.
    pub fn unfinished(&self, now: Instant) -> usize {
        let live = self.live();
        let lately = |token: &&Token| !token.used && token.expires + SOON > now + TOKEN_LIFE;
        live.running.len() + live.tokens.values().filter(lately).count()
    }

    /// Timeline entries that were lost since the start, of all calls, because the store could not keep up.
    pub fn entries_lost(&self) -> u64 {
        self.entries_lost.load(Ordering::Relaxed)
    }

    /// Forgets tokens that are too old, and closes the records of announced calls whose media never came.
    pub fn expire(&self, now: Instant, at: UnixMs) {
        let mut gone = Vec::new();
        {
            let mut live = self.live();
            live.tokens.retain(|_, token| token.expires > now);
            let Live { tokens, announced, .. } = &mut *live;
            let awaited: HashSet<&CallId> = tokens.values().map(|token| &token.call).collect();
            announced.retain(|_, announced| {
                let waits = awaited.contains(&announced.call);
                if !waits {
                    gone.push(announced.call.clone());
                }
                waits
            });
        }
        for call in gone {
            tracing::warn!(call_id = %call, "a call was announced, and its media never came");
            self.pass(Write::Finished {
                call,
                status: CallStatus::Failed,
                reason: NO_MEDIA.into(),
                duration_ms: None,
                at,
                recording: None,
                journal: None,
            });
        }
    }

    /// Passes a write to the store without waiting. What does not fit is logged: it is rare, and vital.
    fn pass(&self, write: Write) {
        if let Err(unwritten) = self.store.pass(write) {
            let Unwritten { write, error } = *unwritten;
            tracing::error!(%error, ?write, "a write is lost");
        }
    }

    /// As [`Calls::pass`], from the engine's writer thread, which may wait a little. A timeline entry that does not fit
    /// is counted on its call; the count is written when the call ends.
    fn pass_from_engine(&self, call: &CallId, write: Write) {
        let patience = if self.store_is_stuck.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
        match self.store.pass_patiently(write, patience) {
            Ok(()) => self.store_is_stuck.store(false, Ordering::Relaxed),
            Err(unwritten) => {
                let Unwritten { write, error } = *unwritten;
                if !self.store_is_stuck.swap(true, Ordering::Relaxed) {
                    tracing::error!(call_id = %call, %error, "timeline entries are lost");
                }
                if write.may_be_dropped() {
                    self.entries_lost.fetch_add(1, Ordering::Relaxed);
                    if let Some(running) = self.live().running.get_mut(call) {
                        running.entries_lost += 1;
                    }
                } else {
                    tracing::error!(call_id = %call, %error, ?write, "a write is lost");
                }
            }
        }
    }

    /// A file as it stands in records: under the data folder, which may be moved.
    fn file(&self, path: &Path) -> String {
        path.strip_prefix(&self.data_dir).unwrap_or(path).to_string_lossy().into_owned()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // Every change under this lock is a single step, so what a panicking thread left behind is whole.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// The announced call of this carrier's name, whose tokens are burnt by this, or the `fresh` one; true if it was announced.
    fn take_announced(&mut self, carrier_call_id: &str, fresh: Admitted) -> (Admitted, bool) {
        let known = self.announced.remove(carrier_call_id).filter(|known| known.line == fresh.line);
        let Some(known) = known else { return (fresh, false) };
        let tokens = self.tokens.values_mut().filter(|token| token.call == known.call);
        tokens.for_each(|token| token.used = true);
        (known, true)
    }

    /// The call is over, or was not taken on.
    fn forget(&mut self, call: &CallId) -> Option<Running> {
        self.fetched.retain(|_, fetched| fetched != call);
        self.running.remove(call)
    }
}

impl CallSink for Calls {
    fn on_event(&self, call: &CallId, event: &Event) {
        match &event.kind {
            EventKind::Turn(turn) => {
                let turn = TurnRecord {
                    turn: turn.turn.0,
                    speaker: turn.speaker,
                    started_ms: turn.started.as_millis(),
                    ended_ms: turn.ended.as_millis(),
                    text: turn.text.clone(),
                    unheard: turn.unheard.clone(),
                    by: turn.by,
                    response_ms: turn.response_ms,
                };
                let said_goodbye = turn.speaker == Speaker::Agent
                    && self.live().running.get(call).is_some_and(|running| {
                        running.farewell.as_ref().is_some_and(|farewell| turn.text.contains(farewell))
                    });
                self.pass_from_engine(call, Write::Turn { call: call.clone(), turn });
                if said_goodbye {
                    self.hang_up(call, EndReason::AgentHangup);
                }
            }
            EventKind::Recorded { key, value } => {
                let write = Write::Answer { call: call.clone(), name: key.clone(), value: value.clone() };
                self.pass_from_engine(call, write);
            }
            _ => {}
        }
        let (kind, data) = kind_and_data(&event.kind);
        let write = Write::Event { call: call.clone(), at_us: event.at.as_micros(), kind, data };
        self.pass_from_engine(call, write);
    }

    fn on_finished(&self, call: &CallId, finished: &Finished) {
        let running = self.live().forget(call).unwrap_or_default();
        tracing::info!(
            call_id = %call, reason = finished.reason.as_str(), duration_ms = finished.duration_ms, "call ended"
        );
        self.pass_from_engine(
            call,
            Write::Finished {
                call: call.clone(),
                status: status_of(finished.reason),
                reason: finished.reason.as_str().into(),
                duration_ms: Some(finished.duration_ms),
                at: UnixMs::now(),
                recording: finished.recording.as_deref().map(|path| self.file(path)),
                journal: finished.journal.as_deref().map(|path| self.file(path)),
            },
        );
        if running.forgotten {
            return self.remove_files(call);
        }
        if running.entries_lost > 0 {
            let write =
                Write::Loss { call: call.clone(), note: String::new(), entries: running.entries_lost };
            self.pass_from_engine(call, write);
        }
    }

    fn on_loss(&self, call: &CallId, what: &str) {
        tracing::error!(call_id = %call, what, "part of a call could not be kept");
        self.pass_from_engine(
            call,
            Write::Loss { call: call.clone(), note: what.replace('\n', " "), entries: 0 },
        );
    }
}

/// Where a call that had media stands after its end.
pub(super) fn status_of(reason: EndReason) -> CallStatus {
    match reason {
        EndReason::AgentHangup | EndReason::CallerHangup | EndReason::Operator | EndReason::Shutdown => {
            CallStatus::Completed
        }
        EndReason::LegLost
        | EndReason::MediaTimeout
        | EndReason::UnsupportedMedia
        | EndReason::ProtocolError
        | EndReason::AgentFailed
        | EndReason::EngineFault
        | EndReason::EngineRestarted => CallStatus::Failed,
    }
}

/// An event's name, and the JSON object of its numbers and texts.
fn kind_and_data(kind: &EventKind) -> (String, String) {
    use serde_json::Value;
    match serde_json::to_value(kind) {
        Ok(Value::String(name)) => (name, "{}".into()),
        Ok(Value::Object(fields)) => {
            fields.into_iter().next().map_or_else(Default::default, |(name, data)| (name, data.to_string()))
        }
        Ok(_) | Err(_) => ("unprintable".into(), "{}".into()),
    }
}

fn new_call_id() -> CallId {
    CallId::new(&Uuid::now_v7().to_string()).expect("a UUID is 36 hexadecimal digits and dashes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use offhook_engine::call::{By, CallTime, Turn, TurnId};

    struct Fixture {
        calls: Calls,
        store: Arc<Store>,
        _dir: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
        Fixture { calls: Calls::new(store.clone(), dir.path(), "s"), store, _dir: dir }
    }

    #[test]
    fn no_call_is_taken_while_frames_are_late_or_records_are_about_to_be_lost() {
        let ms = Duration::from_millis;
        assert_eq!(Busy::judge(ms(50), BACKLOG_MAX, ms(50)), Ok(()));
        assert_eq!(Busy::judge(ms(51), 0.0, ms(50)), Err(Busy::Overloaded(51)));
        assert_eq!(Busy::judge(ms(0), 0.51, ms(50)), Err(Busy::Behind));
        assert_eq!(Busy::judge(ms(500), 1.0, ms(0)), Ok(()), "nobody wants it judged");
    }

    #[tokio::test]
    async fn a_server_that_stops_waits_for_media_that_may_be_under_way_and_not_for_ever() {
        let fixture = fixture();
        let calls = &fixture.calls;
        let now = Instant::now();
        calls.announce(incoming("CA1"), now, UnixMs(1)).await.unwrap();
        assert_eq!((calls.unfinished(now), calls.expected()), (1, 1));
        assert_eq!((calls.unfinished(now + SOON), calls.expected()), (0, 1));
    }

    fn incoming(sid: &str) -> Incoming {
        Incoming {
            carrier: "twilio",
            carrier_call_id: sid.into(),
            from: String::new(),
            to: String::new(),
            direction: String::new(),
            scenario: "s".into(),
            on_line: None,
        }
    }

    #[tokio::test]
    async fn a_token_opens_one_socket_of_its_own_call_within_a_minute() {
        let fixture = fixture();
        let calls = &fixture.calls;
        let now = Instant::now();
        let (call, token) = calls.announce(incoming("CA1"), now, UnixMs(1)).await.unwrap();
        assert_eq!(calls.admit("CA1", None, now), Err(Refusal::NoToken));
        assert_eq!(calls.admit("CA1", Some("guess"), now), Err(Refusal::UnknownToken));
        assert_eq!(calls.admit("CA2", Some(&token), now), Err(Refusal::OtherCall));
        assert_eq!(calls.admit("CA1", Some(&token), now + TOKEN_LIFE), Err(Refusal::ExpiredToken));
        let in_time = now + TOKEN_LIFE - Duration::from_millis(1);
        assert_eq!(calls.admit("CA1", Some(&token), in_time).map(|a| a.call), Ok(call));
        assert_eq!(calls.admit("CA1", Some(&token), in_time), Err(Refusal::UsedToken));
    }

    #[tokio::test]
    async fn a_socket_of_a_line_is_let_in_once_for_a_call_that_was_announced_on_it() {
        let fixture = fixture();
        let calls = &fixture.calls;
        let now = Instant::now();
        let on = |line: &str| Some(OnLine { line: line.into(), caller: None });
        let (call, _) =
            calls.announce(Incoming { on_line: on("l1"), ..incoming("CA1") }, now, UnixMs(1)).await.unwrap();
        assert_eq!(calls.admit_on_line("CA2", "l1", now), Err(Refusal::NotAnnounced));
        assert_eq!(calls.admit_on_line("CA1", "l2", now), Err(Refusal::NotAnnounced), "another line's");
        assert_eq!(calls.admit_on_line("CA1", "l1", now + TOKEN_LIFE), Err(Refusal::NotAnnounced));
        let admitted = calls.admit_on_line("CA1", "l1", now).unwrap();
        assert_eq!((admitted.call, admitted.line.as_deref()), (call, Some("l1")));
        assert_eq!(calls.admit_on_line("CA1", "l1", now), Err(Refusal::NotAnnounced), "once");
        calls.announce(incoming("CA3"), now, UnixMs(1)).await.unwrap();
        assert_eq!(calls.admit_on_line("CA3", "l1", now), Err(Refusal::NotAnnounced), "it is on no line");
        let (on_it, _) =
            calls.announce(Incoming { on_line: on("l1"), ..incoming("CA3") }, now, UnixMs(2)).await.unwrap();
        assert_eq!(calls.admit_on_line("CA3", "l1", now).map(|admitted| admitted.call), Ok(on_it));
    }

    #[tokio::test]
    async fn a_webhook_that_comes_twice_names_one_call_and_either_answer_works_once() {
        let fixture = fixture();
        let (calls, store) = (&fixture.calls, &fixture.store);
        let now = Instant::now();
        let (first, one) = calls.announce(incoming("CA1"), now, UnixMs(1)).await.unwrap();
        let (second, other) = calls.announce(incoming("CA1"), now, UnixMs(2)).await.unwrap();
        assert_eq!(first, second);
        assert_eq!(calls.admit("CA1", Some(&other), now).map(|a| a.call), Ok(first));
        assert_eq!(calls.admit("CA1", Some(&one), now), Err(Refusal::UsedToken));
        assert_eq!(store.calls(9, None).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_same_carriers_name_after_its_media_came_is_another_call() {
        let fixture = fixture();
        let calls = &fixture.calls;
        let now = Instant::now();
        let (first, token) = calls.announce(incoming("CA1"), now, UnixMs(1)).await.unwrap();
        calls.admit("CA1", Some(&token), now).unwrap();
        let (second, _) = calls.announce(incoming("CA1"), now, UnixMs(2)).await.unwrap();
        assert_ne!(first, second);
    }

    #[tokio::test]
    async fn an_announced_call_whose_media_never_came_is_closed() {
        let fixture = fixture();
        let (calls, store) = (&fixture.calls, &fixture.store);
        let now = Instant::now();
        let (call, _) = calls.announce(incoming("CA1"), now, UnixMs(1)).await.unwrap();
        calls.expire(now, UnixMs(2));
        calls.expire(now + TOKEN_LIFE, UnixMs(3));
        // Awaiting a later write proves that the earlier one is committed.
        calls.announce(incoming("CA2"), now, UnixMs(4)).await.unwrap();
        let record = store.record(call.as_str()).await.unwrap().unwrap();
        assert_eq!(record.end_reason.as_deref(), Some(NO_MEDIA));
        assert_eq!(record.ended, Some(UnixMs(3)));
    }

    #[tokio::test]
    async fn a_terminal_report_burns_the_token_of_a_call_without_media() {
        let fixture = fixture();
        let calls = &fixture.calls;
        let now = Instant::now();
        let (call, token) = calls.announce(incoming("CA1"), now, UnixMs(1)).await.unwrap();
        let report = StatusReport {
            carrier_call_id: "CA1".into(),
            status: "canceled".into(),
            sequence: None,
            duration_s: None,
            at: UnixMs(2),
        };
        assert_eq!(calls.report(report).await.unwrap(), ReportOutcome::Ended(call));
        assert_eq!(calls.admit("CA1", Some(&token), now), Err(Refusal::UsedToken));
    }

    #[tokio::test]
    async fn anyone_let_in_gets_a_record_and_an_announced_call_keeps_its_own() {
        let fixture = fixture();
        let (calls, store) = (&fixture.calls, &fixture.store);
        let stranger = calls.admit_anyone("CA1", None, UnixMs(1)).await.call;
        assert_eq!(store.record("CA1").await.unwrap().unwrap().call, stranger);
        let now = Instant::now();
        let (announced, token) = calls.announce(incoming("CA2"), now, UnixMs(1)).await.unwrap();
        assert_eq!(calls.admit_anyone("CA2", None, UnixMs(1)).await.call, announced);
        assert_eq!(calls.admit("CA2", Some(&token), now), Err(Refusal::UsedToken));
    }

    #[tokio::test]
    async fn what_the_engine_tells_is_written_down() {
        let fixture = fixture();
        let (calls, store) = (&fixture.calls, &fixture.store);
        let call = calls.admit_anyone("CA1", None, UnixMs(1)).await.call;
        calls.answered(&call, "MZ1", UnixMs(10));
        let at = CallTime::from_millis(5);
        let turn = Turn {
            turn: TurnId(1),
            speaker: Speaker::Agent,
            started: CallTime::ZERO,
            ended: at,
            text: "Hello.".into(),
            unheard: "Who".into(),
            estimated: false,
            by: By::Voice,
            response_ms: Some(3),
        };
        for kind in [
            EventKind::MediaFlows,
            EventKind::Turn(turn),
            EventKind::Recorded { key: "size".into(), value: "5".into() },
        ] {
            calls.on_event(&call, &Event { at, kind });
        }
        calls.on_loss(&call, "the disk\nis full");
        let recording = calls.data_dir.join("recordings/a.wav");
        calls.on_finished(
            &call,
            &Finished {
                reason: EndReason::CallerHangup,
                duration_ms: 7,
                recording: Some(recording),
                journal: None,
            },
        );
        assert_eq!(calls.running(), 0);
        calls.announce(incoming("CA2"), Instant::now(), UnixMs(4)).await.unwrap();
        let whole = store.call(call.as_str()).await.unwrap().unwrap();
        assert_eq!(whole.record.status, CallStatus::Completed);
        assert_eq!(whole.record.end_reason.as_deref(), Some("caller-hangup"));
        assert_eq!(whole.record.recording.as_deref(), Some("recordings/a.wav"));
        assert_eq!(whole.record.loss_notes, "the disk is full\n");
        assert_eq!(whole.turns[0].unheard, "Who");
        assert_eq!(whole.answers, [("size".into(), "5".into())]);
        let kinds: Vec<_> =
            store.timeline(&call, 0, 9).await.unwrap().into_iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, ["media_flows", "turn", "recorded"]);
    }

    #[test]
    fn reasons_fit_into_a_close_frame() {
        for refusal in [
            Refusal::NoToken,
            Refusal::UnknownToken,
            Refusal::OtherCall,
            Refusal::UsedToken,
            Refusal::ExpiredToken,
        ] {
            assert!(refusal.to_string().len() <= 123, "{refusal}");
        }
    }
}
