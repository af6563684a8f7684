//! An agent that hears the caller and speaks itself: asked before there are words, and told to the sample what was heard.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{
    CallSettings, Decision, EndReason, EventKind, Failure, Input, Output, Prompt, Speaker, TurnId,
    UtteranceId,
};
use crate::sim::{Reply, Sim};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A call whose agent was asked to greet and has not answered yet; its turn is the first.
fn greeting() -> Sim {
    let mut sim = Sim::with(CallSettings::default(), []);
    sim.world.agent_delay = Duration::from_secs(100);
    sim.world.recogniser_delay = Duration::from_secs(100);
    sim.run_for(ms(200));
    sim
}

fn speaks(sim: &mut Sim, turn: u32, text: &str, length: Duration, is_last: bool) {
    let audio: Arc<[u8]> = vec![0x55; length.as_millis() as usize * 8].into();
    sim.input(Input::AgentSpeaks { turn: TurnId(turn), text, audio: &audio, is_last });
}

fn listens(sim: &mut Sim, turn: u32) {
    sim.input(Input::AgentDone { turn: TurnId(turn), then: crate::call::Then::Listen { keys_max: 0 } });
}

/// The caller speaks for `length` and then pauses long enough for their turn to be over: the utterance.
fn caller_spoke(sim: &mut Sim, length: Duration) -> UtteranceId {
    sim.caller_says("never recognised", length);
    sim.run_for(length + ms(1_500));
    let ended = sim.outputs().iter().rev().find_map(|(_, output)| match output {
        Output::UtteranceEnded { utterance, .. } => Some(*utterance),
        _ => None,
    });
    ended.expect("the caller's utterance is over")
}

fn last_asked(sim: &Sim) -> u32 {
    let asked = sim.outputs().iter().rev().find_map(|(_, output)| match output {
        Output::AskAgent { turn, .. } => Some(turn.0),
        _ => None,
    });
    asked.expect("the agent was asked")
}

/// How many samples the agent was told that the caller heard.
fn spoken_heard(sim: &Sim) -> Vec<u32> {
    let told = sim.outputs().iter().filter_map(|(_, output)| match output {
        Output::AgentHeard { spoken_heard, .. } => Some(*spoken_heard),
        _ => None,
    });
    told.collect()
}

#[test]
fn what_an_agent_speaks_itself_is_one_utterance_that_grows_and_no_voice_is_asked() {
    let mut sim = greeting();
    speaks(&mut sim, 1, "Good", ms(100), false);
    sim.run_for(ms(40));
    speaks(&mut sim, 1, " day.", ms(0), false);
    speaks(&mut sim, 1, "", ms(400), true);
    listens(&mut sim, 1);
    sim.run_for(ms(5_000));
    assert_eq!(sim.turns(), [(Speaker::Agent, "Good day.".into())]);
    assert!(!sim.outputs().iter().any(|(_, output)| matches!(output, Output::Synthesize { .. })));
    assert_eq!(spoken_heard(&sim), [] as [u32; 0], "all of it was heard");
}

#[test]
fn the_end_of_the_turn_ends_what_the_agent_speaks_itself() {
    let mut sim = greeting();
    speaks(&mut sim, 1, "Good day.", ms(300), false);
    listens(&mut sim, 1);
    sim.run_for(ms(5_000));
    assert_eq!(sim.turns(), [(Speaker::Agent, "Good day.".into())]);
}

#[test]
fn an_interrupted_agent_is_told_how_many_samples_of_its_own_speech_were_heard() {
    let mut sim = greeting();
    speaks(&mut sim, 1, "one two three four five six seven eight nine ten", ms(5_000), true);
    listens(&mut sim, 1);
    sim.run_for(ms(1_000));
    let utterance = caller_spoke(&mut sim, ms(600));
    sim.input(Input::Understood { utterance });
    let told = spoken_heard(&sim);
    assert_eq!(told.len(), 1);
    // About a second, and what it takes to notice; never more than a word's beginning is taken back of it.
    assert!((8_000..11_000).contains(&told[0]), "{told:?}");
    assert!(sim.agent_heard()[0].starts_with("one two"), "{:?}", sim.agent_heard());
    assert_eq!(sim.prompts().last(), Some(&Prompt::Spoke));
    assert!(sim.turn_records()[0].estimated, "nobody placed its words");
}

