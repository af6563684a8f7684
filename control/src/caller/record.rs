//! What the server wrote down about a call, read over its API: the words that a caller's side cannot know.
//!
//! Every field is optional, and a server without this API is no error: the conversation is then told without words.

use serde::Deserialize;
use serde_json::Value;

use super::webhook::Webhooks;

/// A call as `GET /v1/calls/<call>` tells it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServerRecord {
    /// What was said, in order.
    pub turns: Vec<ServerTurn>,
    /// What the agent wrote down: an object of names and values, or a list.
    #[serde(alias = "recorded", alias = "captured")]
    pub answers: Value,
    /// Where the server keeps its recording.
    pub recording: Option<String>,
    /// Where the server keeps its journal.
    pub journal: Option<String>,
    /// Why the call ended, once it has.
    pub end_reason: Option<String>,
}

/// One thing said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServerTurn {
    /// `agent` or `caller`.
    pub speaker: String,
    /// What was said; of the agent, what was heard of it.
    pub text: String,
    /// What the agent would have said, where it was cut off.
    #[serde(deserialize_with = "null_is_empty")]
    pub unheard: String,
    /// From the answer to its beginning, in ms.
    #[serde(alias = "started_at_ms", alias = "from_ms")]
    pub started_ms: Option<u64>,
    /// From the answer to its end, in ms.
    #[serde(alias = "ended_at_ms", alias = "to_ms")]
    pub ended_ms: Option<u64>,
}

impl ServerTurn {
    /// True if the agent said it.
    pub fn is_agent(&self) -> bool {
        self.speaker == "agent"
    }
}

impl ServerRecord {
    /// Name and value of all that the agent wrote down.
    pub fn answers(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match &self.answers {
            Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
            Value::Array(list) => {
                let field =
                    |entry: &Value, names: [&str; 2]| names.iter().find_map(|name| entry.get(name)).map(text);
                list.iter()
                    .filter_map(|entry| {
                        Some((field(entry, ["key", "name"])?, field(entry, ["value", "text"])?))
                    })
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Fetches the record of a call by the carrier's name for it; none if the server has none to show.
pub async fn fetch(server: &Webhooks, call_sid: &str, bearer: Option<&str>) -> Option<ServerRecord> {
    let reply = server.get(&format!("/v1/calls/{call_sid}"), bearer).await.ok()?;
    if !reply.status.is_success() {
        return None;
    }
    read(&reply.body)
}

/// Fetches a call's timeline; none if the server has none to show. One entry per event, as the server writes it.
pub async fn fetch_timeline(server: &Webhooks, call_sid: &str, bearer: Option<&str>) -> Option<Vec<Value>> {
    let reply = server.get(&format!("/v1/calls/{call_sid}/timeline"), bearer).await.ok()?;
    if !reply.status.is_success() {
        return None;
    }
    let list = |value: Value| match value {
        Value::Array(list) => Some(list),
        _ => None,
    };
    match serde_json::from_str(&reply.body).ok()? {
        Value::Object(mut map) => {
            ["entries", "timeline", "events"].iter().find_map(|name| map.remove(*name).and_then(list))
        }
        value => list(value),
    }
}

fn read(body: &str) -> Option<ServerRecord> {
    let mut value: Value = serde_json::from_str(body).ok()?;
    let inner = value.get_mut("call").filter(|inner| inner.get("turns").is_some()).map(Value::take);
    serde_json::from_value(inner.unwrap_or(value)).ok()
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(json: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(json).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_whatever_it_lacks() {
        let record = read(
            r#"{"call":"c1","status":"completed","turns":[
                {"turn":1,"speaker":"agent","text":"Hello.","unheard":null,"response_ms":null},
                {"turn":2,"speaker":"caller","text":"hi"}],
                "answers":{"company_size":"200","budget":50000},"recording":"recordings/c1.wav"}"#,
        )
        .unwrap();
        assert_eq!(record.turns.len(), 2);
        assert!(record.turns[0].is_agent() && !record.turns[1].is_agent());
        let answers: Vec<_> = record.answers();
        assert!(answers.contains(&("company_size".into(), "200".into())));
        assert!(answers.contains(&("budget".into(), "50000".into())));
        assert!(read("{}").unwrap().turns.is_empty());
        assert!(read("[").is_none());
    }

    #[test]
    fn an_envelope_and_a_list_of_answers_are_understood() {
        let record = read(
            r#"{"call":{"turns":[{"speaker":"agent","text":"a"}],"answers":[{"key":"k","value":"v"},{"x":1}]}}"#,
        )
        .unwrap();
        assert_eq!(record.turns.len(), 1);
        assert_eq!(record.answers(), [("k".to_owned(), "v".to_owned())]);
    }
}
