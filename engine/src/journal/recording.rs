//! The recording of a call: stereo, 16 bits, 8 kHz, the caller on the left, the agent on the right, from the answer to
//! the end.
//!
//! The caller's frames stand where the carrier's timestamps put them, counted from the first frame's arrival; a burst
//! after a stall thus lands where it was spoken. Without timestamps, frames stand one behind the other. What is missing
//! is silent, what comes twice is dropped. A carrier may count wrongly, or not count pauses: so a frame may neither stand
//! more than [`AHEAD_MS_MAX`] after its arrival nor more than [`BEHIND_MS_MAX`] before it, and a lag that stays is made up
//! for by silence.
//!
//! The agent's audio stands where it should have been heard: at its sending, or behind what was sent before. A `clear`
//! drops what would have been heard after it.
//!
//! Samples are final, and go to disk, once nothing can reach back to them. That is now for the agent, the end of the
//! latest frame for the caller. The rest waits in memory as µ-law: some 100 ms of it on a healthy call, and at most
//! [`BEHIND_MS_MAX`] of each side.

use std::collections::VecDeque;
use std::io::{self, Seek, SeekFrom, Write};

use offhook_codecs::g711::ulaw_to_linear;

use crate::call::CallTime;

/// Samples per millisecond.
const PER_MS: u64 = 8;
/// µ-law of a sample of silence.
const SILENCE: u8 = 0xFF;
/// A frame's place may be this far after its arrival: as far as a call takes audio ahead of time.
const AHEAD_MS_MAX: u64 = 1_000;
/// A frame's place may be this far before its arrival: a stall of this length can be caught up.
const BEHIND_MS_MAX: u64 = 20_000;
/// A frame this close to the end of the one before stands right behind it: half of a frame, so that a lost one shows.
const SEAM_MS: u64 = 10;
/// A lag is judged over stretches of this length.
const LAG_WINDOW_MS: u64 = 1_000;
/// A lag that stays is made up for from here on.
const LAG_MS_MAX: u64 = 100;
/// A lag that shrinks by this much from stretch to stretch is being caught up by the carrier.
const LAG_CATCH_UP_MS: u64 = 40;

/// How many samples have passed at `at`, rounded to the nearest.
fn samples_at(at: CallTime) -> u64 {
    (at.as_micros() * PER_MS + 500) / 1_000
}

/// Puts both sides of a call in their places, and gives them out from the front.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    /// Where both sides begin: all before was given out. In samples from the answer, like every place here.
    base: u64,
    caller: VecDeque<u8>,
    agent: VecDeque<u8>,
    /// The latest moment heard of.
    now: u64,
    clock: CarrierClock,
}

/// What the carrier's numbers say about where a frame belongs.
#[derive(Debug, Default)]
struct CarrierClock {
    /// Where the carrier's zero lies.
    zero: Option<i64>,
    timestamp_ms: Option<u32>,
    chunk: Option<u32>,
    lag: Lag,
}

/// How far frames stand before their arrival, at the least, over a stretch of time.
#[derive(Debug, Default)]
struct Lag {
    began: u64,
    least: Option<u64>,
    least_before: Option<u64>,
}

impl Lag {
    /// Takes one frame's lag; gives what to make up for, if it stays.
    fn note(&mut self, arrival: u64, lag: u64) -> u64 {
        if self.least.is_none() {
            self.began = arrival;
        }
        let least = self.least.map_or(lag, |least| least.min(lag));
        self.least = Some(least);
        if arrival - self.began < LAG_WINDOW_MS * PER_MS {
            return 0;
        }
        let before = self.least_before.replace(least);
        self.least = None;
        let stays = before.is_some_and(|before| before <= least + LAG_CATCH_UP_MS * PER_MS);
        if stays && least > LAG_MS_MAX * PER_MS {
            *self = Self::default();
            return least;
        }
        0
    }
}

impl Tracks {
    /// Places a frame of the caller.
    pub(super) fn caller(
        &mut self,
        at: CallTime,
        timestamp_ms: Option<u32>,
        chunk: Option<u32>,
        ulaw: &[u8],
    ) {
        let arrival = self.advance(at);
        let Some(place) = self.place(arrival, timestamp_ms, chunk) else { return };
        let end = self.base + self.caller.len() as u64;
        if place > arrival + AHEAD_MS_MAX * PER_MS {
            return;
        }
        let late = end.saturating_sub(place) as usize;
        let Some(fresh) = ulaw.get(late..).filter(|fresh| !fresh.is_empty()) else { return };
        put(&mut self.caller, self.base, place.max(end), fresh);
        let made_up = self.clock.lag.note(arrival, arrival.saturating_sub(place));
        if made_up > 0 {
            self.clock.zero = self.clock.zero.map(|zero| zero + made_up as i64);
            let length = self.caller.len() + made_up as usize;
            self.caller.resize(length, SILENCE);
        }
    }

