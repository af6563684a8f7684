//! Spans to a collector of OpenTelemetry's, over OTLP/HTTP in its JSON form.
//!
//! Spans are put into a queue of [`QUEUE_SPANS`], which never waits: what does not fit is dropped and counted. One task
//! sends them in batches. A batch that the collector cannot take for the moment (no connection, no answer, 429, 502, 503,
//! 504) is sent again, after the time that `Retry-After` asks for or a growing one, for [`PATIENCE`]; then it is dropped,
//! as is one that the collector refuses. An outage is logged when it begins and when it is over.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp> and
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>: names of traces and spans are hexadecimal, 64-bit
//! numbers are decimal strings (read 2026-11-25).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Request, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::http::{HttpClient, Limits};
use crate::domain::spans::{Attribute, Span, SpanEvent, SpanSink};
use crate::hex;
use crate::settings::{OtlpEndpoint, Settings};

/// How many spans wait at most: some 500 calls' worth of ten seconds.
const QUEUE_SPANS: usize = 8_192;

/// How many go in one request.
const BATCH_SPANS: usize = 512;

/// How long the first span of a batch waits for more.
const GATHER: Duration = Duration::from_secs(1);

/// How long one batch is tried.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first and the longest time between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(16));

/// What one request may cost.
const LIMITS: Limits = Limits { time: Duration::from_secs(10), body_bytes: 64 * 1024 };

/// How long a server that stops waits for its last spans to be taken.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The way to a collector.
pub struct Exporter {
    http: HttpClient,
    traces: Uri,
    headers: HeaderMap,
    /// None once the server stops.
    queue: Mutex<Option<mpsc::Sender<Span>>>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<Span>>,
    exported: AtomicU64,
    dropped: AtomicU64,
    /// True from the first failure to the next success.
    is_out: AtomicBool,
}

/// Why a batch was not taken.
enum Refusal {
    /// It may be taken later; the collector says when, or not.
    Later(String, Option<Duration>),
    /// It will never be.
    Never(String),
}

impl Exporter {
    /// The exporter that the settings ask for, if they do.
    pub fn from_settings(settings: &Settings, http: &HttpClient) -> Option<Self> {
        let endpoint = settings.otlp_endpoint.as_ref()?;
        let headers = settings.otlp_headers.as_ref().map_or(&[][..], |headers| headers.pairs());
        Some(Self::new(endpoint, headers, http.clone()))
    }

