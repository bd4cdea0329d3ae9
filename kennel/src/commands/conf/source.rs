//! What a command is given: a database, or a configuration file.

use crate::exit::{note, plain, takes_colours, wrong_input};
use crate::mongrel2::existing::refused;
use mongrel2_conf::diagnostic::{Diagnostics, Severity};
use mongrel2_conf::language::{self, LoadError};
use mongrel2_conf::model::Config;
use mongrel2_conf::store::{self, Contents};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;

/// Every SQLite database begins with this.
const SQLITE_HEADER: &[u8] = b"SQLite format 3\0";

/// Reads a database. What is wrong with single rows goes to standard error.
pub(super) fn database(path: &Path) -> anyhow::Result<Contents> {
    let contents = store::read(path).map_err(refused)?;
    for flaw in &contents.flaws {
        note!("{}: warning: {flaw}", path.display());
    }
    Ok(contents)
}

/// Reads a configuration file as it would be loaded. What there is to say goes to standard error.
/// `strict`: warnings are errors.
pub(super) fn file(path: &Path, strict: bool) -> anyhow::Result<Config> {
    read(path, if strict { Warnings::Errors } else { Warnings::Shown })
}

/// What becomes of warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Warnings {
    Errors,
    Shown,
    Ignored,
}

fn read(path: &Path, warnings: Warnings) -> anyhow::Result<Config> {
    match language::load(path) {
        Ok(loaded) => {
            if warnings != Warnings::Ignored {
                show(&loaded.diagnostics);
            }
            let count = loaded.diagnostics.count(Severity::Warning);
            if warnings == Warnings::Errors && count > 0 {
                let count = if count == 1 { "1 warning".to_owned() } else { format!("{count} warnings") };
                let path = path.display();
                return Err(wrong_input(format!(
                    "{count} in `{path}`, and with --strict a warning is an error"
                )));
            }
            Ok(loaded.with_default_mimetypes())
        }
        Err(LoadError::Wrong(found)) => {
            show(&found);
            let errors = found.count(Severity::Error);
            let errors = if errors == 1 { "1 error".to_owned() } else { format!("{errors} errors") };
            Err(wrong_input(format!("{errors} in `{}`", path.display())))
        }
        Err(LoadError::Read { source, .. }) => {
            Err(wrong_input(format!("cannot read `{}`: {}", path.display(), plain(&source))))
        }
        Err(other) => Err(other.into()),
    }
}

/// Prints diagnostics for people.
pub(super) fn show(found: &Diagnostics) {
    let color = takes_colours(io::stderr().is_terminal());
    // Nobody reads them, then.
    let _ = io::stderr().write_all(found.render(color).as_bytes());
}

/// Reads a database or a configuration file, whatever it is. About a file, errors alone are told:
/// who compares it does not ask whether it is good.
pub(super) fn either(path: &Path) -> anyhow::Result<Config> {
    match is_database(path) {
        true => Ok(database(path)?.config),
        false => read(path, Warnings::Ignored),
    }
}

/// By its first bytes; what cannot be opened is left to whoever explains that best.
fn is_database(path: &Path) -> bool {
    let mut start = Vec::new();
    let is_file = path.is_file();
    let opened = is_file.then(|| File::open(path).and_then(|file| file.take(16).read_to_end(&mut start)));
    let empty = || start.is_empty() && path.extension().is_some_and(|end| end == "sqlite");
    opened.is_some_and(|opened| opened.is_ok()) && (start == SQLITE_HEADER || empty())
}

/// `1 server, 2 hosts, 10 routes`.
pub(super) fn size(config: &Config) -> String {
    let hosts: Vec<_> = config.servers.iter().flat_map(|server| &server.hosts).collect();
    let routes = hosts.iter().map(|host| host.routes.len()).sum();
    let count =
        |number: usize, thing: &str| format!("{number} {thing}{}", if number == 1 { "" } else { "s" });
    [count(config.servers.len(), "server"), count(hosts.len(), "host"), count(routes, "route")].join(", ")
}
