//! Appointments that agents made on users' calls.

use rusqlite::{Connection, params};

use super::{Store, StoreError};
use crate::domain::booked::{BookedAppointment, Source};
use crate::domain::lines::Page;
use crate::domain::time::UnixMs;

impl Store {
    /// Writes an appointment down for the owner of its call, once; nothing, if the call is nobody's. `call` is its id in
    /// `account_calls`.
    pub async fn note_booking(&self, booked: BookedAppointment) -> Result<(), StoreError> {
        self.change(move |connection| insert(connection, &booked)).await
    }

    /// The appointments that were made on a user's calls; the latest made first.
    pub async fn booked(&self, owner: &str, page: Page) -> Result<Vec<BookedAppointment>, StoreError> {
        let owner = owner.to_owned();
        self.read(move |connection| {
            let (limit, offset) = (page.limit.map_or(-1, i64::from), page.offset);
            connection
                .prepare_cached(
                    "SELECT booked_appointments.*, coalesce(account_calls.reported_id, booked_appointments.call) AS name
                     FROM booked_appointments LEFT JOIN account_calls ON account_calls.id = booked_appointments.call
                     WHERE booked_appointments.owner = ?1
                     ORDER BY booked_ms DESC, booked_appointments.id LIMIT ?2 OFFSET ?3",
                )?
                .query_map(params![owner, limit, offset], |row| {
                    let source: String = row.get("source")?;
                    Ok(BookedAppointment {
                        id: row.get("id")?,
                        call: row.get("name")?,
                        phone: row.get("phone")?,
                        starts: UnixMs(row.get("starts_ms")?),
                        zone: row.get("zone")?,
                        kind: row.get("kind")?,
                        quality: row.get("quality")?,
                        source: Source::from_text(&source).unwrap_or(Source::Agent),
                        booked: UnixMs(row.get("booked_ms")?),
                    })
                })?
                .collect()
        })
        .await
    }
}

/// Writes an appointment down for the owner of its call, once.
pub(super) fn insert(connection: &Connection, booked: &BookedAppointment) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO booked_appointments (id, owner, call, phone, starts_ms, zone, kind, quality, source, booked_ms)
             SELECT ?1, owner, id, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM account_calls WHERE id = ?2
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            booked.id,
            booked.call,
            booked.phone,
            booked.starts.0,
            booked.zone,
            booked.kind,
            booked.quality,
            booked.source.as_str(),
            booked.booked.0,
        ])
        .map(drop)
}
