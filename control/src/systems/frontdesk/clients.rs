//! Clients: businesses whose telephone is answered. A client is a line with its assistant.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::error::told;
use super::paging::{PageParams, Paging};
use crate::domain::conversations::Removed;
use crate::domain::lines::{Assistant, Line, LineChange, NewLine, Tool, VoiceProvider};
use crate::domain::phone::E164;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;

/// What a new client has where nothing is said.
const CALENDAR: &str = "primary";
const LLM_MODEL: &str = "openai/gpt-4o-mini";
const STT_MODEL: &str = "nova-2-phonecall";

/// The longest prompt, in characters: some ten pages.
const PROMPT_CHARACTERS_MAX: usize = 20_000;
/// The longest greeting, in characters: a minute of speech.
const GREETING_CHARACTERS_MAX: usize = 1_000;

/// A client.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Client, examples(json!({
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "name": "Acme Corp",
    "phone_number": "+15551234567",
    "calendar_id": "primary",
    "system_prompt": "You are a receptionist...",
    "initial_greeting": "Hi, I'm Front Desk...",
    "llm_model": "openai/gpt-4o-mini",
    "stt_model": "nova-2-phonecall",
    "tts_provider": "cartesia",
    "tts_voice_id": "voice-id-here",
    "enabled_tools": ["get_available_slots", "book_appointment"],
    "balance_seconds": 3600,
    "is_active": true,
    "created_at": "2026-01-15T10:00:00Z",
    "updated_at": "2026-02-06T10:00:00Z",
})))]
pub(super) struct Client {
    id: String,
    name: String,
    /// E.164; one client has it.
    phone_number: String,
    /// `primary`, or a calendar's address.
    calendar_id: String,
    /// What the model is told; empty: as the server is configured.
    system_prompt: String,
    /// What is said first; empty: likewise.
    initial_greeting: String,
    /// Provider and model.
    llm_model: String,
    stt_model: String,
    /// `cartesia` or `elevenlabs`.
    tts_provider: &'static str,
    /// The provider's name for the voice; empty: its default.
    tts_voice_id: String,
    /// Of `get_available_slots` and `book_appointment`.
    enabled_tools: Vec<&'static str>,
    /// Seconds of call that are left.
    balance_seconds: u64,
    /// Whether calls are answered.
    is_active: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<Line> for Client {
    fn from(line: Line) -> Self {
        let Assistant { prompt, greeting, llm_model, stt_model, tts_provider, tts_voice, tools } =
            line.assistant;
        Self {
            id: line.id,
            name: line.name,
            phone_number: line.number,
            calendar_id: line.calendar,
            system_prompt: prompt,
            initial_greeting: greeting,
            llm_model,
            stt_model,
            tts_provider: tts_provider.as_str(),
            tts_voice_id: tts_voice,
            enabled_tools: tools.iter().map(|tool| tool.as_str()).collect(),
            balance_seconds: line.balance_s,
            is_active: line.active,
            created_at: line.created.to_seconds_text(),
            updated_at: line.updated.to_seconds_text(),
        }
    }
}

/// What of a client can be set. To create one takes `name` and `phone_number`.
#[derive(ToSchema)]
#[schema(examples(json!({
    "name": "New Client",
    "phone_number": "+15559876543",
    "calendar_id": "email@example.com",
    "tts_provider": "cartesia",
})))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct ClientFields {
    name: Option<String>,
    /// E.164.
    phone_number: Option<String>,
    /// Default `primary`.
    calendar_id: Option<String>,
    /// Default: as the server is configured.
    system_prompt: Option<String>,
    /// Default: as the server is configured.
    initial_greeting: Option<String>,
    /// Default `openai/gpt-4o-mini`.
    llm_model: Option<String>,
    /// Default `nova-2-phonecall`.
    stt_model: Option<String>,
    /// `cartesia` (default) or `elevenlabs`.
    tts_provider: Option<String>,
    /// Default: the provider's.
    tts_voice_id: Option<String>,
    /// Default: both.
    enabled_tools: Option<Vec<String>>,
    /// Default 0. Where Stripe is configured, only admins set it.
    balance_seconds: Option<u32>,
    /// Default true.
    is_active: Option<bool>,
}

/// All clients of the caller
#[utoipa::path(
    get,
    path = "/api/clients",
    tag = "clients",
    params(PageParams),
    responses((status = 200, body = Vec<Client>))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Paging(page): Paging,
) -> Result<Json<Vec<Client>>, ApiError> {
    let lines = app.store.lines(caller.id(), page).await?;
    Ok(Json(lines.into_iter().map(Client::from).collect()))
}

/// One client
#[utoipa::path(
    get,
    path = "/api/clients/{client_id}",
    tag = "clients",
    params(("client_id" = String, Path)),
    responses((status = 200, body = Client))
)]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Client>, ApiError> {
    Ok(Json(app.store.line(caller.id(), &id).await.map_err(told)?.into()))
}

