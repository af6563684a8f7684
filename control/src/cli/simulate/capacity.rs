//! `--find-capacity`: the most calls at once that hold an objective, and what each of them costs the server.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::call::Failed;
use super::{Out, Tester, Told, exit_code, judge, table, watch};
use crate::caller::load::cost::{self, Cost};
use crate::caller::load::search::Search;
use crate::caller::load::{Slo, Verdict, expect};

/// Between two steps: the calls of the one before are over, and what the server does after calls is done.
const SETTLE: Duration = Duration::from_secs(2);

/// How often the server's memory is read in a step.
const MEMORY_EVERY: Duration = Duration::from_secs(1);

/// What the search found.
pub(super) struct Capacity {
    steps: Vec<Step>,
    held: Option<usize>,
    failed: Option<usize>,
    /// Why the caller was the limit, if it was.
    caller_was_limit: Option<String>,
    /// Of the step that held the most.
    per_call: Option<PerCall>,
}

struct Step {
    calls: usize,
    verdict: &'static str,
    response_p95: Option<Duration>,
}

/// What calls cost the server. Parts are none where they cannot be had.
#[derive(Clone, Copy)]
struct PerCall {
    calls_per_core: Option<f64>,
    memory_bytes: Option<f64>,
}

/// Runs the search, and prints each step and what it came to.
pub(super) async fn find(tester: &Tester, slo: &Slo) -> Result<ExitCode, Failed> {
    let out = tester.out;
    out.line(&format!("Searching for the most calls at once that hold {slo}"));
    let idle = cost(tester).await;
    let mut search = Search::new(tester.args.calls, tester.args.max_calls);
    let mut capacity =
        Capacity { steps: Vec::new(), held: None, failed: None, caller_was_limit: None, per_call: None };
    let (mut best, mut last): (Option<Told>, Option<Told>) = (None, None);
    let mut limited_at: Option<(usize, String)> = None;
    let mut untold: Option<String> = None;
    while let Some(calls) = search.next() {
        if !capacity.steps.is_empty() {
            tokio::select! {
                () = sleep(SETTLE) => {}
                Ok(()) = tokio::signal::ctrl_c() => break,
            }
        }
        let (told, per_call) = step(tester, calls, slo, idle).await?;
        let held = told.verdict == Verdict::Held;
        let no_verdict = match &told.verdict {
            Verdict::None { why } => Some(why.clone()),
            _ => None,
        };
        if told.result.stopped {
            // A step that was cut short tells neither that it holds nor that it does not.
            out.line("Stopped early: what follows is what was found until then.");
            untold = Some("the search was stopped".into());
            last = Some(told);
            break;
        }
        if let Some(why) = no_verdict {
            // Holes that the caller made itself are its limit too.
            if told.result.bottleneck().is_some() || told.result.measures.own_underruns > 0 {
                limited_at = Some((calls, why));
            } else {
                // Without a verdict from so few calls, more of them give none either.
                table::print(&told, out);
                untold = Some(format!("{calls} calls gave no verdict: {why}"));
                last = Some(told);
                break;
            }
        }
        search.on_tried(held);
        if held {
            capacity.per_call = Some(per_call);
        }
        let kept = if held { &mut best } else { &mut last };
        *kept = Some(told);
        capacity.push(kept.as_ref().expect("it was just kept"), calls, out);
    }
    capacity.held = search.held();
    capacity.failed = search.failed();
    capacity.caller_was_limit =
        limited_at.filter(|(calls, _)| capacity.failed == Some(*calls)).map(|(_, why)| why);
    out.line("");
    capacity.print(out);
    let Some(told) = best.or(last) else { return Err(Failed("no step was run".into())) };
    tester.write(&told, Some(&capacity))?;
    if let Some(why) = untold {
        out.line(&format!("No verdict: {why}."));
        return Ok(exit_code(&Verdict::None { why }));
    }
    Ok(match (capacity.held, &capacity.caller_was_limit) {
        (None, None) => exit_code(&Verdict::NotHeld),
        (_, Some(why)) => exit_code(&Verdict::None { why: why.clone() }),
        (Some(_), None) => exit_code(&Verdict::Held),
    })
}

async fn cost(tester: &Tester) -> Cost {
    cost::read(&tester.server, tester.bearer(), tester.args.server_pid).await
}

