//! The scripted agent: asks the questions of a [`Scenario`], makes sure of the answers, records them, says goodbye.
//!
//! In: what the caller said or typed, or that there was nothing to understand. Out: sentences, records, and what the
//! recogniser should expect. It needs no key and no network, and given the same prompts it says the same.
//!
//! It is built for a recogniser that is often wrong and never in doubt:
//! - An answer is said back, in the reply or as a question of its own, and can be taken back with "no" or "go back".
//! - What is not understood is asked again, each time with more help, the last time with the keypad; after
//!   `attempts_max` times the scenario says whether the question is skipped or the call ends.
//! - A caller who speaks before the question was heard has answered nothing: the question is repeated, and no attempt
//!   is counted.
//! - No call lasts longer than `turns_max` turns, whatever it is told.
//!
//! State is small and cloned before each turn, so that a turn that nobody heard can be forgotten exactly.

use std::sync::Arc;

use super::answer::{Command, Form, Heard, Value};
use super::scenario::{Goto, Line, Question, Scenario, Unanswered};
use super::words;
use super::{Agent, AgentAction, AgentError, Answering, Expectation};
use crate::call::{Prompt, Then};

/// Plays one [`Scenario`] on one call.
#[derive(Clone, Debug)]
pub struct ScriptedAgent {
    scenario: Arc<Scenario>,
    yes_no: Form,
    state: State,
    before: Option<State>,
}

/// Where a call stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    stage: Stage,
    /// By question.
    answers: Vec<Option<Value>>,
    /// Answered questions, in the order of their answers.
    answered: Vec<usize>,
    /// In a row, to the question at hand.
    misunderstood: u32,
    /// In a row.
    silences: u32,
    turns: u32,
    said: Said,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    NotStarted,
    Asking(usize),
    /// The question was answered so; the caller is asked whether that is right.
    Confirming(usize, Value),
    Over,
}

/// The agent's last turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    sentences: Vec<String>,
    /// From this sentence on, it is the question.
    question_from: usize,
    /// How many of its words were heard; none if it was not cut off.
    words_heard: Option<usize>,
}

/// What a turn does, in the making.
#[derive(Debug, Default)]
struct Turn {
    records: Vec<(String, String)>,
    sentences: Vec<String>,
    question_from: usize,
}

impl Agent for ScriptedAgent {
    fn answers_at_once(&self) -> bool {
        true
    }

    fn answer(&mut self, prompt: &Prompt, out: &mut dyn Answering) -> Result<Then, AgentError> {
        self.before = Some(self.state.clone());
        let mut turn = Turn::default();
        self.turn(prompt, &mut turn);
        let then = self.then();

        let records = turn.records.into_iter().map(|(key, value)| AgentAction::Record { key, value });
        let expects = std::iter::once(AgentAction::Expect(self.expectation()));
        let says = turn.sentences.iter().cloned().map(AgentAction::Say);
        let _ = records.chain(expects).chain(says).try_for_each(|action| out.act(action));
        self.state.said =
            Said { sentences: turn.sentences, question_from: turn.question_from, words_heard: None };
        Ok(then)
    }

    fn forget_last(&mut self) {
        if let Some(before) = self.before.take() {
            self.state = before;
        }
    }

    fn was_cut(&mut self, heard: &str, _: u32) {
        self.state.said.words_heard = Some(heard.split_whitespace().count());
    }
}

impl ScriptedAgent {
    /// An agent at the beginning of `scenario`.
    pub fn new(scenario: Arc<Scenario>) -> Self {
        let state = State {
            stage: Stage::NotStarted,
            answers: vec![None; scenario.questions.len()],
            answered: Vec::new(),
            misunderstood: 0,
            silences: 0,
            turns: 0,
            said: Said::default(),
        };
        Self { scenario, yes_no: Form::yes_no(), state, before: None }
    }

    fn turn(&mut self, prompt: &Prompt, turn: &mut Turn) {
        let scenario = Arc::clone(&self.scenario);
        if self.state.stage == Stage::Over {
            return;
        }
        self.state.turns += 1;
        if self.state.turns > scenario.turns_max {
            self.leave(&scenario.phrases.give_up, turn);
            return;
        }
        if self.state.stage == Stage::NotStarted {
            // Whatever the caller said before the first question, it answers nothing.
            self.say(&scenario.greeting, turn);
            self.next(0, turn);
            return;
        }
        if !matches!(prompt, Prompt::Silence(_)) {
            self.state.silences = 0;
        }
        match prompt {
            Prompt::CallStarted => self.repeat(turn),
            Prompt::Said(text) => self.said(&words::words(text), turn),
            Prompt::Keyed(keys) => self.keyed(keys, turn),
            // It goes by words, and has none.
            Prompt::NotUnderstood | Prompt::Spoke => self.unclear(&scenario.phrases.sorry, turn),
            Prompt::Silence(count) => self.silence(*count, turn),
        }
    }

