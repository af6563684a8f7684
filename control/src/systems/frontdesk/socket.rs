//! A call's media socket: its path says which client answers, and who calls.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::Response;

use super::voice::WITHHELD;
use crate::domain::phone::E164;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::systems::error::ApiError;
use crate::systems::media::{self, Door};

/// A call's media socket
///
/// A WebSocket that speaks Twilio's Media Streams, as callbot's does. Only a call that `/voice` announced within the last minute
/// is let in, by the `callSid` in `start`. A client without balance, or that is switched off, closes it with code 1008 and the
/// reason. A handshake that carries `X-Twilio-Signature` is refused if the signature is wrong.
#[utoipa::path(
    get,
    path = "/ws/{client_id}/{caller_phone}",
    tag = "calls",
    params(
        ("client_id" = String, Path),
        ("caller_phone" = String, Path, description = "E.164, or `anonymous`")
    ),
    security((), ("twilioSignature" = [])),
    responses(
        (status = 101),
        (status = 403, description = "X-Twilio-Signature does not match"),
        (status = 404, description = "There is no such client")
    )
)]
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    Path((client, caller)): Path<(String, String)>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    media::is_signed(&app, &request)?;
    let caller = match caller.as_str() {
        WITHHELD => None,
        number => Some(E164::parse(number).ok_or_else(|| {
            ApiError::invalid("caller_phone must be a number with its country, such as +15551234567")
        })?),
    };
    let known = app.store.any_line(&client).await?;
    let line = known.ok_or_else(|| ApiError::not_found("Client not found"))?.id;
    media::take(app, arrival, request, Door::Line { line, caller }).await
}
