//! What a model may do with appointments: look which are free, and book one.
//!
//! Each answer is JSON with a sentence that can be said as it is: `say`, or `error` with what to do about it. Whatever goes
//! wrong is told to the model; the call goes on.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::civil::{Date, Time};
use serde_json::{Value, json};

use super::{described, schema};
use crate::domain::appointments::hours::{NotThen, Slot};
use crate::domain::appointments::{Appointments, Booking, NotBooked};

/// The longest name and reason, in characters.
const TEXT_MAX: usize = 120;
/// Digits of a telephone number: of an extension up to those that E.164 allows.
const DIGITS: std::ops::RangeInclusive<usize> = 3..=15;
/// How many free times are said at once: nobody remembers more.
const SAID: usize = 3;

/// One of the tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeskTool {
    /// `get_available_slots`.
    Slots,
    /// `book_appointment`.
    Book,
}

impl DeskTool {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Slots, Self::Book];

    /// What a model calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slots => "get_available_slots",
            Self::Book => "book_appointment",
        }
    }

    /// The tool of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    fn parameters(self) -> Value {
        let date = json!({"type": "string", "description": "The day, as YYYY-MM-DD.", "minLength": 10, "maxLength": 10});
        match self {
            Self::Slots => json!({
                "type": "object", "properties": {"date": date}, "required": ["date"], "additionalProperties": false,
            }),
            Self::Book => json!({
                "type": "object",
                "properties": {
                    "date": date,
                    "time": {
                        "type": "string", "minLength": 4, "maxLength": 5,
                        "description": "When it begins, as HH:MM on a 24-hour clock: one of the free times of that day.",
                    },
                    "name": {"type": "string", "description": "Who comes.", "minLength": 1, "maxLength": TEXT_MAX},
                    "phone": {
                        "type": "string", "maxLength": 40,
                        "description": "Where they can be reached. Leave it out for the number that they call from.",
                    },
                    "reason": {"type": "string", "description": "What it is for, if they said so.", "maxLength": TEXT_MAX},
                },
                "required": ["date", "time", "name"], "additionalProperties": false,
            }),
        }
    }

    fn offered(self) -> Value {
        let text = match self {
            Self::Slots => {
                "Looks which appointments are free on a day. If none is, it says when the next ones are. Use it before you \
                 offer or book anything."
            }
            Self::Book => {
                "Books an appointment. Use it once the caller has agreed to day and time and has told you their name; it is \
                 booked only if this says so."
            }
        };
        described(self.name(), text, &self.parameters())
    }
}

/// Tells the number that a call came from, by the call's id; none if it is not known.
pub type NumberOf = Arc<dyn Fn(&str) -> BoxFuture<'static, Option<String>> + Send + Sync>;

/// Appointments, as a model is let at them.
#[derive(Clone)]
pub struct Desk {
    appointments: Arc<Appointments>,
    tools: Vec<DeskTool>,
    number_of: NumberOf,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Desk({:?}, {:?})", self.appointments, self.tools)
    }
}

impl Desk {
    /// `tools`: which of them are offered.
    pub fn new(appointments: Arc<Appointments>, tools: &[DeskTool], number_of: NumberOf) -> Self {
        Self { appointments, tools: tools.to_vec(), number_of }
    }

