//! Somebody's calendar at Google, which takes what overlaps: so it is looked at before an entry, and again after it.
//!
//! Whoever finds an entry beside theirs that was made before it withdraws: of two who enter at the same time, both look
//! afterwards, and exactly one of them is the later. Entries of the same millisecond are in the order of their names.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;

use super::{Appointment, Calendar, Entry, Unavailable};
use crate::domain::time::Span;
use crate::integrations::google::GoogleCalendar;
use crate::integrations::google::calendar::{CalendarError, NewEvent};

/// How often an entry is given another name because one of its name was deleted.
const NAMES: u8 = 8;

/// A calendar at Google.
#[derive(Debug)]
pub struct AtGoogle {
    calendar: GoogleCalendar,
    zone: TimeZone,
    name: String,
}

impl AtGoogle {
    /// `whose`: tells calendars apart that have the same name, as everybody's `primary` has. `zone`: entries are shown in it.
    pub fn new(calendar: GoogleCalendar, zone: TimeZone, whose: &str) -> Self {
        let name = format!("google {} of {whose}", calendar.id());
        Self { calendar, zone, name }
    }

    async fn entry(&self, appointment: &Appointment) -> Result<Entry, CalendarError> {
        let before = self.calendar.events(appointment.span).await?;
        if before.iter().any(|event| is_of(&event.id, appointment)) {
            return Ok(Entry::Entered);
        }
        // Also what blocks time and cannot be read as an event: so says Google's own count.
        if !before.is_empty() || self.is_busy(appointment.span).await? {
            return Ok(Entry::Taken);
        }
        let id = self.insert(appointment).await?;
        match self.is_first(&id, appointment.span).await {
            Ok(true) => Ok(Entry::Entered),
            Ok(false) => {
                self.calendar.delete(&id).await?;
                Ok(Entry::Taken)
            }
            Err(error) => {
                // Whether it may stay cannot be learned, so it must not; if that fails too, the same again settles it.
                self.calendar.delete(&id).await?;
                Err(error)
            }
        }
    }

    async fn is_busy(&self, span: Span) -> Result<bool, CalendarError> {
        let busy = self.calendar.busy(span).await?;
        Ok(busy.iter().any(|busy| busy.overlaps(&span)))
    }

    /// Enters it, and gives the name that it got.
    async fn insert(&self, appointment: &Appointment) -> Result<String, CalendarError> {
        let Appointment { span, name, phone, reason, call, .. } = appointment;
        let summary = format!("{name} ({phone})");
        let mut description = format!("Booked by telephone.\nName: {name}\nTelephone: {phone}\n");
        if !reason.is_empty() {
            description += &format!("Reason: {reason}\n");
        }
        description += &format!("Call: {call}");
        for number in 0..NAMES {
            let id = named(appointment, number);
            let event = NewEvent {
                id: &id,
                span: *span,
                zone: &self.zone,
                summary: &summary,
                description: &description,
            };
            match self.calendar.insert(&event).await {
                Err(CalendarError::Deleted) => {}
                inserted => return inserted.map(|()| id),
            }
        }
        Err(CalendarError::Deleted)
    }

    /// Whether nothing that overlaps was entered before it.
    async fn is_first(&self, id: &str, span: Span) -> Result<bool, CalendarError> {
        let events = self.calendar.events(span).await?;
        let Some(own) = events.iter().find(|event| event.id == id) else { return Ok(false) };
        let order = (own.created, own.id.as_str());
        let is_before = |event: &&_| {
            let event: &crate::integrations::google::calendar::Event = event;
            event.span.overlaps(&span) && (event.created, event.id.as_str()) < order
        };
        Ok(!events.iter().any(|event| is_before(&event)))
    }
}

/// The name of the entry, and of those in its place if it was deleted.
fn named(appointment: &Appointment, number: u8) -> String {
    match number {
        0 => appointment.id.clone(),
        number => format!("{}r{number}", appointment.id),
    }
}

fn is_of(id: &str, appointment: &Appointment) -> bool {
    (0..NAMES).any(|number| named(appointment, number) == id)
}

fn unavailable(error: CalendarError) -> Unavailable {
    Unavailable(error.to_string())
}

impl Calendar for AtGoogle {
    fn name(&self) -> &str {
        &self.name
    }

    fn busy(&self, within: Span) -> BoxFuture<'_, Result<Vec<Span>, Unavailable>> {
        async move { self.calendar.busy(within).await.map_err(unavailable) }.boxed()
    }

    fn enter<'a>(&'a self, appointment: &'a Appointment) -> BoxFuture<'a, Result<Entry, Unavailable>> {
        async move { self.entry(appointment).await.map_err(unavailable) }.boxed()
    }
}
