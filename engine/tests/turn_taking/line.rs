//! A call over a telephone line made of numbers: the carrier plays what it is sent in real time, the caller's telephone
//! carries some of that back, and the caller, the noise and the echo come in as 20 ms of µ-law.

use std::time::Duration;

use offhook_codecs::noise::Random;
use offhook_codecs::{g711, pcm};
use offhook_engine::call::{
    Call, CallSettings, CallTime, Event, EventKind, Input, Media, Output, Outputs, Then, TurnId, UtteranceId,
    WordStart, mark_name,
};
use offhook_fixtures::sounds::{dbfs, samples};

const FRAME: usize = 160;
/// A recogniser needs this long after the end of an utterance, an agent after its prompt, a voice after its text.
const RECOGNISER: Duration = Duration::from_millis(50);
const AGENT: Duration = Duration::from_millis(1);
const VOICE: Duration = Duration::from_millis(1);
/// Its words so far come this long after they were said.
const INTERIM_AFTER_MS: usize = 250;
/// It hears words that are this loud.
const AUDIBLE_DBFS: f32 = -50.0;

/// What the agent says: 8 kHz µ-law, and where its words begin.
#[derive(Clone)]
pub(crate) struct Sentence {
    pub(crate) text: String,
    pub(crate) ulaw: Vec<u8>,
    pub(crate) words: Vec<WordStart>,
}

/// A sound of the caller, or around them.
#[derive(Clone)]
pub(crate) struct Sound {
    pub(crate) from: usize,
    pub(crate) samples: Vec<f32>,
    /// What a recogniser makes of it, and the stretch of `samples` in which that is said.
    pub(crate) words: Option<(String, std::ops::Range<usize>)>,
}

/// How the caller's telephone carries the agent's voice back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    /// From the moment that the carrier plays a sample until its echo comes in.
    pub(crate) delay_ms: usize,
    /// How much quieter it comes back.
    pub(crate) loss_db: f32,
    /// A telephone's small loudspeaker: little below 500 Hz.
    pub(crate) small_speaker: bool,
    /// Before this, in samples, there is no echo: the caller puts us on the loudspeaker then.
    pub(crate) from: usize,
}

#[derive(Debug)]
enum Coming {
    Mark(u32),
    Words(UtteranceId, String, bool),
    Agent(TurnId),
    Voice(UtteranceId, usize),
}

pub(crate) struct Line {
    call: Call,
    out: Outputs,
    pub(crate) now: CallTime,
    sentences: Vec<Sentence>,
    next_sentence: usize,
    sounds: Vec<Sound>,
    path: Option<Path>,
    /// The echo's taps: sample of delay, and factor.
    taps: Vec<(usize, f32)>,
    high_pass: f32,
    /// What the carrier has played and holds, by its time of playing.
    played: Vec<f32>,
    play_until: usize,
    coming: Vec<(CallTime, usize, Coming)>,
    order: usize,
    frames: u32,
    utterance_began: usize,
    /// The utterance that is open, and its words so far.
    listening: Option<(UtteranceId, String)>,
    pub(crate) events: Vec<Event>,
    /// When `clear` was sent.
    pub(crate) clears: Vec<CallTime>,
    /// How often the agent was asked.
    pub(crate) asked: usize,
    /// How long it takes to answer.
    pub(crate) agent: Duration,
    /// How often that was called off.
    pub(crate) cancelled: usize,
}

impl Line {
    pub(crate) fn new(
        settings: CallSettings,
        sentences: Vec<Sentence>,
        sounds: Vec<Sound>,
        path: Option<Path>,
    ) -> Self {
        let taps = path.map_or(Vec::new(), |path| taps(&path));
        let mut line = Self {
            call: Call::new(settings),
            out: Outputs::default(),
            now: CallTime::ZERO,
            sentences,
            next_sentence: 0,
            sounds,
            path,
            taps,
            high_pass: 0.0,
            played: Vec::new(),
            play_until: 0,
            coming: Vec::new(),
            order: 0,
            frames: 0,
            utterance_began: 0,
            listening: None,
            events: Vec::new(),
            clears: Vec::new(),
            asked: 0,
            agent: AGENT,
            cancelled: 0,
        };
        line.input(&Input::Start { stream: "MZ1", format_ok: true });
        line
    }

