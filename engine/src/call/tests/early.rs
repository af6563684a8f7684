//! The agent is asked before the caller's turn is over, and nobody hears of it where that was wrong.

use std::time::Duration;

use crate::call::{CallSettings, CallTime, Decision, EventKind, Output, Prompt, Reason, Response};
use crate::sim::{Reply, Sim};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A call that asks after 300 ms of silence where 700 end a turn, whose agent takes `agent_delay`, after its greeting.
fn greeted(agent_delay: Duration, replies: impl IntoIterator<Item = Reply>) -> Sim {
    let settings = CallSettings { early_silence_ms: 300, ..CallSettings::default() };
    let mut sim = Sim::with(settings, [Reply::say("How many?")].into_iter().chain(replies));
    sim.world.interim_after = Some(ms(100));
    sim.run_until_idle();
    sim.world.agent_delay = agent_delay;
    sim
}

fn responses(sim: &Sim) -> Vec<Response> {
    let of = |kind: &EventKind| match kind {
        EventKind::Responded(response) => Some(*response),
        _ => None,
    };
    sim.events().iter().filter_map(|event| of(&event.kind)).collect()
}

/// The silence before the first audio that answers the caller's last words, which were followed by `silence` of that.
fn first_audio_after(sim: &Sim, said_at: CallTime) -> CallTime {
    let sent = |(at, output): &(CallTime, Output)| {
        (matches!(output, Output::Media { .. }) && *at >= said_at).then_some(*at)
    };
    sim.outputs().iter().find_map(sent).expect("an answer")
}

#[test]
fn an_answer_that_comes_early_is_held_until_the_turn_is_over() {
    let mut sim = greeted(ms(50), [Reply::say("Thank you.")]);
    let said_at = sim.now();
    sim.caller_says("two", ms(400));
    sim.run_until_idle();
    assert_eq!(
        sim.decisions(),
        [(Decision::AskEarly, Reason::SilenceProbablyOver), (Decision::TurnOver, Reason::Silence)]
    );
    let [response] = responses(&sim)[..] else { panic!("one answer") };
    assert_eq!(response.response_us / 1_000, 700, "{response:?}");
    // 300 until it was asked, 50 for the recogniser, 50 and 2 for the agent and its voice.
    assert_eq!(response.held_us / 1_000, 298, "{response:?}");
    assert_eq!(response.playout_us, 0, "what was held is silence, and no time of the engine's");
    let spoke = first_audio_after(&sim, said_at).since(said_at);
    assert!(spoke >= ms(400 + 700), "{spoke:?}");
}

#[test]
fn an_agent_that_takes_long_is_heard_sooner_by_what_it_was_asked_sooner() {
    let [mut early, mut usual] = [300, 0].map(|early_silence_ms| {
        let settings = CallSettings { early_silence_ms, ..CallSettings::default() };
        Sim::with(settings, [Reply::say("How many?"), Reply::say("Thank you.")])
    });
    let [early, usual] = [&mut early, &mut usual].map(|sim| {
        sim.world.interim_after = Some(ms(100));
        sim.run_until_idle();
        sim.world.agent_delay = ms(600);
        sim.caller_says("two", ms(400));
        sim.run_until_idle();
        responses(sim)[0].response_us / 1_000
    });
    assert_eq!((usual, early), (1_352, 952));
}

#[test]
fn a_caller_who_goes_on_has_the_answer_dropped_unheard() {
    let mut sim = greeted(ms(50), [Reply::say("Two, thank you."), Reply::say("Two hundred, thank you.")]);
    let said_at = sim.now();
    sim.caller_says("two", ms(400));
    sim.caller_pauses(ms(500));
    sim.caller_says("hundred", ms(400));
    sim.run_until_idle();
    assert_eq!(sim.prompts()[1..], [Prompt::Said("two".into()), Prompt::Said("two hundred".into())]);
    let cancelled = sim.outputs().iter().filter(|(_, output)| matches!(output, Output::CancelAgent { .. }));
    assert_eq!(cancelled.count(), 1);
    assert_eq!(sim.heard(), "How many? Two hundred, thank you.");
    let cleared = sim.outputs().iter().any(|(_, output)| *output == Output::Clear);
    assert!(!cleared, "nothing was sent that had to be taken back");
    let spoke = first_audio_after(&sim, said_at).since(said_at);
    assert!(spoke >= ms(400 + 500 + 400 + 700), "{spoke:?}");
}

#[test]
fn goodbye_that_is_held_is_no_goodbye_yet() {
    let mut sim = greeted(ms(50), [Reply::goodbye("Goodbye."), Reply::say("Two hundred.")]);
    sim.caller_says("two", ms(400));
    sim.caller_pauses(ms(500));
    sim.caller_says("hundred", ms(400));
    sim.run_until_idle();
    assert_eq!((sim.ended(), sim.heard().as_str()), (None, "How many? Two hundred."));
    let mut silent = Reply::goodbye("");
    silent.sentences.clear();
    let mut sim = greeted(ms(50), [silent]);
    sim.caller_says("two", ms(400));
    sim.run_for(ms(400 + 600));
    assert_eq!(sim.ended(), None, "the caller may yet go on");
    sim.run_for(ms(200));
    assert!(sim.ended().is_some());
}

#[test]
fn a_breath_does_not_drop_an_answer_and_is_not_talked_over() {
    let mut sim = greeted(ms(50), [Reply::say("Thank you.")]);
    let said_at = sim.now();
    sim.caller_says("two", ms(400));
    sim.caller_pauses(ms(400));
    sim.caller_coughs(ms(80));
    sim.run_until_idle();
    assert_eq!(sim.prompts()[1..], [Prompt::Said("two".into())]);
    let spoke = first_audio_after(&sim, said_at).since(said_at);
    assert!(spoke >= ms(400 + 400 + 80 + 700), "the silence is counted anew: {spoke:?}");
}

#[test]
fn nobody_is_asked_early_without_words_or_after_words_that_go_on() {
    for (words, interim) in [("two", None), ("my number is", Some(ms(100)))] {
        let mut sim = greeted(ms(50), [Reply::say("Thank you.")]);
        sim.world.interim_after = interim;
        sim.caller_says(words, ms(400));
        sim.run_until_idle();
        let early = sim.decisions().iter().any(|(decision, _)| *decision == Decision::AskEarly);
        assert!(!early, "{words}: {:?}", sim.decisions());
    }
}

#[test]
fn audio_that_stops_coming_ends_what_an_answer_is_held_for() {
    let mut sim = greeted(ms(50), [Reply::say("Thank you.")]);
    sim.caller_says("two", ms(400));
    sim.run_for(ms(400 + 450));
    sim.audio_flows(false);
    sim.run_for(ms(3_000));
    assert_eq!(sim.heard(), "How many? Thank you.");
}