    fn then(&self) -> Then {
        match self.form() {
            None => Then::HangUp,
            Some(form) => Then::Listen { keys_max: form.keys_max() },
        }
    }

    fn expectation(&self) -> Expectation {
        let go_back = !self.state.answered.is_empty();
        self.form().map_or_else(Expectation::default, |form| form.expectation(go_back))
    }

    /// How the caller can answer; `None` when the call is over.
    fn form(&self) -> Option<&Form> {
        match self.state.stage {
            Stage::NotStarted | Stage::Over => None,
            Stage::Asking(index) => Some(&self.scenario.questions[index].form),
            Stage::Confirming(..) => Some(&self.yes_no),
        }
    }

    fn said(&mut self, words: &[String], turn: &mut Turn) {
        let Some(form) = self.form() else { return };
        let heard = form.hear(words);
        let command = Command::whole(words);
        let is_choice = matches!((form, &heard), (Form::Choices(_), Heard::Answer(_)));
        let is_protest = words == ["no"] && !form.takes_no() && !self.state.answered.is_empty();
        match command {
            // "One moment" is no number, but "what" may be a choice.
            Some(command) if !is_choice => self.command(command, turn),
            _ if is_protest => self.command(Command::GoBack, turn),
            _ => self.heard(heard, words, turn),
        }
    }

    fn heard(&mut self, heard: Heard, words: &[String], turn: &mut Turn) {
        if let Stage::Confirming(index, _) = self.state.stage {
            // "No, three hundred": the new answer is confirmed in its turn.
            if let correction @ Heard::Answer(_) = self.scenario.questions[index].form.hear(words)
                && !matches!(&heard, Heard::Answer(value) if value.record == "yes")
            {
                self.state.stage = Stage::Asking(index);
                self.understood(correction, turn);
                return;
            }
        }
        match (&heard, Command::within(words)) {
            (Heard::Nothing, Some(command)) => self.command(command, turn),
            _ => self.understood(heard, turn),
        }
    }

    fn keyed(&mut self, keys: &str, turn: &mut Turn) {
        if keys.contains('*') {
            self.repeat(turn);
            return;
        }
        let Some(form) = self.form() else { return };
        let heard = form.keyed(keys.split('#').next().unwrap_or_default());
        self.understood(heard, turn);
    }

    fn command(&mut self, command: Command, turn: &mut Turn) {
        let scenario = Arc::clone(&self.scenario);
        match command {
            Command::Repeat => self.repeat(turn),
            Command::Wait => {
                self.say(&scenario.phrases.wait, turn);
                turn.question_from = turn.sentences.len();
            }
            Command::GoBack => self.go_back(turn),
            Command::Operator => {
                turn.records.push(("operator_requested".into(), "yes".into()));
                self.leave(&scenario.phrases.operator, turn);
            }
            Command::Goodbye => self.leave(&scenario.phrases.goodbye, turn),
        }
    }

    fn understood(&mut self, heard: Heard, turn: &mut Turn) {
        let scenario = Arc::clone(&self.scenario);
        let phrases = &scenario.phrases;
        match (heard, self.state.stage.clone()) {
            (Heard::Answer(value), Stage::Asking(index)) => {
                if scenario.questions[index].confirm.is_empty() {
                    self.accept(index, value, turn);
                } else {
                    self.state.stage = Stage::Confirming(index, value);
                    self.ask(turn);
                }
            }
            (Heard::Answer(answer), Stage::Confirming(index, value)) => {
                if answer.record == "yes" {
                    self.accept(index, value, turn);
                } else {
                    self.state.stage = Stage::Asking(index);
                    self.misunderstood(&phrases.again, turn);
                }
            }
            (Heard::OutOfRange, Stage::Asking(index)) => {
                let own = &scenario.questions[index].out_of_range;
                self.misunderstood(if own.is_empty() { &phrases.out_of_range } else { own }, turn);
            }
            (Heard::Ambiguous, _) => self.unclear(&phrases.ambiguous, turn),
            _ => self.unclear(&phrases.sorry, turn),
        }
    }

