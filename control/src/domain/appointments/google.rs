//! Somebody's calendar at Google, which takes what overlaps: so it is looked at before an entry, and again after it.
//!
//! Whoever finds an entry beside theirs that was made before it withdraws: of two who enter at the same time, both look
//! afterwards, and exactly one of them is the later. Entries of the same millisecond are in the order of their names. An entry
//! of which it cannot be learned whether it may stay is withdrawn; if even that fails, whoever tries the same again settles it.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;

use super::{Appointment, Calendar, Entry, Unavailable};
use crate::domain::time::Span;
use crate::integrations::google::GoogleCalendar;
use crate::integrations::google::calendar::{CalendarError, Event, NewEvent};

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
        let own = before.iter().find(|event| is_of(&event.id, appointment));
        let id = match own {
            // By an earlier try, of which nobody knows how it ended.
            Some(event) => event.id.clone(),
            // Also what blocks time and cannot be read as an event: so says Google's own count.
            None if !before.is_empty() || self.is_busy(appointment.span).await? => return Ok(Entry::Taken),
            None => match self.insert(appointment).await {
                Ok(id) => id,
                // It may be there all the same.
                Err((id, error)) => return self.withdraw(&id, Err(error)).await,
            },
        };
        match self.is_first(&id, appointment.span).await {
            Ok(true) => Ok(Entry::Entered),
            Ok(false) => self.withdraw(&id, Ok(Entry::Taken)).await,
            // Whether it may stay cannot be learned, so it must not.
            Err(error) => self.withdraw(&id, Err(error)).await,
        }
    }

    /// Takes an entry back; then the outcome is `outcome`.
    async fn withdraw(
        &self,
        id: &str,
        outcome: Result<Entry, CalendarError>,
    ) -> Result<Entry, CalendarError> {
        match self.calendar.delete(id).await {
            Ok(()) => outcome,
            Err(error) => {
                tracing::warn!(calendar = self.name, event = id, %error, "an appointment cannot be withdrawn yet");
                Ok(Entry::Unsure)
            }
        }
    }

    async fn is_busy(&self, span: Span) -> Result<bool, CalendarError> {
        let busy = self.calendar.busy(span).await?;
        Ok(busy.iter().any(|busy| busy.overlaps(&span)))
    }

    /// Enters it, and gives the name that it got; with an error, the one that it may have got.
    async fn insert(&self, appointment: &Appointment) -> Result<String, (String, CalendarError)> {
        let Appointment { span, name, phone, reason, call, .. } = appointment;
        let summary = format!("{name} ({phone})");
        let mut description = format!("Booked by telephone.\nName: {name}\nTelephone: {phone}\n");
        if !reason.is_empty() {
            description += &format!("Reason: {reason}\n");
        }
        description += &format!("Call: {call}");
        let mut number = 0;
        loop {
            let id = named(appointment, number);
            let event = NewEvent {
                id: &id,
                span: *span,
                zone: &self.zone,
                summary: &summary,
                description: &description,
            };
            number += 1;
            match self.calendar.insert(&event).await {
                Ok(()) => return Ok(id),
                Err(CalendarError::Deleted) if number < NAMES => {}
                Err(error) => return Err((id, error)),
            }
        }
    }

    /// Whether nothing that overlaps was entered before it.
    async fn is_first(&self, id: &str, span: Span) -> Result<bool, CalendarError> {
        let events = self.calendar.events(span).await?;
        let Some(own) = events.iter().find(|event| event.id == id) else { return Ok(false) };
        let order = |event: &Event| (event.created, event.id.clone());
        Ok(!events.iter().any(|event| event.span.overlaps(&span) && order(event) < order(own)))
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
