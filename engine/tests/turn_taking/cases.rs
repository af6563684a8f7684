//! The corpus: what happens on a line, and what should be decided at which moment.

use std::ops::ControlFlow;

use offhook_codecs::resample::Resampler;
use offhook_codecs::{SampleRate, g711, pcm};
use offhook_engine::call::WordStart;
use offhook_engine::speech::TextToSpeech;
use offhook_engine::speech::tts::flite::Flite;
use offhook_fixtures::sounds::{self, dbfs, levelled, person, samples, spoken};

use super::line::{Path, Sentence, Sound};

/// What should come of a case. Times in samples from the beginning of the call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    /// The caller begins to speak here, and gets the floor.
    Interrupts { from: usize },
    /// Nobody takes the floor: the agent is heard to its end, and asked nothing more.
    Keeps,
    /// The caller has one turn, from here to here.
    OneTurn { begins: usize, ends: usize },
}

pub(crate) struct Case {
    /// What the table counts it with.
    pub(crate) class: &'static str,
    pub(crate) name: String,
    pub(crate) sentences: Vec<Sentence>,
    pub(crate) sounds: Vec<Sound>,
    pub(crate) path: Option<Path>,
    pub(crate) expect: Expect,
    pub(crate) length_ms: usize,
}

const PEOPLE: [(&str, &str); 11] = [
    ("two_hundred", "two hundred"),
    ("twenty_thousand", "twenty thousand"),
    ("fifty_thousand", "fifty thousand"),
    ("september", "september"),
    ("tomorrow", "tomorrow"),
    ("monday", "monday"),
    ("wednesday", "wednesday"),
    ("ten", "ten"),
    ("no", "no"),
    ("hello", "hello"),
    ("thank_you_for_your_patience", "thank you for your patience"),
];

const STORY: &str = "Hello, and thank you for calling. I have four short questions. How many people work at your \
    company? You can say a number, or type it on your telephone, and press the pound key when you are done.";
const SHORT: &str = "How many?";
/// A person on a telephone.
const SPEECH_DBFS: f32 = -25.0;

/// All of it.
pub(crate) fn cases() -> Vec<Case> {
    let voice = Flite::new().expect("the voice is inside the crate");
    let story = speak(&voice, STORY);
    let mut cases = Vec::new();
    interruptions(&story, &mut cases);
    double_talk(&story, &mut cases);
    echoes(&story, &mut cases);
    sounds_without_words(&story, &mut cases);
    back_channels(&story, &mut cases);
    noise_alone(&story, &mut cases);
    let short = speak(&voice, SHORT);
    turns(&short, &mut cases);
    long_turns(&short, &speak(&Flite::at_pitch(1.3).expect("as before"), STORY), &mut cases);
    cases
}

fn interruptions(story: &Sentence, cases: &mut Vec<Case>) {
    let mut add = |class, name: String, story: &Sentence, sounds: Vec<Sound>, from| {
        let expect = Expect::Interrupts { from };
        cases.push(case(class, name, story, sounds, None, expect));
    };
    for (at, (file, words)) in PEOPLE.into_iter().enumerate() {
        for level in [SPEECH_DBFS, -33.0] {
            let (sound, from) = says(samples(2_000 + 337 * at), file, words, level);
            add("interrupts, clean", format!("{file} at {level} dBFS"), story, vec![sound], from);
        }
        let early = samples(400 + 60 * at);
        let (sound, from) = says(early, file, words, SPEECH_DBFS);
        add("interrupts, at once", format!("{file} at {} ms", early / 8), story, vec![sound], from);
    }
    let length = samples(12_000);
    for (at, (file, words)) in PEOPLE.into_iter().enumerate().step_by(2) {
        for snr in [20.0, 10.0] {
            for (kind, noise) in noises(at as u64, length, SPEECH_DBFS - snr) {
                let (sound, from) = says(samples(3_000 + 211 * at), file, words, SPEECH_DBFS);
                let class =
                    if snr > 15.0 { "interrupts, noise at 20 dB" } else { "interrupts, noise at 10 dB" };
                add(class, format!("{file} in {kind}, {snr} dB"), story, vec![sound, noise], from);
            }
        }
    }
}

fn double_talk(story: &Sentence, cases: &mut Vec<Case>) {
    for (at, (file, words)) in PEOPLE.into_iter().enumerate() {
        for (which, loss_db) in [10.0, 18.0, 26.0].into_iter().enumerate() {
            let delay_ms = [40, 130, 220, 310, 390][(at + which) % 5];
            let path = Path { delay_ms, loss_db, small_speaker: (at + which) % 2 == 0, from: 0 };
            let (sound, from) = says(samples(4_000 + 331 * at), file, words, SPEECH_DBFS + 2.0);
            let name = format!("{file} over an echo {delay_ms} ms late, {loss_db} dB down");
            let expect = Expect::Interrupts { from };
            cases.push(case("interrupts, over echo", name, story, vec![sound], Some(path), expect));
        }
    }
}

