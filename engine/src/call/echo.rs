//! Our own voice, come back through the caller's telephone.
//!
//! A loudspeaker across the room from its microphone sends back what we said, 20 to 400 ms later, 6 to 30 dB quieter, in
//! other colours. To a voice detector that is speech, and to a recogniser words: without more the agent would interrupt
//! itself. But we know what we sent and, since playout is paced, when it is heard; so an echo is recognised by its course.
//! Both sides are kept as levels of four bands per 10 ms ([`levels`]), which survive loudspeaker, room and codec; the same
//! samples do not. Then
//!
//! 1. **is there an echo?** While sound comes in that could be one, its last 400 ms are correlated with ours at every
//!    delay up to [`DELAY_MAX`]. Speech of somebody else hardly ever follows ours that closely (figures at [`RECOGNISED`]).
//!    Until that is decided, at most `echo_wait_ms`, such a sound takes no floor. Once some seconds of ours were heard
//!    without anything coming back, an echo is not expected, and nothing waits.
//! 2. **is this frame echo?** Delay and loss being known, each band has a level that the echo can reach. What stays below
//!    is ours; what rises above is the caller, who so can interrupt over an echo.
//!
//! Nothing is done while the agent has been silent for longer than an echo takes.

use offhook_codecs::g711;
use offhook_codecs::levels::{BANDS, BLOCK, levels};

use super::receive::FRAME;
use super::signs::{Signs, most_alike};
use super::time::CallTime;
use crate::prefetch::{Prefetch, prefetch};

/// Microseconds of a sample.
const SAMPLE_US: u64 = 125;
/// Blocks and samples are counted from a second before the call, so that there is always something before.
const BEFORE: u64 = 8_000;
/// Blocks of ours that are kept: the lead, the longest echo and the stretch that is compared.
const FAR: usize = 128;
/// Words of signs of ours, and of the line's: 1,024 and 448 ms.
const FAR_WORDS: usize = 128;
const NEAR_WORDS: usize = 56;
/// Blocks that are compared.
const WINDOW: usize = 40;
const WINDOW_SAMPLES: usize = WINDOW * BLOCK;
const WINDOW_WORDS: usize = WINDOW_SAMPLES / 64;
/// The longest echo, in blocks: 440 ms.
const DELAY_MAX: usize = 44;
/// Below this level, in dB as [`levels`] gives them, is silence: 60 dB under full scale.
const SILENT: u8 = 30;

/// What is no louder is the grain of µ-law: 78 dB under full scale.
const NOTHING: u8 = 12;
/// Delays at which the courses fit best: so many are looked at more closely, if they fit so well.
const CANDIDATES: usize = 3;
const FITS: f32 = 0.5;
/// Of this many blocks of sound it is known whether they are an echo.
const SURE: usize = 12;
/// Fewer blocks of sound than this say nothing.
const BLOCKS_MIN: usize = 8;
/// While the caller talks on, and none was found in a whole window, one frame in so many is searched.
const SEARCHED_OF: u8 = 3;
/// To be an echo, so many more signs than half must agree, and some more where few are compared.
const AGREES: f32 = 0.16;
const AGREES_BY_CHANCE: f32 = 0.6;
const AGREES_BY_FIT: f32 = 0.1;
/// The echo's loudest moments lie this far above the level that is learned, in dB: beyond is the caller.
const MARGIN_DB: i16 = 6;
/// In so many of a frame's eight levels the caller must be louder than the echo to be heard.
const CALLER_CELLS: u32 = 2;
/// How fast a room falls silent, per block, in quarters of dB: 60 dB in 400 ms.
const TAIL_FALL: i16 = 6;

/// Whether our voice comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not known yet.
    Unknown,
    /// We were heard for a while, and nothing came back.
    Absent,
    /// It does: so many blocks later.
    Present { delay: usize },
}

/// What a frame of the caller's line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// No echo that is known of.
    Caller,
    /// Our own voice, and no louder than that.
    Echo,
    /// Our own voice, as turns out with this frame: what came before was that as well.
    EchoSinceBefore,
}

