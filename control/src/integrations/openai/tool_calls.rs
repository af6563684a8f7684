//! Tool calls, put together from the pieces that a model streams.

use serde_json::{Value, json};

/// Tool calls of one reply, and bytes of their arguments in all. A model that wants more is out of its mind.
const CALLS_MAX: usize = 16;
const ARGUMENTS_MAX: usize = 64 * 1024;

/// What a model wants done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// Its name for this call; made here if it gave none.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments, JSON as the model wrote it.
    pub arguments: String,
}

impl ToolCall {
    /// As it stands in the history that the model is given.
    pub fn to_json(&self) -> Value {
        json!({"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}})
    }
}

/// Calls in the making, by the index that the model gives them.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<(u64, ToolCall)>);

impl Calls {
    /// Takes `delta.tool_calls` of a chunk. False if that is too much.
    ///
    /// Some servers leave out the index (then the place counts), give whole calls with the same index, or write arguments
    /// as an object instead of a text.
    pub(super) fn push(&mut self, deltas: &[Value]) -> bool {
        for (place, delta) in deltas.iter().enumerate() {
            let mut index = delta["index"].as_u64().unwrap_or(place as u64);
            let id = delta["id"].as_str().unwrap_or_default();
            let last = self.0.iter().rfind(|(i, _)| *i == index).map(|(_, call)| call);
            if last.is_some_and(|call| !id.is_empty() && !call.id.is_empty() && call.id != id) {
                index = self.0.iter().map(|(i, _)| i + 1).max().unwrap_or(index);
            }
            let at = match self.0.iter().position(|(i, _)| *i == index) {
                Some(at) => at,
                None if self.0.len() == CALLS_MAX => return false,
                None => {
                    self.0.push((index, ToolCall::default()));
                    self.0.len() - 1
                }
            };
            let call = &mut self.0[at].1;
            if !id.is_empty() {
                call.id = id.to_owned();
            }
            let function = &delta["function"];
            call.name.push_str(function["name"].as_str().unwrap_or_default());
            match &function["arguments"] {
                Value::String(piece) => call.arguments.push_str(piece),
                whole @ Value::Object(_) => call.arguments = whole.to_string(),
                _ => {}
            }
            let bytes: usize = self.0.iter().map(|(_, call)| call.arguments.len() + call.name.len()).sum();
            if bytes > ARGUMENTS_MAX {
                return false;
            }
        }
        true
    }

    /// All of them, in the order of their indices.
    pub(super) fn finish(mut self) -> Vec<ToolCall> {
        self.0.sort_by_key(|(index, _)| *index);
        let mut calls: Vec<ToolCall> = self.0.into_iter().map(|(_, call)| call).collect();
        for (place, call) in calls.iter_mut().enumerate() {
            if call.id.is_empty() {
                call.id = format!("call_{place}");
            }
        }
        calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_together(chunks: &[Value]) -> Vec<ToolCall> {
        let mut calls = Calls::default();
        for chunk in chunks {
            assert!(calls.push(chunk.as_array().unwrap()));
        }
        calls.finish()
    }

    fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
        ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() }
    }

    #[test]
    fn pieces_of_calls_that_alternate_come_together_by_their_index() {
        let calls = put_together(&[
            json!([{"index": 1, "id": "b", "type": "function", "function": {"name": "two", "arguments": ""}}]),
            json!([{"index": 0, "id": "a", "type": "function", "function": {"name": "one", "arguments": "{\"x\""}}]),
            json!([{"index": 1, "function": {"arguments": "{}"}}, {"index": 0, "function": {"arguments": ":1}"}}]),
        ]);
        assert_eq!(calls, [call("a", "one", "{\"x\":1}"), call("b", "two", "{}")]);
    }

    #[test]
    fn whole_calls_are_taken_without_index_or_id_and_with_arguments_as_an_object() {
        let calls = put_together(&[json!([{"function": {"name": "one", "arguments": {"x": 1}}}])]);
        assert_eq!(calls, [call("call_0", "one", "{\"x\":1}")]);
        let same_index = |id| json!([{"index": 0, "id": id, "function": {"name": id, "arguments": "{}"}}]);
        let calls = put_together(&[same_index("a"), same_index("b"), same_index("c")]);
        assert_eq!(calls.iter().map(|call| &*call.name).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn too_many_or_too_long_calls_are_refused() {
        let mut calls = Calls::default();
        let many: Vec<Value> = (0..=CALLS_MAX).map(|n| json!({"index": n, "id": n.to_string()})).collect();
        assert!(!calls.push(&many));
        let long = json!([{"index": 0, "function": {"arguments": "x".repeat(ARGUMENTS_MAX + 1)}}]);
        assert!(!Calls::default().push(long.as_array().unwrap()));
    }
}
