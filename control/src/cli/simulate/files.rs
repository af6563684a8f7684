//! A test's result for programs: JSON with everything, and JUnit for CI.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};

use super::super::call::Failed;
use super::capacity::Capacity;
use super::{Told, Verdict};
use crate::caller::load::{CallOutcome, Expectations, Fate, LoadResult, Schedule, Timed};

/// Writes to a file, or to standard output for `-`.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failed> {
    if path.as_os_str() == "-" {
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
        return Ok(());
    }
    std::fs::write(path, text).map_err(|error| Failed(format!("cannot write {}: {error}", path.display())))
}

/// Everything that is known of a test. Times are in ms.
pub(super) fn json(target: &str, told: &Told, capacity: Option<&Capacity>) -> Value {
    let result = &told.result;
    let measures = &result.measures;
    let stopped = result.calls.len() - result.completed() - result.failed();
    let failures: Vec<Value> = result
        .failures()
        .into_iter()
        .map(|(failure, count)| json!({"reason": failure.reason, "count": count, "example": failure.detail}))
        .collect();
    let slo: Vec<Value> = told
        .judged
        .iter()
        .map(|term| json!({"term": term.term, "measured": term.measured, "held": term.held}))
        .collect();
    let (verdict, why) = match &told.verdict {
        Verdict::Held => ("held", None),
        Verdict::NotHeld => ("not_held", None),
        Verdict::None { why } => ("none", Some(why)),
    };
    json!({
        "target": target,
        "scenario": result.scenario.name,
        "schedule": schedule(told.schedule),
        "took_s": seconds(result.took),
        "peak_calls": result.peak,
        "stopped_early": result.stopped,
        "calls": {
            "placed": result.calls.len(),
            "completed": result.completed(),
            "failed": result.failed(),
            "stopped": stopped,
        },
        "failures": failures,
        "times_ms": {
            "setup": timed(&measures.setup),
            "first_audio": timed(&measures.first_audio),
            "response": timed(&measures.response),
            "barge_in": timed(&measures.barge_in),
            "call_duration": timed(&measures.duration),
            "own_lateness": histogram(&measures.lateness),
            "own_lateness_of_announcements": histogram(&measures.announced_late),
        },
        "counts": {
            "underruns": measures.underruns,
            "own_underruns": measures.own_underruns,
            "calls_with_underruns": measures.calls_with_underruns,
            "underrun_ms": ms(measures.underrun_time),
            "faults": measures.faults,
            "unsaid": measures.unsaid,
            "said": measures.said,
            "unanswered": measures.response.waited().len(),
            "agent_turns": measures.agent_turns,
            "frames_sent": measures.frames_sent,
            "media_received": measures.media_received,
            "status_failed": measures.status_failed,
        },
        "faults": measures.fault_texts,
        "outcomes": told.expectations.as_ref().map(|expectations| outcomes(result, expectations)),
        "slo": slo,
        "verdict": verdict,
        "no_verdict_because": why,
        "own": { "cores_used": result.own_cores, "cores": result.cores },
        "capacity": capacity.map(Capacity::json),
        "per_call": result.calls.iter().map(|call| per_call(result, call)).collect::<Vec<_>>(),
    })
}

fn schedule(schedule: Schedule) -> Value {
    match schedule {
        Schedule::Once { calls, at_once } => json!({"once": {"calls": calls, "at_once": at_once}}),
        Schedule::Hold { lines, time, ramp } => {
            json!({"hold": {"calls": lines, "time_s": seconds(time), "ramp_s": seconds(ramp)}})
        }
    }
}

fn timed(timed: &Timed) -> Value {
    let mut value = histogram(&timed.whole());
    value["came"] = timed.came().len().into();
    value["never_came"] = timed.waited().len().into();
    value
}

fn histogram(us: &Histogram<u64>) -> Value {
    if us.is_empty() {
        return json!({"count": 0});
    }
    let at = |share: f64| us.value_at_quantile(share).min(us.max()) as f64 / 1_000.0;
    json!({
        "count": us.len(),
        "min": us.min() as f64 / 1_000.0,
        "mean": (us.mean()).round() / 1_000.0,
        "p50": at(0.5),
        "p75": at(0.75),
        "p90": at(0.9),
        "p95": at(0.95),
        "p99": at(0.99),
        "p99.9": at(0.999),
        "max": us.max() as f64 / 1_000.0,
    })
}

