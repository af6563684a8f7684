//! Words and numbers of the telephone: a recogniser's text to words, words to numbers and times of day, and back.
//!
//! Any recogniser's text comes in here: `two hundred and fifty`, `250`, `10:30`, `Ten-thirty, p.m.`. English only.

/// Makes single words of `text`: lower case, without punctuation and hesitation. `10am` is two words, `10:30` is one,
/// `10,000` is `10000`.
pub(super) fn words(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
    let mut words = vec![String::new()];
    for (at, &letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map_or(' ', |at| letters[at]);
        let after = letters.get(at + 1).copied().unwrap_or(' ');
        let word = words.last_mut().expect("words starts with one and only grows");
        match letter {
            '\'' | '\u{2019}' if before.is_alphabetic() && after.is_alphabetic() => word.push('\''),
            '.' if before.is_alphabetic() && after.is_alphabetic() => {}
            ':' | '.' if before.is_ascii_digit() && after.is_ascii_digit() => word.push(':'),
            ',' if before.is_ascii_digit() && after.is_ascii_digit() => {}
            _ if !letter.is_alphanumeric() => words.push(String::new()),
            _ if letter.is_alphabetic() && before.is_ascii_digit()
                || letter.is_ascii_digit() && before.is_alphabetic() =>
            {
                words.push(letter.into());
            }
            _ => word.push(letter),
        }
    }
    words.retain(|word| !word.is_empty() && !HESITATIONS.contains(&word.as_str()));
    words
}

const HESITATIONS: [&str; 8] = ["um", "uh", "er", "erm", "ah", "hm", "hmm", "mm"];

/// The numbers in `words`, in order: `two hundred`, `a hundred and twenty`, `50 thousand`, `two dozen`, and figures
/// spelled out, three or more (`two zero zero`). Beyond what a `u64` holds, its greatest value.
pub(super) fn numbers(words: &[String]) -> Vec<u64> {
    all(words, number_at)
}

/// `words` with every number in figures, so that `ten to 50 thousand` and `10 to fifty thousand` are the same.
pub(super) fn in_figures(mut words: &[String]) -> Vec<String> {
    let mut figures = Vec::new();
    while let Some(word) = words.first() {
        let (figure, taken) = match number_at(words) {
            Some((number, taken)) => (number.to_string(), taken),
            None => (word.clone(), 1),
        };
        figures.push(figure);
        words = from(words, taken);
    }
    figures
}

/// All that `find` finds at the beginning of the rest, with how many words it takes.
fn all<T>(mut words: &[String], find: fn(&[String]) -> Option<(T, usize)>) -> Vec<T> {
    let mut found = Vec::new();
    while !words.is_empty() {
        let taken = match find(words) {
            Some((value, taken)) => {
                found.push(value);
                taken
            }
            // The five of a "twenty five" that is no time of day is none either.
            None => below_hundred_at(words).map_or(1, |(_, taken)| taken),
        };
        words = from(words, taken);
    }
    found
}

fn from(words: &[String], at: usize) -> &[String] {
    words.get(at..).unwrap_or_default()
}

fn word(words: &[String], at: usize) -> &str {
    words.get(at).map_or("", String::as_str)
}

fn number_at(words: &[String]) -> Option<(u64, usize)> {
    let figures: Vec<u64> = words.iter().map_while(|word| figure(word)).collect();
    if figures.len() >= 3 {
        let value =
            figures.iter().fold(0_u64, |value, figure| value.saturating_mul(10).saturating_add(*figure));
        return Some((value, figures.len()));
    }
    let (mut value, mut taken, mut scale_before) = (0_u64, 0, u64::MAX);
    loop {
        let and = usize::from(taken > 0 && word(words, taken) == "and");
        let Some((group, group_words)) = group_at(from(words, taken + and)) else { break };
        let end = taken + and + group_words;
        let scale = match word(words, end) {
            "thousand" | "k" => 1_000,
            "million" => 1_000_000,
            _ => 1,
        };
        // "Two thousand, three thousand" is two numbers, and so is "two thousand 5000".
        if scale >= scale_before || (taken > 0 && group >= 1_000) {
            break;
        }
        value = value.saturating_add(group.saturating_mul(scale));
        taken = end + usize::from(scale > 1);
        if scale == 1 {
            break;
        }
        scale_before = scale;
    }
    (taken > 0).then_some((value, taken))
}

