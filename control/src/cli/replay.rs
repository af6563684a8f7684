//! `offhook replay`: runs a recorded call again and compares.

mod set;
mod what_if;

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use offhook_engine::call::{CallSettings, CallTime};
use offhook_engine::journal::{self, Journal, JournalError, Replay, Verdict};

use crate::domain::timeline;

/// What the command is told.
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Run a recorded call again in virtual time, and compare.\n\n\
        Every call leaves a journal in the data folder, journals/<call id>.journal: all that went into the call, and \
        all that came out of it, with its time. This command shows the call's timeline, feeds what went in to a fresh \
        call, and compares what comes out with what came out then, byte for byte. An hour of call takes seconds, and \
        nothing is dialled, spoken or sent.\n\n\
        With --set the call runs with other settings, and what would have been decided otherwise is shown as the \
        difference of the two timelines: - as recorded, + with these settings. The caller, the recogniser, the agent and \
        the voice do what was recorded, also after the first difference: from there on it is a sketch.",
    after_long_help = "Examples:\n  \
        offhook replay data/journals/CA17.journal\n  \
        offhook replay --json data/journals/CA17.journal | jq 'select(.event.kind.decided)'\n  \
        offhook replay data/journals/CA17.journal --set turn.min_silence=400ms\n  \
        offhook replay data/journals/CA17.journal --set barge_in_ms=80 --set barge_in.cough_max=1.5s\n\n\
        Exit status: 0 if the whole call ran as before, 1 if it did not or the journal is incomplete or unreadable. With \
        --set: 0 if both ran as far as the journal goes, 1 if not."
)]
pub struct Args {
    /// The journal of the call: <data folder>/journals/<call id>.journal
    #[arg(value_name = "JOURNAL")]
    journal: PathBuf,
    /// Print JSON, one object per line: the call, its events, the verdict
    #[arg(long)]
    json: bool,
    /// Change a setting, and show what would have been decided otherwise: turn.min_silence=400ms, or by its own name
    /// min_silence_ms=400; repeat for more
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let journal = match journal::read(&args.journal) {
        Ok(journal) => journal,
        Err(e) => {
            let _ = writeln!(io::stderr(), "error: {}", explain(&args.journal, &e));
            return ExitCode::FAILURE;
        }
    };
    let other = match set::changed(&journal.header().settings, &args.set) {
        Ok(settings) => settings,
        Err(e) => {
            let _ = writeln!(io::stderr(), "error: --set {e}");
            return ExitCode::FAILURE;
        }
    };
    let started = Instant::now();
    let replay = journal::replay(&journal);
    let took_s = started.elapsed().as_secs_f64();

