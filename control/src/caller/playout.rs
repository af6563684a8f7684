//! The carrier's playout buffer: what a server sends, played to the caller at 8 kHz, no faster and no slower.
//!
//! ```text
//!  media ──► [ audio ............ | mark | audio ... | mark ] ──► heard, one sample per 125 µs
//!  clear ──► drops it all, and returns every mark at once
//! ```
//!
//! It behaves as [Twilio Media Streams][ws] describe theirs: payloads of any size are appended and played in order; a mark
//! comes back when all audio before it was played, at once when there is none; `clear` empties the buffer and returns
//! all outstanding marks. Audio that comes when the buffer is empty is heard from the moment it comes.
//!
//! An **underrun** is a hole in something said: the buffer ran dry, the last thing in it was audio (no mark and no
//! `clear` closed it), and more audio came within [`UNDERRUN_MAX`]. A longer pause is taken as the server's intention.
//!
//! No clock here: whoever calls says what time it is, and time never goes back.
//!
//! [ws]: https://www.twilio.com/docs/voice/media-streams/websocket-messages

use std::collections::VecDeque;

use super::time::{HZ, LineTime};

/// µ-law silence, heard where there is nothing to play.
pub const SILENCE: u8 = 0xFF;

/// A gap up to this long, in samples (500 ms), is an underrun; a longer one is a pause, after which a caller may well take
/// the floor.
pub const UNDERRUN_MAX: u64 = HZ / 2;

/// The most that is buffered, in samples: 5 minutes. Full: the newest audio is dropped and counted in
/// [`PlayoutCounts::overflow_samples`]. Twilio's own limit is not documented, only that there is one (its error 31930).
pub const CAPACITY: usize = 300 * HZ as usize;

/// The most marks that can be outstanding. Full: the newest is dropped and counted in [`PlayoutCounts::marks_dropped`].
pub const MARKS_MAX: usize = 4_096;

/// A mark that goes back to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Its name.
    pub name: String,
    /// When all audio before it was played, or was dropped.
    pub at: LineTime,
    /// True if a `clear` sent it back, so that its audio was not heard to the end.
    pub cleared: bool,
}

/// A hole in something said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Underrun {
    /// When the buffer ran dry.
    pub at: LineTime,
    /// For how long, in samples.
    pub samples: u64,
}

/// What a playout buffer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutCounts {
    /// How often it ran dry in the middle of something said.
    pub underruns: u32,
    /// How long those holes were together, in samples.
    pub underrun_samples: u64,
    /// Holes that were this side's own doing, and are not among [`PlayoutCounts::underruns`]: see [`Playout::excuse`].
    pub own_underruns: u32,
    /// How many `clear`s came.
    pub clears: u32,
    /// How much they dropped, in samples.
    pub cleared_samples: u64,
    /// How much did not fit, in samples.
    pub overflow_samples: u64,
    /// How many marks did not fit.
    pub marks_dropped: u32,
    /// The most that was buffered at once, in samples.
    pub deepest_samples: u64,
}

/// The buffer of one call.
#[derive(Debug, Default)]
pub struct Playout {
    now: LineTime,
    audio: VecDeque<u8>,
    /// Each with the count of [`Playout::gone`] at which it is due, ascending.
    marks: VecDeque<(u64, String)>,
    /// Samples that left the buffer since the beginning, played or dropped.
    gone: u64,
    /// When the buffer ran dry, if the last thing in it was audio.
    dry_in_speech_since: Option<LineTime>,
    ends_in_audio: bool,
    counts: PlayoutCounts,
}

impl Playout {
    /// Plays until `now`: appends one sample per 125 µs to `heard`, silence where there is nothing to play, and the marks
    /// that fell due to `echoes`.
    pub fn play_until(&mut self, now: LineTime, heard: &mut Vec<u8>, echoes: &mut Vec<Echo>) {
        let due = now.since(self.now) as usize;
        let playable = due.min(self.audio.len());
        let from = self.now;
        while let Some(&(at, _)) = self.marks.front() {
            if at > self.gone + playable as u64 {
                break;
            }
            let (at, name) = self.marks.pop_front().expect("front() just showed one");
            echoes.push(Echo { name, at: from + at.saturating_sub(self.gone), cleared: false });
        }
        heard.extend(self.audio.drain(..playable));
        heard.resize(heard.len() + due - playable, SILENCE);
        self.gone += playable as u64;
        self.now = self.now.max(now);
        if playable > 0 && self.audio.is_empty() && self.ends_in_audio {
            self.dry_in_speech_since = Some(from + playable as u64);
        }
    }

