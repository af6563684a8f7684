//! Booking, in a calendar of this server's own and at the fake of Google, by a clock that stands still.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::civil::{date, time};
use jiff::tz::TimeZone;
use offhook_fixtures::vendors::FakeVendors;
use offhook_fixtures::vendors::faults::Fault;
use serde_json::{Value, json};

use super::google::AtGoogle;
use super::hours::Week;
use super::local::LocalCalendar;
use super::*;
use crate::domain::time::UnixMs;
use crate::integrations::google::testing::{consent, hosts};
use crate::integrations::google::{Access, GoogleCalendar, ServiceAccount, oauth};
use crate::store::Store;

const PAT: &str = "pat@example.com";

/// 8:00 on a Monday in Amsterdam.
fn now() -> Timestamp {
    "2026-03-02T07:00:00Z".parse().unwrap()
}

const MONDAY: Date = date(2026, 3, 2);

fn rules() -> Rules {
    Rules {
        zone: TimeZone::get("Europe/Amsterdam").unwrap(),
        week: Week::office_hours(),
        slot_minutes: 30,
        notice: Duration::from_secs(3_600),
        days_ahead: 30,
    }
}

fn desk(calendar: impl Calendar + 'static) -> Arc<Appointments> {
    Arc::new(Appointments::new(rules(), Box::new(calendar)).with_clock(now))
}

async fn google(fakes: &FakeVendors) -> GoogleCalendar {
    let access = consent(fakes, Box::new(|_| ())).await;
    GoogleCalendar::new(hosts(fakes), access, "primary").unwrap()
}

async fn at_google(fakes: &FakeVendors) -> Arc<Appointments> {
    desk(AtGoogle::new(google(fakes).await, rules().zone, "pat"))
}

fn local(dir: &std::path::Path) -> (Arc<Store>, Arc<Appointments>) {
    let store = Arc::new(Store::open(dir, UnixMs(1)).unwrap());
    let desk = desk(LocalCalendar::new(store.clone(), "callbot"));
    (store, desk)
}

fn booking(call: &str, date: Date, at: Time) -> Booking {
    Booking {
        call: call.into(),
        date,
        time: at,
        name: "Al <Jo>".into(),
        phone: "+15005550006".into(),
        reason: "a tooth".into(),
    }
}

fn ten() -> Time {
    time(10, 0, 0, 0)
}

fn times(slots: &[Slot]) -> Vec<String> {
    slots.iter().map(|slot| slot.time.strftime("%H:%M").to_string()).collect()
}

fn events(fakes: &FakeVendors) -> Vec<Value> {
    fakes.google_state()["calendars"][PAT].as_array().cloned().unwrap_or_default()
}

