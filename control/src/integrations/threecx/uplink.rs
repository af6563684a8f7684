//! What is written to a call's audio stream, and when.
//!
//! 3CX plays what it is sent and has no word for "drop what you hold". So what it is sent runs at most [`LEAD`] ahead of real
//! time, and the rest of what playout gives waits here, where it can be dropped: at a clear nothing more is written, and the
//! caller hears what is on its way, which is less than a tenth of a second. When there is nothing to say, silence is written in
//! real time, so that nothing between here and there takes the stream for dead.
//!
//! Marks come back as a carrier returns them: once all that was written before them was played, by the clock, or at a clear.

use std::collections::VecDeque;
use std::time::Duration;

use offhook_codecs::{g711, pcm};
use offhook_engine::leg::{Departure, FRAME_SAMPLES, Piece};
use tokio::time::Instant;

/// How far what is written runs ahead of real time, at most. What the caller hears of it after an interruption is this much and
/// the way to 3CX; what rides out a late wake-up and the network's jitter is this less a frame.
pub const LEAD: Duration = Duration::from_millis(60);

/// Silence is written so long before it is needed: what is said next must not wait for it.
const IDLE_LEAD: Duration = Duration::from_millis(5);

const FRAME: Duration = Duration::from_millis(20);

#[derive(Debug)]
enum Waiting {
    Audio(Piece),
    Mark(u32),
}

/// Paces one stream. Knows no clock: times are arguments.
#[derive(Debug, Default)]
pub struct Uplink {
    waiting: VecDeque<Waiting>,
    /// When all that was written will have been played.
    until: Option<Instant>,
    /// Marks whose audio was written, and when it will have been played.
    marks: VecDeque<(u32, Instant)>,
    /// To be returned now.
    reached: Vec<u32>,
}

impl Uplink {
    /// Takes what a call wants. The end of it is the caller's to see.
    pub fn take(&mut self, departure: Departure) {
        match departure {
            Departure::Audio(piece) => self.waiting.push_back(Waiting::Audio(piece)),
            Departure::Mark(mark) => self.waiting.push_back(Waiting::Mark(mark)),
            Departure::Clear => {
                self.reached.extend(self.marks.drain(..).map(|(mark, _)| mark));
                self.reached.extend(self.waiting.drain(..).filter_map(|waiting| match waiting {
                    Waiting::Mark(mark) => Some(mark),
                    Waiting::Audio(_) => None,
                }));
            }
            Departure::Close(_) => {}
        }
    }

    /// Appends what is to be written now to `out`: 16-bit little-endian samples at 8 kHz.
    pub fn write(&mut self, now: Instant, out: &mut Vec<u8>) {
        // What was late was silence to the caller; the rest is not hurried for it.
        let mut until = self.until.unwrap_or(now).max(now);
        loop {
            match self.waiting.front() {
                Some(Waiting::Mark(mark)) => {
                    self.marks.push_back((*mark, until));
                    self.waiting.pop_front();
                }
                Some(Waiting::Audio(piece)) if until + length(piece.ulaw().len()) <= now + LEAD => {
                    let mut samples = [0; FRAME_SAMPLES];
                    let samples = &mut samples[..piece.ulaw().len()];
                    g711::decode_ulaw(piece.ulaw(), samples);
                    pcm::samples_to_le(samples, out);
                    until += length(samples.len());
                    self.waiting.pop_front();
                }
                None if until <= now + IDLE_LEAD => {
                    pcm::samples_to_le(&[0; FRAME_SAMPLES], out);
                    until += FRAME;
                }
                Some(Waiting::Audio(_)) | None => break,
            }
        }
        self.until = Some(until);
    }

    /// The next mark that was reached by `now`.
    pub fn next_mark(&mut self, now: Instant) -> Option<u32> {
        if !self.reached.is_empty() {
            return Some(self.reached.remove(0));
        }
        let (mark, _) = self.marks.pop_front_if(|(_, at)| *at <= now)?;
        Some(mark)
    }

    /// When there is something to write or a mark to return, if nothing else comes first.
    pub fn next_due(&self, now: Instant) -> Instant {
        let Some(until) = self.until.filter(|_| self.reached.is_empty()) else { return now };
        let write = match self.waiting.front() {
            Some(Waiting::Mark(_)) => now,
            Some(Waiting::Audio(piece)) => back(until + length(piece.ulaw().len()), LEAD),
            None => back(until, IDLE_LEAD),
        };
        self.marks.front().map_or(write, |(_, at)| write.min(*at)).max(now)
    }

    /// The stream is a new one: nothing of the old one is played any more.
    pub fn begin_anew(&mut self) {
        self.until = None;
    }
}

