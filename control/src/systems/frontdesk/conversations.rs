//! Conversations: what was said on a client's calls, while they run too.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use offhook_engine::call::Speaker;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::clients::{Message, forget};
use super::error::told;
use super::paging::{PageParams, Paging};
use crate::domain::conversations;
use crate::domain::lines::Page;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;

/// How many conversations a list has where nothing is said.
const LIMIT: u32 = 50;

/// A conversation.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(examples(json!({
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "client_id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c4",
    "contact_id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c5",
    "duration": 120,
    "created_at": "2026-02-06T10:00:00Z",
    "transcript": [
        { "role": "assistant", "content": "Hi, I'm Front Desk...", "timestamp": "2026-02-06T10:00:10Z" },
        { "role": "user", "content": "I'd like to book an appointment", "timestamp": "2026-02-06T10:00:15Z" },
    ],
})))]
pub(super) struct Conversation {
    id: String,
    client_id: String,
    /// Null: the caller's number was withheld, or the contact is gone.
    contact_id: Option<String>,
    /// Seconds so far.
    duration: u64,
    #[schema(format = DateTime)]
    created_at: String,
    /// What was said so far; of the assistant, what was heard.
    #[schema(inline)]
    transcript: Vec<Said>,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct Said {
    /// `assistant` or `user`.
    role: &'static str,
    content: String,
    /// When it began.
    #[schema(format = DateTime)]
    timestamp: String,
}

impl Conversation {
    fn of(conversation: conversations::Conversation, now: UnixMs) -> Self {
        let conversations::Conversation { call, line, contact, answered, duration_ms, turns } = conversation;
        let so_far = || now.0.saturating_sub(answered.0).max(0) as u64;
        let said = turns.into_iter().filter(|turn| !turn.text.is_empty()).map(|turn| Said {
            role: match turn.speaker {
                Speaker::Agent => "assistant",
                Speaker::Caller => "user",
            },
            content: turn.text,
            timestamp: UnixMs(answered.0.saturating_add_unsigned(turn.started_ms)).to_seconds_text(),
        });
        Self {
            id: call.to_string(),
            client_id: line,
            contact_id: contact,
            duration: duration_ms.unwrap_or_else(so_far) / 1_000,
            created_at: answered.to_seconds_text(),
            transcript: said.collect(),
        }
    }
}

/// The conversations of a client, the latest first
#[utoipa::path(
    get,
    path = "/api/clients/{client_id}/conversations",
    tag = "conversations",
    params(("client_id" = String, Path), PageParams),
    responses((status = 200, body = Vec<Conversation>))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(client): Path<String>,
    Paging(page): Paging,
) -> Result<Json<Vec<Conversation>>, ApiError> {
    let page = Page { limit: page.limit.or(Some(LIMIT)), ..page };
    let found = app.store.conversations(caller.id(), &client, page).await.map_err(told)?;
    let now = UnixMs::now();
    Ok(Json(found.into_iter().map(|conversation| Conversation::of(conversation, now)).collect()))
}

/// One conversation
#[utoipa::path(
    get,
    path = "/api/conversations/{conversation_id}",
    tag = "conversations",
    params(("conversation_id" = String, Path)),
    responses((status = 200, body = Conversation))
)]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Conversation>, ApiError> {
    let found = app.store.conversation(caller.id(), &id).await.map_err(told)?;
    Ok(Json(Conversation::of(found, UnixMs::now())))
}

/// Take a conversation out
///
/// With its recording. A call that runs is ended.
#[utoipa::path(
    delete,
    path = "/api/conversations/{conversation_id}",
    tag = "conversations",
    params(("conversation_id" = String, Path)),
    responses((status = 200, body = Message, example = json!({ "message": "Conversation deleted successfully" })))
)]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Message>, ApiError> {
    let removed = app.store.remove_conversation(caller.id(), &id).await.map_err(told)?;
    forget(app, removed).await;
    Ok(Json(Message { message: "Conversation deleted successfully" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::call::TurnRecord;
    use offhook_engine::CallId;
    use offhook_engine::call::By;
    use serde_json::json;

    #[test]
    fn a_conversation_is_told_as_the_contract_shows_it_and_grows_while_it_runs() {
        let turn = |number, speaker, started_ms, text: &str| TurnRecord {
            turn: number,
            speaker,
            started_ms,
            ended_ms: started_ms + 1,
            text: text.into(),
            unheard: String::new(),
            by: By::Voice,
            response_ms: None,
        };
        let runs = conversations::Conversation {
            call: CallId::new("01").unwrap(),
            line: "l".into(),
            contact: None,
            answered: UnixMs(1_770_372_000_000),
            duration_ms: None,
            turns: vec![
                turn(1, Speaker::Agent, 10_900, "Hi, I'm Front Desk..."),
                turn(2, Speaker::Agent, 14_000, ""),
                turn(3, Speaker::Caller, 15_000, "I'd like to book an appointment"),
            ],
        };
        let over = conversations::Conversation {
            duration_ms: Some(120_999),
            contact: Some("c".into()),
            ..runs.clone()
        };
        let now = UnixMs(1_770_372_020_500);
        assert_eq!(Conversation::of(runs, now).duration, 20);
        assert_eq!(
            serde_json::to_value(Conversation::of(over, now)).unwrap(),
            json!({
                "id": "01",
                "client_id": "l",
                "contact_id": "c",
                "duration": 120,
                "created_at": "2026-02-06T10:00:00Z",
                "transcript": [
                    { "role": "assistant", "content": "Hi, I'm Front Desk...", "timestamp": "2026-02-06T10:00:10Z" },
                    { "role": "user", "content": "I'd like to book an appointment", "timestamp": "2026-02-06T10:00:15Z" },
                ],
            })
        );
    }
}
