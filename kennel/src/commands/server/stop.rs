//! `kennel stop` and `kennel reload` for the Mongrel2 of a database: a signal, and the end awaited.

use super::in_words;
use crate::args::Servers;
use crate::exit::{note, say, unreachable};
use mongrel2_conf::deployed::{Process, Selection};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A server ends within milliseconds of its signal, unless its handlers' sockets hold it up.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn stop(servers: &Servers, murder: bool) -> anyhow::Result<ExitCode> {
    let signal = if murder { Signal::TERM } else { Signal::INT };
    each(servers, signal, |pid, process| match ends(process)? {
        true => Ok(format!("stopped (process {pid})")),
        false => Err(anyhow::anyhow!(
            "process {pid} has had its signal {} seconds ago and still runs; --murder is a stronger one",
            PATIENCE.as_secs()
        )),
    })
}

pub(crate) fn reload(servers: &Servers) -> anyhow::Result<ExitCode> {
    each(servers, Signal::HUP, |pid, _| Ok(format!("opens its logs anew (process {pid})")))
}

/// Sends the signal to each server that is meant and runs. Of all servers those that do not run are told
/// and no failure.
fn each(
    servers: &Servers,
    signal: Signal,
    then: impl Fn(i32, &OwnedFd) -> anyhow::Result<String>,
) -> anyhow::Result<ExitCode> {
    let deployment = servers.open()?;
    let mut code = ExitCode::SUCCESS;
    for server in servers.select(&deployment, Selection::Only)? {
        let found = deployment.process(server);
        let result = match &found {
            Process::Running { pid, .. } => tell(*pid, signal).and_then(|process| then(*pid, &process)),
            Process::Absent { .. } | Process::Stale { .. } if servers.every => Ok(in_words(&found)),
            _ => Err(unreachable(in_words(&found))),
        };
        match result {
            Ok(text) => say!("{}: {text}", server.label()),
            Err(problem) if !servers.every => return Err(problem.context(server.label().to_owned())),
            Err(problem) => {
                note!("error: {}: {problem}", server.label());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// By descriptor, so that no other process that gets the number meanwhile is hit.
fn tell(pid: i32, signal: Signal) -> anyhow::Result<OwnedFd> {
    let told = |problem: Errno| match problem {
        Errno::PERM => unreachable(format!("this user may not signal process {pid}")),
        other => unreachable(format!("cannot signal process {pid}: {}", other.kind())),
    };
    let Some(process) = Pid::from_raw(pid) else { return Err(told(Errno::SRCH)) };
    let process = pidfd_open(process, PidfdFlags::empty()).map_err(told)?;
    pidfd_send_signal(&process, signal).map_err(told)?;
    Ok(process)
}

/// Waits for the end of a process, but not for ever.
fn ends(process: &OwnedFd) -> anyhow::Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut sockets = [PollFd::new(process, PollFlags::IN)];
        match poll(&mut sockets, Timespec::try_from(left).ok().as_ref()) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(problem) => return Err(std::io::Error::from(problem).into()),
        }
    }
}
