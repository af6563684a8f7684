use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tower::ServiceExt;

use super::*;
use crate::server::Server;
use crate::settings::{MediaAuth, Settings, Speech};

type Labels = Vec<(String, String)>;

/// One line of numbers: `name{labels} value`.
#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads a page as a scraper would, strictly: each sample stands below the description of its metric.
fn parse(text: &str) -> Vec<Sample> {
    assert!(text.ends_with("# EOF\n"), "a page that was not cut off ends so");
    let mut described = BTreeMap::new();
    let mut family = "";
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').unwrap();
            let (name, what) = rest.split_once(' ').unwrap();
            assert!(!what.is_empty(), "{line}");
            if word == "HELP" {
                assert!(described.insert(name, ()).is_none(), "described twice: {name}");
                family = name;
            }
            assert_eq!(name, family, "{line}");
            continue;
        }
        let (head, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = head.split_once('{').unwrap_or((head, "}"));
        assert!(name.starts_with(family), "{line} stands below {family}");
        let labels = labels.strip_suffix('}').unwrap();
        let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
            let (key, value) = label.split_once('=').unwrap();
            (key.to_owned(), value.trim_matches('"').to_owned())
        });
        samples.push(Sample { name: name.into(), labels: labels.collect(), value: value.parse().unwrap() });
    }
    samples
}

/// The one sample of this name that has this label, if one is given.
fn one(samples: &[Sample], name: &str, label: Option<(&str, &str)>) -> f64 {
    let found: Vec<_> = samples
        .iter()
        .filter(|sample| sample.name == name)
        .filter(|s| label.is_none_or(|(key, value)| s.labels.get(key).is_some_and(|v| v == value)))
        .collect();
    let [sample] = found[..] else { panic!("{name} {label:?}: {found:?}") };
    sample.value
}

/// Every histogram has ascending bounds and counts that go up to all of them.
fn check_histograms(samples: &[Sample]) -> usize {
    let mut histograms: BTreeMap<(String, Labels), Vec<(f64, f64)>> = BTreeMap::new();
    for sample in samples {
        if let Some(name) = sample.name.strip_suffix("_bucket") {
            let mut labels = sample.labels.clone();
            let bound = labels.remove("le").unwrap();
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
            let key = (name.to_owned(), labels.into_iter().collect());
            histograms.entry(key).or_default().push((bound, sample.value));
        }
    }
    for ((name, labels), buckets) in &histograms {
        assert!(buckets.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1), "{name}: {buckets:?}");
        let (bound, all) = *buckets.last().unwrap();
        assert_eq!(bound, f64::INFINITY);
        let label = labels.first().map(|(key, value)| (key.as_str(), value.as_str()));
        assert_eq!(one(samples, &format!("{name}_count"), label), all, "{name}");
    }
    histograms.len()
}

async fn server() -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        speech: Speech::Canned,
        media_auth: MediaAuth::Open,
        media_threads: Some(1),
        ..Settings::local(dir.path().into())
    };
    (Server::start(settings).await.unwrap(), dir)
}

