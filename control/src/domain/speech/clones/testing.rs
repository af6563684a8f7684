//! A person to copy: the voice of this machine, at any pitch and pace.

use std::ops::ControlFlow;

use offhook_codecs::g711;
use offhook_engine::speech::render;
use offhook_engine::speech::tts::flite::Flite;

/// What is said lasts so long, at the least, at its own pace.
pub(super) const SPEECH_S: f32 = 4.0;

/// 8 kHz samples of somebody who speaks at this pitch, of the voice's own.
pub(super) fn spoken(pitch: f32) -> Vec<i16> {
    spoken_at(pitch, 1.0)
}

/// As [`spoken`], at this pace.
pub(super) fn spoken_at(pitch: f32, pace: f32) -> Vec<i16> {
    let voice = Flite::at_pitch(pitch).unwrap().at_pace(pace);
    let text = "I would like to know whether you are open on Monday, since my mother comes to town and wants to see it.";
    let mut samples = Vec::new();
    render(&voice, text, &mut |ulaw: Vec<u8>| {
        samples.extend(ulaw.iter().map(|&code| g711::ulaw_to_linear(code)));
        ControlFlow::Continue(())
    })
    .unwrap();
    samples
}