pub(super) struct Echo {
    on: bool,
    state: State,
    /// Our levels by their time of playing, in a ring. Apart, like those of the line, as a frame touches little of them.
    far: Box<[[u8; BANDS]; FAR]>,
    far_signs: Signs,
    /// The block after our last one, counted from the beginning of the call.
    far_end: u64,
    /// The newest levels of the line, in a ring.
    near: Box<[[u8; BANDS]; WINDOW]>,
    near_signs: Signs,
    /// The next block of the line, counted like ours: its own count of samples, since arrival comes in bursts.
    near_next: u64,
    /// How late frames came lately, at the least, in blocks; and over how many frames.
    late_min: u64,
    late_frames: u32,
    /// How many blocks of sound the newest search had to go by.
    compared: usize,
    /// Voiced frames until the next search.
    rests: u8,
    /// For each delay, how often we were heard and nothing came back after it.
    refuted: [u8; DELAY_MAX + 1],
    /// How much quieter than ours it comes back, per band, in quarters of dB.
    loss: [i16; BANDS],
    /// What the echo can be at, per band: falls slowly, as rooms do, in quarters of dB.
    tail: [i16; BANDS],
}

impl Prefetch for Echo {
    fn prefetch(&mut self) {
        if self.far_end > 0 {
            self.near_signs.prefetch(self.near_next * BLOCK as u64);
            prefetch(&self.near[self.near_next as usize % WINDOW]);
        }
    }
}

impl Echo {
    /// `on`: whether echoes are looked for at all.
    pub(super) fn new(on: bool) -> Self {
        Self {
            on,
            state: State::Unknown,
            far: Box::new([[0; BANDS]; FAR]),
            far_signs: Signs::new(FAR_WORDS),
            far_end: 0,
            near: Box::new([[0; BANDS]; WINDOW]),
            near_signs: Signs::new(NEAR_WORDS),
            near_next: 0,
            late_min: u64::MAX,
            late_frames: 0,
            compared: 0,
            rests: 0,
            refuted: [0; DELAY_MAX + 1],
            loss: [0; BANDS],
            tail: [0; BANDS],
        }
    }

    /// A message of ours, which is played from `at` on. `ulaw`: 8 kHz.
    pub(super) fn on_sent(&mut self, at: CallTime, ulaw: &[u8]) {
        if !self.on {
            return;
        }
        // To the nearest block: 5 ms do not matter.
        if self.far_end == 0 {
            *self.far = [[0; BANDS]; FAR];
        }
        let mut sample = sample_at(at);
        let mut block = (sample + BLOCK as u64 / 2) / BLOCK as u64;
        for part in ulaw.chunks(BLOCK) {
            let mut pcm = [0; BLOCK];
            g711::decode_ulaw(part, &mut pcm[..part.len()]);
            let now = levels(&pcm[..part.len()]);
            self.far_signs.set(sample, &pcm[..part.len()]);
            sample += part.len() as u64;
            // What was between is silent.
            for silent in self.far_end.max((block + 1).saturating_sub(FAR as u64))..=block {
                self.far[silent as usize % FAR] = [0; BANDS];
            }
            for (kept, level) in self.far[block as usize % FAR].iter_mut().zip(now) {
                *kept = level.max(*kept);
            }
            block += 1;
            self.far_end = self.far_end.max(block);
        }
    }

    /// The carrier was told to drop what it had not played at `now`.
    pub(super) fn on_clear(&mut self, now: CallTime) {
        let from = sample_at(now) / BLOCK as u64 + 1;
        let lead = self.far_end.saturating_sub(from).min(FAR as u64) as usize;
        self.far_signs.clear(from * BLOCK as u64, lead * BLOCK);
        for block in from..self.far_end {
            self.far[block as usize % FAR] = [0; BANDS];
        }
        self.far_end = self.far_end.min(from);
    }

