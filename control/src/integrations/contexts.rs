//! A call's line to a vendor whose sockets speak texts in contexts: one socket per line, one context per text.
//!
//! ```text
//! speak ─ order ─► task of the line ═ socket ═► vendor
//!       ◄─ pieces ─                 ◄═ audio by context ═
//! ```
//!
//! The task opens the socket, keeps it alive between texts, and opens another one when it went away. What comes of a context that
//! nobody wants any more is dropped here: vendors go on with what they have begun. It ends with its line.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper::{HeaderMap, Request, StatusCode};
use offhook_engine::call::{Failure, WordStart};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::dial::{DialError, Socket, TLS, dial};
use super::refusal::{no_connection, of_close, of_dial};
use super::vendor::{CONNECT, Spoken, VendorError, VoiceLine};
use super::words::Words;

/// A message is no longer than this: four minutes of audio.
const MESSAGE_MAX: usize = 4 * 1024 * 1024;
/// How long a message may take to leave.
const SEND: Duration = Duration::from_secs(2);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What differs from vendor to vendor.
pub(super) trait Dialect: Send + Sync + 'static {
    /// Its name in the log.
    const NAME: &'static str;

    /// The header of a handshake's answer that names the socket.
    const REQUEST_ID: &'static str;

    /// So many contexts may be open on one socket.
    const CONTEXTS_MAX: usize;

    /// Whether a context that was cancelled is open until the vendor says that it ended.
    const CANCELLED_ENDS: bool;

    /// The handshake.
    fn handshake(&self) -> Result<Request<()>, VendorError>;

    /// What it means that there is no socket.
    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> VendorError;

    /// What has a text spoken in a context of its own, which ends with it.
    fn begin(&self, context: &str, text: &str) -> Vec<Value>;

    /// What has a context end.
    fn cancel(&self, context: &str) -> Value;

    /// What a message says; nothing if it does not matter.
    fn read(&self, message: &Value) -> Result<Vec<Said>, VendorError>;
}

/// What a vendor says of a context.
#[derive(Debug)]
pub(super) enum Said {
    /// Audio, and where words are in it.
    Piece { context: String, piece: Piece },
    /// There is no more.
    Ended { context: String },
    /// It failed; without a context, the whole socket.
    Failed { context: Option<String>, error: VendorError },
}

/// Audio of a context, and where words are in it.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// 8 kHz µ-law.
    pub(super) ulaw: Vec<u8>,
    pub(super) marks: Marks,
}

/// Where something begins, in samples.
#[derive(Debug, Default)]
pub(super) enum Marks {
    /// Nothing is placed.
    #[default]
    None,
    /// Single characters, in this piece.
    Characters(Vec<(String, u32)>),
    /// Whole words, in all of the context's audio.
    Words(Vec<(String, u32)>),
}

/// A time in samples.
pub(super) fn samples(seconds: f64) -> u32 {
    // From negative to 0, from too much to the most.
    (seconds * 8_000.0).round() as u32
}

/// When the task does what by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// How often a socket is asked whether it is still there. Two questions without an answer, and it is not.
    pub(super) ping: Duration,
    /// A socket that lived so long is opened anew at once when it goes away between two texts.
    pub(super) settled: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { ping: Duration::from_secs(20), settled: Duration::from_secs(10) }
    }
}

enum Order {
    Warm(oneshot::Sender<Result<(), VendorError>>),
    Speak(Text),
    Cancel(u64),
}

struct Text {
    number: u64,
    text: String,
    events: mpsc::UnboundedSender<Event>,
    is_second_try: bool,
}

enum Event {
    Piece(Piece),
    End(Result<(), VendorError>),
}

/// A line.
pub(super) struct ContextLine<D> {
    dialect: Arc<D>,
    times: Times,
    /// None until the first use.
    orders: Option<mpsc::UnboundedSender<Order>>,
    texts: u64,
}

impl<D: Dialect> ContextLine<D> {
    pub(super) fn new(dialect: Arc<D>, times: Times) -> Self {
        Self { dialect, times, orders: None, texts: 0 }
    }

