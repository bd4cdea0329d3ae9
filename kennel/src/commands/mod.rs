//! One file for each command.

mod check;
mod console;
mod conf;
mod decode;
mod routes;
mod serve;
mod signal;

use crate::args::{Args, Command};
use clap::CommandFactory;
use std::io::Write;
use std::process::ExitCode;

/// Does what was typed.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Run(args) => serve::run(&args, serve::Mode::Run),
        Command::Dev(args) => serve::run(&args, serve::Mode::Dev),
        Command::Check(args) => check::run(&args),
        Command::Routes(args) => routes::run(&args),
        Command::Console(args) => console::run(&args),
        Command::Decode { files } => decode::run(&files),
        Command::Conf(command) => conf::run(&command),
        Command::Reload(args) => signal::run(&args, rustix::process::Signal::HUP),
        Command::Stop(args) => signal::run(&args, rustix::process::Signal::TERM),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "kennel", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
