//! The caller's voice: texts and files become audio for the line, once for all calls that share a script.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use offhook_codecs::resample::Resampler;
use offhook_codecs::{SampleRate, g711, wav};
use offhook_engine::speech::TextToSpeech;
use offhook_engine::speech::tts::flite::Flite;

use super::script::{Item, Script, Speech, Step};
use super::{CallerError, sound};

/// The caller's pitch over the agent's, so that the two can be told apart: a fourth higher.
pub const PITCH: f32 = 4.0 / 3.0;

/// One thing said lasts no longer.
pub const ITEM_MAX: Duration = Duration::from_secs(300);

/// The seed of the one cough there is.
const COUGH_SEED: u64 = 7;

/// Makes a script that calls can be placed with. Files are read and texts are spoken here, so this may take a while:
/// on an async task, wrap it in `spawn_blocking`.
///
/// Errors name the step and what is wrong with it.
pub fn prepare(steps: &[Step]) -> Result<Script, CallerError> {
    Voice::default().prepare(steps, None)
}

/// What is heard behind a caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surroundings {
    /// How loud the noise is, in dB below full scale (RMS). A quiet office on a telephone is at −55, a street at −30.
    pub noise_dbfs: f32,
    /// The same seed gives the same noise.
    pub seed: u64,
}

/// The caller's voice. It speaks a text once and remembers it, so that scripts share their audio.
#[derive(Default)]
pub struct Voice {
    engine: Option<Flite>,
    spoken: HashMap<String, Arc<[u8]>>,
    played: HashMap<PathBuf, Arc<[u8]>>,
    cough: Option<Arc<[u8]>>,
}

impl Voice {
    /// Makes a script, as [`prepare`] does, with noise behind all of it if there are `surroundings`.
    pub fn prepare(
        &mut self,
        steps: &[Step],
        surroundings: Option<Surroundings>,
    ) -> Result<Script, CallerError> {
        let mut items = Vec::new();
        let mut pause = Duration::ZERO;
        let mut barge_in_after = None;
        for step in steps {
            let (label, speech) = match step {
                Step::Pause(duration) => {
                    pause += *duration;
                    continue;
                }
                Step::BargeIn(after) => {
                    barge_in_after = Some(*after);
                    continue;
                }
                Step::Say(text) => (text.clone(), Speech::Audio(self.say(text)?)),
                Step::Wav(path) => {
                    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
                    (name, Speech::Audio(self.play(path)?))
                }
                Step::Keys(keys) => (keys.clone(), Speech::Keys(self::keys(keys)?.into())),
                Step::Cough => ("(coughs)".into(), Speech::Audio(self.cough())),
            };
            items.push(Item {
                pause: std::mem::take(&mut pause),
                barge_in_after: barge_in_after.take(),
                wants_answer: *step != Step::Cough,
                ..Item::new(label, speech)
            });
        }
        let mut noise = None;
        if let Some(Surroundings { noise_dbfs, seed }) = surroundings {
            let samples = sound::noise(seed, noise_dbfs);
            for item in &mut items {
                if let Speech::Audio(ulaw) = &mut item.speech {
                    *ulaw = over(ulaw, &samples);
                }
            }
            noise = Some(encode(&samples));
        }
        Ok(Script { items: items.into(), last_pause: pause, noise })
    }

    fn say(&mut self, text: &str) -> Result<Arc<[u8]>, CallerError> {
        if let Some(ulaw) = self.spoken.get(text) {
            return Ok(ulaw.clone());
        }
        let engine = match &self.engine {
            Some(engine) => engine,
            None => self.engine.insert(Flite::at_pitch(PITCH).map_err(|e| step_error(text, e))?),
        };
        let ulaw: Arc<[u8]> = say(engine, text)?.into();
        self.spoken.insert(text.to_owned(), ulaw.clone());
        Ok(ulaw)
    }

    fn play(&mut self, path: &Path) -> Result<Arc<[u8]>, CallerError> {
        if let Some(ulaw) = self.played.get(path) {
            return Ok(ulaw.clone());
        }
        let ulaw: Arc<[u8]> = read(path)?.into();
        self.played.insert(path.to_owned(), ulaw.clone());
        Ok(ulaw)
    }

    fn cough(&mut self) -> Arc<[u8]> {
        self.cough.get_or_insert_with(|| encode(&sound::cough(COUGH_SEED))).clone()
    }
}

