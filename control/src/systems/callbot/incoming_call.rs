//! A call comes in: the carrier asks what to do, and is told to stream the call here.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::shapes::IncomingCallForm;
use crate::domain::calls::Incoming;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::systems::error::ApiError;
use crate::systems::twiml;
use crate::systems::webhook::Webhook;

/// Where the call's audio goes, below the system's base.
const STREAM_PATH: &str = "/api/callbot/audio-stream";

/// Where the carrier asks what to do once that is over, below the system's base.
const AFTER_PATH: &str = "/api/callbot/after-stream";

/// A call comes in
///
/// The carrier's webhook: answered with TwiML that streams the call to the media socket, with a token that opens it. A call
/// that there is no room for is answered with a sentence and a hang-up, or a redirect.
#[utoipa::path(
    method(get, post),
    path = "/api/callbot/incoming-call",
    tag = "callbot",
    params(("scenario" = Option<String>, Query, description = "Which agent answers; without it the configured one", example = "lead_qualification")),
    request_body(content = IncomingCallForm, content_type = "application/x-www-form-urlencoded"),
    security(("twilioSignature" = [])),
    responses(
        (
            status = 200,
            description = "What the carrier is to do: TwiML",
            content_type = "application/xml",
            body = String,
            example = json!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response>\n    <Connect>\n        \
                 <Stream url=\"wss://your-domain.com/api/callbot/audio-stream\">\n            \
                 <Parameter name=\"token\" value=\"0198c1d2e3f4\" />\n        </Stream>\n    </Connect>\n</Response>"
            ),
        ),
        (status = 403, description = "X-Twilio-Signature does not match"),
        (status = 503, description = "The call cannot be written down")
    )
)]
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    Extension(webhook): Extension<Webhook>,
) -> Result<impl IntoResponse, ApiError> {
    let form = &webhook.form;
    let incoming = Incoming {
        carrier: "twilio",
        carrier_call_id: form.require("CallSid")?.to_owned(),
        from: short(form.get("From")),
        to: short(form.get("To")),
        direction: short(form.get("Direction")),
        scenario: scenario(&app, arrival.uri.query())?,
        on_line: None,
    };
    let carrier_call_id = incoming.carrier_call_id.clone();
    if let Err(busy) = app.has_room() {
        tracing::warn!(carrier_call_id, reason = %busy, "a call was refused");
        app.calls.refuse(incoming, &busy.to_string(), UnixMs::now()).await;
        let answer = match &app.settings.busy_redirect {
            Some(url) => twiml::redirect(url),
            None => twiml::say_and_hang_up(&app.settings.busy_sentence),
        };
        return Ok(xml(answer));
    }
    let announced = app.calls.announce(incoming, Instant::now(), UnixMs::now()).await;
    let (call, token) = announced.map_err(|error| {
        tracing::error!(%error, carrier_call_id, "a call was turned away");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    })?;
    tracing::info!(call_id = %call, carrier_call_id, "call announced");
    let url = webhook.seen.socket(&format!("{}{STREAM_PATH}", arrival.base));
    let after = app
        .settings
        .transfers
        .is_any()
        .then(|| webhook.seen.origin(&format!("{}{AFTER_PATH}", arrival.base)));
    Ok(xml(twiml::stream(&url, after.as_deref(), &[("token", &token)])))
}

fn xml(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/xml")], text)
}

/// The scenario that the webhook's URL asks for, or the configured one. A carrier signs the query with the rest.
fn scenario(app: &App, query: Option<&str>) -> Result<Arc<str>, ApiError> {
    let mut fields = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let asked = fields.find(|(name, _)| name == "scenario").map(|(_, value)| value);
    app.answering
        .scenario_named(asked.as_deref())
        .ok_or_else(|| ApiError::bad_parameter("scenario", "the name of a scenario of this server"))
}

/// A number or a word as a carrier writes it, cut to what a record takes.
fn short(text: Option<&str>) -> String {
    text.unwrap_or("").trim().chars().filter(|c| !c.is_control()).take(128).collect()
}
