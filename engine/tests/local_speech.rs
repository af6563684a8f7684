//! What the speech that needs no key and no network can do: a person's answers and the voice's own, over a telephone's
//! µ-law, are heard under the grammars of the questions. Where the library is absent, its absence must say what to install.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test may stop, and says what it skipped")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use offhook_codecs::resample::Resampler;
use offhook_codecs::{SampleRate, g711, pcm};
use offhook_engine::agent::{Agent, AgentAction, Expectation, Scenario, ScriptedAgent};
use offhook_engine::call::{Prompt, Then};
use offhook_engine::speech::denoise::Denoised;
use offhook_engine::speech::stt::Recognisers;
use offhook_engine::speech::tts::flite::Flite;
use offhook_engine::speech::{SpeechToText, TextToSpeech, Transcript};
use offhook_fixtures::answers::{BUDGET, DAY, PEOPLE, SIZE, TIME, WHEN, YES_OR_NO};
use offhook_fixtures::sounds::{person, samples, white};

/// A recogniser of this machine; `None` where there is none, after a look at how that is told.
fn recogniser() -> Option<Box<dyn SpeechToText>> {
    let recognisers = Recognisers::detect();
    if let Recognisers::None { reason } = &recognisers {
        assert!(
            reason.contains("is not available: apt-get install libpocketsphinx3 pocketsphinx-en-us"),
            "{reason}"
        );
        return None;
    }
    Some(recognisers.recogniser())
}

fn expectation(grammar: &str) -> Expectation {
    Expectation { grammar: grammar.into(), speech_ms_max: 3_000 }
}

