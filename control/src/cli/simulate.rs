//! `offhook simulate`: many calls at once to any bot that speaks Twilio's protocol, and what they measured.

mod capacity;
mod files;
mod table;
mod watch;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::call::{Failed, printable};
use crate::caller::load::slo::{self, Judged, Verdict};
use crate::caller::load::{self, Expectations, LoadPlan, LoadResult, LoadRun, Schedule, Slo, expect};
use crate::caller::time::parse_duration;
use crate::caller::webhook::Webhooks;
use crate::caller::{CallPlan, CallerError, CallerScenario, INCOMING_PATH, STATUS_PATH, token};

/// What holds unless an objective is given: every call went to its end, and the agent recorded what it should have.
const USUAL_SLO: &str = "failed=0";

/// … and, where the server shows its records.
const USUAL_SLO_WITH_RECORDS: &str = "failed=0,unexpected=0";

/// The search's objective unless one is given: no call fails, no hole is heard, and people are answered before they ask whether
/// anyone is there.
const CAPACITY_SLO: &str = "failed=0,underruns=0,setup_p99<3s,response_p95<2s";

/// Lines dial for the first time within this, unless told otherwise, or within a fifth of the test's time if that is shorter.
const RAMP: Duration = Duration::from_secs(10);

/// Files that a call keeps open: its media socket, and for a while a webhook's connection.
const FILES_PER_CALL: usize = 2;

/// … and those of the test itself.
const FILES_BESIDE: usize = 64;