    /// Takes an answer, and goes where it leads.
    fn accept(&mut self, index: usize, value: Value, turn: &mut Turn) {
        let scenario = Arc::clone(&self.scenario);
        let question = &scenario.questions[index];
        turn.records.push((question.id.clone(), value.record.clone()));
        self.state.answered.retain(|answered| *answered != index);
        self.state.answered.push(index);
        let goto = question.goto.get(&value.record).copied();
        let reply = question.replies.get(&value.record).unwrap_or(&question.accepted);
        self.state.answers[index] = Some(value);
        self.say(reply, turn);
        match goto {
            None => self.next(index + 1, turn),
            Some(Goto::End) => self.finish(turn),
            Some(Goto::Question(target)) => {
                for taken_back in target..=index {
                    self.take_back(taken_back, turn);
                }
                self.next(target, turn);
            }
        }
    }

    /// Forgets an answer, here and in the record.
    fn take_back(&mut self, index: usize, turn: &mut Turn) {
        if self.state.answers[index].take().is_some() {
            self.state.answered.retain(|answered| *answered != index);
            turn.records.push((self.scenario.questions[index].id.clone(), String::new()));
        }
    }

    fn go_back(&mut self, turn: &mut Turn) {
        let scenario = Arc::clone(&self.scenario);
        if matches!(self.state.stage, Stage::Confirming(..)) {
            self.understood(Heard::Answer(no()), turn);
        } else if let Some(index) = self.state.answered.last().copied() {
            self.take_back(index, turn);
            self.state.stage = Stage::Asking(index);
            self.state.misunderstood = 0;
            self.say(&scenario.phrases.back, turn);
            self.ask(turn);
        } else {
            self.repeat(turn);
        }
    }

    /// Asks the first question from `index` on that is to be asked, or comes to the end. A question about answers that
    /// were not given is not to be asked.
    fn next(&mut self, index: usize, turn: &mut Turn) {
        self.state.misunderstood = 0;
        let next = (index..self.scenario.questions.len()).find(|index| {
            let question = &self.scenario.questions[*index];
            self.state.all_hold(&question.when) && question.ask.iter().any(|line| self.render(line).is_some())
        });
        match next {
            Some(index) => {
                self.state.stage = Stage::Asking(index);
                self.ask(turn);
            }
            None => self.finish(turn),
        }
    }

    fn finish(&mut self, turn: &mut Turn) {
        let scenario = Arc::clone(&self.scenario);
        let outcome = scenario
            .outcomes
            .iter()
            .find(|outcome| self.state.all_hold(&outcome.when))
            .expect("a checked scenario's last outcome has no condition");
        turn.records.push(("outcome".into(), outcome.value.clone()));
        self.say(&outcome.say, turn);
        self.state.stage = Stage::Over;
    }

    /// Goodbye before the end.
    fn leave(&mut self, goodbye: &[Line], turn: &mut Turn) {
        turn.records.push(("outcome".into(), Scenario::UNRESOLVED.into()));
        self.say(goodbye, turn);
        self.state.stage = Stage::Over;
    }

    /// Nothing can be made of it: an attempt, unless the caller spoke before the question.
    fn unclear(&mut self, why: &[Line], turn: &mut Turn) {
        if self.state.said.question_was_heard() {
            self.misunderstood(why, turn);
        } else {
            self.repeat(turn);
        }
    }

    /// Counts an attempt, and asks again with more help, or not again.
    fn misunderstood(&mut self, why: &[Line], turn: &mut Turn) {
        self.state.misunderstood += 1;
        let attempt = self.state.misunderstood;
        let scenario = Arc::clone(&self.scenario);
        let Some(question) = self.question(&scenario) else { return };
        if attempt < scenario.attempts_max {
            self.say(why, turn);
            self.ask_again(attempt, turn);
            return;
        }
        match question.unanswered {
            Unanswered::Goodbye => self.leave(&scenario.phrases.give_up, turn),
            Unanswered::Skip => {
                let (Stage::Asking(index) | Stage::Confirming(index, _)) = self.state.stage else { return };
                self.say(&scenario.phrases.skip, turn);
                self.next(index + 1, turn);
            }
        }
    }

    fn silence(&mut self, count: u32, turn: &mut Turn) {
        let scenario = Arc::clone(&self.scenario);
        self.state.silences = self.state.silences.saturating_add(1).max(count);
        let silences = self.state.silences;
        if silences >= scenario.silences_max {
            self.leave(&scenario.phrases.goodbye, turn);
            return;
        }
        let sentences = &scenario.phrases.silence;
        if let Some(last) = sentences.len().checked_sub(1) {
            let step = last.min(silences as usize - 1);
            self.say(&sentences[step..=step], turn);
        }
        self.ask_again(silences, turn);
    }