    /// Appends audio, 8 kHz µ-law. Play until the moment of its arrival first. Returns the underrun that it ends, if any.
    pub fn media(&mut self, ulaw: &[u8]) -> Option<Underrun> {
        let fits = ulaw.len().min(CAPACITY - self.audio.len());
        self.counts.overflow_samples += (ulaw.len() - fits) as u64;
        if fits == 0 {
            return None;
        }
        let underrun = self
            .dry_in_speech_since
            .take()
            .map(|at| Underrun { at, samples: self.now.since(at) })
            .filter(|underrun| (1..=UNDERRUN_MAX).contains(&underrun.samples));
        if let Some(underrun) = underrun {
            self.counts.underruns += 1;
            self.counts.underrun_samples += underrun.samples;
        }
        self.audio.extend(&ulaw[..fits]);
        self.ends_in_audio = true;
        self.counts.deepest_samples = self.counts.deepest_samples.max(self.audio.len() as u64);
        underrun
    }

    /// Takes an underrun back: audio that lay in the socket came late because nobody read it.
    pub fn excuse(&mut self, underrun: Underrun) {
        self.counts.underruns = self.counts.underruns.saturating_sub(1);
        self.counts.underrun_samples = self.counts.underrun_samples.saturating_sub(underrun.samples);
        self.counts.own_underruns += 1;
    }

    /// Appends a mark. Play until the moment of its arrival first. With nothing to play it comes straight back.
    pub fn mark(&mut self, name: String, echoes: &mut Vec<Echo>) {
        self.ends_in_audio = false;
        self.dry_in_speech_since = None;
        if self.audio.is_empty() {
            echoes.push(Echo { name, at: self.now, cleared: false });
        } else if self.marks.len() < MARKS_MAX {
            self.marks.push_back((self.gone + self.audio.len() as u64, name));
        } else {
            self.counts.marks_dropped += 1;
        }
    }

    /// Drops all audio and returns all marks, in order. Play until the moment of its arrival first. Says how many samples
    /// were dropped.
    pub fn clear(&mut self, echoes: &mut Vec<Echo>) -> u64 {
        let dropped = self.audio.len() as u64;
        self.gone += dropped;
        self.audio.clear();
        self.ends_in_audio = false;
        self.dry_in_speech_since = None;
        self.counts.clears += 1;
        self.counts.cleared_samples += dropped;
        echoes.extend(self.marks.drain(..).map(|(_, name)| Echo { name, at: self.now, cleared: true }));
        dropped
    }

    /// When the next mark falls due, if nothing is cleared before.
    pub fn next_mark(&self) -> Option<LineTime> {
        self.marks.front().map(|(at, _)| self.now + at.saturating_sub(self.gone))
    }

    /// True if there is nothing to play.
    pub fn is_dry(&self) -> bool {
        self.audio.is_empty()
    }

    /// Up to where it has played.
    pub fn now(&self) -> LineTime {
        self.now
    }

    /// What it has counted.
    pub fn counts(&self) -> PlayoutCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Line {
        playout: Playout,
        heard: Vec<u8>,
        echoes: Vec<Echo>,
    }

    impl Line {
        fn at_ms(&mut self, ms: u64) -> &mut Playout {
            self.playout.play_until(LineTime::from_samples(ms * 8), &mut self.heard, &mut self.echoes);
            &mut self.playout
        }

        fn media(&mut self, ms: u64, lasting_ms: usize, byte: u8) -> Option<Underrun> {
            self.at_ms(ms).media(&vec![byte; lasting_ms * 8])
        }

        fn mark(&mut self, ms: u64, name: &str) {
            self.at_ms(ms);
            self.playout.mark(name.into(), &mut self.echoes);
        }

        fn clear(&mut self, ms: u64) -> u64 {
            self.at_ms(ms);
            self.playout.clear(&mut self.echoes)
        }

        fn echoed(&self) -> Vec<(&str, u64, bool)> {
            self.echoes.iter().map(|e| (e.name.as_str(), e.at.samples() / 8, e.cleared)).collect()
        }
    }

    #[test]
    fn audio_is_heard_from_its_arrival_at_the_speed_of_the_line() {
        let mut line = Line::default();
        line.media(10, 5, 1);
        line.media(12, 5, 2);
        line.at_ms(30);
        let mut expected = vec![SILENCE; 80];
        expected.extend([1; 40]);
        expected.extend([2; 40]);
        expected.extend([SILENCE; 80]);
        assert_eq!(line.heard, expected);
    }

