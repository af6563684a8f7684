//! The caller's ear: from what is heard on the line to "the agent speaks" and "the agent's turn is over".
//!
//! The line is digital and the agent's side of it has no noise, so loudness alone is enough: a sample louder than
//! [`LOUD`] is sound. A turn begins with its first loud sample and ends with its last one, which is known once the
//! agent has been quiet for a while: for the caller's patience if the carrier has nothing more to play, for
//! [`PAUSE_IN_SPEECH`] if it has (a pause within a sentence), or at once if the server cleared what it had sent.

use std::time::Duration;

use offhook_codecs::g711;

use super::playout::SILENCE;
use super::time::{HZ, LineTime};

/// Louder than this is sound: −38 dBFS, below any telephone speech and above µ-law rounding of silence.
pub const LOUD: i16 = 400;

/// Quiet for this long, in samples (1.5 s), ends a turn though more audio waits: longer than a pause at a full stop.
pub const PAUSE_IN_SPEECH: u64 = HZ * 3 / 2;

/// An agent that was quiet for this long, in samples (200 ms), when the caller fell silent, begins a new turn with its next
/// sound; one that was not talks on through what the caller said, which is no answer to it.
pub const ANSWER_AFTER: u64 = HZ / 5;

/// One stretch of the agent's voice, as the caller heard it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardTurn {
    /// Its first audible sample.
    pub from: LineTime,
    /// The sample after its last audible one.
    pub to: LineTime,
    /// True if the server cut it with `clear`.
    pub cut: bool,
    /// From the caller's last voiced sample to `from`, in samples; none if the caller had not spoken before, or had
    /// already been answered.
    pub response_samples: Option<u64>,
}

impl HeardTurn {
    /// How long it took from the end of the caller's speech to the agent's first audible sample.
    pub fn response(&self) -> Option<Duration> {
        self.response_samples.map(super::time::duration_of)
    }

    /// How long it was.
    pub fn duration(&self) -> Duration {
        self.to - self.from
    }
}

/// What the ear noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// The agent began to speak. `to` is not final.
    Began(HeardTurn),
    /// The agent's turn is over.
    Over(HeardTurn),
}

/// Listens to one call.
#[derive(Debug)]
pub struct Ear {
    quiet: u64,
    now: LineTime,
    turn: Option<HeardTurn>,
    last: Option<HeardTurn>,
    /// The end of the caller's speech, until it is answered.
    unanswered: Option<LineTime>,
}

impl Ear {
    /// An ear that takes `quiet` of silence, with nothing more to play, as the end of a turn.
    pub fn new(quiet: Duration) -> Self {
        Self {
            quiet: super::time::samples_in(quiet),
            now: LineTime::ZERO,
            turn: None,
            last: None,
            unanswered: None,
        }
    }

    /// Hears the next samples, 8 kHz µ-law. `dry`: the carrier has nothing more to play.
    pub fn hear(&mut self, ulaw: &[u8], dry: bool, noticed: &mut Vec<Noticed>) {
        for &byte in ulaw {
            let at = self.now;
            self.now = self.now + 1;
            if is_loud(byte) {
                self.on_loud(at, noticed);
            }
        }
        let quiet = if dry { self.quiet } else { self.quiet.max(PAUSE_IN_SPEECH) };
        if self.turn.is_some_and(|turn| self.now.since(turn.to) >= quiet) {
            self.finish(false, noticed);
        }
    }

    /// The server cleared what the carrier had: if the agent was speaking, its turn is over.
    pub fn on_clear(&mut self, noticed: &mut Vec<Noticed>) {
        self.finish(true, noticed);
    }

    /// The call is over: so is the agent's turn.
    pub fn on_end(&mut self, noticed: &mut Vec<Noticed>) {
        self.finish(false, noticed);
    }

    /// The caller said something whose last voiced sample was just before `end`.
    pub fn on_caller_spoke(&mut self, end: LineTime) {
        self.unanswered = Some(end);
    }

    /// The end of the caller's speech, if it waits for an answer.
    pub fn unanswered_since(&self) -> Option<LineTime> {
        self.unanswered
    }

    /// The turn that the agent is in, if it has one. A pause shorter than a turn's end is part of it.
    pub fn speaking(&self) -> Option<HeardTurn> {
        self.turn
    }

    /// The agent's last complete turn.
    pub fn last_turn(&self) -> Option<HeardTurn> {
        self.last
    }

    fn on_loud(&mut self, at: LineTime, noticed: &mut Vec<Noticed>) {
        let answers = |turn: &HeardTurn| {
            self.unanswered
                .is_some_and(|end| turn.to <= end && end <= at && at.since(turn.to) >= ANSWER_AFTER)
        };
        match &mut self.turn {
            Some(turn) if answers(turn) => self.finish(false, noticed),
            Some(turn) => {
                turn.to = at + 1;
                return;
            }
            None => {}
        }
        let response_samples = match self.unanswered {
            Some(end) if end <= at => {
                self.unanswered = None;
                Some(at.since(end))
            }
            _ => None,
        };
        let turn = HeardTurn { from: at, to: at + 1, cut: false, response_samples };
        self.turn = Some(turn);
        noticed.push(Noticed::Began(turn));
    }

