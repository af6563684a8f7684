//! One call's talk with its session: what the caller says goes there, what the model says comes from there.
//!
//! One response is under way at most: one that nobody wants any more is cancelled, and the next is asked for once it has ended. A
//! session that goes away is opened anew, and told what was said. If that happens while an answer is waited for, it is asked
//! for once more, unless part of it was passed on already: nobody can make the same voice go on in the middle of a word.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use offhook_engine::call::{Failure, UtteranceId};
use offhook_engine::speech::apart::{Report, Reports};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Duplex;
use super::memory::Memory;
use crate::domain::agent::{INTERRUPTED, prompt_with};
use crate::integrations::openai::ToolCall;
use crate::integrations::openai::realtime::{COMMIT, Event, Realtime, Session, message, tool_output};
use crate::integrations::vendor::VendorError;

/// Audio is sent in messages of so much at least, while the caller speaks: 100 ms.
const APPEND: usize = 800;
/// What a caller says in one turn is kept up to this, in case that it must be said again: as long as a turn may be, and more.
const KEPT_MAX: usize = 60 * 8_000;
/// Who goes on so soon after an utterance was over goes on with it.
const GOES_ON: Duration = Duration::from_millis(100);
/// A session that lived so long is opened anew at once when it goes away.
const SETTLED: Duration = Duration::from_secs(10);

/// What the call has its talk do.
pub(super) enum Order {
    /// The caller begins to speak.
    Starts,
    /// The caller speaks: 8 kHz µ-law.
    Audio(Vec<u8>),
    /// The caller's utterance is over.
    Ends(UtteranceId),
    /// The agent is to answer. What was asked before is called off.
    Answer { to: Cause, pieces: mpsc::UnboundedSender<Piece> },
    /// The answer is to go on, now that tools have answered: to the same who waits.
    GoOn(Vec<(ToolCall, String)>),
    /// Nobody wants the rest of the answer.
    Stop,
    /// Of the latest answer, so much was heard.
    Cut { heard: String, samples: u32 },
    /// The call is over.
    Goodbye,
}

/// What an answer is to.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    /// What the caller said, which was heard.
    Speech,
    /// What the caller did, in words.
    Told(String),
    /// An instruction of the house.
    Instructed(String),
}

/// A piece of an answer.
#[derive(Debug)]
pub(super) enum Piece {
    Words(String),
    Audio(Vec<u8>),
    Call(ToolCall),
    /// That was all of it.
    End,
    Failed(VendorError),
}

/// The answer that is waited for, or was given last.
#[derive(Default)]
struct Turn {
    /// Who waits for more of it.
    pieces: Option<mpsc::UnboundedSender<Piece>>,
    cause: Option<Cause>,
    /// The utterance that it answers, and what the caller had said in it.
    utterance: Option<UtteranceId>,
    said: Vec<u8>,
    /// Tools that the model waits for.
    calls: Vec<ToolCall>,
    /// Something of it was passed on.
    begun: bool,
    /// It was asked for a second time.
    again: bool,
    /// What the model spoke in it: items, and their samples.
    spoken: Vec<(String, usize)>,
    words: String,
    /// Words whose audio has not begun.
    ahead: String,
    /// Tokens of its responses that are over.
    tokens: u64,
}

/// A response that the server is at.
struct Live {
    /// Its name, once it is known.
    id: Option<String>,
    is_wanted: bool,
    /// The share of it that was heard, if it is not wanted any more.
    heard: f64,
}

pub(super) struct Talk {
    duplex: Arc<Duplex>,
    orders: mpsc::UnboundedReceiver<Order>,
    reports: Reports,
    memory: Memory,
    /// What the caller said since something was committed.
    said: Vec<u8>,
    /// How much of that the session has.
    appended: usize,
    /// The utterance that ended last, and when.
    ended: Option<(UtteranceId, Instant)>,
    /// What was committed, until the session has named it.
    commits: VecDeque<UtteranceId>,
    /// What was committed and has no words yet.
    wordless: Vec<(String, UtteranceId)>,
    turn: Turn,
    live: Option<Live>,
    /// A response is to be asked for, once none is under way.
    to_ask: bool,
    /// Names requests for a response.
    asked: u64,
    /// When the answer that is waited for is overdue.
    due: Option<Instant>,
    /// A session is wanted, even if nothing is asked of it.
    wants_session: bool,
    over: bool,
}

