//! What the caller says, and when: one item after another, each on its cue.
//!
//! ```text
//!  agent  ████████████···············█████████····
//!  caller ············ reply ▓▓▓▓▓▓▓·········· reply ▓▓▓
//!                      └ the agent's turn is over, as the ear knows it
//! ```
//!
//! An item is said when the agent has spoken since the item before and its turn is over; an item with a barge-in delay is
//! said that long after the agent begins to speak. An agent that stays silent is given [`Manners::patience`]; then the
//! caller speaks anyway, as people do. After the last item and the agent's answer the caller hangs up.
//!
//! No clock here: the carrier asks for each frame of 20 ms and says what time it is.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ear::{Ear, HeardTurn, is_loud};
use super::playout::SILENCE;
use super::time::{FRAME, LineTime, samples_in};

/// From one key to the next: 100 ms of tone and 100 ms of pause, as dialled by machine.
pub const KEY_SPACING: Duration = Duration::from_millis(200);

/// One step of a caller's script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Say a text, in the caller's synthetic voice.
    Say(String),
    /// Play a WAV file.
    Wav(PathBuf),
    /// Press keys: `0`-`9`, `*`, `#`, `A`-`D`.
    Keys(String),
    /// Cough, which wants no answer. Said as any other step: on the agent's turn being over, or across it after a `BargeIn`.
    Cough,
    /// Wait this long on top of good manners before the next step; at the end, before hanging up.
    Pause(Duration),
    /// The next step interrupts the agent this long after it begins to speak.
    BargeIn(Duration),
}

/// One thing to say, ready to be said. Cloning is cheap: calls share the audio.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is, in words: the text, the name of the file, the keys.
    pub label: Arc<str>,
    /// Its audio or keys.
    pub speech: Speech,
    /// From the first loud sample of the audio to the one after the last; empty for keys.
    pub voiced: Range<usize>,
    /// True if it wants an answer; false for a cough.
    pub wants_answer: bool,
    /// How long to wait on top of good manners.
    pub pause: Duration,
    /// Interrupt the agent this long after it begins to speak, instead of waiting for its turn to end.
    pub barge_in_after: Option<Duration>,
}

impl Item {
    /// Something that is said on its usual cue and wants an answer.
    pub fn new(label: impl Into<Arc<str>>, speech: Speech) -> Self {
        let voiced = match &speech {
            Speech::Audio(ulaw) => voiced(ulaw),
            Speech::Keys(_) => 0..0,
        };
        let label = label.into();
        Self { label, speech, voiced, wants_answer: true, pause: Duration::ZERO, barge_in_after: None }
    }
}

/// What goes down the line.
#[derive(Clone, Debug)]
pub enum Speech {
    /// Audio, 8 kHz µ-law.
    Audio(Arc<[u8]>),
    /// Keys, pressed [`KEY_SPACING`] apart.
    Keys(Arc<[char]>),
}

/// A whole script, ready to be said by any number of calls.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// What to say, in order.
    pub items: Arc<[Item]>,
    /// How long to wait, on top of good manners, before hanging up.
    pub last_pause: Duration,
    /// What is heard of the caller's surroundings while the caller says nothing: 8 kHz µ-law, whole frames, played over and over.
    /// None, or empty: silence.
    pub noise: Option<Arc<[u8]>>,
}

/// How a caller behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// Quiet for this long means that the agent's turn is over. Default 600 ms.
    pub quiet: Duration,
    /// How long the caller waits for an agent that says nothing. Default 10 s.
    pub patience: Duration,
    /// After the last item, how long the caller waits for more when the agent's turn is over. Default 2 s.
    pub linger: Duration,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(600),
            patience: Duration::from_secs(10),
            linger: Duration::from_secs(2),
        }
    }
}

/// What the caller does in one frame of 20 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing: the frame is silence.
    Listen,
    /// Begins an item; the frame is its first.
    Begin {
        /// Its place in the script, from 0.
        item: usize,
        /// True if the agent was speaking, and is interrupted.
        barge_in: bool,
    },
    /// Speaks; the frame is part of an item's audio.
    Speak,
    /// Presses a key; the frame is silence.
    Press(char),
    /// Has nothing more to say.
    HangUp,
}

