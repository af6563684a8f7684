//! One caller: what it says when, and what it hears.
//!
//! It speaks for a second, hears the answer, speaks again; every second answer it interrupts after 1.5 s. So an agent
//! that answers with two seconds of speech after 0.7 s of silence has the floor for half of the time.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use offhook_codecs::noise::Random;
use offhook_codecs::wire::twilio::{self, Place};
use offhook_codecs::wire::{MediaFormat, Outgoing, Start};

use super::connect::Connected;
use super::frames;
use super::stats::Times;

/// A frame: 20 ms at 8 kHz.
pub(super) const FRAME: usize = 160;
/// A pause in which nothing is sent that can be heard: what telephones send that suppress noise.
pub const SILENCE: [u8; FRAME] = [0xFF; FRAME];
/// A second.
const HISS_SAMPLES: usize = 50 * FRAME;
/// Frames of speech in a turn: 1 s.
const SPEECH: u32 = 50;
/// Frames from the beginning of a turn to that of the next: long enough to hear two seconds of answer out.
const HEARD_OUT: u32 = 190;
/// The same, where the answer is interrupted.
const INTERRUPTED: u32 = 160;
/// How long a server waits in silence before it answers: its default.
pub(super) const ENDPOINTING: Duration = Duration::from_millis(700);
/// The same after an interruption, where silence is what tells words from a cough.
const INTERRUPTION_ENDS: Duration = Duration::from_millis(500);

/// What callers send. All 8 kHz µ-law.
#[derive(Clone, Copy, Debug)]
pub struct Audio<'a> {
    /// What they say: at least a second.
    pub speech: &'a [u8],
    /// What is on the line between their words: whole frames, over and over.
    pub pause: &'a [u8],
}

/// A second of the hiss of a line, 67 dB below full scale.
pub fn hiss() -> Vec<u8> {
    let mut random = Random::new(1);
    // Either sign, and the four codes from zero on: up to 24 of 32,768.
    (0..HISS_SAMPLES).map(|_| 0xFF ^ random.bits() as u8 & 0x83).collect()
}

/// What all callers of a window heard.
#[derive(Debug, Default)]
pub struct Heard {
    /// Frames sent.
    pub sent: u64,
    /// Frames sent that were speech.
    pub spoken: u64,
    /// Samples of agent audio that came.
    pub samples: u64,
    /// Messages of agent audio that came.
    pub messages: u64,
    /// From a frame to its echo: the floor only.
    pub echo: Times,
    /// From the first frame of an interruption to `clear`.
    pub barge_in: Times,
    /// Interruptions of an agent that spoke, which no `clear` followed.
    pub ignored: u64,
    /// From the last frame of speech to the first message of the answer, less the endpointing silence.
    pub answer: Times,
    /// Holes in an answer, as a playout buffer of no size of its own hears them.
    pub underruns: u64,
    /// How late the caller itself was with a frame.
    pub own: Times,
    /// Calls that were closed or broken.
    pub lost: u64,
}

pub(super) struct Caller {
    pub(super) socket: TcpStream,
    call: String,
    stream: String,
    token: Option<String>,
    echoes: bool,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    sequence: u32,
    frame: u32,
    /// Frames until the next turn begins.
    until_turn: u32,
    turns: u32,
    /// When what is held of the answer will have been played.
    play_until: Option<Instant>,
    marks: VecDeque<(Instant, String)>,
    sent_at: VecDeque<Instant>,
    loud_at: Option<Instant>,
    /// When its turn ended, and how much silence the server waits for after that.
    spoke_at: Option<Instant>,
    endpointing: Duration,
    gone: bool,
}

impl Caller {
    /// `wait`: frames of silence before it first speaks. `echoes`: whether it talks to the floor.
    pub(super) fn new(connected: Connected, wait: u32, echoes: bool) -> Self {
        let Connected { socket, token, call } = connected;
        Self {
            socket: TcpStream::from_std(socket),
            stream: call.replacen("CA", "MZ", 1),
            call,
            token,
            echoes,
            inbox: Vec::with_capacity(4 * 1024),
            outbox: Vec::with_capacity(1024),
            sequence: 1,
            frame: 0,
            until_turn: wait,
            turns: 0,
            play_until: None,
            marks: VecDeque::new(),
            sent_at: VecDeque::new(),
            loud_at: None,
            spoke_at: None,
            endpointing: ENDPOINTING,
            gone: false,
        }
    }

    /// Says what the carrier says first.
    pub(super) fn begin(&mut self, text: &mut Vec<u8>) {
        if self.echoes {
            return;
        }
        self.put(text, |text, _| twilio::write_connected(text));
        self.put(text, |text, caller| {
            let parameters =
                caller.token.iter().map(|token| ("token".into(), token.as_str().into())).collect();
            let format = MediaFormat { encoding: "audio/x-mulaw".into(), sample_rate_hz: 8_000, channels: 1 };
            let start =
                Start { account: "AC1".into(), call: caller.call.as_str().into(), format, parameters };
            twilio::write_start(text, &caller.stream, &start);
        });
    }

