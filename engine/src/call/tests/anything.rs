//! Whatever comes, in whatever order: what a call never does.

use std::collections::BTreeMap;
use std::sync::Arc;

use offhook_codecs::g711;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::call::{
    Call, CallSettings, CallTime, Command, Decision, EndReason, EventKind, Fault, Input, Media, Output,
    Outputs, Reason, Speaker, Then, TurnId, UtteranceId, WordStart, mark_name,
};
use crate::sim::voiced;

const TEXTS: [&str; 6] =
    ["We open at nine and close at five.", "", " ", "é", "Zwölf  Boxkämpfer\njagen Eva.", "Goodbye."];

/// One thing that comes in. `right`: it names what the call waits for; otherwise any number.
#[derive(Clone, Debug)]
enum Op {
    Pass { ms: u64 },
    Audio { frames: u8, voiced: bool },
    OddAudio { bytes: usize, chunk: Option<u32>, timestamp_ms: Option<u32> },
    Mark { right: bool, number: u32 },
    Words { right: bool, number: u32, text: usize, is_final: bool },
    Says { right: bool, number: u32, text: usize },
    Done { right: bool, number: u32, keys_max: Option<u8> },
    Failed { number: u32 },
    Voice { right: bool, number: u32, bytes: usize },
    VoiceEnd { right: bool, number: u32, failed: bool, words: Vec<(u32, u32)> },
    Key(char),
    Odd(u8),
    Say(usize),
    End(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let right = || prop::bool::weighted(0.85);
    let number = || prop_oneof![0..20u32, Just(u32::MAX)];
    let text = || 0..TEXTS.len();
    let odd = || prop::option::of(prop_oneof![0..40u32, Just(u32::MAX), any::<u32>()]);
    prop_oneof![
        6 => prop_oneof![0..100u64, 0..10_000u64].prop_map(|ms| Op::Pass { ms }),
        10 => (1..50u8, any::<bool>()).prop_map(|(frames, voiced)| Op::Audio { frames, voiced }),
        1 => (select(vec![0usize, 1, 159, 161, 1_600, 60_000]), odd(), odd())
            .prop_map(|(bytes, chunk, timestamp_ms)| Op::OddAudio { bytes, chunk, timestamp_ms }),
        4 => (right(), number()).prop_map(|(right, number)| Op::Mark { right, number }),
        4 => (right(), number(), text(), any::<bool>())
            .prop_map(|(right, number, text, is_final)| Op::Words { right, number, text, is_final }),
        6 => (right(), number(), text()).prop_map(|(right, number, text)| Op::Says { right, number, text }),
        4 => (right(), number(), prop::option::weighted(0.8, any::<u8>()))
            .prop_map(|(right, number, keys_max)| Op::Done { right, number, keys_max }),
        1 => number().prop_map(|number| Op::Failed { number }),
        8 => (right(), number(), prop_oneof![0..400usize, 0..20_000usize])
            .prop_map(|(right, number, bytes)| Op::Voice { right, number, bytes }),
        6 => (right(), number(), prop::bool::weighted(0.1), vec((0..40u32, 0..20_000u32), 0..5))
            .prop_map(|(right, number, failed, words)| Op::VoiceEnd { right, number, failed, words }),
        3 => select("0123456789*#Dx".chars().collect::<Vec<_>>()).prop_map(Op::Key),
        2 => any::<u8>().prop_map(Op::Odd),
        1 => text().prop_map(Op::Say),
        1 => (0..20u8).prop_map(Op::End),
    ]
}

/// What the voice gave of one utterance, and how far the call has sent it.
#[derive(Default)]
struct Spoken {
    given: Vec<u8>,
    sent: usize,
    begun: bool,
    /// True after a clear: the next message may go back.
    may_go_back: bool,
}

/// The moments of an answer, as somebody outside sees them.
#[derive(Default)]
struct Moments {
    /// When the caller's turns were decided to be over, since the agent was asked last.
    over: Vec<CallTime>,
    asked: CallTime,
    /// When the first sentence came, since then.
    said: Option<CallTime>,
    /// When audio came for any utterance, since then.
    voiced: Vec<CallTime>,
}

/// A call, all that went out of it, and what that says of its state.
struct Table {
    call: Call,
    settings: CallSettings,
    now: CallTime,
    out: Outputs,
    log: Vec<(CallTime, Output, Vec<u8>)>,
    chunk: u32,
    voice_at: usize,
    turn: TurnId,
    utterances: BTreeMap<UtteranceId, Spoken>,
    /// Utterances up to this one are of turns that are over.
    dead_to: UtteranceId,
    /// What the agent's turn was to say.
    said: Vec<(UtteranceId, String)>,
    voice_failed: bool,
    /// Told with the agent's first audio, until the stages of it are told.
    response_ms: Option<u32>,
    /// What was seen of the moments between which the stages lie.
    seen: Moments,
    listening_to: Option<UtteranceId>,
    last_heard: UtteranceId,
    marks: Vec<u32>,
    stopped: bool,
    /// The next message takes speech up again: its first 64 samples rise from silence.
    rises: bool,
    play_until: CallTime,
    closed: bool,
}

impl Table {
    fn new() -> Self {
        let settings = CallSettings { vad_mode: 0, ..CallSettings::default() };
        let mut table = Self {
            call: Call::new(settings.clone()),
            settings,
            now: CallTime::ZERO,
            out: Outputs::default(),
            log: Vec::new(),
            chunk: 0,
            voice_at: 0,
            turn: TurnId(0),
            utterances: BTreeMap::new(),
            dead_to: UtteranceId(0),
            said: Vec::new(),
            voice_failed: false,
            response_ms: None,
            seen: Moments::default(),
            listening_to: None,
            last_heard: UtteranceId(0),
            marks: Vec::new(),
            stopped: false,
            rises: false,
            play_until: CallTime::ZERO,
            closed: false,
        };
        table.input(Input::Start { stream: "MZ1", format_ok: true });
        table
    }

