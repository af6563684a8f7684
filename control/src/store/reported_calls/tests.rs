use serde_json::json;

use super::*;
use crate::domain::concurrency::{Concurrency, Granularity};
use crate::domain::figures::{Count, Summary};

/// A morning.
pub(in crate::store) const NOON: i64 = 1_770_000_000_000;

/// A user with a webhook.
pub(in crate::store) struct Reporting {
    pub(in crate::store) store: Store,
    pub(in crate::store) owner: String,
    pub(in crate::store) webhook: String,
    _dir: tempfile::TempDir,
}

impl Reporting {
    pub(in crate::store) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), UnixMs(0)).unwrap();
        let (owner, webhook) = Self::user(&store, "pat").await;
        Self { store, owner, webhook, _dir: dir }
    }

    pub(in crate::store) async fn user(store: &Store, name: &str) -> (String, String) {
        let email = format!("{name}@example.com");
        let account = store.add_account(&email, name, "h".into(), false, UnixMs(1)).await.unwrap().unwrap();
        let webhook = InboundWebhook {
            id: format!("webhook of {name}"),
            owner: account.id.clone(),
            name: "w".into(),
            token: format!("wh_{name}"),
            sealed: Vec::new(),
            created: UnixMs(2),
        };
        store.add_inbound_webhook(webhook.clone()).await.unwrap();
        (account.id, webhook.id)
    }

    pub(in crate::store) async fn report(&self, report: CallReport) {
        self.store.report_call(&self.owner, &self.webhook, report, UnixMs(NOON)).await.unwrap();
    }

    /// A call of so many seconds that began so many seconds after noon yesterday.
    pub(in crate::store) async fn had(
        &self,
        id: &str,
        begins_s: i64,
        lasts_s: i64,
        agent: &str,
        reason: &str,
    ) {
        self.report(over(id, begins_s, lasts_s, agent, reason)).await;
    }
}

pub(in crate::store) fn over(id: &str, begins_s: i64, lasts_s: i64, agent: &str, reason: &str) -> CallReport {
    let started = NOON - 86_400_000 + begins_s * 1_000;
    CallReport {
        id: id.into(),
        stage: Stage::Ended,
        agent: Some(agent.into()),
        customer_phone: Some("+15005550009".into()),
        started: Some(UnixMs(started)),
        ended: Some(UnixMs(started + lasts_s * 1_000)),
        ended_reason: Some(reason.into()),
        summary: Some("About shoes.".into()),
        outcome: Some(Outcome {
            transcript: vec![json!({ "role": "user", "message": "Hi" })],
            ..Outcome::default()
        }),
        ..CallReport::default()
    }
}

fn progress(id: &str, stage: Stage) -> CallReport {
    CallReport { id: id.into(), stage, ..CallReport::default() }
}

#[tokio::test]
async fn words_of_a_call_make_one_call_in_whatever_order_and_however_often_they_come() {
    let reports = [
        progress("c", Stage::Ringing),
        progress("c", Stage::InProgress),
        CallReport { ended_reason: Some("customer-ended-call".into()), ..progress("c", Stage::Ended) },
        over("c", 0, 60, "Support", "customer-ended-call"),
    ];
    let orders: [&[usize]; 6] =
        [&[0, 1, 2, 3], &[3, 2, 1, 0], &[3], &[2, 3, 3, 0], &[3, 0, 1, 2, 3, 2, 1, 0], &[1, 3, 0, 2]];
    for order in orders {
        let of = Reporting::new().await;
        for n in order {
            of.report(reports[*n].clone()).await;
        }
        let summary = of.store.call_summary(&of.owner).await.unwrap();
        assert_eq!(summary, Summary { calls: 1, answered: 1, duration_s: 60 }, "{order:?}");
        assert_eq!(
            of.store.concurrency(&of.owner, UnixMs(NOON)).await.unwrap(),
            Concurrency { current: 0, peak: 1 }
        );
        let listed = of.store.ended_calls(&of.owner, Page::default()).await.unwrap();
        assert_eq!(listed.len(), 1, "{order:?}");
        assert_eq!((listed[0].name.as_str(), listed[0].customer_phone.as_str()), ("c", "+15005550009"));
        assert_eq!(listed[0].started, UnixMs(NOON - 86_400_000));
        let ended = of.store.ended_call(&listed[0].id).await.unwrap().unwrap();
        assert_eq!(
            (ended.assistant_name.as_str(), ended.summary.as_deref()),
            ("Support", Some("About shoes."))
        );
        assert_eq!(ended.transcript, [json!({ "role": "user", "message": "Hi" })]);
    }
}

