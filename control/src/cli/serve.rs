//! `offhook serve`: answers calls until it is told to stop.

use std::process::ExitCode;

use offhook_engine::memory::share_arenas;
use offhook_engine::priority::{Rank, give_way};

use crate::server::{Server, logs};
use crate::settings::{Flags, Settings};

/// What the command is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  Answer calls on 127.0.0.1:8080, with data in ./offhook-data:
    offhook serve
  On any free port, telling more:
    offhook serve --listen 127.0.0.1:0 --log debug
  Without a recogniser, callers answer by keypad; with questions of your own:
    offhook serve --speech keypad --scenario ./my-questions.toml
  For callers on lines that hiss, with the noise taken out before the recogniser:
    OFFHOOK_NOISE_SUPPRESSION=on offhook serve
  For Twilio, with its voice webhook at https://YOUR-HOST/api/callbot/incoming-call:
    OFFHOOK_PUBLIC_URL=https://YOUR-HOST TWILIO_AUTH_TOKEN=… offhook serve
  With a trace of each call, its turns and latencies, sent to a collector of OpenTelemetry's:
    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 offhook serve

Every setting can be a flag, a variable OFFHOOK_… or a key in offhook.toml; the first of these wins.
`offhook doctor` checks them. Ctrl-C ends all calls and completes their records; SIGTERM takes no new ones and lets
those that run end first, for up to a minute (OFFHOOK_DRAIN_SECONDS).")]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    match serve(&args.flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            super::complain(&text);
            ExitCode::FAILURE
        }
    }
}

fn serve(flags: &Flags) -> Result<(), String> {
    share_arenas();
    let settings =
        Settings::load(flags, &|name| std::env::var(name).ok()).map_err(|error| error.to_string())?;
    let _logs = logs::start(settings.log, &settings.log_file(), true)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("control")
        .on_thread_start(|| give_way(Rank::Control))
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(async {
        let server = Server::start(settings).await.map_err(|error| error.to_string())?;
        tracing::info!("answering calls: webhook http://{}/api/callbot/incoming-call", server.address());
        server.run().await.map_err(|error| error.to_string())
    })
}