#[test]
fn an_agent_that_hears_is_asked_without_words_and_they_are_told_when_they_come() {
    let mut sim = greeting();
    listens(&mut sim, 1);
    let utterance = caller_spoke(&mut sim, ms(600));
    sim.input(Input::Understood { utterance });
    assert_eq!(sim.prompts().last(), Some(&Prompt::Spoke));
    assert_eq!(sim.turns(), [], "its words are still to come");
    sim.run_for(ms(300));
    sim.input(Input::Transcript { utterance, text: "two hundred", is_final: true });
    assert_eq!(sim.turns(), [(Speaker::Caller, "two hundred".into())]);
    sim.input(Input::Transcript { utterance, text: "two hundred", is_final: true });
    assert_eq!(sim.turns().len(), 1, "told once");
}

#[test]
fn a_turn_whose_words_never_come_is_told_before_the_answer_to_it() {
    let mut sim = greeting();
    listens(&mut sim, 1);
    let utterance = caller_spoke(&mut sim, ms(600));
    sim.input(Input::Understood { utterance });
    let turn = last_asked(&sim);
    speaks(&mut sim, turn, "I see.", ms(300), true);
    listens(&mut sim, turn);
    sim.run_for(ms(5_000));
    assert_eq!(sim.turns(), [(Speaker::Caller, String::new()), (Speaker::Agent, "I see.".into())]);
}

#[test]
fn a_sound_too_short_for_a_word_interrupts_no_agent_that_hears() {
    let mut sim = greeting();
    speaks(&mut sim, 1, "one two three four five six", ms(4_000), true);
    listens(&mut sim, 1);
    sim.run_for(ms(1_000));
    let utterance = caller_spoke(&mut sim, ms(160));
    sim.input(Input::Understood { utterance });
    assert_eq!(sim.last_decision().map(|(decision, _)| decision), Some(Decision::Resume));
    sim.run_for(ms(5_000));
    assert_eq!(sim.turns(), [(Speaker::Agent, "one two three four five six".into())]);
}

#[test]
fn a_caller_who_goes_on_before_the_answer_is_heard_is_heard_again_by_the_agent() {
    let mut sim = greeting();
    listens(&mut sim, 1);
    let utterance = caller_spoke(&mut sim, ms(600));
    sim.input(Input::Understood { utterance });
    let first = last_asked(&sim);
    let utterance = caller_spoke(&mut sim, ms(600));
    let cancelled =
        |(_, output): &(_, Output)| matches!(output, Output::CancelAgent { turn } if turn.0 == first);
    assert!(sim.outputs().iter().any(cancelled));
    sim.input(Input::Understood { utterance });
    assert!(last_asked(&sim) > first);
    assert_eq!(sim.prompts().last(), Some(&Prompt::Spoke));
}

#[test]
fn an_agent_that_breaks_off_while_it_speaks_itself_apologises_with_the_voice() {
    let settings = CallSettings { apology: "I am sorry.".into(), ..CallSettings::default() };
    let mut sim = Sim::with(settings, [Reply::say("unused")]);
    sim.world.agent_delay = Duration::from_secs(100);
    sim.run_for(ms(200));
    speaks(&mut sim, 1, "We open at", ms(500), false);
    sim.input(Input::AgentFailed { turn: TurnId(1), why: Failure::BrokenOff });
    assert_eq!(sim.run_until_ended(Duration::from_secs(30)), Some(EndReason::AgentFailed));
    assert!(sim.heard().ends_with("I am sorry."), "{}", sim.heard());
    assert!(sim.events().iter().any(|event| matches!(event.kind, EventKind::AgentFailed { .. })));
}