/// Make a client
#[utoipa::path(
    post,
    path = "/api/clients",
    tag = "clients",
    request_body = ClientFields,
    responses(
        (status = 201, body = Client),
        (status = 400, description = "A value cannot be used, or the number is in use")
    )
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, Json<Client>), ApiError> {
    let LineChange {
        name,
        number,
        calendar,
        prompt,
        greeting,
        llm_model,
        stt_model,
        tts_provider,
        tts_voice,
        tools,
        balance_s,
        active,
    } = change_of(&Fields::read(request).await?)?;
    let balance_s = balance_s.unwrap_or(0);
    may_set_balance(&app, &caller, 0, Some(balance_s))?;
    let new = NewLine {
        owner: caller.user.id,
        name: name.ok_or_else(|| ApiError::missing("name"))?,
        number: number.ok_or_else(|| ApiError::missing("phone_number"))?,
        calendar: calendar.unwrap_or_else(|| CALENDAR.into()),
        assistant: Assistant {
            prompt: prompt.unwrap_or_default(),
            greeting: greeting.unwrap_or_default(),
            llm_model: llm_model.unwrap_or_else(|| LLM_MODEL.into()),
            stt_model: stt_model.unwrap_or_else(|| STT_MODEL.into()),
            tts_provider: tts_provider.unwrap_or(VoiceProvider::Cartesia),
            tts_voice: tts_voice.unwrap_or_default(),
            tools: tools.unwrap_or_else(|| Tool::ALL.to_vec()),
        },
        balance_s,
        active: active.unwrap_or(true),
    };
    let line = app.store.add_line(new, UnixMs::now()).await.map_err(told)?;
    Ok((StatusCode::CREATED, Json(line.into())))
}

/// Change a client
///
/// What is not sent stays as it is.
#[utoipa::path(
    put,
    path = "/api/clients/{client_id}",
    tag = "clients",
    params(("client_id" = String, Path)),
    request_body = ClientFields,
    responses(
        (status = 200, body = Client),
        (status = 400, description = "A value cannot be used, or the number is in use"),
        (status = 403, description = "The balance is set by payments")
    )
)]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Client>, ApiError> {
    let change = change_of(&Fields::read(request).await?)?;
    let known = app.store.line(caller.id(), &id).await.map_err(told)?;
    may_set_balance(&app, &caller, known.balance_s, change.balance_s)?;
    let line = app.store.change_line(caller.id(), &id, change, UnixMs::now()).await.map_err(told)?;
    Ok(Json(line.into()))
}

/// Take a client out
///
/// With its contacts, conversations and calendar connection. Its calls that run are ended.
#[utoipa::path(
    delete,
    path = "/api/clients/{client_id}",
    tag = "clients",
    params(("client_id" = String, Path)),
    responses((status = 200, body = Message, example = json!({ "message": "Client deleted successfully" })))
)]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Message>, ApiError> {
    let removed = app.store.remove_line(caller.id(), &id).await.map_err(told)?;
    forget(app, removed).await;
    Ok(Json(Message { message: "Client deleted successfully" }))
}

