//! A call's media socket.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;

use crate::server::App;
use crate::server::arrival::Arrival;
use crate::systems::error::ApiError;
use crate::systems::media::{self, Door};

/// A call's media socket
///
/// A WebSocket that speaks Twilio's Media Streams: JSON in text messages, the caller's audio in, the agent's audio out. Only
/// a call that was announced by the webhook is let in, by the token in the `<Parameter>` of its TwiML; the same token must
/// be among `customParameters` of `start`. A stream without it is closed with code 1008 and the reason. A handshake that
/// carries `X-Twilio-Signature` is refused if the signature is wrong.
#[utoipa::path(
    get,
    path = "/api/callbot/audio-stream",
    tag = "callbot",
    security((), ("twilioSignature" = [])),
    extensions(("x-websocket" = json!({ "receives": "CarrierMessage", "sends": "BotMessage" }))),
    responses((status = 101), (status = 403, description = "X-Twilio-Signature does not match"))
)]
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    media::take(app, arrival, request, Door::Token).await
}
