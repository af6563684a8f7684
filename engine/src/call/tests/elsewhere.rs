//! What ears, voices and agents elsewhere may do that those on this machine do not: end a turn, place words early, fail.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{
    CallSettings, CallTime, Decision, EndReason, EventKind, Failure, Input, Output, Part, Prompt, Reason,
    Speaker, TurnId, UtteranceId, WordStart,
};
use crate::sim::{Reply, Sim};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const APOLOGY: &str = "I am sorry. Goodbye.";

/// A call whose agent was greeted, and now fails with `why` to answer what the caller said.
fn failed(apology: &str, why: Failure) -> Sim {
    let settings = CallSettings { apology: apology.into(), ..CallSettings::default() };
    let mut sim = Sim::with(settings, [Reply::say("How many?")]);
    sim.run_until_idle();
    sim.world.agent_delay = Duration::from_secs(100);
    sim.caller_says("two", ms(400));
    sim.run_for(ms(1_500));
    let asked = sim.events().iter().rev().find_map(|event| match &event.kind {
        EventKind::AgentAsked { turn, prompt: Prompt::Said(_) } => Some(*turn),
        _ => None,
    });
    sim.input(Input::AgentFailed { turn: asked.expect("it was asked"), why });
    sim
}

#[test]
fn an_agent_that_cannot_answer_apologises_and_the_call_ends_once_that_was_heard() {
    let mut sim = failed(APOLOGY, Failure::Unreachable);
    assert_eq!(sim.ended(), None, "the caller has heard nothing yet");
    assert_eq!(sim.run_until_ended(Duration::from_secs(30)), Some(EndReason::AgentFailed));
    assert_eq!(sim.turns().last(), Some(&(Speaker::Agent, APOLOGY.into())));
    assert!(
        sim.events()
            .iter()
            .any(|event| matches!(event.kind, EventKind::AgentFailed { why: Failure::Unreachable, .. }))
    );
}

#[test]
fn what_the_agent_had_said_before_it_failed_is_heard_before_the_apology() {
    let settings = CallSettings { apology: APOLOGY.into(), ..CallSettings::default() };
    let mut sim = Sim::with(settings, []);
    sim.world.agent_delay = Duration::from_secs(100);
    sim.run_for(ms(200));
    sim.input(Input::AgentSays { turn: TurnId(1), text: "Of course," });
    sim.run_for(ms(100));
    sim.input(Input::AgentFailed { turn: TurnId(1), why: Failure::BrokenOff });
    assert_eq!(sim.run_until_ended(Duration::from_secs(30)), Some(EndReason::AgentFailed));
    assert_eq!(sim.turns().last(), Some(&(Speaker::Agent, format!("Of course, {APOLOGY}"))));
}

#[test]
fn without_an_apology_or_after_a_bug_the_call_ends_at_once() {
    for (apology, why) in [("", Failure::Slow), (APOLOGY, Failure::Panicked)] {
        assert_eq!(failed(apology, why).ended(), Some(EndReason::AgentFailed), "{why:?}");
    }
}

#[test]
fn a_caller_cannot_hold_up_the_end_by_talking_over_the_apology() {
    let mut sim = failed(APOLOGY, Failure::Busy);
    sim.run_for(ms(200));
    sim.caller_says("hello", ms(3_000));
    assert_eq!(sim.run_until_ended(Duration::from_secs(30)), Some(EndReason::AgentFailed));
}

#[test]
fn keys_in_the_apology_ask_nobody_and_end_the_call() {
    let mut sim = failed(APOLOGY, Failure::Slow);
    let asked = sim.prompts().len();
    sim.run_for(ms(300));
    sim.caller_keys('1');
    sim.caller_keys('#');
    assert_eq!(sim.run_until_ended(Duration::from_secs(30)), Some(EndReason::AgentFailed));
    assert_eq!(sim.prompts().len(), asked);
}

#[test]
fn an_agent_that_fails_twice_ends_the_call() {
    let mut sim = failed(APOLOGY, Failure::Busy);
    let turn = TurnId(
        sim.events().iter().filter(|e| matches!(e.kind, EventKind::AgentAsked { .. })).count() as u32 + 1,
    );
    sim.input(Input::AgentFailed { turn, why: Failure::Busy });
    assert_eq!(sim.ended(), Some(EndReason::AgentFailed));
}

