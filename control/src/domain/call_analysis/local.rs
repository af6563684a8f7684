//! What a call was about, as far as lists of words tell: VADER's lexicon of how words are meant, YAKE's statistics of which words
//! of a text matter, and a few words by which callers say what they want. For English; in other languages little is found, and
//! that is what is said then.

use std::collections::HashMap;

use vader_sentimental::SentimentIntensityAnalyzer;
use yake_rust::{Config, StopWords, get_n_best};

use super::{Analysis, KEYWORDS_MAX, Mention, Said, Speaker};

/// What is said on every telephone call, and is no subject of any.
const NO_SUBJECTS: [&str; 26] = [
    "hello",
    "hey",
    "thanks",
    "thank",
    "please",
    "yes",
    "yeah",
    "okay",
    "bye",
    "goodbye",
    "sir",
    "madam",
    "sure",
    "customer",
    "caller",
    "agent",
    "assistant",
    "call",
    "phone",
    "today",
    "tomorrow",
    "number",
    "name",
    "user",
    "good",
    "great",
];

/// The shortest word that is a subject, in characters.
const SUBJECT_MIN: usize = 3;

/// Words by which an intent is known, each with its weight. They match at the beginning of a word of what the customer said.
const SIGNS: [(&str, &[(&str, u32)]); 6] = [
    ("cancellation", &[("cancel", 3), ("terminat", 2), ("unsubscrib", 3), ("reschedul", 2)]),
    (
        "complaint",
        &[("complain", 4), ("unacceptabl", 3), ("terribl", 2), ("awful", 2), ("disappoint", 2), ("angry", 2)],
    ),
    ("booking", &[("book", 2), ("appointment", 3), ("schedul", 2), ("reserv", 3), ("slot", 1)]),
    ("billing", &[("invoice", 3), ("bill", 2), ("refund", 3), ("payment", 2), ("charg", 2), ("paid", 1)]),
    (
        "support",
        &[("broken", 2), ("problem", 2), ("issue", 1), ("fix", 1), ("error", 2), ("help", 1), ("crash", 2)],
    ),
    ("sales", &[("buy", 3), ("purchas", 3), ("order", 2), ("quote", 2), ("demo", 2), ("upgrad", 2)]),
];

/// Words by which a question is known.
const QUESTIONS: [&str; 11] =
    ["what", "when", "where", "how", "which", "who", "price", "pricing", "cost", "inquir", "information"];

/// Looks at what was said, on a thread that may take its time.
pub async fn analyse(said: Said) -> Analysis {
    tokio::task::spawn_blocking(move || look(&said)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "what was said on a call could not be looked at");
        Analysis { intent: "other".into(), ..Analysis::default() }
    })
}

fn look(said: &Said) -> Analysis {
    let of_customer: Vec<&str> =
        said.lines.iter().filter(|line| line.0 == Speaker::Customer).map(|line| line.1.as_str()).collect();
    // A summary is about the call; what was said is the call.
    let sentences: Vec<&str> = match said.lines.is_empty() {
        true => sentences(&said.summary).collect(),
        false => of_customer.iter().flat_map(|text| sentences(text)).collect(),
    };
    let subject = if said.summary.is_empty() { of_customer.join("\n") } else { said.summary.clone() };
    let scores: Vec<f64> = sentences.iter().map(|sentence| sentiment(sentence)).collect();
    let told: Vec<f64> = scores.iter().copied().filter(|score| *score != 0.0).collect();
    let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    let overall = mean(&told);
    let keywords = keywords(&subject).into_iter().map(|keyword| {
        let mentions = sentences.iter().zip(&scores).filter(|(sentence, _)| has_word(sentence, &keyword));
        let scores: Vec<f64> = mentions.map(|(_, score)| *score).collect();
        // What the summary alone calls by its name was meant as all was.
        let sentiment = if scores.is_empty() { overall } else { mean(&scores) };
        Mention { keyword, sentiment }
    });
    let wanted = if of_customer.is_empty() { said.summary.clone() } else { of_customer.join("\n") };
    Analysis { intent: intent(&wanted).to_owned(), sentiment: overall, keywords: keywords.collect() }
}

fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split(['.', '!', '?', '\n']).map(str::trim).filter(|sentence| !sentence.is_empty())
}

/// From -1 to 1.
fn sentiment(sentence: &str) -> f64 {
    let score = SentimentIntensityAnalyzer::new().polarity_scores(sentence).compound;
    if score.is_finite() { score.clamp(-1.0, 1.0) } else { 0.0 }
}