    /// Where a frame belongs; `None` for one that came before.
    fn place(&mut self, arrival: u64, timestamp_ms: Option<u32>, chunk: Option<u32>) -> Option<u64> {
        let end = self.base + self.caller.len() as u64;
        let first = self.clock.zero.is_none();
        let came_before = chunk.is_none_or(|chunk| self.clock.chunk.is_some_and(|latest| chunk <= latest));
        let counts_on = match (timestamp_ms, self.clock.timestamp_ms) {
            (Some(timestamp), Some(latest)) => timestamp > latest,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let repeats = if timestamp_ms.is_some() { !counts_on } else { chunk.is_some() };
        if !first && repeats && came_before {
            return None;
        }
        self.clock.chunk = chunk.or(self.clock.chunk);
        self.clock.timestamp_ms = timestamp_ms.or(self.clock.timestamp_ms);

        let offset = timestamp_ms.map_or(0, |timestamp| i64::from(timestamp) * PER_MS as i64);
        let at_arrival = arrival as i64 - offset;
        let zero = *self.clock.zero.get_or_insert(at_arrival);
        if first {
            return Some(arrival);
        }
        if !counts_on {
            return Some(end);
        }
        let place = zero + offset;
        let sane =
            (arrival as i64 - (BEHIND_MS_MAX * PER_MS) as i64)..=(arrival + AHEAD_MS_MAX * PER_MS) as i64;
        if !sane.contains(&place) {
            self.clock.zero = Some(at_arrival);
            return Some(arrival);
        }
        let place = place.max(0) as u64;
        Some(if place.abs_diff(end) < SEAM_MS * PER_MS { end } else { place })
    }

    /// Places a message of the agent, sent at `at`.
    pub(super) fn agent(&mut self, at: CallTime, ulaw: &[u8]) {
        let sent = self.advance(at);
        let end = self.base + self.agent.len() as u64;
        put(&mut self.agent, self.base, sent.max(end), ulaw);
    }

    /// Takes note that time has passed.
    pub(super) fn passed(&mut self, at: CallTime) {
        self.advance(at);
    }

    /// Drops what of the agent would be heard after `at`.
    pub(super) fn clear(&mut self, at: CallTime) {
        let now = self.advance(at);
        self.agent.truncate((now - self.base) as usize);
    }

    /// Gives out all that is final, appended to `out`.
    pub(super) fn take_final(&mut self, out: &mut Vec<Stereo>) {
        let caller_end = self.base + self.caller.len() as u64;
        let reach = self.now.saturating_sub(BEHIND_MS_MAX * PER_MS);
        self.take_until(caller_end.max(reach).min(self.now), out);
    }

    /// Gives out all the rest of a call that ended at `end`: then as many samples were given out as the call lasted.
    pub(super) fn take_rest(&mut self, end: CallTime, out: &mut Vec<Stereo>) {
        let end = self.advance(end);
        self.take_until(end, out);
    }

    fn take_until(&mut self, until: u64, out: &mut Vec<Stereo>) {
        let begin = out.len();
        out.resize(begin + until.saturating_sub(self.base) as usize, [0; 4]);
        for (side, track) in [&mut self.caller, &mut self.agent].into_iter().enumerate() {
            take(track, side, &mut out[begin..]);
            // A burst or a stall needs more room than a healthy call: that is not kept.
            track.shrink_to(KEPT);
        }
        self.base = self.base.max(until);
    }

    fn advance(&mut self, at: CallTime) -> u64 {
        self.now = self.now.max(samples_at(at));
        self.now
    }
}

/// So many samples of the caller are worth being taken out.
const SETTLED: usize = 800;
/// Room that a track keeps, in samples: for what is taken out at once, and the lead that a healthy call's agent has.
const KEPT: usize = 2_048;

/// A sample of each side as it stands in the file: 16 bits each, little-endian, the caller's first.
type Stereo = [u8; 4];

/// Appends `ulaw` to a track so that it begins at `place`, which is at or after the track's end.
fn put(track: &mut VecDeque<u8>, base: u64, place: u64, ulaw: &[u8]) {
    track.resize((place - base) as usize, SILENCE);
    track.extend(ulaw);
}

/// Takes what a track holds, up to the length of `out`, into that side of it.
fn take(track: &mut VecDeque<u8>, side: usize, out: &mut [Stereo]) {
    let held = out.len().min(track.len());
    let (older, newer) = track.as_slices();
    let (first, second) = out[..held].split_at_mut(held.min(older.len()));
    for (part, codes) in [(first, older), (second, newer)] {
        for (both, &code) in part.iter_mut().zip(codes) {
            both[2 * side..][..2].copy_from_slice(&ulaw_to_linear(code).to_le_bytes());
        }
    }
    track.drain(..held);
}

/// A recording on its way to disk.
///
/// The file is readable at any time: its header is brought up to date every [`PATCH_SAMPLES`], so that a crash loses
/// what came since, and players that go by the file's length lose nothing.
#[derive(Debug)]
pub(super) struct Recording<F> {
    tracks: Tracks,
    file: F,
    written: u64,
    patched: u64,
}

/// How many samples of each side may be written before the header says so: 10 s.
const PATCH_SAMPLES: u64 = 10_000 * PER_MS;

impl<F: Write + Seek> Recording<F> {
    /// Begins a recording in an empty file.
    pub(super) fn start(mut file: F) -> io::Result<Self> {
        file.write_all(&wav_header(0))?;
        Ok(Self { tracks: Tracks::default(), file, written: 0, patched: 0 })
    }

