//! Audio for calls, what the agent's voice makes of a text, and what is found in a recording.

use std::io::Cursor;
use std::path::PathBuf;

use offhook::caller::playout::SILENCE;
use offhook::caller::time::FRAME;
use offhook::caller::voice;
use offhook_codecs::{g711, wav};
use offhook_engine::speech::TextToSpeech;
use offhook_engine::speech::tts::flite::Flite;

/// 20 ms of nothing, as 8 kHz µ-law.
pub const QUIET: [u8; FRAME] = [SILENCE; FRAME];

/// The file of a human clip under `fixtures/audio`.
pub fn clip_file(name: &str) -> PathBuf {
    offhook_fixtures::path(&format!("audio/{name}.wav"))
}

/// A human clip as 8 kHz µ-law.
pub fn clip(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(clip_file(name)).expect("the clip is among the fixtures");
    let samples = wav::Reader::new(Cursor::new(bytes)).and_then(|mut wav| wav.read_mono());
    let samples = samples.expect("the fixtures are WAV files");
    let mut ulaw = vec![0; samples.len()];
    g711::encode_ulaw(&samples, &mut ulaw);
    ulaw
}

/// A text as the agent speaks it: 8 kHz µ-law.
pub fn spoken(text: &str) -> Vec<u8> {
    let voice = Flite::new().expect("the voice is inside the binary");
    voice::say(&voice, text).expect("the agent's sentences can be spoken")
}

/// Somebody who speaks for so long, with pauses, as a recording at 16 kHz has it.
pub fn wide_speech(length: std::time::Duration) -> Vec<i16> {
    let voice = Flite::at_pitch(1.4).expect("the voice is inside the binary");
    let mut samples = Vec::new();
    while samples.len() < length.as_millis() as usize * 16 {
        let spoken =
            voice.synthesize("We open at nine in the morning, and we close at five.", &mut |piece| {
                samples.extend_from_slice(piece);
                std::ops::ControlFlow::Continue(())
            });
        spoken.expect("a sentence can be spoken");
        samples.resize(samples.len() + 8_000, 0);
    }
    samples
}

/// Where the words of a text begin as the agent speaks it, in samples at 8 kHz.
pub fn word_starts(text: &str) -> Vec<usize> {
    let voice = Flite::new().expect("the voice is inside the binary");
    let words = voice.synthesize(text, &mut |_| std::ops::ControlFlow::Continue(()));
    let per_sample = voice.sample_rate().hz() as usize / 8_000;
    words
        .expect("the agent's sentences can be spoken")
        .iter()
        .map(|w| w.sample as usize / per_sample)
        .collect()
}

/// Sentences one after the other, as the agent speaks them.
pub fn spoken_sentences(text: &str) -> Vec<u8> {
    sentences(text).into_iter().flat_map(spoken).collect()
}

/// A turn's text, cut behind each sentence.
pub fn sentences(text: &str) -> Vec<&str> {
    text.split_inclusive(['.', '?', '!']).map(str::trim).filter(|sentence| !sentence.is_empty()).collect()
}

/// The index of the first loud frame of `ulaw`, which holds one.
pub fn first_loud_frame(ulaw: &[u8]) -> usize {
    ulaw.chunks(FRAME).position(|frame| peak(frame) > 1_000).expect("there is sound in it")
}

/// The greatest amplitude.
pub fn peak(ulaw: &[u8]) -> u16 {
    ulaw.iter().map(|&byte| g711::ulaw_to_linear(byte).unsigned_abs()).max().unwrap_or(0)
}

/// A downloaded recording.
#[derive(Debug)]
pub struct Recording {
    /// The caller.
    pub left: Vec<i16>,
    /// The agent.
    pub right: Vec<i16>,
}

impl Recording {
    /// Reads a WAV file and checks that it is stereo, 16 bits, 8 kHz.
    pub fn read(bytes: &[u8]) -> Self {
        // Bytes 34 and 35 of a plain WAV header: bits per sample.
        assert_eq!(bytes[34..36], [16, 0], "16 bits");
        let mut reader = wav::Reader::new(Cursor::new(bytes)).expect("a recording is a WAV file");
        let format = reader.format();
        assert_eq!((format.rate_hz, format.channels), (8_000, 2));
        let mut channels = reader.read_channels().expect("a recording is complete");
        let right = channels.pop().expect("it has two channels");
        let left = channels.pop().expect("it has two channels");
        assert_eq!(left.len(), right.len());
        Self { left, right }
    }

    /// Checks that it is as long as the call, within a frame.
    pub fn assert_lasts(&self, duration_ms: u64) {
        let wanted = duration_ms * 8;
        let off = (self.left.len() as u64).abs_diff(wanted);
        assert!(off <= FRAME as u64, "{} samples for {duration_ms} ms", self.left.len());
    }
}

/// Checks that every loud frame of `ulaw` stands in `channel`, sample by sample, in order. Silence may stand between any
/// two, where one side was late. Gives what follows the last of them.
pub fn assert_holds<'a>(channel: &'a [i16], ulaw: &[u8]) -> &'a [i16] {
    let mut from = 0;
    for (n, frame) in ulaw.chunks(FRAME).enumerate().filter(|(_, frame)| peak(frame) > 1_000) {
        let frame: Vec<i16> = frame.iter().map(|&byte| g711::ulaw_to_linear(byte)).collect();
        let at = channel[from..].windows(frame.len()).position(|window| window == frame);
        from += at.unwrap_or_else(|| panic!("frame {n} is not there, behind sample {from}")) + frame.len();
    }
    assert!(from > 0, "there is something to look for");
    &channel[from..]
}

/// The loudest sample of a channel.
pub fn loudest(channel: &[i16]) -> u16 {
    channel.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0)
}
