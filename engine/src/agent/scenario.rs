//! Scenario files: what the scripted agent says and asks, as data.
//!
//! A file is read once, checked whole, and then shared by all calls that it plays. What is wrong with it is said with
//! the file, the line and what to do; nothing in it can go wrong during a call. `engine/scenarios/README.md` tells how
//! to write one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use super::answer::{self, Choice, Form, Value};

/// Why a scenario cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
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
        /// The line, from 1: that of the question's `id` or of the outcome's `value`, where it belongs to one.
        line: usize,
        /// What is wrong, and what to do about it.
        what: String,
    },
}

/// A checked scenario: what the scripted agent says, asks and records.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) greeting: Vec<Line>,
    pub(super) attempts_max: u32,
    pub(super) silences_max: u32,
    pub(super) turns_max: u32,
    pub(super) phrases: Phrases,
    pub(super) questions: Vec<Question>,
    pub(super) outcomes: Vec<Outcome>,
}

#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) id: String,
    pub(super) ask: Vec<Line>,
    pub(super) form: Form,
    pub(super) accepted: Vec<Line>,
    pub(super) replies: BTreeMap<String, Vec<Line>>,
    pub(super) confirm: Vec<Line>,
    pub(super) reprompts: Vec<Vec<Line>>,
    pub(super) out_of_range: Vec<Line>,
    pub(super) when: Vec<(usize, Condition)>,
    pub(super) goto: BTreeMap<String, Goto>,
    pub(super) unanswered: Unanswered,
}

/// Where an answer leads, other than to the next question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goto {
    Question(usize),
    End,
}

/// What follows when a question was not answered after all attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unanswered {
    /// Goodbye: `outcome = unresolved`.
    #[default]
    Goodbye,
    /// Go on without an answer.
    Skip,
}

#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) value: String,
    pub(super) when: Vec<(usize, Condition)>,
    pub(super) say: Vec<Line>,
    goal: Option<Goal>,
}

/// What a call was for, where its outcome says that it was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The caller is a prospect.
    Qualification,
    /// The caller has an appointment.
    Appointment,
}

/// Sentences that every scenario needs; a file changes those that it names.
#[derive(Clone, Debug)]
pub(super) struct Phrases {
    pub(super) sorry: Vec<Line>,
    pub(super) ambiguous: Vec<Line>,
    pub(super) out_of_range: Vec<Line>,
    pub(super) silence: Vec<Line>,
    pub(super) wait: Vec<Line>,
    pub(super) again: Vec<Line>,
    pub(super) back: Vec<Line>,
    pub(super) skip: Vec<Line>,
    pub(super) confirm_help: Vec<Line>,
    pub(super) give_up: Vec<Line>,
    pub(super) operator: Vec<Line>,
    pub(super) goodbye: Vec<Line>,
}

/// The scenarios inside the binary.
const SHIPPED: [(&str, &str); 2] = [
    ("lead_qualification", include_str!("../../scenarios/lead_qualification.toml")),
    ("appointment_booking", include_str!("../../scenarios/appointment_booking.toml")),
];

impl Scenario {
    /// The outcome of a call that ended before its questions did.
    pub const UNRESOLVED: &'static str = "unresolved";

    /// Reads and checks the TOML `text`; `file` is what errors call it.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let raw: RawScenario = toml::from_str(text)
            .map_err(|error| ScenarioError::Syntax { file: file.into(), detail: error.to_string() })?;
        Check { file, text }.scenario(raw)
    }

    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Read { path: path.into(), source })?;
        Self::parse(&path.to_string_lossy(), &text)
    }

    /// The scenario of this name that comes with Offhook.
    pub fn shipped(name: &str) -> Option<Self> {
        let (file, text) = SHIPPED.iter().find(|(shipped, _)| *shipped == name)?;
        Some(Self::parse(file, text).expect("a test parses every scenario inside the binary"))
    }

    /// The names of all scenarios that come with Offhook.
    pub fn shipped_names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// Its name: lower-case letters, figures and `_`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is called in lists.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What a call with this recorded outcome reached; none if nothing that is counted.
    pub fn goal_of(&self, outcome: &str) -> Option<Goal> {
        self.outcomes.iter().find(|known| known.value == outcome)?.goal
    }

    /// The keys of all that it may record from the caller's answers, in the order of the questions.
    pub fn record_keys(&self) -> impl Iterator<Item = &str> {
        self.questions.iter().map(|question| question.id.as_str())
    }
}

