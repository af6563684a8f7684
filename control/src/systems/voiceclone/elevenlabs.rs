//! ElevenLabs tells that a call of its agents' is over.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{failed, invalid_json, invalid_signature, signature};
use crate::domain::time::UnixMs;
use crate::domain::voiceclone::{self, PostCall};
use crate::server::App;
use crate::settings::Environment;
use crate::systems::error::ApiError;
use crate::systems::json::json_body;

/// The header with the signature.
pub(super) const SIGNATURE: &str = "elevenlabs-signature";

/// A body may hold a call's audio.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// The answer, field by field as documented.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    status: &'static str,
    call_id: String,
}

/// A call of an agent's is over: that is written down, once, and closes the record of the 3CX call that it was.
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Json<Answer>, ApiError> {
    let (headers, body) = json_body(request, BYTES_MAX).await?;
    check(&app, &headers, &body)?;
    let Ok(Value::Object(fields)) = serde_json::from_slice(&body) else { return Err(invalid_json()) };
    let post_call = if fields.contains_key("data") { of_vendor(fields) } else { flat(fields) }?;
    let call_id = post_call.call_id.clone();
    voiceclone::post_call(&app.calls, &app.store, post_call).await.map_err(failed)?;
    Ok(Json(Answer { status: "processed", call_id }))
}

/// Whether the webhook is from whom it should be.
fn check(app: &App, headers: &HeaderMap, body: &[u8]) -> Result<(), ApiError> {
    let settings = &app.settings.voiceclone;
    let given = headers.get(SIGNATURE).and_then(|given| given.to_str().ok()).unwrap_or_default();
    let good = match &settings.elevenlabs_secret {
        Some(key) => {
            let now_s = UnixMs::now().0.div_euclid(1_000);
            signature::is_elevenlabs(key.reveal(), given, body, now_s, settings.allow_bare_signature)
        }
        None => app.settings.environment == Environment::Development && !given.is_empty(),
    };
    if good { Ok(()) } else { Err(invalid_signature()) }
}

type Fields = Map<String, Value>;

/// The body as it is documented: all in one object.
fn flat(fields: Fields) -> Result<PostCall, ApiError> {
    let status = text(&fields, "status")?.ok_or_else(|| ApiError::missing("status"))?;
    let call_id = text(&fields, "call_id")?.ok_or_else(|| ApiError::missing("call_id"))?;
    for name in ["agent_id", "transcript", "timestamp"] {
        text(&fields, name)?;
    }
    let duration_s = whole_number(&fields, "duration_seconds")?;
    let custom = match fields.get("custom_variables") {
        None | Some(Value::Null) => Fields::new(),
        Some(Value::Object(custom)) => custom.clone(),
        Some(_) => return Err(ApiError::bad_parameter("custom_variables", "object")),
    };
    let carrier_call_id = text(&custom, "threecx_call_id")?;
    Ok(PostCall { event: format!("{call_id} {status}"), call_id, carrier_call_id, duration_s, body: fields })
}

/// The body as ElevenLabs sends it: `{"type", "event_timestamp", "data"}`.
fn of_vendor(mut fields: Fields) -> Result<PostCall, ApiError> {
    let kind = text(&fields, "type")?.ok_or_else(|| ApiError::missing("type"))?;
    let Some(Value::Object(data)) = fields.get_mut("data") else {
        return Err(ApiError::bad_parameter("data", "object"));
    };
    let call_id = text(data, "conversation_id")?.ok_or_else(|| ApiError::missing("data.conversation_id"))?;
    let duration_s = data.get("metadata").and_then(|metadata| metadata["call_duration_secs"].as_f64());
    let variables = data.get("conversation_initiation_client_data").map(|told| &told["dynamic_variables"]);
    let carrier_call_id = variables.and_then(|told| told["threecx_call_id"].as_str()).map(str::to_owned);
    // Minutes of audio, which belong into a file if anywhere.
    data.remove("full_audio");
    Ok(PostCall {
        event: format!("{call_id} {kind}"),
        call_id,
        carrier_call_id,
        duration_s: duration_s.map(|seconds| seconds.clamp(0.0, f64::from(u32::MAX)) as u32),
        body: fields,
    })
}

/// A text that is not empty; null counts as absent.
fn text(fields: &Fields, name: &str) -> Result<Option<String>, ApiError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Some(_) => Err(ApiError::bad_parameter(name, "string")),
    }
}

fn whole_number(fields: &Fields, name: &str) -> Result<Option<u32>, ApiError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(ApiError::bad_parameter(name, "integer")),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<PostCall, String> {
        let Value::Object(fields) = body else { panic!("an object") };
        let read = if fields.contains_key("data") { of_vendor(fields) } else { flat(fields) };
        read.map_err(|error| error.message)
    }

    #[test]
    fn the_documented_body_and_the_vendors_own_say_the_same() {
        let documented = read(json!({
            "call_id": "conv_1", "agent_id": "agent-abc123", "transcript": "Hello", "duration_seconds": 120,
            "status": "completed", "custom_variables": {"threecx_call_id": "3cx-call-12345"},
            "timestamp": "2025-12-10T12:02:00Z",
        }))
        .unwrap();
        let vendors = read(json!({
            "type": "post_call_audio", "event_timestamp": 1739537297,
            "data": {
                "agent_id": "agent_1", "conversation_id": "conv_1", "full_audio": "SUQz",
                "metadata": {"call_duration_secs": 120},
                "conversation_initiation_client_data": {"dynamic_variables": {"threecx_call_id": "3cx-call-12345"}},
            },
        }))
        .unwrap();
        assert_eq!(
            (documented.event.as_str(), vendors.event.as_str()),
            ("conv_1 completed", "conv_1 post_call_audio")
        );
        for post_call in [documented, vendors] {
            assert_eq!((post_call.call_id.as_str(), post_call.duration_s), ("conv_1", Some(120)));
            assert_eq!(post_call.carrier_call_id.as_deref(), Some("3cx-call-12345"));
            assert!(!Value::Object(post_call.body).to_string().contains("SUQz"), "audio is not kept");
        }
    }

    #[test]
    fn what_is_missing_or_mistyped_is_named() {
        for (body, wanted) in [
            (json!({"status": "completed"}), "call_id"),
            (json!({"call_id": "c"}), "status"),
            (json!({"call_id": 7, "status": "completed"}), "call_id"),
            (json!({"call_id": "c", "status": "completed", "duration_seconds": -1}), "duration_seconds"),
            (json!({"call_id": "c", "status": "completed", "custom_variables": []}), "custom_variables"),
            (json!({"type": "post_call_audio", "data": {}}), "data.conversation_id"),
            (json!({"type": "post_call_audio", "data": 7}), "data"),
            (json!({"data": {"conversation_id": "c"}}), "type"),
        ] {
            let told = read(body.clone()).unwrap_err();
            assert!(told.ends_with(wanted), "{body}: {told}");
        }
    }
}