/// The samples of a clip under `fixtures/audio`: 8 kHz mono, 16 bits.
fn human(name: &str) -> Vec<i16> {
    let bytes = std::fs::read(offhook_fixtures::path(&format!("audio/{name}.wav"))).unwrap();
    bytes[44..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// `text` as flite says it, at 8 kHz.
fn flite(text: &str) -> Vec<i16> {
    let mut wide = Vec::new();
    let voice = Flite::new().unwrap();
    voice
        .synthesize(text, &mut |samples| {
            wide.extend_from_slice(samples);
            ControlFlow::Continue(())
        })
        .unwrap();
    let mut narrow = Vec::new();
    let mut resampler = Resampler::new(voice.sample_rate(), SampleRate::HZ_8000).unwrap();
    resampler.process(&wide, &mut narrow);
    resampler.finish(&mut narrow);
    narrow
}

/// Plays `samples` to the recogniser as the call does: some silence, the speech in pieces of 60 ms, some silence.
fn hear(recogniser: &mut dyn SpeechToText, samples: &[i16], speech_ms: u32) -> (Vec<Transcript>, String) {
    let mut padded = vec![0; 1_600];
    padded.extend_from_slice(samples);
    padded.resize(padded.len() + 2_400, 0);
    let mut ulaw = vec![0; padded.len()];
    g711::encode_ulaw(&padded, &mut ulaw);
    recogniser.start();
    let interims = ulaw.chunks(480).filter_map(|piece| recogniser.audio(piece)).collect();
    (interims, recogniser.end(speech_ms).text)
}

/// All of `answers` (samples, grammar, words), each on a new recogniser, that came out as other words.
fn misheard(answers: impl Iterator<Item = (Vec<i16>, &'static str, &'static str)>) -> Option<Vec<String>> {
    let mut misheard = Vec::new();
    for (samples, grammar, words) in answers {
        let mut recogniser = recogniser()?;
        recogniser.expect(&expectation(grammar));
        let (_, heard) = hear(&mut *recogniser, &samples, 600);
        if heard != words {
            misheard.push(format!("{words:?} as {heard:?}"));
        }
    }
    Some(misheard)
}

#[test]
fn a_persons_answers_are_heard() {
    match misheard(PEOPLE.map(|(name, grammar, words)| (human(name), grammar, words)).into_iter()) {
        Some(misheard) => assert_eq!(misheard, [""; 0]),
        None => eprintln!("skipped: no recogniser on this machine"),
    }
}

#[test]
fn a_persons_answers_keep_their_words_where_noise_is_suppressed() {
    let Some(recogniser) = recogniser() else { return };
    let mut recogniser = Denoised::new(recogniser);
    for (name, grammar, words) in PEOPLE {
        recogniser.expect(&expectation(grammar));
        assert_eq!(hear(&mut recogniser, &human(name), 600).1, words);
    }
}

#[test]
fn hiss_hides_fewer_answers_where_noise_is_suppressed() {
    let right = |mut recogniser: Box<dyn SpeechToText>| {
        let understood = PEOPLE.iter().enumerate().filter(|(at, (name, grammar, words))| {
            recogniser.expect(&expectation(grammar));
            let mut sound = vec![0.0; samples(300)];
            sound.extend(person(name, -25.0));
            sound.resize(sound.len() + samples(200), 0.0);
            let hiss = white(*at as u64, sound.len(), -35.0);
            let noisy: Vec<_> = sound.iter().zip(hiss).map(|(s, n)| pcm::from_float(s + n)).collect();
            hear(&mut *recogniser, &noisy, 600).1 == *words
        });
        understood.count()
    };
    let (Some(plain), Some(recogniser)) = (recogniser(), recogniser()) else { return };
    let (without, with) = (right(plain), right(Box::new(Denoised::new(recogniser))));
    assert!(with > without, "{without} of 10 without, {with} with");
}

#[test]
fn the_voices_own_answers_are_heard() {
    let answers = [
        (SIZE, "two hundred"),
        (SIZE, "about two hundred people"),
        (SIZE, "twenty five"),
        (SIZE, "repeat that"),
        (BUDGET, "ten thousand"),
        (BUDGET, "fifty thousand"),
        (BUDGET, "two hundred thousand dollars"),
        (WHEN, "next month"),
        (WHEN, "this quarter"),
        (WHEN, "september"),
        (WHEN, "today"),
        (YES_OR_NO, "yes"),
        (YES_OR_NO, "yes please"),
        (YES_OR_NO, "no thanks"),
        (YES_OR_NO, "operator"),
        (DAY, "on monday"),
        (DAY, "next wednesday"),
        (DAY, "tomorrow"),
        (TIME, "at ten"),
        (TIME, "half past two"),
        (TIME, "two thirty"),
    ];
    match misheard(answers.map(|(grammar, words)| (flite(words), grammar, words)).into_iter()) {
        Some(misheard) => assert_eq!(misheard, [""; 0]),
        None => eprintln!("skipped: no recogniser on this machine"),
    }
}

#[test]
fn interims_come_late_enough_and_lead_to_the_final_words() {
    let Some(mut recogniser) = recogniser() else { return };
    recogniser.expect(&expectation(SIZE));
    let (interims, heard) = hear(&mut *recogniser, &human("two_hundred"), 900);
    assert_eq!(heard, "two hundred");
    assert!(
        interims.iter().any(|interim| interim.text == "two hundred" && !interim.is_final),
        "{interims:?}"
    );

    // 200 ms of silence and 380 of speech stay below the 600 of the first interim.
    recogniser.start();
    let mut ulaw = vec![0xff; 1_600];
    ulaw.resize(4_640, 0);
    g711::encode_ulaw(&human("two_hundred")[..3_040], &mut ulaw[1_600..]);
    assert!(ulaw.chunks(480).all(|piece| recogniser.audio(piece).is_none()));
}

#[test]
fn speech_that_is_too_short_or_too_long_for_an_answer_has_no_words() {
    let Some(mut recogniser) = recogniser() else { return };
    recogniser.expect(&Expectation { grammar: DAY.into(), speech_ms_max: 1_200 });
    let monday = human("monday");
    for (speech_ms, words) in [(149, ""), (150, "monday"), (1_200, "monday"), (1_201, "")] {
        assert_eq!(hear(&mut *recogniser, &monday, speech_ms).1, words, "{speech_ms} ms");
    }
    let sentence = human("thank_you_for_your_patience");
    assert_eq!(hear(&mut *recogniser, &sentence, 1_300).1, "");
}

#[test]
fn bursts_of_noise_are_no_answers() {
    let Some(mut recogniser) = recogniser() else { return };
    for grammar in [SIZE, WHEN, DAY] {
        recogniser.expect(&expectation(grammar));
        for burst_ms in [120, 180, 250, 350] {
            let samples = burst_ms * 8;
            let mut seed = 0x2545_f491_u32;
            let burst: Vec<i16> = (0..samples)
                .map(|at| {
                    seed ^= seed << 13;
                    seed ^= seed >> 17;
                    seed ^= seed << 5;
                    let decay = (-4.0 * f64::from(at) / f64::from(samples)).exp();
                    (f64::from(seed as i32 >> 18) * decay) as i16
                })
                .collect();
            assert_eq!(hear(&mut *recogniser, &burst, 300).1, "", "{burst_ms} ms");
        }
    }
}

#[test]
fn a_question_changes_what_is_heard_and_a_bad_one_deafens_until_the_next() {
    let Some(mut recogniser) = recogniser() else { return };
    let ten = human("ten");
    assert_eq!(hear(&mut *recogniser, &ten, 500).1, "", "before any question");
    recogniser.expect(&expectation(TIME));
    assert_eq!(hear(&mut *recogniser, &ten, 500).1, "ten");
    for bad in
        ["", "public <a> = xyzzyplugh;", "public <a> = <b>;", "public <a> = <a> ten;", "ten\0", "{", "ten"]
    {
        recogniser.expect(&expectation(bad));
        assert_eq!(hear(&mut *recogniser, &ten, 500), (vec![], String::new()), "{bad:?}");
    }
    recogniser.expect(&expectation(DAY));
    assert_eq!(hear(&mut *recogniser, &human("monday"), 500).1, "monday");
    recogniser.expect(&expectation(TIME));
    assert_eq!(hear(&mut *recogniser, &ten, 500).1, "ten");
}

#[test]
fn a_question_in_the_middle_of_an_utterance_holds_from_the_next_one() {
    let Some(mut recogniser) = recogniser() else { return };
    recogniser.expect(&expectation(TIME));
    recogniser.start();
    recogniser.expect(&expectation(DAY));
    let mut ulaw = vec![0; human("ten").len()];
    g711::encode_ulaw(&human("ten"), &mut ulaw);
    recogniser.audio(&ulaw);
    assert_eq!(recogniser.end(500).text, "ten");
    assert_eq!(hear(&mut *recogniser, &human("monday"), 500).1, "monday");
}

#[test]
fn calls_on_many_threads_hear_the_same() {
    let recognisers = Recognisers::detect();
    if matches!(recognisers, Recognisers::None { .. }) {
        return;
    }
    let threads: Vec<_> = (0..6)
        .map(|_| {
            let recognisers = recognisers.clone();
            std::thread::spawn(move || {
                let mut recogniser = recognisers.recogniser();
                recogniser.expect(&expectation(WHEN));
                [
                    hear(&mut *recogniser, &human("september"), 700),
                    hear(&mut *recogniser, &human("tomorrow"), 700),
                ]
            })
        })
        .collect();
    let heard: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(heard.iter().all(|one| one == &heard[0]));
    assert_eq!((&*heard[0][0].1, &*heard[0][1].1), ("september", "tomorrow"));
}

/// A scripted agent and a recogniser, without the telephone between them.
struct Conversation {
    agent: ScriptedAgent,
    recogniser: Box<dyn SpeechToText>,
    recorded: BTreeMap<String, String>,
    over: bool,
}

impl Conversation {
    fn start(scenario: &str, recogniser: Box<dyn SpeechToText>) -> Self {
        let scenario = Arc::new(Scenario::shipped(scenario).unwrap());
        let agent = ScriptedAgent::new(scenario);
        let mut conversation = Self { agent, recogniser, recorded: BTreeMap::new(), over: false };
        conversation.prompt(&Prompt::CallStarted);
        conversation
    }

    fn prompt(&mut self, prompt: &Prompt) {
        let mut actions = Vec::new();
        self.over = self.agent.answer(prompt, &mut actions) == Ok(Then::HangUp);
        for action in actions {
            match action {
                AgentAction::Expect(expectation) => self.recogniser.expect(&expectation),
                AgentAction::Record { key, value } => drop(self.recorded.insert(key, value)),
                AgentAction::Say(_)
                | AgentAction::Speak { .. }
                | AgentAction::Press(_)
                | AgentAction::Switch { .. } => {}
            }
        }
    }

    fn answer(&mut self, samples: &[i16]) {
        let heard = hear(&mut *self.recogniser, samples, 700).1;
        self.prompt(&if heard.is_empty() { Prompt::NotUnderstood } else { Prompt::Said(heard) });
    }
}

#[test]
fn a_person_is_understood_under_the_shipped_questions() {
    let Some(recogniser) = recogniser() else { return };
    let mut lead = Conversation::start("lead_qualification", recogniser);
    for clip in ["two_hundred", "fifty_thousand", "september", "no"] {
        lead.answer(&human(clip));
    }
    let expected = [
        ("budget", "10000_to_50000"),
        ("company_size", "200"),
        ("meeting", "no"),
        ("outcome", "not_qualified"),
        ("timeline", "september"),
    ];
    assert_eq!(lead.recorded, BTreeMap::from(expected.map(|(key, value)| (key.into(), value.into()))));
    assert!(lead.over);
}

#[test]
fn the_voice_is_understood_under_the_shipped_questions() {
    let Some(recogniser) = recogniser() else { return };
    let mut booking = Conversation::start("appointment_booking", recogniser);
    booking.answer(&human("wednesday"));
    booking.answer(&flite("ten thirty"));
    booking.answer(&flite("yes"));
    let expected =
        [("booked", "yes"), ("day", "wednesday"), ("outcome", "appointment_booked"), ("time", "10:30")];
    assert_eq!(booking.recorded, BTreeMap::from(expected.map(|(key, value)| (key.into(), value.into()))));
}

#[test]
fn a_recording_is_written_down_as_far_as_it_is_understood_and_until_nobody_wants_it() {
    let Recognisers::Pocketsphinx(library) = Recognisers::detect() else { return };
    let mut wide = Vec::new();
    let text =
        "We open at nine in the morning, and we close at five in the afternoon. Thank you for calling.";
    Flite::new()
        .unwrap()
        .synthesize(text, &mut |samples| {
            wide.extend_from_slice(samples);
            ControlFlow::Continue(())
        })
        .unwrap();
    let mut dictation = library.dictation().unwrap();
    let heard = dictation.write_down(&wide, &|| true);
    let said = ["open", "nine", "morning", "close", "five", "afternoon", "thank", "calling"];
    let found = said.iter().filter(|word| heard.split(' ').any(|other| other == **word)).count();
    assert!(found >= 4, "{found} of {} words: {heard}", said.len());
    assert!(!heard.contains(['<', '[', '(']), "{heard}");
    assert_eq!(library.dictation().unwrap().write_down(&wide, &|| false), "");
    assert_eq!(dictation.write_down(&[], &|| true), "");
}
