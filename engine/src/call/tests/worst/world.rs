//! Those whom a call deals with, each with a temper of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::table::{Table, Wire};
use super::carrier::Carrier;
use crate::call::{
    CallSettings, CallTime, Command, EndReason, Failure, Fault, Input, Media, Output, Then, TurnId,
    UtteranceId, WordStart, mark_name,
};
use crate::sim::Dice;

const TEXTS: [&str; 6] =
    ["We open at nine and close at five.", "", " ", "é", "Zwölf  Boxkämpfer\njagen Eva.", "Goodbye."];
const FRAME: Duration = Duration::from_millis(20);
/// With a silent caller and nobody who answers, a call is over by then: it has asked, waited and given up.
const PATIENCE: Duration = Duration::from_secs(240);

/// How often each does what it should not, in a thousand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Temper {
    carrier: u64,
    recogniser: u64,
    agent: u64,
    voice: u64,
    /// How often the thread comes late.
    thread: u64,
}

impl Temper {
    const SAINT: Self = Self { carrier: 0, recogniser: 0, agent: 0, voice: 0, thread: 0 };

    pub(super) fn roll(dice: &mut Dice) -> Self {
        let mut roll = || dice.pick(&[0, 0, 5, 50, 300]);
        Self { carrier: roll(), recogniser: roll(), agent: roll(), voice: roll(), thread: roll() / 10 }
    }
}

/// Something that is on its way into the call.
#[derive(Clone, Debug)]
enum Coming {
    Frame,
    /// `anyway`: though it came already.
    Mark {
        mark: u32,
        anyway: bool,
    },
    Words {
        utterance: UtteranceId,
        text: &'static str,
        is_final: bool,
    },
    Says {
        turn: TurnId,
        text: &'static str,
    },
    Done {
        turn: TurnId,
        then: Then,
    },
    Failed {
        turn: TurnId,
    },
    Voice {
        utterance: UtteranceId,
        samples: usize,
    },
    VoiceEnd {
        utterance: UtteranceId,
        failed: bool,
        words: Vec<WordStart>,
    },
    Whim,
}

impl Coming {
    fn is_of_turn(&self, of: TurnId) -> bool {
        match self {
            Self::Says { turn, .. } | Self::Done { turn, .. } | Self::Failed { turn } => *turn == of,
            _ => false,
        }
    }

    fn is_of_utterance(&self, of: UtteranceId) -> bool {
        match self {
            Self::Voice { utterance, .. } | Self::VoiceEnd { utterance, .. } => *utterance == of,
            _ => false,
        }
    }
}

/// What the caller does for a while.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Silent,
    Speaks,
    Noise,
}

pub(super) struct World<'a> {
    pub(super) table: Table,
    pub(super) steps: u64,
    dice: Dice,
    temper: Temper,
    speech: &'a [u8],
    coming: BTreeMap<(CallTime, u64), Coming>,
    order: u64,
    carrier: Carrier,
    marks_back: Vec<u32>,
    /// How much of the table's log was looked at.
    seen: usize,
    chunk: u32,
    timestamp_ms: u32,
    spoken_at: usize,
    mood: (Mood, u64),
    /// When the next frame leaves the caller.
    frame_at: CallTime,
    /// Until when the network holds frames back.
    held_until: CallTime,
}

