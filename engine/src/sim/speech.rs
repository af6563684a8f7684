//! A caller's voice made of numbers: a sound that a voice detector takes for speech.

use std::f32::consts::TAU;
use std::time::Duration;

use offhook_codecs::g711;

/// A vowel of this length as 8 kHz µ-law: harmonics of 125 Hz under three formants, swelling four times a second, with a
/// breath of 160 ms every two seconds: what never takes one is noise.
pub fn voiced(length: Duration) -> Vec<u8> {
    let samples = (length.as_micros() / 125) as usize;
    let pcm: Vec<i16> = (0..samples).map(|n| sample(n as f32 / 8_000.0) as i16).collect();
    let mut ulaw = vec![0; samples];
    g711::encode_ulaw(&pcm, &mut ulaw);
    ulaw
}

fn sample(t: f32) -> f32 {
    let swell = 0.8 + 0.2 * (TAU * 4.0 * t).cos();
    let wave: f32 = (1..28u8)
        .map(|k| {
            let hz = 125.0 * f32::from(k);
            let formants = [(600.0, 1.0), (1_200.0, 0.6), (2_500.0, 0.3)];
            let gain: f32 =
                formants.iter().map(|(at, high)| high / (1.0 + ((hz - at) / 150.0).powi(2))).sum();
            gain * (TAU * hz * t + f32::from(k) * 0.7).sin()
        })
        .sum();
    let breath = if t % 2.0 < 1.84 { 1.0 } else { 0.05 };
    6_000.0 * swell * breath * wave
}