    let mut out = BufWriter::new(io::stdout().lock());
    let as_recorded = matches!(replay.verdict, Verdict::Same | Verdict::SameAsFar);
    if !args.set.is_empty() && as_recorded {
        return compare(&mut out, &journal, other, args.json);
    }
    // A journal that does not replay says nothing about other settings; how it differs, comes first.
    let printed = if args.json {
        print_json(&mut out, &journal, &replay, took_s)
    } else {
        print_text(&mut out, &journal, &replay, took_s)
    };
    // Whoever closed the pipe has seen enough; the verdict still counts.
    let _ = printed.and_then(|()| out.flush());
    match replay.verdict {
        Verdict::Same => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Runs the call with the settings `other`, and prints what would have been decided otherwise.
fn compare(out: &mut impl Write, journal: &Journal, other: CallSettings, json: bool) -> ExitCode {
    let started = Instant::now();
    let what_if = journal::what_if(journal, other.clone());
    let took_s = started.elapsed().as_secs_f64();
    let printed = if json {
        what_if::print_json(out, journal, &other, &what_if, took_s)
    } else {
        what_if::print_text(out, journal, &other, &what_if)
            .and_then(|()| print_incomplete(out, journal))
            .and_then(|()| print_speed(out, what_if.until, took_s))
    };
    let _ = printed.and_then(|()| out.flush());
    if what_if.panicked.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// An error with what to do about it.
fn explain(path: &Path, error: &JournalError) -> String {
    let advice = match error {
        JournalError::Unreadable { .. } => {
            "give the path of a journal, such as data/journals/<call id>.journal".to_owned()
        }
        JournalError::NotAJournal => {
            "give the .journal file of the call; recordings (.wav) cannot be replayed".to_owned()
        }
        JournalError::Version { .. } => "replay it with the release of Offhook that made it".to_owned(),
        JournalError::Truncated { .. } | JournalError::Checksum { .. } | JournalError::Undecodable { .. } => {
            "nothing of it can be used; if it is a copy, copy it again".to_owned()
        }
    };
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{}: {error}{cause}\n  {advice}", path.display())
}

fn print_text(out: &mut impl Write, journal: &Journal, replay: &Replay, took_s: f64) -> io::Result<()> {
    for event in journal.events() {
        writeln!(out, "{}", timeline::line(&event))?;
    }
    writeln!(out)?;
    print_incomplete(out, journal)?;
    let until = timeline::clock(replay.until);
    match &replay.verdict {
        Verdict::Same => writeln!(
            out,
            "Same: {} inputs gave the same {} outputs, byte for byte.",
            replay.inputs, replay.outputs
        )?,
        Verdict::SameAsFar => writeln!(
            out,
            "Same until {until}, where the journal lacks records: {} inputs gave the same {} outputs.",
            replay.inputs, replay.outputs
        )?,
        Verdict::Different { recorded, replayed, input } => {
            writeln!(out, "Different at {until}, after {} equal outputs.", replay.outputs)?;
            writeln!(out, "  input     {input}")?;
            writeln!(out, "  recorded  {}", recorded.as_deref().unwrap_or("nothing more"))?;
            writeln!(out, "  replayed  {}", replayed.as_deref().unwrap_or("nothing more"))?;
        }
        Verdict::Panicked { message, input } => {
            writeln!(out, "The call panics at {until}, after {} equal outputs: {message}", replay.outputs)?;
            writeln!(out, "  input     {input}")?;
        }
    }
    print_speed(out, replay.until, took_s)
}

fn print_incomplete(out: &mut impl Write, journal: &Journal) -> io::Result<()> {
    match journal.damage() {
        Some(damage) => writeln!(out, "The journal is incomplete: {damage}."),
        None => Ok(()),
    }
}

/// How much faster than the call itself this was.
fn print_speed(out: &mut impl Write, until: CallTime, took_s: f64) -> io::Result<()> {
    let call_s = until.as_micros() as f64 / 1e6;
    writeln!(
        out,
        "{call_s:.1} s of call in {:.1} ms: {:.0} times real time.",
        took_s * 1e3,
        call_s / took_s.max(1e-6)
    )
}

fn print_json(out: &mut impl Write, journal: &Journal, replay: &Replay, took_s: f64) -> io::Result<()> {
    let header = journal.header();
    let head = serde_json::json!({
        "call": header.call,
        "started_unix_us": header.started_unix_us,
        "settings": header.settings,
    });
    writeln!(out, "{head}")?;
    for event in journal.events() {
        writeln!(out, "{}", serde_json::json!({ "event": event }))?;
    }
    let (verdict, difference) = match &replay.verdict {
        Verdict::Same => ("same", None),
        Verdict::SameAsFar => ("same-as-far", None),
        Verdict::Different { recorded, replayed, input } => {
            let sides = serde_json::json!({ "input": input, "recorded": recorded, "replayed": replayed });
            ("different", Some(sides))
        }
        Verdict::Panicked { message, input } => {
            ("panicked", Some(serde_json::json!({ "input": input, "message": message })))
        }
    };
    let tail = serde_json::json!({
        "verdict": verdict,
        "difference": difference,
        "damage": journal.damage().map(ToString::to_string),
        "until_us": replay.until.as_micros(),
        "inputs": replay.inputs,
        "outputs": replay.outputs,
        "took_s": took_s,
    });
    writeln!(out, "{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let wav = dir.path().join("CA17.wav");
        std::fs::write(&wav, b"RIFF....WAVE").unwrap();
        let error = journal::read(&wav).unwrap_err();
        let text = explain(&wav, &error);
        assert!(text.contains("CA17.wav: not a journal"), "{text}");
        assert!(text.ends_with("recordings (.wav) cannot be replayed"), "{text}");

        let missing = dir.path().join("CA18.journal");
        let text = explain(&missing, &journal::read(&missing).unwrap_err());
        assert!(text.contains("No such file"), "{text}");
    }

    #[test]
    fn unreadable_journal_fails_the_command() {
        let args = Args { journal: PathBuf::from("/nowhere/CA17.journal"), json: false, set: Vec::new() };
        assert_eq!(run(args), ExitCode::FAILURE);
    }
}
