//! Caller scenarios: who calls and what they say, as data files.
//!
//! A file is read once and checked whole; its texts are spoken once, and all calls share the audio. What is wrong with it is
//! said with the file, the line and what to do. `control/callers/README.md` tells how to write one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::Spanned;

use super::script::{Manners, Script, Step};
use super::time::parse_duration;
use super::voice::{Surroundings, Voice};
use super::{CallerError, sound};

/// Why a scenario cannot be used. Displays with the file, the line and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It is neither a shipped name nor a file.
    #[error(
        "there is no caller scenario {name:?}: the shipped ones are {}; a file of your own is named with its path, as \
         ./my-callers.toml",
        CallerScenario::shipped_names().collect::<Vec<_>>().join(", ")
    )]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not TOML, or a field is unknown, missing or of the wrong kind. `detail` shows line and column.
    #[error("{file}: {detail}")]
    Syntax {
        /// The file.
        file: String,
        /// What and where.
        detail: String,
    },
    /// Every field is there, but together they make no sense.
    #[error("{file}, line {line}: {what}")]
    Meaning {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what to do about it.
        what: String,
    },
}

/// A scenario that calls can be placed with.
#[derive(Clone, Debug)]
pub struct CallerScenario {
    /// Its name.
    pub name: String,
    /// For lists.
    pub title: String,
    /// The agent scenario that should answer; none: the one that the server is configured with.
    pub agent: Option<String>,
    /// The kinds of callers. At least one.
    pub variants: Vec<Variant>,
}

/// One kind of caller.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// How many of the callers are of this kind, against the weights of the others. From 1.
    pub weight: u32,
    /// What they say.
    pub script: Script,
    /// How they behave.
    pub manners: Manners,
    /// What the agent should have recorded of them, by name. Empty: nobody checks.
    pub expect: BTreeMap<String, String>,
}

/// The scenarios inside the binary.
const SHIPPED: [(&str, &str); 4] = [
    ("lead_qualification", include_str!("../../callers/lead_qualification.toml")),
    ("appointment_booking", include_str!("../../callers/appointment_booking.toml")),
    ("barge_in_storm", include_str!("../../callers/barge_in_storm.toml")),
    ("silent_caller", include_str!("../../callers/silent_caller.toml")),
];

/// No step is repeated more often, and no script is longer.
const STEPS_MAX: usize = 1_000;

/// No weight is larger.
const WEIGHT_MAX: u32 = 1_000;

impl CallerScenario {
    /// A shipped scenario by its name, or any file by its path.
    ///
    /// Texts are spoken here, so this takes a moment: on an async task, wrap it in `spawn_blocking`.
    pub fn load(name_or_path: &str) -> Result<Self, ScenarioError> {
        if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(&format!("{name}.toml"), text, Path::new(""));
        }
        let path = Path::new(name_or_path);
        if path.components().count() == 1 && path.extension().is_none() && !path.exists() {
            return Err(ScenarioError::Unknown { name: name_or_path.into() });
        }
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Read { path: path.into(), source })?;
        Self::parse(name_or_path, &text, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads, checks and speaks the TOML `text`. `file` is what errors call it; the paths in it are from `folder`.
    pub fn parse(file: &str, text: &str, folder: &Path) -> Result<Self, ScenarioError> {
        let raw: RawScenario = toml::from_str(text)
            .map_err(|error| ScenarioError::Syntax { file: file.into(), detail: error.to_string() })?;
        Check { file, text, folder }.scenario(raw)
    }

    /// One kind of caller, who says `script`.
    pub fn of_one(name: &str, script: Script, manners: Manners) -> Self {
        let variant = Variant { name: name.into(), weight: 1, script, manners, expect: BTreeMap::new() };
        Self { name: name.into(), title: name.into(), agent: None, variants: vec![variant] }
    }

    /// The names of the shipped scenarios.
    pub fn shipped_names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// Name and title of each shipped scenario, without its audio.
    pub fn shipped() -> impl Iterator<Item = (&'static str, String)> {
        SHIPPED.iter().map(|(name, text)| {
            let title = toml::from_str::<Title>(text).map_or_else(|_| String::new(), |head| head.title);
            (*name, title)
        })
    }

    /// Which kind of caller calls first, second and so on; then from the beginning again.
    ///
    /// The kinds are mixed as evenly as their weights allow, so that any number of calls has its share of each: the "smooth"
    /// weighted round robin that load balancers use. Each turn, every kind gains its weight; the one with the most calls, and
    /// pays the sum of all weights.
    pub fn order(&self) -> Vec<usize> {
        let sum: i64 = self.variants.iter().map(|variant| i64::from(variant.weight)).sum();
        let mut credit = vec![0i64; self.variants.len()];
        let mut order = Vec::new();
        for _ in 0..sum {
            for (credit, variant) in credit.iter_mut().zip(&self.variants) {
                *credit += i64::from(variant.weight);
            }
            let most = (0..credit.len()).rev().max_by_key(|&at| credit[at]).unwrap_or(0);
            credit[most] -= sum;
            order.push(most);
        }
        order
    }
}

