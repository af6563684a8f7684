//! A test's result for people: one table, what the agent recorded, what failed, and the verdict.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::super::call::printable;
use super::{Out, Told};
use crate::caller::CallerScenario;
use crate::caller::load::{Expectations, LoadResult, Schedule, Timed, Verdict};
use crate::caller::webhook::Webhooks;

/// Differences between what was recorded and what was expected are shown up to this many.
const DIFFERENCES_MAX: usize = 5;

/// What is going to be done.
pub(super) fn heading(server: &Webhooks, scenario: &CallerScenario, schedule: Schedule) -> String {
    let how = match schedule {
        Schedule::Once { calls, .. } => format!("{calls} {}, each once", calls_word(calls)),
        Schedule::Hold { lines, time, .. } => {
            format!("{lines} {} at once for {} s", calls_word(lines), time.as_secs_f64())
        }
    };
    let title = printable(&scenario.title);
    format!("Calling {}: {how} · {} ({title})", server.base(), scenario.name)
}

fn calls_word(calls: usize) -> &'static str {
    if calls == 1 { "call" } else { "calls" }
}

/// The whole result.
pub(super) fn print(told: &Told, out: Out) {
    for line in lines(told) {
        out.line(&line);
    }
}

fn lines(told: &Told) -> Vec<String> {
    let result = &told.result;
    let mut lines = vec![summary(result), String::new()];
    lines.extend(times(result));
    lines.extend(troubles(result));
    if let Some(expectations) = &told.expectations {
        lines.push(String::new());
        lines.extend(outcomes(result, expectations));
    } else if could_be_checked(result) {
        lines.push(String::new());
        lines.push(
            "What the agent recorded was not compared: the server shows no records at /v1/calls (--bearer-token, if it wants one)"
                .into(),
        );
    }
    let failures = result.failures();
    if !failures.is_empty() {
        lines.push(String::new());
        lines.push(format!("{} of {} calls failed", result.failed(), result.calls.len()));
        for (failure, count) in failures {
            lines.push(format!("  {count:>5} × {}", printable(&failure.reason)));
            if failure.detail != failure.reason {
                lines.push(format!("          such as: {}", printable(&failure.detail)));
            }
        }
    }
    lines.push(String::new());
    lines.extend(verdict(told));
    lines
}

fn summary(result: &LoadResult) -> String {
    let mut text = format!(
        "{} {} in {:.1} s, up to {} together: {} completed, {} failed",
        result.calls.len(),
        calls_word(result.calls.len()),
        result.took.as_secs_f64(),
        result.peak,
        result.completed(),
        result.failed(),
    );
    if result.stopped {
        let stopped = result.calls.len() - result.completed() - result.failed();
        text.push_str(&format!(", {stopped} stopped early"));
    }
    text
}

/// One row per measurement.
fn times(result: &LoadResult) -> Vec<String> {
    let measures = &result.measures;
    let mut lines =
        vec![format!("{:<22}{:>10}{:>10}{:>10}{:>10}{:>11}", "", "p50", "p90", "p99", "max", "measured")];
    for (name, timed) in [
        ("setup time", &measures.setup),
        ("first audio", &measures.first_audio),
        ("response time", &measures.response),
        ("barge-in to clear", &measures.barge_in),
    ] {
        lines.push(timed_row(name, timed));
    }
    lines.push(row("own lateness", &measures.lateness, &format!("{} frames", measures.lateness.len())));
    let underruns = match measures.underruns {
        0 => "0".to_owned(),
        n => format!("{n} in {} calls, {} in all", measures.calls_with_underruns, ms(measures.underrun_time)),
    };
    lines.push(format!("{:<22}{underruns:>10}", "underruns"));
    if measures.own_underruns > 0 {
        let own = measures.own_underruns;
        lines.push(format!("{:<22}{own:>10}   made by the caller, which read late: not the server's", ""));
    }
    lines
}

fn timed_row(name: &str, timed: &Timed) -> String {
    let counted = match timed.waited().len() {
        0 => timed.came().len().to_string(),
        waited => format!("{} + {waited} that never came", timed.came().len()),
    };
    row(name, &timed.whole(), &counted)
}

