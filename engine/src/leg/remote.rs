//! A leg whose connection stays where it is: one that no media thread can poll, such as a pair of HTTP streams.
//!
//! ```text
//! connection ──► LegEnd (on the runtime) ══ arrivals ═══► RemoteLeg (on the media thread) ──► call
//! connection ◄──                         ◄═ departures ══                                 ◄──
//! ```
//!
//! Audio crosses in frames of 20 ms on two bounded, lock-free, one-to-one rings; whoever puts something in wakes the other
//! side. The far end stands in the carrier's place: it returns marks once what was before them was played, and drops what
//! it holds when it is told to clear.

use std::sync::Arc;

use offhook_codecs::g711;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::websocket::{Closed, Flushed};
use crate::call::EndReason;

/// Samples of a frame: 20 ms at 8 kHz.
pub const FRAME_SAMPLES: usize = 160;

/// 1.12 s of audio from the caller, and some room for all else. Full: audio is dropped, counted, and the call is told of the
/// gap, which it conceals; all else finds the places that audio leaves.
const ARRIVALS: usize = 64;
/// Places of that room that audio leaves.
const RESERVED: usize = 8;
/// 1.28 s of audio to the caller: many times what playout runs ahead. Full: the far end does not take it, and the leg is lost.
const DEPARTURES: usize = 64;

/// What a call is told.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// `chunk` counts the frames, those that were dropped among them.
    Audio {
        chunk: u32,
        ulaw: [u8; FRAME_SAMPLES],
    },
    Key(char),
    Mark(u32),
    Stop,
    Lost,
}

/// What a call wants of its connection, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    /// Audio to play: 8 kHz µ-law, at most a frame.
    Audio(Piece),
    /// To be returned by [`LegEnd::mark`] once all before it was played, or dropped.
    Mark(u32),
    /// What was not played yet is not wanted any more.
    Clear,
    /// The call is over, and why: the last of all.
    Close(EndReason),
}

/// Audio of at most a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    len: u8,
    ulaw: [u8; FRAME_SAMPLES],
}

impl Piece {
    /// Of at most [`FRAME_SAMPLES`] samples, 8 kHz µ-law; the rest is cut off.
    pub fn new(ulaw: &[u8]) -> Self {
        let ulaw = &ulaw[..ulaw.len().min(FRAME_SAMPLES)];
        let mut bytes = [0xFF; FRAME_SAMPLES];
        bytes[..ulaw.len()].copy_from_slice(ulaw);
        Self { len: ulaw.len() as u8, ulaw: bytes }
    }

    /// Its samples, 8 kHz µ-law.
    pub fn ulaw(&self) -> &[u8] {
        &self.ulaw[..self.len.into()]
    }
}

/// Wakes the other side.
pub(crate) type Wake = Box<dyn Fn() + Send>;

/// The call's end.
pub(crate) struct RemoteLeg {
    stream: Arc<str>,
    started: bool,
    arrivals: Consumer<Arrival>,
    departures: Producer<Departure>,
    // Below `departures`, since fields are dropped in order: the far end is woken once it can see that the call is gone.
    wake: LastWake,
    news: bool,
    overflown: bool,
}

/// Wakes also for the last time.
struct LastWake(Wake);

impl Drop for LastWake {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The connection's end of a leg: audio and events of the caller in, what the call wants out.
pub struct LegEnd {
    arrivals: Producer<Arrival>,
    departures: Consumer<Departure>,
    notify: Wake,
    chunk: u32,
    dropped: u64,
    samples: Vec<i16>,
    /// The first byte of a sample whose second has not come.
    odd: Option<u8>,
    /// Samples of a frame that has not come whole.
    waiting: Vec<i16>,
}

impl std::fmt::Debug for LegEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LegEnd").field("chunk", &self.chunk).finish_non_exhaustive()
    }
}

/// The two ends. `stream`: the carrier's name for it. `wake` tells the far end of departures; it must not block. `notify` tells
/// the media thread of arrivals.
pub(crate) fn remote(stream: &str, wake: Wake, notify: Wake) -> (RemoteLeg, LegEnd) {
    let (arrival_in, arrival_out) = RingBuffer::new(ARRIVALS);
    let (departure_in, departure_out) = RingBuffer::new(DEPARTURES);
    let leg = RemoteLeg {
        stream: stream.into(),
        started: false,
        arrivals: arrival_out,
        departures: departure_in,
        wake: LastWake(wake),
        news: false,
        overflown: false,
    };
    let end = LegEnd {
        arrivals: arrival_in,
        departures: departure_out,
        notify,
        chunk: 0,
        dropped: 0,
        samples: Vec::with_capacity(4 * FRAME_SAMPLES),
        odd: None,
        waiting: Vec::with_capacity(FRAME_SAMPLES),
    };
    (leg, end)
}

