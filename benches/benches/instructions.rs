//! How many instructions does each step of a 20 ms frame take? Unlike a time, the count is the same on a busy machine, and
//! tomorrow: a change of one in a hundred shows.
//!
//! This program starts itself under valgrind's callgrind, once for each step, which counts what runs within [`measured`] and
//! nothing else: no setting up, no warming up. `make instructions` runs it; words after `--` pick steps by their names.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table is what this program is for")]

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use offhook_benches::journal::Recorded;
use offhook_benches::load::{SILENCE, hiss};
use offhook_codecs::resample::Resampler;
use offhook_codecs::wire::twilio::{self, Place};
use offhook_codecs::wire::{Event, Message};
use offhook_codecs::{SampleRate, g711};
use offhook_engine::sim::{Line, voiced};
use offhook_engine::speech::HandOver;

const STREAM: &str = "MZ0123456789abcdef0123456789abcdef";
/// How often each step is run before it is counted, and then counted.
const WARM: u32 = 100;
const FRAMES: u32 = 500;

/// One step: its name, and what makes the thing that does it once.
type Step = (&'static str, fn() -> Box<dyn FnMut()>);

const STEPS: [Step; 16] = [
    ("read a media message", read_message),
    ("decode its base64", decode_base64),
    ("µ-law to samples", ulaw_to_samples),
    ("the whole graph, caller silent", idle_caller),
    ("the whole graph, digital silence", silent_line),
    ("the whole graph, caller speaking", speaking_caller),
    ("the whole graph, agent speaking", speaking_agent),
    ("the whole graph, agent speaking, digital silence", agent_in_silence),
    ("hand the caller's audio to the speech thread", to_session),
    ("hand agent audio to the media thread", to_call),
    ("write a media message of 20 ms", write_message),
    ("write a media message of 100 ms", write_long_message),
    ("journal a frame in and a frame out", journal),
    ("samples to µ-law", samples_to_ulaw),
    ("resample a 16 kHz voice to 8 kHz", from_16k),
    ("resample a 22.05 kHz voice to 8 kHz", from_22k05),
];

/// What is counted: nothing outside of this function is. Its name is what callgrind is told to look for.
#[inline(never)]
fn measured(step: &mut dyn FnMut()) {
    for _ in 0..FRAMES {
        step();
    }
    black_box(());
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [flag, name] = args.as_slice()
        && flag == "--step"
    {
        return run(name);
    }
    match Command::new("valgrind").arg("--version").output() {
        Ok(version) if version.status.success() => {}
        _ => {
            eprintln!(
                "Instructions are counted by valgrind, which is not here: sudo apt-get install valgrind"
            );
            return ExitCode::FAILURE;
        }
    }
    println!("{:<48} {:>12}", "step, per 20 ms frame", "instructions");
    for (name, _) in
        STEPS.iter().filter(|(name, _)| args.is_empty() || args.iter().any(|a| name.contains(&**a)))
    {
        match count(name) {
            Ok(counted) => println!("{name:<48} {:>12.0}", counted as f64 / f64::from(FRAMES)),
            Err(why) => {
                eprintln!("{name}: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Runs a step, inside of valgrind.
fn run(name: &str) -> ExitCode {
    let Some((_, make)) = STEPS.iter().find(|(step, _)| *step == name) else { return ExitCode::FAILURE };
    let mut step = make();
    (0..WARM).for_each(|_| step());
    measured(&mut *step);
    ExitCode::SUCCESS
}

/// The instructions of all frames of a step.
fn count(name: &str) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*::measured"])
        .arg(program)
        .args(["--step", name])
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    match collected.and_then(|(_, count)| count.trim().parse().ok()) {
        Some(count) if output.status.success() && count > 0 => Ok(count),
        _ => Err(text),
    }
}

fn ulaw() -> [u8; 160] {
    std::array::from_fn(|index| (index * 37) as u8)
}

fn inbound() -> String {
    let place = Place { sequence: 1_234, chunk: 1_230, timestamp_ms: 24_600 };
    let mut text = Vec::new();
    twilio::write_inbound_media(&mut text, STREAM, place, &ulaw());
    String::from_utf8(text).expect("what is written is text")
}

fn read_message() -> Box<dyn FnMut()> {
    let text = inbound();
    assert!(matches!(twilio::parse(&text), Ok(Message { event: Event::Media(_), .. })));
    Box::new(move || {
        black_box(twilio::parse(black_box(&text)).is_ok());
    })
}

fn decode_base64() -> Box<dyn FnMut()> {
    let text = inbound();
    let Ok(Message { event: Event::Media(media), .. }) = twilio::parse(&text) else { panic!("{text}") };
    let (payload, mut out) = (media.payload.into_owned(), [0; 160]);
    assert_eq!(twilio::decode_base64(&payload, &mut out), Ok(160));
    assert_eq!(out, ulaw());
    Box::new(move || {
        black_box(twilio::decode_base64(black_box(&payload), black_box(&mut out)).is_ok());
    })
}

fn write(samples: usize) -> Box<dyn FnMut()> {
    let (audio, mut out) = (ulaw().iter().copied().cycle().take(samples).collect::<Vec<u8>>(), Vec::new());
    Box::new(move || {
        out.clear();
        twilio::write_media(&mut out, black_box(STREAM), black_box(&audio));
        black_box(out.len());
    })
}

fn write_message() -> Box<dyn FnMut()> {
    write(160)
}

fn write_long_message() -> Box<dyn FnMut()> {
    write(800)
}

fn ulaw_to_samples() -> Box<dyn FnMut()> {
    let (ulaw, mut samples) = (ulaw(), [0; 160]);
    Box::new(move || g711::decode_ulaw(black_box(&ulaw), black_box(&mut samples)))
}

fn samples_to_ulaw() -> Box<dyn FnMut()> {
    let (mut samples, mut out) = ([0; 160], [0; 160]);
    g711::decode_ulaw(&ulaw(), &mut samples);
    Box::new(move || g711::encode_ulaw(black_box(&samples), black_box(&mut out)))
}

fn idle_caller() -> Box<dyn FnMut()> {
    hearing(Line::open(), hiss())
}

fn silent_line() -> Box<dyn FnMut()> {
    hearing(Line::open(), SILENCE.to_vec())
}

fn speaking_caller() -> Box<dyn FnMut()> {
    hearing(Line::open(), voiced(Duration::from_secs(15)))
}

fn speaking_agent() -> Box<dyn FnMut()> {
    agent_hears(hiss())
}

fn agent_in_silence() -> Box<dyn FnMut()> {
    agent_hears(SILENCE.to_vec())
}

fn agent_hears(audio: Vec<u8>) -> Box<dyn FnMut()> {
    let mut line = Line::open();
    line.agent_speaks(60);
    hearing(line, audio)
}

/// A frame of `audio` each time, over and over.
fn hearing(mut line: Line, audio: Vec<u8>) -> Box<dyn FnMut()> {
    let mut at = 0;
    Box::new(move || {
        line.hear(black_box(&audio[at..at + 160]));
        at = (at + 160) % audio.len();
    })
}

fn to_session() -> Box<dyn FnMut()> {
    let (mut rings, ulaw) = (HandOver::new(Instant::now()), ulaw());
    Box::new(move || {
        let arrived = rings.to_session(black_box(&ulaw), |ulaw| {
            black_box(ulaw);
        });
        assert_eq!(arrived, 160);
    })
}

fn to_call() -> Box<dyn FnMut()> {
    let (mut rings, audio) = (HandOver::new(Instant::now()), Arc::from(ulaw()));
    Box::new(move || assert_eq!(rings.to_call(black_box(&audio)), 160))
}

fn journal() -> Box<dyn FnMut()> {
    let (mut recorded, ulaw) = (Recorded::new(), ulaw());
    Box::new(move || recorded.frame(black_box(&ulaw)))
}

fn resample(from: SampleRate) -> Box<dyn FnMut()> {
    let mut resampler = Resampler::new(from, SampleRate::HZ_8000).expect("every pair of rates");
    let frame: Vec<i16> = (0..from.samples_in_ms(20)).map(|n| (n * 97 % 8_000) as i16).collect();
    let mut out = Vec::with_capacity(1_000);
    Box::new(move || {
        out.clear();
        resampler.process(black_box(&frame), &mut out);
        black_box(out.len());
    })
}

fn from_16k() -> Box<dyn FnMut()> {
    resample(SampleRate::HZ_16000)
}

fn from_22k05() -> Box<dyn FnMut()> {
    resample(SampleRate::HZ_22050)
}
