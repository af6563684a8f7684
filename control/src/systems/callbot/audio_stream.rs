//! A call's media socket: handshake, admission, and over to the engine.
//!
//! Who may come in is settled here, on the runtime: a socket that is refused costs the media threads and the database
//! nothing. The bytes that were read to find that out go along with the socket, and are read again from the first.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use offhook_engine::{CallId, NewLeg};
use tokio::net::TcpStream;

use super::{Seen, check_socket};
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::server::admission::{self, LIMITS, Opening, Turned};
use crate::server::upgrade;
use crate::settings::MediaAuth;
use crate::systems::error::ApiError;

pub(super) async fn handle(
    State(app): State<Arc<App>>,
    mut request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let seen = Seen::of(&app, request.headers(), request.uri())?;
    check_socket(&app, request.headers(), &seen)?;
    let (response, pending) = upgrade::accept(&mut request)?;
    tokio::spawn(async move {
        let (mut socket, read) = match upgrade::finish(pending).await {
            Ok(bare) => bare,
            Err(error) => return tracing::warn!(error, "a media socket was lost in its handshake"),
        };
        match let_in(&app, &mut socket, read).await {
            Ok((call, opening)) => hand_over(&app, socket, call, opening).await,
            Err(turned) => {
                tracing::warn!(reason = %turned, "a media socket was turned away");
                admission::turn_away(socket, &turned).await;
            }
        }
    });
    Ok(response)
}

async fn let_in(app: &App, socket: &mut TcpStream, read: Vec<u8>) -> Result<(CallId, Opening), Turned> {
    let opening = admission::read_start(socket, read, LIMITS).await?;
    let call = match app.settings.media_auth {
        MediaAuth::Announced => {
            app.calls.admit(&opening.carrier_call_id, opening.token.as_deref(), Instant::now())?
        }
        MediaAuth::Open => app.calls.admit_anyone(&opening.carrier_call_id, UnixMs::now()).await,
    };
    Ok((call, opening))
}

async fn hand_over(app: &App, socket: TcpStream, call: CallId, opening: Opening) {
    let socket = match socket.into_std() {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(call_id = %call, %error, "a media socket was lost"),
    };
    app.calls.answered(&call, &opening.stream_id, UnixMs::now());
    let leg = NewLeg { socket, already_read: opening.bytes };
    match app.hand_over(leg, call.clone()) {
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
