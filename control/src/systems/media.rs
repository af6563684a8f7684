//! A call's media socket: handshake, admission, and over to the engine, for every system that has one.
//!
//! Who may come in is settled here, on the runtime: a socket that is refused costs the media threads and the database
//! nothing. The bytes that were read to find that out go along with the socket, and are read again from the first.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use offhook_engine::NewLeg;
use tokio::net::TcpStream;

use super::callbot::signature;
use super::seen::Seen;
use super::webhook;
use crate::domain::calls::{Admitted, Refusal};
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::server::admission::{self, LIMITS, Opening, Turned};
use crate::server::arrival::Arrival;
use crate::server::middleware::CarrierSigned;
use crate::server::upgrade;
use crate::settings::MediaAuth;
use crate::systems::error::ApiError;

/// How a socket says which call it is for.
#[derive(Clone, Debug)]
pub(super) enum Door {
    /// By the token that its webhook's answer gave.
    Token,
    /// By its path: the line, and who calls. The carrier's name of the call tells that a webhook announced it.
    Line {
        /// The line's id.
        line: String,
        /// Who calls, as E.164; none if the number was withheld.
        caller: Option<crate::domain::phone::E164>,
    },
}

/// Answers a handshake, and goes on with the socket behind it.
pub(super) async fn take(
    app: Arc<App>,
    arrival: Arrival,
    mut request: Request,
    door: Door,
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
        match let_in(&app, &mut socket, read, &door).await {
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
pub(super) fn is_signed(app: &App, request: &Request) -> Result<bool, ApiError> {
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

async fn let_in(
    app: &App,
    socket: &mut TcpStream,
    read: Vec<u8>,
    door: &Door,
) -> Result<(Admitted, Opening), Turned> {
    // A line that has nothing to spend needs no call to say so.
    if let Door::Line { line, .. } = door {
        may_answer(app, line).await?;
    }
    let opening = admission::read_start(socket, read, LIMITS).await?;
    let id = &opening.carrier_call_id;
    let admitted = match (app.settings.media_auth, door) {
        (MediaAuth::Announced, Door::Token) => {
            app.calls.admit(id, opening.token.as_deref(), Instant::now())?
        }
        (MediaAuth::Announced, Door::Line { line, .. }) => {
            app.calls.admit_on_line(id, line, Instant::now())?
        }
        (MediaAuth::Open, Door::Token) => app.calls.admit_anyone(id, None, UnixMs::now()).await,
        (MediaAuth::Open, Door::Line { line, caller }) => {
            let on = crate::domain::call::OnLine { line: line.clone(), caller: caller.clone() };
            app.calls.admit_anyone(id, Some(on), UnixMs::now()).await
        }
    };
    Ok((admitted, opening))
}

/// Refuses a call on a line that takes none.
async fn may_answer(app: &App, line: &str) -> Result<(), Turned> {
    match app.store.any_line(line).await {
        Ok(Some(line)) if !line.active => Err(Refusal::LineOff.into()),
        Ok(Some(line)) if line.balance_s == 0 => Err(Refusal::NoBalance.into()),
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Refusal::UnknownLine.into()),
        Err(error) => {
            tracing::error!(%error, "a line cannot be looked up");
            Err(Refusal::UnknownLine.into())
        }
    }
}

async fn hand_over(app: &App, socket: TcpStream, admitted: Admitted, opening: Opening) {
    let Admitted { call, scenario, line } = admitted;
    let socket = match socket.into_std() {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(call_id = %call, %error, "a media socket was lost"),
    };
    let line = match &line {
        Some(id) => app.store.any_line(id).await.unwrap_or_else(|error| {
            tracing::error!(call_id = %call, %error, "a line cannot be looked up: its call is answered as any other");
            None
        }),
        None => None,
    };
    let desk = match &line {
        Some(line) if !line.assistant.tools.is_empty() => app.line_desks.of(line).await,
        _ => None,
    };
    let persona = match &line {
        Some(line) => app.on_calls.of(&call, &line.id, &line.assistant).await,
        None => None,
    };
    app.calls.answered(&call, &opening.stream_id, UnixMs::now());
    if line.is_some() {
        app.billing.begin(&call, Instant::now());
    }
    let leg = NewLeg { socket, already_read: opening.bytes };
    match app.hand_over(leg, call.clone(), &scenario, line.as_ref().map(|line| (line, desk, persona))) {
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