/// What can stand before `thousand`.
fn group_at(words: &[String]) -> Option<(u64, usize)> {
    let (lead, lead_words) = match word(words, 0) {
        "a" | "an" if matches!(word(words, 1), "hundred" | "thousand" | "million" | "dozen") => (1, 1),
        digits if is_digits(digits) => (digits.parse().unwrap_or(u64::MAX), 1),
        _ => below_hundred_at(words)?,
    };
    match word(words, lead_words) {
        "dozen" => Some((lead.saturating_mul(12), lead_words + 1)),
        "hundred" if lead < 100 => {
            let end = lead_words + 1;
            let and = usize::from(word(words, end) == "and");
            Some(match below_hundred_at(from(words, end + and)) {
                Some((rest, rest_words)) => (lead * 100 + rest, end + and + rest_words),
                None => (lead * 100, end),
            })
        }
        _ => Some((lead, lead_words)),
    }
}

fn below_hundred_at(words: &[String]) -> Option<(u64, usize)> {
    let first = word(words, 0);
    if let Some(tens) = TENS.iter().position(|tens| *tens == first) {
        let tens = (tens as u64 + 2) * 10;
        return Some(match figure(word(words, 1)) {
            Some(unit @ 1..) => (tens + unit, 2),
            _ => (tens, 1),
        });
    }
    if let Some(small) = SMALL.iter().position(|small| *small == first) {
        return Some((small as u64, 1));
    }
    let value = first.parse().ok()?;
    (is_digits(first) && value < 100).then_some((value, 1))
}

/// One figure, as a word.
fn figure(word: &str) -> Option<u64> {
    match word {
        "oh" | "o" => Some(0),
        _ => SMALL[..10].iter().position(|small| *small == word).map(|figure| figure as u64),
    }
}

fn is_digits(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
}

/// Zero to nineteen.
pub(super) const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];

/// Twenty to ninety.
pub(super) const TENS: [&str; 8] =
    ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// A number below a million as it is said: `two hundred fifty`. Larger ones stay in figures.
pub(super) fn spoken_number(number: u64) -> String {
    match number {
        0..20 => SMALL[number as usize].into(),
        20..100 => two_parts(TENS[number as usize / 10 - 2].into(), number % 10),
        100..1_000 => two_parts(format!("{} hundred", SMALL[number as usize / 100]), number % 100),
        1_000..1_000_000 => two_parts(format!("{} thousand", spoken_number(number / 1_000)), number % 1_000),
        _ => number.to_string(),
    }
}

fn two_parts(head: String, rest: u64) -> String {
    if rest == 0 { head } else { format!("{head} {}", spoken_number(rest)) }
}

/// A time of day as it was said, which may mean two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SaidTime {
    hour: u16,
    minute: u16,
    half: Option<Half>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    BeforeNoon,
    AfterNoon,
}

impl SaidTime {
    /// What it may mean, in minutes since midnight: `ten` is 600 and 1320, `ten p m` is 1320 alone.
    pub(super) fn readings(self) -> impl Iterator<Item = u16> {
        let morning = self.hour % 12 * 60 + self.minute;
        let evening = morning + 720;
        let (first, second) = match self.half {
            _ if self.hour == 0 || self.hour > 12 => (self.hour % 24 * 60 + self.minute, None),
            Some(Half::BeforeNoon) => (morning, None),
            Some(Half::AfterNoon) => (evening, None),
            None => (morning, Some(evening)),
        };
        std::iter::once(first).chain(second)
    }

    /// From figures typed on a telephone: `10`, `930`, `1430`.
    pub(super) fn from_figures(figures: &str) -> Option<Self> {
        if !is_digits(figures) || figures.len() > 4 {
            return None;
        }
        let (hour, minute) =
            if figures.len() > 2 { figures.split_at(figures.len() - 2) } else { (figures, "0") };
        Self::checked(hour.parse().ok()?, minute.parse().ok()?)
    }

    fn checked(hour: u16, minute: u16) -> Option<Self> {
        (hour < 24 && minute < 60).then_some(Self { hour, minute, half: None })
    }
}

/// The times of day in `words`, in order: `ten`, `ten thirty`, `half past two`, `14:00`, `two p m`, `noon`.
pub(super) fn times(words: &[String]) -> Vec<SaidTime> {
    all(words, time_at)
}

