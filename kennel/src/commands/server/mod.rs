//! `kennel start`, `stop`, `reload` and `running` for the Mongrel2 of a database: its process, found by
//! its pid file.

mod running;
mod start;
mod stop;

pub(super) use running::run as running;
pub(super) use start::run as start;
pub(super) use stop::{reload, stop};

use mongrel2_conf::deployed::{Process, Stale};

/// Why a server does not run, for people.
fn in_words(process: &Process) -> String {
    match process {
        Process::Running { pid, .. } => format!("runs as process {pid}"),
        Process::Absent { pid_file } => format!("does not run: there is no pid file {}", pid_file.display()),
        Process::Stale { pid_file, why } => {
            let why = match why {
                Stale::Gone { pid } => format!("process {pid} is gone"),
                Stale::Other { pid, command } => {
                    format!("process {pid} is another program, `{}`", command.escape_debug())
                }
                Stale::NoNumber => "there is no process id in it".to_owned(),
            };
            format!("does not run: its pid file {} is stale, {why}", pid_file.display())
        }
        Process::Unreadable { pid_file, cause } => {
            let cause = std::io::Error::from(*cause);
            format!("may run: its pid file {} cannot be read: {cause}", pid_file.display())
        }
    }
}
