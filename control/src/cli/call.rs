//! `offhook call`: calls a server as a carrier would, and prints the conversation.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, FromArgMatches};
use offhook_codecs::wav;
use serde_json::json;
use tokio::sync::mpsc;

use crate::caller::record::{self, ServerRecord, ServerTurn};
use crate::caller::time::parse_duration;
use crate::caller::webhook::Webhooks;
use crate::caller::{
    self, CallPlan, CallReport, CallerError, EndedBy, Happening, HeardTurn, Keep, LineTime, Recording, Step,
    What, token,
};

/// How long the server is given to write down a turn that was just heard.
const WORDS_WAIT: Duration = Duration::from_millis(150);

/// Call time on the server's side and on ours differ by no more: the way of a message, and a playout lead.
const HEARING_SLACK_MS: u64 = 300;

/// What the command is told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The server.
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    #[command(flatten)]
    items: Items,
    /// Save what both sides heard as a stereo WAV file: caller left, agent right.
    #[arg(long, value_name = "OUT.wav")]
    record: Option<PathBuf>,
    /// Who calls.
    #[arg(long, value_name = "NUMBER", default_value = "+15005550009")]
    from: String,
    /// Who is called.
    #[arg(long, value_name = "NUMBER", default_value = "+15005550006")]
    to: String,
    /// Sign the webhooks and the media socket as Twilio does.
    #[arg(long, value_name = "TOKEN", env = "TWILIO_AUTH_TOKEN", hide_env_values = true)]
    auth_token: Option<String>,
    /// The origin that the server knows itself by, if another than URL: signatures are made for it.
    #[arg(long, value_name = "URL", env = "OFFHOOK_PUBLIC_URL")]
    public_url: Option<String>,
    /// Bearer token for the server's API, which has the agent's words.
    #[arg(long, value_name = "TOKEN", env = "OFFHOOK_BEARER_TOKEN", hide_env_values = true)]
    bearer_token: Option<String>,
    /// The data folder of a server on this machine: with the simulator token in it, calls are not counted by rate limits.
    #[arg(long, value_name = "DIR", env = "OFFHOOK_DATA_DIR", default_value = "offhook-data")]
    data_dir: PathBuf,
    /// Hang up after this at the latest.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_duration)]
    max_duration: Duration,
    /// Print one JSON object at the end instead of the conversation.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
The call is announced to the server's webhook, its media stream is opened, and the caller says each item when the agent
has finished speaking.

Examples:
  Say three things, each when the agent has finished:
    offhook call --say 'two hundred' --say 'fifty thousand' --say september
  Press keys, then play a recording:
    offhook call --keys '200#' --wav answer.wav
  Talk over the agent 0.7 s after it begins, and listen to what both sides heard:
    offhook call --say 'two hundred' --barge-in-after 700ms --say 'fifty thousand' --record call.wav
  A server that checks signatures:
    TWILIO_AUTH_TOKEN=… offhook call http://10.0.0.5:8080 --say hello

Exit status: 0 if the call went to its end, 1 if not.";

/// What the caller says, in the order of the command line.
#[derive(Debug, Default)]
struct Items {
    steps: Vec<Step>,
}

