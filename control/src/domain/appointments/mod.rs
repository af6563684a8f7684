//! Appointments: which are free, and booking one so that nobody else has it.
//!
//! ```text
//!  tool ─► Appointments ─► hours.rs      opening hours, slots, notice: pure
//!                      └─► a calendar    local.rs: this server's own; google.rs: somebody's at Google
//! ```
//!
//! Two calls that want the same slot at once are one behind the other here: who books has the calendar's turn. Between
//! processes, and people who write into the calendar by hand, the calendar itself decides: the local one refuses what overlaps,
//! and an entry at Google that turns out to be the later one is withdrawn.
//!
//! A booking goes on though nobody waits for it any more, as a caller who interrupts must not leave half of one. It is named
//! by call and slot: to book the same again on the same call is to be told that it is booked.

pub mod google;
pub mod hours;
pub mod local;
pub mod tells_owner;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::civil::{Date, Time};
use jiff::{Timestamp, ToSpan};
use ring::digest::{SHA256, digest};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::domain::time::Span;
use crate::hex;
use hours::{NotThen, Rules, Slot, free};

/// How long a caller waits for a calendar.
const PATIENCE: Duration = Duration::from_secs(8);
/// On how many further days a free slot is looked for if the day that was asked for has none.
const FURTHER_DAYS: i64 = 14;

/// Something to be entered in a calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appointment {
    /// Of call and slot: `of` and 40 hex digits.
    pub id: String,
    /// When.
    pub span: Span,
    /// Who comes.
    pub name: String,
    /// Where they can be reached.
    pub phone: String,
    /// What for; may be empty.
    pub reason: String,
    /// The call that booked it.
    pub call: String,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It is in the calendar, by this try or an earlier one.
    Entered,
    /// Something else was there first, and it is not.
    Taken,
    /// It may be in the calendar: to enter it again tells.
    Unsure,
}

/// A calendar could not be asked. For the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Where appointments are entered.
pub trait Calendar: Send + Sync {
    /// What it is called, in logs, and by what two of the same are known to be one: `local callbot`, `google desk@example.com`.
    fn name(&self) -> &str;

    /// When it is busy within a span of two months at most. In any order; spans may overlap.
    fn busy(&self, within: Span) -> BoxFuture<'_, Result<Vec<Span>, Unavailable>>;

    /// Enters an appointment, if nothing overlaps it. One of the same name is the same.
    fn enter<'a>(&'a self, appointment: &'a Appointment) -> BoxFuture<'a, Result<Entry, Unavailable>>;
}

/// Who books what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// The call.
    pub call: String,
    /// The day.
    pub date: Date,
    /// When it begins, by the clock of [`Rules::zone`].
    pub time: Time,
    /// See [`Appointment`].
    pub name: String,
    /// Likewise.
    pub phone: String,
    /// Likewise.
    pub reason: String,
}

/// What is free on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Free {
    /// The slots that are free, in order.
    pub slots: Vec<Slot>,
    /// Why there can be none; none if it is because others were faster.
    pub not_then: Option<NotThen>,
    /// If there are none: those of the next day that has some.
    pub next: Vec<Slot>,
}

/// Why nothing was booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotBooked {
    /// Nobody can come then. With what is free that day, or else on the next.
    NotThen(NotThen, Vec<Slot>),
    /// Somebody else comes then. Likewise.
    Taken(Vec<Slot>),
    /// The calendar could not be asked.
    Unavailable(Unavailable),
    /// The calendar has not answered yet: the same again later tells whether it is booked.
    Unsure,
}

/// Appointments in one calendar.
pub struct Appointments {
    rules: Rules,
    calendar: Box<dyn Calendar>,
    /// Who holds it books.
    turn: Arc<Mutex<()>>,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    patience: Duration,
}

impl std::fmt::Debug for Appointments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Appointments({})", self.calendar.name())
    }
}

impl Appointments {
    /// Appointments in a calendar, by the machine's clock.
    pub fn new(rules: Rules, calendar: Box<dyn Calendar>) -> Self {
        let turn = turn_of(calendar.name());
        Self { rules, calendar, turn, now: Box::new(Timestamp::now), patience: PATIENCE }
    }

