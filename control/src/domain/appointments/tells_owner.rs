//! A calendar of which each entry is also noted for the owner of the call that made it.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;

use super::{Appointment, Calendar, Entry, Unavailable};
use crate::domain::booked::{BookedAppointment, Source, quality};
use crate::domain::time::{Span, UnixMs};
use crate::store::Store;

/// One calendar.
pub struct TellsOwner {
    calendar: Box<dyn Calendar>,
    store: Arc<Store>,
    /// By whose clock appointments are told.
    zone: String,
}

impl TellsOwner {
    /// Notes the entries of `calendar`.
    pub fn new(calendar: Box<dyn Calendar>, store: Arc<Store>, zone: &TimeZone) -> Self {
        Self { calendar, store, zone: zone.iana_name().unwrap_or("UTC").to_owned() }
    }
}

impl Calendar for TellsOwner {
    fn name(&self) -> &str {
        self.calendar.name()
    }

    fn busy(&self, within: Span) -> BoxFuture<'_, Result<Vec<Span>, Unavailable>> {
        self.calendar.busy(within)
    }

    fn enter<'a>(&'a self, appointment: &'a Appointment) -> BoxFuture<'a, Result<Entry, Unavailable>> {
        async move {
            let entry = self.calendar.enter(appointment).await?;
            if entry == Entry::Entered {
                let Appointment { id, span, phone, reason, call, .. } = appointment.clone();
                let booked = BookedAppointment {
                    id,
                    quality: quality(&phone, &reason),
                    phone,
                    starts: UnixMs(span.from.as_millisecond()),
                    zone: self.zone.clone(),
                    kind: reason,
                    source: Source::Agent,
                    booked: UnixMs::now(),
                    call: call.clone(),
                };
                // It is in the calendar, whatever becomes of this.
                if let Err(error) = self.store.note_booking(booked).await {
                    tracing::error!(call_id = call, %error, "an appointment could not be noted for the call's owner");
                }
            }
            Ok(entry)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use offhook_engine::CallId;

    use super::*;
    use crate::domain::appointments::local::LocalCalendar;
    use crate::domain::call::Announcement;
    use crate::domain::lines::Page;

    #[tokio::test]
    async fn what_an_agent_books_is_its_owners_to_see_once_and_what_is_taken_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
        let pat = store
            .add_account("pat@example.com", "Pat", "h".into(), false, UnixMs(1))
            .await
            .unwrap()
            .unwrap()
            .id;
        let announcement = Announcement {
            call: CallId::new("0a").unwrap(),
            carrier: "twilio",
            carrier_call_id: "CA1".into(),
            from: "+15005550009".into(),
            to: String::new(),
            direction: "inbound".into(),
            scenario: "s".into(),
            on_line: None,
            owner_email: Some("pat@example.com".into()),
            at: UnixMs(1_000),
        };
        store.announce(announcement).await.unwrap();
        let local = LocalCalendar::new(store.clone(), "callbot");
        let calendar =
            TellsOwner::new(Box::new(local), store.clone(), &TimeZone::get("Europe/Amsterdam").unwrap());
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let appointment = |id: &str, call: &str, from_ms: i64| Appointment {
            id: id.into(),
            span: Span { from: at(from_ms), to: at(from_ms + 60_000) },
            name: "Pat".into(),
            phone: "+15005550006".into(),
            reason: "a tooth".into(),
            call: call.into(),
        };
        for (id, call, from_ms, entry) in [
            ("one", "0a", 1_737_378_000_000, Entry::Entered),
            ("one", "0a", 1_737_378_000_000, Entry::Entered),
            ("two", "0a", 1_737_378_000_000, Entry::Taken),
            ("other", "nobody's", 1_737_379_000_000, Entry::Entered),
        ] {
            assert_eq!(calendar.enter(&appointment(id, call, from_ms)).await, Ok(entry), "{id}");
        }
        let booked = store.booked(&pat, Page::default()).await.unwrap();
        assert_eq!(booked.len(), 1);
        assert_eq!((booked[0].call.as_str(), booked[0].quality), ("0a", 5));
        assert_eq!(booked[0].clock(), ("2025-01-20".into(), "2:00 PM".into()));
    }
}