    /// Where what happens on the call is told.
    pub(super) fn tracks(&mut self) -> &mut Tracks {
        &mut self.tracks
    }

    /// Takes out of the tracks what is final, once it is enough to be worth it: so they need little room.
    pub(super) fn settle(&mut self, scratch: &mut Scratch) {
        if self.tracks.caller.len() >= SETTLED {
            self.tracks.take_final(&mut scratch.samples);
        }
    }

    /// Writes what was settled, and all else that is final.
    pub(super) fn write(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        self.tracks.take_final(&mut scratch.samples);
        self.write_samples(scratch)?;
        if self.written - self.patched >= PATCH_SAMPLES { self.patch() } else { Ok(()) }
    }

    /// Writes what was settled, and all the rest of a call that ended at `end`.
    pub(super) fn finish(mut self, end: CallTime, scratch: &mut Scratch) -> io::Result<()> {
        self.tracks.take_rest(end, &mut scratch.samples);
        self.write_samples(scratch)?;
        self.patch()?;
        self.file.flush()
    }

    fn write_samples(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        if scratch.samples.is_empty() {
            return Ok(());
        }
        let done = self.file.write_all(scratch.samples.as_flattened());
        self.written += scratch.samples.len() as u64;
        scratch.samples.clear();
        done
    }

    /// Has the header speak of all that was written.
    fn patch(&mut self) -> io::Result<()> {
        self.patched = self.written;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&wav_header(self.written))?;
        self.file.seek(SeekFrom::End(0))?;
        Ok(())
    }
}

/// Memory that recordings share while they write: what is on its way to one of them.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    samples: Vec<Stereo>,
}