    /// The same by another clock, for tests.
    pub fn with_clock(self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { now: Box::new(now), ..self }
    }

    /// When somebody may come.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The moment that it is.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// What is free on a day.
    pub async fn free(&self, date: Date) -> Result<Free, Unavailable> {
        timeout(self.patience, self.look(date)).await.unwrap_or_else(|_| Err(self.slow()))
    }

    async fn look(&self, date: Date) -> Result<Free, Unavailable> {
        let now = self.now();
        let asked = self.rules.bookable(date, now);
        let not_then = asked.as_ref().err().copied();
        let first = date.max(self.rules.today(now));
        // Nothing is free after the last day: from there, nothing is looked for.
        let days = (0..=FURTHER_DAYS).map(|day| first.saturating_add(day.days()));
        let days: Vec<Vec<Slot>> = days.filter_map(|day| self.rules.bookable(day, now).ok()).collect();
        let bounds = days.first().and_then(|day| day.first()).zip(days.last().and_then(|day| day.last()));
        let busy = match bounds {
            Some((first, last)) => {
                self.calendar.busy(Span { from: first.span.from, to: last.span.to }).await?
            }
            None => Vec::new(),
        };
        let slots = free(&asked.unwrap_or_default(), &busy);
        let others = days.iter().filter(|day| day[0].date != date).map(|day| free(day, &busy));
        let next = if slots.is_empty() { others.into_iter().find(|day| !day.is_empty()) } else { None };
        Ok(Free { slots, not_then, next: next.unwrap_or_default() })
    }

    /// Books an appointment.
    pub async fn book(self: &Arc<Self>, booking: &Booking) -> Result<Slot, NotBooked> {
        let slot = match self.rules.slot_at(booking.date, booking.time, self.now()) {
            Ok(slot) => slot,
            Err(why) => return Err(NotBooked::NotThen(why, self.instead(booking.date).await)),
        };
        let appointment = Appointment {
            id: name_of(&booking.call, &slot),
            span: slot.span,
            name: booking.name.clone(),
            phone: booking.phone.clone(),
            reason: booking.reason.clone(),
            call: booking.call.clone(),
        };
        let this = Arc::clone(self);
        let entering = tokio::spawn(async move {
            let _turn = this.turn.lock().await;
            this.calendar.enter(&appointment).await
        });
        match timeout(self.patience, entering).await {
            Ok(Ok(Ok(Entry::Entered))) => Ok(slot),
            Ok(Ok(Ok(Entry::Taken))) => Err(NotBooked::Taken(self.instead(booking.date).await)),
            Ok(Ok(Err(error))) => Err(NotBooked::Unavailable(error)),
            Ok(Err(_)) => Err(NotBooked::Unavailable(Unavailable("the entry broke off".into()))),
            Ok(Ok(Ok(Entry::Unsure))) | Err(_) => Err(NotBooked::Unsure),
        }
    }

    /// What is free instead, as far as that can be learned.
    async fn instead(&self, date: Date) -> Vec<Slot> {
        match self.free(date).await {
            Ok(free) if free.slots.is_empty() => free.next,
            Ok(free) => free.slots,
            Err(_) => Vec::new(),
        }
    }

    fn slow(&self) -> Unavailable {
        Unavailable(format!("the calendar has not answered within {} s", self.patience.as_secs_f32()))
    }
}

/// The turn of the calendar of this name, which everybody in this process has to wait for.
fn turn_of(calendar: &str) -> Arc<Mutex<()>> {
    static TURNS: StdMutex<BTreeMap<String, Weak<Mutex<()>>>> = StdMutex::new(BTreeMap::new());
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| turn.strong_count() > 0);
    if let Some(turn) = turns.get(calendar).and_then(Weak::upgrade) {
        return turn;
    }
    let turn = Arc::<Mutex<()>>::default();
    turns.insert(calendar.to_owned(), Arc::downgrade(&turn));
    turn
}

/// What an appointment is called: in characters that any calendar takes.
fn name_of(call: &str, slot: &Slot) -> String {
    let hash = digest(&SHA256, format!("{call} {}", slot.span.from.as_millisecond()).as_bytes());
    format!("of{}", hex::encode(&hash.as_ref()[..20]))
}

#[cfg(test)]
mod tests;
