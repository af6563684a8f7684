//! Whole calls, output by output, to the millisecond. What these pin down is not tuned for a test: it is what a carrier,
//! a recogniser and an agent get to see.

use std::fmt::Write;
use std::time::Duration;

use crate::call::{EventKind, Output};
use crate::sim::{Reply, Sim};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// All outputs, one line each: time in ms, and what. Messages of audio that follow each other are counted together.
fn trace(sim: &Sim) -> String {
    let mut lines: Vec<(u64, u64, String)> = Vec::new();
    for (at, output) in sim.outputs() {
        let what = match output {
            Output::Media { utterance, audio } => format!("media {} of {} bytes", utterance.0, audio.len()),
            Output::Mark { mark } => format!("mark m{mark}"),
            Output::Clear => "clear".into(),
            Output::UtteranceStarted { utterance } => format!("utterance {} starts", utterance.0),
            Output::CallerAudio { audio } => format!("caller audio of {} bytes", audio.len()),
            Output::UtteranceEnded { utterance, speech_ms } => {
                format!("utterance {} ends, {speech_ms} ms of speech", utterance.0)
            }
            Output::AskAgent { turn, prompt } => format!("ask agent for turn {}: {prompt:?}", turn.0),
            Output::CancelAgent { turn } => format!("cancel turn {}", turn.0),
            Output::AgentHeard { turn, text, .. } => format!("heard of turn {}: {text}", turn.0),
            Output::Synthesize { utterance, text } => format!("synthesize {}: {text}", utterance.0),
            Output::CancelSynthesis { utterance } => format!("cancel synthesis {}", utterance.0),
            Output::Close { reason } => format!("close: {}", reason.as_str()),
            Output::Event(event) => match &event.kind {
                EventKind::Decided(decided) => {
                    let numbers = |measured_ms, threshold_ms| match (measured_ms, threshold_ms) {
                        (0, 0) => String::new(),
                        _ => format!(", {measured_ms} of {threshold_ms} ms"),
                    };
                    let nearest = decided.nearest.map_or(String::new(), |nearest| {
                        let numbers = numbers(nearest.measured_ms, nearest.threshold_ms);
                        format!("; not {:?}{numbers}", nearest.reason)
                    });
                    let rule = numbers(decided.measured_ms, decided.threshold_ms);
                    format!("{:?} by {:?}{rule}{nearest}", decided.decision, decided.reason)
                }
                EventKind::Responded(response) => {
                    let stages = response.stages().map(|(_, us)| (us / 1_000).to_string()).join(" + ");
                    format!("responded after {} = {stages} ms", response.response_us / 1_000)
                }
                EventKind::Turn(turn) => format!("{:?}: {} | {}", turn.speaker, turn.text, turn.unheard),
                _ => continue,
            },
        };
        match lines.last_mut() {
            Some((_, count, last)) if *last == what => *count += 1,
            _ => lines.push((at.as_millis(), 1, what)),
        }
    }
    lines.into_iter().fold(String::new(), |mut text, (at, count, what)| {
        let times = if count > 1 { format!(" × {count}") } else { String::new() };
        let _ = writeln!(text, "{}", format!("{at} {what}{times}").trim_end());
        text
    })
}

#[track_caller]
fn assert_trace(sim: &Sim, expected: &str) {
    let expected: String = expected.trim().lines().map(|line| line.trim().to_owned() + "\n").collect();
    let got = trace(sim);
    assert!(got == expected, "the call gave\n{got}");
}

#[test]
fn greeting() {
    let mut sim = Sim::answered([Reply::say("Hello.")]);
    sim.run_until_idle();
    assert_trace(
        &sim,
        "
        20 ask agent for turn 1: CallStarted
        21 synthesize 1: Hello.
        23 media 1 of 160 bytes × 18
        280 mark m0
        393 Agent: Hello. |
    ",
    );
}

