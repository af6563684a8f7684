//! A media thread: one event loop for all its calls.
//!
//! One wake-up has one order: the inbox (new calls, commands, answers), due deadlines, sockets in, sockets out. Between two
//! sockets it looks into the inbox again, since an answer takes several steps of its call. The
//! clock is read when it begins, for all that it does, and when it ends, for [`Meter`] and the next wait. A
//! panic in a call's step ends that call alone. Nothing is logged here: what an operator should read is left to a speech
//! thread as a [`Notice`].

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::meter::{Meter, NEVER, Rounds};
use super::post::{Letter, OwnedCommand, Post};
use super::seat::{Scratch, Seat};
use crate::call::{EndReason, Outputs};
use crate::engine::EngineError;
use crate::leg::{Inbox, PAYLOAD_BYTES_MAX};
use crate::measure::{MediaThreadMeasures, add};
use crate::prefetch::{Prefetch, prefetch};
use crate::priority::run_soon;
use crate::speech::worker::{Disposal, Notice};

/// Letters taken per wake-up, so that a flood of commands cannot hold up media.
const LETTERS_PER_ROUND: usize = 256;
/// Letters taken between two sockets: an answer goes on to its next step while the thread is busy with other calls.
const LETTERS_BETWEEN_SOCKETS: usize = 2;
/// Socket events taken per wake-up.
const EVENTS_PER_ROUND: usize = 512;
/// From how many calls on the thread naps between its rounds ([`Rounds::nap`]). Waking costs some 25 to 50 µs, a frame of a
/// call that is served with others some 6: with 50 calls a nap halves what a frame costs, with 8 it costs more than it saves.
const NAP_FROM_CALLS: usize = 24;
const WAKER: Token = Token(usize::MAX);

/// A media thread, from outside.
#[derive(Debug)]
pub(crate) struct MediaThread {
    number: usize,
    post: Post,
    join: JoinHandle<()>,
}

impl MediaThread {
    /// Starts the thread `media-<number>`. `core`: where to pin it, if anywhere.
    /// `disposal`: takes the calls that are over.
    pub(crate) fn start(
        number: usize,
        core: Option<core_affinity::CoreId>,
        disposal: Disposal,
    ) -> Result<Self, EngineError> {
        let poll = Poll::new().map_err(EngineError::Thread)?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(EngineError::Thread)?;
        let (post, letters) = Post::new(waker);
        let thread = Loop::new(number, poll, letters, post.clone(), disposal);
        let join = std::thread::Builder::new()
            .name(format!("media-{number}"))
            .spawn(move || {
                // Where pinning is not allowed, the scheduler does as it likes.
                let _ = core.is_some_and(core_affinity::set_for_current);
                run_soon();
                thread.run();
            })
            .map_err(EngineError::Thread)?;
        Ok(Self { number, post, join })
    }

    /// The way to it.
    pub(crate) fn post(&self) -> &Post {
        &self.post
    }

    /// What it measured so far.
    pub(crate) fn measures(&self) -> MediaThreadMeasures {
        self.post.meter().read(format!("media-{}", self.number))
    }

    /// Waits for its end, after [`Post::shut_down`].
    pub(crate) fn join(self) {
        let _ = self.join.join();
    }
}

fn key_of(event: &Event) -> usize {
    event.token().0
}

struct Loop {
    number: usize,
    poll: Poll,
    letters: Receiver<Letter>,
    post: Post,
    seats: Slab<Box<Seat>>,
    disposal: Disposal,
    /// When each seat has something due, by its key, in µs as [`Meter::us`] has them; [`NEVER`] if nothing is. Read at every wake-up, so
    /// it stands apart from the seats, and close together.
    due: Vec<u64>,
    /// Whose moment has come in this wake-up.
    are_due: Vec<usize>,
    by_number: BTreeMap<u64, usize>,
    /// Seats that did something in this wake-up.
    touched: Vec<usize>,
    /// Seats whose sockets may hold more than was read.
    unread: Vec<usize>,
    /// The same, of the wake-up before.
    left_unread: Vec<usize>,
    /// Outboxes in which nothing waits, for the legs that a wake-up touches.
    outboxes: Vec<Vec<u8>>,
    scratch: Scratch,
    shutting_down: bool,
}