    /// Asks the question at hand.
    fn ask(&mut self, turn: &mut Turn) {
        let scenario = Arc::clone(&self.scenario);
        let Some(question) = self.question(&scenario) else { return };
        turn.question_from = turn.sentences.len();
        let confirming = matches!(self.state.stage, Stage::Confirming(..));
        if confirming {
            self.say(&question.confirm, turn);
        }
        if turn.sentences.len() == turn.question_from {
            self.say(&question.ask, turn);
        }
    }

    /// Asks again for the so many-th time, from 1, with as much help.
    fn ask_again(&mut self, attempt: u32, turn: &mut Turn) {
        let scenario = Arc::clone(&self.scenario);
        let Some(question) = self.question(&scenario) else { return };
        if matches!(self.state.stage, Stage::Confirming(..)) {
            self.ask(turn);
            self.say(&scenario.phrases.confirm_help, turn);
            return;
        }
        turn.question_from = turn.sentences.len();
        if let Some(last) = question.reprompts.len().checked_sub(1) {
            self.say(&question.reprompts[last.min(attempt as usize - 1)], turn);
        }
        if turn.sentences.len() == turn.question_from {
            self.ask(turn);
        }
    }

    /// Says the question again, and what was not heard of the turn before it.
    fn repeat(&mut self, turn: &mut Turn) {
        let said = &self.state.said;
        if said.words_heard.is_none() || said.sentences.len() <= said.question_from {
            self.ask(turn);
            return;
        }
        let from = said.first_unheard().min(said.question_from);
        turn.sentences = said.sentences[from..].to_vec();
        turn.question_from = said.question_from - from;
    }

    fn say(&self, lines: &[Line], turn: &mut Turn) {
        turn.sentences.extend(lines.iter().filter_map(|line| self.render(line)));
    }

    fn render(&self, line: &Line) -> Option<String> {
        line.render(|index| self.state.value(index))
    }

    fn question<'a>(&self, scenario: &'a Scenario) -> Option<&'a Question> {
        match self.state.stage {
            Stage::Asking(index) | Stage::Confirming(index, _) => scenario.questions.get(index),
            Stage::NotStarted | Stage::Over => None,
        }
    }
}

fn no() -> Value {
    Value { record: "no".into(), spoken: "no".into() }
}

impl State {
    /// The answer to a question, also while it is being confirmed.
    fn value(&self, index: usize) -> Option<&Value> {
        match &self.stage {
            Stage::Confirming(confirming, value) if *confirming == index => Some(value),
            _ => self.answers.get(index)?.as_ref(),
        }
    }

    fn all_hold(&self, conditions: &[(usize, super::scenario::Condition)]) -> bool {
        conditions.iter().all(|(index, condition)| {
            self.answers[*index].as_ref().is_some_and(|value| condition.holds(&value.record))
        })
    }
}

impl Said {
    /// False if the turn was cut off before its question began.
    fn question_was_heard(&self) -> bool {
        let before: usize = self.sentences.iter().take(self.question_from).map(|s| count_words(s)).sum();
        self.words_heard.is_none_or(|heard| heard > before)
    }

    /// The first sentence that was not heard to its end.
    fn first_unheard(&self) -> usize {
        let mut left = self.words_heard.unwrap_or(usize::MAX);
        self.sentences
            .iter()
            .take_while(|sentence| match left.checked_sub(count_words(sentence)) {
                Some(rest) => {
                    left = rest;
                    true
                }
                None => false,
            })
            .count()
    }
}