impl<'a> World<'a> {
    pub(super) fn new(mut dice: Dice, temper: Temper, speech: &'a [u8]) -> Self {
        let mut settings = CallSettings { vad_mode: dice.pick(&[0, 0, 0, 3]), ..CallSettings::default() };
        if dice.chance(500) {
            settings.lead_ms = dice.pick(&[20, 60, 400]);
            settings.message_ms = dice.pick(&[20, 60, 1_000]);
            settings.barge_in_ms = dice.pick(&[20, 60, 300]);
            settings.min_silence_ms = dice.pick(&[100, 400, 2_000]);
            settings.early_silence_ms = dice.pick(&[0, 60, 200]);
            settings.resume_after_ms = dice.pick(&[100, 300, 1_000]);
            settings.onset_ms = dice.pick(&[20, 60, 200]);
            settings.no_input_ms = dice.pick(&[300, 2_000, 10_000]);
            settings.turn_ms_max = dice.pick(&[200, 5_000, 60_000]);
            settings.final_wait_ms = dice.pick(&[40, 1_000, 6_000]);
        }
        let mut world = Self {
            table: Table::new(settings),
            steps: 0,
            dice,
            temper,
            speech,
            coming: BTreeMap::new(),
            order: 0,
            carrier: Carrier::default(),
            marks_back: Vec::new(),
            seen: 0,
            chunk: 0,
            timestamp_ms: 0,
            spoken_at: 0,
            mood: (Mood::Silent, 20),
            frame_at: CallTime::from_millis(20),
            held_until: CallTime::ZERO,
        };
        if world.misbehaves(|temper| temper.carrier) {
            world.step_input(Input::Media(Media { chunk: None, timestamp_ms: None, payload: &[0x55; 160] }));
        }
        world.step_input(Input::Start { stream: "MZ1", format_ok: true });
        world.soon(20, Coming::Frame);
        world.soon(500, Coming::Whim);
        world
    }

    fn misbehaves(&mut self, who: impl Fn(Temper) -> u64) -> bool {
        self.dice.chance(who(self.temper))
    }

    fn soon(&mut self, ms: u64, coming: Coming) {
        self.at(self.table.now + Duration::from_millis(ms), coming);
    }

    fn at(&mut self, at: CallTime, coming: Coming) {
        self.order += 1;
        self.coming.insert((at, self.order), coming);
    }

    /// The next thing that happens to the call.
    pub(super) fn step(&mut self) {
        let due = self.table.call.next_deadline().map(|(at, _)| at);
        let next = self.coming.first_key_value().map(|((at, _), _)| *at);
        let tick = match (due, next) {
            // A thread that is late may take either first.
            (Some(due), Some(next)) if due.max(next) <= self.table.now => self.dice.chance(500),
            (Some(due), Some(next)) => due <= next,
            (due, _) => due.is_some(),
        };
        let Some(at) = (if tick { due } else { next }) else { return };
        self.table.now = self.table.now.max(at);
        if self.misbehaves(|temper| temper.thread) {
            let late_ms = self.dice.pick(&[1, 15, 200, 3_000]);
            self.table.now += Duration::from_millis(self.dice.below(late_ms));
        }
        if tick {
            self.step_input(Input::Tick);
        } else if let Some((_, coming)) = self.coming.pop_first() {
            self.deliver(coming);
        }
    }

    fn step_input(&mut self, input: Input<'_>) {
        self.steps += 1;
        self.table.input(input);
        self.follow();
    }

    fn deliver(&mut self, coming: Coming) {
        match coming {
            Coming::Frame => self.frame(),
            Coming::Mark { mark, anyway } => {
                if anyway || !self.marks_back.contains(&mark) {
                    self.marks_back.push(mark);
                    self.step_input(Input::Mark { name: mark_name(mark).as_str() });
                }
            }
            Coming::Words { utterance, text, is_final } => {
                self.step_input(Input::Transcript { utterance, text, is_final });
            }
            Coming::Says { turn, text } => self.step_input(Input::AgentSays { turn, text }),
            Coming::Done { turn, then } => self.step_input(Input::AgentDone { turn, then }),
            Coming::Failed { turn } => self.step_input(Input::AgentFailed { turn, why: Failure::Faulty }),
            Coming::Voice { utterance, samples } => {
                self.steps += 1;
                self.table.voice(utterance, samples);
                self.follow();
            }
            Coming::VoiceEnd { utterance, failed, words } => {
                self.steps += 1;
                self.table.voice_end(utterance, failed, &words);
                self.follow();
            }
            Coming::Whim => self.whim(),
        }
    }

    // The caller and its carrier.

    fn payload(&mut self) -> Vec<u8> {
        if self.mood.1 == 0 {
            let mood = self.dice.pick(&[Mood::Silent, Mood::Silent, Mood::Speaks, Mood::Speaks, Mood::Noise]);
            let frames = self.dice.pick(&[3, 8, 30, 120]);
            self.mood = (mood, self.dice.between(1, frames));
        }
        self.mood.1 -= 1;
        match self.mood.0 {
            Mood::Silent => vec![0xFF; 160],
            Mood::Speaks => {
                let at = self.spoken_at % (self.speech.len() - 160);
                self.spoken_at = at + 160;
                self.speech[at..at + 160].to_vec()
            }
            Mood::Noise => (0..160).map(|_| self.dice.any() as u8).collect(),
        }
    }

