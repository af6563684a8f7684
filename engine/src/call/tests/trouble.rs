//! What carriers get wrong, and what a call makes of it.

use std::time::Duration;

use crate::call::receive::{Frame, Receive};
use crate::call::{
    Call, CallSettings, CallTime, Decision, EndReason, EventKind, Fault, Input, Media, Output, Outputs,
    Prompt, Reason, UtteranceId,
};
use crate::sim::{Reply, Sim, voiced};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A call that is fed by hand.
struct Bare {
    call: Call,
    now: CallTime,
    events: Vec<EventKind>,
    caller_audio: Vec<u8>,
    ended: Option<EndReason>,
}

impl Bare {
    fn new() -> Self {
        let call = Call::new(CallSettings { vad_mode: 0, ..CallSettings::default() });
        Self { call, now: CallTime::ZERO, events: Vec::new(), caller_audio: Vec::new(), ended: None }
    }

    fn started() -> Self {
        let mut bare = Self::new();
        bare.input(Input::Start { stream: "MZ1", format_ok: true });
        bare
    }

    fn input(&mut self, input: Input<'_>) {
        let mut out = Outputs::default();
        self.call.handle(self.now, input, &mut out);
        let mut list = out.take_list();
        for output in list.drain(..) {
            match output {
                Output::Event(event) => self.events.push(event.kind),
                Output::CallerAudio { audio } => self.caller_audio.extend_from_slice(out.audio(audio)),
                Output::Close { reason } => self.ended = Some(reason),
                _ => {}
            }
        }
        out.give_back(list);
    }

    fn media(&mut self, chunk: u32, timestamp_ms: u32, payload: &[u8]) {
        self.input(Input::Media(Media { chunk: Some(chunk), timestamp_ms: Some(timestamp_ms), payload }));
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, length: Duration) {
        let until = self.now + length;
        while let Some((at, _)) = self.call.next_deadline().filter(|(at, _)| *at <= until) {
            self.now = at.max(self.now);
            self.input(Input::Tick);
        }
        self.now = until;
    }

    fn told(&self, wanted: impl Fn(&EventKind) -> bool) -> usize {
        self.events.iter().filter(|kind| wanted(kind)).count()
    }
}

#[test]
fn media_before_start_is_counted_and_dropped() {
    let mut bare = Bare::new();
    bare.media(1, 0, &[0xFF; 160]);
    bare.media(2, 20, &[0xFF; 160]);
    assert_eq!(bare.events, [1, 2].map(|count| EventKind::Fault { fault: Fault::MediaBeforeStart, count }));
    bare.input(Input::Start { stream: "MZ1", format_ok: true });
    bare.media(3, 40, &[0xFF; 160]);
    assert_eq!(bare.told(|kind| *kind == EventKind::MediaFlows), 1, "the call goes on");
}

#[test]
fn a_second_start_is_counted_and_changes_nothing() {
    let mut bare = Bare::started();
    bare.media(1, 0, &[0xFF; 160]);
    bare.input(Input::Start { stream: "MZ2", format_ok: true });
    assert_eq!(bare.told(|kind| matches!(kind, EventKind::Fault { fault: Fault::SecondStart, count: 1 })), 1);
    assert_eq!(bare.told(|kind| matches!(kind, EventKind::AgentAsked { .. })), 1, "it is not greeted again");
}

#[test]
fn a_stream_in_another_format_is_refused_loudly() {
    let mut bare = Bare::new();
    bare.input(Input::Start { stream: "MZ1", format_ok: false });
    assert_eq!(bare.ended, Some(EndReason::UnsupportedMedia));
    assert_eq!(bare.told(|kind| matches!(kind, EventKind::Fault { fault: Fault::ForeignFormat, .. })), 1);
}

