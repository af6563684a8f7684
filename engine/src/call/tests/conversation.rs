//! What a caller and an agent go through.

use std::time::Duration;

use crate::call::{
    CallSettings, Decision, EndReason, Event, EventKind, Output, Prompt, Reason, Response, Speaker,
};
use crate::sim::{Reply, Sim};

const OPENING: &str = "We open at nine and close at five.";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_greeting_starts_when_media_flows_and_is_heard_whole() {
    let mut sim = Sim::answered([Reply::say(OPENING)]);
    assert!(sim.prompts().is_empty(), "nothing is said before media flows");
    sim.run_until_idle();
    assert_eq!(sim.prompts(), [Prompt::CallStarted]);
    assert_eq!(sim.heard(), OPENING);
    assert_eq!(sim.turns(), [(Speaker::Agent, OPENING.to_string())]);
}

#[test]
fn a_question_is_answered_by_voice() {
    let mut sim = Sim::answered([Reply::say("How many people?"), Reply::say("Thank you.")]);
    sim.run_until_idle();
    sim.caller_says("two hundred", ms(700));
    sim.run_until_idle();
    assert_eq!(sim.prompts(), [Prompt::CallStarted, Prompt::Said("two hundred".into())]);
    assert_eq!(
        sim.turns(),
        [
            (Speaker::Agent, "How many people?".to_string()),
            (Speaker::Caller, "two hundred".to_string()),
            (Speaker::Agent, "Thank you.".to_string()),
        ]
    );
    assert_eq!(sim.decisions(), [(Decision::TurnOver, Reason::Silence)]);
}

#[test]
fn cough_resumes_from_the_first_unheard_word() {
    let mut sim = Sim::answered([Reply::say(OPENING)]);
    sim.run_for(ms(900));
    sim.caller_coughs(ms(180));
    sim.run_until_idle();
    assert_eq!(sim.heard(), OPENING);
    assert_eq!(sim.last_decision(), Some((Decision::Resume, Reason::NoWordsFollowed)));
}

#[test]
fn words_take_the_floor_and_cut_the_agents_history_to_what_was_heard() {
    let mut sim = Sim::answered([Reply::say(OPENING), Reply::say("Goodbye then.")]);
    sim.run_for(ms(900));
    sim.caller_says("stop", ms(400));
    sim.run_until_idle();
    assert_eq!(
        sim.decisions(),
        [
            (Decision::BargeIn, Reason::SustainedSpeech),
            (Decision::TurnOver, Reason::Silence),
            (Decision::Yield, Reason::WordsFollowed),
        ]
    );
    let cut = &sim.turn_records()[0];
    let cleared = sim.outputs().iter().find(|(_, output)| *output == Output::Clear).unwrap().0;
    assert_eq!(cut.ended, cleared, "the agent fell silent there");
    assert_eq!(format!("{} {}", cut.text, cut.unheard), OPENING);
    assert_eq!(sim.agent_heard(), std::slice::from_ref(&cut.text));
    assert_eq!(sim.heard(), format!("{} Goodbye then.", cut.text));
    assert_eq!(sim.prompts(), [Prompt::CallStarted, Prompt::Said("stop".into())]);
}

#[test]
fn mm_hm_does_not_take_the_floor_but_may_answer_what_was_asked_last() {
    let (story, answer) = ("We open at nine and close at five, every day of the week.", "All right?");
    let mut sim = Sim::answered([Reply::say(story)]);
    sim.run_for(ms(900));
    sim.caller_says("mm-hm", ms(400));
    sim.run_until_idle();
    assert_eq!(sim.last_decision(), Some((Decision::Resume, Reason::BackChannel)));
    assert_eq!((sim.heard(), sim.prompts().len()), (story.to_string(), 1));

    let mut sim = Sim::answered([Reply::say(answer), Reply::say("Good.")]);
    sim.run_for(ms(400));
    sim.caller_says("yeah", ms(400));
    sim.run_until_idle();
    assert_eq!(sim.last_decision(), Some((Decision::Yield, Reason::WordsFollowed)));
    assert_eq!(sim.prompts()[1], Prompt::Said("yeah".into()));
}

