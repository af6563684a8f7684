//! What may be said, as rules: checks a grammar before a recogniser's C parser sees it, and lists its words.
//!
//! The part of JSGF that is taken: rules of words, `<references>`, groups `( )`, options `[ ]`, alternatives `|` with
//! weights `/0.5/`, and repetition `*` `+`. Left out: header, imports, tags, comments, quoted words, recursion.
//!
//! [JSpeech Grammar Format, W3C Note 5 June 2000](https://www.w3.org/TR/2000/NOTE-jsgf-20000605/).

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Most words that a grammar may have once every reference is replaced by what it stands for.
const EXPANDED_WORDS_MAX: usize = 20_000;

/// Deepest nesting of groups.
const DEPTH_MAX: usize = 32;

/// A grammar that is known to be sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grammar {
    rules: Vec<Rule>,
    words: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    name: String,
    is_public: bool,
    /// The right-hand side, written out with single spaces.
    body: String,
    references: Vec<Reference>,
    words: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Reference {
    name: String,
    at: usize,
}

/// What is wrong with a grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the grammar {what} at byte {at}")]
pub struct GrammarError {
    /// What is wrong, as the end of a sentence that begins with "the grammar".
    pub what: String,
    /// Where, in bytes of the grammar's text.
    pub at: usize,
}

impl Grammar {
    /// Reads rules such as `public <answer> = yes | no;`, of which at least one is public.
    pub fn parse(text: &str) -> Result<Self, GrammarError> {
        let mut parser = Parser { tokens: scan(text)?, next: 0, words: BTreeSet::new(), end: text.len() };
        let mut rules: Vec<Rule> = Vec::new();
        while parser.peek().is_some() {
            let at = parser.at();
            let rule = parser.rule()?;
            if rules.iter().any(|other| other.name == rule.name) {
                return fault(at, format!("defines <{}> twice", rule.name));
            }
            rules.push(rule);
        }
        if !rules.iter().any(|rule| rule.is_public) {
            return fault(text.len(), "has no public rule".into());
        }
        check_references(&rules)?;
        Ok(Self { rules, words: parser.words })
    }

    /// Every word that the rules name, lower case.
    pub fn words(&self) -> &BTreeSet<String> {
        &self.words
    }

    /// A whole JSGF document whose one public rule takes what any of the public rules here takes.
    pub fn jsgf(&self) -> String {
        let mut jsgf = String::from("#JSGF V1.0;\ngrammar offhook;\n");
        for rule in &self.rules {
            writeln!(jsgf, "<{}> = {};", rule.name, rule.body).expect("writing to a String cannot fail");
        }
        let public = self.rules.iter().filter(|rule| rule.is_public);
        let choices: Vec<String> = public.map(|rule| format!("<{}>", rule.name)).collect();
        writeln!(jsgf, "public <_heard> = {};", choices.join(" | "))
            .expect("writing to a String cannot fail");
        jsgf
    }
}

fn fault<T>(at: usize, what: String) -> Result<T, GrammarError> {
    Err(GrammarError { what, at })
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Reference(String),
    Weight(String),
    /// One of `= ; | ( ) [ ] * +`.
    Sign(char),
}