/// What an answer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    OneOf(Vec<String>),
    Between { at_least: Option<u64>, at_most: Option<u64> },
}

impl Condition {
    pub(super) fn holds(&self, record: &str) -> bool {
        match self {
            Self::OneOf(values) => values.iter().any(|value| value == record),
            Self::Between { at_least, at_most } => record.parse::<u64>().is_ok_and(|number| {
                at_least.is_none_or(|least| number >= least) && at_most.is_none_or(|most| number <= most)
            }),
        }
    }
}

/// A sentence with places for answers: `{company_size} people, good.`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Answer(usize),
}

impl Line {
    /// The sentence with its answers in it, beginning with a capital; `None` if one of them was not given.
    pub(super) fn render<'a>(&self, answer: impl Fn(usize) -> Option<&'a Value>) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Answer(question) => text.push_str(&answer(*question)?.spoken),
            }
        }
        Some(answer::capitalised(&text))
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    name: Spanned<String>,
    title: String,
    greeting: RawLines,
    #[serde(default = "three")]
    attempts_max: u32,
    #[serde(default = "three")]
    silences_max: u32,
    #[serde(default = "sixty")]
    turns_max: u32,
    #[serde(default)]
    unanswered: Unanswered,
    #[serde(default)]
    phrases: RawPhrases,
    #[serde(default)]
    question: Vec<RawQuestion>,
    #[serde(default)]
    outcome: Vec<RawOutcome>,
}

fn three() -> u32 {
    3
}