#[test]
fn a_flood_of_faults_does_not_flood_the_timeline() {
    let mut bare = Bare::started();
    for _ in 0..10_000 {
        bare.input(Input::Fault(Fault::NotBase64));
    }
    let told = bare.told(|kind| matches!(kind, EventKind::Fault { .. }));
    assert_eq!(told, 3 + 12, "the first three, then 4, 8 … 8,192");
}

#[test]
fn payloads_of_any_size_become_the_same_frames() {
    let speech = voiced(ms(600));
    let mut heard = Vec::new();
    for size in [1, 20, 159, 160, 161, 1_600] {
        let mut bare = Bare::started();
        let mut at = 0;
        for (n, piece) in speech.chunks(size).enumerate() {
            at += piece.len();
            bare.now = CallTime::from_micros(at as u64 * 125);
            bare.input(Input::Media(Media { chunk: Some(n as u32 + 1), timestamp_ms: None, payload: piece }));
        }
        assert!(!bare.caller_audio.is_empty(), "speech was found in pieces of {size}");
        heard.push(bare.caller_audio);
    }
    for other in &heard[1..] {
        assert_eq!(*other, heard[0]);
    }
}

#[test]
fn an_empty_payload_is_counted() {
    let mut bare = Bare::started();
    bare.media(1, 0, &[]);
    assert_eq!(bare.told(|kind| *kind == EventKind::EmptyPayload { count: 1 }), 1);
}

#[test]
fn a_huge_payload_is_taken_as_far_as_time_allows() {
    let mut bare = Bare::started();
    bare.media(1, 0, &vec![0xFF; 60_000]);
    let dropped = bare.events.iter().find_map(|kind| match kind {
        EventKind::AheadOfTime { dropped_ms, .. } => Some(*dropped_ms),
        _ => None,
    });
    assert_eq!(dropped, Some(7_500 - 1_000), "one second may run ahead");
    assert_eq!(bare.ended, None);
}

#[test]
fn media_at_double_speed_is_cut_to_real_time() {
    let mut bare = Bare::started();
    for n in 0..1_000 {
        bare.now = CallTime::from_millis(u64::from(n) * 10);
        bare.media(n + 1, n * 20, &[0xFF; 160]);
    }
    let dropped = bare.events.iter().rev().find_map(|kind| match kind {
        EventKind::AheadOfTime { dropped_ms, .. } => Some(*dropped_ms),
        _ => None,
    });
    // 20 s of audio came in 10 s, of which 1 s may run ahead; the count is told at each doubling only.
    assert!(dropped.is_some_and(|dropped| (4_000..=9_000).contains(&dropped)), "{dropped:?}");
    assert_eq!(bare.ended, None);
}

#[test]
fn lost_frames_are_concealed_and_told() {
    let mut bare = Bare::started();
    for n in [1, 2, 3, 7, 8] {
        bare.now = CallTime::from_millis(u64::from(n) * 20);
        bare.media(n, (n - 1) * 20, &[0x7F; 160]);
    }
    let gap = EventKind::Gap { missing_ms: 60, concealed_ms: 60, count: 1 };
    assert_eq!(bare.told(|kind| *kind == gap), 1, "{:?}", bare.events);
}

#[test]
fn a_gap_without_end_is_concealed_up_to_the_limit() {
    let mut bare = Bare::started();
    bare.media(1, 0, &[0x7F; 160]);
    bare.now = CallTime::from_millis(40);
    bare.media(2, 3_600_000, &[0x7F; 160]);
    let gap = EventKind::Gap { missing_ms: 3_599_980, concealed_ms: 500, count: 1 };
    assert_eq!(bare.told(|kind| *kind == gap), 1, "{:?}", bare.events);
}

#[test]
fn a_frame_that_comes_again_is_dropped() {
    let mut bare = Bare::started();
    for chunk in [1, 2, 2, 1, 3] {
        bare.now += ms(20);
        bare.media(chunk, (chunk - 1) * 20, &[0x7F; 160]);
    }
    assert_eq!(bare.told(|kind| matches!(kind, EventKind::Stale { .. })), 2);
    assert_eq!(bare.told(|kind| matches!(kind, EventKind::Gap { .. })), 0);
}