/// One step of the search: a whole test of its own.
async fn step(tester: &Tester, calls: usize, slo: &Slo, idle: Cost) -> Result<(Told, PerCall), Failed> {
    let schedule = tester.schedule(calls);
    let (before, began) = (cost(tester).await, Instant::now());
    let run = tester.begin(schedule)?;
    let (stop, progress) = (run.stopper(), run.progress().clone());
    let finished = watch::finish(run, schedule, std::io::IsTerminal::is_terminal(&std::io::stderr()));
    tokio::pin!(finished);
    let (mut memory, mut running) = (None::<u64>, 0);
    let result = loop {
        tokio::select! {
            result = &mut finished => break result?,
            () = sleep(MEMORY_EVERY), if !stop.is_stopped() => {
                let (up, now) = (progress.counts().running, cost(tester).await.memory_bytes);
                if up >= running {
                    (memory, running) = (memory.max(now), up);
                }
            }
        }
    };
    let (after, took) = (cost(tester).await, began.elapsed());
    let busy = after.cpu.zip(before.cpu).and_then(|(after, before)| after.checked_sub(before));
    let mean_calls =
        result.calls.iter().map(|call| call.duration.as_secs_f64()).sum::<f64>() / took.as_secs_f64();
    let per_call = PerCall {
        calls_per_core: busy
            .map(|busy| busy.as_secs_f64() / took.as_secs_f64())
            .filter(|cores| *cores > 0.001)
            .map(|cores| mean_calls / cores),
        memory_bytes: memory
            .zip(idle.memory_bytes)
            .filter(|_| running > 0)
            .map(|(peak, idle)| peak.saturating_sub(idle) as f64 / running as f64),
    };
    let expectations = expect::check(&tester.server, tester.bearer(), &result).await;
    Ok((judge(schedule, result, expectations, Some(slo.clone())), per_call))
}

impl Capacity {
    /// Notes a step and tells of it.
    fn push(&mut self, told: &Told, calls: usize, out: Out) {
        let verdict = match &told.verdict {
            Verdict::Held => "held",
            Verdict::NotHeld => "not_held",
            Verdict::None { .. } => "none",
        };
        let response = told.result.measures.response.whole();
        let response_p95 =
            (!response.is_empty()).then(|| Duration::from_micros(response.value_at_quantile(0.95)));
        let missed: Vec<String> =
            told.judged.iter().filter(|term| term.held != Some(true)).map(ToString::to_string).collect();
        let told = match &told.verdict {
            Verdict::Held => "held".to_owned(),
            Verdict::NotHeld => format!("did not hold: {}", missed.join(", ")),
            Verdict::None { why } => format!("no verdict: {why}"),
        };
        let response = response_p95.map_or_else(|| "-".into(), table::ms);
        out.line(&format!("{calls:>6} calls   response p95 {response:>8}   {told}"));
        self.steps.push(Step { calls, verdict, response_p95 });
    }

    fn print(&self, out: Out) {
        match self.held {
            Some(held) => out.line(&format!("Capacity: {held} calls at once hold the objective.")),
            None if self.failed.is_none() => out.line("Capacity: no step came to its end."),
            None => out.line("Capacity: not even one call held the objective."),
        }
        let unknown =
            || "unknown (the server has no /metrics; for one on this machine give --server-pid)".into();
        let per_call = self.per_call.unwrap_or(PerCall { calls_per_core: None, memory_bytes: None });
        let cores = per_call.calls_per_core.map_or_else(unknown, |calls| format!("{calls:.0}"));
        let memory = per_call.memory_bytes.map_or_else(unknown, |bytes| format!("{:.0} KB", bytes / 1_024.0));
        out.line(&format!("  calls per core of the server: {cores}"));
        out.line(&format!("  memory per call:              {memory}"));
        match (&self.caller_was_limit, self.failed) {
            (Some(why), Some(failed)) => out.line(&format!(
                "The caller, not the server, was the limit at {failed} calls: {why}. The server may take more."
            )),
            (None, Some(failed)) => out.line(&format!("The server was the limit: {failed} calls did not hold.")),
            (_, None) => out.line("No limit was found: search further with --max-calls."),
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|step| {
                let response = step.response_p95.map(|time| time.as_secs_f64() * 1_000.0);
                json!({"calls": step.calls, "verdict": step.verdict, "response_p95_ms": response})
            })
            .collect();
        json!({
            "calls": self.held,
            "did_not_hold_at": self.failed,
            "caller_was_limit": self.caller_was_limit,
            "calls_per_core": self.per_call.and_then(|cost| cost.calls_per_core),
            "memory_bytes_per_call": self.per_call.and_then(|cost| cost.memory_bytes),
            "steps": steps,
        })
    }
}
