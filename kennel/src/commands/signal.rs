//! `kennel reload` and `kennel stop`: what the kennel that runs in this directory is to do, and what became of it.

use crate::args::Signal as Args;
use crate::exit::wrong_input;
use crate::run_files;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long the end of a kennel is waited for.
const STOPPING: Duration = Duration::from_secs(60);

/// Lets it load the newest code, and says what became of that.
pub(super) fn reload(args: &Args) -> anyhow::Result<ExitCode> {
    super::console::reload(run_files::chosen(args.pid)?)
}

/// Lets it stop, and waits for its end.
pub(super) fn stop(args: &Args) -> anyhow::Result<ExitCode> {
    let pid = run_files::chosen(args.pid)?;
    let process = Pid::from_raw(pid).ok_or_else(|| wrong_input("process id 0 is nobody"))?;
    let handle = pidfd_open(process, PidfdFlags::empty())?;
    let begin = Instant::now();
    kill_process(process, Signal::TERM)?;
    loop {
        let left = STOPPING.saturating_sub(begin.elapsed());
        if left.is_zero() {
            anyhow::bail!(
                "kennel {pid} still stops after {STOPPING:?}; its log says what it waits for, and another `kennel stop` \
                 ends it at once"
            );
        }
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Timespec::try_from(left).ok().as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(problem) => return Err(problem.into()),
        }
    }
    writeln!(io::stdout(), "stopped")?;
    Ok(ExitCode::SUCCESS)
}
