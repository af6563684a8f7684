//! When callers may book appointments, and in which calendar: the file's `[appointments]`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::layers::Layers;
use super::{Settings, SettingsError};
use crate::domain::appointments::hours::{Opening, Rules, Week};

/// Days of the week, as the file has them.
const DAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

const SLOT_MINUTES: u16 = 30;
const NOTICE_MINUTES: u32 = 60;
const DAYS_AHEAD: u16 = 60;

/// `[appointments]` in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AppointmentTable {
    zone: String,
    slot_minutes: Option<u16>,
    notice_minutes: Option<u32>,
    days_ahead: Option<u16>,
    hours: Option<BTreeMap<String, Vec<String>>>,
    google_calendar: Option<String>,
}

/// Appointments that callers may book.
#[derive(Clone, Debug, PartialEq)]
pub struct AppointmentSettings {
    /// When. The zone has to be named; by default, an appointment takes 30 minutes between nine and five from Monday to Friday,
    /// and is booked an hour to 60 days ahead.
    pub rules: Rules,
    /// The address of a calendar at Google that is shared with the service account of
    /// [`Settings::google_credentials`]. Default none: a calendar of this server's own.
    pub google_calendar: Option<String>,
}

pub(super) fn read(layers: &Layers<'_>) -> Result<Option<AppointmentSettings>, SettingsError> {
    let Some(table) = layers.appointments() else { return Ok(None) };
    let wrong = |name: &str, text: &str, help: String| SettingsError::Value {
        place: format!("{name} in [appointments] of {}", layers.file_name()),
        text: text.to_owned(),
        help,
    };
    let zone = TimeZone::get(&table.zone).map_err(|_| {
        wrong(
            "zone",
            &table.zone,
            "write the name of a time zone, such as Europe/Amsterdam or America/New_York".into(),
        )
    })?;
    let slot_minutes = table.slot_minutes.unwrap_or(SLOT_MINUTES);
    if !(1..=24 * 60).contains(&slot_minutes) {
        return Err(wrong("slot_minutes", &slot_minutes.to_string(), "write 1 to 1440 minutes".into()));
    }
    let days_ahead = table.days_ahead.unwrap_or(DAYS_AHEAD);
    if days_ahead > 3_660 {
        return Err(wrong(
            "days_ahead",
            &days_ahead.to_string(),
            "write at most 3660 days, which is ten years".into(),
        ));
    }
    let mut week = Week::default();
    for (name, hours) in table.hours.iter().flatten() {
        let place = format!("hours.{name}");
        let day = DAYS.iter().find(|(day, _)| day == name).map(|(_, day)| *day);
        let day = day.ok_or_else(|| {
            wrong(&place, name, format!("days are {}", DAYS.map(|(day, _)| day).join(", ")))
        })?;
        let read = |text: &String| text.parse::<Opening>().map_err(|help| wrong(&place, text, help));
        let openings = hours.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        week.set(day, openings).map_err(|help| wrong(&place, &hours.join(", "), help))?;
    }
    if table.hours.is_none() {
        week = Week::office_hours();
    } else if week.is_closed() {
        return Err(wrong("hours", "", "no day has any: write such as monday = [\"09:00-17:00\"]".into()));
    }
    let notice = Duration::from_secs(u64::from(table.notice_minutes.unwrap_or(NOTICE_MINUTES)) * 60);
    Ok(Some(AppointmentSettings {
        rules: Rules { zone, week, slot_minutes, notice, days_ahead },
        google_calendar: table.google_calendar.clone(),
    }))
}

/// What no single setting can know.
pub(super) fn check(settings: &Settings) -> Result<(), SettingsError> {
    let Some(appointments) = &settings.appointments else { return Ok(()) };
    let told = |text: &str| Err(SettingsError::Together(text.into()));
    match appointments.google_calendar.as_deref() {
        Some("primary") => told(
            "google_calendar in [appointments] is the address of a calendar that is shared with the service account; its own, \
             primary, is seen by nobody.",
        ),
        Some(_) if settings.google_credentials.is_none() => told(
            "google_calendar in [appointments] needs a service account: set GOOGLE_APPLICATION_CREDENTIALS to its key file, \
             and share the calendar with the address in it.",
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn with(table: &str) -> Result<Settings, String> {
        Settings::from_text(table).map_err(|error| error.to_string())
    }

    #[test]
    fn nobody_books_anything_unless_a_zone_is_named() {
        assert_eq!(with("").unwrap().appointments, None);
        assert!(with("[appointments]").unwrap_err().contains("zone"));
        let rules = with("[appointments]\nzone = 'Europe/Amsterdam'").unwrap().appointments.unwrap().rules;
        assert_eq!(rules.slots(date(2026, 3, 2)).len(), 16);
        assert!(rules.slots(date(2026, 3, 1)).is_empty(), "a Sunday");
        assert_eq!((rules.notice, rules.days_ahead), (Duration::from_secs(3_600), 60));
    }

    #[test]
    fn a_day_has_the_hours_that_the_file_gives_it() {
        let table = "[appointments]\nzone = 'UTC'\nslot_minutes = 45\nnotice_minutes = 0\ndays_ahead = 7\n\
                     [appointments.hours]\nsunday = ['22:30-24:00', '09:00-10:30']\nmonday = []";
        let rules = with(table).unwrap().appointments.unwrap().rules;
        let times: Vec<_> = rules.slots(date(2026, 3, 1)).iter().map(|slot| slot.time.to_string()).collect();
        assert_eq!(times, ["09:00:00", "09:45:00", "22:30:00", "23:15:00"]);
        assert!(rules.slots(date(2026, 3, 2)).is_empty() && rules.slots(date(2026, 3, 3)).is_empty());
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_what_to_write() {
        for (table, wanted) in [
            ("zone = 'Mars/Base'", "Europe/Amsterdam"),
            ("zone = 'UTC'\nslot_minutes = 0", "1440"),
            ("zone = 'UTC'\ndays_ahead = 9999", "ten years"),
            ("zone = 'UTC'\nhours = { monday = ['9-17'] }", "09:00-12:00"),
            ("zone = 'UTC'\nhours = { monday = ['09:00-12:00', '11:00-13:00'] }", "overlap"),
            ("zone = 'UTC'\nhours = { someday = ['09:00-12:00'] }", "saturday"),
            ("zone = 'UTC'\nhours = { monday = [] }", "no day has any"),
            ("zone = 'UTC'\nminutes = 30", "minutes"),
            ("zone = 'UTC'\ngoogle_calendar = 'a@b.example'", "GOOGLE_APPLICATION_CREDENTIALS"),
            ("zone = 'UTC'\ngoogle_calendar = 'primary'", "shared"),
        ] {
            let text = with(&format!("[appointments]\n{table}")).unwrap_err();
            assert!(text.contains(wanted), "{table}: {text}");
        }
    }
}
