//! People whom personas talk with.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::auth::Caller;
use super::error::told;
use super::ids::{own, shown};
use super::paging::{PageParams, Paging};
use crate::domain::customers::{Customer, CustomerChanges};
use crate::domain::phone::E164;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;

/// What stands before the ids.
pub(super) const KIND: &str = "client";

/// The longest note, in characters.
const NOTES_MAX: usize = 10_000;

/// The longest metadata, in bytes of JSON.
const METADATA_MAX: usize = 16 * 1024;

/// A client that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Client, examples(json!({
    "id": "client_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "name": "Alice Johnson", "email": "alice@example.com",
    "telegram_id": "123456789", "created_at": "2025-02-18T10:00:00Z",
})))]
pub(super) struct Made {
    id: String,
    name: String,
    email: Option<String>,
    /// Telegram's number for them.
    telegram_id: Option<String>,
    created_at: String,
}

/// A client to be, or changes of one: what is not sent stays, null takes a value away.
#[derive(ToSchema)]
#[schema(examples(json!({
    "name": "Alice Johnson", "email": "alice@example.com", "telegram_id": "123456789", "phone": "+15551234567",
    "notes": "Prefers notebooks", "metadata": { "company": "Acme" },
})))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct ClientBody {
    name: String,
    email: Option<String>,
    /// Digits.
    telegram_id: Option<String>,
    /// E.164.
    phone: Option<String>,
    notes: Option<String>,
    /// Merged key by key.
    #[schema(value_type = Object)]
    metadata: Option<Value>,
}

/// A part of the clients.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "clients": [{
        "id": "client_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "name": "Alice Johnson", "email": "alice@example.com",
        "telegram_id": "123456789", "last_contact": "2025-02-18T09:30:00Z", "total_conversations": 12,
    }],
    "pagination": { "page": 1, "limit": 50, "total_clients": 1, "total_pages": 1 },
})))]
pub(super) struct Clients {
    #[schema(inline)]
    clients: Vec<Listed>,
    #[schema(inline)]
    pagination: Pagination,
}

#[derive(Debug, Serialize, ToSchema)]
struct Listed {
    id: String,
    name: String,
    email: Option<String>,
    telegram_id: Option<String>,
    last_contact: Option<String>,
    total_conversations: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Pagination {
    page: u32,
    limit: u32,
    total_clients: u64,
    total_pages: u64,
}

/// That a client was changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "success": true, "client_id": "client_0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3", "updated_at": "2025-02-18T11:00:00Z",
})))]
pub(super) struct Changed {
    success: bool,
    client_id: String,
    updated_at: String,
}

/// Make a client
#[utoipa::path(
    post,
    path = "/api/clients",
    tag = "clients",
    request_body = ClientBody,
    responses(
        (status = 200, body = Made),
        (status = 400, description = "The name is missing, a value cannot be used, or the telegram_id is another client's")
    )
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Made>, ApiError> {
    let new = changes(&Fields::read(request).await?)?;
    if new.name.is_none() {
        return Err(ApiError::missing("name"));
    }
    let made = app.store.add_customer(caller.id(), new, UnixMs::now()).await.map_err(told)?;
    let Customer { id, name, email, telegram_id, created, .. } = made;
    let id = shown(KIND, &id);
    Ok(Json(Made { id, name, email, telegram_id, created_at: created.to_seconds_text() }))
}

/// The clients
#[utoipa::path(
    get,
    path = "/api/clients",
    tag = "clients",
    params(PageParams),
    responses((status = 200, body = Clients), (status = 400, description = "page or limit is no positive integer"))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Clients>, ApiError> {
    let part = app.store.customers(caller.id(), paging.search.as_deref(), paging.part()).await?;
    let listed = part.items.into_iter().map(|customer| Listed {
        id: shown(KIND, &customer.id),
        name: customer.name,
        email: customer.email,
        telegram_id: customer.telegram_id,
        last_contact: customer.last_contact.map(UnixMs::to_seconds_text),
        total_conversations: customer.conversations,
    });
    let pagination = Pagination {
        page: paging.page,
        limit: paging.limit,
        total_clients: part.total,
        total_pages: paging.pages(part.total),
    };
    Ok(Json(Clients { clients: listed.collect(), pagination }))
}

