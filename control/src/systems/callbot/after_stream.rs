//! The call's stream is over: the carrier asks whether anybody else goes on with the call.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use offhook_engine::call::EndReason;
use tokio::time::{Instant, sleep};

use super::shapes::AfterStreamForm;
use crate::domain::agent::TRANSFERRED_TO;
use crate::domain::call::WholeCall;
use crate::server::App;
use crate::settings::TransferSettings;
use crate::store::StoreError;
use crate::systems::error::ApiError;
use crate::systems::twiml;
use crate::systems::webhook::Webhook;

/// How long the call's record may take to be complete. The caller waits meanwhile.
const RECORDED_WITHIN: Duration = Duration::from_secs(3);

/// How often it is looked at until then.
const LOOK_EVERY: Duration = Duration::from_millis(20);

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
    let call = ended(&app, carrier_call_id).await?;
    let number = call.as_ref().and_then(|call| goes_on(call, &app.settings.transfers));
    if let (Some(call), Some(number)) = (&call, number) {
        tracing::info!(call_id = %call.record.call, carrier_call_id, number, "a call is put through");
    }
    let answer = number.map_or_else(twiml::hang_up, twiml::dial);
    Ok(([(header::CONTENT_TYPE, "application/xml")], answer))
}

/// The call with its complete record, if there is one in time.
async fn ended(app: &App, carrier_call_id: &str) -> Result<Option<WholeCall>, StoreError> {
    let give_up = Instant::now() + RECORDED_WITHIN;
    loop {
        let call = app.store.call(carrier_call_id).await?;
        let is_complete = call.as_ref().is_none_or(|call| call.record.ended.is_some());
        if is_complete || Instant::now() >= give_up {
            return Ok(call);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Who goes on with a call that is over, if anybody does.
fn goes_on<'a>(call: &WholeCall, transfers: &'a TransferSettings) -> Option<&'a str> {
    let failed = [EndReason::AgentFailed, EndReason::EngineFault].map(EndReason::as_str);
    if call.record.end_reason.as_deref().is_some_and(|reason| failed.contains(&reason)) {
        return transfers.fallback.as_ref().map(|number| number.as_str());
    }
    let (_, to) = call.answers.iter().find(|(name, _)| name == TRANSFERRED_TO)?;
    transfers.to.iter().find(|transfer| transfer.name == *to).map(|transfer| transfer.number.as_str())
}
