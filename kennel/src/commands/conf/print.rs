//! `kennel conf print`: a database as the configuration file that loads to it.

use super::source;
use crate::args::conf::Print;
use mongrel2_conf::print;
use std::io::Write;
use std::process::ExitCode;

pub(super) fn run(args: &Print) -> anyhow::Result<ExitCode> {
    let contents = source::database(&args.database.db)?;
    let printed = print::print_database(&contents.config)?;
    std::io::stdout().lock().write_all(printed.text.as_bytes())?;
    // With flaws it loads to another database than the one that was printed, as was said.
    Ok(if contents.flaws.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
