//! When somebody may come: opening hours of a week in a zone, in slots of one length, not too soon and not too far ahead.
//!
//! Pure: takes the moment that it is, gives slots. A day's clock may be put forward or back in the midst of opening hours; slots
//! keep their length all the same, and each has a time that nobody can take for another slot's:
//!
//! ```text
//! put forward at 2:00   0:00 0:30 1:00 1:30 3:00 3:30        what the clock never shows is no slot
//! put back at 3:00      1:30 2:00 2:30 (2:00 2:30) 3:00      what it shows twice is one the first time
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::domain::time::Span;

/// Minutes of a day by its clock.
const DAY_MINUTES: u16 = 24 * 60;

/// One stretch of opening hours within a day, such as `09:00-12:00`; the end may be `24:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opening {
    /// Minutes after midnight, by the clock.
    from: u16,
    to: u16,
}

impl FromStr for Opening {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minutes = |text: &str| -> Option<u16> {
            let (hours, minutes) = text.trim().split_once(':')?;
            let two = |digits: &str, most: u16| -> Option<u16> {
                let is_number = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
                digits.parse::<u16>().ok().filter(|number| is_number && *number <= most)
            };
            Some(two(hours, 24)? * 60 + two(minutes, 59)?)
        };
        let both = text.split_once('-').and_then(|(from, to)| minutes(from).zip(minutes(to)));
        match both {
            Some((from, to)) if from < to && to <= DAY_MINUTES => Ok(Self { from, to }),
            _ => {
                Err("write hours of one day as 09:00-12:00; what goes on after midnight is the next day's"
                    .into())
            }
        }
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

/// The opening hours of each day of the week, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Week([Vec<Opening>; 7]);

impl Week {
    /// Sets the hours of a day. The error says that some of them overlap.
    pub fn set(&mut self, day: Weekday, mut hours: Vec<Opening>) -> Result<(), String> {
        hours.sort_unstable();
        if let Some(pair) = hours.windows(2).find(|pair| pair[1].from < pair[0].to) {
            return Err(format!("{} and {} overlap", pair[0], pair[1]));
        }
        self.0[usize::from(day.to_monday_zero_offset().unsigned_abs())] = hours;
        Ok(())
    }

    /// From Monday to Friday, from nine to five.
    pub fn office_hours() -> Self {
        let day = vec![Opening { from: 9 * 60, to: 17 * 60 }];
        Self(std::array::from_fn(|at| if at < 5 { day.clone() } else { Vec::new() }))
    }

    fn of(&self, day: Weekday) -> &[Opening] {
        &self.0[usize::from(day.to_monday_zero_offset().unsigned_abs())]
    }

    /// True if nobody can ever come.
    pub fn is_closed(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }
}

/// When somebody may come.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Where the clock is that opening hours go by.
    pub zone: TimeZone,
    /// Opening hours.
    pub week: Week,
    /// How long an appointment is, in minutes: 1 to 1440.
    pub slot_minutes: u16,
    /// How long before it must it be booked.
    pub notice: Duration,
    /// How many days ahead it may be booked.
    pub days_ahead: u16,
}

/// Time for one appointment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// From when to when.
    pub span: Span,
    /// The day, where the clock is.
    pub date: Date,
    /// When it begins, by that clock: a whole minute.
    pub time: Time,
}

/// Why nobody can come then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotThen {
    /// That day is over.
    Past,
    /// It is too soon, or over.
    TooSoon,
    /// It is too far ahead: there is nothing after this day.
    TooFar(Date),
    /// There are no opening hours that day.
    Closed,
    /// No appointment begins at that time.
    NoSlot,
}

impl Rules {
    /// The day that it is.
    pub fn today(&self, now: Timestamp) -> Date {
        now.to_zoned(self.zone.clone()).date()
    }

    /// The last day that can be booked.
    pub fn last_day(&self, now: Timestamp) -> Date {
        self.today(now).saturating_add(i64::from(self.days_ahead).days())
    }

    /// All slots of a day, free or not, in order. They do not overlap.
    pub fn slots(&self, date: Date) -> Vec<Slot> {
        let length = SignedDuration::from_mins(i64::from(self.slot_minutes.max(1)));
        let mut slots = Vec::new();
        for opening in self.week.of(date.weekday()) {
            let bounds = self.moment(date, opening.from).zip(self.moment(date, opening.to));
            let Some((mut from, close)) = bounds else { continue };
            while let Ok(to) = from.checked_add(length)
                && to <= close
            {
                let clock = from.to_zoned(self.zone.clone()).datetime();
                if clock.date() == date && self.first(clock) == Some(from) {
                    slots.push(Slot { span: Span { from, to }, date, time: clock.time() });
                }
                from = to;
            }
        }
        slots
    }

    /// The slots of a day that can be booked at `now`, whether they are free or not.
    pub fn bookable(&self, date: Date, now: Timestamp) -> Result<Vec<Slot>, NotThen> {
        if date < self.today(now) {
            return Err(NotThen::Past);
        }
        let last = self.last_day(now);
        if date > last {
            return Err(NotThen::TooFar(last));
        }
        let mut slots = self.slots(date);
        if slots.is_empty() {
            return Err(NotThen::Closed);
        }
        slots.retain(|slot| self.is_in_time(slot, now));
        if slots.is_empty() { Err(NotThen::TooSoon) } else { Ok(slots) }
    }

    /// The slot that begins at a time by the clock, if it can be booked at `now`.
    pub fn slot_at(&self, date: Date, time: Time, now: Timestamp) -> Result<Slot, NotThen> {
        let bookable = self.bookable(date, now);
        let found = self.slots(date).into_iter().find(|slot| slot.time == time);
        match (bookable, found) {
            (Err(why), _) => Err(why),
            (Ok(_), None) => Err(NotThen::NoSlot),
            (Ok(_), Some(slot)) if self.is_in_time(&slot, now) => Ok(slot),
            (Ok(_), Some(_)) => Err(NotThen::TooSoon),
        }
    }

    fn is_in_time(&self, slot: &Slot, now: Timestamp) -> bool {
        let notice = SignedDuration::try_from(self.notice).unwrap_or(SignedDuration::MAX);
        now.checked_add(notice).is_ok_and(|earliest| slot.span.from >= earliest)
    }

    /// So many minutes after a day's midnight by the clock.
    fn moment(&self, date: Date, minutes: u16) -> Option<Timestamp> {
        let clock = date.to_datetime(Time::midnight()).checked_add(i64::from(minutes).minutes());
        self.first(clock.ok()?)
    }

    /// When the clock first shows this; where it is put forward over it, when it is put forward. So what is later by the clock
    /// is never earlier in truth.
    fn first(&self, clock: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(clock).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(clock).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(clock).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                let earlier = after.to_timestamp(clock).ok()?;
                self.zone.following(earlier).next().map(|change| change.timestamp())
            }
        }
    }
}

/// Those of `slots` that nothing in `busy` overlaps. `busy` is in any order, and may overlap itself.
pub fn free(slots: &[Slot], busy: &[Span]) -> Vec<Slot> {
    let is_free = |slot: &&Slot| !busy.iter().any(|span| span.overlaps(&slot.span));
    slots.iter().filter(is_free).copied().collect()
}

#[cfg(test)]
mod tests;