fn count_words(sentence: &str) -> usize {
    sentence.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lead_is_qualified_by_voice() {
        let mut talk = Talk::shipped("lead_qualification");
        assert_eq!(
            talk.says,
            [
                "Hello, and thank you for calling.",
                "I have four short questions.",
                "How many people work at your company?",
            ]
        );
        talk.said("about two hundred people");
        assert_eq!(talk.says[0], "Two hundred people, good.");
        talk.said("ten to fifty thousand");
        talk.said("this month");
        assert_eq!(talk.says[0], "This month, all right.");
        talk.said("yes please");
        assert_eq!(talk.then, Then::HangUp);
        assert_eq!(
            talk.records,
            [
                ("company_size", "200"),
                ("budget", "10000_to_50000"),
                ("timeline", "this_month"),
                ("meeting", "yes"),
                ("outcome", "qualified"),
            ]
            .map(owned)
        );
    }

    #[test]
    fn a_lead_is_qualified_by_keys() {
        let mut talk = Talk::shipped("lead_qualification");
        assert_eq!(talk.then, Then::Listen { keys_max: 6 });
        talk.keyed("200#");
        assert_eq!(talk.then, Then::Listen { keys_max: 1 });
        talk.keyed("3");
        talk.keyed("2");
        talk.keyed("1");
        assert_eq!(talk.then, Then::HangUp);
        assert_eq!(talk.record("company_size"), "200");
        assert_eq!(talk.record("budget"), "over_50000");
        assert_eq!(talk.record("outcome"), "qualified");
    }

    #[test]
    fn the_outcome_follows_from_the_answers() {
        for (answers, outcome) in [
            (["50", "over fifty thousand", "later", "yes"], "qualified"),
            (["49", "over fifty thousand", "later", "yes"], "follow_up"),
            (["two hundred", "under 10k", "later", "sure"], "follow_up"),
            (["two hundred", "$50,000", "next year", "no thank you"], "not_qualified"),
        ] {
            let mut talk = Talk::shipped("lead_qualification");
            for answer in answers {
                talk.said(answer);
            }
            assert_eq!((talk.record("outcome"), talk.then), (outcome, Then::HangUp), "{answers:?}");
        }
    }

    #[test]
    fn an_appointment_is_booked_by_voice_and_by_keys() {
        let mut talk = Talk::shipped("appointment_booking");
        talk.said("on tuesday");
        assert_eq!(talk.says, ["Tuesday, good.", "At what time, between nine and five?"]);
        talk.said("half past two");
        assert_eq!(
            talk.says,
            ["Two thirty in the afternoon.", "Shall I book Tuesday, two thirty in the afternoon?"]
        );
        talk.said("yes");
        assert_eq!(
            talk.records,
            ["day tuesday", "time 14:30", "booked yes", "outcome appointment_booked"].map(pair)
        );

        let mut talk = Talk::shipped("appointment_booking");
        talk.keyed("5");
        assert_eq!(talk.then, Then::Listen { keys_max: 4 });
        talk.keyed("1030");
        talk.keyed("1");
        assert_eq!(
            talk.records,
            ["day friday", "time 10:30", "booked yes", "outcome appointment_booked"].map(pair)
        );
    }

    #[test]
    fn no_at_the_end_chooses_again_and_takes_the_records_back() {
        let mut talk = Talk::shipped("appointment_booking");
        talk.said("monday");
        talk.said("noon");
        talk.records.clear();
        talk.said("no");
        assert_eq!(talk.says, ["Let us choose again.", "Which day would you like, from Monday to Friday?"]);
        assert_eq!(talk.records, ["booked no", "day ", "time ", "booked "].map(pair));
        talk.said("wednesday");
        talk.said("nine");
        talk.said("yes");
        assert_eq!((talk.record("day"), talk.record("time")), ("wednesday", "09:00"));
        assert_eq!(talk.record("outcome"), "appointment_booked");
    }

    #[test]
    fn three_silences_end_the_call_politely() {
        let mut talk = Talk::shipped("lead_qualification");
        talk.prompt(Prompt::Silence(1));
        assert_eq!(talk.says, ["Are you still there?", "How many people work at your company?"]);
        talk.prompt(Prompt::Silence(2));
        assert_eq!(talk.says[0], "I cannot hear you.");
        assert_eq!(talk.says[2], "Or type the number, and then press pound.");
        talk.prompt(Prompt::Silence(3));
        assert_eq!(talk.says, ["Thank you for calling.", "Goodbye."]);
        assert_eq!((talk.record("outcome"), talk.then), ("unresolved", Then::HangUp));
        assert_eq!(talk.expected, Expectation::default());
    }

    #[test]
    fn an_answer_between_silences_starts_them_anew() {
        let mut talk = Talk::shipped("lead_qualification");
        talk.prompt(Prompt::Silence(1));
        talk.prompt(Prompt::Silence(2));
        talk.said("ten");
        talk.prompt(Prompt::Silence(1));
        assert_eq!(talk.says[0], "Are you still there?");
    }

    #[test]
    fn three_misunderstandings_lead_to_the_keypad_and_then_to_goodbye() {
        let mut talk = Talk::shipped("lead_qualification");
        talk.prompt(Prompt::NotUnderstood);
        assert_eq!(talk.says, ["Sorry, I did not get that.", "How many people work at your company?"]);
        talk.said("quite a lot");
        assert_eq!(talk.says[2], "Or type the number, and then press pound.");
        talk.prompt(Prompt::NotUnderstood);
        assert_eq!(talk.says.last().map(String::as_str), Some("Goodbye."));
        assert_eq!((talk.record("outcome"), talk.then), ("unresolved", Then::HangUp));
        talk.said("two hundred");
        assert!(talk.says.is_empty() && talk.then == Then::HangUp);
    }

    #[test]
    fn a_question_may_be_skipped_where_the_scenario_says_so() {
        let mut talk = Talk::shipped("lead_qualification");
        talk.said("two hundred");
        for _ in 0..3 {
            talk.keyed("9");
        }
        assert_eq!(
            talk.says,
            ["Never mind.", "When would you like to start?", "Say a month, or this year, or later."]
        );
        talk.said("now");
        talk.said("yes");
        assert_eq!(talk.record("outcome"), "follow_up");
        assert!(!talk.records.iter().any(|(key, _)| key == "budget"));
    }

    #[test]
    fn repeating_costs_no_attempt() {
        let mut talk = Talk::shipped("lead_qualification");
        for _ in 0..5 {
            talk.said("repeat that");
            assert_eq!(talk.says, ["How many people work at your company?"]);
            talk.said("What?");
            talk.keyed("*");
            assert_eq!(talk.says, ["How many people work at your company?"]);
            talk.said("one moment please");
            assert_eq!(talk.says, ["Take your time."]);
        }
        talk.prompt(Prompt::NotUnderstood);
        assert_eq!(talk.says.len(), 2);
    }

    #[test]
    fn repeating_includes_what_was_not_heard() {
        let mut talk = Talk::shipped("lead_qualification");
        talk.said("two hundred");
        let question = talk.says[1..].to_vec();
        talk.agent.was_cut("Two hundred", 0);
        talk.said("repeat");
        assert_eq!(talk.says[0], "Two hundred people, good.");
        assert_eq!(talk.says[1..], question);
        talk.agent.was_cut("Two hundred people, good. What is", 0);
        talk.said("repeat");
        assert_eq!(talk.says, question);
    }

    #[test]
    fn speech_before_the_question_is_no_attempt() {
        let mut talk = Talk::shipped("lead_qualification");
        let greeting = talk.says.clone();
        for _ in 0..5 {
            talk.agent.was_cut("Hello, and", 0);
            talk.prompt(Prompt::NotUnderstood);
            assert_eq!(talk.says, greeting);
        }
        talk.agent.was_cut("Hello, and thank you for calling. I have four short questions.", 0);
        talk.said("two hundred");
        assert_eq!(talk.record("company_size"), "200");
    }

    #[test]
    fn out_of_range_is_told_and_counted() {
        let mut talk = Talk::shipped("appointment_booking");
        talk.said("monday");
        talk.said("eight p m");
        assert_eq!(talk.says[0], "We are open from nine to five, on the hour and the half hour.");
        assert_eq!(talk.says[1], "At what time would you like to come?");
        talk.said("ten or eleven");
        assert_eq!(talk.says[0], "I heard more than one answer.");
        talk.keyed("0300");
        assert_eq!(talk.record("time"), "15:00");
    }

    #[test]
    fn the_last_answer_can_be_taken_back() {
        let mut talk = Talk::shipped("lead_qualification");
        talk.said("two thousand");
        assert!(talk.expected.grammar.contains("| no;"), "{}", talk.expected.grammar);
        talk.said("no");
        assert_eq!(talk.says, ["All right.", "How many people work at your company?"]);
        assert_eq!(talk.record("company_size"), "");
        talk.said("two hundred");
        talk.said("under ten thousand");
        talk.said("go back");
        assert_eq!(talk.record("budget"), "");
        assert_eq!(talk.record("company_size"), "200");
        talk.said("fifty thousand");
        assert_eq!(talk.record("budget"), "10000_to_50000");
    }

    #[test]
    fn the_caller_may_leave_at_any_time() {
        let mut talk = Talk::shipped("lead_qualification");
        talk.said("two hundred");
        talk.said("I want to speak to the operator please");
        assert_eq!(talk.record("operator_requested"), "yes");
        assert_eq!((talk.record("outcome"), talk.then), ("unresolved", Then::HangUp));
        let mut talk = Talk::shipped("appointment_booking");
        talk.said("goodbye");
        assert_eq!((talk.record("outcome"), talk.then), ("unresolved", Then::HangUp));
    }

    const CONFIRMING: &str = r#"
name = "confirming"
title = "Confirming"
greeting = "Hello."
[[question]]
id = "size"
ask = "How many?"
number = { min = 1, max = 999 }
confirm = "I heard {size}. Is that right?"
[[question]]
id = "why"
ask = "Why so many as {size}?"
when = { size = { at_least = 100 } }
goto = { b = "end" }
choice = [{ value = "a", say = ["work"] }, { value = "b", say = ["what"], key = "7" }]
[[question]]
id = "sure"
ask = "Are you sure?"
yes_no = true
[[outcome]]
value = "done"
say = "Goodbye."
"#;

    #[test]
    fn an_answer_is_confirmed_and_no_asks_again() {
        let mut talk = Talk::with(CONFIRMING);
        talk.said("two hundred");
        assert_eq!(talk.says, ["I heard two hundred. Is that right?"]);
        assert!(talk.records.is_empty());
        assert_eq!(talk.then, Then::Listen { keys_max: 1 });
        assert!(talk.expected.grammar.contains("yes"));
        talk.said("no");
        assert_eq!(talk.says, ["Let us try again.", "How many?"]);
        talk.said("three hundred");
        talk.prompt(Prompt::NotUnderstood);
        assert_eq!(talk.says[1], "I heard three hundred. Is that right?");
        assert_eq!(talk.says[3], "Or press one for yes, and two for no.");
        talk.keyed("1");
        assert_eq!(talk.record("size"), "300");
        assert_eq!(talk.says, ["Why so many as three hundred?"]);
    }

    #[test]
    fn a_correction_within_a_no_is_taken() {
        let mut talk = Talk::with(CONFIRMING);
        talk.said("two hundred");
        talk.said("no, fifty");
        assert_eq!(talk.says, ["I heard fifty. Is that right?"]);
        talk.said("that's right");
        assert_eq!(talk.record("size"), "50");
        assert_eq!(talk.says, ["Are you sure?"], "the condition does not hold for 50");
    }

    #[test]
    fn no_to_a_confirmation_that_was_not_heard_is_still_a_no() {
        let mut talk = Talk::with(CONFIRMING);
        talk.said("two hundred");
        talk.agent.was_cut("", 0);
        talk.said("no");
        assert_eq!(talk.says, ["Let us try again.", "How many?"]);
    }

    #[test]
    fn an_answer_may_lead_to_the_end_and_may_be_a_command_word() {
        let mut talk = Talk::with(CONFIRMING);
        talk.said("200");
        talk.said("yes");
        talk.said("what");
        assert_eq!(talk.record("why"), "b");
        assert_eq!((talk.record("outcome"), talk.then), ("done", Then::HangUp));
    }

    #[test]
    fn forgetting_goes_back_exactly() {
        let mut talk = Talk::shipped("lead_qualification");
        talk.said("two hundred");
        talk.agent.was_cut("Two hundred", 0);
        let before = talk.agent.state.clone();
        talk.said("ten thousand");
        assert_ne!(talk.agent.state, before);
        talk.agent.forget_last();
        assert_eq!(talk.agent.state, before);
        talk.agent.forget_last();
        assert_eq!(talk.agent.state, before, "there is nothing more to forget");
        talk.said("ten thousand no over fifty thousand");
        assert_eq!(talk.says[0], "Two hundred people, good.", "that the question was cut off is known again");
    }

    #[test]
    fn a_greeting_that_was_forgotten_comes_again() {
        let mut talk = Talk::shipped("lead_qualification");
        let greeting = talk.says.clone();
        talk.agent.forget_last();
        talk.said("hello?");
        assert_eq!(talk.says, greeting);
    }

    #[test]
    fn every_turn_expects_what_it_asked_for() {
        for name in Scenario::shipped_names() {
            let scenario = Arc::new(Scenario::shipped(name).expect("it is shipped"));
            for question in &scenario.questions {
                let expected = question.form.expectation(true);
                let rules: Vec<&str> =
                    expected.grammar.lines().filter_map(|rule| Some(rule.split_once(" = ")?.0)).collect();
                assert!(expected.grammar.starts_with("public <answer> = <value> | <command>;"));
                for (at, _) in expected.grammar.match_indices('<') {
                    let rest = &expected.grammar[at..];
                    let name = &rest[..=rest.find('>').expect("a rule's name is closed")];
                    let is_rule = rules.iter().any(|rule| *rule == name || *rule == format!("public {name}"));
                    assert!(is_rule, "{name} is no rule of {}", expected.grammar);
                }
                assert!((500..8_000).contains(&expected.speech_ms_max), "{}", expected.speech_ms_max);
            }
        }
    }

    fn prompts() -> impl Strategy<Value = Prompt> {
        let words = [
            "yes",
            "no",
            "two",
            "hundred",
            "ten",
            "thirty",
            "monday",
            "noon",
            "repeat",
            "what",
            "go back",
            "later",
            "wait",
            "this month",
            "over fifty thousand",
            "p m",
            "not",
        ];
        prop_oneof![
            1 => Just(Prompt::CallStarted),
            1 => Just(Prompt::NotUnderstood),
            1 => any::<u32>().prop_map(Prompt::Silence),
            3 => "[0-9*#]{0,12}".prop_map(Prompt::Keyed),
            1 => ".{0,40}".prop_map(Prompt::Keyed),
            1 => ".{0,40}".prop_map(Prompt::Said),
            6 => proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..5)
                .prop_map(|words| Prompt::Said(words.join(" "))),
        ]
    }

    proptest! {
        #[test]
        fn every_call_ends_with_an_outcome_whatever_it_is_told(
            shipped in any::<bool>(),
            prompts in proptest::collection::vec((prompts(), proptest::option::of(".{0,60}"), any::<bool>()), 1..200),
        ) {
            let mut talk = if shipped { Talk::shipped("appointment_booking") } else { Talk::with(CONFIRMING) };
            for (prompt, cut, forget) in &prompts {
                if let Some(heard) = cut {
                    talk.agent.was_cut(heard, 0);
                }
                talk.prompt(prompt.clone());
                if *forget && talk.then != Then::HangUp {
                    let now = talk.agent.state.clone();
                    talk.agent.forget_last();
                    talk.prompt(prompt.clone());
                    prop_assert_eq!(&talk.agent.state, &now, "the same prompt has the same answer");
                }
            }
            let turns_max = talk.agent.scenario.turns_max as usize;
            for _ in 0..=turns_max {
                talk.said("repeat");
            }
            prop_assert_eq!(talk.then, Then::HangUp);
            let outcomes = talk.records.iter().filter(|(key, _)| key == "outcome").count();
            prop_assert!(outcomes >= 1);
        }
    }

    /// A conversation, as the caller has it.
    struct Talk {
        agent: ScriptedAgent,
        /// Of the last turn.
        says: Vec<String>,
        /// Of all turns.
        records: Vec<(String, String)>,
        expected: Expectation,
        then: Then,
    }

    impl Talk {
        fn shipped(name: &str) -> Self {
            Self::new(Scenario::shipped(name).expect("it is shipped"))
        }

        fn with(text: &str) -> Self {
            Self::new(Scenario::parse("test.toml", text).expect("it is well formed"))
        }

        fn new(scenario: Scenario) -> Self {
            let mut talk = Self {
                agent: ScriptedAgent::new(Arc::new(scenario)),
                says: Vec::new(),
                records: Vec::new(),
                expected: Expectation::default(),
                then: Then::HangUp,
            };
            talk.prompt(Prompt::CallStarted);
            talk
        }

        fn said(&mut self, text: &str) {
            self.prompt(Prompt::Said(text.into()));
        }

        fn keyed(&mut self, keys: &str) {
            self.prompt(Prompt::Keyed(keys.into()));
        }

        fn prompt(&mut self, prompt: Prompt) {
            let mut actions = Vec::new();
            self.then = self.agent.answer(&prompt, &mut actions).unwrap();
            self.says.clear();
            let mut expectations = 0;
            for action in actions {
                match action {
                    AgentAction::Say(sentence) => self.says.push(sentence),
                    AgentAction::Record { key, value } => self.records.push((key, value)),
                    AgentAction::Expect(expected) => {
                        self.expected = expected;
                        expectations += 1;
                    }
                    action => panic!("a script does no such thing: {action:?}"),
                }
            }
            assert_eq!(expectations, 1, "each turn says once what it expects");
            let is_over = self.then == Then::HangUp;
            assert!(is_over || !self.says.is_empty(), "a caller who is listened to was told something");
        }

        /// The last value under `key`.
        fn record(&self, key: &str) -> &str {
            self.records.iter().rev().find(|(k, _)| k == key).map_or("never recorded", |(_, value)| value)
        }
    }

    fn owned((key, value): (&str, &str)) -> (String, String) {
        (key.into(), value.into())
    }

    fn pair(text: &str) -> (String, String) {
        owned(text.split_once(' ').expect("a key and a value"))
    }
}
