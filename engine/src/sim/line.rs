//! A bare call whose outputs are counted and dropped: what benches and allocation tests feed frames to.

use std::hint::black_box;
use std::sync::Arc;

use crate::call::{Call, CallSettings, CallTime, Input, Media, Output, Outputs, Then, TurnId, UtteranceId};

/// A call that was answered, whose stream has begun and whose time advances 20 ms with each frame.
pub struct Line {
    call: Call,
    out: Outputs,
    frame: u32,
    /// Bytes of audio sent to the caller.
    pub media_out: u64,
    /// Bytes of audio sent to the recogniser.
    pub caller_audio: u64,
    /// True once the carrier was told to clear.
    pub cleared: bool,
}

impl Line {
    /// A call in which neither a long turn nor silence is taken for anything, so that one state can be measured for long.
    pub fn open() -> Self {
        let settings =
            CallSettings { turn_ms_max: u32::MAX, no_input_ms: u32::MAX, ..CallSettings::default() };
        let mut line = Self {
            call: Call::new(settings),
            out: Outputs::default(),
            frame: 0,
            media_out: 0,
            caller_audio: 0,
            cleared: false,
        };
        line.input(Input::Start { stream: "MZ1", format_ok: true });
        line.hear(&[0xFF; 160]);
        line
    }

    /// The agent has this many seconds to say, and may be interrupted.
    pub fn agent_speaks(&mut self, seconds: usize) {
        self.input(Input::AgentSays { turn: TurnId(1), text: "a long story" });
        self.input(Input::AgentDone { turn: TurnId(1), then: Then::Listen { keys_max: 0 } });
        let audio: Arc<[u8]> = vec![0x55; seconds * 8_000].into();
        self.input(Input::AgentAudio { utterance: UtteranceId(1), audio: &audio, words: &[] });
    }

    /// A frame of the caller: 160 bytes of 8 kHz µ-law.
    pub fn hear(&mut self, payload: &[u8]) {
        self.frame += 1;
        let (chunk, timestamp_ms) = (Some(self.frame), Some((self.frame - 1) * 20));
        self.input(Input::Media(Media { chunk, timestamp_ms, payload }));
    }

    fn input(&mut self, input: Input<'_>) {
        let now = CallTime::from_millis(u64::from(self.frame) * 20);
        self.call.handle(now, input, &mut self.out);
        let mut list = self.out.take_list();
        for output in list.drain(..) {
            match output {
                Output::Media { audio, .. } => {
                    self.media_out += black_box(self.out.audio(audio)).len() as u64
                }
                Output::CallerAudio { audio } => {
                    self.caller_audio += black_box(self.out.audio(audio)).len() as u64;
                }
                Output::Clear => self.cleared = true,
                other => drop(black_box(other)),
            }
        }
        self.out.give_back(list);
        self.out.take_spent().for_each(drop);
    }
}
