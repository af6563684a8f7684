//! A call comes in: the carrier asks what to do, and is told to stream the call to the client of the called number.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use crate::domain::call::OnLine;
use crate::domain::calls::Incoming;
use crate::domain::lines::Line;
use crate::domain::phone::E164;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::systems::callbot::shapes::IncomingCallForm;
use crate::systems::error::ApiError;
use crate::systems::twiml;
use crate::systems::webhook::Webhook;

/// What stands for the number of a caller who withholds it.
pub(super) const WITHHELD: &str = "anonymous";

/// What Twilio writes as the number of such callers: ANONYMOUS, BLOCKED, RESTRICTED, UNAVAILABLE and UNKNOWN, as they are typed
/// on a keypad.
const WITHHELD_AS: [&str; 5] = ["+266696687", "+2562533", "+7378742833", "+86282452253", "+8656696"];

/// What is said on a number that nobody has.
const UNKNOWN: &str = "The number that you called is not in service. Goodbye.";
/// What is said where calls are not answered.
const OFF: &str = "We cannot take your call at the moment. Please try again later. Goodbye.";

/// A call comes in
///
/// The carrier's webhook: answered with TwiML that streams the call to the client whose number was called. A number that nobody
/// has, a client that is switched off or has no balance, and a call that there is no room for, hear a sentence instead.
#[utoipa::path(
    method(get, post),
    path = "/voice",
    tag = "calls",
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
                 <Stream url=\"wss://yourdomain.com/ws/client-uuid/+15551234567\">\n        </Stream>\n    </Connect>\n\
                 </Response>"
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
    let carrier_call_id = form.require("CallSid")?.to_owned();
    let (from, to) = (form.require("From")?, form.require("To")?);
    let caller = E164::parse(from).filter(|_| !WITHHELD_AS.contains(&from));
    let line = match E164::parse(to) {
        Some(number) => app.store.line_of_number(number.as_str()).await?,
        None => None,
    };
    let Some(line) = line else {
        tracing::warn!(carrier_call_id, "a call to a number that no client has");
        return Ok(xml(twiml::say_and_hang_up(UNKNOWN)));
    };
    let incoming = Incoming {
        carrier: "twilio",
        carrier_call_id: carrier_call_id.clone(),
        from: caller.as_ref().map(ToString::to_string).unwrap_or_default(),
        to: line.number.clone(),
        direction: "inbound".into(),
        scenario: app.answering.scenario_named(None).unwrap_or_default(),
        on_line: Some(OnLine { line: line.id.clone(), caller: caller.clone() }),
    };
    if let Some((why, answer)) = refusal(&app, &line) {
        tracing::warn!(carrier_call_id, line = line.id, why, "a call was refused");
        app.calls.refuse(incoming, &why, UnixMs::now()).await;
        return Ok(xml(answer));
    }
    let announced = app.calls.announce(incoming, Instant::now(), UnixMs::now()).await;
    let (call, _) = announced.map_err(|error| {
        tracing::error!(%error, carrier_call_id, "a call was turned away");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    })?;
    tracing::info!(call_id = %call, carrier_call_id, line = line.id, "call announced");
    let caller = caller.as_ref().map_or(WITHHELD, E164::as_str);
    let url = webhook.seen.socket(&format!("{}/ws/{}/{caller}", arrival.base, line.id));
    Ok(xml(twiml::stream(&url, None, &[])))
}

/// Why a call is not taken, and what the carrier is told.
fn refusal(app: &App, line: &Line) -> Option<(String, String)> {
    if !line.active {
        return Some(("the client is switched off".into(), twiml::say_and_hang_up(OFF)));
    }
    if line.balance_s == 0 {
        return Some(("the client has no balance".into(), twiml::say_and_hang_up(OFF)));
    }
    let busy = app.has_room().err()?;
    let answer = match &app.settings.busy_redirect {
        Some(url) => twiml::redirect(url),
        None => twiml::say_and_hang_up(&app.settings.busy_sentence),
    };
    Some((busy.to_string(), answer))
}

fn xml(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/xml")], text)
}
