//! The corpus of turn-taking: some three hundred short calls with labelled sound, in virtual time, and how a call with
//! the default settings decides in each. The table says what a caller would notice:
//!
//! - **missed**: the caller spoke, and did not get the floor (or a turn never ended);
//! - **lost floor**: nobody took the floor, and yet the agent gave it up, or answered what nobody said;
//! - **stops**: the agent fell silent for a sound that was no interruption, and went on after it;
//! - **cut off**: the caller's turn was answered before its last word;
//! - **delay**: from the first sound of an interruption to `clear`; from the last sound of a turn to its end. Median and most.
//!
//! `COMMITTED` is what was reached; a change may not make it worse. A threshold whose default is moved is moved by this table:
//!
//! ```sh
//! cargo test -p offhook-engine --test turn_taking -- --nocapture
//! CORPUS_CASE='echo 70 ms late' cargo test -p offhook-engine --test turn_taking -- --nocapture   # with timelines
//! ```

#![expect(clippy::print_stderr, reason = "the table is what a reader comes for")]

mod cases;
mod line;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use cases::{Case, Expect, cases};
use line::Line;
use offhook_engine::call::{CallSettings, CallTime, Decision, EventKind, Prompt};

/// An interruption that has led to nothing after this long is missed.
const WITHIN_MS: u64 = 1_000;

/// How a class of cases went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Score {
    cases: usize,
    missed: usize,
    lost_floor: usize,
    stops: usize,
    cut_off: usize,
    delays_ms: Vec<u64>,
}

impl Score {
    fn p50_ms(&self) -> u64 {
        self.delays_ms.get(self.delays_ms.len() / 2).copied().unwrap_or(0)
    }

    fn max_ms(&self) -> u64 {
        self.delays_ms.last().copied().unwrap_or(0)
    }
}

/// Runs a case; what went wrong in it, in words.
fn judge(case: &Case, settings: &CallSettings, score: &mut Score) -> Vec<String> {
    let mut line = Line::new(settings.clone(), case.sentences.clone(), case.sounds.clone(), case.path);
    line.run_to(case.length_ms);
    let decided = |wanted: Decision, from: CallTime| {
        line.decisions().find_map(|(at, kind)| match kind {
            EventKind::Decided(decided) if decided.decision == wanted && at >= from => Some(at),
            _ => None,
        })
    };
    let answered = |from: CallTime, to: CallTime| {
        line.events.iter().any(|event| {
            let to_words = matches!(
                event.kind,
                EventKind::AgentAsked { prompt: Prompt::Said(_) | Prompt::NotUnderstood, .. }
            );
            to_words && (from..to).contains(&event.at)
        })
    };
    let mut wrong = Vec::new();
    score.cases += 1;
    match case.expect {
        Expect::Interrupts { from } => {
            let from = CallTime::from_micros(from as u64 * 125);
            let early = line.clears.iter().filter(|at| **at < from).count();
            if early > 0 {
                score.stops += early;
                wrong.push(format!("{early} stops before it"));
            }
            let stop = line.clears.iter().find(|at| **at >= from).map(|at| at.since(from).as_millis() as u64);
            match (stop, decided(Decision::Yield, from)) {
                (Some(stop), Some(_)) if stop <= WITHIN_MS => {
                    score.delays_ms.push(stop);
                    if stop > 300 {
                        wrong.push(format!("only after {stop} ms"));
                    }
                }
                (stop, yielded) => {
                    score.missed += 1;
                    wrong.push(format!("missed: stop after {stop:?} ms, yield at {yielded:?}"));
                }
            }
        }
        Expect::Keeps => {
            let end = CallTime::from_millis(u64::MAX / 2_000);
            let lost = decided(Decision::Yield, CallTime::ZERO);
            if lost.is_some() || answered(CallTime::ZERO, end) {
                score.lost_floor += 1;
                wrong.push(format!("lost the floor: {lost:?}"));
            }
            if !line.clears.is_empty() {
                score.stops += line.clears.len();
                wrong.push(format!("stops at {:?}", line.clears));
            }
        }
        Expect::OneTurn { begins, ends } => {
            let [begins, ends] = [begins, ends].map(|at| CallTime::from_micros(at as u64 * 125));
            if answered(begins, ends) {
                score.cut_off += 1;
                wrong.push("cut off".into());
            }
            match decided(Decision::TurnOver, ends) {
                Some(over) => {
                    let over_ms = over.since(ends).as_millis() as u64;
                    score.delays_ms.push(over_ms);
                    if over_ms > 1_000 {
                        wrong.push(format!("only after {over_ms} ms"));
                    }
                }
                None => {
                    score.missed += 1;
                    wrong.push("never over".into());
                }
            }
        }
    }
    #[expect(clippy::disallowed_methods, reason = "asked for by whoever looks at one case")]
    let asked_for = std::env::var("CORPUS_CASE").is_ok_and(|part| case.name.contains(&part));
    if asked_for {
        for event in &line.events {
            eprintln!("    {:>8.3} {:?}", event.at.as_micros() as f64 / 1e6, event.kind);
        }
    }
    wrong
}

