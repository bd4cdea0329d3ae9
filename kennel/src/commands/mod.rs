//! One file for each command.

mod check;
mod decode;
mod routes;
mod serve;
mod signal;

use crate::args::{Args, Command};
use anyhow::Context;
use clap::CommandFactory;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

/// Does what was typed.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Run(args) => serve::run(&args, serve::Mode::Run),
        Command::Dev(args) => serve::run(&args, serve::Mode::Dev),
        Command::Check(args) => check::run(&args),
        Command::Routes(args) => routes::run(&args),
        Command::Decode { files } => decode::run(&files),
        Command::Reload(args) => signal::run(&args, rustix::process::Signal::HUP),
        Command::Stop(args) => signal::run(&args, rustix::process::Signal::TERM),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "kennel", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::WorkerLua => {
            handler_lua::run().map_err(|problem| anyhow::anyhow!("{problem}"))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Companion { command } => {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            let (program, arguments) = command.split_first().context("no program named")?;
            Err(std::process::Command::new(program).args(arguments).exec().into())
        }
    }
}