fn scan(text: &str) -> Result<Vec<(usize, Token)>, GrammarError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let enclosed = |close: char, what: &str| {
            rest[1..]
                .split_once(close)
                .map(|(inside, _)| inside)
                .ok_or_else(|| GrammarError { what: format!("has {what} without its end"), at })
        };
        let (token, length) = match first {
            '=' | ';' | '|' | '(' | ')' | '[' | ']' | '*' | '+' => (Token::Sign(first), 1),
            '<' => {
                let name = enclosed('>', "a rule's name")?;
                let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                if name.is_empty() || name.starts_with('_') || !name.chars().all(is_plain) {
                    return fault(at, format!("names a rule <{name}>, which is no plain name"));
                }
                (Token::Reference(name.to_owned()), name.len() + 2)
            }
            '/' => {
                let weight = enclosed('/', "a weight")?;
                if !weight.trim().parse::<f32>().is_ok_and(|weight| weight.is_finite() && weight > 0.0) {
                    return fault(at, format!("has a weight /{weight}/, which is no positive number"));
                }
                (Token::Weight(weight.trim().to_owned()), weight.len() + 2)
            }
            'a'..='z' | 'A'..='Z' => {
                let is_letter = |c: char| c.is_ascii_alphabetic() || matches!(c, '\'' | '-' | '.' | '_');
                let length = rest.find(|c| !is_letter(c)).unwrap_or(rest.len());
                (Token::Word(rest[..length].to_ascii_lowercase()), length)
            }
            _ => return fault(at, format!("has a {first:?}, which it may not")),
        };
        tokens.push((at, token));
        rest = &rest[length..];
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    words: BTreeSet<String>,
    /// Length of the text.
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    fn take_sign(&mut self, sign: char) -> bool {
        let is_there = self.peek() == Some(&Token::Sign(sign));
        self.next += usize::from(is_there);
        is_there
    }

    fn need_sign(&mut self, sign: char) -> Result<(), GrammarError> {
        let at = self.at();
        if self.take_sign(sign) { Ok(()) } else { fault(at, format!("lacks a {sign:?}")) }
    }

    fn rule(&mut self) -> Result<Rule, GrammarError> {
        let is_public = self.peek() == Some(&Token::Word("public".into()));
        self.next += usize::from(is_public);
        let at = self.at();
        let Some(Token::Reference(name)) = self.peek().cloned() else {
            return fault(at, "lacks a rule's <name>".into());
        };
        self.next += 1;
        self.need_sign('=')?;
        let mut rule = Rule { name, is_public, body: String::new(), references: Vec::new(), words: 0 };
        self.alternatives(&mut rule, 0)?;
        self.need_sign(';')?;
        Ok(rule)
    }

    fn alternatives(&mut self, rule: &mut Rule, depth: usize) -> Result<(), GrammarError> {
        if depth > DEPTH_MAX {
            return fault(self.at(), format!("nests deeper than {DEPTH_MAX} groups"));
        }
        loop {
            self.sequence(rule, depth)?;
            if !self.take_sign('|') {
                return Ok(());
            }
            rule.body.push_str(" |");
        }
    }

    fn sequence(&mut self, rule: &mut Rule, depth: usize) -> Result<(), GrammarError> {
        if let Some(Token::Weight(weight)) = self.peek() {
            rule.body.push_str(" /");
            rule.body.push_str(weight);
            rule.body.push('/');
            self.next += 1;
        }
        let mut items = 0;
        loop {
            let at = self.at();
            match self.peek().cloned() {
                Some(Token::Word(word)) => {
                    self.next += 1;
                    rule.body.push(' ');
                    rule.body.push_str(&word);
                    rule.words += 1;
                    self.words.insert(word);
                }
                Some(Token::Reference(name)) => {
                    self.next += 1;
                    write!(rule.body, " <{name}>").expect("writing to a String cannot fail");
                    rule.references.push(Reference { name, at });
                }
                Some(Token::Sign(open @ ('(' | '['))) => {
                    self.next += 1;
                    let close = if open == '(' { ')' } else { ']' };
                    rule.body.push(' ');
                    rule.body.push(open);
                    self.alternatives(rule, depth + 1)?;
                    self.need_sign(close)?;
                    rule.body.push(' ');
                    rule.body.push(close);
                }
                _ if items == 0 => return fault(at, "lacks a word".into()),
                _ => return Ok(()),
            }
            items += 1;
            for repeat in ['*', '+'] {
                if self.take_sign(repeat) {
                    rule.body.push(repeat);
                    break;
                }
            }
        }
    }
}