fn run(settings: &CallSettings, tell: bool) -> BTreeMap<&'static str, Score> {
    let mut scores: BTreeMap<&'static str, Score> = BTreeMap::new();
    for case in cases() {
        let wrong = judge(&case, settings, scores.entry(case.class).or_default());
        if tell && !wrong.is_empty() {
            eprintln!("  {}: {}: {}", case.class, case.name, wrong.join(", "));
        }
    }
    scores.values_mut().for_each(|score| score.delays_ms.sort_unstable());
    scores
}

fn table(scores: &BTreeMap<&'static str, Score>) -> String {
    let mut text = format!(
        "{:<28} {:>5} {:>7} {:>10} {:>6} {:>8} {:>16}\n",
        "", "cases", "missed", "lost floor", "stops", "cut off", "delay p50 max ms"
    );
    for (class, score) in scores {
        let (p50, max) = (score.p50_ms(), score.max_ms());
        let _ = writeln!(
            text,
            "{class:<28} {:>5} {:>7} {:>10} {:>6} {:>8} {p50:>9} {max:>6}",
            score.cases, score.missed, score.lost_floor, score.stops, score.cut_off
        );
    }
    text
}

/// What each class of cases came to: missed, lost floor, stops, cut off, and the median and the longest delay in ms.
const COMMITTED: &[(&str, [usize; 4], [u64; 2])] = &[
    ("babble alone", [0, 1, 4, 0], [0, 0]),
    ("coughs", [0, 0, 12, 0], [0, 0]),
    ("doors", [0, 0, 12, 0], [0, 0]),
    ("echo", [0, 0, 0, 0], [0, 0]),
    ("echo, switched on", [0, 1, 1, 0], [0, 0]),
    ("hesitates", [0, 0, 0, 6], [710, 720]),
    ("hesitates as before", [0, 0, 0, 2], [910, 1150]),
    ("hesitates, unfinished", [0, 0, 0, 0], [700, 720]),
    ("interrupts, at once", [0, 0, 0, 0], [100, 200]),
    ("interrupts, clean", [0, 0, 0, 0], [115, 146]),
    ("interrupts, noise at 10 dB", [0, 0, 6, 0], [136, 180]),
    ("interrupts, noise at 20 dB", [0, 0, 0, 0], [136, 160]),
    ("interrupts, over echo", [0, 0, 0, 0], [151, 538]),
    ("mm-hm", [0, 0, 12, 0], [0, 0]),
    ("music alone", [0, 0, 2, 0], [0, 0]),
    ("noise alone", [0, 0, 0, 0], [0, 0]),
    ("turns, clean", [0, 0, 0, 0], [706, 720]),
    ("turns, long", [0, 0, 0, 0], [700, 700]),
    ("turns, noise at 20 dB", [0, 0, 0, 0], [686, 1099]),
];