impl Loop {
    fn new(number: usize, poll: Poll, letters: Receiver<Letter>, post: Post, disposal: Disposal) -> Self {
        Self {
            number,
            poll,
            letters,
            post,
            seats: Slab::with_capacity(1_024),
            disposal,
            due: Vec::with_capacity(1_024),
            are_due: Vec::with_capacity(1_024),
            by_number: BTreeMap::new(),
            touched: Vec::with_capacity(1_024),
            unread: Vec::with_capacity(64),
            left_unread: Vec::with_capacity(64),
            outboxes: Vec::with_capacity(1_024),
            scratch: Scratch {
                outputs: Outputs::default(),
                inbox: Inbox::new(),
                payload: vec![0; PAYLOAD_BYTES_MAX],
                frames_in: 0,
                frames_out: 0,
                sends_held_up: 0,
                speech_overflows: 0,
                speech_dropped_bytes: 0,
            },
            shutting_down: false,
        }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_ROUND);
        let mut rounds = Rounds::new();
        let mut looks = true;
        loop {
            let due = self.next_due();
            let until = rounds.wait_until(due, self.seats.is_empty(), self.meter());
            events.clear();
            if looks
                && let Err(e) = self.poll.poll(&mut events, self.timeout(until, rounds.latest()))
                && e.kind() != io::ErrorKind::Interrupted
            {
                // Its calls end with it, as by a fault of the engine.
                let (thread, os_error) = (self.number, e.raw_os_error());
                self.disposal.tell(Notice::CannotWait { thread, os_error });
                return;
            }
            let round = rounds.begin(until, looks, self.meter());
            let now = round.now;
            self.read_letters(now);
            self.do_what_is_due(now);
            self.read_on(now);
            self.fetch_ahead(None, events.iter().next().map(key_of));
            let (mut next, mut after_next) =
                (events.iter().skip(1).map(key_of), events.iter().skip(2).map(key_of));
            for event in &events {
                self.take_letters(LETTERS_BETWEEN_SOCKETS, now);
                self.fetch_ahead(next.next(), after_next.next());
                if event.token() != WAKER {
                    self.on_socket(event.token().0, event.is_read_closed() || event.is_error(), now);
                }
            }
            let served = self.flush_touched(now);
            rounds.end(round, served, self.meter());
            self.publish_counts();
            if self.shutting_down && self.seats.is_empty() {
                return;
            }
            looks = self.nap(served, &mut rounds);
        }
    }

    /// Naps before the sockets are looked at again, where one waking can then serve many. False if there was word of
    /// something else before the nap was over.
    fn nap(&self, served: usize, rounds: &mut Rounds) -> bool {
        if served == 0 || self.seats.len() < NAP_FROM_CALLS || !self.unread.is_empty() {
            return true;
        }
        let Some(length) = rounds.nap_length(self.seats.len()) else { return true };
        self.post.nap(length, &self.letters);
        rounds.napped()
    }

    /// How long to wait for sockets, at most.
    fn timeout(&self, until: Option<Instant>, now: Instant) -> Option<Duration> {
        if !self.unread.is_empty() || !self.letters.is_empty() {
            return Some(Duration::ZERO);
        }
        // epoll waits in whole milliseconds and mio rounds up, so a deadline is never met early.
        Some(until?.saturating_duration_since(now))
    }

    fn meter(&self) -> &Meter {
        self.post.meter()
    }

    fn read_letters(&mut self, now: Instant) {
        self.take_letters(LETTERS_PER_ROUND, now);
        if self.post.take_missed() {
            let keys: Vec<usize> = self.by_number.values().copied().collect();
            for key in keys {
                self.take_in(key, now);
            }
        }
    }

    fn take_letters(&mut self, most: usize, now: Instant) {
        for _ in 0..most {
            let Ok(letter) = self.letters.try_recv() else { return };
            match letter {
                Letter::Call(new) => self.seat(new, now),
                Letter::Command { call, command } => {
                    if let Some(&key) = self.by_number.get(&call) {
                        self.with_seat(key, now, |seat, scratch| seat.on_command(now, &command, scratch));
                    }
                }
                Letter::Answers { call } => {
                    if let Some(&key) = self.by_number.get(&call) {
                        self.take_in(key, now);
                    }
                }
                Letter::ShutDown => self.shut_down(now),
            }
        }
    }

    /// Takes what other threads have for a call.
    fn take_in(&mut self, key: usize, now: Instant) {
        self.with_seat(key, now, |seat, scratch| {
            seat.on_arrivals(now, scratch);
            seat.on_answers(now, scratch);
        });
    }

    fn seat(&mut self, mut seat: Box<Seat>, now: Instant) {
        seat.answer(now);
        let entry = self.seats.vacant_entry();
        let key = entry.key();
        let registry = self.poll.registry();
        let watch = |socket| registry.register(socket, Token(key), Interest::READABLE | Interest::WRITABLE);
        let watched = seat.leg().source().map_or(Ok(()), watch);
        self.by_number.insert(seat.number(), key);
        entry.insert(seat);
        if self.due.len() <= key {
            self.due.resize(key + 1, NEVER);
        }
        if let Err(e) = watched {
            add(&self.meter().sockets_unwatched, 1);
            self.disposal.tell(Notice::CannotWatch { thread: self.number, os_error: e.raw_os_error() });
            self.with_seat(key, now, |seat, _| seat.condemn(now));
            return;
        }
        // What was read before the hand-over does not make the socket readable again.
        self.on_socket(key, false, now);
        self.with_seat(key, now, |seat, scratch| seat.on_arrivals(now, scratch));
        if self.shutting_down {
            self.end_all(now);
        }
    }

    /// When the first of the calls has something due.
    fn next_due(&self) -> Option<Instant> {
        let first = self.due.iter().copied().min().filter(|&us| us != NEVER)?;
        Some(self.meter().at(first))
    }

    fn do_what_is_due(&mut self, now: Instant) {
        let now_us = self.meter().us(now);
        let is_due = |(key, due): (usize, &u64)| (*due <= now_us).then_some(key);
        self.are_due.clear();
        self.are_due.extend(self.due.iter().enumerate().filter_map(is_due));
        self.fetch_ahead(None, self.are_due.first().copied());
        for at in 0..self.are_due.len() {
            self.fetch_ahead(self.are_due.get(at + 1).copied(), self.are_due.get(at + 2).copied());
            self.with_seat(self.are_due[at], now, |seat, scratch| seat.on_due(now, scratch));
        }
    }

    /// Asks for what `next` needs beside its seat, and for the seat of the call `after_next`.
    fn fetch_ahead(&mut self, next: Option<usize>, after_next: Option<usize>) {
        if let Some(seat) = next.and_then(|key| self.seats.get_mut(key)) {
            seat.prefetch();
        }
        if let Some(seat) = after_next.and_then(|key| self.seats.get(key)) {
            prefetch(&**seat);
        }
    }

    /// Goes on with the sockets that had more than one wake-up reads: readiness is told once only.
    fn read_on(&mut self, now: Instant) {
        std::mem::swap(&mut self.unread, &mut self.left_unread);
        for at in 0..self.left_unread.len() {
            self.on_socket(self.left_unread[at], false, now);
        }
        self.left_unread.clear();
    }

    /// `closing`: the other side has closed the socket.
    fn on_socket(&mut self, key: usize, closing: bool, now: Instant) {
        // Whoever was read already in this wake-up has had its share. One that is closing is read on by itself.
        if !closing && self.unread.contains(&key) {
            return;
        }
        let mut more = false;
        self.with_seat(key, now, |seat, scratch| more = seat.on_readable(now, closing, scratch));
        if more && !self.unread.contains(&key) {
            self.unread.push(key);
        }
    }

    /// Runs one step of one call, and ends that call alone if the step panics.
    fn with_seat(&mut self, key: usize, now: Instant, step: impl FnOnce(&mut Seat, &mut Scratch)) {
        self.touched.push(key);
        self.guard(key, now, |seat, scratch| {
            step(seat, scratch);
            seat.hurry_speech(now);
        });
    }

    fn guard(&mut self, key: usize, now: Instant, step: impl FnOnce(&mut Seat, &mut Scratch)) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        seat.leg().take_outbox(&mut self.outboxes);
        let scratch = &mut self.scratch;
        if catch_unwind(AssertUnwindSafe(|| step(seat, scratch))).is_err() {
            // The step may have left any of it half done.
            scratch.outputs = Outputs::default();
            scratch.inbox = Inbox::new();
            scratch.payload.resize(PAYLOAD_BYTES_MAX, 0);
            seat.condemn(now);
        }
    }

    /// Everything that this wake-up made goes out, one write per call. Returns for how many calls it was made.
    fn flush_touched(&mut self, now: Instant) -> usize {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for &key in &touched {
            self.guard(key, now, |seat, scratch| seat.flush(now, scratch));
            let Some(seat) = self.seats.get_mut(key) else { continue };
            seat.leg().give_outbox_back(&mut self.outboxes);
            // Rounded up: what wakes for it must find it due.
            self.due[key] = self.post.meter().us(seat.next_due(now)) + 1;
            if seat.is_done(now) {
                self.unseat(key);
            }
        }
        let served = touched.len();
        touched.clear();
        self.touched = touched;
        served
    }

    fn unseat(&mut self, key: usize) {
        let mut seat = self.seats.remove(key);
        let registry = self.poll.registry();
        let _ = seat.leg().source().map(|socket| registry.deregister(socket));
        self.by_number.remove(&seat.number());
        self.disposal.free(seat);
        self.due[key] = NEVER;
        self.meter().calls.fetch_sub(1, Ordering::Relaxed);
    }

    fn shut_down(&mut self, now: Instant) {
        self.shutting_down = true;
        self.end_all(now);
    }

    fn end_all(&mut self, now: Instant) {
        let keys: Vec<usize> = self.by_number.values().copied().collect();
        let command = OwnedCommand::HangUp { reason: EndReason::Shutdown };
        for key in keys {
            self.with_seat(key, now, |seat, scratch| seat.on_command(now, &command, scratch));
        }
    }

    fn publish_counts(&mut self) {
        let scratch = &mut self.scratch;
        let meter = self.post.meter();
        add(&meter.frames_in, std::mem::take(&mut scratch.frames_in));
        add(&meter.frames_out, std::mem::take(&mut scratch.frames_out));
        add(&meter.sends_held_up, std::mem::take(&mut scratch.sends_held_up));
        add(&meter.speech_overflows, std::mem::take(&mut scratch.speech_overflows));
        add(&meter.speech_dropped_bytes, std::mem::take(&mut scratch.speech_dropped_bytes));
    }
}