#[test]
fn a_caller_with_unfinished_words_is_waited_for() {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Thank you.")]);
    sim.world.interim_after = Some(ms(300));
    sim.run_until_idle();
    sim.caller_says("my number is", ms(600));
    sim.caller_pauses(ms(1_100));
    sim.caller_says("two hundred", ms(600));
    sim.run_until_idle();
    assert_eq!(sim.prompts()[1], Prompt::Said("my number is two hundred".into()));
}

#[test]
fn nothing_of_a_cancelled_turn_is_sent_after_clear() {
    let mut sim = Sim::answered([Reply::say(OPENING), Reply::say("Yes?")]);
    sim.run_for(ms(900));
    sim.caller_says("stop", ms(400));
    sim.run_until_idle();
    let outputs: Vec<&Output> = sim.outputs().iter().map(|(_, output)| output).collect();
    let clear = outputs.iter().position(|output| **output == Output::Clear).unwrap();
    let cancelled = outputs.iter().find_map(|output| match output {
        Output::Media { utterance, .. } => Some(*utterance),
        _ => None,
    });
    let after: Vec<_> = outputs[clear..]
        .iter()
        .filter_map(|output| match output {
            Output::Media { utterance, .. } => Some(*utterance),
            _ => None,
        })
        .collect();
    assert!(!after.is_empty(), "the next turn was spoken");
    assert!(after.iter().all(|utterance| Some(*utterance) != cancelled));
}

#[test]
fn clear_leaves_within_the_detection_window_of_the_first_loud_frame() {
    let mut sim = Sim::answered([Reply::say(OPENING)]);
    sim.run_for(ms(900));
    let began = sim.now();
    sim.caller_says("stop", ms(400));
    sim.run_for(ms(300));
    let cleared = sim.outputs().iter().find(|(_, output)| *output == Output::Clear).unwrap().0;
    // The first loud frame is on the wire up to 20 ms after the caller begins.
    assert!(cleared.since(began) <= ms(120 + 20), "{:?}", cleared.since(began));
}

#[test]
fn a_short_sound_does_not_take_the_floor() {
    let mut sim = Sim::answered([Reply::say(OPENING)]);
    sim.run_for(ms(900));
    sim.caller_coughs(ms(60));
    sim.run_until_idle();
    assert_eq!(sim.heard(), OPENING);
    assert!(!sim.outputs().iter().any(|(_, output)| *output == Output::Clear));
}

#[test]
fn silence_is_noticed_and_counted() {
    let mut sim =
        Sim::answered([Reply::say("Hello?"), Reply::say("Are you there?"), Reply::goodbye("Goodbye.")]);
    assert_eq!(sim.run_until_ended(Duration::from_secs(60)), Some(EndReason::AgentHangup));
    assert_eq!(sim.prompts(), [Prompt::CallStarted, Prompt::Silence(1), Prompt::Silence(2)]);
}

#[test]
fn speech_without_words_is_a_misunderstanding() {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Sorry?")]);
    sim.run_until_idle();
    sim.caller_says("", ms(800));
    sim.run_until_idle();
    assert_eq!(sim.prompts(), [Prompt::CallStarted, Prompt::NotUnderstood]);
    assert_eq!(sim.heard(), "How many? Sorry?");
}

#[test]
fn a_door_that_slams_while_listening_is_ignored() {
    let mut sim = Sim::answered([Reply::say("How many?")]);
    sim.run_until_idle();
    sim.caller_coughs(ms(120));
    sim.run_until_idle();
    assert_eq!(sim.prompts(), [Prompt::CallStarted]);
    assert_eq!(sim.last_decision(), Some((Decision::Ignore, Reason::TooShort)));
}

#[test]
fn keys_answer_and_interrupt() {
    let mut sim = Sim::answered([Reply::say(OPENING), Reply::say("Two hundred.")]);
    sim.run_for(ms(600));
    for digit in "200#".chars() {
        sim.caller_keys(digit);
        sim.run_for(ms(150));
    }
    sim.run_until_idle();
    assert_eq!(sim.prompts(), [Prompt::CallStarted, Prompt::Keyed("200".into())]);
    assert_eq!(
        sim.decisions(),
        [(Decision::BargeIn, Reason::KeyPressed), (Decision::TurnOver, Reason::KeysComplete)]
    );
    assert!(sim.heard().ends_with("Two hundred."));
}

