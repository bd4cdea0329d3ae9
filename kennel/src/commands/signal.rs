//! `kennel reload` and `kennel stop`: a signal to the kennel that runs in this directory.

use crate::args::Signal as Args;
use crate::exit::{unreachable, wrong_input};
use crate::run_files;
use rustix::process::{Pid, Signal, kill_process};
use std::process::ExitCode;

pub(super) fn run(args: &Args, signal: Signal) -> anyhow::Result<ExitCode> {
    let pid = chosen(args.pid)?;
    let process = Pid::from_raw(pid).ok_or_else(|| wrong_input("process id 0 is nobody"))?;
    kill_process(process, signal)?;
    Ok(ExitCode::SUCCESS)
}

/// The kennel of this directory that is meant.
pub(super) fn chosen(pid: Option<i32>) -> anyhow::Result<i32> {
    let running = run_files::running()?;
    match (pid, &running[..]) {
        (Some(pid), _) if running.contains(&pid) => Ok(pid),
        (Some(pid), _) => Err(unreachable(format!("no kennel with process id {pid} runs in this directory"))),
        (None, []) => Err(unreachable(
            "no kennel runs in this directory; start this command where `kennel run` was started",
        )),
        (None, [pid]) => Ok(*pid),
        (None, many) => {
            let list: Vec<_> = many.iter().map(i32::to_string).collect();
            Err(wrong_input(format!(
                "several kennels run in this directory; say which with --pid: {}",
                list.join(", ")
            )))
        }
    }
}
