//! What can be counted in what somebody said: filler words, phrases that come again, how they greet and part, and how learned
//! their words are. For English; in other languages phrases are found, and little else. What cannot be counted is left out.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};
use unicode_segmentation::UnicodeSegmentation;

/// Words that say nothing. The second number: how many words there may be for each of them before it counts, since some mean
/// something elsewhere.
const FILLERS: [(&str, usize); 20] = [
    ("um", 400),
    ("uh", 400),
    ("er", 400),
    ("erm", 400),
    ("hmm", 400),
    ("you know", 300),
    ("i mean", 300),
    ("sort of", 300),
    ("kind of", 300),
    ("basically", 300),
    ("literally", 300),
    ("honestly", 300),
    ("obviously", 300),
    ("actually", 200),
    ("okay", 150),
    ("right", 100),
    ("well", 100),
    ("so", 60),
    ("just", 60),
    ("like", 60),
];
/// A filler word is said at least so often.
const FILLER_TIMES_MIN: usize = 2;

/// A phrase has so many words.
const PHRASE_WORDS: std::ops::RangeInclusive<usize> = 3..=6;
/// It is a catch-phrase if it is said so often.
const PHRASE_TIMES_MIN: usize = 3;
/// Of each kind so many are named.
const NAMED_MAX: usize = 5;

/// Words that every phrase has.
const COMMON: [&str; 64] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "can", "do", "for", "from", "get", "going",
    "got", "had", "has", "have", "he", "i", "if", "in", "is", "it", "it's", "i'm", "of", "on", "one", "or",
    "our", "she", "so", "some", "that", "that's", "the", "their", "them", "then", "there", "there's",
    "these", "they", "they're", "this", "to", "up", "was", "we", "we're", "were", "what", "when", "which",
    "who", "will", "with", "would", "you", "you're", "your", "not",
];

/// What greetings begin with, and what partings have in them.
const GREETINGS: [&str; 9] =
    ["hi", "hello", "hey", "welcome", "good morning", "good afternoon", "good evening", "greetings", "howdy"];
const PARTINGS: [&str; 12] = [
    "bye",
    "goodbye",
    "see you",
    "take care",
    "talk soon",
    "talk to you",
    "thank you",
    "thanks for",
    "have a great",
    "have a good",
    "let me know",
    "until next time",
];
/// How many sentences of a recording are its beginning, and its end.
const EDGE: usize = 3;
/// A greeting or a parting is no longer, in characters.
const SENTENCE_MAX: usize = 160;

/// With fewer words nothing is said of how learned they are.
const LEVEL_WORDS_MIN: usize = 50;
/// Of so many words in a hundred with three syllables or more, speech is above everyday's, and above the profession's.
const LONG_EVERYDAY: usize = 6;
const LONG_PROFESSIONAL: usize = 12;

/// The profile of what was said, recording by recording with empty lines between. Keys are there for what was found.
pub(super) fn profile(transcript: &str) -> Map<String, Value> {
    let words: Vec<String> = words_of(transcript).collect();
    let sentences: Vec<&str> = transcript.lines().flat_map(sentences_of).collect();
    let mut profile = Map::new();
    profile.insert(
        "speech_patterns".into(),
        json!({ "catchphrases": phrases(&sentences), "filler_words": fillers(&words) }),
    );
    if let Some(level) = level(&words) {
        profile.insert("vocabulary".into(), json!({ "level": level }));
    }
    let (greetings, closings) = edges(transcript);
    profile.insert(
        "greeting_closing".into(),
        json!({ "typical_greetings": greetings, "typical_closings": closings }),
    );
    profile
}

/// How many words there are.
pub(super) fn count_words(text: &str) -> usize {
    words_of(text).count()
}

fn words_of(text: &str) -> impl Iterator<Item = String> {
    text.unicode_words().map(|word| word.to_lowercase().replace('\u{2019}', "'"))
}

fn sentences_of(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(['.', '!', '?'])
        .map(str::trim)
        .filter(|text| text.chars().any(char::is_alphanumeric))
}

fn fillers(words: &[String]) -> Vec<&'static str> {
    let times = |filler: &str| {
        let parts: Vec<&str> = filler.split(' ').collect();
        words.windows(parts.len()).filter(|said| said.iter().eq(parts.iter())).count()
    };
    let mut found: Vec<(usize, &str)> = FILLERS
        .iter()
        .map(|&(filler, among)| (times(filler), filler, among))
        .filter(|(times, _, among)| *times >= FILLER_TIMES_MIN && *times * among >= words.len())
        .map(|(times, filler, _)| (times, filler))
        .collect();
    found.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
    found.into_iter().take(NAMED_MAX).map(|(_, filler)| filler).collect()
}

/// Phrases that come again within sentences, the longest of those that are said as often.
fn phrases(sentences: &[&str]) -> Vec<String> {
    let mut said: HashMap<Vec<String>, (usize, String)> = HashMap::new();
    for sentence in sentences {
        let written: Vec<&str> = sentence.unicode_words().collect();
        let words: Vec<String> = words_of(sentence).collect();
        for length in PHRASE_WORDS {
            for (at, phrase) in words.windows(length).enumerate() {
                if phrase.iter().any(|word| !COMMON.contains(&word.as_str())) {
                    let shown = || written.get(at..at + length).unwrap_or_default().join(" ");
                    said.entry(phrase.to_vec()).or_insert_with(|| (0, shown())).0 += 1;
                }
            }
        }
    }
    let mut found: Vec<(Vec<String>, usize, String)> = said
        .into_iter()
        .filter(|(_, (times, _))| *times >= PHRASE_TIMES_MIN)
        .map(|(words, (times, shown))| (words, times, shown))
        .collect();
    found.sort_by(|a, b| (b.0.len(), b.1, &a.2).cmp(&(a.0.len(), a.1, &b.2)));
    let mut named: Vec<(Vec<String>, usize, String)> = Vec::new();
    for phrase in found {
        // A part of a longer one is one of its own if it is said much more often.
        let is_part = named.iter().any(|(words, times, _)| overlap(words, &phrase.0) && phrase.1 < 2 * times);
        if !is_part {
            named.push(phrase);
        }
    }
    named.sort_by(|a, b| (b.1, &a.2).cmp(&(a.1, &b.2)));
    named.into_iter().take(NAMED_MAX).map(|(_, _, shown)| shown).collect()
}

