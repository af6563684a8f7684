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

use offhook_codecs::g711::decode_ulaw;

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

    /// Gives out all that is final, as interleaved samples appended to `out`.
    pub(super) fn take_final(&mut self, out: &mut Vec<i16>) {
        let caller_end = self.base + self.caller.len() as u64;
        let reach = self.now.saturating_sub(BEHIND_MS_MAX * PER_MS);
        self.take_until(caller_end.max(reach).min(self.now), out);
    }

    /// Gives out all the rest of a call that ended at `end`: then as many samples were given out as the call lasted.
    pub(super) fn take_rest(&mut self, end: CallTime, out: &mut Vec<i16>) {
        let end = self.advance(end);
        self.take_until(end, out);
    }

    fn take_until(&mut self, until: u64, out: &mut Vec<i16>) {
        let mut ulaw = [[SILENCE; PIECE]; 2];
        let mut linear = [[0; PIECE]; 2];
        while self.base < until {
            let length = (until - self.base).min(PIECE as u64) as usize;
            for ((track, ulaw), linear) in
                [&mut self.caller, &mut self.agent].into_iter().zip(&mut ulaw).zip(&mut linear)
            {
                ulaw.fill(SILENCE);
                let held = length.min(track.len());
                ulaw.iter_mut().zip(track.drain(..held)).for_each(|(to, from)| *to = from);
                decode_ulaw(&ulaw[..length], &mut linear[..length]);
            }
            let [left, right] = &linear;
            out.extend(left.iter().zip(right).take(length).flat_map(|(left, right)| [*left, *right]));
            self.base += length as u64;
        }
    }

    fn advance(&mut self, at: CallTime) -> u64 {
        self.now = self.now.max(samples_at(at));
        self.now
    }
}

/// Samples that are decoded at once.
const PIECE: usize = 800;

/// Appends `ulaw` to a track so that it begins at `place`, which is at or after the track's end.
fn put(track: &mut VecDeque<u8>, base: u64, place: u64, ulaw: &[u8]) {
    track.resize((place - base) as usize, SILENCE);
    track.extend(ulaw);
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

    /// Writes all that is final.
    pub(super) fn write(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        scratch.samples.clear();
        self.tracks.take_final(&mut scratch.samples);
        self.write_samples(scratch)?;
        if self.written - self.patched >= PATCH_SAMPLES { self.patch() } else { Ok(()) }
    }

    /// Writes all the rest of a call that ended at `end`.
    pub(super) fn finish(mut self, end: CallTime, scratch: &mut Scratch) -> io::Result<()> {
        scratch.samples.clear();
        self.tracks.take_rest(end, &mut scratch.samples);
        self.write_samples(scratch)?;
        self.patch()?;
        self.file.flush()
    }

    fn write_samples(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        if scratch.samples.is_empty() {
            return Ok(());
        }
        scratch.bytes.clear();
        scratch.bytes.extend(scratch.samples.iter().flat_map(|sample| sample.to_le_bytes()));
        self.file.write_all(&scratch.bytes)?;
        self.written += scratch.samples.len() as u64 / 2;
        Ok(())
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

/// Memory that recordings share while they write.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    samples: Vec<i16>,
    bytes: Vec<u8>,
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