impl Talk {
    pub(super) fn new(duplex: Arc<Duplex>, orders: mpsc::UnboundedReceiver<Order>, reports: Reports) -> Self {
        Self {
            duplex,
            orders,
            reports,
            memory: Memory::default(),
            said: Vec::new(),
            appended: 0,
            ended: None,
            commits: VecDeque::new(),
            wordless: Vec::new(),
            turn: Turn::default(),
            live: None,
            to_ask: false,
            asked: 0,
            due: None,
            wants_session: true,
            over: false,
        }
    }

    /// Until the call is over.
    pub(super) async fn run(mut self) {
        let duplex = Arc::clone(&self.duplex);
        let service = &duplex.service.at(0).service;
        while !self.over {
            if !self.wants_session && !self.to_ask {
                match self.orders.recv().await {
                    Some(order) => self.note(order),
                    None => return,
                }
                continue;
            }
            let Some(opened) = self.open(service).await else { return };
            match opened {
                Err(error) => self.failed(&error),
                Ok(mut session) => {
                    let opened_at = Instant::now();
                    match self.serve(&mut session).await {
                        Ok(()) => session.goodbye().await,
                        Err(error) => self.lost(&error, opened_at.elapsed() >= SETTLED),
                    }
                }
            }
        }
    }

    /// Opens a session while orders come. None: the call is over.
    async fn open<'a>(&mut self, service: &'a Realtime) -> Option<Result<Session<'a>, VendorError>> {
        self.wants_session = false;
        let instructions = prompt_with(&self.duplex.prompt, &self.duplex.tools);
        let mut opening = pin!(service.open(&instructions));
        loop {
            tokio::select! {
                opened = &mut opening => return Some(opened),
                order = self.orders.recv() => self.note(order.unwrap_or(Order::Goodbye)),
            }
            if self.over {
                return None;
            }
        }
    }

    /// No session is to be had.
    fn failed(&mut self, error: &VendorError) {
        let (_, _) = self.duplex.service.after(0, error);
        self.to_ask = false;
        self.fail(error.clone());
    }

    /// The session went away.
    fn lost(&mut self, error: &VendorError, was_settled: bool) {
        let is_waiting = self.to_ask || self.live.as_ref().is_some_and(|live| live.is_wanted);
        (self.live, self.appended, self.due) = (None, 0, None);
        self.commits.clear();
        self.wordless.clear();
        self.wants_session = was_settled;
        if is_waiting {
            let (_, _) = self.duplex.service.after(0, error);
            if self.turn.begun || self.turn.again {
                self.to_ask = false;
                self.fail(error.clone());
            } else {
                (self.turn.again, self.to_ask) = (true, true);
                self.turn.words.clear();
                self.turn.ahead.clear();
            }
        } else {
            tracing::debug!(%error, "a session ended between two answers");
        }
    }

    fn fail(&mut self, error: VendorError) {
        self.due = None;
        if let Some(pieces) = self.turn.pieces.take() {
            let _ = pieces.send(Piece::Failed(error));
        }
    }

    /// Serves the call on one session, until the call is over.
    async fn serve(&mut self, session: &mut Session<'_>) -> Result<(), VendorError> {
        for item in self.memory.items() {
            session.create(item).await?;
        }
        if self.to_ask && matches!(self.turn.cause, Some(Cause::Speech)) {
            self.commit(session).await?;
        }
        while !self.over {
            if self.to_ask && self.live.is_none() {
                self.ask(session).await?;
            }
            if self.said.len() - self.appended >= APPEND {
                self.append(session).await?;
            }
            let due = async {
                match self.due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                order = self.orders.recv() => self.carry_out(order.unwrap_or(Order::Goodbye), session).await?,
                event = session.next() => self.on_event(event?),
                () = due => return Err(VendorError::new(Failure::Slow, "no more of an answer came in time")),
            }
        }
        Ok(())
    }

    /// Takes an order while there is no session.
    fn note(&mut self, order: Order) {
        match order {
            Order::Starts => self.starts(),
            Order::Audio(ulaw) => self.hear(&ulaw),
            Order::Ends(utterance) => self.ended = Some((utterance, Instant::now())),
            Order::Answer { to, pieces } => self.begin(to, pieces),
            Order::GoOn(tools) => self.go_on(tools),
            Order::Stop => self.stop(),
            Order::Cut { heard, samples } => self.cut(&heard, samples),
            Order::Goodbye => self.over = true,
        }
    }

    /// Takes an order, and tells the session.
    async fn carry_out(&mut self, order: Order, session: &mut Session<'_>) -> Result<(), VendorError> {
        match order {
            Order::Starts => {
                let had = self.appended;
                self.starts();
                if self.appended < had {
                    session.clear().await?;
                }
            }
            Order::Answer { to, pieces } => {
                self.stop_on(session).await?;
                match &to {
                    Cause::Told(text) => session.create(&message(true, text)).await?,
                    Cause::Speech | Cause::Instructed(_) => {}
                }
                self.begin(to, pieces);
                if matches!(self.turn.cause, Some(Cause::Speech)) {
                    self.commit(session).await?;
                }
            }
            Order::GoOn(tools) => {
                for (call, output) in &tools {
                    session.create(&tool_output(&call.id, output)).await?;
                }
                self.go_on(tools);
            }
            Order::Stop => self.stop_on(session).await?,
            Order::Cut { heard, samples } => {
                self.stop_on(session).await?;
                let mut left = samples as usize;
                for (item, spoken) in &self.turn.spoken {
                    match left {
                        0 => session.delete(item).await?,
                        _ if left < *spoken => session.truncate(item, (left / 8) as u32).await?,
                        _ => {}
                    }
                    left = left.saturating_sub(*spoken);
                }
                self.cut(&heard, samples);
            }
            order => self.note(order),
        }
        Ok(())
    }

    fn starts(&mut self) {
        let goes_on = self.ended.is_some_and(|(_, at)| at.elapsed() < GOES_ON);
        self.wants_session = true;
        // What was not answered was no turn: a cough, or the agent's own echo.
        if !goes_on && self.ended.take().is_some() {
            (self.said, self.appended) = (Vec::new(), 0);
        }
    }

    fn hear(&mut self, ulaw: &[u8]) {
        let room = KEPT_MAX.saturating_sub(self.said.len());
        self.said.extend_from_slice(&ulaw[..ulaw.len().min(room)]);
    }

    async fn append(&mut self, session: &mut Session<'_>) -> Result<(), VendorError> {
        if self.appended < self.said.len() {
            session.append(&self.said[self.appended..]).await?;
            self.appended = self.said.len();
        }
        Ok(())
    }

    fn begin(&mut self, to: Cause, pieces: mpsc::UnboundedSender<Piece>) {
        self.stop();
        self.memory.turn_begins();
        if let Cause::Told(text) = &to {
            self.memory.caller(text);
        }
        self.turn = Turn { pieces: Some(pieces), cause: Some(to), ..Turn::default() };
        self.wants_answer();
    }

    fn wants_answer(&mut self) {
        self.to_ask = true;
        self.due = Some(Instant::now() + self.duplex.waits.first);
        self.duplex.service.at(0).ask(1);
    }

    fn go_on(&mut self, tools: Vec<(ToolCall, String)>) {
        for (call, output) in &tools {
            self.memory.tool(call, output);
        }
        self.turn.calls.clear();
        (self.turn.cause, self.turn.begun) = (None, false);
        self.wants_answer();
    }

    /// Makes what the caller said a turn of theirs, once more if the session that had it is gone.
    async fn commit(&mut self, session: &mut Session<'_>) -> Result<(), VendorError> {
        if self.turn.said.is_empty() {
            self.append(session).await?;
            (self.turn.said, self.appended) = (std::mem::take(&mut self.said), 0);
            self.turn.utterance = self.ended.take().map(|(utterance, _)| utterance);
        } else {
            session.append(&self.turn.said).await?;
        }
        session.commit().await?;
        self.commits.extend(self.turn.utterance);
        Ok(())
    }

    async fn ask(&mut self, session: &mut Session<'_>) -> Result<(), VendorError> {
        self.to_ask = false;
        self.asked += 1;
        let instructions = match &self.turn.cause {
            Some(Cause::Instructed(text)) => Some(text.as_str()),
            _ => None,
        };
        session.respond(&request_name(self.asked), instructions).await?;
        self.live = Some(Live { id: None, is_wanted: true, heard: 0.0 });
        self.due = Some(Instant::now() + self.duplex.waits.first);
        Ok(())
    }

    /// Nobody wants more of the answer.
    fn stop(&mut self) {
        (self.turn.pieces, self.due, self.to_ask) = (None, None, false);
        if let Some(live) = &mut self.live {
            live.is_wanted = false;
        }
        for call in self.turn.calls.drain(..) {
            self.memory.tool(&call, INTERRUPTED);
        }
    }

    /// The session is told.
    async fn stop_on(&mut self, session: &mut Session<'_>) -> Result<(), VendorError> {
        if self.live.as_ref().is_some_and(|live| live.is_wanted) {
            session.cancel().await?;
        }
        for call in &self.turn.calls {
            session.create(&tool_output(&call.id, INTERRUPTED)).await?;
        }
        self.stop();
        Ok(())
    }

    fn cut(&mut self, heard: &str, samples: u32) {
        self.stop();
        self.memory.was_cut(heard);
        let spoken: usize = self.turn.spoken.drain(..).map(|(_, samples)| samples).sum();
        let share = if spoken == 0 { 0.0 } else { (f64::from(samples) / spoken as f64).min(1.0) };
        self.waste(self.turn.tokens, share);
        self.turn.tokens = 0;
        if let Some(live) = &mut self.live {
            live.heard = share;
        }
    }

    /// Of so many tokens only such a share was heard.
    fn waste(&self, tokens: u64, heard: f64) {
        self.duplex.counts.waste((tokens as f64 * (1.0 - heard)).round() as u64);
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Committed { item } => {
                if let Some(utterance) = self.commits.pop_front() {
                    self.memory.caller_spoke(&item);
                    self.wordless.push((item, utterance));
                }
            }
            Event::Transcript { item, text } => {
                let Some(at) = self.wordless.iter().position(|(waiting, _)| *waiting == item) else { return };
                let (_, utterance) = self.wordless.swap_remove(at);
                let text = text.unwrap_or_default().trim().to_owned();
                self.memory.words(&item, &text);
                self.reports.report(Report::Words { utterance, text, is_final: true });
            }
            Event::Began { response } => {
                if let Some(live) = self.live.as_mut().filter(|live| live.id.is_none()) {
                    live.id = Some(response);
                }
            }
            Event::Audio { response, item, ulaw } => {
                if self.wants(&response) {
                    match self.turn.spoken.last_mut().filter(|(last, _)| *last == item) {
                        Some((_, samples)) => *samples += ulaw.len(),
                        None => self.turn.spoken.push((item, ulaw.len())),
                    }
                    let ahead = std::mem::take(&mut self.turn.ahead);
                    if !ahead.is_empty() {
                        self.pass_on(Piece::Words(ahead));
                    }
                    self.pass_on(Piece::Audio(ulaw));
                }
            }
            Event::Text { response, text } => {
                if self.wants(&response) {
                    self.turn.words.push_str(&text);
                    // Words that come before any audio could still be asked for once more.
                    if self.turn.begun {
                        self.pass_on(Piece::Words(text));
                    } else {
                        self.turn.ahead.push_str(&text);
                    }
                }
            }
            Event::Call { response, call } => {
                if self.wants(&response) {
                    self.turn.calls.push(call.clone());
                    self.pass_on(Piece::Call(call));
                }
            }
            Event::Over { response, ended, tokens } => self.on_over(&response, ended, tokens),
            Event::Refused { event, error } => {
                if event == request_name(self.asked)
                    && self.live.as_ref().is_some_and(|live| live.id.is_none())
                {
                    let was_wanted = self.live.take().is_some_and(|live| live.is_wanted);
                    if was_wanted {
                        let (_, _) = self.duplex.service.after(0, &error);
                        self.fail(error);
                    }
                } else {
                    if event == COMMIT {
                        self.commits.pop_back();
                    }
                    // The talk goes on.
                    tracing::info!(%error, "a message to the session was not taken");
                }
            }
            Event::Other => {}
        }
    }

    fn on_over(&mut self, response: &str, ended: Result<(), VendorError>, tokens: u64) {
        let Some(live) = self.live.take_if(|live| live.id.as_deref().is_none_or(|id| id == response)) else {
            return;
        };
        self.duplex.counts.write(tokens);
        if !live.is_wanted {
            self.waste(tokens, live.heard);
            return;
        }
        self.turn.tokens += tokens;
        self.due = None;
        match ended {
            Ok(()) => {
                self.duplex.service.at(0).worked();
                let words = std::mem::take(&mut self.turn.words);
                self.memory.agent(&words);
                // Whoever waits may have tools to use, and go on.
                if let Some(pieces) = &self.turn.pieces {
                    let _ = pieces.send(Piece::End);
                }
            }
            Err(error) => {
                let (_, _) = self.duplex.service.after(0, &error);
                self.fail(error);
            }
        }
    }

    fn wants(&self, response: &str) -> bool {
        self.live
            .as_ref()
            .is_some_and(|live| live.is_wanted && live.id.as_deref().is_none_or(|id| id == response))
    }

    fn pass_on(&mut self, piece: Piece) {
        self.due = Some(Instant::now() + self.duplex.waits.next);
        self.turn.begun = true;
        if let Some(pieces) = &self.turn.pieces {
            let _ = pieces.send(piece);
        }
    }
}

fn request_name(number: u64) -> String {
    format!("ask_{number}")
}
