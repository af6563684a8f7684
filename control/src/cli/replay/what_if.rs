//! `offhook replay --set`: what would have been decided otherwise.

use std::io::{self, Write};

use offhook_engine::call::{CallSettings, CallTime};
use offhook_engine::journal::{Journal, Side, Sided, WhatIf};

use crate::domain::timeline;

/// How many lines that are in both timelines stand before and after a difference.
const AROUND: usize = 2;

/// Prints the difference of two timelines for people.
pub(super) fn print_text(
    out: &mut impl Write,
    journal: &Journal,
    other: &CallSettings,
    what_if: &WhatIf,
) -> io::Result<()> {
    let was = journal.header().settings.clone();
    for (name, from, to) in changes(&was, other) {
        writeln!(out, "{name}: {from} then, {to} here")?;
    }
    writeln!(out)?;
    for line in lines(&what_if.timeline) {
        writeln!(out, "{line}")?;
    }
    writeln!(out)?;
    let until = timeline::clock(what_if.until);
    match what_if.diverges_at {
        None => writeln!(out, "Nothing would have been decided otherwise, up to {until}.")?,
        Some(at) => {
            let (recorded, changed) = counts(what_if);
            writeln!(
                out,
                "Decided otherwise from {} on: {recorded} entries were recorded (-) that would not have been, \
                 {changed} would have been (+) that were not.",
                timeline::clock(at)
            )?;
            writeln!(out, "{CAVEAT}")?;
        }
    }
    if let Some(message) = &what_if.panicked {
        writeln!(out, "With these settings the call panics at {until}: {message}")?;
    }
    Ok(())
}

/// What such a comparison is worth.
const CAVEAT: &str = "The first difference is a fact. After it, the caller, the recogniser, the agent and the voice still do what was \
     recorded, not what they would have done.";

/// Prints the difference as JSON, one object per line.
pub(super) fn print_json(
    out: &mut impl Write,
    journal: &Journal,
    other: &CallSettings,
    what_if: &WhatIf,
    took_s: f64,
) -> io::Result<()> {
    let header = journal.header();
    let changes: serde_json::Map<_, _> = changes(&header.settings, other)
        .into_iter()
        .map(|(name, from, to)| (name, serde_json::json!({ "recorded": from, "changed": to })))
        .collect();
    let head = serde_json::json!({
        "call": header.call,
        "started_unix_us": header.started_unix_us,
        "settings": header.settings,
        "set": changes,
    });
    writeln!(out, "{head}")?;
    for Sided { side, event } in what_if.timeline.iter().filter(|sided| sided.side != Side::Both) {
        let side = if *side == Side::Recorded { "recorded" } else { "changed" };
        writeln!(out, "{}", serde_json::json!({ "only": side, "event": event }))?;
    }
    let (recorded, changed) = counts(what_if);
    let tail = serde_json::json!({
        "verdict": if what_if.diverges_at.is_some() { "decided-otherwise" } else { "decided-alike" },
        "diverges_at_us": what_if.diverges_at.map(CallTime::as_micros),
        "in_both": what_if.timeline.len() - recorded - changed,
        "only_recorded": recorded,
        "only_changed": changed,
        "panicked": what_if.panicked,
        "damage": journal.damage().map(ToString::to_string),
        "until_us": what_if.until.as_micros(),
        "after_divergence": CAVEAT,
        "took_s": took_s,
    });
    writeln!(out, "{tail}")
}

/// How many entries are in the recorded timeline alone, and how many in the other.
fn counts(what_if: &WhatIf) -> (usize, usize) {
    let count = |side| what_if.timeline.iter().filter(|sided| sided.side == side).count();
    (count(Side::Recorded), count(Side::Changed))
}

/// The settings that differ, with both values.
fn changes(was: &CallSettings, other: &CallSettings) -> Vec<(String, serde_json::Value, serde_json::Value)> {
    let fields = |settings| match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let mut others = fields(other);
    fields(was)
        .into_iter()
        .filter_map(|(name, from)| others.remove(&name).filter(|to| *to != from).map(|to| (name, from, to)))
        .collect()
}

/// The merged timeline as lines: `-` as recorded, `+` with the other settings, both with what stands around them; the rest
/// is counted.
fn lines(merged: &[Sided]) -> Vec<String> {
    let differs = |at: usize| merged[at].side != Side::Both;
    let near = |at: usize| {
        let from = at.saturating_sub(AROUND);
        let to = (at + AROUND).min(merged.len() - 1);
        (from..=to).any(differs)
    };
    let mut lines = Vec::new();
    let mut elided = 0;
    let tell = |lines: &mut Vec<String>, elided: usize| match elided {
        0 => {}
        1 => lines.push("  … 1 entry in both".to_owned()),
        more => lines.push(format!("  … {more} entries in both")),
    };
    for (at, Sided { side, event }) in merged.iter().enumerate() {
        if !near(at) {
            elided += 1;
            continue;
        }
        tell(&mut lines, std::mem::take(&mut elided));
        let sign = match side {
            Side::Both => ' ',
            Side::Recorded => '-',
            Side::Changed => '+',
        };
        lines.push(format!("{sign} {}", timeline::line(event)));
    }
    tell(&mut lines, elided);
    lines
}

#[cfg(test)]
mod tests {
    use offhook_engine::call::{Event, EventKind};

    use super::*;

    #[test]
    fn what_is_in_both_is_elided_but_for_what_stands_around_a_difference() {
        let key = |n: u64, side| Sided {
            side,
            event: Event { at: CallTime::from_millis(n), kind: EventKind::Key { digit: '5' } },
        };
        let mut merged: Vec<Sided> = (0..12).map(|n| key(n, Side::Both)).collect();
        merged[5].side = Side::Recorded;
        merged[6].side = Side::Changed;
        let told: Vec<String> =
            lines(&merged).iter().map(|line| line.replace("  caller    presses 5", "")).collect();
        let wanted = [
            "  … 3 entries in both",
            "   0:00.003",
            "   0:00.004",
            "-  0:00.005",
            "+  0:00.006",
            "   0:00.007",
            "   0:00.008",
            "  … 3 entries in both",
        ];
        assert_eq!(told, wanted);
        assert_eq!(lines(&merged[..5]), ["  … 5 entries in both"]);
        assert!(lines(&[]).is_empty());
    }
}
