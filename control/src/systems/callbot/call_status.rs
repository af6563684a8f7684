//! The carrier reports where a call stands.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;

use super::shapes::CallStatusForm;
use crate::domain::call::StatusReport;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::store::StoreError;
use crate::systems::error::ApiError;
use crate::systems::form::Form;
use crate::systems::webhook::Webhook;

/// A call's status
///
/// The carrier's status callback. A report that repeats an earlier one, or was overtaken, changes nothing.
#[utoipa::path(
    method(get, post),
    path = "/api/callbot/call-status",
    tag = "callbot",
    request_body(content = CallStatusForm, content_type = "application/x-www-form-urlencoded"),
    security(("twilioSignature" = [])),
    responses(
        (status = 200, description = "Taken note of; the body is empty"),
        (status = 403, description = "X-Twilio-Signature does not match"),
        (status = 503, description = "The database takes no requests; try again later")
    )
)]
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    Extension(webhook): Extension<Webhook>,
) -> Result<StatusCode, ApiError> {
    let report = report(&webhook.form)?;
    let (carrier_call_id, status) = (report.carrier_call_id.clone(), report.status.clone());
    match app.calls.report(report).await {
        Ok(outcome) => {
            let call_id = outcome.call().map(tracing::field::display);
            tracing::info!(call_id, carrier_call_id, status, outcome = outcome.as_str(), "call status");
        }
        // It is kept and written later: to have it sent again would not help.
        Err(StoreError::Delayed(_)) => {
            tracing::warn!(carrier_call_id, status, "call status is written later")
        }
        Err(error) => return Err(error.into()),
    }
    Ok(StatusCode::OK)
}

fn report(form: &Form) -> Result<StatusReport, ApiError> {
    let carrier_call_id = form.require("CallSid")?.to_owned();
    let status = form.require("CallStatus")?.to_ascii_lowercase();
    // Twilio's `Duration` is in minutes, and comes with `CallDuration`, in seconds; alone it is in seconds.
    let duration = form.number("Duration")?;
    let duration_s = form.number("CallDuration")?.or(duration);
    let sequence = form.number("SequenceNumber")?;
    Ok(StatusReport { carrier_call_id, status, sequence, duration_s, at: UnixMs::now() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(encoded: &str) -> Result<StatusReport, ApiError> {
        report(&Form::parse(encoded.as_bytes()).unwrap())
    }

    #[test]
    fn seconds_win_over_minutes() {
        let both = read("CallSid=CA1&CallStatus=completed&Duration=1&CallDuration=49").unwrap();
        assert_eq!(both.duration_s, Some(49));
        let alone = read("CallSid=CA1&CallStatus=completed&Duration=49&SequenceNumber=3").unwrap();
        assert_eq!((alone.duration_s, alone.sequence), (Some(49), Some(3)));
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        assert_eq!(read("CallStatus=completed").unwrap_err(), ApiError::missing("CallSid"));
        assert_eq!(read("CallSid=CA1").unwrap_err(), ApiError::missing("CallStatus"));
        assert_eq!(
            read("CallSid=CA1&CallStatus=completed&Duration=long").unwrap_err(),
            ApiError::bad_parameter("Duration", "integer")
        );
    }
}
