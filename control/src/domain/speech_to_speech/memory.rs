//! What was said in a call, in words: what a new session is told where an earlier one went away.

use serde_json::Value;

use crate::integrations::openai::ToolCall;
use crate::integrations::openai::realtime::{message, tool_call, tool_output};

/// Items that are kept. A longer call is remembered from there on.
const ITEMS_MAX: usize = 400;

/// The conversation so far, as far as there are words for it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    items: Vec<Item>,
    /// Where the agent's latest turn begins.
    turn: usize,
}

#[derive(Debug)]
struct Item {
    value: Value,
    is_agents: bool,
    /// What the session calls it, if words for it may still come.
    awaits: Option<String>,
}

impl Memory {
    /// All of it, as items for a session.
    pub(super) fn items(&self) -> impl Iterator<Item = &Value> {
        self.items.iter().filter(|item| item.awaits.is_none()).map(|item| &item.value)
    }

    /// The agent's turn begins.
    pub(super) fn turn_begins(&mut self) {
        if self.items.len() > ITEMS_MAX {
            // From something that the caller said on: a tool's answer without its question would be refused.
            let half = ITEMS_MAX / 2;
            let from = self.items.iter().skip(half).position(|item| item.value["role"] == "user");
            self.items.drain(..from.map_or(0, |from| half + from));
        }
        self.turn = self.items.len();
    }

    /// The caller did this.
    pub(super) fn caller(&mut self, text: &str) {
        self.push(message(true, text), false, None);
    }

    /// The caller said something, which the session calls `item`; its words may come.
    pub(super) fn caller_spoke(&mut self, item: &str) {
        self.push(Value::Null, false, Some(item.to_owned()));
    }

    /// Those words.
    pub(super) fn words(&mut self, item: &str, text: &str) {
        if let Some(waiting) = self.items.iter_mut().find(|waiting| waiting.awaits.as_deref() == Some(item)) {
            (waiting.value, waiting.awaits) = (message(true, text), None);
        }
    }

    /// The agent said this.
    pub(super) fn agent(&mut self, text: &str) {
        if !text.trim().is_empty() {
            self.push(message(false, text.trim()), true, None);
        }
    }

    /// The agent had this done, and that came of it.
    pub(super) fn tool(&mut self, call: &ToolCall, output: &str) {
        self.push(tool_call(call), false, None);
        self.push(tool_output(&call.id, output), false, None);
    }

    /// Of the agent's latest turn, only this was heard. What tools did stays, since it was done.
    pub(super) fn was_cut(&mut self, heard: &str) {
        let mut at = 0;
        let turn = self.turn;
        self.items.retain(|item| {
            at += 1;
            at <= turn || !item.is_agents
        });
        self.agent(heard);
    }

    fn push(&mut self, value: Value, is_agents: bool, awaits: Option<String>) {
        self.items.push(Item { value, is_agents, awaits });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(memory: &Memory) -> Vec<String> {
        let text = |item: &Value| match item["type"].as_str() {
            Some("message") => item["content"][0]["text"].as_str().unwrap_or_default().to_owned(),
            other => other.unwrap_or_default().to_owned(),
        };
        memory.items().map(text).collect()
    }

    #[test]
    fn of_a_turn_that_was_cut_off_what_was_heard_stands_with_what_was_done() {
        let mut memory = Memory::default();
        memory.agent("Hello.");
        memory.caller("Book it.");
        memory.turn_begins();
        memory.agent("One moment.");
        memory.tool(&ToolCall { id: "c1".into(), name: "book".into(), arguments: "{}".into() }, "done");
        memory.agent("It is booked for nine.");
        memory.was_cut("One moment. It is");
        assert_eq!(
            texts(&memory),
            ["Hello.", "Book it.", "function_call", "function_call_output", "One moment. It is"]
        );
        memory.was_cut("");
        assert_eq!(texts(&memory), ["Hello.", "Book it.", "function_call", "function_call_output"]);
    }

    #[test]
    fn what_the_caller_said_stands_in_its_place_once_there_are_words_for_it() {
        let mut memory = Memory::default();
        memory.caller_spoke("item_1");
        memory.agent("Two hundred, good.");
        assert_eq!(texts(&memory), ["Two hundred, good."]);
        memory.words("item_1", "two hundred");
        assert_eq!(texts(&memory), ["two hundred", "Two hundred, good."]);
    }

    #[test]
    fn a_long_call_is_remembered_from_something_the_caller_said() {
        let mut memory = Memory::default();
        for n in 0..300 {
            memory.caller(&format!("caller {n}"));
            memory.turn_begins();
            memory.tool(&ToolCall { id: n.to_string(), ..ToolCall::default() }, "done");
            memory.agent(&format!("agent {n}"));
        }
        let texts = texts(&memory);
        assert!(texts.len() <= ITEMS_MAX + 4 && texts[0].starts_with("caller"), "{:?}", &texts[..3]);
        assert_eq!(texts.last().unwrap(), "agent 299");
    }
}