    pub(super) fn offered(&self) -> impl Iterator<Item = Value> + '_ {
        self.tools.iter().map(|tool| tool.offered())
    }

    /// The tool of this name, if it is offered.
    pub(super) fn tool(&self, name: &str) -> Option<DeskTool> {
        DeskTool::named(name).filter(|tool| self.tools.contains(tool))
    }

    /// What a model has to know to speak of days: which one it is, and where.
    pub fn told(&self) -> String {
        let rules = self.appointments.rules();
        let now = self.appointments.now().to_zoned(rules.zone.clone());
        format!(
            "It is {}, {}, where appointments are ({}). They take {} minutes.",
            now.strftime("%A, %Y-%m-%d"),
            now.strftime("%H:%M"),
            rules.zone.iana_name().unwrap_or("local time"),
            rules.slot_minutes
        )
    }

    /// Does what the model wants done, on the call of this id. The error is for the model.
    pub(super) async fn call(&self, tool: DeskTool, arguments: &str, call: &str) -> Value {
        let done = match parsed(tool, arguments) {
            Ok(arguments) => match tool {
                DeskTool::Slots => self.look(&arguments).await,
                DeskTool::Book => self.book(&arguments, call).await,
            },
            Err(error) => Err(json!({ "error": error })),
        };
        done.unwrap_or_else(|error| error)
    }

    async fn look(&self, arguments: &Value) -> Result<Value, Value> {
        let date = date_of(arguments)?;
        let free = self.appointments.free(date).await.map_err(|error| self.unavailable(&error))?;
        let mut answer = json!({
            "date": date.to_string(), "weekday": date.strftime("%A").to_string(), "free": times(&free.slots),
        });
        if let Some(slot) = free.next.first() {
            answer["next"] = json!({
                "date": slot.date.to_string(), "weekday": slot.date.strftime("%A").to_string(), "free": times(&free.next),
            });
        }
        let said = if free.slots.is_empty() {
            let why = free
                .not_then
                .map_or_else(|| format!("Nothing is free on {}.", day(date)), |why| self.why(why, date));
            format!("{why} {}", instead(&free.next))
        } else {
            offer(&free.slots)
        };
        answer["say"] = said.trim_end().into();
        Ok(answer)
    }

    async fn book(&self, arguments: &Value, call: &str) -> Result<Value, Value> {
        let date = date_of(arguments)?;
        let time = arguments["time"].as_str().and_then(|text| Time::strptime("%H:%M", text).ok());
        let time = time.ok_or_else(|| fault("time must be HH:MM on a 24-hour clock, such as 09:30"))?;
        let text = |name: &str| clean(arguments[name].as_str().unwrap_or_default());
        let name = text("name");
        if !name.chars().any(char::is_alphabetic) {
            return Err(fault("Ask the caller for their name first."));
        }
        let phone = match text("phone") {
            given if given.is_empty() => (self.number_of)(call).await.unwrap_or_default(),
            given => given,
        };
        if !is_number(&phone) {
            return Err(fault("Ask the caller for a telephone number first, and give it in digits."));
        }
        let booking = Booking { call: call.to_owned(), date, time, name, phone, reason: text("reason") };
        let slot =
            self.appointments.book(&booking).await.map_err(|error| self.not_booked(error, date, time))?;
        let Booking { name, phone, .. } = booking;
        Ok(json!({
            "booked": true, "date": date.to_string(), "time": clock(&slot), "name": name, "phone": phone,
            "say": format!("The appointment is booked for {} at {}.", day(date), clock(&slot)),
        }))
    }

    fn not_booked(&self, error: NotBooked, date: Date, time: Time) -> Value {
        let at = time.strftime("%H:%M");
        let (said, slots) = match error {
            NotBooked::NotThen(NotThen::NoSlot, slots) => {
                (format!("No appointment begins at {at} on {}.", day(date)), slots)
            }
            NotBooked::NotThen(why, slots) => (self.why(why, date), slots),
            NotBooked::Taken(slots) => (format!("{at} on {} is taken.", day(date)), slots),
            NotBooked::Unavailable(error) => return self.unavailable(&error),
            NotBooked::Unsure => {
                return fault(
                    "The calendar has not answered yet. Say that it takes a moment, and book the same again: that tells \
                     whether it is booked, and books nothing twice.",
                );
            }
        };
        let mut answer = fault(format!("{said} {}", instead(&slots)).trim_end());
        if let Some(slot) = slots.first() {
            answer["free"] = json!({"date": slot.date.to_string(), "times": times(&slots)});
        }
        answer
    }

    fn why(&self, why: NotThen, date: Date) -> String {
        let day = day(date);
        match why {
            NotThen::Past => format!("{day} is over."),
            NotThen::TooSoon => format!("It is too late to book for that time on {day}."),
            NotThen::TooFar(last) => format!("Nothing can be booked yet after {}.", self::day(last)),
            NotThen::Closed => format!("There are no appointments on {day}."),
            NotThen::NoSlot => format!("No appointment begins at that time on {day}."),
        }
    }

    fn unavailable(&self, error: &dyn std::error::Error) -> Value {
        tracing::warn!(desk = ?self, %error, "a calendar cannot be asked");
        fault(
            "The calendar cannot be reached at the moment, and nothing was booked. Offer to take a message, or to call back.",
        )
    }
}

fn parsed(tool: DeskTool, arguments: &str) -> Result<Value, String> {
    let arguments: Value =
        serde_json::from_str(arguments).map_err(|_| "the arguments are no JSON".to_owned())?;
    schema::fits(&arguments, &tool.parameters(), "arguments")?;
    Ok(arguments)
}

fn fault(text: impl Into<String>) -> Value {
    json!({"error": text.into()})
}

fn date_of(arguments: &Value) -> Result<Date, Value> {
    let date = arguments["date"].as_str().and_then(|text| Date::strptime("%Y-%m-%d", text).ok());
    date.ok_or_else(|| fault("date must be a day of the calendar as YYYY-MM-DD"))
}

/// On one line, without what is no text.
fn clean(text: &str) -> String {
    let words: Vec<_> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn is_number(phone: &str) -> bool {
    let digits = phone.chars().filter(char::is_ascii_digit).count();
    let is_rest = |c: char| c.is_ascii_digit() || " +-()./".contains(c);
    DIGITS.contains(&digits) && phone.chars().all(is_rest)
}

/// A day as it is said.
fn day(date: Date) -> String {
    date.strftime("%A, %B %-d").to_string()
}

fn clock(slot: &Slot) -> String {
    slot.time.strftime("%H:%M").to_string()
}

fn times(slots: &[Slot]) -> Vec<String> {
    slots.iter().map(clock).collect()
}

/// Free times as they are said.
fn offer(slots: &[Slot]) -> String {
    let Some(first) = slots.first() else { return String::new() };
    let mut said: Vec<_> = slots.iter().take(SAID).map(clock).collect();
    let last = said.pop().unwrap_or_default();
    let listed = if said.is_empty() { last } else { format!("{} and {last}", said.join(", ")) };
    match slots.len() {
        1 => format!("On {}, only {listed} is free.", day(first.date)),
        2..=SAID => format!("On {}, {listed} are free.", day(first.date)),
        more => format!("On {}, {more} times are free; the first are {listed}.", day(first.date)),
    }
}

/// What is free instead.
fn instead(slots: &[Slot]) -> String {
    if slots.is_empty() { String::new() } else { offer(slots) }
}

#[cfg(test)]
mod tests;
