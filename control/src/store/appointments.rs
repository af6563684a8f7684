//! Appointments in calendars of this server's own: each query beside the function that runs it.

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, Row, params};

use super::{Store, StoreError};
use crate::domain::appointments::Appointment;
use crate::domain::time::{Span, UnixMs};

impl Store {
    /// Enters an appointment at a desk. False if another one is then. One of the same name changes nothing.
    pub async fn enter(
        &self,
        desk: &str,
        appointment: &Appointment,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        let (desk, appointment) = (desk.to_owned(), appointment.clone());
        match self.change(move |connection| insert(connection, &desk, &appointment, now)).await {
            Ok(()) => Ok(true),
            Err(StoreError::Sql(error))
                if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The appointments at a desk that take some of this time, in order.
    pub async fn appointments(&self, desk: &str, within: Span) -> Result<Vec<Appointment>, StoreError> {
        let desk = desk.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT * FROM appointments WHERE desk = ?1 AND starts_ms < ?2 AND ends_ms > ?3
                     ORDER BY starts_ms",
                )?
                .query_map(
                    params![desk, within.to.as_millisecond(), within.from.as_millisecond()],
                    appointment_from_row,
                )?
                .collect()
        })
        .await
    }
}

fn insert(
    connection: &Connection,
    desk: &str,
    appointment: &Appointment,
    at: UnixMs,
) -> rusqlite::Result<()> {
    let Appointment { id, span, name, phone, reason, call } = appointment;
    connection
        .prepare_cached(
            "INSERT INTO appointments (id, desk, starts_ms, ends_ms, name, phone, reason, call, booked_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            id,
            desk,
            span.from.as_millisecond(),
            span.to.as_millisecond(),
            name,
            phone,
            reason,
            call,
            at.0
        ])
        .map(drop)
}

fn appointment_from_row(row: &Row<'_>) -> rusqlite::Result<Appointment> {
    let moment = |name: &str| -> rusqlite::Result<Timestamp> {
        let ms: i64 = row.get(name)?;
        // What no calendar has was not written by this.
        Ok(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH))
    };
    Ok(Appointment {
        id: row.get("id")?,
        span: Span { from: moment("starts_ms")?, to: moment("ends_ms")? },
        name: row.get("name")?,
        phone: row.get("phone")?,
        reason: row.get("reason")?,
        call: row.get("call")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appointment(id: &str, from_ms: i64, to_ms: i64) -> Appointment {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        Appointment {
            id: id.into(),
            span: Span { from: at(from_ms), to: at(to_ms) },
            name: "Pat".into(),
            phone: "+15005550006".into(),
            reason: "a tooth".into(),
            call: "c".into(),
        }
    }

    #[tokio::test]
    async fn the_database_refuses_what_overlaps_and_only_that() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), UnixMs(1)).unwrap();
        let enter = async |desk: &str, id: &str, from, to| {
            store.enter(desk, &appointment(id, from, to), UnixMs(5)).await.unwrap()
        };
        assert!(enter("a", "one", 1_000, 2_000).await);
        for (from, to) in [(1_000, 2_000), (1_500, 1_600), (500, 1_001), (1_999, 3_000), (0, 9_000)] {
            assert!(!enter("a", "two", from, to).await, "{from} to {to}");
        }
        assert!(enter("a", "before", 500, 1_000).await && enter("a", "after", 2_000, 2_500).await);
        assert!(enter("b", "elsewhere", 1_000, 2_000).await);
        assert!(enter("a", "one", 1_000, 2_000).await, "the same once more");
        let within = appointment("x", 999, 2_000).span;
        let found = store.appointments("a", within).await.unwrap();
        assert_eq!(found, [appointment("before", 500, 1_000), appointment("one", 1_000, 2_000)]);
        assert!(enter("a", "empty", 7_000, 7_000).await.eq(&false));
    }

    #[tokio::test]
    async fn of_many_who_enter_at_once_one_does() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), UnixMs(1)).unwrap();
        let appointments: Vec<_> =
            (0..50).map(|n| appointment(&format!("a{n}"), 1_000 + n % 7, 2_000)).collect();
        let entering = appointments.iter().map(|appointment| store.enter("a", appointment, UnixMs(5)));
        let entered = futures_util::future::join_all(entering).await;
        assert_eq!(entered.into_iter().filter(|entered| *entered.as_ref().unwrap()).count(), 1);
    }
}
