//! How a question may be answered: what it sounds like, how it is typed, and what is made of it.
//!
//! Three forms are enough: one of a few choices (yes or no, weekdays and months are choices), a number, a time of day.
//! Each knows its grammar, so that a recogniser hears only what the form can read, and reads more than its grammar
//! says, because a recogniser without grammars gives more.

use super::Expectation;
use super::words::{self, SMALL, TENS};

/// What a question accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One of these.
    Choices(Vec<Choice>),
    /// A whole number from `min` to `max`; `units` are words that may follow it: `people`.
    Number { min: u64, max: u64, units: Vec<String> },
    /// A time of day, in minutes since midnight: `first`, and every `every` minutes until `last`. Less than twelve
    /// hours, so that `ten` means one time.
    Time { first: u16, last: u16, every: u16 },
}

/// One of the answers to choose from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// What is recorded.
    pub(super) value: String,
    /// How the agent says it.
    pub(super) spoken: String,
    /// How the caller says it, lower-case words.
    pub(super) say: Vec<String>,
    /// Ways to say it that are too many for a grammar.
    pub(super) also: Vec<String>,
    /// How it is typed; empty if it cannot be.
    pub(super) key: String,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// As it is recorded.
    pub(super) record: String,
    /// As the agent says it.
    pub(super) spoken: String,
}

/// What became of something said or typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// An answer.
    Answer(Value),
    /// An answer in kind, but not one that is offered.
    OutOfRange,
    /// More than one answer.
    Ambiguous,
    /// No answer at all.
    Nothing,
}

/// What may be said at any time, beside an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Repeat,
    Wait,
    GoBack,
    Operator,
    Goodbye,
}

/// In grammars, and understood in text.
const COMMANDS: [(Command, &[&str]); 4] = [
    (Command::Repeat, &["repeat that", "repeat", "what", "pardon"]),
    (Command::Operator, &["operator"]),
    (Command::Goodbye, &["goodbye"]),
    (Command::GoBack, &["go back"]),
];

/// Understood in text alone: a grammar grows loose by them.
const COMMANDS_IN_TEXT: [(Command, &[&str]); 5] = [
    (
        Command::Repeat,
        &["say that again", "again please", "come again", "one more time", "hello", "hi", "sorry"],
    ),
    (Command::Operator, &["real person", "human", "an agent"]),
    (Command::Goodbye, &["bye", "good bye", "hang up"]),
    (Command::GoBack, &["that's wrong", "that is wrong", "that's not right"]),
    (
        Command::Wait,
        &["one moment", "just a moment", "one second", "wait", "hold on", "just a minute", "one minute"],
    ),
];

impl Command {
    /// The command that all of `words` are.
    pub(super) fn whole(words: &[String]) -> Option<Self> {
        let text = words.join(" ");
        let text = text.strip_suffix(" please").unwrap_or(&text);
        Self::all().find(|(_, phrase)| *phrase == text).map(|(command, _)| command)
    }

    /// The command that stands somewhere in `words`: longer phrases are told from answers better than shorter ones.
    pub(super) fn within(words: &[String]) -> Option<Self> {
        Self::all()
            .filter(|(_, phrase)| {
                !matches!(*phrase, "what" | "sorry" | "hi" | "hello") && contains(words, phrase)
            })
            .max_by_key(|(_, phrase)| phrase.len())
            .map(|(command, _)| command)
    }

    fn all() -> impl Iterator<Item = (Self, &'static str)> {
        COMMANDS
            .iter()
            .chain(&COMMANDS_IN_TEXT)
            .flat_map(|(command, phrases)| phrases.iter().map(|phrase| (*command, *phrase)))
    }
}

fn contains(words: &[String], phrase: &str) -> bool {
    let count = phrase.split(' ').count();
    words.windows(count).any(|window| phrase.split(' ').eq(window))
}

impl Form {
    /// Yes or no, by voice or by the keys 1 and 2.
    pub(super) fn yes_no() -> Self {
        let choice = |value: &str, key: &str, say: &[&str], also: &[&str]| Choice {
            value: value.into(),
            spoken: value.into(),
            say: say.iter().map(|form| (*form).into()).collect(),
            also: also.iter().map(|form| (*form).into()).collect(),
            key: key.into(),
        };
        Self::Choices(vec![
            choice(
                "yes",
                "1",
                &["yes", "yeah", "yes please", "correct"],
                &["yep", "yup", "sure", "right", "okay", "ok", "of course", "absolutely", "definitely"],
            ),
            choice(
                "no",
                "2",
                &["no", "nope", "no thanks", "no thank you"],
                &["nah", "wrong", "incorrect", "not right", "not correct", "not really", "not interested"],
            ),
        ])
    }