    fn orders(&mut self) -> mpsc::UnboundedSender<Order> {
        if let Some(orders) = self.orders.as_ref().filter(|orders| !orders.is_closed()) {
            return orders.clone();
        }
        let (orders, inbox) = mpsc::unbounded_channel();
        let link = Link {
            dialect: Arc::clone(&self.dialect),
            times: self.times,
            orders: inbox,
            texts: VecDeque::new(),
            warming: Vec::new(),
        };
        tokio::spawn(link.run());
        self.orders.insert(orders).clone()
    }
}

impl<D: Dialect> VoiceLine for ContextLine<D> {
    fn warm(&mut self) -> BoxFuture<'_, Result<(), VendorError>> {
        let (done, is_done) = oneshot::channel();
        let _ = self.orders().send(Order::Warm(done));
        async { is_done.await.unwrap_or_else(|_| Err(task_is_gone())) }.boxed()
    }

    fn speak<'a>(
        &'a mut self,
        text: &'a str,
        spoken: &'a mut (dyn FnMut(Spoken) + Send),
    ) -> BoxFuture<'a, Result<(), VendorError>> {
        async move {
            self.texts += 1;
            let number = self.texts;
            let (events, mut came) = mpsc::unbounded_channel();
            let orders = self.orders();
            let order = Text { number, text: text.to_owned(), events, is_second_try: false };
            let _ = orders.send(Order::Speak(order));
            // To drop this is to cancel.
            let mut cancelling = Cancelling { orders, number: Some(number) };
            let mut words = Words::of(text);
            // Some vendors place all words before any audio. How far a voice is, only those tell that have begun.
            let mut ahead: VecDeque<WordStart> = VecDeque::new();
            let mut samples = 0;
            while let Some(event) = came.recv().await {
                let Piece { ulaw, marks } = match event {
                    Event::Piece(piece) => piece,
                    Event::End(ended) => {
                        cancelling.number = None;
                        if !ahead.is_empty() && ended.is_ok() {
                            spoken(Spoken { ulaw: Vec::new(), words: ahead.into() });
                        }
                        return ended;
                    }
                };
                match marks {
                    Marks::None => {}
                    Marks::Characters(marks) => {
                        ahead.extend(marks.iter().filter_map(|(c, at)| words.character(c, samples + at)));
                    }
                    Marks::Words(marks) => {
                        ahead.extend(marks.iter().filter_map(|(word, at)| words.word(word, *at)));
                    }
                }
                samples += ulaw.len() as u32;
                let begun = ahead.iter().take_while(|word| word.sample < samples).count();
                let words: Vec<WordStart> = ahead.drain(..begun).collect();
                if !ulaw.is_empty() || !words.is_empty() {
                    spoken(Spoken { ulaw, words });
                }
            }
            Err(task_is_gone())
        }
        .boxed()
    }
}

/// Cancels a text, unless it has ended.
struct Cancelling {
    orders: mpsc::UnboundedSender<Order>,
    number: Option<u64>,
}

impl Drop for Cancelling {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let _ = self.orders.send(Order::Cancel(number));
        }
    }
}

/// Opens a socket; also what it is called.
pub(super) async fn open<D: Dialect>(dialect: &D) -> Result<(Socket, Option<String>), VendorError> {
    let tls = TlsConnector::from(Arc::new(TLS.clone()));
    let config =
        WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
    let dialled = timeout(CONNECT, dial(dialect.handshake()?, &tls, config)).await;
    match dialled.map_err(|_| no_connection())? {
        Ok((socket, headers)) => {
            let request = headers.get(D::REQUEST_ID).and_then(|value| value.to_str().ok());
            tracing::debug!(voice = D::NAME, request, "a socket is open");
            Ok((socket, request.map(str::to_owned)))
        }
        Err(DialError::Refused { status, headers, body }) => Err(dialect.refused(status, &headers, &body)),
        Err(error) => Err(of_dial(&error)),
    }
}

/// The task's end of a line.
struct Link<D> {
    dialect: Arc<D>,
    times: Times,
    orders: mpsc::UnboundedReceiver<Order>,
    /// Texts that have not been begun.
    texts: VecDeque<Text>,
    /// Who waits for a socket.
    warming: Vec<oneshot::Sender<Result<(), VendorError>>>,
}

