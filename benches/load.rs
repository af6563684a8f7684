//! What a call costs, whole process: Offhook under real callers, beside the floor.
//!
//! For each number of calls it runs two servers in turn, each with all of its threads on the first core, and the callers
//! on the last: the floor (see [`offhook_benches::load::floor`]) and `offhook serve --speech canned`, in which every call
//! has the full graph, the journal and the recording. Callers come in by the webhook, at random phases of the 20 ms; they
//! talk, are answered for two seconds, and interrupt every second answer; between their words they send digital silence, or with
//! `--hiss` what a line hisses. Processor time is the scheduler's count of
//! all threads, in a window in which nobody comes or goes.
//!
//! Where the time of Offhook's core went at 500 calls, by `perf` (cpu-clock, 4 kHz, a shared virtual machine):
//!
//! | of the process | what |
//! |---|---|
//! | 50 % | a media thread's own work: reading messages (8), voice detection (6, with hiss on the lines twice that), echo detection (9), fetching calls' state (8), the graph, journal records |
//! | 24 % | its system calls: one read per frame (10), one write per message (6), the wait and the nap (6) |
//! | 16 % | the journal's thread, more than half of it in writing files |
//! | 7 % | the store's thread |
//! | 3 % | the speech thread |
//!
//! Warm, the graph takes 1.2 to 2 µs a frame (`frame_path`); among 500 calls it takes several times that, since each call's
//! state comes from far memory. So what counts is how few lines of it a frame touches, and that they are fetched before its
//! turn comes (`engine/src/prefetch.rs`). Tried without gain: huge pages for the heap (a twentieth), reading sixteen sockets
//! before what they brought is taken (their inboxes cost what the warm code saves), messages of 200 ms, real-time priority.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use offhook_benches::load::{
    Audio, Error, Heard, Lateness, Load, SILENCE, Server, Target, Times, floor, hiss, pinned, run,
};
use offhook_benches::table::markdown;
use offhook_engine::sim::voiced;