impl RemoteLeg {
    /// The stream's name, once: with it the stream begins.
    pub(super) fn begin(&mut self) -> Option<Arc<str>> {
        (!std::mem::replace(&mut self.started, true)).then(|| Arc::clone(&self.stream))
    }

    /// The next thing that the far end told. A far end that is gone has lost the connection.
    pub(super) fn next_arrival(&mut self) -> Option<Arrival> {
        match self.arrivals.pop() {
            Ok(arrival) => Some(arrival),
            Err(_) if self.arrivals.is_abandoned() => Some(Arrival::Lost),
            Err(_) => None,
        }
    }

    pub(super) fn send_media(&mut self, ulaw: &[u8]) {
        for piece in ulaw.chunks(FRAME_SAMPLES) {
            self.send(Departure::Audio(Piece::new(piece)));
        }
    }

    pub(super) fn send(&mut self, departure: Departure) {
        self.news = true;
        if let Err(PushError::Full(_)) = self.departures.push(departure) {
            self.overflown = true;
        }
    }

    /// Wakes the far end, if there is reason to. Once per wake-up.
    pub(super) fn flush(&mut self) -> Result<Flushed, Closed> {
        if std::mem::take(&mut self.news) {
            (self.wake.0)();
        }
        if self.overflown { Err(Closed) } else { Ok(Flushed::All) }
    }
}

impl LegEnd {
    /// Audio of the caller: 16-bit little-endian samples at 8 kHz, cut anywhere, also in the middle of a sample. It goes on
    /// in whole frames.
    pub fn audio(&mut self, mut pcm: &[u8]) {
        if let Some(low) = self.odd {
            let Some((high, rest)) = pcm.split_first() else { return };
            self.waiting.push(i16::from_le_bytes([low, *high]));
            pcm = rest;
        }
        self.samples.clear();
        self.odd = offhook_codecs::pcm::samples_from_le(pcm, &mut self.samples).first().copied();
        self.waiting.extend_from_slice(&self.samples);
        let whole = self.waiting.len() / FRAME_SAMPLES * FRAME_SAMPLES;
        for frame in self.waiting[..whole].chunks_exact(FRAME_SAMPLES) {
            let mut ulaw = [0; FRAME_SAMPLES];
            g711::encode_ulaw(frame, &mut ulaw);
            self.chunk = self.chunk.wrapping_add(1);
            let has_room = self.arrivals.slots() > RESERVED;
            if !has_room || self.arrivals.push(Arrival::Audio { chunk: self.chunk, ulaw }).is_err() {
                self.dropped += 1;
            }
        }
        self.waiting.drain(..whole);
        if whole > 0 {
            (self.notify)();
        }
    }

    /// The connection for the caller's audio is a new one: what has come of a sample or a frame has no rest.
    pub fn audio_begins_anew(&mut self) {
        self.odd = None;
        self.waiting.clear();
    }

    /// The caller pressed a key. Errors if there is no room, which is so only if the call does not run.
    pub fn key(&mut self, digit: char) -> Result<(), Gone> {
        self.tell(Arrival::Key(digit))
    }

    /// A mark was reached, or dropped.
    pub fn mark(&mut self, mark: u32) -> Result<(), Gone> {
        self.tell(Arrival::Mark(mark))
    }

    /// The caller has hung up.
    pub fn stop(&mut self) -> Result<(), Gone> {
        self.tell(Arrival::Stop)
    }

    /// The next thing that the call wants.
    pub fn next_departure(&mut self) -> Option<Departure> {
        self.departures.pop().ok()
    }

    /// True if the call is gone, and all that it wanted was taken.
    pub fn is_over(&self) -> bool {
        // In this order: what was put in before the other side went can be seen once that can.
        self.departures.is_abandoned() && self.departures.is_empty()
    }

    /// How many frames of the caller's found no room.
    pub fn dropped_frames(&self) -> u64 {
        self.dropped
    }

    fn tell(&mut self, arrival: Arrival) -> Result<(), Gone> {
        let told = self.arrivals.push(arrival).map_err(|_| Gone);
        (self.notify)();
        told
    }
}

