//! Vapi's server messages: what they tell of a call.
//!
//! A message is `{"message": {"type": …, "call": {…}, …}}`. Two types tell of a call's course: `status-update`, and
//! `end-of-call-report` with all that is known at its end. Everything in them is optional in practice, older bodies have some of
//! it beside `type` instead of in `artifact` and `analysis`, and they come twice and in any order. By the official server SDK 3.0
//! and API description, read 2026-11.

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use crate::domain::account_calls::{CallReport, Outcome, Stage};
use crate::domain::phone::E164;
use crate::domain::time::UnixMs;
use crate::hex;

/// The longest name, number and reason that is kept, in characters.
const WORD_MAX: usize = 128;
/// The longest summary.
const SUMMARY_MAX: usize = 20_000;
/// The longest URL, in bytes.
const URL_MAX: usize = 2_048;

/// What of a call is worth keeping beside what has a place of its own: the names are those of the answer.
const DETAILS: [(&str, &[&[&str]]); 6] = [
    ("type", &[&["call", "type"]]),
    ("assistant_id", &[&["call", "assistantId"], &["assistant", "id"]]),
    ("phone_number_id", &[&["call", "phoneNumberId"], &["phoneNumber", "id"]]),
    ("cost", &[&["cost"], &["call", "cost"]]),
    ("success_evaluation", &[&["analysis", "successEvaluation"], &["call", "analysis", "successEvaluation"]]),
    ("structured_data", &[&["analysis", "structuredData"], &["call", "analysis", "structuredData"]]),
];

/// What a body is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VapiError {
    /// It is no JSON.
    #[error("The body is not JSON")]
    NoJson,
    /// It has no message.
    #[error("message must be an object")]
    NoMessage,
    /// The message does not say of which kind it is.
    #[error("message.type must be a text")]
    NoType,
}

/// What a message tells of a call; none if it is of a kind that tells of none.
pub fn read(body: &[u8]) -> Result<Option<CallReport>, VapiError> {
    let body_json: Value = serde_json::from_slice(body).map_err(|_| VapiError::NoJson)?;
    let message =
        body_json.get("message").filter(|message| message.is_object()).ok_or(VapiError::NoMessage)?;
    let kind = message["type"].as_str().ok_or(VapiError::NoType)?;
    let stage = match kind {
        "end-of-call-report" => Stage::Ended,
        "status-update" => match stage_of(message["status"].as_str().unwrap_or_default()) {
            Some(stage) => stage,
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    let is_report = kind == "end-of-call-report";
    let id = text_at(message, &[&["call", "id"], &["callId"]]).unwrap_or_else(|| {
        // The same body once more is the same call.
        format!("report-{}", &hex::encode(digest(&SHA256, body).as_ref())[..32])
    });
    let customer: [&[&str]; 2] = [&["customer", "number"], &["call", "customer", "number"]];
    Ok(Some(CallReport {
        id,
        stage,
        agent: text_at(message, &[&["assistant", "name"], &["call", "assistant", "name"]]),
        assistant: text_at(message, &[&["call", "assistantId"], &["assistant", "id"], &["assistantId"]]),
        customer_phone: text_at(message, &customer).map(|number| in_one_form(&number)),
        customer_name: text_at(message, &[&["customer", "name"], &["call", "customer", "name"]]),
        started: moment_at(message, &[&["startedAt"], &["call", "startedAt"]]),
        ended: moment_at(message, &[&["endedAt"], &["call", "endedAt"]]),
        duration_s: seconds(message),
        ended_reason: text_at(message, &[&["endedReason"], &["call", "endedReason"]]),
        summary: long_text_at(
            message,
            &[&["analysis", "summary"], &["summary"], &["call", "analysis", "summary"]],
        ),
        recording: recording(message),
        outcome: is_report.then(|| outcome(message)),
    }))
}

/// None of a word that is not known: the list is open.
fn stage_of(status: &str) -> Option<Stage> {
    match status {
        "scheduled" | "queued" | "ringing" => Some(Stage::Ringing),
        "in-progress" | "forwarding" => Some(Stage::InProgress),
        "ended" => Some(Stage::Ended),
        _ => None,
    }
}

fn outcome(message: &Value) -> Outcome {
    let mut details = Map::new();
    for (name, places) in DETAILS {
        if let Some(value) = at(message, places).filter(|value| !value.is_null()) {
            details.insert(name.to_owned(), value.clone());
        }
    }
    let structured: [&[&str]; 2] =
        [&["artifact", "structuredOutputs"], &["call", "artifact", "structuredOutputs"]];
    let structured_outputs = at(message, &structured).and_then(Value::as_object).cloned().unwrap_or_default();
    Outcome { details, structured_outputs, transcript: transcript(message) }
}

/// What was said, without what the model was told.
fn transcript(message: &Value) -> Vec<Value> {
    let places: [&[&str]; 3] = [&["artifact", "messages"], &["messages"], &["call", "artifact", "messages"]];
    let Some(said) = at(message, &places).and_then(Value::as_array) else {
        let text: [&[&str]; 2] = [&["artifact", "transcript"], &["transcript"]];
        let text = at(message, &text).and_then(Value::as_str).unwrap_or_default();
        return text.lines().filter_map(spoken).collect();
    };
    let said = said.iter().filter_map(Value::as_object).filter(|item| {
        let role = item.get("role").and_then(Value::as_str).unwrap_or_default();
        role != "system" && item.get("message").is_some_and(Value::is_string)
    });
    let kept = ["role", "message", "time", "endTime", "secondsFromStart", "duration"];
    said.map(|item| {
        let fields = kept.iter().filter_map(|name| Some(((*name).to_owned(), item.get(*name)?.clone())));
        Value::Object(fields.collect())
    })
    .collect()
}

/// A line of a transcript that is one text: `AI: Hello`, `User: Hi`.
fn spoken(line: &str) -> Option<Value> {
    let (who, what) = line.split_once(':')?;
    let role = match who.trim() {
        "AI" | "Assistant" | "Bot" => "assistant",
        "User" | "Customer" => "user",
        _ => return None,
    };
    Some(serde_json::json!({ "role": role, "message": what.trim() }))
}

fn seconds(message: &Value) -> Option<u32> {
    let number = |name: &str, factor: f64| {
        let value = message[name].as_f64().filter(|value| value.is_finite() && *value >= 0.0)?;
        Some((value * factor).min(f64::from(u32::MAX)) as u32)
    };
    number("durationSeconds", 1.0)
        .or_else(|| number("durationMs", 0.001))
        .or_else(|| number("durationMinutes", 60.0))
}

fn recording(message: &Value) -> Option<String> {
    let places: [&[&str]; 5] = [
        &["artifact", "recordingUrl"],
        &["recordingUrl"],
        &["artifact", "recording", "mono", "combinedUrl"],
        &["artifact", "stereoRecordingUrl"],
        &["call", "artifact", "recordingUrl"],
    ];
    let url = at(message, &places)?.as_str()?.trim();
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    let is_plain = url.len() <= URL_MAX && url.bytes().all(|byte| byte.is_ascii_graphic());
    (is_web && is_plain).then(|| url.to_owned())
}

/// A number as all others are written, if it is one.
fn in_one_form(number: &str) -> String {
    E164::parse(number).map_or_else(|| number.to_owned(), |number| number.as_str().to_owned())
}

/// The first of these places where there is something.
fn at<'a>(message: &'a Value, places: &[&[&str]]) -> Option<&'a Value> {
    let found = places.iter().map(|place| place.iter().fold(message, |value, name| &value[*name]));
    found.into_iter().find(|value| !value.is_null())
}