fn time_at(words: &[String]) -> Option<(SaidTime, usize)> {
    let whole = |hour| Some((SaidTime { hour, minute: 0, half: Some(Half::AfterNoon) }, 1));
    let (mut time, taken) = match (word(words, 0), word(words, 1)) {
        ("noon" | "midday", _) => return whole(12),
        ("midnight", _) => return whole(0),
        ("half", "past") => past(words, 30)?,
        ("quarter", "past" | "after") => past(words, 15)?,
        ("quarter", "to") => {
            let (next, taken) = past(words, 45)?;
            let hour = if next.hour == 0 { 23 } else { next.hour - 1 };
            // A quarter to one is a quarter before one o'clock, day or night.
            (SaidTime { hour: if next.hour == 1 { 12 } else { hour }, ..next }, taken)
        }
        _ => hour_and_minute(words)?,
    };
    let (half, half_words) = half_at(from(words, taken));
    time.half = half;
    Some((time, taken + half_words))
}

fn past(words: &[String], minute: u16) -> Option<(SaidTime, usize)> {
    let (hour, hour_words) = below_hundred_at(from(words, 2))?;
    Some((SaidTime::checked(hour as u16, minute)?, 2 + hour_words))
}

fn hour_and_minute(words: &[String]) -> Option<(SaidTime, usize)> {
    let first = word(words, 0);
    if let Some((hour, minute)) = first.split_once(':') {
        return Some((SaidTime::checked(hour.parse().ok()?, minute.parse().ok()?)?, 1));
    }
    if is_digits(first) && first.len() > 2 {
        return Some((SaidTime::from_figures(first)?, 1));
    }
    let (hour, taken) = below_hundred_at(words)?;
    let rest = from(words, taken);
    let (minute, minute_words) = match word(rest, 0) {
        "o'clock" | "oclock" | "hundred" => (0, 1),
        "oh" | "o" | "zero" => (figure(word(rest, 1))?, 2),
        _ => below_hundred_at(rest).filter(|(minute, _)| (10..60).contains(minute)).unwrap_or((0, 0)),
    };
    Some((SaidTime::checked(hour as u16, minute as u16)?, taken + minute_words))
}

fn half_at(words: &[String]) -> (Option<Half>, usize) {
    for (phrase, half) in [
        ("am", Half::BeforeNoon),
        ("a m", Half::BeforeNoon),
        ("in the morning", Half::BeforeNoon),
        ("morning", Half::BeforeNoon),
        ("pm", Half::AfterNoon),
        ("p m", Half::AfterNoon),
        ("in the afternoon", Half::AfterNoon),
        ("afternoon", Half::AfterNoon),
        ("in the evening", Half::AfterNoon),
        ("evening", Half::AfterNoon),
        ("at night", Half::AfterNoon),
    ] {
        let count = phrase.split(' ').count();
        if words.len() >= count && phrase.split(' ').eq(words[..count].iter()) {
            return (Some(half), count);
        }
    }
    (None, 0)
}

/// A time of day as it is said, for `minutes` since midnight: `ten thirty in the morning`, `noon`.
pub(super) fn spoken_time(minutes: u16) -> String {
    let (hour, minute) = (minutes / 60 % 24, minutes % 60);
    let part = match hour {
        0..12 => "in the morning",
        12..18 => "in the afternoon",
        _ => "in the evening",
    };
    match (hour, minute) {
        (0, 0) => "midnight".into(),
        (12, 0) => "noon".into(),
        (_, 0) => format!("{} {part}", spoken_hour(hour)),
        _ => format!("{} {} {part}", spoken_hour(hour), spoken_minute(minute)),
    }
}

/// `two` for 14.
pub(super) fn spoken_hour(hour: u16) -> &'static str {
    SMALL[(usize::from(hour) + 11) % 12 + 1]
}