#[test]
fn question_and_answer() {
    let mut sim = Sim::answered([Reply::say("Size?"), Reply::say("Good.")]);
    sim.run_until_idle();
    sim.caller_says("two", ms(400));
    sim.run_until_idle();
    assert_trace(
        &sim,
        "
        20 ask agent for turn 1: CallStarted
        21 synthesize 1: Size?
        23 media 1 of 160 bytes × 15
        220 mark m0
        333 Agent: Size? |
        440 utterance 2 starts
        440 caller audio of 2400 bytes
        460 caller audio of 160 bytes × 51
        1460 utterance 2 ends, 380 ms of speech
        1460 TurnOver by Silence, 700 of 700 ms; not TooLong, 1040 of 30000 ms
        1510 Caller: two |
        1510 ask agent for turn 3: Said(\"two\")
        1511 synthesize 3: Good.
        1513 media 3 of 160 bytes × 5
        1513 responded after 753 = 700 + 50 + 1 + 2 + 0 + 0 ms
        1520 media 3 of 160 bytes × 10
        1700 mark m1
        1823 Agent: Good. |
    ",
    );
}

#[test]
fn barge_in_with_words() {
    let mut sim = Sim::answered([Reply::say("We open at nine."), Reply::say("Yes?")]);
    sim.run_for(ms(500));
    sim.caller_says("stop", ms(400));
    sim.run_until_idle();
    assert_trace(
        &sim,
        "
        20 ask agent for turn 1: CallStarted
        21 synthesize 1: We open at nine.
        23 media 1 of 160 bytes × 32
        580 utterance 2 starts
        580 caller audio of 2400 bytes
        580 media 1 of 160 bytes
        600 caller audio of 160 bytes
        600 media 1 of 160 bytes
        620 caller audio of 160 bytes
        620 BargeIn by SustainedSpeech, 100 of 100 ms; not Silence, 0 of 700 ms
        620 clear
        640 caller audio of 160 bytes × 39
        1400 utterance 2 ends, 380 ms of speech
        1400 TurnOver by Silence, 500 of 500 ms; not TooLong, 840 of 30000 ms
        1450 Yield by WordsFollowed; not NoWordsFollowed, 380 of 1000 ms
        1450 heard of turn 1: We open
        1450 Agent: We open | at nine.
        1450 Caller: stop |
        1450 ask agent for turn 3: Said(\"stop\")
        1451 synthesize 3: Yes?
        1453 media 3 of 160 bytes × 5
        1453 responded after 553 = 500 + 50 + 1 + 2 + 0 + 0 ms
        1460 media 3 of 160 bytes × 7
        1580 mark m0
        1703 Agent: Yes? |
    ",
    );
}

#[test]
fn cough() {
    let mut sim = Sim::answered([Reply::say("We open at nine.")]);
    sim.run_for(ms(500));
    sim.caller_coughs(ms(180));
    sim.run_until_idle();
    assert_trace(
        &sim,
        "
        20 ask agent for turn 1: CallStarted
        21 synthesize 1: We open at nine.
        23 media 1 of 160 bytes × 32
        580 utterance 2 starts
        580 caller audio of 2400 bytes
        580 media 1 of 160 bytes
        600 caller audio of 160 bytes
        600 media 1 of 160 bytes
        620 caller audio of 160 bytes
        620 BargeIn by SustainedSpeech, 100 of 100 ms; not Silence, 0 of 700 ms
        620 clear
        640 caller audio of 160 bytes × 28
        1180 utterance 2 ends, 160 ms of speech
        1180 TurnOver by Silence, 500 of 500 ms; not TooLong, 620 of 30000 ms
        1230 Resume by NoWordsFollowed, 160 of 1000 ms; not LongSpeech, 160 of 1000 ms
        1230 media 1 of 160 bytes × 24
        1600 mark m0
        1720 Agent: We open at nine. |
    ",
    );
}

#[test]
fn silence() {
    let mut sim = Sim::answered([Reply::say("Size?"), Reply::goodbye("Bye.")]);
    sim.run_for(Duration::from_secs(20));
    assert_trace(
        &sim,
        "
        20 ask agent for turn 1: CallStarted
        21 synthesize 1: Size?
        23 media 1 of 160 bytes × 15
        220 mark m0
        333 Agent: Size? |
        7333 NoInput by Silence, 7000 of 7000 ms
        7333 ask agent for turn 2: Silence(1)
        7334 synthesize 2: Bye.
        7336 media 2 of 160 bytes × 12
        7460 mark m1
        7586 Agent: Bye. |
        7586 HangUp by LastMark
        7586 close: agent-hangup
    ",
    );
}

#[test]
fn misunderstanding() {
    let mut sim = Sim::answered([Reply::say("Size?"), Reply::say("Sorry?")]);
    sim.run_until_idle();
    sim.caller_says("", ms(600));
    sim.run_until_idle();
    assert_trace(
        &sim,
        "
        20 ask agent for turn 1: CallStarted
        21 synthesize 1: Size?
        23 media 1 of 160 bytes × 15
        220 mark m0
        333 Agent: Size? |
        440 utterance 2 starts
        440 caller audio of 2400 bytes
        460 caller audio of 160 bytes × 61
        1660 utterance 2 ends, 580 ms of speech
        1660 TurnOver by Silence, 700 of 700 ms; not TooLong, 1240 of 30000 ms
        1710 Caller:  |
        1710 ask agent for turn 3: NotUnderstood
        1711 synthesize 3: Sorry?
        1713 media 3 of 160 bytes × 5
        1713 responded after 753 = 700 + 50 + 1 + 2 + 0 + 0 ms
        1720 media 3 of 160 bytes × 13
        1960 mark m1
        2083 Agent: Sorry? |
    ",
    );
}

#[test]
fn keys() {
    let mut sim = Sim::answered([Reply::say("Size?"), Reply::say("Four.")]);
    sim.run_for(ms(200));
    sim.caller_keys('4');
    sim.run_for(ms(100));
    sim.caller_keys('#');
    sim.run_until_idle();
    assert_trace(
        &sim,
        "
        20 ask agent for turn 1: CallStarted
        21 synthesize 1: Size?
        23 media 1 of 160 bytes × 14
        200 BargeIn by KeyPressed
        200 clear
        200 heard of turn 1:
        200 Agent:  | Size?
        300 TurnOver by KeysComplete; not KeysPause, 0 of 2500 ms
        300 Caller: 4 |
        300 ask agent for turn 3: Keyed(\"4\")
        301 synthesize 2: Four.
        303 media 2 of 160 bytes × 5
        303 responded after 3 = 0 + 0 + 1 + 2 + 0 + 0 ms
        320 media 2 of 160 bytes × 10
        500 mark m0
        613 Agent: Four. |
    ",
    );
}

#[test]
fn goodbye() {
    let mut sim = Sim::answered([Reply::goodbye("Bye.")]);
    sim.run_until_idle();
    assert_trace(
        &sim,
        "
        20 ask agent for turn 1: CallStarted
        21 synthesize 1: Bye.
        23 media 1 of 160 bytes × 12
        160 mark m0
        273 Agent: Bye. |
        273 HangUp by LastMark
        273 close: agent-hangup
    ",
    );
}