/// Every reference has its rule, none comes back to itself, and written out they are not too many.
fn check_references(rules: &[Rule]) -> Result<(), GrammarError> {
    // A rule's size is known once the sizes of all that it refers to are.
    let mut sizes: Vec<Option<usize>> = vec![None; rules.len()];
    for rule in rules {
        for reference in &rule.references {
            if !rules.iter().any(|other| other.name == reference.name) {
                return fault(
                    reference.at,
                    format!("refers to <{}>, which it does not define", reference.name),
                );
            }
        }
    }
    let size_of = |sizes: &[Option<usize>], name: &str| {
        rules.iter().position(|rule| rule.name == name).and_then(|index| sizes[index])
    };
    for _ in rules {
        for (index, rule) in rules.iter().enumerate() {
            let inside: Option<usize> =
                rule.references.iter().map(|reference| size_of(&sizes, &reference.name)).sum();
            sizes[index] = inside.map(|inside| inside.saturating_add(rule.words).min(EXPANDED_WORDS_MAX + 1));
        }
    }
    for (rule, size) in rules.iter().zip(&sizes) {
        let at = rule.references.first().map_or(0, |reference| reference.at);
        match size {
            None => return fault(at, format!("has a rule <{}> that comes back to itself", rule.name)),
            Some(EXPANDED_WORDS_MAX..) => {
                return fault(
                    at,
                    format!("stands for more than {EXPANDED_WORDS_MAX} words in <{}>", rule.name),
                );
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_of_all_rules_are_listed_once_in_lower_case() {
        let grammar = Grammar::parse(
            "<tens> = Twenty | thirty; public <answer> = [about] <tens>+ | /0.2/ (o'clock | TWENTY)*;",
        );
        let grammar = grammar.unwrap();
        assert_eq!(grammar.words().iter().collect::<Vec<_>>(), ["about", "o'clock", "thirty", "twenty"]);
    }

    #[test]
    fn the_document_has_one_public_rule_for_all_public_rules() {
        let grammar = Grammar::parse("public <a>=yes|no ;public <b> = [ /2/ may be ] later;").unwrap();
        let document = "#JSGF V1.0;\ngrammar offhook;\n<a> =  yes | no;\n<b> =  [ /2/ may be ] later;\n\
                        public <_heard> = <a> | <b>;\n";
        assert_eq!(grammar.jsgf(), document);
    }

    #[test]
    fn what_a_document_takes_is_read_back_as_the_same_rules() {
        let text = "<a> = one ( two | [ three ] four* )+; public <b> = <a> <a> | /1.5/ five;";
        let grammar = Grammar::parse(text).unwrap();
        let rules = grammar.jsgf().lines().skip(2).collect::<Vec<_>>().join("\n").replace("_heard", "heard");
        let again = Grammar::parse(&rules).unwrap();
        assert_eq!(again.words(), grammar.words());
        assert_eq!(again.rules[0].body, grammar.rules[0].body);
    }

    #[test]
    fn unsound_grammars_are_refused_and_say_where() {
        for (text, what, at) in [
            ("", "has no public rule", 0),
            ("<a> = yes;", "has no public rule", 10),
            ("public <a> = ;", "lacks a word", 13),
            ("public <a> = yes", "lacks a ';'", 16),
            ("public <a> = (yes;", "lacks a ')'", 17),
            ("public <a> = yes | <b>;", "refers to <b>, which it does not define", 19),
            ("public <a> = <a> yes;", "has a rule <a> that comes back to itself", 13),
            ("<a> = <b>; public <b> = <a>;", "has a rule <a> that comes back to itself", 6),
            ("public <a> = yes; <a> = no;", "defines <a> twice", 18),
            ("public <a = yes;", "has a rule's name without its end", 7),
            ("public <a.b> = yes;", "names a rule <a.b>, which is no plain name", 7),
            ("public <a> = /-1/ yes;", "has a weight /-1/, which is no positive number", 13),
            ("import <x.*>;", "names a rule <x.*>, which is no plain name", 7),
            ("yes;", "lacks a rule's <name>", 0),
            ("public <a> = yes {tag};", "has a '{', which it may not", 17),
        ] {
            assert_eq!(Grammar::parse(text), fault(at, what.into()), "{text}");
        }
    }

    #[test]
    fn references_that_multiply_are_refused_before_they_are_written_out() {
        let mut text = String::from("public <r0> = a;");
        for rule in 1..40 {
            write!(text, "<r{rule}> = <r{0}> <r{0}>;", rule - 1).unwrap();
        }
        assert!(Grammar::parse(&text).unwrap_err().what.starts_with("stands for more than 20000 words"));
        let deep = format!("public <a> = {}yes{};", "(".repeat(50_000), ")".repeat(50_000));
        assert!(Grammar::parse(&deep).unwrap_err().what.starts_with("nests deeper"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[<>=;|()\\[\\]*+/a-c0-9. é]{0,40}") {
            let _ = Grammar::parse(&text);
        }
    }
}
