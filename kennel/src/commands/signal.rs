//! `kennel reload` and `kennel stop`: a signal to the kennel that runs in this directory.

use crate::args::Signal as Args;
use crate::exit::{unreachable, wrong_input};
use crate::run_files;
use rustix::process::{Pid, Signal, kill_process};
use std::process::ExitCode;

pub(super) fn run(args: &Args, signal: Signal) -> anyhow::Result<ExitCode> {
    let running = run_files::running()?;
    let pid = match (args.pid, &running[..]) {
        (Some(pid), _) if running.contains(&pid) => pid,
        (Some(pid), _) => {
            return Err(unreachable(format!("no kennel with process id {pid} runs in this directory")));
        }
        (None, []) => {
            return Err(unreachable(
                "no kennel runs in this directory; start this command where `kennel run` was started",
            ));
        }
        (None, [pid]) => *pid,
        (None, many) => {
            let list: Vec<_> = many.iter().map(i32::to_string).collect();
            return Err(wrong_input(format!(
                "several kennels run in this directory; say which with --pid: {}",
                list.join(", ")
            )));
        }
    };
    let process = Pid::from_raw(pid).ok_or_else(|| wrong_input("process id 0 is nobody"))?;
    kill_process(process, signal)?;
    Ok(ExitCode::SUCCESS)
}
