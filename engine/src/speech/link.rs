//! The two rings between a call on its media thread and its session on a speech thread.
//!
//! Both are bounded, lock-free, and one-to-one. A media thread rings the session's [`Bell`] at most once per wake-up. A
//! speech thread wakes the media thread when it has results.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::bell::Bell;
use crate::call::{Failure, Part, Prompt, Then, TurnId, UtteranceId, WordStart};
use crate::prefetch::{Prefetch, prefetch};

/// Audio crosses in pieces of at most a frame.
pub(crate) const PIECE: usize = 160;
/// Room for requests: 0.8 s of audio. Full: audio is dropped and counted, and the call is told of the gap; other
/// requests wait on the media thread, in order.
const REQUESTS: usize = 48;
/// Places of that room that audio leaves to requests.
const RESERVED: usize = 8;
/// Room for results. Full: they wait with the session, in order, and it looks again soon.
const RESULTS: usize = 16;

/// What a call asks of its session.
#[derive(Debug)]
pub(crate) enum Request {
    UtteranceStarted(UtteranceId),
    Audio { len: u8, ulaw: [u8; PIECE] },
    UtteranceEnded { utterance: UtteranceId, speech_ms: u32 },
    AskAgent { turn: TurnId, prompt: Prompt },
    CancelAgent { turn: TurnId },
    AgentHeard { turn: TurnId, text: String, spoken_heard: u32 },
    Synthesize { utterance: UtteranceId, text: String },
    CancelSynthesis { utterance: UtteranceId },
}

/// What a session answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Transcript { utterance: UtteranceId, text: String, is_final: bool },
    Understood { utterance: UtteranceId },
    Says { turn: TurnId, text: String },
    Speaks { turn: TurnId, text: String, audio: Arc<[u8]>, is_last: bool },
    Records { key: String, value: String },
    Done { turn: TurnId, then: Then },
    Failed { turn: TurnId, why: Failure },
    Audio { utterance: UtteranceId, audio: Arc<[u8]>, words: Box<[WordStart]> },
    AudioEnd { utterance: UtteranceId, failed: bool, words: Arc<[WordStart]> },
    Switched(Box<Switch>),
}

/// Another service goes on, as in [`Report::Switched`](super::apart::Report::Switched). Rare, and so not to make an answer large.
#[derive(Debug)]
pub(crate) struct Switch {
    pub(crate) part: Part,
    pub(crate) from: String,
    pub(crate) to: Option<String>,
    pub(crate) why: Failure,
}

/// A call's end.
pub(crate) struct CallEnd {
    requests: Producer<Request>,
    answers: Consumer<Answer>,
    waiting: VecDeque<Request>,
    // Below `requests`, since fields are dropped in order: the bell rings once the session can see that the call is gone.
    bell: LastBell,
    news: News,
}

/// What the session was not told of yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    #[default]
    None,
    Audio,
    Request,
}

/// Rings also for the last time.
struct LastBell(Bell);

impl Drop for LastBell {
    fn drop(&mut self) {
        self.0.ring_and_wake();
    }
}

/// A session's end.
pub(crate) struct SessionEnd {
    requests: Consumer<Request>,
    answers: Producer<Answer>,
    waiting: VecDeque<Answer>,
    notify: Box<dyn Fn() + Send>,
    news: bool,
}

/// The two ends. `bell`: the session's. `notify` tells the media thread that answers are there.
pub(crate) fn link(bell: Bell, notify: Box<dyn Fn() + Send>) -> (CallEnd, SessionEnd) {
    let (request_in, request_out) = RingBuffer::new(REQUESTS);
    let (answer_in, answer_out) = RingBuffer::new(RESULTS);
    let call = CallEnd {
        requests: request_in,
        answers: answer_out,
        waiting: VecDeque::new(),
        bell: LastBell(bell),
        news: News::None,
    };
    let session = SessionEnd {
        requests: request_out,
        answers: answer_in,
        waiting: VecDeque::new(),
        notify,
        news: false,
    };
    (call, session)
}

impl Prefetch for CallEnd {
    fn prefetch(&mut self) {
        self.bell.0.prefetch();
        // The place of the next request.
        if let Ok(mut places) = self.requests.write_chunk_uninit(1)
            && let Some(place) = places.as_mut_slices().0.first()
        {
            prefetch(place);
        }
    }
}

