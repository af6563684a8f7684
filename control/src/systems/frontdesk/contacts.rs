//! Contacts: who calls a client.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::clients::{Message, phone};
use super::error::told;
use super::paging::{PageParams, Paging};
use crate::domain::lines;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::json::Fields;

/// A contact.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "client_id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c4",
    "phone_number": "+15551234567",
    "name": "John Doe",
    "created_at": "2026-01-20T10:00:00Z",
    "updated_at": "2026-02-06T10:00:00Z",
})))]
pub(super) struct Contact {
    id: String,
    client_id: String,
    /// E.164; one contact of the client has it.
    phone_number: String,
    /// Null: not known.
    name: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<lines::Contact> for Contact {
    fn from(contact: lines::Contact) -> Self {
        Self {
            id: contact.id,
            client_id: contact.line,
            phone_number: contact.number,
            name: contact.name,
            created_at: contact.created.to_seconds_text(),
            updated_at: contact.updated.to_seconds_text(),
        }
    }
}

/// A contact to be.
#[derive(ToSchema)]
#[schema(examples(json!({ "client_id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c4", "phone_number": "+15559876543", "name": "Jane Smith" })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct NewContact {
    client_id: String,
    phone_number: String,
    name: Option<String>,
}

/// What of a contact can be changed.
#[derive(ToSchema)]
#[schema(examples(json!({ "name": "Jane Doe" })))]
#[expect(dead_code, reason = "this is for the document; fields are read by name")]
pub(super) struct ContactFields {
    phone_number: Option<String>,
    /// Null takes it away.
    name: Option<String>,
}

/// The contacts of a client
#[utoipa::path(
    get,
    path = "/api/clients/{client_id}/contacts",
    tag = "contacts",
    params(("client_id" = String, Path), PageParams),
    responses((status = 200, body = Vec<Contact>))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(client): Path<String>,
    Paging(page): Paging,
) -> Result<Json<Vec<Contact>>, ApiError> {
    let contacts = app.store.contacts(caller.id(), &client, page).await.map_err(told)?;
    Ok(Json(contacts.into_iter().map(Contact::from).collect()))
}

/// Make a contact
#[utoipa::path(
    post,
    path = "/api/contacts",
    tag = "contacts",
    request_body = NewContact,
    responses(
        (status = 201, body = Contact),
        (status = 400, description = "A value cannot be used, or the number is a contact already"),
        (status = 404, description = "There is no such client")
    )
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, Json<Contact>), ApiError> {
    let fields = Fields::read(request).await?;
    let client = fields.text("client_id")?.ok_or_else(|| ApiError::missing("client_id"))?;
    let number = phone(&fields, "phone_number")?.ok_or_else(|| ApiError::missing("phone_number"))?;
    let name = name(&fields)?;
    let contact = app.store.add_contact(caller.id(), &client, number, name, UnixMs::now());
    Ok((StatusCode::CREATED, Json(contact.await.map_err(told)?.into())))
}

/// Change a contact
///
/// What is not sent stays as it is.
#[utoipa::path(
    put,
    path = "/api/contacts/{contact_id}",
    tag = "contacts",
    params(("contact_id" = String, Path)),
    request_body = ContactFields,
    responses(
        (status = 200, body = Contact),
        (status = 400, description = "A value cannot be used, or the number is a contact already")
    )
)]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Contact>, ApiError> {
    let fields = Fields::read(request).await?;
    let number = phone(&fields, "phone_number")?;
    let name = match fields.has("name") {
        true => Some(name(&fields)?),
        false => None,
    };
    let contact = app.store.change_contact(caller.id(), &id, number, name, UnixMs::now());
    Ok(Json(contact.await.map_err(told)?.into()))
}

/// Take a contact out
///
/// Its conversations stay.
#[utoipa::path(
    delete,
    path = "/api/contacts/{contact_id}",
    tag = "contacts",
    params(("contact_id" = String, Path)),
    responses((status = 200, body = Message, example = json!({ "message": "Contact deleted successfully" })))
)]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Message>, ApiError> {
    app.store.remove_contact(caller.id(), &id).await.map_err(told)?;
    Ok(Json(Message { message: "Contact deleted successfully" }))
}

/// An empty name is none.
fn name(fields: &Fields) -> Result<Option<String>, ApiError> {
    Ok(fields.text("name")?.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()))
}