#[tokio::test]
async fn a_call_that_runs_is_seen_until_it_is_over() {
    let of = Reporting::new().await;
    let running = async || of.store.running_calls(&of.owner, Page::default()).await.unwrap();
    of.report(progress("c", Stage::Ringing)).await;
    assert!(matches!(&running().await[..], [call] if call.name == "c" && !call.answered));
    of.report(progress("c", Stage::InProgress)).await;
    assert!(matches!(&running().await[..], [call] if call.answered));
    let now = of.store.concurrency(&of.owner, UnixMs(NOON)).await.unwrap();
    assert_eq!(now, Concurrency { current: 1, peak: 1 });
    assert_eq!(of.store.call_summary(&of.owner).await.unwrap(), Summary::default(), "it is not over");
    of.report(progress("c", Stage::Ended)).await;
    assert!(running().await.is_empty());
    assert_eq!(
        of.store.calls_by_end(&of.owner, None, None).await.unwrap(),
        [Count { name: "unknown".into(), calls: 1 }]
    );
}

#[tokio::test]
async fn the_same_name_at_two_owners_is_two_calls() {
    let of = Reporting::new().await;
    let (other, webhook) = Reporting::user(&of.store, "bea").await;
    of.had("c", 0, 60, "A", "customer-ended-call").await;
    let theirs = over("c", 0, 5, "B", "silence-timed-out");
    of.store.report_call(&other, &webhook, theirs, UnixMs(NOON)).await.unwrap();
    assert_eq!(of.store.call_summary(&of.owner).await.unwrap().duration_s, 60);
    assert_eq!(of.store.call_summary(&other).await.unwrap().duration_s, 5);
    assert_eq!(of.store.calls_by_agent(&other).await.unwrap(), [Count { name: "B".into(), calls: 1 }]);
}

#[tokio::test]
async fn an_assistant_is_called_by_its_name_if_anybody_knows_it() {
    let of = Reporting::new().await;
    let said = |agent: Option<&str>, assistant: Option<&str>| CallReport {
        agent: agent.map(Into::into),
        assistant: assistant.map(Into::into),
        ..over("x", 0, 1, "", "customer-ended-call")
    };
    for (id, agent, assistant, expected) in [
        ("1", Some("Support"), Some("a-1"), "Support"),
        ("2", None, Some("a-1"), "a-1"),
        ("3", None, None, "Unknown"),
    ] {
        of.report(CallReport { id: id.into(), ..said(agent, assistant) }).await;
        let listed = of.store.listed_call(&of.owner, id).await.unwrap().unwrap();
        assert_eq!(of.store.ended_call(&listed.id).await.unwrap().unwrap().assistant_name, expected);
    }
}