/// What holds of every calendar.
async fn keeps_the_rules(desk: &Arc<Appointments>) {
    let free = desk.free(MONDAY).await.unwrap();
    assert_eq!((free.slots.len(), free.not_then, free.next.len()), (16, None, 0));
    let slot = desk.book(&booking("c1", MONDAY, ten())).await.unwrap();
    assert_eq!(slot.span.from, "2026-03-02T09:00:00Z".parse().unwrap());
    assert_eq!(desk.book(&booking("c1", MONDAY, ten())).await, Ok(slot), "the same again on the same call");
    match desk.book(&booking("c2", MONDAY, ten())).await {
        Err(NotBooked::Taken(instead)) => assert_eq!(times(&instead)[..3], ["09:00", "09:30", "10:30"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(desk.free(MONDAY).await.unwrap().slots.len(), 15);
    for (date, at, wanted) in [
        (MONDAY, time(10, 5, 0, 0), NotThen::NoSlot),
        (MONDAY, time(8, 30, 0, 0), NotThen::NoSlot),
        (date(2026, 3, 7), ten(), NotThen::Closed),
        (date(2026, 3, 1), ten(), NotThen::Past),
        (date(2027, 3, 1), ten(), NotThen::TooFar(date(2026, 4, 1))),
    ] {
        match desk.book(&booking("c1", date, at)).await {
            Err(NotBooked::NotThen(why, _)) => assert_eq!(why, wanted),
            other => panic!("{date} {at}: {other:?}"),
        }
    }
    let saturday = desk.free(date(2026, 3, 7)).await.unwrap();
    assert_eq!((saturday.slots.len(), saturday.not_then), (0, Some(NotThen::Closed)));
    assert_eq!((saturday.next[0].date, saturday.next.len()), (date(2026, 3, 9), 16));
    assert!(desk.free(date(2027, 3, 1)).await.unwrap().next.is_empty());
}

#[tokio::test]
async fn a_calendar_of_ones_own_keeps_the_rules() {
    let dir = tempfile::tempdir().unwrap();
    let (store, desk) = local(dir.path());
    keeps_the_rules(&desk).await;
    let day = Span { from: now(), to: now() + jiff::SignedDuration::from_hours(24) };
    let kept = store.appointments("callbot", day).await.unwrap();
    assert_eq!((kept.len(), kept[0].name.as_str(), kept[0].call.as_str()), (1, "Al <Jo>", "c1"));
    store.close();
}

#[tokio::test]
async fn a_calendar_at_google_keeps_the_rules() {
    let fakes = FakeVendors::start().await;
    keeps_the_rules(&at_google(&fakes).await).await;
    let events = events(&fakes);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["summary"], "Al <Jo> (+15005550006)");
    assert_eq!(events[0]["start"]["dateTime"], "2026-03-02T10:00:00+01:00");
    let description = events[0]["description"].as_str().unwrap();
    assert!(
        description.contains("Name: Al &lt;Jo&gt;\n") && description.contains("Reason: a tooth\n"),
        "{description}"
    );
}

#[tokio::test]
async fn of_many_calls_that_want_one_slot_at_once_one_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let fakes = FakeVendors::start().await;
    let (store, local) = local(dir.path());
    for desk in [local, at_google(&fakes).await] {
        let bookings: Vec<_> = (0..8).map(|call| booking(&format!("c{call}"), MONDAY, ten())).collect();
        let booked = futures_util::future::join_all(bookings.iter().map(|booking| desk.book(booking))).await;
        assert_eq!(booked.iter().filter(|booked| booked.is_ok()).count(), 1, "{desk:?}");
        assert!(booked.iter().all(|booked| matches!(booked, Ok(_) | Err(NotBooked::Taken(_)))), "{booked:?}");
    }
    assert_eq!(events(&fakes).len(), 1);
    store.close();
}

#[tokio::test]
async fn of_processes_that_want_one_slot_at_once_one_gets_it() {
    let fakes = FakeVendors::start().await;
    // Under another name each, they do not wait for each other here.
    let mut desks = Vec::new();
    for process in ["one", "two", "three", "four"] {
        desks.push(desk(AtGoogle::new(google(&fakes).await, rules().zone, process)));
    }
    for round in 0..5 {
        let at = time(10 + round, 0, 0, 0);
        let bookings: Vec<_> = (0..4).map(|call| booking(&format!("c{call}"), MONDAY, at)).collect();
        let booking = desks.iter().zip(&bookings).map(|(desk, booking)| desk.book(booking));
        let booked = futures_util::future::join_all(booking).await;
        assert_eq!(booked.iter().filter(|booked| booked.is_ok()).count(), 1, "{booked:?}");
        assert_eq!(events(&fakes).len(), 1 + usize::from(round.unsigned_abs()), "the others withdrew");
    }
}

#[tokio::test]
async fn whoever_enters_by_hand_between_the_look_and_the_entry_was_first() {
    let fakes = FakeVendors::start().await;
    let desk = at_google(&fakes).await;
    let rival = json!({
        "id": "rival0", "created": "2026-03-01T00:00:00.000Z", "start": {"dateTime": "2026-03-02T09:15:00Z"}, "end": {"dateTime": "2026-03-02T09:45:00Z"},
    });
    fakes.google_set("calendar", &json!({"calendar": PAT, "rival": rival})).unwrap();
    let booked = desk.book(&booking("c1", MONDAY, ten())).await;
    assert!(matches!(booked, Err(NotBooked::Taken(_))), "{booked:?}");
    assert_eq!(events(&fakes).iter().map(|event| &event["id"]).collect::<Vec<_>>(), ["rival0"]);
}

#[tokio::test]
async fn an_entry_that_may_not_be_first_does_not_stay() {
    let fakes = FakeVendors::start().await;
    let at_google = at_google(&fakes).await;
    // Each request of a booking fails for longer than it is tried again, one after the other.
    let of_booking = [("GET", "/events"), ("POST", "/freeBusy"), ("POST", "/events"), ("GET", "/events")];
    for passed in 0..of_booking.len() {
        fakes.fail("/google/calendar", passed, Fault::default());
        fakes.fail("/google/calendar", 1, Fault::parse("status=400").unwrap());
        let booked = at_google.book(&booking("c1", MONDAY, ten())).await;
        assert!(matches!(booked, Err(NotBooked::Unavailable(_))), "{passed}: {booked:?}");
        assert!(events(&fakes).is_empty(), "{passed}");
    }
    // The look afterwards fails, and the withdrawal too.
    fakes.fail("/google/calendar", 3, Fault::default());
    fakes.fail("/google/calendar", 2, Fault::parse("status=400").unwrap());
    assert_eq!(at_google.book(&booking("c1", MONDAY, time(11, 0, 0, 0))).await, Err(NotBooked::Unsure));
    assert_eq!(events(&fakes).len(), 1);
    assert!(
        at_google.book(&booking("c1", MONDAY, time(11, 0, 0, 0))).await.is_ok(),
        "the same again settles it"
    );
    assert_eq!(events(&fakes).len(), 1);
}

#[tokio::test]
async fn a_slot_whose_entry_was_deleted_can_be_booked_again_on_the_same_call() {
    let fakes = FakeVendors::start().await;
    let (desk, calendar) = (at_google(&fakes).await, google(&fakes).await);
    for _ in 0..3 {
        desk.book(&booking("c1", MONDAY, ten())).await.unwrap();
        desk.book(&booking("c1", MONDAY, ten())).await.unwrap();
        assert_eq!(events(&fakes).len(), 1);
        calendar.delete(events(&fakes)[0]["id"].as_str().unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a_calendar_that_cannot_be_seen_or_asked_books_nothing() {
    let fakes = FakeVendors::start().await;
    let account = ServiceAccount::from_json(&fakes.google_account().to_string()).unwrap();
    let access = Access::of_account(account, hosts(&fakes), &oauth::CALENDAR).unwrap();
    fakes.google_set("calendar", &json!({"calendar": PAT})).unwrap();
    let calendar = GoogleCalendar::new(hosts(&fakes), access, PAT).unwrap();
    let desk = desk(AtGoogle::new(calendar, rules().zone, "account"));
    assert!(desk.free(MONDAY).await.is_err());
    let booked = desk.book(&booking("c1", MONDAY, ten())).await;
    assert!(matches!(booked, Err(NotBooked::Unavailable(_))), "{booked:?}");
    let shared = json!({"calendar": PAT, "shared_with": [fakes.google_account()["client_email"]]});
    fakes.google_set("calendar", &shared).unwrap();
    desk.book(&booking("c1", MONDAY, ten())).await.unwrap();
    assert_eq!(events(&fakes).len(), 1);
}

/// Takes its time, and counts what was entered.
struct Slow(Arc<AtomicUsize>);

impl Calendar for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn busy(&self, _: Span) -> BoxFuture<'_, Result<Vec<Span>, Unavailable>> {
        Box::pin(std::future::pending())
    }

    fn enter<'a>(&'a self, _: &'a Appointment) -> BoxFuture<'a, Result<Entry, Unavailable>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Entry::Entered)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_booking_goes_on_though_nobody_waits_and_is_not_called_off() {
    let entered = Arc::new(AtomicUsize::new(0));
    let desk = desk(Slow(entered.clone()));
    assert!(desk.free(MONDAY).await.is_err());
    assert_eq!(desk.book(&booking("c1", MONDAY, ten())).await, Err(NotBooked::Unsure));
    // Called off by a caller who interrupts.
    let gone = timeout(Duration::from_secs(1), desk.book(&booking("c2", MONDAY, ten()))).await;
    assert!(gone.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(entered.load(Ordering::Relaxed), 2);
}
