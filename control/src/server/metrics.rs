//! `GET /metrics`: what the engine, the store and the server measured, in the text format of Prometheus (OpenMetrics 1.0).
//!
//! A scrape reads numbers that stand there already and disturbs no call. It answers, for who is woken at night: are
//! callers kept waiting (`offhook_response_time_seconds`), by which stage (`offhook_response_stage_seconds`), is it us
//! (`offhook_frame_lateness_seconds`, `offhook_media_thread_busy_seconds_total`, `offhook_store_commit_seconds`), and
//! what is lost (`offhook_underruns_total`, `offhook_ring_overflows_total`, `offhook_journal_records_lost_total`).

mod process;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use offhook_engine::call::Part;
use offhook_engine::measure::{Counted, Distribution, Lateness, Measures, MediaThreadMeasures};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{App, logs};
use crate::domain::failover::ServiceTally;
use crate::domain::jobs::Tally;
use crate::systems::error::ApiError;
use process::Process;

/// The media type of what is answered.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All that was measured
///
/// In the text format of Prometheus, for its scraper: calls, latencies by stage, lateness of frames, what was lost.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "metrics",
    responses((
        status = 200,
        description = "The numbers, in OpenMetrics 1.0",
        content_type = "application/openmetrics-text",
        body = String,
        example = json!("# TYPE offhook_underruns counter\noffhook_underruns_total 0\n# EOF\n"),
    ))
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<Response<Body>, ApiError> {
    // Reads files of the kernel, which take microseconds, and no locks that anybody holds for long.
    let text = Scrape::of(&app).text().map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written")
    })?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