#[derive(Deserialize)]
struct Title {
    title: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    name: Spanned<String>,
    title: Spanned<String>,
    agent: Option<Spanned<String>>,
    #[serde(default)]
    manners: RawManners,
    #[serde(default)]
    caller: Vec<RawCaller>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManners {
    quiet: Option<Time>,
    patience: Option<Time>,
    linger: Option<Time>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCaller {
    name: Spanned<String>,
    weight: Option<Spanned<u32>>,
    #[serde(default)]
    manners: RawManners,
    noise_dbfs: Option<Spanned<f32>>,
    #[serde(default)]
    steps: Vec<Spanned<RawStep>>,
    #[serde(default)]
    expect: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    say: Option<String>,
    wav: Option<PathBuf>,
    keys: Option<String>,
    cough: Option<bool>,
    pause: Option<Time>,
    barge_in_after: Option<Time>,
    times: Option<usize>,
}

/// A value that is recorded as text: `200` stands for "200", `true` for "yes" and `false` for "no".
struct Expected(String);

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Expected;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true or false")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Expected, E> {
                Ok(Expected(text.into()))
            }

            fn visit_bool<E: de::Error>(self, yes: bool) -> Result<Expected, E> {
                Ok(Expected(if yes { "yes" } else { "no" }.into()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Expected, E> {
                Ok(Expected(number.to_string()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// `"700ms"`.
#[derive(Clone, Copy)]
struct Time(Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Time).map_err(de::Error::custom)
    }
}

struct Check<'a> {
    file: &'a str,
    text: &'a str,
    folder: &'a Path,
}

impl Check<'_> {
    fn scenario(&self, raw: RawScenario) -> Result<CallerScenario, ScenarioError> {
        let at = raw.name.span().start;
        self.name(&raw.name)?;
        if raw.title.get_ref().trim().is_empty() {
            return self.wrong(raw.title.span().start, "the title is empty: say who calls".into());
        }
        if let Some(agent) = &raw.agent
            && agent.get_ref().trim().is_empty()
        {
            let what = "`agent` is empty: name an agent scenario of the server's, or leave it out".into();
            return self.wrong(agent.span().start, what);
        }
        if raw.caller.is_empty() {
            return self.wrong(at, "nobody calls: add a [[caller]] with a `name` and `steps`".into());
        }
        let mut voice = Voice::default();
        let mut names = BTreeSet::new();
        let mut variants = Vec::new();
        for (nth, caller) in raw.caller.into_iter().enumerate() {
            if !names.insert(caller.name.get_ref().clone()) {
                let what =
                    format!("the caller `{}` is there twice: give one another name", caller.name.get_ref());
                return self.wrong(caller.name.span().start, what);
            }
            variants.push(self.caller(caller, &raw.manners, nth, &mut voice)?);
        }
        Ok(CallerScenario {
            name: raw.name.into_inner(),
            title: raw.title.into_inner(),
            agent: raw.agent.map(Spanned::into_inner),
            variants,
        })
    }

    fn caller(
        &self,
        raw: RawCaller,
        common: &RawManners,
        nth: usize,
        voice: &mut Voice,
    ) -> Result<Variant, ScenarioError> {
        let at = raw.name.span().start;
        self.name(&raw.name)?;
        let weight = match raw.weight {
            None => 1,
            Some(weight) if (1..=WEIGHT_MAX).contains(weight.get_ref()) => *weight.get_ref(),
            Some(weight) => {
                let what = format!("`weight` is {}: take 1 to {WEIGHT_MAX}", weight.get_ref());
                return self.wrong(weight.span().start, what);
            }
        };
        let surroundings = match raw.noise_dbfs {
            None => None,
            Some(level) if (-90.0..=-10.0).contains(level.get_ref()) => {
                Some(Surroundings { noise_dbfs: *level.get_ref(), seed: nth as u64 })
            }
            Some(level) => {
                let what = format!(
                    "`noise_dbfs` is {}: take −90 to −10, such as -50 for an office or -30 for a street",
                    level.get_ref()
                );
                return self.wrong(level.span().start, what);
            }
        };
        let mut steps = Vec::new();
        for step in &raw.steps {
            let from = steps.len();
            self.step(step, &mut steps)?;
            if steps.len() > STEPS_MAX {
                let what = format!("there are more than {STEPS_MAX} steps up to here");
                return self.wrong(step.span().start, what);
            }
            // Spoken one by one, so that what cannot be said is found with its line; the voice remembers the audio.
            voice.prepare(&steps[from..], None).map_err(|error| self.unsayable(step, &error))?;
        }
        let script =
            voice.prepare(&steps, surroundings).map_err(|error| self.meaning(at, error.to_string()))?;
        let usual = Manners::default();
        let time =
            |own: Option<Time>, common: Option<Time>, usual| own.or(common).map_or(usual, |time| time.0);
        let manners = Manners {
            quiet: time(raw.manners.quiet, common.quiet, usual.quiet),
            patience: time(raw.manners.patience, common.patience, usual.patience),
            linger: time(raw.manners.linger, common.linger, usual.linger),
        };
        let expect = raw.expect.into_iter().map(|(name, value)| (name, value.0)).collect();
        Ok(Variant { name: raw.name.into_inner(), weight, script, manners, expect })
    }

    fn step(&self, raw: &Spanned<RawStep>, steps: &mut Vec<Step>) -> Result<(), ScenarioError> {
        let at = raw.span().start;
        let step = raw.get_ref();
        let mut said = Vec::new();
        said.extend(step.say.clone().map(Step::Say));
        said.extend(step.wav.as_ref().map(|path| Step::Wav(self.folder.join(path))));
        said.extend(step.keys.clone().map(Step::Keys));
        said.extend(step.cough.filter(|cough| *cough).map(|_| Step::Cough));
        let times = match step.times.unwrap_or(1) {
            times @ 1..=STEPS_MAX => times,
            times => return self.wrong(at, format!("`times` is {times}: take 1 to {STEPS_MAX}")),
        };
        let said = match said.as_slice() {
            [] if step.pause.is_some() && step.barge_in_after.is_none() && step.times.is_none() => None,
            [said] => Some(said),
            [] => {
                let what =
                    "this step says nothing: give it one of `say`, `wav`, `keys` and `cough = true`".into();
                return self.wrong(at, what);
            }
            _ => {
                let what = "this step says two things at once: make two steps of it".into();
                return self.wrong(at, what);
            }
        };
        for _ in 0..times {
            steps.extend(step.pause.map(|time| Step::Pause(time.0)));
            steps.extend(step.barge_in_after.map(|time| Step::BargeIn(time.0)));
            steps.extend(said.cloned());
        }
        Ok(())
    }

    fn unsayable(&self, step: &Spanned<RawStep>, error: &CallerError) -> ScenarioError {
        self.meaning(step.span().start, error.to_string())
    }

    fn name(&self, name: &Spanned<String>) -> Result<(), ScenarioError> {
        let text = name.get_ref();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
            let what =
                format!("the name {text:?} is not one: take up to 64 of lower-case letters, figures and _");
            return self.wrong(name.span().start, what);
        }
        Ok(())
    }

    fn wrong<T>(&self, at: usize, what: String) -> Result<T, ScenarioError> {
        Err(self.meaning(at, what))
    }

    fn meaning(&self, at: usize, what: String) -> ScenarioError {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        ScenarioError::Meaning { file: self.file.into(), line, what }
    }
}

const _: () = assert!(sound::NOISE_SAMPLES.is_multiple_of(super::time::FRAME), "noise is whole frames");

#[cfg(test)]
mod tests {
    use super::super::script::Speech;
    use super::*;

    const SMALL: &str = r##"name = "small"
title = "Two kinds of callers"
agent = "table"

[manners]
patience = "3s"

[[caller]]
name = "brief"
weight = 3
steps = [
    { keys = "1" },
    { pause = "500ms", barge_in_after = "1s", keys = "2#", times = 2 },
    { pause = "4s" },
]
expect = { outcome = "reserved", guests = 4 }

[[caller]]
name = "noisy"
noise_dbfs = -45
manners = { linger = "1s" }
steps = [{ barge_in_after = "900ms", cough = true }, { wav = "yes.wav" }]
"##;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = offhook_codecs::wav::Writer::stereo(
            std::io::BufWriter::new(std::fs::File::create(folder.path().join("yes.wav")).unwrap()),
            8_000,
        )
        .unwrap();
        writer.write(&[4_000; 1_600]).unwrap();
        writer.finish().unwrap();
        folder
    }

