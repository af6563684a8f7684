//! Shows a test while it runs: a bar with live counts on a terminal, a line now and then elsewhere.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::super::call::Failed;
use crate::caller::load::{Counts, LoadResult, LoadRun, Schedule};

/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(200);

/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(5);

/// The exit status of a command that Ctrl-C ended: 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// Waits for the result. The first Ctrl-C ends the test early, and its result is what was measured until then; the second ends
/// the command.
pub(super) async fn finish(run: LoadRun, schedule: Schedule, terminal: bool) -> Result<LoadResult, Failed> {
    let (progress, stop) = (run.progress().clone(), run.stopper());
    let began = Instant::now();
    let bar = if terminal { bar(schedule) } else { ProgressBar::hidden() };
    let mut tick = interval(if terminal { REDRAW } else { LINE });
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.reset();
    let finished = run.finish();
    tokio::pin!(finished);
    let result = loop {
        tokio::select! {
            result = &mut finished => break result,
            _ = tick.tick() => {
                let counts = progress.counts();
                if terminal {
                    bar.set_position(position(schedule, counts, began.elapsed()));
                    bar.set_message(told(counts));
                } else {
                    let seconds = began.elapsed().as_secs();
                    let _ = writeln!(std::io::stderr().lock(), "{seconds:>4} s  {}", told(counts));
                }
            }
            Ok(()) = tokio::signal::ctrl_c() => {
                if stop.is_stopped() {
                    std::process::exit(INTERRUPTED);
                }
                stop.stop();
            }
        }
    };
    bar.finish_and_clear();
    Ok(result?)
}

fn bar(schedule: Schedule) -> ProgressBar {
    let length = match schedule {
        Schedule::Once { calls, .. } => calls as u64,
        Schedule::Hold { time, .. } => time.as_millis() as u64,
    };
    let style = ProgressStyle::with_template("{elapsed:>4} [{bar:24}] {msg}")
        .expect("the template is well-formed")
        .progress_chars("=> ");
    ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr()).with_style(style)
}

fn position(schedule: Schedule, counts: Counts, elapsed: Duration) -> u64 {
    match schedule {
        Schedule::Once { .. } => counts.completed + counts.failed + counts.stopped,
        Schedule::Hold { time, .. } => elapsed.min(time).as_millis() as u64,
    }
}

fn told(counts: Counts) -> String {
    format!(
        "{} up · {} done · {} failed · agents spoke {} times, callers {}",
        counts.running, counts.completed, counts.failed, counts.agent_turns, counts.caller_turns
    )
}