fn echoes(story: &Sentence, cases: &mut Vec<Case>) {
    for delay_ms in [20, 70, 130, 200, 280, 400] {
        for loss_db in [6.0, 12.0, 20.0, 30.0] {
            for small_speaker in [false, true] {
                let path = Path { delay_ms, loss_db, small_speaker, from: 0 };
                let kind = if small_speaker { "thin " } else { "" };
                let name = format!("{kind}echo {delay_ms} ms late, {loss_db} dB down");
                // A line that hisses a little, as an open microphone does.
                let hiss = noise(sounds::pink(delay_ms as u64, samples(14_000), -58.0));
                cases.push(case("echo", name, story, vec![hiss], Some(path), Expect::Keeps));
            }
        }
        let path = Path { delay_ms, loss_db: 12.0, small_speaker: true, from: samples(4_300) };
        let name = format!("echo {delay_ms} ms late, from 4.3 s on");
        cases.push(case("echo, switched on", name, story, Vec::new(), Some(path), Expect::Keeps));
    }
}

fn sounds_without_words(story: &Sentence, cases: &mut Vec<Case>) {
    for seed in 0..6 {
        for level in [-20.0, -30.0] {
            let from = samples(2_000 + 431 * seed as usize);
            let sound = Sound { from, samples: sounds::cough(seed, level), words: None };
            let name = format!("cough {seed} at {level} dBFS");
            cases.push(case("coughs", name, story, vec![sound], None, Expect::Keeps));
            let sound = Sound { from, samples: sounds::door(seed, level), words: None };
            let name = format!("door {seed} at {level} dBFS");
            cases.push(case("doors", name, story, vec![sound], None, Expect::Keeps));
        }
    }
}

fn back_channels(story: &Sentence, cases: &mut Vec<Case>) {
    for at in 0..6 {
        for words in ["mm-hm", ""] {
            let sound = sounds::mm_hm(SPEECH_DBFS - 2.0 * at as f32);
            let words = (!words.is_empty()).then(|| (words.to_owned(), 0..sound.len()));
            let name =
                format!("mm-hm {at}, {}", if words.is_some() { "understood" } else { "not understood" });
            let sound = Sound { from: samples(2_000 + 377 * at), samples: sound, words };
            cases.push(case("mm-hm", name, story, vec![sound], None, Expect::Keeps));
        }
    }
}

fn noise_alone(story: &Sentence, cases: &mut Vec<Case>) {
    let length = samples(14_000);
    for level in [-50.0f32, -45.0, -40.0, -35.0] {
        for (kind, noise) in noises(level.abs() as u64, length, level) {
            let name = format!("{kind} at {level} dBFS");
            let class = if kind == "babble" { "babble alone" } else { "noise alone" };
            cases.push(case(class, name, story, vec![noise], None, Expect::Keeps));
        }
        let music = noise(sounds::music(length, level));
        cases.push(case(
            "music alone",
            format!("music at {level} dBFS"),
            story,
            vec![music],
            None,
            Expect::Keeps,
        ));
    }
}

fn turns(short: &Sentence, cases: &mut Vec<Case>) {
    let mut add = |class, name: String, sounds: Vec<Sound>, ends| {
        let expect = Expect::OneTurn { begins: 0, ends };
        cases.push(Case { length_ms: 9_000, ..case(class, name, short, sounds, None, expect) });
    };
    for (at, (file, words)) in PEOPLE.into_iter().enumerate() {
        let (sound, _) = says(samples(2_000 + 77 * at), file, words, SPEECH_DBFS);
        let ends = end_of(&sound);
        add("turns, clean", file.to_owned(), vec![sound.clone()], ends);
        for (kind, noise) in noises(at as u64, samples(9_000), SPEECH_DBFS - 20.0) {
            add("turns, noise at 20 dB", format!("{file} in {kind}"), vec![sound.clone(), noise], ends);
        }
    }
    // Two parts with a pause between, whose words do or do not show that more is to come.
    let parts = [
        ("ten", "ten", "fifty_thousand", "hesitates"),
        ("hello", "two hundred", "tomorrow", "hesitates"),
        ("hello", "my number is", "two_hundred", "hesitates, unfinished"),
        ("monday", "monday and", "wednesday", "hesitates, unfinished"),
        ("ten", "about", "twenty_thousand", "hesitates, unfinished"),
    ];
    for (first, words, second, class) in parts {
        for pause_ms in [300, 450, 600, 750, 900, 1_100] {
            let (first, _) = says(samples(2_000), first, words, SPEECH_DBFS);
            let second_file = second;
            let begins = end_of(&first) + samples(pause_ms);
            let (second, _) = says_from(begins, second_file, second_file, SPEECH_DBFS);
            let ends = end_of(&second);
            add(class, format!("{words} … {second_file} after {pause_ms} ms"), vec![first, second], ends);
        }
    }
    hesitant_callers(short, cases);
}

