//! Appointments in the calendar of this server's own.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::Parameters;
use crate::domain::appointments::Appointment;
use crate::domain::appointments::local::CALLBOT;
use crate::domain::time::Span;
use crate::server::App;
use crate::systems::error::ApiError;

/// How far ahead is shown, unless asked otherwise.
const AHEAD: SignedDuration = SignedDuration::from_hours(31 * 24);

/// Appointments, in order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AppointmentList)]
pub(super) struct List {
    appointments: Vec<Entry>,
}

/// An appointment that a caller booked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Appointment)]
pub(super) struct Entry {
    id: String,
    #[schema(format = DateTime)]
    starts_at: String,
    /// The first moment after it.
    #[schema(format = DateTime)]
    ends_at: String,
    /// Who comes.
    name: String,
    /// Where they can be reached.
    phone: String,
    /// What for; may be empty.
    reason: String,
    /// The call that booked it.
    call: String,
}

impl Entry {
    fn example() -> Self {
        Self {
            id: "of0a4d55a8d778e5022fab701977c5d840bbc486d0".into(),
            starts_at: "2026-03-02T09:00:00Z".into(),
            ends_at: "2026-03-02T09:30:00Z".into(),
            name: "Al Jones".into(),
            phone: "+15005550006".into(),
            reason: "a tooth".into(),
            call: "019b76da-a800-7000-8000-000000000000".into(),
        }
    }
}

impl From<Appointment> for Entry {
    fn from(appointment: Appointment) -> Self {
        let Appointment { id, span, name, phone, reason, call } = appointment;
        Self { id, starts_at: span.from.to_string(), ends_at: span.to.to_string(), name, phone, reason, call }
    }
}

/// List appointments
///
/// Those that callers booked in the calendar of this server's own, by their beginnings. A calendar at Google shows its own.
#[utoipa::path(
    get,
    path = "/v1/appointments",
    tag = "appointments",
    params(
        ("from" = Option<String>, Query, description = "RFC 3339; now unless said otherwise", example = "2026-03-02T00:00:00Z"),
        ("to" = Option<String>, Query, description = "RFC 3339; 31 days later unless said otherwise"),
    ),
    responses((
        status = 200,
        description = "The appointments",
        body = List,
        example = json!({ "appointments": [Entry::example()] }),
    ))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(parameters): Parameters,
) -> Result<Json<List>, ApiError> {
    let moment = |name: &str| -> Result<Option<Timestamp>, ApiError> {
        let text = parameters.get(name).filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(|_| ApiError::bad_parameter(name, "date-time"))).transpose()
    };
    let from = moment("from")?.unwrap_or_else(Timestamp::now);
    let to = moment("to")?.unwrap_or_else(|| from.saturating_add(AHEAD).unwrap_or(Timestamp::MAX));
    let found = app.store.appointments(CALLBOT, Span { from, to }).await?;
    Ok(Json(List { appointments: found.into_iter().map(Entry::from).collect() }))
}