/// A caller who presses a key whenever the agent speaks, until the agent has answered `answers` keys.
async fn converse(server: &Server, answers: usize) {
    let url = format!("ws://{}/api/callbot/audio-stream", server.address());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let start = r#"{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{"accountSid":"AC1","streamSid":"MZ1",
        "callSid":"CA1","mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}"#;
    let media =
        format!(r#"{{"event":"media","streamSid":"MZ1","media":{{"payload":"{}8="}}}}"#, "/".repeat(214));
    let key = r#"{"event":"dtmf","streamSid":"MZ1","dtmf":{"digit":"1"}}"#;
    socket.send(Message::text(start)).await.unwrap();
    socket.send(Message::text(media)).await.unwrap();
    let mut answered = 0;
    let mut asked = false;
    while answered < answers {
        if !asked {
            socket.send(Message::text(key)).await.unwrap();
        }
        // A key that came before the agent listens is not answered: it is pressed again.
        let Ok(message) = tokio::time::timeout(Duration::from_millis(500), socket.next()).await else {
            asked = false;
            continue;
        };
        let message = message.unwrap().unwrap();
        let event = message.to_text().unwrap();
        if event.contains(r#""event":"clear""#) {
            // The agent was cut off: what comes next answers the key.
            asked = true;
        } else if event.contains(r#""event":"media""#) && (asked || answered == 0) {
            answered += 1;
            asked = false;
        }
    }
    socket.send(Message::text(r#"{"event":"stop","streamSid":"MZ1"}"#)).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
}

/// Scrapes until `there` says so: what a call tells is counted within a second of it.
async fn scrape_until(server: &Server, there: impl Fn(&[Sample]) -> bool) -> Vec<Sample> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let samples = parse(&Scrape::of(&server.app).text().unwrap());
        if there(&samples) {
            return samples;
        }
        assert!(Instant::now() < deadline, "{samples:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_shows_and_its_stages_add_up_to_its_response_times() {
    let (server, _dir) = server().await;
    converse(&server, 2).await;
    let hung_up = Some(("reason", "caller-hangup"));
    let samples = scrape_until(&server, |samples| {
        one(samples, "offhook_calls_ended_total", hung_up) == 1.0
            && one(samples, "offhook_store_commit_seconds_count", None) > 0.0
    })
    .await;

    assert_eq!(check_histograms(&samples), 1 + 6 + 3 + 1 + 1);
    let answers = one(&samples, "offhook_response_time_seconds_count", None);
    assert!(answers >= 2.0, "{answers} answers");
    let mut sum = 0.0;
    for stage in ["endpointing", "transcript", "agent", "voice", "held", "playout"] {
        let stage = Some(("stage", stage));
        assert_eq!(one(&samples, "offhook_response_stage_seconds_count", stage), answers);
        sum += one(&samples, "offhook_response_stage_seconds_sum", stage);
    }
    let response = one(&samples, "offhook_response_time_seconds_sum", None);
    assert!((response - sum).abs() < 1e-9, "{response} is not {sum}");
    let spent = ["silence", "vendor", "engine"]
        .map(|by| one(&samples, "offhook_response_spent_seconds_sum", Some(("by", by))));
    assert!((response - spent.iter().sum::<f64>()).abs() < 1e-9, "{response} is not the sum of {spent:?}");

    let thread = Some(("thread", "media-0"));
    for name in [
        "offhook_frames_in_total",
        "offhook_frames_out_total",
        "offhook_media_thread_wake_ups_total",
        "offhook_media_thread_busy_seconds_total",
        "offhook_frame_lateness_seconds_count",
    ] {
        assert!(one(&samples, name, thread) > 0.0, "{name}");
    }
    assert!(one(&samples, "offhook_barge_ins_total", None) >= 1.0);
    assert_eq!(one(&samples, "offhook_leg_faults_total", Some(("fault", "not_base64"))), 0.0);
    assert_eq!(one(&samples, "offhook_ring_overflows_total", Some(("ring", "journal"))), 0.0);
    assert!(one(&samples, "process_resident_memory_bytes", None) > 1e6);
    assert!(one(&samples, "process_cpu_cores", None) >= 1.0);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_open_metrics_and_tells_of_the_server_even_after_the_engine_stopped() {
    let (server, _dir) = server().await;
    let app = server.app.clone();
    app.http.count(StatusCode::NOT_FOUND);
    app.http.count(StatusCode::OK);
    app.http.count(StatusCode::BAD_REQUEST);
    let page = axum::Router::new().route("/metrics", axum::routing::get(metrics)).with_state(app.clone());
    let response =
        page.oneshot(axum::http::Request::get("/metrics").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::CONTENT_TYPE], OPEN_METRICS);
    let text = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let samples = parse(std::str::from_utf8(&text).unwrap());
    assert_eq!(one(&samples, "offhook_http_requests_total", Some(("status", "4xx"))), 2.0);
    assert_eq!(one(&samples, "offhook_calls_active", None), 0.0);
    assert_eq!(one(&samples, "offhook_build_info", None), 1.0);
    assert_eq!(one(&samples, "offhook_jobs_done_total", Some(("kind", "crm-sync"))), 0.0);

    server.shutdown().await;
    let samples = parse(&Scrape::of(&app).text().unwrap());
    assert!(!samples.iter().any(|sample| sample.name == "offhook_calls_active"), "not known is not zero");
    assert!(one(&samples, "process_start_time_seconds", None) > 0.0);
}