/// Callers who speak for twelve seconds, with a breath at the commas.
fn long_turns(short: &Sentence, story: &Sentence, cases: &mut Vec<Case>) {
    let samples_of = |level| {
        levelled(story.ulaw.iter().map(|&code| pcm::to_float(g711::ulaw_to_linear(code))).collect(), level)
    };
    for level in [-20.0, -26.0, -32.0, -38.0] {
        let from = samples(2_000);
        let sound = samples_of(level);
        let span = spoken(&sound);
        let ends = from + span.end;
        let said = Sound { from, samples: sound, words: Some(("a story".into(), span)) };
        for hiss in [None, Some(-60.0), Some(-50.0)] {
            let mut sounds = vec![said.clone()];
            sounds.extend(hiss.map(|level| noise(sounds::pink(5, ends + samples(4_000), level))));
            let name = format!("a story at {level} dBFS, hiss at {hiss:?} dBFS");
            let expect = Expect::OneTurn { begins: 0, ends };
            let case = case("turns, long", name, short, sounds, None, expect);
            cases.push(Case { length_ms: ends / 8 + 3_000, ..case });
        }
    }
}

/// Callers who pause in each of their turns; what is judged is the third.
fn hesitant_callers(short: &Sentence, cases: &mut Vec<Case>) {
    for habit_ms in [420, 560, 660] {
        for pause_ms in [450, 600, 750, 900] {
            let (mut sounds, mut at, mut begins) = (Vec::new(), 2_000, 0);
            for pause_ms in [habit_ms, habit_ms, pause_ms] {
                begins = samples(at);
                let (first, _) = says(begins, "ten", "ten", SPEECH_DBFS);
                let (second, _) =
                    says_from(end_of(&first) + samples(pause_ms), "tomorrow", "tomorrow", SPEECH_DBFS);
                at = end_of(&second) / 8 + 2_500;
                sounds.extend([first, second]);
            }
            let ends = sounds.last().map_or(0, end_of);
            let name = format!("after pauses of {habit_ms} ms one of {pause_ms} ms");
            let expect = Expect::OneTurn { begins, ends };
            let case = case("hesitates as before", name, short, sounds, None, expect);
            cases.push(Case { length_ms: ends / 8 + 4_000, ..case });
        }
    }
}

fn case(
    class: &'static str,
    name: String,
    sentence: &Sentence,
    sounds: Vec<Sound>,
    path: Option<Path>,
    expect: Expect,
) -> Case {
    let length_ms = sentence.ulaw.len() / 8 + 4_000;
    Case { class, name, sentences: vec![sentence.clone()], sounds, path, expect, length_ms }
}

/// Someone says this, on a tape that starts at `at`; and when the first sound comes.
fn says(at: usize, file: &str, words: &str, level: f32) -> (Sound, usize) {
    let samples = person(file, level);
    let span = spoken(&samples);
    let from = at + span.start;
    (Sound { from: at, samples, words: Some((words.to_owned(), span)) }, from)
}

/// The same, on a tape whose first sound comes at `begins`.
fn says_from(begins: usize, file: &str, words: &str, level: f32) -> (Sound, usize) {
    let lead_in = spoken(&person(file, level)).start;
    says(begins.saturating_sub(lead_in), file, words, level)
}

fn end_of(sound: &Sound) -> usize {
    sound.from + sound.words.as_ref().map_or(sound.samples.len(), |(_, span)| span.end)
}

fn noise(samples: Vec<f32>) -> Sound {
    Sound { from: 0, samples, words: None }
}

fn noises(seed: u64, length: usize, level: f32) -> [(&'static str, Sound); 3] {
    let voices: Vec<Vec<f32>> = PEOPLE.iter().map(|(file, _)| person(file, SPEECH_DBFS)).collect();
    [
        ("white", noise(sounds::white(seed, length, level))),
        ("pink", noise(sounds::pink(seed, length, level))),
        ("babble", noise(sounds::babble(seed, &voices, length, level))),
    ]
}

fn speak(voice: &Flite, text: &str) -> Sentence {
    let mut resampler = Resampler::new(voice.sample_rate(), SampleRate::HZ_8000).expect("16 to 8 kHz");
    let mut pcm = Vec::new();
    let words = voice
        .synthesize(text, &mut |samples| {
            resampler.process(samples, &mut pcm);
            ControlFlow::Continue(())
        })
        .expect("the voice speaks");
    resampler.finish(&mut pcm);
    let words = words.into_iter().map(|word| WordStart { sample: word.sample / 2, ..word }).collect();
    let samples: Vec<f32> = pcm.into_iter().map(pcm::to_float).collect();
    let loud = spoken(&samples);
    let level = -20.0 - dbfs(&samples[loud]) + dbfs(&samples);
    let samples = levelled(samples, level);
    let ulaw = samples.into_iter().map(|s| g711::linear_to_ulaw(pcm::from_float(s))).collect();
    Sentence { text: text.to_owned(), ulaw, words }
}