impl clap::Args for Items {
    fn augment_args(command: Command) -> Command {
        let item = |name: &'static str, value: &'static str, help: &'static str| {
            Arg::new(name).long(name).value_name(value).help(help).action(clap::ArgAction::Append)
        };
        command
            .next_help_heading("What the caller says, in this order")
            .arg(item("say", "TEXT", "Say a text, in a synthetic voice"))
            .arg(item("wav", "FILE", "Play a WAV file: any width and number of channels, 8 to 48 kHz"))
            .arg(item("keys", "KEYS", "Press keys: 0-9, *, #, A-D"))
            .arg(item("pause", "TIME", "Wait this long before the next item, or before hanging up").value_parser(parse_duration))
            .arg(
                item("barge-in-after", "TIME", "Say the next item (after the last one: that one) this long after the agent begins to speak")
                    .value_parser(parse_duration),
            )
            .next_help_heading(None::<&str>)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Items {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut placed: Vec<(usize, Step)> = Vec::new();
        let text = |name: &str| {
            let values = matches.get_many::<String>(name).into_iter().flatten().cloned();
            matches.indices_of(name).into_iter().flatten().zip(values).collect::<Vec<_>>()
        };
        let time = |name: &str| {
            let values = matches.get_many::<Duration>(name).into_iter().flatten().copied();
            matches.indices_of(name).into_iter().flatten().zip(values).collect::<Vec<_>>()
        };
        placed.extend(text("say").into_iter().map(|(at, text)| (at, Step::Say(text))));
        placed.extend(text("wav").into_iter().map(|(at, path)| (at, Step::Wav(path.into()))));
        placed.extend(text("keys").into_iter().map(|(at, keys)| (at, Step::Keys(keys))));
        placed.extend(time("pause").into_iter().map(|(at, time)| (at, Step::Pause(time))));
        placed.extend(time("barge-in-after").into_iter().map(|(at, time)| (at, Step::BargeIn(time))));
        placed.sort_by_key(|(at, _)| *at);
        let mut steps: Vec<Step> = placed.into_iter().map(|(_, step)| step).collect();
        if let Some(Step::BargeIn(_)) = steps.last() {
            let is_item = |step: &Step| matches!(step, Step::Say(_) | Step::Wav(_) | Step::Keys(_));
            if let (Some(last), Some(barge_in)) = (steps.iter().rposition(is_item), steps.pop()) {
                steps.insert(last, barge_in);
            }
        }
        Ok(Self { steps })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let mut out = Printer::for_stdout(args.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return out.fail(&format!("cannot start: {error}")),
    };
    match runtime.block_on(call(&args, &mut out)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failed(why)) => out.fail(&why),
    }
}

/// Why a command failed, for its user.
pub(super) struct Failed(pub(super) String);

impl From<CallerError> for Failed {
    fn from(error: CallerError) -> Self {
        Self(error.to_string())
    }
}

async fn call(args: &Args, out: &mut Printer) -> Result<bool, Failed> {
    let steps = args.items.steps.clone();
    let prepared = tokio::task::spawn_blocking(move || caller::prepare(&steps)).await;
    let script = prepared.map_err(|_| Failed("the caller's voice broke down".into()))??;
    if script.items.is_empty() {
        out.note("Nothing to say: only listening. Give --say, --wav or --keys; see --help.");
    }
    let plan = CallPlan {
        from: args.from.clone(),
        to: args.to.clone(),
        auth_token: args.auth_token.clone().filter(|token| !token.is_empty()),
        public_url: args.public_url.clone().filter(|url| !url.is_empty()),
        simulator_token: token::find(&args.url, &args.data_dir),
        max_duration: args.max_duration,
        keep: Keep { recording: args.record.is_some(), log: false },
        ..CallPlan::new(args.url.clone(), script)
    };
    let told = converse(plan, args.bearer_token.as_deref(), out).await?;
    if let (Some(path), Some(recording)) = (&args.record, &told.report.recording) {
        save(path, recording)?;
        out.note(&format!("Recorded to {} (left: caller, right: agent as heard)", path.display()));
    }
    if args.json {
        out.json(&told);
    }
    Ok(told.report.is_complete() && told.report.unsaid == 0)
}

/// A call that was placed, and what the server wrote down of it.
pub(super) struct Told {
    /// The caller's side.
    pub(super) report: CallReport,
    /// The server's side, if it shows it.
    pub(super) record: Option<ServerRecord>,
}

/// Places a call, and prints the conversation as it goes on.
pub(super) async fn converse(
    mut plan: CallPlan,
    bearer: Option<&str>,
    out: &mut Printer,
) -> Result<Told, Failed> {
    let call_sid = plan.call_sid.get_or_insert_with(caller::new_call_sid).clone();
    let server = Webhooks::new(&plan.base, None, None)?;
    out.note(&format!("Calling {} from {}", server.base(), plan.from));
    // Unbounded, and small: a few happenings per turn, of a call that ends by itself.
    let (tell, mut told) = mpsc::unbounded_channel::<Happening>();
    let placed = tokio::spawn(caller::place(plan, move |happening| {
        // A printer that is gone has nobody to tell.
        let _ = tell.send(happening.clone());
    }));
    let mut words = Words { server: &server, call_sid: &call_sid, bearer, printed: 0, heard: Vec::new() };
    while let Some(happening) = told.recv().await {
        if let What::AgentSpoke(turn) = &happening.what {
            words.print(Some(*turn), out).await;
        } else {
            out.happening(&happening);
        }
    }
    let report =
        placed.await.map_err(|_| Failed("the call broke down: this is a bug in offhook".into()))??;
    let record = words.print(None, out).await;
    out.summary(&report);
    Ok(Told { report, record })
}