/// When an item was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its place in the script, from 0.
    pub item: usize,
    /// Its first voiced sample, or its first key.
    pub from: LineTime,
    /// The sample after its last voiced one, or its last key.
    pub to: LineTime,
    /// True if the agent was speaking when it began.
    pub barge_in: bool,
}

/// Goes through a script.
#[derive(Debug)]
pub struct Speaker {
    script: Script,
    manners: Manners,
    phase: Phase,
    next: usize,
    /// The agent's turns that count as cues begin after this: the beginning of the last item.
    began: LineTime,
    /// … or are heard after this: the end of the last item.
    ended: LineTime,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Listening,
    Speaking { item: usize, offset: usize },
    Pressing { item: usize, pressed: usize, next_at: LineTime },
}

impl Speaker {
    /// At the beginning of `script`.
    pub fn new(script: Script, manners: Manners) -> Self {
        Self {
            script,
            manners,
            phase: Phase::Listening,
            next: 0,
            began: LineTime::ZERO,
            ended: LineTime::ZERO,
        }
    }

    /// Fills the frame that begins at `now`, by what the ear has heard until then.
    pub fn next_frame(&mut self, now: LineTime, ear: &Ear, frame: &mut [u8; FRAME]) -> Act {
        match self.script.noise.as_deref() {
            Some(noise) if noise.len() >= FRAME => {
                let from = now.samples() as usize % (noise.len() / FRAME * FRAME);
                let part = (noise.len() - from).min(FRAME);
                frame[..part].copy_from_slice(&noise[from..from + part]);
                frame[part..].copy_from_slice(&noise[..FRAME - part]);
            }
            _ => *frame = [SILENCE; FRAME],
        }
        match self.phase {
            Phase::Listening => self.listen(now, ear, frame),
            Phase::Speaking { item, offset } => {
                self.speak(item, offset, now, frame);
                Act::Speak
            }
            Phase::Pressing { item, pressed, next_at } if now >= next_at => {
                self.press(item, pressed, next_at)
            }
            Phase::Pressing { .. } => Act::Listen,
        }
    }

    /// When an item that begins at `now` is voiced.
    pub fn said(&self, item: usize, now: LineTime, barge_in: bool) -> Said {
        let (from, to) = match &self.script.items[item].speech {
            Speech::Audio(_) => {
                let voiced = &self.script.items[item].voiced;
                (now + voiced.start as u64, now + voiced.end as u64)
            }
            Speech::Keys(keys) => {
                let first = now + FRAME as u64;
                (first, first + key_offset(keys.len().saturating_sub(1)))
            }
        };
        Said { item, from, to, barge_in }
    }

    /// How many items were begun.
    pub fn begun(&self) -> usize {
        self.next
    }

    fn listen(&mut self, now: LineTime, ear: &Ear, frame: &mut [u8; FRAME]) -> Act {
        let Some(item) = self.script.items.get(self.next) else {
            let wait = self.manners.linger + self.script.last_pause;
            return if self.is_cue(now, ear, wait) { Act::HangUp } else { Act::Listen };
        };
        let barge_in = item.barge_in_after.is_some_and(|after| {
            ear.speaking()
                .is_some_and(|turn| turn.from >= self.began && now.since(turn.from) >= samples_in(after))
        });
        if barge_in || self.is_cue(now, ear, item.pause) {
            self.begin(now, barge_in, frame)
        } else {
            Act::Listen
        }
    }

    /// True if the agent has spoken since the last item and fell silent `wait` ago (beyond the quiet that ended its
    /// turn), or if it has said nothing for longer than patience lasts.
    fn is_cue(&self, now: LineTime, ear: &Ear, wait: Duration) -> bool {
        if ear.speaking().is_some() {
            return false;
        }
        // What the caller cut off is not an answer, even if some of it was heard after a short interruption.
        let heard_after = |turn: &HeardTurn| !turn.cut && turn.to > self.ended;
        match ear.last_turn().filter(heard_after) {
            Some(turn) => now.since(turn.to) >= samples_in(self.manners.quiet + wait),
            None => now.since(self.ended) >= samples_in(self.manners.patience.max(wait)),
        }
    }

    fn begin(&mut self, now: LineTime, barge_in: bool, frame: &mut [u8; FRAME]) -> Act {
        let item = self.next;
        self.next += 1;
        // A cough changes nothing about who waits for whom.
        if self.script.items[item].wants_answer {
            self.began = now;
            self.ended = self.said(item, now, barge_in).to;
        }
        match &self.script.items[item].speech {
            Speech::Audio(_) => self.speak(item, 0, now, frame),
            Speech::Keys(_) => self.phase = Phase::Pressing { item, pressed: 0, next_at: now + FRAME as u64 },
        }
        Act::Begin { item, barge_in }
    }

