//! `offhook demo`: serves, places one call by itself, shows what happened, and keeps serving.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::call::{self, Failed, Printer, Style, Told};
use crate::caller::webhook::Webhooks;
use crate::caller::{self, CallPlan, Keep, Step, record};
use crate::server::{Server, logs};
use crate::settings::Settings;

/// Human speech, in a source tree: the kind of answer that the shipped scenario asks for.
const CLIPS: &str = "fixtures/audio";

/// What the caller says, as a clip and in words; the last question is answered by key.
const ANSWERS: [(&str, &str); 3] = [
    ("two_hundred.wav", "two hundred"),
    ("fifty_thousand.wav", "fifty thousand"),
    ("september.wav", "september"),
];

/// The key that says yes to a meeting.
const YES: &str = "1";

/// What the agent should have written down by then.
const UNDERSTOOD: [(&str, &str); 5] = [
    ("company_size", "200"),
    ("budget", "10000_to_50000"),
    ("timeline", "september"),
    ("meeting", "yes"),
    ("outcome", "qualified"),
];

/// Which of the answers interrupts the agent, from 0, and how long after the agent begins to speak.
const BARGE_IN: (usize, Duration) = (1, Duration::from_millis(900));

/// The port of a server, and how many after it are tried.
const PORTS: std::ops::Range<u16> = 8080..8100;

/// What the command is told.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Starts a server on this machine only, and calls it as a carrier would, with a caller who answers four questions \
        and interrupts once. Prints the conversation and its timeline, and says what to try next."
)]
pub struct Args {
    /// Where the database, recordings, journals and logs go.
    #[arg(long, value_name = "DIR", default_value = "offhook-data")]
    data_dir: PathBuf,
    /// End after the call. Exit status 0 if the call went to its end and the agent understood what the caller said.
    #[arg(long)]
    once: bool,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let mut out = Printer::for_stdout(false);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return out.fail(&format!("cannot start: {error}")),
    };
    match runtime.block_on(demo(&args, &mut out)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failed(why)) => out.fail(&why),
    }
}

async fn demo(args: &Args, out: &mut Printer) -> Result<bool, Failed> {
    let listen = free_address();
    let settings = Settings { listen, ..Settings::local(args.data_dir.clone()) };
    // The conversation has the terminal for itself.
    let _logs = logs::start(settings.log, &settings.log_file(), false).map_err(Failed)?;
    let server = Server::start(settings).await.map_err(|e| Failed(e.to_string()))?;
    let address = server.address();
    out.line(&out.styled(Style::Bold, &format!("Offhook serves at http://{address}")));
    if address.port() != PORTS.start {
        out.note(&format!("Port {} is taken by something else.", PORTS.start));
    }
    out.note(&format!("Data is kept in {}", args.data_dir.display()));
    if args.once {
        let understood = show(address, args, out).await;
        server.shutdown().await;
        return understood;
    }
    // The server runs on its own task, so that it serves the call that is placed here and goes on after it.
    let serving = tokio::spawn(server.run());
    if let Err(Failed(why)) = show(address, args, out).await {
        out.line(&out.styled(Style::Bad, &format!("The call failed: {}", call::printable(&why))));
    }
    next_steps(address, out);
    match serving.await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(error)) => Err(Failed(error.to_string())),
        Err(_) => Err(Failed("the server broke down: this is a bug in offhook".into())),
    }
}

/// The customary address, or the next one that is free.
fn free_address() -> SocketAddr {
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    PORTS.map(loopback).find(|address| TcpListener::bind(address).is_ok()).unwrap_or(loopback(0))
}

/// Places the call, and shows what happened. True if the caller was understood.
async fn show(address: SocketAddr, args: &Args, out: &mut Printer) -> Result<bool, Failed> {
    let clips = Path::new(CLIPS);
    let human = ANSWERS.iter().all(|(clip, _)| clips.join(clip).is_file());
    if human {
        out.note(&format!("The caller speaks with human recordings from {CLIPS}"));
    } else {
        out.note(&format!(
            "The caller speaks with a synthetic voice, as there are no recordings in ./{CLIPS}"
        ));
    }
    let steps = steps(human.then_some(clips));
    let prepared = tokio::task::spawn_blocking(move || caller::prepare(&steps)).await;
    let script = prepared.map_err(|_| Failed("the caller's voice broke down".into()))??;
    let plan = CallPlan {
        keep: Keep { recording: true, log: false },
        ..CallPlan::new(format!("http://{address}"), script)
    };
    out.line("");
    let told = call::converse(plan, None, out).await?;
    out.line("");
    timeline(address, &told, out).await?;
    files(args, &told, out)?;
    Ok(told.report.is_complete() && told.report.unsaid == 0 && understood(&told))
}