    fn input(&mut self, input: Input<'_>) {
        let was_closed = self.closed;
        self.call.handle(self.now, input, &mut self.out);
        let mut list = self.out.take_list();
        assert!(!was_closed || list.is_empty(), "something follows the end: {list:?}");
        for output in list.drain(..) {
            assert!(!self.closed, "something follows the end: {output:?}");
            let bytes = match &output {
                Output::Media { audio, .. } | Output::CallerAudio { audio } => {
                    self.out.audio(*audio).to_vec()
                }
                _ => Vec::new(),
            };
            self.check(&output, &bytes);
            self.log.push((self.now, output, bytes));
        }
        self.out.give_back(list);
        self.out.take_spent().for_each(drop);
        assert_eq!(self.call.next_deadline().is_none(), self.closed, "a running call waits for something");
    }

    fn check(&mut self, output: &Output, bytes: &[u8]) {
        match output {
            Output::Media { utterance, .. } => self.check_media(*utterance, bytes),
            Output::Mark { mark } => self.marks.push(*mark),
            Output::Clear => {
                self.stopped = true;
                self.play_until = self.now;
                self.utterances.values_mut().for_each(|spoken| spoken.may_go_back = true);
            }
            Output::UtteranceStarted { utterance } => {
                assert_eq!(self.listening_to, None, "one utterance at a time");
                self.listening_to = Some(*utterance);
                self.last_heard = *utterance;
            }
            Output::CallerAudio { .. } => assert!(self.listening_to.is_some(), "audio of no utterance"),
            Output::UtteranceEnded { utterance, .. } => {
                assert_eq!(self.listening_to.take(), Some(*utterance));
            }
            Output::AskAgent { turn, .. } => {
                assert!(*turn > self.turn, "turns are named once");
                self.turn = *turn;
                self.turn_is_over();
                self.seen = Moments {
                    over: std::mem::take(&mut self.seen.over),
                    asked: self.now,
                    ..Moments::default()
                };
            }
            Output::CancelAgent { .. } => self.turn_is_over(),
            Output::Synthesize { utterance, text } => {
                self.utterances.insert(*utterance, Spoken::default());
                self.seen.said.get_or_insert(self.now);
                self.said.push((*utterance, text.clone()));
            }
            Output::Event(event) => match &event.kind {
                EventKind::Turn(turn) if turn.speaker == Speaker::Agent => {
                    let letters = |text: &str| -> Vec<char> {
                        text.chars().filter(|letter| !letter.is_whitespace()).collect()
                    };
                    let mut told = [letters(&turn.text), letters(&turn.unheard)].concat();
                    // A turn for which the voice gave nothing is over without a record.
                    let silent = |(utterance, _): &&(UtteranceId, String)| !self.utterances[utterance].begun;
                    let before = self.said.iter().take_while(silent).count();
                    let mut said =
                        (0..=before).map(|from| letters(&self.said_from(from))).collect::<Vec<_>>();
                    if self.voice_failed {
                        // What the voice broke off stands with the unheard, though what followed was heard.
                        told.sort_unstable();
                        said.iter_mut().for_each(|said| said.sort_unstable());
                    }
                    assert!(said.contains(&told), "of {:?} this is told: {turn:?}", self.said);
                    self.turn_is_over();
                }
                EventKind::AgentSpeaks { response_ms, .. } => self.response_ms = *response_ms,
                EventKind::Responded(response) => {
                    let stages: u64 = response.stages().iter().map(|(_, us)| us).sum();
                    assert_eq!(stages, response.response_us, "{response:?}");
                    self.check_stages(&response.stages().map(|(_, us)| us));
                    let told_ms = self.response_ms.take().expect("only answers have a response time");
                    assert_eq!(u64::from(told_ms), response.response_us / 1_000);
                }
                EventKind::VoiceFailed { .. } => self.voice_failed = true,
                EventKind::Decided(decided) => {
                    assert!(decided.rule().holds(), "a rule that does not hold decided: {decided:?}");
                    if decided.decision == Decision::TurnOver && decided.reason != Reason::RecogniserSilent {
                        self.seen.over.push(self.now);
                    }
                    if matches!(decided.decision, Decision::Resume | Decision::Yield) {
                        self.stopped = false;
                        self.rises = decided.decision == Decision::Resume;
                    }
                }
                _ => {}
            },
            Output::Close { .. } => self.closed = true,
            // Told before its record is, if there is one.
            Output::AgentHeard { .. } => self.let_go(),
            Output::CancelSynthesis { .. } => {}
        }
    }

