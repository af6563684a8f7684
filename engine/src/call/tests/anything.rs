//! Whatever comes, in whatever order: what a call never does.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::table::Table;
use crate::call::{
    CallSettings, Command, Decision, EndReason, EventKind, Failure, Fault, Input, Media, Output, Then,
    TurnId, UtteranceId, WordStart, mark_name,
};
use crate::journal::{Verdict, replay};
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
    Speaks { right: bool, number: u32, text: usize, bytes: usize, is_last: bool },
    Understood { right: bool, number: u32 },
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
        4 => (right(), number(), text(), prop_oneof![Just(0usize), 0..20_000usize], prop::bool::weighted(0.3))
            .prop_map(|(right, number, text, bytes, is_last)| Op::Speaks { right, number, text, bytes, is_last }),
        2 => (right(), number()).prop_map(|(right, number)| Op::Understood { right, number }),
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

/// What puts things in.
struct Hand {
    table: Table,
    chunk: u32,
    voice_at: usize,
}

impl Hand {
    fn take(&mut self, op: &Op, speech: &[u8]) {
        match op {
            Op::Pass { ms } => self.table.pass(*ms),
            Op::Audio { frames, voiced } => {
                for _ in 0..*frames {
                    self.chunk += 1;
                    let at = self.voice_at % (speech.len() - 160);
                    self.voice_at = at + 160;
                    let payload = if *voiced { &speech[at..at + 160] } else { &[0xFF; 160] };
                    let media = Media { chunk: Some(self.chunk), timestamp_ms: None, payload };
                    self.table.input(Input::Media(media));
                    self.table.pass(20);
                }
            }
            Op::OddAudio { bytes, chunk, timestamp_ms } => {
                let payload = vec![0x55; *bytes];
                self.table.input(Input::Media(Media {
                    chunk: *chunk,
                    timestamp_ms: *timestamp_ms,
                    payload: &payload,
                }));
            }
            Op::Mark { right, number } => {
                // A right one may be any that was sent: in time, late, or again.
                let known = self.table.marks.get(*number as usize % self.table.marks.len().max(1)).copied();
                let number = known.filter(|_| *right).unwrap_or(*number);
                self.table.input(Input::Mark { name: mark_name(number).as_str() });
            }
            Op::Words { right, number, text, is_final } => {
                let utterance = if *right { self.table.last_heard } else { UtteranceId(*number) };
                self.table.input(Input::Transcript { utterance, text: TEXTS[*text], is_final: *is_final });
            }
            Op::Says { right, number, text } => {
                let turn = if *right { self.table.turn } else { TurnId(*number) };
                self.table.input(Input::AgentSays { turn, text: TEXTS[*text] });
            }
            Op::Speaks { right, number, text, bytes, is_last } => {
                let turn = if *right { self.table.turn } else { TurnId(*number) };
                self.table.speaks(turn, TEXTS[*text], *bytes, *is_last);
            }
            Op::Understood { right, number } => {
                let utterance = if *right { self.table.last_heard } else { UtteranceId(*number) };
                self.table.input(Input::Understood { utterance });
            }
            Op::Done { right, number, keys_max } => {
                let turn = if *right { self.table.turn } else { TurnId(*number) };
                let then = keys_max.map_or(Then::HangUp, |keys_max| Then::Listen { keys_max });
                self.table.input(Input::AgentDone { turn, then });
            }
            Op::Failed { number } => {
                self.table.input(Input::AgentFailed { turn: TurnId(*number), why: Failure::Unreachable });
            }
            Op::Voice { right, number, bytes } => {
                let utterance = if *right { self.table.newest_utterance() } else { UtteranceId(*number) };
                self.table.voice(utterance, *bytes);
            }
            Op::VoiceEnd { right, number, failed, words } => {
                let utterance = if *right { self.table.newest_utterance() } else { UtteranceId(*number) };
                let mut words: Vec<WordStart> =
                    words.iter().map(|&(text_offset, sample)| WordStart { text_offset, sample }).collect();
                if *right {
                    words.sort_by_key(|word| word.sample);
                }
                self.table.voice_end(utterance, *failed, &words);
            }
            Op::Key(digit) => self.table.input(Input::Dtmf { digit: *digit }),
            Op::Odd(which) => self.table.input(match which % 5 {
                0 => Input::Start { stream: "", format_ok: false },
                1 => Input::OutOfSequence { expected: 0, got: u32::MAX },
                2 => Input::SpeechDropped { bytes: u32::MAX },
                3 => Input::AgentRecords { key: "", value: "" },
                _ => Input::Fault(Fault::NotBase64),
            }),
            Op::Say(text) => self.table.input(Input::Command(Command::Say { text: TEXTS[*text] })),
            Op::End(which) => match which {
                0 => self.table.input(Input::Stop),
                1 => self.table.input(Input::LegLost),
                2 => self.table.input(Input::Command(Command::HangUp { reason: EndReason::Operator })),
                _ => {}
            },
        }
    }
}

/// Takes it all, then waits until the carrier's silence ends the call.
fn play(ops: &[Op], speech: &[u8]) -> Table {
    let mut table = Table::new(CallSettings { vad_mode: 0, ..CallSettings::default() });
    table.input(Input::Start { stream: "MZ1", format_ok: true });
    let mut hand = Hand { table, chunk: 0, voice_at: 0 };
    ops.iter().for_each(|op| hand.take(op, speech));
    hand.table.pass(60_000);
    assert!(hand.table.closed, "a call without media ends");
    hand.table
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_the_call_keeps_its_promises_and_does_the_same_again(ops in vec(op(), 1..120)) {
        let speech = voiced(std::time::Duration::from_millis(2_500));
        let mut table = play(&ops, &speech);
        let again = replay(&table.take_tape().finish(table.now, EndReason::MediaTimeout));
        prop_assert_eq!(again.verdict, Verdict::Same);
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
    let table = play(&ops, &voiced(std::time::Duration::from_millis(2_500)));
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