    /// Takes the next frame of the line, which came at `now`. `voiced`: a voice detector calls it speech.
    pub(super) fn frame(&mut self, now: CallTime, pcm: &[i16; FRAME], voiced: bool) -> Heard {
        if self.far_end == 0 {
            return Heard::Caller;
        }
        self.keep_time(now);
        if self.far_end + (DELAY_MAX + WINDOW) as u64 <= self.near_next {
            // No echo is so late: until we speak again, nothing is done.
            (self.far_end, self.near_next) = (0, 0);
            *self.near = [[0; BANDS]; WINDOW];
            return Heard::Caller;
        }
        let mut above = 0;
        for block in pcm.chunks_exact(BLOCK) {
            let now = levels(block);
            let at = self.near_next * BLOCK as u64;
            if now.iter().any(|&level| level > NOTHING) {
                self.near_signs.set(at, block);
            } else {
                self.near_signs.clear(at, BLOCK);
            }
            self.near[self.near_next as usize % WINDOW] = now;
            above += match self.state {
                State::Unknown => {
                    self.refute(now);
                    0
                }
                State::Present { delay } => self.unexplained(now, delay),
                State::Absent => 0,
            };
            self.near_next += 1;
        }
        if !voiced {
            // What comes next may be an echo, and that is to be known soon.
            self.rests = 0;
            return Heard::Caller;
        }
        let known = self.is_present();
        if known && above < CALLER_CELLS {
            return Heard::Echo;
        }
        if !known && self.rests > 0 {
            self.rests -= 1;
            return Heard::Caller;
        }
        match self.search() {
            Some(delay) => {
                self.state = State::Present { delay };
                if known { Heard::Echo } else { Heard::EchoSinceBefore }
            }
            None => {
                if self.compared == WINDOW || self.state == State::Absent {
                    self.rests = SEARCHED_OF - 1;
                }
                Heard::Caller
            }
        }
    }

    /// True while our voice is known to come back.
    pub(super) fn is_present(&self) -> bool {
        matches!(self.state, State::Present { .. })
    }

    /// True as long as what came in may turn out to be an echo.
    pub(super) fn may_yet_be(&self) -> bool {
        self.state == State::Unknown
            && self.far_end > 0
            && self.far_end + DELAY_MAX as u64 > self.near_next
            && self.compared < SURE
    }

    /// The line's own clock: frames come late in bursts and never early, so that the earliest of late says how late all are.
    fn keep_time(&mut self, now: CallTime) {
        let begins = (sample_at(now) - FRAME as u64) / BLOCK as u64;
        if begins < self.near_next || self.near_next == 0 {
            (self.near_next, self.late_min, self.late_frames) = (begins, 0, 0);
        }
        self.late_min = self.late_min.min(begins - self.near_next);
        self.late_frames += 1;
        if self.late_frames >= 50 {
            self.near_next += self.late_min;
            (self.late_min, self.late_frames) = (u64::MAX, 0);
        }
    }

    fn far_at(&self, block: u64) -> [u8; BANDS] {
        if block < self.far_end && block + FAR as u64 > self.far_end {
            self.far[block as usize % FAR]
        } else {
            [0; BANDS]
        }
    }

    /// Counts at which delays an echo should have come with this block, and did not.
    fn refute(&mut self, near: [u8; BANDS]) {
        let loudest = near.into_iter().max().unwrap_or(0);
        for delay in 0..=DELAY_MAX {
            let far = self.far_at(self.near_next - delay as u64).into_iter().max().unwrap_or(0);
            if far >= 55 && loudest <= far - 33 {
                self.refuted[delay] = self.refuted[delay].saturating_add(1);
            }
        }
        if self.refuted.iter().all(|&times| times >= 10) {
            self.state = State::Absent;
        }
    }