    fn new(endpoint: &OtlpEndpoint, headers: &[(HeaderName, HeaderValue)], http: HttpClient) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_SPANS);
        Self {
            http,
            traces: endpoint.traces(),
            headers: headers.iter().cloned().collect(),
            queue: Mutex::new(Some(queue)),
            waiting: tokio::sync::Mutex::new(waiting),
            exported: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            is_out: AtomicBool::new(false),
        }
    }

    /// Spans that the collector took.
    pub fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Spans that were dropped: the queue was full, or the collector did not take them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Sends what comes, until [`Exporter::finish`].
    pub async fn keep_exporting(&self) {
        let mut waiting = self.waiting.lock().await;
        while let Some(first) = waiting.recv().await {
            let mut batch = vec![first];
            let gather = Instant::now() + GATHER;
            while batch.len() < BATCH_SPANS {
                match tokio::time::timeout_at(gather, waiting.recv()).await {
                    Ok(Some(span)) => batch.push(span),
                    Ok(None) | Err(_) => break,
                }
            }
            self.deliver(&batch).await;
        }
    }

    /// Takes no more spans, and waits a little until those that wait are sent. `exporting` runs
    /// [`Exporter::keep_exporting`].
    pub async fn finish(&self, exporting: tokio::task::JoinHandle<()>) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let abort = exporting.abort_handle();
        if timeout(LAST_WORDS, exporting).await.is_err() {
            abort.abort();
            tracing::warn!("the last spans were not exported: the collector did not take them in time");
        }
    }

    /// Sends a batch until it is taken, or refused, or its time is over.
    async fn deliver(&self, batch: &[Span]) {
        let body = Bytes::from(encode(batch).to_string());
        let give_up = Instant::now() + PATIENCE;
        let mut pause = BACKOFF.0;
        loop {
            let (why, wait) = match self.send(&body).await {
                Ok(rejected) => return self.on_taken(batch.len() as u64, rejected),
                Err(Refusal::Later(why, asked)) => (why, Some(asked.unwrap_or(pause))),
                Err(Refusal::Never(why)) => (why, None),
            };
            self.on_failure(&why);
            match wait.map(|wait| Instant::now() + wait).filter(|again| *again <= give_up) {
                Some(again) => tokio::time::sleep_until(again).await,
                None => {
                    self.dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    return;
                }
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// One request. Gives how many of its spans the collector did not want.
    async fn send(&self, body: &Bytes) -> Result<u64, Refusal> {
        let mut request = Request::post(self.traces.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))
            .map_err(|error| Refusal::Never(error.to_string()))?;
        request.headers_mut().extend(self.headers.clone());
        let answer =
            self.http.send(request, LIMITS).await.map_err(|error| Refusal::Later(error.to_string(), None))?;
        match answer.status {
            status if status.is_success() => Ok(rejected(&answer.body)),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                Err(Refusal::Later(format!("answer {}", answer.status), retry_after(&answer.headers)))
            }
            status => Err(Refusal::Never(format!("answer {status}"))),
        }
    }

    fn on_taken(&self, sent: u64, rejected: u64) {
        let rejected = rejected.min(sent);
        self.exported.fetch_add(sent - rejected, Ordering::Relaxed);
        self.dropped.fetch_add(rejected, Ordering::Relaxed);
        if rejected > 0 {
            self.on_failure(&format!("{rejected} of {sent} spans were rejected"));
        } else if self.is_out.swap(false, Ordering::Relaxed) {
            tracing::info!(collector = %self.traces, dropped = self.dropped(), "spans are exported again");
        }
    }

    fn on_failure(&self, why: &str) {
        if !self.is_out.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                collector = %self.traces,
                error = why,
                "spans cannot be exported: some wait, others will be dropped"
            );
        }
    }
}

impl SpanSink for Exporter {
    fn take(&self, span: Span) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.as_ref().is_none_or(|queue| queue.try_send(span).is_err()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How many spans the collector did not want, by its answer; 0 if it does not say.
fn rejected(body: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let count = &answer["partialSuccess"]["rejectedSpans"];
    count.as_str().and_then(|text| text.parse().ok()).or_else(|| count.as_u64()).unwrap_or(0)
}

/// How long the collector wants to be left alone, in its whole seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// A batch as `ExportTraceServiceRequest`.
fn encode(batch: &[Span]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let resource = attributes(&[
        ("service.name", Attribute::Text("offhook".into())),
        ("service.version", Attribute::Text(version.into())),
    ]);
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{
            "scope": { "name": "offhook", "version": version },
            "spans": batch.iter().map(encode_span).collect::<Vec<_>>(),
        }],
    }] })
}

/// `SPAN_KIND_INTERNAL` and `SPAN_KIND_SERVER`.
const KINDS: (u32, u32) = (1, 2);
/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: u32 = 2;

fn encode_span(span: &Span) -> Value {
    let mut encoded = json!({
        "traceId": hex::encode(&span.trace),
        "spanId": hex::encode(&span.id),
        "name": span.name,
        "kind": if span.parent.is_none() { KINDS.1 } else { KINDS.0 },
        "startTimeUnixNano": nanos(span.start_unix_us),
        "endTimeUnixNano": nanos(span.end_unix_us),
        "attributes": attributes(&span.attributes),
    });
    if let Some(parent) = &span.parent {
        encoded["parentSpanId"] = hex::encode(parent).into();
    }
    if !span.events.is_empty() {
        encoded["events"] = span.events.iter().map(encode_event).collect();
        encoded["droppedEventsCount"] = span.events_dropped.into();
    }
    if let Some(failed) = span.failed {
        encoded["status"] = json!({ "code": STATUS_ERROR, "message": failed });
    }
    encoded
}

