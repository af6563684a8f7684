//! Two hundred calls at once: each is answered, each is recorded whole, and none gets another's audio.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use futures_util::future::join_all;
use offhook::caller::{CallPlan, EndedBy, Manners, Script, Step, place, prepare};
use offhook_tests::Server;
use offhook_tests::audio::{self, Recording};
use serde_json::Value;

const CALLS: usize = 200;

/// Each call's answers last two seconds: the canned voice's sound.
const ANSWER_MS: u64 = 2_000;

fn script() -> Script {
    let clip = |name: &str| Step::Wav(audio::clip_file(name));
    prepare(&[clip("hello"), clip("tomorrow")]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_calls_at_once_are_answered_and_recorded_whole() {
    let server = Server::start(&["--speech", "canned"]).await;
    // The canned agent does not greet: callers begin by themselves, once they have waited longer than it takes to answer.
    let manners = Manners {
        patience: Duration::from_millis(1_500),
        linger: Duration::from_millis(300),
        ..Manners::default()
    };
    let script = script();
    let calls = (0..CALLS).map(|_| {
        let max_duration = Duration::from_secs(30);
        let plan = CallPlan { manners, max_duration, ..CallPlan::new(server.base(), script.clone()) };
        tokio::spawn(place(plan, |_| {}))
    });
    let placed: Vec<_> = calls.collect();
    let mut reports = Vec::new();
    for report in join_all(placed).await {
        reports.push(report.unwrap().expect("every call comes about"));
    }
    print_figures(&reports);

    for report in &reports {
        assert_eq!((&report.ended_by, report.unsaid), (&EndedBy::Caller, 0));
        assert_eq!((report.fault_count, &report.status_failed), (0, &None), "{:?}", report.faults);
        let record = server.record(&report.call_sid).await;
        assert_eq!(
            (&record["status"], &record["end_reason"]),
            (&"completed".into(), &"caller-hangup".into())
        );
        assert_eq!(record["carrier_status"], "completed");
        assert_eq!((&record["lost_timeline_entries"], &record["losses"]), (&0.into(), &Value::Array(vec![])));
        let answered =
            record["turns"].as_array().unwrap().iter().filter(|turn| turn["speaker"] == "agent").count();
        assert_eq!(answered, 2, "{record:#}");
        let recording = Recording::read(&server.file(&record, "recording").await);
        recording.assert_lasts(record["duration_ms"].as_u64().unwrap());
        audio::assert_holds(&recording.left, &audio::clip("hello"));
        audio::assert_holds(&recording.left, &audio::clip("tomorrow"));
        let agent_ms = recording.right.iter().filter(|sample| **sample != 0).count() as u64 / 8;
        let wanted = 2 * ANSWER_MS * 9 / 10..=2 * ANSWER_MS;
        assert!(
            audio::loudest(&recording.right) > 4_000 && wanted.contains(&agent_ms),
            "{agent_ms} ms of the agent"
        );
    }
    let page = server.get("/v1/calls?limit=500").await.json();
    assert_eq!(page["calls"].as_array().unwrap().len(), CALLS);
    assert_eq!(server.get("/health").await.json()["active_calls"], 0);
    let replayed = server.replay(&server.record(&reports[CALLS / 2].call_sid).await).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stdout));
}

#[expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture; none is asserted")]
fn print_figures(reports: &[offhook::caller::CallReport]) {
    let quantile = |sorted: &[Duration], share: f64| {
        sorted
            .get(((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1))
            .copied()
            .unwrap_or_default()
    };
    let mut late: Vec<_> = reports
        .iter()
        .flat_map(|report| report.lateness.histogram().iter_recorded())
        .flat_map(|late| {
            let frames = late.count_at_value() as usize;
            std::iter::repeat_n(Duration::from_micros(late.value_iterated_to()), frames)
        })
        .collect();
    let mut response: Vec<_> = reports.iter().flat_map(|report| report.response_times()).collect();
    let longest = reports.iter().map(|report| report.duration).max().unwrap_or_default();
    let underruns: u32 = reports.iter().map(|report| report.playout.underruns).sum();
    for (what, sorted) in [("callers' own lateness", &mut late), ("response times", &mut response)] {
        sorted.sort_unstable();
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| quantile(sorted, share));
        println!("{what}: p50 {p50:?}, p99 {p99:?}, max {max:?} ({} measured)", sorted.len());
    }
    println!("{} calls of up to {longest:?}: {underruns} underruns", reports.len());
}
