//! Calls as OpenTelemetry traces, sent to a collector over a real socket; and one that is away slows nothing.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use offhook_fixtures::collector::{Collector, Mood};
use offhook_tests::conversation::{converse, sane_call, server};
use offhook_tests::server::{PATIENCE, Signal};
use offhook_tests::{RawCall, Server};
use serde_json::Value;
use tokio::time::{Instant, sleep};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// How long a server that has no call may take to stop, whatever its collector does.
const STOP: Duration = Duration::from_secs(10);

fn ns(span: &Value, end: &str) -> u64 {
    span[end].as_str().unwrap().parse().unwrap()
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a str {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    let value = &found.unwrap_or_else(|| panic!("no {key}: {span:#}"))["value"];
    value["stringValue"].as_str().or(value["intValue"].as_str()).unwrap()
}

fn named<'a>(spans: &'a [Value], name: &str) -> Vec<&'a Value> {
    spans.iter().filter(|span| span["name"] == name).collect()
}

/// Waits until the collector took so many whole calls, and gives their spans.
async fn taken(collector: &Collector, calls: usize) -> Vec<Value> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let spans = collector.taken();
        if named(&spans, "call").len() >= calls {
            return spans;
        }
        assert!(Instant::now() < give_up, "{:#?}", collector.exports());
        sleep(Duration::from_millis(25)).await;
    }
}

/// Lines of the log that say this.
fn logged(server: &Server, what: &str) -> usize {
    let log = std::fs::read_to_string(server.data().path().join("logs/offhook.log")).unwrap();
    log.lines().filter(|line| line.contains(what)).count()
}

async fn stops_in_time(mut server: Server) {
    let asked = Instant::now();
    server.signal(Signal::Terminate);
    assert!(server.ended().await.success());
    assert!(asked.elapsed() < STOP, "it took {:?} to stop", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_one_trace_whose_answers_are_its_timelines_to_the_microsecond() {
    let collector = Collector::start(Mood::Well).await;
    let key = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20k3y");
    let (server, _scenario) = server(&[(ENDPOINT, &collector.base_url()), key]).await;
    let mut call = RawCall::open(&server).await;
    converse(&mut call).await;
    let record = server.record(&call.call_sid).await;
    let timeline = server.timeline(&call.call_sid).await;
    let spans = taken(&collector, 1).await;

    let id = record["id"].as_str().unwrap();
    let root = named(&spans, "call")[0];
    assert_eq!(attribute(root, "offhook.call_id"), id);
    assert_eq!(attribute(root, "offhook.end_reason"), "agent-hangup");
    assert_eq!(root["traceId"], id.replace('-', "").as_str());
    assert!(spans.iter().all(|span| span["traceId"] == root["traceId"]));
    let decisions = timeline.iter().filter(|(kind, _)| kind == "decided").count();
    assert_eq!(root["events"].as_array().map(Vec::len), Some(decisions));
    assert_eq!((named(&spans, "agent turn").len(), named(&spans, "caller turn").len()), (2, 1));

    let [answer] = named(&spans, "answer")[..] else { panic!("one answer: {spans:#?}") };
    let (_, responded) = timeline.iter().find(|(kind, _)| kind == "responded").unwrap();
    let mut at = ns(answer, "startTimeUnixNano");
    assert_eq!(ns(answer, "endTimeUnixNano") - at, responded["response_us"].as_u64().unwrap() * 1_000);
    let mut spent = std::collections::BTreeMap::<&str, u64>::new();
    for stage in ["endpointing", "transcript", "agent", "voice", "playout"] {
        let [span] = named(&spans, stage)[..] else { panic!("one {stage}: {spans:#?}") };
        assert_eq!(
            (&span["parentSpanId"], ns(span, "startTimeUnixNano")),
            (&answer["spanId"], at),
            "{stage}"
        );
        at = ns(span, "endTimeUnixNano");
        let us = (at - ns(span, "startTimeUnixNano")) / 1_000;
        assert_eq!(responded[format!("{stage}_us")], us, "{stage}");
        *spent.entry(attribute(span, "offhook.spent_by")).or_default() += us;
    }
    assert_eq!(at, ns(answer, "endTimeUnixNano"));
    for (by, us) in spent {
        assert_eq!(responded[format!("{by}_us")], us, "{by}");
    }
    let headers = &collector.exports()[0].headers;
    assert_eq!(headers["authorization"], "Bearer k3y");
    stops_in_time(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_busy_collector_refused_comes_again_when_it_asked_for_it() {
    let collector = Collector::start(Mood::Busy(2)).await;
    let (server, _scenario) = server(&[(ENDPOINT, &collector.base_url())]).await;
    sane_call(&server).await;
    let give_up = Instant::now() + PATIENCE;
    while collector.exports().len() < 2 {
        assert!(Instant::now() < give_up, "it was not tried again");
        sleep(Duration::from_millis(25)).await;
    }
    collector.turn(Mood::Well);
    let spans = taken(&collector, 1).await;
    let exports = collector.exports();
    let apart = exports.windows(2).take_while(|pair| pair[0].status == Some(503));
    for pair in apart {
        assert!(
            pair[1].at - pair[0].at >= Duration::from_secs(2),
            "it was asked to wait for 2 s: {exports:#?}"
        );
    }
    let mut ids: Vec<_> = spans.iter().map(|span| span["spanId"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), spans.len(), "nothing came twice");
    let metrics = server.get("/metrics").await;
    assert!(metrics.text().contains("offhook_spans_dropped_total 0"), "{}", metrics.text());
    assert_eq!(logged(&server, "spans cannot be exported"), 1);
    assert_eq!(logged(&server, "spans are exported again"), 1);
    stops_in_time(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_slows_neither_calls_nor_the_end() {
    let collector = Collector::start(Mood::Hangs).await;
    let (server, _scenario) = server(&[(ENDPOINT, &collector.base_url())]).await;
    sane_call(&server).await;
    let give_up = Instant::now() + PATIENCE;
    while collector.exports().is_empty() {
        assert!(Instant::now() < give_up, "nothing was sent");
        sleep(Duration::from_millis(25)).await;
    }
    sane_call(&server).await;
    stops_in_time(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_collector_is_logged_once_and_disturbs_no_call() {
    let absent = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let (server, _scenario) = server(&[(ENDPOINT, &absent)]).await;
    sane_call(&server).await;
    let give_up = Instant::now() + PATIENCE;
    while logged(&server, "spans cannot be exported") == 0 {
        assert!(Instant::now() < give_up, "nothing is logged");
        sleep(Duration::from_millis(25)).await;
    }
    sane_call(&server).await;
    // Two more tries, a second and two after the first.
    sleep(Duration::from_secs(4)).await;
    assert_eq!(logged(&server, "spans cannot be exported"), 1);
    stops_in_time(server).await;
}