/// What the command is told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = LONG_HELP)]
pub struct Args {
    /// The server.
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// How many calls at once.
    #[arg(long, value_name = "N", default_value_t = 10)]
    calls: usize,
    /// For how long: a call that ends is followed by another until then, and running ones go to their end.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    duration: Duration,
    /// Place exactly N calls, each once, instead of holding N for a time.
    #[arg(long, conflicts_with_all = ["duration", "ramp", "find_capacity"])]
    once: bool,
    /// Who calls and what they say: a shipped scenario, or a file.
    #[arg(long, value_name = "NAME|FILE", default_value = "lead_qualification")]
    scenario: String,
    /// The first calls are spread over this. Default: 10s, or a fifth of the duration if that is shorter.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ramp: Option<Duration>,
    /// What must hold, as 'response_p95<800ms,underruns=0,failed=0' (see --help).
    #[arg(long, value_name = "TERMS")]
    slo: Option<String>,
    /// Search for the most calls that hold the objective: from N on, doubling, then halving the gap.
    #[arg(long)]
    find_capacity: bool,
    /// Search no further than this.
    #[arg(long, value_name = "N", default_value_t = 1_000, requires = "find_capacity")]
    max_calls: usize,
    /// Write the whole result as JSON; - for standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write one test case per term of the objective and per kind of caller, for CI.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Hang up after this at the latest: such a call has failed.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_duration)]
    max_call: Duration,
    /// Who calls; more than once: one after another.
    #[arg(long, value_name = "NUMBER", default_value = "+15005550009")]
    from: Vec<String>,
    /// Who is called.
    #[arg(long, value_name = "NUMBER", default_value = "+15005550006")]
    to: String,
    /// Where the server takes announcements of calls.
    #[arg(long, value_name = "PATH", default_value = INCOMING_PATH)]
    path: String,
    /// Where it takes word of how calls ended, or none.
    #[arg(long, value_name = "PATH|none", default_value = STATUS_PATH)]
    status_path: String,
    /// Where the media stream is, whatever the server's answer names.
    #[arg(long, value_name = "URL")]
    stream_url: Option<String>,
    /// Sign the webhooks and the media socket as Twilio does.
    #[arg(long, value_name = "TOKEN", env = "TWILIO_AUTH_TOKEN", hide_env_values = true)]
    auth_token: Option<String>,
    /// The origin that the server knows itself by, if another than URL: signatures are made for it.
    #[arg(long, value_name = "URL", env = "OFFHOOK_PUBLIC_URL")]
    public_url: Option<String>,
    /// Bearer token for the server's API, which has what the agent recorded.
    #[arg(long, value_name = "TOKEN", env = "OFFHOOK_BEARER_TOKEN", hide_env_values = true)]
    bearer_token: Option<String>,
    /// The data folder of a server on this machine: with the simulator token in it, calls are not counted by rate limits.
    #[arg(long, value_name = "DIR", env = "OFFHOOK_DATA_DIR", default_value = "offhook-data")]
    data_dir: PathBuf,
    /// The process of a server on this machine, to tell what the load costs it. Default: from its /metrics.
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// The same number gives the same phases between calls.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

const EXAMPLES: &str = "\
Examples:
  Fifty prospects at once for a minute:
    offhook simulate --calls 50 --duration 1m
  In CI, exit status and JUnit:
    offhook simulate --calls 20 --slo 'response_p95<800ms,underruns=0,failed=0' --junit load.xml
  How many calls does this machine take?
    offhook simulate --find-capacity --duration 20s
  Another bot than Offhook, with its own webhook:
    offhook simulate http://127.0.0.1:5000 --path /voice --status-path none --scenario silent_caller

The objective's terms and the exit status are told by --help.";

/// `--help`: the examples, and the whole language of objectives.
const LONG_HELP: &str = "\
Examples:
  Fifty prospects at once for a minute:
    offhook simulate --calls 50 --duration 1m
  In CI, exit status and JUnit:
    offhook simulate --calls 20 --slo 'response_p95<800ms,underruns=0,failed=0' --junit load.xml
  How many calls does this machine take?
    offhook simulate --find-capacity --duration 20s
  Twenty calls, each once, with the result as JSON:
    offhook simulate --calls 20 --once --json - | jq .times_ms.response.p95
  Callers of your own (the format: control/callers/README.md):
    offhook simulate --scenario ./my-callers.toml
  Another bot than Offhook, with its own webhook:
    offhook simulate http://127.0.0.1:5000 --path /voice --status-path none --scenario silent_caller
  A server that checks signatures, behind a public name:
    TWILIO_AUTH_TOKEN=… offhook simulate http://10.0.0.5:8080 --public-url https://voice.example.com

Shipped scenarios: lead_qualification, appointment_booking, barge_in_storm, silent_caller.

Objectives (--slo):
  Terms with commas between them, each a measure, one of < <= = >= >, and a value.
  Times, with a unit (ms, s) and a statistic (_p50 _p75 _p90 _p95 _p99 _p99.9 _mean _max):
    setup        from when a call was to be placed to its open media stream
    first_audio  from the open stream to the agent's first sound
    response     from the caller's last voiced sample to the agent's first sound
    barge_in     from the caller's first sound over the agent to `clear`
    lateness     how late the caller's own frames left
  Counts:
    calls  completed  failed  underruns  faults  unsaid (things not said)
    unanswered (answers that never came)
    unexpected (calls of which the agent recorded something else than the scenario expects)
  Shares of calls, as 1%:
    completed  failed  underruns  faults  unexpected
  Without --slo: failed=0, and unexpected=0 where the server shows its records; for --find-capacity
  failed=0,underruns=0,setup_p99<3s,response_p95<2s.

Setup counts from when a call was meant to begin, and an answer that never came as at least the
time that the caller waited for it: a server cannot look fast by being slow. Where the caller itself
was late with its frames (one in a hundred by more than 20 ms) or had no processor left, there is no
verdict; nor is there one on holes in the agent's speech where the caller made some by reading late,
or on records that could not be read.

Exit status: 0 the objective held, 1 it did not, 2 the test could not begin, 3 no verdict.";

/// The test could not begin.
const CANNOT_BEGIN: u8 = 2;

/// There is no verdict.
const NO_VERDICT: u8 = 3;

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let fail = |why: &str| {
        super::complain(&printable(why));
        ExitCode::from(CANNOT_BEGIN)
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().thread_name("caller").enable_all().build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    match runtime.block_on(simulate(args)) {
        Ok(code) => code,
        Err(Failed(why)) => fail(&why),
    }
}

/// One test that was run, with all that is told of it.
struct Told {
    schedule: Schedule,
    result: LoadResult,
    expectations: Option<Expectations>,
    slo: Slo,
    judged: Vec<Judged>,
    verdict: Verdict,
}

/// What tests have in common.
struct Tester {
    args: Args,
    call: CallPlan,
    scenario: Arc<CallerScenario>,
    server: Webhooks,
    /// What is written for people goes here: standard error if the JSON goes to standard output.
    out: Out,
}

/// Where lines for people go.
#[derive(Clone, Copy)]
enum Out {
    Stdout,
    Stderr,
}

impl Out {
    fn line(self, text: &str) {
        // A reader that is gone (`| head`) does not end the test.
        let _ = match self {
            Self::Stdout => writeln!(std::io::stdout().lock(), "{text}"),
            Self::Stderr => writeln!(std::io::stderr().lock(), "{text}"),
        };
    }
}

async fn simulate(args: Args) -> Result<ExitCode, Failed> {
    let slo = args
        .slo
        .as_deref()
        .map(str::parse::<Slo>)
        .transpose()
        .map_err(|error| Failed(format!("--slo: {error}\n\n{}", slo::HELP)));
    // Printed as it is: it is our own text, on several lines.
    let slo = match slo {
        Ok(slo) => slo,
        Err(Failed(text)) => {
            super::complain(&text);
            return Ok(ExitCode::from(CANNOT_BEGIN));
        }
    };
    let tester = Tester::prepare(args).await?;
    if tester.args.find_capacity {
        let slo = slo.unwrap_or_else(|| CAPACITY_SLO.parse().expect("a unit test reads it"));
        return capacity::find(&tester, &slo).await;
    }
    let schedule = tester.schedule(tester.args.calls);
    tester.out.line(&table::heading(&tester.server, &tester.scenario, schedule));
    let told = tester.test(schedule, slo).await?;
    table::print(&told, tester.out);
    tester.write(&told, None)?;
    Ok(exit_code(&told.verdict))
}

fn exit_code(verdict: &Verdict) -> ExitCode {
    match verdict {
        Verdict::Held => ExitCode::SUCCESS,
        Verdict::NotHeld => ExitCode::FAILURE,
        Verdict::None { .. } => ExitCode::from(NO_VERDICT),
    }
}

impl Tester {
    async fn prepare(args: Args) -> Result<Self, Failed> {
        if args.calls == 0 {
            return Err(Failed("--calls 0 is no test: place at least one".into()));
        }
        check_files(if args.find_capacity { args.max_calls } else { args.calls })?;
        let name = args.scenario.clone();
        let loaded = tokio::task::spawn_blocking(move || CallerScenario::load(&name)).await;
        let scenario = loaded
            .map_err(|_| Failed("the callers' voice broke down: this is a bug in offhook".into()))?
            .map_err(|error| Failed(error.to_string()))?;
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let path = |path: &str| if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let call = CallPlan {
            incoming_path: path(&args.path),
            status_path: (args.status_path != "none").then(|| path(&args.status_path)),
            to: args.to.clone(),
            auth_token: given(&args.auth_token),
            public_url: given(&args.public_url),
            simulator_token: token::find(&args.url, &args.data_dir),
            stream_url: given(&args.stream_url),
            max_duration: args.max_call,
            ..CallPlan::new(args.url.clone(), Default::default())
        };
        let server = Webhooks::of(&call)?;
        // Any answer will do: this asks only whether somebody is there.
        if let Err(error @ CallerError::Refused { .. }) = server.get("/health", None).await {
            return Err(error.into());
        }
        let to_stdout = args.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
        let out = if to_stdout { Out::Stderr } else { Out::Stdout };
        Ok(Self { args, call, scenario: Arc::new(scenario), server, out })
    }