    /// In how many bands this block is louder than the echo can be.
    fn unexplained(&mut self, near: [u8; BANDS], delay: usize) -> u32 {
        let mut above = 0;
        let then = self.near_next - delay as u64;
        let around = [then - 1, then, then + 1].map(|block| self.far_at(block));
        let quietest = self.near.iter().fold([u8::MAX; BANDS], |quietest, levels| {
            std::array::from_fn(|band| quietest[band].min(levels[band]))
        });
        for (band, level) in near.into_iter().enumerate() {
            let far = around.iter().map(|levels| levels[band]).max().unwrap_or(0);
            let level = 4 * i16::from(level);
            let echo = 4 * i16::from(far) - self.loss[band];
            self.tail[band] = (self.tail[band] - TAIL_FALL).max(echo);
            let floor = 4 * i16::from(quietest[band].max(SILENT));
            if level > self.tail[band] + 4 * MARGIN_DB && level > floor + 4 * 8 {
                above += 1;
            } else if level > 4 * i16::from(SILENT) + 8 && echo > floor + 8 {
                // Towards the middle of what comes back.
                self.loss[band] += if level > echo { -1 } else { 1 };
            }
        }
        above
    }

    /// The delay at which what came in lately is what we said, if it is.
    fn search(&mut self) -> Option<usize> {
        let (near, sounds) = self.near_window();
        let first = sounds.iter().position(|&sounds| sounds)?;
        self.compared = WINDOW - first;
        if self.compared < BLOCKS_MIN {
            return None;
        }
        let mut fits = self.fits(&near, first);
        let mut line = None;
        for _ in 0..CANDIDATES {
            let delay = (0..=DELAY_MAX).max_by(|&a, &b| fits[a].total_cmp(&fits[b]))?;
            let fit = fits[delay];
            if fit < FITS {
                return None;
            }
            let line = *line.get_or_insert_with(|| self.signs_of_line(&sounds));
            let (agree, blocks) = self.agreement(&line, delay);
            if blocks >= BLOCKS_MIN as f32
                && agree + AGREES_BY_FIT * (fit - FITS) > AGREES + AGREES_BY_CHANCE / blocks.sqrt()
            {
                self.learn(delay, WINDOW - first);
                return Some(delay);
            }
            let around = delay.saturating_sub(2)..=(delay + 2).min(DELAY_MAX);
            fits[around].fill(-1.0);
        }
        None
    }

    /// The newest levels of the line in order, and which of them are sound.
    fn near_window(&self) -> ([[i16; WINDOW]; BANDS], [bool; WINDOW]) {
        let from = self.near_next - WINDOW as u64;
        let mut near = [[0i16; WINDOW]; BANDS];
        for at in 0..WINDOW {
            let levels = self.near[(from as usize + at) % WINDOW];
            near.iter_mut().zip(levels).for_each(|(line, level)| line[at] = i16::from(level.max(SILENT)));
        }
        let loudest = near.as_flattened().iter().copied().max().unwrap_or(0);
        let least = (loudest - 25).max(i16::from(SILENT) + 3);
        let sounds = std::array::from_fn(|at| near.iter().any(|line| line[at] > least));
        (near, sounds)
    }

    /// How well the course of the line follows ours at each delay: 1 exactly, 0 not at all.
    fn fits(&self, near: &[[i16; WINDOW]; BANDS], first: usize) -> [f32; DELAY_MAX + 1] {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { self.fits_avx2(near, first) };
        }
        self.fits_anywhere(near, first)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn fits_avx2(&self, near: &[[i16; WINDOW]; BANDS], first: usize) -> [f32; DELAY_MAX + 1] {
        self.fits_anywhere(near, first)
    }