    fn parse(text: &str) -> Result<CallerScenario, ScenarioError> {
        let folder = folder();
        CallerScenario::parse("file.toml", text, folder.path())
    }

    #[test]
    fn every_shipped_scenario_can_be_said() {
        for name in CallerScenario::shipped_names() {
            let scenario = CallerScenario::load(name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(scenario.name, name);
        }
        let titles: Vec<_> = CallerScenario::shipped().map(|(_, title)| title).collect();
        assert!(titles.iter().all(|title| !title.is_empty()), "{titles:?}");
    }

    #[test]
    fn the_example_of_the_readme_is_a_scenario() {
        let readme = include_str!("../../callers/README.md");
        let example = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let scenario = parse(example).unwrap_or_else(|error| panic!("{error}"));
        assert!(scenario.variants.len() >= 2);
    }

    #[test]
    fn a_file_becomes_scripts_manners_and_expectations() {
        let ms = Duration::from_millis;
        let scenario = parse(SMALL).unwrap();
        assert_eq!((scenario.name.as_str(), scenario.agent.as_deref()), ("small", Some("table")));
        let [brief, noisy] = scenario.variants.as_slice() else { panic!("two callers") };
        let items = &brief.script.items;
        let told: Vec<_> = items.iter().map(|item| (&*item.label, item.pause, item.barge_in_after)).collect();
        let again = ("2#", ms(500), Some(ms(1_000)));
        assert_eq!(told, [("1", ms(0), None), again, again]);
        assert_eq!(brief.script.last_pause, ms(4_000));
        assert_eq!((brief.weight, brief.manners.patience, brief.manners.linger), (3, ms(3_000), ms(2_000)));
        assert_eq!(brief.expect["guests"], "4");
        assert!(brief.script.noise.is_none() && noisy.script.noise.is_some());
        assert_eq!((noisy.manners.patience, noisy.manners.linger), (ms(3_000), ms(1_000)));
        assert!(!noisy.script.items[0].wants_answer && noisy.script.items[1].wants_answer);
        assert!(matches!(&noisy.script.items[1].speech, Speech::Audio(ulaw) if ulaw.len() == 800));
    }

    #[test]
    fn any_number_of_callers_has_its_share_of_each_kind() {
        let order = parse(SMALL).unwrap().order();
        assert_eq!(order, [0, 0, 1, 0]);
    }

    #[test]
    fn what_is_wrong_is_said_with_file_line_and_remedy() {
        for (from, to, wanted) in [
            ("title =", "titel =", &["file.toml", "line 2", "titel"][..]),
            ("name = \"small\"", "name = \"Small one\"", &["file.toml, line 1", "lower-case"]),
            ("title = \"Two kinds of callers\"", "title = \" \"", &["line 2", "who calls"]),
            ("agent = \"table\"", "agent = \"\"", &["line 3", "leave it out"]),
            ("\"3s\"", "\"3\"", &["line 6", "700ms, 1.5s or 2m"]),
            ("weight = 3", "weight = 0", &["line 10", "1 to 1000"]),
            ("{ keys = \"1\" }", "{ keys = \"1\", say = \"one\" }", &["line 12", "make two steps"]),
            ("{ keys = \"1\" }", "{ }", &["line 12", "`say`"]),
            ("{ keys = \"1\" }", "{ cough = false }", &["line 12", "says nothing"]),
            ("{ keys = \"1\" }", "{ keys = \"1x\" }", &["line 12", "no key X"]),
            ("{ keys = \"1\" }", "{ shout = \"1\" }", &["line 12", "shout"]),
            ("times = 2", "times = 0", &["line 13", "1 to 1000"]),
            ("guests = 4", "guests = [4]", &["line 16", "a text, a number, true or false"]),
            ("name = \"noisy\"", "name = \"brief\"", &["line 19", "twice"]),
            ("-45", "45", &["line 20", "-50 for an office"]),
            ("yes.wav", "no.wav", &["line 22", "no.wav"]),
        ] {
            let text = SMALL.replacen(from, to, 1);
            assert_ne!(text, SMALL, "{from}");
            let error = parse(&text).unwrap_err().to_string();
            for part in wanted {
                assert!(error.contains(part), "{to}: {part} is not in: {error}");
            }
        }
        let error = parse("name = \"small\"\ntitle = \"Nobody\"\n").unwrap_err().to_string();
        assert!(error.contains("line 1: nobody calls"), "{error}");
    }

    #[test]
    fn a_name_that_is_not_shipped_is_answered_with_those_that_are() {
        let error = CallerScenario::load("lead_qualifcation").unwrap_err().to_string();
        assert!(error.contains("lead_qualification, appointment_booking, barge_in_storm"), "{error}");
        let error = CallerScenario::load("./nowhere.toml").unwrap_err().to_string();
        assert!(error.contains("./nowhere.toml: cannot be read"), "{error}");
    }
}
