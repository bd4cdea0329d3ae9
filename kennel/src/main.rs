//! `kennel`: runs Mongrel2 handlers written in Lua or Python.
//!
//! `args` says what can be typed, `commands` has one file for each command, `exit` what the program
//! ends with. `role` is what kennel starts itself as.

// Their writes panic when a disk is full or a reader is gone; `exit` has macros that do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod addresses;
mod apps;
mod args;
mod capacity;
mod cgi;
mod commands;
mod config;
#[cfg(test)]
mod contract;
mod existing;
mod exit;
mod guard;
mod handler_lock;
mod language;
mod listen;
mod log;
mod own_server;
mod private_socket;
mod python;
mod role;
mod run_files;
mod secret;
mod servers;
mod site_folder;
mod table;
mod toml_words;
mod unused;
mod usage;
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
        Err(problem) => return exit::usage(&problem, usage::words(&problem, &arguments)),
    };
    if args.asks_for_json() {
        exit::answer_in_json();
    }
    exit::report(commands::run(args))
}