    fn said_from(&self, from: usize) -> String {
        self.said[from..].iter().map(|(_, text)| text.as_str()).collect()
    }

    fn turn_is_over(&mut self) {
        self.let_go();
        self.said.clear();
        self.voice_failed = false;
    }

    fn let_go(&mut self) {
        self.rises = false;
        self.dead_to = self.newest_utterance();
        self.stopped = false;
    }

    /// Each stage of an answer whose first audio leaves now begins where the one before it ends, at a moment that could
    /// be seen from outside.
    fn check_stages(&self, us: &[u64; 5]) {
        let back = |us: u64| self.now - std::time::Duration::from_micros(us);
        let [_, transcript, agent, voice, playout] = *us;
        assert!(
            self.seen.voiced.contains(&back(playout)),
            "the voice ended at a moment without audio: {us:?}"
        );
        assert_eq!(self.seen.said, Some(back(playout + voice)), "the agent ended with its first sentence");
        assert_eq!(self.seen.asked, back(playout + voice + agent), "the transcript ended with the question");
        let over = back(playout + voice + agent + transcript);
        assert!(self.seen.over.contains(&over), "endpointing ended without a decision: {us:?}");
    }

    fn check_media(&mut self, utterance: UtteranceId, bytes: &[u8]) {
        assert!(!self.stopped, "audio was sent between clear and resume");
        assert!(utterance > self.dead_to, "audio of a turn that is over was sent");
        self.play_until =
            self.play_until.max(self.now) + std::time::Duration::from_micros(bytes.len() as u64 * 125);
        let ahead = self.play_until.since(self.now);
        let ahead_ms_max = self.settings.lead_ms + self.settings.message_ms;
        assert!(ahead.as_millis() <= u128::from(ahead_ms_max), "{ahead:?} ahead");
        let spoken = self.utterances.get_mut(&utterance).expect("an utterance that was asked for");
        let risen = if std::mem::take(&mut self.rises) { 64.min(bytes.len()) } else { 0 };
        let matches = |from: &usize| {
            let given = &spoken.given[*from..];
            let quieter = |(sent, given): (&u8, &u8)| {
                let [sent, given] = [sent, given].map(|code| g711::ulaw_to_linear(*code).unsigned_abs());
                sent <= given
            };
            given.len() >= bytes.len()
                && given[risen..].starts_with(&bytes[risen..])
                && bytes[..risen].iter().zip(given).all(quieter)
        };
        if spoken.may_go_back {
            spoken.sent = (0..=spoken.sent).rev().find(matches).expect("audio as it was given");
            spoken.may_go_back = false;
        }
        assert!(matches(&spoken.sent), "audio as it was given, in order");
        spoken.sent += bytes.len();
        spoken.begun = true;
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, ms: u64) {
        let until = self.now + std::time::Duration::from_millis(ms);
        while let Some((at, _)) = self.call.next_deadline().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.input(Input::Tick);
            let next = self.call.next_deadline();
            assert!(next.is_none_or(|(at, _)| at > self.now), "{next:?} is due again at {:?}", self.now);
        }
        self.now = until;
    }