/// Whether two phrases are mostly the same words in the same order: one within the other, or shifted by some words.
fn overlap(longer: &[String], shorter: &[String]) -> bool {
    let least = shorter.len().saturating_sub(2).max(2);
    shorter.windows(least).any(|part| longer.windows(least).any(|other| other == part))
}

/// How recordings begin and end.
fn edges(transcript: &str) -> (Vec<String>, Vec<String>) {
    let (mut greetings, mut closings) = (BTreeSet::new(), BTreeSet::new());
    for recording in transcript.split("\n\n") {
        let sentences: Vec<&str> = recording.lines().flat_map(sentences_of).collect();
        let fits = |sentence: &&&str| sentence.chars().count() <= SENTENCE_MAX;
        let begins = |sentence: &&&str| {
            let words: Vec<String> = words_of(sentence).take(2).collect();
            let begins = words.join(" ");
            GREETINGS.contains(&begins.as_str())
                || words.first().is_some_and(|first| GREETINGS.contains(&first.as_str()))
        };
        let first = sentences.iter().take(EDGE).filter(fits).find(begins);
        greetings.extend(first.map(|sentence| (*sentence).to_owned()));
        let parts = |sentence: &&&str| {
            let said = format!(" {} ", words_of(sentence).collect::<Vec<_>>().join(" "));
            PARTINGS.iter().any(|parting| said.contains(&format!(" {parting} ")))
        };
        // A recording of a few sentences begins with those that it ends with.
        let last = sentences.iter().skip(1).rev().take(EDGE).filter(fits).find(parts);
        closings.extend(last.map(|sentence| (*sentence).to_owned()));
    }
    let few = |all: BTreeSet<String>| all.into_iter().take(NAMED_MAX).collect();
    (few(greetings), few(closings))
}

fn level(words: &[String]) -> Option<&'static str> {
    if words.len() < LEVEL_WORDS_MIN {
        return None;
    }
    let long = words.iter().filter(|word| syllables(word) >= 3).count();
    Some(match long * 100 / words.len() {
        share if share >= LONG_PROFESSIONAL => "professional",
        share if share >= LONG_EVERYDAY => "everyday",
        _ => "simple",
    })
}

/// Vowels in a row are a syllable; an `e` at the end is none.
fn syllables(word: &str) -> usize {
    let is_vowel = |c: char| "aeiouy\u{e4}\u{f6}\u{fc}\u{e9}\u{e8}".contains(c);
    let word = word
        .strip_suffix("es")
        .or(word.strip_suffix('e'))
        .filter(|rest| rest.contains(is_vowel))
        .unwrap_or(word);
    let mut before = false;
    word.chars().filter(|&c| !std::mem::replace(&mut before, is_vowel(c)) && is_vowel(c)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Hey there, John here! Um, let me tell you, this notebook is, you know, great. \
        Let me tell you why: the paper lasts, you know, for years. And let me tell you, um, our customers keep it. \
        You know what I like about it? It is green. Um, that is all. Thanks for watching, and see you next week!\n\n\
        Hello everyone. This pen writes in the rain. Take care!";

    #[test]
    fn what_comes_again_is_found_with_how_recordings_begin_and_end() {
        let found = profile(SAID);
        assert_eq!(found["speech_patterns"]["filler_words"], json!(["um", "you know"]));
        assert_eq!(found["speech_patterns"]["catchphrases"], json!(["let me tell you"]));
        let edges = &found["greeting_closing"];
        assert_eq!(edges["typical_greetings"], json!(["Hello everyone.", "Hey there, John here!"]));
        assert_eq!(
            edges["typical_closings"],
            json!(["Take care!", "Thanks for watching, and see you next week!"])
        );
        assert_eq!(found["vocabulary"]["level"], "simple");
        for uncountable in ["tone", "selling_style"] {
            assert!(!found.contains_key(uncountable));
        }
    }

    #[test]
    fn long_words_are_learned_and_few_words_say_nothing() {
        let of = |text: &str| profile(&text.repeat(20)).get("vocabulary").cloned();
        let learned = "Our organisation evaluates conversion statistics and customer satisfaction. ";
        assert_eq!(of(learned), Some(json!({ "level": "professional" })));
        assert_eq!(of("We go to the shop and look at a red ball. "), Some(json!({ "level": "simple" })));
        assert_eq!(profile("Good day.").get("vocabulary"), None);
        assert_eq!(["cat", "table", "notebook", "customer", "queue"].map(syllables), [1, 1, 3, 3, 1]);
    }

    #[test]
    fn nothing_and_other_scripts_break_nothing() {
        for text in
            ["", "\n\n", "...!?", "\u{1f600}", "\u{4f60}\u{597d}\u{3002}\u{518d}\u{89c1}", "\u{202e}\u{0}"]
        {
            let found = profile(text);
            assert_eq!(found["speech_patterns"]["catchphrases"], json!([]), "{text:?}");
        }
        let long = "word ".repeat(200_000);
        assert_eq!(profile(&long)["speech_patterns"]["filler_words"], json!([]));
    }
}