    #[test]
    fn a_mark_comes_back_when_the_audio_before_it_was_played() {
        let mut line = Line::default();
        line.media(0, 100, 1);
        line.mark(3, "first");
        line.media(4, 50, 2);
        line.mark(5, "second");
        assert_eq!(line.playout.next_mark(), Some(LineTime::from_samples(800)));
        line.at_ms(99);
        assert_eq!(line.echoed(), []);
        line.at_ms(100);
        assert_eq!(line.echoed(), [("first", 100, false)]);
        line.at_ms(1_000);
        assert_eq!(line.echoed(), [("first", 100, false), ("second", 150, false)]);
        assert_eq!(line.playout.next_mark(), None);
    }

    #[test]
    fn a_mark_with_nothing_to_play_comes_straight_back() {
        let mut line = Line::default();
        line.mark(7, "empty");
        line.media(10, 10, 1);
        line.mark(20, "just played");
        assert_eq!(line.echoed(), [("empty", 7, false), ("just played", 20, false)]);
    }

    #[test]
    fn two_marks_behind_the_same_audio_come_back_in_order() {
        let mut line = Line::default();
        line.media(0, 20, 1);
        line.mark(0, "a");
        line.mark(0, "b");
        line.at_ms(20);
        assert_eq!(line.echoed(), [("a", 20, false), ("b", 20, false)]);
    }

    #[test]
    fn clear_silences_at_once_and_returns_every_outstanding_mark() {
        let mut line = Line::default();
        line.media(0, 100, 1);
        line.mark(0, "a");
        line.media(0, 100, 1);
        line.mark(0, "b");
        assert_eq!(line.clear(130), 70 * 8);
        line.at_ms(140);
        assert_eq!(line.echoed(), [("a", 100, false), ("b", 130, true)]);
        assert_eq!(line.heard[130 * 8 - 1], 1);
        assert!(line.heard[130 * 8..].iter().all(|&byte| byte == SILENCE));
        assert_eq!(line.playout.counts().clears, 1);
        assert_eq!(line.playout.counts().cleared_samples, 70 * 8);
    }

    #[test]
    fn marks_after_a_clear_wait_for_the_new_audio_alone() {
        let mut line = Line::default();
        line.media(0, 500, 1);
        line.clear(100);
        line.media(110, 40, 2);
        line.mark(110, "new");
        line.at_ms(400);
        assert_eq!(line.echoed(), [("new", 150, false)]);
    }

    #[test]
    fn a_hole_in_something_said_is_an_underrun() {
        let mut line = Line::default();
        assert_eq!(line.media(0, 20, 1), None);
        assert_eq!(line.media(20, 20, 1), None, "just in time");
        let underrun = line.media(47, 20, 1).unwrap();
        assert_eq!((underrun.at.samples(), underrun.samples), (40 * 8, 7 * 8));
        assert_eq!(line.playout.counts().underruns, 1);
        assert_eq!(line.playout.counts().underrun_samples, 56);
    }

    #[test]
    fn a_pause_that_a_mark_a_clear_or_its_length_sets_off_is_no_underrun() {
        let mut line = Line::default();
        line.media(0, 20, 1);
        line.mark(0, "end of utterance");
        assert_eq!(line.media(50, 20, 1), None);
        line.mark(100, "late mark");
        assert_eq!(line.media(120, 20, 1), None);
        line.clear(130);
        assert_eq!(line.media(140, 20, 1), None);
        assert_eq!(line.media(661, 20, 1), None, "501 ms after the end of what came before");
        assert_eq!(line.playout.counts().underruns, 0);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let mut line = Line::default();
        line.playout.media(&vec![1; CAPACITY + 5]);
        assert_eq!(line.playout.counts().overflow_samples, 5);
        assert_eq!(line.playout.counts().deepest_samples, CAPACITY as u64);
        for n in 0..=MARKS_MAX {
            line.mark(0, &n.to_string());
        }
        assert_eq!(line.playout.counts().marks_dropped, 1);
    }

    #[test]
    fn playing_in_any_steps_is_the_same() {
        let play = |steps: &[u64]| {
            let mut line = Line::default();
            line.media(0, 33, 1);
            line.mark(0, "m");
            line.media(0, 10, 2);
            for &ms in steps {
                line.at_ms(ms);
            }
            (line.heard.clone(), line.echoes.clone())
        };
        assert_eq!(play(&[60]), play(&[1, 33, 34, 40, 43, 44, 59, 60]));
    }
}
