//! 3CX tells of an incoming call.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request};
use serde::{Deserialize, Serialize};

use super::{failed, invalid_json, invalid_signature, signature};
use crate::domain::speech::STAND_INS;
use crate::domain::voiceclone::{self, NewCall, Taken};
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::json::{Fields, JSON_BYTES_MAX, json_body};

/// The header with the signature.
pub(super) const SIGNATURE: &str = "x-3cx-signature";

/// The answer, field by field as documented.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    status: String,
    call_id: Option<String>,
    cloned_voice_id: String,
    threecx_call_id: String,
    message: String,
}

/// The voice that is not there yet.
const PENDING: &str = "pending";

/// A call comes in: it is announced, and the caller's voice looked for.
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Json<Answer>, ApiError> {
    let (headers, body) = json_body(request, JSON_BYTES_MAX).await?;
    check(&app, &headers, &body)?;
    let fields = Fields::parse(&body).map_err(|_| invalid_json())?;
    let event = Event::read(&fields)?;
    if event.kind != "IncomingCall" || event.direction.is_some_and(|direction| direction != "In") {
        return Ok(Json(Answer::ignored(event.call_id)));
    }
    let new = NewCall {
        carrier_call_id: event.call_id.clone(),
        from: event.caller_id,
        to: event.called_number.unwrap_or_default(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let answering = |taken: &Taken| {
        let answer = Answer::of(taken, &event.call_id);
        serde_json::to_string(&answer).expect("an answer has string keys only")
    };
    let scenario = app.answering.scenario_named(None).unwrap_or_default();
    let seen = voiceclone::take(&app.calls, &app.store, app.clones.as_ref(), new, scenario, answering).await;
    let seen = seen.map_err(failed)?;
    let answer = serde_json::from_str(&seen.answer).map_err(failed)?;
    if seen.is_new {
        tracing::info!(threecx_call_id = event.call_id, "a 3CX call was announced");
    }
    Ok(Json(answer))
}

/// Whether the webhook is from whom it should be. Without a signature it may be anyone's, unless one is required.
fn check(app: &App, headers: &HeaderMap, body: &[u8]) -> Result<(), ApiError> {
    let settings = &app.settings.voiceclone;
    let given = headers.get(SIGNATURE).map(|given| given.to_str().unwrap_or_default());
    let good = match (given, &settings.threecx_secret) {
        (None, _) => !settings.require_signature,
        (Some(given), Some(key)) => signature::is_3cx(key.reveal(), given, body),
        (Some(_), None) => {
            tracing::warn!("a 3CX webhook is signed, and THREECX_WEBHOOK_SECRET is not set to check it");
            !settings.require_signature
        }
    };
    if good { Ok(()) } else { Err(invalid_signature()) }
}

/// The webhook's body, as far as it is acted on; the rest is checked for its types.
#[derive(Debug)]
struct Event {
    kind: String,
    call_id: String,
    caller_id: String,
    called_number: Option<String>,
    direction: Option<String>,
}

impl Event {
    fn read(fields: &Fields) -> Result<Self, ApiError> {
        let required = |name: &str| match fields.text(name)?.filter(|text| !text.trim().is_empty()) {
            Some(text) => Ok(text.trim().to_owned()),
            None => Err(ApiError::missing(name)),
        };
        fields.text("timestamp")?;
        fields.text("recording_url")?;
        fields.integer("duration", 0..=u32::MAX)?;
        Ok(Self {
            kind: required("event_type")?,
            call_id: required("call_id")?,
            caller_id: required("caller_id")?,
            called_number: fields.text("called_number")?,
            direction: fields.text("direction")?,
        })
    }
}

impl Answer {
    fn of(taken: &Taken, threecx_call_id: &str) -> Self {
        let is_stand_in = taken.maker == Some(STAND_INS);
        let (voice, message) = match &taken.voice {
            Some(voice) if is_stand_in => {
                (voice.voice_id.as_str(), "Greeting initiated, using a stand-in for the caller's voice")
            }
            Some(voice) => (voice.voice_id.as_str(), "Greeting initiated, using cached voice"),
            None if taken.maker.is_some() => (PENDING, "Greeting initiated, voice cloning in progress"),
            None => (PENDING, "Greeting initiated, voices are not cloned"),
        };
        Self {
            status: "success".into(),
            call_id: Some(taken.call.to_string()),
            cloned_voice_id: voice.into(),
            threecx_call_id: threecx_call_id.into(),
            message: message.into(),
        }
    }

    fn ignored(threecx_call_id: String) -> Self {
        Self {
            status: "ignored".into(),
            call_id: None,
            cloned_voice_id: PENDING.into(),
            threecx_call_id,
            message: "Only incoming calls are answered".into(),
        }
    }
}