    /// What is made of `words`.
    pub(super) fn hear(&self, words: &[String]) -> Heard {
        match self {
            Self::Choices(choices) => hear_choice(choices, words),
            Self::Number { min, max, .. } => match only(words::numbers(words)) {
                Only::One(number) => number_answer(number, *min, *max),
                Only::None if *min == 0 && words.iter().any(|word| word == "none") => {
                    number_answer(0, 0, *max)
                }
                Only::None => Heard::Nothing,
                Only::Many => Heard::Ambiguous,
            },
            Self::Time { first, last, every } => match only(words::times(words)) {
                Only::One(time) => time_answer(time, *first, *last, *every),
                Only::None => Heard::Nothing,
                Only::Many => Heard::Ambiguous,
            },
        }
    }

    /// What is made of `keys`, `0`-`9`.
    pub(super) fn keyed(&self, keys: &str) -> Heard {
        match self {
            Self::Choices(choices) => choices
                .iter()
                .find(|choice| !choice.key.is_empty() && choice.key == keys)
                .map_or(Heard::Nothing, |choice| Heard::Answer(choice.answer())),
            Self::Number { min, max, .. } => {
                keys.parse().map_or(Heard::Nothing, |number| number_answer(number, *min, *max))
            }
            Self::Time { first, last, every } => words::SaidTime::from_figures(keys)
                .map_or(Heard::Nothing, |time| time_answer(time, *first, *last, *every)),
        }
    }

    /// How many keys the longest answer takes.
    pub(super) fn keys_max(&self) -> u8 {
        let keys = match self {
            Self::Choices(choices) => choices.iter().map(|choice| choice.key.len()).max().unwrap_or(0),
            Self::Number { max, .. } => max.to_string().len(),
            Self::Time { .. } => 4,
        };
        // `*` repeats the question, also one that no key answers.
        u8::try_from(keys).unwrap_or(u8::MAX).max(1)
    }

    /// What the recogniser should expect: an answer or a command. `go_back`: there is an answer to go back to.
    pub(super) fn expectation(&self, go_back: bool) -> Expectation {
        let mut commands: Vec<&str> = COMMANDS
            .iter()
            .filter(|(command, _)| go_back || *command != Command::GoBack)
            .flat_map(|(_, phrases)| phrases.iter().copied())
            .collect();
        if go_back && !self.takes_no() {
            commands.push("no");
        }
        let (value, words_max) = match self {
            Self::Choices(choices) => {
                let forms: Vec<&str> =
                    choices.iter().flat_map(|choice| choice.say.iter().map(String::as_str)).collect();
                commands.retain(|command| !forms.contains(command));
                (format!("<value> = {};", forms.join(" | ")), most_words(&forms))
            }
            Self::Number { min, max, units } => number_rules(*min, *max, units),
            Self::Time { first, last, every } => time_rules(*first, *last, *every),
        };
        let words_max = words_max.max(most_words(&commands));
        Expectation {
            grammar: format!(
                "public <answer> = <value> | <command>;\n{value}\n<command> = {};\n",
                commands.join(" | ")
            ),
            speech_ms_max: SPEECH_MS_PER_WORD * words_max + SPEECH_MS_MARGIN,
        }
    }

    /// True if `no` is an answer of its own, rather than a protest against what was understood before.
    pub(super) fn takes_no(&self) -> bool {
        matches!(self, Self::Choices(choices) if choices.iter().any(|c| c.say.iter().any(|form| form == "no")))
    }

    /// True if `value` can be recorded.
    pub(super) fn records(&self, value: &str) -> bool {
        match self {
            Self::Choices(choices) => choices.iter().any(|choice| choice.value == value),
            Self::Number { min, max, .. } => value
                .parse()
                .is_ok_and(|number: u64| (*min..=*max).contains(&number) && number.to_string() == value),
            Self::Time { first, last, every } => {
                (*first..=*last).step_by(usize::from(*every)).any(|minutes| clock(minutes) == value)
            }
        }
    }

    /// True if all that is recorded are numbers, which can be compared.
    pub(super) fn is_numeric(&self) -> bool {
        match self {
            Self::Choices(choices) => choices.iter().all(|choice| choice.value.parse::<u64>().is_ok()),
            Self::Number { .. } => true,
            Self::Time { .. } => false,
        }
    }
}