impl<D: Dialect> Link<D> {
    async fn run(mut self) {
        let mut at_once = false;
        loop {
            while !at_once && self.texts.is_empty() && self.warming.is_empty() {
                match self.orders.recv().await {
                    None => return,
                    Some(order) => self.take(order),
                }
            }
            let dialect = Arc::clone(&self.dialect);
            let mut opening = pin!(open(&*dialect));
            let opened = loop {
                tokio::select! {
                    opened = &mut opening => break opened,
                    order = self.orders.recv() => match order {
                        None => return,
                        Some(order) => self.take(order),
                    },
                }
            };
            at_once = false;
            match opened {
                Ok((socket, request)) => {
                    for waiting in self.warming.drain(..) {
                        let _ = waiting.send(Ok(()));
                    }
                    match (Session { link: &mut self, socket, request, open: Vec::new() }).run().await {
                        Over::LineGone => return,
                        Over::SocketGone { is_settled } => at_once = is_settled,
                    }
                }
                Err(error) => {
                    for waiting in self.warming.drain(..) {
                        let _ = waiting.send(Err(error.clone()));
                    }
                    for text in self.texts.drain(..) {
                        let _ = text.events.send(Event::End(Err(error.clone())));
                    }
                }
            }
        }
    }

    /// Takes an order while there is no socket.
    fn take(&mut self, order: Order) {
        match order {
            Order::Warm(waiting) => self.warming.push(waiting),
            Order::Speak(text) => self.texts.push_back(text),
            Order::Cancel(number) => self.texts.retain(|text| text.number != number),
        }
    }
}

/// How a socket's time ended.
enum Over {
    LineGone,
    SocketGone {
        /// It had been there for some time.
        is_settled: bool,
    },
}

/// Why a socket is lost.
struct Lost {
    error: VendorError,
    /// It is not the vendor that said so: the socket may have been gone before anybody noticed.
    is_silent: bool,
}

impl From<VendorError> for Lost {
    fn from(error: VendorError) -> Self {
        Self { error, is_silent: false }
    }
}

/// A context that the vendor has open.
struct Context {
    id: String,
    /// None: nobody wants it any more.
    text: Option<Text>,
    /// The socket was opened before anybody knew of the text.
    on_old_socket: bool,
    any: bool,
}

/// A line while it has a socket.
struct Session<'a, D> {
    link: &'a mut Link<D>,
    socket: Socket,
    request: Option<String>,
    open: Vec<Context>,
}

