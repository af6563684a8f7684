//! A media stream written by hand, message by message, in step with the server.
//!
//! Each frame of audio is followed by a ping, and the next frame waits for the pong. A server answers in order: so with
//! the pong has come all that the frame caused, and "how many frames until …" is an exact count, however busy the
//! machine is.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use offhook::caller::new_call_sid;
use offhook::caller::playout::{Echo, Playout};
use offhook::caller::time::{FRAME, LineTime};
use offhook::caller::twiml;
use offhook_codecs::wire::twilio::{self, Place};
use offhook_codecs::wire::{MediaFormat, Outgoing, Start};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::audio::QUIET;
use crate::server::{PATIENCE, Server};

/// The time of a frame.
const FRAME_TIME: Duration = Duration::from_millis(20);

/// A call that the server was told of.
#[derive(Clone, Debug)]
pub struct Announced {
    /// The carrier's name for it.
    pub call_sid: String,
    /// Where its media goes.
    pub url: String,
    /// What its `start` has to say.
    pub token: String,
}

impl Announced {
    /// Tells the server of a call, and reads its answer.
    pub async fn to(server: &Server) -> Self {
        let call_sid = new_call_sid();
        let form = format!("CallSid={call_sid}&From=%2B15005550009&To=%2B15005550006&CallStatus=ringing");
        let answer = server.post_form(offhook::caller::INCOMING_PATH, &form).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let twiml::Answer::Stream { url, parameters } = twiml::read(answer.text()).expect("TwiML") else {
            panic!("no stream in {}", answer.text());
        };
        let token = parameters.into_iter().find(|(name, _)| name == "token");
        Self { call_sid, url, token: token.expect("there is a token").1 }
    }
}

/// What the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sound {
    /// Audio, 8 kHz µ-law.
    Media(Vec<u8>),
    /// A mark.
    Mark(String),
    /// A clear.
    Clear,
    /// Word that a message could not be used.
    Error,
}

/// How the server ended a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// The close frame's code; 0 if there was none.
    pub code: u16,
    /// The close frame's reason.
    pub reason: String,
}

/// One media stream.
pub struct RawCall {
    socket: WebSocketStream<TcpStream>,
    /// The carrier's name for the call.
    pub call_sid: String,
    /// The carrier's name for the stream.
    pub stream_sid: String,
    /// The number of the last message.
    pub sequence: u32,
    /// How many frames of audio were sent; the number of the last one.
    pub frames: u32,
    /// Milliseconds of audio sent.
    pub timestamp_ms: u32,
    /// All that the server sent, each with how many frames had been sent before it.
    pub heard: Vec<(u32, Sound)>,
    /// Set once the server has ended the stream.
    pub over: Option<Goodbye>,
    playout: Playout,
    began: Instant,
    due: Instant,
    pings: u64,
}

impl RawCall {
    /// A call on a socket that is open.
    pub fn on(socket: WebSocketStream<TcpStream>, call_sid: &str) -> Self {
        let now = Instant::now();
        Self {
            socket,
            call_sid: call_sid.to_owned(),
            stream_sid: call_sid.replacen("CA", "MZ", 1),
            sequence: 0,
            frames: 0,
            timestamp_ms: 0,
            heard: Vec::new(),
            over: None,
            playout: Playout::default(),
            began: now,
            due: now,
            pings: 0,
        }
    }

    /// Opens a socket, and says nothing on it.
    pub async fn connect(announced: &Announced) -> Self {
        let authority = announced.url.strip_prefix("ws://").and_then(|rest| rest.split('/').next());
        let tcp = TcpStream::connect(authority.expect("a server on loopback has a ws:// URL")).await;
        let tcp = tcp.expect("the server listens");
        tcp.set_nodelay(true).expect("a TCP socket can be told");
        let opened = tokio_tungstenite::client_async(&announced.url, tcp).await;
        let (socket, _) = opened.expect("the server takes sockets");
        Self::on(socket, &announced.call_sid)
    }

    /// Announces a call, opens its socket, and sends `connected` and `start`.
    pub async fn open(server: &Server) -> Self {
        let announced = Announced::to(server).await;
        let mut call = Self::connect(&announced).await;
        call.connected().await;
        call.start(Some(&announced.token)).await;
        call
    }

    /// Sends `connected`.
    pub async fn connected(&mut self) {
        self.write(|out, _| twilio::write_connected(out)).await;
    }

