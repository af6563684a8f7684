//! The command line: one file per command.

pub mod call;
pub mod demo;
pub mod doctor;
pub mod replay;
pub mod serve;
pub mod simulate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Answers telephone calls with software: listens, decides, speaks, and can be interrupted.
#[derive(Debug, Parser)]
#[command(name = "offhook", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer calls.
    Serve(serve::Args),
    /// Call a server as a carrier would, and print the conversation.
    Call(call::Args),
    /// Place many calls at once, and measure how they are answered.
    Simulate(Box<simulate::Args>),
    /// Serve, place one call by itself, show what happened, and keep serving.
    Demo(demo::Args),
    /// Run a recorded call again in virtual time, and compare.
    Replay(replay::Args),
    /// Check configuration and speech engines, and say what is missing.
    Doctor(doctor::Args),
}

/// Runs the command that the process was called with.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Call(args) => call::run(args),
        Command::Simulate(args) => simulate::run(*args),
        Command::Demo(args) => demo::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Doctor(args) => doctor::run(args),
    }
}

/// Says on stderr why a command cannot go on.
pub(crate) fn complain(text: &str) {
    use std::io::Write;
    // Without stderr there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "offhook: {text}");
}
