use std::time::Duration;

use futures_util::FutureExt;
use jiff::tz::TimeZone;

use super::super::Tools;
use super::*;
use crate::domain::appointments::hours::{Rules, Week};
use crate::domain::appointments::local::LocalCalendar;
use crate::domain::appointments::{Appointment, Calendar, Entry, Unavailable};
use crate::domain::time::{Span, UnixMs};
use crate::integrations::openai::ToolCall;
use crate::store::Store;

fn rules() -> Rules {
    Rules {
        zone: TimeZone::get("Europe/Amsterdam").unwrap(),
        week: Week::office_hours(),
        slot_minutes: 120,
        notice: Duration::from_secs(3_600),
        days_ahead: 30,
    }
}

/// 9:30 on a Monday in Amsterdam; calls come from a number, except one.
fn desk(calendar: impl Calendar + 'static) -> Desk {
    let now = || "2026-03-02T08:30:00Z".parse().unwrap();
    let appointments = Appointments::new(rules(), Box::new(calendar)).with_clock(now);
    let number_of: NumberOf = Arc::new(|call| {
        let number = (call != "withheld").then(|| "+15005550006".to_owned());
        async { number }.boxed()
    });
    Desk::new(Arc::new(appointments), &DeskTool::ALL, number_of)
}

fn local(dir: &std::path::Path) -> Tools {
    let store = Arc::new(Store::open(dir, UnixMs(1)).unwrap());
    Tools::new(&[], &[]).unwrap().with_desk(desk(LocalCalendar::new(store, "callbot"))).unwrap()
}

async fn call(tools: &Tools, name: &str, arguments: Value, on: &str) -> Value {
    let call = ToolCall { id: "1".into(), name: name.into(), arguments: arguments.to_string() };
    let outcome = tools.call(&call, on).await;
    assert!(!outcome.ends_call && outcome.transfers_to.is_none());
    serde_json::from_str(&outcome.text).unwrap()
}

async fn slots(tools: &Tools, date: &str) -> Value {
    call(tools, "get_available_slots", json!({ "date": date }), "c1").await
}

async fn book(tools: &Tools, change: Value, on: &str) -> Value {
    let mut arguments = json!({"date": "2026-03-02", "time": "11:00", "name": "Al Jones"});
    for (name, value) in change.as_object().into_iter().flatten() {
        arguments[name] = value.clone();
    }
    call(tools, "book_appointment", arguments, on).await
}

#[tokio::test]
async fn free_times_are_told_so_that_they_can_be_said() {
    let dir = tempfile::tempdir().unwrap();
    let tools = local(dir.path());
    assert_eq!(
        slots(&tools, "2026-03-02").await,
        json!({
            "date": "2026-03-02", "weekday": "Monday", "free": ["11:00", "13:00", "15:00"],
            "say": "On Monday, March 2, 11:00, 13:00 and 15:00 are free.",
        })
    );
    let tuesday = slots(&tools, "2026-03-03").await;
    assert_eq!(
        tuesday["say"],
        "On Tuesday, March 3, 4 times are free; the first are 09:00, 11:00 and 13:00."
    );
    let saturday = slots(&tools, "2026-03-07").await;
    assert_eq!((&saturday["free"], &saturday["next"]["date"]), (&json!([]), &json!("2026-03-09")));
    assert_eq!(
        saturday["say"],
        "There are no appointments on Saturday, March 7. On Monday, March 9, 4 times are free; the first are 09:00, 11:00 \
         and 13:00."
    );
    assert_eq!(
        slots(&tools, "2026-03-01").await["say"].as_str().unwrap().split(". ").next(),
        Some("Sunday, March 1 is over")
    );
    assert_eq!(
        slots(&tools, "2026-09-01").await["say"],
        "Nothing can be booked yet after Wednesday, April 1."
    );
}

#[tokio::test]
async fn what_is_booked_is_told_and_taken_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let tools = local(dir.path());
    let booked = json!({
        "booked": true, "date": "2026-03-02", "time": "11:00", "name": "Al Jones", "phone": "+15005550006",
        "say": "The appointment is booked for Monday, March 2 at 11:00.",
    });
    assert_eq!(book(&tools, json!({"name": " Al\n Jones "}), "c1").await, booked);
    assert_eq!(book(&tools, json!({}), "c1").await, booked, "the same again on the same call");
    assert_eq!(
        book(&tools, json!({}), "c2").await,
        json!({
            "error": "11:00 on Monday, March 2 is taken. On Monday, March 2, 13:00 and 15:00 are free.",
            "free": {"date": "2026-03-02", "times": ["13:00", "15:00"]},
        })
    );
    let other =
        book(&tools, json!({"time": "9:00", "date": "2026-03-03", "phone": "020 555-0100"}), "withheld")
            .await;
    assert_eq!((&other["phone"], &other["time"]), (&json!("020 555-0100"), &json!("09:00")));
}