    /// Sends `start`.
    pub async fn start(&mut self, token: Option<&str>) {
        self.start_in(token, "audio/x-mulaw").await;
    }

    /// Sends `start` for a stream that is coded as `encoding`.
    pub async fn start_in(&mut self, token: Option<&str>, encoding: &str) {
        let call_sid = self.call_sid.clone();
        let start = Start {
            account: Cow::Borrowed("AC00000000000000000000000000000000"),
            call: Cow::Borrowed(&call_sid),
            format: MediaFormat { encoding: Cow::Borrowed(encoding), sample_rate_hz: 8_000, channels: 1 },
            parameters: token
                .map(|token| (Cow::Borrowed("token"), Cow::Borrowed(token)))
                .into_iter()
                .collect(),
        };
        self.sequence = 1;
        self.write(|out, stream| twilio::write_start(out, stream, &start)).await;
        self.began = Instant::now();
        self.due = self.began;
    }

    /// Sends a frame of audio when it is due, and takes all that the server has to say to it.
    pub async fn frame(&mut self, ulaw: &[u8]) {
        self.due += FRAME_TIME;
        sleep_until(self.due).await;
        self.media(ulaw).await;
        self.settle().await;
    }

    /// Sends audio frame by frame, the last one filled up with silence, as long as the call lasts.
    pub async fn say(&mut self, ulaw: &[u8]) {
        for part in ulaw.chunks(FRAME) {
            if self.over.is_some() {
                return;
            }
            let mut frame = QUIET;
            frame[..part.len()].copy_from_slice(part);
            self.frame(&frame).await;
        }
    }

