//! What makes no call late: real callers while something goes wrong beside them.
//!
//! For each trouble it starts `offhook serve --speech canned`, with all of its threads on the first core, so that whatever
//! the trouble costs is taken from the calls' own core; the callers and the trouble come from the last. Each row is compared
//! with the first, in which nothing goes wrong.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use offhook_benches::load::{
    Audio, Error, FrozenDisk, Heard, Lateness, Load, SILENCE, Server, Target, Times, Trouble, pinned, run,
};
use offhook_benches::table::markdown;
use offhook_engine::sim::voiced;

#[derive(Debug, clap::Parser)]
#[command(
    name = "isolation",
    about = "Whether calls stay on time while other things go wrong",
    after_help = "Build the server first: cargo build --release --bin offhook\n\
                  Exits 1 if a trouble made frames later than --margin-ms allows, or was none.\n\
                  A disk that hangs takes root, mkfs.ext4 and fsfreeze; without them that row is left out."
)]
struct Args {
    /// How many calls are measured
    #[arg(long, default_value_t = 50)]
    calls: usize,
    /// How long each trouble lasts, in seconds
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// How much later the 99.9th percentile of frames may be than without trouble, in ms
    #[arg(long, default_value_t = 20.0)]
    margin_ms: f64,
    /// The server to measure
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/offhook"))]
    server: PathBuf,
}

fn main() -> ExitCode {
    match measure(&Args::parse()) {
        Ok(late) if late.is_empty() => ExitCode::SUCCESS,
        Ok(late) => {
            let _ = writeln!(std::io::stderr(), "{}", late.join("\n"));
            ExitCode::FAILURE
        }
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// What one trouble came to.
struct Row {
    came_to: String,
    felt: String,
    heard: Heard,
    lateness: Lateness,
}

/// Prints the table; returns what is wrong with it.
fn measure(args: &Args) -> Result<Vec<String>, Error> {
    if !args.server.exists() {
        let server = args.server.display();
        return Err(format!("{server} is not there: cargo build --release --bin offhook").into());
    }
    let _ = rlimit::increase_nofile_limit(65_536);
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let bar = ProgressBar::new(Trouble::ALL.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}")?);
    let mut table = vec![HEAD.map(str::to_owned).to_vec()];
    let (mut quiet, mut wrong) = (None, Vec::new());
    for trouble in Trouble::ALL {
        bar.set_message(trouble.name());
        let row = pinned(cores.last().copied(), || run_row(args, cores.first().copied(), trouble))?;
        bar.inc(1);
        let Some((row, was_trouble)) = row else {
            let mut cells = vec![trouble.name().to_owned(), "not made: takes root and mkfs.ext4".to_owned()];
            cells.resize(HEAD.len(), String::new());
            table.push(cells);
            continue;
        };
        let quiet_ms = *quiet.get_or_insert(row.lateness.p999_ms);
        if row.lateness.p999_ms > quiet_ms + args.margin_ms || row.heard.lost > 0 {
            wrong.push(format!("frames were late, or calls lost, because of: {}", trouble.name()));
        }
        if !was_trouble {
            wrong.push(format!("the server felt nothing of: {}; try more --seconds", trouble.name()));
        }
        table.push(cells(trouble, &row));
    }
    bar.finish_and_clear();
    write!(std::io::stdout(), "{}", markdown(&table))?;
    Ok(wrong)
}

/// The row, and whether the server felt the trouble; `None` if this machine cannot make it.
fn run_row(
    args: &Args,
    core: Option<core_affinity::CoreId>,
    trouble: Trouble,
) -> Result<Option<(Row, bool)>, Error> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let disk = if trouble == Trouble::HungDisk {
        let Some(disk) = FrozenDisk::mount(&data)? else { return Ok(None) };
        Some(disk)
    } else {
        None
    };
    // A pipe that nobody reads, where the log is to have nowhere to go.
    let log = if trouble == Trouble::LogStorm {
        Stdio::piped()
    } else {
        std::fs::File::create(folder.path().join("server.log"))?.into()
    };
    let server = Server::start_logging_to(log, &args.server, core, folder.path(), |port| {
        let listen = format!("127.0.0.1:{port}");
        let level = trouble.log_level();
        ["serve", "--speech", "canned", "--data-dir", "data", "--log", level, "--listen", &listen]
            .map(str::to_owned)
            .to_vec()
    })?;
    let load = Load {
        target: Target::Offhook(server.port()),
        calls: args.calls,
        ramp_per_second: 250.0,
        settle: Duration::from_secs(5),
        window: Duration::from_secs(args.seconds),
        seed: 20_261_125,
    };
    let speech = voiced(Duration::from_secs(1));
    let audio = Audio { speech: &speech, pause: &SILENCE };
    let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut before, mut after) = (String::new(), String::new());
    let (heard, came_to) = std::thread::scope(|scope| {
        let made = scope.spawn(|| {
            while !begun.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(1));
            }
            trouble.make(&over, server.port(), &data, disk.as_ref(), audio)
        });
        let heard = run(
            load,
            audio,
            || {
                before = server.metrics()?;
                begun.store(true, Ordering::Release);
                Ok(())
            },
            || {
                after = server.metrics()?;
                Ok(())
            },
        );
        // However the load ended, the trouble ends with it.
        begun.store(true, Ordering::Release);
        over.store(true, Ordering::Relaxed);
        let came_to = made.join().map_err(|_| "the trouble panicked")??;
        Ok::<_, Error>((heard?, came_to))
    })?;
    let lateness = Server::lateness(&before, &after).ok_or("no frame was counted in /metrics")?;
    let (felt, was_trouble) = trouble.felt(&before, &after);
    Ok(Some((Row { came_to, felt, heard, lateness }, was_trouble)))
}

const HEAD: [&str; 8] = [
    "trouble",
    "that is",
    "felt by the server",
    "frames late p50 / p99 / p99.9 / max",
    "interruption to clear p50 / p99",
    "answer p50 / p99",
    "holes",
    "callers late p99",
];

fn cells(trouble: Trouble, row: &Row) -> Vec<String> {
    let Row { came_to, felt, heard, lateness: late } = row;
    let none = || "–".to_owned();
    let two = |times: &Times| match (times.quantile_ms(0.5), times.quantile_ms(0.99)) {
        (Some(p50), Some(p99)) => format!("{p50:.1} / {p99:.1} ms"),
        _ => none(),
    };
    let lost = if heard.lost > 0 { format!(", {} calls lost", heard.lost) } else { String::new() };
    vec![
        trouble.name().to_owned(),
        came_to.clone(),
        felt.clone(),
        format!("{} / {} / {} / {} ms", late.p50_ms, late.p99_ms, late.p999_ms, late.max_ms),
        two(&heard.barge_in),
        two(&heard.answer),
        format!("{}{lost}", heard.underruns),
        heard.own.quantile_ms(0.99).map_or_else(none, |late| format!("{late:.1} ms")),
    ]
}