impl<D: Dialect> Session<'_, D> {
    async fn run(mut self) -> Over {
        let opened = Instant::now();
        let lost = match self.serve().await {
            Ok(over) => {
                let _ = timeout(GOODBYE, self.socket.close(None)).await;
                return over;
            }
            Err(lost) => lost,
        };
        let _ = timeout(GOODBYE, self.socket.close(None)).await;
        let was_idle = self.open.is_empty();
        let error = self.named(lost.error);
        tracing::debug!(voice = D::NAME, %error, was_idle, "a socket is gone");
        for Context { text, on_old_socket, any, .. } in self.open {
            let Some(text) = text else { continue };
            if lost.is_silent && on_old_socket && !any && !text.is_second_try {
                self.link.texts.push_back(Text { is_second_try: true, ..text });
            } else {
                let _ = text.events.send(Event::End(Err(error.clone())));
            }
        }
        Over::SocketGone { is_settled: was_idle && opened.elapsed() >= self.link.times.settled }
    }

    async fn serve(&mut self) -> Result<Over, Lost> {
        let every = self.link.times.ping;
        let mut ping = interval_at(Instant::now() + every, every);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unanswered = 0;
        let mut is_old = false;
        loop {
            while let Some(text) = self.link.texts.pop_front() {
                if self.open.len() >= D::CONTEXTS_MAX {
                    // All but this one were cancelled, and are still not over: they end with their socket.
                    self.link.texts.push_front(text);
                    return Ok(Over::SocketGone { is_settled: false });
                }
                self.begin(text, is_old).await?;
            }
            is_old = true;
            tokio::select! {
                biased;
                order = self.link.orders.recv() => match order {
                    None => return Ok(Over::LineGone),
                    Some(Order::Cancel(number)) => self.cancel(number).await?,
                    Some(Order::Warm(waiting)) => {
                        let _ = waiting.send(Ok(()));
                    }
                    Some(Order::Speak(text)) => self.link.texts.push_back(text),
                },
                message = self.socket.next() => {
                    unanswered = 0;
                    self.on_message(message.transpose().map_err(|error| broken(error.to_string()))?)?;
                }
                _ = ping.tick() => {
                    if unanswered >= 2 {
                        return Err(broken("it answers no ping any more".to_owned()));
                    }
                    unanswered += 1;
                    self.send(Message::Ping(Bytes::new())).await?;
                }
            }
        }
    }

    async fn begin(&mut self, text: Text, on_old_socket: bool) -> Result<(), Lost> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let messages = self.link.dialect.begin(&id, &text.text);
        self.open.push(Context { id, text: Some(text), on_old_socket, any: false });
        for message in messages {
            self.send(Message::text(message.to_string())).await?;
        }
        Ok(())
    }

    async fn cancel(&mut self, number: u64) -> Result<(), Lost> {
        self.link.texts.retain(|text| text.number != number);
        let is_it = |context: &Context| context.text.as_ref().is_some_and(|text| text.number == number);
        let Some(at) = self.open.iter().position(is_it) else { return Ok(()) };
        let message = self.link.dialect.cancel(&self.open[at].id);
        if D::CANCELLED_ENDS {
            self.open[at].text = None;
        } else {
            self.open.remove(at);
        }
        self.send(Message::text(message.to_string())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Lost> {
        match timeout(SEND, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(|error| broken(error.to_string())),
            Err(_) => {
                let detail = format!("a message does not get through within {} s", SEND.as_secs_f32());
                Err(VendorError::new(Failure::Slow, detail).into())
            }
        }
    }

    fn on_message(&mut self, message: Option<Message>) -> Result<(), Lost> {
        let text = match message {
            None => return Err(broken("the connection ended".to_owned())),
            Some(Message::Close(None)) => return Err(broken("closed".to_owned())),
            Some(Message::Close(Some(close))) => {
                let code = u16::from(close.code);
                let why = of_close(code);
                // What a close says is the vendor's own text, and about a key it says it in a message before.
                let error = VendorError::new(why, format!("closed with {code}"));
                return Err(Lost { error, is_silent: why == Failure::BrokenOff });
            }
            Some(Message::Text(text)) => text,
            Some(_) => return Ok(()),
        };
        let malformed = |_| VendorError::new(Failure::Malformed, "a message that is no JSON");
        let message: Value = serde_json::from_str(&text).map_err(malformed)?;
        for said in self.link.dialect.read(&message)? {
            match said {
                Said::Piece { context, piece } => {
                    let context = self.open.iter_mut().find(|open| open.id == context);
                    if let Some(Context { text: Some(text), any, .. }) = context {
                        *any = true;
                        let _ = text.events.send(Event::Piece(piece));
                    }
                }
                Said::Ended { context } => self.end(&context, Ok(())),
                Said::Failed { context: Some(context), error } => self.end(&context, Err(self.named(error))),
                Said::Failed { context: None, error } => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn end(&mut self, context: &str, ended: Result<(), VendorError>) {
        let Some(at) = self.open.iter().position(|open| open.id == context) else { return };
        if let Some(text) = self.open.remove(at).text {
            let _ = text.events.send(Event::End(ended));
        }
    }

    /// With the name of the socket, unless the vendor has named the request already.
    fn named(&self, mut error: VendorError) -> VendorError {
        if let Some(request) = self.request.as_ref().filter(|_| !error.detail.contains("(request ")) {
            error.detail = format!("{} (request {})", error.detail, super::refusal::shown(request, None));
        }
        error
    }
}

fn broken(detail: String) -> Lost {
    Lost { error: VendorError::new(Failure::BrokenOff, detail), is_silent: true }
}

fn task_is_gone() -> VendorError {
    VendorError::new(Failure::Panicked, "the task of the line is gone")
}