/// The words that matter most.
fn keywords(text: &str) -> Vec<String> {
    let Some(stop_words) = StopWords::predefined("en") else { return Vec::new() };
    let config = Config { ngrams: 1, only_alphanumeric_and_hyphen: true, ..Config::default() };
    let found = get_n_best(KEYWORDS_MAX + NO_SUBJECTS.len(), text, &stop_words, &config);
    let is_subject = |word: &String| {
        word.chars().count() >= SUBJECT_MIN
            && word.chars().any(char::is_alphabetic)
            && word.chars().count() <= 40
            && !NO_SUBJECTS.contains(&word.as_str())
    };
    found.into_iter().map(|item| item.keyword.to_lowercase()).filter(is_subject).take(KEYWORDS_MAX).collect()
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '\'').map(str::to_lowercase)
}

fn has_word(sentence: &str, word: &str) -> bool {
    words(sentence).any(|one| one == word)
}

/// What a customer wants, by the words that are said for it; of two, the one that is listed first.
fn intent(text: &str) -> &'static str {
    let mut points: HashMap<&str, u32> = HashMap::new();
    let mut asks = text.contains('?');
    let mut any = false;
    for word in words(text).filter(|word| !word.is_empty()) {
        any = true;
        asks |= QUESTIONS.iter().any(|sign| word.starts_with(sign));
        for (intent, signs) in SIGNS {
            let weight = signs.iter().find(|(sign, _)| word.starts_with(sign)).map_or(0, |sign| sign.1);
            *points.entry(intent).or_default() += weight;
        }
    }
    let most = SIGNS.iter().map(|(intent, _)| points.get(intent).copied().unwrap_or(0)).max().unwrap_or(0);
    match SIGNS.iter().find(|(intent, _)| most >= 2 && points.get(intent) == Some(&most)) {
        Some((intent, _)) => intent,
        None if asks && any => "inquiry",
        None => "other",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::call_analysis::INTENTS;

    fn said(lines: &[(Speaker, &str)]) -> Said {
        let lines = lines.iter().map(|(speaker, text)| (*speaker, (*text).to_owned())).collect();
        Said { summary: String::new(), lines }
    }

    #[test]
    fn what_a_customer_wants_is_known_by_their_words() {
        for (text, intent_of) in [
            ("I would like to book an appointment for Monday", "booking"),
            ("Please cancel my appointment", "cancellation"),
            ("Your invoice is wrong, I want a refund", "billing"),
            ("The machine is broken and shows an error", "support"),
            ("This is unacceptable, I want to complain", "complaint"),
            ("I want to buy two of these", "sales"),
            ("How much does it cost?", "inquiry"),
            ("Customer inquired about pricing", "inquiry"),
            ("Hm.", "other"),
            ("", "other"),
        ] {
            assert_eq!(intent(text), intent_of, "{text}");
        }
        assert!(SIGNS.iter().all(|(intent, _)| INTENTS.contains(intent)));
    }

    #[test]
    fn a_content_caller_and_an_angry_one_are_told_apart_and_the_agent_does_not_count() {
        let content = look(&said(&[
            (Speaker::Agent, "That is a terrible, horrible disaster."),
            (Speaker::Customer, "The delivery was wonderful. I love the shoes."),
        ]));
        let angry = look(&said(&[
            (Speaker::Agent, "I love to help you, wonderful!"),
            (Speaker::Customer, "The delivery was horrible. I hate the shoes."),
        ]));
        assert!(content.sentiment > 0.3 && angry.sentiment < -0.3, "{content:?} {angry:?}");
        let of = |analysis: &Analysis, word: &str| {
            analysis.keywords.iter().find(|mention| mention.keyword == word).map(|mention| mention.sentiment)
        };
        assert!(of(&content, "delivery").is_some_and(|score| score > 0.3), "{content:?}");
        assert!(of(&angry, "shoes").is_some_and(|score| score < -0.3), "{angry:?}");
    }

    #[test]
    fn subjects_are_those_of_the_summary() {
        let said = Said {
            summary: "Customer inquired about pricing of the premium subscription.".into(),
            lines: vec![],
        };
        let found: Vec<_> = look(&said).keywords.into_iter().map(|mention| mention.keyword).collect();
        assert!(found.contains(&"pricing".into()) && found.contains(&"subscription".into()), "{found:?}");
        assert!(!found.contains(&"customer".into()), "{found:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,300}", summary in any::<String>()) {
            let said = Said { summary, lines: vec![(Speaker::Customer, text)] };
            let analysis = look(&said);
            prop_assert!(analysis.keywords.len() <= KEYWORDS_MAX);
            prop_assert!((-1.0..=1.0).contains(&analysis.sentiment));
            prop_assert!(INTENTS.contains(&analysis.intent.as_str()));
        }
    }
}
