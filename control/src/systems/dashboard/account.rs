//! Registering, signing in and out, and who one is.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{Caller, token_in};
use super::error::not_let_in;
use crate::domain::accounts::{Account, Registration, SignedIn};
use crate::domain::time::UnixMs;
use crate::domain::users;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::server::middleware::too_many;
use crate::server::rate_limit::Client;
use crate::systems::bearer;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;

/// How often in a minute one address may try to sign in or register: a house full of people, and no list of passwords.
const TRIES_OF_AN_ADDRESS: u32 = 60;

/// How often in a minute it may be tried to sign in to one account, from wherever.
const TRIES_AT_AN_ACCOUNT: u32 = 10;

/// Beyond the numbers that the systems' own limits have.
const ADDRESS_SCOPE: usize = usize::MAX;
const ACCOUNT_SCOPE: usize = usize::MAX - 1;

/// What registering takes.
#[derive(ToSchema)]
#[schema(examples(json!({ "email": "user@example.com", "password": "securepassword", "name": "John Doe" })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct RegisterBody {
    /// One account has it.
    email: String,
    /// Eight characters or more.
    password: String,
    /// Default: the address.
    name: Option<String>,
}

/// What signing in takes.
#[derive(ToSchema)]
#[schema(examples(json!({ "email": "user@example.com", "password": "securepassword" })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct LoginBody {
    email: String,
    password: String,
}

/// A token, and whose it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9…",
    "user": { "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "email": "user@example.com", "name": "John Doe" },
})))]
pub(super) struct LetIn {
    /// For `Authorization: Bearer`.
    token: String,
    #[schema(inline)]
    user: LetInUser,
}

#[derive(Debug, Serialize, ToSchema)]
struct LetInUser {
    id: String,
    email: String,
    name: String,
}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DashboardUser, examples(json!({
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "email": "user@example.com", "name": "John Doe", "created_at": 1234567890,
})))]
pub(super) struct User {
    id: String,
    email: String,
    name: String,
    /// Unix time in seconds.
    created_at: i64,
}

impl From<Account> for User {
    fn from(Account { id, email, name, created, .. }: Account) -> Self {
        Self { id, email, name, created_at: created.0.div_euclid(1_000) }
    }
}

impl From<users::User> for User {
    fn from(users::User { id, email, name, created }: users::User) -> Self {
        Self { id, email, name, created_at: created.0.div_euclid(1_000) }
    }
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Message {
    pub(super) message: &'static str,
}

/// Register
///
/// An address that is an admin's, or that is to own calls on nobody's line, is registered in production by who shows one of the
/// server's bearer tokens as well (`Authorization: Bearer`).
#[utoipa::path(
    post,
    path = "/api/auth/register",
    tag = "account",
    request_body = RegisterBody,
    responses(
        (status = 200, body = LetIn),
        (status = 400, description = "A value is missing or cannot be used, or the email is registered already"),
        (status = 403, description = "The email is reserved"),
        (status = 429, description = "Too many tries")
    )
)]
pub(super) async fn register(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (parts, body) = request.into_parts();
    let is_operator = token_in(&parts.headers).is_some_and(|token| bearer::is_known(&app, token));
    let fields = Fields::read(Request::from_parts(parts, body)).await?;
    let required = |name: &str| fields.text(name)?.ok_or_else(|| ApiError::missing(name));
    let (email, password) = (required("email")?, required("password")?);
    let name = fields.text("name")?;
    count_address(&app, &arrival)?;
    let new = Registration { email, password, name, vouched: is_operator };
    let signed_in = app.accounts.register(new, UnixMs::now()).await.map_err(not_let_in)?;
    tracing::info!(user = signed_in.account.id, "somebody registered");
    Ok(let_in(signed_in))
}

/// Sign in
#[utoipa::path(
    post,
    path = "/api/auth/login",
    tag = "account",
    request_body = LoginBody,
    responses(
        (status = 200, body = LetIn),
        (status = 400, description = "A value is missing"),
        (status = 401, description = "The email or the password is wrong"),
        (status = 429, description = "Too many tries")
    )
)]
pub(super) async fn log_in(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let fields = Fields::read(request).await?;
    let required = |name: &str| fields.text(name)?.ok_or_else(|| ApiError::missing(name));
    let (email, password) = (required("email")?, required("password")?);
    count_address(&app, &arrival)?;
    let account = Client::Account(email.trim().to_lowercase());
    count(&app, &arrival, ACCOUNT_SCOPE, account, TRIES_AT_AN_ACCOUNT)?;
    let signed_in = app.accounts.log_in(&email, password, UnixMs::now()).await.map_err(not_let_in)?;
    Ok(let_in(signed_in))
}

/// Sign out
///
/// The token that is shown is not good any more.
#[utoipa::path(
    post,
    path = "/api/auth/logout",
    tag = "account",
    responses((status = 200, body = Message, example = json!({ "message": "Logged out successfully" })))
)]
pub(super) async fn log_out(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Message>, ApiError> {
    app.accounts.log_out(&caller.session, UnixMs::now()).await?;
    Ok(Json(Message { message: "Logged out successfully" }))
}

/// Who one is
#[utoipa::path(get, path = "/api/auth/me", tag = "account", responses((status = 200, body = User)))]
pub(super) async fn me(caller: Caller) -> Json<User> {
    Json(caller.account.into())
}

/// Passwords cost more than other requests, and are guessed: so tries are counted apart.
fn count_address(app: &App, arrival: &Arrival) -> Result<(), ApiError> {
    count(app, arrival, ADDRESS_SCOPE, arrival.client.into(), TRIES_OF_AN_ADDRESS)
}

fn count(app: &App, arrival: &Arrival, scope: usize, who: Client, most: u32) -> Result<(), ApiError> {
    if !app.settings.rate_limits || arrival.simulated {
        return Ok(());
    }
    let quota = app.limiter.take(scope, who, most, Instant::now(), UnixMs::now());
    if quota.exceeded { Err(too_many(&quota)) } else { Ok(()) }
}

/// A token is nothing for a cache.
fn let_in(SignedIn { token, account: Account { id, email, name, .. } }: SignedIn) -> Response<Body> {
    ([(header::CACHE_CONTROL, "no-store")], Json(LetIn { token, user: LetInUser { id, email, name } }))
        .into_response()
}