/// The 44 bytes before the samples of a WAV file that holds `frames` samples of each side.
///
/// [Multimedia Programming Interface and Data Specifications 1.0](https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html).
fn wav_header(frames: u64) -> [u8; 44] {
    const RATE_HZ: u32 = 1_000 * PER_MS as u32;
    const FRAME_BYTES: u16 = 4;
    // Lengths are 32 bits wide: past 37 hours they stay at the last whole frame that they can tell.
    let data = (frames * u64::from(FRAME_BYTES)).min(u64::from(u32::MAX - 43)) as u32;
    let mut header = [0; 44];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        header[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(b"RIFF");
    put(&(data + 36).to_le_bytes());
    put(b"WAVEfmt ");
    put(&16u32.to_le_bytes());
    put(&1u16.to_le_bytes()); // linear PCM
    put(&2u16.to_le_bytes()); // channels
    put(&RATE_HZ.to_le_bytes());
    put(&(RATE_HZ * u32::from(FRAME_BYTES)).to_le_bytes());
    put(&FRAME_BYTES.to_le_bytes());
    put(&16u16.to_le_bytes()); // bits per sample
    put(b"data");
    put(&data.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    const FRAME: u64 = 20 * PER_MS;

    fn at_ms(ms: u64) -> CallTime {
        CallTime::from_millis(ms)
    }

    /// A frame that can be told from others: all its bytes are `code`.
    fn frame(code: u8) -> [u8; FRAME as usize] {
        [code; FRAME as usize]
    }

    /// Both sides, as runs: the code that the samples were made of, and how many ms of it.
    fn runs(mut tracks: Tracks, end_ms: u64) -> [Vec<(u8, f64)>; 2] {
        let mut out = Vec::new();
        tracks.take_rest(at_ms(end_ms), &mut out);
        assert_eq!(out.len() as u64, end_ms * PER_MS);
        [0, 1].map(|side| {
            let mut runs: Vec<(u8, f64)> = Vec::new();
            for sample in out.iter().map(|both| i16::from_le_bytes([both[2 * side], both[2 * side + 1]])) {
                // From the top, so that silence is 0xFF and not the other code for zero.
                let code = (0..=255).rev().find(|code| ulaw_to_linear(*code) == sample).unwrap();
                match runs.last_mut() {
                    Some((last, ms)) if *last == code => *ms += 1.0 / PER_MS as f64,
                    _ => runs.push((code, 1.0 / PER_MS as f64)),
                }
            }
            runs
        })
    }

    #[test]
    fn frames_stand_from_the_first_arrival_on() {
        let mut tracks = Tracks::default();
        for n in 0..3u8 {
            let ms = u32::from(n) * 20;
            tracks.caller(at_ms(100 + u64::from(ms)), Some(5_000 + ms), Some(n.into()), &frame(n));
        }
        let [left, right] = runs(tracks, 200);
        assert_eq!(left, [(SILENCE, 100.0), (0, 20.0), (1, 20.0), (2, 20.0), (SILENCE, 40.0)]);
        assert_eq!(right, [(SILENCE, 200.0)]);
    }

    #[test]
    fn jitter_does_not_move_frames() {
        let mut tracks = Tracks::default();
        for (n, arrival) in [(0u8, 0), (1, 75), (2, 76), (3, 77), (4, 95), (5, 180)] {
            tracks.caller(at_ms(arrival), Some(u32::from(n) * 20), Some(n.into()), &frame(n));
        }
        let [left, _] = runs(tracks, 200);
        let expected: Vec<_> = (0..6).map(|n| (n, 20.0)).chain([(SILENCE, 80.0)]).collect();
        assert_eq!(left, expected);
    }

    #[test]
    fn burst_after_a_stall_stands_where_it_was_spoken() {
        for counted in [true, false] {
            let mut tracks = Tracks::default();
            let mut sink = Vec::new();
            for n in 0..500u32 {
                let spoken = u64::from(n) * 20;
                let arrival = if (100..350).contains(&n) { 7_000 } else { spoken };
                let timestamp_ms = counted.then_some(n * 20);
                tracks.caller(at_ms(arrival), timestamp_ms, Some(n + 1), &frame((n % 100) as u8));
                tracks.take_final(&mut sink);
            }
            tracks.take_rest(at_ms(10_000), &mut sink);
            assert_eq!(sink.len(), 10_000 * PER_MS as usize);
            for n in 0..500 {
                let middle = n * FRAME as usize + FRAME as usize / 2;
                assert_eq!(sink[middle][..2], ulaw_to_linear((n % 100) as u8).to_le_bytes(), "frame {n}");
            }
        }
    }

    #[test]
    fn missing_frame_is_silent_and_a_repeated_one_is_dropped() {
        let mut tracks = Tracks::default();
        for n in [0u8, 1, 1, 3, 3, 0, 4] {
            let ms = u32::from(n) * 20;
            tracks.caller(at_ms(ms.into()), Some(ms), Some(n.into()), &frame(n));
        }
        let [left, _] = runs(tracks, 100);
        assert_eq!(left, [(0, 20.0), (1, 20.0), (SILENCE, 20.0), (3, 20.0), (4, 20.0)]);
    }

    #[test]
    fn repeated_frame_without_timestamps_is_known_by_its_count() {
        let mut tracks = Tracks::default();
        for (arrival, n) in [(0, 1u8), (20, 2), (21, 2), (40, 3)] {
            tracks.caller(at_ms(arrival), None, Some(n.into()), &frame(n));
        }
        let [left, _] = runs(tracks, 80);
        assert_eq!(left, [(1, 20.0), (2, 20.0), (3, 20.0), (SILENCE, 20.0)]);
    }

    #[test]
    fn timestamps_off_by_a_little_leave_no_seams() {
        let mut tracks = Tracks::default();
        for (n, timestamp) in [(0u8, 0), (1, 21), (2, 38), (3, 60), (4, 83)] {
            tracks.caller(at_ms(u64::from(n) * 20), Some(timestamp), Some(n.into()), &frame(n));
        }
        let [left, _] = runs(tracks, 100);
        assert_eq!(left, [(0, 20.0), (1, 20.0), (2, 20.0), (3, 20.0), (4, 20.0)]);
    }

    #[test]
    fn timestamps_that_lie_do_not_move_audio_away_from_its_arrival() {
        for lie in
            [|_| 0, |n| u32::MAX - n, |n| n * 3_600_000, |n| if n < 50 { n * 20 } else { 4_000_000_000 }]
        {
            let mut tracks = Tracks::default();
            for n in 0..100u32 {
                tracks.caller(at_ms(u64::from(n) * 20), Some(lie(n)), Some(n), &frame(n as u8));
            }
            let [left, _] = runs(tracks, 2_000);
            let expected: Vec<_> = (0..100).map(|n| (n, 20.0)).collect();
            assert_eq!(left, expected);
        }
    }

    #[test]
    fn audio_ahead_of_time_is_dropped() {
        let mut tracks = Tracks::default();
        for n in 0..500u32 {
            tracks.caller(at_ms(u64::from(n)), Some(n * 20), Some(n), &frame(7));
        }
        assert!(tracks.caller.len() as u64 <= (500 + AHEAD_MS_MAX + 20) * PER_MS);
    }

    #[test]
    fn agent_stands_one_message_behind_the_other() {
        let mut tracks = Tracks::default();
        tracks.agent(at_ms(40), &frame(1));
        tracks.agent(at_ms(40), &frame(2));
        tracks.agent(at_ms(65), &frame(3));
        tracks.agent(at_ms(150), &frame(4));
        let [left, right] = runs(tracks, 200);
        assert_eq!(left, [(SILENCE, 200.0)]);
        let expected =
            [(SILENCE, 40.0), (1, 20.0), (2, 20.0), (3, 20.0), (SILENCE, 50.0), (4, 20.0), (SILENCE, 30.0)];
        assert_eq!(right, expected);
    }

    #[test]
    fn clear_drops_what_was_not_heard_and_nothing_overlaps() {
        let mut tracks = Tracks::default();
        for code in 1..=10 {
            tracks.agent(at_ms(0), &frame(code));
        }
        tracks.clear(at_ms(50));
        tracks.agent(at_ms(90), &frame(20));
        tracks.clear(at_ms(150));
        let [_, right] = runs(tracks, 160);
        let expected = [(1, 20.0), (2, 20.0), (3, 10.0), (SILENCE, 40.0), (20, 20.0), (SILENCE, 50.0)];
        assert_eq!(right, expected);
    }

    #[test]
    fn what_reaches_past_the_end_is_cut() {
        let mut tracks = Tracks::default();
        tracks.agent(at_ms(85), &frame(2));
        tracks.caller(at_ms(95), Some(0), None, &frame(1));
        let [left, right] = runs(tracks, 100);
        assert_eq!(left, [(SILENCE, 95.0), (1, 5.0)]);
        assert_eq!(right, [(SILENCE, 85.0), (2, 15.0)]);
    }

    /// An hour in which the carrier falls silent for 3 s in every minute, and does not count those seconds.
    #[test]
    fn an_hour_of_uncounted_stalls_is_as_long_as_the_call_and_does_not_drift() {
        for counted in [true, false] {
            let mut tracks = Tracks::default();
            let (mut out, mut samples, mut n, mut held) = (Vec::new(), 0, 0u32, 0);
            let mut lag_ms = 0;
            for tick in 0..3_600 * 50u64 {
                let arrival = at_ms(tick * 20);
                if tick % 3_000 >= 150 {
                    tracks.caller(arrival, counted.then_some(n * 20), Some(n), &frame(9));
                    n += 1;
                }
                if tick % 3_000 == 2_999 {
                    let end = tracks.base + tracks.caller.len() as u64;
                    lag_ms = (tick * 20).abs_diff(end / PER_MS).max(lag_ms);
                }
                if tick % 50 == 0 {
                    tracks.take_final(&mut out);
                    samples += out.len();
                    out.clear();
                    held = held.max(tracks.caller.len() + tracks.agent.len());
                }
            }
            tracks.take_rest(CallTime::from_micros(3_600_000_049), &mut out);
            samples += out.len();
            assert_eq!(samples, 3_600 * 8_000);
            assert!(lag_ms <= LAG_MS_MAX + 20, "{lag_ms} ms");
            assert!(held < 16_000, "{held} bytes");
        }
    }

    #[test]
    fn caller_who_sends_nothing_costs_bounded_memory() {
        let mut tracks = Tracks::default();
        let mut out = Vec::new();
        for tick in 0..10_000u64 {
            tracks.agent(at_ms(tick * 20), &frame(3));
            tracks.take_final(&mut out);
            out.clear();
            assert!(tracks.agent.len() as u64 <= (BEHIND_MS_MAX + 40) * PER_MS);
        }
    }

    #[test]
    fn file_is_readable_at_any_time_and_exact_at_the_end() {
        let mut file = Cursor::new(Vec::new());
        let mut recording = Recording::start(&mut file).unwrap();
        let mut scratch = Scratch::default();
        for n in 0..1_000u32 {
            recording.tracks().caller(at_ms(u64::from(n) * 20), Some(n * 20), Some(n), &frame(1));
            recording.write(&mut scratch).unwrap();
        }
        assert!(recording.written - recording.patched < PATCH_SAMPLES);
        assert_eq!(recording.patched, PATCH_SAMPLES);
        recording.finish(CallTime::from_micros(20_000_060), &mut scratch).unwrap();
        let bytes = file.into_inner();
        let samples = 20_000 * PER_MS as u32;
        assert_eq!(bytes.len() as u32, 44 + samples * 4);
        let header = header_of(&bytes);
        assert_eq!(header, (2, 8_000, 16, samples * 4));
    }

    /// Channels, rate, bits and bytes of data, by the offsets that the format's document gives.
    fn header_of(wav: &[u8]) -> (u16, u32, u16, u32) {
        assert_eq!((&wav[..4], &wav[8..16], &wav[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
        let u16_at = |at: usize| u16::from_le_bytes([wav[at], wav[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([wav[at], wav[at + 1], wav[at + 2], wav[at + 3]]);
        assert_eq!(u32_at(4) as usize + 8, wav.len());
        assert_eq!((u16_at(20), u32_at(28), u16_at(32)), (1, 32_000, 4));
        (u16_at(22), u32_at(24), u16_at(34), u32_at(40))
    }

    #[derive(Clone, Debug)]
    enum Step {
        Caller(Option<u32>, Option<u32>, usize),
        Agent(usize),
        Clear,
        Passed,
    }

    fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
        let count = || prop::option::of(prop_oneof![any::<u32>(), 0..2_000u32]);
        let step = prop_oneof![
            (count(), count(), 0..400usize).prop_map(|(t, c, n)| Step::Caller(t, c, n)),
            (0..400usize).prop_map(Step::Agent),
            Just(Step::Clear),
            Just(Step::Passed),
        ];
        prop::collection::vec((0..500_000u64, step), 0..60)
    }

    proptest! {
        /// Whatever happens, and however often what is final is taken, the recording is as long as the call, and no
        /// sample depends on when it was taken.
        #[test]
        fn recording_is_as_long_as_the_call(steps in steps()) {
            let (mut often, mut once) = (Tracks::default(), Tracks::default());
            let (mut early, mut late) = (Vec::new(), Vec::new());
            let mut now = 0;
            for (passed, step) in steps {
                now += passed;
                let at = CallTime::from_micros(now);
                for tracks in [&mut often, &mut once] {
                    match step {
                        Step::Caller(timestamp, chunk, n) => tracks.caller(at, timestamp, chunk, &[5; 400][..n]),
                        Step::Agent(n) => tracks.agent(at, &[6; 400][..n]),
                        Step::Clear => tracks.clear(at),
                        Step::Passed => tracks.passed(at),
                    }
                }
                often.take_final(&mut early);
            }
            let end = CallTime::from_micros(now);
            often.take_rest(end, &mut early);
            once.take_rest(end, &mut late);
            prop_assert_eq!(early.len() as u64, samples_at(end));
            // A caller who is further behind than the recording waits for may differ; the agent may not.
            prop_assert!(early.iter().map(|both| &both[2..]).eq(late.iter().map(|both| &both[2..])));
            if now < BEHIND_MS_MAX * 1_000 {
                prop_assert_eq!(early, late);
            }
        }
    }
}
