//! What a webhook is told.

use serde_json::{Value, json};

use crate::domain::account_calls::{EndedCall, WITHHELD};
use crate::domain::ended_calls::EVENT;

/// The body of `call.ended`, with all of its keys. What is not known is an empty text. `base`: the dashboard's, for links.
pub(super) fn of(call: &EndedCall, base: &str) -> Value {
    json!({
        "event": EVENT,
        "timestamp": call.ended.to_seconds_text(),
        "call_id": call.name,
        "customer_phone": call.customer_phone.as_deref().unwrap_or(WITHHELD),
        "assistant_name": call.assistant_name,
        "duration_seconds": call.duration_s,
        "ended_reason": call.ended_reason,
        "call_summary": call.summary.as_deref().unwrap_or_default(),
        "call_details": call.details,
        "structured_outputs": call.structured_outputs,
        "conversation_transcript": call.transcript,
        "recording_url": call.recording.as_ref().map(|recording| recording.url(base)).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::domain::account_calls::Recording;
    use crate::domain::time::UnixMs;

    #[test]
    fn all_twelve_keys_are_there_in_their_order_and_none_is_null() {
        let mut call = EndedCall {
            id: "0198".into(),
            name: "vapi-1".into(),
            owner: "u".into(),
            customer_phone: None,
            customer_name: None,
            assistant_name: "Customer Support".into(),
            started: UnixMs(1_736_936_820_000),
            ended: UnixMs(1_736_937_000_400),
            duration_s: 180,
            ended_reason: "customer-ended-call".into(),
            summary: None,
            details: Map::new(),
            structured_outputs: Map::new(),
            transcript: Vec::new(),
            recording: None,
        };
        let body = of(&call, "https://x.example/dashboard");
        let keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "event",
                "timestamp",
                "call_id",
                "customer_phone",
                "assistant_name",
                "duration_seconds",
                "ended_reason",
                "call_summary",
                "call_details",
                "structured_outputs",
                "conversation_transcript",
                "recording_url"
            ]
        );
        assert!(body.as_object().unwrap().values().all(|value| !value.is_null()), "{body}");
        assert_eq!(
            (&body["event"], &body["timestamp"], &body["call_id"], &body["duration_seconds"]),
            (&json!("call.ended"), &json!("2025-01-15T10:30:00Z"), &json!("vapi-1"), &json!(180))
        );
        call.recording = Some(Recording::of_call("0198"));
        let url = of(&call, "https://x.example/dashboard")["recording_url"].clone();
        assert_eq!(url, "https://x.example/dashboard/v1/calls/0198/recording");
    }
}