/// Requests by class of their status, from `1xx` to `5xx`.
#[derive(Debug, Default)]
pub struct HttpCounts([AtomicU64; 5]);

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl HttpCounts {
    /// Counts an answer.
    pub fn count(&self, status: StatusCode) {
        if let Some(count) = self.0.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(&self) -> [u64; 5] {
        std::array::from_fn(|class| self.0[class].load(Ordering::Relaxed))
    }
}

/// All numbers of one scrape.
#[derive(Debug)]
struct Scrape {
    /// `None` once the engine has stopped.
    engine: Option<(Measures, Lateness)>,
    commits: Distribution,
    commit_failures: u64,
    writes_waiting: u64,
    requests: [u64; 5],
    log_lines_dropped: u64,
    /// Spans that were exported and dropped, where traces are configured.
    spans: Option<(u64, u64)>,
    /// Ears, voices and models that calls ask in turn.
    services: Vec<ServiceTally>,
    /// What was done beside the calls.
    jobs: Vec<(&'static str, Tally)>,
    /// Tokens that a model wrote and that nobody heard, where one answers.
    tokens: Option<(u64, u64)>,
    process: Process,
}

impl Scrape {
    fn of(app: &App) -> Self {
        let engine = app.engine();
        let engine = engine.as_ref().map(|engine| (engine.measures(), engine.lateness()));
        let commits = app.store.commits();
        Self {
            engine,
            commits: commits.time.read(),
            commit_failures: commits.failures.load(Ordering::Relaxed),
            writes_waiting: app.store.waiting() as u64,
            requests: app.http.read(),
            log_lines_dropped: logs::lines_dropped(),
            spans: app
                .tracing
                .as_ref()
                .map(|tracing| (tracing.exporter.exported(), tracing.exporter.dropped())),
            services: app.answering.tallies(),
            jobs: app.jobs.tallies(),
            tokens: app.answering.tokens().map(|tokens| (tokens.written(), tokens.wasted())),
            process: Process::now(),
        }
    }

    fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.gauges(
            "offhook_build_info",
            "Always 1; the label says which version runs.",
            "version",
            [(env!("CARGO_PKG_VERSION"), 1)],
        )?;
        if let Some((measures, latest)) = &self.engine {
            calls(&mut page, measures)?;
            responses(&mut page, &measures.counted)?;
            media_threads(&mut page, &measures.media_threads, latest)?;
            trouble(&mut page, measures)?;
        }
        self.store(&mut page)?;
        page.counters(
            "offhook_http_requests",
            "Answered HTTP requests, by class of their status.",
            "status",
            CLASSES.into_iter().zip(self.requests),
        )?;
        page.counter(
            "offhook_log_lines_dropped",
            "Log lines that found a queue full: nobody took them off the terminal or pipe, or the disk is too slow.",
            self.log_lines_dropped,
        )?;
        if let Some((exported, dropped)) = self.spans {
            page.counter(
                "offhook_spans_exported",
                "Spans of calls that the collector at OTEL_EXPORTER_OTLP_ENDPOINT took.",
                exported,
            )?;
            page.counter(
                "offhook_spans_dropped",
                "Spans of calls that were dropped: the queue was full, or the collector did not take them.",
                dropped,
            )?;
        }
        if let Some((written, wasted)) = self.tokens {
            page.counter(
                "offhook_agent_tokens",
                "Tokens that the agent's model wrote, counted by the pieces in which it streams them.",
                written,
            )?;
            page.counter(
                "offhook_agent_tokens_wasted",
                "Those of them that no caller heard, because the turn was called off or cut off.",
                wasted,
            )?;
        }
        self.services(&mut page)?;
        self.jobs(&mut page)?;
        self.process(&mut page)
    }
}

impl Scrape {
    /// What outside services, and those of this machine that stand among them, were asked for.
    fn services(&self, page: &mut Page<'_>) -> fmt::Result {
        if self.services.is_empty() {
            return Ok(());
        }
        let of = |part: Part| self.services.iter().filter(move |tally| tally.part == part);
        for (part, name, help) in [
            (
                Part::Ears,
                "offhook_ears_bytes",
                "Bytes of 8 kHz µ-law that ears were given, what is told again included.",
            ),
            (Part::Voice, "offhook_voice_characters", "Characters that voices were given to speak."),
            (Part::Agent, "offhook_agent_replies", "Replies that models were asked for."),
        ] {
            if of(part).next().is_some() {
                page.counters(name, help, "service", of(part).map(|tally| (&*tally.name, tally.asked)))?;
            }
        }
        let help = "How often a service failed a call, so that the next one was asked.";
        let mut metric = page.metric("offhook_service_failures", help, None, MetricType::Counter)?;
        for tally in &self.services {
            metric
                .encode_family(&[("part", tally.part.as_str()), ("service", &tally.name)])?
                .encode_counter::<NoLabelSet, _, u64>(&tally.failures, None)?;
        }
        let help =
            "1 while no call asks a service, because it failed several in a row or does not accept the key.";
        let mut metric = page.metric("offhook_service_kept_out", help, None, MetricType::Gauge)?;
        for tally in &self.services {
            metric
                .encode_family(&[("part", tally.part.as_str()), ("service", &tally.name)])?
                .encode_gauge(&i64::from(tally.kept_out.is_some()))?;
        }
        Ok(())
    }

    /// What was done beside the calls.
    fn jobs(&self, page: &mut Page<'_>) -> fmt::Result {
        let of = |read: fn(&Tally) -> u64| self.jobs.iter().map(move |(kind, tally)| (*kind, read(tally)));
        page.counters(
            "offhook_jobs_done",
            "Work beside the calls that is done.",
            "kind",
            of(|jobs| jobs.done),
        )?;
        page.counters(
            "offhook_job_failures",
            "Tries of such work that failed, and are followed by another.",
            "kind",
            of(|jobs| jobs.failed),
        )?;
        page.counters(
            "offhook_jobs_given_up",
            "Such work that was given up; its reason stands in the log, and with what it was about.",
            "kind",
            of(|jobs| jobs.given_up),
        )
    }

    fn store(&self, page: &mut Page<'_>) -> fmt::Result {
        page.histograms(
            "offhook_store_commit",
            "How long the database took to write and commit one group of writes, in seconds.",
            "",
            [("", &self.commits)],
        )?;
        page.counter(
            "offhook_store_commit_failures",
            "Groups of writes that the database did not take: they were kept, and tried again.",
            self.commit_failures,
        )?;
        page.gauge(
            "offhook_store_waiting_writes",
            "Writes in the queue of the database's writer; it holds 16384.",
            self.writes_waiting,
        )
    }

    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let process = &self.process;
        if let Some(seconds) = process.cpu_seconds {
            let help = "Processor time of the process, user and system, in seconds.";
            let mut metric = page.metric("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
        }
        if let Some(bytes) = process.resident_bytes {
            let help = "Resident memory of the process, in bytes.";
            let mut metric =
                page.metric("process_resident_memory", help, Some(&Unit::Bytes), MetricType::Gauge)?;
            metric.encode_gauge(&(bytes as i64))?;
        }
        if let Some(at) = process.start_time_seconds {
            page.seconds("process_start_time", "When the process started, in seconds since 1970 (UTC).", at)?;
        }
        for (name, help, value) in [
            ("process_open_fds", "Open file descriptors of the process.", process.open_fds),
            ("process_threads", "Threads of the process.", process.threads),
            ("process_cpu_cores", "Processor cores that the process may use.", process.cpu_cores),
        ] {
            if let Some(value) = value {
                page.gauge(name, help, value)?;
            }
        }
        Ok(())
    }
}

fn calls(page: &mut Page<'_>, measures: &Measures) -> fmt::Result {
    let active = measures.media_threads.iter().map(|thread| thread.calls as u64).sum();
    page.gauge("offhook_calls_active", "Calls whose media runs now.", active)?;
    page.counters(
        "offhook_calls_ended",
        "Calls that ended, by reason; those without media are not among them.",
        "reason",
        measures.counted.ended.iter().map(|(reason, count)| (reason.as_str(), *count)),
    )
}

fn responses(page: &mut Page<'_>, counted: &Counted) -> fmt::Result {
    page.histograms(
        "offhook_response_time",
        "From a caller's last speech (or key) to the first audio message of the answer, in seconds: the sum of \
         offhook_response_stage_seconds.",
        "",
        [("", &counted.response)],
    )?;
    page.histograms(
        "offhook_response_stage",
        "The stages of the response time, in seconds: endpointing (is the caller's turn over?), transcript (the \
         recogniser's final words), agent (to its first sentence), voice (to its first audio), playout (to the first \
         message).",
        "stage",
        counted.stages.iter().map(|(stage, distribution)| (stage.as_str(), distribution)),
    )?;
    page.histograms(
        "offhook_response_spent",
        "The response time by who spent it, in seconds: silence (which ends the caller's turn: the settings want it), \
         vendor (recogniser, agent and voice, with the way there and back), engine (the rest: ours).",
        "by",
        counted.spent.iter().map(|(spender, distribution)| (spender.as_str(), distribution)),
    )
}

fn media_threads(page: &mut Page<'_>, threads: &[MediaThreadMeasures], latest: &Lateness) -> fmt::Result {
    let each = |value: fn(&MediaThreadMeasures) -> u64| {
        threads.iter().map(move |thread| (thread.name.as_str(), value(thread)))
    };
    page.histograms(
        "offhook_frame_lateness",
        "How late the work for a call was done, in seconds: from when it could have been done to when all that \
         followed was handed to the kernel. One sample per call and wake-up; up to 1 ms is the grain of the \
         thread's timer.",
        "thread",
        threads.iter().map(|thread| (thread.name.as_str(), &thread.lateness)),
    )?;
    page.seconds(
        "offhook_frame_lateness_p99",
        "The 99th percentile of the frame lateness of the last 2 to 4 s on the worst media thread, in seconds: what \
         overload is judged by.",
        latest.p99.as_secs_f64(),
    )?;
    let help = "How long each media thread worked, in seconds: its rate is the thread's load, from 0 to 1.";
    let mut metric =
        page.metric("offhook_media_thread_busy", help, Some(&Unit::Seconds), MetricType::Counter)?;
    for thread in threads {
        let busy = thread.busy.as_secs_f64();
        metric
            .encode_family(&[("thread", thread.name.as_str())])?
            .encode_counter::<NoLabelSet, _, f64>(&busy, None)?;
    }
    let help = "The share of the last 2 to 4 s in which the busiest media thread worked, from 0 to 1.";
    page.metric("offhook_media_thread_busy_ratio", help, None, MetricType::Gauge)?
        .encode_gauge(&latest.busy)?;
    page.gauges(
        "offhook_media_thread_calls",
        "Calls that each media thread owns.",
        "thread",
        each(|t| t.calls as u64),
    )?;
    page.counters(
        "offhook_media_thread_wake_ups",
        "How often each media thread woke.",
        "thread",
        each(|t| t.wake_ups),
    )?;
    let help = "Audio messages from callers that each media thread took in.";
    page.counters("offhook_frames_in", help, "thread", each(|t| t.frames_in))?;
    let help = "Audio messages to callers that each media thread sent.";
    page.counters("offhook_frames_out", help, "thread", each(|t| t.frames_out))
}

fn trouble(page: &mut Page<'_>, measures: &Measures) -> fmt::Result {
    let Measures { media_threads, counted, record_backlog } = measures;
    let all = |value: fn(&MediaThreadMeasures) -> u64| media_threads.iter().map(value).sum::<u64>();
    page.counter(
        "offhook_barge_ins",
        "How often a caller took the floor from the agent.",
        counted.barge_ins,
    )?;
    page.counters(
        "offhook_barge_in_outcomes",
        "How barge-ins ended: the interruption stood, or it was a cough, a word such as mm-hm, or an echo, and the agent went on.",
        "outcome",
        [
            ("stood", counted.interruptions),
            ("cough", counted.coughs),
            ("back_channel", counted.back_channels),
            ("echo", counted.self_interruptions),
        ],
    )?;
    let help = "How often the agent's own voice came back from a caller's telephone and stopped nothing.";
    page.counter("offhook_echoes", help, counted.echoes)?;
    let help = "Gaps that callers heard in the agent's speech, because the next audio was not there in time.";
    page.counter("offhook_underruns", help, counted.underruns)?;
    let help = "Marks that a carrier did not send back in time.";
    page.counter("offhook_marks_missing", help, counted.marks_missing)?;
    page.counters(
        "offhook_leg_faults",
        "Messages of carriers that could not be used, by what is wrong with them.",
        "fault",
        counted.faults.iter().map(|(fault, count)| (fault.as_str(), *count)),
    )?;
    page.counters(
        "offhook_vendor_errors",
        "Failures and time-outs of who recognises, answers and speaks.",
        "vendor",
        [
            ("recogniser", counted.recogniser_timeouts),
            ("agent", counted.agent_failures),
            ("voice", counted.voice_failures),
        ],
    )?;
    let help = "Characters of the agent's that no caller heard, because it was cut off.";
    page.counter("offhook_voice_characters_unheard", help, counted.characters_unheard)?;
    let help =
        "How often a carrier read so slowly that its socket did not take all that was to be sent to it.";
    page.counter("offhook_sends_held_up", help, all(|thread| thread.sends_held_up))?;
    let help = "Panics of recognisers, agents and voices.";
    page.counter("offhook_speech_panics", help, counted.speech_panics)?;
    page.counters(
        "offhook_ring_overflows",
        "How often a ring between threads was full: recogniser (caller audio was dropped), inbox (answers were \
         fetched late), journal (a chunk waited with its media thread).",
        "ring",
        [
            ("recogniser", all(|thread| thread.speech_overflows)),
            ("inbox", all(|thread| thread.answers_unannounced)),
            ("journal", counted.journal_refused_chunks),
        ],
    )?;
    let help = "Caller audio that recognisers missed because their rings were full, in seconds.";
    let dropped = all(|thread| thread.speech_dropped_bytes) as f64 / 8_000.0;
    page.metric("offhook_recogniser_audio_dropped", help, Some(&Unit::Seconds), MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, f64>(&dropped, None)?;
    let help = "Records that journals and recordings lack, because the writer was too far behind.";
    page.counter("offhook_journal_records_lost", help, counted.journal_lost_records)?;
    let help = "How full the way to the writer of journals and recordings is, from 0 to 1: from a half on, new calls are refused.";
    page.metric("offhook_journal_backlog_ratio", help, None, MetricType::Gauge)?
        .encode_gauge(record_backlog)?;
    let help = "Journals and recordings that could not be written to their end.";
    page.counter("offhook_files_given_up", help, counted.files_given_up)?;
    let help = "Calls that ended because the system could not watch their sockets.";
    page.counter("offhook_sockets_unwatched", help, all(|thread| thread.sockets_unwatched))
}

/// The text, metric by metric. Names are given without the suffixes that the format adds: units and `_total`.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn metric<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, None, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, None, MetricType::Counter)?;
        for (of, value) in values {
            metric.encode_family(&[(label, of)])?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, None, MetricType::Gauge)?.encode_gauge(&(value as i64))
    }

    fn gauges<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, None, MetricType::Gauge)?;
        for (of, value) in values {
            metric.encode_family(&[(label, of)])?.encode_gauge(&(value as i64))?;
        }
        Ok(())
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.metric(name, help, Some(&Unit::Seconds), MetricType::Gauge)?.encode_gauge(&value)
    }

    /// Histograms of seconds; `label` is empty where there is but one.
    fn histograms<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, &'v Distribution)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (of, distribution) in values {
            let buckets: Vec<(f64, u64)> = distribution
                .buckets()
                .map(|(bound, count)| (bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64()), count))
                .collect();
            let (sum, count) = (distribution.sum().as_secs_f64(), distribution.count());
            if label.is_empty() {
                metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            } else {
                metric
                    .encode_family(&[(label, of)])?
                    .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