    fn schedule(&self, calls: usize) -> Schedule {
        if self.args.once {
            return Schedule::Once { calls, at_once: true };
        }
        let time = self.args.duration;
        let ramp = self.args.ramp.unwrap_or_else(|| RAMP.min(time / 5));
        Schedule::Hold { lines: calls, time, ramp }
    }

    fn begin(&self, schedule: Schedule) -> Result<LoadRun, Failed> {
        let plan = LoadPlan {
            call: self.call.clone(),
            scenario: self.scenario.clone(),
            numbers: self.args.from.clone(),
            schedule,
            seed: self.args.seed,
        };
        Ok(load::start(plan)?)
    }

    /// Runs one test, and compares it with `slo`, or with the usual objective.
    async fn test(&self, schedule: Schedule, slo: Option<Slo>) -> Result<Told, Failed> {
        let run = self.begin(schedule)?;
        let result = watch::finish(run, schedule, std::io::stderr().is_terminal()).await?;
        let expectations = expect::check(&self.server, self.bearer(), &result).await;
        Ok(judge(schedule, result, expectations, slo))
    }

    fn bearer(&self) -> Option<&str> {
        self.args.bearer_token.as_deref().filter(|token| !token.is_empty())
    }

    /// Writes the files that were asked for.
    fn write(&self, told: &Told, capacity: Option<&capacity::Capacity>) -> Result<(), Failed> {
        if let Some(path) = &self.args.json {
            let value = files::json(&self.call.base, told, capacity);
            files::write(path, &format!("{value:#}\n"))?;
        }
        if let Some(path) = &self.args.junit {
            files::write(path, &files::junit(told)?)?;
        }
        Ok(())
    }
}

fn judge(
    schedule: Schedule,
    result: LoadResult,
    expectations: Option<Expectations>,
    slo: Option<Slo>,
) -> Told {
    let slo = slo.unwrap_or_else(|| {
        let usual = if expectations.is_some() { USUAL_SLO_WITH_RECORDS } else { USUAL_SLO };
        usual.parse().expect("a unit test reads it")
    });
    let judged = slo.judge(&result, expectations.as_ref());
    let mut verdict = slo::verdict(&judged, result.bottleneck());
    if result.stopped && verdict == Verdict::Held {
        verdict = Verdict::None { why: "the test was stopped early; the objective held until then".into() };
    }
    if result.calls.is_empty() {
        verdict = Verdict::None { why: "no call was placed: run longer".into() };
    }
    Told { schedule, result, expectations, slo, judged, verdict }
}

/// A thousand calls need more open files than most shells allow: as many as the system permits are asked for.
fn check_files(calls: usize) -> Result<(), Failed> {
    let needed = calls.saturating_mul(FILES_PER_CALL).saturating_add(FILES_BESIDE) as u64;
    match rlimit::increase_nofile_limit(needed) {
        Ok(most) if most < needed => Err(Failed(format!(
            "{calls} calls need up to {needed} open files, and this system allows {most}: raise the limit (`ulimit -Hn`), or \
             place fewer calls"
        ))),
        // Where the system does not tell, the calls will.
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_usual_objectives_are_objectives() {
        for text in [USUAL_SLO, USUAL_SLO_WITH_RECORDS, CAPACITY_SLO] {
            assert!(text.parse::<Slo>().is_ok(), "{text}");
            assert!(LONG_HELP.contains(text) || text != CAPACITY_SLO, "{text}");
        }
    }

    #[test]
    fn the_help_tells_all_that_can_be_written() {
        for line in slo::HELP.lines().skip(1) {
            assert!(LONG_HELP.contains(line), "{line}");
        }
        for name in CallerScenario::shipped_names() {
            assert!(LONG_HELP.contains(name), "{name}");
        }
    }

    #[test]
    fn a_search_is_not_done_with_calls_that_are_placed_once() {
        assert!(Cli::try_parse_from(["simulate", "--once", "--find-capacity"]).is_err());
        assert!(Cli::try_parse_from(["simulate", "--max-calls", "5"]).is_err());
        assert!(Cli::try_parse_from(["simulate", "--calls", "5", "--duration", "5s"]).is_ok());
    }
}
