//! `kennel`: runs Mongrel2 handlers written in Lua or Python.
//!
//! `args` says what can be typed, `config` what kennel.toml may say, and `commands` has one file for each command. `apps` is
//! what is served, `mongrel2` the servers before it. `exit` is what the program ends with, `role` what kennel starts itself
//! as.

// Their writes panic when a disk is full or a reader is gone; `exit` has macros that do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod apps;
mod args;
mod commands;
mod config;
#[cfg(test)]
mod contract;
mod exit;
mod guard;
mod language;
mod listen;
mod log;
mod mongrel2;
mod private_socket;
mod role;
mod run_files;
mod secret;
mod table;
mod toml_words;
mod unused;
mod watch;

use clap::Parser;
use std::process::ExitCode;

/// Requests are many small pieces of memory, Lua's among them: measured, it saves a tenth of a worker's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(result) = role::play(&arguments) {
        return exit::report(result);
    }
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(problem) => return exit::usage(&problem, args::usage::words(&problem, &arguments)),
    };
    if args.asks_for_json() {
        exit::answer_in_json();
    }
    exit::report(commands::run(args))
}
