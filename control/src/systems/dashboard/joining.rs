//! One account for who signs in by password here, and with Google at FrontDesk.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use utoipa::ToSchema;

use super::account::Message;
use super::auth::Caller;
use super::error::not_let_in;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;

/// The other token.
#[derive(ToSchema)]
#[schema(examples(json!({ "frontdesk_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9…" })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct JoinBody {
    /// The `access_token` that signing in at FrontDesk gave.
    frontdesk_token: String,
}

/// Join with a FrontDesk account
///
/// All that is that account's is this one's from then on: clients, calls, assistants. Signing in with Google leads to this account;
/// FrontDesk's tokens of before are not good any more. An address alone joins nothing: it takes both tokens.
#[utoipa::path(
    post,
    path = "/v1/join",
    tag = "account",
    request_body = JoinBody,
    responses(
        (status = 200, body = Message, example = json!({ "message": "Accounts joined" })),
        (status = 400, description = "The other token is missing or not good, or one of the two is joined already")
    )
)]
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Message>, ApiError> {
    const FIELD: &str = "frontdesk_token";
    let fields = Fields::read(request).await?;
    let token = fields.long_text(FIELD, 4_096)?.ok_or_else(|| ApiError::missing(FIELD))?;
    let signer = app.frontdesk_signer.as_ref();
    let google_user = signer.and_then(|signer| signer.verify(token.trim(), UnixMs::now()));
    let google_user = google_user
        .ok_or_else(|| ApiError::invalid("frontdesk_token is not a token of FrontDesk's that is good now"))?;
    app.accounts.join(&caller.account, &google_user).await.map_err(not_let_in)?;
    tracing::info!(user = caller.id(), "an account was joined with one at Google");
    Ok(Json(Message { message: "Accounts joined" }))
}