#[test]
fn a_pause_after_keys_ends_the_answer() {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Four.")]);
    sim.run_until_idle();
    sim.caller_keys('4');
    sim.run_until_idle();
    assert_eq!(sim.prompts(), [Prompt::CallStarted, Prompt::Keyed("4".into())]);
}

#[test]
fn goodbye_is_heard_to_its_last_mark_before_the_call_ends() {
    let mut sim = Sim::answered([Reply::goodbye("Goodbye, and thank you.")]);
    sim.run_until_idle();
    assert_eq!(sim.ended(), Some(EndReason::AgentHangup));
    assert_eq!(sim.heard(), "Goodbye, and thank you.");
    assert_eq!(sim.last_decision(), Some((Decision::HangUp, Reason::LastMark)));
}

#[test]
fn goodbye_ends_the_call_though_its_mark_never_comes_back() {
    let mut sim = Sim::answered([Reply::goodbye("Goodbye.")]);
    sim.world.marks_come_back = false;
    sim.run_until_idle();
    assert_eq!(sim.ended(), Some(EndReason::AgentHangup));
    assert_eq!(sim.heard(), "Goodbye.");
    assert_eq!(sim.last_decision(), Some((Decision::HangUp, Reason::MarkTimeout)));
}

#[test]
fn goodbye_is_not_interrupted() {
    let mut sim = Sim::answered([Reply::goodbye("Goodbye, and thank you.")]);
    sim.run_for(ms(300));
    sim.caller_says("wait", ms(400));
    sim.run_until_idle();
    assert_eq!(sim.heard(), "Goodbye, and thank you.");
    assert!(sim.decisions().contains(&(Decision::KeepFloor, Reason::Goodbye)));
}

#[test]
fn a_caller_who_goes_on_before_the_answer_is_heard_has_it_all_answered_together() {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Two."), Reply::say("Two hundred.")]);
    sim.run_until_idle();
    sim.world.agent_delay = ms(600);
    sim.caller_says("two", ms(300));
    sim.caller_pauses(ms(900));
    sim.caller_says("hundred", ms(400));
    sim.run_until_idle();
    assert_eq!(sim.prompts()[2], Prompt::Said("two hundred".into()));
    assert_eq!(sim.heard(), "How many? Two hundred.");
    assert!(sim.outputs().iter().any(|(_, output)| matches!(output, Output::CancelAgent { .. })));
}

#[test]
fn interim_words_confirm_an_interruption_early() {
    let mut sim = Sim::answered([Reply::say(OPENING), Reply::say("Yes?")]);
    sim.world.interim_after = Some(ms(300));
    sim.run_for(ms(900));
    sim.caller_says("please stop now", ms(1_500));
    sim.run_until_idle();
    assert_eq!(
        sim.decisions(),
        [
            (Decision::BargeIn, Reason::SustainedSpeech),
            (Decision::Yield, Reason::WordsFollowed),
            (Decision::TurnOver, Reason::Silence),
        ]
    );
    assert_eq!(sim.prompts()[1], Prompt::Said("please stop now".into()));
}

#[test]
fn response_time_is_from_the_last_speech_to_the_first_audio() {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Thank you.")]);
    sim.run_until_idle();
    sim.caller_says("two", ms(400));
    sim.run_until_idle();
    let response_ms = sim.turn_records()[2].response_ms.unwrap();
    // 700 ms of silence, 50 for the recogniser, 1 for the agent, 2 for the voice.
    assert!((740..=800).contains(&response_ms), "{response_ms}");
}

fn responses(sim: &Sim) -> Vec<Response> {
    let of = |event: &Event| match event.kind {
        EventKind::Responded(response) => Some(response),
        _ => None,
    };
    sim.events().iter().filter_map(of).collect()
}

/// The stages of a response time, in ms.
fn stages_ms(response: &Response) -> [u64; 6] {
    response.stages().map(|(_, us)| us / 1_000)
}

#[test]
fn response_time_is_told_stage_by_stage_and_the_stages_add_up() {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Thank you.")]);
    sim.run_until_idle();
    sim.world.recogniser_delay = ms(310);
    sim.world.agent_delay = ms(420);
    sim.world.voice_delay = ms(130);
    sim.caller_says("two", ms(400));
    sim.run_until_idle();
    let [response] = responses(&sim)[..] else { panic!("one answer, and no response to a greeting") };
    assert_eq!(stages_ms(&response), [700, 310, 420, 130, 0, 0]);
    assert_eq!(response.stages().iter().map(|(_, us)| us).sum::<u64>(), response.response_us);
    let record = &sim.turn_records()[2];
    assert_eq!((record.turn, record.response_ms), (response.turn, Some(1_560)));
}