fn row(name: &str, us: &Histogram<u64>, counted: &str) -> String {
    let cell = |share: f64| {
        if us.is_empty() {
            return "-".to_owned();
        }
        ms(Duration::from_micros(us.value_at_quantile(share).min(us.max())))
    };
    format!("{name:<22}{:>10}{:>10}{:>10}{:>10}   {counted:>8}", cell(0.5), cell(0.9), cell(0.99), cell(1.0))
}

/// `0.8 ms`, `84 ms`, `1.24 s`.
pub(super) fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1_000.0;
    if ms >= 999.5 {
        format!("{:.2} s", ms / 1_000.0)
    } else if ms >= 9.95 {
        format!("{ms:.0} ms")
    } else {
        format!("{ms:.1} ms")
    }
}

fn troubles(result: &LoadResult) -> Vec<String> {
    let measures = &result.measures;
    let mut lines = Vec::new();
    if measures.faults > 0 {
        lines.push(format!("{:<22}{:>10}", "protocol faults", measures.faults));
        lines
            .extend(measures.fault_texts.iter().map(|text| format!("  the server sent {}", printable(text))));
    }
    if measures.status_failed > 0 {
        lines.push(format!(
            "{} times the server could not be told that a call was over (--status-path none does not try)",
            measures.status_failed
        ));
    }
    lines
}

/// True if something is expected of a call that came about.
fn could_be_checked(result: &LoadResult) -> bool {
    let expected = |variant: usize| !result.scenario.variants[variant].expect.is_empty();
    result.calls.iter().any(|call| call.ended_by.is_some() && expected(call.variant))
}

/// `qualified: 50 of 50 who should, 0 of 50 who should not`.
fn outcomes(result: &LoadResult, expectations: &Expectations) -> Vec<String> {
    let mut lines = vec!["What the agent recorded".to_owned()];
    for count in expectations.outcomes() {
        let mut text = format!(
            "  {:<20} {} of {} who should",
            format!("{}:", printable(&count.outcome)),
            count.should_and_did,
            count.should
        );
        if count.should_not > 0 {
            text.push_str(&format!(", {} of {} who should not", count.should_not_but_did, count.should_not));
        }
        lines.push(text);
    }
    let (checked, wrong) = (expectations.checked(), expectations.unexpected());
    lines.push(format!("  everything as expected in {} of {checked} calls", checked - wrong));
    if expectations.unread > 0 {
        lines.push(format!("  {} calls' records could not be read", expectations.unread));
    }
    for call in expectations.calls.iter().filter(|call| !call.is_as_expected()).take(DIFFERENCES_MAX) {
        let differences: Vec<String> = call
            .differences()
            .into_iter()
            .map(|(name, wanted, got)| format!("{name} is {} and not {wanted}", got.unwrap_or("missing")))
            .collect();
        let variant = &result.scenario.variants[call.variant].name;
        let sid = &result.calls[call.call].call_sid;
        lines.push(format!("    {sid} ({variant}): {}", printable(&differences.join(", "))));
    }
    if wrong > DIFFERENCES_MAX {
        lines.push(format!("    and {} more: --json has them all", wrong - DIFFERENCES_MAX));
    }
    lines
}

fn verdict(told: &Told) -> Vec<String> {
    let mut lines: Vec<String> = told.judged.iter().map(|term| format!("  {term}")).collect();
    lines.insert(0, format!("Objective {}", told.slo));
    lines.push(match &told.verdict {
        Verdict::Held => "The objective held.".into(),
        Verdict::NotHeld => "The objective did NOT hold.".into(),
        Verdict::None { why } => format!("No verdict: {why}."),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_figures_at_most() {
        for (us, text) in [
            (0, "0.0 ms"),
            (840, "0.8 ms"),
            (9_940, "9.9 ms"),
            (83_600, "84 ms"),
            (999_600, "1.00 s"),
            (12_345_000, "12.35 s"),
        ] {
            assert_eq!(ms(Duration::from_micros(us)), text);
        }
    }

    #[test]
    fn a_row_shows_what_never_came() {
        let mut timed = Timed::default();
        assert!(timed_row("response time", &timed).contains("-"));
        timed.record(Duration::from_millis(700));
        timed.record_waited(Duration::from_secs(5));
        let row = timed_row("response time", &timed);
        assert!(
            row.contains("700 ms") && row.contains("5.00 s") && row.ends_with("1 + 1 that never came"),
            "{row}"
        );
    }
}