    /// Says nothing until `wanted`.
    pub async fn listen_until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !wanted(self) {
            assert!(self.over.is_none(), "the call ended before {what}: {:?}", self.over);
            assert!(Instant::now() < give_up, "no sign of {what}; heard {}", self.story());
            self.frame(&QUIET).await;
        }
    }

    /// Says nothing until the agent has nothing more to say: its last mark is back, and nothing came for half a second.
    pub async fn listen_to_turn(&mut self) {
        let before = self.heard.len();
        self.listen_until("the agent", |call| call.heard.len() > before).await;
        self.listen_until("the end of the agent's turn", |call| {
            call.over.is_some()
                || call.heard.last().is_some_and(|(at, what)| {
                    matches!(what, Sound::Mark(_))
                        && call.playout.is_dry()
                        && call.frames.saturating_sub(*at) >= 25
                })
        })
        .await;
    }

    /// Says nothing until the server ends the call.
    pub async fn listen_to_end(&mut self) -> Goodbye {
        self.listen_until("the end of the call", |call| call.over.is_some()).await;
        self.over.clone().expect("that is what was waited for")
    }

    /// Says nothing more, and waits until the server has let go of the connection.
    pub async fn listen_until_gone(&mut self) {
        timeout(PATIENCE, async {
            while self.over.is_none() {
                self.take().await;
            }
        })
        .await
        .expect("the server lets go");
    }

    /// Sends audio at once, with its place in the stream.
    pub async fn media(&mut self, ulaw: &[u8]) {
        self.sequence += 1;
        self.frames += 1;
        let place = Place { sequence: self.sequence, chunk: self.frames, timestamp_ms: self.timestamp_ms };
        self.timestamp_ms += ulaw.len() as u32 / 8;
        self.write(|out, stream| twilio::write_inbound_media(out, stream, place, ulaw)).await;
    }

    /// Presses a key.
    pub async fn press(&mut self, digit: char) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.write(|out, stream| twilio::write_dtmf(out, stream, sequence, digit)).await;
    }

    /// Hangs up, and waits for the server to close.
    pub async fn hang_up(&mut self) {
        self.sequence += 1;
        let sequence = self.sequence;
        let stop = format!(
            r#"{{"event":"stop","sequenceNumber":"{sequence}","streamSid":"{}","stop":{{"accountSid":"AC0","callSid":"{}"}}}}"#,
            self.stream_sid, self.call_sid
        );
        self.send(Message::text(stop)).await;
        timeout(PATIENCE, async {
            while self.over.is_none() {
                self.take().await;
            }
        })
        .await
        .expect("the server closes");
    }

    /// Sends a message as it is.
    pub async fn text(&mut self, text: impl Into<String>) {
        self.send(Message::text(text.into())).await;
    }

    /// Sends a message as it is. A server that is gone is noticed when it is next listened to.
    pub async fn send(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    /// The bare connection, for what no WebSocket does.
    pub fn tcp(&mut self) -> &mut TcpStream {
        self.socket.get_mut()
    }

    /// Waits until the server has taken in all that was sent, and takes what it answers.
    pub async fn settle(&mut self) {
        if self.over.is_some() {
            return;
        }
        self.pings += 1;
        let ping = self.pings.to_be_bytes().to_vec();
        self.send(Message::Ping(ping.clone().into())).await;
        let settled = async {
            while self.over.is_none() {
                if self.take().await.is_some_and(|pong| pong == ping) {
                    break;
                }
            }
        };
        timeout(PATIENCE, settled).await.expect("the server answers pings");
        self.play().await;
    }

    /// The audio that came after the first `from` messages, without marks and clears.
    pub fn audio(&self, from: usize) -> Vec<u8> {
        self.heard[from..]
            .iter()
            .filter_map(|(_, what)| if let Sound::Media(ulaw) = what { Some(ulaw.as_slice()) } else { None })
            .flatten()
            .copied()
            .collect()
    }

    /// Where the first clear stands among what was heard.
    pub fn clear_at(&self) -> Option<usize> {
        self.heard.iter().position(|(_, what)| *what == Sound::Clear)
    }

    /// What was heard, in short, for failures.
    fn story(&self) -> String {
        let mut story = String::new();
        for (at, what) in &self.heard {
            match what {
                Sound::Media(_) => story.push('.'),
                Sound::Mark(name) => story += &format!(" {name}@{at} "),
                Sound::Clear => story += &format!(" clear@{at} "),
                Sound::Error => story += &format!(" error@{at} "),
            }
        }
        story
    }

    /// Takes one message; gives a pong's payload.
    async fn take(&mut self) -> Option<Vec<u8>> {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => self.on_text(&text).await,
            Some(Ok(Message::Pong(payload))) => return Some(payload.to_vec()),
            Some(Ok(Message::Close(frame))) => {
                let (code, reason) =
                    frame.map_or((0, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                self.over = Some(Goodbye { code, reason });
                // Answers the close, so that the server need not wait for it.
                let _ = self.socket.flush().await;
            }
            Some(Ok(message)) => panic!("no carrier is sent {message:?}"),
            Some(Err(_)) | None => self.over = Some(Goodbye { code: 0, reason: String::new() }),
        }
        None
    }

    async fn on_text(&mut self, text: &str) {
        self.play().await;
        let message = twilio::parse_outgoing(text).expect("the server speaks as Twilio's documentation says");
        let mut echoes = Vec::new();
        let what = match message {
            Outgoing::Media { stream, payload } => {
                assert_eq!(stream, self.stream_sid);
                let mut ulaw = vec![0; payload.len()];
                let length = twilio::decode_base64(&payload, &mut ulaw).expect("the server sends base64");
                ulaw.truncate(length);
                self.playout.media(&ulaw);
                Sound::Media(ulaw)
            }
            Outgoing::Mark { stream, name } => {
                assert_eq!(stream, self.stream_sid);
                self.playout.mark(name.to_string(), &mut echoes);
                Sound::Mark(name.into_owned())
            }
            Outgoing::Clear { stream } => {
                assert_eq!(stream, self.stream_sid);
                self.playout.clear(&mut echoes);
                Sound::Clear
            }
            Outgoing::Error => Sound::Error,
            Outgoing::Unknown { event } => panic!("Twilio knows no {event:?}"),
        };
        self.heard.push((self.frames, what));
        self.echo(echoes).await;
    }

    /// Plays what is due, and sends the marks back that fell due.
    async fn play(&mut self) {
        let mut echoes = Vec::new();
        let now = LineTime::from_duration(self.began.elapsed());
        self.playout.play_until(now, &mut Vec::new(), &mut echoes);
        self.echo(echoes).await;
    }

    async fn echo(&mut self, echoes: Vec<Echo>) {
        for Echo { name, .. } in echoes {
            self.sequence += 1;
            let sequence = self.sequence;
            self.write(|out, stream| twilio::write_mark_echo(out, stream, sequence, &name)).await;
        }
    }

    async fn write(&mut self, write: impl FnOnce(&mut Vec<u8>, &str)) {
        let mut text = Vec::new();
        write(&mut text, &self.stream_sid);
        self.text(String::from_utf8(text).expect("the wire's writers make JSON from text")).await;
    }
}