fn outcomes(result: &LoadResult, expectations: &Expectations) -> Value {
    let outcomes: Vec<Value> = expectations
        .outcomes()
        .into_iter()
        .map(|count| {
            json!({
                "outcome": count.outcome,
                "should": count.should,
                "should_and_did": count.should_and_did,
                "should_not": count.should_not,
                "should_not_but_did": count.should_not_but_did,
            })
        })
        .collect();
    let differing: Vec<Value> = expectations
        .calls
        .iter()
        .filter(|call| !call.is_as_expected())
        .map(|call| {
            json!({
                "call_sid": result.calls[call.call].call_sid,
                "caller": result.scenario.variants[call.variant].name,
                "expected": call.wanted,
                "recorded": call.recorded,
            })
        })
        .collect();
    json!({
        "checked": expectations.checked(),
        "unexpected": expectations.unexpected(),
        "unread": expectations.unread,
        "by_outcome": outcomes,
        "differing": differing,
    })
}

fn per_call(result: &LoadResult, call: &CallOutcome) -> Value {
    let (fate, reason) = match &call.fate {
        Fate::Completed => ("completed", None),
        Fate::Failed(failure) => ("failed", Some(&failure.detail)),
        Fate::Stopped => ("stopped", None),
    };
    json!({
        "call_sid": call.call_sid,
        "caller": result.scenario.variants[call.variant].name,
        "from": &*call.from,
        "began_ms": ms(call.intended),
        "fate": fate,
        "reason": reason,
        "ended_by": call.ended_by.as_ref().map(ToString::to_string),
        "duration_ms": ms(call.duration),
        "setup_ms": call.setup.map(ms),
        "answers": call.responses,
        "response_mean_ms": call.response_mean.map(ms),
        "underruns": call.underruns,
    })
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

/// One suite: a case per term of the objective, and a case per kind of caller.
pub(super) fn junit(told: &Told) -> Result<String, Failed> {
    let mut suite = TestSuite::new("offhook simulate");
    suite.set_time(told.result.took);
    for term in &told.judged {
        let status = match (&told.verdict, term.held) {
            (Verdict::None { why }, Some(_)) => trouble(NonSuccessKind::Error, "no verdict", why),
            (_, Some(true)) => TestCaseStatus::success(),
            (_, Some(false)) => trouble(NonSuccessKind::Failure, "objective", &term.to_string()),
            (_, None) => trouble(NonSuccessKind::Error, "no verdict", &term.to_string()),
        };
        suite.add_test_case(case(&term.term, "objective", status));
    }
    for (variant, caller) in told.result.scenario.variants.iter().enumerate() {
        let mut case = case(&caller.name, "caller", caller_status(told, variant));
        let calls = told.result.calls.iter().filter(|call| call.variant == variant);
        case.set_time(calls.map(|call| call.duration).sum());
        suite.add_test_case(case);
    }
    let mut report = Report::new("offhook simulate");
    report.add_test_suite(suite);
    report.to_string().map_err(|error| Failed(format!("the JUnit report cannot be written: {error}")))
}

fn case(name: &str, class: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    case
}

fn trouble(kind: NonSuccessKind, class: &str, text: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(class).set_message(text.lines().next().unwrap_or_default()).set_description(text);
    status
}

/// A kind of caller passes if none of its calls failed and the agent recorded of each what it should have.
fn caller_status(told: &Told, variant: usize) -> TestCaseStatus {
    let result = &told.result;
    let calls: Vec<&CallOutcome> = result.calls.iter().filter(|call| call.variant == variant).collect();
    if calls.is_empty() {
        return TestCaseStatus::skipped();
    }
    let mut lines = Vec::new();
    for call in &calls {
        if let Fate::Failed(failure) = &call.fate {
            lines.push(format!("{}: {}", call.call_sid, failure.detail));
        }
    }
    let failed = lines.len();
    let checked = told.expectations.iter().flat_map(|expectations| &expectations.calls);
    for call in checked.filter(|call| call.variant == variant) {
        for (name, wanted, got) in call.differences() {
            let sid = &result.calls[call.call].call_sid;
            lines.push(format!("{sid}: recorded {name} = {}, not {wanted}", got.unwrap_or("nothing")));
        }
    }
    if lines.is_empty() {
        return TestCaseStatus::success();
    }
    let summary =
        format!("{failed} of {} calls failed, {} recorded values differ", calls.len(), lines.len() - failed);
    trouble(NonSuccessKind::Failure, "caller", &format!("{summary}\n{}", lines.join("\n")))
}