    /// Lets the call go on to `ms` after its beginning, frame by frame.
    pub(crate) fn run_to(&mut self, ms: usize) {
        while (self.frames as usize + 1) * 20 <= ms {
            let frame_at = CallTime::from_millis(u64::from(self.frames + 1) * 20);
            while let Some(next) = self.next_before(frame_at) {
                self.now = self.now.max(next);
                self.happen();
            }
            self.now = frame_at;
            let payload = self.near();
            self.frames += 1;
            let (chunk, timestamp_ms) = (Some(self.frames), Some((self.frames - 1) * 20));
            self.input(&Input::Media(Media { chunk, timestamp_ms, payload: &payload }));
            self.tell_words_so_far();
        }
    }

    /// What was said [`INTERIM_AFTER_MS`] ago is understood.
    fn tell_words_so_far(&mut self) {
        let Some((utterance, told)) = &self.listening else { return };
        let until = (self.frames as usize * FRAME).saturating_sub(samples(INTERIM_AFTER_MS));
        let words = self.recognise(until, false);
        if words != *told {
            let utterance = *utterance;
            self.listening = Some((utterance, words.clone()));
            self.input(&Input::Transcript { utterance, text: &words, is_final: false });
        }
    }

    fn next_before(&self, frame_at: CallTime) -> Option<CallTime> {
        let coming = self.coming.iter().map(|coming| coming.0).min();
        let deadline = self.call.next_deadline().map(|(at, _)| at);
        [coming, deadline].into_iter().flatten().min().filter(|at| *at <= frame_at)
    }

    fn happen(&mut self) {
        let due = (0..self.coming.len())
            .filter(|&i| self.coming[i].0 <= self.now)
            .min_by_key(|&i| (self.coming[i].0, self.coming[i].1));
        let Some(due) = due else { return self.input(&Input::Tick) };
        match self.coming.swap_remove(due).2 {
            Coming::Mark(mark) => self.input(&Input::Mark { name: mark_name(mark).as_str() }),
            Coming::Words(utterance, text, is_final) => {
                self.input(&Input::Transcript { utterance, text: &text, is_final });
            }
            Coming::Agent(turn) => {
                if let Some(sentence) = self.sentences.get(self.next_sentence) {
                    let text = sentence.text.clone();
                    self.input(&Input::AgentSays { turn, text: &text });
                }
                self.input(&Input::AgentDone { turn, then: Then::Listen { keys_max: 6 } });
            }
            Coming::Voice(utterance, sentence) => {
                let Sentence { ulaw, words, .. } = self.sentences[sentence].clone();
                for piece in ulaw.chunks(8_000) {
                    self.input(&Input::AgentAudio { utterance, audio: &piece.into(), words: &[] });
                }
                self.input(&Input::AgentAudioEnd { utterance, failed: false, words: &words });
            }
        }
    }

    fn schedule(&mut self, at: CallTime, what: Coming) {
        self.order += 1;
        self.coming.push((at, self.order, what));
    }

    fn input(&mut self, input: &Input<'_>) {
        self.call.handle(self.now, input.clone(), &mut self.out);
        let mut list = self.out.take_list();
        for output in list.drain(..) {
            let now = (self.now.as_micros() / 125) as usize;
            match output {
                Output::Media { audio, .. } => {
                    self.play_until = self.play_until.max(now);
                    self.played.resize(self.play_until, 0.0);
                    let ulaw = self.out.audio(audio);
                    self.played.extend(ulaw.iter().map(|&code| pcm::to_float(g711::ulaw_to_linear(code))));
                    self.play_until = self.played.len();
                }
                Output::Mark { mark } => {
                    let reached = CallTime::from_micros(self.play_until.max(now) as u64 * 125);
                    self.schedule(reached + Duration::from_millis(10), Coming::Mark(mark));
                }
                Output::Clear => {
                    self.played.truncate(now);
                    self.play_until = now;
                    self.clears.push(self.now);
                }
                Output::UtteranceStarted { utterance } => {
                    self.utterance_began = now.saturating_sub(samples(300));
                    self.listening = Some((utterance, String::new()));
                }
                Output::UtteranceEnded { utterance, .. } => {
                    self.listening = None;
                    let text = self.recognise(now, true);
                    self.schedule(self.now + RECOGNISER, Coming::Words(utterance, text, true));
                }
                Output::AskAgent { turn, .. } => {
                    self.asked += 1;
                    self.schedule(self.now + self.agent, Coming::Agent(turn));
                }
                Output::Synthesize { utterance, .. } => {
                    self.schedule(self.now + VOICE, Coming::Voice(utterance, self.next_sentence));
                    self.next_sentence += 1;
                }
                Output::CancelAgent { .. } => self.cancelled += 1,
                Output::Event(event) => self.events.push(event),
                _ => {}
            }
        }
        self.out.give_back(list);
        drop(self.out.take_spent().collect::<Vec<_>>());
    }

