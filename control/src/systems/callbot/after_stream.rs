//! The call's stream is over: the carrier asks whether anybody else goes on with the call.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::shapes::AfterStreamForm;
use crate::domain::onward::{ended, goes_on};
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::twiml;
use crate::systems::webhook::Webhook;

/// A call's stream is over
///
/// The carrier's webhook after the media socket has closed, which it is told of where calls can be transferred. Answered with
/// TwiML that dials whom the agent put the call through to, or, if the agent failed, who stands in for it; else that hangs up.
#[utoipa::path(
    method(get, post),
    path = "/api/callbot/after-stream",
    tag = "callbot",
    request_body(content = AfterStreamForm, content_type = "application/x-www-form-urlencoded"),
    security(("twilioSignature" = [])),
    responses(
        (
            status = 200,
            description = "What the carrier is to do: TwiML",
            content_type = "application/xml",
            body = String,
            example = json!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response>\n    <Dial>+15005550006</Dial>\n</Response>"
            ),
        ),
        (status = 403, description = "X-Twilio-Signature does not match"),
        (status = 503, description = "The database takes no requests; try again later")
    )
)]
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    Extension(webhook): Extension<Webhook>,
) -> Result<impl IntoResponse, ApiError> {
    let carrier_call_id = webhook.form.require("CallSid")?;
    let call = ended(&app.store, carrier_call_id).await?;
    let number = call.as_ref().and_then(|call| goes_on(call, &app.settings.transfers));
    if let (Some(call), Some(number)) = (&call, number) {
        tracing::info!(call_id = %call.record.call, carrier_call_id, number, "a call is put through");
    }
    let answer = number.map_or_else(twiml::hang_up, twiml::dial);
    Ok(([(header::CONTENT_TYPE, "application/xml")], answer))
}
