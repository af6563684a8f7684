//! A frame of a running call asks the allocator for nothing, whoever has the floor.

use std::sync::Arc;
use std::time::Duration;

use offhook_engine::call::{
    Call, CallSettings, CallTime, Input, Media, Output, Outputs, Then, TurnId, UtteranceId,
};
use offhook_engine::sim::voiced;
use offhook_fixtures::alloc::{CountingAllocator, Counts, counted};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// A call whose outputs are dropped, and its frames.
struct Line {
    call: Call,
    out: Outputs,
    frame: u32,
    media_out: u64,
    caller_audio: u64,
}

impl Line {
    fn open() -> Self {
        // A turn that never ends, so that the whole measure is one utterance.
        let settings = CallSettings { turn_ms_max: u32::MAX, ..CallSettings::default() };
        let mut line = Self {
            call: Call::new(settings),
            out: Outputs::default(),
            frame: 0,
            media_out: 0,
            caller_audio: 0,
        };
        line.input(Input::Start { stream: "MZ1", format_ok: true });
        line
    }

    fn input(&mut self, input: Input<'_>) {
        let now = CallTime::from_millis(u64::from(self.frame) * 20);
        self.call.handle(now, input, &mut self.out);
        let mut list = self.out.take_list();
        for output in list.drain(..) {
            match output {
                Output::Media { audio, .. } => self.media_out += self.out.audio(audio).len() as u64,
                Output::CallerAudio { audio } => self.caller_audio += self.out.audio(audio).len() as u64,
                _ => {}
            }
        }
        self.out.give_back(list);
        self.out.take_spent().for_each(drop);
    }

    fn hear(&mut self, payload: &[u8]) {
        self.frame += 1;
        let (chunk, timestamp_ms) = (Some(self.frame), Some((self.frame - 1) * 20));
        self.input(Input::Media(Media { chunk, timestamp_ms, payload }));
    }

    fn agent_speaks(&mut self, seconds: usize) {
        self.input(Input::AgentSays { turn: TurnId(1), text: "a long story" });
        self.input(Input::AgentDone { turn: TurnId(1), then: Then::HangUp });
        let audio: Arc<[u8]> = vec![0x55; seconds * 8_000].into();
        self.input(Input::AgentAudio { utterance: UtteranceId(1), audio: &audio });
    }
}

#[test]
fn an_idle_caller_costs_no_memory() {
    let mut line = Line::open();
    (0..50).for_each(|_| line.hear(&[0xFF; 160]));
    let ((), counts) = counted(|| (0..200).for_each(|_| line.hear(&[0xFF; 160])));
    assert_eq!(counts, Counts::default());
}

#[test]
fn a_speaking_caller_costs_no_memory() {
    let mut line = Line::open();
    let speech = voiced(Duration::from_secs(22));
    let (before, after) = speech.split_at(2 * 8_000);
    before.chunks(160).for_each(|frame| line.hear(frame));
    let heard = line.caller_audio;
    let ((), counts) = counted(|| after.chunks(160).for_each(|frame| line.hear(frame)));
    assert_eq!(counts, Counts::default());
    assert_eq!(line.caller_audio - heard, after.len() as u64, "all of it went to the recogniser");
}

#[test]
fn a_speaking_agent_costs_no_memory() {
    let mut line = Line::open();
    line.hear(&[0xFF; 160]);
    line.agent_speaks(60);
    (0..50).for_each(|_| line.hear(&[0xFF; 160]));
    let sent = line.media_out;
    let ((), counts) = counted(|| (0..1_000).for_each(|_| line.hear(&[0xFF; 160])));
    assert_eq!(counts, Counts::default());
    assert_eq!(line.media_out - sent, 1_000 * 160, "a frame in, a frame out");
}
