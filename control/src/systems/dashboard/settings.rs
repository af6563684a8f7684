//! What users set for themselves.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, header};
use axum::response::IntoResponse;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::account::Message;
use super::auth::Caller;
use super::error::told;
use crate::domain::time::UnixMs;
use crate::domain::user_settings::{SettingChanges, UserSetting};
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;

/// The longest value, in characters: keys of some services are tokens of a few hundred.
const VALUE_CHARACTERS_MAX: usize = 4_096;

/// How many characters at the end of a secret are shown where secrets are not.
const SHOWN_OF_A_SECRET: usize = 4;

/// What a user has set; null: nothing.
#[derive(ToSchema)]
#[schema(as = Settings, examples(json!({
    "privateKey": "api-key",
    "publicKey": "public-key",
    "openaiApiKey": "openai-key",
    "selectedAssistantId": "assistant-id",
    "selectedPhoneId": "phone-id",
    "selectedOrgId": "org-id",
    "selectedWorkspaceId": "workspace-id",
})))]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "this is for the document; values are written by name")]
pub(super) struct Settings {
    /// At the voice platform.
    private_key: Option<String>,
    /// Likewise.
    public_key: Option<String>,
    /// What the user's own model is asked with.
    openai_api_key: Option<String>,
    selected_assistant_id: Option<String>,
    selected_phone_id: Option<String>,
    selected_org_id: Option<String>,
    /// Calls that begin from then on are put here, if it is a workspace that one is in.
    selected_workspace_id: Option<String>,
    /// Absent unless it is set.
    #[schema(required = false)]
    twilio_account_sid: Option<String>,
    /// Absent unless it is set.
    #[schema(required = false)]
    twilio_auth_token: Option<String>,
}

/// What one has set
///
/// With its secrets, unless the server is configured to show no more of them than their end.
#[utoipa::path(get, path = "/api/settings", tag = "settings", responses((status = 200, body = Settings)))]
pub(super) async fn show(State(app): State<Arc<App>>, caller: Caller) -> Result<Response<Body>, ApiError> {
    let set = app.user_settings.of(caller.id()).await?;
    let redacts = app.settings.dashboard.redacts_settings;
    let mut shown = Map::new();
    for setting in UserSetting::ALL {
        let value = set.get(&setting).map(|value| match redacts && setting.is_secret() {
            true => redacted(value.reveal()),
            false => value.reveal().to_owned(),
        });
        if value.is_some() || setting.is_documented() {
            shown.insert(setting.as_str().to_owned(), value.map_or(Value::Null, Value::String));
        }
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(Value::Object(shown))).into_response())
}

/// Change some of it
///
/// What is not sent stays as it is; null takes a value away; other keys are ignored.
#[utoipa::path(
    put,
    path = "/api/settings",
    tag = "settings",
    request_body = Settings,
    responses(
        (status = 200, body = Message, example = json!({ "message": "Settings updated successfully" })),
        (status = 400, description = "A value is no text"),
        (status = 503, description = "This server has no key to keep secrets with")
    )
)]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Message>, ApiError> {
    let changes = changes(&Fields::read(request).await?)?;
    app.user_settings.change(caller.id(), changes, UnixMs::now()).await.map_err(told)?;
    app.cache.forget(caller.id(), super::phone_numbers::CACHE_KEY);
    Ok(Json(Message { message: "Settings updated successfully" }))
}

fn changes(fields: &Fields) -> Result<SettingChanges, ApiError> {
    let mut changes = SettingChanges::new();
    for setting in UserSetting::ALL {
        let name = setting.as_str();
        if fields.has(name) {
            let value = fields.long_text(name, VALUE_CHARACTERS_MAX)?.map(|value| value.trim().to_owned());
            if value.as_ref().is_some_and(|value| value.chars().any(char::is_control)) {
                return Err(ApiError::invalid(format!("{name} must be a text on one line")));
            }
            changes.insert(setting, value.filter(|value| !value.is_empty()));
        }
    }
    Ok(changes)
}

/// The end of a secret, if it is long enough to have an end that tells nothing.
fn redacted(secret: &str) -> String {
    let count = secret.chars().count();
    let shown = if count >= 4 * SHOWN_OF_A_SECRET { SHOWN_OF_A_SECRET } else { 0 };
    let end: String = secret.chars().skip(count - shown).collect();
    format!("…{end}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<SettingChanges, ApiError> {
        changes(&Fields::parse(body.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn what_is_sent_changes_and_null_clears() {
        let changes =
            read(json!({ "privateKey": " k ", "openaiApiKey": null, "publicKey": "", "unknown": 7 }))
                .unwrap();
        assert_eq!(
            changes,
            SettingChanges::from([
                (UserSetting::PrivateKey, Some("k".into())),
                (UserSetting::PublicKey, None),
                (UserSetting::OpenAiApiKey, None),
            ])
        );
        for bad in [json!(7), json!(["k"]), json!({}), json!(true), json!("a\nb"), json!("x".repeat(4_097))] {
            let error = read(json!({ "privateKey": bad })).unwrap_err();
            assert!(error.status == 400 && error.message.contains("privateKey"), "{}", error.message);
        }
    }

    #[test]
    fn no_more_than_the_end_of_a_secret_is_shown() {
        assert_eq!(redacted("sk-0123456789abcdef"), "…cdef");
        assert_eq!(redacted("short"), "…");
        assert_eq!(redacted(""), "…");
    }
}