impl CallEnd {
    /// Sends audio of the caller, any length of 8 kHz µ-law. Returns how many bytes were dropped for want of room.
    pub(crate) fn send_audio(&mut self, ulaw: &[u8]) -> usize {
        let mut dropped = 0;
        for piece in ulaw.chunks(PIECE) {
            if !self.waiting.is_empty() || !self.has_room() {
                dropped += piece.len();
                self.news = News::Request;
                continue;
            }
            let mut bytes = [0xFF; PIECE];
            bytes[..piece.len()].copy_from_slice(piece);
            let request = Request::Audio { len: piece.len() as u8, ulaw: bytes };
            if self.requests.push(request).is_err() {
                dropped += piece.len();
            }
            self.news = self.news.max(News::Audio);
        }
        dropped
    }

    /// True if there is room for audio. What the session has taken since is looked at only if there seems to be none: that
    /// number is the session's, and far away.
    fn has_room(&self) -> bool {
        self.requests.cached_slots() > RESERVED || self.requests.slots() > RESERVED
    }

    /// Sends anything else.
    pub(crate) fn send(&mut self, request: Request) {
        self.news = News::Request;
        self.push_waiting();
        if !self.waiting.is_empty() {
            self.waiting.push_back(request);
        } else if let Err(PushError::Full(request)) = self.requests.push(request) {
            // Only now: most calls never need a queue.
            self.waiting.push_back(request);
        }
    }

    /// Rings the session's bell if it was sent something that cannot wait.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if self.news == News::Request {
            self.settle(now);
        }
    }

    /// Rings the session's bell if there is reason to. Once per wake-up.
    pub(crate) fn settle(&mut self, now: Instant) {
        self.push_waiting();
        match std::mem::take(&mut self.news) {
            News::None => {}
            News::Audio => self.bell.0.ring_for_audio(now),
            News::Request => self.bell.0.ring_and_wake(),
        }
    }

    /// The next answer.
    pub(crate) fn next_answer(&mut self) -> Option<Answer> {
        self.answers.pop().ok()
    }

    fn push_waiting(&mut self) {
        while let Some(request) = self.waiting.pop_front() {
            if let Err(PushError::Full(request)) = self.requests.push(request) {
                self.waiting.push_front(request);
                break;
            }
        }
    }
}

impl SessionEnd {
    /// The next request.
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        self.requests.pop().ok()
    }

    /// Sends an answer.
    pub(crate) fn send(&mut self, answer: Answer) {
        self.waiting.push_back(answer);
        self.news = true;
    }

    /// Hands over what is waiting, as far as there is room, and tells the media thread. False if some is left.
    pub(crate) fn settle(&mut self) -> bool {
        while let Some(answer) = self.waiting.pop_front() {
            if let Err(PushError::Full(answer)) = self.answers.push(answer) {
                self.waiting.push_front(answer);
                break;
            }
        }
        if std::mem::take(&mut self.news) {
            (self.notify)();
        }
        self.waiting.is_empty()
    }

    /// True if the call is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.requests.is_abandoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked() -> (CallEnd, SessionEnd) {
        link(Bell::here(crate::media::now()).0, Box::new(|| {}))
    }

    #[test]
    fn audio_that_finds_no_room_is_dropped_and_counted() {
        let (mut call, _session) = linked();
        let second = [0x55; 8_000];
        let dropped = call.send_audio(&second);
        assert_eq!(dropped, 8_000 - (REQUESTS - RESERVED) * PIECE);
    }

    #[test]
    fn requests_wait_in_order_when_the_ring_is_full() {
        let (mut call, mut session) = linked();
        for n in 0..200 {
            call.send(Request::CancelAgent { turn: TurnId(n) });
        }
        let mut got = Vec::new();
        loop {
            call.settle(crate::media::now());
            let before = got.len();
            while let Some(Request::CancelAgent { turn }) = session.next_request() {
                got.push(turn.0);
            }
            if got.len() == before {
                break;
            }
        }
        assert_eq!(got, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn answers_wait_in_order_when_the_ring_is_full() {
        let (mut call, mut session) = linked();
        for n in 0..200 {
            session.send(Answer::Failed { turn: TurnId(n), why: Failure::Slow });
        }
        assert!(!session.settle(), "not all fit at once");
        let mut got = Vec::new();
        while got.len() < 200 {
            while let Some(Answer::Failed { turn, .. }) = call.next_answer() {
                got.push(turn.0);
            }
            session.settle();
        }
        assert_eq!(got, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_session_learns_that_its_call_is_gone() {
        let (call, session) = linked();
        drop(call);
        assert!(session.is_over());
    }
}
