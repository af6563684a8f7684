//! Telephone numbers at Twilio.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use crate::domain::cache::Found;
use crate::domain::user_settings::UserSetting;
use crate::integrations::twilio::numbers::{self, NumbersError, TwilioAccount};
use crate::server::App;
use crate::settings::Environment;
use crate::systems::error::ApiError;

/// How long a list is good: who reloads a page need not wait for Twilio.
const LIST_LIFE: Duration = Duration::from_secs(30);

pub(super) const CACHE_KEY: &str = "twilio phone numbers";

/// A number.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(examples(json!({
    "sid": "PN00000000000000000000000000000001",
    "phoneNumber": "+1234567890",
    "friendlyName": "My Phone Number",
    "capabilities": { "voice": true, "sms": true },
})))]
pub(super) struct PhoneNumber {
    sid: String,
    phone_number: String,
    friendly_name: String,
    #[schema(inline)]
    capabilities: Capabilities,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct Capabilities {
    voice: bool,
    sms: bool,
}

impl From<&numbers::PhoneNumber> for PhoneNumber {
    fn from(number: &numbers::PhoneNumber) -> Self {
        let numbers::PhoneNumber { sid, number, name, voice, sms } = number.clone();
        Self { sid, phone_number: number, friendly_name: name, capabilities: Capabilities { voice, sms } }
    }
}

/// One's numbers at Twilio
///
/// Those of the account in one's settings (`twilioAccountSid`, `twilioAuthToken`); without, of the server's account, which in
/// production only admins see. The list is kept for half a minute.
#[utoipa::path(
    get,
    path = "/api/twilio/phone-numbers",
    tag = "assistants",
    responses(
        (status = 200, body = Vec<PhoneNumber>),
        (status = 400, description = "There are no credentials, or Twilio does not take them")
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Vec<PhoneNumber>>, ApiError> {
    let now = Instant::now();
    let found = match app.cache.get::<Vec<numbers::PhoneNumber>>(caller.id(), CACHE_KEY, now) {
        Found::Hit(kept) => kept,
        Found::Miss(ticket) => {
            let account = account_of(&app, &caller).await?.ok_or_else(|| {
                ApiError::invalid("Twilio is not configured: set twilioAccountSid and twilioAuthToken")
            })?;
            let found = numbers::list(&app.web, &app.settings.twilio_base_url, &account).await;
            let found = Arc::new(found.map_err(told)?);
            app.cache.put(caller.id(), CACHE_KEY, found.clone(), ticket, now, LIST_LIFE);
            found
        }
    };
    Ok(Json(found.iter().map(PhoneNumber::from).collect()))
}

async fn account_of(app: &App, caller: &Caller) -> Result<Option<TwilioAccount>, ApiError> {
    let mut set = app.user_settings.of(caller.id()).await?;
    let own = set.remove(&UserSetting::TwilioAccountSid).zip(set.remove(&UserSetting::TwilioAuthToken));
    if let Some((sid, token)) = own {
        return Ok(Some(TwilioAccount { sid: sid.reveal().to_owned(), token }));
    }
    let settings = &app.settings;
    // Whoever likes may register: what is the operator's is not for everybody.
    let may = settings.environment == Environment::Development || app.accounts.is_admin(&caller.account);
    let servers = settings.twilio_account_sid.clone().zip(settings.twilio_auth_token.clone());
    Ok(servers.filter(|_| may).map(|(sid, token)| TwilioAccount { sid, token }))
}

fn told(error: NumbersError) -> ApiError {
    match error {
        NumbersError::Credentials => ApiError::invalid(error.to_string()),
        NumbersError::Unavailable(_) => {
            tracing::warn!(%error, "the numbers of an account could not be listed");
            ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Twilio cannot be asked at the moment; try again later",
            )
        }
    }
}
