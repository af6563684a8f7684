//! What was said in a call, as a model is told of it: of the agent's turns, what was heard.

use serde_json::{Value, json};

use crate::integrations::openai::{Reply, ToolCall};

/// Messages that are kept. A longer call is remembered from there on.
const MESSAGES_MAX: usize = 400;

/// What a model is told of a tool whose answer did not come, because the caller took the floor.
pub(in crate::domain) const INTERRUPTED: &str =
    "{\"error\":\"interrupted before the answer came; it may have been done all the same\"}";

/// The conversation so far.
#[derive(Debug, Default)]
pub(super) struct History {
    messages: Vec<Value>,
    /// Where the latest turn begins.
    turn: usize,
    /// What the model has written of a reply that is not complete.
    draft: String,
}

impl History {
    /// A turn begins, with what the caller did, if anything.
    pub(super) fn begin(&mut self, caller: Option<String>) {
        if self.messages.len() > MESSAGES_MAX {
            // From something that the caller said on: a tool's answer without its question would be refused.
            let half = MESSAGES_MAX / 2;
            let from = self.messages.iter().skip(half).position(|message| message["role"] == "user");
            self.messages.drain(..from.map_or(0, |from| half + from));
        }
        self.turn = self.messages.len();
        self.messages.extend(caller.map(|text| json!({"role": "user", "content": text})));
    }

    /// For the model: `prompt`, and all messages.
    pub(super) fn for_model(&self, prompt: &str) -> Vec<Value> {
        let system = json!({"role": "system", "content": prompt});
        std::iter::once(system).chain(self.messages.iter().cloned()).collect()
    }

    /// More of a reply came.
    pub(super) fn more(&mut self, text: &str) {
        self.draft.push_str(text);
    }

    /// What came of a reply that is not complete.
    pub(super) fn draft(&self) -> &str {
        &self.draft
    }

    /// Its last bytes are taken back.
    pub(super) fn take_back(&mut self, bytes: usize) {
        let kept = self.draft.len().saturating_sub(bytes);
        self.draft.truncate(kept);
    }

    /// The reply will not be completed: what there is of it stands, until it is known what was heard.
    pub(super) fn break_off(&mut self) {
        let text = std::mem::take(&mut self.draft);
        self.said(text);
    }

    /// The agent says this.
    pub(super) fn said(&mut self, text: String) {
        self.draft.clear();
        if !text.is_empty() {
            self.messages.push(json!({"role": "assistant", "content": text}));
        }
    }

    /// The agent says something, perhaps, and uses tools. Each of them has an answer from here on, as a model demands.
    pub(super) fn called(&mut self, reply: &Reply) {
        self.draft.clear();
        let content = if reply.text.is_empty() { Value::Null } else { reply.text.clone().into() };
        let calls: Vec<Value> = reply.calls.iter().map(ToolCall::to_json).collect();
        self.messages.push(json!({"role": "assistant", "content": content, "tool_calls": calls}));
        let answers = reply.calls.iter();
        self.messages.extend(
            answers.map(|call| json!({"role": "tool", "tool_call_id": call.id, "content": INTERRUPTED})),
        );
    }

    /// A tool answered. `place`: of how many after it in its reply, counted from the last message.
    pub(super) fn answered(&mut self, place_from_end: usize, text: String) {
        if let Some(message) = self.messages.iter_mut().rev().nth(place_from_end) {
            message["content"] = text.into();
        }
    }

    /// The latest turn was not heard: it is as if nothing had been said. What was done by tools was done.
    pub(super) fn forget_last(&mut self) {
        self.draft.clear();
        let tools = self.messages[self.turn..].iter().rposition(|message| message["role"] == "tool");
        self.messages.truncate(tools.map_or(self.turn, |last| self.turn + last + 1));
        self.turn = self.messages.len();
    }

