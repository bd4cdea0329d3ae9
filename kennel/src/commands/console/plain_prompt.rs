//! The prompt of a build without line editing: lines as the terminal gives them. ^D leaves.

use super::{Connection, obey_or_say};
use crate::exit::say;
use std::io::{Write, stdin, stdout};
use std::process::ExitCode;

pub(super) fn run(connection: &mut Connection, json: bool) -> anyhow::Result<ExitCode> {
    say!("`help` lists the commands; ^D leaves.");
    let mut line = String::new();
    loop {
        write!(stdout(), "kennel> ")?;
        stdout().flush()?;
        line.clear();
        if stdin().read_line(&mut line)? == 0 || matches!(line.trim(), "exit" | "quit") {
            return Ok(ExitCode::SUCCESS);
        }
        obey_or_say(connection, line.trim_end(), json)?;
    }
}
