//! Starts a worker process with its end of a socket pair and its page.

use super::link::ENVIRONMENT;
use super::page::Page;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// The variable that has the secret which sessions are signed with.
pub const SECRET: &str = "KENNEL_SECRET";

/// How the workers of an app are started.
#[derive(Debug, Clone)]
pub struct WorkerCommand {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// A worker process and the hub's means to talk to it.
#[derive(Debug)]
pub struct WorkerProcess {
    /// The process.
    pub child: Child,
    /// Becomes readable when the process is dead, even if another process has its end of the socket pair.
    pub pidfd: OwnedFd,
    /// The hub's end of the socket pair, non-blocking.
    pub socket: UnixStream,
    /// The shared page.
    pub page: Page,
}

impl WorkerCommand {
    /// Starts one worker. Its standard output goes where its errors go, since standard output
    /// belongs to what commands print.
    ///
    /// # Errors
    ///
    /// When the program cannot be started, or the system is out of descriptors or memory.
    pub fn spawn(&self) -> io::Result<WorkerProcess> {
        self.spawn_with(None)
    }

    /// Starts one worker whose standard output and error are `output`, if that is given.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub fn spawn_with(&self, output: Option<&OwnedFd>) -> io::Result<WorkerProcess> {
        // The worker's two descriptors may be inherited; the hub is one thread and starts one
        // process at a time, so no other child can catch them.
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None)?;
        fcntl_setfd(&ours, FdFlags::CLOEXEC)?;
        let (page, page_fd) = Page::create()?;
        let socket = UnixStream::from(ours);
        socket.set_nonblocking(true)?;
        let mut command = Command::new(&self.program);
        match output {
            Some(output) => command.stdout(output.try_clone()?).stderr(output.try_clone()?),
            None => command.stdout(io::stderr()),
        };
        let mut child = command
            .args(&self.arguments)
            .env(ENVIRONMENT, format!("{},{}", theirs.as_raw_fd(), page_fd.as_raw_fd()))
            // Workers get keys made of it; what shows the environment shall not show the secret.
            .env_remove(SECRET)
            .stdin(Stdio::null())
            // ^C at a terminal is for the hub, which then lets its workers finish.
            .process_group(0)
            .spawn()?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(WorkerProcess { child, pidfd, socket, page }),
            Err(problem) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(problem.into())
            }
        }
    }
}