#[tokio::test]
async fn what_cannot_be_booked_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let tools = local(dir.path());
    for (change, on, wanted) in [
        (json!({"date": "2026-02-30"}), "c1", "YYYY-MM-DD"),
        (json!({"date": "tomorrow"}), "c1", "arguments.date"),
        (json!({"time": "noon"}), "c1", "HH:MM"),
        (json!({"time": "25:00"}), "c1", "HH:MM"),
        (
            json!({"time": "11:15"}),
            "c1",
            "No appointment begins at 11:15 on Monday, March 2. On Monday, March 2, 11:00",
        ),
        (json!({"time": "09:00"}), "c1", "too late"),
        (json!({"date": "2026-03-07"}), "c1", "no appointments on Saturday, March 7. On Monday, March 9"),
        (json!({"name": " "}), "c1", "their name"),
        (json!({"name": 7}), "c1", "arguments.name"),
        (json!({"name": "x".repeat(121)}), "c1", "arguments.name"),
        (json!({"phone": "call me"}), "c1", "telephone number"),
        (json!({"phone": "12"}), "c1", "telephone number"),
        (json!({}), "withheld", "telephone number"),
        (json!({"guests": 3}), "c1", "guests"),
    ] {
        let told = book(&tools, change.clone(), on).await;
        assert!(told["error"].as_str().unwrap().contains(wanted), "{change}: {told}");
    }
    for arguments in ["", "[]", "{\"date\"", "null"] {
        let call =
            ToolCall { id: "1".into(), name: "get_available_slots".into(), arguments: arguments.into() };
        assert!(tools.call(&call, "c1").await.text.contains("error"), "{arguments}");
    }
    assert_eq!(slots(&tools, "2026-03-02").await["free"].as_array().unwrap().len(), 3, "nothing was booked");
}

/// Cannot be asked.
struct Gone;

impl Calendar for Gone {
    fn name(&self) -> &str {
        "gone"
    }

    fn busy(&self, _: Span) -> BoxFuture<'_, Result<Vec<Span>, Unavailable>> {
        async { Err(Unavailable("status 503".into())) }.boxed()
    }

    fn enter<'a>(&'a self, _: &'a Appointment) -> BoxFuture<'a, Result<Entry, Unavailable>> {
        async { Err(Unavailable("status 503".into())) }.boxed()
    }
}

#[tokio::test]
async fn a_calendar_that_is_away_is_told_as_such_and_its_fault_is_not() {
    let tools = Tools::new(&[], &[]).unwrap().with_desk(desk(Gone)).unwrap();
    for told in [slots(&tools, "2026-03-02").await, book(&tools, json!({}), "c1").await] {
        let error = told["error"].as_str().unwrap();
        assert!(error.contains("cannot be reached") && !error.contains("503"), "{error}");
    }
}

#[test]
fn a_model_is_offered_what_is_switched_on_and_told_the_day() {
    let names = |tools: &[DeskTool]| {
        let desk = Desk { tools: tools.to_vec(), ..desk(Gone) };
        let tools = Tools::new(&[], &[]).unwrap().with_desk(desk).unwrap();
        tools
            .offered()
            .iter()
            .map(|tool| tool["function"]["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&DeskTool::ALL), ["end_call", "get_available_slots", "book_appointment"]);
    assert_eq!(names(&[DeskTool::Slots]), ["end_call", "get_available_slots"]);
    for tool in DeskTool::ALL {
        schema::can_be_checked(&tool.parameters(), "parameters").unwrap();
        assert_eq!(DeskTool::named(tool.name()), Some(tool));
    }
    assert_eq!(
        desk(Gone).told(),
        "It is Monday, 2026-03-02, 09:30, where appointments are (Europe/Amsterdam). They take 120 minutes."
    );
    let declared = toml::from_str("name = 'book_appointment'\ndescription = 'x'\nurl = 'http://a/'").unwrap();
    let error = Tools::new(&[declared], &[]).unwrap().with_desk(desk(Gone)).unwrap_err();
    assert!(error.contains("book_appointment"), "{error}");
}