/// The conversation's words, from the server's record of the call.
struct Words<'a> {
    server: &'a Webhooks,
    call_sid: &'a str,
    bearer: Option<&'a str>,
    printed: usize,
    /// Turns of the agent's that were heard, and whose words are not there yet.
    heard: Vec<HeardTurn>,
}

impl Words<'_> {
    /// Prints what the server wrote down since the last time; `heard` is the agent's turn that was just over. At the call's
    /// end there is none, and everything that is left is printed.
    async fn print(&mut self, heard: Option<HeardTurn>, out: &mut Printer) -> Option<ServerRecord> {
        let at_end = heard.is_none();
        self.heard.extend(heard);
        let mut record = None;
        for attempt in 0..3 {
            if attempt > 0 {
                tokio::time::sleep(WORDS_WAIT).await;
            }
            record = record::fetch(self.server, self.call_sid, self.bearer).await;
            let Some(record) = &record else { break };
            let done = if at_end {
                record.end_reason.is_some()
            } else {
                self.new_turns(record).iter().any(ServerTurn::is_agent)
            };
            if done {
                break;
            }
        }
        if let Some(record) = &record {
            let new = self.new_turns(record);
            self.printed += new.len();
            for turn in new {
                if turn.is_agent() {
                    out.agent(self.take_heard(turn), Some(turn));
                } else {
                    out.understood(&turn.text);
                }
            }
        }
        if record.is_none() || at_end {
            for turn in self.heard.drain(..) {
                out.agent(Some(turn), None);
            }
        }
        record
    }

    fn new_turns<'r>(&self, record: &'r ServerRecord) -> &'r [ServerTurn] {
        record.turns.get(self.printed..).unwrap_or_default()
    }

    /// The heard turn that these words belong to. One turn of the server's may be heard in several stretches: all that
    /// began before its end is taken, and the first of it counts.
    fn take_heard(&mut self, words: &ServerTurn) -> Option<HeardTurn> {
        let ended = words.ended_ms.map_or(u64::MAX, |ms| ms + HEARING_SLACK_MS);
        let stretches =
            self.heard.iter().take_while(|turn| turn.from.as_duration().as_millis() as u64 <= ended).count();
        let taken = if words.ended_ms.is_some() { stretches } else { stretches.min(1) };
        self.heard.drain(..taken).next()
    }
}

/// Writes both sides to a WAV file.
pub(super) fn save(path: &Path, recording: &Recording) -> Result<(), Failed> {
    let failed = |why: &dyn std::fmt::Display| Failed(format!("cannot write {}: {why}", path.display()));
    let file = File::create(path).map_err(|e| failed(&e))?;
    let mut writer = wav::Writer::stereo(BufWriter::new(file), 8_000).map_err(|e| failed(&e))?;
    writer.write(&recording.interleaved()).map_err(|e| failed(&e))?;
    writer.finish().map_err(|e| failed(&e))?.flush().map_err(|e| failed(&e))
}

/// Writes to the terminal, plainly where it is none.
pub(super) struct Printer {
    colours: bool,
    json: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Style {
    Plain,
    Bold,
    Dim,
    Caller,
    Agent,
    Bad,
}

impl Printer {
    /// For standard output; with `json` the conversation is not printed.
    pub(super) fn for_stdout(json: bool) -> Self {
        let colours =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self { colours, json }
    }

