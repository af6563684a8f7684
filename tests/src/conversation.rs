//! The shortest conversation that is one, and a call that goes through it without a flaw: it runs beside whatever a test
//! does to the server, and must not notice.

use std::io::Write;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::audio::{self, Recording};
use crate::raw::RawCall;
use crate::server::Server;

const SCENARIO: &str = r#"
name = "short"
title = "Short"
greeting = "Good day, and thank you very much for calling."

[[question]]
id = "well"
ask = "Is all well?"
yes_no = true

[[outcome]]
value = "done"
say = "Goodbye."
"#;

/// What the agent says when all is well.
pub const SAID: [&str; 2] = ["Good day, and thank you very much for calling. Is all well?", "Goodbye."];

/// Events that no well-behaved call has, however slow the machine is.
pub const TROUBLE: [&str; 8] = [
    "fault",
    "gap",
    "out_of_sequence",
    "stale",
    "ahead_of_time",
    "empty_payload",
    "unknown_mark",
    "voice_failed",
];

/// A server whose agent has this conversation. The file is the agent's, and stays as long as it is held.
pub async fn server(variables: &[(&str, &str)]) -> (Server, NamedTempFile) {
    let scenario = scenario();
    let path = scenario.path().to_str().expect("temporary files have plain names").to_owned();
    (Server::start_with(&["--speech", "keypad", "--scenario", &path], variables).await, scenario)
}

/// The conversation as a scenario file.
pub fn scenario() -> NamedTempFile {
    let file = NamedTempFile::new().and_then(|mut file| file.write_all(SCENARIO.as_bytes()).map(|()| file));
    file.expect("the system has a folder for temporary files")
}

/// Goes through the conversation to its end.
pub async fn converse(call: &mut RawCall) {
    call.listen_to_turn().await;
    call.press('1').await;
    let goodbye = call.listen_to_end().await;
    assert_eq!(goodbye.code, 1000, "{goodbye:?}");
}

/// Checks the record of a call that went through the conversation, and gives its timeline.
pub async fn assert_conversed(server: &Server, call: &RawCall) -> Vec<(String, Value)> {
    let record = server.record(&call.call_sid).await;
    assert_eq!((&record["status"], &record["end_reason"]), (&json!("completed"), &json!("agent-hangup")));
    assert_eq!(record["recorded"], json!({ "well": "yes", "outcome": "done" }));
    let turns = record["turns"].as_array().expect("a record has turns");
    let said: Vec<_> = turns.iter().map(|turn| turn["text"].as_str().expect("a turn has words")).collect();
    assert_eq!(said, [SAID[0], "1", SAID[1]], "{record:#}");
    assert_files(server, &record).await;
    server.timeline(&call.call_sid).await
}

/// Checks that a call's recording is as long as the call, and that its journal replays.
pub async fn assert_files(server: &Server, record: &Value) {
    let recording = Recording::read(&server.file(record, "recording").await);
    recording.assert_lasts(record["duration_ms"].as_u64().expect("a call that is over has a duration"));
    let replayed = server.replay(record).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stdout));
}

/// A call without any trouble.
pub async fn sane_call(server: &Server) {
    let mut call = RawCall::open(server).await;
    converse(&mut call).await;
    assert_sane(server, &call).await;
}

/// Checks that a call that went through the conversation had no trouble at all: every sample came, in order.
pub async fn assert_sane(server: &Server, call: &RawCall) {
    assert!(
        call.audio(0) == [SAID[0], SAID[1]].map(audio::spoken_sentences).concat(),
        "every sample, in order"
    );
    let timeline = assert_conversed(server, call).await;
    let trouble: Vec<_> = timeline.iter().filter(|(kind, _)| TROUBLE.contains(&kind.as_str())).collect();
    assert!(trouble.is_empty(), "{trouble:?}");
}

/// Does something to a server while a call runs on it, and checks that the call did not notice. One more call comes after.
pub async fn undisturbed<T>(server: &Server, deed: impl Future<Output = T>) -> T {
    let mut call = RawCall::open(server).await;
    let running = async {
        converse(&mut call).await;
        assert_sane(server, &call).await;
    };
    let (result, ()) = futures_util::future::join(deed, running).await;
    sane_call(server).await;
    result
}