#[tokio::test]
async fn calls_of_whose_end_nobody_tells_are_closed_after_a_day() {
    let of = Reporting::new().await;
    of.report(progress("rings for ever", Stage::Ringing)).await;
    of.report(progress("no report", Stage::Ended)).await;
    of.had("whole", 0, 60, "A", "customer-ended-call").await;
    let sweep = async |ms: i64| of.store.sweep_reported_calls(UnixMs(NOON + ms)).await.unwrap();
    assert_eq!(sweep(0).await, 0);
    assert_eq!(sweep(REPORT_WAIT_MS).await, 1, "the report is not waited for any more");
    assert_eq!(sweep(RUNNING_MS_MAX - 1).await, 0);
    assert_eq!(sweep(RUNNING_MS_MAX).await, 1);
    assert_eq!(sweep(RUNNING_MS_MAX).await, 0);
    let now = of.store.concurrency(&of.owner, UnixMs(NOON)).await.unwrap();
    assert_eq!(now.current, 0);
    assert_eq!(of.store.call_summary(&of.owner).await.unwrap().calls, 3);
}

#[tokio::test]
async fn concurrency_is_counted_from_beginnings_and_ends_in_whatever_order_they_are_told() {
    let of = Reporting::new().await;
    // Twenty-three hours before the last: b runs over the end of an hour, c touches b's end and does not run beside it.
    for (id, begins_s, lasts_s) in
        [("z", 82_800, 1), ("b", 3_590, 20), ("a", 3_580, 15), ("c", 3_610, 5), ("none", 9_000, 0)]
    {
        of.had(id, begins_s, lasts_s, "A", "customer-ended-call").await;
    }
    let check = async || {
        let at = UnixMs(NOON);
        let peak = of.store.concurrency(&of.owner, at).await.unwrap();
        assert_eq!(peak, Concurrency { current: 0, peak: 2 });
        let series = async |granularity, limit| {
            let points = of.store.concurrency_series(&of.owner, granularity, limit, at).await.unwrap();
            points.into_iter().map(|point| (point.at_s, point.count)).collect::<Vec<_>>()
        };
        let noon_s = (NOON - 86_400_000) / 1_000;
        // Noon is at 40 minutes past the hour.
        let (hour, minute) = (noon_s.div_euclid(3_600) * 3_600, noon_s.div_euclid(60) * 60);
        assert_eq!(noon_s - hour, 2_400);
        let hours = series(Granularity::Hour, 1_000).await;
        assert_eq!((hours.len(), hours[0], hours[hours.len() - 1].1), (23, (hour + 3_600, 2), 1));
        assert!(hours.windows(2).all(|pair| pair[1].0 == pair[0].0 + 3_600), "gaps are filled");
        assert_eq!(hours.iter().map(|hour| hour.1).sum::<u32>(), 3);
        let days = series(Granularity::Day, 1_000).await;
        assert_eq!(days.iter().map(|day| day.1).collect::<Vec<_>>(), [2, 1]);
        let minutes = series(Granularity::Minute, 1_000).await;
        assert_eq!(minutes.len(), 1_000, "the newest");
        assert_eq!(*minutes.last().unwrap(), (minute + 82_800, 1));
    };
    check().await;
    while of.store.count_hours(UnixMs(NOON)).await.unwrap() {}
    check().await;
    // What comes late is counted in.
    of.had("late", 3_590, 3, "A", "customer-ended-call").await;
    let peak = of.store.concurrency(&of.owner, UnixMs(NOON)).await.unwrap().peak;
    assert_eq!(peak, 3);
}

#[tokio::test]
async fn minutes_are_counted_one_by_one() {
    let of = Reporting::new().await;
    for (id, begins_s, lasts_s) in [("a", 0, 100), ("b", 30, 10), ("c", 300, 1)] {
        of.had(id, begins_s, lasts_s, "A", "customer-ended-call").await;
    }
    let points = of.store.concurrency_series(&of.owner, Granularity::Minute, 10, UnixMs(NOON)).await.unwrap();
    let counts: Vec<u32> = points.iter().map(|point| point.count).collect();
    let first = (NOON - 86_400_000).div_euclid(60_000) * 60;
    assert_eq!(points[0].at_s, first);
    assert_eq!(counts.iter().sum::<u32>() as usize, counts.iter().filter(|count| **count > 0).count() + 1);
    assert_eq!(counts.last(), Some(&1));
}