    /// What a recogniser makes of the utterance up to here: it takes an echo for words, as real ones do. `over`: of words
    /// that were begun as well.
    fn recognise(&self, now: usize, over: bool) -> String {
        let heard = self.utterance_began..now.max(self.utterance_began);
        let within = |span: &std::ops::Range<usize>| {
            (if over { span.start } else { span.end }) < heard.end && span.end > heard.start
        };
        let mut words: Vec<String> = self
            .sounds
            .iter()
            .filter_map(|sound| {
                let (text, span) = sound.words.as_ref()?;
                within(&(sound.from + span.start..sound.from + span.end)).then(|| text.clone())
            })
            .collect();
        if let Some(path) = self.path.filter(|path| heard.end > path.from) {
            let delay = samples(path.delay_ms);
            let from = heard.start.max(path.from).saturating_sub(delay).min(self.played.len());
            let to = heard.end.saturating_sub(delay).clamp(from, self.played.len());
            if to - from > samples(200) && dbfs(&self.played[from..to]) - path.loss_db > AUDIBLE_DBFS {
                words.push("(what the agent said)".into());
            }
        }
        words.join(" ")
    }

    /// The next 20 ms that come in, ending now.
    fn near(&mut self) -> [u8; FRAME] {
        let from = self.frames as usize * FRAME;
        let mut mix = [0.0f32; FRAME];
        for sound in &self.sounds {
            for (at, sum) in mix.iter_mut().enumerate() {
                if let Some(sample) = (from + at).checked_sub(sound.from).and_then(|at| sound.samples.get(at))
                {
                    *sum += sample;
                }
            }
        }
        if let Some(path) = self.path {
            for (at, sum) in mix.iter_mut().enumerate().filter(|(at, _)| from + at >= path.from) {
                let echo: f32 = self
                    .taps
                    .iter()
                    .filter_map(|(delay, factor)| {
                        Some(self.played.get((from + at).checked_sub(*delay)?)? * factor)
                    })
                    .sum();
                // One pole at about 500 Hz.
                self.high_pass += 0.32 * (echo - self.high_pass);
                *sum += if path.small_speaker { echo - self.high_pass } else { echo };
            }
        }
        mix.map(|sample| g711::linear_to_ulaw(pcm::from_float(sample)))
    }

    /// How many decisions so far are of this kind, at or after `from`.
    pub(crate) fn decisions(&self) -> impl Iterator<Item = (CallTime, &EventKind)> {
        self.events
            .iter()
            .filter(|event| matches!(event.kind, EventKind::Decided(_)))
            .map(|event| (event.at, &event.kind))
    }
}

/// A loudspeaker, a room of little echo of its own (some 200 ms to fall by 60 dB), and a microphone.
fn taps(path: &Path) -> Vec<(usize, f32)> {
    let mut random = Random::new(path.delay_ms as u64);
    let mut taps = vec![(samples(path.delay_ms), 1.0)];
    for _ in 0..24 {
        let after_ms = 1.0 + 80.0 * random.unit();
        let factor = 0.35 * 10f32.powf(-after_ms / 200.0 * 3.0) * random.gauss();
        taps.push((samples(path.delay_ms) + (after_ms * 8.0) as usize, factor));
    }
    let energy: f32 = taps.iter().map(|(_, factor)| factor * factor).sum();
    let gain = pcm::db_to_amplitude(-path.loss_db) / energy.sqrt();
    taps.iter_mut().for_each(|(_, factor)| *factor *= gain);
    taps
}