fn sixty() -> u32 {
    60
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuestion {
    id: Spanned<String>,
    ask: RawLines,
    #[serde(default)]
    yes_no: bool,
    #[serde(default)]
    month: bool,
    day: Option<Vec<String>>,
    number: Option<RawNumber>,
    time: Option<RawTime>,
    choice: Option<Vec<RawChoice>>,
    #[serde(default)]
    accepted: RawLines,
    #[serde(default)]
    replies: BTreeMap<String, RawLines>,
    #[serde(default)]
    confirm: RawLines,
    #[serde(default)]
    reprompts: Vec<RawLines>,
    #[serde(default)]
    out_of_range: RawLines,
    #[serde(default)]
    when: BTreeMap<String, RawCondition>,
    #[serde(default)]
    goto: BTreeMap<String, String>,
    unanswered: Option<Unanswered>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNumber {
    min: u64,
    max: u64,
    #[serde(default)]
    units: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTime {
    first: String,
    last: String,
    every_minutes: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChoice {
    value: String,
    spoken: Option<String>,
    say: Vec<String>,
    #[serde(default)]
    also: Vec<String>,
    #[serde(default)]
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutcome {
    value: Spanned<String>,
    #[serde(default)]
    when: BTreeMap<String, RawCondition>,
    say: RawLines,
    counts_as: Option<Goal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPhrases {
    sorry: RawLines,
    ambiguous: RawLines,
    out_of_range: RawLines,
    silence: RawLines,
    wait: RawLines,
    again: RawLines,
    back: RawLines,
    skip: RawLines,
    confirm_help: RawLines,
    give_up: RawLines,
    operator: RawLines,
    goodbye: RawLines,
}

impl Default for RawPhrases {
    fn default() -> Self {
        let lines = |lines: &[&str]| RawLines(lines.iter().map(|line| (*line).into()).collect());
        Self {
            sorry: lines(&["Sorry, I did not get that."]),
            ambiguous: lines(&["I heard more than one answer."]),
            out_of_range: lines(&["I cannot take that answer."]),
            silence: lines(&["Are you still there?", "I cannot hear you."]),
            wait: lines(&["Take your time."]),
            again: lines(&["Let us try again."]),
            back: lines(&["All right."]),
            skip: lines(&["Never mind."]),
            confirm_help: lines(&["Please say yes or no.", "Or press one for yes, and two for no."]),
            give_up: lines(&["I am sorry, this is not working.", "Please try again later.", "Goodbye."]),
            operator: lines(&[
                "I cannot put you through.",
                "I have noted that you would like to speak to a person.",
                "Goodbye.",
            ]),
            goodbye: lines(&["Thank you for calling.", "Goodbye."]),
        }
    }
}

/// One sentence, or a list of them.
#[derive(Default)]
struct RawLines(Vec<String>);

impl<'de> Deserialize<'de> for RawLines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Strings("a sentence, or a list of sentences")).map(Self)
    }
}

struct Strings(&'static str);

impl<'de> Visitor<'de> for Strings {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(vec![text.into()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut strings = Vec::new();
        while let Some(string) = seq.next_element()? {
            strings.push(string);
        }
        Ok(strings)
    }
}

/// A value, a list of values, or `{ at_least = …, at_most = … }`.
struct RawCondition(Condition);

impl<'de> Deserialize<'de> for RawCondition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Between {
            at_least: Option<u64>,
            at_most: Option<u64>,
        }

        struct ConditionVisitor;

        impl<'de> Visitor<'de> for ConditionVisitor {
            type Value = Condition;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, a list of values, or `{ at_least = …, at_most = … }`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Condition, E> {
                Ok(Condition::OneOf(vec![text.into()]))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Condition, E> {
                Ok(Condition::OneOf(vec![number.to_string()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Condition, A::Error> {
                Strings("a list of values").visit_seq(seq).map(Condition::OneOf)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Condition, A::Error> {
                let between = Between::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Condition::Between { at_least: between.at_least, at_most: between.at_most })
            }
        }

        deserializer.deserialize_any(ConditionVisitor).map(Self)
    }
}

/// The file under check.
struct Check<'a> {
    file: &'a str,
    text: &'a str,
}

impl Check<'_> {
    fn scenario(&self, raw: RawScenario) -> Result<Scenario, ScenarioError> {
        let top = raw.name.span().start;
        if !is_name(raw.name.get_ref()) {
            return self.wrong(
                top,
                format!("`name = {:?}`: use lower-case letters, figures and `_`", raw.name.get_ref()),
            );
        }
        for (field, value) in [
            ("attempts_max", raw.attempts_max),
            ("silences_max", raw.silences_max),
            ("turns_max", raw.turns_max),
        ] {
            if value == 0 {
                return self
                    .wrong(top, format!("`{field} = 0` would end every call at once: use at least 1"));
            }
        }
        if raw.question.is_empty() {
            return self.wrong(top, "there is no `[[question]]`: write at least one".into());
        }
        let ids = self.ids(&raw.question)?;
        let forms = raw
            .question
            .iter()
            .map(|question| self.form(question))
            .collect::<Result<Vec<Form>, ScenarioError>>()?;
        let greeting = self.lines(top, "greeting", &raw.greeting, &[])?;
        let phrases = self.phrases(top, &raw.phrases)?;
        let outcomes = self.outcomes(top, raw.outcome, &ids, &forms)?;
        let questions = raw
            .question
            .into_iter()
            .zip(forms.iter())
            .enumerate()
            .map(|(index, (question, form))| {
                self.question(index, question, form.clone(), raw.unanswered, &ids, &forms)
            })
            .collect::<Result<_, ScenarioError>>()?;
        Ok(Scenario {
            name: raw.name.into_inner(),
            title: raw.title,
            greeting,
            attempts_max: raw.attempts_max,
            silences_max: raw.silences_max,
            turns_max: raw.turns_max,
            phrases,
            questions,
            outcomes,
        })
    }

    fn ids(&self, questions: &[RawQuestion]) -> Result<Vec<String>, ScenarioError> {
        let mut ids: Vec<String> = Vec::new();
        for question in questions {
            let (at, id) = (question.id.span().start, question.id.get_ref());
            if !is_name(id) {
                return self.wrong(at, format!("`id = {id:?}`: use lower-case letters, figures and `_`"));
            }
            if RESERVED.contains(&id.as_str()) {
                return self.wrong(at, format!("`id = {id:?}` has a meaning of its own: use another"));
            }
            if ids.contains(id) {
                return self.wrong(at, format!("question `{id}` is there twice: give each its own id"));
            }
            ids.push(id.clone());
        }
        Ok(ids)
    }

    fn form(&self, question: &RawQuestion) -> Result<Form, ScenarioError> {
        let (at, id) = (question.id.span().start, question.id.get_ref());
        let mut forms = Vec::new();
        if question.yes_no {
            forms.push(Form::yes_no());
        }
        if question.month {
            forms.push(answer::months());
        }
        if let Some(days) = &question.day {
            forms.push(self.days(at, id, days)?);
        }
        if let Some(number) = &question.number {
            forms.push(self.number(at, id, number)?);
        }
        if let Some(time) = &question.time {
            forms.push(self.time(at, id, time)?);
        }
        if let Some(choices) = &question.choice {
            forms.push(self.choices(at, id, choices)?);
        }
        match (forms.pop(), forms.pop()) {
            (Some(form), None) => Ok(form),
            (None, _) => self.wrong(
                at,
                format!(
                    "question `{id}` does not say how it is answered: give it one of `yes_no`, `number`, `time`, \
                     `day`, `month` or `[[question.choice]]`"
                ),
            ),
            _ => self.wrong(at, format!("question `{id}` is answered in two ways: keep one of them")),
        }
    }

    fn days(&self, at: usize, id: &str, days: &[String]) -> Result<Form, ScenarioError> {
        let mut choices: Vec<Choice> = Vec::new();
        for name in days {
            let Some(choice) = answer::day(name) else {
                return self.wrong(
                    at,
                    format!("question `{id}`: {name:?} is no day: use {}", answer::DAYS.join(", ")),
                );
            };
            if choices.contains(&choice) {
                return self.wrong(at, format!("question `{id}`: {name:?} is there twice"));
            }
            choices.push(choice);
        }
        if choices.is_empty() {
            return self.wrong(at, format!("question `{id}`: `day` is empty: list the days that it takes"));
        }
        Ok(Form::Choices(choices))
    }

    fn number(&self, at: usize, id: &str, number: &RawNumber) -> Result<Form, ScenarioError> {
        if number.min > number.max || number.max > 999_999 {
            return self
                .wrong(at, format!("question `{id}`: a number goes from `min` to `max`, at most 999999"));
        }
        self.speakable(at, id, &number.units)?;
        Ok(Form::Number { min: number.min, max: number.max, units: number.units.clone() })
    }

    fn time(&self, at: usize, id: &str, time: &RawTime) -> Result<Form, ScenarioError> {
        let (Some(first), Some(last)) = (minutes(&time.first), minutes(&time.last)) else {
            return self
                .wrong(at, format!("question `{id}`: write `first` and `last` as 24-hour times: \"09:00\""));
        };
        if first > last || last - first >= 720 {
            return self.wrong(
                at,
                format!(
                    "question `{id}`: `last` comes after `first` by less than twelve hours, so that \"ten\" means \
                     one time"
                ),
            );
        }
        if !(5..=720).contains(&time.every_minutes) {
            return self
                .wrong(at, format!("question `{id}`: `every_minutes` is from 5 (a tight grammar) to 720"));
        }
        Ok(Form::Time { first, last, every: time.every_minutes })
    }

    fn choices(&self, at: usize, id: &str, raw: &[RawChoice]) -> Result<Form, ScenarioError> {
        let mut choices: Vec<Choice> = Vec::new();
        for choice in raw {
            let value = &choice.value;
            if value.is_empty() || choice.say.is_empty() {
                return self.wrong(
                    at,
                    format!("question `{id}`: a choice needs a `value` and at least one way to `say` it"),
                );
            }
            self.speakable(at, id, &choice.say)?;
            self.speakable(at, id, &choice.also)?;
            let is_key = choice.key.bytes().all(|b| b.is_ascii_digit()) && choice.key.len() <= 8;
            if !is_key {
                return self.wrong(
                    at,
                    format!("question `{id}`, choice `{value}`: `key` is one to eight figures; `*` and `#` are taken"),
                );
            }
            let choice = Choice {
                value: value.clone(),
                spoken: choice.spoken.clone().unwrap_or_else(|| choice.say[0].clone()),
                say: choice.say.clone(),
                also: choice.also.clone(),
                key: choice.key.clone(),
            };
            for other in &choices {
                let clash = if other.value == *value {
                    Some("the same `value`".to_owned())
                } else if !choice.key.is_empty() && other.key == choice.key {
                    Some(format!("the same `key`, {}", choice.key))
                } else {
                    let form = choice.forms().find(|form| other.forms().any(|other| other == *form));
                    form.map(|form| format!("{:?} in common", form.join(" ")))
                };
                if let Some(clash) = clash {
                    return self.wrong(
                        at,
                        format!("question `{id}`: choices `{}` and `{value}` have {clash}", other.value),
                    );
                }
            }
            choices.push(choice);
        }
        if choices.is_empty() {
            return self.wrong(at, format!("question `{id}` has no choices: write at least one"));
        }
        Ok(Form::Choices(choices))
    }

    /// Checks that a recogniser's dictionary can hold all of `forms`.
    fn speakable(&self, at: usize, id: &str, forms: &[String]) -> Result<(), ScenarioError> {
        let is_word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'\'')
        };
        match forms.iter().find(|form| !form.split(' ').all(is_word)) {
            None => Ok(()),
            Some(form) => self.wrong(
                at,
                format!(
                    "question `{id}`: {form:?} cannot be put into a grammar: write lower-case words, numbers as \
                     words, single spaces, no punctuation"
                ),
            ),
        }
    }

    fn question(
        &self,
        index: usize,
        raw: RawQuestion,
        form: Form,
        unanswered: Unanswered,
        ids: &[String],
        forms: &[Form],
    ) -> Result<Question, ScenarioError> {
        let (at, id) = (raw.id.span().start, raw.id.get_ref().clone());
        let (before, with_this) = (&ids[..index], &ids[..=index]);
        let lines = |field: &str, raw: &RawLines, ids: &[String]| {
            self.lines(at, &format!("question `{id}`, `{field}`"), raw, ids)
        };
        let ask = lines("ask", &raw.ask, before)?;
        if ask.is_empty() {
            return self.wrong(at, format!("question `{id}`: `ask` is empty"));
        }
        let reprompts = raw
            .reprompts
            .iter()
            .map(|step| lines("reprompts", step, before))
            .collect::<Result<Vec<_>, ScenarioError>>()?;
        let mut replies = BTreeMap::new();
        for (value, reply) in &raw.replies {
            self.recorded(at, &format!("question `{id}`, `replies`"), &form, value)?;
            replies.insert(value.clone(), lines("replies", reply, with_this)?);
        }
        let mut goto = BTreeMap::new();
        for (value, target) in &raw.goto {
            self.recorded(at, &format!("question `{id}`, `goto`"), &form, value)?;
            let target = match ids.iter().position(|id| id == target) {
                Some(question) => Goto::Question(question),
                None if target == "end" => Goto::End,
                None => {
                    return self.wrong(
                        at,
                        format!(
                            "question `{id}`, `goto`: there is no question `{target}`: name one, or \"end\""
                        ),
                    );
                }
            };
            goto.insert(value.clone(), target);
        }
        Ok(Question {
            ask,
            accepted: lines("accepted", &raw.accepted, with_this)?,
            replies,
            confirm: lines("confirm", &raw.confirm, with_this)?,
            reprompts,
            out_of_range: lines("out_of_range", &raw.out_of_range, before)?,
            when: self.conditions(at, &format!("question `{id}`"), raw.when, before, forms)?,
            goto,
            unanswered: raw.unanswered.unwrap_or(unanswered),
            form,
            id,
        })
    }

    fn outcomes(
        &self,
        top: usize,
        raw: Vec<RawOutcome>,
        ids: &[String],
        forms: &[Form],
    ) -> Result<Vec<Outcome>, ScenarioError> {
        let mut outcomes = Vec::new();
        let count = raw.len();
        for (index, outcome) in raw.into_iter().enumerate() {
            let (at, value) = (outcome.value.span().start, outcome.value.into_inner());
            if value.is_empty() {
                return self.wrong(at, "an outcome needs a `value`".into());
            }
            let is_last = index + 1 == count;
            if outcome.when.is_empty() != is_last {
                return self.wrong(
                    at,
                    format!(
                        "outcome `{value}`: the last outcome, and it alone, has no `when`: it takes what no other takes"
                    ),
                );
            }
            let place = format!("outcome `{value}`");
            outcomes.push(Outcome {
                when: self.conditions(at, &place, outcome.when, ids, forms)?,
                say: self.lines(at, &format!("{place}, `say`"), &outcome.say, ids)?,
                goal: outcome.counts_as,
                value,
            });
        }
        if outcomes.is_empty() {
            return self.wrong(top, "there is no `[[outcome]]`: write at least one, without `when`".into());
        }
        Ok(outcomes)
    }

    fn conditions(
        &self,
        at: usize,
        place: &str,
        raw: BTreeMap<String, RawCondition>,
        ids: &[String],
        forms: &[Form],
    ) -> Result<Vec<(usize, Condition)>, ScenarioError> {
        let mut conditions = Vec::new();
        for (id, RawCondition(condition)) in raw {
            let Some(question) = ids.iter().position(|known| *known == id) else {
                return self.wrong(
                    at,
                    format!("{place}, `when`: there is no question `{id}` before this: name an earlier one"),
                );
            };
            let place = format!("{place}, `when`, `{id}`");
            match &condition {
                Condition::OneOf(values) => {
                    if values.is_empty() {
                        return self.wrong(at, format!("{place}: the list is empty, so it never holds"));
                    }
                    for value in values {
                        self.recorded(at, &place, &forms[question], value)?;
                    }
                }
                Condition::Between { at_least: None, at_most: None } => {
                    return self.wrong(at, format!("{place}: give `at_least`, `at_most` or both"));
                }
                Condition::Between { .. } if !forms[question].is_numeric() => {
                    return self.wrong(
                        at,
                        format!(
                            "{place}: its answers are not numbers: compare with a value, or a list of them"
                        ),
                    );
                }
                Condition::Between { .. } => {}
            }
            conditions.push((question, condition));
        }
        Ok(conditions)
    }

    fn recorded(&self, at: usize, place: &str, form: &Form, value: &str) -> Result<(), ScenarioError> {
        if form.records(value) {
            return Ok(());
        }
        self.wrong(
            at,
            format!("{place}: {value:?} is never recorded: use a value that the question can have"),
        )
    }

    fn phrases(&self, top: usize, raw: &RawPhrases) -> Result<Phrases, ScenarioError> {
        let lines = |field: &str, raw: &RawLines| self.lines(top, &format!("phrases, `{field}`"), raw, &[]);
        Ok(Phrases {
            sorry: lines("sorry", &raw.sorry)?,
            ambiguous: lines("ambiguous", &raw.ambiguous)?,
            out_of_range: lines("out_of_range", &raw.out_of_range)?,
            silence: lines("silence", &raw.silence)?,
            wait: lines("wait", &raw.wait)?,
            again: lines("again", &raw.again)?,
            back: lines("back", &raw.back)?,
            skip: lines("skip", &raw.skip)?,
            confirm_help: lines("confirm_help", &raw.confirm_help)?,
            give_up: lines("give_up", &raw.give_up)?,
            operator: lines("operator", &raw.operator)?,
            goodbye: lines("goodbye", &raw.goodbye)?,
        })
    }

    fn lines(
        &self,
        at: usize,
        place: &str,
        raw: &RawLines,
        ids: &[String],
    ) -> Result<Vec<Line>, ScenarioError> {
        raw.0.iter().map(|text| self.line(at, place, text, ids)).collect()
    }

    fn line(&self, at: usize, place: &str, text: &str, ids: &[String]) -> Result<Line, ScenarioError> {
        if !text.contains(char::is_alphanumeric) {
            return self.wrong(at, format!("{place}: {text:?} is no sentence: there is nothing to say"));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((head, tail)) = rest.split_once('{') {
            let Some((id, tail)) = tail.split_once('}') else {
                return self.wrong(at, format!("{place}: {text:?} has a `{{` without its `}}`"));
            };
            let Some(question) = ids.iter().position(|known| known == id) else {
                return self.wrong(
                    at,
                    format!("{place}: there is no answer `{id}` yet: name an earlier question, or none"),
                );
            };
            if !head.is_empty() {
                pieces.push(Piece::Text(head.into()));
            }
            pieces.push(Piece::Answer(question));
            rest = tail;
        }
        if rest.contains('}') {
            return self.wrong(at, format!("{place}: {text:?} has a `}}` without its `{{`"));
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Line(pieces))
    }

    fn wrong<T>(&self, at: usize, what: String) -> Result<T, ScenarioError> {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Err(ScenarioError::Meaning { file: self.file.into(), line, what })
    }
}

/// What the agent records by itself, and the target of a `goto` that is no question.
const RESERVED: [&str; 3] = ["outcome", "operator_requested", "end"];

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Minutes since midnight of `09:00`.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let part = |part: &str| -> Option<u16> {
        ((1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse().ok())
            .flatten()
    };
    let (hour, minute) = (part(hour)?, part(minute)?);
    (hour < 24 && minute < 60 && text.len() >= 4).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
name = "small"
title = "Small"
greeting = "Hello."

[[question]]
id = "size"
ask = "How many?"
number = { min = 1, max = 500 }
accepted = "{size}, good."

[[question]]
id = "colour"
ask = ["Which colour?", "Red, or blue?"]
when = { size = { at_least = 10 } }
[[question.choice]]
value = "red"
say = ["red"]
key = "1"
[[question.choice]]
value = "blue"
say = ["blue"]
key = "2"

[[outcome]]
value = "large"
when = { size = { at_least = 100 }, colour = ["red", "blue"] }
say = "A large one in {colour}."

[[outcome]]
value = "other"
say = ["Thank you.", "Goodbye."]
"#;

    fn error_of(text: &str) -> String {
        Scenario::parse("file.toml", text).expect_err("it is malformed").to_string()
    }

    #[test]
    fn every_shipped_scenario_parses_under_its_own_name() {
        let names: Vec<&str> = Scenario::shipped_names().collect();
        assert_eq!(names, ["lead_qualification", "appointment_booking"]);
        for name in names {
            let scenario = Scenario::shipped(name).expect("it is shipped");
            assert_eq!(scenario.name(), name);
            assert!(!scenario.title().is_empty());
        }
        assert!(Scenario::shipped("no_such").is_none());
    }

    #[test]
    fn an_outcome_says_what_it_counts_as() {
        let goal = |name: &str, outcome: &str| Scenario::shipped(name).unwrap().goal_of(outcome);
        assert_eq!(goal("lead_qualification", "qualified"), Some(Goal::Qualification));
        assert_eq!(goal("lead_qualification", "follow_up"), None);
        assert_eq!(goal("lead_qualification", "no_such"), None);
        assert_eq!(goal("appointment_booking", "appointment_booked"), Some(Goal::Appointment));
        let wrong = SMALL.replace("value = \"other\"", "value = \"other\"\ncounts_as = \"sale\"");
        let text = error_of(&wrong);
        assert!(text.contains("sale") && text.contains("appointment"), "{text}");
    }

    #[test]
    fn the_example_of_the_readme_parses() {
        let readme = include_str!("../../scenarios/README.md");
        let example =
            readme.split("```").nth(1).and_then(|block| block.strip_prefix("toml")).expect("it is there");
        let scenario = Scenario::parse("README.md", example).expect("it is well formed");
        assert_eq!(scenario.record_keys().collect::<Vec<_>>(), ["guests", "children"]);
    }

    #[test]
    fn a_small_scenario_is_enough() {
        let scenario = Scenario::parse("file.toml", SMALL).expect("it is well formed");
        assert_eq!(scenario.record_keys().collect::<Vec<_>>(), ["size", "colour"]);
        assert_eq!(scenario.attempts_max, 3);
        assert_eq!(scenario.questions[0].unanswered, Unanswered::Goodbye);
    }

    #[test]
    fn what_is_wrong_is_said_with_file_line_and_remedy() {
        let table: &[(&str, &str, &[&str])] = &[
            ("title = \"Small\"", "titel = \"Small\"", &["file.toml", "line 3", "titel"]),
            ("max = 500", "max = 500, step = 2", &["line 9", "step"]),
            ("greeting = \"Hello.\"", "greeting = 7", &["line 4", "a sentence"]),
            ("greeting = \"Hello.\"", "", &["greeting"]),
            ("name = \"small\"", "name = \"Small One\"", &["file.toml, line 2", "lower-case"]),
            ("title = \"Small\"", "title = \"Small\"\nattempts_max = 0", &["line 2", "at least 1"]),
            ("id = \"colour\"", "id = \"size\"", &["line 13", "`size` is there twice"]),
            ("id = \"colour\"", "id = \"outcome\"", &["line 13", "use another"]),
            ("id = \"colour\"", "id = \"Colour\"", &["line 13", "lower-case"]),
            ("{ size = { at_least = 10 } }", "{ sise = \"1\" }", &["line 13", "`sise`", "earlier"]),
            ("{ size = { at_least = 10 } }", "{ colour = \"red\" }", &["line 13", "earlier"]),
            ("{ size = { at_least = 10 } }", "{ size = {} }", &["`at_least`, `at_most` or both"]),
            ("{ size = { at_least = 10 } }", "{ size = { least = 10 } }", &["line 15", "least"]),
            ("{ size = { at_least = 10 } }", "{ size = [] }", &["list is empty"]),
            ("{ size = { at_least = 10 } }", "{ size = 501 }", &["\"501\" is never recorded"]),
            ("colour = [\"red\", \"blue\"]", "colour = \"green\"", &["\"green\" is never recorded"]),
            ("colour = [\"red\", \"blue\"]", "colour = { at_least = 1 }", &["not numbers"]),
            ("number = { min = 1, max = 500 }", "", &["line 7", "does not say how it is answered"]),
            (
                "number = { min = 1, max = 500 }",
                "number = { min = 1, max = 5 }\nyes_no = true",
                &["two ways"],
            ),
            ("max = 500", "max = 1000000", &["at most 999999"]),
            ("min = 1", "min = 501", &["from `min` to `max`"]),
            ("max = 500", "max = 500, units = [\"People\"]", &["\"People\"", "lower-case words"]),
            ("say = [\"red\"]", "say = [\"red 1\"]", &["line 13", "\"red 1\"", "numbers as words"]),
            ("say = [\"red\"]", "say = [\"red | <blue>\"]", &["cannot be put into a grammar"]),
            ("say = [\"red\"]", "say = [\"\"]", &["cannot be put into a grammar"]),
            ("say = [\"red\"]", "say = []", &["at least one way"]),
            ("say = [\"blue\"]", "say = [\"red\"]", &["\"red\" in common"]),
            ("value = \"blue\"", "value = \"red\"", &["the same `value`"]),
            ("key = \"2\"", "key = \"1\"", &["the same `key`, 1"]),
            ("key = \"2\"", "key = \"#\"", &["`*` and `#` are taken"]),
            ("ask = \"How many?\"", "ask = []", &["`ask` is empty"]),
            ("ask = \"How many?\"", "ask = \"?\"", &["nothing to say"]),
            ("ask = \"How many?\"", "ask = \"How many, {colour}?\"", &["no answer `colour` yet"]),
            ("{size}, good.", "{size, good.", &["without its `}`"]),
            ("{size}, good.", "size}, good.", &["without its `{`"]),
            ("accepted = ", "goto = { 7 = \"nowhere\" }\naccepted = ", &["no question `nowhere`", "\"end\""]),
            ("accepted = ", "goto = { seven = \"end\" }\naccepted = ", &["\"seven\" is never recorded"]),
            ("accepted = ", "replies = { 0 = \"Oh.\" }\naccepted = ", &["\"0\" is never recorded"]),
            ("accepted = ", "unanswered = \"shout\"\naccepted = ", &["line 10", "shout"]),
            (
                "when = { size = { at_least = 100 }, colour = [\"red\", \"blue\"] }",
                "",
                &["`large`", "no `when`"],
            ),
            ("greeting = \"Hello.\"", "greeting = \"Hello.\"\nphrases.sorry = \"{size}?\"", &["`sorry`"]),
        ];
        for (from, to, expected) in table {
            assert!(SMALL.contains(from), "{from}");
            let error = error_of(&SMALL.replacen(from, to, 1));
            for part in *expected {
                assert!(error.contains(part), "{to:?} gives {error:?}, without {part:?}");
            }
        }
    }

    #[test]
    fn a_scenario_needs_questions_and_outcomes() {
        let head = "name = \"a\"\ntitle = \"A\"\ngreeting = \"Hello.\"\n";
        let question = "[[question]]\nid = \"q\"\nask = \"Well?\"\n";
        assert!(error_of(head).contains("no `[[question]]`"));
        assert!(error_of(&format!("{head}{question}yes_no = true\n")).contains("no `[[outcome]]`"));
        let with = |form: &str| error_of(&format!("{head}{question}{form}\n"));
        assert!(with("choice = []").contains("no choices"));
        assert!(with("day = []").contains("`day` is empty"));
        assert!(with("day = [\"someday\"]").contains("\"someday\" is no day"));
        assert!(with("day = [\"monday\", \"monday\"]").contains("there twice"));
        let time = |first: &str, last: &str, every: u32| {
            with(&format!("time = {{ first = \"{first}\", last = \"{last}\", every_minutes = {every} }}"))
        };
        assert!(time("9", "17:00", 30).contains("24-hour times"));
        assert!(time("09:00", "24:00", 30).contains("24-hour times"));
        assert!(time("09:00", "21:00", 30).contains("less than twelve hours"));
        assert!(time("17:00", "09:00", 30).contains("less than twelve hours"));
        assert!(time("09:00", "17:00", 1).contains("every_minutes"));
        assert!(error_of("this is not toml").contains("line 1"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Scenario::load(Path::new("no/such/file.toml")).expect_err("there is none");
        assert!(error.to_string().starts_with("no/such/file.toml: cannot be read"), "{error}");
    }

    #[test]
    fn a_sentence_without_its_answer_is_not_said() {
        let scenario = Scenario::parse("file.toml", SMALL).expect("it is well formed");
        let line = &scenario.questions[0].accepted[0];
        let value = Value { record: "200".into(), spoken: "two hundred".into() };
        assert_eq!(line.render(|_| Some(&value)).as_deref(), Some("Two hundred, good."));
        assert_eq!(line.render(|_| None), None);
    }
}