/// An agent that is asked before the turn is over, as a caller hears it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Early {
    /// Answers that began before the caller's last word.
    cut_off: usize,
    /// Answers that were called off, which nobody heard.
    called_off: usize,
    /// From the caller's last sound to the first of the answer.
    answers_ms: Vec<u64>,
}

/// Callers with one turn each, and an agent that takes `agent` for its first sentence.
fn ask_early(cases: &[Case], early_silence_ms: u32, agent: Duration) -> Early {
    let settings = CallSettings { early_silence_ms, ..CallSettings::default() };
    let mut early = Early::default();
    for case in cases {
        let Expect::OneTurn { begins, ends } = case.expect else { continue };
        let sentences = vec![case.sentences[0].clone(); 12];
        let mut line = Line::new(settings.clone(), sentences, case.sounds.clone(), case.path);
        line.agent = agent;
        line.run_to(case.length_ms);
        let [begins, ends] = [begins, ends].map(|at| CallTime::from_micros(at as u64 * 125));
        let spoke = line.events.iter().filter_map(|event| match event.kind {
            EventKind::AgentSpeaks { response_ms: Some(_), .. } => Some(event.at),
            _ => None,
        });
        early.cut_off += usize::from(spoke.clone().any(|at| (begins..ends).contains(&at)));
        early.called_off += line.cancelled;
        early
            .answers_ms
            .extend(spoke.clone().find(|at| *at >= ends).map(|at| at.since(ends).as_millis() as u64));
    }
    early.answers_ms.sort_unstable();
    early
}

/// What justifies that asking early is an option, and what it costs. An agent that is slow is interrupted before it has begun
/// by who goes on, so that what counts is how often one is that takes no time.
#[test]
fn an_agent_that_is_asked_early_answers_sooner_and_cuts_off_no_more_than_a_quick_one() {
    let cases = cases();
    eprintln!("agent takes  asked after  cut off  called off  answer p50 p90 ms");
    let rows =
        [(1, 0), (500, 0), (500, 500), (500, 400), (500, 300), (500, 200)].map(|(agent_ms, early_ms)| {
            let row = ask_early(&cases, early_ms, Duration::from_millis(agent_ms));
            let at = |share: usize| row.answers_ms[row.answers_ms.len() * share / 100];
            let (cut_off, called_off, p50, p90) = (row.cut_off, row.called_off, at(50), at(90));
            eprintln!("{agent_ms:>8} ms {early_ms:>9} ms {cut_off:>8} {called_off:>11} {p50:>11} {p90:>3}");
            (row, p50)
        });
    let [(quick, _), (_, usual_p50), early @ ..] = &rows;
    for (row, p50) in early {
        assert!(row.cut_off <= quick.cut_off, "{row:?}, of a quick agent {quick:?}");
        assert_eq!(row.answers_ms.len(), quick.answers_ms.len(), "everybody is answered");
        assert!(p50 + 150 <= *usual_p50, "{p50} ms, was {usual_p50} ms");
    }
}

#[test]
fn turn_taking_is_no_worse_than_it_was() {
    let scores = run(&CallSettings::default(), true);
    eprintln!("{}", table(&scores));
    let committed: Vec<&str> = COMMITTED.iter().map(|(class, ..)| *class).collect();
    assert!(scores.keys().copied().eq(committed), "a line for each class, in order");
    for (class, counts, delays_ms) in COMMITTED {
        let score = &scores[class];
        let got = [score.missed, score.lost_floor, score.stops, score.cut_off];
        assert!(got.iter().zip(counts).all(|(got, was)| got <= was), "{class}: {got:?}, was {counts:?}");
        let got = [score.p50_ms(), score.max_ms()];
        assert!(
            got.iter().zip(delays_ms).all(|(got, was)| got <= was),
            "{class}: {got:?} ms, was {delays_ms:?}"
        );
    }
}