    fn speak(&mut self, item: usize, offset: usize, now: LineTime, frame: &mut [u8; FRAME]) {
        let Speech::Audio(ulaw) = &self.script.items[item].speech else {
            self.phase = Phase::Listening;
            return;
        };
        let rest = &ulaw[offset.min(ulaw.len())..];
        let part = rest.len().min(FRAME);
        frame[..part].copy_from_slice(&rest[..part]);
        self.phase = if rest.len() > FRAME {
            Phase::Speaking { item, offset: offset + FRAME }
        } else {
            if self.script.items[item].wants_answer {
                self.ended = self.ended.max(now + part as u64);
            }
            Phase::Listening
        };
    }

    fn press(&mut self, item: usize, pressed: usize, now: LineTime) -> Act {
        let Speech::Keys(keys) = &self.script.items[item].speech else {
            self.phase = Phase::Listening;
            return Act::Listen;
        };
        let Some(&key) = keys.get(pressed) else {
            self.phase = Phase::Listening;
            return Act::Listen;
        };
        self.phase = if pressed + 1 < keys.len() {
            Phase::Pressing { item, pressed: pressed + 1, next_at: now + key_offset(1) }
        } else {
            self.ended = self.ended.max(now);
            Phase::Listening
        };
        Act::Press(key)
    }
}

/// When key number `nth` (from 0) is pressed, in samples after the first.
fn key_offset(nth: usize) -> u64 {
    nth as u64 * samples_in(KEY_SPACING)
}

