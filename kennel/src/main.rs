//! `kennel`: runs Mongrel2 handlers written in Lua.
//!
//! `args` says what can be typed, `commands` has one file for each command, `exit` what the program
//! ends with.

mod apps;
mod args;
mod commands;
mod config;
mod exit;
mod log;
mod own_server;
mod run_files;
mod watch;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(problem) => return exit::usage(&problem),
    };
    exit::report(commands::run(args))
}