/// Slow telephone speech: 150 words a minute are 400 ms each, and some are longer.
const SPEECH_MS_PER_WORD: u32 = 450;
/// For a hesitation in front.
const SPEECH_MS_MARGIN: u32 = 500;

impl Choice {
    /// All that it may be said as, with numbers in figures. None is empty.
    pub(super) fn forms(&self) -> impl Iterator<Item = Vec<String>> {
        let forms = self.say.iter().chain(&self.also).map(|form| words::in_figures(&words::words(form)));
        forms.filter(|form| !form.is_empty())
    }

    fn answer(&self) -> Value {
        Value { record: self.value.clone(), spoken: self.spoken.clone() }
    }
}

enum Only<T> {
    None,
    One(T),
    Many,
}

fn only<T: PartialEq>(found: Vec<T>) -> Only<T> {
    let mut found = found.into_iter();
    match found.next() {
        None => Only::None,
        Some(first) if found.all(|other| other == first) => Only::One(first),
        Some(_) => Only::Many,
    }
}

/// The choice whose form stands in `words`. A form within a longer one (`ten thousand` in `under ten thousand`) counts
/// for nothing, and so does one behind a `not`.
fn hear_choice(choices: &[Choice], words: &[String]) -> Heard {
    let words = words::in_figures(words);
    let mut spans: Vec<(usize, usize, usize)> = Vec::new();
    for (index, choice) in choices.iter().enumerate() {
        for form in choice.forms() {
            for (start, window) in words.windows(form.len()).enumerate() {
                let denied = start > 0 && matches!(words[start - 1].as_str(), "not" | "isn't" | "don't");
                if !denied && window == form {
                    spans.push((start, start + form.len(), index));
                }
            }
        }
    }
    let within = |inner: &(usize, usize, usize), outer: &(usize, usize, usize)| {
        outer.0 <= inner.0 && inner.1 <= outer.1 && outer.1 - outer.0 > inner.1 - inner.0
    };
    let widest: Vec<usize> = spans
        .iter()
        .filter(|span| !spans.iter().any(|other| within(span, other)))
        .map(|span| span.2)
        .collect();
    match only(widest) {
        Only::None => Heard::Nothing,
        Only::One(index) => Heard::Answer(choices[index].answer()),
        Only::Many => Heard::Ambiguous,
    }
}

fn number_answer(number: u64, min: u64, max: u64) -> Heard {
    if (min..=max).contains(&number) {
        Heard::Answer(Value { record: number.to_string(), spoken: words::spoken_number(number) })
    } else {
        Heard::OutOfRange
    }
}

fn time_answer(time: words::SaidTime, first: u16, last: u16, every: u16) -> Heard {
    let slot = time
        .readings()
        .find(|minutes| (first..=last).contains(minutes) && (minutes - first).is_multiple_of(every.max(1)));
    slot.map_or(Heard::OutOfRange, |minutes| {
        Heard::Answer(Value { record: clock(minutes), spoken: words::spoken_time(minutes) })
    })
}

