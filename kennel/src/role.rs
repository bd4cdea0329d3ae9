//! What else this program can be: kennel starts itself again as a worker, and as the companion of a Mongrel2
//! that must not outlive it. Neither is typed by a person, so neither is among the commands.

use crate::exit::wrong_input;
use crate::guard;
use handler_core::worker::link;
use handler_core::worker::protocol::{Action, LoadFailure};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The first argument of a worker.
pub(crate) const WORKER_LUA: &str = "worker-lua";
/// The first argument of a worker of programs; then its settings.
pub(crate) const WORKER_EXEC: &str = "worker-exec";
/// The first argument of a worker of CGI scripts; then its settings.
pub(crate) const WORKER_CGI: &str = "worker-cgi";
/// The first argument of a worker that cannot serve its app; then why.
pub(crate) const WORKER_UNABLE: &str = "worker-unable";
/// The first argument of a process that runs a file of tests.
pub(crate) const TEST_LUA: &str = "test-lua";
/// The environment variable that tells such a process which tests to run, JSON; Python's reads it, too.
pub(crate) const TEST_PLAN: &str = "KENNEL_TEST";
/// The first argument of a companion; then its parent's process id, then the program and its arguments.
pub(crate) const COMPANION: &str = "companion";

/// The first argument of a Mongrel2's companion; then as for a companion. What the server makes is for this user alone.
pub(crate) const SERVER: &str = "server-companion";

/// The same for a Mongrel2 that gets a preloaded library; then the library, then as for a companion.
pub(crate) const GUARDED: &str = "guarded-companion";

/// Plays the part that the arguments name, if they name one.
pub(crate) fn play(arguments: &[OsString]) -> Option<anyhow::Result<ExitCode>> {
    match arguments.get(1)?.to_str()? {
        WORKER_LUA if arguments.len() == 2 => Some(worker()),
        WORKER_EXEC if arguments.len() == 3 => Some(worker_of_programs(&arguments[2])),
        WORKER_CGI if arguments.len() == 3 => Some(worker_of_scripts(&arguments[2])),
        WORKER_UNABLE if arguments.len() == 3 => Some(worker_that_is_unable(&arguments[2])),
        TEST_LUA if arguments.len() == 2 => Some(test()),
        COMPANION => Some(companion(&arguments[2..], None)),
        SERVER => Some(server(&arguments[2..], None)),
        GUARDED if arguments.len() > 2 => Some(server(&arguments[3..], Some(Path::new(&arguments[2])))),
        _ => None,
    }
}

fn worker() -> anyhow::Result<ExitCode> {
    handler_lua::run().map_err(|problem| anyhow::anyhow!("{problem}"))?;
    Ok(ExitCode::SUCCESS)
}

fn worker_of_programs(settings: &OsStr) -> anyhow::Result<ExitCode> {
    let settings = serde_json::from_slice(settings.as_bytes())?;
    handler_exec::run(settings, &companion_command()?).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    Ok(ExitCode::SUCCESS)
}

fn worker_of_scripts(settings: &OsStr) -> anyhow::Result<ExitCode> {
    let settings = serde_json::from_slice(settings.as_bytes())?;
    handler_exec::cgi::run(settings, &companion_command()?)
        .map_err(|problem| anyhow::anyhow!("{problem}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Says why, and ends.
fn worker_that_is_unable(why: &OsStr) -> anyhow::Result<ExitCode> {
    let (_, mut actions) = link::from_environment()?;
    let failure = LoadFailure { message: why.to_string_lossy().into_owned(), ..LoadFailure::default() };
    actions.push(&Action::Failed(failure))?;
    actions.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The beginning of a companion's command.
fn companion_command() -> anyhow::Result<[OsString; 2]> {
    Ok([std::env::current_exe()?.into_os_string(), COMPANION.into()])
}

/// Runs a file of tests, which the environment names.
fn test() -> anyhow::Result<ExitCode> {
    // Tests that hang end with whoever started them.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let plan = std::env::var(TEST_PLAN).map_err(|_| wrong_input("kennel test starts this"))?;
    handler_lua::testing::run_file(&serde_json::from_str(&plan)?, &mut std::io::stdout())
        .map_err(|problem| anyhow::anyhow!("{problem}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Becomes a Mongrel2 whose sockets and files are for this user alone.
fn server(arguments: &[OsString], library: Option<&Path>) -> anyhow::Result<ExitCode> {
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
    companion(arguments, library)
}

/// Becomes the program, which the kernel kills when the parent ends. The library is preloaded into the program alone.
fn companion(arguments: &[OsString], library: Option<&Path>) -> anyhow::Result<ExitCode> {
    let [parent, program, rest @ ..] = arguments else {
        return Err(wrong_input("a companion needs its parent's process id and a program"));
    };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that ended before that call is not noticed by the kernel any more.
    let alive = getppid().map(Pid::as_raw_nonzero).map(|pid| pid.to_string());
    if alive.as_deref() != parent.to_str() {
        return Ok(ExitCode::FAILURE);
    }
    let mut command = Command::new(program);
    if let Some(library) = library {
        guard::preload(&mut command, library);
    }
    Err(command.args(rest).exec().into())
}