    fn frame(&mut self) {
        let mut payload = self.payload();
        self.chunk = self.chunk.wrapping_add(1);
        let (mut chunk, mut timestamp_ms) = (Some(self.chunk), Some(self.timestamp_ms));
        self.timestamp_ms = self.timestamp_ms.wrapping_add(20);
        let mut times = 1;
        if self.misbehaves(|temper| temper.carrier) {
            match self.dice.below(12) {
                0 => {
                    let lost = self.dice.between(1, 40) as u32;
                    self.chunk = self.chunk.wrapping_add(lost);
                    self.timestamp_ms = self.timestamp_ms.wrapping_add(20 * lost);
                }
                1 => times = 2,
                2 => chunk = chunk.map(|chunk| chunk.saturating_sub(self.dice.below(80) as u32)),
                3 => payload.truncate(self.dice.below(160) as usize),
                4 => payload = vec![0x55; self.dice.pick(&[161, 1_600, 60_000])],
                5 => payload.clear(),
                6 => (chunk, timestamp_ms) = (None, None),
                7 => chunk = Some(self.dice.any() as u32),
                8 => timestamp_ms = Some(self.dice.any() as u32),
                9 => times = 0,
                _ => {
                    // Late, and then all at once.
                    let ms = self.dice.pick(&[60, 300, 1_500, 6_000, 14_000]);
                    self.held_until = self.table.now + Duration::from_millis(ms);
                }
            }
        }
        for _ in 0..times {
            self.step_input(Input::Media(Media { chunk, timestamp_ms, payload: &payload }));
        }
        self.frame_at += FRAME;
        self.at(self.frame_at.max(self.held_until), Coming::Frame);
    }

    /// What the carrier and the others make of what came out.
    fn follow(&mut self) {
        let now = self.table.now;
        for wire in std::mem::take(&mut self.table.wire) {
            match wire {
                Wire::Audio { utterance, from, samples } => {
                    self.carrier.audio(now, utterance, from, samples);
                }
                Wire::Mark(mark) => self.mark_back(mark),
                Wire::Clear => {
                    for mark in self.carrier.clear(now) {
                        let ms = self.dice.below(60);
                        if !self.misbehaves(|temper| temper.carrier) {
                            self.soon(ms, Coming::Mark { mark, anyway: false });
                        }
                    }
                }
            }
        }
        self.carrier.play(now);
        if self.temper.carrier == 0 {
            for (utterance, heard) in self.table.heard() {
                let played = self.carrier.played(utterance);
                assert!(
                    heard <= played,
                    "{heard} samples of {utterance:?} count as heard, {played} were played"
                );
            }
        }
        while let Some((_, output, _)) = self.table.log.get(self.seen) {
            self.seen += 1;
            match output.clone() {
                Output::UtteranceStarted { utterance } => self.recogniser_starts(utterance),
                Output::UtteranceEnded { utterance, .. } => self.recogniser_ends(utterance),
                Output::AskAgent { turn, .. } => self.agent_answers(turn),
                Output::CancelAgent { turn } | Output::AgentHeard { turn, .. } => self.agent_stops(turn),
                Output::Synthesize { utterance, text } => self.voice_speaks(utterance, &text),
                Output::CancelSynthesis { utterance } => self.voice_stops(utterance),
                _ => {}
            }
        }
    }

    fn mark_back(&mut self, mark: u32) {
        let reached = self.carrier.mark(self.table.now, mark);
        let mut back = reached + Duration::from_millis(self.dice.below(80));
        if self.misbehaves(|temper| temper.carrier) {
            match self.dice.below(4) {
                0 => return,
                1 => back = self.table.now,
                2 => back += Duration::from_millis(self.dice.below(6_000)),
                _ => self.at(back + Duration::from_millis(300), Coming::Mark { mark, anyway: true }),
            }
        }
        self.at(back, Coming::Mark { mark, anyway: false });
    }

    // The recogniser.