impl Drop for LegEnd {
    fn drop(&mut self) {
        // The media thread finds the ring abandoned only once it is, and that comes after this: so it is told in words.
        let _ = self.tell(Arrival::Lost);
    }
}

/// The call does not take what it is told any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call takes no more of its leg")]
pub struct Gone;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn ends() -> (RemoteLeg, LegEnd, Arc<AtomicUsize>) {
        let woken = Arc::<AtomicUsize>::default();
        let counts = woken.clone();
        let wake = Box::new(move || {
            counts.fetch_add(1, Ordering::Relaxed);
        });
        let (leg, end) = remote("s1", wake, Box::new(|| {}));
        (leg, end, woken)
    }

    fn frames(leg: &mut RemoteLeg) -> Vec<(u32, Vec<i16>)> {
        let mut frames = Vec::new();
        while let Some(Arrival::Audio { chunk, ulaw }) = leg.next_arrival() {
            let mut pcm = vec![0; FRAME_SAMPLES];
            g711::decode_ulaw(&ulaw, &mut pcm);
            frames.push((chunk, pcm));
        }
        frames
    }

    #[test]
    fn frames_are_the_same_wherever_the_bytes_are_cut() {
        let samples: Vec<i16> =
            (0..5 * FRAME_SAMPLES as i32).map(|n| ((n * 97) % 20_000 - 10_000) as i16).collect();
        let mut bytes = Vec::new();
        offhook_codecs::pcm::samples_to_le(&samples, &mut bytes);
        let whole = {
            let (mut leg, mut end, _) = ends();
            end.audio(&bytes);
            frames(&mut leg)
        };
        assert_eq!(whole.len(), 5);
        for portion in [1, 2, 3, 7, 319, 320, 321, 4_096] {
            let (mut leg, mut end, _) = ends();
            bytes.chunks(portion).for_each(|piece| end.audio(piece));
            assert_eq!(frames(&mut leg), whole, "in portions of {portion}");
        }
    }

    #[test]
    fn audio_that_finds_no_room_leaves_a_gap_in_the_count_and_room_for_the_rest() {
        let (mut leg, mut end, _) = ends();
        let frame = [0_u8; 2 * FRAME_SAMPLES];
        for _ in 0..100 {
            end.audio(&frame);
        }
        assert_eq!(end.dropped_frames(), 100 - (ARRIVALS - RESERVED) as u64);
        end.key('5').unwrap();
        end.stop().unwrap();
        assert_eq!(frames(&mut leg).len(), ARRIVALS - RESERVED);
        end.audio(&frame);
        assert!(matches!(leg.next_arrival(), Some(Arrival::Stop)), "the key was taken with the frames");
        assert!(matches!(leg.next_arrival(), Some(Arrival::Audio { chunk: 101, .. })));
    }

    #[test]
    fn what_the_call_wants_comes_in_order_and_wakes_once_a_flush() {
        let (mut leg, mut end, woken) = ends();
        leg.send_media(&[1; 200]);
        leg.send(Departure::Mark(7));
        leg.send(Departure::Clear);
        leg.flush().unwrap();
        leg.flush().unwrap();
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        let lengths: Vec<_> = std::iter::from_fn(|| match end.next_departure() {
            Some(Departure::Audio(piece)) => Some(piece.ulaw().len()),
            _ => None,
        })
        .collect();
        assert_eq!(lengths, [160, 40]);
        assert_eq!(end.next_departure(), Some(Departure::Clear), "the mark ended the audio");
        assert!(!end.is_over());
        drop(leg);
        assert!(end.is_over());
        assert_eq!(woken.load(Ordering::Relaxed), 2, "and is woken for the last time");
    }

    #[test]
    fn a_far_end_that_takes_nothing_is_lost() {
        let (mut leg, _end, _) = ends();
        for _ in 0..DEPARTURES {
            leg.send_media(&[1; FRAME_SAMPLES]);
        }
        assert_eq!(leg.flush(), Ok(Flushed::All));
        leg.send_media(&[1; FRAME_SAMPLES]);
        assert_eq!(leg.flush(), Err(Closed));
    }

    #[test]
    fn a_far_end_that_goes_is_told() {
        let (mut leg, end, _) = ends();
        drop(end);
        assert!(matches!(leg.next_arrival(), Some(Arrival::Lost)));
    }
}