fn encode_event(event: &SpanEvent) -> Value {
    json!({
        "timeUnixNano": nanos(event.unix_us),
        "name": event.name,
        "attributes": attributes(&event.attributes),
    })
}

fn attributes(attributes: &[(&'static str, Attribute)]) -> Value {
    let attribute = |(key, value): &(&'static str, Attribute)| {
        let value = match value {
            Attribute::Text(text) => json!({ "stringValue": text }),
            Attribute::Number(number) => json!({ "intValue": number.to_string() }),
        };
        json!({ "key": key, "value": value })
    };
    attributes.iter().map(attribute).collect()
}

fn nanos(unix_us: u64) -> String {
    format!("{unix_us}000")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(parent: Option<[u8; 8]>) -> Span {
        Span {
            trace: *b"\x01\x98\xc1\xd2\xe3\xf4\x7a\x6b\x8c\x9d\x0e\x1f\x2a\x3b\x4c\x5d",
            id: [0x2a, 0x3b, 0x4c, 0x5d, 0, 0, 0, 1],
            parent,
            name: "call",
            start_unix_us: 1_795_341_600_000_000,
            end_unix_us: 1_795_341_609_000_001,
            attributes: vec![("offhook.turn", Attribute::Number(3))],
            events: Vec::new(),
            events_dropped: 0,
            failed: None,
        }
    }

    #[test]
    fn span_has_the_form_that_the_specification_gives() {
        let event = SpanEvent {
            unix_us: 1_795_341_601_000_000,
            name: "decision",
            attributes: vec![("offhook.reason", Attribute::Text("silence".into()))],
        };
        let root =
            Span { events: vec![event], events_dropped: 2, failed: Some("agent-failed"), ..span(None) };
        let wanted = json!({
            "traceId": "0198c1d2e3f47a6b8c9d0e1f2a3b4c5d",
            "spanId": "2a3b4c5d00000001",
            "name": "call",
            "kind": 2,
            "startTimeUnixNano": "1795341600000000000",
            "endTimeUnixNano": "1795341609000001000",
            "attributes": [{ "key": "offhook.turn", "value": { "intValue": "3" } }],
            "events": [{
                "timeUnixNano": "1795341601000000000",
                "name": "decision",
                "attributes": [{ "key": "offhook.reason", "value": { "stringValue": "silence" } }],
            }],
            "droppedEventsCount": 2,
            "status": { "code": 2, "message": "agent-failed" },
        });
        assert_eq!(encode_span(&root), wanted);
        let child = encode_span(&span(Some([1; 8])));
        assert_eq!((&child["parentSpanId"], &child["kind"]), (&json!("0101010101010101"), &json!(1)));
        let batch = encode(&[span(None), span(None)]);
        let resource = &batch["resourceSpans"][0];
        assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "offhook");
        assert_eq!(resource["scopeSpans"][0]["spans"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn collectors_say_what_they_reject_as_text_or_number() {
        for (answer, count) in [
            ("{}", 0),
            ("", 0),
            ("not JSON", 0),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":{"rejectedSpans":"7","errorMessage":"too old"}}"#, 7),
            (r#"{"partialSuccess":{"rejectedSpans":7}}"#, 7),
        ] {
            assert_eq!(rejected(answer.as_bytes()), count, "{answer}");
        }
    }

    #[tokio::test]
    async fn queue_that_is_full_drops_and_counts_at_once() {
        let endpoint: OtlpEndpoint = "http://127.0.0.1:9".parse().unwrap();
        let exporter = Exporter::new(&endpoint, &[], HttpClient::new().unwrap());
        for _ in 0..QUEUE_SPANS + 5 {
            exporter.take(span(None));
        }
        assert_eq!((exporter.exported(), exporter.dropped()), (0, 5));
    }
}