    fn recogniser_starts(&mut self, utterance: UtteranceId) {
        for n in 0..self.dice.below(3) {
            let (ms, text) = (self.dice.between(100, 900) + n * 300, self.dice.pick(&TEXTS));
            let is_final = self.misbehaves(|temper| temper.recogniser);
            self.soon(ms, Coming::Words { utterance, text, is_final });
        }
    }

    fn recogniser_ends(&mut self, mut utterance: UtteranceId) {
        let text = if self.dice.chance(400) { "" } else { self.dice.pick(&TEXTS) };
        let mut ms = self.dice.below(500);
        if self.misbehaves(|temper| temper.recogniser) {
            match self.dice.below(5) {
                0 => return,
                1 => ms += 5_000,
                2 => utterance = UtteranceId(self.dice.below(40) as u32),
                3 => self.soon(ms + 200, Coming::Words { utterance, text: "again", is_final: true }),
                _ => self.soon(ms + 200, Coming::Words { utterance, text: "still", is_final: false }),
            }
        }
        self.soon(ms, Coming::Words { utterance, text, is_final: true });
    }

    // The agent.

    fn agent_answers(&mut self, turn: TurnId) {
        let (mut ms, mut sentences, mut done) = (self.dice.below(900), self.dice.below(4), true);
        if self.misbehaves(|temper| temper.agent) {
            match self.dice.below(8) {
                0 => return,
                1 => sentences = 40,
                2 => done = false,
                3 => ms += 12_000,
                4 => self.soon(ms + 1_500, Coming::Done { turn, then: Then::Listen { keys_max: 2 } }),
                5 => self.soon(ms + 2_000, Coming::Says { turn, text: "Late." }),
                6 => {
                    let turn = TurnId(self.dice.below(30) as u32);
                    self.soon(ms, Coming::Says { turn, text: "Another's." });
                }
                _ => self.soon(ms + 700, Coming::Failed { turn }),
            }
        }
        for _ in 0..sentences {
            let text = self.dice.pick(&TEXTS);
            self.soon(ms, Coming::Says { turn, text });
            ms += self.dice.pick(&[0, 0, 30, 700]);
        }
        if done {
            let keys_max = self.dice.pick(&[0, 0, 1, 6, 255]);
            let then = if self.dice.chance(20) { Then::HangUp } else { Then::Listen { keys_max } };
            self.soon(ms, Coming::Done { turn, then });
        }
    }

    fn agent_stops(&mut self, turn: TurnId) {
        if !self.misbehaves(|temper| temper.agent) {
            self.coming.retain(|_, coming| !coming.is_of_turn(turn));
        }
    }

    // The voice.

    fn voice_speaks(&mut self, utterance: UtteranceId, text: &str) {
        let mut left = (text.trim().len() * self.dice.between(200, 700) as usize).min(40_000);
        let (total, mut ms, mut ends) = (left, self.dice.below(200), true);
        let mut failed = false;
        if self.misbehaves(|temper| temper.voice) {
            match self.dice.below(7) {
                0 => return,
                1 => ends = false,
                2 => failed = true,
                3 => left = 120_000,
                4 => self.soon(ms, Coming::Voice { utterance, samples: 0 }),
                5 => self.soon(ms + 4_000, Coming::Voice { utterance, samples: 900 }),
                _ => ms += 9_000,
            }
        }
        while left > 0 {
            let samples = (self.dice.pick(&[80, 160, 1_000, 40_000]) as usize).min(left);
            left -= samples;
            self.soon(ms, Coming::Voice { utterance, samples });
            ms += self.dice.pick(&[0, 5, 20, 100]);
        }
        if ends {
            let words = self.words(text, total);
            self.soon(ms, Coming::VoiceEnd { utterance, failed, words });
        }
    }

    fn voice_stops(&mut self, utterance: UtteranceId) {
        if !self.misbehaves(|temper| temper.voice) {
            self.coming.retain(|_, coming| !coming.is_of_utterance(utterance));
        }
    }