    #[inline(always)]
    fn fits_anywhere(&self, near: &[[i16; WINDOW]; BANDS], first: usize) -> [f32; DELAY_MAX + 1] {
        let mut fits = [0.0; DELAY_MAX + 1];
        let blocks = WINDOW - first;
        // What of ours is too quiet for its echo to be heard is as quiet as the line.
        let mut far = [[0i16; WINDOW + DELAY_MAX]; BANDS];
        let begin = self.near_next - (WINDOW + DELAY_MAX) as u64;
        for at in 0..WINDOW + DELAY_MAX {
            let levels = self.far_at(begin + at as u64);
            far.iter_mut().zip(levels).for_each(|(line, level)| line[at] = i16::from(level));
        }
        for (band, line) in far.iter_mut().enumerate() {
            let (mut low, mut high) = (i16::MAX, 0);
            near[band][first..].iter().for_each(|&level| (low, high) = (low.min(level), high.max(level)));
            let least = line.iter().copied().max().unwrap_or(0) - (high - low);
            line.iter_mut().for_each(|level| *level = (*level).max(least));
        }
        let n = blocks as f32;
        let (mut sy, mut syy) = ([0.0; BANDS], 0.0);
        for (band, line) in near.iter().enumerate() {
            let (sum, squares) = moments(&line[first..]);
            sy[band] = sum as f32;
            syy += squares as f32 - sy[band] * sy[band] / n;
        }
        for (delay, fit) in fits.iter_mut().enumerate() {
            let (mut sxx, mut sxy) = (0.0, 0.0);
            for band in 0..BANDS {
                let x = &far[band][DELAY_MAX - delay + first..][..blocks];
                let (sum, squares) = moments(x);
                let product = dot(x, &near[band][first..]);
                sxx += squares as f32 - sum as f32 * sum as f32 / n;
                sxy += product as f32 - sum as f32 * sy[band] / n;
            }
            // An echo is quieter by a factor, which is a difference here: not only does it follow, it moves as far.
            if sxx + syy > 0.0 {
                *fit = 2.0 * sxy / (sxx + syy);
            }
        }
        fits
    }

    /// The signs of the line, each word with a mask: all of it where the line `sounds`, and none of it elsewhere.
    fn signs_of_line(&self, sounds: &[bool; WINDOW]) -> [(u64, u64); WINDOW_WORDS] {
        let begin = self.near_next * BLOCK as u64 - WINDOW_SAMPLES as u64;
        std::array::from_fn(|word| {
            let at = 64 * word;
            let mask = if sounds[at / BLOCK] { u64::MAX } else { 0 };
            (self.near_signs.word(begin + at as u64), mask)
        })
    }

    /// How far the signs of the line agree with ours about `delay` blocks before: 1 all, 0 half of them. And how many blocks
    /// of them were compared.
    fn agreement(&self, line: &[(u64, u64); WINDOW_WORDS], delay: usize) -> (f32, f32) {
        const AROUND: usize = 2 * BLOCK;
        let begin = self.near_next * BLOCK as u64 - WINDOW_SAMPLES as u64;
        let first = begin - (delay * BLOCK + AROUND) as u64;
        let mut ours = [0; WINDOW_WORDS + (2 * AROUND).div_ceil(64) + 1];
        self.far_signs.words_from(first, &mut ours);
        let offset = first as usize % 64;
        let best = most_alike(line, &ours, offset, offset + 2 * AROUND);
        let words = line.iter().filter(|(_, mask)| *mask != 0).count() as f32;
        (best as f32 / (words * 32.0).max(1.0), words * 64.0 / BLOCK as f32)
    }

    /// How much quieter it comes back, from the newest `blocks`.
    fn learn(&mut self, delay: usize, blocks: usize) {
        for band in 0..BANDS {
            let (mut sum, mut n) = (0i32, 0);
            for back in 1..=blocks as u64 {
                let block = self.near_next - back;
                let near = self.near[block as usize % WINDOW][band];
                let far = self.far_at(block - delay as u64)[band];
                if near > SILENT + 5 && far > SILENT {
                    sum += 4 * (i32::from(far) - i32::from(near));
                    n += 1;
                }
            }
            // A band in which nothing came back may yet bring what is just below hearing.
            self.loss[band] = if n > 2 { (sum / n) as i16 } else { 4 * 45 };
            self.tail[band] = 4 * i16::from(self.near[(self.near_next - 1) as usize % WINDOW][band]);
        }
    }
}

/// The number of the sample that is played, or comes in, at `time`.
fn sample_at(time: CallTime) -> u64 {
    time.as_micros() / SAMPLE_US + BEFORE
}

#[inline(always)]
fn moments(levels: &[i16]) -> (i32, i32) {
    levels.iter().fold((0, 0), |(sum, squares), &level| {
        (sum + i32::from(level), squares + i32::from(level) * i32::from(level))
    })
}

#[inline(always)]
fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
}