/// A short text on one line.
fn text_at(message: &Value, places: &[&[&str]]) -> Option<String> {
    let text = places.iter().find_map(|place| at(message, &[place])?.as_str())?;
    let text: String = text.chars().filter(|c| !c.is_control()).take(WORD_MAX).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn long_text_at(message: &Value, places: &[&[&str]]) -> Option<String> {
    let text = places.iter().find_map(|place| at(message, &[place])?.as_str())?;
    let text: String =
        text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).take(SUMMARY_MAX).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// A time, as RFC 3339 has it or in ms since 1970.
fn moment_at(message: &Value, places: &[&[&str]]) -> Option<UnixMs> {
    let value = at(message, places)?;
    match value {
        Value::String(text) => text.parse::<Timestamp>().ok().map(|at| UnixMs(at.as_millisecond())),
        value => value.as_i64().map(UnixMs),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(message: Value) -> CallReport {
        read(json!({ "message": message }).to_string().as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_report_of_today_is_read() {
        let read = report(json!({
            "type": "end-of-call-report",
            "endedReason": "customer-ended-call",
            "startedAt": "2026-01-15T10:30:00.000Z",
            "endedAt": "2026-01-15T10:33:00.500Z",
            "cost": 0.12,
            "artifact": {
                "messages": [
                    { "role": "system", "message": "You sell shoes" },
                    { "role": "bot", "message": "Hello", "time": 1, "secondsFromStart": 0.5, "secret": 1 },
                    { "role": "user", "message": "Hi" },
                    { "role": "tool_calls", "toolCalls": [] },
                    7,
                ],
                "transcript": "AI: Hello\nUser: Hi\n",
                "recordingUrl": "https://storage.example/a.wav",
                "structuredOutputs": { "a": { "name": "size", "result": 5 } },
            },
            "analysis": { "summary": "Asked for shoes.\nBought none.", "successEvaluation": "true" },
            "call": { "id": "0198c1d2", "type": "inboundPhoneCall", "assistantId": "a-1" },
            "customer": { "number": "+1 (500) 555-0009", "name": "Pat" },
            "assistant": { "name": "Customer Support" },
        }));
        assert_eq!((read.id.as_str(), read.stage), ("0198c1d2", Stage::Ended));
        assert_eq!(read.agent.as_deref(), Some("Customer Support"));
        assert_eq!(read.customer_phone.as_deref(), Some("+15005550009"));
        assert_eq!(read.ended.unwrap().0 - read.started.unwrap().0, 180_500);
        assert_eq!(read.summary.as_deref(), Some("Asked for shoes.\nBought none."));
        assert_eq!(read.recording.as_deref(), Some("https://storage.example/a.wav"));
        let outcome = read.outcome.unwrap();
        assert_eq!(
            outcome.transcript,
            [
                json!({ "role": "bot", "message": "Hello", "time": 1, "secondsFromStart": 0.5 }),
                json!({ "role": "user", "message": "Hi" }),
            ]
        );
        assert_eq!(outcome.structured_outputs["a"]["result"], 5);
        assert_eq!(outcome.details["type"], "inboundPhoneCall");
        assert_eq!(outcome.details["success_evaluation"], "true");
    }

    #[test]
    fn a_report_of_old_is_read_as_well() {
        let read = report(json!({
            "type": "end-of-call-report", "endedReason": "assistant-ended-call", "summary": "Nothing.",
            "transcript": "AI: Hello\nUser: Hi: there\nnoise", "recordingUrl": "http://r.example/1",
            "call": { "id": "c", "customer": { "number": "anonymous" } }, "durationSeconds": 61.7,
        }));
        assert_eq!((read.summary.as_deref(), read.duration_s), (Some("Nothing."), Some(61)));
        assert_eq!(read.recording.as_deref(), Some("http://r.example/1"));
        assert_eq!(read.customer_phone.as_deref(), Some("anonymous"));
        assert_eq!(
            read.outcome.unwrap().transcript,
            [
                json!({ "role": "assistant", "message": "Hello" }),
                json!({ "role": "user", "message": "Hi: there" })
            ]
        );
    }

    #[test]
    fn a_report_that_says_nothing_is_a_call_all_the_same_and_the_same_body_the_same_call() {
        let empty = json!({ "type": "end-of-call-report" });
        let one = report(empty.clone());
        assert_eq!(one.stage, Stage::Ended);
        assert!(one.id.starts_with("report-") && one.outcome.is_some());
        assert_eq!(report(empty).id, one.id);
        assert_ne!(report(json!({ "type": "end-of-call-report", "cost": 1 })).id, one.id);
    }

    #[test]
    fn a_status_says_how_far_a_call_is() {
        for (status, stage) in [
            ("queued", Some(Stage::Ringing)),
            ("ringing", Some(Stage::Ringing)),
            ("in-progress", Some(Stage::InProgress)),
            ("forwarding", Some(Stage::InProgress)),
            ("ended", Some(Stage::Ended)),
            ("levitating", None),
        ] {
            let body =
                json!({ "message": { "type": "status-update", "status": status, "call": { "id": "c" } } });
            let read = read(body.to_string().as_bytes()).unwrap();
            assert_eq!(read.as_ref().map(|report| report.stage), stage, "{status}");
            assert!(read.is_none_or(|report| report.outcome.is_none()));
        }
    }

    #[test]
    fn what_is_no_message_is_told_and_other_kinds_are_none_of_ours() {
        for (body, error) in [
            ("", VapiError::NoJson),
            ("{", VapiError::NoJson),
            ("[]", VapiError::NoMessage),
            ("{}", VapiError::NoMessage),
            (r#"{"message":"hi"}"#, VapiError::NoMessage),
            (r#"{"message":{}}"#, VapiError::NoType),
            (r#"{"message":{"type":7}}"#, VapiError::NoType),
        ] {
            assert_eq!(read(body.as_bytes()), Err(error), "{body}");
        }
        for kind in ["transcript", "speech-update", "assistant-request", "x"] {
            let body = json!({ "message": { "type": kind } }).to_string();
            assert_eq!(read(body.as_bytes()), Ok(None), "{kind}");
        }
    }

    #[test]
    fn hostile_values_are_left_out_or_cut() {
        let read = report(json!({
            "type": "end-of-call-report",
            "endedReason": "x\u{0}y".repeat(500), "startedAt": "tomorrow", "endedAt": {}, "durationSeconds": -5,
            "durationMinutes": 1e300, "summary": ["no text"],
            "artifact": { "messages": { "role": 1 }, "recordingUrl": "javascript:alert(1)", "structuredOutputs": [1] },
            "call": { "id": 7, "customer": 5 }, "customer": { "number": {}, "name": " " }, "assistant": [],
        }));
        assert_eq!(read.ended_reason.unwrap().chars().count(), WORD_MAX);
        assert_eq!((read.started, read.ended, read.summary, read.recording), (None, None, None, None));
        assert_eq!((read.customer_phone, read.customer_name, read.agent), (None, None, None));
        assert_eq!(read.duration_s, Some(u32::MAX));
        let outcome = read.outcome.unwrap();
        assert!(outcome.transcript.is_empty() && outcome.structured_outputs.is_empty());
    }
}