    /// `text` in a style, if the terminal has any.
    pub(super) fn styled(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Plain => return text.to_owned(),
            _ if !self.colours => return text.to_owned(),
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Caller => "36",
            Style::Agent => "32",
            Style::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// One line, as it is.
    pub(super) fn line(&self, text: &str) {
        if !self.json {
            // A reader that is gone (`| head`) does not end the call.
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }

    /// One line about the call.
    pub(super) fn note(&self, text: &str) {
        self.line(&self.styled(Style::Dim, &printable(text)));
    }

    /// One line on standard error, and the exit status that goes with it.
    pub(super) fn fail(&self, why: &str) -> ExitCode {
        let _ = writeln!(std::io::stderr().lock(), "offhook: {}", printable(why));
        ExitCode::FAILURE
    }

    fn spoken(&self, at: Option<LineTime>, who: &str, style: Style, text: &str, note: &str) {
        let at = at.map_or_else(String::new, |at| clock(at.as_duration()));
        let note =
            if note.is_empty() { String::new() } else { format!("  {}", self.styled(Style::Dim, note)) };
        let who = self.styled(style, &format!("{who:<6}"));
        self.line(&format!(
            "{} {who} {}{note}",
            self.styled(Style::Dim, &format!("{at:>7}")),
            printable(text)
        ));
    }

    fn happening(&self, happening: &Happening) {
        match &happening.what {
            What::Answered { call_sid, .. } => self.note(&format!("Answered: call {call_sid}")),
            What::CallerSpeaks { label, keys, barge_in, .. } => {
                let text = if *keys { format!("[keys {label}]") } else { label.to_string() };
                let note = if *barge_in { "talking over the agent" } else { "" };
                self.spoken(Some(happening.at), "caller", Style::Caller, &text, note);
            }
            What::Ended(by) => {
                self.spoken(
                    Some(happening.at),
                    "",
                    Style::Plain,
                    &self.styled(Style::Bold, &by.to_string()),
                    "",
                );
            }
            What::AgentSpeaks(_) | What::AgentSpoke(_) | What::Cleared { .. } => {}
        }
    }

    fn agent(&self, heard: Option<HeardTurn>, turn: Option<&ServerTurn>) {
        let mut notes = Vec::new();
        if let Some(response) = heard.and_then(|turn| turn.response()) {
            notes.push(format!("answered after {}", seconds(response)));
        }
        if let Some(unheard) = turn.map(|turn| turn.unheard.trim()).filter(|unheard| !unheard.is_empty()) {
            notes.push(format!("cut off before: {}", printable(unheard)));
        } else if heard.is_some_and(|turn| turn.cut) {
            notes.push("cut off".into());
        }
        let text = match (turn, heard) {
            (Some(turn), _) => turn.text.clone(),
            (None, Some(heard)) => format!("[speaks for {}]", seconds(heard.duration())),
            (None, None) => return,
        };
        let told = turn
            .and_then(|turn| turn.started_ms)
            .map(|ms| LineTime::from_duration(Duration::from_millis(ms)));
        let at = heard.map(|turn| turn.from).or(told);
        self.spoken(at, "agent", Style::Agent, &text, &notes.join("; "));
    }

    fn understood(&self, text: &str) {
        let text = if text.is_empty() { "[nothing]" } else { text };
        self.line(&self.styled(Style::Dim, &format!("{:>7}        understood: {}", "", printable(text))));
    }

    fn summary(&self, report: &CallReport) {
        let mut times: Vec<Duration> = report.response_times().collect();
        times.sort_unstable();
        let mut parts = vec![format!("{} long", seconds(report.duration))];
        if let (Some(median), Some(worst)) = (times.get(times.len() / 2), times.last()) {
            parts.push(format!(
                "response time {} median, {} worst of {}",
                seconds(*median),
                seconds(*worst),
                times.len()
            ));
        }
        for talked_over in report.barge_ins.iter().filter_map(caller::BargeIn::talked_over) {
            parts.push(format!("interrupted agent silent after {}", seconds(talked_over)));
        }
        parts.push(match report.playout.underruns {
            0 => "no holes in the agent's speech".into(),
            n => format!("{n} holes in the agent's speech"),
        });
        self.note(&parts.join(" · "));
        let late = report.lateness.quantile(0.99);
        if late > Duration::from_millis(10) {
            self.note(&format!(
                "This machine was busy: 1 % of the caller's frames left {} late or more",
                seconds(late)
            ));
        }
        if report.unsaid > 0 {
            let text = format!("{} item(s) were not said before the call ended", report.unsaid);
            self.line(&self.styled(Style::Bad, &text));
        }
        for fault in &report.faults {
            self.line(&self.styled(Style::Bad, &format!("The server sent {}", printable(fault))));
        }
        if let Some(why) = &report.status_failed {
            self.note(&format!("The server could not be told that the call is over: {why}"));
        }
        if let EndedBy::Lost(_) = report.ended_by {
            self.line(&self.styled(Style::Bad, "The call did not end as calls should: see the server's log"));
        }
    }

    fn json(&self, told: &Told) {
        let report = &told.report;
        let ms = |d: Duration| (d.as_secs_f64() * 1e6).round() / 1e3;
        let at = |t: LineTime| ms(t.as_duration());
        let turns: Vec<_> = report
            .turns
            .iter()
            .map(|t| json!({"from_ms": at(t.from), "to_ms": at(t.to), "cut": t.cut, "response_ms": t.response().map(ms)}))
            .collect();
        let said: Vec<_> = report
            .said
            .iter()
            .map(
                |s| json!({"item": s.item, "from_ms": at(s.from), "to_ms": at(s.to), "barge_in": s.barge_in}),
            )
            .collect();
        let barge_ins: Vec<_> = report
            .barge_ins
            .iter()
            .map(|b| json!({"from_ms": at(b.from), "cleared": b.cleared, "talked_over_ms": b.talked_over().map(ms)}))
            .collect();
        let transcript: Option<Vec<_>> = told.record.as_ref().map(|record| {
            record
                .turns
                .iter()
                .map(|t| json!({"speaker": t.speaker, "text": t.text, "unheard": t.unheard}))
                .collect()
        });
        let value = json!({
            "call_sid": report.call_sid,
            "stream_sid": report.stream_sid,
            "ended_by": report.ended_by.to_string(),
            "complete": report.is_complete(),
            "duration_ms": ms(report.duration),
            "webhook_ms": ms(report.webhook_took),
            "socket_ms": ms(report.socket_took),
            "agent_turns": turns,
            "said": said,
            "unsaid": report.unsaid,
            "barge_ins": barge_ins,
            "underruns": report.playout.underruns,
            "frames_sent": report.frames_sent,
            "media_received": report.media_received,
            "own_lateness_ms": {
                "p50": ms(report.lateness.quantile(0.5)),
                "p99": ms(report.lateness.quantile(0.99)),
                "max": ms(report.lateness.max()),
            },
            "faults": report.faults,
            "transcript": transcript,
        });
        let _ = writeln!(std::io::stdout().lock(), "{value:#}");
    }
}

/// Call time: `1:02.3`.
fn clock(at: Duration) -> String {
    let tenths = at.as_millis() / 100;
    format!("{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}

/// `0.84 s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// Text from elsewhere, without what could steer a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
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

    fn steps(line: &[&str]) -> Vec<Step> {
        Cli::try_parse_from([&["call"], line].concat()).unwrap().args.items.steps
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn items_keep_the_order_of_the_command_line_across_kinds() {
        assert_eq!(
            steps(&[
                "--keys",
                "1",
                "--say",
                "a",
                "--wav",
                "b.wav",
                "--pause",
                "1s",
                "--say",
                "c",
                "--keys=2#"
            ]),
            [
                Step::Keys("1".into()),
                Step::Say("a".into()),
                Step::Wav("b.wav".into()),
                Step::Pause(ms(1_000)),
                Step::Say("c".into()),
                Step::Keys("2#".into()),
            ]
        );
    }

    #[test]
    fn a_barge_in_belongs_to_what_follows_and_a_trailing_one_to_the_last_item() {
        let barge_in = Step::BargeIn(ms(700));
        let (a, b) = (Step::Say("a".into()), Step::Say("b".into()));
        let line = ["--say", "a", "--barge-in-after", "700ms", "--say", "b"];
        assert_eq!(steps(&line), [a.clone(), barge_in.clone(), b.clone()]);
        let line = ["--say", "a", "--say", "b", "--barge-in-after", "700ms"];
        assert_eq!(steps(&line), [a, barge_in, b]);
        assert_eq!(steps(&["--barge-in-after", "1s"]), []);
    }

    #[test]
    fn call_time_reads_as_minutes_seconds_and_tenths() {
        assert_eq!(clock(ms(62_349)), "1:02.3");
        assert_eq!(clock(ms(0)), "0:00.0");
    }

    #[test]
    fn a_terminal_is_not_steered_by_what_a_server_says() {
        assert_eq!(printable("a\x1b[2Jb\r\nc"), "a [2Jb  c");
    }
}
