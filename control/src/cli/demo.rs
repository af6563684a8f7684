//! placeholder

use std::process::ExitCode;

/// What the command is told.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let _ = args;
    ExitCode::FAILURE
}
