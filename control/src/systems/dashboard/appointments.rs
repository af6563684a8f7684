//! Appointments that agents made on calls.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::paging::{PageParams, Paging};
use crate::domain::booked::BookedAppointment;
use crate::server::App;
use crate::systems::error::ApiError;

/// What an appointment is for where nobody said.
const NO_KIND: &str = "Appointment";

/// An appointment.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = BookedAppointment, examples(json!({
    "id": "of0123456789abcdef0123456789abcdef01234567",
    "call_id": "0198c1d2-e3f4-7a5b-8c6d-7e8f90a1b2c3",
    "customer_phone": "+1234567890",
    "appointment_date": "2025-01-20",
    "appointment_time": "2:00 PM",
    "appointment_type": "Consultation",
    "quality_score": 5,
    "created_at": 1234567890,
})))]
pub(super) struct Appointment {
    id: String,
    /// The call that it was made on.
    call_id: String,
    /// Where who comes can be reached.
    customer_phone: String,
    /// By the clock of the place where it is.
    appointment_date: String,
    /// Likewise.
    appointment_time: String,
    /// What it is for.
    appointment_type: String,
    /// How much of it is known: day and time count 3, a number and what it is for one each.
    quality_score: u8,
    /// When it was made, in Unix time.
    created_at: i64,
}

impl From<BookedAppointment> for Appointment {
    fn from(booked: BookedAppointment) -> Self {
        let (appointment_date, appointment_time) = booked.clock();
        Self {
            id: booked.id,
            call_id: booked.call,
            customer_phone: booked.phone,
            appointment_date,
            appointment_time,
            appointment_type: if booked.kind.is_empty() { NO_KIND.into() } else { booked.kind },
            quality_score: booked.quality,
            created_at: booked.booked.0.div_euclid(1_000),
        }
    }
}

/// Appointments that agents made, the latest made first
///
/// In whatever calendar they are. With the add-on `appointments_by_ai`, also those that a model found in what was said.
#[utoipa::path(
    get,
    path = "/api/appointments",
    tag = "calls",
    params(PageParams),
    responses((status = 200, body = Vec<Appointment>))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Paging(page): Paging,
) -> Result<Json<Vec<Appointment>>, ApiError> {
    let booked = app.store.booked(caller.id(), page).await?;
    Ok(Json(booked.into_iter().map(Appointment::from).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::booked::Source;
    use crate::domain::time::UnixMs;

    #[test]
    fn an_appointment_is_told_as_the_contract_shows_it() {
        let booked = BookedAppointment {
            id: "appointment-id".into(),
            call: "call-id".into(),
            phone: "+1234567890".into(),
            starts: UnixMs(1_737_378_000_000),
            zone: "Europe/Amsterdam".into(),
            kind: "Consultation".into(),
            quality: 5,
            source: Source::Agent,
            booked: UnixMs(1_234_567_890_123),
        };
        assert_eq!(
            serde_json::to_value(Appointment::from(booked)).unwrap(),
            json!({
                "id": "appointment-id",
                "call_id": "call-id",
                "customer_phone": "+1234567890",
                "appointment_date": "2025-01-20",
                "appointment_time": "2:00 PM",
                "appointment_type": "Consultation",
                "quality_score": 5,
                "created_at": 1234567890,
            })
        );
    }
}