    fn finish(&mut self, cut: bool, noticed: &mut Vec<Noticed>) {
        if let Some(turn) = self.turn.take() {
            let turn = HeardTurn { cut, ..turn };
            self.last = Some(turn);
            noticed.push(Noticed::Over(turn));
        }
    }
}

/// True if a µ-law sample is louder than [`LOUD`].
pub fn is_loud(ulaw: u8) -> bool {
    ulaw != SILENCE && g711::ulaw_to_linear(ulaw).unsigned_abs() > LOUD.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// µ-law of a loud sample: the largest positive one.
    const TONE: u8 = 0x80;

    struct Listener {
        ear: Ear,
        noticed: Vec<Noticed>,
    }

    impl Listener {
        fn new() -> Self {
            Self { ear: Ear::new(Duration::from_millis(600)), noticed: Vec::new() }
        }

        fn hears(&mut self, byte: u8, ms: usize, dry: bool) -> &mut Self {
            for _ in 0..ms / 20 {
                self.ear.hear(&[byte; 160], dry, &mut self.noticed);
            }
            self
        }

        fn turns(&self) -> Vec<(u64, u64, bool, Option<u64>)> {
            let ms = |t: LineTime| t.samples() / 8;
            self.noticed
                .iter()
                .filter_map(|noticed| match noticed {
                    Noticed::Over(t) => {
                        Some((ms(t.from), ms(t.to), t.cut, t.response_samples.map(|s| s / 8)))
                    }
                    Noticed::Began(_) => None,
                })
                .collect()
        }
    }

    #[test]
    fn a_turn_lasts_from_its_first_to_its_last_loud_sample() {
        let mut listener = Listener::new();
        listener.hears(SILENCE, 100, true).hears(TONE, 200, false).hears(SILENCE, 580, true);
        assert_eq!(listener.turns(), []);
        assert!(listener.ear.speaking().is_some());
        listener.hears(SILENCE, 20, true);
        assert_eq!(listener.turns(), [(100, 300, false, None)]);
    }

    #[test]
    fn a_pause_with_more_to_play_is_part_of_the_turn() {
        let mut listener = Listener::new();
        listener.hears(TONE, 200, false).hears(SILENCE, 1_400, false).hears(TONE, 100, true);
        listener.hears(SILENCE, 600, true);
        assert_eq!(listener.turns(), [(0, 1_700, false, None)]);
    }

    #[test]
    fn silence_that_a_server_streams_ends_a_turn_too() {
        let mut listener = Listener::new();
        listener.hears(TONE, 200, false).hears(SILENCE, 1_500, false);
        assert_eq!(listener.turns(), [(0, 200, false, None)]);
    }

    #[test]
    fn clear_ends_a_turn_at_once_and_says_so() {
        let mut listener = Listener::new();
        listener.hears(TONE, 200, false);
        listener.ear.on_clear(&mut listener.noticed);
        assert_eq!(listener.turns(), [(0, 200, true, None)]);
        listener.ear.on_clear(&mut listener.noticed);
        assert_eq!(listener.turns().len(), 1, "a clear in silence cuts nothing");
    }

    #[test]
    fn response_time_runs_from_the_callers_last_sample_to_the_agents_first_and_once() {
        let mut listener = Listener::new();
        listener.hears(SILENCE, 400, true);
        listener.ear.on_caller_spoke(LineTime::from_samples(300 * 8));
        listener.hears(SILENCE, 100, true).hears(TONE, 100, true).hears(SILENCE, 600, true);
        listener.hears(TONE, 100, true).hears(SILENCE, 600, true);
        assert_eq!(listener.turns(), [(500, 600, false, Some(200)), (1_200, 1_300, false, None)]);
    }

    #[test]
    fn an_agent_that_talks_on_through_the_caller_has_not_answered() {
        let mut listener = Listener::new();
        listener.hears(TONE, 400, false);
        listener.ear.on_caller_spoke(LineTime::from_samples(200 * 8));
        listener.hears(TONE, 400, true).hears(SILENCE, 600, true);
        assert_eq!(listener.turns(), [(0, 800, false, None)]);
    }

    #[test]
    fn an_answer_that_comes_at_once_is_a_turn_of_its_own() {
        let mut listener = Listener::new();
        listener.hears(TONE, 200, false).hears(SILENCE, 300, true);
        listener.ear.on_caller_spoke(LineTime::from_samples(480 * 8));
        listener.hears(TONE, 100, true).hears(SILENCE, 600, true);
        assert_eq!(listener.turns(), [(0, 200, false, None), (500, 600, false, Some(20))]);
    }

    #[test]
    fn the_quietest_codes_are_silence() {
        assert!(!is_loud(0xFF) && !is_loud(0x7F) && !is_loud(0xF0) && !is_loud(0x70));
        assert!(is_loud(0x80) && is_loud(0x00));
    }
}