fn steps(clips: Option<&Path>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (index, (clip, words)) in ANSWERS.iter().enumerate() {
        if index == BARGE_IN.0 {
            steps.push(Step::BargeIn(BARGE_IN.1));
        }
        steps.push(match clips {
            Some(folder) => Step::Wav(folder.join(clip)),
            None => Step::Say((*words).into()),
        });
    }
    steps.push(Step::Keys(YES.into()));
    steps
}

/// True if the agent wrote down what the caller answered.
fn understood(told: &Told) -> bool {
    let Some(record) = &told.record else { return false };
    UNDERSTOOD.iter().all(|(name, value)| record.recorded.get(*name).is_some_and(|got| got == value))
}

/// Prints what the server decided and when.
async fn timeline(address: SocketAddr, told: &Told, out: &Printer) -> Result<(), Failed> {
    let server = Webhooks::new(&format!("http://{address}"), None, None)?;
    if let Some(entries) = record::fetch_timeline(&server, &told.report.call_sid, None).await {
        out.line(&out.styled(Style::Bold, "Timeline"));
        for entry in &entries {
            out.line(&call::printable(entry));
        }
        out.line("");
    }
    let answers = told.record.as_ref().map(|record| &record.recorded);
    if let Some(answers) = answers.filter(|answers| !answers.is_empty()) {
        out.line(&out.styled(Style::Bold, "The agent wrote down"));
        for (name, value) in answers {
            out.line(&call::printable(&format!("  {name}: {value}")));
        }
        out.line("");
    }
    Ok(())
}

/// Saves the caller's side, and says where both sides lie.
fn files(args: &Args, told: &Told, out: &Printer) -> Result<(), Failed> {
    out.line(&out.styled(Style::Bold, "Recordings (left: caller, right: agent)"));
    if let Some(path) = told.record.as_ref().and_then(|record| record.recording.as_deref()) {
        let path = if Path::new(path).exists() { PathBuf::from(path) } else { args.data_dir.join(path) };
        out.line(&format!("  as the server has it:  {}", path.display()));
    }
    if let Some(recording) = &told.report.recording {
        let path = args.data_dir.join(format!("{}-caller.wav", told.report.call_sid));
        call::save(&path, recording)?;
        out.line(&format!("  as the caller heard it: {}", path.display()));
    }
    Ok(())
}

fn next_steps(address: SocketAddr, out: &Printer) {
    let url = if address.port() == PORTS.start { String::new() } else { format!(" http://{address}") };
    out.line("");
    out.line(&out.styled(Style::Bold, "Next"));
    // As the command was called, so that the lines can be pasted.
    let offhook = std::env::args().next().unwrap_or_else(|| "offhook".into());
    for text in [
        format!(
            "Call it yourself:      {offhook} call{url} --say 'two hundred' --say 'twenty thousand' --say september --say yes"
        ),
        format!("… by keys:             {offhook} call{url} --keys '200#' --keys 2 --keys 1 --keys 1"),
        format!(
            "… and talk over it:    {offhook} call{url} --barge-in-after 700ms --say 'two hundred' --record call.wav"
        ),
        format!("Put it on a telephone: make http://{address} reachable as https://YOUR-HOST, then"),
        format!("    TWILIO_AUTH_TOKEN=… OFFHOOK_PUBLIC_URL=https://YOUR-HOST {offhook} serve"),
        format!(
            "  and in Twilio's console set your number's voice webhook to https://YOUR-HOST{}",
            caller::INCOMING_PATH
        ),
        format!("  and its status callback to https://YOUR-HOST{}", caller::STATUS_PATH),
        format!("Check this machine:    {offhook} doctor"),
    ] {
        out.line(&format!("  {text}"));
    }
    out.line("");
    out.note("Serving until Ctrl-C.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_interrupts_and_the_others_wait() {
        let steps = steps(None);
        assert_eq!(steps.len(), ANSWERS.len() + 2, "an interruption before, and a key after");
        assert_eq!(steps[1], Step::BargeIn(BARGE_IN.1));
        assert_eq!(steps[2], Step::Say("fifty thousand".into()));
        let human = super::steps(Some(Path::new("clips")));
        assert_eq!(human[0], Step::Wav("clips/two_hundred.wav".into()));
    }

    #[test]
    fn the_address_is_on_this_machine_alone() {
        assert!(free_address().ip().is_loopback());
    }
}