    /// Of the latest turn, only `heard` was heard. Returns how much of what was said that is, from 0 to 1.
    pub(super) fn was_cut(&mut self, heard: &str) -> f64 {
        let count = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
        let heard = count(heard);
        let mut left = heard;
        let mut said = 0;
        let mut place = self.turn;
        while let Some(message) = self.messages.get_mut(place) {
            place += 1;
            if message["role"] != "assistant" {
                continue;
            }
            let content = message["content"].as_str().unwrap_or_default();
            said += count(content);
            let kept = beginning(content, left);
            left = left.saturating_sub(count(content));
            if kept.len() == content.len() {
                continue;
            }
            if kept.is_empty() && message["tool_calls"].is_null() {
                place -= 1;
                self.messages.remove(place);
            } else {
                message["content"] = if kept.is_empty() { Value::Null } else { kept.to_owned().into() };
            }
        }
        if said == 0 { 1.0 } else { (heard as f64 / said as f64).min(1.0) }
    }
}

/// The beginning of `text` with so many characters, spaces aside.
fn beginning(text: &str, chars: usize) -> &str {
    let counted = text.char_indices().filter(|(_, c)| !c.is_whitespace());
    counted.map(|(at, _)| at).nth(chars).map_or(text, |end| text[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(history: &History) -> Vec<String> {
        let messages = history.messages.iter();
        messages
            .map(|m| format!("{} {}", m["role"].as_str().unwrap(), m["content"].as_str().unwrap_or("null")))
            .collect()
    }

    fn calls(text: &str) -> Reply {
        let call = |id: &str| ToolCall { id: id.into(), name: "look".into(), arguments: "{}".into() };
        Reply { text: text.into(), calls: vec![call("a"), call("b")] }
    }

    #[test]
    fn of_a_turn_that_was_cut_off_only_what_was_heard_stands() {
        let mut history = History::default();
        history.begin(Some("When do you open?".into()));
        history.more("We open at nine,  and we close");
        history.break_off();
        assert!((history.was_cut("We open at nine,") - 13.0 / 23.0).abs() < 1e-9);
        assert_eq!(told(&history), ["user When do you open?", "assistant We open at nine,"]);
        history.begin(Some("Thanks".into()));
        history.said("Goodbye.".into());
        assert_eq!(history.was_cut(""), 0.0);
        assert_eq!(told(&history)[2..], ["user Thanks"]);
        assert_eq!(history.was_cut(""), 1.0, "there was nothing to be heard");
    }

    #[test]
    fn a_turn_with_tools_is_cut_where_it_was_heard_and_each_use_keeps_an_answer() {
        let mut history = History::default();
        history.begin(Some("Is there a slot?".into()));
        history.called(&calls("One moment."));
        history.answered(1, "nine".into());
        history.said("At nine o'clock.".into());
        history.was_cut("One moment. At");
        assert_eq!(
            told(&history),
            [
                "user Is there a slot?",
                "assistant One moment.",
                "tool nine",
                &format!("tool {INTERRUPTED}"),
                "assistant At"
            ]
        );
        history.was_cut("One");
        assert_eq!(told(&history)[1], "assistant One");
        assert_eq!(history.messages.len(), 4);
        history.was_cut("");
        assert_eq!(told(&history)[1], "assistant null");
    }

    #[test]
    fn a_forgotten_turn_leaves_nothing_but_what_was_done() {
        let mut history = History::default();
        history.said("Hello.".into());
        history.begin(Some("two".into()));
        history.more("Two, g");
        history.break_off();
        history.forget_last();
        assert_eq!(told(&history), ["assistant Hello."]);
        history.begin(Some("book it".into()));
        history.called(&calls(""));
        history.said("Done.".into());
        history.forget_last();
        assert_eq!(told(&history).len(), 5, "{:?}", told(&history));
        history.forget_last();
        assert_eq!(told(&history).len(), 5, "there is no turn left to forget");
    }

    #[test]
    fn a_long_call_is_remembered_from_something_the_caller_said_on() {
        let mut history = History::default();
        for _ in 0..MESSAGES_MAX {
            history.begin(Some("x".into()));
            history.called(&calls(""));
            assert!(history.messages.len() <= MESSAGES_MAX + 4);
            assert_eq!(history.messages[0]["role"], "user");
        }
    }

    #[test]
    fn a_cut_counts_letters_in_every_script() {
        assert_eq!(beginning("我们九点开门。", 4), "我们九点");
        assert_eq!(beginning("a b", 2), "a b");
        assert_eq!(beginning("a b", 0), "");
    }
}