/// `14:30`.
fn clock(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn most_words(phrases: &[&str]) -> u32 {
    phrases.iter().map(|phrase| phrase.split(' ').count() as u32).max().unwrap_or(1)
}

/// Few numbers are listed. Many are built of hundreds and thousands; above a thousand they are said in hundreds, since a
/// grammar of every number to a million is a loose one: the odd ones can be typed.
fn number_rules(min: u64, max: u64, units: &[String]) -> (String, u32) {
    const LISTED_MAX: u64 = 60;
    let mut rules = Vec::new();
    let (number, mut words_max) = if max - min < LISTED_MAX {
        let mut said: Vec<String> = (min..=max).map(words::spoken_number).collect();
        if min == 0 {
            said.push("none".into());
        }
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        (said.join(" | "), most_words(&said))
    } else {
        rules.push(format!("<unit> = {};", SMALL[1..10].join(" | ")));
        rules.push(format!("<small> = <unit> | {};", SMALL[10..].join(" | ")));
        rules.push(format!("<tens> = ({}) [<unit>];", TENS.join(" | ")));
        let mut number = vec!["<small>", "<tens>"];
        let mut words_max = 2;
        if max >= 100 {
            rules.push("<hundreds> = (a | <unit>) hundred [[and] (<small> | <tens>)];".into());
            number.push("<hundreds>");
            words_max = 5;
        }
        if max >= 1_000 {
            let (thousands, most) = match max {
                ..20_000 => ("(a | <small>)", 5),
                20_000..100_000 => ("(a | <small> | <tens>)", 5),
                100_000.. => ("(a | <small> | <tens> | <hundreds>)", 8),
            };
            rules.push(format!("<thousands> = {thousands} thousand [<unit> hundred];"));
            number.push("<thousands>");
            words_max = most;
        }
        if min == 0 {
            number.extend(["zero", "none"]);
        }
        (number.join(" | "), words_max)
    };
    rules.push(format!("<number> = {number};"));
    let units_rule = if units.is_empty() {
        String::new()
    } else {
        let units: Vec<&str> = units.iter().map(String::as_str).collect();
        words_max += most_words(&units);
        format!(" [{}]", units.join(" | "))
    };
    rules.push(format!("<value> = [about | around] <number>{units_rule};"));
    (rules.join("\n"), words_max + 1)
}

/// Every time that is offered, as it is said, and no other.
fn time_rules(first: u16, last: u16, every: u16) -> (String, u32) {
    let mut hours: Vec<&str> = Vec::new();
    let mut rest: Vec<String> = Vec::new();
    let mut noon = "";
    for minutes in (first..=last).step_by(usize::from(every.max(1))) {
        let hour = words::spoken_hour(minutes / 60);
        match minutes % 60 {
            0 => {
                hours.push(hour);
                if minutes == 720 {
                    noon = " | noon";
                }
            }
            30 => rest.extend([format!("{hour} thirty"), format!("half past {hour}")]),
            minute => rest.push(format!("{hour} {}", words::spoken_minute(minute))),
        }
    }
    let mut times = rest;
    if !hours.is_empty() {
        times.insert(0, format!("({}) [o'clock]", hours.join(" | ")));
    }
    let mut parts: Vec<&str> = Vec::new();
    if first < 720 {
        parts.extend(["a m", "in the morning"]);
    }
    if last >= 720 {
        parts.extend(["p m", "in the afternoon"]);
    }
    if last >= 1_080 {
        parts.push("in the evening");
    }
    let rules =
        format!("<time> = {};\n<value> = [at] <time> [{}]{noon};", times.join(" | "), parts.join(" | "));
    (rules, 1 + 4 + 3)
}

/// The weekdays, with the keys 1 to 7, then today (8) and tomorrow (9).
pub(super) const DAYS: [&str; 9] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "today", "tomorrow"];

/// The months, with the keys 1 to 12.
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// A choice among [`DAYS`]; `None` names none of them.
pub(super) fn day(name: &str) -> Option<Choice> {
    let index = DAYS.iter().position(|day| *day == name)?;
    let is_name = index < 7;
    Some(named(name, if is_name { capitalised(name) } else { name.into() }, index))
}

/// A choice among all months.
pub(super) fn months() -> Form {
    Form::Choices(
        MONTHS.iter().enumerate().map(|(index, month)| named(month, capitalised(month), index)).collect(),
    )
}