    fn newest_utterance(&self) -> UtteranceId {
        self.utterances.last_key_value().map_or(UtteranceId(0), |(utterance, _)| *utterance)
    }

    fn take(&mut self, op: &Op, speech: &[u8]) {
        match op {
            Op::Pass { ms } => self.pass(*ms),
            Op::Audio { frames, voiced } => {
                for _ in 0..*frames {
                    self.chunk += 1;
                    let at = self.voice_at % (speech.len() - 160);
                    self.voice_at = at + 160;
                    let payload = if *voiced { &speech[at..at + 160] } else { &[0xFF; 160] };
                    let media = Media { chunk: Some(self.chunk), timestamp_ms: None, payload };
                    self.input(Input::Media(media));
                    self.pass(20);
                }
            }
            Op::OddAudio { bytes, chunk, timestamp_ms } => {
                let payload = vec![0x55; *bytes];
                self.input(Input::Media(Media {
                    chunk: *chunk,
                    timestamp_ms: *timestamp_ms,
                    payload: &payload,
                }));
            }
            Op::Mark { right, number } => {
                // A right one may be any that was sent: in time, late, or again.
                let known = self.marks.get(*number as usize % self.marks.len().max(1)).copied();
                let number = known.filter(|_| *right).unwrap_or(*number);
                self.input(Input::Mark { name: mark_name(number).as_str() });
            }
            Op::Words { right, number, text, is_final } => {
                let utterance = if *right { self.last_heard } else { UtteranceId(*number) };
                self.input(Input::Transcript { utterance, text: TEXTS[*text], is_final: *is_final });
            }
            Op::Says { right, number, text } => {
                let turn = if *right { self.turn } else { TurnId(*number) };
                self.input(Input::AgentSays { turn, text: TEXTS[*text] });
            }
            Op::Done { right, number, keys_max } => {
                let turn = if *right { self.turn } else { TurnId(*number) };
                let then = keys_max.map_or(Then::HangUp, |keys_max| Then::Listen { keys_max });
                self.input(Input::AgentDone { turn, then });
            }
            Op::Failed { number } => self.input(Input::AgentFailed { turn: TurnId(*number) }),
            Op::Voice { right, number, bytes } => {
                let utterance = if *right { self.newest_utterance() } else { UtteranceId(*number) };
                let spoken = self.utterances.entry(utterance);
                let mut given = Vec::new();
                if let std::collections::btree_map::Entry::Occupied(mut spoken) = spoken {
                    let from = spoken.get().given.len();
                    // No two stretches are alike, so that order shows.
                    let byte = |at: usize| scrambled(at as u32 ^ utterance.0 << 20);
                    given.extend((from..from + bytes).map(byte));
                    spoken.get_mut().given.extend_from_slice(&given);
                }
                self.seen.voiced.push(self.now);
                self.input(Input::AgentAudio { utterance, audio: &Arc::from(given) });
            }
            Op::VoiceEnd { right, number, failed, words } => {
                let utterance = if *right { self.newest_utterance() } else { UtteranceId(*number) };
                let mut words: Vec<WordStart> =
                    words.iter().map(|&(text_offset, sample)| WordStart { text_offset, sample }).collect();
                if *right {
                    words.sort_by_key(|word| word.sample);
                }
                self.input(Input::AgentAudioEnd { utterance, failed: *failed, words: &words });
            }
            Op::Key(digit) => self.input(Input::Dtmf { digit: *digit }),
            Op::Odd(which) => self.input(match which % 5 {
                0 => Input::Start { stream: "", format_ok: false },
                1 => Input::OutOfSequence { expected: 0, got: u32::MAX },
                2 => Input::SpeechDropped { bytes: u32::MAX },
                3 => Input::AgentRecords { key: "", value: "" },
                _ => Input::Fault(Fault::NotBase64),
            }),
            Op::Say(text) => self.input(Input::Command(Command::Say { text: TEXTS[*text] })),
            Op::End(which) => match which {
                0 => self.input(Input::Stop),
                1 => self.input(Input::LegLost),
                2 => self.input(Input::Command(Command::HangUp { reason: EndReason::Operator })),
                _ => {}
            },
        }
    }