#[test]
fn a_count_that_starts_anew_is_followed() {
    let mut bare = Bare::started();
    for chunk in (1..=100).chain(1..=10) {
        bare.now += ms(20);
        bare.input(Input::Media(Media { chunk: Some(chunk), timestamp_ms: None, payload: &[0x7F; 160] }));
    }
    assert_eq!(bare.told(|kind| matches!(kind, EventKind::Stale { .. } | EventKind::Gap { .. })), 0);
}

#[test]
fn counts_may_be_missing_altogether() {
    let mut bare = Bare::started();
    for _ in 0..50 {
        bare.now += ms(20);
        bare.input(Input::Media(Media { chunk: None, timestamp_ms: None, payload: &[0x7F; 160] }));
    }
    assert_eq!(bare.told(|kind| matches!(kind, EventKind::Stale { .. } | EventKind::Gap { .. })), 0);
    assert_eq!(bare.told(|kind| *kind == EventKind::MediaFlows), 1);
}

#[test]
fn an_unknown_mark_is_counted() {
    let mut bare = Bare::started();
    for name in ["m7", "", "m", "m99999999999", "turn-1"] {
        bare.input(Input::Mark { name });
    }
    assert!(bare.told(|kind| matches!(kind, EventKind::UnknownMark { .. })) >= 3);
}

#[test]
fn ten_seconds_without_media_are_survived() {
    let mut sim = Sim::answered([Reply::say("Hello."), Reply::say("Still there.")]);
    sim.run_until_idle();
    sim.audio_flows(false);
    sim.run_for(Duration::from_secs(5));
    sim.audio_flows(true);
    sim.caller_says("hello", ms(600));
    sim.run_until_idle();
    assert_eq!(sim.ended(), None);
    let told =
        |wanted: fn(&EventKind) -> bool| sim.events().iter().filter(|event| wanted(&event.kind)).count();
    assert_eq!(told(|kind| matches!(kind, EventKind::MediaStalled { .. })), 1);
    assert_eq!(told(|kind| matches!(kind, EventKind::MediaResumed { .. })), 1);
    assert!(sim.prompts().contains(&Prompt::Said("hello".into())));

    let mut bare = Bare::started();
    bare.media(1, 0, &[0xFF; 160]);
    bare.pass(Duration::from_secs(10));
    assert_eq!(bare.ended, None);
}

#[test]
fn a_call_whose_media_never_comes_back_ends() {
    let mut bare = Bare::started();
    bare.media(1, 0, &[0xFF; 160]);
    bare.input(Input::AgentDone {
        turn: crate::call::TurnId(1),
        then: crate::call::Then::Listen { keys_max: 0 },
    });
    bare.pass(Duration::from_secs(60));
    assert_eq!(bare.ended, Some(EndReason::MediaTimeout));
}

#[test]
fn a_stream_that_never_starts_ends() {
    let mut bare = Bare::new();
    bare.pass(Duration::from_secs(60));
    assert_eq!(bare.ended, Some(EndReason::MediaTimeout));
}

#[test]
fn a_stall_in_the_middle_of_a_turn_ends_the_turn() {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Two.")]);
    sim.run_until_idle();
    sim.caller_says("two", ms(2_000));
    sim.run_for(ms(600));
    sim.audio_flows(false);
    sim.run_for(Duration::from_secs(3));
    assert!(sim.decisions().iter().any(|(_, reason)| *reason == Reason::MediaStalled));
    assert!(sim.prompts().contains(&Prompt::Said("two".into())));
}