/// Change a client
#[utoipa::path(
    patch,
    path = "/api/clients/{client_id}",
    tag = "clients",
    params(("client_id" = String, Path)),
    request_body = ClientBody,
    responses(
        (status = 200, body = Changed),
        (status = 400, description = "A value cannot be used"),
        (status = 404, description = "There is no such client")
    )
)]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(client_id): Path<String>,
    request: Request,
) -> Result<Json<Changed>, ApiError> {
    let changes = changes(&Fields::read(request).await?)?;
    let changed = app.store.change_customer(caller.id(), own(KIND, &client_id), changes, UnixMs::now());
    let updated_at = changed.await.map_err(told)?.updated.to_seconds_text();
    Ok(Json(Changed { success: true, client_id, updated_at }))
}

fn changes(fields: &Fields) -> Result<CustomerChanges, ApiError> {
    let name = fields.text("name")?.map(|name| name.trim().to_owned());
    if fields.has("name") && name.as_ref().is_none_or(String::is_empty) {
        return Err(ApiError::bad_parameter("name", "non-empty string"));
    }
    // A field that is null was sent: its value goes.
    let of =
        |name: &str, value: Option<String>| fields.has(name).then(|| value.filter(|text| !text.is_empty()));
    let email = fields.text("email")?;
    if email.as_deref().is_some_and(|email| !email.is_empty() && !is_email(email)) {
        return Err(ApiError::bad_parameter("email", "email address"));
    }
    let telegram_id = fields.text("telegram_id")?;
    let is_id = |id: &str| id.len() <= 20 && id.bytes().all(|byte| byte.is_ascii_digit());
    if telegram_id.as_deref().is_some_and(|id| !is_id(id)) {
        return Err(ApiError::bad_parameter("telegram_id", "string of digits"));
    }
    let phone = match fields.text("phone")?.filter(|phone| !phone.is_empty()) {
        Some(phone) => {
            let number = E164::parse(&phone);
            Some(number.ok_or_else(|| ApiError::bad_parameter("phone", "E.164 phone number"))?)
        }
        None => None,
    };
    let metadata = match fields.object("metadata") {
        Some(Value::Object(metadata))
            if Value::Object(metadata.clone()).to_string().len() <= METADATA_MAX =>
        {
            metadata.clone()
        }
        None if !fields.has("metadata") => Map::new(),
        _ => return Err(ApiError::bad_parameter("metadata", "object of at most 16 KB")),
    };
    Ok(CustomerChanges {
        name,
        email: of("email", email),
        telegram_id: of("telegram_id", telegram_id),
        phone: fields.has("phone").then_some(phone),
        notes: of("notes", fields.long_text("notes", NOTES_MAX)?),
        metadata,
    })
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty()
            && host.contains('.')
            && !host.starts_with('.')
            && !text.contains(char::is_whitespace)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<CustomerChanges, ApiError> {
        changes(&Fields::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn what_is_null_goes_and_what_is_not_sent_stays() {
        let changes = read(r#"{"email": null, "notes": "", "phone": "+1 202 555 0100"}"#).unwrap();
        assert_eq!((changes.email, changes.notes, changes.telegram_id), (Some(None), Some(None), None));
        assert_eq!(changes.phone.flatten().unwrap().as_str(), "+12025550100");
    }

    #[test]
    fn values_that_cannot_be_are_refused_by_name() {
        for (body, field) in [
            (r#"{"name": " "}"#, "name"),
            (r#"{"name": 7}"#, "name"),
            (r#"{"email": "nobody"}"#, "email"),
            (r#"{"telegram_id": "@alice"}"#, "telegram_id"),
            (r#"{"phone": "12"}"#, "phone"),
            (r#"{"metadata": []}"#, "metadata"),
            (r#"{"notes": {}}"#, "notes"),
        ] {
            let error = read(body).unwrap_err();
            assert_eq!((error.status.as_u16(), &error.details["parameter"]), (400, &field.into()), "{body}");
        }
    }
}
