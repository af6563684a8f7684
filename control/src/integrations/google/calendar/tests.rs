use offhook_fixtures::vendors::FakeVendors;
use offhook_fixtures::vendors::faults::Fault;

use super::super::testing::{consent, hosts};
use super::*;

fn span(from: &str, to: &str) -> Span {
    Span { from: from.parse().unwrap(), to: to.parse().unwrap() }
}

fn day() -> Span {
    span("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z")
}

fn slot() -> Span {
    span("2026-03-02T09:00:00Z", "2026-03-02T09:30:00Z")
}

/// Pat's own, with as much patience as a test has.
async fn calendar(fakes: &FakeVendors) -> GoogleCalendar {
    let access = consent(fakes, Box::new(|_| ())).await;
    let calendar = GoogleCalendar::new(hosts(fakes), access, "primary").unwrap();
    GoogleCalendar { patience: Duration::from_secs(30), ..calendar }
}

async fn insert(calendar: &GoogleCalendar, id: &str) -> Result<(), CalendarError> {
    let zone = TimeZone::get("Europe/Amsterdam").unwrap();
    let event = NewEvent { id, span: slot(), zone: &zone, summary: "Visit", description: "<b>Al & Bo</b>" };
    calendar.insert(&event).await
}

/// How often something at this path was asked for.
fn asked(fakes: &FakeVendors, path: &str) -> usize {
    fakes.requests().iter().filter(|asked| asked.path.contains(path)).count()
}

fn fail(fakes: &FakeVendors, count: usize, fault: &str) {
    fakes.fail("/google/calendar", count, Fault::parse(fault).unwrap());
}

#[tokio::test]
async fn an_event_that_was_entered_is_busy_and_once_deleted_it_is_not() {
    let fakes = FakeVendors::start().await;
    let calendar = calendar(&fakes).await;
    assert_eq!(calendar.busy(day()).await, Ok(vec![]));
    insert(&calendar, "of0a1").await.unwrap();
    assert_eq!(calendar.busy(day()).await, Ok(vec![slot()]));
    let entered = &fakes.google_state()["calendars"]["pat@example.com"][0];
    let start = json!({"dateTime": "2026-03-02T10:00:00+01:00", "timeZone": "Europe/Amsterdam"});
    assert_eq!((&entered["start"], &entered["summary"]), (&start, &json!("Visit")));
    assert_eq!(entered["description"], "&lt;b&gt;Al &amp; Bo&lt;/b&gt;");
    let listed = calendar.events(day()).await.unwrap();
    assert_eq!((listed.len(), listed[0].id.as_str(), listed[0].span), (1, "of0a1", slot()));
    calendar.delete("of0a1").await.unwrap();
    calendar.delete("of0a1").await.unwrap();
    calendar.delete("of0none").await.unwrap();
    assert_eq!(calendar.busy(day()).await, Ok(vec![]));
}

#[tokio::test]
async fn an_event_that_is_entered_twice_is_there_once() {
    let fakes = FakeVendors::start().await;
    let calendar = calendar(&fakes).await;
    insert(&calendar, "of0a1").await.unwrap();
    insert(&calendar, "of0a1").await.unwrap();
    assert_eq!(calendar.events(day()).await.unwrap().len(), 1);
    calendar.delete("of0a1").await.unwrap();
    assert_eq!(insert(&calendar, "of0a1").await, Err(CalendarError::Deleted));
}

#[tokio::test]
async fn a_calendar_that_cannot_be_seen_is_not_free() {
    let fakes = FakeVendors::start().await;
    let other = GoogleCalendar { id: "boss+1@example.com".into(), ..calendar(&fakes).await };
    fakes.google_set("calendar", &json!({"calendar": "boss+1@example.com"})).unwrap();
    let hidden = Err(CalendarError::Hidden("notFound".into()));
    assert_eq!(other.busy(day()).await, hidden);
    assert!(matches!(other.events(day()).await, Err(CalendarError::Hidden(_))));
    let shared = json!({"calendar": "boss+1@example.com", "shared_with": ["pat@example.com"]});
    fakes.google_set("calendar", &shared).unwrap();
    assert_eq!(other.busy(day()).await, Ok(vec![]));
    assert_eq!(other.events(day()).await, Ok(vec![]));
}