#[derive(Debug, clap::Parser)]
#[command(
    name = "load",
    about = "What a call costs: Offhook under real callers, beside a bare WebSocket echo",
    after_help = "Build the server first: cargo build --release --bin offhook"
)]
struct Args {
    /// Numbers of calls, one row each
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,500,1000")]
    calls: Vec<usize>,
    /// How long each window lasts, in seconds
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// The server to measure
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/offhook"))]
    server: PathBuf,
    /// Do not run the floor: no ratios
    #[arg(long)]
    without_floor: bool,
    /// Show what each of the server's threads took
    #[arg(long)]
    threads: bool,
    /// Where callers begin, in their 20 ms and in their turn
    #[arg(long, default_value_t = 20_240_229)]
    seed: u64,
    /// Have callers send the hiss of a line between their words (67 dB below full scale), and not digital silence
    #[arg(long)]
    hiss: bool,
    /// Be the floor, on this port
    #[arg(long, hide = true)]
    floor: Option<u16>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.floor {
        Some(port) => floor::serve(port),
        None => measure(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// What one run of one server came to.
#[derive(Debug, Default)]
struct Row {
    heard: Heard,
    cpu: Duration,
    memory_bytes: u64,
    lateness: Option<Lateness>,
    /// Records that journals and recordings lack.
    records_lost: f64,
    /// Caller audio that no recogniser got.
    unheard_seconds: f64,
    threads: Vec<(String, Duration)>,
}

fn measure(args: &Args) -> Result<(), Error> {
    if !args.server.exists() {
        let server = args.server.display();
        return Err(format!("{server} is not there: cargo build --release --bin offhook").into());
    }
    let _ = rlimit::increase_nofile_limit(65_536);
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let (speech, hiss) = (voiced(Duration::from_secs(1)), hiss());
    let audio = Audio { speech: &speech, pause: if args.hiss { &hiss } else { &SILENCE } };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}")?;
    let bar = ProgressBar::new(args.calls.len() as u64 * if args.without_floor { 1 } else { 2 });
    bar.set_style(style);

    let mut table = vec![HEAD.map(str::to_owned).to_vec()];
    let mut by_thread = String::new();
    for &calls in &args.calls {
        let run_one = |floor: bool| {
            bar.set_message(format!("{calls} calls: {}", if floor { "the floor" } else { "offhook" }));
            let row =
                pinned(cores.last().copied(), || run_row(args, cores.first().copied(), calls, floor, audio));
            bar.inc(1);
            row
        };
        let floor = if args.without_floor { None } else { Some(run_one(true)?) };
        let row = run_one(false)?;
        table.push(cells(args, calls, floor.as_ref(), &row));
        for (name, cpu) in row.threads.iter().filter(|_| args.threads) {
            let share = per_call_second(*cpu, args, calls);
            by_thread += &format!("{calls:>6} calls  {name:<16} {share:.3} ms per call-second\n");
        }
    }
    bar.finish_and_clear();
    let mut out = std::io::stdout().lock();
    write!(out, "{}\n{by_thread}", markdown(&table))?;
    Ok(())
}

fn run_row(
    args: &Args,
    core: Option<core_affinity::CoreId>,
    calls: usize,
    floor: bool,
    audio: Audio<'_>,
) -> Result<Row, Error> {
    let folder = tempfile::tempdir()?;
    let server = if floor {
        let own = std::env::current_exe()?;
        Server::start(&own, core, folder.path(), |port| vec!["--floor".into(), port.to_string()])?
    } else {
        Server::start(&args.server, core, folder.path(), |port| {
            let listen = format!("127.0.0.1:{port}");
            ["serve", "--speech", "canned", "--data-dir", "data", "--listen", &listen]
                .map(str::to_owned)
                .to_vec()
        })?
    };
    let target = if floor { Target::Floor(server.port()) } else { Target::Offhook(server.port()) };
    let load = Load {
        target,
        calls,
        ramp_per_second: 250.0,
        settle: Duration::from_secs(6),
        window: Duration::from_secs(args.seconds),
        seed: args.seed,
    };
    // What a server asks for once, with its first call, is not any call's.
    run(
        Load { calls: 4, settle: Duration::from_secs(3), window: Duration::ZERO, ..load },
        audio,
        || Ok(()),
        || Ok(()),
    )?;
    std::thread::sleep(Duration::from_secs(1));
    let idle = server.memory()?;

    let mut row = Row::default();
    let (mut threads_before, mut metrics_before) = (Vec::new(), String::new());
    let (mut threads, mut memory, mut metrics) = (Vec::new(), 0, String::new());
    row.heard = run(
        load,
        audio,
        || {
            metrics_before = if floor { String::new() } else { server.metrics()? };
            threads_before = server.cpu_by_thread()?;
            Ok(())
        },
        || {
            threads = server.cpu_by_thread()?;
            memory = server.memory()?;
            metrics = if floor { String::new() } else { server.metrics()? };
            Ok(())
        },
    )?;
    row.memory_bytes = memory.saturating_sub(idle);
    row.lateness = Server::lateness(&metrics_before, &metrics);
    let counted = |name| {
        let at = |metrics: &str| Server::metric(metrics, name).unwrap_or(0.0);
        at(&metrics) - at(&metrics_before)
    };
    row.records_lost = counted("offhook_journal_records_lost_total");
    row.unheard_seconds = counted("offhook_recogniser_audio_dropped_seconds_total");
    row.threads = threads
        .into_iter()
        .map(|(name, cpu)| {
            let before =
                threads_before.iter().find(|(other, _)| *other == name).map_or(Duration::ZERO, |t| t.1);
            (name, cpu.saturating_sub(before))
        })
        .collect();
    row.cpu = row.threads.iter().map(|(_, cpu)| *cpu).sum();
    Ok(row)
}

const HEAD: [&str; 11] = [
    "calls",
    "CPU, floor",
    "CPU, Offhook",
    "ratio",
    "memory",
    "frames late p50 / p99 / p99.9 / max",
    "interruption to clear p50 / p99",
    "answer p50 / p99",
    "holes",
    "agent speaks",
    "callers late p99",
];

fn per_call_second(cpu: Duration, args: &Args, calls: usize) -> f64 {
    cpu.as_secs_f64() * 1e3 / (args.seconds as f64 * calls as f64)
}

fn cells(args: &Args, calls: usize, floor: Option<&Row>, row: &Row) -> Vec<String> {
    let none = || "–".to_owned();
    let heard = &row.heard;
    let own = per_call_second(row.cpu, args, calls);
    let floor = floor.map(|floor| per_call_second(floor.cpu, args, calls));
    let two = |times: &Times| match (times.quantile_ms(0.5), times.quantile_ms(0.99)) {
        (Some(p50), Some(p99)) => format!("{p50:.1} / {p99:.1} ms"),
        _ => none(),
    };
    let ignored = if heard.ignored > 0 { format!(", {} ignored", heard.ignored) } else { String::new() };
    let lost = [
        (heard.lost as f64, "calls lost"),
        (row.records_lost, "records lost"),
        (row.unheard_seconds, "s unheard"),
    ];
    let lost: String = lost
        .into_iter()
        .filter(|(lost, _)| *lost > 0.0)
        .map(|(lost, what)| format!(", {lost:.0} {what}"))
        .collect();
    vec![
        calls.to_string(),
        floor.map_or_else(none, |floor| format!("{floor:.2} ms/s")),
        format!("{own:.2} ms/s"),
        floor.map_or_else(none, |floor| format!("{:.2}", own / floor)),
        format!("{:.1} KB", row.memory_bytes as f64 / 1e3 / calls as f64),
        row.lateness.map_or_else(none, |late| {
            format!("{} / {} / {} / {} ms", late.p50_ms, late.p99_ms, late.p999_ms, late.max_ms)
        }),
        two(&heard.barge_in) + &ignored,
        two(&heard.answer),
        format!("{}{lost}", heard.underruns),
        format!("{:.0} %", heard.samples as f64 / 160.0 / heard.sent.max(1) as f64 * 100.0),
        heard.own.quantile_ms(0.99).map_or_else(none, |late| format!("{late:.1} ms")),
    ]
}
