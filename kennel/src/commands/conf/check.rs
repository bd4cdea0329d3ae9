//! `kennel conf check`: what is wrong with a configuration file, all of it.

use super::source;
use crate::args::conf::Check;
use crate::exit::{WRONG_INPUT, plain, wrong_input};
use crate::table::print_json;
use mongrel2_conf::diagnostic::Severity;
use mongrel2_conf::language::{self, LoadError};
use std::io::Write;
use std::process::ExitCode;

pub(super) fn run(args: &Check) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if !args.json {
        let config = source::file(&args.file, args.strict)?;
        writeln!(out, "{}: fine, {}", args.file.display(), source::size(&config))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (found, code) = match language::load(&args.file) {
        Ok(loaded) if args.strict && loaded.diagnostics.count(Severity::Warning) > 0 => {
            (loaded.diagnostics, ExitCode::from(WRONG_INPUT))
        }
        Ok(loaded) => (loaded.diagnostics, ExitCode::SUCCESS),
        Err(LoadError::Wrong(found)) => (found, ExitCode::from(WRONG_INPUT)),
        Err(LoadError::Read { path, source }) => {
            return Err(wrong_input(format!("cannot read `{}`: {}", path.display(), plain(&source))));
        }
        Err(other) => return Err(other.into()),
    };
    print_json(&mut out, &found.to_json())?;
    Ok(code)
}