/// From the first loud sample to the one after the last; empty at the end if there is none.
fn voiced(ulaw: &[u8]) -> Range<usize> {
    let start = ulaw.iter().position(|&byte| is_loud(byte)).unwrap_or(ulaw.len());
    let end = ulaw.iter().rposition(|&byte| is_loud(byte)).map_or(ulaw.len(), |last| last + 1);
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    const TONE: u8 = 0x80;

    /// Speaker and ear on one line, in virtual time; the agent is a list of (from, to, clear at its end) in ms.
    struct Line {
        speaker: Speaker,
        ear: Ear,
        frames: u64,
        acts: Vec<(u64, Act)>,
        sent: Vec<u8>,
    }

    impl Line {
        fn new(items: Vec<Item>) -> Self {
            let script = Script { items: items.into(), ..Script::default() };
            let manners = Manners::default();
            let ear = Ear::new(manners.quiet);
            let speaker = Speaker::new(script, manners);
            Self { speaker, ear, frames: 0, acts: Vec::new(), sent: Vec::new() }
        }

        fn agent(&mut self, byte: u8, ms: u64) -> &mut Self {
            for _ in 0..ms / 20 {
                let now = LineTime::from_samples(self.frames * FRAME as u64);
                let mut frame = [0; FRAME];
                let act = self.speaker.next_frame(now, &self.ear, &mut frame);
                if !matches!(act, Act::Listen | Act::Speak) {
                    self.acts.push((self.frames * 20, act));
                }
                self.sent.extend(frame);
                self.frames += 1;
                self.ear.hear(&[byte; FRAME], byte == SILENCE, &mut Vec::new());
            }
            self
        }

        fn speaks(&mut self, ms: u64) -> &mut Self {
            self.agent(TONE, ms)
        }

        fn is_silent(&mut self, ms: u64) -> &mut Self {
            self.agent(SILENCE, ms)
        }
    }

    fn say(ms: usize) -> Item {
        audio(vec![TONE; ms * 8])
    }

    fn audio(ulaw: Vec<u8>) -> Item {
        Item::new("something", Speech::Audio(ulaw.into()))
    }

    fn keys(keys: &str) -> Item {
        Item::new(keys, Speech::Keys(keys.chars().collect()))
    }

    fn begin(item: usize) -> Act {
        Act::Begin { item, barge_in: false }
    }

    #[test]
    fn items_are_said_in_order_each_when_the_agents_turn_is_over() {
        let mut line = Line::new(vec![say(300), say(200)]);
        line.is_silent(1_000).speaks(500).is_silent(2_000).speaks(400).is_silent(2_000);
        // 1,000 + 500 of speech + 600 of quiet; the first answer ends at 3,900.
        assert_eq!(line.acts, [(2_100, begin(0)), (4_500, begin(1))]);
        let loud = line.sent.iter().filter(|&&byte| byte == TONE).count();
        assert_eq!(loud, 500 * 8, "all of both items was sent, once");
    }

    #[test]
    fn the_caller_hangs_up_after_the_answer_to_its_last_item() {
        let mut line = Line::new(vec![say(300)]);
        line.speaks(500).is_silent(2_000).speaks(500).is_silent(2_700);
        // The answer ends at 3,000; then 600 ms of quiet and 2 s of waiting for more.
        assert_eq!(
            line.acts,
            [
                (1_100, begin(0)),
                (5_600, Act::HangUp),
                (5_620, Act::HangUp),
                (5_640, Act::HangUp),
                (5_660, Act::HangUp),
                (5_680, Act::HangUp)
            ]
        );
    }

    #[test]
    fn a_barge_in_comes_while_the_agent_speaks() {
        let mut item = say(300);
        item.barge_in_after = Some(Duration::from_millis(700));
        let mut line = Line::new(vec![say(100), item]);
        line.speaks(400).is_silent(1_000).speaks(2_000);
        assert_eq!(line.acts, [(1_000, begin(0)), (2_100, Act::Begin { item: 1, barge_in: true })]);
    }

    #[test]
    fn a_barge_in_into_a_turn_that_ended_too_soon_is_said_on_the_usual_cue() {
        let mut item = say(300);
        item.barge_in_after = Some(Duration::from_millis(1_500));
        let mut line = Line::new(vec![item]);
        line.speaks(400).is_silent(1_000);
        assert_eq!(line.acts, [(1_000, begin(0))]);
    }

    #[test]
    fn what_was_cut_off_is_not_taken_for_the_answer() {
        let mut item = say(40);
        item.barge_in_after = Some(Duration::from_millis(200));
        let mut line = Line::new(vec![item, say(100)]);
        line.speaks(400);
        line.ear.on_clear(&mut Vec::new());
        line.is_silent(3_000).speaks(200).is_silent(1_000);
        assert_eq!(line.acts, [(200, Act::Begin { item: 0, barge_in: true }), (4_200, begin(1))]);
    }

    #[test]
    fn a_silent_agent_is_spoken_to_when_patience_ends_and_then_given_up() {
        let mut line = Line::new(vec![say(100)]);
        line.is_silent(20_200);
        assert_eq!(line.acts[..2], [(10_000, begin(0)), (20_100, Act::HangUp)]);
    }

    #[test]
    fn a_pause_comes_on_top_of_good_manners() {
        let mut item = say(100);
        item.pause = Duration::from_millis(900);
        let mut line = Line::new(vec![item]);
        line.speaks(500).is_silent(2_000);
        assert_eq!(line.acts, [(2_000, begin(0))]);
    }

    #[test]
    fn keys_are_pressed_one_by_one_in_silence() {
        let mut line = Line::new(vec![keys("42#")]);
        line.speaks(500).is_silent(1_600);
        let press = Act::Press;
        assert_eq!(
            line.acts,
            [(1_100, begin(0)), (1_120, press('4')), (1_320, press('2')), (1_520, press('#'))]
        );
        assert!(line.sent.iter().all(|&byte| byte == SILENCE));
        let said = line.speaker.said(0, LineTime::from_samples(1_100 * 8), false);
        assert_eq!((said.from.samples() / 8, said.to.samples() / 8), (1_120, 1_520));
    }

    #[test]
    fn speech_ends_with_its_last_voiced_sample() {
        let mut ulaw = vec![SILENCE; 100];
        ulaw.extend([TONE; 50]);
        ulaw.extend([SILENCE; 400]);
        let speaker = Speaker::new(
            Script { items: vec![audio(ulaw), audio(vec![SILENCE; 9])].into(), ..Script::default() },
            Manners::default(),
        );
        let said = speaker.said(0, LineTime::from_samples(1_000), false);
        assert_eq!((said.from.samples(), said.to.samples()), (1_100, 1_150));
        let silent = speaker.said(1, LineTime::ZERO, false);
        assert_eq!((silent.from.samples(), silent.to.samples()), (9, 9));
    }
}
