//! What the server wrote down about a call, read over its API: the words that a caller's side cannot know.
//!
//! Every field is optional, and a server without this API is no error: the conversation is then told without words.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::webhook::Webhooks;

/// A call as `GET /v1/calls/<call>` tells it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServerRecord {
    /// What was said, in order.
    pub turns: Vec<ServerTurn>,
    /// What the agent wrote down: names and values.
    pub recorded: BTreeMap<String, String>,
    /// Where the server keeps its recording, under its data folder.
    pub recording: Option<String>,
    /// Where the server keeps its journal, under its data folder.
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
    pub unheard: String,
    /// From the answer to its beginning, in ms.
    pub started_ms: Option<u64>,
    /// From the answer to its end, in ms.
    pub ended_ms: Option<u64>,
}

impl ServerTurn {
    /// True if the agent said it.
    pub fn is_agent(&self) -> bool {
        self.speaker == "agent"
    }
}

/// What a server shows of a call.
#[derive(Clone, Debug)]
pub enum Found {
    /// Its record.
    Record(ServerRecord),
    /// Nothing just now: it has had too many requests, is busy, or fails.
    Later,
    /// No answer that can be read.
    Broken,
    /// It has none to show.
    Nothing,
}

/// Looks up the record of a call by the carrier's name for it.
pub async fn look_up(server: &Webhooks, call_sid: &str, bearer: Option<&str>) -> Found {
    match server.get(&format!("/v1/calls/{call_sid}"), bearer).await {
        Ok(reply) if reply.status.is_success() => read(&reply.body).map_or(Found::Broken, Found::Record),
        Ok(reply) if reply.status.as_u16() == 429 || reply.status.is_server_error() => Found::Later,
        Ok(_) => Found::Nothing,
        Err(_) => Found::Broken,
    }
}

/// Fetches the record of a call by the carrier's name for it; none if the server has none to show.
pub async fn fetch(server: &Webhooks, call_sid: &str, bearer: Option<&str>) -> Option<ServerRecord> {
    match look_up(server, call_sid, bearer).await {
        Found::Record(record) => Some(record),
        Found::Later | Found::Broken | Found::Nothing => None,
    }
}

/// Fetches a call's timeline, one line per event; none if the server has none to show.
pub async fn fetch_timeline(server: &Webhooks, call_sid: &str, bearer: Option<&str>) -> Option<Vec<String>> {
    let reply = server.get(&format!("/v1/calls/{call_sid}/timeline"), bearer).await.ok()?;
    let timeline: Timeline = reply.status.is_success().then(|| serde_json::from_str(&reply.body).ok())??;
    Some(timeline.events.into_iter().map(|entry| entry.text.unwrap_or(entry.kind)).collect())
}

#[derive(Deserialize)]
struct Timeline {
    events: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    kind: String,
    text: Option<String>,
}

fn read(body: &str) -> Option<ServerRecord> {
    serde_json::from_str(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_whatever_it_lacks() {
        let record = read(
            r#"{"id":"c1","status":"completed","turns":[
                {"turn":1,"speaker":"agent","text":"Hello.","unheard":"","response_ms":null},
                {"turn":2,"speaker":"caller","text":"hi"}],
                "recorded":{"company_size":"200"},"recording":"recordings/c1.wav"}"#,
        )
        .unwrap();
        assert_eq!(record.turns.len(), 2);
        assert!(record.turns[0].is_agent() && !record.turns[1].is_agent());
        assert_eq!(record.recorded["company_size"], "200");
        assert!(read("{}").unwrap().turns.is_empty());
        assert!(read("[").is_none());
    }
}