#[tokio::test]
async fn events_come_from_all_pages_and_only_those_that_block_time() {
    let fakes = FakeVendors::start().await;
    let calendar = calendar(&fakes).await;
    let event = |hour: u8, more: Value| {
        let mut event = json!({
            "id": format!("event{hour}"), "start": {"dateTime": format!("2026-03-02T{hour:02}:00:00Z")},
            "end": {"dateTime": format!("2026-03-02T{hour:02}:30:00Z")},
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            event[name] = value.clone();
        }
        event
    };
    let declined =
        json!({"attendees": [{"email": "pat@example.com", "self": true, "responseStatus": "declined"}]});
    let events = json!([
        {"id": "full0", "start": {"date": "2026-03-02"}, "end": {"date": "2026-03-03"}},
        event(10, json!({})),
        event(11, json!({"transparency": "transparent"})),
        event(12, declined),
        event(13, json!({})),
    ]);
    let set =
        json!({"calendar": "pat@example.com", "zone": "Europe/Amsterdam", "events": events, "page_max": 2});
    fakes.google_set("calendar", &set).unwrap();
    let found = calendar.events(day()).await.unwrap();
    let ids: Vec<_> = found.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["full0", "event10", "event13"]);
    assert_eq!(found[0].span, span("2026-03-01T23:00:00Z", "2026-03-02T23:00:00Z"));
    assert_eq!(asked(&fakes, "/events"), 3);
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once() {
    let fakes = FakeVendors::start().await;
    let calendar = calendar(&fakes).await;
    calendar.busy(day()).await.unwrap();
    fakes.google_set("expire", &Value::Null).unwrap();
    assert_eq!(calendar.busy(day()).await, Ok(vec![]));
    assert_eq!(asked(&fakes, "/freeBusy"), 3);
    fail(&fakes, 2, "status=401");
    let error = calendar.busy(day()).await.unwrap_err();
    assert!(matches!(&error, CalendarError::Vendor(error) if error.why == Failure::Unauthorised), "{error}");
    assert_eq!(asked(&fakes, "/freeBusy"), 5);
    fakes.google_set("forget", &Value::Null).unwrap();
    let error = calendar.busy(day()).await.unwrap_err();
    assert!(matches!(error, CalendarError::Access(OAuthError::Consent(_))), "{error}");
}

#[tokio::test]
async fn whoever_asks_too_often_or_meets_a_failure_asks_again_and_enters_nothing_twice() {
    let fakes = FakeVendors::start().await;
    let calendar = calendar(&fakes).await;
    for (at, fault) in ["status=403", "status=429", "status=500", "status=503"].into_iter().enumerate() {
        fail(&fakes, 2, fault);
        let started = Instant::now();
        insert(&calendar, &format!("of0a{at}")).await.unwrap();
        assert!(started.elapsed() >= BACK_OFF * 3, "{fault}");
    }
    assert_eq!(asked(&fakes, "/events"), 12);
    assert_eq!(calendar.events(day()).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_calendar_that_keeps_failing_is_given_up_in_time() {
    let fakes = FakeVendors::start().await;
    let patience = Duration::from_millis(700);
    let calendar = GoogleCalendar { patience, ..calendar(&fakes).await };
    calendar.busy(day()).await.unwrap();
    for (fault, wanted) in [
        ("status=429", Failure::Busy),
        ("status=503", Failure::Faulty),
        ("latency=5s", Failure::Slow),
        ("malformed", Failure::Malformed),
    ] {
        fail(&fakes, 100, fault);
        let started = Instant::now();
        let error = calendar.busy(day()).await.unwrap_err();
        assert!(matches!(&error, CalendarError::Vendor(error) if error.why == wanted), "{fault}: {error}");
        assert!(started.elapsed() < patience * 3, "{fault}");
        fakes.forget_faults();
    }
}

#[tokio::test]
async fn what_was_not_consented_to_is_not_tried_again() {
    let fakes = FakeVendors::start().await;
    fakes
        .google_set("user", &json!({"refuses": ["https://www.googleapis.com/auth/calendar.events"]}))
        .unwrap();
    let calendar = calendar(&fakes).await;
    assert_eq!(calendar.busy(day()).await, Ok(vec![]));
    let error = insert(&calendar, "of0a1").await.unwrap_err();
    assert!(matches!(&error, CalendarError::Vendor(error) if error.why == Failure::Unauthorised), "{error}");
    assert_eq!(asked(&fakes, "/events"), 1);
}