#[test]
fn a_leg_that_dies_leaves_a_complete_record() {
    let mut sim = Sim::answered([Reply::say("We open at nine and close at five.")]);
    sim.run_for(ms(900));
    sim.input(Input::LegLost);
    assert_eq!(sim.ended(), Some(EndReason::LegLost));
    let turns = sim.turn_records();
    assert_eq!(turns.len(), 1, "what the agent had said by then is told");
    assert!(!turns[0].text.is_empty() && !turns[0].unheard.is_empty());
    assert!(matches!(sim.events().last().unwrap().kind, EventKind::Ended { reason: EndReason::LegLost }));
}

#[test]
fn nothing_follows_the_end() {
    let mut bare = Bare::started();
    bare.input(Input::Stop);
    assert_eq!(bare.ended, Some(EndReason::CallerHangup));
    let told = bare.events.len();
    bare.media(1, 0, &[0xFF; 160]);
    bare.input(Input::Dtmf { digit: '1' });
    bare.pass(Duration::from_secs(60));
    assert_eq!(bare.events.len(), told);
}

#[test]
fn a_key_that_no_telephone_has_is_counted() {
    let mut bare = Bare::started();
    bare.input(Input::Dtmf { digit: 'x' });
    assert_eq!(bare.told(|kind| matches!(kind, EventKind::Fault { fault: Fault::NotAKey, count: 1 })), 1);
}

#[test]
fn a_silent_recogniser_is_given_up() {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Sorry?")]);
    sim.world.recogniser_delay = Duration::from_secs(30);
    sim.run_until_idle();
    sim.caller_says("two hundred", ms(700));
    sim.run_for(Duration::from_secs(8));
    assert!(sim.decisions().iter().any(|(_, reason)| *reason == Reason::RecogniserSilent));
    assert_eq!(sim.prompts()[1], Prompt::NotUnderstood);
}

#[test]
fn a_recogniser_that_falls_silent_after_its_first_words_does_not_hold_the_call() {
    let mut sim = Sim::answered([Reply::say("We are open from nine in the morning to five in the evening.")]);
    sim.world.recogniser_delay = Duration::from_secs(30);
    sim.world.interim_after = Some(ms(100));
    sim.run_for(ms(800));
    sim.caller_says("no", ms(160));
    sim.run_for(Duration::from_secs(6));
    assert!(sim.decisions().contains(&(Decision::Yield, Reason::WordsFollowed)), "{:?}", sim.decisions());
    assert_eq!(sim.last_decision(), Some((Decision::Ignore, Reason::TooShort)));
    sim.run_for(Duration::from_secs(8));
    assert_eq!(sim.prompts().last(), Some(&Prompt::Silence(1)), "somebody speaks next");
}

#[test]
fn an_agent_that_never_answers_ends_the_call() {
    let mut sim = Sim::answered([Reply::say("Hello.")]);
    sim.world.agent_delay = Duration::from_secs(100);
    assert_eq!(sim.run_until_ended(Duration::from_secs(30)), Some(EndReason::AgentFailed));
}

#[test]
fn a_voice_that_never_speaks_does_not_hold_the_call() {
    let mut sim = Sim::answered([Reply::say("Hello."), Reply::say("Yes?")]);
    sim.world.voice_delay = Duration::from_secs(100);
    sim.run_for(Duration::from_secs(12));
    assert!(sim.events().iter().any(|event| matches!(event.kind, EventKind::VoiceFailed { .. })));
    assert_eq!(sim.ended(), None);
    sim.world.voice_delay = ms(2);
    sim.caller_says("hello", ms(600));
    sim.run_until_idle();
    assert!(sim.prompts().contains(&Prompt::Said("hello".into())));
}

#[test]
fn a_voice_that_gives_an_empty_piece_does_not_hold_the_call() {
    let mut sim = Sim::answered([Reply::say("Hello.")]);
    sim.world.voice_delay = Duration::from_secs(100);
    sim.run_for(ms(200));
    sim.input(Input::AgentAudio { utterance: UtteranceId(1), audio: &[].into(), words: &[] });
    sim.input(Input::AgentAudioEnd { utterance: UtteranceId(1), failed: false, words: &[] });
    sim.run_for(Duration::from_secs(8));
    assert_eq!(
        sim.prompts().last(),
        Some(&Prompt::Silence(1)),
        "the turn is over, the caller's silence counts"
    );
}