/// Ends what runs of calls that were taken out, and removes their files: not where others wait for the disk.
pub(super) async fn forget(app: Arc<App>, removed: Removed) {
    // It does not panic, and cannot be called off.
    let _ = tokio::task::spawn_blocking(move || app.calls.forget(&removed.calls)).await;
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Message {
    pub(super) message: &'static str,
}

/// Where payments set the balance, its owner does not. To send it as it is changes nothing.
fn may_set_balance(app: &App, caller: &Caller, known: u64, wanted: Option<u32>) -> Result<(), ApiError> {
    let changes = wanted.is_some_and(|wanted| u64::from(wanted) != known);
    if changes && app.settings.frontdesk.stripe_secret.is_some() && !caller.is_admin {
        return Err(ApiError::forbidden("balance_seconds is set by payments; only an admin sets it by hand"));
    }
    Ok(())
}

fn change_of(fields: &Fields) -> Result<LineChange, ApiError> {
    Ok(LineChange {
        name: not_blank(fields, "name")?,
        number: phone(fields, "phone_number")?,
        calendar: not_blank(fields, "calendar_id")?,
        prompt: fields.long_text("system_prompt", PROMPT_CHARACTERS_MAX)?,
        greeting: fields.long_text("initial_greeting", GREETING_CHARACTERS_MAX)?,
        llm_model: not_blank(fields, "llm_model")?,
        stt_model: not_blank(fields, "stt_model")?,
        tts_provider: fields.text("tts_provider")?.map(|text| provider(&text)).transpose()?,
        tts_voice: fields.text("tts_voice_id")?.map(|text| text.trim().to_owned()),
        tools: fields.texts("enabled_tools", 16)?.map(|names| tools(&names)).transpose()?,
        balance_s: fields.integer("balance_seconds", 0..=u32::MAX)?,
        active: fields.boolean("is_active")?,
    })
}

fn not_blank(fields: &Fields, name: &str) -> Result<Option<String>, ApiError> {
    let text = fields.text(name)?.map(|text| text.trim().to_owned());
    match text {
        Some(text) if text.is_empty() => Err(ApiError::invalid(format!("{name} must not be empty"))),
        text => Ok(text),
    }
}

/// A telephone number, if the field is there.
pub(super) fn phone(fields: &Fields, name: &str) -> Result<Option<E164>, ApiError> {
    let parse = |text: String| {
        E164::parse(&text).ok_or_else(|| {
            ApiError::invalid(format!("{name} must be a number with its country, such as +15551234567"))
        })
    };
    fields.text(name)?.map(parse).transpose()
}

fn provider(text: &str) -> Result<VoiceProvider, ApiError> {
    // The dashboard's word for the second.
    let text = if text == "11labs" { "elevenlabs" } else { text };
    VoiceProvider::from_text(text)
        .ok_or_else(|| ApiError::invalid("tts_provider must be cartesia or elevenlabs"))
}

/// Each once, in the documented order.
fn tools(names: &[String]) -> Result<Vec<Tool>, ApiError> {
    let known = Tool::ALL.map(Tool::as_str);
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let name: String = name.chars().take(64).collect();
        return Err(ApiError::invalid(format!(
            "enabled_tools has {name:?}; there are: {}",
            known.join(", ")
        )));
    }
    Ok(Tool::ALL.into_iter().filter(|tool| names.iter().any(|name| name == tool.as_str())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(body: serde_json::Value) -> Result<LineChange, ApiError> {
        change_of(&Fields::parse(body.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn a_client_is_told_as_the_contract_shows_it() {
        let line = Line {
            id: "l".into(),
            owner: "u".into(),
            name: "Acme Corp".into(),
            number: "+15551234567".into(),
            calendar: "primary".into(),
            assistant: Assistant {
                prompt: "You are a receptionist...".into(),
                greeting: "Hi, I'm Front Desk...".into(),
                llm_model: LLM_MODEL.into(),
                stt_model: STT_MODEL.into(),
                tts_provider: VoiceProvider::Cartesia,
                tts_voice: "voice-id-here".into(),
                tools: Tool::ALL.to_vec(),
            },
            balance_s: 3_600,
            active: true,
            created: UnixMs(1_768_471_200_999),
            updated: UnixMs(1_770_372_000_000),
        };
        assert_eq!(
            serde_json::to_value(Client::from(line)).unwrap(),
            json!({
                "id": "l",
                "name": "Acme Corp",
                "phone_number": "+15551234567",
                "calendar_id": "primary",
                "system_prompt": "You are a receptionist...",
                "initial_greeting": "Hi, I'm Front Desk...",
                "llm_model": "openai/gpt-4o-mini",
                "stt_model": "nova-2-phonecall",
                "tts_provider": "cartesia",
                "tts_voice_id": "voice-id-here",
                "enabled_tools": ["get_available_slots", "book_appointment"],
                "balance_seconds": 3600,
                "is_active": true,
                "created_at": "2026-01-15T10:00:00Z",
                "updated_at": "2026-02-06T10:00:00Z",
            })
        );
    }

    #[test]
    fn what_is_sent_is_read_and_what_is_not_stays() {
        let read = change(json!({
            "name": " New ", "phone_number": "+1 555 987 6543", "tts_provider": "11labs",
            "enabled_tools": ["book_appointment", "book_appointment"], "balance_seconds": 0, "system_prompt": "a\nb",
            "unknown": 1, "is_active": null,
        }))
        .unwrap();
        assert_eq!(read.name.as_deref(), Some("New"));
        assert_eq!(read.number.unwrap().as_str(), "+15559876543");
        assert_eq!(read.tts_provider, Some(VoiceProvider::ElevenLabs));
        assert_eq!(read.tools, Some(vec![Tool::BookAppointment]));
        assert_eq!((read.balance_s, read.active, read.prompt.as_deref()), (Some(0), None, Some("a\nb")));
        assert_eq!(change(json!({})).unwrap(), LineChange::default());
    }

    #[test]
    fn a_value_that_cannot_be_used_is_refused_by_name() {
        for (field, value) in [
            ("name", json!(" ")),
            ("name", json!(7)),
            ("name", json!("x".repeat(257))),
            ("phone_number", json!("5551234")),
            ("phone_number", json!(15551234567_u64)),
            ("tts_provider", json!("espeak")),
            ("enabled_tools", json!("book_appointment")),
            ("enabled_tools", json!(["order_pizza"])),
            ("enabled_tools", json!([1])),
            ("balance_seconds", json!(-1)),
            ("balance_seconds", json!("60")),
            ("balance_seconds", json!(1.5)),
            ("is_active", json!("yes")),
            ("system_prompt", json!("x".repeat(20_001))),
            ("initial_greeting", json!({})),
        ] {
            let error = change(json!({ field: value.clone() })).unwrap_err();
            assert_eq!(error.status, 400);
            assert!(error.message.contains(field), "{field} {value}: {}", error.message);
        }
    }
}
