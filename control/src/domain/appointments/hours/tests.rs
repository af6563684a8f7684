use jiff::civil::{date, time};
use proptest::prelude::*;

use super::*;

fn openings(text: &str) -> Vec<Opening> {
    text.split_whitespace().map(|text| text.parse().unwrap()).collect()
}

/// The same hours each day.
fn rules(zone: &str, hours: &str, slot_minutes: u16) -> Rules {
    let mut week = Week::default();
    for day in Weekday::Monday.cycle_forward().take(7) {
        week.set(day, openings(hours)).unwrap();
    }
    let zone = TimeZone::get(zone).unwrap();
    Rules { zone, week, slot_minutes, notice: Duration::ZERO, days_ahead: 60 }
}

fn times(slots: &[Slot]) -> Vec<String> {
    slots.iter().map(|slot| slot.time.strftime("%H:%M").to_string()).collect()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn hours_are_read_as_they_are_written() {
    for (text, wanted) in [("09:00-12:30", "09:00-12:30"), (" 00:00 - 24:00 ", "00:00-24:00")] {
        assert_eq!(text.parse::<Opening>().unwrap().to_string(), wanted);
    }
    for bad in [
        "",
        "9-17",
        "9:00-17:00",
        "09:00",
        "12:00-09:00",
        "09:00-09:00",
        "22:00-24:30",
        "09:60-10:00",
        "+9:00-10:00",
    ] {
        assert!(bad.parse::<Opening>().is_err(), "{bad}");
    }
    let mut week = Week::default();
    assert!(week.is_closed());
    assert!(week.set(Weekday::Monday, openings("13:00-17:00 09:00-13:00")).is_ok());
    let error = week.set(Weekday::Monday, openings("09:00-13:00 12:59-17:00")).unwrap_err();
    assert_eq!(error, "09:00-13:00 and 12:59-17:00 overlap");
}

#[test]
fn a_day_has_slots_within_its_hours_and_what_is_left_over_is_none() {
    let rules = rules("Europe/Amsterdam", "09:00-10:15 13:00-14:00", 30);
    let slots = rules.slots(date(2026, 3, 2));
    assert_eq!(times(&slots), ["09:00", "09:30", "13:00", "13:30"]);
    assert_eq!(slots[0].span, Span { from: at("2026-03-02T08:00:00Z"), to: at("2026-03-02T08:30:00Z") });
    let mut weekdays = Rules { week: Week::office_hours(), ..rules };
    assert!(weekdays.slots(date(2026, 3, 1)).is_empty(), "a Sunday");
    weekdays.slot_minutes = 8 * 60;
    assert_eq!(times(&weekdays.slots(date(2026, 3, 2))), ["09:00"]);
    weekdays.slot_minutes += 1;
    assert!(weekdays.slots(date(2026, 3, 2)).is_empty());
}

#[test]
fn a_day_may_be_open_from_midnight_to_midnight() {
    let rules = rules("America/New_York", "00:00-24:00", 60);
    let (today, tomorrow) = (rules.slots(date(2026, 6, 1)), rules.slots(date(2026, 6, 2)));
    assert_eq!((today.len(), tomorrow.len()), (24, 24));
    assert_eq!(today[23].span.to, tomorrow[0].span.from);
    assert_eq!(times(&today)[23], "23:00");
}

#[test]
fn a_clock_that_is_put_forward_or_back_leaves_slots_of_full_length_with_times_of_their_own() {
    let night = rules("Europe/Amsterdam", "01:00-04:00", 30);
    // Forward at 2:00.
    assert_eq!(times(&night.slots(date(2026, 3, 29))), ["01:00", "01:30", "03:00", "03:30"]);
    // Back at 3:00.
    assert_eq!(
        times(&night.slots(date(2026, 10, 25))),
        ["01:00", "01:30", "02:00", "02:30", "03:00", "03:30"]
    );
    // Hours that the clock jumps over, and those beside them.
    let gap = rules("Europe/Amsterdam", "02:00-02:30 02:30-03:00 03:00-03:30", 30);
    assert_eq!(times(&gap.slots(date(2026, 3, 29))), ["03:00"]);
    // A day that begins at 1:00.
    let beirut = rules("Asia/Beirut", "00:00-02:00", 30);
    assert_eq!(times(&beirut.slots(date(2026, 3, 29))), ["01:00", "01:30"]);
    // By half an hour.
    let lord_howe = rules("Australia/Lord_Howe", "01:00-03:00", 30);
    assert_eq!(times(&lord_howe.slots(date(2026, 10, 4))), ["01:00", "01:30", "02:30"]);
    // A day that never was.
    assert!(rules("Pacific/Apia", "09:00-17:00", 30).slots(date(2011, 12, 30)).is_empty());
}

#[test]
fn what_is_too_soon_too_far_or_over_is_not_bookable() {
    let mut rules = rules("Europe/Amsterdam", "09:00-11:00", 30);
    rules.notice = Duration::from_secs(60 * 60);
    rules.days_ahead = 7;
    let now = at("2026-03-02T08:00:00Z"); // 9:00 there
    let monday = date(2026, 3, 2);
    assert_eq!(times(&rules.bookable(monday, now).unwrap()), ["10:00", "10:30"]);
    assert_eq!(rules.bookable(monday.yesterday().unwrap(), now), Err(NotThen::Past));
    assert_eq!(times(&rules.bookable(monday, at("2026-03-02T08:30:00Z")).unwrap()), ["10:30"]);
    assert_eq!(rules.bookable(monday, at("2026-03-02T08:30:01Z")), Err(NotThen::TooSoon), "to the second");
    assert_eq!(
        rules.bookable(monday, at("2026-03-02T20:00:00Z")),
        Err(NotThen::TooSoon),
        "past the last slot"
    );
    assert!(rules.bookable(date(2026, 3, 9), now).is_ok());
    assert_eq!(rules.bookable(date(2026, 3, 10), now), Err(NotThen::TooFar(date(2026, 3, 9))));
    // Still Sunday in New York, already Monday in Amsterdam.
    assert_eq!(rules.today(at("2026-03-01T23:30:00Z")), monday);

    assert_eq!(rules.slot_at(monday, time(10, 0, 0, 0), now).unwrap().span.from, at("2026-03-02T09:00:00Z"));
    assert_eq!(rules.slot_at(monday, time(9, 30, 0, 0), now), Err(NotThen::TooSoon));
    assert_eq!(rules.slot_at(monday, time(10, 10, 0, 0), now), Err(NotThen::NoSlot));
    assert_eq!(rules.slot_at(monday, time(11, 0, 0, 0), now), Err(NotThen::NoSlot));
    let closed = Rules { week: Week::default(), ..rules };
    assert_eq!(closed.bookable(monday, now), Err(NotThen::Closed));
}

#[test]
fn what_is_busy_is_not_free_and_what_only_touches_it_is() {
    let slots = rules("UTC", "09:00-12:00", 30).slots(date(2026, 3, 2));
    let span = |from: &str, to: &str| Span { from: at(from), to: at(to) };
    let busy = [
        span("2026-03-02T11:00:00Z", "2026-03-02T11:01:00Z"),
        span("2026-03-02T09:30:00Z", "2026-03-02T10:00:00Z"),
        span("2026-03-02T09:45:00Z", "2026-03-02T10:00:00Z"),
    ];
    assert_eq!(times(&free(&slots, &busy)), ["09:00", "10:00", "10:30", "11:30"]);
    assert_eq!(free(&slots, &[]), slots);
    assert!(free(&slots, &[span("2026-03-01T00:00:00Z", "2026-03-09T00:00:00Z")]).is_empty());
}

prop_compose! {
    fn any_rules()(
        zone in prop::sample::select(vec![
            "UTC", "Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "America/St_Johns",
            "Pacific/Apia", "Asia/Kathmandu", "Africa/Casablanca", "America/Santiago",
        ]),
        bounds in prop::collection::btree_set(0u16..=DAY_MINUTES, 2..8),
        slot_minutes in 1u16..=180,
        notice in 0u64..200_000,
    ) -> Rules {
        let bounds: Vec<_> = bounds.into_iter().collect();
        let hours: Vec<_> = bounds.chunks_exact(2).map(|pair| Opening { from: pair[0], to: pair[1] }).collect();
        let mut week = Week::default();
        for day in Weekday::Monday.cycle_forward().take(7) {
            week.set(day, hours.clone()).expect("they are in order");
        }
        let zone = TimeZone::get(zone).expect("it is bundled");
        Rules { zone, week, slot_minutes, notice: Duration::from_secs(notice), days_ahead: 30 }
    }
}

proptest! {
    #[test]
    fn slots_of_any_days_are_whole_apart_and_found_by_their_time(rules in any_rules(), day in 0i64..1_500) {
        let first = date(2024, 1, 1).saturating_add(day.days());
        let both: Vec<_> = [first, first.tomorrow().unwrap()].iter().flat_map(|day| rules.slots(*day)).collect();
        for pair in both.windows(2) {
            prop_assert!(pair[0].span.to <= pair[1].span.from, "{pair:?}");
        }
        let long_ago = at("2023-12-31T00:00:00Z");
        for slot in &both {
            let length = slot.span.to.duration_since(slot.span.from);
            prop_assert_eq!(length, SignedDuration::from_mins(rules.slot_minutes.into()));
            let clock = slot.span.from.to_zoned(rules.zone.clone());
            prop_assert_eq!((clock.date(), clock.time()), (slot.date, slot.time));
            let minute = u16::try_from(i32::from(slot.time.hour()) * 60 + i32::from(slot.time.minute())).unwrap();
            let hours = rules.week.of(slot.date.weekday());
            prop_assert!(hours.iter().any(|hours| (hours.from..hours.to).contains(&minute)), "{slot:?} in {hours:?}");
            let found = Rules { days_ahead: 5_000, notice: Duration::ZERO, ..rules.clone() }.slot_at(slot.date, slot.time, long_ago);
            prop_assert_eq!(found, Ok(*slot));
        }
    }

    #[test]
    fn what_is_bookable_and_free_is_in_time_and_overlaps_nothing(
        rules in any_rules(),
        day in 0i64..1_500,
        seconds in -100_000i64..200_000,
        busy in prop::collection::vec((-50_000i64..150_000, 0i64..20_000), 0..6),
    ) {
        let day = date(2024, 1, 1).saturating_add(day.days());
        let midnight = day.to_zoned(rules.zone.clone()).unwrap().timestamp();
        let after = |seconds: i64| midnight + SignedDuration::from_secs(seconds);
        let now = after(-seconds);
        let busy: Vec<_> =
            busy.into_iter().map(|(from, length)| Span { from: after(from), to: after(from + length) }).collect();
        let all = rules.slots(day);
        let bookable = rules.bookable(day, now).unwrap_or_default();
        let free = free(&bookable, &busy);
        for slot in &all {
            let in_time = slot.span.from.duration_since(now) >= SignedDuration::try_from(rules.notice).unwrap();
            let may = in_time && day >= rules.today(now) && day <= rules.last_day(now);
            prop_assert_eq!(bookable.contains(slot), may, "{:?} at {}", slot, now);
            let is_busy = busy.iter().any(|span| span.from < slot.span.to && span.to > slot.span.from);
            prop_assert_eq!(free.contains(slot), may && !is_busy);
            prop_assert_eq!(rules.slot_at(day, slot.time, now).is_ok(), may);
        }
    }
}