    /// Sends the next frame, and the marks whose audio was played.
    pub(super) fn tick(
        &mut self,
        now: Instant,
        due: Instant,
        audio: Audio<'_>,
        text: &mut Vec<u8>,
        heard: &mut Heard,
    ) {
        if self.gone {
            return;
        }
        while self.marks.front().is_some_and(|(at, _)| *at <= now) {
            self.return_mark(text);
        }
        let said = self.script(now, heard);
        let frame = match said {
            Some(frame) => &audio.speech[frame as usize * FRAME..][..FRAME],
            None => &audio.pause[self.frame as usize * FRAME % audio.pause.len()..][..FRAME],
        };
        self.sequence += 1;
        self.frame += 1;
        let place = Place { sequence: self.sequence, chunk: self.frame, timestamp_ms: (self.frame - 1) * 20 };
        self.put(text, |text, caller| twilio::write_inbound_media(text, &caller.stream, place, frame));
        if self.echoes {
            self.sent_at.push_back(now);
        }
        heard.sent += 1;
        heard.spoken += u64::from(said.is_some());
        heard.own.add(now.saturating_duration_since(due));
        self.flush(heard);
    }

    /// Which frame of its speech it says now, if any.
    fn script(&mut self, now: Instant, heard: &mut Heard) -> Option<u32> {
        if self.until_turn == 0 {
            self.turns += 1;
            self.until_turn = if self.turns.is_multiple_of(2) { INTERRUPTED } else { HEARD_OUT };
            // Only who is audibly interrupted can be asked how long that took.
            let speaks = self.play_until.is_some_and(|until| until > now);
            self.loud_at = speaks.then_some(now);
            self.endpointing = if speaks { INTERRUPTION_ENDS } else { ENDPOINTING };
            self.spoke_at = None;
        }
        self.until_turn -= 1;
        if self.turns == 0 {
            return None;
        }
        let length = if self.turns.is_multiple_of(2) { INTERRUPTED } else { HEARD_OUT };
        let place = length - 1 - self.until_turn;
        if place >= SPEECH {
            return None;
        }
        if place + 1 == SPEECH {
            self.spoke_at = Some(now);
            if self.loud_at.take().is_some() {
                heard.ignored += 1;
            }
        }
        Some(place)
    }

    /// Reads what has come.
    pub(super) fn read(&mut self, now: Instant, scratch: &mut [u8], heard: &mut Heard) {
        while !self.gone {
            match self.socket.read(scratch) {
                Ok(0) => self.lose(heard),
                Ok(n) => {
                    self.inbox.extend_from_slice(&scratch[..n]);
                    if n < scratch.len() {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.lose(heard),
            }
        }
        let inbox = std::mem::take(&mut self.inbox);
        let mut at = 0;
        while let Some((opcode, payload, used)) = frames::split(&inbox[at..]) {
            at += used;
            match opcode {
                1 if self.echoes => {
                    let sent = self.sent_at.pop_front();
                    heard.messages += 1;
                    if let Some(sent) = sent {
                        heard.echo.add(now.saturating_duration_since(sent));
                    }
                }
                1 => self.hear(now, payload, heard),
                8 => self.lose(heard),
                _ => {}
            }
        }
        self.inbox = inbox;
        self.inbox.drain(..at);
    }

    fn hear(&mut self, now: Instant, message: &[u8], heard: &mut Heard) {
        let message = std::str::from_utf8(message).unwrap_or_default();
        match twilio::parse_outgoing(message) {
            Ok(Outgoing::Media { payload, .. }) => {
                let padding = payload.bytes().rev().take_while(|byte| *byte == b'=').count();
                let samples = (payload.len() / 4 * 3 - padding) as u64;
                heard.samples += samples;
                heard.messages += 1;
                if let Some(spoke) = self.spoke_at.take() {
                    heard.answer.add(now.saturating_duration_since(spoke + self.endpointing));
                } else if self.play_until.is_some_and(|until| until < now) && self.marks.is_empty() {
                    heard.underruns += 1;
                }
                let from = self.play_until.map_or(now, |until| until.max(now));
                self.play_until = Some(from + Duration::from_micros(samples * 125));
            }
            Ok(Outgoing::Mark { name, .. }) => {
                let at = self.play_until.map_or(now, |until| until.max(now));
                self.marks.push_back((at, name.into_owned()));
            }
            Ok(Outgoing::Clear { .. }) => {
                self.play_until = None;
                self.marks.iter_mut().for_each(|(at, _)| *at = now);
                if let Some(loud) = self.loud_at.take() {
                    heard.barge_in.add(now.saturating_duration_since(loud));
                }
            }
            Ok(Outgoing::Error | Outgoing::Unknown { .. }) | Err(_) => heard.lost += 1,
        }
    }

    fn return_mark(&mut self, text: &mut Vec<u8>) {
        let Some((_, name)) = self.marks.pop_front() else { return };
        self.sequence += 1;
        let sequence = self.sequence;
        self.put(text, |text, caller| twilio::write_mark_echo(text, &caller.stream, sequence, &name));
        // What comes next is a new utterance, however late.
        self.play_until = None;
    }

    fn put(&mut self, text: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>, &Self)) {
        text.clear();
        write(text, self);
        frames::put_text(&mut self.outbox, text);
    }

    pub(super) fn flush(&mut self, heard: &mut Heard) {
        while !self.outbox.is_empty() && !self.gone {
            match self.socket.write(&self.outbox) {
                Ok(n) => drop(self.outbox.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.lose(heard),
            }
        }
    }

    fn lose(&mut self, heard: &mut Heard) {
        if !std::mem::replace(&mut self.gone, true) {
            heard.lost += 1;
        }
    }
}