/// `text` with its first letter, if it is one of a to z, made a capital.
pub(super) fn capitalised(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

fn named(name: &str, spoken: String, index: usize) -> Choice {
    Choice {
        value: name.into(),
        spoken,
        say: vec![name.into()],
        also: Vec::new(),
        key: (index + 1).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_and_no_are_heard_in_many_words_and_never_mixed_up() {
        for (text, expected) in [
            ("yes", Some("yes")),
            ("yeah sure", Some("yes")),
            ("yes, that's right", Some("yes")),
            ("No.", Some("no")),
            ("no thank you", Some("no")),
            ("that's not right", Some("no")),
            ("not sure", None),
            ("yes and no", None),
            ("two hundred", None),
        ] {
            let heard = match Form::yes_no().hear(&words::words(text)) {
                Heard::Answer(value) => Some(value.record),
                _ => None,
            };
            assert_eq!(heard.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_longest_form_wins_and_two_choices_are_ambiguous() {
        let choice = |value: &str, say: &str| Choice {
            value: value.into(),
            say: vec![say.into()],
            ..Choice::default()
        };
        let form = Form::Choices(vec![choice("low", "under ten thousand"), choice("high", "ten thousand")]);
        let record = |text: &str| match form.hear(&words::words(text)) {
            Heard::Answer(value) => value.record,
            other => format!("{other:?}"),
        };
        assert_eq!(record("well, under ten thousand"), "low");
        assert_eq!(record("ten thousand"), "high");
        assert_eq!(record("under ten thousand or ten thousand"), "Ambiguous");
        assert_eq!(record("not ten thousand"), "Nothing");
        assert_eq!(record("$10,000"), "high");
        assert_eq!(record("under 10k"), "low");
    }

    #[test]
    fn a_number_is_one_number_within_its_range() {
        let form = Form::Number { min: 1, max: 100_000, units: vec!["people".into()] };
        let hear = |text: &str| form.hear(&words::words(text));
        assert!(matches!(hear("about two hundred people"), Heard::Answer(v) if v.record == "200"));
        assert_eq!(hear("zero"), Heard::OutOfRange);
        assert_eq!(hear("one million"), Heard::OutOfRange);
        assert_eq!(hear("fifty to a hundred"), Heard::Ambiguous);
        assert_eq!(hear("many"), Heard::Nothing);
        assert!(matches!(form.keyed("200"), Heard::Answer(v) if v.spoken == "two hundred"));
        assert_eq!(form.keyed("999999"), Heard::OutOfRange);
        assert_eq!(form.keyed(""), Heard::Nothing);
        assert_eq!(form.keys_max(), 6);
    }

    #[test]
    fn a_time_is_the_one_that_is_offered() {
        let form = Form::Time { first: 540, last: 1_020, every: 30 };
        let record = |heard: Heard| match heard {
            Heard::Answer(value) => value.record,
            other => format!("{other:?}"),
        };
        for (text, expected) in [
            ("ten", "10:00"),
            ("two", "14:00"),
            ("half past two", "14:30"),
            ("two p m", "14:00"),
            ("noon", "12:00"),
            ("at 10:30", "10:30"),
            ("eight", "OutOfRange"),
            ("ten fifteen", "OutOfRange"),
            ("ten p m", "OutOfRange"),
            ("ten or eleven", "Ambiguous"),
            ("later", "Nothing"),
        ] {
            assert_eq!(record(form.hear(&words::words(text))), expected, "{text:?}");
        }
        assert_eq!(record(form.keyed("1430")), "14:30");
        assert_eq!(record(form.keyed("230")), "14:30");
        assert_eq!(record(form.keyed("10")), "10:00");
        assert_eq!(record(form.keyed("1099")), "Nothing");
    }

    #[test]
    fn a_grammar_says_what_its_form_reads() {
        let form = Form::Time { first: 540, last: 660, every: 30 };
        assert_eq!(
            form.expectation(false).grammar,
            "public <answer> = <value> | <command>;\n\
             <time> = (nine | ten | eleven) [o'clock] | nine thirty | half past nine | ten thirty | half past ten;\n\
             <value> = [at] <time> [a m | in the morning];\n\
             <command> = repeat that | repeat | what | pardon | operator | goodbye;\n"
        );
        let form = Form::Number { min: 0, max: 3, units: Vec::new() };
        assert_eq!(
            form.expectation(true).grammar,
            "public <answer> = <value> | <command>;\n\
             <number> = zero | one | two | three | none;\n\
             <value> = [about | around] <number>;\n\
             <command> = repeat that | repeat | what | pardon | operator | goodbye | go back | no;\n"
        );
        assert_eq!(form.expectation(true).speech_ms_max, 2 * 450 + 500);
        assert!(!Form::yes_no().expectation(true).grammar.contains("| no;"));
    }

    #[test]
    fn large_numbers_have_no_larger_rules_than_their_range() {
        let grammar = |max| Form::Number { min: 1, max, units: Vec::new() }.expectation(false).grammar;
        assert!(!grammar(99).contains("hundred"));
        assert!(grammar(500).contains("<hundreds>") && !grammar(500).contains("thousand"));
        assert!(grammar(100_000).contains("(a | <small> | <tens> | <hundreds>) thousand"));
    }

    #[test]
    fn commands_are_told_from_answers() {
        let whole = |text: &str| Command::whole(&words::words(text));
        assert_eq!(whole("repeat that, please"), Some(Command::Repeat));
        assert_eq!(whole("What?"), Some(Command::Repeat));
        assert_eq!(whole("one moment"), Some(Command::Wait));
        assert_eq!(whole("what about two hundred"), None);
        let within = |text: &str| Command::within(&words::words(text));
        assert_eq!(within("can you say that again"), Some(Command::Repeat));
        assert_eq!(within("i want to talk to a human"), Some(Command::Operator));
        assert_eq!(within("thanks and good bye now"), Some(Command::Goodbye));
        assert_eq!(within("what a day"), None);
    }
}
