//! `kennel conf`: Mongrel2's configuration, one file for each command.
//!
//! `source` reads what a command is given, a database or a configuration file, and `choice` picks
//! servers and hosts out of it.

mod check;
mod choice;
mod commit;
mod diff;
mod hosts;
mod load;
mod log;
mod mimetypes;
mod print;
mod route;
mod routes;
mod servers;
mod settings;
mod source;
mod who;

use crate::args::conf::Conf;
use std::process::ExitCode;

pub(super) fn run(command: &Conf) -> anyhow::Result<ExitCode> {
    match command {
        Conf::Load(args) => load::run(args),
        Conf::Check(args) => check::run(args),
        Conf::Print(args) => print::run(args),
        Conf::Diff(args) => diff::run(args),
        Conf::Servers(args) => servers::run(args),
        Conf::Hosts(args) => hosts::run(args),
        Conf::Routes(args) => routes::run(args),
        Conf::Route(args) => route::run(args),
        Conf::Settings(args) => settings::run(args),
        Conf::Mimetypes(args) => mimetypes::run(args),
        Conf::Log(args) => log::run(args),
        Conf::Commit(args) => commit::run(args),
    }
}