#[test]
fn words_that_never_come_are_a_long_transcript_stage() {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Sorry?")]);
    sim.run_until_idle();
    sim.world.recogniser_delay = ms(60_000);
    sim.caller_says("two", ms(400));
    sim.run_for(ms(6_000));
    let [response] = responses(&sim)[..] else { panic!("one answer") };
    assert_eq!(stages_ms(&response), [700, 3_000, 1, 2, 0, 0]);
}

#[test]
fn keys_are_waited_for_in_endpointing_alone() {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Two."), Reply::say("Four.")]);
    sim.run_until_idle();
    sim.caller_keys('2');
    sim.run_until_idle();
    sim.caller_keys('4');
    sim.caller_keys('#');
    sim.run_until_idle();
    let stages: Vec<_> = responses(&sim).iter().map(stages_ms).collect();
    assert_eq!(stages, [[2_500, 0, 1, 2, 0, 0], [0, 0, 1, 2, 0, 0]]);
}

#[test]
fn a_turn_that_the_caller_takes_up_again_counts_from_its_last_word() {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Thank you.")]);
    sim.run_until_idle();
    sim.world.recogniser_delay = ms(900);
    sim.caller_says("two", ms(400));
    sim.caller_pauses(ms(1_000));
    sim.caller_says("hundred", ms(400));
    sim.run_until_idle();
    let [response] = responses(&sim)[..] else { panic!("one answer") };
    assert_eq!(stages_ms(&response), [700, 900, 1, 2, 0, 0]);
}

#[test]
fn an_answer_that_nobody_heard_has_no_response_time() {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Two."), Reply::say("Two hundred.")]);
    sim.run_until_idle();
    sim.world.voice_delay = ms(600);
    sim.caller_says("two", ms(400));
    sim.caller_pauses(ms(1_000));
    sim.caller_says("hundred", ms(400));
    sim.run_until_idle();
    assert_eq!(sim.prompts().len(), 3);
    assert_eq!(responses(&sim).len(), 1);
}

#[test]
fn messages_hold_as_much_as_they_may_and_the_lead_is_kept() {
    for message_ms in [20, 40, 100] {
        let settings = CallSettings { message_ms, ..CallSettings::default() };
        let mut sim = Sim::with(settings, [Reply::say(OPENING)]);
        sim.run_until_idle();
        assert!(!sim.events().iter().any(|event| matches!(event.kind, EventKind::Underrun { .. })));
        let sent: Vec<(u64, usize)> = sim
            .outputs()
            .iter()
            .filter_map(|(at, output)| match output {
                Output::Media { audio, .. } => Some((at.as_millis(), audio.len())),
                _ => None,
            })
            .collect();
        let (mut due, last) = (sent[0].0, sent.len() - 1);
        for (n, (at, bytes)) in sent.iter().enumerate() {
            assert!(*at <= due, "message {n} left at {at} ms, due to be heard at {due} ms");
            assert!(due - at <= 100, "message {n} left {} ms early", due - at);
            let whole = if n == 0 { 160 } else { message_ms as usize * 8 };
            assert!(*bytes == whole || n == last && *bytes < whole, "message {n} holds {bytes} bytes");
            due += *bytes as u64 / 8;
        }
    }
}

#[test]
fn the_lead_is_kept_and_no_frame_is_missed() {
    let mut sim = Sim::answered([Reply::say(OPENING)]);
    sim.run_until_idle();
    assert!(!sim.events().iter().any(|event| matches!(event.kind, EventKind::Underrun { .. })));
    let sends: Vec<u64> = sim
        .outputs()
        .iter()
        .filter(|(_, output)| matches!(output, Output::Media { .. }))
        .map(|(at, _)| at.as_millis())
        .collect();
    for (n, at) in sends.iter().enumerate() {
        let due = sends[0] + 20 * n as u64;
        assert!(*at <= due, "frame {n} left at {at} ms, due to be heard at {due} ms");
        assert!(due - at <= 100, "frame {n} left {} ms early", due - at);
    }
}
