//! One file for each command.

mod check;
mod conf;
mod console;
mod ctl;
mod decode;
mod front;
mod guard;
mod new;
mod routes;
mod serve;
mod server;
mod signal;
mod test;

use crate::args::{Args, Command};
use crate::exit::wrong_input;
use clap::CommandFactory;
use std::io::Write;
use std::process::ExitCode;

/// Does what was typed.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Run(args) => serve::run(&args, serve::Mode::Run, &[]),
        Command::Dev(args) => serve::run(&args.serve, serve::Mode::Dev, &args.allow_host),
        Command::Front(args) => front::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Routes(args) => routes::run(&args),
        Command::New(args) => new::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Console(args) => console::run(&args),
        Command::Decode { files } => decode::run(&files),
        Command::Conf(command) => conf::run(&command),
        // With a word about a server, it is about that; without one about the kennel of this directory.
        Command::Reload(args) if args.servers.is_named() => {
            alone(args.signal.pid)?;
            server::reload(&args.servers)
        }
        Command::Stop(args) if args.servers.is_named() || args.murder => {
            alone(args.signal.pid)?;
            server::stop(&args.servers, args.murder)
        }
        Command::Reload(args) => signal::reload(&args.signal),
        Command::Stop(args) => signal::stop(&args.signal),
        Command::Start(args) => server::start(&args),
        Command::Running(args) => server::running(&args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Guard(args) => guard::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "kennel", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A process id names a kennel, and nothing else may be named beside it.
fn alone(pid: Option<i32>) -> anyhow::Result<()> {
    match pid {
        Some(pid) => Err(wrong_input(format!(
            "--pid {pid} names a running kennel; --db, --name, --host, --uuid and --every name a mongrel2"
        ))),
        None => Ok(()),
    }
}