/// `ulaw` with `noise` behind it.
fn over(ulaw: &[u8], noise: &[i16]) -> Arc<[u8]> {
    let mut samples = vec![0; ulaw.len()];
    g711::decode_ulaw(ulaw, &mut samples);
    for (sample, noise) in samples.iter_mut().zip(noise.iter().cycle()) {
        *sample = sample.saturating_add(*noise);
    }
    encode(&samples)
}

fn encode(samples: &[i16]) -> Arc<[u8]> {
    let mut ulaw = vec![0; samples.len()];
    g711::encode_ulaw(samples, &mut ulaw);
    ulaw.into()
}

/// Speaks `text` with `voice`, as 8 kHz µ-law.
pub fn say(voice: &dyn TextToSpeech, text: &str) -> Result<Vec<u8>, CallerError> {
    let mut samples = Vec::new();
    let most = ITEM_MAX.as_secs() as usize * voice.sample_rate().hz() as usize;
    voice
        .synthesize(text, &mut |audio| {
            samples.extend_from_slice(audio);
            if samples.len() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .map_err(|e| step_error(text, e))?;
    if samples.len() > most {
        return Err(step_error(text, format!("it lasts longer than {} s", ITEM_MAX.as_secs())));
    }
    if samples.is_empty() {
        return Err(step_error(text, "there is no word in it"));
    }
    for_line(&samples, voice.sample_rate()).map_err(|e| step_error(text, e))
}

/// Mono samples at any rate, as 8 kHz µ-law.
fn for_line(samples: &[i16], rate: SampleRate) -> Result<Vec<u8>, offhook_codecs::resample::ResampleError> {
    let mut resampler = Resampler::new(rate, SampleRate::HZ_8000)?;
    let mut line = Vec::with_capacity(samples.len() * 8_000 / rate.hz() as usize + 1);
    resampler.process(samples, &mut line);
    resampler.finish(&mut line);
    let mut ulaw = vec![0; line.len()];
    g711::encode_ulaw(&line, &mut ulaw);
    Ok(ulaw)
}

/// Reads a WAV file, as 8 kHz µ-law.
fn read(path: &Path) -> Result<Vec<u8>, CallerError> {
    let error = |why: String| CallerError::File { path: path.to_owned(), why };
    let file = File::open(path).map_err(|e| error(e.to_string()))?;
    let bytes = file.metadata().map_err(|e| error(e.to_string()))?.len();
    let mut reader = wav::Reader::new(BufReader::new(file)).map_err(|e| error(e.to_string()))?;
    let format = reader.format();
    let Some(rate) = SampleRate::from_hz(format.rate_hz) else {
        let rates: Vec<String> = SampleRate::ALL.iter().map(|rate| rate.hz().to_string()).collect();
        return Err(error(format!("it has {} samples a second; play {}", format.rate_hz, rates.join(", "))));
    };
    let bytes_per_second =
        u64::from(format.rate_hz) * u64::from(format.channels) * format.encoding.bytes() as u64;
    if bytes > bytes_per_second * ITEM_MAX.as_secs() {
        return Err(error(format!("it lasts longer than {} s", ITEM_MAX.as_secs())));
    }
    let samples = reader.read_mono().map_err(|e| error(e.to_string()))?;
    if samples.is_empty() {
        return Err(error("there is no sound in it".into()));
    }
    for_line(&samples, rate).map_err(|e| error(e.to_string()))
}

fn keys(text: &str) -> Result<Vec<char>, CallerError> {
    let keys: Vec<char> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
    if keys.is_empty() {
        return Err(step_error(text, "there is no key in it"));
    }
    match keys.iter().find(|c| !matches!(c, '0'..='9' | '*' | '#' | 'A'..='D')) {
        Some(c) => Err(step_error(text, format!("a telephone has no key {c}, only 0-9, *, # and A-D"))),
        None => Ok(keys),
    }
}

fn step_error(what: &str, why: impl ToString) -> CallerError {
    CallerError::Step { what: what.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(script: &Script) -> Vec<(&str, u64, Option<u64>)> {
        let ms = |d: Duration| d.as_millis() as u64;
        script.items.iter().map(|i| (&*i.label, ms(i.pause), i.barge_in_after.map(ms))).collect()
    }

    #[test]
    fn steps_keep_their_order_and_pauses_belong_to_what_follows() {
        let ms = Duration::from_millis;
        let script = prepare(&[
            Step::Keys("1".into()),
            Step::Pause(ms(300)),
            Step::Pause(ms(200)),
            Step::BargeIn(ms(700)),
            Step::Keys("2 0 0 #".into()),
            Step::Keys("*d".into()),
            Step::Pause(ms(900)),
        ])
        .unwrap();
        assert_eq!(labels(&script), [("1", 0, None), ("2 0 0 #", 500, Some(700)), ("*d", 0, None)]);
        assert_eq!(script.last_pause, ms(900));
        assert!(matches!(&script.items[1].speech, Speech::Keys(keys) if **keys == ['2', '0', '0', '#']));
        assert!(matches!(&script.items[2].speech, Speech::Keys(keys) if **keys == ['*', 'D']));
    }

    #[test]
    fn texts_become_audio_of_a_speakers_length_and_loudness() {
        let script = prepare(&[Step::Say("two hundred employees".into())]).unwrap();
        let Speech::Audio(ulaw) = &script.items[0].speech else { panic!("a text is spoken") };
        let seconds = ulaw.len() as f32 / 8_000.0;
        assert!((0.8..2.5).contains(&seconds), "{seconds} s");
        let mut samples = vec![0; ulaw.len()];
        g711::decode_ulaw(ulaw, &mut samples);
        let dbfs = offhook_codecs::pcm::rms_dbfs(&samples);
        assert!((-30.0..-10.0).contains(&dbfs), "{dbfs} dBFS");
    }

    #[test]
    fn the_callers_voice_is_not_the_agents() {
        let own = say(&Flite::at_pitch(PITCH).unwrap(), "hello").unwrap();
        let agents = say(&Flite::new().unwrap(), "hello").unwrap();
        assert_ne!(own, agents);
    }

    #[test]
    fn files_are_brought_to_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tone.wav");
        let mut bytes = Vec::new();
        let second: Vec<i16> = (0..16_000).map(|n| if n / 20 % 2 == 0 { 8_000 } else { -8_000 }).collect();
        bytes.extend(b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0");
        bytes.extend(16_000u32.to_le_bytes());
        bytes.extend(32_000u32.to_le_bytes());
        bytes.extend(b"\x02\0\x10\0data");
        bytes.extend(32_000u32.to_le_bytes());
        bytes.extend(second.iter().flat_map(|sample| sample.to_le_bytes()));
        std::fs::write(&path, bytes).unwrap();
        let script = prepare(&[Step::Wav(path)]).unwrap();
        assert_eq!(labels(&script), [("tone.wav", 0, None)]);
        assert!(matches!(&script.items[0].speech, Speech::Audio(ulaw) if ulaw.len() == 8_000));
    }

    #[test]
    fn noise_is_behind_all_that_is_said_and_changes_nothing_about_when_it_is_said() {
        let mut voice = Voice::default();
        let steps = [Step::Say("hello".into()), Step::Keys("1".into())];
        let quiet = voice.prepare(&steps, None).unwrap();
        let surroundings = Surroundings { noise_dbfs: -30.0, seed: 1 };
        let noisy = voice.prepare(&steps, Some(surroundings)).unwrap();
        let audio = |script: &Script| match &script.items[0].speech {
            Speech::Audio(ulaw) => ulaw.clone(),
            Speech::Keys(_) => panic!("a text is spoken"),
        };
        assert_ne!(audio(&quiet), audio(&noisy));
        assert_eq!(audio(&quiet).len(), audio(&noisy).len());
        assert_eq!(quiet.items[0].voiced, noisy.items[0].voiced);
        assert!(noisy.noise.is_some_and(|noise| !noise.is_empty()));
        let again = voice.prepare(&steps, None).unwrap();
        assert!(Arc::ptr_eq(&audio(&quiet), &audio(&again)), "a text is spoken once");
    }

    #[test]
    fn a_cough_wants_no_answer() {
        let script = prepare(&[Step::BargeIn(Duration::from_millis(500)), Step::Cough]).unwrap();
        let cough = &script.items[0];
        assert!(!cough.wants_answer && cough.barge_in_after.is_some() && cough.voiced.len() > 1_000);
    }

    #[test]
    fn what_cannot_be_said_is_refused_by_name() {
        for (step, wanted) in [
            (Step::Keys("12E".into()), "no key E"),
            (Step::Keys("".into()), "no key in it"),
            (Step::Say("…".into()), "no word in it"),
            (Step::Wav("/nowhere/at/all.wav".into()), "/nowhere/at/all.wav"),
            (Step::Wav("/dev/null".into()), "/dev/null"),
        ] {
            let text = prepare(std::slice::from_ref(&step)).unwrap_err().to_string();
            assert!(text.contains(wanted), "{step:?}: {text}");
        }
    }
}