/// A call after its greeting in which the caller speaks, and has been silent for `silence`; and their utterance.
fn spoken(silence: Duration) -> (Sim, UtteranceId) {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Thank you.")]);
    sim.run_until_idle();
    sim.caller_says("two", ms(400));
    sim.run_for(ms(400) + silence);
    let started = sim.events().iter().rev().find_map(|event| match event.kind {
        EventKind::SpeechStarted { utterance } => Some(utterance),
        _ => None,
    });
    (sim, started.expect("the caller spoke"))
}

#[test]
fn a_recogniser_may_say_that_the_turn_is_over_before_silence_does() {
    let (mut sim, utterance) = spoken(ms(300));
    let said_at = sim.now();
    sim.input(Input::Transcript { utterance, text: "two hundred", is_final: true });
    assert_eq!(sim.decisions(), [(Decision::TurnOver, Reason::RecogniserEnds)]);
    assert_eq!(sim.prompts().last(), Some(&Prompt::Said("two hundred".into())));
    let ends = |(at, output): &(CallTime, Output)| {
        *at == said_at
            && matches!(output, Output::UtteranceEnded { utterance: ended, .. } if *ended == utterance)
    };
    assert!(sim.outputs().iter().any(ends), "the recogniser hears of it as of any other end");
    sim.run_until_idle();
    let callers = sim.turns().into_iter().filter(|(speaker, _)| *speaker == Speaker::Caller);
    assert_eq!(
        callers.collect::<Vec<_>>(),
        [(Speaker::Caller, "two hundred".into())],
        "its words count once"
    );
}

#[test]
fn final_words_in_the_middle_of_what_interrupts_nobody_leave_the_agent_its_floor() {
    let mut sim = Sim::answered([Reply::say("This takes quite a while to be said, and then it ends.")]);
    sim.run_for(ms(800));
    sim.caller_coughs(ms(80));
    sim.run_for(ms(100));
    let started = sim.events().iter().rev().find_map(|event| match event.kind {
        EventKind::SpeechStarted { utterance } => Some(utterance),
        _ => None,
    });
    let utterance = started.expect("the cough was heard");
    sim.input(Input::Transcript { utterance, text: "", is_final: true });
    assert_eq!(sim.last_decision(), Some((Decision::KeepFloor, Reason::RecogniserEnds)));
    sim.run_until_idle();
    assert!(sim.heard().ends_with("and then it ends."));
}

#[test]
fn words_that_a_voice_places_while_it_speaks_say_what_was_heard_of_it() {
    let mut sim = Sim::answered([Reply::say("one two three four")]);
    sim.world.voice_delay = Duration::from_secs(100);
    sim.run_for(ms(200));
    let utterance = sim.outputs().iter().find_map(|(_, output)| match output {
        Output::Synthesize { utterance, .. } => Some(*utterance),
        _ => None,
    });
    let utterance = utterance.expect("something is to be said");
    let word = |text_offset, sample| WordStart { text_offset, sample };
    let audio: Arc<[u8]> = vec![0x55; 8_000].into();
    // Long words: letters alone would say that more of them was heard.
    sim.input(Input::AgentAudio { utterance, audio: &audio, words: &[word(0, 0), word(4, 6_000)] });
    sim.input(Input::AgentAudio { utterance, audio: &audio, words: &[word(4, 6_000), word(8, 14_000)] });
    sim.run_for(ms(1_000));
    sim.caller_says("stop", ms(600));
    sim.run_for(ms(1_500));
    let cut = sim.agent_heard().last().expect("it was cut off");
    assert_eq!(cut, "one");
    assert!(!sim.turn_records()[0].estimated, "the voice has placed them");
}

#[test]
fn a_service_that_takes_over_is_told_on_the_timeline_and_changes_nothing_else() {
    let (mut sim, _) = spoken(ms(0));
    let outputs = sim.outputs().len();
    for to in [Some("local"), None] {
        sim.input(Input::Switched { part: Part::Ears, from: "deepgram", to, why: Failure::Slow });
    }
    let told: Vec<_> = sim.outputs()[outputs..].iter().map(|(_, output)| output.clone()).collect();
    let event = |to: Option<&str>| EventKind::Switched {
        part: Part::Ears,
        from: "deepgram".into(),
        to: to.map(Into::into),
        why: Failure::Slow,
    };
    let kinds: Vec<_> = told
        .into_iter()
        .map(|output| match output {
            Output::Event(event) => event.kind,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [event(Some("local")), event(None)]);
}