    /// Takes it all, then waits until the carrier's silence ends the call.
    fn play(ops: &[Op], speech: &[u8]) -> Self {
        let mut table = Self::new();
        ops.iter().for_each(|op| table.take(op, speech));
        table.pass(60_000);
        assert!(table.closed, "a call without media ends");
        table
    }
}

/// A byte for each number, without a pattern (the finaliser of MurmurHash3).
fn scrambled(number: u32) -> u8 {
    let mut x = number.wrapping_add(0x9E37_79B9);
    x = (x ^ x >> 16).wrapping_mul(0x85EB_CA6B);
    x = (x ^ x >> 13).wrapping_mul(0xC2B2_AE35);
    (x >> 24) as u8
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_the_call_keeps_its_promises_and_does_the_same_again(ops in vec(op(), 1..120)) {
        let speech = voiced(std::time::Duration::from_millis(2_500));
        let first = Table::play(&ops, &speech);
        let second = Table::play(&ops, &speech);
        prop_assert!(first.log == second.log);
    }
}

/// The agent's turn was given up before any of it was sent, so that nothing tells of its end but the decision.
#[test]
fn what_was_ordered_is_said_after_an_interruption_of_a_turn_without_sound() {
    let words = |text, is_final| Op::Words { right: true, number: 0, text, is_final };
    let ops = [
        Op::Audio { frames: 1, voiced: false },
        Op::Says { right: true, number: 0, text: 1 },
        Op::Done { right: true, number: 0, keys_max: Some(0) },
        Op::Audio { frames: 8, voiced: true },
        words(0, false),
        Op::Audio { frames: 45, voiced: false },
        words(1, true),
        Op::Say(0),
        Op::Voice { right: true, number: 0, bytes: 400 },
        Op::Pass { ms: 100 },
    ];
    let table = Table::play(&ops, &voiced(std::time::Duration::from_millis(2_500)));
    let decisions: Vec<_> = table
        .log
        .iter()
        .filter_map(|(_, output, _)| match output {
            Output::Event(event) => match event.kind {
                EventKind::Decided(decided) => Some(decided.decision).filter(|it| *it != Decision::GiveUp),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(decisions, [Decision::BargeIn, Decision::Yield, Decision::TurnOver, Decision::Ignore]);
    assert!(table.log.iter().any(|(_, output, _)| matches!(output, Output::Media { .. })));
}