#[test]
fn every_frame_of_a_turn_reaches_the_recogniser_across_its_pauses() {
    let speech = voiced(ms(600));
    let all = [&speech[..], &[0xFF; 8 * 300], &speech, &[0xFF; 8 * 300], &speech].concat();
    let mut bare = Bare::started();
    for (n, frame) in all.chunks(160).enumerate() {
        bare.now += ms(20);
        bare.media(n as u32 + 1, n as u32 * 20, frame);
    }
    assert!(bare.caller_audio.len() > all.len() * 9 / 10, "it is one turn");
    assert!(all.ends_with(&bare.caller_audio), "without a hole");
}

#[test]
fn words_that_come_late_are_not_those_of_the_next_turn() {
    let mut sim = Sim::answered([Reply::say("How many?"), Reply::say("Sorry?"), Reply::say("Four.")]);
    sim.run_until_idle();
    sim.world.recogniser_delay = ms(4_000);
    sim.caller_says("two hundred", ms(700));
    sim.run_for(ms(5_000));
    sim.world.recogniser_delay = ms(50);
    sim.caller_says("four", ms(1_000));
    sim.run_until_idle();
    assert_eq!(sim.prompts()[1..], [Prompt::NotUnderstood, Prompt::Said("four".into())]);
}

#[test]
fn lost_audio_is_not_concealed_faster_than_time_passes() {
    let mut bare = Bare::started();
    for n in 1..=64 {
        bare.media(n, n * 10_000, &[0x7F; 160]);
    }
    let concealed = |kind: &EventKind| matches!(kind, EventKind::Gap { concealed_ms: 0, count: 32, .. });
    assert_eq!(bare.told(concealed), 1, "{:?}", bare.events);
}

/// An hour in which frames come late and then all at once, are lost, come twice and change places.
#[test]
fn an_hour_of_trouble_leaves_the_calls_audio_as_long_as_the_callers_clock() {
    let speech = voiced(ms(1_000));
    let settings = CallSettings::default();
    let (mut receive, mut frame) = (Receive::new(settings.preroll_ms), Frame::EMPTY);
    let (mut frames, mut faults, mut held) = (0u32, 0u32, Vec::new());
    let mut random = 1u32;
    for n in 0..3_600 * 50u32 {
        held.push(n);
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (trouble, size) = ((random >> 24) % 64, (random >> 16) % 24 + 1);
        if n % 50 == 49 {
            let mut arrived = std::mem::take(&mut held);
            let last = arrived.len() - 1;
            match trouble % 5 {
                0 => drop(arrived.drain(5..5 + size as usize)),
                1 => arrived.insert(10, arrived[9]),
                2 => arrived.swap(20, 21),
                3 => arrived.insert(last, arrived[3]),
                _ => {}
            }
            faults += u32::from(trouble % 5 != 4);
            // All of a second comes together at its end, as if the network had stood still for it.
            let now = CallTime::from_millis(u64::from(n + 1) * 20);
            for n in arrived {
                let from = n as usize * 160 % (speech.len() - 160);
                let media = Media {
                    chunk: Some(n + 1),
                    timestamp_ms: Some(n * 20),
                    payload: &speech[from..from + 160],
                };
                let mut piece = receive.accept(now, &media, &settings, &mut |_| {});
                while receive.next_frame(&mut piece, &mut frame) {
                    frames += 1;
                }
            }
            assert!(frames.abs_diff(n + 1) <= 1, "{frames} frames after {} of the caller's", n + 1);
        }
    }
    assert!(faults > 2_000, "there was trouble: {faults}");
}
