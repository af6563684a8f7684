use super::*;
use crate::store::reported_calls::tests::{NOON, Reporting};

#[tokio::test]
async fn a_new_user_has_zeros_and_empty_lists() {
    let of = Reporting::new().await;
    let (store, owner) = (&of.store, of.owner.as_str());
    assert_eq!(store.call_summary(owner).await.unwrap(), Summary::default());
    assert!(store.calls_by_agent(owner).await.unwrap().is_empty());
    assert!(store.calls_by_end(owner, None, None).await.unwrap().is_empty());
    assert!(store.ended_calls(owner, Page::default()).await.unwrap().is_empty());
    assert!(store.running_calls(owner, Page::default()).await.unwrap().is_empty());
    assert!(store.calls_by_intent(owner).await.unwrap().is_empty());
    assert!(store.keywords(owner).await.unwrap().is_empty());
    let concurrency = store.concurrency(owner, UnixMs(NOON)).await.unwrap();
    assert_eq!((concurrency.current, concurrency.peak), (0, 0));
    for granularity in crate::domain::concurrency::Granularity::ALL {
        assert!(store.concurrency_series(owner, granularity, 10, UnixMs(NOON)).await.unwrap().is_empty());
    }
}

fn counted(counts: Vec<Count>) -> Vec<(String, u64)> {
    counts.into_iter().map(|count| (count.name, count.calls)).collect()
}

#[tokio::test]
async fn sums_are_those_of_the_calls() {
    let of = Reporting::new().await;
    for (id, begins_s, lasts_s, agent, reason) in [
        ("1", 0, 60, "Support", "customer-ended-call"),
        ("2", 10, 30, "Support", "customer-ended-call"),
        ("3", 20, 9, "Sales", "customer-busy"),
        ("4", 100_000, 7, "Sales", "voicemail"),
    ] {
        of.had(id, begins_s, lasts_s, agent, reason).await;
    }
    let summary = of.store.call_summary(&of.owner).await.unwrap();
    assert_eq!(
        summary,
        Summary { calls: 4, answered: 2, duration_s: 90 },
        "who was missed talked for no second"
    );
    let agents = counted(of.store.calls_by_agent(&of.owner).await.unwrap());
    assert_eq!(agents, [("Sales".into(), 2), ("Support".into(), 2)]);
    let listed = of.store.ended_calls(&of.owner, Page { limit: Some(2), offset: 1 }).await.unwrap();
    assert_eq!(listed.iter().map(|call| call.name.as_str()).collect::<Vec<_>>(), ["3", "2"]);
    let figures = of.store.server_figures(UnixMs(NOON)).await.unwrap();
    assert_eq!(figures, ServerFigures { users: 1, calls: 4, active_users: 1 });
    let later = of.store.server_figures(UnixMs(NOON + 40 * DAY_MS)).await.unwrap();
    assert_eq!(later.active_users, 0);
}

#[tokio::test]
async fn a_time_is_counted_from_its_first_moment_to_before_its_last_however_it_falls_into_days() {
    let of = Reporting::new().await;
    // One every seven hours, over some days.
    let begins: Vec<i64> = (0..20).map(|n| n * 7 * 3_600 - 5 * 86_400).collect();
    for (n, begins_s) in begins.iter().enumerate() {
        of.had(&n.to_string(), *begins_s, 1, "A", if n % 3 == 0 { "x" } else { "y" }).await;
    }
    let moments: Vec<i64> = (0..30).map(|n| NOON - 6 * DAY_MS + n * 5 * 3_600_000 + 1_234).collect();
    for from in &moments {
        for to in &moments {
            let found = counted(
                of.store.calls_by_end(&of.owner, Some(UnixMs(*from)), Some(UnixMs(*to))).await.unwrap(),
            );
            let plain = |reason: &str| {
                let within = begins.iter().enumerate().filter(|(n, begins_s)| {
                    let at = NOON - DAY_MS + **begins_s * 1_000;
                    (n % 3 == 0) == (reason == "x") && *from <= at && at < *to
                });
                within.count() as u64
            };
            let count = |reason: &str| found.iter().find(|one| one.0 == reason).map_or(0, |one| one.1);
            assert_eq!((count("x"), count("y")), (plain("x"), plain("y")), "{from} to {to}");
        }
    }
}