fn length(samples: usize) -> Duration {
    Duration::from_micros(samples as u64 * 125)
}

fn back(at: Instant, by: Duration) -> Instant {
    at.checked_sub(by).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays what is written in real time, and keeps how far ahead it ever ran.
    struct Line {
        uplink: Uplink,
        now: Instant,
        written: Vec<(Instant, Vec<i16>)>,
        marks: Vec<(u32, Instant)>,
    }

    impl Line {
        fn new() -> Self {
            Self { uplink: Uplink::default(), now: Instant::now(), written: Vec::new(), marks: Vec::new() }
        }

        fn say(&mut self, frames: usize) {
            for _ in 0..frames {
                self.uplink.take(Departure::Audio(Piece::new(&[0x10; FRAME_SAMPLES])));
            }
        }

        /// Time passes; whoever waits is woken when it is due.
        fn pass(&mut self, time: Duration) {
            let end = self.now + time;
            loop {
                let mut bytes = Vec::new();
                self.uplink.write(self.now, &mut bytes);
                let mut samples = Vec::new();
                assert!(pcm::samples_from_le(&bytes, &mut samples).is_empty());
                if !samples.is_empty() {
                    self.written.push((self.now, samples));
                }
                while let Some(mark) = self.uplink.next_mark(self.now) {
                    self.marks.push((mark, self.now));
                }
                let due = self.uplink.next_due(self.now);
                assert!(due > self.now, "what was due was just done");
                if due > end {
                    break;
                }
                self.now = due;
            }
            self.now = end;
        }

        /// When the caller hears the last sample that is no silence.
        fn last_heard(&self) -> Instant {
            let mut until = self.written[0].0;
            let mut last = until;
            for (at, samples) in &self.written {
                until = until.max(*at) + length(samples.len());
                if samples.iter().any(|sample| *sample != 0) {
                    last = until;
                }
            }
            last
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_interruption_is_silent_within_a_tenth_of_a_second_whenever_it_comes() {
        for after_ms in (200..260).step_by(7) {
            let mut line = Line::new();
            line.pass(SECOND / 3);
            line.say(20);
            line.pass(Duration::from_millis(after_ms));
            let decided = line.now;
            line.uplink.take(Departure::Clear);
            line.pass(SECOND);
            let heard_after = line.last_heard().saturating_duration_since(decided);
            assert!(heard_after <= LEAD, "{heard_after:?} after the decision");
            assert!(heard_after >= LEAD - 2 * FRAME, "the lead is what rides out jitter: {heard_after:?}");
        }
    }

    #[test]
    fn all_that_is_said_is_written_once_without_a_hole_and_silence_before_and_after_it() {
        let mut line = Line::new();
        line.pass(SECOND);
        let said = line.now;
        line.say(25);
        line.pass(SECOND);
        let loud: usize = line.written.iter().flat_map(|(_, samples)| samples).filter(|s| **s != 0).count();
        assert_eq!(loud, 25 * FRAME_SAMPLES);
        let all: Vec<i16> = line.written.iter().flat_map(|(_, samples)| samples.clone()).collect();
        let first = all.iter().position(|sample| *sample != 0).unwrap();
        assert!(all[first..first + loud].iter().all(|sample| *sample != 0), "no hole");
        let seconds = all.len() as f64 / 8_000.0;
        assert!((1.99..2.1).contains(&seconds), "as much as time has passed: {seconds}");
        let waited = length(first).saturating_sub(SECOND);
        assert!(waited <= FRAME + IDLE_LEAD, "{waited:?} from {said:?}");
    }

    #[test]
    fn a_mark_comes_back_when_its_audio_was_played_and_at_once_when_it_was_dropped() {
        let mut line = Line::new();
        line.say(10);
        line.uplink.take(Departure::Mark(1));
        line.say(10);
        line.uplink.take(Departure::Mark(2));
        let began = line.now;
        line.pass(Duration::from_millis(300));
        assert_eq!(line.marks, [(1, began + Duration::from_millis(200))]);
        line.uplink.take(Departure::Clear);
        line.pass(FRAME);
        assert_eq!(line.marks[1], (2, began + Duration::from_millis(300)));
        line.uplink.take(Departure::Mark(3));
        line.pass(SECOND);
        assert_eq!(line.marks.len(), 3, "and a mark with nothing before it");
    }

    #[test]
    fn who_wakes_late_goes_on_and_does_not_hurry() {
        let mut line = Line::new();
        line.say(10);
        line.pass(FRAME);
        line.now += SECOND;
        line.pass(SECOND);
        let most = line.written.iter().map(|(_, samples)| samples.len()).max().unwrap();
        assert!(length(most) <= LEAD, "{most} samples at once");
    }
}