    /// Where words begin, as the voice says; perhaps nowhere, perhaps beyond all bounds.
    fn words(&mut self, text: &str, total: usize) -> Vec<WordStart> {
        if self.misbehaves(|temper| temper.voice) {
            let mut any = || WordStart {
                text_offset: self.dice.below(60) as u32,
                sample: self.dice.pick(&[0, 700, 30_000, u64::from(u32::MAX)]) as u32,
            };
            return vec![any(), any(), any()];
        }
        if self.dice.chance(400) {
            return Vec::new();
        }
        let starts = text.char_indices().filter(|(at, c)| {
            !c.is_whitespace() && text[..*at].chars().next_back().is_none_or(char::is_whitespace)
        });
        let sample = |at: usize| (at * total / text.len().max(1)) as u32;
        starts.map(|(at, _)| WordStart { text_offset: at as u32, sample: sample(at) }).collect()
    }

    // Everybody else.

    fn whim(&mut self) {
        let ms = self.dice.between(50, 3_000);
        self.soon(ms, Coming::Whim);
        let (number, any) = (self.dice.any() as u32, self.dice.below(30) as u32);
        let digit = self.dice.pick(&['0', '7', '9', '*', '#', 'D', 'x']);
        let text = self.dice.pick(&TEXTS);
        let rude = self.temper.carrier > 0;
        match self.dice.below(24) {
            0..6 => self.step_input(Input::Dtmf { digit }),
            6..9 => self.step_input(Input::Command(Command::Say { text })),
            9 => self.step_input(Input::AgentRecords { key: "key", value: text }),
            10 => self.step_input(Input::SpeechDropped { bytes: number }),
            11 => self.step_input(Input::Fault(Fault::ALL[any as usize % Fault::ALL.len()])),
            12 => self.step_input(Input::OutOfSequence { expected: any, got: u32::MAX }),
            13 => self.step_input(Input::Start { stream: "MZ2", format_ok: number.is_multiple_of(2) }),
            14 if rude => self.step_input(Input::Mark { name: mark_name(any).as_str() }),
            15 if rude => self.step_input(Input::Mark { name: text }),
            16 if self.temper.voice > 0 => {
                self.deliver(Coming::Voice { utterance: UtteranceId(any), samples: 500 });
            }
            17 if self.temper.voice > 0 => {
                let utterance = self.table.newest_utterance();
                self.deliver(Coming::VoiceEnd { utterance, failed: true, words: Vec::new() });
            }
            18 if self.temper.recogniser > 0 => {
                let utterance = self.table.last_heard;
                self.deliver(Coming::Words { utterance, text, is_final: self.steps.is_multiple_of(2) });
            }
            19 if self.temper.agent > 0 => {
                let turn = self.table.turn;
                self.deliver(Coming::Says { turn, text });
            }
            20 => self.step_input(Input::Tick),
            _ => {}
        }
    }

    /// Ends the call, one way or another.
    pub(super) fn finish(&mut self) -> EndReason {
        match self.dice.below(8) {
            _ if self.table.closed => {}
            0..3 => self.step_input(Input::Stop),
            3 => self.step_input(Input::LegLost),
            4 => {
                let reason = EndReason::Operator;
                self.step_input(Input::Command(Command::HangUp { reason }));
            }
            5 => self.table.pass(60_000),
            _ => self.fall_silent(),
        }
        assert!(self.table.closed, "every call ends");
        // Nothing that comes after the end has an effect.
        for coming in std::mem::take(&mut self.coming).into_values().take(20) {
            if !matches!(coming, Coming::Frame | Coming::Whim) {
                self.deliver(coming);
            }
        }
        match self.table.log.last() {
            Some((_, Output::Close { reason }, _)) => *reason,
            other => panic!("the last thing that comes out is the end, not {other:?}"),
        }
    }

    /// The caller says nothing any more, and nobody else is there: the call must come to an end by itself.
    fn fall_silent(&mut self) {
        self.temper = Temper::SAINT;
        self.coming.retain(|_, coming| matches!(coming, Coming::Frame));
        self.mood = (Mood::Silent, u64::MAX);
        // Once what is playing has been played.
        let limit = self.table.now + PATIENCE;
        while !self.table.closed {
            assert!(
                self.table.now < limit,
                "a silent caller is left alone for ever: {:#?}",
                self.table.latest()
            );
            self.step();
            self.coming.retain(|_, coming| matches!(coming, Coming::Frame));
        }
    }
}
