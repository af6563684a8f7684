//! The call in the worst of company: a carrier, a recogniser, an agent and a voice that do what they should not, and a
//! thread that comes late. What each does follows from a seed; what the call may never do is checked by [`Table`] at
//! every step, and every call is run again from its own journal.
//!
//! `OFFHOOK_SIM_STEPS=1000000` runs longer, `OFFHOOK_SIM_SEED=17` begins elsewhere. A failure names the seed of its call,
//! with which that call comes first.

mod carrier;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::call::{Event, EventKind, Output};
use crate::journal::{Verdict, replay};
use crate::sim::Dice;
use world::{Temper, World};

/// What `cargo test` runs.
const STEPS: u64 = 120_000;

/// What a good many calls must have met, or the world does not test what it says.
const MET: [&str; 21] = [
    "BargeIn SustainedSpeech",
    "BargeIn KeyPressed",
    "Yield WordsFollowed",
    "Yield KeyPressed",
    "Yield LongSpeech",
    "Resume NoWordsFollowed",
    "KeepFloor ShortSound",
    "KeepFloor Goodbye",
    "TurnOver Silence",
    "TurnOver TooLong",
    "TurnOver MediaStalled",
    "TurnOver RecogniserSilent",
    "TurnOver KeysComplete",
    "Ignore TooShort",
    "NoInput Silence",
    "HangUp LastMark",
    "GiveUp MarkTimeout",
    "AgentHangup",
    "AgentFailed",
    "MediaTimeout",
    "CallerHangup",
];

#[expect(clippy::disallowed_methods, reason = "a test's own settings come from outside the engine")]
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        Err(_) => default,
    }
}

/// Runs one call from its beginning to its end, and again; how many steps it took. `met`: what was decided, and why.
fn run(seed: u64, speech: &[u8], met: &mut BTreeMap<String, u64>) -> u64 {
    let mut dice = Dice::new(seed);
    let steps = match dice.below(60) {
        0 => dice.between(20_000, 40_000),
        1..20 => dice.between(1, 300),
        _ => dice.between(300, 3_000),
    };
    let temper = Temper::roll(&mut dice);
    let mut world = World::new(dice, temper, speech);
    while world.steps < steps && !world.table.closed {
        world.step();
    }
    let reason = world.finish();
    let mut table = world.table;
    let again = replay(&table.take_tape().finish(table.now, reason));
    assert_eq!(again.verdict, Verdict::Same);
    for (_, output, _) in &table.log {
        let name = match output {
            Output::Event(Event { kind: EventKind::Decided(decided), .. }) => {
                format!("{:?} {:?}", decided.decision, decided.reason)
            }
            Output::Close { reason } => format!("{reason:?}"),
            _ => continue,
        };
        *met.entry(name).or_default() += 1;
    }
    world.steps
}

#[test]
fn in_the_worst_of_company_the_call_keeps_its_promises_and_can_be_run_again() {
    let (first, wanted) = (setting("OFFHOOK_SIM_SEED", 1), setting("OFFHOOK_SIM_STEPS", STEPS));
    let speech = crate::sim::voiced(std::time::Duration::from_millis(2_500));
    let (mut seed, mut steps, mut met) = (first, 0, BTreeMap::new());
    while steps < wanted {
        match catch_unwind(AssertUnwindSafe(|| run(seed, &speech, &mut met))) {
            Ok(more) => steps += more,
            Err(_) => panic!(
                "after {steps} steps: OFFHOOK_SIM_SEED={seed} OFFHOOK_SIM_STEPS=1 runs this call alone"
            ),
        }
        seed += 1;
    }
    if steps < STEPS {
        return;
    }
    let missing: Vec<_> = MET.iter().filter(|name| !met.contains_key(**name)).collect();
    assert!(missing.is_empty(), "the company was not bad enough for {missing:?}: {met:#?}");
}