/// `oh five` for 5, `thirty` for 30.
pub(super) fn spoken_minute(minute: u16) -> String {
    if minute < 10 { format!("oh {}", SMALL[usize::from(minute)]) } else { spoken_number(minute.into()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_of_any_recogniser_becomes_the_same_words() {
        for (text, expected) in [
            ("Um, two hundred.", "two hundred"),
            ("TWENTY-FIVE", "twenty five"),
            ("$10,000", "10000"),
            ("10 a.m.", "10 am"),
            ("10am", "10 am"),
            ("10:30", "10:30"),
            ("at 10.30", "at 10:30"),
            ("that\u{2019}s right", "that's right"),
            ("50k", "50 k"),
            ("", ""),
            ("... 'tis' ?!", "tis"),
        ] {
            assert_eq!(words(text).join(" "), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_found_in_words_and_figures() {
        for (text, expected) in [
            ("two hundred", vec![200]),
            ("about 200 people", vec![200]),
            ("a hundred and twenty", vec![120]),
            ("two hundred fifty", vec![250]),
            ("fifty thousand", vec![50_000]),
            ("10,000", vec![10_000]),
            ("10k", vec![10_000]),
            ("2 hundred 50", vec![250]),
            ("a thousand", vec![1_000]),
            ("twelve hundred", vec![1_200]),
            ("twelve thousand five hundred and one", vec![12_501]),
            ("nine hundred ninety nine thousand nine hundred ninety nine", vec![999_999]),
            ("one million", vec![1_000_000]),
            ("a dozen", vec![12]),
            ("two dozen", vec![24]),
            ("two zero zero", vec![200]),
            ("zero", vec![0]),
            ("twenty zero", vec![20, 0]),
            ("fifty to a hundred", vec![50, 100]),
            ("two thousand three thousand", vec![2_000, 3_000]),
            ("ten and twenty", vec![10, 20]),
            ("a lot", vec![]),
            ("99999999999999999999999", vec![u64::MAX]),
        ] {
            assert_eq!(numbers(&words(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn times_are_found_with_all_that_they_may_mean() {
        for (text, expected) in [
            ("ten", vec![vec![600, 1320]]),
            ("ten o'clock", vec![vec![600, 1320]]),
            ("ten thirty", vec![vec![630, 1350]]),
            ("10:30", vec![vec![630, 1350]]),
            ("1030", vec![vec![630, 1350]]),
            ("half past two", vec![vec![150, 870]]),
            ("quarter to one", vec![vec![45, 765]]),
            ("quarter past nine", vec![vec![555, 1275]]),
            ("two p m", vec![vec![840]]),
            ("2 p.m.", vec![vec![840]]),
            ("at two in the afternoon please", vec![vec![840]]),
            ("twelve thirty a m", vec![vec![30]]),
            ("noon", vec![vec![720]]),
            ("midnight", vec![vec![0]]),
            ("14:00", vec![vec![840]]),
            ("fourteen thirty", vec![vec![870]]),
            ("two oh five", vec![vec![125, 845]]),
            ("twelve", vec![vec![0, 720]]),
            ("ten or eleven", vec![vec![600, 1320], vec![660, 1380]]),
            ("twenty five", vec![]),
            ("10:75", vec![]),
            ("whenever", vec![]),
        ] {
            let readings: Vec<Vec<u16>> =
                times(&words(text)).into_iter().map(|t| t.readings().collect()).collect();
            let sorted: Vec<Vec<u16>> = readings
                .into_iter()
                .map(|mut r| {
                    r.sort_unstable();
                    r
                })
                .collect();
            assert_eq!(sorted, expected, "{text:?}");
        }
    }

    #[test]
    fn times_are_said_without_doubt_about_the_half_of_the_day() {
        for (minutes, expected) in [
            (0, "midnight"),
            (540, "nine in the morning"),
            (630, "ten thirty in the morning"),
            (720, "noon"),
            (750, "twelve thirty in the afternoon"),
            (845, "two oh five in the afternoon"),
            (1140, "seven in the evening"),
        ] {
            assert_eq!(spoken_time(minutes), expected);
        }
    }

    proptest! {
        #[test]
        fn a_number_that_is_said_is_heard_as_itself(number in 0_u64..1_000_000) {
            prop_assert_eq!(numbers(&words(&spoken_number(number))), vec![number]);
            prop_assert_eq!(numbers(&words(&number.to_string())), vec![number]);
        }

        #[test]
        fn a_time_that_is_said_is_heard_as_itself(minutes in 0_u16..1_440) {
            let heard = times(&words(&spoken_time(minutes)));
            prop_assert_eq!(heard.len(), 1);
            prop_assert_eq!(heard[0].readings().collect::<Vec<_>>(), vec![minutes]);
        }

        #[test]
        fn no_text_is_too_strange(text in ".{0,200}") {
            let words = words(&text);
            numbers(&words);
            times(&words);
        }
    }
}
