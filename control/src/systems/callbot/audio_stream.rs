//! A call's media socket: handshake, admission, and over to the engine.
//!
//! Who may come in is settled here, on the runtime: a socket that is refused costs the media threads and the database
//! nothing. The bytes that were read to find that out go along with the socket, and are read again from the first.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use offhook_engine::NewLeg;
use tokio::net::TcpStream;

use super::seen::Seen;
use super::{signature, webhook};
use crate::domain::calls::Admitted;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::server::admission::{self, LIMITS, Opening, Turned};
use crate::server::arrival::Arrival;
use crate::server::middleware::CarrierSigned;
use crate::server::upgrade;
use crate::settings::MediaAuth;
use crate::systems::error::ApiError;

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
    mut request: Request,
) -> Result<Response<Body>, ApiError> {
    let signed = is_signed(&app, &request)?;
    let (mut response, pending) = upgrade::accept(&mut request)?;
    if signed {
        response.extensions_mut().insert(CarrierSigned { account: None });
    }
    tokio::spawn(async move {
        // Counted as a connection of its address until it is a call.
        let permit = arrival.permit;
        let (mut socket, read) = match upgrade::finish(pending).await {
            Ok(bare) => bare,
            Err(error) => return tracing::warn!(error, "a media socket was lost in its handshake"),
        };
        match let_in(&app, &mut socket, read).await {
            Ok((admitted, opening)) => {
                drop(permit);
                hand_over(&app, socket, admitted, opening).await;
            }
            Err(turned) => {
                tracing::warn!(reason = %turned, "a media socket was turned away");
                admission::turn_away(socket, &turned).await;
            }
        }
    });
    Ok(response)
}

/// True if the carrier signed the handshake; refuses a signature that is there and wrong.
fn is_signed(app: &App, request: &Request) -> Result<bool, ApiError> {
    let (Some(key), Some(given)) =
        (&app.settings.twilio_auth_token, request.headers().get(webhook::SIGNATURE))
    else {
        return Ok(false);
    };
    let seen = Seen::of(app, request)?;
    if signature::is_valid(key.reveal(), given.to_str().unwrap_or(""), &seen.url().of_socket(), &[]) {
        return Ok(true);
    }
    tracing::warn!("a media socket with a wrong signature was refused");
    Err(ApiError::forbidden("X-Twilio-Signature does not match"))
}

async fn let_in(app: &App, socket: &mut TcpStream, read: Vec<u8>) -> Result<(Admitted, Opening), Turned> {
    let opening = admission::read_start(socket, read, LIMITS).await?;
    let admitted = match app.settings.media_auth {
        MediaAuth::Announced => {
            app.calls.admit(&opening.carrier_call_id, opening.token.as_deref(), Instant::now())?
        }
        MediaAuth::Open => app.calls.admit_anyone(&opening.carrier_call_id, UnixMs::now()).await,
    };
    Ok((admitted, opening))
}

async fn hand_over(app: &App, socket: TcpStream, admitted: Admitted, opening: Opening) {
    let Admitted { call, scenario } = admitted;
    let socket = match socket.into_std() {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(call_id = %call, %error, "a media socket was lost"),
    };
    app.calls.answered(&call, &opening.stream_id, UnixMs::now());
    let leg = NewLeg { socket, already_read: opening.bytes };
    match app.hand_over(leg, call.clone(), &scenario) {
        Ok(handle) => {
            tracing::info!(call_id = %call, "call answered");
            app.calls.took_on(&call, handle);
        }
        Err(error) => {
            tracing::error!(call_id = %call, %error, "a call could not be taken on");
            app.calls.not_taken(&call, UnixMs::now());
        }
    }
}
